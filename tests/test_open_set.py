"""Who of N: Bayes' rule worked by hand, and true likelihood ratios of a simulated system whose answers are counted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import sound_groove.scoring.open_set as open_set
from sound_groove.errors import MetricError
from sound_groove.scoring.calibration import probability
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.open_set import LEAST, WORLD, OpenSetAnswer, answer

RULE = DecisionRule()
many_llrs = st.lists(st.floats(-20, 20), min_size=1, max_size=30)
priors = st.floats(0.01, 0.99)


def told(*ratios: float, enrolled: int | None = None, prior: float = 0.5, rule: DecisionRule = RULE) -> OpenSetAnswer:
    return answer([math.log(ratio) for ratio in ratios], enrolled or len(ratios), prior, rule)


def test_the_smallest_prior_and_rate_that_are_numbers_are_shared_among_a_million() -> None:
    found = told(8.0, enrolled=1_000_000, prior=5e-324, rule=DecisionRule(max_false_accept=5e-324))
    assert found.verdict == "nobody" and math.isfinite(found.limit)


def test_two_enrolled_are_weighed_by_hand() -> None:
    # c = (30 + 1) / 31 = 1; 0.5 x 1 for nobody, 0.25 x 8 and 0.25 x 1 for the two
    found = told(8.0, 1.0)
    assert found.cohort_llr == pytest.approx(0, abs=1e-12)
    assert (*found.probabilities, found.nobody) == pytest.approx((2 / 2.75, 0.25 / 2.75, 0.5 / 2.75))
    assert found.verdict == "inconclusive"
    assert told(20.0, 1.0).verdict == "identified"  # 5 of 5.75
    assert told(0.1, 0.1).verdict == "nobody"


def test_the_cohort_is_worked_by_hand() -> None:
    # The best aside, 31 ratios of 3 and a world of 30 that counts 1: c = (30 + 93) / 61.
    found = told(1000.0, *[3.0] * 31)
    assert math.exp(found.cohort_llr) == pytest.approx(123 / 61)
    odds = np.array([1000.0, *[3.0] * 31]) / 32 * 61 / 123
    assert found.probabilities == pytest.approx(odds / (1 + odds.sum()))
    # Ratios of e^-6 and e^2 by turns: the log-normal law with their mean -2 and variance 16 has the mean e^6, which is
    # more than the sample's; of e^-9 and e^-1 it is e^(-5 + 8), and the sample's is below 1.
    assert answer([9.0, *[-6.0, 2.0] * 15], 31, 0.5, RULE).cohort_llr == pytest.approx(
        math.log((30 + 15 * (math.exp(-6) + math.exp(2))) / 60)
    )
    assert answer([9.0, *[-9.0, -1.0] * 15], 31, 0.5, RULE).cohort_llr == pytest.approx(0, abs=1e-12)
    assert answer([9.0, *[-4.0, -2.0] * 15], 31, 0.5, RULE).cohort_llr == pytest.approx(
        math.log((30 + 30 * math.exp(-2.5)) / 60)
    )
    assert told(1000.0, *[1e-9] * 3000).cohort_llr == pytest.approx(math.log(LEAST))  # no further


@given(st.floats(-20, 20), priors)
def test_with_one_enrolled_it_is_verification(llr: float, prior: float) -> None:
    found = answer([llr], 1, prior, RULE)
    assert found.probabilities[0] == pytest.approx(probability(llr, prior), rel=1e-9)
    expected = {"same": "identified", "different": "nobody", "inconclusive": "inconclusive"}[RULE.decide(llr, prior)]
    assert found.verdict == expected or min(abs(llr - limit) for limit in RULE.limits(prior)) < 1e-9


@given(many_llrs, priors, st.integers(0, 5000))
def test_the_probabilities_are_of_all_that_can_be(llrs: list[float], prior: float, more: int) -> None:
    found = answer(llrs, len(llrs) + more, prior, RULE, rest_llr=min(llrs))
    assert found.probabilities.sum() + found.rest + found.nobody == pytest.approx(1)


@given(many_llrs, priors, st.randoms())
def test_the_order_of_the_enrolled_changes_nothing(llrs: list[float], prior: float, random: object) -> None:
    order = list(range(len(llrs)))
    random.shuffle(order)  # type: ignore[attr-defined]
    first, second = answer(llrs, len(llrs), prior, RULE), answer([llrs[i] for i in order], len(llrs), prior, RULE)
    assert second.probabilities == pytest.approx(first.probabilities[order])
    assert second.nobody == pytest.approx(first.nobody) and second.verdict == first.verdict


@pytest.mark.parametrize("rule", [RULE, DecisionRule(max_false_accept=0.01)])
def test_the_limit_grows_by_the_logarithm_of_the_number_enrolled(rule: DecisionRule) -> None:
    found = [answer([-50.0] * n, n, 0.5, rule) for n in (1, 10, 100)]
    # A cohort that is far away lowers the limit by what it says, and the limit of a promise by nothing.
    limits = [one.limit - (one.cohort_llr if rule is RULE else 0.0) for one in found]
    assert np.diff(limits) == pytest.approx(math.log(10))
    assert limits[0] == pytest.approx(rule.limits(0.5)[1])


@pytest.mark.parametrize("enrolled", [1, 7, 200])
def test_the_limit_is_where_a_name_begins(enrolled: int) -> None:
    for rule in (RULE, DecisionRule(max_false_accept=0.01)):
        others = [-60.0] * (enrolled - 1)
        limit = answer([0.0, *others], enrolled, 0.3, rule).limit
        assert answer([limit + 1e-6, *others], enrolled, 0.3, rule).verdict == "identified"
        assert answer([limit - 1e-6, *others], enrolled, 0.3, rule).verdict != "identified"


def test_a_far_speaker_more_lowers_the_others_as_bayes_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_set, "WORLD", 1e15)  # a cohort that says nothing
    before, after = told(8.0, 1.0), told(8.0, 1.0, 1e-12)
    # P/N goes from 1/4 to 1/6: 2 of 2.75 becomes 8/6 of 8/6 + 1/6 + 1/2
    assert before.probabilities[0] == pytest.approx(2 / 2.75)
    assert after.probabilities[0] == pytest.approx((8 / 6) / (8 / 6 + 1 / 6 + 1 / 2))


def test_two_who_are_as_near_as_each_other_are_not_told_apart() -> None:
    found = told(1e6, 1e6)
    assert found.verdict == "inconclusive" and found.nobody < 0.05
    assert told(1e6, 1e6, rule=DecisionRule(max_false_accept=0.01)).verdict == "inconclusive"


def test_those_beyond_the_candidates_are_counted_and_bounded() -> None:
    every, few = told(50.0, *[0.5] * 99), answer(np.log([50.0, 0.5]), 100, 0.5, RULE, rest_llr=math.log(0.5))
    assert few.rest == pytest.approx(every.probabilities[2:].sum())
    assert few.nobody == pytest.approx(every.nobody)
    # A bound above a stranger's mean, 1 where no cohort tells another, is no better than it.
    high, one = (answer([3.0], 100, 0.5, RULE, rest_llr=bound) for bound in (5.0, 0.0))
    assert (high.rest, high.nobody) == (one.rest, one.nobody)
    cohort = answer([3.0], 100, 0.5, RULE, cohort=[-2.0, -2.0], rest_llr=1.0)
    assert cohort.rest / cohort.probabilities[0] == pytest.approx(99 * math.exp(-2.0 - 3.0))


def test_promises_of_both_sides_and_of_one() -> None:
    rule = DecisionRule(max_false_accept=0.1, max_false_reject=0.05)
    assert told(21.0, 1e-9, rule=rule).verdict == "identified"  # N/R = 20
    assert told(19.0, 1e-9, rule=rule).verdict == "inconclusive"
    assert told(0.09, 1e-9, rule=rule).verdict == "nobody"  # the mean is below 0.05
    # Somebody enrolled is very unlikely, so costs say nobody; evidence would keep the promise of a name.
    assert told(40.0, 1e-9, prior=1e-4, rule=DecisionRule(max_false_accept=0.1)).verdict == "nobody"
    assert told(0.03, prior=0.9999, rule=DecisionRule(max_false_reject=0.05)).verdict == "identified"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(MetricError, match="of 1 enrolled speakers there cannot be 2 candidates"):
        answer([0.0, 1.0], 1, 0.5, RULE)
    with pytest.raises(MetricError, match="finite number"):
        answer([math.nan], 1, 0.5, RULE)
    with pytest.raises(MetricError, match="prior must lie between 0 and 1"):
        answer([0.0], 1, 1.0, RULE)


def simulated(enrolled: int, trials: int, distance: float = 3.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True llrs (trials, N) of strangers and, in the second, of the first of the enrolled: N(d, 1) against N(0, 1)."""
    draws = np.random.default_rng(enrolled).normal(size=(trials, enrolled))
    spoken = draws.copy()
    spoken[:, 0] += distance
    return distance * draws - distance**2 / 2, distance * spoken - distance**2 / 2


