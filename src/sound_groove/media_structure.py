"""Whether a file for FFmpeg is whole, as far as its structure tells.

FFmpeg reads a file that was cut off as far as it goes and says nothing. Most formats promise at their front how much
there is, and that is looked at here first.
"""

import struct
from collections.abc import Callable
from typing import BinaryIO

from sound_groove.decoders import DecodingError
from sound_groove.mp4_tables import check_tables

_SEGMENT = b"\x18\x53\x80\x67"  # Matroska's element that holds all others (RFC 9559)
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
    """The length of the segment; live recordings say that it is unknown."""
    file.seek(0)
    head = file.read(_HEADER_BYTES)
    at = head.find(_SEGMENT)
    if at < 0 or at + 12 > len(head):
        return
    first = head[at + 4]
    bytes_of_length = 9 - first.bit_length()
    if bytes_of_length > 8:
        return
    length = int.from_bytes(head[at + 4 : at + 4 + bytes_of_length], "big") & ((1 << 7 * bytes_of_length) - 1)
    if length != (1 << 7 * bytes_of_length) - 1:
        _compare(at + 4 + bytes_of_length + length, size)


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
