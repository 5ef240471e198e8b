"""A model as one ONNX file: the same embeddings, or no file."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from costs import costs
from small_model import spoil
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.torch_network import TorchNetwork
from sound_groove.errors import CheckpointError, OutputError
from sound_groove.export import onnx_file
from sound_groove.export.onnx_file import export_onnx
from sound_groove.export.placing import ExportedFile
from sound_groove.export.tracing import serialised
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.synthesis.voices import made_up_speaker, speak


@pytest.fixture(scope="module")
def run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, beside which an export may be written."""
    return Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("export") / "run"))


@pytest.fixture(scope="module")
@costs("slow")
def exported(run: Path) -> ExportedFile:
    return export_onnx(run)


def test_the_file_gives_the_embeddings_of_the_encoder_one_by_one_and_in_batches(
    run: Path, exported: ExportedFile
) -> None:
    session = onnxruntime.InferenceSession(str(exported.file))
    encoder = SpeakerEncoder.load(run)
    assert encoder.centre is not None  # or it would not be seen that the file has it
    for duration_s in (2.1, 5.3, 31.0):
        voices = np.stack([speak(made_up_speaker(9, number), 1, duration_s) for number in range(3)])
        expected = encoder.embed(list(voices))
        batch = session.run(None, {"waveform": voices})[0]
        single = np.concatenate([session.run(None, {"waveform": voice[None]})[0] for voice in voices])
        for found in (batch, single):
            assert (found * expected).sum(axis=1).min() > 0.99999
            assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert 0.99999 <= exported.worst_cosine <= 1.00001


def test_the_file_tells_how_long_the_network_made_each_embedding(
    run: Path, exported: ExportedFile, tmp_path: Path
) -> None:
    voices = [speak(made_up_speaker(9, number), 1, 3.0) for number in range(2)]
    checkpoint = load_checkpoint(run)
    raw = TorchNetwork.restore(checkpoint, "cpu", 1).embed_waveforms(voices, [0.0, 0.0])
    session = onnxruntime.InferenceSession(str(exported.file))
    names = [one.name for one in session.get_outputs()]
    told = dict(zip(names, session.run(None, {"waveform": np.stack(voices)}), strict=True))
    assert told["embedding_norm"] == pytest.approx(np.linalg.norm(raw, axis=1), rel=1e-4)
    both = [Listener(SpeakerEncoder.load(path)).hear(voices[0]).facts.embedding_norm for path in (run, exported.file)]
    assert both[0] is not None and both[1] == pytest.approx(both[0], rel=1e-4)

    older = onnx.load(exported.file)
    del older.graph.output[1]  # as files were before
    (tmp_path / "older.onnx").write_bytes(serialised(older))
    heard = Listener(SpeakerEncoder.load(tmp_path / "older.onnx")).hear(voices[0])
    assert heard.facts.embedding_norm is None
    assert heard.embedding @ Listener(SpeakerEncoder.load(run)).hear(voices[0]).embedding > 0.99999


def test_the_file_says_what_it_is(run: Path, exported: ExportedFile) -> None:
    checkpoint = load_checkpoint(run)
    model = onnx.load(exported.file)
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert (said["name"], said["hash"], said["sample_rate"], said["embedding_size"]) == (
        "tiny",
        checkpoint.hash,
        "16000",
        "12",
    )
    assert said["description"] == "made-up voices, for tests"
    assert json.loads(said["score_map"])["scale"] == checkpoint.score_map.scale  # type: ignore[union-attr]
    assert json.loads(said["training"])["manifest_sha256"] == checkpoint.header.training["manifest_sha256"]
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input]
    assert shapes == [["batch", "samples"]]
    assert str(Path(onnx_file.__file__).parent).encode() not in exported.file.read_bytes()
    assert exported.bytes == exported.file.stat().st_size and exported.hash == checkpoint.hash


def test_a_file_that_disagrees_with_the_model_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = onnx_file._trace

    def wrong(checkpoint: object) -> onnx.ModelProto:
        proto = whole(checkpoint)  # type: ignore[arg-type]
        spoil(proto)
        return proto

    monkeypatch.setattr(onnx_file, "_trace", wrong)
    with pytest.raises(CheckpointError, match="disagrees with it"):
        export_onnx(run, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(
    run: Path, exported: ExportedFile, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"best\.onnx: is there already"):
        export_onnx(run)
    with pytest.raises(OutputError, match="there is no folder"):
        export_onnx(run, tmp_path / "nowhere" / "a.onnx")
    (tmp_path / "old.onnx").write_bytes(b"old")
    export_onnx(run, tmp_path / "old.onnx", force=True)
    assert (tmp_path / "old.onnx").stat().st_size == exported.bytes


def test_other_weights_in_a_graph_that_was_traced_give_the_file_that_tracing_gives(
    run: Path, exported: ExportedFile, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Or it would not do to trace networks that are built alike once, as these tests do.
    checkpoint = load_checkpoint(run)
    tensors = {
        name: 1.01 * tensor if tensor.is_floating_point() else tensor for name, tensor in checkpoint.tensors.items()
    }
    save_checkpoint(tmp_path / "other.safetensors", tensors, replace(checkpoint.header, probe=None))
    given = export_onnx(tmp_path / "other.safetensors", tmp_path / "given.onnx")
    request.getfixturevalue("traced_anew")
    traced = export_onnx(tmp_path / "other.safetensors", tmp_path / "traced.onnx")
    assert given.file.read_bytes() == traced.file.read_bytes() != exported.file.read_bytes()


def test_the_command_prints_the_file_and_mistakes_in_one_sentence(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "voice.onnx"
    assert main(["export", str(run), "--out", str(target), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["file"] == str(target) and "cosine with the model's" in printed.err
    assert main(["export", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
