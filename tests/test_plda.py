"""PLDA: densities of scipy, covariances that data were drawn with, the analysis of variance, and few speakers."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sound_groove.errors import MetricError
from sound_groove.scoring.cosine import centred
from sound_groove.scoring.metrics import cllr, eer, min_cllr
from sound_groove.scoring.plda import Plda, TwoCovariances, fit_plda, fit_two_covariances, speaker_statistics

Matrix = NDArray[np.float64]


def covariance(size: int, seed: int, scale: float = 1.0) -> Matrix:
    root = np.random.default_rng(seed).standard_normal((size, 2 * size))
    return scale * root @ root.T / (2 * size)


def a_model(size: int, seed: int = 0) -> TwoCovariances:
    mean = np.random.default_rng(seed + 100).standard_normal(size)
    return TwoCovariances(mean, covariance(size, seed, 2.0), covariance(size, seed + 50))


def drawn(model: TwoCovariances, counts: NDArray[np.int64], seed: int) -> tuple[Matrix, NDArray[np.int64]]:
    """Embeddings and their speakers, as the model says that they come about."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(len(counts)), counts)
    size = len(model.mean)
    voices = rng.multivariate_normal(model.mean, model.between, len(counts))
    return voices[speakers] + rng.multivariate_normal(np.zeros(size), model.within, len(speakers)), speakers


def log_likelihood(model: TwoCovariances, vectors: Matrix, speakers: NDArray[np.int64]) -> float:
    """Of all embeddings, each speaker's together, by scipy."""
    total = 0.0
    for speaker in np.unique(speakers):
        own = vectors[speakers == speaker]
        joint = np.kron(np.ones((len(own), len(own))), model.between) + np.kron(np.eye(len(own)), model.within)
        total += float(multivariate_normal(np.tile(model.mean, len(own)), joint).logpdf(own.ravel()))
    return total


# --- scoring


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_score_is_the_ratio_of_the_densities_that_scipy_gives(size: int) -> None:
    model = a_model(size)
    vectors = np.random.default_rng(1).normal(0, 2, (40, size))
    enrolments, tests = np.random.default_rng(2).integers(0, 40, (2, 60))
    total = model.between + model.within
    joint = np.block([[total, model.between], [model.between, total]])
    one = multivariate_normal(np.tile(model.mean, 2), joint)
    alone = multivariate_normal(model.mean, total)
    expected = [
        one.logpdf(np.concatenate((vectors[e], vectors[t]))) - alone.logpdf(vectors[e]) - alone.logpdf(vectors[t])
        for e, t in zip(enrolments, tests, strict=True)
    ]
    np.testing.assert_allclose(model.score_trials(vectors, enrolments, tests), expected, rtol=1e-9, atol=1e-9)


def test_a_score_is_that_of_its_mirror_image() -> None:
    vectors = np.random.default_rng(3).normal(0, 1, (50, 9))
    first, second = np.random.default_rng(4).integers(0, 50, (2, 300))
    model = a_model(9)
    assert np.array_equal(model.score_trials(vectors, first, second), model.score_trials(vectors, second, first))


def test_speakers_who_do_not_differ_cannot_be_told_apart() -> None:
    model = TwoCovariances(np.zeros(4), np.zeros((4, 4)), covariance(4, 0))
    vectors = np.random.default_rng(5).normal(0, 1, (10, 4))
    assert model.score_trials(vectors, np.arange(5), np.arange(5, 10)).tolist() == [0.0] * 5


def test_ratios_are_calibrated_where_the_model_is_true() -> None:
    model = a_model(6, seed=7)
    vectors, speakers = drawn(model, np.full(300, 2), seed=8)
    enrolments, tests = np.triu_indices(len(vectors), 1)
    labels = speakers[enrolments] == speakers[tests]
    llrs = model.score_trials(vectors, enrolments, tests)
    assert min_cllr(llrs, labels) < cllr(llrs, labels) < min_cllr(llrs, labels) + 0.03
    assert 0.01 < eer(llrs, labels) < 0.3


# --- fitting


def test_the_covariances_that_data_were_drawn_with_are_found_again() -> None:
    true = a_model(4, seed=20)
    counts = np.random.default_rng(21).integers(1, 9, 4000)
    fitted = fit_two_covariances(*drawn(true, counts, seed=22), shrinkage=0)
    for found, expected in ((fitted.between, true.between), (fitted.within, true.within)):
        assert np.abs(found - expected).max() < 0.08 * np.abs(expected).max()
    np.testing.assert_allclose(fitted.mean, true.mean, atol=0.1)