@pytest.mark.parametrize("enrolled", [1, 10, 100, 1000])
def test_no_more_wrong_names_are_given_than_was_promised_however_many_are_enrolled(enrolled: int) -> None:
    rule, trials = DecisionRule(max_false_accept=0.05, max_false_reject=0.1), 1500
    strangers, speakers = ([answer(row, enrolled, 0.5, rule) for row in rows] for rows in simulated(enrolled, trials))
    assert sum(found.verdict == "identified" for found in strangers) <= 0.05 * trials
    wrong = [found for found in speakers if found.verdict == "identified" and found.probabilities.argmax() != 0]
    assert len(wrong) <= 0.05 * trials
    assert sum(found.verdict == "nobody" for found in speakers) <= 0.1 * trials


def test_a_limit_that_does_not_follow_the_number_would_break_the_promise() -> None:
    fixed = -math.log(0.05)
    shares = [float((simulated(enrolled, 1500)[0].max(axis=1) >= fixed).mean()) for enrolled in (1, 10, 100)]
    assert shares[0] <= 0.05 < shares[1] < shares[2]


@pytest.mark.parametrize(("enrolled", "tolerance"), [(1, 0.02), (10, 0.02), (100, 0.04), (1000, 0.05)])
def test_stated_probabilities_come_true(enrolled: int, tolerance: float) -> None:
    # An ideal system, whose strangers need no cohort: what the cohort adds is an error here, and must stay small.
    trials = 1500
    strangers, speakers = ([answer(row, enrolled, 0.5, RULE) for row in rows] for rows in simulated(enrolled, trials))
    nobody = np.array([found.nobody for found in (*strangers, *speakers)])
    is_nobody = np.arange(2 * trials) < trials
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0)):
        inside = (nobody >= low) & (nobody <= high)
        if inside.sum() > 100:
            spread = 3 * math.sqrt(0.25 / inside.sum())
            assert nobody[inside].mean() == pytest.approx(is_nobody[inside].mean(), abs=tolerance + spread)
    stated = [found.probabilities.max() for found in (*strangers, *speakers) if found.verdict == "identified"]
    true = sum(found.verdict == "identified" and found.probabilities.argmax() == 0 for found in speakers)
    if len(stated) > 100:
        assert np.mean(stated) == pytest.approx(true / len(stated), abs=tolerance)


def test_a_world_that_counts_for_nothing_would_overrule_the_map_in_a_small_gallery() -> None:
    assert WORLD >= 10 and abs(told(100.0, 0.01, 0.01).cohort_llr) < 0.1
