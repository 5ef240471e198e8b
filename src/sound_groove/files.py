"""Writing files in one piece, and by one process at a time: under its final name a file is whole or is not there.

And reading one of them as a whole, while another may take its place.
"""

import errno
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from sound_groove.errors import OutputError, printable
from sound_groove.json_reading import parse_json, read_bounded

CACHE_VARIABLE = "SOUND_GROOVE_CACHE"  # names the folder for what can be made again
READINGS = 20  # of a file in whose place another is put each time

Read = TypeVar("Read")


def read_as_one(path: Path, read: Callable[[], Read]) -> Read:
    """What is read of a file by a function that opens it more than once, all of the same file.

    Where another file took its place meanwhile, as training does with its checkpoints, it is read again, whatever the
    first reading came to.

    Args:
        path: the file.
        read: reads it.

    Raises:
        OSError: the file is not there, or is replaced at every reading.
    """
    for _ in range(READINGS):
        before = _identity(path)
        try:
            found = read()
        except Exception:
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return found
    raise OSError(errno.EBUSY, "another file takes its place again and again")


def _identity(path: Path) -> tuple[int, int, int, int]:
    """By what a file differs from one that takes its place."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


@contextmanager
def replaced_bytes(path: Path, durable: bool = True, private: bool = False) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block ends well, and leaves no trace when it does not.

    Args:
        path: its final name; the folder must exist.
        durable: whether it is to be on the disk, and not only in the system's memory, before it takes the name.
        private: whether nobody but its owner may read it (mode 600), from its first byte on.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        if private:
            partial.unlink(missing_ok=True)  # or it would keep the mode that it has
        with open(partial, "wb", opener=_private_file if private else None) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        # Where the name is too long even this fails, and the first error is the one to tell.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _private_file(path: str, flags: int) -> int:
    """Open a file that its owner alone may read, for `open`."""
    return os.open(path, flags, 0o600)


@contextmanager
def replaced(path: Path) -> Iterator[IO[str]]:
    """A text file in UTF-8 that takes the place of `path`, durable, as `replaced_bytes` does it."""
    with replaced_bytes(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        yield text
        text.detach()  # flushes, and leaves closing to the block


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write, such as a full disk, into a sentence.

    Raises:
        OutputError: something in the block could not be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{printable(str(path))}: cannot be written: {error.strerror or error}") from error


def lock(descriptor: int, complaint: str) -> None:
    """Keep other processes away from an open file or folder until it is closed.

    Args:
        descriptor: of the file or folder.
        complaint: the sentence to say when another process was first.

    Raises:
        OutputError: another process was first.
    """
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(complaint) from None
    except OSError:
        pass  # a file system without locks


@contextmanager
def locked_folder(folder: Path, complaint: str) -> Iterator[None]:
    """Keep other processes away from a folder while the block runs; complaint and error as for `lock`."""
    if sys.platform == "win32":  # where a folder cannot be opened
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    _close_in_forks(descriptor)
    try:
        lock(descriptor, complaint)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


_held: set[int] = set()  # open folders, which a forked process must not keep locked when this one is killed
_forks_are_heeded: list[bool] = []


def _close_in_forks(descriptor: int) -> None:
    _held.add(descriptor)
    if not _forks_are_heeded:
        _forks_are_heeded.append(True)
        os.register_at_fork(after_in_child=_close_held)


def _close_held() -> None:
    while _held:
        with suppress(OSError):
            os.close(_held.pop())


def cache_folder() -> Path | None:
    """The user's folder for what can be made again, which may not be there yet; None where the system tells no home.

    The environment variable SOUND_GROOVE_CACHE names another one; on Linux XDG_CACHE_HOME is heeded.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "sound-groove" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "sound-groove"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "sound-groove"


def write_text(path: Path, text: str) -> None:
    """Write a file in one piece.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path), replaced(path) as file:
        file.write(text)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file in one piece.

    Raises:
        OutputError: it cannot be written.
        ValueError: a number in it is not finite.
    """
    write_text(path, json_text(content))


def json_text(content: dict[str, Any]) -> str:
    """What a JSON file of ours holds.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot say.
    """
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OutputError: it cannot be read.
    """
    try:
        content = parse_json(read_bounded(path))
    except (OSError, ValueError) as error:
        raise OutputError(f"{printable(str(path))}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise OutputError(f"{printable(str(path))}: does not hold an object")
    return content
