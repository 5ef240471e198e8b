"""A recording that is being decoded: its header, and its samples block by block, mono, at 16 kHz.

What is given (`given`) becomes a file, and the file a decoder (`opening`): libsndfile's, through soundfile, or
FFmpeg's, through PyAV (`media`). All that follows is the same for both. Resampling is soxr's in its HQ quality: flat
within the pass band, nothing folded back. Channels are averaged, or one of them is chosen (`channels`). Amplitudes
beyond full scale, which float formats and resampling produce, are kept as they are.
"""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr

from sound_groove.audio.channels import Mixdown, check_channel, check_chosen
from sound_groove.audio.decoders import UNKNOWN_FRAMES, Decoder, DecodingError, Frames, as_array, decoder_of
from sound_groove.audio.given import AnyRecording, opened, with_rate
from sound_groove.audio.limits import MAXIMUM_DURATION_S, SAMPLE_RATE, check_form, check_length, too_long
from sound_groove.audio.opening import open_decoder
from sound_groove.audio.sample_checks import SampleRange, check_samples
from sound_groove.errors import AudioError
from sound_groove.types import QualityWarning, Samples

BLOCK_VALUES = 1 << 16  # samples times channels decoded at a time: 4 s of mono at 16 kHz, 256 KiB


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What a recording's header says.

    Attributes:
        sample_rate: in Hz.
        channels: how many.
        frames: samples in each channel, at `sample_rate`.
        warnings: what one should know of where the samples come from.
    """

    sample_rate: int
    channels: int
    frames: int
    warnings: tuple[QualityWarning, ...] = ()

    @property
    def samples(self) -> int:
        """How many samples `load_audio` gives.

        >>> AudioHeader(sample_rate=44100, channels=2, frames=4411).samples
        1600
        """
        return (2 * self.frames * SAMPLE_RATE + self.sample_rate) // (
            2 * self.sample_rate
        )  # rounded, half up, as soxr does

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


@contextmanager
def decoding(
    recording: AnyRecording,
    channel: int | None = None,
    longest_s: float = MAXIMUM_DURATION_S,
    needed_s: float = math.inf,
) -> Iterator["RecordingDecoder"]:
    """A recording at its beginning, within the limits as far as its header says how long it is.

    Args:
        recording: as in `reading.load_audio`.
        channel: which one is wanted, counted from 1, where the name does not say; None averages all.
        longest_s: what lasts longer is refused.
        needed_s: how much of it will be read.

    Raises:
        AudioError: it cannot be opened, is beyond the limits, or has no such channel.
        UsageError: the channel is not a whole number from 1 on.
    """
    check_channel(channel)
    with ExitStack() as stack:
        name: Path | None = None
        try:
            if (found := with_rate(recording)) is not None:
                decoder: Decoder = decoder_of(*found)
            elif hasattr(recording, "dtype") and hasattr(recording, "ndim"):  # an array, or another library's tensor
                decoder = decoder_of(check_samples(as_array(recording)), SAMPLE_RATE)
            else:
                content = stack.enter_context(opened(recording))
                name, channel = content.name, channel if content.channel is None else content.channel
                decoder = open_decoder(content, needed_s, longest_s)
            stack.callback(decoder.close)
            source = RecordingDecoder(name, decoder, channel, longest_s)
        except OSError as error:
            path = Path(os.fsdecode(recording)) if isinstance(recording, str | os.PathLike) else name
            raise AudioError(path, _explain(error)) from error
        yield source


class RecordingDecoder:
    """An opened recording, from which samples come block by block.

    Args:
        path: its name; None for what came from memory.
        source: its decoder, at its beginning.
        channel: which one is wanted, counted from 1; None averages all.
        longest_s: what lasts longer is refused, at the latest when that much has been decoded.

    Attributes:
        path: its name.
        header: what its header says.
        channel: which one is wanted.
        enters_exactly: after `seek` the samples are the same as on the way from the beginning.

    Raises:
        AudioError: it is beyond the limits, or has no such channel.
    """

    def __init__(self, path: Path | None, source: Decoder, channel: int | None, longest_s: float) -> None:
        self.path, self.channel, self._source, self._longest_s = path, channel, source, longest_s
        self.header = AudioHeader(source.sample_rate, source.channels, source.frames, source.warnings)
        self.enters_exactly = source.enters_exactly
        check_form(path, self.header.sample_rate, self.header.channels)
        if source.declared_frames != UNKNOWN_FRAMES:
            check_length(path, source.declared_frames / self.header.sample_rate, longest_s)
        check_chosen(path, channel, self.header.channels)

    @property
    def knows_length(self) -> bool:
        """Whether the header says how many frames there are."""
        return self.header.frames != UNKNOWN_FRAMES

    def count_frames(self) -> None:
        """Count them by decoding, where the header does not say how many there are.

        Raises:
            AudioError: it is damaged or too long.
        """
        if not self.knows_length:
            frames = sum(map(len, self._blocks(UNKNOWN_FRAMES)))
            self.seek(0)
            self.header = replace(self.header, frames=frames)

    def seek(self, frame: int) -> None:
        """Go on from another frame: any where `enters_exactly`, else only from 0.

        Raises:
            AudioError: it is damaged there.
        """
        try:
            self._source.seek(frame)
        except DecodingError as error:
            raise AudioError(self.path, f"is damaged: {error}; copy it again", code="damaged") from error

    def mixdown(self, compared: bool = True) -> Mixdown:
        """What makes one channel of its channels; `compared` finds out whether they carry the same sound."""
        return Mixdown(self.path, self.header.sample_rate, self.header.channels, self.channel, compared)

    def samples(self, spread: SampleRange, mixdown: Mixdown, wanted: int | None = None) -> Iterator[Samples]:
        """Blocks (samples,), mono, at 16 kHz; every one of the promised frames must come.

        Args:
            spread: learns the smallest and the largest sample.
            mixdown: makes one channel of several.
            wanted: how many frames, at the file's own rate, from where the decoder stands; None for all of a recording
                at its beginning.

        Raises:
            AudioError: it is damaged or too long.
        """
        frames = self._blocks(self.header.frames if wanted is None else wanted)
        yield from _resampled(_mono(frames, spread, mixdown), self.header.sample_rate)

    def _blocks(self, wanted: int) -> Iterator[Frames]:
        """Decoded blocks (T, C): as many frames as are wanted, or all there are where nobody knows how many that is."""
        is_known = self.knows_length
        block_frames = BLOCK_VALUES // self.header.channels
        remaining, rate = wanted, self.header.sample_rate
        while remaining > 0:
            complaint = "the samples end there"
            try:
                frames = self._source.read(min(block_frames, remaining))  # (T, C)
            except DecodingError as error:
                frames, complaint = np.empty((0, self.header.channels), np.float32), str(error)
                is_known = True  # it ends, and not where it should
            if len(frames) == 0:
                if not is_known:
                    check_length(self.path, (wanted - remaining) / rate, self._longest_s)
                    return
                raise AudioError(
                    self.path,
                    f"is truncated or damaged: decoding stopped after {self._stopped(wanted, remaining)} s "
                    f"({complaint}); copy it again",
                    code="damaged",
                )
            remaining -= len(frames)
            if not is_known and wanted - remaining > self._longest_s * rate:
                longest_s = self._longest_s
                raise too_long(
                    self.path, f"lasts more than the {longest_s:g} s allowed here; cut it into parts", longest_s
                )
            yield frames

    def _stopped(self, wanted: int, remaining: int) -> str:
        """Where decoding stopped, in seconds, and of how many if that is known."""
        header = self.header
        if not self.knows_length:
            return f"{(wanted - remaining) / header.sample_rate:.2f}"
        return f"{(header.frames - remaining) / header.sample_rate:.2f} of {header.duration_s:.2f}"


def _mono(blocks: Iterator[Frames], spread: SampleRange, mixdown: Mixdown) -> Iterator[Samples]:
    """Decoded blocks (T, C) as one channel."""
    for frames in blocks:
        selected = mixdown.select(frames)
        mono = mixdown.mono(selected)
        spread.add(mono, selected)
        yield mono


def _resampled(blocks: Iterator[Samples], sample_rate: int) -> Iterator[Samples]:
    """Blocks at 16 kHz. The result does not depend on where the blocks were cut."""
    if sample_rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _explain(error: OSError) -> str:
    """Why a file could not be opened, as a clause."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file; check the name and the folder"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); check who owns it and its mode"
    return f"could not be read ({error.strerror.lower()})" if error.strerror else "could not be read"
