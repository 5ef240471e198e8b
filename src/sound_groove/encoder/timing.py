"""How fast a model computes embeddings here: in how many threads, of recordings how long, how many at a time.

What is timed is all that lies between samples and embedding: features, network, and what the encoder does around them.
Reading and decoding files is not. The recordings are noise, since a network takes as long for noise as for speech.

For each combination the recordings are embedded once to warm up, then again and again until the budget is spent, and at
least three times. The real-time factor is the median time of these runs for one second of audio: lower is faster, and
below 1 is faster than the audio lasts.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, product
from typing import Any, Protocol

import numpy as np

from sound_groove.audio.filterbank import samples_of
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import repeated
from sound_groove.encoder.encoder import HELD_SECONDS, MINIMUM_FRAMES, SpeakerEncoder
from sound_groove.errors import UsageError
from sound_groove.provenance import available_cores, host, now
from sound_groove.types import ModelIdentity, Samples

LEAST_RUNS, MOST_RUNS = 3, 1000
SHORTEST_S, LONGEST_S = 0.1, 60.0  # a longer recording is cut into pieces: as fast, and no single batch


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured at a time.

    Attributes:
        threads: CPU threads.
        batch: recordings that are embedded together.
        duration_s: of each.
    """

    threads: int
    batch: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the runs of one setting took.

    Attributes:
        setting: what was measured.
        runs_s: seconds of each run, in the order in which they were made; the one that warms up is not among them.
    """

    setting: Setting
    runs_s: tuple[float, ...]

    @property
    def audio_s(self) -> float:
        """Audio of a run, in seconds."""
        return self.setting.batch * self.setting.duration_s

    @property
    def median_s(self) -> float:
        """Of a run."""
        return statistics.median(self.runs_s)

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for one second of audio: lower is faster.

        >>> Timing(Setting(threads=1, batch=2, duration_s=5.0), (0.5, 0.9, 0.4)).real_time_factor
        0.05
        """
        return self.median_s / self.audio_s

    @property
    def recordings_per_s(self) -> float:
        """Recordings of this duration that are embedded in a second.

        >>> Timing(Setting(threads=1, batch=2, duration_s=5.0), (0.5, 0.9, 0.4)).recordings_per_s
        4.0
        """
        return self.setting.batch / self.median_s

    def as_dict(self) -> dict[str, Any]:
        """The figures, as JSON can hold them."""
        return {
            "threads": self.setting.threads,
            "batch": self.setting.batch,
            "duration_s": self.setting.duration_s,
            "embedded_s": embedded_s(self.setting.duration_s),
            "runs": len(self.runs_s),
            "median_s": self.median_s,
            "lowest_s": min(self.runs_s),
            "highest_s": max(self.runs_s),
            "real_time_factor": self.real_time_factor,
            "recordings_per_s": self.recordings_per_s,
        }


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All that was measured.

    Attributes:
        model: its name and hash.
        machine: processor, cores, software, and how busy the machine was before.
        started: when, in UTC.
        first_load_s: seconds that loading took the first time, with the import of what computes, and the file perhaps
            read from the disk.
        load_s: the same of the times after, in the median.
        timings: of every setting, in the order given.
    """

    model: ModelIdentity
    machine: dict[str, Any]
    started: str
    first_load_s: float
    load_s: float
    timings: tuple[Timing, ...]

    def as_dict(self) -> dict[str, Any]:
        """The facts and figures, as JSON can hold them."""
        return {
            "model": asdict(self.model),
            "machine": self.machine,
            "started": self.started,
            "first_load_s": self.first_load_s,
            "load_s": self.load_s,
            "timings": [timing.as_dict() for timing in self.timings],
        }


class Audience(Protocol):
    """Who is told what is measured, as it happens."""

    def begins(self, model: ModelIdentity, machine: dict[str, Any]) -> None:
        """The model is loaded; nothing is measured yet."""
        ...

    def measures(self, setting: Setting) -> None:
        """A setting is measured next."""
        ...

    def measured(self, timing: Timing) -> None:
        """A setting was measured."""
        ...


def settings(threads: Sequence[int], batches: Sequence[int], durations_s: Sequence[float]) -> list[Setting]:
    """Every combination, those of a number of threads together; what is named twice is measured once.

    Args:
        threads: numbers of CPU threads, at least 1.
        batches: numbers of recordings, at least 1.
        durations_s: from 0.1 to 60 s.

    Raises:
        UsageError: one is out of its range, or a batch is more audio than the encoder takes at once, 600 s.

    >>> [one.duration_s for one in settings([1], [1], [20.0, 2.0, 20.0])]
    [20.0, 2.0]
    """
    for count in (*threads, *batches):
        if count < 1:
            raise UsageError(f"numbers of threads and of recordings are at least 1; {count} was given")
    for duration_s in durations_s:
        if not SHORTEST_S <= duration_s <= LONGEST_S:
            raise UsageError(f"durations lie between {SHORTEST_S:g} and {LONGEST_S:g} s; {duration_s:g} was given")
    for batch, duration_s in product(batches, durations_s):
        if batch * embedded_s(duration_s) > HELD_SECONDS:
            raise UsageError(
                f"{batch} recordings of {duration_s:g} s are more than the {HELD_SECONDS:g} s of audio that are "
                "embedded at once; take a smaller batch"
            )
    return [Setting(*chosen) for chosen in dict.fromkeys(product(threads, batches, durations_s))]


def default_threads(device: str) -> list[int]:
    """The numbers of threads to measure where none are asked for: one, and as many as there are cores; but only the
    latter where something else than the processor computes."""
    cores = available_cores()
    return [1, cores] if device == "cpu" and cores > 1 else [cores]


def benchmark(
    load: Callable[[int], SpeakerEncoder],
    chosen: Sequence[Setting],
    budget_s: float = 1.0,
    audience: Audience | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Benchmark:
    """Time the settings one after the other.

    Args:
        load: loads the model, to compute in the given number of threads.
        chosen: at least one setting; the model is loaded anew where the number of threads changes.
        budget_s: for how long each setting is measured, apart from the run that warms up.
        audience: is told what happens.
        clock: seconds since some moment.

    Raises:
        SoundGrooveError: the model cannot be loaded, or fails.
        UsageError: nothing is to be measured, or the budget is no positive number of seconds.
    """
    if not chosen:
        raise UsageError("there is nothing to measure: name numbers of threads, recordings and seconds")
    if not 0 < budget_s < float("inf"):
        raise UsageError(f"the budget must be a number of seconds above 0, and {budget_s:g} was given")
    machine, started = {**host(), "cores": available_cores(), "load_average": _load_average()}, now()

    def timed_load(threads: int) -> tuple[SpeakerEncoder, float]:
        start = clock()
        encoder = load(threads)
        return encoder, clock() - start

    encoder, first_load_s = timed_load(chosen[0].threads)
    if audience is not None:
        audience.begins(encoder.identity, machine)
    loads_s, timings = [], []
    for threads, group in groupby(chosen, key=lambda setting: setting.threads):
        encoder, load_s = timed_load(threads)
        loads_s.append(load_s)
        for setting in group:
            if audience is not None:
                audience.measures(setting)
            timings.append(Timing(setting, _runs(encoder, setting, budget_s, clock)))
            if audience is not None:
                audience.measured(timings[-1])
    return Benchmark(encoder.identity, machine, started, first_load_s, statistics.median(loads_s), tuple(timings))


def embedded_s(duration_s: float) -> float:
    """Seconds of audio that go through the network for a recording: one shorter than the frames of 2 s is repeated.

    >>> embedded_s(1.0), embedded_s(5.0)
    (2.0, 5.0)
    """
    samples = np.empty(round(duration_s * SAMPLE_RATE), dtype=np.float32)
    return len(repeated(samples, samples_of(MINIMUM_FRAMES))) / SAMPLE_RATE


def _runs(encoder: SpeakerEncoder, setting: Setting, budget_s: float, clock: Callable[[], float]) -> tuple[float, ...]:
    """Seconds of each run, after one that warms up."""
    recordings = _noise(setting.batch, setting.duration_s)
    batch_seconds = setting.batch * embedded_s(setting.duration_s) + 1.0  # all of them in one batch
    encoder.embed(recordings, batch_seconds=batch_seconds, keep_pauses=True)
    runs_s: list[float] = []
    while len(runs_s) < LEAST_RUNS or (sum(runs_s) < budget_s and len(runs_s) < MOST_RUNS):
        start = clock()
        encoder.embed(recordings, batch_seconds=batch_seconds, keep_pauses=True)
        runs_s.append(clock() - start)
    return tuple(runs_s)


def _noise(count: int, duration_s: float) -> list[Samples]:
    random = np.random.default_rng(0)
    samples = round(duration_s * SAMPLE_RATE)
    return [random.normal(scale=0.05, size=samples).astype(np.float32) for _ in range(count)]


def _load_average() -> float | None:
    """How many programs wanted to compute in the last minute, on average, where the system tells."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None