def test_with_as_many_recordings_of_each_the_fit_is_that_of_the_analysis_of_variance() -> None:
    """Of balanced data the likeliest covariances are known: Searle, Casella & McCulloch 1992, section 4.7."""
    count, each = 80, 6
    vectors, speakers = drawn(a_model(3, seed=30), np.full(count, each), seed=31)
    grouped = vectors.reshape(count, each, 3)
    means = grouped.mean(axis=1)
    rest = (grouped - means[:, None]).reshape(-1, 3)
    within = rest.T @ rest / (count * (each - 1))
    between = np.cov(means.T, bias=True) - within / each
    fitted = fit_two_covariances(vectors, speakers, shrinkage=0)
    np.testing.assert_allclose(fitted.within, within, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(fitted.between, between, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(fitted.mean, vectors.mean(axis=0), atol=1e-9)


def test_no_step_lowers_the_likelihood() -> None:
    vectors, speakers = drawn(a_model(3, seed=40), np.array([1, 2, 5, 3, 1, 4, 2, 7]), seed=41)
    model = TwoCovariances(np.zeros(3), np.eye(3), np.eye(3))
    statistics = speaker_statistics(vectors, speakers)
    likelihoods = [log_likelihood(model, vectors, speakers)]
    for _ in range(8):
        model = model.step(statistics)
        likelihoods.append(log_likelihood(model, vectors, speakers))
    assert all(np.diff(likelihoods) > -1e-9) and likelihoods[-1] > likelihoods[0] + 1


def test_what_the_speakers_are_called_and_their_order_change_nothing() -> None:
    vectors, speakers = drawn(a_model(5, seed=50), np.array([4, 1, 6, 3, 2, 5]), seed=51)
    order = np.random.default_rng(52).permutation(len(speakers))
    fitted, other = fit_two_covariances(vectors, speakers), fit_two_covariances(vectors[order], 7 * speakers[order] - 3)
    np.testing.assert_allclose(other.between, fitted.between, atol=1e-9)
    np.testing.assert_allclose(other.within, fitted.within, atol=1e-9)


def voices(
    count: int, each: int, size: int, seed: int, spread: float = 0.5
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit-length embeddings of speakers who share a mean."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(count), each)
    rows = 2.0 * np.eye(size)[0] + rng.standard_normal((count, size))[speakers]
    rows = rows + spread * rng.standard_normal(rows.shape)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32), speakers


@pytest.mark.parametrize(("count", "each"), [(2, 2), (3, 2), (10, 3), (40, 2)])
def test_fewer_speakers_than_dimensions_give_a_finite_model(count: int, each: int) -> None:
    plda = fit_plda(*voices(count, each, size=64, seed=60))
    embeddings, speakers = voices(20, 4, size=64, seed=61)
    enrolments, tests = np.triu_indices(len(embeddings), 1)
    llrs = plda.score_trials(embeddings, enrolments, tests)
    labels = speakers[enrolments] == speakers[tests]
    assert np.isfinite(llrs).all() and llrs[labels].mean() > llrs[~labels].mean()
    assert eer(llrs, labels) < 0.1


def test_without_shrinkage_few_speakers_give_no_model() -> None:
    embeddings, speakers = voices(3, 2, size=64, seed=60)
    with pytest.raises(MetricError, match="must be positive definite"):
        fit_two_covariances(embeddings, speakers, shrinkage=0)


# --- what is done to embeddings first


def test_embeddings_are_centred_and_scaled_to_unit_length() -> None:
    embeddings, speakers = voices(30, 3, size=16, seed=70)
    plda = fit_plda(embeddings, speakers)
    vectors = plda.vectors(embeddings)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    np.testing.assert_allclose(vectors, centred(embeddings, embeddings.mean(axis=0, dtype=np.float64)))
    assert isinstance(plda, Plda) and plda.projection is None


def test_lda_finds_the_directions_that_scikit_learn_finds() -> None:
    vectors, speakers = drawn(a_model(8, seed=80), np.full(60, 10), seed=81)
    fitted = fit_two_covariances(vectors, speakers, shrinkage=0)
    other = LinearDiscriminantAnalysis(solver="eigen", n_components=3).fit(vectors, speakers)
    ours, theirs = (np.linalg.qr(basis)[0] for basis in (fitted.basis[:, -3:], other.scalings_[:, :3]))
    cosines_of_angles = np.linalg.svd(ours.T @ theirs, compute_uv=False)
    assert cosines_of_angles.min() > 0.999


def test_lda_leaves_as_many_dimensions_as_are_asked_for() -> None:
    embeddings, speakers = voices(50, 4, size=32, seed=90)
    plda = fit_plda(embeddings, speakers, dimensions=10)
    assert plda.vectors(embeddings).shape == (200, 10)
    enrolments, tests = np.triu_indices(200, 1)
    labels = speakers[enrolments] == speakers[tests]
    assert eer(plda.score_trials(embeddings, enrolments, tests), labels) < 0.1
    for dimensions in (0, 33):
        with pytest.raises(MetricError, match=f"LDA can leave 1 to 32 dimensions; {dimensions} were asked for"):
            fit_plda(embeddings, speakers, dimensions)


# --- what cannot be fitted


def test_what_cannot_be_fitted_is_refused_in_one_sentence() -> None:
    embeddings, _ = voices(6, 1, size=8, seed=100)
    for speakers, complaint in (
        ([0] * 6, "at least 2 speakers; there are those of 1"),
        ([0, 1, 2, 3, 4, 5], "each of these 6 speakers has only one"),
        ([0, 0, 1], r"shape \(6, 8\) but 3 speakers"),
    ):
        with pytest.raises(MetricError, match=complaint):
            fit_two_covariances(embeddings, np.array(speakers))
    with pytest.raises(MetricError, match="those of each of these speakers are all the same"):
        fit_two_covariances(np.repeat(embeddings, 3, axis=0), np.repeat(np.arange(6), 3))
    with pytest.raises(MetricError, match="must be finite"):
        fit_two_covariances(np.where(embeddings > 0, np.nan, embeddings), np.array([0, 0, 1, 1, 2, 2]))
    with pytest.raises(MetricError, match="nothing is left of 1 of 2 embeddings"):
        centred(np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32), np.array([1.0, 0.0]))
