"""What is fetched from a server, the addresses it may come from, and the room that it takes here."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sound_groove.errors import OutputError, UsageError, printable

GB = 10**9


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a server.

    Attributes:
        name: as it is called there, and here.
        size: in bytes; None where only the server knows.
        md5: of this file alone. It decides nothing, that of its archive does; where that is wrong it tells the part to
            blame.
        at_most: no more bytes than these are taken where the size is not known; None takes any number.
    """

    name: str
    size: int | None = None
    md5: str | None = None
    at_most: int | None = None


def checked_address(address: str, called: str, example: str) -> str:
    """An address without the slash at its end.

    Args:
        address: that somebody gave.
        called: by which option or variable.
        example: of a right one.

    Raises:
        UsageError: it is no http or https address.

    >>> checked_address("https://example.org/files/", "--mirror", "")
    'https://example.org/files'
    """
    try:
        scheme = urlsplit(address).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise UsageError(f"{called} {printable(address)}: must be an http or https address, such as {example}")
    return address.rstrip("/")


def require_room(folder: Path, count: int, purpose: str) -> None:
    """Refuse when so many bytes will not fit on the disk of a folder.

    Args:
        folder: that is there.
        count: of bytes.
        purpose: what they are needed for, as in `to unpack musan`.

    Raises:
        OutputError: there is too little room.
    """
    free = shutil.disk_usage(folder).free
    if count > free:
        raise OutputError(
            f"{printable(str(folder))}: {gigabytes(count)} are needed {purpose}, and {gigabytes(free)} are free; "
            "make room, or name a folder on a larger disk"
        )


def gigabytes(count: int) -> str:
    """A number of bytes in words.

    >>> gigabytes(1_280_000_000)
    '1.28 GB'
    """
    return f"{count / GB:,.2f} GB"
