"""How far a figure may be from the truth: bootstrap over speakers.

Trials of one speaker rise and fall together, so that thousands of trials of twenty people are twenty observations, not
thousands. The bootstrap therefore draws speakers, with replacement, as many as there are: a speaker drawn w times
weighs w in its same-speaker trials, and a different-speaker trial of a and b weighs w_a x w_b.

Millions of trials stay fast because scores are sorted once. Each draw then costs one weight per pair of speakers, one
look-up and one running sum per trial; the ROC is kept at its corners only, the thresholds next to a target's score.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.errors import MetricError
from sound_groove.scoring.metrics import Roc, check_trials, trial_costs
from sound_groove.types import Labels, Scores

LEVEL = 0.95  # of the intervals
MAXIMUM_DRAWS = 10  # times as many as wanted: draws without a trial of each kind say nothing and are drawn again


def bounds(draws: ArrayLike) -> tuple[float | None, float | None]:
    """The percentiles between which LEVEL of the draws of a figure (draws,) lie; None where there are no draws.

    >>> bounds([])
    (None, None)
    """
    values = np.asarray(draws, dtype=np.float64)
    if len(values) == 0:
        return None, None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return low, high


def with_intervals(values: Mapping[str, float], draws: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Each value with the bounds that its draws leave; they are null where nothing was drawn."""
    figures = {}
    for name, value in values.items():
        low, high = bounds([draw[name] for draw in draws])
        figures[name] = {"value": value, "low": low, "high": high}
    return figures


@dataclass(frozen=True, slots=True)
class Resample:
    """The figures of one draw of speakers.

    Attributes:
        roc: error rates at the thresholds that matter.
        cllr: in bits; None without log-likelihood ratios.
    """

    roc: Roc
    cllr: float | None


class SpeakerBootstrap:
    """Trials, sorted once, from which speakers are drawn again and again.

    Args:
        scores: (trials,) higher = more likely the same speaker.
        labels: (trials,) True = same speaker.
        enrolment_speakers: (trials,) numbered from 0.
        test_speakers: (trials,) numbered from 0.
        llrs: (trials,) natural log-likelihood ratios, or None.

    Raises:
        MetricError: see `scoring.metrics.check_trials`; or lengths differ.
    """

    def __init__(
        self,
        scores: Scores,
        labels: Labels,
        enrolment_speakers: NDArray[np.int64],
        test_speakers: NDArray[np.int64],
        llrs: Scores | None = None,
    ) -> None:
        scores, labels = check_trials(scores, labels)
        if not len(scores) == len(enrolment_speakers) == len(test_speakers):
            raise MetricError("each trial needs the speakers of both its sides")
        present, sides = np.unique(np.concatenate((enrolment_speakers, test_speakers)), return_inverse=True)
        self.speakers = len(present)
        first, second = sides[: len(scores)], sides[len(scores) :]
        keys, pair_of_trial = np.unique(
            np.minimum(first, second) * self.speakers + np.maximum(first, second), return_inverse=True
        )
        self._first, self._second = np.divmod(keys, self.speakers)
        self._within = self._first == self._second

        order = np.argsort(-scores)
        ranked, same = scores[order], labels[order]
        last = np.append(ranked[1:] != ranked[:-1], True)  # the last of each group of ties
        targets = np.cumsum(same)[last]
        # Corners: a threshold at which a target is accepted, or just before one; all others lie on straight lines.
        accepts = np.diff(targets, prepend=0) > 0
        corner = accepts | np.append(accepts[1:], True)
        self._thresholds = ranked[last][corner]
        self._targets_accepted = targets[corner]
        self._nontargets_accepted = np.flatnonzero(last)[corner] + 1 - targets[corner]
        self._labels, self._pairs = labels, pair_of_trial.astype(np.int32)
        pairs = self._pairs[order]
        self._target_pairs, self._nontarget_pairs = pairs[same], pairs[~same]
        self._counts = self._per_pair(pair_of_trial, labels, np.ones(len(scores)))
        self._costs = None if llrs is None else self._per_pair(pair_of_trial, labels, trial_costs(llrs, labels))

    def _per_pair(self, pairs: NDArray[np.integer], labels: Labels, values: Scores) -> NDArray[np.float64]:
        """(2, pairs) sums over the nontargets, and over the targets, of each pair of speakers."""
        return np.stack(
            [np.bincount(pairs[labels == kind], values[labels == kind], len(self._first)) for kind in (False, True)]
        )

    def draw(self, count: int, seed: int) -> Iterator[Resample]:
        """Draw speakers again and again.

        Args:
            count: number of draws that have trials of both kinds; fewer come only where nearly none has.
            seed: of the draws.
        """
        for weights in self._weights(count, seed):
            yield self._resample(weights, self._counts @ weights)

    def draw_shares(self, groups: NDArray[np.integer], count: int, seed: int) -> Iterator[NDArray[np.float64]]:
        """The share of same-speaker trials in each of several groups of trials, for the same draws of speakers.

        Args:
            groups: (trials,) which group each trial is in, from 0; all of 0 to the highest.
            count: as in `draw`.
            seed: as in `draw`.

        Returns:
            For each draw (groups,); NaN for a group of which nothing was drawn.
        """
        size, pairs = int(groups.max()) + 1, len(self._first)
        cells = groups.astype(np.int64) * pairs + self._pairs
        trials = np.bincount(cells, minlength=size * pairs).reshape(size, pairs)
        targets = np.bincount(cells[self._labels], minlength=size * pairs).reshape(size, pairs)
        for weights in self._weights(count, seed):
            with np.errstate(invalid="ignore"):
                yield (targets @ weights) / (trials @ weights)

    def draw_rates(self, events: Labels, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
        """How often something happens in trials of two speakers, and in those of one, for the same draws of speakers.

        Args:
            events: (trials,) True where it happens.
            count: as in `draw`.
            seed: as in `draw`.

        Returns:
            For each draw (2,) shares, of the nontargets and of the targets.
        """
        found = self._per_pair(self._pairs, self._labels, events.astype(np.float64))
        for weights in self._weights(count, seed):
            yield (found @ weights) / (self._counts @ weights)

    def _weights(self, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
        """(pairs,) the weight of each pair of speakers, in draws that have trials of both kinds."""
        rng = np.random.default_rng(seed)
        given = 0
        for _ in range(MAXIMUM_DRAWS * count):
            if given == count:
                return
            drawn = rng.multinomial(self.speakers, np.full(self.speakers, 1 / self.speakers))
            weights = np.where(self._within, drawn[self._first], drawn[self._first] * drawn[self._second])
            if (self._counts @ weights).min() > 0:
                given += 1
                yield weights.astype(np.float64)

    def _resample(self, weights: NDArray[np.float64], totals: NDArray[np.float64]) -> Resample:
        targets = _running(weights, self._target_pairs)[self._targets_accepted]
        nontargets = _running(weights, self._nontarget_pairs)[self._nontargets_accepted]
        cost = None if self._costs is None else float((self._costs @ weights / totals).mean())
        return Resample(Roc.from_accepted(self._thresholds, targets, nontargets), cost)


def _running(weights: NDArray[np.float64], pairs: NDArray[np.int32]) -> NDArray[np.float64]:
    """(trials + 1,) total weight of the first n trials."""
    totals = np.empty(len(pairs) + 1)
    totals[0] = 0.0
    np.cumsum(weights[pairs], out=totals[1:])
    return totals
