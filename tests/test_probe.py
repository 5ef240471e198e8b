"""A model file carries a probe, and is refused where it does not give the embedding that it should."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors import safe_open
from safetensors.torch import save_file

from sound_groove.cli import main
from sound_groove.encoder import proof
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.onnx_content import CHECKSUM
from sound_groove.encoder.onnx_facts import describe_onnx
from sound_groove.encoder.onnx_model import PROBE_KEY
from sound_groove.errors import CheckpointError, MetricError
from sound_groove.export.calibrated_file import write_calibrated
from sound_groove.export.network_file import export_network
from sound_groove.export.onnx_file import export_onnx
from sound_groove.export.tracing import describe
from sound_groove.files import CACHE_VARIABLE, cache_folder
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.probe import Probe, probe_signal
from sound_groove.pretrained import PRETRAINED, UNLISTED, model_path
from sound_groove.provenance import instruction_set
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import Samples
from store_places import SqlitePlace

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often the probe was made."""
    times: list[int] = []

    def counted() -> Samples:
        times.append(1)
        return probe_signal()

    monkeypatch.setattr(proof, "probe_signal", counted)
    yield times


def rotten_onnx(source: Path, out: Path, share: float, least_axes: int = 1) -> Path:
    """A copy, the signs of a share of its weights changed, that says of itself what it said before."""
    model, rng = onnx.load(source), np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if values.dtype.kind == "f" and values.size >= 64 and values.ndim >= least_axes:
            values[rng.random(values.shape) < share] *= -1
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, out)
    return stripped(out, out)


