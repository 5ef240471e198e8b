"""Whether a file for FFmpeg is whole, as far as its structure tells.

FFmpeg reads a file that was cut off as far as it goes and says nothing. Most formats promise at their front how much
there is, and that is looked at here first.
"""

import struct
from collections.abc import Callable
from typing import BinaryIO

from sound_groove.audio.decoders import DecodingError
from sound_groove.audio.media.mp4_tables import check_tables

_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # ASF's object with the file's size
_HEADER_BYTES = 1 << 16


def check_structure(demuxer: str, file: BinaryIO, size: int) -> None:
    """Refuse a file that was cut off, or whose tables make no sense.

    Args:
        demuxer: FFmpeg's name of the format.
        file: its position is moved.
        size: of it, in bytes.

    Raises:
        DecodingError: it was.
    """
    if (check := _CHECKS.get(demuxer)) is not None:
        check(file, size)


def _check_riff(file: BinaryIO, size: int) -> None:
    """The length after 'RIFF'; recorders that were stopped leave 0 or the most there."""
    file.seek(4)
    promised = int.from_bytes(file.read(4), "little") + 8
    if promised < 0x7FFFE000:
        _compare(promised, size)


def _check_matroska(file: BinaryIO, size: int) -> None:
    """The lengths of the elements: of all, or where a live recording left that open, of each block."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(12)
        identity = 9 - head[0].bit_length() if head and head[0] else 9
        if identity > 4 or len(head) <= identity or not head[identity]:
            return  # no element: FFmpeg says what it makes of it
        width = 9 - head[identity].bit_length()
        length = int.from_bytes(head[identity : identity + width], "big") & ((1 << 7 * width) - 1)
        begin = position + identity + width
        if length == (1 << 7 * width) - 1:  # unknown: what follows is in it
            position = begin
            continue
        _compare(begin + length, size)
        position = begin + length


def _check_asf(file: BinaryIO, size: int) -> None:
    """The file's size, unless it was broadcast."""
    file.seek(0)
    head = file.read(_HEADER_BYTES)
    at = head.find(_FILE_PROPERTIES)
    if 0 <= at <= len(head) - 92:
        promised, flags = struct.unpack("<Q", head[at + 40 : at + 48])[0], head[at + 88]
        if not flags & 1:
            _compare(promised, size)


def _compare(promised: int, size: int) -> None:
    if promised > size:
        raise DecodingError(f"it is truncated: its header promises {promised:,} bytes, and the file has {size:,}")


_CHECKS: dict[str, Callable[[BinaryIO, int], None]] = {
    "mov": check_tables,
    "avi": _check_riff,
    "qcp": _check_riff,
    "matroska": _check_matroska,
    "asf": _check_asf,
}
