"""Where in a recording somebody speaks: for every 32 ms of all of it, speech or not.

Speech is found with Silero VAD, in the form that `sound_groove.export.speech_detector` gives it: the same network and
weights for many chunks in a row. All of a recording is heard, in blocks of 10 s. In front of each block the detector
hears the 2 s before it, so that nothing is missed at a seam; in front of the first, the first 2 s, since with its state
at zero it takes much for speech that is none. The state does not run on for longer: after a minute of noise the
detector is so used to it that it misses the first words.

Before the detector hears a recording, two things that say nothing about speech are taken out of it:

- a constant offset, as of a poor sound card: the mean of the samples, which runs along with the recording, so that an
  offset which comes and goes is no hindrance either;
- the level: at every place that of the louder chunks around it, so that neither a bang nor somebody near the microphone
  hides who speaks softly a second later.

So a gain changes no answer. Nothing is random and nothing depends on threads: the same samples give the same answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.pieces import Span
from sound_groove.pretrained import WEIGHTS
from sound_groove.telemetry import import_onnxruntime
from sound_groove.types import Samples

CHUNK = 512  # samples: what is decided on at a time
CONTEXT = 64  # samples before a chunk that the detector hears with it
STATE = 128  # values in each half of the detector's state
DETECTOR = WEIGHTS / "speech_detector.onnx"
BLOCK = 313  # chunks that are decided on at a time: 10 s
WARM_UP = 63  # chunks that the detector hears before a block: 2 s
SPEECH_PROBABILITY = 0.5  # the detector's own threshold
STAYING_PROBABILITY = 0.4  # speech lasts as long as it is above this
LEAST_RUN = 3  # chunks in a row: nobody says anything in less than 0.1 s
LEVEL = 0.2  # at which the detector hears the louder chunks
AROUND = 31  # chunks before and after, 1 s each, whose level counts
LOUDER_SHARE = 0.2  # of these, those that are not silent
DEPTH = 10 ** (-50 / 20)  # of the loudest twentieth of the recording: what is quieter is not raised further
LOUDEST_SHARE = 0.05

Flags = NDArray[np.bool_]
Values = NDArray[np.float64]


def find_speech(samples: Samples, chunks: "ChunkLevels | None" = None) -> Flags:
    """Which parts of a recording are speech.

    Args:
        samples: (samples,) mono at 16 kHz, at any level and with any offset.
        chunks: what `ChunkLevels.of` finds in these samples; measured here when None.

    Returns:
        (chunks,), one for every CHUNK samples; the last chunk may be shorter. Chunks that are constant, such as digital
        silence, are never speech.

    >>> find_speech(np.zeros(1025, np.float32))
    array([False, False, False])
    """
    chunks = ChunkLevels.of(samples) if chunks is None else chunks
    if chunks.is_silent.all():
        return np.zeros(len(chunks.means), np.bool_)
    return decide(_probabilities(samples, chunks)) & ~chunks.is_silent


def decide(probability: NDArray[np.float32]) -> Flags:
    """Which chunks are speech, given the detector's probabilities, (chunks,).

    Speech is a run of at least LEAST_RUN chunks above STAYING_PROBABILITY that somewhere reaches SPEECH_PROBABILITY.

    >>> decide(np.array([0.4, 0.6, 0.4, 0.1, 0.4, 0.4, 0.4, 0.1, 0.9, 0.1], np.float32)).nonzero()[0].tolist()
    [0, 1, 2]
    """
    is_speech = np.zeros(len(probability), np.bool_)
    for begin, end in zip(*runs(probability >= STAYING_PROBABILITY), strict=True):
        is_speech[begin:end] = end - begin >= LEAST_RUN and probability[begin:end].max() >= SPEECH_PROBABILITY
    return is_speech


def speech_spans(is_speech: Flags, total: int) -> list[Span]:
    """The stretches of speech, in samples.

    Args:
        is_speech: (chunks,) as `find_speech` gives it.
        total: samples of the recording, where the last stretch ends at the latest.

    >>> speech_spans(np.array([True, True, False, True]), 1700)
    [(0, 1024), (1536, 1700)]
    """
    begins, ends = runs(is_speech)
    return [(begin * CHUNK, min(end * CHUNK, total)) for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


def speech_in(samples: Samples) -> list[Span]:
    """The stretches of speech in samples (samples,) at 16 kHz."""
    return speech_spans(find_speech(samples), len(samples))


def runs(flags: Flags) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First index of each run of True, and the index after its last."""
    edges = np.diff(np.concatenate(([0], flags.view(np.int8), [0])))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


