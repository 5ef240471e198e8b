"""The map from score to log-likelihood ratio, against scikit-learn and against distributions whose ratio is known."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sound_groove.errors import MetricError
from sound_groove.scoring.calibration import ScoreMap, Term, probability
from sound_groove.scoring.cosine import cosine, mean_embedding, score_trials
from sound_groove.scoring.map_regression import RANGE, RIDGE, fit_score_map, least_logistic_loss
from sound_groove.scoring.measures import MEASURES, trial_measures
from sound_groove.scoring.metrics import cllr


def normal_trials(
    targets: int = 300, nontargets: int = 3000, distance: float = 2.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Targets N(distance, 1) and nontargets N(0, 1), shifted and scaled to look like cosines."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate((rng.normal(distance, 1, targets), rng.normal(0, 1, nontargets)))
    return 0.1 * scores + 0.2, np.arange(targets + nontargets) < targets


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.9])
def test_the_fit_is_that_of_scikit_learn(prior: float) -> None:
    scores, labels = normal_trials()
    weights = np.where(labels, prior / labels.sum(), (1 - prior) / (~labels).sum())
    # The same objective: standardised scores, ridge on the slope only. The intercept takes in the prior's log odds.
    standard = (scores - scores.mean()) / scores.std()
    oracle = LogisticRegression(C=1 / RIDGE, tol=1e-12, max_iter=10_000)
    oracle.fit(standard[:, None], labels, sample_weight=weights)
    scale = oracle.coef_[0, 0] / scores.std()
    offset = oracle.intercept_[0] - math.log(prior / (1 - prior)) - scale * scores.mean()
    fitted = fit_score_map(scores, labels, "normal", prior)
    assert fitted.scale == pytest.approx(scale, rel=1e-4)
    assert fitted.offset == pytest.approx(offset, rel=1e-4, abs=1e-4)
    assert fitted.fitted_on == "normal"


def test_a_fit_ends_where_the_loss_is_flat_and_computes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where columns say little, the last step gains less than a loss is rounded by, and halving it would find nothing.
    losses: list[int] = []
    whole = np.logaddexp

    def counted(*given: np.ndarray) -> np.ndarray:
        losses[-1] += 1
        return np.asarray(whole(*given))

    monkeypatch.setattr(np, "logaddexp", counted)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        columns = np.column_stack((rng.normal(size=(5000, 6)), np.ones(5000)))
        labels, weights = (rng.random(5000) < 0.1).astype(float), np.full(5000, 1 / 5000)
        losses.append(0)
        found = least_logistic_loss(columns, labels, weights, 0.0)
        posterior = 1 / (1 + np.exp(-columns @ found))
        gradient = columns.T @ (weights * (posterior - labels)) + np.append(np.full(6, RIDGE), 0.0) * found
        assert np.abs(gradient).max() < 1e-14
    assert max(losses) < 20


def test_the_known_ratio_of_two_normal_distributions_is_found() -> None:
    # N(2, 1) against N(0, 1) has llr 2 x - 2; with s = 0.1 x + 0.2 that is 20 s - 6
    fitted = fit_score_map(*normal_trials(100_000, 200_000), "normal")
    assert fitted.scale == pytest.approx(20, rel=0.02)
    assert fitted.offset == pytest.approx(-6, rel=0.02)


def test_no_other_line_has_a_lower_cllr() -> None:
    scores, labels = normal_trials()
    fitted = fit_score_map(scores, labels, "normal")
    best = cllr(fitted.llr(scores), labels)
    for scale, offset in ((1.02, 0), (0.98, 0), (1, 0.05), (1, -0.05)):
        assert cllr(ScoreMap(fitted.scale * scale, fitted.offset + offset, "").llr(scores), labels) > best


def test_class_sizes_do_not_move_the_map() -> None:
    scores, labels = normal_trials()
    repeated = np.concatenate((scores, np.tile(scores[labels], 9)))
    more = np.concatenate((labels, np.ones(9 * labels.sum(), dtype=bool)))
    once, again = fit_score_map(scores, labels, ""), fit_score_map(repeated, more, "")
    assert again.scale == pytest.approx(once.scale, rel=1e-3)
    assert again.offset == pytest.approx(once.offset, rel=1e-2)


def test_a_map_follows_the_scale_of_its_scores() -> None:
    scores, labels = normal_trials()
    once, scaled = fit_score_map(scores, labels, ""), fit_score_map(1000 * scores + 5, labels, "")
    np.testing.assert_allclose(scaled.llr(1000 * scores + 5), once.llr(scores), atol=1e-6)


def test_separable_trials_give_a_finite_confident_map() -> None:
    for scores in ([0.9, 0.8, 0.1, 0.0], [0.9, 0.1], np.repeat([0.7, 0.3], 5000)):
        labels = np.asarray(scores) > 0.5
        fitted = fit_score_map(scores, labels, "")
        llrs = fitted.llr(scores)
        assert np.isfinite(llrs).all() and llrs[labels].min() > 3 and llrs[~labels].max() < -3


def test_an_outlier_far_away_does_not_break_the_fit() -> None:
    scores, labels = normal_trials()
    fitted = fit_score_map(np.append(scores, [1e6, -1e6]), np.append(labels, [True, False]), "")
    assert math.isfinite(fitted.scale) and fitted.scale >= 0


def test_scores_the_wrong_way_round_or_all_equal_say_nothing() -> None:
    scores, labels = normal_trials()
    for said in (fit_score_map(-scores, labels, ""), fit_score_map(np.full(4, 0.3), [1, 0, 1, 0], "")):
        assert (said.scale, said.offset) == (0.0, 0.0)


def test_trials_that_cannot_calibrate_are_refused() -> None:
    with pytest.raises(MetricError, match="infinite scores"):
        fit_score_map([np.inf, 0.0], [1, 0], "")
    with pytest.raises(MetricError, match="both kinds"):
        fit_score_map([1.0, 0.0], [1, 1], "")
    with pytest.raises(MetricError, match="prior must lie between 0 and 1"):
        fit_score_map([1.0, 0.0], [1, 0], "", prior=1.0)
    with pytest.raises(MetricError, match="scale of at least 0"):
        ScoreMap(-1.0, 0.0, "")
    with pytest.raises(MetricError, match="finite"):
        ScoreMap(1.0, math.nan, "")


def test_probability_is_bayes_rule() -> None:
    # odds 1:1 before, evidence 3:1 for 'same' -> 3/4; from odds 1:3 -> 1/2
    assert probability(math.log(3), 0.5) == pytest.approx(0.75)
    assert probability(math.log(3), 0.25) == pytest.approx(0.5)
    assert probability(-math.log(3), 0.5) == pytest.approx(0.25)
    # No evidence makes a certainty, not even where a float would be rounded to one.
    assert probability(1e4, 0.01) == probability(math.inf, 0.5) == 1.0 - 2.0**-53 < 1.0
    assert probability(-1e4, 0.99) == 2.0**-53
    for prior in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(MetricError, match="prior must lie between 0 and 1"):
            probability(0.0, prior)
    with pytest.raises(MetricError, match="NaN"):
        probability(math.nan, 0.5)


# --- cosine scoring


def unit_rows(count: int, size: int = 16) -> np.ndarray:
    rows = np.random.default_rng(3).normal(size=(count, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_trial_scores_are_cosines_whatever_the_chunk() -> None:
    embeddings = unit_rows(20)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 20, (2, 101))
    scores = score_trials(embeddings, first, second)
    np.testing.assert_allclose(scores, (embeddings @ embeddings.T)[first, second], atol=1e-6)
    assert np.array_equal(scores, score_trials(embeddings, first, second, chunk=7))
    assert np.array_equal(scores, score_trials(embeddings, second, first))
    assert np.abs(scores).max() <= 1.0
    assert scores[0] == pytest.approx(cosine(embeddings[first[0]], embeddings[second[0]]), abs=1e-6)


def test_trials_of_embeddings_that_do_not_exist_are_refused() -> None:
    for first, second in (([0], [20]), ([-1], [0])):
        with pytest.raises(MetricError, match="outside the 20"):
            score_trials(unit_rows(20), np.array(first), np.array(second))
    with pytest.raises(MetricError, match="1 enrolments but 2 tests"):
        score_trials(unit_rows(20), np.array([0]), np.array([0, 1]))


def test_opposite_embeddings_have_no_mean() -> None:
    with pytest.raises(MetricError, match="cancel out"):
        mean_embedding(np.array([[1, 0], [-1, 0]], dtype=np.float32))
    with pytest.raises(MetricError, match="no embeddings"):
        mean_embedding(np.empty((0, 2), dtype=np.float32))


# --- measures of the recordings


def trials_of_noisy_scores(count: int = 40_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets around 1 and nontargets around 0 whose scores are noisier where the measure m is low.

    With a variance of exp(-m) in both classes, llr = exp(m) s - exp(m) / 2.
    """
    rng = np.random.default_rng(seed)
    labels, measure = np.arange(2 * count) < count, rng.uniform(-1.0, 1.0, 2 * count)
    return labels + rng.normal(size=2 * count) * np.exp(-measure / 2), labels, measure


