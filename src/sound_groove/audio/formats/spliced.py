"""A file made of pieces of another: what a decoder is given where it would misread the file itself.

Nothing is copied but the pieces that are made up, such as a header with the true length.
"""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, BinaryIO, TypeAlias

Piece: TypeAlias = bytes | tuple[int, int]  # made up, or first byte and the one after the last in the other file

FARTHEST = 1 << 62  # beyond all files, and within the numbers that a system can seek to


class SplicedFile(io.RawIOBase):
    """Pieces one after another, for reading.

    Args:
        file: the other file; it must stay open, and is sought in.
        pieces: in their order.

    >>> SplicedFile(io.BytesIO(b"abcdef"), [b"<", (1, 3), (4, 6), b">"]).read()
    b'<bcef>'
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = file
        self._pieces = [piece for piece in pieces if _length(piece)]
        self._starts = [0, *accumulate(map(_length, self._pieces))]  # the last is the length of all
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer across the borders of pieces; fewer bytes at the end."""
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and self._position < self._starts[-1]:
            number = bisect_right(self._starts, self._position) - 1
            offset = self._position - self._starts[number]
            wanted = min(len(target) - filled, self._starts[number + 1] - self._position)
            piece = self._pieces[number]
            if isinstance(piece, bytes):
                content = piece[offset : offset + wanted]
            else:
                content = read_at(self._file, piece[0] + offset, wanted)
            if not content:  # the other file became shorter
                break
            target[filled : filled + len(content)] = content
            filled += len(content)
            self._position += len(content)
        return filled


def patched(file: BinaryIO, start: int, size: int, patches: Sequence[tuple[int, bytes]]) -> SplicedFile:
    """A file from its byte `start` to `size`, with other bytes at some places, which are given in their order."""
    pieces: list[Piece] = []
    for at, content in patches:
        pieces += [(start, at), content]
        start = at + len(content)
    return SplicedFile(file, [*pieces, (start, size)])


def read_at(file: BinaryIO, position: int, count: int) -> bytes:
    """Up to `count` bytes from a position, which a header may have told; fewer at the end of the file, none beyond."""
    if not 0 <= position < FARTHEST or count <= 0:
        return b""
    file.seek(position)
    return file.read(count)


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
