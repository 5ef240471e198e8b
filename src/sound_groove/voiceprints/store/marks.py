"""What makes a speaker's rows one whole: a mark over all, which a changed, exchanged or missing one does not fit.

A speaker's row has two: `contents`, over the rows of the recordings in their order, and `seal`, over the row itself,
the centroid and `contents`. In an encrypted store they are made with a key (HMAC, RFC 2104), so that nobody can make
one without it. In another they are checksums, which tell of damage and not of forgery.
"""

import hashlib
import hmac
import struct
from collections.abc import Sequence

import numpy as np

from sound_groove.audio.listening import joint_facts
from sound_groove.errors import StoreError, printable
from sound_groove.scoring.cosine import cosine
from sound_groove.types import Embeddings
from sound_groove.voiceprints.store.records import (
    EnrolledRecording,
    SpeakerEntry,
    centroid_of,
    coherence_of,
    norm_spread_of,
)
from sound_groove.voiceprints.store.sealing import Sealer

SPEAKER_HEAD = struct.Struct("<8s8q3q3d?d?d")
AGREEMENT = 1e-5  # of what was computed on one machine with what is on another


def contents_mark(recordings: Sequence[EnrolledRecording], sealer: Sealer) -> bytes:
    """The mark of a speaker's recordings, all of them, in their order."""
    parts = [b"recordings", struct.pack("<q", len(recordings))]
    for one in recordings:
        audio = hashlib.sha256(one.audio).digest() if one.audio else b""
        parts += _texts(one.id, printable(one.source), one.digest, one.enrolled_at)
        figures = one.duration_s, one.speech_s, one.snr_db, one.sample_rate, *_if_known(one.embedding_norm)
        parts += [struct.pack("<dddq?d", *figures)]
        parts += [*_sized(one.embedding.astype("<f4").tobytes()), *_sized(audio)]
    return sealer.mark(b"".join(parts))


def speaker_mark(entry: SpeakerEntry, centroid: Embeddings, contents: bytes, sealer: Sealer) -> bytes:
    """The mark of a speaker's row, with the centroid (D,) and the mark of the recordings."""
    texts = entry.id, entry.name, entry.model.name, entry.model.hash, entry.enrolled_at, entry.changed_at
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    parts += [np.asarray(centroid, "<f4").tobytes(), contents]
    # Each part's length first, so that none can pass into the next.
    counts, figures = (entry.recordings, entry.with_audio, entry.version), (entry.speech_s, entry.snr_db)
    norms = *_if_known(entry.embedding_norm), *_if_known(entry.norm_spread)
    head = SPEAKER_HEAD.pack(b"speaker", *map(len, parts), *counts, *figures, entry.coherence, *norms)
    return sealer.mark(b"".join((head, *parts)))


def check_mark(mark: bytes, expected: bytes, sealer: Sealer) -> None:
    """Refuse a mark that is not the one that the rows have.

    Raises:
        StoreError: with a clause that says what became of them.
    """
    if not hmac.compare_digest(mark, expected):
        how = "changed without the store's key" if sealer.encrypts else "damaged, or changed by another program"
        raise StoreError(f"what the store keeps of it was {how}")


def check_agreement(entry: SpeakerEntry, centroid: Embeddings, recordings: Sequence[EnrolledRecording]) -> None:
    """Refuse a speaker's row that does not say what the recordings give when it is computed again.

    Raises:
        StoreError: with a clause that says so.
    """
    facts = joint_facts([recording.facts for recording in recordings]) if recordings else None
    agrees = (
        facts is not None
        and entry.recordings == len(recordings)
        and entry.with_audio == sum(1 for recording in recordings if recording.audio)
        and bool(np.isclose(entry.speech_s, facts.speech_s, rtol=AGREEMENT))
        and bool(np.isclose(entry.snr_db, facts.snr_db, rtol=AGREEMENT, atol=AGREEMENT))
        and abs(entry.coherence - coherence_of(recordings)) <= AGREEMENT
        and _are_alike(entry.embedding_norm, facts.embedding_norm)
        and _are_alike(entry.norm_spread, norm_spread_of(recordings), of=facts.embedding_norm)
        and {recording.embedding.shape for recording in recordings} == {centroid.shape}
        and cosine(centroid, centroid_of(recordings)) >= 1.0 - AGREEMENT
    )
    if not agrees:
        raise StoreError("its row does not agree with its recordings")


def _are_alike(stored: float | None, computed: float | None, of: float | None = None) -> bool:
    """Whether two figures are equal but for rounding, in parts of the second or of another, or both are unknown."""
    if stored is None or computed is None:
        return stored is computed
    return abs(stored - computed) <= AGREEMENT * (computed if of is None else of)


def _if_known(figure: float | None) -> tuple[bool, float]:
    """Whether a figure is known, and the figure: no figure can stand for none."""
    return (False, 0.0) if figure is None else (True, figure)


def _texts(*texts: str) -> list[bytes]:
    return [part for text in texts for part in _sized(text.encode("utf-8", "surrogatepass"))]


def _sized(content: bytes) -> tuple[bytes, bytes]:
    """Bytes behind their number, so that none can pass into what comes next."""
    return struct.pack("<q", len(content)), content
