"""Error rates against values worked by hand and against scikit-learn's curves, ties included."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_curve

from sound_groove.errors import MetricError
from sound_groove.scoring.metrics import Roc, cllr, eer, isotonic, min_cllr, min_dcf, recall_at_k, roc

patient = settings(deadline=None)  # a busy machine must not fail a test


@st.composite
def trial_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A few trials of both kinds, their scores drawn from few values so that many tie."""
    size = draw(st.integers(2, 40))
    scores = draw(st.lists(st.integers(-4, 4), min_size=size, max_size=size))
    labels = draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(lambda x: any(x) and not all(x)))
    return np.array(scores) / 4, np.array(labels)


def sklearn_rates(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    false_alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    return false_alarms, 1 - hits


def crossing(false_alarms: np.ndarray, misses: np.ndarray) -> float:
    """The meeting of the piecewise line with false alarms = misses, found by bisection along the curve."""
    low, high = 0.0, float(len(misses) - 1)
    place = np.arange(len(misses))
    for _ in range(80):
        middle = (low + high) / 2
        if np.interp(middle, place, false_alarms) < np.interp(middle, place, misses):
            low = middle
        else:
            high = middle
    return float(np.interp(high, place, false_alarms))


# --- values worked by hand


def test_eer_of_separated_scores_is_0_and_of_swapped_ones_1() -> None:
    assert eer([3, 2, 1, 0], [1, 1, 0, 0]) == 0.0
    assert eer([0, 1, 2, 3], [1, 1, 0, 0]) == 1.0


def test_eer_where_a_threshold_makes_both_rates_equal() -> None:
    # accepting the best three: misses 1 of 3 targets (0.4), accepts 1 of 3 nontargets (0.7)
    assert eer([0.9, 0.8, 0.4, 0.7, 0.3, 0.2], [1, 1, 1, 0, 0, 0]) == pytest.approx(1 / 3)


def test_eer_between_thresholds_is_interpolated() -> None:
    # points (false alarms, misses): (0, 1) (0, 1/2) (1/3, 1/2) (1/3, 0) (2/3, 0) (1, 0). The line down from
    # (1/3, 1/2) to (1/3, 0) meets the diagonal at 1/3.
    assert eer([4, 2, 3, 1, 0], [1, 1, 0, 0, 0]) == pytest.approx(1 / 3)


def test_all_scores_tied_is_chance() -> None:
    # one step from (0, 1) to (1, 0): the diagonal is met at 1/2, whatever the order of the list
    assert eer([7, 7, 7], [1, 0, 0]) == 0.5
    assert eer([7, 7, 7], [0, 0, 1]) == 0.5
    assert min_dcf([7, 7, 7], [1, 0, 0]) == 1.0  # reject-all is a threshold too


def test_tie_across_classes_is_a_slanted_step() -> None:
    # (0, 1) (0, 1/2) (1/2, 0) (1, 0): the slanted line meets the diagonal at 1/4
    assert eer([3, 2, 2, 1], [1, 1, 0, 0]) == 0.25


def test_min_dcf_by_hand() -> None:
    # thresholds: reject all 0.01; at 4: 0.01/2; at 3: 0.01/2 + 0.99/3; ... best is 0.005, over 0.01
    assert min_dcf([4, 2, 3, 1, 0], [1, 1, 0, 0, 0]) == pytest.approx(0.5)
    # with p_target 1/2, accepting down to 2 costs 1/2 x 1/3, over 1/2
    assert min_dcf([4, 2, 3, 1, 0], [1, 1, 0, 0, 0], p_target=0.5) == pytest.approx(1 / 3)
    # misses ten times as dear: the divisor is min(5, 1/2), and the same threshold is best
    assert min_dcf([4, 2, 3, 1, 0], [1, 1, 0, 0, 0], p_target=0.5, c_miss=10) == pytest.approx(1 / 3)


def test_min_dcf_of_useless_scores_is_1_at_any_operating_point() -> None:
    swapped = ([0, 1, 2, 3], [1, 1, 0, 0])
    assert min_dcf(*swapped, p_target=0.01) == 1.0  # reject all
    assert min_dcf(*swapped, p_target=0.99) == pytest.approx(1.0)  # accept all


def test_cllr_by_hand() -> None:
    assert cllr([0, 0, 0], [1, 0, 0]) == 1.0
    # llr = ln 3 for the target: log2(1 + 1/3); -ln 3 for the nontarget: the same
    assert cllr([np.log(3), -np.log(3)], [1, 0]) == pytest.approx(np.log2(4 / 3))
    assert cllr([np.inf, -np.inf], [1, 0]) == 0.0
    assert cllr([-np.inf, 0.0], [1, 0]) == np.inf
    assert cllr([1e4, -1e4], [0, 1]) == pytest.approx(1e4 / np.log(2))  # no overflow


def test_min_cllr_by_hand() -> None:
    assert min_cllr([2, 1], [1, 0]) == 0.0
    assert min_cllr([1, 2], [1, 0]) == 1.0  # pooled into one block that says nothing
    # pools {3, 2}: 1 of 2 are targets; {1}: none of 1. odds 1/2, so llr of the upper block = ln(1 / (1/2)) = ln 2.
    # target: log2(1 + 1/2); nontargets: (log2(1 + 2) + 0) / 2
    assert min_cllr([2, 3, 1], [1, 0, 0]) == pytest.approx((np.log2(1.5) + np.log2(3) / 2) / 2)


def test_infinite_scores_are_the_highest_and_lowest() -> None:
    assert eer([np.inf, 0, -np.inf], [1, 0, 0]) == 0.0
    assert eer([-np.inf, np.inf], [1, 0]) == 1.0
    assert eer([np.inf, np.inf], [1, 0]) == 0.5  # tied at infinity
    assert roc([np.inf, 0.0], [1, 0]).miss_rates.tolist() == [1.0, 0.0, 0.0]


# --- oracles


@patient
@given(trial_sets())
def test_roc_is_that_of_scikit_learn(trials: tuple[np.ndarray, np.ndarray]) -> None:
    curve = roc(*trials)
    false_alarms, misses = sklearn_rates(*trials)
    np.testing.assert_allclose(curve.false_alarm_rates, false_alarms, atol=1e-15)
    np.testing.assert_allclose(curve.miss_rates, misses, atol=1e-15)


@patient
@given(trial_sets())
def test_eer_and_min_dcf_agree_with_scikit_learns_curve(trials: tuple[np.ndarray, np.ndarray]) -> None:
    false_alarms, misses = sklearn_rates(*trials)
    assert eer(*trials) == pytest.approx(crossing(false_alarms, misses), abs=1e-9)
    for p_target, c_miss, c_fa in ((0.01, 1, 1), (0.05, 1, 1), (0.5, 10, 1), (0.9, 1, 3)):
        cost = (p_target * c_miss * misses + (1 - p_target) * c_fa * false_alarms).min()
        expected = cost / min(p_target * c_miss, (1 - p_target) * c_fa)
        assert min_dcf(*trials, p_target, c_miss, c_fa) == pytest.approx(expected)


@patient
@given(trial_sets())
def test_min_cllr_agrees_with_scikit_learns_isotonic_regression(trials: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = trials
    posterior = IsotonicRegression(out_of_bounds="clip").fit_transform(scores, labels.astype(float))
    with np.errstate(divide="ignore"):
        llrs = np.log(posterior) - np.log(1 - posterior) - np.log(labels.sum() / (~labels).sum())
    assert min_cllr(scores, labels) == pytest.approx(cllr(llrs, labels), abs=1e-9)


@patient
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 3)), min_size=1, max_size=30))
def test_isotonic_agrees_with_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    values, weights = np.array(pairs).T
    expected = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    np.testing.assert_allclose(isotonic(values, weights), expected, atol=1e-9)


