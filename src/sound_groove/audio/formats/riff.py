"""Wav files (RIFF, RIFX, RF64 and BW64) as the world writes them: where their samples are, and in which coding.

Chunks of an odd length without the byte that should follow it, lengths that were never corrected (see promises.py),
several chunks of samples, and files that were joined are understood; the decoder is then given a header of our own
before those samples, for it would take them for shorter, or for damaged.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sound_groove.audio.formats.promises import find_extent, is_mark
from sound_groove.audio.formats.spliced import Piece, SplicedFile, read_at
from sound_groove.errors import AudioError
from sound_groove.types import QualityWarning

FORMAT_BYTES, MAXIMUM_FORMAT_BYTES = 16, 4096
MAXIMUM_CHUNKS = 10_000
MAXIMUM_WAV = 0xFFFFFFFF - MAXIMUM_FORMAT_BYTES - 64  # bytes of samples, in a header with 32-bit lengths
SEARCHED_BYTES = 1 << 16  # in which the samples are looked for behind a chunk with a wrong length
HEADS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
NAMES = (
    b"fmt ", b"data", b"fact", b"LIST", b"bext", b"ds64", b"JUNK", b"junk", b"PAD ", b"FLLR", b"id3 ", b"ID3 ", b"iXML",
    b"axml", b"chna", b"cart", b"cue ", b"smpl", b"inst", b"PEAK", b"DISP", b"plst", b"acid", b"minf", b"umid", b"_PMX",
)  # fmt: skip
PLAIN = (b"fmt ", b"fact", b"ds64", b"data")
EXTENSIBLE = 0xFFFE  # the coding is in the first two bytes of the sub-format
SUB_FORMAT = bytes.fromhex("000010008000 00aa00389b71")  # the end of a sub-format that is a coding
MPEG = (0x50, 0x55)  # layers I and II, layer III
DECODED = (0x01, 0x02, 0x03, 0x06, 0x07, 0x11, 0x31, 0x38, 0x40, EXTENSIBLE)  # by libsndfile

# Codings that exist and that libsndfile does not decode in a wav (RFC 2361, and what ffmpeg writes).
CODINGS = {
    0x10: "OKI ADPCM", 0x14: "G.723 ADPCM", 0x15: "DIGISTD ADPCM", 0x17: "OKI ADPCM", 0x20: "Yamaha ADPCM",
    0x22: "TrueSpeech", 0x32: "MSN Audio", 0x41: "G.728", 0x42: "G.723.1", 0x45: "G.726", 0x59: "G.723", 0x64: "G.726",
    0x65: "G.722", 0x69: "Voxware", 0x70: "Lernout & Hauspie CELP", 0x75: "Voxware MetaVoice", 0x83: "G.729",
    0x92: "Dolby Digital (SPDIF)", 0xFF: "AAC", 0x130: "ACELP", 0x133: "G.729", 0x150: "QDesign Music",
    0x160: "WMA", 0x161: "WMA", 0x162: "WMA", 0x163: "WMA", 0x180: "AAC", 0x270: "ATRAC3", 0x28F: "G.722",
    0x401: "Indeo Audio", 0x1600: "AAC", 0x1602: "AAC", 0x1610: "AAC", 0x2000: "AC-3", 0x2001: "DTS", 0x2048: "Sonic",
    0x4143: "AAC", 0x566F: "Vorbis", 0x674F: "Vorbis", 0x6750: "Vorbis", 0x6751: "Vorbis", 0x676F: "Vorbis",
    0x6770: "Vorbis", 0x6771: "Vorbis", 0x704F: "Opus", 0x706D: "AAC", 0x7A21: "AMR", 0x7A22: "AMR-WB",
    0xA106: "AAC", 0xA109: "Speex", 0xF1AC: "FLAC",
}  # fmt: skip


@dataclass(slots=True)
class Wav:
    """What was found in a wav.

    Attributes:
        order: of bytes, as `struct` writes it.
        format: the contents of its format chunk.
        fact: of its fact chunk, if any.
        parts: first byte of samples and the one after the last, of each piece of them.
        warnings: what is doubtful.
        is_plain: a decoder finds the same by itself.
    """

    order: str
    format: bytes = b""
    fact: bytes = b""
    parts: list[tuple[int, int]] = field(default_factory=list)
    warnings: list[QualityWarning] = field(default_factory=list)
    is_plain: bool = True

    @property
    def coding(self) -> int:
        """The number of the samples' coding."""
        if len(self.format) < FORMAT_BYTES:
            return 0
        (number,) = struct.unpack(self.order + "H", self.format[:2])
        if number == EXTENSIBLE and self.format[28:40] == SUB_FORMAT:
            (number,) = struct.unpack(self.order + "H", self.format[24:26])
        return int(number)


