"""Which of N enrolled speakers is this, or nobody of them? From log-likelihood ratios to probabilities and a verdict.

LR_i says how much more likely the evidence is if speaker i spoke than if a stranger did. With the prior P that it is one
of the N, each as likely as the others, Bayes' rule gives

    probability of i = (P/N) LR_i / E,   probability of nobody = (1 - P) / E,   E = (1 - P) + sum_j (P/N) LR_j

so that what a name needs grows by log N: of N strangers' ratios, one that is large by chance is N times as likely.

**Cohort normalisation.** What a stranger's recording is like, a score map knows of the trials that it was fitted on; the
enrolled show it for this recording and this gallery. Strangers' ratios are 1 in the mean, so if the recording resembles
all of the enrolled, LR_i says too much, and if it resembles none of them, too little. Every ratio is divided by

    c = (WORLD + sum of LR_j over all j but the best) / (WORLD + N - 1),   at least LEAST

This is the mean of the cohort as the stranger's model (Higgins, Bahler & Porter 1991; Rosenberg, DeLong, Lee, Juang &
Soong 1992), in which what the map says counts for as much as WORLD cohort speakers (the predictive distribution of a
Dirichlet process, Blackwell & MacQueen 1973), so that a small gallery changes nothing. Departures: the best, who may be
the speaker, is left out, and ratios of embeddings take the place of densities.

A verdict is two questions to one `DecisionRule`:

- a name: "is it speaker i?", with the prior P/N against 1 - P, and with the other speakers among the alternatives. An
  error rate R is divided among the N, so that an llr of log N - log R is needed. A ratio reaches N/R with a probability
  of at most R/N where that speaker is silent (see `decision`), so whoever speaks, a wrong name is given in at most a
  share R of the cases. A cohort may take from an llr here and add nothing to it: a promise needs no help.
- 'nobody': "is it anybody?", with the prior P, by mean_j LR_j, which is a likelihood ratio itself.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sound_groove.calibration import logit, sigmoid
from sound_groove.decision import DecisionRule
from sound_groove.errors import MetricError
from sound_groove.types import Scores

# Chosen on the 50 speakers who calibrate the model in the package: 10 and 30 did best there, 100 a little worse; lower
# LEASTs did no better.
WORLD = 30.0
LEAST = 0.1

OpenSetVerdict = Literal["identified", "nobody", "inconclusive"]


@dataclass(frozen=True, slots=True)
class OpenSetAnswer:
    """What the evidence says of the enrolled.

    Attributes:
        probabilities: (K,) of each candidate, in the order given.
        nobody: probability that nobody enrolled speaks.
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
    llrs: ArrayLike, enrolled: int, prior: float, rule: DecisionRule, rest_llr: float = -math.inf
) -> OpenSetAnswer:
    """Weigh the enrolled against each other and against nobody.

    Args:
        llrs: (K,) of the candidates (natural logarithm), in any order.
        enrolled: how many speakers there are, N, at least K.
        prior: probability that one of them speaks, before listening, in (0, 1).
        rule: how sure a verdict must be.
        rest_llr: the most that the llr of an enrolled speaker who is no candidate can be. Strangers' ratios are 1 in
            the mean, so each of the rest is weighed by 1 at most.

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
    if not np.isfinite(given).all() or math.isnan(rest_llr):
        raise MetricError("a log-likelihood ratio must be a finite number")
    odds = logit(prior) - math.log(enrolled)  # of one speaker against nobody
    best = int(given.argmax())
    others = np.delete(given, best)
    beyond = math.log(enrolled - len(given)) + min(rest_llr, 0.0) if enrolled > len(given) else -math.inf
    rivals = float(np.logaddexp.reduce([*others, beyond]))  # the logarithm of the sum of their ratios
    cohort = float(np.logaddexp(rivals, math.log(WORLD))) - math.log(WORLD + enrolled - 1)
    cohort_llr = max(cohort, math.log(LEAST))
    llr = float(given[best])
    # Against nobody, whose weight is 1.
    weights, against = given - cohort_llr + odds, np.logaddexp(0.0, rivals - cohort_llr + odds)
    total = float(np.logaddexp(weights[best], against))
    any_llr = float(np.logaddexp(llr, rivals)) - math.log(enrolled)

    low, limit = rule.limits(prior)[0], _shared(rule, enrolled).limits(float(sigmoid(odds)))[1]
    discount = cohort_llr if rule.max_false_accept is None else max(cohort_llr, 0.0)
    is_named = llr - discount - float(np.logaddexp(0.0, rivals - discount + odds)) >= limit
    any_discount = cohort_llr if rule.max_false_reject is None else min(cohort_llr, 0.0)
    is_nobody = any_llr - any_discount < low
    if is_named and is_nobody:  # a promise of one side and costs of the other: the promise is kept with room to spare
        is_named, is_nobody = rule.max_false_accept is None, rule.max_false_accept is not None
    return OpenSetAnswer(
        probabilities=np.exp(weights - total),
        nobody=math.exp(-total),
        rest=math.exp(beyond - cohort_llr + odds - total),
        cohort_llr=cohort_llr,
        limit=limit + discount,
        verdict="identified" if is_named else "nobody" if is_nobody else "inconclusive",
    )


def _shared(rule: DecisionRule, enrolled: int) -> DecisionRule:
    """The rule for one of many: each has its part of the wrong names that are allowed."""
    rate = rule.max_false_accept
    return rule if rate is None else replace(rule, max_false_accept=rate / enrolled)