# --- properties


@patient
@given(trial_sets(), st.randoms(use_true_random=False))
def test_the_order_of_the_list_changes_nothing(trials: tuple[np.ndarray, np.ndarray], random) -> None:  # type: ignore[no-untyped-def]
    scores, labels = trials
    order = list(range(len(scores)))
    random.shuffle(order)
    for metric in (eer, min_dcf, min_cllr, cllr):
        assert metric(scores[order], labels[order]) == pytest.approx(metric(scores, labels), abs=1e-12)


@patient
@given(trial_sets())
def test_a_rising_map_of_scores_changes_nothing(trials: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = trials
    for metric in (eer, min_dcf, min_cllr):
        assert metric(np.exp(3 * scores) - 7, labels) == pytest.approx(metric(scores, labels), abs=1e-12)


@patient
@given(trial_sets())
def test_turning_scores_and_labels_around_swaps_the_classes(trials: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = trials
    assert eer(-scores, ~labels) == pytest.approx(eer(scores, labels), abs=1e-12)
    assert eer(-scores, labels) == pytest.approx(1 - eer(scores, labels), abs=1e-12)
    assert cllr(-scores, ~labels) == pytest.approx(cllr(scores, labels))


@patient
@given(trial_sets())
def test_calibration_can_only_cost(trials: tuple[np.ndarray, np.ndarray]) -> None:
    assert 0 <= min_cllr(*trials) <= cllr(*trials) + 1e-12
    assert min_cllr(*trials) <= 1 + 1e-12


def test_normal_scores_have_the_eer_that_theory_says() -> None:
    # targets N(d, 1), nontargets N(0, 1): EER = Phi(-d / 2); Phi(-1) = 0.158655
    rng = np.random.default_rng(0)
    scores = np.concatenate((rng.normal(2, 1, 200_000), rng.normal(0, 1, 200_000)))
    assert eer(scores, np.arange(400_000) < 200_000) == pytest.approx(0.158655, abs=0.002)


def test_true_llrs_have_a_cllr_close_to_the_least_possible() -> None:
    # targets N(2, 1), nontargets N(0, 1): the log-likelihood ratio is 2 s - 2
    rng = np.random.default_rng(0)
    scores = np.concatenate((rng.normal(2, 1, 50_000), rng.normal(0, 1, 50_000)))
    labels = np.arange(100_000) < 50_000
    assert 0 <= cllr(2 * scores - 2, labels) - min_cllr(scores, labels) < 0.003
    assert cllr(4 * scores - 4, labels) > cllr(2 * scores - 2, labels) + 0.05  # overconfident


def test_three_and_a_half_million_trials_take_seconds() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(3_500_000) < 17_777
    scores = rng.normal(0, 1, len(labels)) + 2.5 * labels
    started = time.process_time()
    assert 0.09 < eer(scores, labels) < 0.12
    assert time.process_time() - started < 20  # 1 s on an idle core with AVX2; comparing all with all would take hours


# --- refusals


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([], [], "there are no trials"),
        ([1.0], [1, 0], "there are 1 scores but 2 labels"),
        ([1.0, 2.0], [1, 1], "all 2 trials are same-speaker trials; both kinds are needed"),
        ([1.0, 2.0], [0, 0], "all 2 trials are different-speaker trials; both kinds are needed"),
        ([1.0, np.nan], [1, 0], "1 of 2 scores are NaN"),
        ([[1.0, 2.0]], [[1, 0]], "must be flat"),
        ([1.0, 2.0], [1, 2], "labels must be True or 1"),
        ([1.0, 2.0], ["target", "nontarget"], "labels must be True or 1"),
        ([1.0, 2.0], [1.0, np.nan], "labels must be True or 1"),
        (["a", "b"], [1, 0], "scores must be real numbers"),
        ([1 + 2j, 1], [1, 0], "scores must be real numbers"),
    ],
)
def test_unusable_trials_are_refused(scores: list[Any], labels: list[Any], message: str) -> None:
    for metric in (eer, min_dcf, cllr, min_cllr, roc):
        with pytest.raises(MetricError, match=message):
            metric(scores, labels)


