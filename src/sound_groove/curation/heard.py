"""What was heard of a corpus, in columns: of 640,000 recordings 1.2 GB, of which half are landmarks.

It is kept in a folder: the embeddings in `embeddings.npz`, as `embed` writes it, and all else in `heard.npz`.
"""

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.content import Content
from sound_groove.audio.listening import HeardRecording
from sound_groove.encoder.embedding_file import EMBEDDINGS, MODEL, PATHS
from sound_groove.encoder.several_voices import described
from sound_groove.errors import AudioError
from sound_groove.files import replaced_bytes, writing
from sound_groove.types import Embeddings

# Codes of warnings that are of the recording, and not of its being compared; each has a bit.
BADLY_HEARD = ("channels_differ", "clipping", "little_speech", "long_silence", "narrow_band")
CONTENT = tuple(field.name for field in fields(Content))
STATES, LANDMARKS, STARTS = "state", "landmarks", "starts"
NUMBERS = ("speech_s", "duration_s", "snr_db", "unfamiliarity", *CONTENT, "digests", "doubts")


@dataclass(frozen=True, slots=True, eq=False)
class HeardCorpus:
    """What was heard of the N recordings of a corpus, in their order.

    Attributes:
        embeddings: (N, D) of unit length; zero where a recording cannot be used.
        speech_s: (N,) seconds of speech.
        duration_s: (N,) seconds.
        snr_db: (N,) how far the speech lies above the noise.
        unfamiliarity: (N,) of `audio.familiarity`; NaN where there was too little speech to tell.
        level_db: (N,) as in `audio.content.Content`, as are the next four; NaN where they were not sought.
        music_s: (N,) seconds with music.
        clipped: (N,) shares of the samples.
        silence_s: (N,) seconds in a row without speech.
        band_db: (N,) of speech above the band of a telephone.
        digests: (N,) of the samples, as bytes.
        doubts: (N,) a bit for each of BADLY_HEARD that it was warned of.
        landmarks: (M,) of all recordings, one after the other; see `audio.fingerprint`.
        starts: (N + 1,) where each one's begin.
        reasons: why recordings cannot be used, by row.
        refusals: the codes of these reasons, as of `AudioError`.
        voices: where several voices were heard, which when, by row.
    """

    embeddings: Embeddings
    speech_s: NDArray[np.float32]
    duration_s: NDArray[np.float32]
    snr_db: NDArray[np.float32]
    unfamiliarity: NDArray[np.float32]
    level_db: NDArray[np.float32]
    music_s: NDArray[np.float32]
    clipped: NDArray[np.float32]
    silence_s: NDArray[np.float32]
    band_db: NDArray[np.float32]
    digests: NDArray[np.bytes_]
    doubts: NDArray[np.uint8]
    landmarks: NDArray[np.uint64]
    starts: NDArray[np.int64]
    reasons: Mapping[int, str]
    refusals: Mapping[int, str]
    voices: Mapping[int, str]

    def codes(self, row: int) -> list[str]:
        """The codes of BADLY_HEARD that a recording was warned of."""
        return [code for place, code in enumerate(BADLY_HEARD) if int(self.doubts[row]) >> place & 1]


