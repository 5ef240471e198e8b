"""Which of N enrolled speakers is this, or nobody of them? From log-likelihood ratios to probabilities and a verdict.

LR_i says how much more likely the evidence is if speaker i spoke than if a stranger did. With the prior P that it is one
of the N, each as likely as the others, Bayes' rule gives

    probability of i = (P/N) LR_i / E,   probability of nobody = (1 - P) / E,   E = (1 - P) + sum_j (P/N) LR_j

so that what a name needs grows by log N: of N strangers' ratios, one that is large by chance is N times as likely. "Is it
anybody?" has a ratio of its own, LR_any = mean_j LR_j. A verdict is two questions to one `DecisionRule`:

- a name: "is it speaker i?", with the prior P/N against 1 - P, and with the other speakers among the alternatives. An
  error rate R is divided among the N, so that an llr of log N - log R is needed. A ratio reaches N/R with a probability
  of at most R/N where that speaker is silent (see `decision`), so whoever speaks, a wrong name is given in at most a
  share R of the cases (by the union of N such events).
- 'nobody': "is it anybody?", with the prior P, by LR_any.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sound_groove.calibration import logit
from sound_groove.decision import DecisionRule
from sound_groove.errors import MetricError

OpenSetVerdict = Literal["identified", "nobody", "inconclusive"]


@dataclass(frozen=True, slots=True)
class OpenSetAnswer:
    """What the evidence says of the enrolled.

    Attributes:
        probabilities: of each candidate, in the order given.
        nobody: probability that nobody enrolled speaks.
        rest: probability of the enrolled who are no candidates, all together; rather too high than too low.
        limit: llr from which on a candidate is named, when no other comes near.
        verdict: "identified" (the best candidate), "nobody", or "inconclusive".
    """

    probabilities: tuple[float, ...]
    nobody: float
    rest: float
    limit: float
    verdict: OpenSetVerdict


def answer(
    llrs: Sequence[float], enrolled: int, prior: float, rule: DecisionRule, rest_llr: float = -math.inf
) -> OpenSetAnswer:
    """Weigh the enrolled against each other and against nobody.

    Args:
        llrs: of the candidates (natural logarithm), any order.
        enrolled: how many speakers there are, N; at least as many as candidates.
        prior: probability that one of them speaks, before listening, in (0, 1).
        rule: how sure a verdict must be.
        rest_llr: the most that the llr of an enrolled speaker who is no candidate can be. Strangers' ratios are 1 in
            the mean, so each of the rest is weighed by 1 at most.

    Raises:
        MetricError: no candidates, fewer enrolled than candidates, an llr that is NaN or +inf, or a prior out of range.

    >>> told = answer([math.log(12), math.log(2)], 2, 0.5, DecisionRule())
    >>> [round(value, 3) for value in (*told.probabilities, told.nobody)], told.verdict
    ([0.75, 0.125, 0.125], 'inconclusive')
    """
    if not 1 <= len(llrs) <= enrolled:
        raise MetricError(f"of {enrolled} enrolled speakers there cannot be {len(llrs)} candidates")
    if not all(llr < math.inf for llr in (*llrs, rest_llr)):  # NaN is not less either
        raise MetricError("a log-likelihood ratio must be a number below infinity")
    each = math.log(prior / enrolled) if 0 < prior < 1 else logit(prior)  # which refuses it
    weights = [llr + each for llr in llrs]
    rest = math.log(enrolled - len(llrs)) + each + min(rest_llr, 0.0) if enrolled > len(llrs) else -math.inf
    nobody = math.log1p(-prior)
    evidence = _log_sum([*weights, rest, nobody])
    # One in many: the rate is shared, and so is the prior.
    shared = rule.max_false_accept
    one = rule if shared is None else replace(rule, max_false_accept=shared / enrolled)
    odds = each - nobody
    limit = one.limits(1.0 / (1.0 + math.exp(-odds)))[1]
    best = max(range(len(llrs)), key=lambda index: llrs[index])
    rivals = _log_sum([*weights[:best], *weights[best + 1 :], rest, nobody])  # all that speaks against the best
    is_named = weights[best] - rivals - odds >= limit
    of_any = _log_sum([*weights, rest]) - math.log(prior)
    is_nobody = of_any < rule.limits(prior)[0]
    if is_named and is_nobody:  # a promise of one side and costs of the other: the promise is kept with room to spare
        is_named = rule.max_false_accept is None
        is_nobody = not is_named
    return OpenSetAnswer(
        probabilities=tuple(math.exp(weight - evidence) for weight in weights),
        nobody=math.exp(nobody - evidence),
        rest=math.exp(rest - evidence),
        limit=limit,
        verdict="identified" if is_named else "nobody" if is_nobody else "inconclusive",
    )


def _log_sum(logarithms: Sequence[float]) -> float:
    """The logarithm of the sum of what these are the logarithms of; one of them at least is finite, or all are -inf."""
    highest = max(logarithms)
    if highest == -math.inf:
        return highest
    return highest + math.log(math.fsum(math.exp(value - highest) for value in logarithms))
