"""How far apart parts of a recording sound: a cheap look before parts are embedded.

Two people differ in the mean of what their speech sounds like, and so do two stretches of one person's speech, by what
is said in them. The two parts that sound farthest apart are those that two voices are looked for in
(`sound_groove.encoder.several_voices`).
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.filterbank import mel_filters
from sound_groove.audio.pieces import Span
from sound_groove.types import Samples

FRAME, SHIFT = 512, 320  # samples: 32 and 20 ms
BANDS, CEPSTRA = 40, 19  # cepstral values 1 to 19: the 0th is the level
HEARD = 4.5  # natural logarithm of power below the louder frames: what is quieter is a pause
LOUD = 0.95  # quantile of the frames' levels
LEAST_FRAMES = 10  # of a part that are heard; of fewer, all frames count
FLOOR = 1e-10  # power: -100 dB of full scale

Array = NDArray[np.float64]


class Apart(NamedTuple):
    """The two parts that sound farthest apart.

    Attributes:
        first: index of one of them.
        second: of the other.
        distance: of their mean cepstra, each value in standard deviations within a part.
    """

    first: int
    second: int
    distance: float


def farthest_parts(samples: Samples, parts: Sequence[Span]) -> Apart:
    """Find the two parts that sound farthest apart.

    Args:
        samples: (samples,) of speech, mono at 16 kHz; its level makes no difference.
        parts: at least two of them, in samples, each at least 0.1 s.
    """
    cepstra, is_heard = _cepstra(samples)
    rows = []
    for start, end in parts:
        here = slice(start // SHIFT, max((end - FRAME) // SHIFT, start // SHIFT) + 1)
        frames, heard = cepstra[here], is_heard[here]
        rows.append(frames[heard] if np.count_nonzero(heard) >= LEAST_FRAMES else frames)
    means = np.stack([frames.mean(axis=0) for frames in rows])  # (parts, CEPSTRA)
    counts = np.array([len(frames) for frames in rows], dtype=np.float64)
    spread = np.sqrt(counts @ np.stack([frames.var(axis=0) for frames in rows]) / counts.sum())
    scaled = means / np.maximum(spread, 1e-9)
    distances = np.sqrt(np.square(scaled[:, None] - scaled[None]).sum(axis=2))  # (parts, parts)
    first, second = sorted(np.unravel_index(int(distances.argmax()), distances.shape))
    return Apart(int(first), int(second), float(distances[first, second]))


def _cepstra(samples: Samples) -> tuple[Array, NDArray[np.bool_]]:
    """(T, CEPSTRA) of frames, and (T,) which of them are not quiet."""
    padded = np.pad(samples, (0, max(FRAME - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::SHIFT]
    powers = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32)))) / FRAME
    bands = np.log(powers[:, 1 : FRAME // 2] @ mel_filters(BANDS) + FLOOR)  # (T, BANDS)
    levels = bands.mean(axis=1)
    return bands @ _cosines(), levels > np.quantile(levels, LOUD) - HEARD


@cache
def _cosines() -> Array:
    """(BANDS, CEPSTRA): from log energies to cepstral values (orthonormal DCT-II)."""
    places = (np.arange(BANDS) + 0.5) / BANDS
    return np.asarray(np.cos(np.pi * np.outer(places, np.arange(1, CEPSTRA + 1))) * np.sqrt(2.0 / BANDS))
