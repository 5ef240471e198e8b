"""Which measures and bounds serve the parts that a map was not fitted on."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sound_groove.errors import MetricError
from sound_groove.evaluation.map_fitting import Fitting, ScoredPairs
from sound_groove.scoring.calibration import ScoreMap, fit_score_map
from sound_groove.scoring.metrics import cllr

PARTS, EACH = 6, 600


def drawn(seed: int = 0, shifts: tuple[float, ...] = (0.0,) * PARTS) -> ScoredPairs:
    """Pairs whose scores are worth less the lower 'snr' is; 'speech' says nothing. One shift of the scores a part."""
    rng = np.random.default_rng(seed)
    part = np.repeat(np.arange(PARTS), EACH)
    labels = np.tile(np.arange(EACH) < EACH // 3, PARTS)
    snr = rng.uniform(0.5, 3.0, len(part))
    scores = rng.normal(np.where(labels, 0.5, 0.0) * snr, 0.4) + np.array(shifts)[part]
    return ScoredPairs(scores, labels, {"snr": snr, "speech": rng.normal(size=len(part))}, part, part)


def test_a_measure_enters_the_map_only_if_it_helps_what_was_left_out() -> None:
    found = Fitting(drawn(), PARTS, True, 0.5, 0).fit("drawn")
    assert [term.measure for term in found.score_map.terms] == ["snr"]
    assert len(found.without) == PARTS and all([term.measure for term in one.terms] == ["snr"] for one in found.without)


def test_folds_of_speakers_keep_all_measures_and_have_no_bounds() -> None:
    found = Fitting(drawn(), PARTS, False, 0.5, 0).fit("drawn")
    assert {term.measure for term in found.score_map.terms} == {"snr", "speech"}
    assert found.score_map.bounds is None


def test_bounds_are_narrow_where_collections_differ() -> None:
    alike, apart = (
        Fitting(drawn(1, shifts), PARTS, True, 0.5, 0).fit("drawn").score_map.bounds
        for shifts in ((0.0,) * PARTS, (0.0, 0.0, 0.0, 0.0, 0.0, -1.2))
    )
    assert alike is not None and apart is not None
    assert apart[0] > alike[0]  # one collection's targets score as strangers do elsewhere


def test_a_map_without_a_part_knows_nothing_of_it() -> None:
    pairs = drawn(2)
    changed = ScoredPairs(
        np.where(pairs.first == 3, -5.0 * pairs.scores, pairs.scores),
        pairs.labels,
        pairs.measures,
        pairs.first,
        pairs.second,
    )
    one, other = (Fitting(each, PARTS, True, 0.5, 0) for each in (pairs, changed))
    # The measures are chosen over all parts; given the same ones, what is left out of a fit leaves no trace in it.
    first, second = (each._fit(each.pairs, (3,), ("snr",), "") for each in (one, other))
    assert first == second


def test_collections_weigh_the_same_as_scikit_learn_has_it() -> None:
    pairs = drawn(3, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5))
    rng = np.random.default_rng(0)
    rows = np.flatnonzero((pairs.first != 2) | (rng.random(len(pairs.first)) < 0.2))  # one collection is small
    scores, labels, groups = pairs.scores[rows], pairs.labels[rows], pairs.first[rows]
    weights = np.zeros(len(rows))
    for group in range(PARTS):
        for kind in (True, False):
            mask = (groups == group) & (labels == kind)
            weights[mask] = 1.0 / mask.sum()
    expected = LogisticRegression(C=1e6, tol=1e-10, max_iter=1000).fit(scores[:, None], labels, sample_weight=weights)
    found = fit_score_map(scores, labels, "", groups=groups)
    assert found.scale == pytest.approx(float(expected.coef_[0, 0]), rel=1e-3)
    assert found.offset == pytest.approx(float(expected.intercept_[0]), abs=1e-3)
    assert found.scale != pytest.approx(fit_score_map(scores, labels, "").scale, rel=1e-3)


def test_a_collection_of_one_kind_of_trials_cannot_be_weighed() -> None:
    with pytest.raises(MetricError, match="each collection needs trials of one speaker and trials of two"):
        fit_score_map([0.1, 0.5, 0.2], [False, True, False], "", groups=[0, 0, 1])


def test_bounds_end_what_is_told_and_a_score_beyond_them_has_no_threshold() -> None:
    bounded = ScoreMap(10.0, -3.0, "", bounds=(-2.0, 4.0))
    assert bounded.llr([-1.0, 0.3, 1.0]).tolist() == [-2.0, 0.0, 4.0]
    assert bounded.score_of(1.0, 10.0, -3.0) == pytest.approx(0.4)
    assert bounded.score_of(4.5, 10.0, -3.0) is None and bounded.score_of(-2.5, 10.0, -3.0) is None
    assert ScoreMap.restored(bounded.as_dict()) == bounded
    for wrong in ((1.0, 2.0), (-1.0, float("inf")), (2.0, -2.0)):
        with pytest.raises(MetricError, match="bounds of a score map lie below and above 0"):
            ScoreMap(10.0, -3.0, "", bounds=wrong)
    labels = np.array([True, True, False])
    assert cllr(bounded.llr([-9.0, 0.9, 0.0]), labels) < cllr(ScoreMap(10.0, -3.0, "").llr([-9.0, 0.9, 0.0]), labels)
