"""How many bytes of samples a file has, where its header says a number that need not be true.

Writers that cannot go back leave a mark in place of the length (ffmpeg 0xFFFFFFFF, GStreamer and Java a little less,
sox 0x7FFFF000 rounded down to whole frames, arecord 0x80000000, many 0), some count their own header, and some go on
writing after they set the length. A copy that stopped half-way has a length that was true. What tells them apart: the
marks themselves, the second length that most formats have (that of the whole file), and what follows the samples.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sound_groove.audio.formats.spliced import read_at
from sound_groove.audio.formats.tags import TAGS
from sound_groove.errors import AudioError
from sound_groove.types import QualityWarning

# A mark is a power of two, or a little less or more. Of true lengths, one in some ten thousand lies so.
MARK_BITS = range(24, 65)
MARK_BELOW, MARK_ABOVE = 4096, 128
WIDE_BITS, WIDE_BELOW = (31, 32), 0x100000  # where most marks are, some writers round down further
# A header that counts itself, or part of itself, promises so many bytes too many; a copy that stopped rarely lacks few.
COUNTED_HEADER = range(16, 129)
MISCOUNTED_WHOLE = 9  # some take the whole's length for longer by the eight bytes that it does not count
APPENDED_BYTES = 4096  # what a program appends is rarely longer, and so much sound is a quarter of a second at most
TEXT_SHARE = 0.95  # of bytes that are printable: sound has half of them, and fewer
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the samples end.

    Attributes:
        end: the byte after the last.
        warnings: what is doubtful about it.
    """

    end: int
    warnings: tuple[QualityWarning, ...] = ()


def is_mark(length: int) -> bool:
    """Whether a length is one that writers leave when they cannot go back to correct it.

    >>> [is_mark(length) for length in (0, 32000, 0x7FFF0000, 0x80000000, 0xFFFFFFFF, -1)]
    [True, False, True, True, True, True]
    """
    if length <= 0:
        return True
    if any((1 << bits) - WIDE_BELOW <= length < 1 << bits for bits in WIDE_BITS):
        return True
    return any((1 << bits) - MARK_BELOW <= length < (1 << bits) + MARK_ABOVE for bits in MARK_BITS)


def find_extent(
    path: Path, file: BinaryIO, begin: int, length: int, size: int, claimed_end: int | None = None
) -> Extent:
    """Where the samples of a file end, when nothing that the format knows follows them.

    Args:
        path: the file's name, for messages.
        file: the file, opened for reading bytes.
        begin: the first byte of the samples.
        length: how many bytes of them the header promises.
        size: the file's length in bytes.
        claimed_end: the byte after the whole file's last, as its header says; None where it says nothing, or a mark.

    Raises:
        AudioError: the file was cut off.
    """
    there = size - begin
    if there < 0:
        raise AudioError(path, "is truncated or damaged: it ends within its header; copy it again", code="damaged")
    if is_mark(length) and length != there:
        return Extent(size)
    if length <= there:
        return _with_tail(file, begin, begin + length, size, claimed_end)
    lacking = length - there
    if claimed_end is not None and claimed_end - size < min(lacking, MISCOUNTED_WHOLE):
        return Extent(size)  # the whole is as long as it should be
    if lacking in COUNTED_HEADER:
        return Extent(size, (_doubt(f"its header promises {length:,} bytes of samples and {there:,} are there"),))
    raise AudioError(
        path,
        f"is truncated: its header promises {length:,} bytes of samples, the file has {there:,}; copy it again",
        code="damaged",
    )


def _with_tail(file: BinaryIO, begin: int, end: int, size: int, claimed_end: int | None) -> Extent:
    """The extent of samples that the header ends before the file does."""
    counted, there = end - begin, size - begin
    tail = read_at(file, end, BLOCK)
    if there - counted <= 1 or tail.startswith(TAGS) or _is_text(tail) or _is_zero(file, end, size):
        return Extent(end)
    if claimed_end is not None and claimed_end >= size - 1:
        return Extent(size)  # the whole is longer than its samples, and holds nothing else
    if size - end < APPENDED_BYTES:
        return Extent(
            end,
            (_doubt(f"its header counts {counted:,} bytes of samples, and the {size - end:,} behind were not read"),),
        )
    return Extent(
        size,
        (_doubt(f"its header counts {counted:,} bytes of samples, {there:,} follow, and all of them were read"),),
    )


def _doubt(what: str) -> QualityWarning:
    return QualityWarning("length_in_doubt", f"{what}; make sure that its end is as it should be")


def _is_text(content: bytes) -> bool:
    """It is written for people, as a note that a program appends."""
    printable = sum(content.count(byte) for byte in b"\t\n\r") + sum(content.count(byte) for byte in range(32, 127))
    return printable >= TEXT_SHARE * len(content)


def _is_zero(file: BinaryIO, start: int, end: int) -> bool:
    """It is nothing but zeros, as a file system or a recorder fills up a file."""
    while start < end:
        content = read_at(file, start, min(BLOCK, end - start))
        if not content or content.strip(b"\0"):
            return False
        start += len(content)
    return True
