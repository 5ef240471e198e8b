"""A file that is being downloaded: its bytes so far, and what is known of the file that they came from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from sound_groove.errors import OutputError
from sound_groove.files import read_json, write_json, writing


@dataclass(frozen=True, slots=True)
class Origin:
    """The file of a server from which the bytes came.

    Attributes:
        url: after redirections; empty when unknown.
        etag: what the server calls this version of the file; empty when it has no name for it.
        size: of the whole file in bytes; None when the server did not say.
    """

    url: str = ""
    etag: str = ""
    size: int | None = None


class PartialFile:
    """`NAME.partial` beside the final name, with `NAME.partial.json` that says where it came from.

    Attributes:
        final: the name that it gets when all of it is there and its sum is right.
        path: where its bytes lie until then.
        origin: of those bytes.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        self.path = final.with_name(final.name + ".partial")
        self._note = final.with_name(final.name + ".partial.json")
        self.origin = self._read_origin()

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there, as far as is known."""
        return self.origin.size is not None and self.size == self.origin.size

    def open(self, start: int, origin: Origin) -> IO[bytes]:
        """Open it to go on after its first `start` bytes; what lies behind them is dropped.

        Raises:
            OutputError: it cannot be written.
        """
        with writing(self.path):
            file = self.path.open("r+b" if self.path.exists() else "w+b", buffering=0)
            file.truncate(start)
            file.seek(start)
        if origin != self.origin:
            write_json(self._note, asdict(origin))
            self.origin = origin
        return file

    @property
    def files(self) -> tuple[Path, Path]:
        """Where its bytes lie, and what is known of them."""
        return self.path, self._note

    def discard(self) -> None:
        """Throw it away."""
        for file in self.files:
            file.unlink(missing_ok=True)
        self.origin = Origin()

    def accept(self) -> None:
        """Give it its final name."""
        self.path.replace(self.final)
        self._note.unlink(missing_ok=True)

    def _read_origin(self) -> Origin:
        if not self._note.exists() or not self.path.exists():
            return Origin()
        try:
            return Origin(**read_json(self._note))
        except (OutputError, TypeError):  # not ours, or of another version: the bytes may still be right
            return Origin()
