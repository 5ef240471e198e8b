"""From score to log-likelihood ratio, and from there to a probability. numpy only.

A cosine is not a probability: 0.4 may be a sure match for one model and noise for another. A score map is the straight
line that turns one model's score into a log-likelihood ratio, fitted on labelled trials by prior-weighted logistic
regression (Bruemmer & du Preez 2006).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.errors import MetricError
from sound_groove.metrics import check_trials
from sound_groove.types import Scores

RIDGE = (
    1e-6  # on the slope in units of standardised scores: invisible on real trials, finite where the classes separate
)
MAXIMUM_STEPS = 200


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """llr = scale x score + offset.

    Attributes:
        scale: at least 0: a higher score never means less likely the same speaker.
        offset: the llr of a score of 0.
        fitted_on: which trials it was fitted on, for people to read.
    """

    scale: float
    offset: float
    fitted_on: str

    def __post_init__(self) -> None:
        """Refuse a map that would turn scores around or give no number."""
        if not (math.isfinite(self.scale) and math.isfinite(self.offset) and self.scale >= 0):
            raise MetricError(
                f"a score map needs a finite scale of at least 0 and a finite offset; "
                f"{self.scale} and {self.offset} were given"
            )

    def llr(self, scores: ArrayLike) -> Scores:
        """Log-likelihood ratios (natural logarithm) of scores, in their shape.

        >>> ScoreMap(10.0, -3.0, "an example").llr([0.3, 0.5]).tolist()
        [0.0, 2.0]
        """
        return np.asarray(self.scale * np.asarray(scores, dtype=np.float64) + self.offset)


def probability(llr: float, prior: float) -> float:
    """Probability of 'same speaker', given the evidence and what was believed before it (Bayes' rule).

    Args:
        llr: log-likelihood ratio, natural logarithm.
        prior: probability of 'same speaker' before hearing, in (0, 1).

    Raises:
        MetricError: the prior is not between 0 and 1, exclusive, or the llr is NaN.

    >>> probability(0.0, 0.25)
    0.25
    """
    log_odds = llr + _logit(prior)
    if math.isnan(log_odds):
        raise MetricError("the log-likelihood ratio is NaN")
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def fit_score_map(scores: ArrayLike, labels: ArrayLike, fitted_on: str, prior: float = 0.5) -> ScoreMap:
    """The line from score to llr with the least prior-weighted logistic loss.

    Each class is weighted to its prior share, whatever the number of its trials. With z = llr + logit(prior), the fit
    minimises `prior mean_targets(log(1 + exp(-z))) + (1 - prior) mean_nontargets(log(1 + exp(z)))`, plus
    `RIDGE / 2 x slope^2` (slope in units of standardised scores), by damped Newton steps. With prior 0.5 that loss is
    Cllr times log 2.

    Where the scores point the wrong way (targets below nontargets) the best map with scale >= 0 is 'llr = 0 always',
    and that is what comes back: no information, rather than a map that turns decisions around.

    Args:
        scores: (trials,) finite; higher = more likely the same speaker.
        labels: (trials,) True or 1 = same speaker.
        fitted_on: which trials these are, for people to read.
        prior: where on the score axis the fit should be best, in (0, 1).

    Raises:
        MetricError: see `metrics.check_trials`; or infinite scores, or a prior out of range.
    """
    checked, same = check_trials(scores, labels)
    if not np.isfinite(checked).all():
        raise MetricError("a score map cannot be fitted on infinite scores")
    shift = _logit(prior)
    centre, spread = float(checked.mean()), float(checked.std())
    if spread <= 1e-9 * max(1.0, abs(centre)):
        return ScoreMap(0.0, 0.0, fitted_on)  # all scores equal: they say nothing
    weights = np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())
    slope, intercept = _newton((checked - centre) / spread, same.astype(np.float64), weights, shift)
    if slope <= 0:
        return ScoreMap(0.0, 0.0, fitted_on)
    return ScoreMap(slope / spread, intercept - slope * centre / spread, fitted_on)


def _logit(prior: float) -> float:
    if not 0 < prior < 1:
        raise MetricError(f"the prior must lie between 0 and 1, exclusive; {prior} was given")
    return math.log(prior) - math.log1p(-prior)


def _newton(x: Scores, y: Scores, weights: Scores, shift: float) -> tuple[float, float]:
    """Slope and intercept with the least weighted logistic loss, by Newton's method with step halving."""

    def loss(line: NDArray[np.float64]) -> float:
        logits = line[0] * x + line[1] + shift
        return float(weights @ (np.logaddexp(0.0, logits) - y * logits)) + RIDGE / 2 * float(line[0]) ** 2

    line = np.zeros(2)
    current = loss(line)
    for _ in range(MAXIMUM_STEPS):
        posterior = 0.5 * (1 + np.tanh((line[0] * x + line[1] + shift) / 2))  # a sigmoid that does not overflow
        residual = weights * (posterior - y)
        gradient = np.array([residual @ x + RIDGE * line[0], residual.sum()])
        curvature = weights * posterior * (1 - posterior)
        cross = curvature @ x
        # The tiny extra on the intercept keeps the matrix invertible when every posterior has saturated.
        hessian = np.array([[curvature @ (x * x) + RIDGE, cross], [cross, curvature.sum() + 1e-12]])
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (proposed := loss(line - size * step)) > current and size > 1e-10:
            size /= 2
        if proposed > current:
            break
        line, improvement, current = line - size * step, current - proposed, proposed
        if improvement <= 1e-15 * max(1.0, abs(current)) and np.abs(gradient).max() < 1e-9:
            break
    return float(line[0]), float(line[1])
