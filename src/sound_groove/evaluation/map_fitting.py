"""Which map from score to log-likelihood ratio holds on what it was not fitted on: by leaving parts out.

A part is a collection, or a fold of the speakers. Where the parts are collections they weigh the same; a measure enters
the map only if it helps the collections that are left out; a rise with the square of the score enters if it does not
harm them, since what an llr of 5 or of 8 is worth hardly moves Cllr, and yet decides who is named among many; and the
llr is kept within the bounds that serve these best, since no map knows how far its own evidence reaches in another
collection.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.map_regression import fit_score_map
from sound_groove.scoring.metrics import cllr
from sound_groove.types import Labels, Scores

LEAST_GAIN = 0.001  # bits of Cllr, in the mean over the parts left out, that a measure must be worth
NOTHING_LOST = 5e-4  # bits by which a rise or wider bounds may be worse and still be taken; the pairs tell no less
LOWEST_LLRS = tuple(-np.arange(1.5, 10.01, 0.5))
HIGHEST_LLRS = tuple(np.arange(3.0, 12.01, 0.5))
CLOSENESS = "closeness"  # the measure that depends on what a map is fitted on
MOST_COMPARED = 3_000  # pairs of a part by which measures and bounds are chosen; more take minutes and change nothing


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Pairs of recordings that were scored.

    Attributes:
        scores: (P,) cosines.
        labels: (P,) True = same speaker.
        measures: by name, (P,) each.
        first: (P,) the part that the first side is of.
        second: (P,) that of the second side; within collections always the same.
        near: (2, P, parts) cosines of the two sides with the mean embedding of each part; None where the parts are no
            collections.
    """

    scores: Scores
    labels: Labels
    measures: dict[str, Scores]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    near: NDArray[np.float64] | None = None

    def kept(self, rows: Labels | NDArray[np.int64]) -> "ScoredPairs":
        """Those that a mask (P,) keeps, or those in some rows."""
        measures = {name: values[rows] for name, values in self.measures.items()}
        near = None if self.near is None else self.near[:, rows]
        return ScoredPairs(self.scores[rows], self.labels[rows], measures, self.first[rows], self.second[rows], near)

    def apart_from(self, parts: Sequence[int]) -> "ScoredPairs":
        """The same pairs with their closeness to the means of the parts that they are not of, and without some parts.

        A user's recording is of no part; so that a pair's own part counts here would make it nearer than that.
        """
        if self.near is None:
            return self
        counts = np.ones(self.near.shape[1:])
        counts[np.arange(len(counts)), self.first] = 0
        counts[:, list(parts)] = 0
        sides = ((self.near * counts).sum(axis=2) / np.maximum(counts.sum(axis=1), 1)).min(axis=0)
        return replace(self, measures={**self.measures, CLOSENESS: sides})

    def llrs(self, score_map: ScoreMap) -> Scores:
        """What a map says of them (P,)."""
        return score_map.llr(self.scores, self.measures)


