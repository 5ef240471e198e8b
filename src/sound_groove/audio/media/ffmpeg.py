"""FFmpeg's decoders, through PyAV (the `media` extra): what browsers, phones and Apple record.

FFmpeg knows hundreds of formats, and files come from strangers. So it never guesses: the format is told from the first
bytes here, and FFmpeg gets it by name together with a list of the formats and codings that it may use. It gets the
bytes from us and can open nothing else: no address, no playlist, no second file.

The first soundtrack is taken, pictures are passed over, and what an encoder put before and behind the sound is left out
where the file says how much that is. A stream that breaks off is damaged, never half a recording.
"""

from collections.abc import Generator, Iterator
from fractions import Fraction
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.decoders import UNKNOWN_FRAMES, DecodingError, Frames
from sound_groove.audio.media.signatures import MediaFormat
from sound_groove.audio.media.structure import check_structure
from sound_groove.types import QualityWarning

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer

EXTRA = "media"
LARGEST_FRAME = 1 << 19  # samples that a packet may unfold to; encoders write up to 294,912 (Monkey's Audio)
MOST_PACKETS = 6_000_000  # 4 h of Opus in its shortest packets, of 2.5 ms
MOST_CHANNELS = 64
LACKING_S = 0.5  # how much shorter than its file says a soundtrack may be: decoders hold back, times are rounded

