"""The boxes of an mp4, mov or m4a: whether the file is whole, and its tables, before FFmpeg unfolds them.

An mp4 says with a few bytes that a million samples follow, and FFmpeg makes an entry of 24 bytes for each of them. A
sample takes at least a byte of the file: a table that counts more samples than the file has bytes is refused, before it
can fill the memory (ISO/IEC 14496-12, sections 8.6 to 8.8).
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from sound_groove.audio.decoders import DecodingError

# Boxes that FFmpeg looks for tables in, be it where they belong or not.
_HOLDERS = (
    *(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"edts", b"mvex", b"udta", b"clip", b"dinf"),
    *(b"ilst", b"tref", b"schi", b"sinf", b"wave", b"iprp", b"ipro"),
)
_RUNS = {b"stts": 8, b"ctts": 8}  # bytes of an entry, the first 4 of which count samples
DEEPEST = 8
MOST_BOXES = 200_000
MOST_ENTRIES = 4_000_000  # samples of one track that FFmpeg makes entries for: 96 MB; 4 h of AAC have 700,000
_CHUNK = 1 << 16


def check_tables(file: BinaryIO, size: int) -> None:
    """Refuse a file whose samples are cut off, and tables that would unfold to more than the file can hold.

    Args:
        file: the mp4; its position is moved.
        size: of it, in bytes.

    Raises:
        DecodingError: they would.
    """
    for name, begin, length in _boxes(file, 0, size, 0, [MOST_BOXES]):
        if name in _RUNS:
            _check(sum(_counts(file, begin, length, _RUNS[name])), size, name)
        elif name == b"stsz":
            each, count = struct.unpack(">II", _at(file, begin + 4, 8).ljust(8, b"\0"))
            _check(count * max(each, 1), size, name)
            if each > 0 and count > MOST_ENTRIES and not _is_raw(each):
                raise _refusal(name)
        elif name == b"cmov":
            raise DecodingError("its index is compressed, and could unfold to anything")
        elif name == b"trun":
            count = struct.unpack(">I", _at(file, begin + 4, 4).ljust(4, b"\0"))[0]
            _check(count, min(size, MOST_ENTRIES), name)


def _is_raw(sample_bytes: int) -> bool:
    """Whether samples are so small that they are PCM, of which FFmpeg makes an entry for a thousand."""
    return sample_bytes <= 64 * 8


def _check(count: int, most: int, name: bytes) -> None:
    if count > most:
        raise _refusal(name)


def _refusal(name: bytes) -> DecodingError:
    return DecodingError(f"its table '{name.decode('ascii')}' counts more samples than there can be")


def _counts(file: BinaryIO, begin: int, length: int, entry_bytes: int) -> Iterator[int]:
    """How many samples each entry of a table of runs stands for."""
    left = min(struct.unpack(">I", _at(file, begin + 4, 4).ljust(4, b"\0"))[0], (length - 8) // entry_bytes)
    position = begin + 8
    while left > 0:
        block = _at(file, position, min(left, _CHUNK // entry_bytes) * entry_bytes)
        whole = len(block) // entry_bytes
        if whole == 0:
            return
        yield from struct.unpack(">" + f"I{entry_bytes - 4}x" * whole, block[: whole * entry_bytes])
        position += whole * entry_bytes
        left -= whole


def _boxes(file: BinaryIO, start: int, end: int, depth: int, left: list[int]) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte of the content and its length, of each box and of those within."""
    position = start
    while position + 8 <= end:
        left[0] -= 1
        if left[0] < 0:
            raise DecodingError("it has more boxes than a recording needs")
        header = _at(file, position, 16)
        if len(header) < 8:
            return
        length, name = struct.unpack(">I4s", header[:8])
        head = 8
        if length == 1 and len(header) == 16:
            length, head = struct.unpack(">Q", header[8:])[0], 16
        elif length == 0:
            length = end - position
        if length < head:
            return
        content_end = min(position + length, end)
        if depth == 0 and name == b"mdat" and position + length > end:
            raise DecodingError(
                f"it is truncated: {position + length - end:,} bytes of its sound or pictures are missing"
            )
        yield name, position + head, content_end - position - head
        if name in _HOLDERS and depth < DEEPEST:
            yield from _boxes(file, position + head, content_end, depth + 1, left)
        position += length


def _at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)