def rotten_network(source: Path, out: Path) -> Path:
    """The same of a .safetensors file, a fiftieth of its weights."""
    rng = np.random.default_rng(0)
    with safe_open(source, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata()  # noqa: SIM118
    for tensor in tensors.values():
        if tensor.is_floating_point() and tensor.dim() > 1:
            tensor.view(-1)[rng.random(tensor.numel()) < 0.02] *= -1
    save_file(tensors, out, metadata)
    return out


def stripped(source: Path, out: Path, *keys: str, **entries: object) -> Path:
    """A copy without these entries, and without its checksum, and with others."""
    model = onnx.load(source)
    kept = [entry for entry in model.metadata_props if entry.key not in (CHECKSUM, *keys, *entries)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    describe(model, entries)
    onnx.save(model, out)
    return out


def test_the_signal_is_made_by_rule() -> None:
    signal = probe_signal()
    assert signal.dtype == np.float32 and signal.shape == (32000,)
    assert np.array_equal(signal, probe_signal())
    steps = signal.astype(np.float64) * 32768
    assert np.array_equal(steps, steps.round())  # 16-bit steps
    assert np.abs(signal).max() == 0.5
    # The pitch at 0.36 s is 140 + 30 Hz: the strongest lags of its autocorrelation are those of 170 Hz.
    part = signal[5300:6300].astype(np.float64)
    lags = np.correlate(part, part, "full")[len(part) :]
    assert 60 + np.argmax(lags[60:140]) + 1 == pytest.approx(16000 / 169, abs=2)


def test_a_probe_is_written_down_and_restored() -> None:
    probe = Probe.of([0.6, 0.8], 0.999)
    assert Probe.restored(json.loads(json.dumps(probe.as_dict()))) == probe
    assert probe.cosine(np.array([0.8, 0.6], np.float32)) == pytest.approx(0.96, abs=1e-6)
    assert probe.cosine(np.array([1.0, 0.0, 0.0], np.float32)) == -1.0
    assert probe.cosine(np.array([np.nan, 1.0], np.float32)) == -1.0
    assert Probe.restored({**probe.as_dict(), "rule": 2}) is None  # of a later version
    wrong: Any
    for wrong in ({}, [], 3, {"rule": 1}, {**probe.as_dict(), "embedding": [5.0]}, {**probe.as_dict(), "embedding": 1}):
        with pytest.raises(MetricError):
            Probe.restored(wrong)


def test_what_is_exported_and_what_is_trained_carry_the_embedding_of_the_model(
    tiny_run: Path, exported: Path, tmp_path: Path
) -> None:
    half = export_network(tiny_run, tmp_path / "half.safetensors", precision="fp16").file
    for path in (tiny_run, exported, half):
        encoder = SpeakerEncoder.load(path)
        assert encoder.proof is not None and encoder.proof.cosine > 0.99999
        assert instruction_set() in encoder.proof.place
    fields = json.loads({entry.key: entry.value for entry in onnx.load(exported).metadata_props}[PROBE_KEY])
    found = SpeakerEncoder.load(exported).embed(probe_signal())
    assert np.allclose(fields["embedding"], found, atol=1e-5)
    assert load_checkpoint(tiny_run).probe is not None


def test_a_file_whose_weights_were_changed_is_refused_with_the_cosine(
    exported: Path, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SpeakerEncoder.load(exported)  # what is known of the right file says nothing of the other
    rotten = rotten_onnx(exported, tmp_path / "rotten.onnx", 0.02)
    with pytest.raises(CheckpointError, match=r"the cosine with its probe's embedding is 0\.\d+, and 0\.9999 is asked"):
        SpeakerEncoder.load(rotten)
    with pytest.raises(CheckpointError, match="what it holds of 'network' is not what was written"):
        SpeakerEncoder.load(rotten_network(tiny_run / "best.safetensors", tmp_path / "rotten.safetensors"))
    assert main(["info", str(rotten), "--check"]) == 1
    assert "does not compute here what it computed where it was written" in capsys.readouterr().err


def test_one_turned_bit_anywhere_in_a_file_is_noticed_when_it_is_loaded(tmp_path: Path) -> None:
    whole, rotten = tmp_path / "whole.onnx", tmp_path / "rotten.onnx"
    write_calibrated(PRETRAINED, ScoreMap(10.0, -5.0, "an example"), whole)
    write_calibrated(whole, ScoreMap(11.0, -5.0, "another"), whole)  # an earlier checksum is replaced
    assert SpeakerEncoder.load(whole).score_map == ScoreMap(11.0, -5.0, "another")
    content, draws = whole.read_bytes(), np.random.default_rng(0)
    for place in draws.integers(len(content) // 10, len(content) * 9 // 10, 5).tolist():  # among the weights
        rotten.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << int(draws.integers(8))]) + content[place + 1 :]
        )
        with pytest.raises(CheckpointError, match="is damaged"):
            SpeakerEncoder.load(rotten)


def test_an_altered_file_whose_probe_was_made_to_fit_is_refused_by_every_verb_with_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = model_path(PRETRAINED)
    rotten = stripped(rotten_onnx(right, tmp_path / "rotten.onnx", 0.02, 2), tmp_path / "altered.onnx", PROBE_KEY)
    found = SpeakerEncoder.load(rotten)
    fitting = json.dumps(Probe.of(found.embed(probe_signal(), keep_pauses=True), 0.99).as_dict())
    altered = stripped(rotten, tmp_path / "fits.onnx", **{PROBE_KEY: fitting})
    encoder = SpeakerEncoder.load(altered)  # which believes itself
    assert encoder.identity.hash == SpeakerEncoder.load(right).identity.hash and encoder.proof is not None
    assert encoder.identity.name == UNLISTED  # and so it would be where no store knows better
    clip, store = str(EXAMPLES / "slt-1.flac"), str(tmp_path / "v.db")

    def run(model: Path, *words: str) -> tuple[int, str]:
        status = main([*words, "--store", store, "--model", str(model)])
        return status, capsys.readouterr().err

    assert run(right, "enroll", "anna", clip, "--keep-audio")[0] == 0
    before = SqlitePlace(Path(store)).execute("SELECT * FROM facts, events, speakers, recordings")
    other = str(EXAMPLES / "slt-2.flac")
    for words in (("enroll", "anna", other), ("enroll", "ben", other), ("verify-speaker", "anna", other),
                  ("identify", other), ("serve", "--port", "0")):  # fmt: skip
        status, error = run(altered, *words)
        assert status == 1 and error.count("\n") == 1, error
        assert error.startswith(f"error: this model calls itself {encoder.identity.label} and is another than that of")
    assert SqlitePlace(Path(store)).execute("SELECT * FROM facts, events, speakers, recordings") == before
    assert [run(right, *words)[0] for words in (("identify", other), ("enroll", "anna", other, "--force"))] == [0, 0]

    # It goes with the voiceprints into another store; there the altered file's own are refused too.
    moved, theirs = str(tmp_path / "moved.db"), str(tmp_path / "theirs.db")
    assert main(["speakers", "export", str(tmp_path / "v.npz"), "--store", store]) == 0
    assert main(["speakers", "import", str(tmp_path / "v.npz"), "--store", moved]) == 0
    assert main(["identify", other, "--store", moved, "--model", str(altered)]) == 1
    assert main(["enroll", "ben", other, "--store", theirs, "--model", str(altered)]) == 0
    assert main(["speakers", "export", str(tmp_path / "w.npz"), "--store", theirs]) == 0
    capsys.readouterr()
    assert main(["speakers", "import", str(tmp_path / "w.npz"), "--store", moved]) == 1
    assert "and is another than that of the store's voiceprints" in capsys.readouterr().err


def test_a_change_of_place_is_not_hidden_by_the_name_of_the_file(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.read_bytes())
    assert SpeakerEncoder.load(path).proof is not None
    before = path.stat()
    rotten_onnx(exported, path, 0.02)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CheckpointError, match="does not compute here"):
        SpeakerEncoder.load(path)


