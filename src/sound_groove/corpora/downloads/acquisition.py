"""From the name of a corpus to its folder: download, check, unpack, and go on where an earlier run stopped.

In the folder of the user there are, one after the other: `NAME.partial` while a file comes, `NAME` once the sum of its
archive is right, a hidden folder while it is unpacked, and the corpus's own folder once all of it is there.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from sound_groove.corpora.downloads.archives import MIRRORS, Archive
from sound_groove.corpora.downloads.unpacking import clear, require_safe_tarfile, sums, unpack, unpacked_size
from sound_groove.errors import DownloadError, OutputError
from sound_groove.fetching.partial_file import PartialFile
from sound_groove.fetching.remote_file import RemoteFile, checked_address, gigabytes, require_room
from sound_groove.fetching.transfer import Patience, fetch, no_mirror
from sound_groove.files import locked_folder, writing


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one archive.

    Attributes:
        part: its number in its collection.
        folder: where its content lies, absolute.
        was_there: whether it lay there before.
        md5: the sum that was found, which is the one expected; empty when it lay there before.
        archives: the files that were kept, absolute.
    """

    part: int
    folder: Path
    was_there: bool
    md5: str = ""
    archives: tuple[Path, ...] = ()


def download(
    archives: Sequence[Archive],
    folder: Path,
    mirrors: Sequence[str] | None = None,
    keep: bool = False,
    patience: Patience | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Delivery, ...]:
    """Download archives, check them, and unpack them.

    What an earlier call left is used: files that came in part are gone on with, and archives that lie in the folder
    under their own names are checked and not fetched again.

    Args:
        archives: what is wanted; `COLLECTIONS["musan"].archives`, for example.
        folder: where it is to lie; made where there is none.
        mirrors: addresses below which `/<resource>/<name>` lies, the first to be tried first; the known ones when None.
        keep: whether the archives stay once they are unpacked.
        patience: how long a mirror is waited for; minutes by default.
        tell: is given sentences about what goes on.

    Returns:
        What became of each archive, in the order given.

    Raises:
        DownloadError: no mirror gives an archive with the right sum, or one cannot be unpacked.
        OutputError: the disk is too small or cannot be written, or another process downloads there.
        UsageError: a mirror is no http or https address.
    """
    mirrors = [checked_address(mirror, "--mirror", MIRRORS[0]) for mirror in (MIRRORS if mirrors is None else mirrors)]
    folder = folder.absolute()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    deliveries = []
    with _alone(folder):
        waiting = [archive for archive in archives if not _is_there(archive, folder)]
        if not all(archive.is_zip for archive in waiting):
            require_safe_tarfile()
        for archive in waiting:
            clear(archive, folder)
        room = _Room(folder, keep)
        room.require(waiting)
        for archive in archives:
            if archive not in waiting:
                tell(f"{folder / archive.folder} is there already: nothing to do for it")
                deliveries.append(Delivery(archive.part, folder / archive.folder, was_there=True))
                continue
            paths = _Acquisition(archive, folder, mirrors, patience or Patience(), tell, room).run()
            room.require_bytes(unpacked_size(archive, paths), f"to unpack {archive.folder}")
            final = unpack(archive, paths, folder)
            if not keep:
                for path in paths:
                    path.unlink()
            deliveries.append(Delivery(archive.part, final, False, archive.md5, tuple(paths) if keep else ()))
    return tuple(deliveries)


def needed(archives: Iterable[tuple[int, int, int]], keep: bool) -> int:
    """The most disk that is taken at any time beyond what is taken now, in bytes, when archives come one by one.

    Args:
        archives: of each, its size, how much of it is there, and the size of its content.
        keep: whether an archive stays once it is unpacked.

    >>> needed([(10, 0, 11), (30, 0, 32)], keep=False)  # the second while it is unpacked, beside the first's content
    73
    >>> needed([(10, 0, 11), (30, 0, 32)], keep=True)
    83
    >>> needed([(10, 6, 11)], keep=False)
    15
    """
    most = taken = 0
    for size, there, content in archives:
        taken += size - there + content
        most = max(most, taken)
        if not keep:
            taken -= size
    return most


