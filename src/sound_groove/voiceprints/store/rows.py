"""Rows of a database as records, and back; the same columns in every database."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sound_groove.errors import StoreError, printable
from sound_groove.types import Embeddings
from sound_groove.voiceprints.store.records import Action, EnrolledRecording, Event, SpeakerEntry, timestamp
from sound_groove.voiceprints.store.sealing import Sealer

# In the order of the fields of SpeakerEntry, with the model's two side by side.
SPEAKER_COLUMNS: Final = (
    "id, name, model_name, model_hash, recordings, with_audio, speech_s, snr_db, coherence, embedding_norm, "
    "norm_spread, enrolled_at, changed_at, version"
)
# What else a speaker's row has: the mean of the embeddings, and the marks of the recordings and of the row.
STORED_COLUMNS: Final = f"{SPEAKER_COLUMNS}, centroid, contents, seal"
WRITTEN_COLUMNS: Final = f"{STORED_COLUMNS}, skeleton"  # what the name looks like is computed from it, and never shown
RECORDING_COLUMNS: Final = (
    "id, embedding, source, digest, duration_s, speech_s, snr_db, sample_rate, enrolled_at, audio, embedding_norm"
)
EVENT_COLUMNS: Final = "revision, time, action, speaker_id, recordings, model, actor"


def entry_row(entry: SpeakerEntry) -> tuple[Any, ...]:
    """The row of SPEAKER_COLUMNS."""
    return (
        entry.id,
        entry.name,
        entry.model.name,
        entry.model.hash,
        entry.recordings,
        entry.with_audio,
        entry.speech_s,
        entry.snr_db,
        entry.coherence,
        entry.embedding_norm,
        entry.norm_spread,
        entry.enrolled_at,
        entry.changed_at,
        entry.version,
    )


def recording_of(row: Sequence[Any], sealer: Sealer) -> EnrolledRecording:
    """The record of a row of RECORDING_COLUMNS.

    Raises:
        StoreError: what is encrypted cannot be decrypted, or is damaged.
    """
    id, embedding, source, digest, duration_s, speech_s, snr_db, sample_rate, enrolled_at, audio, norm = row
    owner = f"recording {printable(str(id))}"
    texts, figures = (id, source, digest, enrolled_at), (duration_s, speech_s, snr_db)
    if not (
        all(isinstance(text, str) for text in texts)
        and all(type(figure) is float for figure in figures)
        and type(sample_rate) is int
        and (norm is None or type(norm) is float)
    ):
        raise StoreError(f"the row of {owner} is damaged")
    return EnrolledRecording(
        id=id,
        embedding=opened_embedding(bytes_of(embedding), owner, sealer),
        source=source,
        digest=digest,
        duration_s=duration_s,
        speech_s=speech_s,
        snr_db=snr_db,
        sample_rate=sample_rate,
        enrolled_at=enrolled_at,
        audio=sealer.unseal(bytes_of(audio), f"audio of {owner}") if audio else b"",
        embedding_norm=norm,
    )


def recording_row(recording: EnrolledRecording, sealer: Sealer) -> tuple[Any, ...]:
    """The row of RECORDING_COLUMNS."""
    owner = f"recording {recording.id}"
    return (
        recording.id,
        sealed_embedding(recording.embedding, owner, sealer),
        printable(recording.source),  # a file's name may hold bytes that no database takes as text
        recording.digest,
        recording.duration_s,
        recording.speech_s,
        recording.snr_db,
        recording.sample_rate,
        recording.enrolled_at,
        sealer.seal(recording.audio, f"audio of {owner}") if recording.audio else b"",
        recording.embedding_norm,
    )


def event_of(row: Sequence[Any]) -> Event:
    """The record of a row of EVENT_COLUMNS.

    Raises:
        StoreError: it is damaged.
    """
    revision, time, action, speaker_id, recordings, model, actor = row
    if not (
        all(isinstance(text, str) for text in (time, action, speaker_id, model, actor))
        and type(revision) is type(recordings) is int
    ):
        raise StoreError("the audit trail has an entry that is damaged")
    return Event(revision, time, action, speaker_id, recordings, model, actor)


def event_row(
    revision: int, action: Action, speaker_id: str, recordings: int, model_hash: str, actor: str
) -> tuple[Any, ...]:
    """The row of EVENT_COLUMNS of something that happens now."""
    return revision, timestamp(), action, speaker_id, recordings, model_hash, printable(actor)


def bytes_of(stored: Any) -> bytes:
    """What a database gives of a column of bytes; nothing where there is something else in it."""
    return bytes(stored) if isinstance(stored, bytes | memoryview | bytearray) else b""


def sealed_embedding(embedding: Embeddings, owner: str, sealer: Sealer) -> bytes:
    """What is stored of an embedding (D,): 4 bytes a value, the lowest first, sealed."""
    return sealer.seal(embedding.astype("<f4").tobytes(), owner)


def opened_embedding(stored: bytes, owner: str, sealer: Sealer) -> Embeddings:
    """The embedding (D,) that was stored.

    Raises:
        StoreError: it cannot be decrypted, or is damaged.
    """
    plain = sealer.unseal(stored, owner)
    if not plain or len(plain) % 4:
        raise StoreError(f"the embedding that the store keeps for {owner} is damaged")
    embedding: Embeddings = np.frombuffer(plain, "<f4").astype(np.float32)
    if not math.isfinite(np.dot(embedding, embedding)):
        raise StoreError(f"the embedding that the store keeps for {owner} is damaged")
    return embedding