def test_it_is_proved_once_for_each_file_runtime_device_and_processor(
    exported: Path, tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    SpeakerEncoder.load(exported)
    again = SpeakerEncoder.load(exported).proof
    assert len(asked) == 1 and again is not None and again.is_remembered and again.cosine > 0.99999
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(exported.read_bytes())
    SpeakerEncoder.load(copy)
    assert len(asked) == 1  # the same content
    SpeakerEncoder.load(exported, "openvino")
    assert len(asked) == 2
    SpeakerEncoder.load(exported, prove_anew=True)
    assert len(asked) == 3
    monkeypatch.setattr(proof, "instruction_set", lambda: "AVX512VNNI")
    SpeakerEncoder.load(exported)
    monkeypatch.setattr(proof, "version_of", lambda package, otherwise: "9.9")
    SpeakerEncoder.load(exported)
    assert len(asked) == 5


def test_without_a_cache_it_is_proved_every_time(exported: Path, cache: Path, asked: list[int]) -> None:
    cache.write_text("no folder")
    SpeakerEncoder.load(exported)
    SpeakerEncoder.load(exported)
    assert len(asked) == 2
    cache.unlink()
    SpeakerEncoder.load(exported)
    (kept,) = cache.rglob("*.json")
    for damage in ("", "[]", '{"cosine": "much"}', '{"cosine": 0.5}'):
        kept.write_text(damage)
        SpeakerEncoder.load(exported)
    assert len(asked) == 7


def test_the_cache_lies_where_the_system_keeps_such_things(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sound-groove"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "sound-groove"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "sound-groove"


def test_files_without_a_probe_are_used_and_said_to_have_none(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = stripped(exported, tmp_path / "old.onnx", PROBE_KEY)
    assert SpeakerEncoder.load(old).proof is None
    assert main(["info", str(old), "--check"]) == 1
    assert "carries no probe" in capsys.readouterr().err
    assert main(["info", str(exported), "--check", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["check"]
    assert said["probe_cosine"] > 0.99999 and said["least_cosine"] == 0.9999
    assert "onnxruntime" in said["computed_by"] and "on cpu" in said["computed_by"]
    assert main(["info", str(exported), "--device", "cpu"]) == 2


def test_int8_without_a_probe_comes_from_a_version_that_overflowed(exported: Path, tmp_path: Path) -> None:
    old = stripped(exported, tmp_path / "old.onnx", PROBE_KEY, precision="int8")
    with pytest.raises(CheckpointError, match=r"is in int8 and carries no probe; .* export it again"):
        SpeakerEncoder.load(old)
    assert "export it again" in describe_onnx(old)["problem"]


@pytest.mark.parametrize("damage", ["{", "[]", '{"rule": 1}', "7", '"text"'])
def test_a_damaged_probe_is_said_to_be_damaged(exported: Path, tmp_path: Path, damage: str) -> None:
    with pytest.raises(CheckpointError, match="its probe is damaged"):
        SpeakerEncoder.load(stripped(exported, tmp_path / "a.onnx", **{PROBE_KEY: damage}))


@pytest.mark.slow
def test_a_calibrated_copy_keeps_its_probe(tiny_run: Path, tmp_path: Path) -> None:
    from sound_groove.export.calibrated_file import write_calibrated
    from sound_groove.scoring.calibration import ScoreMap

    done = export_onnx(tiny_run, tmp_path / "a.onnx").file
    for source, name in ((done, "b.onnx"), (tiny_run, "b.safetensors")):
        write_calibrated(source, ScoreMap(9.0, -3.0, "nothing: made up"), tmp_path / name)
        assert SpeakerEncoder.load(tmp_path / name).proof is not None
