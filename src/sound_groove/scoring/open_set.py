"""Which of N enrolled speakers is this, or nobody of them? From log-likelihood ratios to probabilities and a verdict.

LR_i says how much more likely the evidence is if speaker i spoke than if a stranger did. With the prior P that it is
one of the N, each as likely as the others, Bayes' rule gives

    probability of i = (P/N) LR_i / E,   probability of nobody = (1 - P) / E,   E = (1 - P) + sum_j (P/N) LR_j

so that what a name needs grows by log N: of N strangers' ratios, one that is large by chance is N times as likely.

**Cohort normalisation.** What strangers score, a score map knows of the trials that it was fitted on; the enrolled, all
but the best, show it for this recording and this gallery. Strangers' ratios are 1 in the mean. If this recording
resembles all of the enrolled, LR_i says too much; if hardly any of them, as in a gallery of many kinds of recordings,
too little. So every ratio is divided by

    c = (WORLD + (N - 1) m) / (WORLD + N - 1),   at least LEAST

with the cohort's mean ratio m. That is the cohort as the model of a stranger (Higgins, Bahler & Porter 1991; Rosenberg,
DeLong, Lee, Juang & Soong 1992), in which the map counts for as much as WORLD speakers (the predictive distribution of
a Dirichlet process, Blackwell & MacQueen 1973), so that a small gallery changes next to nothing. The mean of a sample
of ratios is mostly too low, since much of the true mean is in large ratios that are too rare to be in it. Where it is
below 1, the mean of the log-normal law with the sample's mean and variance takes its place, as scores are nearly normal
and llrs linear in them: an ideal system's c then is nearly 1.

A verdict is two questions to one `DecisionRule`:

- a name: "is it speaker i?", with the prior P/N against 1 - P, and with the other speakers among the alternatives. An
  error rate R is divided among the N, so that an llr of log N - log R is needed. A ratio reaches N/R with a probability
  of at most R/N where that speaker is silent (see `decision`), so whoever speaks, a wrong name is given in at most a
  share R of the cases. A cohort may take from an llr here and add nothing to it: a promise needs no help.
- 'nobody': "is it anybody?", with the prior P, by mean_j LR_j, which is a likelihood ratio itself.
"""

import math
import sys
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sound_groove.errors import MetricError
from sound_groove.percentages import LEAST as LEAST_PROBABILITY
from sound_groove.percentages import uncertain
from sound_groove.scoring.calibration import logit, sigmoid
from sound_groove.scoring.decision import DecisionRule
from sound_groove.types import Scores

SMALLEST = sys.float_info.min  # of a prior or an error rate that many share, which must not become 0
# Chosen on the speakers who calibrate the model in the package. A lower WORLD gains a little there, and costs an ideal
# system more.
WORLD = 30.0
LEAST = 0.1

OpenSetVerdict = Literal["identified", "nobody", "inconclusive"]


@dataclass(frozen=True, slots=True)
class OpenSetAnswer:
    """What the evidence says of the enrolled.

    Attributes:
        probabilities: (K,) of each candidate, in the order given; never 0 or 1.
        nobody: probability that nobody enrolled speaks; likewise.
        rest: probability of the enrolled who are no candidates, all together; rather too high than too low.
        cohort_llr: log c, what the cohort takes from every llr.
        limit: the llr, as it was given, from which on the best is named when no other comes near.
        verdict: "identified" (the best candidate), "nobody", or "inconclusive".
    """

    probabilities: Scores
    nobody: float
    rest: float
    cohort_llr: float
    limit: float
    verdict: OpenSetVerdict


