"""Fingerprints of recordings, by which the same audio is found again: encoded anew, cut, louder, or of the telephone.

Each 16 ms there are 24 bits: whether the difference between the powers of two neighbouring bands grew since the frame
before (Haitsma and Kalker 2002, "A highly robust audio fingerprinting system"). Departures: 25 bands from 300 to 3,000
Hz, which a telephone lets through; frames of 256 ms, for recordings of speech are short; and only frames count that are
loud beside the rest, since what an encoder makes of pauses is its own.

Of two unrelated recordings half of the bits differ; of copies few do. To find copies without comparing all with all,
a recording has landmarks: those of its frames whose bits come first in an order that is the same for all recordings
(a bottom-k sketch, Broder 1997), so that a copy and a cut choose the same ones.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.types import Samples

RATE = 8000
FRAME, SHIFT = 2048, 128  # samples at RATE: 256 and 16 ms
STEP_S = SHIFT / RATE
BITS = 24
LOWEST_HZ, HIGHEST_HZ = 300.0, 3000.0
LOUD = 1e-3  # of the loudest frame's power: 30 dB below it
QUIETEST = 1e-5  # of a frame's power: 105 dB below full scale; what is below is silence
FLOOR = 1e-3  # of a frame's power in the mean of its bands: what is below in a band decides nothing
LANDMARKS = 128  # of a recording
FRAME_BITS = 24  # of a landmark's number for the place of its frame: 74 hours
AT_ONCE = 512  # frames
AROUND = 2  # frames: how far an offset may err
LEAST_FRAMES = 20  # that are compared: about half a second
# Share of bits that may differ. Of unrelated speech it is 0.5 with a standard deviation of 0.17 by the square root of
# the frames (measured on 48,000 pairs of real recordings); the second number is eleven of them.
MOST_ERRORS, MARGIN = 0.35, 1.84
LEAST_SHARE = 0.5  # of the loud frames of the shorter recording

Bits = NDArray[np.bool_]
Landmarks = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What is compared of a recording.

    Attributes:
        bits: (T, BITS) of its frames.
        loud: (T,) frames that count.
    """

    bits: Bits
    loud: Bits


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two fingerprints are where they lie over each other.

    Attributes:
        errors: share of the bits that differ; about 0.5 for unrelated recordings.
        frames: that were compared.
        share: of the loud frames of the one that has fewer.
        offset_s: where in the first recording the second begins; less than 0 where it begins before it.
    """

    errors: float
    frames: int
    share: float
    offset_s: float

    @property
    def is_copy(self) -> bool:
        """Whether one is a copy of the other, or of a part of it."""
        limit = min(MOST_ERRORS, 0.5 - MARGIN / max(self.frames, 1) ** 0.5)
        return self.frames >= LEAST_FRAMES and self.share >= LEAST_SHARE and self.errors <= limit


def fingerprint(samples: Samples) -> Fingerprint:
    """The fingerprint of a recording (samples,) at 16 kHz, mono; of less than 0.3 s it is empty."""
    narrow = soxr.resample(samples, SAMPLE_RATE, RATE, "LQ")
    if len(narrow) < FRAME + SHIFT:
        return Fingerprint(np.zeros((0, BITS), bool), np.zeros(0, bool))
    edges, window = _bands()
    frames = np.lib.stride_tricks.sliding_window_view(narrow, FRAME)[::SHIFT]
    powers = []
    for start in range(0, len(frames), AT_ONCE):
        spectrum = np.fft.rfft(frames[start : start + AT_ONCE] * window, axis=1)[:, : edges[-1]]
        powers.append(np.add.reduceat(spectrum.real**2 + spectrum.imag**2, edges[:-1], axis=1))
    power = np.concatenate(powers).astype(np.float64)  # (T + 1, BITS + 1)
    level = power.sum(axis=1)
    logarithms = np.log(power + (FLOOR / (BITS + 1) * level + 1e-20)[:, np.newaxis])
    slopes = logarithms[:, :-1] - logarithms[:, 1:]
    loud = level[1:] > max(LOUD * float(level.max()), QUIETEST)
    return Fingerprint(slopes[1:] > slopes[:-1], loud)


def landmarks(found: Fingerprint) -> Landmarks:
    """(L,) landmarks of a fingerprint, L <= LANDMARKS, each its bits times 2 ** FRAME_BITS plus its frame, rising."""
    frames = np.flatnonzero(found.loud)
    keys = found.bits[frames].astype(np.uint64) @ (np.uint64(1) << np.arange(BITS, dtype=np.uint64))
    keys, first = np.unique(keys, return_index=True)
    # An odd factor permutes the numbers of so many bits: an order that prefers no frame.
    rank = (keys * np.uint64(0x9E3779B1)) & np.uint64(2**BITS - 1)
    chosen = np.argsort(rank, kind="stable")[:LANDMARKS]
    return np.sort((keys[chosen] << np.uint64(FRAME_BITS)) | frames[first[chosen]].astype(np.uint64))


def likeness(first: Fingerprint, second: Fingerprint, offset: int) -> Likeness:
    """Compare two fingerprints.

    Args:
        first: of one recording.
        second: of the other.
        offset: frame of the first on which the second's first frame lies, give or take AROUND.
    """
    return min((_at(first, second, offset + by) for by in range(-AROUND, AROUND + 1)), key=lambda one: one.errors)


def _at(first: Fingerprint, second: Fingerprint, offset: int) -> Likeness:
    start, end = max(0, offset), min(len(first.loud), len(second.loud) + offset)
    here, there = slice(start, max(end, start)), slice(start - offset, max(end, start) - offset)
    both = first.loud[here] & second.loud[there]
    count = int(both.sum())
    if not count:
        return Likeness(1.0, 0, 0.0, offset * STEP_S)
    errors = float((first.bits[here][both] != second.bits[there][both]).mean())
    fewer = min(int(first.loud.sum()), int(second.loud.sum()))
    return Likeness(errors, count, count / fewer, offset * STEP_S)


@cache
def _bands() -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """(BITS + 2,) bins in which bands begin, the last one where they end; (FRAME,) window."""
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BITS + 2) * FRAME / RATE
    return np.round(edges).astype(np.intp), np.hanning(FRAME).astype(np.float32)
