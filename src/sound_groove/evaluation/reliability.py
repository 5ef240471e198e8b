"""Are stated probabilities true? What was stated, against how often it came true: the data of a reliability diagram."""

from typing import Any

import numpy as np

from sound_groove.errors import MetricError
from sound_groove.evaluation.intervals import LEVEL, bounds
from sound_groove.evaluation.judged import JudgedList
from sound_groove.scoring.calibration import logit, sigmoid

BINS = 10  # of equal width, from 0 to 1


def measure_reliability(judged: JudgedList) -> dict[str, Any]:
    """The trials in bins of their stated probability, and the share of same-speaker trials in each.

    The probability is stated at the list's own prior, the share of its same-speaker trials, at which it should be that
    share in every bin.

    Args:
        judged: a list with log-likelihood ratios.

    Returns:
        `prior`, and `reliability`: for each bin that holds trials `low`, `high`, `trials`, `predicted` (the mean of
        what was stated), `observed`, and the interval's bounds `observed_low` and `observed_high`. Where all trials
        of a bin came out alike, every draw of the speakers gives the same share: there the interval is the exact one
        of so many independent trials (Clopper & Pearson 1934), which is too narrow rather than none.
    """
    if judged.llrs is None:
        raise MetricError("probabilities need log-likelihood ratios, and this list has none")
    labels, prior = judged.labels, float(judged.labels.mean())
    stated = sigmoid(judged.llrs + logit(prior))
    bins = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    predicted = np.bincount(bins, stated, BINS) / np.maximum(counts, 1)
    observed = np.bincount(bins, labels, BINS) / np.maximum(counts, 1)
    ends: list[tuple[float | None, float | None]] = [(None, None)] * BINS
    if judged.resamples:
        draws = np.array(list(judged.resampled_shares(bins)))
        # In some draws a bin has no trials, and so no share.
        ends[: draws.shape[-1]] = [bounds(column[~np.isnan(column)]) for column in draws.T]
        hits = np.bincount(bins, labels, BINS)
        for number in np.flatnonzero(counts).tolist():
            low, high = ends[number]
            if low is None or high is None or low == high:
                ends[number] = exact_interval(int(hits[number]), int(counts[number]))
    return {
        "prior": prior,
        "reliability": [
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "trials": int(counts[number]),
                "predicted": float(predicted[number]),
                "observed": float(observed[number]),
                "observed_low": ends[number][0],
                "observed_high": ends[number][1],
            }
            for number in np.flatnonzero(counts).tolist()
        ],
    }


def exact_interval(hits: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper & Pearson 1934).

    Args:
        hits: how often it happened.
        trials: of how many, all independent.

    >>> [round(bound, 4) for bound in exact_interval(0, 10)], [round(bound, 4) for bound in exact_interval(8, 10)]
    ([0.0, 0.3085], [0.4439, 0.9748])
    """
    from scipy.stats import beta

    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high
