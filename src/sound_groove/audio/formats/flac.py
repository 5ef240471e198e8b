"""Flac files that hold more than they say: joined ones, and a number of samples that is too small.

Frames are found by decoding, which libsndfile does, for as many samples as the header counts. So the last frames are
looked at here: they bear numbers (RFC 9639, section 9.1).
"""

import math
import re
from functools import reduce
from pathlib import Path
from typing import BinaryIO

from sound_groove.audio.formats.spliced import SplicedFile, patched, read_at
from sound_groove.audio.formats.tags import without_tags
from sound_groove.errors import AudioError

HEAD = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the marker and the header of the first block of metadata
HEAD_BYTES = 8 + 34  # with that block
MAXIMUM_PARTS = 1000
MAXIMUM_BLOCKS = 1000
BORDER_S = 1.0  # farther from the end of a recording, resampling does not notice what follows
BLOCK = 1 << 17
TAIL_BYTES = 1 << 17  # holds two frames of any usual file
FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\x00-\xa8]")
CRC8 = [
    reduce(lambda register, _: register << 1 ^ (0x107 if register & 0x80 else 0), range(8), byte) for byte in range(256)
]
BLOCK_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}


def read_flac(path: Path, file: BinaryIO, start: int, size: int, needed_s: float = math.inf) -> tuple[SplicedFile, ...]:
    """What the decoder is to be given of a flac file that starts at a byte; nothing where that is the file itself.

    Where less of it is needed than its header counts, nobody looks for more: it takes 1 ms for each MB.

    Raises:
        AudioError: several were joined, and one does not say its length.
    """
    rate = int.from_bytes(read_at(file, start + 8 + 10, 3), "big") >> 4
    if (needed_s + BORDER_S) * rate < _count(file, start):
        return ()
    starts = [start, *_others(file, start, size)]
    if len(starts) > MAXIMUM_PARTS:
        raise AudioError(path, f"is joined of more than {MAXIMUM_PARTS:,} recordings; convert it again")
    if len(starts) > 1:
        if not all(_count(file, at) for at in starts):
            raise AudioError(path, "holds several flac recordings one after another; cut it into them")
        ends = [*starts[1:], size]
        return tuple(SplicedFile(file, [place]) for place in zip(starts, ends, strict=True))
    count, end = _count(file, start), without_tags(file, start, size)
    if 0 < count < _last_sample(file, start, end):
        count_at = start + 8 + 13  # the low half of this byte is the number's highest part
        unknown = bytes((read_at(file, count_at, 1)[0] & 0xF0, 0, 0, 0, 0))
        return (patched(file, start, end, [(count_at, unknown)]),)
    if count == 0 and end < size:  # it is decoded to its end
        return (SplicedFile(file, [(start, end)]),)
    return ()


def _others(file: BinaryIO, start: int, size: int) -> list[int]:
    """Where other flac files start in this one, behind its metadata."""
    position = start + 4
    for _ in range(MAXIMUM_BLOCKS):
        header = read_at(file, position, 4)
        position += 4 + int.from_bytes(header[1:], "big")
        if len(header) < 4 or header[0] & 0x80:
            break
    if position >= size:
        return []
    found: list[int] = []
    while position < size and len(found) <= MAXIMUM_PARTS:
        content = read_at(file, position, BLOCK + 7)  # so much more that none lies across a border unseen
        found += [position + head.start() for head in HEAD.finditer(content)]
        position += BLOCK
    return found


def _count(file: BinaryIO, start: int) -> int:
    """The number of samples that a flac file's header says; 0 where it does not know."""
    return int.from_bytes(read_at(file, start + 8 + 13, 5), "big") & ((1 << 36) - 1)


def _last_sample(file: BinaryIO, start: int, size: int) -> int:
    """The number of the first sample of the last frame; 0 where it cannot be told.

    Bytes can look like the beginning of a frame by chance: two that have a right checksum and numbers in a row do not.
    """
    block = int.from_bytes(read_at(file, start + 8, 2), "big")  # samples in a frame, where all have the same
    begin = max(start + HEAD_BYTES, size - TAIL_BYTES)
    tail = read_at(file, begin, size - begin)
    seen: set[int] = set()  # where the frame would begin that follows one that was seen
    last = 0
    for found in FRAME.finditer(tail):
        frame = _frame(tail[found.start() : found.start() + 16], block)
        if frame is None:
            continue
        first, count = frame
        if first in seen:
            last = max(last, first)
        seen.add(first + count)
    return last


def _frame(head: bytes, block: int) -> tuple[int, int] | None:
    """First sample and number of samples of the frame that begins so; None where none does."""
    if len(head) < 16:
        return None
    lead = head[4]
    more = 0 if lead < 0x80 else f"{lead:08b}".index("0") - 1 if 0xC0 <= lead < 0xFF else -1  # bytes, as in UTF-8
    if more < 0 or any(byte >> 6 != 2 for byte in head[5 : 5 + more]):
        return None
    number = lead if more == 0 else lead & (0x3F >> more)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    end, code = 5 + more, head[2] >> 4
    count = BLOCK_SIZES.get(code, 0)
    if code in (6, 7):  # the size stands behind the number, in one byte or two
        count = int.from_bytes(head[end : end + code - 5], "big") + 1
        end += code - 5
    rate = head[2] & 0x0F
    end += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if end >= len(head) or _crc8(head[:end]) != head[end]:
        return None
    return (number, count) if head[1] & 1 else (number * block, count)


def _crc8(content: bytes) -> int:
    """The checksum of a frame's header (polynomial x^8 + x^2 + x + 1)."""
    register = 0
    for byte in content:
        register = CRC8[register ^ byte]
    return register