class Hearing:
    """Gathers what was heard of a corpus.

    Args:
        count: of its recordings, N.
    """

    def __init__(self, count: int) -> None:
        self._embeddings = np.zeros((count, 0), np.float32)
        self._speech_s, self._duration_s, self._snr_db = np.zeros((3, count), np.float32)
        self._unfamiliarity = np.full(count, np.nan, np.float32)
        self._content = {name: np.full(count, np.nan, np.float32) for name in CONTENT}
        self._digests = np.zeros(count, "S64")
        self._doubts = np.zeros(count, np.uint8)
        self._landmarks, self._sizes = array("Q"), np.zeros(count, np.int64)
        self._reasons: dict[int, str] = {}
        self._refusals: dict[int, str] = {}
        self._voices: dict[int, str] = {}
        self._row = 0

    def add(self, outcome: HeardRecording | AudioError) -> None:
        """Take what was heard of the next recording."""
        row, self._row = self._row, self._row + 1
        if isinstance(outcome, AudioError):
            self._reasons[row], self._refusals[row] = outcome.reason, outcome.code
            return
        if not self._embeddings.shape[1]:
            self._embeddings = np.zeros((len(self._sizes), len(outcome.embedding)), np.float32)
        self._embeddings[row] = outcome.embedding
        self._speech_s[row], self._duration_s[row] = outcome.facts.speech_s, outcome.facts.duration_s
        self._snr_db[row] = outcome.facts.snr_db
        if outcome.content is not None:
            for name, column in self._content.items():
                column[row] = getattr(outcome.content, name)
        if outcome.facts.unfamiliarity is not None:
            self._unfamiliarity[row] = outcome.facts.unfamiliarity
        self._digests[row] = outcome.digest.encode()
        found = {warning.code for warning in outcome.warnings}
        self._doubts[row] = sum(1 << place for place, code in enumerate(BADLY_HEARD) if code in found)
        self._landmarks.frombytes(outcome.landmarks.tobytes())
        self._sizes[row] = len(outcome.landmarks)
        if outcome.voices:
            self._voices[row] = described(outcome.voices)

    def done(self) -> HeardCorpus:
        """All of it."""
        return HeardCorpus(
            embeddings=self._embeddings,
            speech_s=self._speech_s,
            duration_s=self._duration_s,
            snr_db=self._snr_db,
            unfamiliarity=self._unfamiliarity,
            **self._content,
            digests=self._digests,
            doubts=self._doubts,
            landmarks=np.frombuffer(self._landmarks, np.uint64) if len(self._landmarks) else np.zeros(0, np.uint64),
            starts=np.concatenate([[0], np.cumsum(self._sizes)]),
            reasons=self._reasons,
            refusals=self._refusals,
            voices=self._voices,
        )


def heard_corpus(outcomes: Iterable[HeardRecording | AudioError]) -> HeardCorpus:
    """What was heard of few recordings, as a corpus."""
    listed = list(outcomes)
    hearing = Hearing(len(listed))
    for outcome in listed:
        hearing.add(outcome)
    return hearing.done()


def write_heard(
    path: Path, heard: HeardCorpus, names: Sequence[str], states: Sequence[tuple[int, int]], model: str
) -> None:
    """Keep all but the embeddings.

    Args:
        path: of the file.
        heard: of the recordings.
        names: (N,) of them.
        states: (N,) of their files, by which a change is noticed.
        model: its hash.

    Raises:
        OutputError: it cannot be written.
    """
    columns: dict[str, Any] = {name: getattr(heard, name) for name in (*NUMBERS, LANDMARKS, STARTS)}
    for name, texts in (("reason", heard.reasons), ("refusal", heard.refusals), ("voice", heard.voices)):
        columns[f"{name}_rows"] = np.array(list(texts), np.int64)
        columns[f"{name}_texts"] = _packed(texts.values())
    with writing(path), replaced_bytes(path) as file:
        np.savez(
            file,
            allow_pickle=False,
            **{PATHS: _packed(names), STATES: np.array(states, np.int64).reshape(-1, 2), MODEL: np.array(model)},
            **columns,
        )


def read_heard(
    path: Path, embeddings: Path, names: Sequence[str], states: Sequence[tuple[int, int]], model: str
) -> HeardCorpus | None:
    """What was heard of these very recordings by this model; None where it is not known.

    Args:
        path: of the file of `write_heard`.
        embeddings: of those that can be used, in their order.
        names: as of `write_heard`, as are `states` and `model`.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            if (
                str(stored[MODEL]) != model
                or not np.array_equal(stored[PATHS], _packed(names))
                or not np.array_equal(stored[STATES], np.array(states, np.int64).reshape(-1, 2))
            ):
                return None
            columns = {name: stored[name] for name in (*NUMBERS, LANDMARKS, STARTS)}
            reasons, refusals, voices = (
                dict(
                    zip(
                        stored[f"{name}_rows"].tolist(),
                        map(os.fsdecode, stored[f"{name}_texts"].tolist()),
                        strict=True,
                    )
                )
                for name in ("reason", "refusal", "voice")
            )
        usable = np.ones(len(names), bool)
        usable[list(reasons)] = False
        with np.load(embeddings, allow_pickle=False) as stored:
            found = stored[EMBEDDINGS]
            if str(stored[MODEL]) != model or len(found) != int(usable.sum()):
                return None
        if not usable.all():
            spread = np.zeros((len(names), found.shape[1]), np.float32)
            spread[usable] = found
            found = spread
        return HeardCorpus(found, **columns, reasons=reasons, refusals=refusals, voices=voices)
    except (OSError, ValueError, KeyError, BadZipFile, EOFError):
        return None


def _packed(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """(N,) texts as bytes: a quarter of what letters take in an array."""
    return np.array([os.fsencode(text) for text in texts], np.bytes_)
