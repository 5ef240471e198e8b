"""Measured speed: the figures come out right of a stand-in that takes a known time by a clock of its own."""

import doctest
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processes import modules_after
from sound_groove.cli import main
from sound_groove.encoder import timing as timing_module
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.timing import Benchmark, Setting, Timing, benchmark, default_threads, embedded_s, settings
from sound_groove.errors import CheckpointError, UsageError
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.provenance import available_cores
from sound_groove.types import ModelIdentity, Samples

RATE = 16000


class Clock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class StandIn:
    """A backend that takes 0.05 s for each second of audio in one thread, half of it in two; ten times at first."""

    embedding_size = 2
    pads = False
    has_floor = False
    tells_norm = False
    silence_share: float | None = None
    longest_samples: int | None = None
    batch_seconds = 30.0

    def __init__(self, clock: Clock, threads: int, slowdown: Sequence[float] = (1.0,)) -> None:
        self.batches: list[list[int]] = []
        self._clock, self._threads, self._slowdown = clock, threads, slowdown
        self._seen: set[tuple[int, int]] = set()

    def embed_waveforms(self, pieces: Sequence[Samples], levels: Sequence[float]) -> NDArray[np.float64]:
        lengths = [len(piece) for piece in pieces]
        is_first = (len(lengths), lengths[0]) not in self._seen
        self._seen.add((len(lengths), lengths[0]))
        factor = 10.0 if is_first else self._slowdown[len(self.batches) % len(self._slowdown)]
        self.batches.append(lengths)
        self._clock.now_s += factor * 0.05 * sum(lengths) / RATE / self._threads
        return np.ones((len(pieces), 2))

    def embed_features(self, pieces: Sequence[NDArray[np.float32]], levels: Sequence[float]) -> NDArray[np.float64]:
        raise NotImplementedError


class Bench:
    """A benchmark of stand-ins: what it found, what it loaded, and what it was told meanwhile."""

    def __init__(self, chosen: list[Setting], budget_s: float = 1.0, slowdown: Sequence[float] = (1.0,)) -> None:
        self.clock = Clock()
        self.loaded: list[tuple[int, StandIn]] = []
        self.told: list[object] = []
        self.slowdown = slowdown
        self.found: Benchmark = benchmark(self.load, chosen, budget_s, self, self.clock)

    def begins(self, model: ModelIdentity, machine: dict[str, Any]) -> None:
        self.told.append(model.name)

    def measures(self, setting: Setting) -> None:
        self.told.append(setting)

    def measured(self, timing: Timing) -> None:
        self.told.append(timing)

    def load(self, threads: int) -> SpeakerEncoder:
        self.clock.now_s += 0.25 if self.loaded else 3.0
        self.loaded.append((threads, StandIn(self.clock, threads, self.slowdown)))
        return SpeakerEncoder(self.loaded[-1][1], ModelIdentity("stand-in", "0" * 64))


def test_the_real_time_factor_is_the_time_that_a_second_of_audio_takes() -> None:
    chosen = settings([1, 2], [1, 8], [2.5, 5.0, 20.0])
    bench = Bench(chosen)
    assert [timing.setting for timing in bench.found.timings] == chosen
    # Told as it happens: the model, then each setting before it is measured, and what was measured after it.
    assert bench.told[0] == "stand-in"
    assert bench.told[1:] == [one for timing in bench.found.timings for one in (timing.setting, timing)]
    for timing in bench.found.timings:
        expected = 0.05 / timing.setting.threads
        assert timing.real_time_factor == pytest.approx(expected)
        assert timing.recordings_per_s == pytest.approx(1.0 / (expected * timing.setting.duration_s))


def test_the_runs_add_up_and_the_one_that_warms_up_is_not_among_them() -> None:
    bench = Bench(settings([1], [1, 4], [3.0, 10.0]), budget_s=2.0)
    stand_in = bench.loaded[-1][1]
    counts = [len(timing.runs_s) for timing in bench.found.timings]
    # 0.15 s and 0.5 s a recording: 14 and 4 fill two seconds; four of them take 0.6 s (four runs) and 2 s (three)
    assert counts == [14, 4, 4, 3]
    assert len(stand_in.batches) == sum(counts) + len(counts)
    for timing, runs in zip(bench.found.timings, counts, strict=True):
        lengths = [round(timing.setting.duration_s * RATE)] * timing.setting.batch
        assert stand_in.batches.count(lengths) == runs + 1  # all recordings in one batch, though the encoder takes 30 s
        assert sum(timing.runs_s) == pytest.approx(runs * 0.05 * timing.audio_s)  # without the slow first one


