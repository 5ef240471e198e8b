"""A file that SQLite has open, opened once more to be read and written as bytes.

On POSIX systems a process loses its locks on a file as soon as it closes any descriptor of it, however many others it
has (https://sqlite.org/howtocorrupt.html, section 2.2). SQLite takes care of its own; so a descriptor of ours stays
open until the last store of this process that has the file open is closed.
"""

import threading
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

_lock = threading.Lock()


@dataclass
class _Shared:
    users: int = 0
    file: FileIO | None = None


_shared: dict[tuple[int, int], _Shared] = {}


class RawFile:
    """A file as bytes, for one user of possibly several in this process.

    Args:
        path: the file, which must be there.
    """

    def __init__(self, path: Path) -> None:
        facts = path.stat()
        self._path = path
        self._key = (facts.st_dev, facts.st_ino)
        self._is_open = True
        with _lock:
            _shared.setdefault(self._key, _Shared()).users += 1

    def opened(self) -> FileIO:
        """The file, for reading and writing without a buffer.

        Raises:
            OSError: it cannot be opened.
        """
        with _lock:
            shared = _shared[self._key]
            if shared.file is None:
                shared.file = FileIO(self._path, "r+")
            return shared.file

    def close(self) -> None:
        """Be done with it; to be called after SQLite has closed it."""
        with _lock:
            if not self._is_open:
                return
            self._is_open = False
            shared = _shared[self._key]
            shared.users -= 1
            if not shared.users:
                del _shared[self._key]
                if shared.file is not None:
                    shared.file.close()