def read_wav(path: Path, file: BinaryIO, start: int, size: int) -> Wav:
    """Find the samples of a wav.

    Args:
        path: the file's name, for messages.
        file: the file, opened for reading bytes, buffered.
        start: its first byte.
        size: the byte after its last.

    Raises:
        AudioError: it was cut off, is damaged, or joined of wavs of different formats.
    """
    wav = Wav(">" if read_at(file, start, 4) == b"RIFX" else "<", is_plain=read_at(file, start, 4) != b"BW64")
    claimed_end, wide = _claimed_end(wav, file, start), 0  # `wide` is the length that RF64 keeps in a chunk of its own
    position, has_data = start + 12, False
    for _ in range(MAXIMUM_CHUNKS):
        if position + 8 > size:
            break
        name, length = struct.unpack(wav.order + "4sI", read_at(file, position, 8))
        begin = position + 8
        # A decoder trips over lists whose lengths it doubts, and stops at the first chunk of samples.
        wav.is_plain = wav.is_plain and name in PLAIN and not has_data
        if name in HEADS and has_data:  # another wav begins
            claimed_end, wide = _claimed_end(wav, file, position), 0
            position += 12
            continue
        if name == b"data":
            has_data = True
            length = wide if length == 0xFFFFFFFF and wide else length
            position = _take_samples(path, wav, file, (begin, length, size, claimed_end))
            continue
        if name == b"ds64":
            whole, wide = struct.unpack("<QQ", read_at(file, begin, 16).ljust(16, b"\0"))
            claimed_end = None if is_mark(whole) else start + 8 + whole
            wide = 0 if is_mark(wide) else wide
        elif name == b"fmt ":
            _take_format(path, wav, read_at(file, begin, min(length, MAXIMUM_FORMAT_BYTES)))
        elif name == b"fact" and not wav.fact:
            wav.fact = read_at(file, begin, min(length, MAXIMUM_FORMAT_BYTES))
        position = _next_chunk(path, wav, file, begin, length, size)
    if not has_data:
        raise AudioError(path, "is truncated or damaged: it ends within its header; copy it again", code="damaged")
    if wav.parts and len(wav.format) < FORMAT_BYTES:
        missing = "no format chunk" if not wav.format else f"a format chunk of {len(wav.format)} bytes"
        raise AudioError(
            path, f"is damaged: it does not say what its samples are ({missing}); convert it again", code="damaged"
        )
    return wav


def _claimed_end(wav: Wav, file: BinaryIO, start: int) -> int | None:
    """The byte after the last of a wav that starts there, as its header says it; None where that is a mark."""
    (length,) = struct.unpack(wav.order + "I", read_at(file, start + 4, 4).ljust(4, b"\0"))
    return None if is_mark(length) else start + 8 + length


def _take_format(path: Path, wav: Wav, content: bytes) -> None:
    """Remember the format; a second one must be the same."""
    if wav.format and wav.parts and wav.format != content:
        raise AudioError(
            path, "holds wavs of different formats one after another; cut it into them: ffmpeg -i INPUT OUTPUT.wav"
        )
    wav.format = content