# What FFmpeg may decode: sound alone. Pictures are not even looked at.
CODECS = (
    *("aac", "aac_latm", "mp1", "mp2", "mp3", "mp3on4float", "ac3", "eac3", "alac", "als", "dca", "mlp"),
    *("truehd", "flac", "mp1float", "mp2float", "mp3float", "mp3adufloat", "libopus", "opus", "vorbis"),
    *("speex", "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "wmav1", "wmav2", "wmavoice"),
    *("wmapro", "wmalossless", "wavpack", "ape", "tta", "tak", "mpc7", "mpc8", "shorten", "qoa", "gsm"),
    *("gsm_ms", "ilbc", "qcelp", "evrc", "dss_sp", "g723_1", "g729", "cook", "ra_144", "ra_288", "real_144"),
    *("real_288", "sipr", "atrac3", "atrac3p", "atrac3plus", "nellymoser", "truespeech", "adpcm_ima_wav"),
    *("adpcm_ima_qt", "adpcm_ms", "adpcm_swf", "adpcm_yamaha", "adpcm_g722", "g722", "adpcm_g726"),
    *("adpcm_g726le", "g726", "g726le", "qdm2", "qdmc", "mace3", "mace6", "dsd_lsbf", "dsd_msbf"),
    *("dsd_lsbf_planar", "dsd_msbf_planar", "pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s16le"),
    *("pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le"),
    *("pcm_f64be", "pcm_bluray", "pcm_dvd"),
)
PROMISING = ("mov", "matroska", "asf", "wv", "tta", "ape", "caf", "ogg")  # whose lengths are to be relied on
ENCRYPTED = ("drms", "enca")
LOSSLESS = ("flac", "alac", "wavpack", "ape", "tta", "tak", "shorten", "wmalossless", "mlp", "truehd", "als")
JOINED_MIDWAY = ("mpegts", "mpeg", "loas")  # cut out of a stream anywhere: they begin with what cannot be decoded


def has_media() -> bool:
    """Whether PyAV is installed."""
    return find_spec("av") is not None


def import_media() -> None:
    """Load FFmpeg now, for a process that must not do so later."""
    import av  # noqa: F401


class MediaDecoder:
    """FFmpeg's decoders; see `audio.decoders.Decoder`.

    Args:
        file: can be read from any place; it stays open.
        size: of it, in bytes.
        form: what it was found to be.
        warnings: what is doubtful about the file.

    Raises:
        DecodingError: FFmpeg cannot read it, it has no soundtrack, or one that cannot be decoded.
    """

    frames = UNKNOWN_FRAMES  # only decoding tells, to the sample
    enters_exactly = False

    def __init__(self, file: BinaryIO, size: int, form: MediaFormat, warnings: tuple[QualityWarning, ...] = ()) -> None:
        self._file = _Reader(file)
        self._form = form
        check_structure(form.demuxer, file, size)
        self._open()
        if (tracks := len(self._container.streams.audio)) > 1:
            taken = QualityWarning("several_tracks", f"has {tracks} soundtracks, and the first was taken")
            warnings = (*warnings, taken)
        self.warnings = warnings

    def _open(self) -> None:
        """Open the file at its beginning, and decode the first frames: they say what its header may not."""
        self._file.seek(0)
        self._container = _opened(self._file, self._form)
        try:
            self._stream = _soundtrack(self._container)
            self.sample_rate = self._stream.codec_context.sample_rate
            self.channels = max(1, self._stream.codec_context.channels)
            self._blocks = self._decoded()
            self._pending: list[Frames] = []
            self._given = 0
            self._damage: DecodingError | None = None
            if self.channels <= MOST_CHANNELS and (first := next(self._blocks, None)) is not None:
                self._pending.append(first)
        except BaseException:
            self._container.close()
            raise
        self.declared_frames = self._declared()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the coding."""
        return self._stream.codec_context.name

    def read(self, count: int) -> Frames:
        """The next frames (T, C)."""
        held = sum(map(len, self._pending))
        try:
            while held < count and (block := next(self._blocks, None)) is not None:
                self._pending.append(block)
                held += len(block)
        except DecodingError as error:
            self._damage = error  # to be told once all that came before it was given
        if held == 0:
            if self._damage is not None:
                raise self._damage
            self._check_promise()
            return np.empty((0, self.channels), np.float32)
        whole = np.concatenate(self._pending)  # (T, C)
        self._pending = [whole[count:]] if held > count else []
        self._given += min(held, count)
        return whole[:count]

    def seek(self, frame: int) -> None:
        """Go back to the first frame."""
        assert frame == 0, "it is decoded from front to back only"
        self.close()
        self._open()

    def close(self) -> None:
        """Let go of FFmpeg's memory."""
        self._blocks.close()
        self._container.close()

    def _declared(self) -> int:
        """Frames that the file promises, in a format that keeps its promises."""
        if self._form.demuxer not in PROMISING:
            return UNKNOWN_FRAMES
        if self._stream.duration is not None and self._stream.time_base is not None:
            seconds = float(self._stream.duration * self._stream.time_base)
        elif self._container.duration is not None and len(self._container.streams) == 1:
            seconds = self._container.duration / 1e6
        else:
            return UNKNOWN_FRAMES
        return round(seconds * self.sample_rate) if 0 < seconds < 1e9 else UNKNOWN_FRAMES

    def _check_promise(self) -> None:
        """Refuse a soundtrack that is shorter than its file says."""
        declared, rate = self.declared_frames, self.sample_rate
        if declared != UNKNOWN_FRAMES and self._given < declared - LACKING_S * rate:
            raise DecodingError(f"the file promises {declared / rate:.2f} s")

    def _decoded(self) -> Generator[Frames, None, None]:
        """Blocks (T, C), one a frame of the coding; the last without what the file says is padding."""
        import av

        held: AudioFrame | None = None
        try:
            for packet in self._packets():
                try:
                    frames: list[AudioFrame] = packet.decode()
                except av.FFmpegError:
                    if held is None and self._form.demuxer in JOINED_MIDWAY:
                        continue
                    raise
                for frame in frames:
                    if held is None:
                        self.sample_rate, self.channels = frame.sample_rate, frame.layout.nb_channels
                    else:
                        yield self._block(held, held.samples)
                    held = frame
        except (DecodingError, MemoryError):
            raise
        except Exception as error:  # PyAV has errors of many kinds for what a stranger's file makes it do
            raise DecodingError(_complaint(error)) from error
        if held is not None:
            yield self._block(held, min(held.samples, self._length_of(held)))

    def _packets(self) -> "Iterator[Packet[AudioStream]]":
        """The soundtrack's packets, unharmed as far as FFmpeg can tell."""
        for count, packet in enumerate(self._container.demux(self._stream)):
            if packet.is_corrupt:
                raise DecodingError("a packet is cut off or damaged")
            if count > MOST_PACKETS:
                raise DecodingError(f"it has more than {MOST_PACKETS:,} packets")
            yield packet

    def _length_of(self, frame: "AudioFrame") -> int:
        """Samples that the file counts of a frame: fewer than there are where an mp4 says that the rest is padding."""
        if self._form.demuxer != "mov" or not frame.duration or frame.time_base is None:
            return frame.samples
        length = Fraction(frame.duration) * frame.time_base * frame.sample_rate
        return int(length) if length.denominator == 1 else frame.samples

    def _block(self, frame: "AudioFrame", length: int) -> Frames:
        """The first samples (T, C) of a frame, full scale at 1."""
        if frame.sample_rate != self.sample_rate:
            raise DecodingError(f"its rate changes from {self.sample_rate:,} to {frame.sample_rate:,} Hz")
        channels = frame.layout.nb_channels
        values: NDArray[Any] = frame.to_ndarray()
        values = values.T if frame.format.is_planar else values.reshape(-1, channels)  # (T, C)
        values = values[:length]
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                block: Frames = np.ascontiguousarray(values, np.float32)
        elif values.dtype == np.int16:
            block = values * np.float32(2.0**-15)
        elif values.dtype == np.uint8:
            block = (values - np.float32(128)) * np.float32(2.0**-7)
        else:
            block = (values * 2.0**-31).astype(np.float32)  # in double precision: rounded once
        if channels != self.channels:  # parametric stereo may begin after some frames
            block = np.repeat(block.mean(axis=1, keepdims=True, dtype=np.float32), self.channels, axis=1)
        return block


class _Reader:
    """A file without a name, as PyAV reads it: it must not learn where it lies, nor close it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        return self._file.read(count)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _opened(file: _Reader, form: MediaFormat) -> "InputContainer":
    """The file in FFmpeg, which may read nothing else."""
    import av

    try:
        container: InputContainer = av.open(
            file,
            "r",
            format=form.demuxer,
            container_options={
                "format_whitelist": ",".join(av.ContainerFormat(form.demuxer).name.split(",")),
                "codec_whitelist": ",".join(CODECS),
                "protocol_whitelist": "none",
            },
            io_open=_open_nothing,
            metadata_errors="replace",
        )
    except (DecodingError, MemoryError):
        raise
    except Exception as error:  # as above
        raise DecodingError(_complaint(error)) from error
    return container


def _open_nothing(url: str, flags: int, options: dict[str, str]) -> None:
    """Refuse to open what a file names: whoever sends a file must not make us read another or ask a server."""
    raise DecodingError("it refers to another file or address, and those are never opened")


def _soundtrack(container: "InputContainer") -> "AudioStream":
    """The first soundtrack, ready to be decoded; all others are passed over."""
    import av

    if not container.streams.audio:
        raise DecodingError("it has no soundtrack")
    chosen = container.streams.audio[0]
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = av.stream.Discard.all
    context = chosen.codec_context
    if context is None or context.name not in CODECS:
        raise DecodingError("its sound is in a coding that is not known")
    if _tag(chosen) in ENCRYPTED:
        raise DecodingError("its sound is encrypted (a bought file with copy protection)")
    context.thread_count = 1
    options = {"max_samples": str(LARGEST_FRAME)}
    if context.name in LOSSLESS:
        options["err_detect"] = "crccheck+explode"
    context.options = options
    return chosen


def _tag(stream: "AudioStream") -> str:
    """What the file calls the coding; empty where that is no text."""
    try:
        return str(stream.codec_context.codec_tag)
    except UnicodeDecodeError:
        return ""


def _complaint(error: Exception) -> str:
    """What FFmpeg says, as a clause."""
    text = str(getattr(error, "strerror", None) or error).strip().rstrip(".")
    return text[:1].lower() + text[1:] if text else "the decoder gives no reason"
