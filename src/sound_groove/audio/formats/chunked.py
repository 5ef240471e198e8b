"""W64, AIFF, AU, CAF and Sphere: where their samples are, and a header with the true length where theirs is wrong."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sound_groove.audio.formats.foreign import AIFC_CODINGS, AU_CODINGS, CAF_CODINGS
from sound_groove.audio.formats.promises import Extent, find_extent, is_mark
from sound_groove.audio.formats.spliced import SplicedFile, patched, read_at
from sound_groove.errors import AudioError

SPHERE_BYTES = 1024  # of a header, and most have no more
SPHERE_CODINGS = ("pcm", "ulaw", "alaw", "mu-law")
# What the decoder is to be given (None: the file itself), its extent, and the coding inside if libsndfile knows it not.
Reading = tuple[SplicedFile | None, Extent, str]


def read_chunked(path: Path, kind: str, file: BinaryIO, start: int, size: int) -> Reading:
    """Find the samples of a file of one of these kinds ("w64", "aiff", "caf", "au" or "sphere").

    Raises:
        AudioError: it was cut off.
    """
    if kind == "au":
        return _read_au(path, file, start, size)
    if kind == "sphere":
        return _read_sphere(path, file, start, size)
    return _read_chunks(path, kind, file, start, size)


def _read_chunks(path: Path, kind: str, file: BinaryIO, start: int, size: int) -> Reading:
    foreign = ""
    for name, begin, length in _chunks(kind, file, start, size):
        if name in (b"data", b"SSND"):
            end = begin + length
            if length > 0 and (end == size or (end < size and _is_chunk(kind, file, start, end, size))):
                return None, Extent(end), foreign
            if length == 0 and end == size:
                return None, Extent(end), foreign
            extent = find_extent(path, file, begin, length, size, _claimed_end(kind, file, start))
            stream = patched(file, start, extent.end, _true_lengths(kind, start, begin, extent.end))
            return stream, extent, foreign
        if begin + length > size:
            raise AudioError(path, "is truncated or damaged: it ends within its header; copy it again", code="damaged")
        foreign = foreign or _foreign_coding(kind, name, read_at(file, begin, min(length, 64)))
    return None, Extent(size), foreign  # no samples: the decoder says why


def _true_lengths(kind: str, start: int, begin: int, end: int) -> list[tuple[int, bytes]]:
    """The lengths of the whole and of the samples, where they stand in the header, as they should be."""
    if kind == "w64":  # they count their own headers
        return [(start + 16, struct.pack("<Q", end - start)), (begin - 8, struct.pack("<Q", end - begin + 24))]
    if kind == "caf":
        return [(begin - 8, struct.pack(">q", end - begin))]
    whole, samples = (min(length, 0xFFFFFFFF) for length in (end - start - 8, end - begin))
    return [(start + 4, struct.pack(">I", whole)), (begin - 4, struct.pack(">I", samples))]


def _claimed_end(kind: str, file: BinaryIO, start: int) -> int | None:
    """The byte after the whole's last, as its header says it; None where that is a mark, or it says nothing."""
    if kind == "caf":
        return None
    place, number, counted = (16, "<Q", 0) if kind == "w64" else (4, ">I", 8)
    (length,) = struct.unpack(number, read_at(file, start + place, struct.calcsize(number)))
    return None if is_mark(length) else start + counted + length


def _is_chunk(kind: str, file: BinaryIO, start: int, end: int, size: int) -> bool:
    """Whether another chunk follows one that ends there."""
    _, _, _, alignment = _layout(kind)
    position = end + (start - end) % alignment
    for name, begin, length in _chunks(kind, file, start, size, position):
        return all(32 <= byte < 127 for byte in name) and 0 <= length <= size - begin
    return False


