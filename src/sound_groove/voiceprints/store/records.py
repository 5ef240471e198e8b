"""What a store of voiceprints holds, and the names that speakers may have."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from sound_groove.audio.listening import AudioFacts
from sound_groove.scoring.cosine import mean_embedding
from sound_groove.types import Embeddings, ModelIdentity

Action = Literal["enrolled", "removed", "re-embedded"]


@dataclass(frozen=True, slots=True)
class EnrolledRecording:
    """One recording of a speaker, as a store keeps it: its embedding and what is known about it.

    Attributes:
        id: of this recording, in this store alone.
        embedding: (D,) float32, unit length.
        source: what the recording was called; for people, never opened. Stores keep it with control characters and
            undecodable bytes escaped.
        digest: SHA-256 of its samples at 16 kHz (hexadecimal), by which a recording that comes twice is found.
        duration_s: its length.
        speech_s: how much of it is speech.
        snr_db: how far the speech lies above the noise.
        sample_rate: the file's own rate, in Hz.
        enrolled_at: when, in UTC (ISO 8601).
        audio: the samples as a FLAC file, where they were kept; else empty.
        embedding_norm: how long the embedding was before it was brought to unit length; None where it is not known.
    """

    id: str
    embedding: Embeddings
    source: str
    digest: str
    duration_s: float
    speech_s: float
    snr_db: float
    sample_rate: int
    enrolled_at: str
    audio: bytes = b""
    embedding_norm: float | None = None

    @property
    def facts(self) -> AudioFacts:
        """Length, speech, noise, rate, and the embedding's norm where it is known."""
        return AudioFacts(self.duration_s, self.speech_s, self.snr_db, self.sample_rate, self.embedding_norm)

    @property
    def entry(self) -> "RecordingEntry":
        """What may be told of it."""
        return RecordingEntry(
            id=self.id,
            source=self.source,
            duration_s=self.duration_s,
            speech_s=self.speech_s,
            snr_db=self.snr_db,
            sample_rate=self.sample_rate,
            enrolled_at=self.enrolled_at,
            with_audio=bool(self.audio),
            embedding_norm=self.embedding_norm,
        )


@dataclass(frozen=True, slots=True)
class RecordingEntry:
    """What is known of an enrolled recording, without its embedding and audio.

    Attributes:
        id: of this recording.
        source: what it was called.
        duration_s: its length.
        speech_s: how much of it is speech.
        snr_db: how far the speech lies above the noise.
        sample_rate: the file's own rate, in Hz.
        enrolled_at: when, in UTC (ISO 8601).
        with_audio: its audio was kept.
        embedding_norm: how long its embedding was before it was brought to unit length; None where it is not known.
    """

    id: str
    source: str
    duration_s: float
    speech_s: float
    snr_db: float
    sample_rate: int
    enrolled_at: str
    with_audio: bool
    embedding_norm: float | None


@dataclass(frozen=True, slots=True)
class SpeakerEntry:
    """What a store knows about a speaker, without the embeddings.

    Attributes:
        id: of this speaker, in this store alone; it tells nothing about the name, and no later speaker has it.
        name: as it was enrolled.
        model: which model made the embeddings.
        recordings: how many are enrolled.
        with_audio: of how many of them the audio was kept.
        speech_s: of all of them together.
        snr_db: mean of all of them.
        coherence: length of the mean of their embeddings, from 0 to 1: 1 for one recording, less the less they agree.
            A cosine with the centroid times this is the mean of the cosines with the recordings.
        embedding_norm: mean of how long the embeddings were before they were brought to unit length; None where that
            is not known of all of them.
        norm_spread: standard deviation of the same over the recordings (all of them, so 0 for one); None likewise.
        enrolled_at: when the first came, in UTC (ISO 8601).
        changed_at: when the last change was.
        version: the store's revision of the last change.
    """

    id: str
    name: str
    model: ModelIdentity
    recordings: int
    with_audio: int
    speech_s: float
    snr_db: float
    coherence: float
    embedding_norm: float | None
    norm_spread: float | None
    enrolled_at: str
    changed_at: str
    version: int

    @property
    def unfamiliarity(self) -> None:
        """Not kept of what is enrolled, of which enrolment warns."""


