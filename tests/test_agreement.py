"""Our figures against implementations that we did not write, on the same scores.

The peer is llreval (D. A. van Leeuwen and N. Bruemmer, MIT): the successor of the BOSARIS toolkit, which the field
evaluates with. It shares no line with ours: it pools with scikit-learn's isotonic regression and reads the error rates
off the convex hull of the ROC. scikit-learn's DET curve is a second one.

What must be equal is equal to rounding: minDCF, since a straight line's lowest point on a curve is one of the hull's
corners; Cllr; min Cllr. The EER has three definitions, and the difference is bounded by what the curves allow:

- ours: the ROC's own points joined by straight lines;
- llreval's: the ROC's convex hull, which lies below those lines, and meets them at its corners;
- the mean of both rates at the threshold where they are closest, as many scripts print.
"""

from collections.abc import Callable

import numpy as np
import pytest
from llreval import cllr as peer_cllr
from llreval.pav_rocch import PAV, ROCCH
from sklearn.metrics import det_curve

from sound_groove.errors import MetricError
from sound_groove.scoring.metrics import cllr, eer, min_cllr, min_dcf

Trials = tuple[np.ndarray, np.ndarray]
ROUNDING = 1e-10


def normal(seed: int, trials: int, target_share: float) -> Trials:
    rng = np.random.default_rng(seed)
    labels = rng.random(trials) < target_share
    return rng.normal(size=trials) + 2 * labels, labels


def integers(seed: int) -> Trials:
    rng = np.random.default_rng(seed)
    labels = rng.random(400) < 0.3
    return rng.integers(-3, 4, 400) + labels, labels


def infinite(seed: int) -> Trials:
    """A tenth of the scores at either end, some on the wrong side."""
    scores, labels = normal(seed, 500, 0.3)
    scores[np.random.default_rng(seed).choice(500, 50, replace=False)] = np.inf
    scores[:50] = -np.inf
    return scores, labels


SETS: dict[str, Callable[[], Trials]] = {
    **{f"normal scores {seed}": lambda seed=seed: normal(seed, 3000, 0.1) for seed in range(5)},  # type: ignore[misc]
    "as many targets as nontargets": lambda: normal(5, 2000, 0.5),
    "few targets": lambda: normal(6, 20_000, 0.001),
    "many ties": lambda: (np.round(normal(7, 3000, 0.2)[0], 1), normal(7, 3000, 0.2)[1]),
    **{f"integers {seed}": lambda seed=seed: integers(seed) for seed in range(3)},  # type: ignore[misc]
    "infinite scores": lambda: infinite(8),
    "perfectly apart": lambda: (np.arange(10.0), np.arange(10) > 6),
    "the wrong way round": lambda: (-np.arange(10.0), np.arange(10) > 6),
    "all tied": lambda: (np.zeros(10), np.arange(10) > 6),
    "a million": lambda: normal(9, 1_000_000, 0.01),
}
FINITE = [name for name in SETS if name != "infinite scores"]


def peer_pools(scores: np.ndarray, labels: np.ndarray) -> PAV:
    return PAV(scores.astype(np.float64), labels.astype(np.int64))


def peer_corners(pools: PAV) -> tuple[np.ndarray, np.ndarray]:
    """False alarm and miss rate at the corners of the peer's hull, from reject-all to accept-all."""
    misses, false_alarms = pools.rocch()
    return false_alarms[::-1], misses[::-1]


def many_small_sets() -> list[Trials]:
    """Lists of up to 30 trials, on which corners, ties and single trials of a kind are frequent."""
    sets = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        labels = rng.random(rng.integers(2, 30)) < rng.uniform(0.1, 0.9)
        if labels.any() and not labels.all():
            sets.append((rng.integers(-4, 5, len(labels)) / 2 + labels * rng.integers(0, 3), labels))
    assert len(sets) > 200
    return sets


def check_equal_figures(scores: np.ndarray, labels: np.ndarray) -> None:
    pools = peer_pools(scores, labels)
    for p_target in (0.01, 0.05, 0.5, 0.9):
        cost = ROCCH(pools).Bayes_error_rate(np.log(p_target / (1 - p_target))) / min(p_target, 1 - p_target)
        assert min_dcf(scores, labels, p_target) == pytest.approx(cost, abs=ROUNDING)
    assert min_cllr(scores, labels) == pytest.approx(peer_cllr.min_cllr(pools), abs=ROUNDING)
    llrs = scores.astype(np.float64)
    assert cllr(llrs, labels) == pytest.approx(peer_cllr.cllr(llrs[labels], llrs[~labels]), rel=ROUNDING)


