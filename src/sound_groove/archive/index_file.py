"""The index of an archive: one file of SQLite, with what was heard of every recording.

A recording is one row and one transaction: after a kill at any moment the file holds whole recordings, and the next run
goes on with the others. Embeddings are kept in float16, 384 bytes for 192 values, which moves a cosine by about 5e-5;
a checksum of each row tells what a disk has changed.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.listening import AudioFacts
from sound_groove.errors import ArchiveError, printable
from sound_groove.json_reading import parse_json
from sound_groove.types import ModelIdentity

APPLICATION = 0x53476172  # "SGar", in the header of the file
VERSION = 1
BUSY_S = 60.0  # to wait for another process that is writing
MAGIC = b"SQLite format 3\0"
APPLICATION_PLACE = slice(68, 72)  # of the header, where SQLite keeps the application's number
HEADER = 100  # bytes
SPANS, NORMS, VALUES = np.dtype("<i4"), np.dtype("<f4"), np.dtype("<f2")

SCHEMA = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE recordings (path BLOB PRIMARY KEY, bytes INTEGER NOT NULL, changed_ns INTEGER NOT NULL, "
    "reason TEXT NOT NULL, facts TEXT NOT NULL, windows BLOB NOT NULL, norms BLOB NOT NULL, "
    "embeddings BLOB NOT NULL, checksum INTEGER NOT NULL)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)

FileState = tuple[int, int]  # bytes; nanoseconds of the last change


def _no_windows() -> NDArray[np.int32]:
    return np.empty((0, 2), np.int32)


def _no_values() -> NDArray[np.float32]:
    return np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class IndexedRecording:
    """What an index holds of a recording.

    Attributes:
        path: below the archive's folder.
        state: size and time of change of the file when it was heard.
        reason: why it could not be used; empty where it could, and then what follows says nothing.
        facts: its length, speech, noise and rate.
        windows: (N, 2) first sample at 16 kHz, and the one after the last.
        norms: (N,) how long the embeddings were before they were brought to unit length; (0,) where unknown.
        embeddings: (N, D) of unit length.
    """

    path: str
    state: FileState
    reason: str = ""
    facts: AudioFacts | None = None
    windows: NDArray[np.int32] = field(default_factory=_no_windows, repr=False)
    norms: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32), repr=False)
    embeddings: NDArray[np.float32] = field(default_factory=_no_values, repr=False)


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What an index is.

    Attributes:
        folder: of the recordings, absolute.
        model: which embedded them.
        size: values of an embedding, D.
        channel: which was listened to, from 1; None for the average of all.
        is_complete: the last run dealt with every recording that it found.
    """

    folder: str
    model: ModelIdentity
    size: int
    channel: int | None
    is_complete: bool = False


