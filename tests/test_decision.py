"""Verdicts against costs worked by hand, and against simulated evidence whose error rates are counted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sound_groove.errors import UsageError
from sound_groove.scoring.calibration import probability
from sound_groove.scoring.decision import DecisionRule

costs = st.floats(0.01, 100)
priors = st.floats(0.001, 0.999)


def test_the_default_asks_for_odds_of_four_to_one() -> None:
    low, high = DecisionRule().limits(0.5)
    assert [probability(low, 0.5), probability(high, 0.5)] == pytest.approx([0.2, 0.8])
    low, high = DecisionRule().limits(0.01)  # where one speaker is rare, more evidence is needed
    assert [probability(low, 0.01), probability(high, 0.01)] == pytest.approx([0.2, 0.8])


@given(costs, costs, costs, priors, st.floats(-15, 15))
def test_the_verdict_is_the_cheapest_answer(
    false_accept: float, false_reject: float, inconclusive: float, prior: float, llr: float
) -> None:
    chance = probability(llr, prior)
    expected = {
        "same": false_accept * (1 - chance), "different": false_reject * chance, "inconclusive": inconclusive
    }  # fmt: skip
    verdict = DecisionRule(false_accept, false_reject, inconclusive).decide(llr, prior)
    assert expected[verdict] <= min(expected.values()) * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.99])
def test_no_more_verdicts_are_wrong_than_was_promised(prior: float) -> None:
    # llr of N(d, 1) against N(0, 1) is d x - d^2/2: calibrated by construction, at any separation
    rng = np.random.default_rng(0)
    for distance in (0.5, 2.0, 4.0):
        targets, nontargets = (distance * rng.normal(mean, 1, 200_000) - distance**2 / 2 for mean in (distance, 0))
        low, high = DecisionRule(max_false_accept=0.01, max_false_reject=0.05).limits(prior)
        assert (nontargets >= high).mean() <= 0.01
        assert (targets < low).mean() <= 0.05
    assert [low, high] == pytest.approx([math.log(0.05), -math.log(0.01)])  # whatever the prior


@given(priors, st.floats(0.001, 0.999), st.booleans())
def test_a_promise_of_one_side_leaves_the_other_to_the_costs_and_is_kept(
    prior: float, rate: float, accepts: bool
) -> None:
    plain = DecisionRule().limits(prior)
    if accepts:
        low, high = DecisionRule(max_false_accept=rate).limits(prior)
        assert high >= -math.log(rate) and low == plain[0] and low <= high
    else:
        low, high = DecisionRule(max_false_reject=rate).limits(prior)
        assert low <= math.log(rate) and high == plain[1] and low <= high


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"false_accept": 0.0}, "costs must be positive numbers; 0, 1, 0.2 were given"),
        ({"inconclusive": math.inf}, "costs must be positive"),
        ({"false_reject": math.nan}, "costs must be positive"),
        ({"max_false_accept": 0.0}, "an error rate must lie between 0 and 1, exclusive; 0 was given"),
        ({"max_false_reject": 1.0}, "an error rate must lie between 0 and 1"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rule: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DecisionRule(**rule)


POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@given(POSITIVE, POSITIVE, POSITIVE, st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_costs_of_any_size_give_limits_in_their_order(
    false_accept: float, false_reject: float, inconclusive: float, prior: float
) -> None:
    low, high = DecisionRule(false_accept, false_reject, inconclusive).limits(prior)
    assert math.isfinite(low) and math.isfinite(high) and low <= high