@pytest.mark.parametrize("prior", [0.1, 0.5])
def test_the_fit_with_measures_is_that_of_scikit_learn(prior: float) -> None:
    scores, labels, speech = trials_of_noisy_scores(2_000)
    snr = np.random.default_rng(1).normal(20, 5, len(scores)) + 3 * labels
    fitted = fit_score_map(scores, labels, "", prior, {"speech": speech, "snr": snr})
    # The same objective on the same columns: score, score x measures, measures.
    clipped = [np.clip(values, *np.quantile(values, RANGE)) for values in (speech, snr)]
    x, *z = ((values - values.mean()) / values.std() for values in (scores, *clipped))
    design = np.column_stack([x, *(x * column for column in z), *z])
    weights = np.where(labels, prior / labels.sum(), (1 - prior) / (~labels).sum())
    oracle = LogisticRegression(C=1 / RIDGE, tol=1e-12, max_iter=10_000)
    oracle.fit(design, labels, sample_weight=weights)
    expected = oracle.decision_function(design) - math.log(prior / (1 - prior))
    assert np.allclose(fitted.llr(scores, {"speech": speech, "snr": snr}), expected, atol=1e-3)


def test_the_known_ratio_of_noisy_scores_is_approached() -> None:
    scores, labels, measure = trials_of_noisy_scores()
    fitted = fit_score_map(scores, labels, "", measures={"speech": measure})
    known = np.exp(measure) * (scores - 0.5)  # exp(m) is no line, so that a line comes near it only
    blind = fit_score_map(scores, labels, "")
    far, blindly_far = fitted.llr(scores, {"speech": measure}) - known, blind.llr(scores) - known
    assert np.abs(far).mean() < 0.3 * np.abs(blindly_far).mean()
    assert cllr(fitted.llr(scores, {"speech": measure}), labels) < cllr(blind.llr(scores), labels)
    assert cllr(fitted.llr(scores, {"speech": measure}), labels) < 1.005 * cllr(known, labels)
    for score in (-0.5, 1.5):  # of poor recordings the same score says less, either way
        poor, good = fitted.llr(score, {"speech": -1.0}), fitted.llr(score, {"speech": 1.0})
        assert abs(poor) < 0.5 * abs(good) and np.sign(poor) == np.sign(good)