def _chunks(
    kind: str, file: BinaryIO, start: int, size: int, position: int | None = None
) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each chunk, from the first on or from a position."""
    first, name_bytes, number, alignment = _layout(kind)
    header_bytes = name_bytes + struct.calcsize("<" + number)
    order = "<" if kind == "w64" else ">"
    position = start + first if position is None else position
    while position + header_bytes <= size:
        header = read_at(file, position, header_bytes)
        length = struct.unpack(order + number, header[name_bytes:])[0]
        if kind == "w64":  # here, a chunk's length counts its header
            length -= header_bytes
        yield header[:4], position + header_bytes, length
        if length < 0:
            return
        end = position + header_bytes + length
        position = end + (start - end) % alignment


def _layout(kind: str) -> tuple[int, int, str, int]:
    """Bytes before the first chunk, bytes of a chunk's name, format of its length, alignment of chunks."""
    return {"caf": (8, 4, "q", 1), "w64": (40, 16, "Q", 8)}.get(kind, (12, 4, "I", 2))


def _foreign_coding(kind: str, chunk: bytes, content: bytes) -> str:
    """The name of a coding that libsndfile does not know, where a chunk says that there is one."""
    if kind == "caf" and chunk == b"desc" and content[8:12] in CAF_CODINGS:
        return f"{CAF_CODINGS[content[8:12]]} inside a caf"
    if kind == "caf" and chunk == b"desc" and content[8:12] == b"alac" and content[12:16] == bytes(4):
        return "ALAC inside a caf"  # libsndfile wants to know the bits of a sample
    if kind == "aiff" and chunk == b"COMM" and content[18:22] in AIFC_CODINGS:
        return f"{AIFC_CODINGS[content[18:22]]} inside an aiff"
    return ""


def _read_au(path: Path, file: BinaryIO, start: int, size: int) -> Reading:
    header = read_at(file, start, 16)
    if len(header) < 16:
        raise AudioError(path, "is truncated: it ends within its header; copy it again", code="damaged")
    offset, length, coding = struct.unpack(">III" if header[:4] == b".snd" else "<III", header[4:])
    foreign = f"{AU_CODINGS[coding]} inside an au" if coding in AU_CODINGS else ""
    extent = find_extent(path, file, start + offset, length, size)
    true = extent.end - start - offset
    if true in (length, 0) and extent.end == size:
        return None, extent, foreign
    order = ">I" if header[:4] == b".snd" else "<I"
    stream = patched(file, start, extent.end, [(start + 8, struct.pack(order, min(true, 0xFFFFFFFF)))])
    return stream, extent, foreign


def _read_sphere(path: Path, file: BinaryIO, start: int, size: int) -> Reading:
    text = read_at(file, start, SPHERE_BYTES).decode("ascii", "replace")
    words = [line.split() for line in text.splitlines()]
    fields = {line[0]: line[2] for line in words if len(line) == 3}
    header_bytes = words[1][0] if len(words) > 1 and words[1] else ""
    counts = [fields.get(name, "") for name in ("sample_count", "channel_count", "sample_n_bytes")]
    coding = fields.get("sample_coding", "pcm")
    if coding not in SPHERE_CODINGS:
        return None, Extent(size), f"{coding.rpartition(',')[2].removeprefix('embedded-')} inside a sphere"
    if not all(re.fullmatch("[0-9]{1,18}", number) for number in (header_bytes, *counts)):
        return None, Extent(size), ""  # the decoder says why
    begin, frame_bytes = start + int(header_bytes), int(counts[1]) * int(counts[2])
    length = int(counts[0]) * frame_bytes
    extent = find_extent(path, file, begin, length, size)
    if extent.end == size == begin + length or frame_bytes == 0 or begin > start + SPHERE_BYTES:
        return None, extent, ""
    frames = (extent.end - begin) // frame_bytes
    header = re.sub(r"sample_count -i \d+", f"sample_count -i {frames}", text[: begin - start])
    true = header.encode("ascii", "replace")[: begin - start].ljust(begin - start)
    return patched(file, start, extent.end, [(start, true)]), extent, ""
