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
from numpy.typing import NDArray

from sound_groove.audio.channels import Mixdown, check_channel, check_chosen
from sound_groove.audio.decoders import UNKNOWN_FRAMES, Decoder, DecodingError, as_array, decoder_of
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
def opened_header(
    recording: AnyRecording,
    channel: int | None = None,
    longest_s: float = MAXIMUM_DURATION_S,
    needed_s: float = math.inf,
) -> Iterator[tuple[Path | None, Decoder, AudioHeader, int | None]]:
    """A recording's name, its decoder, its header, and the channel that is wanted.

    The header is within the limits as far as it says how long the recording is, and has that channel.
    """
    check_channel(channel)
    with ExitStack() as stack:
        name: Path | None = None
        try:
            if (found := with_rate(recording)) is not None:
                source: Decoder = decoder_of(*found)
            elif hasattr(recording, "dtype") and hasattr(recording, "ndim"):  # an array, or another library's tensor
                source = decoder_of(check_samples(as_array(recording)), SAMPLE_RATE)
            else:
                content = stack.enter_context(opened(recording))
                name, channel = content.name, channel if content.channel is None else content.channel
                source = open_decoder(content, needed_s, longest_s)
            stack.callback(source.close)
            header = _read_header(name, source, longest_s)
            check_chosen(name, channel, header.channels)
        except OSError as error:
            path = Path(os.fsdecode(recording)) if isinstance(recording, str | os.PathLike) else name
            raise AudioError(path, _explain(error)) from error
        yield name, source, header, channel


def _read_header(path: Path | None, source: Decoder, longest_s: float) -> AudioHeader:
    """The header of an opened file, within the limits."""
    header = AudioHeader(source.sample_rate, source.channels, source.frames, source.warnings)
    check_form(path, header.sample_rate, header.channels)
    if source.declared_frames != UNKNOWN_FRAMES:
        check_length(path, source.declared_frames / header.sample_rate, longest_s)
    return header


def counted(
    path: Path | None, source: Decoder, header: AudioHeader, longest_s: float = MAXIMUM_DURATION_S
) -> AudioHeader:
    """The header, with its frames counted by decoding where it does not say how many there are."""
    if header.frames != UNKNOWN_FRAMES:
        return header
    frames = sum(map(len, _blocks(path, source, header, UNKNOWN_FRAMES, longest_s)))
    seek(path, source, 0)
    return replace(header, frames=frames)


def seek(path: Path | None, source: Decoder, frame: int) -> None:
    """Go on from another frame."""
    try:
        source.seek(frame)
    except DecodingError as error:
        raise AudioError(path, f"is damaged: {error}; copy it again", code="damaged") from error


def mono_blocks(
    path: Path | None,
    source: Decoder,
    header: AudioHeader,
    spread: SampleRange,
    mixdown: Mixdown,
    first: int = 0,
    wanted: int | None = None,
    longest_s: float = MAXIMUM_DURATION_S,
) -> Iterator[Samples]:
    """Decoded blocks, as mono, at the file's own rate; every one of the promised frames must come."""
    for frames in _blocks(path, source, header, header.frames - first if wanted is None else wanted, longest_s):
        selected = mixdown.select(frames)
        mono = mixdown.mono(selected)
        spread.add(mono, selected)
        yield mono


def _blocks(
    path: Path | None, source: Decoder, header: AudioHeader, wanted: int, longest_s: float
) -> Iterator[NDArray[np.float32]]:
    """Decoded blocks (T, C): as many frames as are wanted, or all there are where nobody knows how many that is."""
    is_known = header.frames != UNKNOWN_FRAMES
    block_frames = BLOCK_VALUES // header.channels
    remaining, rate = wanted, header.sample_rate
    while remaining > 0:
        complaint = "the samples end there"
        try:
            frames = source.read(min(block_frames, remaining))  # (T, C)
        except DecodingError as error:
            frames, complaint = np.empty((0, header.channels), np.float32), str(error)
            is_known = True  # it ends, and not where it should
        if len(frames) == 0:
            if not is_known:
                check_length(path, (wanted - remaining) / rate, longest_s)
                return
            raise AudioError(
                path,
                f"is truncated or damaged: decoding stopped after {_stopped(header, wanted, remaining)} s "
                f"({complaint}); copy it again",
                code="damaged",
            )
        remaining -= len(frames)
        if not is_known and wanted - remaining > longest_s * rate:
            raise too_long(path, f"lasts more than the {longest_s:g} s allowed here; cut it into parts", longest_s)
        yield frames


def _stopped(header: AudioHeader, wanted: int, remaining: int) -> str:
    """Where decoding stopped, in seconds, and of how many if that is known."""
    if header.frames == UNKNOWN_FRAMES:
        return f"{(wanted - remaining) / header.sample_rate:.2f}"
    return f"{(header.frames - remaining) / header.sample_rate:.2f} of {header.duration_s:.2f}"


def resampled(blocks: Iterator[Samples], sample_rate: int) -> Iterator[Samples]:
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
