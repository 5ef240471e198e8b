"""Embedded versions of recordings, and pairs of them: what a score map is fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.audio.listening import HeardRecording
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.cosine import score_trials
from sound_groove.scoring.measures import UNFAMILIARITY, number_or_nan, trial_measures
from sound_groove.types import Embeddings, Scores

PAIRS = 200_000  # of versions that the map is fitted on, about
MOST_PER_TRIAL = 20


@dataclass(frozen=True, slots=True)
class Versions:
    """Embedded versions of recordings, V of them, sorted by the name that they are of.

    Attributes:
        names: (V,) index of the name.
        kinds: (V,) index of the condition.
        embeddings: (V, D).
        speech_s: (V,) seconds of speech.
        snr_db: (V,) signal-to-noise ratios.
        norms: (V,) of the embeddings before they were scaled; NaN where the model does not tell.
        unfamiliarity: (V,) how unlike known speech they sound; NaN where that is not known.
    """

    names: NDArray[np.int64]
    kinds: NDArray[np.int64]
    embeddings: Embeddings
    speech_s: Scores
    snr_db: Scores
    norms: Scores
    unfamiliarity: Scores

    @classmethod
    def of(cls, names: ArrayLike, kinds: ArrayLike, heard: Sequence[HeardRecording]) -> "Versions":
        """What was heard of versions, which are sorted here; those of one name keep their order.

        Args:
            names: (V,) index of the name that each is of.
            kinds: (V,) index of its condition.
            heard: V of them; there may be none.
        """
        owners = np.asarray(names, np.int64)
        order = np.argsort(owners, kind="stable")
        listed = [heard[row] for row in order.tolist()]
        facts = [one.facts for one in listed]
        return cls(
            names=owners[order],
            kinds=np.asarray(kinds, np.int64)[order],
            embeddings=np.array([one.embedding for one in listed], np.float32),
            speech_s=np.array([one.speech_s for one in facts]),
            snr_db=np.array([one.snr_db for one in facts]),
            norms=np.array([number_or_nan(one.embedding_norm) for one in facts]),
            unfamiliarity=np.array([number_or_nan(one.unfamiliarity) for one in facts]),
        )

    def measures(
        self, first: NDArray[np.int64], second: NDArray[np.int64], score_map: ScoreMap | None = None
    ) -> dict[str, Scores]:
        """Of pairs of versions; those that are known of all. The closeness is to what `score_map` was fitted on.

        The unfamiliarity is given where it is not known, too.
        """
        known = self.known(score_map)
        sides = ({name: values[rows] for name, values in known.items()} for rows in (first, second))
        return {
            name: values
            for name, values in trial_measures(*sides).items()
            if name == UNFAMILIARITY or np.isfinite(values).all()
        }

    def known(self, score_map: ScoreMap | None = None) -> dict[str, Scores]:
        """What is known of each version (V,), by name; the closeness is to what `score_map` was fitted on."""
        closeness = np.full(len(self.names), np.nan) if score_map is None else score_map.closeness(self.embeddings)
        return {
            "speech_s": self.speech_s,
            "snr_db": self.snr_db,
            "embedding_norm": self.norms,
            "closeness": closeness,
            "unfamiliarity": self.unfamiliarity,
        }

    def scores(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Scores:
        """Cosines of pairs of versions."""
        return score_trials(self.embeddings, first, second)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of versions: their rows, and whether the speaker is the same."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    labels: NDArray[np.bool_]

    def kept(self, mask: NDArray[np.bool_]) -> "Pairs":
        """Those that a mask (P,) keeps."""
        return Pairs(self.first[mask], self.second[mask], self.labels[mask])


def pairs_alike(versions: Versions, trials: TrialList, rows: NDArray[np.int64]) -> Pairs:
    """The trials whose two sides there are in one condition, the versions of which lie in these rows."""
    row = np.full(len(trials.ids), -1)
    row[versions.names[rows]] = rows
    pairs = Pairs(row[trials.enrolments], row[trials.tests], trials.labels)
    return pairs.kept((pairs.first >= 0) & (pairs.second >= 0))


def random_pairs(versions: Versions, trials: TrialList, seed: int) -> Pairs:
    """Each trial several times, each time in random versions of its two sides."""
    rng = np.random.default_rng(seed)
    count = int(np.clip(PAIRS // max(len(trials), 1), 1, MOST_PER_TRIAL))
    starts = np.searchsorted(versions.names, np.arange(len(trials.ids) + 1))  # where the versions of each name begin
    sizes = np.diff(starts)
    sides = []
    for side in (trials.enrolments, trials.tests):
        name = np.tile(side, count)
        sides.append(np.where(sizes[name] > 0, starts[name] + rng.integers(np.maximum(sizes[name], 1)), -1))
    pairs = Pairs(sides[0], sides[1], np.tile(trials.labels, count))
    return pairs.kept((pairs.first >= 0) & (pairs.second >= 0))
