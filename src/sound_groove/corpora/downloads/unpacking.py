"""Archives, whole or in parts, as one stream: their sum, and what is in them, unpacked in one piece."""

import hashlib
import io
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from sound_groove.corpora.downloads.archives import Archive
from sound_groove.errors import DownloadError, OutputError, printable
from sound_groove.files import writing
from sound_groove.progress import ProgressBar

CHUNK = 1 << 20


def sums(paths: Sequence[Path], name: str) -> tuple[str, tuple[str, ...]]:
    """The md5 of files read one after another as if they were one, and that of each.

    Args:
        paths: the files, in order.
        name: what they are, for the progress bar.

    Returns:
        The sum of all, and the sum of each.
    """
    total = hashlib.md5(usedforsecurity=False)
    each = []
    with _bar(paths, f"checking {name}") as bar:
        for path in paths:
            own = hashlib.md5(usedforsecurity=False)
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    total.update(chunk)
                    if len(paths) > 1:
                        own.update(chunk)
                    bar.update(len(chunk))
            each.append(own.hexdigest() if len(paths) > 1 else total.hexdigest())
    return total.hexdigest(), tuple(each)


def hidden_folder(archive: Archive, folder: Path) -> Path:
    """Where an archive is unpacked before it takes its final name."""
    return folder / f".{archive.folder}.unpacking"


def require_safe_tarfile() -> None:
    """Check, before anything large is downloaded, that this Python can unpack it.

    Raises:
        DownloadError: its tarfile cannot refuse what reaches out of an archive.
    """
    if not hasattr(tarfile, "data_filter"):
        raise DownloadError("this Python cannot unpack a tar archive safely; use Python 3.11.4 or newer")


def clear(archive: Archive, folder: Path) -> None:
    """Remove what an interrupted unpacking left.

    Raises:
        OutputError: it cannot be removed.
    """
    hidden = hidden_folder(archive, folder)
    with writing(hidden):
        if hidden.exists():
            shutil.rmtree(hidden)


def unpacked_size(archive: Archive, paths: Sequence[Path]) -> int:
    """How much disk its content takes, in bytes: what a zip says itself, and else the estimate."""
    if not archive.is_zip:
        return archive.unpacked
    with _reading(archive), zipfile.ZipFile(paths[0]) as source:
        return sum(member.file_size for member in source.infolist())


def unpack(archive: Archive, paths: Sequence[Path], folder: Path) -> Path:
    """Unpack an archive beside its final name, and give it that name at the end.

    What an earlier, interrupted unpacking left is removed first. Only files, folders and links that stay inside are
    unpacked; anything else refuses the whole archive.

    Args:
        archive: what it is.
        paths: its files, in order.
        folder: where its folder is to stand.

    Returns:
        The folder, under its final name.

    Raises:
        DownloadError: it is damaged, it is not this archive, or something in it reaches out of the folder.
        OutputError: it cannot be written, or something stands under the final name.
    """
    hidden, final = hidden_folder(archive, folder), folder / archive.folder
    clear(archive, folder)
    with writing(hidden):
        hidden.mkdir()
    try:
        with _reading(archive), writing(hidden), _bar(paths, f"unpacking {archive.folder}") as bar:
            (_unpack_zip if archive.is_zip else _unpack_tar)(paths, hidden, bar)
        content = _content(archive, hidden)
        with writing(final):
            if final.exists():
                raise OutputError(f"{final}: appeared while it was unpacked; move it away and repeat the command")
            content.rename(final)
    except Exception:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    shutil.rmtree(hidden, ignore_errors=True)
    return final


def _unpack_tar(paths: Sequence[Path], hidden: Path, bar: "ProgressBar[NoReturn]") -> None:
    with io.BufferedReader(_Joined(paths, bar), CHUNK) as stream, tarfile.open(fileobj=stream, mode="r|*") as source:
        for member in source:
            source.extract(member, hidden, filter="data")
            source.members.clear()  # type: ignore[attr-defined] # it would remember half a million of them


def _unpack_zip(paths: Sequence[Path], hidden: Path, bar: "ProgressBar[NoReturn]") -> None:
    with zipfile.ZipFile(paths[0]) as source:
        for member in source.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts:  # zipfile would take that out of the name, and go on
                raise DownloadError(f"{paths[0].name}: refused, '{printable(member.filename)}' in it reaches out of it")
            source.extract(member, hidden)
            bar.update(member.compress_size)


@contextmanager
def _reading(archive: Archive) -> Iterator[None]:
    """Turn what is wrong with an archive into a sentence."""
    name = archive.files[0].name
    try:
        yield
    except tarfile.FilterError as error:
        raise DownloadError(f"{name}: refused, something in it reaches out of it: {printable(str(error))}") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DownloadError(
            f"{name}: cannot be unpacked, although its sum is right ({printable(str(error))}); repeat the command"
        ) from error


def _content(archive: Archive, hidden: Path) -> Path:
    """The folder that the archive is named for, or the only one in it."""
    there = sorted(path for path in hidden.iterdir() if not path.name.startswith("."))
    folders = [path for path in there if path.is_dir() and not path.is_symlink()]
    for path in folders:
        if path.name == archive.folder or len(there) == 1:
            return path
    names = ", ".join(printable(path.name) for path in there[:5]) or "nothing"
    raise DownloadError(f"{archive.files[0].name}: expected the folder {archive.folder} in it, found {names}")


def _bar(paths: Sequence[Path], text: str) -> "ProgressBar[NoReturn]":
    total = sum(path.stat().st_size for path in paths)
    return ProgressBar(total=total, desc=text, unit="B", unit_scale=True, leave=False, disable=None)


class _Joined(io.RawIOBase):
    """Several files read as one."""

    def __init__(self, paths: Sequence[Path], bar: "ProgressBar[NoReturn]") -> None:
        self._waiting = list(paths)
        self._file: IO[bytes] | None = None
        self._bar = bar

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        while True:
            if self._file is None:
                if not self._waiting:
                    return 0
                self._file = self._waiting.pop(0).open("rb", buffering=0)
            count = self._file.readinto(buffer)  # type: ignore[attr-defined]
            if count:
                self._bar.update(count)
                return int(count)
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
