"""Speakers as rows of tables: read, checked against their marks, and written with them."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from sound_groove.errors import MetricError, StoreError, printable
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.store.changing import damaged_voiceprint, unknown_speaker
from sound_groove.voiceprints.store.database import Database, places
from sound_groove.voiceprints.store.erasing import PENDING, PendingErasure, read_pending
from sound_groove.voiceprints.store.look_alikes import skeleton
from sound_groove.voiceprints.store.marks import check_agreement, check_mark, contents_mark, speaker_mark
from sound_groove.voiceprints.store.names import checked_name
from sound_groove.voiceprints.store.plausibility import check_embedding, checked_entry
from sound_groove.voiceprints.store.probes import PREFIX, check_probe, mark_of, opened_probe, probe_fact
from sound_groove.voiceprints.store.records import (
    Action,
    Centroid,
    DamagedVoiceprint,
    EnrolledRecording,
    SpeakerEntry,
    Voiceprint,
    centroid_of,
)
from sound_groove.voiceprints.store.rows import (
    EVENT_COLUMNS,
    RECORDING_COLUMNS,
    STORED_COLUMNS,
    WRITTEN_COLUMNS,
    bytes_of,
    entry_row,
    event_row,
    opened_embedding,
    recording_of,
    recording_row,
    sealed_embedding,
)
from sound_groove.voiceprints.store.tally import Tally, opened_tally, sealed_tally

ALL = 2**63 - 1  # rows, where no limit was asked for


class SpeakerRows(Database):
    """Rows of speakers, their recordings, the events, and what the store knows of models."""

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
                damaged.append(damaged_row(row, str(error)))
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
            f"INSERT INTO speakers ({WRITTEN_COLUMNS}) VALUES ({places(len(columns))}) "
            f"ON CONFLICT (id) DO UPDATE SET {updates}",
            row,
        )
        rows = [(*recording_row(recording, self._sealer), entry.id) for recording in new]
        if rows:
            self._execute_many(
                f"INSERT INTO recordings ({RECORDING_COLUMNS}, speaker) VALUES ({places(len(rows[0]))})", rows
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
        self._execute(f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({places(len(row))})", row)

    def _pending(self) -> tuple[PendingErasure, ...]:
        return read_pending(bytes_of(self._fact(PENDING)))


def damaged_row(row: Sequence[Any], reason: str) -> DamagedVoiceprint:
    """What is told of a row of STORED_COLUMNS that cannot be used."""
    return DamagedVoiceprint(printable(str(row[0])[:100]), printable(str(row[1])[:100]), reason)