def answer(
    llrs: ArrayLike,
    enrolled: int,
    prior: float,
    rule: DecisionRule,
    cohort: ArrayLike | None = None,
    rest_llr: float = math.inf,
) -> OpenSetAnswer:
    """Weigh the enrolled against each other and against nobody.

    Args:
        llrs: (K,) of the candidates (natural logarithm), in any order.
        enrolled: how many speakers there are, N, at least K.
        prior: probability that one of them speaks, before listening, in (0, 1).
        rule: how sure a verdict must be.
        cohort: (M,) llrs of enrolled speakers without the best, drawn without regard to them; None takes the other
            candidates, where these are all that there are.
        rest_llr: the most that the llr of an enrolled speaker who is no candidate can be. Each of the rest is weighed
            by the cohort's mean ratio, or by this where it is less.

    Raises:
        MetricError: no candidates, fewer enrolled than candidates, an llr that is NaN or infinite, or a prior out of
            range.

    >>> told = answer([math.log(6), math.log(1)], 2, 0.5, DecisionRule())
    >>> told.probabilities.round(3).tolist(), round(told.nobody, 3), told.verdict
    ([0.667, 0.111], 0.222, 'inconclusive')
    """
    given = np.asarray(llrs, dtype=np.float64)
    if not 1 <= len(given) <= enrolled:
        raise MetricError(f"of {enrolled} enrolled speakers there cannot be {len(given)} candidates")
    if not np.isfinite(given).all() or (cohort is not None and not np.isfinite(cohort).all()) or math.isnan(rest_llr):
        raise MetricError("a log-likelihood ratio must be a finite number")
    odds = logit(prior) - math.log(enrolled)  # of one speaker against nobody
    best = int(given.argmax())
    others = np.delete(given, best)
    mean_llr = _log_mean(others if cohort is None else np.asarray(cohort, dtype=np.float64))
    cohort_llr = float(np.logaddexp(math.log(WORLD), _log(enrolled - 1) + mean_llr)) - math.log(WORLD + enrolled - 1)
    cohort_llr = max(cohort_llr, math.log(LEAST))
    beyond = _log(enrolled - len(given)) + min(rest_llr, mean_llr)
    rivals = float(np.logaddexp.reduce(np.append(others, beyond)))  # the logarithm of the sum of their ratios
    llr = float(given[best])
    # Against nobody, whose weight is 1.
    weights, against = given - cohort_llr + odds, np.logaddexp(0.0, rivals - cohort_llr + odds)
    total = float(np.logaddexp(weights[best], against))
    any_llr = float(np.logaddexp(llr, rivals)) - math.log(enrolled)

    low, limit = rule.limits(prior)[0], _shared(rule, enrolled).limits(max(float(sigmoid(odds)), SMALLEST))[1]
    discount = cohort_llr if rule.max_false_accept is None else max(cohort_llr, 0.0)
    is_named = llr - discount - float(np.logaddexp(0.0, rivals - discount + odds)) >= limit
    any_discount = cohort_llr if rule.max_false_reject is None else min(cohort_llr, 0.0)
    is_nobody = any_llr - any_discount < low
    if is_named and is_nobody:  # a promise of one side and costs of the other: the promise is kept with room to spare
        is_named, is_nobody = rule.max_false_accept is None, rule.max_false_accept is not None
    return OpenSetAnswer(
        probabilities=np.clip(np.exp(weights - total), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY),
        nobody=uncertain(math.exp(-total)),
        rest=math.exp(beyond - cohort_llr + odds - total),
        cohort_llr=cohort_llr,
        limit=limit + discount,
        verdict="identified" if is_named else "nobody" if is_nobody else "inconclusive",
    )


def _shared(rule: DecisionRule, enrolled: int) -> DecisionRule:
    """The rule for one of many: each has its part of the wrong names that are allowed."""
    rate = rule.max_false_accept
    return rule if rate is None else replace(rule, max_false_accept=max(rate / enrolled, SMALLEST))


def _log_mean(llrs: Scores) -> float:
    """The logarithm of the mean ratio of the population that these llrs are drawn from; 0 where there are none."""
    if not len(llrs):
        return 0.0
    sample = float(np.logaddexp.reduce(llrs)) - math.log(len(llrs))
    return min(float(llrs.mean() + llrs.var() / 2), max(0.0, sample))


def _log(count: int) -> float:
    return math.log(count) if count else -math.inf
