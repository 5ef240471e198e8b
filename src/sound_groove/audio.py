"""Reading recordings: any format, rate and channel count, to mono float32 at 16 kHz, or one clear sentence why not.

Decoding is libsndfile's (through soundfile), resampling soxr's in its HQ quality: flat within the pass band, nothing
folded back. Channels are averaged. Amplitudes beyond full scale, which float formats and resampling produce, are kept
as they are.

A recording is refused (AudioError) when it is missing, a folder, not permitted, not audio, truncated, damaged, empty,
digital silence, not finite, shorter than MINIMUM_DURATION_S or longer than MAXIMUM_DURATION_S, has more than
MAXIMUM_CHANNELS, a rate outside SAMPLE_RATES, or channels that cancel each other when averaged (opposite phase):
picking one of them silently would hide the wiring mistake.

Digital silence is a signal that stays within 120 dB below full scale of one value: zeros, but also a constant offset,
which no feature can see.
"""

import math
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from sound_groove.container import Container, Stream, check_container
from sound_groove.errors import AudioError, ForeignFormatError
from sound_groove.formats.joined import JoinedSource
from sound_groove.plain_wav import read_plain
from sound_groove.types import QualityWarning, Recording, Samples

SAMPLE_RATE = 16000  # Hz
MINIMUM_DURATION_S = 0.1
MAXIMUM_DURATION_S = 4 * 3600.0  # 0.9 GB of samples at 16 kHz: a header must not be able to ask for more
MAXIMUM_CHANNELS = 64
SAMPLE_RATES = (4000, 768000)  # Hz, lowest and highest that a recording of a voice may have

SILENCE_RANGE = 2e-6  # highest minus lowest sample: 120 dB below full scale
CANCELLED_SHARE = 10 ** (-30 / 20)  # channels that leave less than this of themselves when averaged cancel each other
MAXIMUM_LEVEL = 2.0**31  # float files that hold 32-bit integers reach this; squares of more would overflow further on
UNKNOWN_FRAMES = 2**63 - 1  # what libsndfile says where the header does not say
UNSUPPORTED_CODING = 4  # libsndfile's number of the error
BLOCK_VALUES = 1 << 16  # samples times channels decoded at a time: 4 s of mono at 16 kHz, 256 KiB

PathLike: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What a recording's header says.

    Attributes:
        sample_rate: in Hz.
        channels: how many.
        frames: samples in each channel, at `sample_rate`.
        warnings: what is doubtful about the file.
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


def load_audio(path: PathLike) -> Samples:
    """The samples of a recording, as every part of this package takes them.

    Args:
        path: a wav, flac, ogg, opus, mp3 or any other file that libsndfile reads.

    Returns:
        (samples,) float32, mono, 16 kHz.

    Raises:
        AudioError: the recording cannot be used (see the module's text for the reasons).
    """
    return read_recording(path).samples


def read_recording(path: PathLike) -> Recording:
    """A recording with what is known about its source; arguments and errors are those of `load_audio`."""
    path = Path(path)
    with _opened(path) as (source, header):
        levels = _Levels(path)
        samples = np.concatenate(list(_resampled(_mono_blocks(path, source, header, levels), header.sample_rate)))
        levels.check()
    return Recording(path, samples, header.sample_rate, header.channels, header.warnings)


