"""One file from the first mirror that gives all of it: resumed, retried, and never written under its final name."""

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, NoReturn

from sound_groove._version import __version__
from sound_groove.errors import DownloadError
from sound_groove.fetching.partial_file import Origin, PartialFile
from sound_groove.fetching.remote_file import RemoteFile
from sound_groove.files import writing
from sound_groove.progress import ProgressBar

CHUNK = 1 << 20
RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a mirror is waited for.

    Attributes:
        stall_s: seconds without a byte until a connection counts as dropped.
        attempts: connections to a mirror, one after another, that bring the file no further, until the next is tried.
        wait_s: seconds before the next attempt after one that brought it further; doubled after each that did not.
        longest_wait_s: most seconds before an attempt.
    """

    stall_s: float = 60.0
    attempts: int = 6
    wait_s: float = 0.5
    longest_wait_s: float = 60.0

    def after(self, failures: int) -> float:
        """Seconds to wait after so many attempts in a row that brought the file no further.

        >>> [Patience().after(failures) for failures in (0, 1, 2, 9)]
        [0.5, 1.0, 2.0, 60.0]
        """
        return min(self.wait_s * 2.0**failures, self.longest_wait_s)


class _Dropped(Exception):
    """The connection ended early, or there was none: worth another attempt."""


class _Useless(Exception):
    """This mirror does not have the file: no use in asking again."""


class _Outdated(Exception):
    """What is there came from another version of the file."""


def fetch(
    file: RemoteFile,
    urls: Sequence[str],
    partial: PartialFile,
    patience: Patience,
    tell: Callable[[str], None],
    ready: Callable[[int], None],
    problems: Sequence[str] = (),
    authorization: str = "",
) -> str:
    """Bring a partial file to its full length; its sum is the caller's business.

    Args:
        file: what is wanted.
        urls: where it lies, the first to be tried first.
        partial: what is there of it, and where it goes.
        patience: how long a mirror is waited for.
        tell: is given a sentence when a mirror is given up.
        ready: is given how many bytes longer the file will get, before it does; may raise.
        problems: what is known against other mirrors, for the error.
        authorization: the header of that name, for the servers named by `urls` and none that they send on to.

    Returns:
        The URL that gave every byte in this call; empty when several did, or some lay there already.

    Raises:
        DownloadError: no mirror gave it, with what each of them did.
        OutputError: the disk is full.
    """
    if partial.size == file.size or (file.size is None and partial.is_whole):
        return ""
    found = list(problems)
    begun = partial.size
    with ProgressBar(
        total=file.size or partial.origin.size,
        initial=begun,
        desc=file.name,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
    ) as bar:
        for url in urls:
            transfer = _Transfer(file, url, partial, patience, ready, bar, authorization)
            try:
                transfer.run()
            except _Useless as problem:
                found.append(f"{url}: {problem}")
                if url != urls[-1]:
                    tell(f"{found[-1]}; trying the next mirror")
            else:
                return url if transfer.first == 0 else ""
    raise no_mirror(file.name, found, " (what came is kept)" if partial.size else "")


def no_mirror(name: str, problems: Sequence[str], kept: str = "") -> DownloadError:
    """The error for a file that no mirror gives as it should be, with what each of them did."""
    return DownloadError(
        f"{name}: no mirror gave it as it should be: {'; '.join(problems)}. Try the same command later{kept}, "
        "or name another mirror with --mirror"
    )


class _Transfer:
    """All attempts to get a file from one mirror.

    Attributes:
        first: the lowest byte that this mirror was asked for.
    """

    def __init__(
        self,
        file: RemoteFile,
        url: str,
        partial: PartialFile,
        patience: Patience,
        ready: Callable[[int], None],
        bar: "ProgressBar[NoReturn]",
        authorization: str,
    ) -> None:
        self.file = file
        self.url = url
        self.partial = partial
        self.patience = patience
        self.ready = ready
        self.bar = bar
        self.authorization = authorization
        self.first = partial.size

    def run(self) -> None:
        """Go on until the file is whole.

        Raises:
            _Useless: it will not become so here.
        """
        furthest, failures = self.partial.size, 0
        while True:
            try:
                return self._attempt()
            except _Outdated:
                reason = "the file changes between two requests"
                self.partial.discard()
            except _Dropped as drop:
                reason = str(drop)
            # Only new ground counts: a server that starts over each time and drops at the same place brings nothing.
            failures = 0 if self.partial.size > furthest else failures + 1
            furthest = max(furthest, self.partial.size)
            if failures >= self.patience.attempts:
                raise _Useless(reason)
            time.sleep(self.patience.after(failures))

    def _attempt(self) -> None:
        position = self.partial.size
        if self.file.size is not None and position > self.file.size:
            position = 0  # longer than the file: not of this file
        headers = {"User-Agent": f"sound-groove/{__version__}", "Accept-Encoding": "identity"}
        if position:
            # Without If-Range: behind a redirection another server may answer, with an ETag of its own and the same
            # bytes, and would send all of them again. What its ETag and size say is judged by `_accept`.
            headers["Range"] = f"bytes={position}-"
        request = urllib.request.Request(self.url, headers=headers)
        if self.authorization:
            request.add_unredirected_header("Authorization", self.authorization)
        try:
            with urllib.request.urlopen(request, timeout=self.patience.stall_s) as response:
                self._receive(response, position)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not position:
                raise _Useless(f"HTTP {error.code} {error.reason}") from None
            self._settle(error, position)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                raise _Useless(_reason(error)) from None
            raise _Dropped(_reason(error)) from None

    def _receive(self, response: http.client.HTTPResponse, position: int) -> None:
        """Take the body in, after a look at whether it is of the file whose beginning is there."""
        if response.status == http.client.PARTIAL_CONTENT:
            match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None or match[1] is None or int(match[1]) != position:
                raise _Useless(f"asked for the bytes from {position} on, it sent others")
            start, size = position, _number(match[2])
        else:  # the whole file, asked for or not
            start, size = 0, _number(response.headers.get("Content-Length"))
        origin = Origin(response.geturl(), response.headers.get("ETag", ""), size)
        self._accept(origin, start)
        self.ready(0 if size is None else size - self.partial.size)  # starting over frees what is there
        self.first = min(self.first, start)
        most = next((number for number in (size, self.file.size, self.file.at_most) if number is not None), None)
        self.bar.total = size or self.bar.total
        with self.partial.open(start, origin) as out:
            self.bar.n = start
            self.bar.refresh()
            while chunk := response.read1(CHUNK):
                with writing(self.partial.path):
                    _write(out, chunk)
                self.bar.update(len(chunk))
                if most is not None and out.tell() > most:
                    raise _Useless(f"sends more than the {most:,} bytes that it {'promised' if size else 'may have'}")
            end = out.tell()
        if size is not None and end < size:
            raise _Dropped(f"the connection ended after {end:,} of {size:,} bytes")
        if size is None:  # only its end told how long it is
            self.partial.open(end, Origin(origin.url, origin.etag, end)).close()

    def _accept(self, origin: Origin, start: int) -> None:
        """Refuse a file of another size, and notice one that was replaced on its server."""
        known = self.partial.origin
        if self.file.size is not None and origin.size not in (None, self.file.size):
            raise _Useless(f"its file has {origin.size:,} bytes, where {self.file.size:,} are expected")
        most = self.file.at_most
        if most is not None and origin.size is not None and origin.size > most:
            raise _Useless(f"its file has {origin.size:,} bytes, and it may have {most:,} at most")
        if known.url == origin.url:
            replaced = known.size != origin.size or (known.etag and origin.etag and known.etag != origin.etag)
            if replaced and start:
                raise _Outdated
        elif None not in (known.size, origin.size) and known.size != origin.size:
            raise _Useless(
                f"its file has {origin.size:,} bytes, and {self.partial.path.name} is of one of {known.size:,} "
                "(remove that to start over)"
            )

    def _settle(self, error: urllib.error.HTTPError, position: int) -> None:
        """What it means that a server has no bytes after those that are there: all are, or they are of another file."""
        match = RANGE.fullmatch(error.headers.get("Content-Range", ""))
        size = _number(match[2]) if match else None
        if size is None:
            raise _Useless(f"HTTP {error.code} {error.reason}")
        origin = Origin(error.geturl(), error.headers.get("ETag", ""), size)
        self._accept(origin, position)
        if size != position:
            raise _Outdated
        self.partial.open(position, origin).close()


def _write(out: IO[bytes], chunk: bytes) -> None:
    """Write all of it; a file without a buffer, which a kill would lose, may take a part at a time."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[out.write(rest) :]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _reason(error: Exception) -> str:
    """What went wrong with a connection, as a clause."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "nothing came for too long"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return " ".join(f"{cause}".split()) or type(error).__name__
