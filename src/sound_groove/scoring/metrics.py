"""How well scores tell same-speaker trials from different-speaker trials. numpy only.

Every figure starts from the same two arrays: `scores` (a higher score means more likely the same speaker) and `labels`
(True = same speaker). A trial is accepted when its score reaches the threshold, and thresholds lie at distinct scores
only: tied trials are accepted together or not at all, so that the order of a list never changes a figure.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.errors import MetricError
from sound_groove.types import Labels, Scores

Regression = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]  # as `isotonic`


def isotonic(values: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """The non-decreasing sequence nearest to `values` in weighted least squares (pool adjacent violators).

    Args:
        values: (K,) in the order in which the result must not fall.
        weights: (K,) positive.

    >>> isotonic([1.0, 3.0, 2.0], [1.0, 1.0, 1.0]).tolist()
    [1.0, 2.5, 2.5]
    """
    amounts = np.asarray(weights, dtype=np.float64)
    sums = np.asarray(values, dtype=np.float64) * amounts
    # A block holds (weighted sum, weight, members); one that does not rise above the block before is merged into it.
    blocks: list[tuple[float, float, int]] = []
    for total, amount in zip(sums.tolist(), amounts.tolist(), strict=True):
        members = 1
        while blocks and blocks[-1][0] * amount >= total * blocks[-1][1]:
            previous = blocks.pop()
            total, amount, members = total + previous[0], amount + previous[1], members + previous[2]
        blocks.append((total, amount, members))
    means = np.array([total / amount for total, amount, _ in blocks])
    return np.repeat(means, [members for _, _, members in blocks])


@dataclass(frozen=True, slots=True)
class Roc:
    """The two error rates at every threshold, from reject-all (first) to accept-all (last).

    Attributes:
        thresholds: (K,) falling; the first is +inf and stands for 'above every score'.
        false_alarm_rates: (K,) share of different-speaker trials accepted, rising from 0 to 1.
        miss_rates: (K,) share of same-speaker trials rejected, falling from 1 to 0.
    """

    thresholds: NDArray[np.float64]
    false_alarm_rates: NDArray[np.float64]
    miss_rates: NDArray[np.float64]

    @classmethod
    def from_accepted(cls, thresholds: ArrayLike, targets: ArrayLike, nontargets: ArrayLike) -> "Roc":
        """The curve from what is accepted at falling thresholds.

        Args:
            thresholds: (K,) falling.
            targets: (K,) same-speaker trials (or their total weight) accepted at each; the last accepts all.
            nontargets: (K,) the same for different-speaker trials.

        Raises:
            MetricError: the total of either class is zero.
        """
        accepted = np.asarray(targets, dtype=np.float64)
        false_alarms = np.asarray(nontargets, dtype=np.float64)
        if accepted[-1] <= 0 or false_alarms[-1] <= 0:
            raise MetricError("both classes need some weight; one of them has none")
        return cls(
            np.concatenate(([np.inf], np.asarray(thresholds, dtype=np.float64))),
            np.concatenate(([0.0], false_alarms / false_alarms[-1])),
            np.concatenate(([1.0], (accepted[-1] - accepted) / accepted[-1])),
        )

    def _crossing(self) -> int:
        """Index of the first point at which the false alarm rate reaches the miss rate."""
        return int(np.argmax(self.false_alarm_rates >= self.miss_rates))

    @property
    def eer(self) -> float:
        """Equal error rate: where the straight lines between the curve's points meet false alarms = misses."""
        i = self._crossing()  # >= 1: at reject-all, false alarms (0) are below misses (1)
        before = self.miss_rates[i - 1] - self.false_alarm_rates[i - 1]  # > 0
        after = self.false_alarm_rates[i] - self.miss_rates[i]  # >= 0
        step = before / (before + after)
        rates = self.false_alarm_rates
        return float(rates[i - 1] + step * (rates[i] - rates[i - 1]))

    @property
    def eer_threshold(self) -> float:
        """The highest score at which the false alarm rate reaches the miss rate."""
        return float(self.thresholds[self._crossing()])

    def min_dcf(self, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
        """Lowest normalised detection cost over the thresholds; see the function `min_dcf`."""
        if not 0 < p_target < 1:
            raise MetricError(f"p_target must lie between 0 and 1, exclusive; {p_target} was given")
        if not (0 < c_miss < np.inf and 0 < c_fa < np.inf):
            raise MetricError(f"costs must be positive; c_miss={c_miss} and c_fa={c_fa} were given")
        miss_weight, false_alarm_weight = p_target * c_miss, (1 - p_target) * c_fa
        costs = miss_weight * self.miss_rates + false_alarm_weight * self.false_alarm_rates
        return float(costs.min() / min(miss_weight, false_alarm_weight))

    def min_cllr(self, regression: Regression = isotonic) -> float:
        """Lowest Cllr that a monotonous map of the scores reaches, in bits; see the function `min_cllr`.

        Args:
            regression: isotonic regression; the one here, or a faster one.
        """
        # Nontargets that rank just above a target would be pooled with it; those below all targets cost nothing.
        steps = np.append(True, np.diff(self.miss_rates) < 0)
        targets = -np.diff(self.miss_rates[steps])[::-1]  # share of the class at each step, above 0; scores rising
        nontargets = np.diff(self.false_alarm_rates[steps])[::-1]
        p = regression(targets / (targets + nontargets), targets + nontargets)  # posteriors at equal priors, above 0
        some = nontargets > 0  # there they are below 1
        miss_cost = targets @ np.log2(1 + (1 - p) / p)
        false_alarm_cost = nontargets[some] @ np.log2(1 + p[some] / (1 - p[some]))
        return float((miss_cost + false_alarm_cost) / 2)


def check_trials(scores: ArrayLike, labels: ArrayLike) -> tuple[Scores, Labels]:
    """Scores as float64 and labels as bool, or one clear sentence about what is wrong with them.

    Args:
        scores: (trials,) real numbers; infinite ones are allowed.
        labels: (trials,) bool, or numbers that are 0 or 1.

    Raises:
        MetricError: other shapes, different lengths, no trials, NaN, other labels, or one class only.
    """
    try:
        checked = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricError("scores must be real numbers") from error
    given = np.asarray(labels)
    if checked.ndim != 1 or given.ndim != 1:
        raise MetricError(f"scores and labels must be flat; their shapes are {checked.shape} and {given.shape}")
    if len(checked) != len(given):
        raise MetricError(f"there are {len(checked)} scores but {len(given)} labels")
    if len(checked) == 0:
        raise MetricError("there are no trials")
    if given.dtype.kind not in "biuf" or not np.all((given == 0) | (given == 1)):
        raise MetricError("labels must be True or 1 (same speaker), False or 0 (different speakers)")
    if np.isnan(checked).any():
        raise MetricError(f"{int(np.isnan(checked).sum())} of {len(checked)} scores are NaN")
    same = given.astype(np.bool_)
    if same.all() or not same.any():
        kind = "same-speaker" if same.all() else "different-speaker"
        raise MetricError(f"all {len(same)} trials are {kind} trials; both kinds are needed")
    return checked, same


def _counts(scores: Scores, labels: Labels) -> tuple[Scores, NDArray[np.int64], NDArray[np.int64]]:
    """Distinct scores, falling, with the targets and the nontargets that reach each (cumulative)."""
    order = np.argsort(-scores)
    ranked = scores[order]
    last_of_tie = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    targets = np.cumsum(labels[order], dtype=np.int64)[last_of_tie]
    return ranked[last_of_tie], targets, last_of_tie + 1 - targets


def roc(scores: ArrayLike, labels: ArrayLike) -> Roc:
    """The receiver operating characteristic, one point for each distinct score and one for reject-all.

    Args:
        scores: (trials,) higher = more likely the same speaker.
        labels: (trials,) True or 1 = same speaker.

    Raises:
        MetricError: see `check_trials`.

    >>> curve = roc([3.0, 2.0, 2.0, 1.0], [1, 1, 0, 0])
    >>> curve.false_alarm_rates.tolist(), curve.miss_rates.tolist()
    ([0.0, 0.0, 0.5, 1.0], [1.0, 0.5, 0.0, 0.0])
    """
    return Roc.from_accepted(*_counts(*check_trials(scores, labels)))


def eer(scores: ArrayLike, labels: ArrayLike) -> float:
    """Equal error rate, as a fraction.

    The points of the ROC (one for each distinct score, and reject-all) are joined by straight lines; the EER is the
    rate at which that line meets 'false alarm rate = miss rate'. This is the ROC's own interpolation, not that of its
    convex hull, and it needs no choice between 'the mean of both rates' and 'the larger' where no threshold makes them
    equal.

    Args:
        scores: (trials,) higher = more likely the same speaker.
        labels: (trials,) True or 1 = same speaker.

    Raises:
        MetricError: see `check_trials`.

    At threshold 2 below, no target is missed and 1 of 2 nontargets is accepted; at 3, half the targets are missed and
    nothing is accepted. The line between (0, 1/2) and (1/2, 0) meets the diagonal at 1/4.

    >>> eer([3.0, 2.0, 2.0, 1.0], [1, 1, 0, 0])
    0.25
    """
    return roc(scores, labels).eer


def min_dcf(
    scores: ArrayLike, labels: ArrayLike, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """Minimum of the normalised detection cost over all thresholds (NIST SRE 2008 and later plans).

    `(p_target c_miss P_miss + (1 - p_target) c_fa P_fa) / min(p_target c_miss, (1 - p_target) c_fa)`; the divisor is
    the cost of the better of accepting all and rejecting all. Both count as thresholds, so the result is at most 1.

    Args:
        scores: (trials,) higher = more likely the same speaker.
        labels: (trials,) True or 1 = same speaker.
        p_target: prior probability of a same-speaker trial, in (0, 1).
        c_miss: cost of rejecting a same-speaker trial.
        c_fa: cost of accepting a different-speaker trial.

    Raises:
        MetricError: see `check_trials`; or an operating point out of range.

    Rejecting only the lower target costs 0.01 x 1/2, against 0.01 for rejecting everything:

    >>> min_dcf([3.0, 2.0, 2.0, 1.0], [1, 1, 0, 0])
    0.5
    """
    return roc(scores, labels).min_dcf(p_target, c_miss, c_fa)


def trial_costs(llrs: Scores, labels: Labels) -> Scores:
    """What each trial costs an ideal user of its log-likelihood ratio, in bits: log2(1 + exp(-+llr))."""
    costs: Scores = np.logaddexp(0.0, np.where(labels, -llrs, llrs)) / np.log(2.0)
    return costs


def cllr(llrs: ArrayLike, labels: ArrayLike) -> float:
    """Cost of the log-likelihood ratios, in bits (Bruemmer & du Preez 2006, eq. 19).

    0 for a perfect system, 1 for one that always answers 'llr = 0', above 1 for one that misleads. It punishes bad
    calibration as well as bad separation.

    Args:
        llrs: (trials,) log-likelihood ratios, natural logarithm.
        labels: (trials,) True or 1 = same speaker.

    Raises:
        MetricError: see `check_trials`.

    >>> cllr([0.0, 0.0], [1, 0])
    1.0
    """
    ratios, same = check_trials(llrs, labels)
    costs = trial_costs(ratios, same)
    return float((costs[same].mean() + costs[~same].mean()) / 2)


def min_cllr(scores: ArrayLike, labels: ArrayLike) -> float:
    """The lowest Cllr that any monotonous map from score to log-likelihood ratio reaches, in bits.

    The best map is isotonic regression of the labels on the scores (Bruemmer & du Preez 2006, section 5); what is left
    above it in `cllr` is loss by calibration.

    Args:
        scores: (trials,) higher = more likely the same speaker; llrs will do.
        labels: (trials,) True or 1 = same speaker.

    Raises:
        MetricError: see `check_trials`.

    >>> min_cllr([3.0, 2.0], [1, 0])
    0.0
    """
    return roc(scores, labels).min_cllr()


def query_ranks(
    embeddings: ArrayLike, speakers: Sequence[str] | NDArray[np.int64], max_queries: int = 10_000
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many impostors each utterance finds before the first other one of its speaker, by cosine.

    Each utterance queries all others. Utterances whose speaker has no other one cannot succeed and are not asked, but
    stay in the crowd. An impostor that ties with the best match counts as nearer, so that a network that gives one
    embedding for everything finds nobody.

    Args:
        embeddings: (N, D) unit length.
        speakers: (N,) who speaks.
        max_queries: above so many queries, so many evenly spaced ones are asked.

    Returns:
        (Q,) indices of the utterances that ask, rising, and (Q,) impostors before the match of each.

    Raises:
        MetricError: lengths differ, a value is not finite, or no speaker has two utterances.

    >>> [side.tolist() for side in query_ranks([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], ["a", "b", "a"])]
    [[0, 2], [1, 1]]
    """
    vectors = np.asarray(embeddings, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(speakers):
        raise MetricError(f"there are embeddings of shape {vectors.shape} but {len(speakers)} speakers")
    if not np.isfinite(vectors).all():
        raise MetricError("embeddings must be finite")
    _, codes, sizes = np.unique(np.asarray(speakers), return_inverse=True, return_counts=True)
    queries = np.flatnonzero(sizes[codes] > 1)
    if len(queries) == 0:
        raise MetricError("no speaker has two utterances, so nothing can be found again")
    if len(queries) > max_queries:
        queries = queries[np.linspace(0, len(queries) - 1, max_queries).round().astype(np.int64)]
    ranks = np.empty(len(queries), dtype=np.int64)
    chunk = max(1, 16_000_000 // len(vectors))  # 64 MB of similarities at a time
    for start in range(0, len(queries), chunk):
        rows = queries[start : start + chunk]
        similarity = vectors[rows] @ vectors.T  # (chunk, N)
        same = codes[rows, None] == codes[None, :]
        impostors = np.where(same, -np.inf, similarity)
        similarity[~same] = -np.inf
        similarity[np.arange(len(rows)), rows] = -np.inf  # an utterance does not find itself
        ranks[start : start + chunk] = (impostors >= similarity.max(axis=1, keepdims=True)).sum(axis=1)
    return queries, ranks


def recall_at_k(
    embeddings: ArrayLike, speakers: Sequence[str] | NDArray[np.int64], ks: Iterable[int], max_queries: int = 10_000
) -> dict[int, float]:
    """Share of utterances with one of the same speaker among their k nearest by cosine; see `query_ranks`.

    Args:
        embeddings: (N, D) unit length.
        speakers: (N,) who speaks.
        ks: numbers of neighbours, each at least 1.
        max_queries: above so many queries, so many evenly spaced ones are asked.

    Returns:
        The share for each k, in [0, 1].

    Raises:
        MetricError: see `query_ranks`; or a k is below 1.

    >>> recall_at_k([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], ["a", "a", "b"], [1, 2])
    {1: 1.0, 2: 1.0}
    """
    wanted = list(ks)
    if any(k < 1 for k in wanted):
        raise MetricError(f"recall needs at least 1 neighbour; {min(wanted)} was given")
    _, ranks = query_ranks(embeddings, speakers, max_queries)
    return {k: float((ranks < k).mean()) for k in wanted}
