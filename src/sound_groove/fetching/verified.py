"""One file whose SHA-256 is known beforehand, from the first address that gives it."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from sound_groove.errors import DownloadError, printable
from sound_groove.fetching.partial_file import PartialFile
from sound_groove.fetching.remote_file import RemoteFile, gigabytes, require_room
from sound_groove.fetching.transfer import Patience, fetch, no_mirror
from sound_groove.files import writing


def fetch_verified(
    file: RemoteFile,
    sha256: str,
    urls: Sequence[str],
    folder: Path,
    patience: Patience,
    tell: Callable[[str], None],
) -> Path:
    """Bring a file into a folder, under its own name only once all of it is there and its sum is right.

    What an earlier call left of it is gone on with, and a file that lies there whole is checked and not fetched again.

    Args:
        file: what is wanted.
        sha256: that it must have, hexadecimal.
        urls: where it lies, the first to be tried first.
        folder: where it goes; it must be there.
        patience: how long a server is waited for.
        tell: is given a sentence when an address is given up.

    Returns:
        Where it lies.

    Raises:
        DownloadError: no address gives it as it should be; what has the wrong sum is thrown away.
        OutputError: the disk is too small or cannot be written.
    """
    final = folder / file.name
    if final.is_file() and sha256_of(final) == sha256:
        return final
    partial = PartialFile(final)
    waiting, problems = list(urls), list[str]()

    def ready(coming: int) -> None:
        require_room(folder, coming, f"to download the {gigabytes(coming)} left of {file.name}")

    for _ in range(len(urls) + 1):  # one more is for what an earlier call left
        giver = fetch(file, waiting, partial, patience, tell, ready, problems)
        found = sha256_of(partial.path)
        if found == sha256:
            with writing(final):
                partial.accept()
            return final
        partial.discard()
        waiting = [url for url in waiting if url != giver]
        whence = giver or f"{file.name}, which came from several places"
        problems.append(f"{whence}: its SHA-256 is {found}, and {sha256} is expected")
        tell(f"{problems[-1]}; it was thrown away")
    raise no_mirror(file.name, problems)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        DownloadError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DownloadError(f"{printable(str(path))}: cannot be read: {error.strerror or error}") from None
