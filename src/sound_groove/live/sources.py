"""Where live audio comes from: a stream of raw samples or of a wav file, or the microphone. Pieces of 16 kHz come out.

A wav that comes through a pipe may not know its own length; it is heard until it ends. What is read is at most a tenth
of a second at a time, or whoever writes slowly would be waited for.
"""

import queue
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soxr

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import AudioError, UsageError, require_extra
from sound_groove.types import Samples

PIECE_S = 0.1
LEAST_RATE, HIGHEST_RATE = 4000, 384_000  # Hz
PCM, EXTENSIBLE = 1, 0xFFFE
SAMPLE_BYTES = 2
FULL_SCALE = 32768.0
MOST_CHANNELS = 64
LONGEST_HEADER = 1_000_000  # bytes of what stands before a wav's samples


class Resampler:
    """Makes 16 kHz of pieces of another rate.

    Args:
        rate: of what comes, in Hz.

    Raises:
        UsageError: the rate is out of range.
    """

    def __init__(self, rate: int) -> None:
        if not LEAST_RATE <= rate <= HIGHEST_RATE:
            raise UsageError(f"a rate lies between {LEAST_RATE} and {HIGHEST_RATE:,} Hz; {rate} was given")
        self._stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def piece(self, samples: Samples, last: bool = False) -> Samples:
        """The next samples (samples,) at 16 kHz; with `last`, those that were held back as well."""
        if self._stream is None:
            return samples
        return np.asarray(self._stream.resample_chunk(samples, last=last), np.float32)


def raw_stream(stream: BinaryIO, rate: int, channels: int = 1, begun: bytes = b"") -> Iterator[Samples]:
    """The samples of a stream of raw 16-bit numbers, little-endian, channels interleaved and averaged.

    Args:
        stream: read until it ends.
        rate: in Hz.
        channels: how many.
        begun: bytes of it that were read before.

    Yields:
        (samples,) mono at 16 kHz, as soon as they are there.
    """
    resampler, frame = Resampler(rate), SAMPLE_BYTES * channels
    most = max(1, int(PIECE_S * rate)) * frame
    read = getattr(stream, "read1", stream.read)  # what is there, without waiting for more
    while content := read(most):
        begun += content
        whole = len(begun) // frame * frame
        if whole:
            yield resampler.piece(_mono(begun[:whole], channels))
        begun = begun[whole:]
    yield resampler.piece(_mono(begun[: len(begun) // frame * frame], channels), last=True)


def audio_stream(stream: BinaryIO, rate: int | None) -> Iterator[Samples]:
    """The samples of a stream: of a wav file, which says so itself, or raw ones of a rate.

    Args:
        stream: read until it ends.
        rate: of raw samples (16-bit, little-endian, mono), in Hz; None where a wav file comes.

    Yields:
        As `raw_stream`.

    Raises:
        AudioError: it is no wav file of 16-bit samples.
        UsageError: the rate is out of range.
    """
    if rate is not None:
        Resampler(rate)  # refuses what is out of range before anything is read
        yield from raw_stream(stream, rate)
        return
    rate, channels = wav_header(stream)
    yield from raw_stream(stream, rate, channels)


def wav_header(stream: BinaryIO) -> tuple[int, int]:
    """Rate and channels of a wav file, whose samples come next.

    Raises:
        AudioError: it is none, or not of 16-bit samples.
    """
    if (head := _exactly(stream, 12))[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise AudioError(None, "is no wav file; say --rate HZ where raw 16-bit samples come", "the standard input")
    found: tuple[int, int] | None = None
    passed = 0
    while True:
        name, size = struct.unpack("<4sI", _exactly(stream, 8))
        if name == b"data":
            break
        passed += size
        if passed > LONGEST_HEADER:
            raise _unfit("its samples do not begin within a megabyte")
        content = _exactly(stream, size + size % 2)
        if name == b"fmt ":
            if size < 16:
                raise _unfit("its format is cut off")
            kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
            if kind == EXTENSIBLE and size >= 26:
                (kind,) = struct.unpack("<H", content[24:26])
            if kind != PCM or bits != 16:
                raise _unfit(f"has {bits}-bit samples of kind {kind}; live audio is 16-bit PCM")
            if not 1 <= channels <= MOST_CHANNELS:
                raise _unfit(f"has {channels} channels; 1 to {MOST_CHANNELS} can be averaged")
            found = rate, channels
    if found is None:
        raise _unfit("does not say its format before its samples")
    return found


def microphone(rate: int = SAMPLE_RATE, device: int | str | None = None) -> Iterator[Samples]:
    """What the microphone hears, until whoever asks stops asking.

    Args:
        rate: of the sound card, in Hz.
        device: as sounddevice names it; None takes the system's own.

    Raises:
        AudioError: there is no microphone.
        MissingExtraError: sounddevice is not installed.
    """
    require_extra("Listening to a microphone", "microphone", "sounddevice")
    try:
        import sounddevice
    except OSError as error:  # PortAudio is missing
        raise AudioError(None, f"cannot be used: {error}", "the microphone") from None
    heard: queue.Queue[Samples] = queue.Queue()
    resampler = Resampler(rate)

    def take(samples: Samples, *_: object) -> None:
        heard.put(samples[:, 0].copy())

    try:
        with sounddevice.InputStream(rate, int(PIECE_S * rate), device, 1, "float32", callback=take):
            while True:
                yield resampler.piece(heard.get())
    except sounddevice.PortAudioError as error:
        raise AudioError(None, f"cannot be used: {error}", "the microphone") from None


def _mono(content: bytes, channels: int) -> Samples:
    values = np.frombuffer(content, "<i2").astype(np.float32).reshape(-1, channels) / np.float32(FULL_SCALE)
    return np.asarray(values[:, 0] if channels == 1 else values.mean(axis=1), np.float32)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    content = b""
    while len(content) < count:
        more = stream.read(count - len(content))
        if not more:
            raise AudioError(None, "ends before its samples begin", "the standard input")
        content += more
    return content


def _unfit(reason: str) -> AudioError:
    return AudioError(None, reason, "the standard input")
