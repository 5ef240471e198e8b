"""A model for sherpa-onnx: the same embeddings in that program, or nearly."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import sherpa_onnx
import soundfile
import torch
from numpy.typing import NDArray

from small_model import spoil
from sound_groove.audio.filterbank import mel, mel_edges
from sound_groove.audio.reading import load_audio
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, OutputError
from sound_groove.export import sherpa_file
from sound_groove.export.placing import ExportedFile
from sound_groove.export.sherpa_file import export_sherpa
from sound_groove.export.sherpa_front_end import OurFeatures, repeated, sherpa_features
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.features import KaldiFbank, remove_mean
from sound_groove.synthesis.voices import made_up_speaker, speak

RATE = 16000
Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, beside which an export may be written."""
    return Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("sherpa") / "run"))


@pytest.fixture(scope="module")
def exported(run: Path) -> ExportedFile:
    return export_sherpa(run)


def extractor(file: Path) -> sherpa_onnx.SpeakerEmbeddingExtractor:
    return sherpa_onnx.SpeakerEmbeddingExtractor(sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(file)))


def embed(loaded: sherpa_onnx.SpeakerEmbeddingExtractor, samples: Array) -> Array:
    stream = loaded.create_stream()
    stream.accept_waveform(RATE, samples)
    stream.input_finished()
    assert loaded.is_ready(stream)
    return np.asarray(loaded.compute(stream), np.float32)


def test_sherpa_onnx_gives_our_embeddings_of_made_up_voices(run: Path, exported: ExportedFile) -> None:
    loaded, encoder = extractor(exported.file), SpeakerEncoder.load(run)
    assert encoder.centre is not None  # or it would not be seen that the file has it
    assert loaded.dim == encoder.embedding_size
    for duration_s, least in ((1.0, 0.85), (1.7, 0.98), (2.3, 0.99), (5.3, 0.99), (20.0, 0.99)):
        voices = [speak(made_up_speaker(9, number), 1, duration_s) for number in range(4)]
        found = np.stack([embed(loaded, voice) for voice in voices])
        assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
        assert (found * encoder.embed(voices)).sum(axis=1).min() > least, duration_s


def test_the_check_before_writing_sees_what_sherpa_onnx_will_give(run: Path, exported: ExportedFile) -> None:
    voice = speak(made_up_speaker(9, 7), 1, 3.0)
    module = sherpa_file.SherpaModel(load_checkpoint(run)).eval()
    with torch.inference_mode():
        expected = module(sherpa_features(torch.from_numpy(voice)[None]))[0].numpy()
    assert float(embed(extractor(exported.file), voice) @ expected) > 0.99999


@pytest.mark.parametrize("samples", [400, 5000, 16000, 16079, 16080, 16400, 32001])
def test_the_likeness_has_sherpa_onnx_s_frames_and_filters(samples: int, tmp_path: Path) -> None:
    voice = speak(made_up_speaker(3, 1), 0, 3.0)[:samples]
    found = embed(extractor(features_as_embedding(tmp_path)), voice).reshape(-1, 80)
    likeness = sherpa_features(torch.from_numpy(voice)[None])[0].numpy()
    assert found.shape == likeness.shape
    assert np.abs(found - likeness).max() < 1e-3


def features_as_embedding(folder: Path) -> Path:
    """A file that gives back, as an embedding, the features that sherpa-onnx computes."""
    features = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, "T", 80])
    flat = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, "N"])
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [1, -1])
    node = onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])
    graph = onnx.helper.make_graph([node], "features", [features], [flat], [shape])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    entries = {"framework": "wespeaker", "language": "any", "sample_rate": RATE, "output_dim": 80}
    for key, value in {**entries, "normalize_samples": 0}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(value)
    onnx.save(model, folder / "features.onnx")
    return folder / "features.onnx"


def test_the_map_brings_their_features_to_ours() -> None:
    ours, theirs = KaldiFbank().eval(), OurFeatures()
    errors: list[float] = []
    without: list[float] = []
    for number in range(6):
        voice = torch.from_numpy(speak(made_up_speaker(5, number), 0, 3.04))[None]
        given = sherpa_features(voice)[:, 1:-1]
        expected = remove_mean(ours(voice[:, 40:]))[:, : given.shape[1] - 1]
        for features, kept in ((theirs(given), errors), (given, without)):
            kept.append((remove_mean(features)[:, : expected.shape[1]] - expected).square().mean().sqrt().item())
    assert max(errors) < 0.35 < min(without)


