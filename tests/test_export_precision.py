"""Exported models in fewer bits: smaller or faster, near to the checkpoint, or not written."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from costs import costs
from sound_groove.audio.reading import load_audio
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, UsageError
from sound_groove.export import onnx_file
from sound_groove.export.onnx_file import export_onnx, running_with_norms
from sound_groove.export.parity import agreement, demand_norm
from sound_groove.export.placing import ExportedFile
from sound_groove.export.precision import LEAST_COSINE
from sound_groove.export.quantization import largest_pair, refuse_overflow
from sound_groove.export.speech import draw_pieces
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, tiny_recipe

TINY_COSINE = 0.99  # for int8: a network of 64 channels after five batches has little for rounding to average out over


@pytest.fixture(scope="module")
@costs("slow")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precision")
    recipe = tiny_recipe(
        prepare_corpus(folder),
        training__epochs=1,
        network__channels=64,
        network__options={"scale": 8},
        description="voices",
    )
    return train(recipe, folder / "run").folder


@pytest.fixture(scope="module")
def speech(run: Path) -> Path:
    return run.parent / "audio"


@pytest.fixture(scope="module")
def fp32(run: Path) -> ExportedFile:
    return export_onnx(run)


@pytest.fixture(scope="module")
def fp16(run: Path) -> ExportedFile:
    return export_onnx(run, run / "half.onnx", precision="fp16")


@pytest.fixture(scope="module")
def int8(run: Path, speech: Path) -> ExportedFile:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "LEAST_COSINE", {"int8": TINY_COSINE})
        return export_onnx(run, run / "int8.onnx", precision="int8", calibrate_on=speech)


def entries(file: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(file).metadata_props}


def cosines(run: Path, file: Path, speech: Path) -> np.ndarray:
    """Between the file, in a session of our own, and the checkpoint, on recordings."""
    session = onnxruntime.InferenceSession(str(file))
    encoder = SpeakerEncoder.load(run)
    recordings = [np.tile(load_audio(path), 4) for path in sorted(speech.rglob("*.wav"))[::5]]
    assert len(recordings) > 5
    found = np.concatenate([session.run(None, {"waveform": one[None]})[0] for one in recordings])
    result: np.ndarray = (found * encoder.embed(recordings)).sum(axis=1)
    return result


def test_halves_take_half_the_bytes_and_stay_near(
    run: Path, speech: Path, fp32: ExportedFile, fp16: ExportedFile
) -> None:
    model = onnx.load(fp16.file)
    onnx.checker.check_model(model, full_check=True)
    kept = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kept["front_end.cosines"] == TensorProto.FLOAT
    halves = sum(2 * np.prod(t.dims) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16)
    assert fp32.bytes - fp16.bytes == pytest.approx(halves, rel=0.05)
    found = cosines(run, fp16.file, speech)
    assert LEAST_COSINE["fp16"] <= found.min() and found.min() < 1.0 - 1e-8  # the weights did lose something
    assert entries(fp16.file)["precision"] == "fp16" and entries(fp32.file)["precision"] == "fp32"


def test_int8_has_its_products_over_frames_in_eight_bits(
    run: Path, speech: Path, fp32: ExportedFile, int8: ExportedFile
) -> None:
    model = onnx.load(int8.file)
    kept = {tensor.name: tensor for tensor in model.graph.initializer}
    eight = {name for name, tensor in kept.items() if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 2}
    assert len(eight) == 1 + 3 * 9 + 1 + 2  # layer; before, seven convolutions and after in each block; the rest
    for part in ("squeeze", "excite", "of_context", "network.embedding", "cosines"):
        assert not any(part in name for name in eight) and any(part in name for name in kept)
    scales = [tensor for name, tensor in kept.items() if "aggregation" in name and name.endswith("scale")]
    assert any(list(tensor.dims) == [1536] for tensor in scales)  # one for each channel
    assert int8.bytes < 0.65 * fp32.bytes
    # Seven bits and a sign: two products of neighbours fit in 16 bits, as kernels without VNNI add them.
    assert max(int(np.abs(numpy_helper.to_array(kept[name]).astype(int)).max()) for name in eight) == 64
    assert 2 * 255 * 64 == 32_640 >= largest_pair(model) > 16_000
    assert cosines(run, int8.file, speech).min() >= TINY_COSINE
    said = entries(int8.file)
    assert (said["precision"], said["calibration_recordings"], said["judged_recordings"]) == ("int8", "36", "36")


def test_weights_whose_sums_could_overflow_are_refused(int8: ExportedFile) -> None:
    model = onnx.load(int8.file)
    weights = next(
        tensor for tensor in model.graph.initializer if len(tensor.dims) == 2 and "aggregation" in tensor.name
    )
    assert weights.data_type == TensorProto.INT8
    values = numpy_helper.to_array(weights).copy()
    values[:2, 5] = (-65, 64)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    assert largest_pair(model) == 255 * 129
    with pytest.raises(CheckpointError, match="two of them can reach 32,895, and 16 bits hold 32,767"):
        refuse_overflow(model)


def test_int8_gives_what_the_standard_says(speech: Path, int8: ExportedFile) -> None:
    # The reference implementation of the ONNX project computes every operator in plain numpy, and cannot overflow.
    model = onnx.load(int8.file)
    model.opset_import[0].version = 19  # it has DequantizeLinear of no earlier set; that one adds float8 and axes
    standard, session = ReferenceEvaluator(model), onnxruntime.InferenceSession(str(int8.file))
    for path in sorted(speech.rglob("*.wav"))[::12]:
        given = {"waveform": np.tile(load_audio(path), 4)[None, :40000]}
        expected, found = standard.run(None, given)[0], session.run(None, given)[0]  # type: ignore[index]
        assert (found * expected).sum() > 0.9999


def test_the_encoder_that_needs_no_torch_reads_all_of_them(
    run: Path, speech: Path, fp16: ExportedFile, int8: ExportedFile
) -> None:
    recordings = [load_audio(path) for path in sorted(speech.rglob("*.wav"))[::9]]
    expected = SpeakerEncoder.load(run).embed(recordings)
    for done in (fp16, int8):
        found = SpeakerEncoder.load(done.file).embed(recordings)
        assert (found * expected).sum(axis=1).min() >= TINY_COSINE


def test_the_file_says_what_it_was_trained_on_and_judged_on(run: Path, fp32: ExportedFile, tmp_path: Path) -> None:
    said = entries(fp32.file)
    assert (said["data"], said["licence"], said["judged_s"]) == ("voices", "", "0.3-60")
    np.testing.assert_allclose(json.loads(said["centre"]), np.asarray(load_checkpoint(run).centre), rtol=1e-6)
    done = export_onnx(run, tmp_path / "a.onnx", data="ten voices", licence="CC BY 4.0")
    assert (entries(done.file)["data"], entries(done.file)["licence"]) == ("ten voices", "CC BY 4.0")


def test_the_lengths_of_embeddings_are_kept(run: Path, speech: Path, fp16: ExportedFile, int8: ExportedFile) -> None:
    voices = [speak(made_up_speaker(8, number), 0, 3.0) for number in range(4)]
    expected = np.array(SpeakerEncoder.load(run).embed_voices(voices).norms)
    for done, most in ((fp16, 0.01), (int8, 0.1)):
        ratios = np.array(SpeakerEncoder.load(done.file).embed_voices(voices).norms) / expected
        assert 0 < np.abs(np.log(ratios)).max() <= most
        agreed = agreement(run, running_with_norms(done.file.read_bytes()))
        assert 0 < agreed.furthest_norm <= most and agreed.worst_cosine >= TINY_COSINE
    with pytest.raises(CheckpointError, match=r"longer or shorter than its own \(by 20.0 %, and 10.5 are allowed\)"):
        demand_norm(run, np.log(1.2), 0.1)
    with pytest.raises(CheckpointError, match="nothing was written"):
        demand_norm(run, np.nan, 0.1)


def test_int8_that_is_too_far_off_is_not_written(
    run: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "LEAST_COSINE", {"int8": 0.99999999})
    with pytest.raises(CheckpointError, match=r"disagrees with it .* nothing was written"):
        export_onnx(run, tmp_path / "a.onnx", precision="int8", calibrate_on=speech)
    assert not list(tmp_path.iterdir())


def test_speech_is_drawn_evenly_and_the_same_every_time(speech: Path, tmp_path: Path) -> None:
    paths = sorted(speech.rglob("*.wav"))
    drawn = draw_pieces(speech, 12, seed=3)
    assert len(drawn) == 12 and min(map(len, drawn)) >= 32000
    whole = [load_audio(path) for path in paths]

    def source(piece: np.ndarray) -> int:
        return next(index for index, one in enumerate(whole) if np.array_equal(piece[: len(one)], one))

    assert [source(piece) // 3 for piece in drawn] == list(range(12))  # one of every three
    assert all(map(np.array_equal, drawn, draw_pieces(speech, 12, seed=3)))
    assert [source(piece) for piece in drawn] != [source(piece) for piece in draw_pieces(speech, 12, seed=4)]
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\tsomebody\n" for path in paths), encoding="utf-8")
    assert all(map(np.array_equal, drawn, draw_pieces(listed, 12, seed=3)))
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    for wrong in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError, match=r"no such folder|0 of 1 recordings can be used"):
            draw_pieces(wrong, 12)


def test_the_command_refuses_what_does_not_go_together(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.onnx")
    for words, complaint in (
        (["--precision", "int8"], "int8 needs speech to calibrate on"),
        (["--calibrate-on", str(run)], "--calibrate-on belongs to int8"),
        (
            ["--format", "sherpa-onnx", "--precision", "fp16"],
            "goes with --format onnx, safetensors and tensorrt",
        ),
        (["--format", "tensorrt", "--precision", "int8"], "--precision int8 goes with --format onnx"),
        (["--format", "tensorrt", "--licence", "MIT"], "--licence goes with --format onnx, safetensors and hub"),
        (["--longest", "9"], "--longest goes with --format tensorrt"),
    ):
        assert main(["export", str(run), "--out", out, *words]) == 2
        assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