@dataclass(frozen=True, slots=True)
class ChunkLevels:
    """How loud each chunk of a recording is, whatever its offset.

    Attributes:
        means: (chunks,) of the samples.
        lows: (chunks,) the lowest sample.
        highs: (chunks,) the highest.
        powers: (chunks,) mean square of the distance from the mean.
    """

    means: Values
    lows: Values
    highs: Values
    powers: Values

    @classmethod
    def of(cls, samples: Samples) -> "ChunkLevels":
        """Measure a recording, (samples,)."""
        tables = list(tables_of(samples)) or [np.zeros((0, CHUNK), np.float32)]
        return cls(
            means=np.concatenate([table.mean(axis=1, dtype=np.float64) for table in tables]),
            lows=np.concatenate([table.min(axis=1) for table in tables], dtype=np.float64),
            highs=np.concatenate([table.max(axis=1) for table in tables], dtype=np.float64),
            powers=np.concatenate([table.var(axis=1, dtype=np.float64) for table in tables]),
        )

    @property
    def is_silent(self) -> Flags:
        """(chunks,) which of them are constant, as digital silence is."""
        is_silent: Flags = self.lows == self.highs
        return is_silent

    @property
    def swings(self) -> Values:
        """(chunks,) half the range of the samples."""
        return (self.highs - self.lows) / 2


def tables_of(samples: Samples) -> Iterator[NDArray[np.float32]]:
    """A recording in blocks of whole chunks, each (up to BLOCK, CHUNK), then what is left of it, (1, fewer).

    >>> [table.shape for table in tables_of(np.zeros(1124, np.float32))]
    [(2, 512), (1, 100)]
    """
    whole = len(samples) // CHUNK * CHUNK
    for start in range(0, whole, BLOCK * CHUNK):
        yield samples[start : min(start + BLOCK * CHUNK, whole)].reshape(-1, CHUNK)
    if whole < len(samples):
        yield samples[np.newaxis, whole:]


def _probabilities(samples: Samples, chunks: ChunkLevels) -> NDArray[np.float32]:
    """(chunks,) what the detector says of each."""
    detector = _detector()
    state = np.zeros((1, 1, STATE), np.float32)
    gains = LEVEL / _levels(chunks)
    total = len(chunks.means)
    found = []
    for start in range(0, total, BLOCK):
        end = min(start + BLOCK, total)
        before = (start - WARM_UP, start) if start > 0 else (0, min(WARM_UP, end))
        parts = [_even(samples, chunks.means, gains, span) for span in (before, (start, end))]
        even = np.concatenate([np.zeros(CONTEXT, np.float32), *parts])
        heard = np.lib.stride_tricks.sliding_window_view(even, CONTEXT + CHUNK)[::CHUNK]
        inputs = {"chunks": np.ascontiguousarray(heard), "hidden": state, "cell": state}
        (probability,) = detector.run(["probability"], inputs)
        found.append(probability[before[1] - before[0] :])
    return np.concatenate(found)


def _even(samples: Samples, offsets: Values, gains: Values, span: Span) -> Samples:
    """The samples of some chunks without their offset and at one level, filled up with zeros to whole chunks.

    Args:
        samples: (samples,) of the recording.
        offsets: (chunks,) in the middle of each chunk.
        gains: (chunks,) likewise.
        span: first chunk, and the one after the last.
    """
    begin, end = span
    part = samples[begin * CHUNK : end * CHUNK]
    offset, gain = (_between(values, begin, end).reshape(-1)[: len(part)] for values in (offsets, gains))
    even = np.zeros((end - begin) * CHUNK, np.float32)
    even[: len(part)] = (part - offset) * gain
    return even


def _levels(chunks: ChunkLevels) -> Values:
    """(chunks,) how loud the louder chunks around each one are, those that are not silent."""
    swings = np.where(chunks.is_silent, 0.0, chunks.swings)
    least = DEPTH * float(np.quantile(swings[swings > 0], 1 - LOUDEST_SHARE, method="higher"))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(swings, AROUND), 2 * AROUND + 1)  # (chunks, 63)
    levels = np.empty(len(swings))
    for start in range(0, len(swings), BLOCK):
        rising = np.sort(around[start : start + BLOCK], axis=1)
        heard = np.count_nonzero(rising, axis=1)
        place = rising.shape[1] - 1 - (LOUDER_SHARE * heard).astype(int)
        levels[start : start + BLOCK] = np.take_along_axis(rising, place[:, np.newaxis], axis=1)[:, 0]
    return np.maximum(levels, least)


def _between(values: Values, start: int, end: int) -> Values:
    """(end - start, CHUNK) a value for every sample: on lines from the middle of each chunk to the next's."""
    last = len(values) - 1
    here = np.arange(start, end)
    before, value, after = (values[np.clip(here + step, 0, last), np.newaxis] for step in (-1, 0, 1))
    place = (np.arange(CHUNK) + 0.5) / CHUNK - 0.5  # (CHUNK,) from the middle of the chunk, in chunks
    return value + np.where(place < 0, (value - before) * place, (after - value) * place)


@cache
def _detector() -> Any:
    """The detector, made once a process: sessions may be used by several threads at a time."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # or it keeps what the largest block took
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(str(DETECTOR), options, providers=["CPUExecutionProvider"])
