"""What a preparation has done so far, one line each, so that a run that was killed goes on where it stopped."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from sound_groove.errors import OutputError
from sound_groove.files import lock
from sound_groove.json_reading import parse_json

JOURNAL_NAME = "journal.jsonl"
FORMAT = 1
SYNC_EVERY_S = 5.0  # a killed process loses nothing, a machine that loses power at most this


class Journal:
    """An append-only file of JSON lines; the first says what is being done.

    Attributes:
        path: the file.
        arguments: what the first line says, or None for a new journal.
    """

    def __init__(self, path: Path) -> None:
        """Open a journal, new or old, and lock it.

        Raises:
            OutputError: the file is no journal, or another process is writing it.
        """
        self.path = path
        self._file = path.open("a+b")
        try:
            lock(self._file.fileno(), f"{path.parent}: another preparation is writing there; wait for it or stop it")
            self.arguments = self._read_header()
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, arguments: dict[str, Any]) -> None:
        """Empty the journal and say what is being done."""
        self._file.truncate(0)
        self.append({"prepare": FORMAT, "arguments": arguments})
        self._sync()
        self.arguments = arguments

    def replay(self) -> Iterator[list[Any]]:
        """The records, oldest first. A last line that was torn is cut off, and so is all after one that is damaged."""
        self._file.seek(0)
        end = len(self._file.readline())
        for line in self._file:
            record = _decode(line)
            if not isinstance(record, list):
                break
            end += len(line)
            yield record
        self._file.truncate(end)

    def append(self, record: object) -> None:
        """Add a record; it may stay in memory until `flush`."""
        self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def flush(self) -> None:
        """Hand what was added to the system, and now and then to the disk."""
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            self._sync()

    def close(self) -> None:
        """Write what is left and give the journal free."""
        self._sync()
        self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _read_header(self) -> dict[str, Any] | None:
        self._file.seek(0)
        line = self._file.readline()
        if not line.endswith(b"\n"):
            if line and not b'{"prepare":'.startswith(line[:11]):
                raise OutputError(f"{self.path}: is not the journal of a preparation; choose another --out")
            return None  # empty, or torn while the first line was written: nothing was done yet
        header = _decode(line)
        if not isinstance(header, dict) or "prepare" not in header:
            raise OutputError(f"{self.path}: is not the journal of a preparation; choose another --out")
        # A journal of another version of the format is that of other arguments: it is not gone on with.
        arguments: dict[str, Any] = header.get("arguments", {})
        return arguments if header["prepare"] == FORMAT else {"version": header["prepare"]}


def _decode(line: bytes) -> object:
    if not line.endswith(b"\n"):
        return None
    try:
        return parse_json(line)
    except ValueError:  # zeros or scraps that a power cut left
        return None