def _take_samples(path: Path, wav: Wav, file: BinaryIO, chunk: tuple[int, int, int, int | None]) -> int:
    """Remember a chunk of samples (first byte, length, file's size, its claimed end); gives where the next chunk is."""
    begin, length, size, claimed_end = chunk
    end = begin + length
    following = _following(wav, file, end, length, size)
    if end == size or (end < size and following is not None):
        if length:
            wav.parts.append((begin, end))
        return size if following is None else following
    extent = find_extent(path, file, begin, length, size, claimed_end)
    if extent.end > begin:
        wav.parts.append((begin, extent.end))
    wav.warnings += extent.warnings
    wav.is_plain = wav.is_plain and extent.end == size == end
    return size


def _next_chunk(path: Path, wav: Wav, file: BinaryIO, begin: int, length: int, size: int) -> int:
    """Where the chunk is that follows one that holds no samples."""
    end = begin + length
    following = _following(wav, file, end, length, size)
    if following is None and not wav.parts:
        # Its length is wrong: the samples are looked for. What looks like them must fit.
        content = read_at(file, begin, SEARCHED_BYTES)
        at = content.find(b"data")
        while at >= 0 and following is None:
            (samples,) = struct.unpack(wav.order + "I", content[at + 4 : at + 8].ljust(4, b"\0"))
            if wav.format and (is_mark(samples) or begin + at + 8 + samples <= size):
                following = begin + at
            at = content.find(b"data", at + 1)
        if following is None and end > size:
            raise AudioError(path, "is truncated or damaged: it ends within its header; copy it again", code="damaged")
    wav.is_plain = wav.is_plain and following in (None, end)
    return end + length % 2 if following is None else following


def _following(wav: Wav, file: BinaryIO, end: int, length: int, size: int) -> int | None:
    """Where the next chunk starts after one that ends there: an odd length may lack the byte that fills it up."""
    places = (end + length % 2, end, end + 1)
    heads = [(position, read_at(file, position, 12)) for position in places if position + 8 <= size]
    for position, head in heads:
        if head[:4] in NAMES or (head[:4] in HEADS and head[8:] == b"WAVE"):
            return position
    for position, head in heads:
        (claimed,) = struct.unpack(wav.order + "I", head[4:8])
        if all(32 <= byte < 127 for byte in head[:4]) and position + 8 + claimed <= size:
            return position
    return None


def decoder_stream(path: Path, file: BinaryIO, wav: Wav) -> SplicedFile:
    """All samples of a wav behind a header that tells their length, for the decoder.

    Raises:
        AudioError: they are more than such a header can tell.
    """
    length = sum(end - begin for begin, end in wav.parts)
    chunks = _chunk(wav, b"fmt ", wav.format)
    if wav.fact and len(wav.parts) == 1:
        chunks += _chunk(wav, b"fact", wav.fact)
    if length <= MAXIMUM_WAV:
        name = b"RIFX" if wav.order == ">" else b"RIFF"
        whole, samples = 4 + len(chunks) + 8 + length + length % 2, length
    elif wav.order == ">":
        raise AudioError(path, f"has {length:,} bytes of samples, more than a wav can have; convert it to flac")
    else:
        name, whole, samples = b"RF64", 0xFFFFFFFF, 0xFFFFFFFF
        chunks = _chunk(wav, b"ds64", struct.pack("<QQQI", 4 + 36 + len(chunks) + 8 + length, length, 0, 0)) + chunks
    header = name + struct.pack(wav.order + "I", whole) + b"WAVE" + chunks + b"data"
    pieces: list[Piece] = [header + struct.pack(wav.order + "I", samples), *wav.parts, b"\0" * (length % 2)]
    return SplicedFile(file, pieces)


def _chunk(wav: Wav, name: bytes, content: bytes) -> bytes:
    return name + struct.pack(wav.order + "I", len(content)) + content + b"\0" * (len(content) % 2)