def test_an_odd_run_moves_highest_and_lowest_but_not_the_median() -> None:
    (timing,) = Bench([Setting(1, 1, 10.0)], 2.5, slowdown=(0.5, 1.0, 1.0, 3.0, 1.0)).found.timings
    assert (min(timing.runs_s), timing.median_s, max(timing.runs_s)) == pytest.approx((0.5, 0.5, 1.5))
    assert Timing(Setting(1, 2, 5.0), (4.0, 1.0, 2.0)).median_s == 2.0


def test_the_model_is_loaded_once_to_warm_up_and_once_for_each_number_of_threads() -> None:
    bench = Bench(settings([2, 1], [1, 2], [2.5]))
    assert [threads for threads, _ in bench.loaded] == [2, 2, 1]
    assert (bench.found.first_load_s, bench.found.load_s) == (3.0, 0.25)
    assert bench.loaded[0][1].batches == []


def test_a_short_recording_costs_what_the_encoder_makes_of_it() -> None:
    bench = Bench([Setting(1, 8, 1.0)])
    assert embedded_s(1.0) == 2.0 and embedded_s(2.0) == 2.0 and embedded_s(2.1) == 2.1
    assert set(map(tuple, bench.loaded[-1][1].batches)) == {(2 * RATE,) * 8}
    assert bench.found.timings[0].real_time_factor == pytest.approx(0.10)


def test_a_model_that_takes_no_time_at_all_comes_to_an_end() -> None:
    assert len(Bench([Setting(1, 1, 2.5)], slowdown=(0.0,)).found.timings[0].runs_s) == 1000


def test_settings_are_measured_once_in_the_order_given() -> None:
    chosen = settings([2, 1, 2], [8], [5.0, 2.0, 5.0])
    assert [(one.threads, one.duration_s) for one in chosen] == [(2, 5.0), (2, 2.0), (1, 5.0), (1, 2.0)]
    cores = available_cores()
    assert default_threads("cpu") == sorted({1, cores}) and default_threads("cuda:1") == [cores]