class IndexFile:
    """An index that is open; it is closed by `with`.

    Args:
        path: of the file, which is made where there is none and `facts` are given.
        facts: of a new one; those of one that is there are never changed by this.

    Raises:
        ArchiveError: it is missing, no such file, of another version, or damaged.
    """

    def __init__(self, path: Path, facts: IndexFacts | None = None) -> None:
        self.path = path
        self._name = printable(str(path))
        if not path.is_file() and (facts is None or path.exists()):
            what = "is no file" if path.exists() else "there is no such index; 'sound-groove index FOLDER' makes one"
            raise ArchiveError(f"{self._name}: {what}")
        is_new = not path.exists() or path.stat().st_size == 0
        if not is_new and not is_index(path):
            raise ArchiveError(f"{self._name}: is not an index of recordings, which 'sound-groove index' makes")
        with self._told():
            self._database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            with self._told():
                self._prepare(facts)
            self.facts = self._read_facts()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> "IndexFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def _prepare(self, facts: IndexFacts | None) -> None:
        """Check the version, or make the tables; both are there or none."""
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if application == APPLICATION:
            if version != VERSION:
                raise ArchiveError(
                    f"{self._name}: is an index of version {version}, and this is for version {VERSION}; "
                    "delete it, and run 'sound-groove index' again"
                )
            return
        if facts is None:
            raise ArchiveError(f"{self._name}: is empty; run 'sound-groove index' again")
        self._database.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            self._database.execute(statement)
        self._write_facts(facts)
        self._database.execute("COMMIT")

    def _write_facts(self, facts: IndexFacts) -> None:
        self._database.execute("INSERT OR REPLACE INTO about VALUES ('facts', ?)", (json.dumps(asdict(facts)),))

    def _read_facts(self) -> IndexFacts:
        with self._told():
            row = self._database.execute("SELECT value FROM about WHERE name = 'facts'").fetchone()
        try:
            known = parse_json(row[0])
            return IndexFacts(**{**known, "model": ModelIdentity(**known["model"])})
        except (TypeError, KeyError, ValueError) as error:
            raise self._damaged(f"what it says of itself cannot be read ({type(error).__name__})") from None

    def note(self, facts: IndexFacts) -> None:
        """Change what it says of itself."""
        with self._told():
            self._write_facts(facts)
        self.facts = facts

    def states(self) -> dict[str, tuple[FileState, bool]]:
        """Of every recording by its path: the state of its file, and whether it could be used."""
        with self._told():
            rows = self._database.execute("SELECT path, bytes, changed_ns, reason FROM recordings").fetchall()
        return {os.fsdecode(path): ((size, changed), not reason) for path, size, changed, reason in rows}

    def put(self, recording: IndexedRecording) -> None:
        """Keep what was heard of a recording, in the place of what was kept of it before."""
        facts = "" if recording.facts is None else json.dumps(asdict(recording.facts))
        content = (
            recording.windows.astype(SPANS).tobytes(),
            recording.norms.astype(NORMS).tobytes(),
            recording.embeddings.astype(VALUES).tobytes(),
        )
        path = os.fsencode(recording.path)
        row = (path, *recording.state, recording.reason, facts, *content, _checksum(path, facts, content))
        with self._told():
            self._database.execute("INSERT OR REPLACE INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def remove(self, path: str) -> None:
        """Forget a recording."""
        with self._told():
            self._database.execute("DELETE FROM recordings WHERE path = ?", (os.fsencode(path),))

    def windows(self) -> int:
        """How many windows of all recordings there are."""
        with self._told():
            (total,) = self._database.execute("SELECT SUM(LENGTH(windows)) FROM recordings").fetchone()
        return (total or 0) // (2 * SPANS.itemsize)

    def duration_s(self) -> float:
        """The length of all recordings that could be used."""
        with self._told():
            rows = self._database.execute("SELECT facts FROM recordings WHERE reason = ''").fetchall()
        return sum(float(parse_json(facts)["duration_s"]) for (facts,) in rows)

    def recordings(self) -> Iterator[IndexedRecording]:
        """All recordings, by their paths.

        Raises:
            ArchiveError: one of them is not what was written.
        """
        with self._told():
            for row in self._database.execute("SELECT * FROM recordings ORDER BY path"):
                yield self._restored(row)

    def damaged(self) -> list[str]:
        """The paths of the recordings that are not what was written."""
        found = []
        with self._told():
            for row in self._database.execute("SELECT * FROM recordings"):
                try:
                    self._restored(row)
                except ArchiveError:
                    found.append(os.fsdecode(row[0]))
        return found

    def _restored(self, row: tuple[Any, ...]) -> IndexedRecording:
        path, size, changed, reason, facts, *content, checksum = row
        name = printable(os.fsdecode(path))
        if _checksum(path, facts, tuple(content)) != checksum:
            raise self._damaged(f"what it holds of {name} is not what was written")
        try:
            spans, norms = np.frombuffer(content[0], SPANS), np.frombuffer(content[1], NORMS)
            values = np.frombuffer(content[2], VALUES)
            windows, embeddings = spans.reshape(-1, 2), values.reshape(-1, self.facts.size)
            known = AudioFacts(**parse_json(facts)) if facts else None
        except (ValueError, TypeError) as error:
            raise self._damaged(f"what it holds of {name} cannot be read ({error})") from None
        if len(windows) != len(embeddings) or len(norms) not in (0, len(windows)) or (known is None) != bool(reason):
            raise self._damaged(f"what it holds of {name} does not fit together")
        return IndexedRecording(
            os.fsdecode(path), (size, changed), reason, known, windows, norms, embeddings.astype(np.float32)
        )

    def _damaged(self, why: str) -> ArchiveError:
        return ArchiveError(
            f"{self._name}: is damaged: {why}; run 'sound-groove index' again, which mends what it can, or delete it"
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's complaints into sentences."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ArchiveError(f"{self._name}: cannot be used: {error}") from None
        except sqlite3.DatabaseError as error:
            raise ArchiveError(
                f"{self._name}: is damaged ({error}); delete it, and run 'sound-groove index' again"
            ) from None


def is_index(path: Path) -> bool:
    """Whether a file says that it is an index of an archive."""
    header = _header(path)
    return header.startswith(MAGIC) and header[APPLICATION_PLACE] == APPLICATION.to_bytes(4, "big")


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER)
    except OSError:
        return b""


def _checksum(path: bytes, facts: str, content: tuple[bytes, ...]) -> int:
    value = zlib.crc32(facts.encode("utf-8", "surrogatepass"), zlib.crc32(path))
    for part in content:
        value = zlib.crc32(part, value)
    return value
