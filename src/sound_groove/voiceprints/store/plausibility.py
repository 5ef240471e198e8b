"""What can be true of a recording and of a speaker: looked at before anything is kept, and when it is read again."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sound_groove.errors import StoreError, printable
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.store.names import LONGEST_NAME
from sound_groove.voiceprints.store.records import EnrolledRecording, SpeakerEntry

LONGEST_TEXT = 1000  # characters of a row: id, names, hash and times
LENGTH_TOLERANCE = 1e-4  # of unit length; rounding to float32 leaves 1e-7
# What a recording's facts may be, and those of all of a speaker's together.
RANGES: Final = {
    "duration_s": (0.0, 1e7),
    "speech_s": (0.0, 1e7),
    "snr_db": (-200.0, 200.0),
    "sample_rate": (1.0, 1e7),
}
LARGEST_NORM = 1e6  # of an embedding before it is brought to unit length
MOST_RECORDINGS = 1_000_000  # of one speaker


def check_embedding(embedding: Embeddings, what: str) -> None:
    """Refuse an embedding (D,) that is not finite and of unit length.

    Raises:
        StoreError: it is not; `what` begins the sentence.
    """
    if (
        embedding.ndim != 1 or not abs(math.sqrt(np.dot(embedding, embedding)) - 1.0) <= LENGTH_TOLERANCE
    ):  # nor is it where a value is not finite
        raise StoreError(f"{what} is not of unit length and finite, as every embedding is")


def check_recordings(recordings: Sequence[EnrolledRecording]) -> None:
    """Refuse to enrol nothing, embeddings of several sizes, and what no recording is.

    Raises:
        StoreError: it says what is wrong.
    """
    sizes = {recording.embedding.shape for recording in recordings}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1:
        raise StoreError(f"a speaker needs embeddings (D,) of one size, and there are {sorted(sizes) or 'none'}")
    for recording in recordings:
        what = f"the recording '{printable(recording.source[:100])}'"
        check_embedding(recording.embedding, f"the embedding of {what}")
        for field, (low, high) in RANGES.items():
            if not low <= getattr(recording, field) <= high:
                raise StoreError(f"{what} has a {field} that no recording has, outside {low:g} to {high:g}")
        norm = recording.embedding_norm
        if norm is not None and not is_norm(norm):
            raise StoreError(f"{what} has an embedding_norm that no recording has, outside 0 to {LARGEST_NORM:g}")


def is_norm(norm: float) -> bool:
    """Whether an embedding can have had this norm before it was brought to unit length."""
    return 0.0 < norm <= LARGEST_NORM


def checked_entry(row: Sequence[Any]) -> SpeakerEntry:
    """A speaker's entry of the columns of `rows.SPEAKER_COLUMNS`, when their kinds and values can be true.

    Raises:
        StoreError: they cannot; the message is a clause that names no value.
    """
    (id, name, model_name, model_hash, recordings, with_audio, speech_s, snr_db, coherence, norm, spread,
     since, changed, version) = row  # fmt: skip
    # On one line each, as a gallery of a million does this a million times.
    if not type(id) is type(name) is type(model_name) is type(model_hash) is type(since) is type(changed) is str:
        raise StoreError("its row has texts that are none")
    text = f"{id}{name}{model_name}{model_hash}{since}{changed}"
    if not (text.isprintable() and len(text) <= LONGEST_TEXT and 0 < len(name) <= LONGEST_NAME):
        raise StoreError("its row has texts that no speaker has")
    if not (type(recordings) is type(with_audio) is type(version) is int):
        raise StoreError("its row has counts that are no numbers")
    if not (type(speech_s) is type(snr_db) is type(coherence) is float):
        raise StoreError("its row has figures that are no numbers")
    has_norm = norm is not None or spread is not None  # both or neither
    if has_norm and not (type(norm) is type(spread) is float):
        raise StoreError("its row has figures that are no numbers")
    if not (0 <= with_audio <= recordings and 1 <= recordings <= MOST_RECORDINGS and version >= 1):
        raise StoreError("its row has counts that cannot be")
    # Lengths add up, and the other facts are means.
    if not (0.0 <= speech_s <= recordings * RANGES["speech_s"][1] and 0.0 < coherence <= 1.0):
        raise StoreError("its row has figures that no voiceprint has")
    if not RANGES["snr_db"][0] <= snr_db <= RANGES["snr_db"][1]:
        raise StoreError("its row has figures that no voiceprint has")
    if has_norm and not (is_norm(norm) and 0.0 <= spread <= LARGEST_NORM):
        raise StoreError("its row has figures that no voiceprint has")
    model = ModelIdentity(model_name, model_hash)
    return SpeakerEntry(
        id, name, model, recordings, with_audio, speech_s, snr_db, coherence, norm, spread, since, changed, version
    )  # fmt: skip
