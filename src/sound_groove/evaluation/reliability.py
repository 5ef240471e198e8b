"""Are stated probabilities true? What was stated, against how often it came true: the data of a reliability diagram."""

from typing import Any

import numpy as np

from sound_groove.errors import MetricError
from sound_groove.evaluation.intervals import bounds
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
        what was stated), `observed`, and the interval's bounds `observed_low` and `observed_high`.
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