@dataclass(frozen=True, slots=True)
class Voiceprint:
    """All that a store keeps of a speaker.

    Attributes:
        speaker: name and facts.
        recordings: kept apart, in the order in which they came.
        centroid: (D,) their mean, of unit length.
    """

    speaker: SpeakerEntry
    recordings: tuple[EnrolledRecording, ...]
    centroid: Embeddings


@dataclass(frozen=True, slots=True)
class Centroid:
    """A speaker and the mean of the embeddings, for searching.

    Attributes:
        speaker: name and facts.
        embedding: (D,) float32, unit length.
    """

    speaker: SpeakerEntry
    embedding: Embeddings


@dataclass(frozen=True, slots=True)
class DamagedVoiceprint:
    """A speaker whose rows cannot be, or are not what the store wrote, and who is therefore compared with nobody.

    Attributes:
        id: of the speaker.
        name: what stands in the row: perhaps not the name that was enrolled. Escaped, so that it can be printed.
        reason: a clause that says what is wrong.
    """

    id: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of a store since one of its revisions.

    Attributes:
        revision: the one that this leads to.
        changed: speakers who came or changed.
        removed: ids of speakers who were removed. Some of them may have come since that revision.
        damaged: speakers whose voiceprints cannot be used any more.
    """

    revision: int
    changed: tuple[Centroid, ...]
    removed: tuple[str, ...]
    damaged: tuple[DamagedVoiceprint, ...] = ()


@dataclass(frozen=True, slots=True)
class Erasure:
    """What `remove` did.

    Attributes:
        speaker: who was removed; None where an earlier removal of this name, which had been left incomplete, was gone
            on with, or where the speaker's row could not be read.
        complete: nothing of the speaker is left in the store's file, or in its tables and indexes on a server.
        out_of_reach: where copies stay that the store cannot clear, as a sentence without a full stop; else empty.
        reason: why it is not complete, as a clause; else empty. The store remembers it: the next removal, of this name
            or another, and the next opening for writing go on with it.
    """

    speaker: SpeakerEntry | None
    complete: bool
    out_of_reach: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the audit trail. It names no speaker: an id says nothing once its speaker is removed.

    Attributes:
        revision: of the store, after it.
        time: in UTC (ISO 8601).
        action: what happened.
        speaker_id: to whom.
        recordings: how many were enrolled, removed or embedded again.
        model: hash of the model.
        actor: who did it: the name of an API key, or of the way in.
    """

    revision: int
    time: str
    action: Action
    speaker_id: str
    recordings: int
    model: str
    actor: str


def new_id() -> str:
    """An id that nothing had before: 122 random bits, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def timestamp() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def centroid_of(recordings: Sequence[EnrolledRecording]) -> Embeddings:
    """The mean of the recordings' embeddings, brought back to unit length (D,).

    Raises:
        MetricError: there are none, or they cancel out.
    """
    return mean_embedding(np.stack([recording.embedding for recording in recordings]))


def coherence_of(recordings: Sequence[EnrolledRecording]) -> float:
    """The length of the mean of the recordings' embeddings, before it is brought back to unit length."""
    embeddings = np.stack([recording.embedding for recording in recordings]).astype(np.float64)
    return min(1.0, float(np.linalg.norm(embeddings.mean(axis=0))))


def norm_spread_of(recordings: Sequence[EnrolledRecording]) -> float | None:
    """The standard deviation of the norms that the embeddings had, over all recordings; None where one is not known."""
    norms = [recording.embedding_norm for recording in recordings if recording.embedding_norm is not None]
    return float(np.std(norms)) if norms and len(norms) == len(recordings) else None
