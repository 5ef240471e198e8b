"""Are stated probabilities true? What was stated, against how often it came true: the data of a reliability diagram."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.evaluation.intervals import SpeakerBootstrap, bounds
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.scoring.calibration import logit, sigmoid
from sound_groove.types import Scores

BINS = 10  # of equal width, from 0 to 1


def measure_reliability(
    trials: TrialList, llrs: Scores, speakers: NDArray[np.int64], resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """The trials in bins of their stated probability, and the share of same-speaker trials in each.

    The probability is stated at the list's own prior, the share of its same-speaker trials, at which it should be that
    share in every bin.

    Args:
        trials: the trials.
        llrs: (trials,) natural log-likelihood ratios.
        speakers: (ids,) who speaks in each of the trials' names.
        resamples: draws of speakers for the intervals; 0 gives none.
        seed: of these draws.

    Returns:
        `prior`, and `reliability`: for each bin that holds trials `low`, `high`, `trials`, `predicted` (the mean of
        what was stated), `observed`, and the interval's bounds `observed_low` and `observed_high`.
    """
    prior = float(trials.labels.mean())
    stated = sigmoid(llrs + logit(prior))
    bins = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    predicted = np.bincount(bins, stated, BINS) / np.maximum(counts, 1)
    observed = np.bincount(bins, trials.labels, BINS) / np.maximum(counts, 1)
    ends: list[tuple[float | None, float | None]] = [(None, None)] * BINS
    if resamples:
        bootstrap = SpeakerBootstrap(llrs, trials.labels, speakers[trials.enrolments], speakers[trials.tests])
        draws = np.array(list(bootstrap.draw_shares(bins, resamples if bootstrap.speakers > 1 else 0, seed)))
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
