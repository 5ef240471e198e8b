"""The tables of a store: made, taken over from earlier versions, and opened."""

import os
from contextlib import suppress
from dataclasses import replace

from sound_groove.errors import MetricError, StoreError
from sound_groove.types import ModelIdentity
from sound_groove.voiceprints.store.changing import changed_entry
from sound_groove.voiceprints.store.look_alikes import skeleton, table_version
from sound_groove.voiceprints.store.plausibility import check_recordings, checked_entry
from sound_groove.voiceprints.store.rows import SPEAKER_COLUMNS, bytes_of, entry_row
from sound_groove.voiceprints.store.sealing import seal_check, verify_check
from sound_groove.voiceprints.store.speaker_rows import SpeakerRows
from sound_groove.voiceprints.store.tally import Tally, tally_of

SCHEMA = 2  # of the tables; higher after a change that earlier versions cannot read
CHUNK = 4096  # rows at a time, where all are read
RESUMING_S = 1.0  # to wait for others when a removal is gone on with at opening

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


class SchemaTables(SpeakerRows):
    """Tables of this version, which removals that were interrupted are finished in when they are opened."""

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


def _dotted(version: tuple[int, ...]) -> bytes:
    return ".".join(map(str, version)).encode()


def _parts(version: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(b".") if part.isdigit())
