"""Recordings that were joined in one file, decoded as one: at one rate, with as many channels as any has."""

from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import soxr

from sound_groove.audio.decoders import Decoder, Frames
from sound_groove.types import QualityWarning

Opener = Callable[[], Decoder]


class JoinedDecoder:
    """Several decoders one after another; see `audio.decoders.Decoder`.

    Where rates differ, all are resampled to one that is given. Where numbers of channels differ, a single channel is
    put into all of them, and the channels that a recording lacks otherwise are silent. One recording is open at a time.

    Args:
        openers: open each recording anew; each says how many frames it has.
        rate: to resample to, in Hz.
        warnings: what is doubtful about the file.

    Raises:
        DecodingError: one cannot be opened.
    """

    enters_exactly = False  # decoding starts at the first sample

    def __init__(self, openers: Sequence[Opener], rate: int, warnings: tuple[QualityWarning, ...] = ()) -> None:
        self._openers = openers
        self._parts: list[tuple[int, int, int]] = []  # rate, channels and frames of each
        for opener in openers:
            with closing(opener()) as part:
                self._parts.append((part.sample_rate, part.channels, part.frames))
        rates = {part_rate for part_rate, _, _ in self._parts}
        self.sample_rate = rates.pop() if len(rates) == 1 else rate
        self.channels = max(channels for _, channels, _ in self._parts)
        self.frames = sum(self._length(rate, frames) for rate, _, frames in self._parts)
        self.declared_frames = self.frames
        self.warnings = warnings
        self._part: Decoder | None = None
        self._stream: soxr.ResampleStream | None = None
        self._held: Frames = np.empty((0, self.channels), np.float32)
        self._number, self._remaining = -1, 0  # of the part, and how many of its frames are to come

    def _length(self, rate: int, frames: int) -> int:
        """Frames at the common rate, rounded as the resampler does."""
        return (2 * frames * self.sample_rate + rate) // (2 * rate)

    def read(self, count: int) -> Frames:
        """The next frames (T, C); none also where a recording has fewer than it said."""
        while len(self._held) == 0:
            if self._remaining == 0 and not self._next():
                break
            block = self._decode(count)
            if block is None:
                break
            self._held = block
        given, self._held = self._held[:count], self._held[count:]
        return given

    def seek(self, frame: int) -> None:
        """Go back to the first frame."""
        assert frame == 0, "it is decoded from front to back only"
        self.close()
        self._number, self._remaining = -1, 0
        self._held = self._held[:0]

    def close(self) -> None:
        """Close what is open."""
        if self._part is not None:
            self._part.close()
            self._part = None

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
            soxr.ResampleStream(rate, self.sample_rate, self.channels, dtype="float32", quality="HQ")
            if rate != self.sample_rate
            else None
        )
        return True

    def _decode(self, count: int) -> Frames | None:
        """Some frames of the open recording at the common rate (T, C); None where it ends too early."""
        if self._part is None:
            return None
        block = self._part.read(min(count, self._remaining))
        if len(block) == 0:
            return None
        self._remaining -= len(block)
        spread = block
        if block.shape[1] == 1:
            spread = np.repeat(block, self.channels, axis=1)
        elif block.shape[1] < self.channels:
            spread = np.pad(block, ((0, 0), (0, self.channels - block.shape[1])))
        if self._stream is None:
            return spread
        resampled: Frames = self._stream.resample_chunk(np.ascontiguousarray(spread), last=self._remaining == 0)
        return resampled.reshape(-1, self.channels)
