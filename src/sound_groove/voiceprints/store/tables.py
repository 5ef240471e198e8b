"""A store in the tables of an SQL database: all of it that is the same in every database."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, ClassVar

from sound_groove.errors import StoreError, UnknownSpeakerError, printable
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.store.changing import changed_entry, check_addition, check_version
from sound_groove.voiceprints.store.database import places
from sound_groove.voiceprints.store.erasing import PENDING, pending_bytes, pending_erasure
from sound_groove.voiceprints.store.look_alikes import skeleton
from sound_groove.voiceprints.store.names import checked_name
from sound_groove.voiceprints.store.plausibility import check_recordings, checked_entry
from sound_groove.voiceprints.store.probes import PREFIX, mark_of
from sound_groove.voiceprints.store.records import (
    Changes,
    DamagedVoiceprint,
    EnrolledRecording,
    Erasure,
    Event,
    SpeakerEntry,
    Voiceprint,
)
from sound_groove.voiceprints.store.rows import EVENT_COLUMNS, SPEAKER_COLUMNS, bytes_of, event_of, event_row
from sound_groove.voiceprints.store.schema import CHUNK, SchemaTables
from sound_groove.voiceprints.store.speaker_rows import ALL, damaged_row
from sound_groove.voiceprints.store.tally import tally_of

MOST_VALUES = 500  # in one statement: every database takes so many
ERASING_S = 5.0  # and in a removal: to wait for others who are using what is to be wiped
SHOWN = 5  # names that look like another
VERSION = SPEAKER_COLUMNS.split(", ").index("version")  # its place in a speaker's row


class TableStore(SchemaTables):
    """Voiceprints in tables; see `interface.VoiceprintStore` for what each method does."""

    OUT_OF_REACH: ClassVar[str] = ""  # for Erasure

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
                    f"ON speakers.id = recordings.speaker WHERE recordings.digest IN ({places(len(part))}) "
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
        damaged += [damaged_row(row, "its row has a version that no change had") for row in odd]
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
