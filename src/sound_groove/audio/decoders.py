"""What turns the bytes of a recording into samples: one small interface, so that all that follows is shared.

A decoder gives blocks (T, C) from front to back at the recording's own rate. Limits, levels, mixing to mono and
resampling know nothing else of it (`audio`). libsndfile's is here, and those of samples that are in memory already and
of a part of another decoder's recording; FFmpeg's is in `media.ffmpeg`, that of joined recordings in `formats.joined`.
"""

import os
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sound_groove.errors import AudioError
from sound_groove.types import QualityWarning

Frames = NDArray[np.float32]  # (T, C), full scale at 1
UNKNOWN_FRAMES = 2**63 - 1  # what libsndfile says where the header does not say
UNSUPPORTED_CODING = 4  # libsndfile's number of the error


class DecodingError(Exception):
    """A decoder could not go on; its text is a clause that says why."""


class UnknownCodingError(DecodingError):
    """A decoder knows the format of a file, and not the coding inside of it."""


class Decoder(Protocol):
    """Samples from front to back.

    Attributes:
        sample_rate: in Hz, above 0.
        channels: at least 1.
        frames: in each channel, UNKNOWN_FRAMES where only decoding tells.
        declared_frames: the same, or what the file says of it where it is not to be relied on.
        enters_exactly: after `seek` the samples are the same as on the way from the beginning.
        warnings: what one should know of where the samples come from.
    """

    sample_rate: int
    channels: int
    frames: int
    declared_frames: int
    enters_exactly: bool
    warnings: tuple[QualityWarning, ...]

    def read(self, count: int) -> Frames:
        """The next frames (T, C), at most `count`; none at the end.

        Raises:
            DecodingError: it is damaged here.
        """
        ...

    def seek(self, frame: int) -> None:
        """Go on from another frame: any where `enters_exactly`, else only from 0.

        Raises:
            DecodingError: it is damaged there.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds; the file stays open."""
        ...


class _Source(soundfile.SoundFile):  # type: ignore[misc]
    """A file being decoded from front to back.

    soundfile seeks after every read of a seekable file to where the decoder already is. For an mp3 that loses the bit
    reservoir: the samples change in their last bits with the block size, and libmpg123 complains on the terminal
    about a file that is sound.
    """

    def seekable(self) -> bool:
        return False


class SndfileDecoder:
    """libsndfile's decoders.

    Args:
        file: a descriptor (`soundfile` judges a name by its extension, and cannot pass on undecodable bytes), or an
            object with `read`, `seek` and `tell`; at its beginning.
        warnings: what is doubtful about the file.

    Raises:
        DecodingError: it cannot open the file.
    """

    def __init__(self, file: int | BinaryIO, warnings: tuple[QualityWarning, ...] = ()) -> None:
        self._file = file
        self._source = _source_of(file)
        self._is_new = True  # nothing has been read
        self.warnings = warnings
        self.sample_rate: int = self._source.samplerate
        self.channels: int = self._source.channels
        self.frames: int = self._source.frames
        self.declared_frames = self.frames
        subtype = self._source.subtype
        self.enters_exactly = self._source.format != "OGG" and (
            subtype.startswith("PCM") or subtype in ("FLOAT", "DOUBLE", "ULAW", "ALAW")
        )

    def read(self, count: int) -> Frames:
        """The next frames (T, C)."""
        self._is_new = False
        try:
            block: Frames = self._source.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DecodingError(_complaint(error)) from error
        return block

    def seek(self, frame: int) -> None:
        """Go on from another frame."""
        if not self.enters_exactly:  # what was decoded before would be heard: an mp3 ends in other last bits
            if not self._is_new:
                self._reopen()
            return
        try:
            self._source.seek(frame)
        except soundfile.LibsndfileError as error:
            raise DecodingError(_complaint(error)) from error

    def close(self) -> None:
        """Close libsndfile's handle."""
        self._source.close()

    def _reopen(self) -> None:
        """Begin anew, as nothing else makes a decoder forget."""
        self._source.close()
        if isinstance(self._file, int):
            os.lseek(self._file, 0, os.SEEK_SET)
        else:
            self._file.seek(0)
        self._source = _source_of(self._file)
        self._is_new = True


def _source_of(file: int | BinaryIO) -> _Source:
    """libsndfile's handle of a file that is at its beginning."""
    try:
        return _Source(file, closefd=False)
    except soundfile.LibsndfileError as error:
        kind = UnknownCodingError if error.code == UNSUPPORTED_CODING else DecodingError
        raise kind(_complaint(error)) from error


class SamplesDecoder:
    """Samples that are in memory already.

    Args:
        samples: (T, C), floating point or integers.
        sample_rate: in Hz.
        scale: what integers are multiplied by, after `zero` was taken from them.
        zero: the value of silence.
    """

    enters_exactly = True
    warnings: tuple[QualityWarning, ...] = ()

    def __init__(self, samples: NDArray[np.generic], sample_rate: int, scale: float = 1.0, zero: int = 0) -> None:
        self._samples = samples
        self._scale, self._zero = scale, zero
        self._position = 0
        self.sample_rate = sample_rate
        self.frames, self.channels = samples.shape
        self.declared_frames = self.frames

    def read(self, count: int) -> Frames:
        """The next frames (T, C)."""
        block = self._samples[self._position : self._position + count]
        self._position += len(block)
        if block.dtype.kind == "f":
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is refused by name
                return block.astype(np.float32)
        # In double precision: 32-bit integers lose nothing before they are scaled.
        return ((block.astype(np.float64) - self._zero) * self._scale).astype(np.float32)

    def seek(self, frame: int) -> None:
        """Go on from another frame."""
        self._position = frame

    def close(self) -> None:
        """Nothing is held."""


