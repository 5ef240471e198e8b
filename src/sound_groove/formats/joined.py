"""Recordings that were joined in one file, decoded as one: at one rate, with as many channels as any has."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Opener = Callable[[], soundfile.SoundFile]


class JoinedSource:
    """What `soundfile.SoundFile` is for one recording, for several: read from front to back.

    Where rates differ, all are resampled to one that is given. Where numbers of channels differ, a single channel is
    put into all of them, and the channels that a recording lacks otherwise are silent. One recording is open at a time.

    Attributes:
        samplerate: in Hz.
        channels: how many.
        frames: samples in each channel, at that rate.

    Args:
        openers: open each recording anew.
        rate: to resample to, in Hz.
    """

    enters_exactly = False  # decoding starts at the first sample

    def __init__(self, openers: Sequence[Opener], rate: int) -> None:
        self._openers = openers
        self._parts: list[tuple[int, int, int]] = []  # rate, channels and frames of each
        for opener in openers:
            with opener() as part:
                self._parts.append((part.samplerate, part.channels, part.frames))
        rates = {part_rate for part_rate, _, _ in self._parts}
        self.samplerate = rates.pop() if len(rates) == 1 else rate
        self.channels = max(channels for _, channels, _ in self._parts)
        self.frames = sum(self._length(rate, frames) for rate, _, frames in self._parts)
        self._number = -1
        self._part: soundfile.SoundFile | None = None
        self._remaining = 0  # frames of the part, at its own rate
        self._stream: soxr.ResampleStream | None = None
        self._held = np.empty((0, self.channels), np.float32)

    def _length(self, rate: int, frames: int) -> int:
        """Frames at the common rate, rounded as the resampler does."""
        return (2 * frames * self.samplerate + rate) // (2 * rate)

    def __enter__(self) -> "JoinedSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        if self._part is not None:
            self._part.close()
            self._part = None

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> NDArray[np.float32]:
        """The next samples.

        Args:
            frames: the most of them, at least 1.
            dtype: "float32", as this is all that is given.
            always_2d: the same.

        Returns:
            (T, C); no frames at the end, or where a recording has fewer than it said.

        Raises:
            LibsndfileError: they cannot be decoded.
        """
        while len(self._held) == 0:
            if self._remaining == 0 and not self._next():
                break
            block = self._decode(frames)
            if block is None:
                break
            self._held = block
        given, self._held = self._held[:frames], self._held[frames:]
        return given

    def _next(self) -> bool:
        """Open the next recording, if there is one."""
        self.close()
        self._number += 1
        if self._number >= len(self._parts):
            self._number = len(self._parts)
            return False
        rate, _, self._remaining = self._parts[self._number]
        self._part = self._openers[self._number]()
        self._stream = (
            soxr.ResampleStream(rate, self.samplerate, self.channels, dtype="float32", quality="HQ")
            if rate != self.samplerate
            else None
        )
        return True

    def _decode(self, frames: int) -> NDArray[np.float32] | None:
        """Some frames of the open recording at the common rate (T, C); None where it ends too early."""
        if self._part is None:
            return None
        block: NDArray[np.float32] = self._part.read(min(frames, self._remaining), dtype="float32", always_2d=True)
        if len(block) == 0:
            return None
        self._remaining -= len(block)
        spread: NDArray[Any] = block
        if block.shape[1] == 1:
            spread = np.repeat(block, self.channels, axis=1)
        elif block.shape[1] < self.channels:
            spread = np.pad(block, ((0, 0), (0, self.channels - block.shape[1])))
        if self._stream is None:
            return spread
        resampled: NDArray[np.float32] = self._stream.resample_chunk(
            np.ascontiguousarray(spread), last=self._remaining == 0
        )
        return resampled.reshape(-1, self.channels)