@pytest.mark.parametrize(
    ("threads", "batch", "duration_s", "sentence"),
    [
        (0, 1, 5.0, "numbers of threads and of recordings are at least 1; 0 was given"),
        (1, -1, 5.0, "numbers of threads and of recordings are at least 1; -1 was given"),
        (1, 1, 0.01, r"durations lie between 0\.1 and 60 s; 0\.01 was given"),
        (1, 1, 61.0, r"durations lie between 0\.1 and 60 s; 61 was given"),
        (1, 1, float("nan"), "nan was given"),
        (1, 11, 60.0, "11 recordings of 60 s are more than the 600 s of audio that are embedded at once"),
        (1, 320, 2.0, "320 recordings of 2 s are more than"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(threads: int, batch: int, duration_s: float, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        settings([threads], [batch], [duration_s])


def test_the_most_audio_that_is_allowed_is_one_batch() -> None:
    bench = Bench(settings([1], [10], [60.0]))
    assert {len(batch) for batch in bench.loaded[-1][1].batches} == {10}


def test_a_benchmark_of_nothing_or_of_no_time_is_refused() -> None:
    for chosen, budget_s in (([], 1.0), ([Setting(1, 1, 5.0)], 0.0), ([Setting(1, 1, 5.0)], float("nan"))):
        with pytest.raises(UsageError):
            Bench(chosen, budget_s)


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(timing_module)
    assert result.attempted >= 4 and result.failed == 0


# The command


pytestmark = pytest.mark.usefixtures("computed_anew")

QUICK = ["--seconds", "2.5", "1", "--batch", "1", "2", "--budget", "0.001"]


def test_the_command_prints_one_object(
    model_path: Path, exported: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUND_GROOVE_MODEL", str(exported))
    for words, path in (([str(model_path)], model_path), (["--model", str(exported)], exported), ([], exported)):
        assert main(["bench", *words, *QUICK, "--threads", "1", "--json"]) == 0
        printed = capsys.readouterr()
        facts = json.loads(printed.out)
        assert printed.err == "" and facts["file"] == str(path) and facts["device"] == "cpu"
        assert facts["model"] == {"name": "random", "hash": load_checkpoint(model_path).hash}
        assert facts["first_load_s"] > 0 and facts["load_s"] > 0 and facts["budget_s"] == 0.001
        assert {"cpu", "cores", "system", "versions", "git_commit", "load_average"} <= facts["machine"].keys()
        assert "onnxruntime" in facts["machine"]["versions"] and "threads" not in facts["machine"]
        cells = [(one["threads"], one["batch"], one["duration_s"], one["embedded_s"]) for one in facts["timings"]]
        assert cells == [(1, 1, 2.5, 2.5), (1, 1, 1.0, 2.0), (1, 2, 2.5, 2.5), (1, 2, 1.0, 2.0)]
        for one in facts["timings"]:
            assert one["runs"] >= 3 and 0 < one["lowest_s"] <= one["median_s"] <= one["highest_s"]
            assert one["real_time_factor"] == pytest.approx(one["median_s"] / one["batch"] / one["duration_s"])
            assert one["recordings_per_s"] == pytest.approx(one["batch"] / one["median_s"])


def test_the_command_prints_an_aligned_table(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(exported), *QUICK, "--threads", "1", "2"]) == 0
    out = capsys.readouterr().out
    facts, *table, notes = out.split("\n\n")
    identity = SpeakerEncoder.load(exported).identity
    assert facts.startswith(f"model     random ({identity.hash[:12]}), {exported}\ndevice    cpu\nmachine ")
    header, *first = table[0].splitlines()
    second = table[1].splitlines()
    assert header.split()[:3] == ["threads", "batch", "seconds"] and len(first) == len(second) == 4
    assert len({len(line) for line in (header, *first, *second)}) == 1
    assert [line.split()[:3] for line in second] == [["2", b, s] for b in "12" for s in ("2.5", "1")]
    assert "a recording of 1 s is repeated, and embedded as one of 2 s" in notes and "2.5 s is repeated" not in notes


def test_a_benchmark_of_an_onnx_file_loads_no_torch(exported: Path) -> None:
    words = ["bench", str(exported), *QUICK, "--threads", "1"]
    loaded = modules_after(f"from sound_groove.cli import main\nassert main({words!r}) == 0")
    assert {"onnxruntime", "sound_groove.encoder.timing"} <= loaded
    assert not {"torch", "onnx", "pydantic", "safetensors"} & loaded


def test_mistakes_are_one_sentence(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, status, sentence in (
        (["nothing.onnx"], 1, "error: nothing.onnx: there is no such model file"),
        ([str(exported), "--model", "other"], 2, "error: the model is named twice: as MODEL and with --model"),
        ([str(exported), "--seconds", "90"], 2, "error: durations lie between 0.1 and 60 s; 90 was given"),
        ([str(exported), "--budget", "-1"], 2, "error: the budget must be a number of seconds above 0"),
        ([str(exported), "--device", "abacus"], 2, "error: device 'abacus' is not one for an ONNX model"),
    ):
        assert main(["bench", *words]) == status
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith(sentence) and printed.err.count("\n") == 1


def test_a_model_that_fails_is_an_error_and_not_a_figure() -> None:
    class Broken(StandIn):
        def embed_waveforms(self, pieces: Sequence[Samples], levels: Sequence[float]) -> NDArray[np.float64]:
            return np.full((len(pieces), 2), np.nan)

    def load(threads: int) -> SpeakerEncoder:
        return SpeakerEncoder(Broken(Clock(), threads), ModelIdentity("broken", ""))

    with pytest.raises(CheckpointError, match="not finite"):
        benchmark(load, [Setting(1, 1, 5.0)])
