"""Which of many scores are of the rare kind, and how many of those that are picked out are picked wrongly.

Most labels of a corpus are right. A score for each of them (how well an utterance fits its speaker, say) is drawn from
one of two distributions: that of right labels, which nobody knows, and that of wrong ones, which can be had by making
wrong labels on purpose. The two-groups model (Efron 2008, "Microarrays, empirical Bayes and the two-groups model")
estimates the share of wrong ones and, for each score, the probability that its label is wrong: 1 less that is the
local false discovery rate. Picking by it from the top, as long as the mean of that rate over what is picked stays at
or below a limit, bounds the expected share of right labels among them (the false discovery rate).

Departure from Efron: there the common kind is known in theory and the rare one is not; here the rare kind is sampled,
and the common one is fitted, as a mixture of two normal distributions of which the wider takes up the stragglers
(recordings that are short or noisy), so that a heavy tail of right labels is not taken for wrong ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
BINS = 400  # of the scores; what is fitted is a histogram, so that a million scores cost what a thousand do
STEPS = 300  # of EM
LEAST_GAIN = 1e-9  # of the mean log-likelihood, below which it ends
PRIOR_RARE, PRIOR_COMMON = 1.0, 3.0  # of a beta distribution: as if so many scores of each kind had been seen before
MOST_SPREAD = 4.0  # of either normal distribution, times what the quartiles of all scores say
LEAST_SCORES = 20  # of either sample


@dataclass(frozen=True, slots=True)
class TwoGroups:
    """What was found of a sample of scores.

    Attributes:
        share: estimated share of the rare kind.
        posterior: (N,) for each score, the probability that it is of the rare kind; never rises with the score.
    """

    share: float
    posterior: Values


def two_groups(scores: ArrayLike, rare: ArrayLike) -> TwoGroups:
    """Tell two kinds apart, of which one has lower scores, is the less frequent, and can be made on purpose.

    Args:
        scores: (N,) of both kinds, mixed.
        rare: (M,) of the rare kind alone.

    Returns:
        With fewer than LEAST_SCORES in either sample, that none is known to be of the rare kind.
    """
    observed, made = (np.asarray(values, dtype=np.float64).ravel() for values in (scores, rare))
    if len(observed) < LEAST_SCORES or len(made) < LEAST_SCORES:
        return TwoGroups(0.0, np.zeros(len(observed)))
    low, high = min(observed.min(), made.min()), max(observed.max(), made.max())
    if not high > low:
        return TwoGroups(0.0, np.zeros(len(observed)))
    edges = np.linspace(low, high, BINS + 1)
    middles, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    counts = np.histogram(observed, edges)[0].astype(np.float64)
    rare_density = smooth_density(made, middles)
    share, common_density = _fitted(middles, counts, rare_density, width)
    density = share * rare_density + (1 - share) * common_density
    curve = np.where(density > 0, share * rare_density / np.maximum(density, 1e-300), 0.0)
    # Below what was seen of the rare kind both densities vanish: there a score is as suspect as the lowest that was.
    weights = counts + 1e-9
    curve = falling(curve, np.where(density * len(observed) * width > 1e-6, weights, 1e-9))
    return TwoGroups(share, np.interp(observed, middles, curve))


def picked(posterior: ArrayLike, rate: float) -> NDArray[np.bool_]:
    """Which to pick so that the expected share of wrong picks is at most `rate`.

    Args:
        posterior: (N,) probabilities that a pick is right.
        rate: in [0, 1), the false discovery rate.

    Returns:
        (N,) the largest set, from the highest probability down, whose mean probability is at least 1 - rate; but never
        one that is more likely wrong than right, which certain ones beside it would outweigh.

    >>> picked([0.99, 0.2, 0.95, 0.9], 0.06).tolist()
    [True, False, True, True]
    >>> picked([0.5, 0.2], 0.05).tolist()
    [False, False]
    >>> picked([1.0, 1.0, 1.0, 0.3], 0.3).tolist()
    [True, True, True, False]
    """
    values = np.asarray(posterior, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    wrong = np.cumsum(1 - values[order]) / np.arange(1, len(values) + 1)
    found = np.zeros(len(values), bool)
    found[order[: int(np.count_nonzero(wrong <= rate))]] = True  # the means never fall, so the first so many
    return found & (values > 0.5)


def smooth_density(sample: Values, places: Values) -> Values:
    """(P,) density of a sample at places that lie evenly: a normal kernel of Silverman's width, and a floor far out."""
    width = places[1] - places[0]
    edges = np.append(places - width / 2, places[-1] + width / 2)
    counts = np.histogram(sample, edges)[0].astype(np.float64)
    quartiles = np.subtract(*np.quantile(sample, [0.75, 0.25]))
    spread = min(float(np.std(sample)), float(quartiles) / 1.34) or float(np.std(sample)) or width
    bandwidth = max(0.9 * spread * len(sample) ** -0.2, width)
    reach = int(np.ceil(4 * bandwidth / width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * width / bandwidth) ** 2)
    smoothed = np.convolve(counts, kernel / kernel.sum(), mode="full")[reach : reach + len(counts)]
    smoothed += 1e-6 * len(sample) / len(places)
    return np.asarray(smoothed / (smoothed.sum() * width))


