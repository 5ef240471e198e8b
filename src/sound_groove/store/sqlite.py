"""A store of voiceprints in one file: SQLite.

The journal is a write-ahead log and every change is synced before its method returns (`synchronous = FULL`), so that
neither the end of the process nor a power cut takes back an enrolment that was acknowledged, or leaves half of one.
Beside the file lie `-wal` and `-shm` while it is open.

Erasing: deleted content is overwritten with zeros (`secure_delete`), the file is written anew without what was left
between the rows (`VACUUM`), and the log is emptied. What a disk, a file system's snapshots or backups keep below the
files is beyond a program.
"""

import os
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sound_groove.errors import StoreError, printable
from sound_groove.store.changing import (
    changed_entry,
    check_addition,
    check_some,
    check_version,
    unknown_speaker,
)
from sound_groove.store.records import (
    Action,
    Centroid,
    Changes,
    EnrolledRecording,
    Erasure,
    Event,
    SpeakerEntry,
    Voiceprint,
    centroid_of,
    checked_name,
    now,
)
from sound_groove.store.rows import (
    EVENT_COLUMNS,
    RECORDING_COLUMNS,
    SPEAKER_COLUMNS,
    entry_of,
    entry_row,
    event_of,
    opened_embedding,
    recording_of,
    recording_row,
    sealed_embedding,
)
from sound_groove.store.sealing import Sealer, seal_check, verify_check
from sound_groove.types import ModelIdentity

APPLICATION = 0x53477670  # "SGvp", in the header of the file
SCHEMA = 1
BUSY_S = 60.0  # to wait for another process that is writing
ERASING_S = 5.0  # to wait for another process that is reading, before its part of the log stays

