"""From evidence to a verdict: 'same', 'different', or 'inconclusive' where neither is worth its risk.

Two ways to say how sure a verdict must be, which may be mixed:

- **costs** (Chow 1970, "On optimum recognition error and reject tradeoff"): a wrong 'same' costs `false_accept`, a
  wrong 'different' costs `false_reject`, and an 'inconclusive' costs `inconclusive`, whoever speaks. The cheapest
  answer on average is 'same' where the probability of the same speaker exceeds 1 - inconclusive / false_accept,
  'different' where it is below inconclusive / false_reject, and 'inconclusive' between. It depends on the prior, as it
  should.
- **error rates**: at most a share `max_false_accept` of comparisons of different speakers may be called 'same'. Among
  those, a likelihood ratio reaches t with a probability of at most 1/t (its mean over them is 1; Good 1950, the
  sequential test of Wald 1945), so that an llr of at least -log(max_false_accept) keeps the promise whatever the prior,
  as far as the llr is what it says. Usually far fewer are called so.
"""

import math
from dataclasses import dataclass
from typing import Literal

from sound_groove.arguments import check_number
from sound_groove.errors import UsageError
from sound_groove.scoring.calibration import logit

DEFAULT_COSTS = (1.0, 1.0, 0.2)  # odds of four to one: inconclusive between probabilities of 0.2 and 0.8

Verdict = Literal["same", "different", "inconclusive"]


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How sure a verdict must be.

    Attributes:
        false_accept: cost of calling different speakers 'same'.
        false_reject: cost of calling one speaker 'different'.
        inconclusive: cost of no verdict.
        max_false_accept: largest share of comparisons of different speakers that may be called 'same'; None leaves that
            side to the costs.
        max_false_reject: largest share of comparisons of one speaker that may be called 'different'; None likewise.
    """

    false_accept: float = DEFAULT_COSTS[0]
    false_reject: float = DEFAULT_COSTS[1]
    inconclusive: float = DEFAULT_COSTS[2]
    max_false_accept: float | None = None
    max_false_reject: float | None = None

    def __post_init__(self) -> None:
        """Refuse costs and rates out of range."""
        costs = [check_number(cost, "a cost") for cost in (self.false_accept, self.false_reject, self.inconclusive)]
        if not all(math.isfinite(cost) and cost > 0 for cost in costs):
            raise UsageError(f"costs must be positive numbers; {', '.join(f'{cost:g}' for cost in costs)} were given")
        for rate in (self.max_false_accept, self.max_false_reject):
            if rate is not None and not 0 < check_number(rate, "an error rate") < 1:
                raise UsageError(f"an error rate must lie between 0 and 1, exclusive; {rate:g} was given")

    def limits(self, prior: float) -> tuple[float, float]:
        """The llr (natural logarithm) below which the verdict is 'different', and that from which on it is 'same'.

        They meet where no verdict costs so much that one is always worth its risk.

        Raises:
            MetricError: the prior is not between 0 and 1, exclusive.

        >>> low, high = DecisionRule(max_false_accept=0.01, max_false_reject=0.1).limits(0.5)
        >>> round(low, 3), round(high, 3)
        (-2.303, 4.605)
        """
        odds = logit(prior)
        # Where both wrong verdicts cost the same; in logarithms, since ratios of costs may be too small or too large.
        even = math.log(self.false_accept) - math.log(self.false_reject) - odds
        low = high = even
        # Without the third answer, `even` decides; it is worth taking where it costs less than the better of the two.
        if self.inconclusive / self.false_accept + self.inconclusive / self.false_reject < 1:
            high = -_logit_of(self.inconclusive, self.false_accept) - odds
            low = _logit_of(self.inconclusive, self.false_reject) - odds
        if self.max_false_accept is not None:
            high = -math.log(self.max_false_accept)
        if self.max_false_reject is not None:
            low = math.log(self.max_false_reject)
        if low > high:  # a promise of one side and costs of the other: the promise is kept with room to spare
            return (low, low) if self.max_false_reject is None else (high, high)
        return low, high

    def decide(self, llr: float, prior: float) -> Verdict:
        """The verdict on a log-likelihood ratio.

        >>> [DecisionRule().decide(llr, 0.5) for llr in (2.0, 0.0, -2.0)]
        ['same', 'inconclusive', 'different']
        """
        low, high = self.limits(prior)
        if llr >= high:
            return "same"
        return "different" if llr < low else "inconclusive"


def _logit_of(part: float, whole: float) -> float:
    """The logit of part / whole, which is below 1 but may be too small for a number."""
    return math.log(part) - math.log(whole) - math.log1p(-part / whole)
