"""A store in the tables of an SQL database: all of it that is the same in every database."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, ClassVar

from sound_groove.errors import StoreError
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.store.changing import (
    changed_entry,
    check_addition,
    check_some,
    check_version,
    unknown_speaker,
)
from sound_groove.voiceprints.store.names import checked_name
from sound_groove.voiceprints.store.records import (
    Action,
    Centroid,
    Changes,
    EnrolledRecording,
    Erasure,
    Event,
    SpeakerEntry,
    Voiceprint,
    centroid_of,
)
from sound_groove.voiceprints.store.rows import (
    EVENT_COLUMNS,
    RECORDING_COLUMNS,
    SPEAKER_COLUMNS,
    entry_of,
    entry_row,
    event_of,
    event_row,
    opened_embedding,
    recording_of,
    recording_row,
    sealed_embedding,
)
from sound_groove.voiceprints.store.sealing import Sealer, seal_check, verify_check

SCHEMA = 1  # of the tables; higher after a change that earlier versions cannot read
ALL = 2**63 - 1  # rows, where no limit was asked for
MOST_VALUES = 500  # in one statement: every database takes so many

# Types are filled in by each database. Text compares by code points.
TABLES = """
CREATE TABLE facts (key {text} PRIMARY KEY, value {blob} NOT NULL);
CREATE TABLE speakers (
    id {text} PRIMARY KEY, name {text} NOT NULL UNIQUE, model_name {text} NOT NULL, model_hash {text} NOT NULL,
    recordings INTEGER NOT NULL, with_audio INTEGER NOT NULL, speech_s {real} NOT NULL, snr_db {real} NOT NULL,
    coherence {real} NOT NULL, enrolled_at {text} NOT NULL, changed_at {text} NOT NULL, version BIGINT NOT NULL,
    centroid {centroid} NOT NULL
);
CREATE INDEX speakers_by_version ON speakers (version);
CREATE TABLE recordings (
    number {number} PRIMARY KEY, id {text} NOT NULL UNIQUE,
    speaker {text} NOT NULL REFERENCES speakers (id) ON DELETE CASCADE,
    embedding {blob} NOT NULL, source {text} NOT NULL, digest {text} NOT NULL, duration_s {real} NOT NULL,
    speech_s {real} NOT NULL, snr_db {real} NOT NULL, sample_rate INTEGER NOT NULL, enrolled_at {text} NOT NULL,
    audio {blob} NOT NULL
);
CREATE INDEX recordings_by_speaker ON recordings (speaker);
CREATE INDEX recordings_by_digest ON recordings (digest);
CREATE TABLE events (
    revision BIGINT PRIMARY KEY, time {text} NOT NULL, action {text} NOT NULL, speaker_id {text} NOT NULL,
    recordings INTEGER NOT NULL, model {text} NOT NULL, actor {text} NOT NULL
)
"""


class TableStore(ABC):
    """Voiceprints in tables; see `interface.VoiceprintStore` for what each method does.

    Statements mark the places of values with '?'.

    Args:
        location: its path or URL for people, without a password.
        sealer: encrypts embeddings and audio, or does not.
    """

    TYPES: ClassVar[dict[str, str]]  # those of TABLES, but for the centroid's
    OUT_OF_REACH: ClassVar[str] = ""  # for Erasure

    def __init__(self, location: str, sealer: Sealer) -> None:
        self.location = location
        self.encrypted = sealer.encrypts
        self._sealer = sealer
        self._lock = threading.RLock()
        self._is_indexed = False  # recordings can be found by their digest without reading them all

    @abstractmethod
    def close(self) -> None:
        """Let go of the file or the connection."""

    @abstractmethod
    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Iterable[Any]:
        """The rows that a statement gives."""

    @abstractmethod
    def _execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement for each row of values."""

    @abstractmethod
    def _begin_reading(self) -> None:
        """Start a transaction that sees one state of the database."""

    @abstractmethod
    def _begin_changing(self) -> None:
        """Start a transaction that no other change runs beside, of this or another process."""

    @abstractmethod
    def _commit(self) -> None:
        """End it, so that what was changed is on the disk."""

    @abstractmethod
    def _roll_back(self) -> None:
        """End it, so that nothing was changed."""

    @abstractmethod
    def _told(self) -> AbstractContextManager[None]:
        """The database's errors as sentences about this store."""

    @abstractmethod
    def _has_index(self, name: str) -> bool:
        """Whether there is an index of this name."""

    @abstractmethod
    def _wipe(self) -> bool:
        """Clear the files of what deleted rows left in them; whether nothing is left."""

    def revision(self) -> int:
        """The number of changes that there were."""
        with self._reading():
            return self._revision()

    def count(self, model_hash: str | None = None) -> int:
        """How many speakers there are."""
        with self._reading():
            if model_hash is None:
                return int(self._value("SELECT count(*) FROM speakers"))
            return int(self._value("SELECT count(*) FROM speakers WHERE model_hash = ?", (model_hash,)))

    def speakers(self, after: str = "", limit: int | None = None) -> list[SpeakerEntry]:
        """Speakers by name."""
        with self._reading():
            rows = self._execute(
                f"SELECT {SPEAKER_COLUMNS} FROM speakers WHERE name > ? ORDER BY name LIMIT ?",
                (after, ALL if limit is None else limit),
            )
            return [entry_of(row) for row in rows]

    def voiceprint(self, name: str) -> Voiceprint:
        """All that is kept of a speaker."""
        with self._reading():
            entry = self._known(name)
            recordings = self._recordings(entry)
        return Voiceprint(entry, recordings, centroid_of(recordings))

    def enrolled_as(self, digests: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Under which names audio is enrolled."""
        self._index_digests()
        found: dict[str, list[str]] = {}
        wanted = sorted({*digests})
        for start in range(0, len(wanted), MOST_VALUES):
            part = wanted[start : start + MOST_VALUES]
            with self._reading():
                rows = self._execute(
                    "SELECT DISTINCT recordings.digest, speakers.name FROM recordings JOIN speakers "
                    f"ON speakers.id = recordings.speaker WHERE recordings.digest IN ({_places(len(part))}) "
                    "ORDER BY speakers.name",
                    part,
                )
                for digest, name in rows:
                    found.setdefault(digest, []).append(name)
        return {digest: tuple(names) for digest, names in found.items()}

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
            every = (*kept, *recordings)
            check_some(every)
            entry = changed_entry(name, earlier, every, model, self._revision() + 1)
            self._write(entry, every, recordings)
            self._record("enrolled", entry, entry.version, len(recordings), actor)
        return entry

    def replace(
        self, name: str, recordings: Sequence[EnrolledRecording], model: ModelIdentity, version: int, actor: str
    ) -> SpeakerEntry:
        """Put recordings in the place of all that a speaker has."""
        check_some(recordings)
        with self._changing():
            earlier = self._known(name)
            check_version(name, earlier, version)
            entry = changed_entry(earlier.name, earlier, recordings, model, self._revision() + 1)
            self._execute("DELETE FROM recordings WHERE speaker = ?", (earlier.id,))
            self._write(entry, recordings, recordings)
            self._record("re-embedded", entry, entry.version, len(recordings), actor)
        return entry

    def remove(self, name: str, actor: str) -> Erasure:
        """Erase a speaker for good."""
        with self._lock:
            with self._changing():
                entry = self._known(name)
                self._execute("DELETE FROM speakers WHERE id = ?", (entry.id,))
                self._record("removed", entry, self._revision() + 1, entry.recordings, actor)
            return Erasure(entry, self._wipe(), self.OUT_OF_REACH)

    def changes(self, since: int = 0, limit: int | None = None) -> Changes:
        """Who changed after a revision."""
        with self._reading():
            changed = self._centroids(
                "WHERE version > ? ORDER BY version LIMIT ?", (since, ALL if limit is None else limit)
            )
            revision = changed[-1].speaker.version if changed and len(changed) == limit else self._revision()
            gone = self._execute(
                "SELECT speaker_id FROM events WHERE revision > ? AND revision <= ? AND action = 'removed' "
                "ORDER BY revision",
                (since, revision),
            )
            removed = tuple(row[0] for row in gone) if since else ()
        return Changes(revision, tuple(changed), removed)

    def events(self, after: int = 0, limit: int | None = None) -> list[Event]:
        """The audit trail."""
        with self._reading():
            rows = self._execute(
                f"SELECT {EVENT_COLUMNS} FROM events WHERE revision > ? ORDER BY revision LIMIT ?",
                (after, ALL if limit is None else limit),
            )
            return [event_of(row) for row in rows]

    def _index_digests(self) -> None:
        """Make the index of digests in a store that was made before there was one."""
        if self._is_indexed:
            return
        with self._reading():
            is_there = self._has_index("recordings_by_digest")
        if not is_there:
            # Who may not make it searches without it.
            with suppress(StoreError), self._changing():
                if not self._has_index("recordings_by_digest"):  # else another process was first
                    self._execute("CREATE INDEX recordings_by_digest ON recordings (digest)")
        self._is_indexed = True

    def _lay_out(self, centroid: str) -> None:
        """Make the tables, within a change; `centroid` is the type of that column."""
        for statement in TABLES.format(**self.TYPES, centroid=centroid).split(";\n"):
            self._execute(statement)
        self._execute_many(
            "INSERT INTO facts VALUES (?, ?)",
            [("schema", str(SCHEMA).encode()), ("key check", seal_check(self._sealer))],
        )

    def _verify_key(self) -> None:
        check = self._value("SELECT value FROM facts WHERE key = 'key check'")
        verify_check(self._sealer, bytes(check or b""), self.location)

    def _revision(self) -> int:
        return int(self._value("SELECT coalesce(max(revision), 0) FROM events"))

    def _entry(self, name: str) -> SpeakerEntry | None:
        rows = [*self._execute(f"SELECT {SPEAKER_COLUMNS} FROM speakers WHERE name = ?", (name,))]
        return entry_of(rows[0]) if rows else None

    def _known(self, name: str) -> SpeakerEntry:
        name = checked_name(name)
        entry = self._entry(name)
        if entry is None:
            raise unknown_speaker(name, self.location)
        return entry

    def _recordings(self, entry: SpeakerEntry) -> tuple[EnrolledRecording, ...]:
        rows = self._execute(
            f"SELECT {RECORDING_COLUMNS} FROM recordings WHERE speaker = ? ORDER BY number", (entry.id,)
        )
        return tuple(recording_of(row, self._sealer) for row in rows)

    def _centroids(self, clauses: str, values: Sequence[Any]) -> list[Centroid]:
        """The speakers, with their centroids, that the clauses after FROM leave."""
        rows = self._execute(f"SELECT {SPEAKER_COLUMNS}, centroid FROM speakers {clauses}", values)
        return [Centroid(entry_of(row[:-1]), self._opened_centroid(row[-1], f"speaker {row[0]}")) for row in rows]

    def _stored_centroid(self, embedding: Embeddings, owner: str) -> Any:
        return sealed_embedding(embedding, owner, self._sealer)

    def _opened_centroid(self, stored: Any, owner: str) -> Embeddings:
        return opened_embedding(bytes(stored), owner, self._sealer)

    def _write(
        self, entry: SpeakerEntry, recordings: Sequence[EnrolledRecording], new: Sequence[EnrolledRecording]
    ) -> None:
        """Write a speaker and those recordings that are new."""
        columns = (*SPEAKER_COLUMNS.split(", "), "centroid")
        updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
        centroid = self._stored_centroid(centroid_of(recordings), f"speaker {entry.id}")
        self._execute(
            f"INSERT INTO speakers ({', '.join(columns)}) VALUES ({_places(len(columns))}) "
            f"ON CONFLICT (id) DO UPDATE SET {updates}",
            (*entry_row(entry), centroid),
        )
        rows = [(*recording_row(recording, self._sealer), entry.id) for recording in new]
        self._execute_many(
            f"INSERT INTO recordings ({RECORDING_COLUMNS}, speaker) VALUES ({_places(len(rows[0]))})", rows
        )

    def _record(self, action: Action, entry: SpeakerEntry, revision: int, recordings: int, actor: str) -> None:
        """Write the event of a change."""
        row = event_row(revision, action, entry, recordings, actor)
        self._execute(f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({_places(len(row))})", row)

    def _value(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """The one value that a statement gives, or None."""
        rows = [*self._execute(statement, values)]
        return rows[0][0] if rows else None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One state of the database, for this thread alone."""
        with self._transaction(self._begin_reading):
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A change that is whole or does not happen; on the disk when the block is left."""
        with self._transaction(self._begin_changing):
            yield

    @contextmanager
    def _transaction(self, begin: Callable[[], None]) -> Iterator[None]:
        with self._lock, self._told():
            try:
                begin()
                yield
                self._commit()
            except BaseException:
                self._roll_back()
                raise


def _places(count: int) -> str:
    return ", ".join("?" * count)