def decoder_of(samples: Any, rate: Any) -> SamplesDecoder:
    """Samples as others hand them over: what they are is told from their type and shape.

    Args:
        samples: an array or tensor (T,), (T, C) or (C, T), of which the longer side is time; floating point in [-1, 1],
            or integers of 8 (unsigned, as in a wav, or signed), 16 or 32 bits, whose full scale is that of their type.
        rate: in Hz, a whole number.

    Raises:
        AudioError: they are no samples, or the rate is none.

    >>> decoder_of(np.int16([[16384, 0], [0, -32768], [0, 0]]), 8000).read(2).tolist()
    [[0.5, 0.0], [0.0, -1.0]]
    """
    array = as_array(samples)
    try:
        sample_rate = int(rate)
        is_whole = sample_rate == rate
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise AudioError(None, f"has a sample rate of {rate}, which is no whole number of Hz")
    if array.ndim not in (1, 2):
        raise AudioError(
            None, f"has the shape {array.shape}; samples are (time,), (time, channels) or (channels, time)"
        )
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] < array.shape[1]:
        array = array.T
    if array.dtype.kind == "f":
        return SamplesDecoder(array, sample_rate)
    if array.dtype.name not in _FULL_SCALE:
        raise AudioError(
            None,
            f"holds {array.dtype} values, of which nobody knows the full scale; give floating point in [-1, 1], or "
            f"integers of the types {', '.join(_FULL_SCALE)}",
        )
    scale, zero = _FULL_SCALE[array.dtype.name]
    return SamplesDecoder(array, sample_rate, 1 / scale, zero)


_FULL_SCALE = {"int16": (2.0**15, 0), "int32": (2.0**31, 0), "uint8": (2.0**7, 128), "int8": (2.0**7, 0)}


def as_array(samples: Any) -> NDArray[np.generic]:
    """An array, of an array or a tensor of another library.

    Raises:
        AudioError: it cannot be made one.
    """
    try:
        if hasattr(samples, "detach"):  # torch's, perhaps on another device, or in half precision
            samples = samples.detach().cpu()
            samples = samples.float() if "float" in str(samples.dtype) else samples
        return np.asarray(samples)
    except Exception as error:  # whatever object this is, its conversion is foreign code
        raise AudioError(None, f"cannot be made an array of samples ({type(error).__name__}: {error})") from error


class PartDecoder:
    """A part of what another decoder gives, as if it were a recording of its own.

    Args:
        decoder: at its first frame.
        start: first frame of the part.
        count: how many; UNKNOWN_FRAMES or about that for the rest.
        lacking: how many may lack at the end.

    Raises:
        DecodingError: the recording is damaged before the part begins.
    """

    def __init__(self, decoder: Decoder, start: int, count: int, lacking: int = 0) -> None:
        self._decoder = decoder
        self._start, self._count, self._position = start, count, 0
        self._least = 0 if count > UNKNOWN_FRAMES // 2 else count - lacking
        self.sample_rate, self.channels = decoder.sample_rate, decoder.channels
        self.enters_exactly, self.warnings = decoder.enters_exactly, decoder.warnings
        self.frames = self._left_of(decoder.frames)
        self.declared_frames = self._left_of(decoder.declared_frames)
        self.seek(0)

    def _left_of(self, total: int) -> int:
        """How many of so many frames in all are of the part."""
        return total if total == UNKNOWN_FRAMES else max(0, min(self._count, total - self._start))

    def read(self, count: int) -> Frames:
        """The next frames (T, C)."""
        wanted = max(0, min(count, self._count - self._position))
        block = self._decoder.read(wanted)
        if wanted and not len(block) and self._position < self._least:
            raise DecodingError("the recording ends before the part does")
        self._position += len(block)
        return block

    def seek(self, frame: int) -> None:
        """Go on from another frame of the part; what lies before it is decoded where it cannot be passed over."""
        self._position = frame
        if self.enters_exactly:
            self._decoder.seek(self._start + frame)
            return
        self._decoder.seek(0)
        left = self._start + frame
        while left and (read := len(self._decoder.read(min(left, 1 << 16)))):
            left -= read

    def close(self) -> None:
        """Close the other decoder."""
        self._decoder.close()


def _complaint(error: soundfile.LibsndfileError) -> str:
    """What libsndfile says, as a clause."""
    text = str(error.error_string).strip()
    if "internal error" in text.lower():  # of values that it cannot work with
        return "its header makes no sense"
    text = text.rstrip(".").removeprefix("Error : ")
    return text[:1].lower() + text[1:] if text else "the decoder gives no reason"