TABLES = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE speakers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, model_name TEXT NOT NULL, model_hash TEXT NOT NULL,
    recordings INTEGER NOT NULL, with_audio INTEGER NOT NULL, speech_s REAL NOT NULL, snr_db REAL NOT NULL,
    coherence REAL NOT NULL, enrolled_at TEXT NOT NULL, changed_at TEXT NOT NULL, version INTEGER NOT NULL,
    centroid BLOB NOT NULL
);
CREATE INDEX speakers_by_version ON speakers (version);
CREATE TABLE recordings (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    speaker TEXT NOT NULL REFERENCES speakers (id) ON DELETE CASCADE,
    embedding BLOB NOT NULL, source TEXT NOT NULL, digest TEXT NOT NULL, duration_s REAL NOT NULL,
    speech_s REAL NOT NULL, snr_db REAL NOT NULL, sample_rate INTEGER NOT NULL, enrolled_at TEXT NOT NULL,
    audio BLOB NOT NULL
);
CREATE INDEX recordings_by_speaker ON recordings (speaker);
CREATE TABLE events (
    revision INTEGER PRIMARY KEY, time TEXT NOT NULL, action TEXT NOT NULL, speaker_id TEXT NOT NULL,
    recordings INTEGER NOT NULL, model TEXT NOT NULL, actor TEXT NOT NULL
);
"""


class SqliteStore:
    """Voiceprints in a file; see `interface.VoiceprintStore` for what each method does.

    Args:
        path: the file.
        create: make it where it is missing.
        sealer: encrypts embeddings and audio, or does not.

    Raises:
        StoreError: it is missing, not such a store, of a later version, or needs another key.
    """

    def __init__(self, path: Path, create: bool, sealer: Sealer) -> None:
        self.location = printable(str(path))
        self.encrypted = sealer.encrypts
        self._sealer = sealer
        self._lock = threading.RLock()
        if create:
            _make_private(path, self.location)
        elif not path.is_file():
            raise StoreError(f"there is no store of voiceprints at {self.location}; 'sound-groove enroll' makes one")
        with self._told():
            self._database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(create)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, create: bool) -> None:
        """Check that this is a store of ours, or make it one."""
        with self._told():
            # Before any statement that writes: a file of somebody else's must stay as it is.
            application, schema = self._value("PRAGMA application_id"), self._value("PRAGMA user_version")
            is_new = not application and not self._value("SELECT count(*) FROM sqlite_master")
        if not is_new and application != APPLICATION:
            raise StoreError(f"{self.location}: is another program's database, not a store of voiceprints")
        if schema > SCHEMA:
            raise StoreError(f"{self.location}: was made by a later version of Sound-Groove; update it to open this")
        if is_new and not create:
            raise StoreError(f"{self.location}: holds no store of voiceprints; 'sound-groove enroll' makes one")
        with self._told():
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA secure_delete = ON")
            self._database.execute("PRAGMA foreign_keys = ON")
            if is_new:
                self._lay_out()
        verify_check(self._sealer, self._value("SELECT value FROM facts WHERE key = 'key check'"), self.location)

    def _lay_out(self) -> None:
        with self._changing() as database:
            if self._value("PRAGMA application_id") == APPLICATION:
                return  # another process was first
            for statement in TABLES.split(";\n"):
                database.execute(statement)
            database.execute("INSERT INTO facts VALUES ('key check', ?)", (seal_check(self._sealer),))
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            database.execute(f"PRAGMA application_id = {APPLICATION}")

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._told():
            self._database.close()

    def revision(self) -> int:
        """The number of changes that there were."""
        with self._reading():
            return int(self._value("SELECT coalesce(max(revision), 0) FROM events"))

    def count(self) -> int:
        """How many speakers there are."""
        with self._reading():
            return int(self._value("SELECT count(*) FROM speakers"))

    def speakers(self, after: str = "", limit: int | None = None) -> list[SpeakerEntry]:
        """Speakers by name."""
        with self._reading() as database:
            rows = database.execute(
                f"SELECT {SPEAKER_COLUMNS} FROM speakers WHERE name > ? ORDER BY name LIMIT ?",
                (after, -1 if limit is None else limit),
            )
            return [entry_of(row) for row in rows]

    def voiceprint(self, name: str) -> Voiceprint:
        """All that is kept of a speaker."""
        with self._reading():
            entry = self._known(name)
            recordings = self._recordings(entry)
        return Voiceprint(entry, recordings, centroid_of(recordings))

    def add(
        self, name: str, recordings: Sequence[EnrolledRecording], model: ModelIdentity, version: int | None, actor: str
    ) -> SpeakerEntry:
        """Enrol a speaker, or add recordings to one."""
        check_some(recordings)
        name = checked_name(name)
        with self._changing():
            earlier = self._entry(name)
            check_addition(name, earlier, model, version)
            kept = () if earlier is None else self._recordings(earlier)
            revision = self._record("enrolled", len(recordings), model, actor)
            entry = changed_entry(name, earlier, (*kept, *recordings), model, revision)
            self._write(entry, (*kept, *recordings), recordings)
        return entry

    def replace(
        self, name: str, recordings: Sequence[EnrolledRecording], model: ModelIdentity, version: int, actor: str
    ) -> SpeakerEntry:
        """Put recordings in the place of all that a speaker has."""
        check_some(recordings)
        with self._changing() as database:
            earlier = self._known(name)
            check_version(name, earlier, version)
            revision = self._record("re-embedded", len(recordings), model, actor)
            entry = changed_entry(earlier.name, earlier, recordings, model, revision)
            database.execute("DELETE FROM recordings WHERE speaker = ?", (earlier.id,))
            self._write(entry, recordings, recordings)
        return entry

    def remove(self, name: str, actor: str) -> Erasure:
        """Erase a speaker for good."""
        with self._lock:
            with self._changing() as database:
                entry = self._known(name)
                revision = self._record("removed", entry.recordings, entry.model, actor)
                database.execute("UPDATE events SET speaker_id = ? WHERE revision = ?", (entry.id, revision))
                database.execute("DELETE FROM speakers WHERE id = ?", (entry.id,))
            return Erasure(entry, self._wipe())

    def changes(self, since: int = 0) -> Changes:
        """Who changed after a revision."""
        with self._reading() as database:
            database.execute("BEGIN")  # one state of the file for the three questions
            try:
                revision = self.revision()
                gone = database.execute(
                    "SELECT speaker_id FROM events WHERE revision > ? AND action = 'removed'", (since,)
                )
                removed = tuple(row[0] for row in gone) if since else ()
                rows = database.execute(f"SELECT {SPEAKER_COLUMNS}, centroid FROM speakers WHERE version > ?", (since,))
                changed = tuple(
                    Centroid(entry_of(row[:-1]), opened_embedding(row[-1], f"speaker {row[0]}", self._sealer))
                    for row in rows
                )
            finally:
                database.execute("COMMIT")
        return Changes(revision, changed, removed)

    def events(self, after: int = 0, limit: int | None = None) -> list[Event]:
        """The audit trail."""
        with self._reading() as database:
            rows = database.execute(
                f"SELECT {EVENT_COLUMNS} FROM events WHERE revision > ? ORDER BY revision LIMIT ?",
                (after, -1 if limit is None else limit),
            )
            return [event_of(row) for row in rows]

    def _entry(self, name: str) -> SpeakerEntry | None:
        found = self._database.execute(f"SELECT {SPEAKER_COLUMNS} FROM speakers WHERE name = ?", (name,)).fetchone()
        return None if found is None else entry_of(found)

    def _known(self, name: str) -> SpeakerEntry:
        name = checked_name(name)
        entry = self._entry(name)
        if entry is None:
            raise unknown_speaker(name, self.location)
        return entry

    def _recordings(self, entry: SpeakerEntry) -> tuple[EnrolledRecording, ...]:
        rows = self._database.execute(
            f"SELECT {RECORDING_COLUMNS} FROM recordings WHERE speaker = ? ORDER BY number", (entry.id,)
        )
        return tuple(recording_of(row, self._sealer) for row in rows)

    def _record(self, action: Action, recordings: int, model: ModelIdentity, actor: str) -> int:
        """Write an event, whose speaker is filled in later, and give its revision."""
        return int(
            self._database.execute(
                "INSERT INTO events (time, action, speaker_id, recordings, model, actor) VALUES (?, ?, '', ?, ?, ?)",
                (now(), action, recordings, model.hash, actor),
            ).lastrowid
            or 0
        )

    def _write(
        self, entry: SpeakerEntry, recordings: Sequence[EnrolledRecording], new: Sequence[EnrolledRecording]
    ) -> None:
        """Write a speaker, whose event is there already, and those recordings that are new."""
        places = ", ".join("?" * (SPEAKER_COLUMNS.count(",") + 1))
        updates = ", ".join(f"{column} = excluded.{column}" for column in (*SPEAKER_COLUMNS.split(", "), "centroid"))
        centroid = sealed_embedding(centroid_of(recordings), f"speaker {entry.id}", self._sealer)
        self._database.execute(
            f"INSERT INTO speakers ({SPEAKER_COLUMNS}, centroid) VALUES ({places}, ?) "
            f"ON CONFLICT (id) DO UPDATE SET {updates}",
            (*entry_row(entry), centroid),
        )
        places = ", ".join("?" * (RECORDING_COLUMNS.count(",") + 1))
        self._database.executemany(
            f"INSERT INTO recordings ({RECORDING_COLUMNS}, speaker) VALUES ({places}, ?)",
            [(*recording_row(recording, self._sealer), entry.id) for recording in new],
        )
        self._database.execute("UPDATE events SET speaker_id = ? WHERE revision = ?", (entry.id, entry.version))

    def _wipe(self) -> bool:
        """Rewrite the file without the remains of deleted rows and empty the log; whether nothing is left."""
        self._database.execute(f"PRAGMA busy_timeout = {int(1000 * ERASING_S)}")
        try:
            self._database.execute("VACUUM")
            busy, _, _ = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
        except sqlite3.Error:
            return False  # the rows are gone all the same, and overwritten where they were
        finally:
            self._database.execute(f"PRAGMA busy_timeout = {int(1000 * BUSY_S)}")

    def _value(self, statement: str) -> Any:
        """The one value that a statement gives."""
        row = self._database.execute(statement).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The database for this thread alone, its errors as sentences."""
        with self._lock, self._told():
            yield self._database

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """The same, for a change that is whole or does not happen; on the disk when the block is left."""
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as sentences about this store."""
        try:
            yield
        except sqlite3.Error as error:
            if "not a database" in str(error):
                raise StoreError(f"{self.location}: is not a store of voiceprints") from error
            raise StoreError(f"{self.location}: {error}") from error


def _make_private(path: Path, location: str) -> None:
    """Make an empty file that its owner alone may read, where there is none; the log takes its permissions."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | (os.O_CLOEXEC if sys.platform != "win32" else 0), 0o600))
    except OSError as error:
        raise StoreError(f"{location}: cannot be made: {error.strerror or error}") from None