class _Room:
    """The disk below a folder."""

    def __init__(self, folder: Path, keep: bool) -> None:
        self.folder = folder
        self.keep = keep

    def require(self, archives: Sequence[Archive]) -> None:
        """Refuse when these archives will not fit, as far as their sizes are known.

        Raises:
            OutputError: there is too little room.
        """
        sizes = [(archive.size, self._there(archive), archive.unpacked) for archive in archives]
        coming = sum(size - there for size, there, _ in sizes)
        content = sum(content for _, _, content in sizes)
        self.require_bytes(needed(sizes, self.keep), f"to download {gigabytes(coming)} and unpack {gigabytes(content)}")

    def require_bytes(self, count: int, purpose: str) -> None:
        """Refuse when so many bytes will not fit.

        Raises:
            OutputError: there is too little room.
        """
        require_room(self.folder, count, purpose)

    def _there(self, archive: Archive) -> int:
        """How much of an archive lies there, whole or in part."""
        finals = [self.folder / file.name for file in archive.files]
        there = sum(final.stat().st_size if final.exists() else PartialFile(final).size for final in finals)
        return min(there, archive.size)


@dataclass
class _Acquisition:
    """The way of one archive from the mirrors to files whose sum is right."""

    archive: Archive
    folder: Path
    mirrors: Sequence[str]
    patience: Patience
    tell: Callable[[str], None]
    room: _Room
    partials: dict[RemoteFile, PartialFile] = field(init=False)
    givers: dict[RemoteFile, str] = field(default_factory=dict)  # the URL that alone gave what lies there
    blamed: dict[RemoteFile, list[str]] = field(init=False)  # URLs that alone gave a file with a wrong sum
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.partials = {file: PartialFile(self.folder / file.name) for file in self.archive.files}
        self.blamed = {file: [] for file in self.archive.files}

    def run(self) -> list[Path]:
        """The files of the archive under their final names.

        Raises:
            DownloadError: no mirror gives them with the right sum.
        """
        # Each round takes a file from a mirror not yet found wrong; one more is for what an earlier run left.
        for _ in range(len(self.mirrors) + 1):
            for file in self.archive.files:
                self._fetch(file)
            if self._is_right():
                break
        else:
            raise no_mirror(self.archive.files[0].name, self.problems)
        for partial in self.partials.values():
            if not partial.final.exists():
                with writing(partial.final):
                    partial.accept()
        return [partial.final for partial in self.partials.values()]

    def _fetch(self, file: RemoteFile) -> None:
        partial = self.partials[file]
        if partial.final.exists():
            return
        places = (f"{mirror}/{self.archive.resource}/{file.name}" for mirror in self.mirrors)
        urls = [url for url in places if url not in self.blamed[file]]
        giver = fetch(
            file, urls, partial, self.patience, self.tell, lambda coming: self._ready(file, coming), self.problems
        )
        if giver:
            self.givers[file] = giver

    def _ready(self, file: RemoteFile, coming: int) -> None:
        """Refuse before the bytes of a file come that will not fit, now that their number is known."""
        content = self.archive.unpacked
        self.room.require_bytes(
            coming + content, f"to download the {gigabytes(coming)} left of {file.name} and unpack {gigabytes(content)}"
        )

    def _is_right(self) -> bool:
        """Whether the files have the sum they should; those to blame are thrown away when not."""
        paths = [partial.final if partial.final.exists() else partial.path for partial in self.partials.values()]
        found, each = sums(paths, self.archive.folder)
        if found == self.archive.md5:
            return True
        pairs = list(zip(self.archive.files, each, strict=True))
        suspects = [file for file, own in pairs if file.md5 not in (None, own)] or [file for file, _ in pairs]
        joined = " joined" if len(pairs) > 1 else ""
        sentence = f"its md5{joined} is {found}, and {self.archive.md5} is expected"
        for file in suspects:
            partial = self.partials[file]
            if partial.final.exists():
                raise DownloadError(
                    f"{partial.final}: {sentence}; this file was not downloaded by this command or was changed since: "
                    "remove it, and repeat the command"
                )
        for file in suspects:
            self.partials[file].discard()
            giver = self.givers.pop(file, "")
            if giver:
                self.blamed[file].append(giver)
            self.problems.append(f"{giver or f'{file.name}, which came from several places'}: {sentence}")
            self.tell(f"{self.problems[-1]}; it was thrown away")
        return False


def _is_there(archive: Archive, folder: Path) -> bool:
    final = folder / archive.folder
    if final.exists() and not final.is_dir():
        raise OutputError(f"{final}: is a file where the corpus is to lie; move it away, or name another folder")
    return final.exists()


def _alone(folder: Path) -> AbstractContextManager[None]:
    """Keep other processes from downloading into the same folder."""
    return locked_folder(folder, f"{folder}: another download is writing there; wait for it or stop it")