def check_bounds_of_eer(scores: np.ndarray, labels: np.ndarray) -> bool:
    """Our EER against the peer's hull; returns whether the two definitions differ here."""
    pools, ours = peer_pools(scores, labels), eer(scores, labels)
    false_alarms, misses = peer_corners(pools)
    after = int(np.argmax(false_alarms >= misses))
    before = after - 1
    gap = misses - false_alarms
    share = gap[before] / (gap[before] - gap[after])
    hull = false_alarms[before] + share * (false_alarms[after] - false_alarms[before])
    # Both corners are points of our curve too. Between them it only falls to the right, so that where it meets the
    # diagonal no rate is above the misses of the one or the false alarms of the other. It never dips below the hull.
    assert hull - ROUNDING <= ours <= min(misses[before], false_alarms[after]) + ROUNDING
    # The peer searches the prior at which the least error rate is highest, by Brent's method: it comes from below, and
    # stops within 1.5e-8 of the log-odds, times a slope of at most 1/4.
    assert hull - 1e-7 <= ROCCH(pools).EER() <= hull + ROUNDING
    return bool(ours > hull + 1e-6)


# --- llreval


@pytest.mark.parametrize("name", SETS)
def test_min_dcf_cllr_and_min_cllr_are_those_of_the_peer(name: str) -> None:
    scores, labels = SETS[name]()
    with np.errstate(over="ignore"):
        check_equal_figures(scores, labels)


def test_they_are_on_hundreds_of_small_lists() -> None:
    for scores, labels in many_small_sets():
        check_equal_figures(scores, labels)


@pytest.mark.parametrize("name", SETS)
def test_the_eer_lies_between_the_peers_hull_and_its_corners(name: str) -> None:
    check_bounds_of_eer(*SETS[name]())


def test_it_does_on_hundreds_of_small_lists_and_the_definitions_do_differ() -> None:
    differ = [check_bounds_of_eer(scores, labels) for scores, labels in many_small_sets()]
    assert 0.1 < np.mean(differ) < 0.9


@pytest.mark.parametrize("name", SETS)
def test_the_eer_is_the_peers_where_the_peers_pools_are_the_scores(name: str) -> None:
    # The ROC of the pooled scores is the hull itself, so that both definitions are one.
    scores, labels = SETS[name]()
    pools = peer_pools(scores, labels)
    order = np.lexsort((~labels, scores))  # as the peer sorts
    pooled = np.empty(len(scores))
    pooled[order] = np.repeat(pools.p, pools.counts)
    assert eer(pooled, labels) == pytest.approx(ROCCH(pools).EER(), abs=1e-7)
    assert eer(pooled, labels) <= eer(scores, labels) + ROUNDING


def test_infinite_llrs_cost_what_they_cost_the_peer() -> None:
    labels = np.array([True, True, False, False])
    right, wrong = np.array([np.inf, 1.0, -np.inf, 0.0]), np.array([-np.inf, 1.0, -np.inf, 0.0])
    assert cllr(right, labels) == pytest.approx(peer_cllr.cllr(right[labels], right[~labels]), rel=ROUNDING)
    assert cllr(wrong, labels) == peer_cllr.cllr(wrong[labels], wrong[~labels]) == np.inf


@pytest.mark.parametrize("kind", [True, False])
def test_trials_of_one_kind_are_an_error_here_as_there(kind: bool) -> None:
    scores, labels = np.arange(3.0), np.full(3, kind)
    with pytest.raises(AssertionError):  # the peer's own check, without a message
        peer_pools(scores, labels)
    for figure in (eer, min_dcf, cllr, min_cllr):
        with pytest.raises(MetricError, match=r"all 3 trials are .* trials; both kinds are needed"):
            figure(scores, labels)


# --- scikit-learn


def check_closest_threshold(scores: np.ndarray, labels: np.ndarray) -> None:
    false_alarms, misses, _ = det_curve(labels, scores)
    closest = int(np.argmin(np.abs(false_alarms - misses)))
    # On one side of the crossing one rate is above our EER and the other below it: the mean is off by half their
    # distance at most.
    low, high = sorted((false_alarms[closest], misses[closest]))
    assert low - ROUNDING <= eer(scores, labels) <= high + ROUNDING
    assert abs((low + high) / 2 - eer(scores, labels)) <= (high - low) / 2 + ROUNDING


@pytest.mark.parametrize("name", FINITE)
def test_the_mean_of_both_rates_is_off_by_half_their_distance_at_most(name: str) -> None:
    check_closest_threshold(*SETS[name]())


def test_it_is_on_hundreds_of_small_lists() -> None:
    for scores, labels in many_small_sets():
        check_closest_threshold(scores, labels)


def test_scikit_learn_refuses_infinite_scores_which_we_rank() -> None:
    scores, labels = SETS["infinite scores"]()
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="infinity"):
        det_curve(labels, scores)
    finite = np.clip(scores, -1e6, 1e6)  # the same order
    assert eer(scores, labels) == eer(finite, labels)
    check_closest_threshold(finite, labels)
