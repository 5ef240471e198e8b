"""What a recording's file is, and whether it is whole, told from its structure without decoding.

The decoders (libsndfile and the libraries under it) are lenient: a wav that was cut off is silently shortened, a lost
Ogg page is silently skipped, and libmpg123 talks to the terminal about a damaged mp3. So the structure is checked
here first:

- wav, rf64, bw64: see riff.py;
- w64, aiff, au, caf, sphere: the header's promise of sample bytes against the bytes that there are (see
  promises.py);
- ogg (opus, vorbis, flac): every page is there, and its checksum is right (RFC 3533; see ogg.py);
- mp3: unbroken chains of frames, as many as the encoder promises (see mpeg.py);
- flac: that it is one, and does not go on after the samples that it counts. Its frames can only be found by decoding,
  which also checks them.

Where a decoder would take a file that is odd but whole for less than it is, it is given other bytes than the file's:
the same samples behind a header that tells their true length.

What cannot be known: whether a wav, aiff or au written to a pipe is whole, because its sizes are placeholders.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

from sound_groove.audio.formats.chunked import read_chunked
from sound_groove.audio.formats.flac import read_flac
from sound_groove.audio.formats.foreign import foreign_format, other_content
from sound_groove.audio.formats.mpeg import MpegFrames, clean_stream, find_frames, find_start, frame_length, is_free
from sound_groove.audio.formats.ogg import ogg_checksum as ogg_checksum
from sound_groove.audio.formats.ogg import read_ogg
from sound_groove.audio.formats.riff import CODINGS, DECODED, HEADS, MPEG, decoder_stream, read_wav
from sound_groove.audio.formats.spliced import SplicedFile, read_at
from sound_groove.audio.formats.tags import skip_id3
from sound_groove.errors import AudioError, ForeignFormatError
from sound_groove.types import QualityWarning

STARTS = (
    (b".snd", "au"),
    (b"dns.", "au"),
    (b"caff", "caf"),
    (b"NIST_1A", "sphere"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
)
READABLE = "wav, flac, ogg, opus, mp3, aiff, au, caf, w64 or sphere"
EMBEDDED = re.compile(rb"fLaC[\0\x80]\0\0\x22|OggS\x00\x02|(RIFF|RIFX|RF64|BW64).{4}WAVE|FORM.{4}AIF[FC]", re.DOTALL)
SEARCHED_BYTES = 1 << 16
HEAD_BYTES = 512  # enough to tell every format by


Stream: TypeAlias = Callable[[], BytesIO | SplicedFile]


@dataclass(frozen=True, slots=True)
class Container:
    """What a file was found to be.

    Attributes:
        kind: "wav", "w64", "aiff", "au", "caf", "sphere", "flac", "ogg" or "mp3".
        streams: what the decoder is to be given, opened anew by each call: several where several recordings were
            joined; none where it is the file itself.
        duration_s: its length where it is known before decoding, as of an mp3; else 0.
        warnings: what is doubtful about it.
        foreign: the coding inside, such as "G.722 inside a wav", where libsndfile does not know it; else empty.
    """

    kind: str
    streams: tuple[Stream, ...] = ()
    duration_s: float = 0.0
    warnings: tuple[QualityWarning, ...] = ()
    foreign: str = ""


def check_container(path: Path, file: BinaryIO, size: int, needed_s: float = math.inf) -> Container:
    """The container that a file is, once its structure has been found whole.

    Args:
        path: the file's name, for messages.
        file: the file, opened for reading bytes, buffered; streams read from it.
        size: its length in bytes.
        needed_s: so many seconds of it are needed: a long flac is not searched for more.

    Raises:
        AudioError: it is empty, not audio, audio of a format that cannot be read (ForeignFormatError), truncated, or
            damaged.
        OSError: it could not be read.
    """
    if size == 0:
        raise AudioError(path, "is empty (0 bytes)", code="empty")
    start = skip_id3(file, size)
    container = _found(path, file, start, size, needed_s)
    if start and not container.streams:  # a decoder passes over the tag, and then cannot seek in some formats
        return replace(container, streams=(_always(SplicedFile(file, [(start, size)])),))
    return container


def _found(path: Path, file: BinaryIO, start: int, size: int, needed_s: float) -> Container:
    """The container that begins at a byte."""
    kind = recognise(path, file, start, size)
    if kind == "mp3":
        first = find_start(file, start, size)
        return _mpeg(kind, file, find_frames(path, file, start if first is None else first, size))
    if kind == "wav":
        return _wav(path, file, start, size)
    if kind == "flac":
        return Container(kind, tuple(map(_always, read_flac(path, file, start, size, needed_s))))
    if kind == "ogg":
        stream = read_ogg(path, file, start, size)
        return Container(kind, () if stream is None else (_always(stream),))
    chunked, extent, foreign = read_chunked(path, kind, file, start, size)
    return Container(kind, () if chunked is None else (_always(chunked),), warnings=extent.warnings, foreign=foreign)


def _mpeg(kind: str, file: BinaryIO, chains: tuple[MpegFrames, ...]) -> Container:
    streams = tuple(partial(clean_stream, file, chain) for chain in chains)
    return Container(kind, streams, sum(chain.duration_s for chain in chains))


def _wav(path: Path, file: BinaryIO, start: int, size: int) -> Container:
    wav = read_wav(path, file, start, size)
    warnings = tuple(wav.warnings)
    if wav.coding in MPEG and wav.parts:
        content = BufferedReader(SplicedFile(file, wav.parts))
        length = sum(end - begin for begin, end in wav.parts)
        first = find_start(content, 0, length)
        return replace(_mpeg("wav", content, find_frames(path, content, first or 0, length)), warnings=warnings)
    foreign = ""
    if wav.format and wav.coding not in DECODED:
        foreign = f"{CODINGS.get(wav.coding, f'sound of the coding 0x{wav.coding:04X}')} inside a wav"
    streams = () if wav.is_plain else (_always(decoder_stream(path, file, wav)),)
    return Container("wav", streams, warnings=warnings, foreign=foreign)


def _always(stream: SplicedFile) -> Stream:
    """A way to open a stream that needs none: it is read from its first byte on."""

    def rewound() -> SplicedFile:
        stream.seek(0)
        return stream

    return rewound


def recognise(path: Path, file: BinaryIO, start: int, size: int) -> str:
    """The kind of container that the first bytes of a file announce; its name does not count.

    Raises:
        AudioError: none that can be read.
    """
    head = read_at(file, start, HEAD_BYTES)
    if head[:4] in HEADS and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return "w64"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    for magic, kind in STARTS:
        if head.startswith(magic):
            return kind
    if name := foreign_format(head):
        raise ForeignFormatError(path, name)
    if other := other_content(head):
        raise AudioError(path, f"is not audio but {other}", code="not_audio")
    if is_free(file, start):
        raise ForeignFormatError(path, "an mp3 of a free bit rate")
    if frame_length(head[:4]) > 0 or find_start(file, start, size) is not None:
        return "mp3"
    if found := EMBEDDED.search(read_at(file, start, SEARCHED_BYTES)):
        raise AudioError(path, f"holds sound behind {start + found.start():,} bytes of something else; cut those off")
    if head.startswith(b"ID3"):
        raise AudioError(path, "is truncated: it ends within its ID3 tag; copy it again", code="damaged")
    if size < 44 and any(magic.startswith(head[:4]) for magic in (b"RIFF", b"OggS", b"fLaC", b"FORM")):
        raise AudioError(
            path, f"is truncated: it ends within its header, after {size} bytes; copy it again", code="damaged"
        )
    raise AudioError(path, f"is not audio ({READABLE})", code="not_audio")
