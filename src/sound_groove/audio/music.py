"""Where in a recording there is music, alone or under speech.

Tones of music stand still in frequency for a while and are horizontal bars of a spectrogram; the harmonics of a voice
glide. This is continuous frequency activation (Seyerlehner, Pohle, Schedl and Widmer 2007, "Automatic music detection
in television productions", DAFx):

    power in dB, each bin beside the mean of its neighbours -> which bins stand out, yes or no
    -> in what share of a block's frames each bin does -> how high the peaks of that are, the highest added up

Departures, which `benchmarks/music.py` compares with the published form: shorter frames and blocks; fewer neighbours; a
bin stands out by 5 dB and not at all; twenty peaks and not five; each block is judged with those around it. And a bar
that stands through the whole recording is none: that is mains hum, a fan or a whistle of the line, where music goes on
to another tone. A voice hides hum, so it counts what is heard in the quietest frames.

Nothing is random, and a gain changes no answer but for rounding.
"""

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.pieces import Span
from sound_groove.types import Samples

FRAME, SHIFT = 1024, 384  # samples: 64 and 24 ms
BINS = 352  # up to 5,500 Hz
NEIGHBOURS = 5  # bins of whose mean power each is compared with, 78 Hz
STANDS_OUT_DB = 5.0
BLOCK, STEP = 70, 35  # frames: 1.7 s, every 0.8 s
PEAKS = 20  # that are added up
AROUND = 2  # blocks before and after with which each is judged
STANDING_SHARE = 0.6  # of a recording's frames: a bar that is there for longer says nothing
QUIET_SHARE = 0.25  # of its frames are those in which nothing hides what stands
QUIET_STANDING, LEAST_STANDING = 0.8, 0.3  # of these and of all frames: such a bar says nothing either
LIMIT = 4.8  # of the sum of peaks, from which on there is music
LEAST_FRAMES = 40  # about a second: of less nothing is said
AT_ONCE = 2048  # frames
QUIETEST = 1e-9  # of a bin's power: what digital silence has

Flags = NDArray[np.bool_]
Values = NDArray[np.float64]


def music_spans(samples: Samples) -> list[Span]:
    """The stretches of a recording in which music is heard, first sample and the one after the last.

    Args:
        samples: (samples,) mono at 16 kHz. Of less than a second nothing is said.

    >>> music_spans(np.zeros(32_000, np.float32))
    []
    """
    spans: list[Span] = []
    for start, activation in zip(*activations(samples), strict=True):
        if activation < LIMIT:
            continue
        first, end = start * SHIFT, min((start + BLOCK) * SHIFT + FRAME - SHIFT, len(samples))
        if spans and first <= spans[-1][1]:
            first = spans.pop()[0]
        spans.append((first, end))
    return spans


def activations(samples: Samples) -> tuple[list[int], list[float]]:
    """The continuous frequency activation of each block, with the blocks around it, and its first frame.

    Args:
        samples: (samples,) as of `music_spans`.
    """
    if len(samples) < FRAME + (LEAST_FRAMES - 1) * SHIFT:
        return [], []
    bars, powers = standing_out(samples)
    bars &= ~_lasting(bars, powers)
    last = max(len(bars) - BLOCK, 0)
    starts = sorted({*range(0, last + 1, STEP), last})
    own = np.array([_sum_of_peaks(bars[start : start + BLOCK].mean(axis=0)) for start in starts])
    around = np.lib.stride_tricks.sliding_window_view(np.pad(own, AROUND, constant_values=np.nan), 2 * AROUND + 1)
    return starts, np.nanmean(around, axis=1).tolist()


def standing_out(samples: Samples) -> tuple[Flags, Values]:
    """(T, BINS) which bins of each frame are STANDS_OUT_DB above the mean of those around them; (T,) its power."""
    window = np.hanning(FRAME).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::SHIFT]
    parts, powers = [], []
    for start in range(0, len(frames), AT_ONCE):
        spectrum = np.fft.rfft(frames[start : start + AT_ONCE] * window, axis=1)[:, :BINS]
        power = spectrum.real**2 + spectrum.imag**2
        powers.append(power.sum(axis=1, dtype=np.float64))
        level_db = 10 * np.log10(power + QUIETEST)
        padded = np.pad(level_db, ((0, 0), (NEIGHBOURS // 2, NEIGHBOURS // 2)), mode="edge")
        around = sum(padded[:, place : place + BINS] for place in range(NEIGHBOURS)) / NEIGHBOURS
        parts.append(level_db - around > STANDS_OUT_DB)
    return np.concatenate(parts), np.concatenate(powers)


def _lasting(bars: Flags, powers: Values) -> Flags:
    """(F,) which bins stand out through all of a recording, or lie beside one that does."""
    quiet = np.argsort(powers, kind="stable")[: max(round(QUIET_SHARE * len(powers)), 1)]
    share = bars.mean(axis=0)
    lasting = (share >= STANDING_SHARE) | ((bars[quiet].mean(axis=0) >= QUIET_STANDING) & (share >= LEAST_STANDING))
    beside = np.pad(lasting, 1)
    widened: Flags = lasting | beside[:-2] | beside[2:]
    return widened


def _sum_of_peaks(shares: Values) -> float:
    """How far the highest PEAKS peaks of (F,) rise above the higher of the valleys beside them, added up.

    >>> _sum_of_peaks(np.array([0.0, 0.5, 0.25, 0.25, 1.0, 0.0]))
    1.0
    """
    steps = np.sign(np.diff(shares))
    moving = np.flatnonzero(steps)
    turns = np.flatnonzero(steps[moving][1:] != steps[moving][:-1])
    places = np.concatenate(([0], moving[turns + 1], [len(shares) - 1]))
    is_peak = np.concatenate(([False], steps[moving][turns] > 0, [False]))
    peaks = np.flatnonzero(is_peak)
    values = shares[places]
    heights = values[peaks] - np.maximum(values[peaks - 1], values[peaks + 1])
    return float(np.sort(heights)[-PEAKS:].sum())
