"""Reading recordings: any format, rate and channel count, to mono float32 at 16 kHz, or one clear sentence why not.

What is given (`given`) becomes a file, and the file a decoder (`opening`): libsndfile's, through soundfile, or
FFmpeg's, through PyAV (`media`). All that follows is the same for both. Resampling is soxr's in its HQ quality: flat
within the pass band, nothing folded back. Channels are averaged, or one of them is chosen (`channels`). Amplitudes
beyond full scale, which float formats and resampling produce, are kept as they are.

A recording is refused (AudioError) when it is missing, a folder, not permitted, not audio, truncated, damaged, empty,
digital silence, not finite, shorter than MINIMUM_DURATION_S or longer than MAXIMUM_DURATION_S, has more than
MAXIMUM_CHANNELS, a rate outside SAMPLE_RATES, not the channel that was asked for, or channels that cancel each other
when averaged (opposite phase): picking one of them silently would hide the wiring mistake.

Digital silence is a signal that stays within 120 dB below full scale of one value: zeros, but also a constant offset,
which no feature can see.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from sound_groove.audio.channels import Mixdown, check_channel, check_chosen
from sound_groove.audio.decoders import UNKNOWN_FRAMES, Decoder, DecodingError, as_array, decoder_of
from sound_groove.audio.given import AnyRecording, PathLike, opened, with_rate
from sound_groove.audio.limits import (
    MAXIMUM_CHANNELS,
    MAXIMUM_DURATION_S,
    MINIMUM_DURATION_S,
    SAMPLE_RATE,
    SAMPLE_RATES,
    check_form,
    check_length,
    too_long,
)
from sound_groove.audio.opening import open_decoder
from sound_groove.audio.plain_wav import read_plain
from sound_groove.errors import AudioError
from sound_groove.types import ChannelFacts, QualityWarning, Recording, Samples

__all__ = [
    "MAXIMUM_CHANNELS",
    "MAXIMUM_DURATION_S",
    "MINIMUM_DURATION_S",
    "SAMPLE_RATE",
    "SAMPLE_RATES",
    "AudioHeader",
    "HeldRecording",
    "OpenRecording",
    "check_samples",
    "load_audio",
    "open_recording",
    "probe",
    "read_recording",
    "read_segment",
    "read_spans",
]

SILENCE_RANGE = 2e-6  # highest minus lowest sample: 120 dB below full scale
CANCELLED_SHARE = 10 ** (-30 / 20)  # channels that leave less than this of themselves when averaged cancel each other
MAXIMUM_LEVEL = 2.0**31  # float files that hold 32-bit integers reach this; squares of more would overflow further on
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


def load_audio(recording: AnyRecording, channel: int | None = None) -> Samples:
    """The samples of a recording, as every part of this package takes them.

    Args:
        recording: a path (of a wav, flac, ogg, opus, mp3 or any other file that libsndfile reads, and with the `media`
            extra of an m4a, mp4, webm and more), also of a pipe; `-` for the standard input; a part of a file,
            `call.wav#t=12.5,20` (seconds), or a channel of it, `call.wav#2`; the bytes of a file, or an open file,
            which is read from its beginning; or samples with their rate in Hz, (samples, rate) or (rate, samples), as
            `audio.decoders.decoder_of` takes them. An array alone is mono floating point at 16 kHz.
        channel: which one to listen to, counted from 1, where the name does not say; None averages all.

    Returns:
        (samples,) float32, mono, 16 kHz.

    Raises:
        AudioError: the recording cannot be used (see the module's text for the reasons).
        UsageError: the channel is not a whole number from 1 on.
    """
    return read_recording(recording, channel).samples


def read_recording(
    recording: AnyRecording, channel: int | None = None, longest_s: float = MAXIMUM_DURATION_S
) -> Recording:
    """A recording with what is known about its source.

    Args:
        recording: as in `load_audio`.
        channel: as in `load_audio`.
        longest_s: what lasts longer is refused, at the latest when that much has been decoded.

    Raises:
        AudioError, UsageError: as in `load_audio`.
    """
    with _opened(recording, channel, longest_s) as (path, source, header, chosen):
        levels, mixdown = _Levels(path), Mixdown(path, header.sample_rate, header.channels, chosen)
        mono = _mono_blocks(path, source, header, levels, mixdown, longest_s=longest_s)
        blocks = list(_resampled(mono, header.sample_rate))
        channels = mixdown.facts()
        levels.check(channels.cancel)
        return Recording(path, np.concatenate(blocks), header.sample_rate, channels, header.warnings)


def read_segment(path: PathLike, start: int, count: int) -> Samples:
    """A part of a recording, for training crops: equal to `load_audio(path)[start : start + count]`, to the bit.

    Reads as little as it can: of a plain wav (`sound_groove.audio.plain_wav`) the header and the segment; at 16 kHz,
    other uncompressed formats and flac are entered at the segment; other rates and formats are decoded from the
    beginning to the segment's end. Unlike a whole recording, a segment may be silent.

    Args:
        path: the file, or a channel of it.
        start: first sample, counted at 16 kHz.
        count: how many, at least 1.

    Returns:
        (count,) float32, mono, 16 kHz.

    Raises:
        AudioError: the recording cannot be used, or is shorter than the segment.
        ValueError: `start` is negative or `count` less than 1.
    """
    if start < 0 or count < 1:
        raise ValueError(f"a segment starts at 0 or later and has at least 1 sample, not start={start}, count={count}")
    if (plain := read_plain(Path(path), start, count)) is not None:
        return plain
    end = start + count
    with _opened(path, needed_s=end / SAMPLE_RATE) as (name, source, header, chosen):
        mixdown = Mixdown(name, header.sample_rate, header.channels, chosen, compared=False)
        is_known = header.frames != UNKNOWN_FRAMES
        if is_known and end > header.samples:
            raise _too_short(name, header.samples, end)
        first = start if header.sample_rate == SAMPLE_RATE and source.enters_exactly else 0
        if first:
            _seek(name, source, first)
        wanted = header.frames if header.sample_rate != SAMPLE_RATE or not is_known else end - first
        blocks, length = [], 0
        mono = _mono_blocks(name, source, header, _Levels(name), mixdown, first, wanted)
        for block in _resampled(mono, header.sample_rate):
            blocks.append(block)
            length += len(block)
            if first + length >= end:
                break
        else:
            if first + length < end:
                raise _too_short(name, first + length, end)
    return np.concatenate(blocks)[start - first : end - first]


def _too_short(path: Path | None, samples: int, end: int) -> AudioError:
    return AudioError(path, f"has {samples:,} samples at 16 kHz, fewer than the {end:,} that the segment needs")


def read_spans(
    recording: AnyRecording, spans: Callable[[int], Sequence[tuple[int, int]]], channel: int | None = None
) -> Iterator[Samples]:
    """Parts of a recording in one pass, holding no more of it in memory than a part and a block.

    Args:
        recording: as in `load_audio`.
        spans: gives the parts, for the number of samples at 16 kHz: first sample and the one after the last, by their
            first samples. They may overlap.
        channel: as in `load_audio`.

    Yields:
        The samples of each part, as `load_audio` gives them.

    Raises:
        AudioError: the recording cannot be used, which may show at its end only (for the reasons in the
            module's text).
    """
    with open_recording(recording, channel) as whole:
        yield from whole.parts(spans(whole.samples))


@contextmanager
def open_recording(
    recording: AnyRecording,
    channel: int | None = None,
    compared: bool = False,
    longest_s: float = MAXIMUM_DURATION_S,
) -> Iterator["OpenRecording"]:
    """A recording that is read more than once, also one that comes through a pipe.

    Args:
        recording: as in `load_audio`.
        channel: as in `load_audio`.
        compared: find out, the first time that it is read, whether channels that are averaged carry the same sound.
        longest_s: what lasts longer is refused; beyond MAXIMUM_DURATION_S for whoever never holds all of it.

    Raises:
        AudioError, UsageError: as in `load_audio`.
    """
    with _opened(recording, channel, longest_s) as (path, source, header, chosen):
        yield OpenRecording(path, source, _counted(path, source, header, longest_s), chosen, compared, longest_s)


class OpenRecording:
    """A recording from which parts are read, as often as they are wanted.

    Attributes:
        path: where it is read from; None for what came from memory.
        samples: how many there are at 16 kHz.
        source_sample_rate: the file's own rate, in Hz.
        warnings: what is doubtful about the file, such as its length.
        channels: the file's own, and, once it was read, what became of them.
    """

    def __init__(
        self,
        path: Path | None,
        source: Decoder,
        header: AudioHeader,
        chosen: int | None,
        compared: bool,
        longest_s: float = MAXIMUM_DURATION_S,
    ) -> None:
        self.path, self.samples = path, header.samples
        self.source_sample_rate, self.warnings = header.sample_rate, header.warnings
        self.channels = ChannelFacts(header.channels, chosen)
        self._source, self._header = source, header
        self._chosen, self._compared, self._longest_s = chosen, compared, longest_s
        self._is_new = True

    def whole(self) -> Recording:
        """All of it, in memory; errors are those of `load_audio`."""
        (samples,) = self.parts([(0, self.samples)])
        return Recording(self.path, samples, self.source_sample_rate, self.channels, self.warnings)

    def parts(self, spans: Sequence[tuple[int, int]]) -> Iterator[Samples]:
        """Parts in one pass; arguments and errors are those of `read_spans`."""
        compared = self._compared and self._is_new
        if not self._is_new:
            _seek(self.path, self._source, 0)
        self._is_new = False
        levels = _Levels(self.path)
        mixdown = Mixdown(self.path, self.source_sample_rate, self.channels.count, self._chosen, compared)
        waiting = deque(spans)
        held, first = np.empty(0, np.float32), 0  # the samples from `first` on
        blocks = _mono_blocks(self.path, self._source, self._header, levels, mixdown, longest_s=self._longest_s)
        for block in _resampled(blocks, self._header.sample_rate):
            held = np.concatenate((held, block))
            while waiting and waiting[0][1] <= first + len(held):
                start, end = waiting.popleft()
                yield held[start - first : end - first].copy()
            needed = waiting[0][0] if waiting else first + len(held)
            passed = min(needed - first, len(held))
            held, first = held[passed:], first + passed
        if compared:
            self.channels = mixdown.facts()
        levels.check(self.channels.cancel)


class HeldRecording(OpenRecording):
    """A recording that was decoded already, here or by another process, as one from which parts are read.

    Args:
        decoded: all of it.
    """

    def __init__(self, decoded: Recording) -> None:
        self.path, self.samples = decoded.path, len(decoded.samples)
        self.source_sample_rate, self.warnings = decoded.source_sample_rate, decoded.warnings
        self.channels = decoded.channels
        self._decoded = decoded

    def whole(self) -> Recording:
        """What was decoded."""
        return self._decoded

    def parts(self, spans: Sequence[tuple[int, int]]) -> Iterator[Samples]:
        """Parts of it, in the order in which they are asked for."""
        return (self._decoded.samples[start:end] for start, end in spans)


def probe(recording: AnyRecording, channel: int | None = None) -> AudioHeader:
    """What a recording's header says, checked as far as that is possible without decoding.

    Finds what `check_container` finds (not audio, truncated, damaged pages or frames) and the limits on length, rate
    and channels; damage inside a flac file, silence and samples that are not finite only show when the recording is
    read. A flac that does not say its length, and all that FFmpeg decodes, is decoded to count it.
    Recording and channel are those of `load_audio`.

    Raises:
        AudioError: the recording cannot be used.
    """
    with _opened(recording, channel) as (path, source, header, _):
        return _counted(path, source, header)


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
    levels = _Levels(name)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is refused below
        mono = np.ascontiguousarray(array, dtype=np.float32)
    levels.add(mono, mono[:, None])
    levels.check()
    return mono


@contextmanager
def _opened(
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


def _counted(
    path: Path | None, source: Decoder, header: AudioHeader, longest_s: float = MAXIMUM_DURATION_S
) -> AudioHeader:
    """The header, with its frames counted by decoding where it does not say how many there are."""
    if header.frames != UNKNOWN_FRAMES:
        return header
    frames = sum(map(len, _blocks(path, source, header, UNKNOWN_FRAMES, longest_s)))
    _seek(path, source, 0)
    return replace(header, frames=frames)


def _seek(path: Path | None, source: Decoder, frame: int) -> None:
    """Go on from another frame."""
    try:
        source.seek(frame)
    except DecodingError as error:
        raise AudioError(path, f"is damaged: {error}; copy it again", code="damaged") from error


def _mono_blocks(
    path: Path | None,
    source: Decoder,
    header: AudioHeader,
    levels: "_Levels",
    mixdown: Mixdown,
    first: int = 0,
    wanted: int | None = None,
    longest_s: float = MAXIMUM_DURATION_S,
) -> Iterator[Samples]:
    """Decoded blocks, as mono, at the file's own rate; every one of the promised frames must come."""
    for frames in _blocks(path, source, header, header.frames - first if wanted is None else wanted, longest_s):
        selected = mixdown.select(frames)
        mono = mixdown.mono(selected)
        levels.add(mono, selected)
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


def _resampled(blocks: Iterator[Samples], sample_rate: int) -> Iterator[Samples]:
    """Blocks at 16 kHz. The result does not depend on where the blocks were cut."""
    if sample_rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


class _Levels:
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


def _explain(error: OSError) -> str:
    """Why a file could not be opened, as a clause."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file; check the name and the folder"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); check who owns it and its mode"
    return f"could not be read ({error.strerror.lower()})" if error.strerror else "could not be read"
