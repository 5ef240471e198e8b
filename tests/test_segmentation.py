"""The segmentation model: its network, its file, and what is made of what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sound_groove import cli
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import open_recording
from sound_groove.diarization import segmentation
from sound_groove.diarization.overlap import alone, matched, overlap_s, with_overlap
from sound_groove.diarization.segmentation import SETS, WINDOW, LocalActivity, Segmentation, window_starts
from sound_groove.diarization.who import who
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, UsageError
from sound_groove.importing import getting
from sound_groove.importing.given_source import given_source
from sound_groove.importing.segmentation import import_segmentation
from sound_groove.networks.segmentation import PyanNet, SincFilters, restore_segmentation
from sound_groove.pretrained import model_path
from sound_groove.public_models import find_public
from sound_groove.synthesis.conversations import Conversation
from test_diarization import encoder, talk  # noqa: F401

S = SAMPLE_RATE


def fixed_model(path: Path, sets: int = 7, window: int | str = WINDOW, rank: int = 3) -> Path:
    """A file that says of every frame the same: that the first and the second of three speak."""
    from onnx import TensorProto, helper, numpy_helper

    values = np.full((1, 589, sets), -9.0, np.float32)
    values[..., 4] = 0.0
    whole: list[str | int | None] = ["B", 1, window]
    shape = whole[:rank]
    nodes = [
        helper.make_node("Shape", ["waveforms"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "rest"], ["shape"], axis=0),
        helper.make_node("Expand", ["values", "shape"], ["sets"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("waveforms", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("sets", TensorProto.FLOAT, ["B", 589, sets])],
        [numpy_helper.from_array(values, "values"), numpy_helper.from_array(np.array([589, sets]), "rest")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def weights(path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = PyanNet()
    torch.save({"state_dict": network.state_dict(), "format_version": 1}, path)
    return path


# The network.


def test_a_tone_passes_the_filter_of_its_band_and_no_other() -> None:
    filters = SincFilters()
    with torch.no_grad():
        filters.low_hz_[:, 0] = torch.arange(40) * 100.0
        filters.band_hz_[:] = 50.0
        time = torch.arange(S) / S
        for pitch_hz in (1000.0, 2500.0):
            power = filters(torch.sin(2 * torch.pi * pitch_hz * time)[None, None]).square().mean(dim=2)[0]
            both = power[:40] + power[40:]  # of the even and the odd filter of each band
            assert abs(int(both.argmax()) * 100.0 + 100.0 - pitch_hz) <= 100.0


def test_the_network_has_the_published_size_and_frames() -> None:
    network = PyanNet().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_473_265
    with torch.inference_mode():
        found = network(torch.randn(1, 1, WINDOW, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (1, 589, 7)
    assert found.exp().sum(dim=2).numpy() == pytest.approx(np.ones((1, 589)), abs=1e-5)


def test_other_weights_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"a\.pt: holds other weights than those of segmentation-3\.0"):
        restore_segmentation({"a": torch.zeros(1)}, "a.pt")


@pytest.mark.slow
def test_the_file_computes_what_the_network_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUND_GROOVE_CACHE", str(tmp_path))
    source, out = weights(tmp_path / "a.pt"), tmp_path / "a.onnx"
    import_segmentation(source, out)
    pieces = [np.random.default_rng(seed).standard_normal(WINDOW - 100 * seed).astype(np.float32) for seed in range(3)]
    found = Segmentation(out, 1).activity(pieces)
    network = restore_segmentation(torch.load(source, weights_only=True)["state_dict"], "a.pt")
    for piece, activity in zip(pieces, found, strict=True):
        with torch.inference_mode():
            sets = network(torch.from_numpy(np.pad(piece, (0, WINDOW - len(piece))))[None, None])[0].exp().numpy()
        assert activity.astype(np.float64) == pytest.approx(sets @ SETS, abs=2e-3)
    # As `models get` keeps it; and it is no speaker model.
    model = find_public("segmentation-3.0")
    model.path.parent.mkdir(parents=True)
    assert "who" in getting._keep(model, source) and segmentation.public_segmentation() == model.path
    with pytest.raises(UsageError, match="embeds no voices"):
        model_path("segmentation-3.0")
    with pytest.raises(UsageError, match="embeds no voices"), given_source("segmentation-3.0"):
        pass


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model file"):
        Segmentation(tmp_path / "none.onnx")
    with pytest.raises(CheckpointError, match=r"takes waveforms \(B, 1, samples\) alone"):
        Segmentation(fixed_model(tmp_path / "a.onnx", rank=2))
    with pytest.raises(CheckpointError, match="hears 8,000 samples at a time"):
        Segmentation(fixed_model(tmp_path / "a.onnx", window=8000))
    with pytest.raises(CheckpointError, match=r"gave values of shape \(1, 589, 9\)"):
        Segmentation(fixed_model(tmp_path / "a.onnx", sets=9)).activity([np.zeros(WINDOW, np.float32)])


# Windows of ten seconds.


def test_windows_cover_a_recording_of_any_length() -> None:
    assert window_starts(3 * S) == [0] and window_starts(WINDOW) == [0]
    for samples in (WINDOW + 1, 17 * S, 600 * S):
        starts = window_starts(samples)
        assert starts[0] == 0 and starts[-1] + WINDOW == samples
        assert max(np.diff(starts)) <= segmentation.STEP


def test_a_recording_is_heard_in_parts_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Segmentation(fixed_model(tmp_path / "a.onnx"), 1)
    monkeypatch.setattr(segmentation, "LISTENED_SAMPLES", 25 * S)
    samples = np.random.default_rng(0).standard_normal(53 * S).astype(np.float32) * 0.1
    told: list[float] = []
    with open_recording((samples, S)) as opened:
        heard = model.hear(opened, told.append)
    assert sum(told) == pytest.approx(53) and min(told) > 0
    assert [(one.start / S, one.length / S) for one in heard] == [
        (0, 10), (5, 10), (10, 10), (15, 10), (25, 10), (30, 10), (35, 10), (40, 10), (50, 3)
    ]  # fmt: skip
    assert heard[0].activity.shape == (589, 3) and heard[0].activity.mean(axis=0).round(2).tolist() == [1, 1, 0]
    middles = heard[1].middles
    assert middles[0] - 5 * S == pytest.approx(15 * S - middles[-1]) and np.diff(middles) == pytest.approx(270)


# Several at a time.


def local(start_s: float, *spans: tuple[int, float, float]) -> LocalActivity:
    """A window in which the local speakers speak at these times, in seconds of the window."""
    activity = np.zeros((589, 3), np.float16)
    middles = LocalActivity(0, WINDOW, activity).middles / S
    for speaker, start, end in spans:
        activity[(middles >= start) & (middles < end), speaker] = 1
    return LocalActivity(int(start_s * S), WINDOW, activity)


def test_local_speakers_are_those_with_whom_they_share_most_time() -> None:
    spoken = [((0, 4 * S), 1), ((4 * S, 10 * S), 0)]
    found = with_overlap(spoken, [local(0, (2, 0.0, 5.0), (0, 4.0, 9.0))], 10 * S)
    assert [(round(a / S, 1), round(b / S, 1), speaker) for (a, b), speaker in found] == [(0, 5, 1), (4, 10, 0)]
    assert overlap_s(found) == pytest.approx(1.0, abs=0.05)
    assert matched(np.zeros((5, 3)), np.full(5, -1), 2) == []


def test_windows_that_number_their_speakers_otherwise_agree() -> None:
    spoken = [((0, 7 * S), 0), ((7 * S, 15 * S), 1)]
    windows = [local(0, (0, 0.0, 8.0), (1, 7.0, 10.0)), local(5, (1, 0.0, 3.0), (0, 2.0, 10.0))]
    found = with_overlap(spoken, windows, 15 * S)
    assert [speaker for _, speaker in found] == [0, 1] and overlap_s(found) == pytest.approx(1.0, abs=0.05)
    # What only one of the two windows hears that a moment lies in is not enough.
    assert with_overlap(spoken, [windows[0], local(5, (0, 2.0, 10.0))], 15 * S) == spoken


def test_nothing_is_added_where_nobody_else_is_or_for_a_moment() -> None:
    spoken = [((0, 5 * S), 0), ((5 * S, 10 * S), 1)]
    assert with_overlap(spoken, [local(0, (0, 0.0, 5.05), (1, 5.0, 10.0))], 10 * S) == spoken
    assert with_overlap([((0, 10 * S), 0)], [local(0, (0, 0.0, 9.0), (1, 3.0, 6.0))], 10 * S) == [((0, 10 * S), 0)]
    assert with_overlap([], [local(0, (0, 3.0, 6.0))], 10 * S) == []
    silence = with_overlap(spoken[:1], [local(0, (0, 6.0, 9.0), (1, 6.0, 9.0))], 10 * S)
    assert silence == spoken[:1]  # where the detector hears no speech, nobody is told


def test_names_are_asked_for_by_what_is_said_alone() -> None:
    spoken = [((0, 10), 0), ((5, 15), 1), ((20, 30), 0)]
    assert alone(spoken) == [((0, 5), 0), ((20, 30), 0), ((10, 15), 1)]
    assert overlap_s([]) == 0.0


def test_who_tells_overlap_where_there_is_a_model(
    tmp_path: Path,
    talk: Conversation,  # noqa: F811
    encoder: SpeakerEncoder,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    import soundfile

    model = fixed_model(tmp_path / "both.onnx")
    short = replace(talk, samples=talk.samples[: 12 * S])
    found = who((short.samples, S), encoder, segmentation=Segmentation(model, 1))
    assert found.overlap_s is not None and 0 <= found.overlap_s <= 12
    soundfile.write(tmp_path / "a.wav", short.samples, S)
    assert cli.main(["who", str(tmp_path / "a.wav"), "--segmentation", str(model)]) == 0
    assert "at a time: unknown" not in capfd.readouterr().out
    assert cli.main(["who", str(tmp_path / "a.wav"), "--segmentation", "none"]) == 0
    assert "at a time: unknown" in capfd.readouterr().out