def falling(values: Values, weights: Values) -> Values:
    """(N,) the nearest values, by weighted squares, of which none is above the one before it.

    Pool-adjacent-violators (Barlow et al. 1972).

    >>> falling(np.array([3.0, 1.0, 2.0]), np.ones(3)).tolist()
    [3.0, 1.5, 1.5]
    """
    means, masses, lengths = list[float](), list[float](), list[int]()
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        means.append(value)
        masses.append(weight)
        lengths.append(1)
        while len(means) > 1 and means[-2] < means[-1]:
            mass = masses[-2] + masses[-1]
            means[-2:] = [(means[-2] * masses[-2] + means[-1] * masses[-1]) / mass]
            masses[-2:] = [mass]
            lengths[-2:] = [lengths[-2] + lengths[-1]]
    return np.repeat(means, lengths)


def _fitted(middles: Values, counts: Values, rare: Values, width: float) -> tuple[float, Values]:
    """The share of the rare kind and the density (P,) of the common one, by EM on a histogram.

    A second normal distribution must earn its three parameters (Schwarz 1978): of few scores it would take some of the
    rare kind in.
    """
    one, two = (_fitted_by(middles, counts, rare, width, number) for number in (1, 2))
    total = float(counts.sum())
    return (two if total * (two[2] - one[2]) > 1.5 * np.log(total) else one)[:2]


def _fitted_by(middles: Values, counts: Values, rare: Values, width: float, number: int) -> tuple[float, Values, float]:
    """The same with so many normal distributions, and the mean log-likelihood of a score."""
    total = counts.sum()
    mean = float(np.average(middles, weights=counts))
    order = np.cumsum(counts) / total
    centre = float(np.interp(0.5, order, middles))  # the median: most scores are of the common kind
    spread = max(float(np.interp(0.75, order, middles) - np.interp(0.25, order, middles)) / 1.35, width)
    parts = [(0.85, centre, spread), (0.1, mean, 2.5 * spread)][:number]
    # The common kind lies on its own side of the middle between both, and its stragglers are not spread without end.
    lowest = (centre + float(np.average(middles, weights=rare))) / 2
    share = 0.05
    best = -np.inf
    for _ in range(STEPS):
        densities = [weight * _normal(middles, place, scale) for weight, place, scale in parts]
        joint = np.stack([share * rare, *densities])  # (1 + number, P)
        mixture = np.maximum(joint.sum(axis=0), 1e-300)
        duty = joint / mixture * counts  # how many of each bin are each one's
        share = (float(duty[0].sum()) + PRIOR_RARE - 1 + 1e-9) / (total + PRIOR_RARE + PRIOR_COMMON - 2)
        rest = (1 - share) / max(float(duty[1:].sum()), 1e-9)
        moved = []
        for one in duty[1:]:
            mass = max(float(one.sum()), 1e-9)
            place = max(float((one * middles).sum() / mass), lowest)
            scale = np.sqrt(float((one * (middles - place) ** 2).sum() / mass) + width**2 / 12)
            moved.append((mass * rest, place, min(max(float(scale), width), MOST_SPREAD * spread)))
        parts = moved
        reached = float((counts * np.log(mixture)).sum() / total)
        if reached - best < LEAST_GAIN:
            break
        best = reached
    common = np.asarray(sum(weight * _normal(middles, place, scale) for weight, place, scale in parts))
    return share, common / max(float(common.sum()) * width, 1e-300), reached


def _normal(places: Values, mean: float, deviation: float) -> Values:
    return np.asarray(np.exp(-0.5 * ((places - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi)))
