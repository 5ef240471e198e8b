"""Which measures and bounds serve the parts that a map was not fitted on."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from sound_groove.cli.calibrate import _made_of
from sound_groove.errors import MetricError
from sound_groove.evaluation.map_fitting import LEAST_GAIN, Fitting, Making, ScoredPairs
from sound_groove.scoring.calibration import ScoreMap, Term
from sound_groove.scoring.map_regression import fit_score_map
from sound_groove.scoring.measures import trial_measures
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
    first, second = (each._fit(each.pairs, (3,), Making(("snr",), rises=True), "") for each in (one, other))
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


def gaussian(spread: float, seed: int = 0) -> ScoredPairs:
    """Scores of two speakers with a mean of 0 and a deviation of 0.2, of one speaker with a mean of 0.5."""
    rng = np.random.default_rng(seed)
    part = np.repeat(np.arange(PARTS), 2 * EACH)
    labels = np.tile(np.arange(2 * EACH) < EACH, PARTS)
    scores = np.where(labels, rng.normal(0.5, spread, len(part)), rng.normal(0.0, 0.2, len(part)))
    return ScoredPairs(scores, labels, {}, part, part)


def test_a_map_rises_with_the_square_where_scores_of_one_speaker_spread_more() -> None:
    pairs = gaussian(0.3)
    assert Fitting(pairs, PARTS, True, 0.5, 0).fit("drawn").score_map.rise > 0
    straight, found = (fit_score_map(pairs.scores, pairs.labels, "", rises=rises) for rises in (False, True))
    assert 0.1 < found.rises_from < 0.4
    for score in (0.4, 0.5, 0.6, 0.7):
        # The logarithm of the ratio of the two densities, worked out from their definition.
        expected = np.log(0.2 / 0.3) - (score - 0.5) ** 2 / (2 * 0.3**2) + score**2 / (2 * 0.2**2)
        assert abs(found.llr(score) - expected) < 0.15 * expected
    assert straight.llr(0.7) < 0.75 * expected


def test_a_rise_need_not_gain_what_a_measure_must() -> None:
    fitting = Fitting(gaussian(0.24), PARTS, True, 0.5, 0)
    assert 0 < fitting._cost(Making()) - fitting._cost(Making((), rises=True)) < LEAST_GAIN
    found = fitting.fit("drawn").score_map
    # At the end, which Cllr hardly weighs: the logarithm of the ratio of the densities, from their definition.
    expected = np.log(0.2 / 0.24) - (0.9 - 0.5) ** 2 / (2 * 0.24**2) + 0.9**2 / (2 * 0.2**2)
    straight = fit_score_map(fitting.pairs.scores, fitting.pairs.labels, "")
    assert found.llr(0.9) == pytest.approx(expected, abs=0.5)
    assert straight.llr(0.9) < expected - 1.5


def test_a_map_is_straight_where_that_serves_as_well() -> None:
    assert Fitting(gaussian(0.2), PARTS, True, 0.5, 0).fit("drawn").score_map.rise == 0
    narrow = gaussian(0.1)  # by the squares the map would fall
    assert fit_score_map(narrow.scores, narrow.labels, "", rises=True) == fit_score_map(
        narrow.scores, narrow.labels, ""
    )


def near_parts(distances: tuple[float, ...], seed: int = 0) -> tuple[ScoredPairs, NDArray[np.float64]]:
    """Pairs whose scores are worth less the further their embeddings are from the means of all parts but their own."""
    rng = np.random.default_rng(seed)
    means = np.eye(PARTS, PARTS + 1) * 0.4
    means[:, -1] = 0.5
    part = np.repeat(np.arange(PARTS), EACH)
    labels = np.tile(np.arange(EACH) < EACH // 3, PARTS)
    close = np.array(distances)[part] + rng.uniform(0.0, 0.4, len(part))
    scores = rng.normal(np.where(labels, 3.0, 0.0) * close, 0.4)
    embeddings = np.zeros((len(part), PARTS + 1))
    embeddings[:, -1] = close
    embeddings[np.arange(len(part)), part] = 0.9  # each is nearest to its own part, which says nothing
    cosines = embeddings @ means.T
    near = np.stack((cosines, cosines + 1.0))  # of the two sides the further one counts
    return ScoredPairs(scores, labels, {}, part, part, near), means


def test_closeness_is_to_the_parts_that_a_map_was_fitted_on_and_the_further_side_counts() -> None:
    pairs, means = near_parts((0.2, 0.3, 0.4, 0.5, 0.6, 0.7))
    found = Fitting(pairs, PARTS, True, 0.5, 0, means).fit("drawn")
    (term,) = found.score_map.terms
    assert term.measure == "closeness" and term.slope > 0
    assert found.score_map.reference == pytest.approx(means.mean(axis=0))
    for part, one in enumerate(found.without):
        assert one.reference == pytest.approx(np.delete(means, part, axis=0).mean(axis=0))
    # By hand: a pair of part 2, without part 4, is compared with parts 0, 1, 3 and 5.
    row = int(np.flatnonzero(pairs.first == 2)[0])
    assert pairs.near is not None
    assert pairs.apart_from((4,)).measures["closeness"][row] == pytest.approx(pairs.near[0, row, [0, 1, 3, 5]].mean())


def test_a_map_takes_the_closeness_of_embeddings_by_its_reference() -> None:
    near = ScoreMap(3.0, 0.0, "", (Term("closeness", 2.0, 0.0, -1.0, 1.0),), reference=(0.0, 0.5))
    assert near.closeness([[1.0, 0.0], [0.6, 0.8]]).tolist() == [0.0, 0.4]
    sides = ({"speech_s": 3.0, "snr_db": 20.0, "closeness": value} for value in (0.4, 0.1))
    assert float(near.llr(1.0, trial_measures(*sides))) == pytest.approx(3.2)
    assert np.isnan(ScoreMap(1.0, 0.0, "").closeness([1.0, 0.0]))
    assert ScoreMap.restored(near.as_dict()) == near
    with pytest.raises(MetricError, match="is for embeddings of 2 values, not 3"):
        near.closeness([1.0, 0.0, 0.0])


def test_measures_bend_the_rise() -> None:
    rng = np.random.default_rng(0)
    labels, snr = np.arange(6 * EACH) % 2 == 0, rng.uniform(0.5, 3.0, 6 * EACH)
    scores = np.where(labels, rng.normal(0.5, 0.2 + 0.1 * snr), rng.normal(0.0, 0.2, len(snr)))
    found = fit_score_map(scores, labels, "", measures={"snr": snr}, rises=True)
    (term,) = found.terms
    assert term.rise > 0  # the higher snr is, the more the scores of one speaker spread
    low, high = (found.line({"snr": value}) for value in (term.low, term.high))
    assert float(high.rise) > float(low.rise) >= 0
    assert found.rise + term.rise * term.high == pytest.approx(float(high.rise))
    assert ScoreMap.restored(found.as_dict()) == found
    with pytest.raises(MetricError, match="rises by a finite number of at least 0"):
        ScoreMap(10.0, 0.0, "", (Term("snr", 0.0, 0.0, 0.0, 2.0, rise=-1.0),), rise=1.0)


def test_the_score_of_an_llr_is_found_on_the_rise_and_below_it() -> None:
    rising = ScoreMap(10.0, -3.0, "", rise=40.0, rises_from=0.3)
    for score in (-0.2, 0.1, 0.3, 0.31, 0.9):
        assert rising.score_of(float(rising.llr(score)), rising.line()) == pytest.approx(score)
    assert ScoreMap.restored(rising.as_dict()) == rising
    flat = ScoreMap(0.0, 0.0, "", rise=1.0)
    assert flat.score_of(4.0, flat.line()) == 2.0
    assert flat.score_of(-1.0, flat.line()) is None
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(MetricError, match="rises by a finite number of at least 0"):
            ScoreMap(10.0, -3.0, "", rise=wrong)


def test_a_collection_of_one_kind_of_trials_cannot_be_weighed() -> None:
    with pytest.raises(MetricError, match="each collection needs trials of one speaker and trials of two"):
        fit_score_map([0.1, 0.5, 0.2], [False, True, False], "", groups=[0, 0, 1])


def test_bounds_end_what_is_told_and_a_score_beyond_them_has_no_threshold() -> None:
    bounded = ScoreMap(10.0, -3.0, "", bounds=(-2.0, 4.0))
    assert bounded.llr([-1.0, 0.3, 1.0]).tolist() == [-2.0, 0.0, 4.0]
    assert bounded.score_of(1.0, bounded.line()) == pytest.approx(0.4)
    assert bounded.score_of(4.5, bounded.line()) is None and bounded.score_of(-2.5, bounded.line()) is None
    assert ScoreMap.restored(bounded.as_dict()) == bounded
    for wrong in ((1.0, 2.0), (-1.0, float("inf")), (2.0, -2.0)):
        with pytest.raises(MetricError, match="bounds of a score map lie below and above 0"):
            ScoreMap(10.0, -3.0, "", bounds=wrong)
    labels = np.array([True, True, False])
    assert cllr(bounded.llr([-9.0, 0.9, 0.0]), labels) < cllr(ScoreMap(10.0, -3.0, "").llr([-9.0, 0.9, 0.0]), labels)


def test_people_are_told_what_a_map_goes_by() -> None:
    terms = (Term("speech", 0.1, 0.0, 0.0, 1.0), Term("snr", 0.1, 0.0, 0.0, 1.0, rise=0.5))
    whole = ScoreMap(10.0, -3.0, "", terms, rise=1.0, rises_from=0.25, bounds=(-3.0, 12.0))
    assert _made_of(whole) == (
        "the score, speech and snr; above a score of 0.250 it rises with the square; llrs lie between -3 and 12"
    )
    assert _made_of(ScoreMap(10.0, -3.0, "")) == "the score"
