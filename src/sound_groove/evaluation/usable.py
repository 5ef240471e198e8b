"""What of the names of a trial set can be used: each recording embedded once, and why others cannot be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import TrialError, printable
from sound_groove.evaluation.embedding import EmbeddedRecordings, Encoder, describe, embed_recordings
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
        unfamiliarity: (ids,) how unlike known speech it sounds, the most of its recordings; NaN where that is unknown.
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
    unfamiliarity: NDArray[np.float64]
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
                "unfamiliarity": self.unfamiliarity[side],
            }
            for side in (trials.enrolments, trials.tests)
        )
        return score_map.llr(scores, trial_measures(*sides))

    def add_problem(self, what: str, why: str, index: int) -> None:
        """Note that a file or name cannot be used, and that this costs the name of that index."""
        self.problems.setdefault(what, (why, []))[1].append(index)
        self.reasons.setdefault(index, f"{what}: {why}")


@dataclass(frozen=True, slots=True)
class EmbeddedOnce:
    """The recordings of one or several trial sets, each embedded once.

    Attributes:
        rows: the place of each recording in `outcomes`.
        outcomes: what came of them.
    """

    rows: Mapping[Recording, int]
    outcomes: EmbeddedRecordings

    def has_problems(self, trial_set: TrialSet) -> bool:
        """Whether some of the names of one of these trial sets cannot be used."""
        unfound = any(trial_set.sources[index].problem for index in trial_set.trials.used.tolist())
        return unfound or any(self.rows[recording] in self.outcomes.problems for recording in _recordings(trial_set))

    def usable(self, trial_set: TrialSet) -> Usable:
        """What of the names of one of these trial sets can be used."""
        embedded, rows = self.outcomes, self.rows
        wanted = trial_set.trials.used.tolist()
        own = _recordings(trial_set)
        vectors = np.zeros((len(trial_set.sources), embedded.embeddings.shape[1]), dtype=np.float32)
        audio_s = float(embedded.samples[[rows[recording] for recording in own]].sum()) / SAMPLE_RATE
        durations_s, speech_s, snr_db = np.zeros((3, len(vectors)))
        norms, unlike = np.full((2, len(vectors)), np.nan)
        usable = Usable(vectors, durations_s, speech_s, snr_db, norms, unlike, recordings=len(own), audio_s=audio_s)
        usable.mixed = tuple(describe(recording) for recording in own if embedded.mixed[rows[recording]])
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
            usable.unfamiliarity[index] = np.fmax.reduce(embedded.unfamiliarity[own_rows])
            each = embedded.embeddings[own_rows]
            if index not in usable.reasons and each.any():  # all zero: embedding was given up, and a problem tells why
                vectors[index] = each[0] if len(each) == 1 else mean_embedding(each)
        return usable


def embed_once(
    encoder: Encoder, trial_sets: Sequence[TrialSet], crops: CropAveraging | None, threads: int, allow_missing: bool
) -> EmbeddedOnce:
    """Embed what the names of trial sets stand for, each recording once, however many of the sets have it.

    Raises:
        TrialError: not one recording was found.
    """
    rows: dict[Recording, int] = {}
    for trial_set in trial_sets:
        for recording in _recordings(trial_set):
            rows.setdefault(recording, len(rows))
    if not rows:
        wanted = trial_sets[0].trials.used
        first = trial_sets[0].sources[wanted[0]].problem
        name = printable(trial_sets[0].trials.ids[wanted[0]])
        raise TrialError(f"none of the {len(wanted)} names is a recording; '{name}': {first}; is --audio-root right?")
    unfound = any(each.sources[index].problem for each in trial_sets for index in each.trials.used.tolist())
    outcomes = embed_recordings(
        encoder,
        list(rows),
        crops,
        threads,
        allow_failures=allow_missing,
        reading_only=unfound and not allow_missing,
    )
    return EmbeddedOnce(rows, outcomes)


def _recordings(trial_set: TrialSet) -> list[Recording]:
    """The recordings behind the names that have a trial, each once, in the order of the names."""
    sources = (trial_set.sources[index] for index in trial_set.trials.used.tolist())
    return list(dict.fromkeys(recording for source in sources for recording in source.recordings))