def test_the_map_leaves_a_flat_spectrum_flat_and_a_tone_where_it_is() -> None:
    module = OurFeatures()
    flat = module(module.theirs.sum(dim=0).log()[None, None])[0, 0]
    assert torch.allclose(flat, module.ours.sum(dim=0).log(), atol=1e-3)
    tone = torch.sin(2 * torch.pi * 3000.0 * torch.arange(RATE) / RATE)[None] * 0.1
    loudest = int(module(sherpa_features(tone))[0, 50].argmax())
    edges = mel_edges(80, 8000.0)
    assert edges[loudest] < mel(3000.0) < edges[loudest + 2]


def test_a_seam_hears_the_end_and_the_start() -> None:
    features = torch.zeros(1, 100, 1)
    features[:, 0], features[:, -1] = 4.0, -16.0
    twice = repeated(features, 100)
    assert twice.shape == (1, 198, 1)
    across = twice[0, 98:100, 0].exp() / torch.tensor(4.0).exp()
    assert torch.allclose(across, torch.tensor([0.3, 0.7]), atol=1e-3)
    assert not twice[0, :98].any() and not twice[0, 100:].any()


def test_the_file_says_what_sherpa_onnx_asks_for(run: Path, exported: ExportedFile) -> None:
    model = onnx.load(exported.file)
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert (said["framework"], said["sample_rate"], said["output_dim"]) == ("wespeaker", "16000", "12")
    assert (said["normalize_samples"], said["feature_normalize_type"], said["language"]) == ("0", "", "any")
    assert said["hash"] == load_checkpoint(run).hash == exported.hash
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input]
    assert shapes == [["batch", "frames", 80]]
    assert model.ir_version == 8
    assert str(Path(sherpa_file.__file__).parent).encode() not in exported.file.read_bytes()


@pytest.mark.slow
def test_a_file_that_disagrees_is_not_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vars(sherpa_file)["trace"]

    def wrong(*asked: Any, **named: Any) -> onnx.ModelProto:
        proto: onnx.ModelProto = whole(*asked, **named)
        spoil(proto)
        return proto

    monkeypatch.setattr(sherpa_file, "trace", wrong)
    with pytest.raises(CheckpointError, match="disagrees with it"):
        export_sherpa(run, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_beside_the_model_and_over_nothing(
    run: Path, exported: ExportedFile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported.file == run / "best.sherpa.onnx"
    with pytest.raises(OutputError, match=r"best\.sherpa\.onnx: is there already"):
        export_sherpa(run)
    assert main(["export", str(run), "--format", "sherpa-onnx"]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["export", str(run), "--format", "sherpa-onnx", "--precision", "fp16"]) == 2
    assert "--precision goes with --format onnx, safetensors and tensorrt" in capsys.readouterr().err


def test_the_python_of_the_page_gives_our_score(
    run: Path,
    exported: ExportedFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (example,) = (one for one in examples if "sherpa_onnx" in one)
    takes = [speak(made_up_speaker(9, 0), take, 20.0) for take in (0, 1)]
    for name, take in zip(("a.wav", "b.wav"), takes, strict=True):
        soundfile.write(tmp_path / name, take, RATE)
    (tmp_path / "voice.onnx").write_bytes(exported.file.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/export.md", "exec"), {})  # noqa: S102 - it is our own documentation
    first, second = SpeakerEncoder.load(run).embed(takes)
    assert float(capsys.readouterr().out) == pytest.approx(float(first @ second), abs=0.02)


@pytest.mark.corpus
def test_real_speech_gives_our_embeddings_too(corpus: Path, run: Path, exported: ExportedFile) -> None:
    loaded, encoder = extractor(exported.file), SpeakerEncoder.load(run)
    paths = sorted(corpus.glob("val/*/*.opus"))[::60]
    recordings = [load_audio(path) for path in paths]
    assert len(recordings) > 10
    found = np.stack([embed(loaded, recording) for recording in recordings])
    expected = encoder.embed(recordings, keep_pauses=True)  # that runtime embeds all of a recording
    cosines = (found * expected).sum(axis=1)
    assert np.median(cosines) > 0.99 and cosines.min() > 0.9
