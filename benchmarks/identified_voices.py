"""What identification.py compares: recordings of the development corpus, cut, with noise, embedded and judged.

They are kept on the disk by model, so that a run that was stopped goes on where it was.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from verdicts import Piece

from sound_groove.audio.listening import HeardRecording, judge_samples
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.evaluation.versions import Condition, make_versions
from sound_groove.files import replaced_bytes
from sound_groove.scoring.measures import number_or_nan
from sound_groove.types import Embeddings, Samples, Scores

TALKERS = 6  # recordings that are kept for babble
WINDOW_S = 300.0  # of versions embedded at a time


@dataclass(frozen=True)
class Versions:
    """Versions of pieces.

    Attributes:
        pieces: (V,) which piece each is of.
        conditions: (V,) which of the wanted conditions.
        embeddings: (V, D).
        speech_s: (V,) seconds of speech.
        snr_db: (V,) signal-to-noise ratios.
        norms: (V,) of the embeddings before they were brought to unit length; NaN where the model does not tell.
        unfamiliarity: (V,) how unlike known speech they sound; NaN where that is not known.
    """

    pieces: NDArray[np.int64]
    conditions: NDArray[np.int64]
    embeddings: Embeddings
    speech_s: Scores
    snr_db: Scores
    norms: Scores
    unfamiliarity: Scores


def embedded(encoder: SpeakerEncoder, pieces: Sequence[Piece], wanted: Sequence[Condition], path: Path) -> Versions:
    """The versions of pieces, from a file where they are there already.

    Args:
        encoder: the model.
        pieces: of the corpus.
        wanted: in which conditions; a piece that is too short for one is left out of it.
        path: of the file, to be read or written.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _embed(encoder, pieces, wanted)
        with replaced_bytes(path, durable=False) as file:
            np.savez(file, allow_pickle=False, **vars(found))
    with np.load(path, allow_pickle=False) as stored:
        return Versions(**{name: stored[name] for name in Versions.__dataclass_fields__})


def _embed(encoder: SpeakerEncoder, pieces: Sequence[Piece], wanted: Sequence[Condition]) -> Versions:
    owners: list[int] = []
    kinds: list[int] = []
    talked: deque[tuple[str, Samples]] = deque(maxlen=TALKERS)

    def versions() -> Iterator[Samples]:
        order = np.random.default_rng(0).permutation(len(pieces)).tolist()  # so that neighbours are different people
        for index in tqdm(order, "cutting and embedding", unit="piece", disable=None):
            piece = pieces[index]
            samples = np.concatenate([load_audio(path) for path in piece.paths])
            others = [other for speaker, other in talked if speaker != piece.speaker]
            for condition, version in make_versions(samples, wanted, others, seed=index):
                owners.append(index)
                kinds.append(wanted.index(condition))
                yield version
            talked.append((piece.speaker, samples))

    heard = [
        one
        for one in Listener(encoder).hear_all(versions(), judge_samples, window_s=WINDOW_S)
        if isinstance(one, HeardRecording)
    ]
    return Versions(
        np.array(owners),
        np.array(kinds),
        np.array([one.embedding for one in heard]),
        np.array([one.facts.speech_s for one in heard]),
        np.array([one.facts.snr_db for one in heard]),
        np.array([number_or_nan(one.facts.embedding_norm) for one in heard]),
        np.array([number_or_nan(one.facts.unfamiliarity) for one in heard]),
    )
