"""A store in the tables of an SQL database: all of it that is the same in every database."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

from sound_groove.errors import MetricError, StoreError, UnknownSpeakerError, printable
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.store.changing import (
    changed_entry,
    check_addition,
    check_version,
    damaged_voiceprint,
    unknown_speaker,
)
from sound_groove.voiceprints.store.erasing import (
    PENDING,
    PendingErasure,
    pending_bytes,
    pending_erasure,
    read_pending,
)
from sound_groove.voiceprints.store.look_alikes import skeleton, table_version
from sound_groove.voiceprints.store.marks import check_agreement, check_mark, contents_mark, speaker_mark
from sound_groove.voiceprints.store.names import checked_name
from sound_groove.voiceprints.store.plausibility import check_embedding, check_recordings, checked_entry
from sound_groove.voiceprints.store.probes import PREFIX, check_probe, mark_of, opened_probe, probe_fact
from sound_groove.voiceprints.store.records import (
    Action,
    Centroid,
    Changes,
    DamagedVoiceprint,
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
    STORED_COLUMNS,
    WRITTEN_COLUMNS,
    bytes_of,
    entry_row,
    event_of,
    event_row,
    opened_embedding,
    recording_of,
    recording_row,
    sealed_embedding,
)
from sound_groove.voiceprints.store.sealing import Sealer, seal_check, verify_check
from sound_groove.voiceprints.store.tally import Tally, opened_tally, sealed_tally, tally_of

SCHEMA = 2  # of the tables; higher after a change that earlier versions cannot read
ALL = 2**63 - 1  # rows, where no limit was asked for
MOST_VALUES = 500  # in one statement: every database takes so many
CHUNK = 4096  # rows at a time, where all are read
RESUMING_S = 1.0  # to wait for others when a removal is gone on with at opening
ERASING_S = 5.0  # and in a removal: to wait for others who are using what is to be wiped
SHOWN = 5  # names that look like another
VERSION = SPEAKER_COLUMNS.split(", ").index("version")  # its place in a speaker's row

# Types are filled in by each database. Text compares by code points.
TABLES = """
CREATE TABLE facts (key {text} PRIMARY KEY, value {blob} NOT NULL);
CREATE TABLE speakers (
    id {text} PRIMARY KEY, name {text} NOT NULL UNIQUE, model_name {text} NOT NULL, model_hash {text} NOT NULL,
    recordings INTEGER NOT NULL, with_audio INTEGER NOT NULL, speech_s {real} NOT NULL, snr_db {real} NOT NULL,
    coherence {real} NOT NULL, embedding_norm {real}, norm_spread {real},
    enrolled_at {text} NOT NULL, changed_at {text} NOT NULL, version BIGINT NOT NULL,
    centroid {centroid} NOT NULL, contents {blob} NOT NULL DEFAULT '', seal {blob} NOT NULL DEFAULT '',
    skeleton {text} NOT NULL DEFAULT ''
);
CREATE INDEX speakers_by_version ON speakers (version);
CREATE INDEX speakers_by_skeleton ON speakers (skeleton);
CREATE TABLE recordings (
    number {number} PRIMARY KEY, id {text} NOT NULL UNIQUE,
    speaker {text} NOT NULL REFERENCES speakers (id) ON DELETE CASCADE,
    embedding {blob} NOT NULL, source {text} NOT NULL, digest {text} NOT NULL, duration_s {real} NOT NULL,
    speech_s {real} NOT NULL, snr_db {real} NOT NULL, sample_rate INTEGER NOT NULL, enrolled_at {text} NOT NULL,
    audio {blob} NOT NULL, embedding_norm {real}
);
CREATE INDEX recordings_by_speaker ON recordings (speaker);
CREATE INDEX recordings_by_digest ON recordings (digest);
CREATE TABLE events (
    revision BIGINT PRIMARY KEY, time {text} NOT NULL, action {text} NOT NULL, speaker_id {text} NOT NULL,
    recordings INTEGER NOT NULL, model {text} NOT NULL, actor {text} NOT NULL
)
"""

# What the tables of schema 1 lack. Of what is enrolled there no norm is known.
ADDITIONS = """
ALTER TABLE recordings ADD COLUMN embedding_norm {real};
ALTER TABLE speakers ADD COLUMN embedding_norm {real};
ALTER TABLE speakers ADD COLUMN norm_spread {real};
ALTER TABLE speakers ADD COLUMN contents {blob} NOT NULL DEFAULT '';
ALTER TABLE speakers ADD COLUMN seal {blob} NOT NULL DEFAULT '';
ALTER TABLE speakers ADD COLUMN skeleton {text} NOT NULL DEFAULT '';
CREATE INDEX speakers_by_skeleton ON speakers (skeleton)
"""


class TableStore(ABC):
    """Voiceprints in tables; see `interface.VoiceprintStore` for what each method does.

    Statements mark the places of values with '?'. There are two connections, one that changes and one that only reads:
    who reads does not wait while a change waits for another process that is writing.

    Args:
        location: its path or URL for people, without a password.
        sealer: encrypts embeddings and audio, or does not.
    """

    TYPES: ClassVar[dict[str, str]]  # those of TABLES, but for the centroid's
    OUT_OF_REACH: ClassVar[str] = ""  # for Erasure

    def __init__(self, location: str, sealer: Sealer) -> None:
        self.location = location
        self.encrypted = sealer.encrypts
        self.notices: list[str] = []
        self._sealer = sealer
        self._lock = threading.RLock()  # of what changes; to be taken before the other where both are
        self._reading_lock = threading.RLock()
        self._thread = threading.local()
        self._is_indexed = False  # recordings can be found by their digest without reading them all
        self._resumed: tuple[PendingErasure, ...] = ()  # removals that were finished when the store was opened

    @abstractmethod
    def close(self) -> None:
        """Let go of the file or the connection."""

    @property
    def _is_reading(self) -> bool:
        """Whether this thread reads, and so uses the connection that waits for nobody who writes."""
        return getattr(self._thread, "is_reading", False)

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
    def _wipe(self, wait_s: float) -> str:
        """Clear the files of what deleted rows left in them, and forget those removals that are thereby finished.

        Args:
            wait_s: how long others who use the files may take.

        Returns:
            Why something is left, as a clause; empty where nothing is.
        """

    def _layout(self) -> str:
        """What is another when the files were written anew; empty where that cannot be told."""
        return ""

    def _with_room(self, work: Callable[[], SpeakerEntry | None]) -> SpeakerEntry | None:
        """A removal's change, for which there is room though the disk may be full."""
        return work()

    def _check_place(self) -> None:  # noqa: B027
        """Refuse to go on where what was opened is no longer what is there.

        Raises:
            StoreError: it was deleted or replaced.
        """

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
        found: list[SpeakerEntry] = []
        wanted = ALL if limit is None else limit
        last: Any = after
        while len(found) < wanted:
            part = wanted - len(found)
            with self._reading():
                rows = [*self._rows("WHERE name > ? ORDER BY name LIMIT ?", (last, part))]
            found += [centroid.speaker for centroid in self._sorted_out(rows)[0]]
            if len(rows) < part:
                break
            last = rows[-1][1]  # some of them may be damaged, so that there are more to read
        return found

    def is_enrolled(self, name: str) -> bool:
        """Whether somebody has this name."""
        with self._reading():
            return self._value("SELECT 1 FROM speakers WHERE name = ?", (checked_name(name),)) is not None

    def voiceprint(self, name: str) -> Voiceprint:
        """All that is kept of a speaker."""
        with self._reading():
            return self._whole(self._known(name))

    def look_alikes(self, name: str) -> list[str]:
        """Names of others who are enrolled that look like this one."""
        name = checked_name(name)
        with self._reading():
            rows = self._execute(
                "SELECT name FROM speakers WHERE skeleton = ? AND name <> ? ORDER BY name LIMIT ?",
                (skeleton(name), name, SHOWN),
            )
            return [printable(str(row[0])) for row in rows]

    def damaged(self) -> list[DamagedVoiceprint]:
        """Speakers whose rows cannot be used."""
        found: list[DamagedVoiceprint] = []
        rows: list[Any] = [("",)]
        while rows:
            with self._reading():
                rows = [*self._rows("WHERE id > ? ORDER BY id LIMIT ?", (rows[-1][0], CHUNK))]
            found += self._sorted_out(rows)[1]
        return found

    def is_whole(self) -> bool:
        """Whether no speaker was taken away, put in or put back behind the store's back."""
        if not self.encrypted:
            return True
        with self._reading():
            kept, revision = self._tally(), self._revision()
            probes = self._execute("SELECT value FROM facts WHERE key LIKE ?", (f"{PREFIX}%",))
            marks = [mark_of(bytes_of(row[0])) for row in probes]
            seals = (bytes_of(row[0]) for row in self._execute("SELECT seal FROM speakers"))
            return kept is not None and kept == tally_of(revision, chain(marks, seals), self._sealer)

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
                    found.setdefault(digest, []).append(str(name))  # which may be damaged
        return {digest: tuple(names) for digest, names in found.items()}

    def probe(self, model_hash: str) -> Embeddings | None:
        """What a model gives of the probe, as far as the store knows."""
        with self._reading():
            return self._probe(model_hash)

    def add(
        self,
        name: str,
        recordings: Sequence[EnrolledRecording],
        model: ModelIdentity,
        version: int | None,
        actor: str,
        probe: Embeddings | None = None,
    ) -> SpeakerEntry:
        """Enrol a speaker, or add recordings to one."""
        check_recordings(recordings)
        name = checked_name(name)
        with self._changing():
            row = self._row(name)
            earlier = None if row is None else self._whole(row)
            known = None if earlier is None else earlier.speaker
            check_addition(name, known, model, version)
            every = (*(() if earlier is None else earlier.recordings), *recordings)
            check_recordings(every)
            entry = changed_entry(name, known, every, model, self._revision() + 1)
            learned = self._learn(model, probe)
            self._write(entry, every, recordings, b"" if row is None else bytes_of(row[-1]), learned)
            self._record("enrolled", entry, entry.version, len(recordings), actor)
        return entry

    def replace(
        self,
        name: str,
        recordings: Sequence[EnrolledRecording],
        model: ModelIdentity,
        version: int,
        actor: str,
        probe: Embeddings | None = None,
    ) -> SpeakerEntry:
        """Put recordings in the place of all that a speaker has."""
        check_recordings(recordings)
        with self._changing():
            row = self._known(name)
            earlier = self._whole(row).speaker
            check_version(name, earlier, version)
            entry = changed_entry(earlier.name, earlier, recordings, model, self._revision() + 1)
            self._execute("DELETE FROM recordings WHERE speaker = ?", (earlier.id,))
            self._write(entry, recordings, recordings, bytes_of(row[-1]), self._learn(model, probe))
            self._record("re-embedded", entry, entry.version, len(recordings), actor)
        return entry

    def remove(self, name: str, actor: str) -> Erasure:
        """Erase a speaker for good."""
        name = checked_name(name)

        def remove() -> SpeakerEntry | None:
            with self._changing():
                return self._delete(self._known(name), actor)

        with self._lock:
            try:
                entry = self._with_room(remove)
            except UnknownSpeakerError:
                entry = None
                with self._reading():
                    is_left = any(one.is_of(name) for one in self._pending())
                if not is_left and any(one.is_of(name) for one in self._resumed):
                    return Erasure(None, True, self.OUT_OF_REACH)
                if not is_left:
                    raise
            return self._wiped(entry)

    def discard(self, speaker_id: str, actor: str) -> Erasure:
        """Erase a speaker by id."""

        def remove() -> SpeakerEntry | None:
            with self._changing():
                rows = [*self._rows("WHERE id = ?", (speaker_id,))]
                if not rows:
                    raise UnknownSpeakerError(
                        f"no speaker in {self.location} has the id '{printable(speaker_id[:100])}'"
                    )
                return self._delete(rows[0], actor)

        with self._lock:
            return self._wiped(self._with_room(remove))

    def _wiped(self, entry: SpeakerEntry | None) -> Erasure:
        reason = self._wipe(ERASING_S)
        return Erasure(entry, not reason, self.OUT_OF_REACH, reason)

    def _delete(self, row: Sequence[Any], actor: str) -> SpeakerEntry | None:
        """Delete a speaker, within a change, and note that the remains are to be wiped; the entry, if it is sound."""
        revision, gone = self._revision() + 1, bytes_of(row[-1])
        try:
            entry = checked_entry(row[: len(SPEAKER_COLUMNS.split(", "))])
        except StoreError:
            entry = None
        self._execute("DELETE FROM speakers WHERE id = ?", (row[0],))
        self._account(gone, (), revision)
        pending = (*self._pending(), pending_erasure(str(row[1]), self._layout()))
        self._remember(PENDING, pending_bytes(pending))
        model, recordings = ("", 0) if entry is None else (entry.model.hash, entry.recordings)
        self._insert_event(event_row(revision, "removed", printable(str(row[0])), recordings, model, actor))
        return entry

    def changes(self, since: int = 0, limit: int | None = None) -> Changes:
        """Who changed after a revision."""
        with self._reading():
            newest = self._revision()
            rows = [
                *self._rows(
                    "WHERE version > ? AND version <= ? ORDER BY version LIMIT ?",
                    (since, newest, ALL if limit is None else limit),
                )
            ]
            revision = int(rows[-1][VERSION]) if rows and len(rows) == limit else newest
            # What has a version that no change had would never be told of.
            odd = [] if since else [*self._rows("WHERE NOT (version BETWEEN 1 AND ?)", (newest,))]
            gone = self._execute(
                "SELECT speaker_id FROM events WHERE revision > ? AND revision <= ? AND action = 'removed' "
                "AND speaker_id NOT IN (SELECT id FROM speakers) ORDER BY revision",
                (since, revision),
            )
            removed = tuple(row[0] for row in gone) if since else ()
        changed, damaged = self._sorted_out(rows)
        damaged += [_damaged(row, "its row has a version that no change had") for row in odd]
        return Changes(revision, tuple(changed), removed, tuple(damaged))

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
        self._execute_all(TABLES, centroid=centroid)
        self._remember("schema", str(SCHEMA).encode())
        self._remember("key check", seal_check(self._sealer))
        self._settle()
        self._remember_tally(Tally(0, 0))

    def _settle(self) -> None:
        """Give a store its id, within a change, and know by which table names are compared."""
        store_id = os.urandom(16)
        self._remember("id", store_id)
        self._remember("names", _dotted(table_version()))
        self._sealer = self._sealer.of_store(store_id)

    def _execute_all(self, statements: str, **types: str) -> None:
        for statement in statements.format(**self.TYPES, **types).split(";\n"):
            self._execute(statement)

    def _take_over(self) -> None:
        """Bring a store of schema 1 to this one, within a change: what can be is computed anew, the rest is trusted.

        Rows that cannot be read get no mark, and are damaged from then on.
        """
        self._execute_all(ADDITIONS)
        self._settle()
        last = ""
        while ids := [row[0] for row in self._execute(
            "SELECT id FROM speakers WHERE id > ? ORDER BY id LIMIT ?", (last, CHUNK)
        )]:  # fmt: skip
            for speaker_id in ids:
                with suppress(StoreError, MetricError):
                    self._mark_anew(speaker_id)
            last = ids[-1]
        marks = (bytes_of(row[0]) for row in self._execute("SELECT seal FROM speakers"))
        self._remember_tally(tally_of(self._revision(), marks, self._sealer))
        self._remember("schema", str(SCHEMA).encode())

    def _mark_anew(self, speaker_id: str) -> None:
        """Give a speaker of schema 1 the marks of what the recordings say."""
        (row,) = self._rows("WHERE id = ?", (speaker_id,))
        recordings = self._recordings(speaker_id)
        check_recordings(recordings)
        _, name, model_name, model_hash, *_, since, changed, version = row[: len(SPEAKER_COLUMNS.split(", "))]
        entry = changed_entry(name, None, recordings, ModelIdentity(model_name, model_hash), version)
        entry = replace(entry, id=speaker_id, enrolled_at=since, changed_at=changed)
        self._write(checked_entry(entry_row(entry)), recordings, [], None)

    def _open(self, schema: int, may_write: bool, take_over: bool) -> None:
        """What is the same at every opening: the key, the store's id, its schema, and what was left undone.

        Raises:
            StoreError: the key is not the store's, or the store is of another version and is not to be taken over.
        """
        if schema > SCHEMA:
            raise StoreError(f"{self.location}: was made by a later version of Sound-Groove; update it to open this")
        with self._reading():
            check = bytes_of(self._fact("key check"))
            verify_check(self._sealer, check, self.location)
            store_id = bytes_of(self._fact("id"))
        if schema < SCHEMA:
            if not may_write:
                raise StoreError(f"{self.location}: is of an earlier version; open it once where it can be written")
            if self.encrypted and not take_over:
                raise StoreError(
                    f"{self.location}: is of an earlier version, in which whoever could write to it could change names "
                    "and figures without the key; 'sound-groove speakers upgrade' takes it over as it is"
                )
            with self._changing():
                if not bytes_of(self._fact("id")):  # else another process was first
                    self._take_over()
                store_id = bytes_of(self._fact("id"))
            self.notices.append("the store was of an earlier version of Sound-Groove, and is of this one now")
        self._sealer = self._sealer.of_store(store_id)
        if may_write:
            self._compare_names_anew()
        self._resume(may_write)

    def _compare_names_anew(self) -> None:
        """Compute what names look like by this version's table of confusables, where it is newer than the store's."""
        ours = table_version()
        with self._reading():
            theirs = bytes_of(self._fact("names"))
        if _parts(theirs) >= ours:
            return
        with self._changing():
            last = ""
            while rows := [
                *self._execute("SELECT id, name FROM speakers WHERE id > ? ORDER BY id LIMIT ?", (last, CHUNK))
            ]:
                looks = [(skeleton(str(name)), speaker_id) for speaker_id, name in rows]
                self._execute_many("UPDATE speakers SET skeleton = ? WHERE id = ?", looks)
                last = rows[-1][0]
            self._remember("names", _dotted(ours))

    def _resume(self, may_write: bool) -> None:
        """Go on with removals that were interrupted."""
        with self._reading():
            pending = self._pending()
        if not pending:
            return
        count = "a removal" if len(pending) == 1 else f"{len(pending):,} removals"
        reason = self._wipe(RESUMING_S) if may_write else "it cannot be written here"
        if reason:
            self.notices.append(f"remains of {count} are still in the store's files, since {reason}")
        else:
            self._resumed = pending
            self.notices.append(
                f"{count}, which had been left incomplete, {'is' if len(pending) == 1 else 'are'} finished"
            )

    def _pending(self) -> tuple[PendingErasure, ...]:
        return read_pending(bytes_of(self._fact(PENDING)))

    def _fact(self, key: str) -> Any:
        return self._value("SELECT value FROM facts WHERE key = ?", (key,))

    def _remember(self, key: str, value: bytes) -> None:
        """Write a fact, within a change."""
        self._execute(
            "INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def _revision(self) -> int:
        # The bound leaves out what is no number.
        return int(self._value("SELECT coalesce(max(revision), 0) FROM events WHERE revision <= ?", (ALL,)))

    def _rows(self, clauses: str, values: Sequence[Any]) -> Iterable[Any]:
        """The rows of STORED_COLUMNS that the clauses after FROM leave."""
        return self._execute(f"SELECT {STORED_COLUMNS} FROM speakers {clauses}", values)

    def _row(self, name: str) -> Any:
        """The row of STORED_COLUMNS of a speaker, or None."""
        return next(iter(self._rows("WHERE name = ?", (name,))), None)

    def _known(self, name: str) -> Any:
        name = checked_name(name)
        row = self._row(name)
        if row is None:
            raise unknown_speaker(name, self.location)
        return row

    def _sorted_out(self, rows: Iterable[Any]) -> tuple[list[Centroid], list[DamagedVoiceprint]]:
        """What rows of STORED_COLUMNS hold, and those that cannot be used."""
        sound, damaged = [], []
        for row in rows:
            try:
                sound.append(self._opened(row))
            except StoreError as error:
                damaged.append(_damaged(row, str(error)))
        return sound, damaged

    def _opened(self, row: Sequence[Any]) -> Centroid:
        """What a row of STORED_COLUMNS holds.

        Raises:
            StoreError: it cannot be used; with a clause that says why.
        """
        *columns, centroid, contents, seal = row
        entry = checked_entry(columns)
        embedding = self._opened_centroid(centroid, f"speaker {entry.id}")
        check_embedding(embedding, "its centroid")
        expected = speaker_mark(entry, embedding, bytes_of(contents), self._sealer)
        check_mark(bytes_of(seal), expected, self._sealer)
        return Centroid(entry, embedding)

    def _whole(self, row: Sequence[Any]) -> Voiceprint:
        """All that is kept of the speaker of a row of STORED_COLUMNS.

        Raises:
            DamagedVoiceprintError: it is not what the store wrote, or cannot be.
        """
        try:
            opened = self._opened(row)
            recordings = self._recordings(opened.speaker.id)
            check_mark(bytes_of(row[-2]), contents_mark(recordings, self._sealer), self._sealer)
            check_agreement(opened.speaker, opened.embedding, recordings)
        except (StoreError, MetricError) as error:
            raise damaged_voiceprint(str(row[1]), str(row[0]), str(error), self.location) from None
        return Voiceprint(opened.speaker, recordings, centroid_of(recordings))

    def _recordings(self, speaker_id: str) -> tuple[EnrolledRecording, ...]:
        rows = self._execute(
            f"SELECT {RECORDING_COLUMNS} FROM recordings WHERE speaker = ? ORDER BY number", (speaker_id,)
        )
        return tuple(recording_of(row, self._sealer) for row in rows)

    def _stored_centroid(self, embedding: Embeddings, owner: str) -> Any:
        return sealed_embedding(embedding, owner, self._sealer)

    def _opened_centroid(self, stored: Any, owner: str) -> Embeddings:
        return opened_embedding(bytes_of(stored), owner, self._sealer)

    def _write(
        self,
        entry: SpeakerEntry,
        recordings: Sequence[EnrolledRecording],
        new: Sequence[EnrolledRecording],
        gone: bytes | None,
        learned: bytes = b"",
    ) -> None:
        """Write a speaker and those recordings that are new.

        `gone` is the mark of the speaker's row until now, empty for a new one; None where the tally is made afterwards.
        `learned` is the mark of what became known with it of the model, or empty.
        """
        columns = WRITTEN_COLUMNS.split(", ")
        updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
        row = self._written_row(entry, recordings)
        self._execute(
            f"INSERT INTO speakers ({WRITTEN_COLUMNS}) VALUES ({_places(len(columns))}) "
            f"ON CONFLICT (id) DO UPDATE SET {updates}",
            row,
        )
        rows = [(*recording_row(recording, self._sealer), entry.id) for recording in new]
        if rows:
            self._execute_many(
                f"INSERT INTO recordings ({RECORDING_COLUMNS}, speaker) VALUES ({_places(len(rows[0]))})", rows
            )
        if gone is not None:
            self._account(gone, (row[-2], learned), entry.version)

    def _written_row(self, entry: SpeakerEntry, recordings: Sequence[EnrolledRecording]) -> tuple[Any, ...]:
        """The row of WRITTEN_COLUMNS of a speaker with these recordings."""
        centroid, contents = centroid_of(recordings), contents_mark(recordings, self._sealer)
        seal = speaker_mark(entry, centroid, contents, self._sealer)
        stored = self._stored_centroid(centroid, f"speaker {entry.id}")
        return (*entry_row(entry), stored, contents, seal, skeleton(entry.name))

    def _probe(self, model_hash: str) -> Embeddings | None:
        fact = bytes_of(self._fact(f"{PREFIX}{model_hash}"))
        return opened_probe(fact, model_hash, self._sealer) if fact else None

    def _learn(self, model: ModelIdentity, probe: Embeddings | None) -> bytes:
        """Compare what a model gives of the probe with what is kept, or keep it; within a change.

        Returns:
            The mark of what came to be kept; empty where nothing did.
        """
        if probe is None:
            return b""
        kept = self._probe(model.hash)
        if kept is not None:
            check_probe(model, kept, probe)
            return b""
        fact = probe_fact(probe, model.hash, self._sealer)
        self._remember(f"{PREFIX}{model.hash}", fact)
        return mark_of(fact)

    def _tally(self) -> Tally | None:
        """What the store's voiceprints are said to add up to; None where it cannot be read."""
        with suppress(StoreError):
            return opened_tally(bytes_of(self._fact("tally")), self._sealer)
        return None

    def _remember_tally(self, tally: Tally) -> None:
        if self.encrypted:
            self._remember("tally", sealed_tally(tally, self._sealer))

    def _account(self, gone: bytes, come: Sequence[bytes], revision: int) -> None:
        """Carry the tally on to a new revision, within a change. One that is wrong stays so: nothing is made good."""
        tally = self._tally() if self.encrypted else None
        if tally is not None and tally.revision == revision - 1:
            self._remember_tally(tally.changed(gone, come, revision, self._sealer))

    def _record(self, action: Action, entry: SpeakerEntry, revision: int, recordings: int, actor: str) -> None:
        """Write the event of a change."""
        self._insert_event(event_row(revision, action, entry.id, recordings, entry.model.hash, actor))

    def _insert_event(self, row: Sequence[Any]) -> None:
        self._execute(f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({_places(len(row))})", row)

    def _value(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """The one value that a statement gives, or None."""
        rows = [*self._execute(statement, values)]
        return rows[0][0] if rows else None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One state of the database, for this thread alone, by the connection that only reads."""
        with self._reading_lock:
            self._thread.is_reading = True
            try:
                with self._transaction(self._begin_reading):
                    yield
            finally:
                self._thread.is_reading = False

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A change that is whole or does not happen; on the disk, where the store is, when the block is left."""
        with self._lock:
            with self._transaction(self._begin_changing):
                yield
            self._check_place()

    @contextmanager
    def _transaction(self, begin: Callable[[], None]) -> Iterator[None]:
        with self._told():
            self._check_place()
            try:
                begin()
                yield
                self._commit()
            except BaseException:
                self._roll_back()
                raise


def _damaged(row: Sequence[Any], reason: str) -> DamagedVoiceprint:
    """What is told of a row of STORED_COLUMNS that cannot be used."""
    return DamagedVoiceprint(printable(str(row[0])[:100]), printable(str(row[1])[:100]), reason)


def _dotted(version: tuple[int, ...]) -> bytes:
    return ".".join(map(str, version)).encode()


def _parts(version: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(b".") if part.isdigit())


def _places(count: int) -> str:
    return ", ".join("?" * count)