def test_beyond_what_it_was_fitted_on_a_map_is_not_followed() -> None:
    bent = ScoreMap(10.0, -3.0, "", (Term("speech", 2.0, -1.0, low=-1.0, high=2.0),))
    assert bent.llr(0.5, {"speech": 1.5}) == pytest.approx((10 + 3) * 0.5 - 3 - 1.5)
    assert bent.llr(0.5, {"speech": 99.0}) == bent.llr(0.5, {"speech": 2.0})
    assert bent.llr(0.5, {"speech": -99.0}) == bent.llr(0.5, {"speech": -1.0})
    values = bent.llr([0.1, 0.2], {"speech": [0.0, 1.0]})
    assert values.tolist() == pytest.approx([10 * 0.1 - 3, 12 * 0.2 - 4])


def test_a_measure_never_turns_scores_around() -> None:
    rng = np.random.default_rng(0)
    measure, labels = rng.uniform(-1, 1, 20_000), rng.random(20_000) < 0.5
    # Higher scores mean 'same' where the measure is high, and 'different' where it is low.
    scores = np.where(measure > -0.5, 1.0, -3.0) * labels + rng.normal(size=20_000)
    fitted = fit_score_map(scores, labels, "", measures={"speech": measure})
    assert fitted.least_scale >= 0
    for value in (-1.0, 0.0, 1.0):
        assert fitted.llr(1.0, {"speech": value}) >= fitted.llr(0.0, {"speech": value})


