"""Erasing what an SQLite file keeps between its rows.

With `secure_delete`, SQLite overwrites what is deleted with zeros where it stands. But rows are also moved, when a page
of the file is full or nearly empty, and the bytes of a row stay where it was moved from, in the part of the page that
is not in use. `VACUUM` gets rid of them by writing the whole file anew, which takes as long as the file is large, and
its size once more on the disk. Here those parts are overwritten in place: between the end of the table of cells and the
first cell of each page of a b-tree (https://sqlite.org/fileformat2.html, sections 1.6 and 1.7).

The file is changed behind SQLite's back, which is sound only while nobody else can write to it: within a transaction
that holds the write lock, with an empty write-ahead log, so that nothing is copied out of it. Readers may go on, since
no reader looks at those bytes. But a page that somebody holds in memory still has them, and would bring them back when
it is changed: the transaction must change something afterwards, upon which everybody reads the pages anew.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sound_groove.provenance import available_cores

# The length of what each page of a b-tree begins with, by its first byte: inner pages and leaves of indexes and tables.
HEADS: Final = {2: 12, 5: 12, 10: 8, 13: 8}
HEADER = 100  # bytes of the file's header, which the first page begins with
CHUNK: Final = 4 * 2**20  # bytes at a time
MOST_THREADS = 4  # reading is soon as fast as memory
# The first byte of other pages is that of the number of another page, which is a b-tree's only beyond this many.
MOST_PAGES = 2**25

_HEAD_OF = np.zeros(256, np.int64)
_HEAD_OF[list(HEADS)] = list(HEADS.values())


def can_erase(page_count: int) -> bool:
    """Whether pages of b-trees can be told from others in a file of so many (with pages of 4 KiB, up to 137 GB)."""
    return page_count < MOST_PAGES


def erase_gaps(file: FileIO) -> int:
    """Overwrite with zeros what is not in use of the pages of b-trees.

    Args:
        file: the database, opened for reading and writing, under the conditions above.

    Returns:
        How many pages had something there.
    """
    lock = Lock()
    head = bytearray(HEADER)
    _read(file, memoryview(head), 0, lock)
    size = int.from_bytes(head[16:18], "big")
    size = 65_536 if size == 1 else size
    usable, length = size - head[20], os.fstat(file.fileno()).st_size

    def erase(start: int) -> int:
        content = bytearray(CHUNK + 8)  # a word of zeros stays at the end
        count = _read(file, memoryview(content)[:CHUNK], start, lock) // size
        if not count:
            return 0
        buffer = np.frombuffer(content, np.uint8)
        starts, ends = _gaps(buffer[: count * size].reshape(count, size), usable, 0 if start else HEADER)
        rows = np.flatnonzero(_has_content(buffer, starts, ends)).tolist()
        for row in rows:
            _write(file, bytes(int(ends[row] - starts[row])), start + int(starts[row]), lock)
        return len(rows)

    with ThreadPoolExecutor(min(available_cores(), MOST_THREADS), thread_name_prefix="erase") as pool:
        return sum(pool.map(erase, range(0, length, CHUNK)))


def _read(file: FileIO, view: memoryview, position: int, lock: Lock) -> int:
    """Fill a buffer from a place of a file, as far as that goes; how many bytes that were."""
    got = 0
    while got < len(view):
        if hasattr(os, "preadv"):
            part = os.preadv(file.fileno(), [view[got:]], position + got)
        else:
            with lock:
                file.seek(position + got)
                part = file.readinto(view[got:])
        if not part:
            break
        got += part
    return got


def _write(file: FileIO, content: bytes, position: int, lock: Lock) -> None:
    """Write bytes at a place of a file."""
    with lock:
        file.seek(position)
        while content:
            content = content[file.write(content) :]


def _gaps(pages: NDArray[np.uint8], usable: int, header: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where what is not in use begins and ends, counted from the start of the pages (N, size); empty for others."""
    count, size = pages.shape
    heads = pages[:, :8].astype(np.int64)  # (N, 8)
    heads[0] = pages[0, header : header + 8]
    head = _HEAD_OF[heads[:, 0]]
    starts = head + 2 * (256 * heads[:, 3] + heads[:, 4])
    starts[0] += header
    ends = 256 * heads[:, 5] + heads[:, 6]
    ends = np.where(ends == 0, 65_536, ends)
    is_tree = (head > 0) & (starts <= ends) & (ends <= usable)
    places = size * np.arange(count)
    return places + np.where(is_tree, starts, 0), places + np.where(is_tree, ends, 0)


def _has_content(buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the stretches of a buffer have anything but zeros: whole words, and parts of the first and the last."""
    words = buffer.view("<u8")
    first, last = starts // 8, ends // 8
    before = np.uint64(2**64 - 1) << (8 * (starts % 8)).astype(np.uint64)  # of the first word, from the start on
    behind = (np.uint64(1) << (8 * (ends % 8)).astype(np.uint64)) - np.uint64(1)  # of the last, up to the end
    found = np.where(first == last, words[first] & before & behind, (words[first] & before) | (words[last] & behind))
    long = np.flatnonzero(last > first + 1)
    if len(long):
        edges = np.column_stack((first[long] + 1, last[long])).ravel()
        found[long] |= np.bitwise_or.reduceat(words, edges)[::2]
    return np.asarray((found != 0) & (ends > starts))