def read_segment(path: PathLike, start: int, count: int) -> Samples:
    """A part of a recording, for training crops: equal to `load_audio(path)[start : start + count]`, to the bit.

    Reads as little as it can: of a plain wav (`sound_groove.plain_wav`) the header and the segment; at 16 kHz, other
    uncompressed formats and flac are entered at the segment; other rates and formats are decoded from the beginning to
    the segment's end. Unlike a whole recording, a segment may be silent.

    Args:
        path: the file.
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
    path = Path(path)
    if (plain := read_plain(path, start, count)) is not None:
        return plain
    end = start + count
    with _opened(path, end / SAMPLE_RATE) as (source, header):
        if end > header.samples:
            raise AudioError(
                path, f"has {header.samples:,} samples at 16 kHz, fewer than the {end:,} that the segment needs"
            )
        first = start if header.sample_rate == SAMPLE_RATE and source.enters_exactly else 0
        if first and isinstance(source, _Source):
            try:
                source.seek(first)
            except soundfile.LibsndfileError as error:
                raise AudioError(path, f"is damaged: {_complaint(error)}; copy it again") from error
        wanted = header.frames if header.sample_rate != SAMPLE_RATE else end - first
        blocks, length = [], 0
        for block in _resampled(_mono_blocks(path, source, header, _Levels(path), first, wanted), header.sample_rate):
            blocks.append(block)
            length += len(block)
            if first + length >= end:
                break
    return np.concatenate(blocks)[start - first : end - first]


def read_spans(path: PathLike, spans: Callable[[int], Sequence[tuple[int, int]]]) -> Iterator[Samples]:
    """Parts of a recording in one pass, holding no more of it in memory than a part and a block.

    Args:
        path: the file.
        spans: gives the parts, for the number of samples at 16 kHz: first sample and the one after the last, by their
            first samples. They may overlap.

    Yields:
        The samples of each part, as `load_audio` gives them.

    Raises:
        AudioError: the recording cannot be used, which may show at its end only (for the reasons in the
            module's text).
    """
    path = Path(path)
    with _opened(path) as (source, header):
        levels = _Levels(path)
        waiting = deque(spans(header.samples))
        held, first = np.empty(0, np.float32), 0  # the samples from `first` on
        for block in _resampled(_mono_blocks(path, source, header, levels), header.sample_rate):
            held = np.concatenate((held, block))
            while waiting and waiting[0][1] <= first + len(held):
                start, end = waiting.popleft()
                yield held[start - first : end - first].copy()
            needed = waiting[0][0] if waiting else first + len(held)
            passed = min(needed - first, len(held))
            held, first = held[passed:], first + passed
        levels.check()


def probe(path: PathLike) -> AudioHeader:
    """What a recording's header says, checked as far as that is possible without decoding.

    Finds what `check_container` finds (not audio, truncated, damaged pages or frames) and the limits on length, rate
    and channels; damage inside a flac file, silence and samples that are not finite only show when the recording is
    read. A flac that does not say its length is decoded to count it.

    Raises:
        AudioError: the recording cannot be used.
    """
    with _opened(Path(path)) as (_, header):
        return header


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
        raise AudioError(name, f"has the shape {array.shape}, not one row of mono samples; average the channels first")
    if array.dtype.kind != "f":
        raise AudioError(
            name, f"holds {array.dtype} values, not floating point in [-1, 1]; divide 16-bit integers by 32768"
        )
    _check_length(name, len(array) / SAMPLE_RATE)
    levels = _Levels(name)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is refused below
        mono = np.ascontiguousarray(array, dtype=np.float32)
    levels.add(mono, mono[:, None])
    levels.check()
    return mono


class _Source(soundfile.SoundFile):  # type: ignore[misc]
    """A file being decoded from front to back.

    soundfile seeks after every read of a seekable file to where the decoder already is. For an mp3 that loses the bit
    reservoir: the samples change in their last bits with the block size, and libmpg123 complains on the terminal
    about a file that is sound.
    """

    def seekable(self) -> bool:
        return False

    @property
    def enters_exactly(self) -> bool:
        """Whether decoding from any sample on gives the same samples as decoding from the beginning."""
        return self.format != "OGG" and (
            self.subtype.startswith("PCM") or self.subtype in ("FLOAT", "DOUBLE", "ULAW", "ALAW")
        )


@contextmanager
def _opened(path: Path, needed_s: float = math.inf) -> Iterator[tuple[_Source | JoinedSource, AudioHeader]]:
    """A file, found whole as far as its structure tells, opened for decoding; its header is within the limits."""
    with ExitStack() as stack:
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise AudioError(path, "is a folder, not a recording; name a file in it")
            if not stat.S_ISREG(status.st_mode):  # reading a pipe could wait forever
                raise AudioError(path, "is not a regular file; save the audio to a file first")
            file = stack.enter_context(path.open("rb"))
            container = check_container(path, file, status.st_size, needed_s)
            if container.duration_s:
                _check_length(path, container.duration_s)
            source = stack.enter_context(_decoder(file, container))
        except soundfile.LibsndfileError as error:
            if error.code == UNSUPPORTED_CODING:
                raise ForeignFormatError(path, "sound of a coding that is not known") from error
            raise AudioError(
                path, f"is damaged, or of an unusual kind: {_complaint(error)}; convert it again"
            ) from error
        except (OSError, ValueError) as error:
            raise AudioError(path, _explain(error)) from error
        yield source, _read_header(path, source, container)


def _decoder(file: BinaryIO, container: Container) -> _Source | JoinedSource:
    """A decoder of a file, or of what stands for it."""
    if len(container.streams) > 1:
        return JoinedSource([partial(_open_stream, stream) for stream in container.streams], SAMPLE_RATE)
    if container.streams:
        return _open_stream(container.streams[0])
    # By descriptor: soundfile judges a name by its extension (.raw), and cannot pass on undecodable bytes.
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # file.seek would only move within its buffer
    return _Source(file.fileno(), closefd=False)


def _open_stream(stream: Stream) -> _Source:
    return _Source(stream())


def _read_header(path: Path, source: _Source | JoinedSource, container: Container) -> AudioHeader:
    """The header of an opened file, within the limits."""
    header = AudioHeader(source.samplerate, source.channels, source.frames, container.warnings)
    lowest, highest = SAMPLE_RATES
    if not lowest <= header.sample_rate <= highest:
        raise AudioError(path, f"has a sample rate of {header.sample_rate:,} Hz, outside {lowest:,} to {highest:,} Hz")
    if header.channels > MAXIMUM_CHANNELS:
        raise AudioError(
            path, f"has {header.channels} channels, more than {MAXIMUM_CHANNELS}; keep those with the voice"
        )
    if isinstance(source, _Source) and header.frames == UNKNOWN_FRAMES:
        header = replace(header, frames=_count_frames(path, source))
    _check_length(path, header.duration_s)
    return header


def _count_frames(path: Path, source: _Source) -> int:
    """Decode a file that does not say its length, such as a flac written to a pipe, to count its frames."""
    count, block = 0, BLOCK_VALUES // source.channels
    try:
        while count <= MAXIMUM_DURATION_S * source.samplerate and (read := len(source.read(block, dtype="float32"))):
            count += read
        source.seek(0)
    except soundfile.LibsndfileError as error:
        stopped_s = count / source.samplerate
        raise AudioError(
            path,
            f"is truncated or damaged: decoding stopped after {stopped_s:.2f} s ({_complaint(error)}); copy it again",
        ) from error
    return count


def _check_length(path: Path | None, duration_s: float) -> None:
    """Refuse a recording that is empty, too short or too long."""
    if duration_s == 0:
        raise AudioError(path, "is empty: it has a header but no samples" if path else "is empty: it has no samples")
    if duration_s < MINIMUM_DURATION_S:
        raise AudioError(path, f"lasts {duration_s:.3f} s, less than the {MINIMUM_DURATION_S} s that are needed")
    if duration_s > MAXIMUM_DURATION_S:
        hours = MAXIMUM_DURATION_S / 3600
        raise AudioError(path, f"lasts {duration_s / 3600:,.1f} h, more than {hours:.0f} h; cut it into parts")


def _mono_blocks(
    path: Path,
    source: _Source | JoinedSource,
    header: AudioHeader,
    levels: "_Levels",
    first: int = 0,
    wanted: int | None = None,
) -> Iterator[Samples]:
    """Decoded blocks, averaged to mono, at the file's own rate; every one of the promised frames must come."""
    remaining = header.frames - first if wanted is None else wanted
    block_frames = BLOCK_VALUES // header.channels
    while remaining > 0:
        try:
            frames: NDArray[np.float32] = source.read(
                min(block_frames, remaining), dtype="float32", always_2d=True
            )  # (T, C)
            complaint = "the samples end there"
        except soundfile.LibsndfileError as error:
            frames, complaint = np.empty((0, header.channels), np.float32), _complaint(error)
        if len(frames) == 0:
            stopped_s, whole_s = (header.frames - remaining) / header.sample_rate, header.duration_s
            raise AudioError(
                path,
                f"is truncated or damaged: decoding stopped after {stopped_s:.2f} of {whole_s:.2f} s ({complaint}); "
                "copy it again",
            )
        remaining -= len(frames)
        mono = _average(frames)
        levels.add(mono, frames)
        yield mono


def _average(frames: NDArray[np.float32]) -> Samples:
    """(T, C) -> (T,). Channel by channel, so that a sample's value does not depend on the block that it is in."""
    mono: Samples = frames[:, 0].copy()
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with its own message
        for channel in range(1, frames.shape[1]):
            mono += frames[:, channel]
    mono /= np.float32(frames.shape[1])
    return mono


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

    def check(self) -> None:
        """Judge the whole recording.

        Raises:
            AudioError: it is digital silence, or its channels cancel each other.
        """
        spread = float(self._mono[1] - self._mono[0])
        if self._channels > SILENCE_RANGE and spread < CANCELLED_SHARE * self._channels:
            raise AudioError(
                self.path,
                "is silent when its channels are averaged, because they cancel each other (opposite phase); "
                "keep one channel: ffmpeg -i INPUT -af 'pan=mono|c0=c0' OUTPUT.wav",
            )
        if spread < SILENCE_RANGE:
            raise AudioError(self.path, "is digital silence: all its samples have the same value")


def _complaint(error: soundfile.LibsndfileError) -> str:
    """What libsndfile says, as a clause."""
    text = str(error.error_string).strip()
    if "internal error" in text.lower():  # of values that it cannot work with
        return "its header makes no sense"
    text = text.rstrip(".").removeprefix("Error : ")
    return text[:1].lower() + text[1:] if text else "the decoder gives no reason"


def _explain(error: OSError | ValueError) -> str:
    """Why a file could not be opened, as a clause."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file; check the name and the folder"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); check who owns it and its mode"
    if isinstance(error, OSError) and error.strerror:
        return f"could not be read ({error.strerror.lower()})"
    return (
        "no such file; its name is not one that the system allows"
        if isinstance(error, ValueError)
        else "could not be read"
    )
