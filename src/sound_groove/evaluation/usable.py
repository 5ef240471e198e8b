"""What of the names of a trial set can be used: each recording embedded once, and why others cannot be."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.reading import SAMPLE_RATE
from sound_groove.errors import TrialError, printable
from sound_groove.evaluation.embedding import Encoder, describe, embed_recordings
from sound_groove.evaluation.trials.sources import Recording
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.cosine import mean_embedding
from sound_groove.scoring.measures import trial_measures
from sound_groove.types import CropAveraging, Embeddings, Scores


@dataclass(slots=True)
class Usable:
    """What could be embedded.

    Attributes:
        embeddings: (ids, D) one for each name; zero where there is a problem.
        durations_s: (ids,) length of what each name stands for, all recordings together; zero likewise.
        speech_s: (ids,) seconds of speech in it; zero likewise.
        snr_db: (ids,) how far that lies above the noise, the mean over its recordings; zero likewise.
        norms: (ids,) of the embeddings before they were scaled, the mean likewise; NaN where there is none.
        reasons: by name's index, why it cannot be used.
        problems: by file or name, why, and the indices of the names that it costs.
        recordings: number of recordings that the names stand for.
        audio_s: seconds of audio read.
        digests: of the samples of the recordings behind each name, by its index.
        mixed: recordings whose channels carry different sound and were averaged.
    """

    embeddings: Embeddings
    durations_s: NDArray[np.float64]
    speech_s: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    norms: NDArray[np.float64]
    reasons: dict[int, str] = field(default_factory=dict)
    problems: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    recordings: int = 0
    audio_s: float = 0.0
    digests: dict[int, tuple[str, ...]] = field(default_factory=dict)
    mixed: tuple[str, ...] = ()

    def llrs(self, score_map: ScoreMap, trials: TrialList, scores: Scores) -> Scores:
        """(trials,) log-likelihood ratios."""
        sides = (
            {
                "speech_s": self.speech_s[side],
                "snr_db": self.snr_db[side],
                "embedding_norm": self.norms[side],
                "closeness": score_map.closeness(self.embeddings[side]),
            }
            for side in (trials.enrolments, trials.tests)
        )
        return score_map.llr(scores, trial_measures(*sides))

    def add_problem(self, what: str, why: str, index: int) -> None:
        """Note that a file or name cannot be used, and that this costs the name of that index."""
        self.problems.setdefault(what, (why, []))[1].append(index)
        self.reasons.setdefault(index, f"{what}: {why}")


def embed_names(
    encoder: Encoder, trial_set: TrialSet, crops: CropAveraging | None, threads: int, allow_missing: bool
) -> Usable:
    """Embed what the names of a trial set stand for, each recording once.

    Raises:
        TrialError: not one recording was found.
    """
    wanted = trial_set.trials.used.tolist()
    rows: dict[Recording, int] = {}
    for index in wanted:
        for recording in trial_set.sources[index].recordings:
            rows.setdefault(recording, len(rows))
    if not rows:
        first = trial_set.sources[wanted[0]].problem
        name = printable(trial_set.trials.ids[wanted[0]])
        raise TrialError(f"none of the {len(wanted)} names is a recording; '{name}': {first}; is --audio-root right?")
    unfound = any(trial_set.sources[index].problem for index in wanted)
    embedded = embed_recordings(
        encoder,
        list(rows),
        crops,
        threads,
        allow_failures=allow_missing,
        reading_only=unfound and not allow_missing,
    )
    vectors = np.zeros((len(trial_set.sources), encoder.embedding_size), dtype=np.float32)
    audio_s = float(embedded.samples.sum()) / SAMPLE_RATE
    durations_s, speech_s, snr_db = np.zeros((3, len(vectors)))
    norms = np.full(len(vectors), np.nan)
    usable = Usable(vectors, durations_s, speech_s, snr_db, norms, recordings=len(rows), audio_s=audio_s)
    usable.mixed = tuple(describe(recording) for recording, row in rows.items() if embedded.mixed[row])
    for index in wanted:
        source = trial_set.sources[index]
        if source.problem:
            usable.add_problem(printable(trial_set.trials.ids[index]), source.problem, index)
            continue
        for recording in source.recordings:
            if error := embedded.problems.get(rows[recording]):
                what = describe((error.path,)) if error.path else describe(recording)
                usable.add_problem(what, error.reason, index)
        own_rows = [rows[recording] for recording in source.recordings]
        usable.digests[index] = tuple(digest for row in own_rows if (digest := embedded.digests[row]))
        usable.durations_s[index] = embedded.samples[own_rows].sum() / SAMPLE_RATE
        usable.speech_s[index] = embedded.speech_s[own_rows].sum()
        usable.snr_db[index] = embedded.snr_db[own_rows].mean()
        usable.norms[index] = embedded.norms[own_rows].mean()
        own = embedded.embeddings[own_rows]
        if index not in usable.reasons and own.any():  # all zero: embedding was given up, and a problem tells why
            vectors[index] = own[0] if len(own) == 1 else mean_embedding(own)
    return usable
