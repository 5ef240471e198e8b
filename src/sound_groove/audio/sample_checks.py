"""What samples must be: finite, on some scale, not all the same, and not channels that cancel each other.

Digital silence is a signal that stays within 120 dB below full scale of one value: zeros, but also a constant offset,
which no feature can see. Channels of opposite phase are refused when they are averaged: picking one of them silently
would hide the wiring mistake.
"""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.audio.given import PathLike
from sound_groove.audio.limits import SAMPLE_RATE, check_length
from sound_groove.errors import AudioError
from sound_groove.types import Samples

SILENCE_RANGE = 2e-6  # highest minus lowest sample: 120 dB below full scale
CANCELLED_SHARE = 10 ** (-30 / 20)  # channels that leave less than this of themselves when averaged cancel each other
MAXIMUM_LEVEL = 2.0**31  # float files that hold 32-bit integers reach this; squares of more would overflow further on


def check_samples(samples: ArrayLike, path: PathLike | None = None) -> Samples:
    """Samples from memory, checked like those of a file.

    Args:
        samples: (samples,) floating point, mono, 16 kHz, full scale at 1.
        path: where they came from, for messages.

    Returns:
        (samples,) float32, contiguous.

    Raises:
        AudioError: they are not one row of floating-point numbers, not finite, too short, too long, or digital silence.
    """
    name = None if path is None else Path(path)
    array = np.asarray(samples)
    if array.ndim != 1:
        raise AudioError(
            name,
            f"has the shape {array.shape}, not one row of mono samples; give several channels with their rate, as "
            "(samples, 16000), or average them first",
        )
    if array.dtype.kind != "f":
        raise AudioError(
            name,
            f"holds {array.dtype} values, not floating point in [-1, 1]; give integers with their rate, as "
            "(samples, 16000), or divide 16-bit ones by 32768",
        )
    check_length(name, len(array) / SAMPLE_RATE)
    spread = SampleRange(name)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is refused below
        mono = np.ascontiguousarray(array, dtype=np.float32)
    spread.add(mono, mono[:, None])
    spread.check()
    return mono


class SampleRange:
    """The lowest and highest sample, over blocks, before resampling would smear what is wrong with them.

    Attributes:
        path: the file, for messages.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._mono = np.array([np.inf, -np.inf])  # lowest and highest
        self._channels = 0.0  # the widest range of a single channel in any block

    def add(self, mono: Samples, frames: NDArray[np.float32]) -> None:
        """Take a block (T,) and the channels (T, C) that it is the average of.

        Raises:
            AudioError: it holds NaN, infinities, or levels beyond any scale.
        """
        low, high = float(mono.min()), float(mono.max())
        if not (np.isfinite(low) and np.isfinite(high)):  # NaN in, NaN out
            raise AudioError(self.path, "holds samples that are NaN or infinite; convert it again from its source")
        if max(-low, high) > MAXIMUM_LEVEL:
            raise AudioError(
                self.path, f"holds samples as large as {max(-low, high):.1e}, where full scale is 1; scale it down"
            )
        self._mono = np.array([min(self._mono[0], low), max(self._mono[1], high)])
        if frames.shape[1] > 1:
            self._channels = max(self._channels, float(np.max(frames.max(axis=0) - frames.min(axis=0))))

    def check(self, cancel: bool = False) -> None:
        """Judge the whole recording.

        Args:
            cancel: the channels are known to cancel each other.

        Raises:
            AudioError: it is digital silence, or its channels cancel each other.
        """
        spread = float(self._mono[1] - self._mono[0])
        if cancel or (self._channels > SILENCE_RANGE and spread < CANCELLED_SHARE * self._channels):
            raise AudioError(
                self.path,
                "is next to silent when its channels are averaged, because they cancel each other (opposite phase); "
                "keep one channel: --channel 1, or channel=1",
            )
        if spread < SILENCE_RANGE:
            raise AudioError(self.path, "is digital silence: all its samples have the same value", code="silent")