def test_a_measure_that_is_always_the_same_is_left_out() -> None:
    scores, labels = normal_trials()
    plain = fit_score_map(scores, labels, "")
    fitted = fit_score_map(scores, labels, "", measures={"snr": np.full(len(scores), 30.0)})
    assert fitted.terms == () and fitted.scale == pytest.approx(plain.scale)


def test_the_map_of_trials_has_no_favourite_side() -> None:
    first = {"speech_s": [1.0, 4.0], "snr_db": [10.0, 30.0], "embedding_norm": [5.0, math.nan]}
    second = {"speech_s": [3.0, 4.0], "snr_db": [20.0, 5.0], "embedding_norm": [7.0, 2.0]}
    there, back = trial_measures(first, second), trial_measures(second, first)
    assert all(np.array_equal(there[name], back[name], equal_nan=True) for name in MEASURES)
    assert there["speech"].tolist() == pytest.approx([math.log(1.5), math.log(4.0)])  # harmonic means of 1, 3 and 4, 4
    assert there["snr"].tolist() == [10.0, 5.0]
    assert there["norm"][0] == pytest.approx(math.log(5.0)) and math.isnan(there["norm"][1])


def test_a_map_comes_back_from_its_record() -> None:
    for score_map in (
        ScoreMap(10.0, -3.0, "an example"),
        ScoreMap(8.0, 1.0, "y", (Term("snr", 0.1, 0.2, 0.0, 30.0),), True, ("0a", "1b"), {"cllr": 0.2}),
    ):
        record = json.loads(json.dumps(score_map.as_dict()))
        assert ScoreMap.restored(record) == score_map
    assert list(ScoreMap(1.0, 0.0, "x").as_dict()) == ["scale", "offset", "fitted_on"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Term("speach", 0.0, 0.0, 0.0, 1.0), "there is no measure 'speach'; did you mean 'speech'"),
        (lambda: Term("snr", 0.0, 0.0, 2.0, 1.0), "a range from low to high"),
        (
            lambda: ScoreMap(1.0, 0.0, "", (Term("snr", 1.0, 0.0, -2.0, 1.0),)),
            "scores are not turned; it is -1",
        ),
        (lambda: ScoreMap(1.0, 0.0, "", (Term("snr", 1.0, 0.0, 0.0, 1.0),)).llr(0.1), "needs the measure 'snr'"),
        (lambda: ScoreMap(1.0, 0.0, "", (Term("snr", 1.0, 0.0, 0.0, 1.0),)).llr(0.1, {"snr": np.nan}), "not a number"),
        (lambda: fit_score_map([1.0, 0.0], [1, 0], "", measures={"snr": [1.0]}), "a finite number for each of the 2"),
        (lambda: ScoreMap.restored({"scale": 1.0}), "KeyError"),
    ],
)
def test_maps_that_make_no_sense_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        make()