@dataclass(frozen=True, slots=True)
class Making:
    """What a map is made of.

    Attributes:
        measures: their names.
        rises: whether it rises with the square of the score.
    """

    measures: tuple[str, ...] = ()
    rises: bool = False

    def more(self, measures: Iterable[str]) -> list["Making"]:
        """The makings with one thing more."""
        left = [replace(self, measures=(*self.measures, name)) for name in measures if name not in self.measures]
        return left if self.rises else [*left, replace(self, rises=True)]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A map, and those of the same making that were fitted without one part each."""

    score_map: ScoreMap
    without: tuple[ScoreMap, ...]


class Fitting:
    """Fits maps on all parts but some.

    Args:
        pairs: to fit on.
        parts: how many parts there are.
        of_collections: whether the parts are collections.
        prior: where on the score axis a map should be best.
        seed: of the pairs by which measures and bounds are chosen.
        means: (parts, D) mean embedding of each part, where the pairs' `near` is given.
    """

    def __init__(
        self,
        pairs: ScoredPairs,
        parts: int,
        of_collections: bool,
        prior: float,
        seed: int,
        means: NDArray[np.float64] | None = None,
    ) -> None:
        self.pairs, self.parts, self.of_collections, self.prior = pairs, parts, of_collections, prior
        self.means = np.empty((parts, 0)) if means is None else means
        rng = np.random.default_rng(seed)
        chosen = []
        for part in range(parts):
            own = np.flatnonzero((pairs.first == part) & (pairs.second == part))
            for kind in (own[pairs.labels[own]], own[~pairs.labels[own]]):
                chosen.append(rng.permutation(kind)[: MOST_COMPARED // 2])
        self._few = pairs.kept(np.sort(np.concatenate(chosen)))

    def fit(self, fitted_on: str) -> Fitted:
        """The map, and those of the same making that were fitted without one part each.

        The bounds of a map without a part are chosen without that part, too.
        """
        every = range(self.parts)
        making = self._chosen_making() if self.of_collections else Making(tuple(self.pairs.measures))
        whole = self._fit(self.pairs, (), making, fitted_on)
        without = [self._fit(self.pairs, (part,), making, "all parts but one") for part in every]
        if self.of_collections:
            whole = replace(whole, bounds=self._chosen_bounds(self._without_each(every, (), making)))
            for part in every:
                others = [other for other in every if other != part]
                bounds = self._chosen_bounds(self._without_each(others, (part,), making))
                without[part] = replace(without[part], bounds=bounds)
        return Fitted(whole, tuple(without))

    def _fit(self, pairs: ScoredPairs, without: Sequence[int], making: Making, fitted_on: str) -> ScoreMap:
        """The map of the pairs neither side of which is of these parts."""
        kept = pairs.kept(~(np.isin(pairs.first, without) | np.isin(pairs.second, without))) if without else pairs
        kept = kept.apart_from(without)
        chosen = {name: kept.measures[name] for name in making.measures}
        groups = kept.first if self.of_collections else None
        fitted = fit_score_map(kept.scores, kept.labels, fitted_on, self.prior, chosen, groups, making.rises)
        if not any(term.measure == CLOSENESS for term in fitted.terms):
            return fitted
        others = [part for part in range(self.parts) if part not in without]
        return replace(fitted, reference=tuple(self.means[others].mean(axis=0).tolist()))

    def _chosen_making(self) -> Making:
        """What helps the parts left out, the most helpful first, and the rise where it does not harm them."""
        chosen = Making()
        best = self._cost(chosen)
        measures = self.pairs.apart_from(()).measures
        while more := chosen.more(measures):
            costs = [self._cost(making) for making in more]
            if min(costs) > best - LEAST_GAIN:
                break
            chosen, best = more[int(np.argmin(costs))], min(costs)
        risen = replace(chosen, rises=True)
        return risen if chosen.rises or self._cost(risen) <= best + NOTHING_LOST else chosen

    def _cost(self, making: Making) -> float:
        return _mean_cllr(self._without_each(range(self.parts), (), making))

    def _without_each(
        self, parts: Sequence[int], without: Sequence[int], making: Making
    ) -> list[tuple[Scores, Labels]]:
        """For each part what a map says of it that was fitted without it, and without some others; and the labels."""
        found = []
        for part in parts:
            own = self._few.kept((self._few.first == part) & (self._few.second == part)).apart_from(without)
            found.append((own.llrs(self._fit(self._few, (*without, part), making, "")), own.labels))
        return found

    def _chosen_bounds(self, left_out: Sequence[tuple[Scores, Labels]]) -> tuple[float, float]:
        """The widest bounds within which the llrs of parts left out cost the least."""

        def widest(ends: Sequence[float], least: bool) -> float:
            costs = [
                _mean_cllr(
                    [(np.maximum(llrs, end) if least else np.minimum(llrs, end), labels) for llrs, labels in left_out]
                )
                for end in ends
            ]
            return float(
                max((end for end, cost in zip(ends, costs, strict=True) if cost <= min(costs) + NOTHING_LOST), key=abs)
            )

        return widest(LOWEST_LLRS, least=True), widest(HIGHEST_LLRS, least=False)


def _mean_cllr(parts: Sequence[tuple[Scores, Labels]]) -> float:
    return float(np.mean([cllr(llrs, labels) for llrs, labels in parts]))