@pytest.mark.parametrize("point", [(0.0, 1, 1), (1.0, 1, 1), (0.5, 0, 1), (0.5, 1, -1), (float("nan"), 1, 1)])
def test_impossible_operating_points_are_refused(point: tuple[float, float, float]) -> None:
    with pytest.raises(MetricError, match=r"p_target must lie|costs must be positive"):
        min_dcf([1.0, 0.0], [1, 0], *point)


def test_labels_may_be_bools_or_numbers() -> None:
    for labels in ([True, False], [1, 0], [1.0, 0.0], np.array([1, 0], dtype=np.uint8)):
        assert eer([1.0, 0.0], labels) == 0.0


def test_a_curve_needs_weight_in_both_classes() -> None:
    with pytest.raises(MetricError, match="both classes need some weight"):
        Roc.from_accepted([1.0, 0.0], [0.0, 0.0], [1.0, 2.0])


# --- recall


def test_recall_by_hand() -> None:
    # on a line of angles: a at 0 and 40 degrees, b at 10 and 90, c (alone) at 45
    angles = np.radians([0, 40, 10, 90, 45])
    embeddings = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    # a0: b10, a40 -> rank 1; a40: c45, b10, a0 -> 2; b10: a0, a40, c45, b90 -> 3; b90: c45, a40, b10 -> 2
    found = recall_at_k(embeddings, ["a", "a", "b", "b", "c"], [1, 2, 3, 4])
    assert found == {1: 0.0, 2: 0.25, 3: 0.75, 4: 1.0}


def test_one_embedding_for_everything_finds_nothing() -> None:
    embeddings = np.tile(np.array([[0.6, 0.8]]), (6, 1))
    assert recall_at_k(embeddings, ["a", "a", "b", "b", "c", "c"], [1, 4, 5]) == {1: 0.0, 4: 0.0, 5: 1.0}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_recall_agrees_with_a_plain_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(40, 5))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    speakers = rng.integers(0, 12, 40)
    hits = []
    for query in range(40):
        others = [i for i in range(40) if i != query]
        if any(speakers[i] == speakers[query] for i in others):
            near = sorted(others, key=lambda i: -float(embeddings[i] @ embeddings[query]))
            hits.append([any(speakers[i] == speakers[query] for i in near[:k]) for k in (1, 5)])
    assert recall_at_k(embeddings, speakers, [1, 5]) == pytest.approx(
        dict(zip((1, 5), np.mean(hits, axis=0), strict=True))
    )


def test_recall_that_cannot_be_measured_is_refused() -> None:
    with pytest.raises(MetricError, match="no speaker has two utterances"):
        recall_at_k(np.eye(3), ["a", "b", "c"], [1])
    with pytest.raises(MetricError, match="2 speakers"):
        recall_at_k(np.eye(3), ["a", "b"], [1])
    with pytest.raises(MetricError, match="at least 1 neighbour"):
        recall_at_k(np.eye(2), ["a", "a"], [0])
    with pytest.raises(MetricError, match="finite"):
        recall_at_k(np.full((2, 2), np.nan), ["a", "a"], [1])
