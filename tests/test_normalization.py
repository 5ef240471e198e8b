"""AS-norm: what a plain loop over the definition gives, whatever the chunks; and it does what it is for."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from sound_groove.errors import MetricError
from sound_groove.scoring.as_norm import CohortStatistics, as_norm, cohort_statistics
from sound_groove.scoring.cosine import score_trials
from sound_groove.scoring.metrics import eer


def unit_rows(count: int, size: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def by_the_definition(
    embeddings: NDArray[np.float32], cohort: NDArray[np.float32], enrolment: int, test: int, top: int
) -> float:
    """One normalised score, in plain Python."""

    def dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))

    score, normalised = dot(embeddings[enrolment], embeddings[test]), 0.0
    for side in (enrolment, test):
        highest = sorted((dot(embeddings[side], other) for other in cohort), reverse=True)[:top]
        mean = sum(highest) / len(highest)
        deviation = (sum((value - mean) ** 2 for value in highest) / len(highest)) ** 0.5
        normalised += (score - mean) / deviation / 2
    return normalised


@pytest.mark.parametrize("top", [2, 7, 39, 40, 300])
def test_scores_are_those_of_a_plain_loop(top: int) -> None:
    embeddings, cohort = unit_rows(12, 16, seed=0), unit_rows(40, 16, seed=1)
    enrolments, tests = np.array([0, 3, 5, 11, 2]), np.array([1, 9, 5, 0, 8])
    statistics = cohort_statistics(embeddings, cohort, top)
    found = as_norm(score_trials(embeddings, enrolments, tests), enrolments, tests, statistics)
    expected = [
        by_the_definition(embeddings, cohort, *pair, top)
        for pair in zip(enrolments.tolist(), tests.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    assert statistics.top == min(top, 40)


def test_chunks_change_nothing_and_neither_do_sides_nor_the_order_of_the_cohort() -> None:
    embeddings, cohort = unit_rows(50, 24, seed=2), unit_rows(30, 24, seed=3)
    whole = cohort_statistics(embeddings, cohort, 10)
    for chunk in (1, 7, 50):
        parts = cohort_statistics(embeddings, cohort, 10, chunk)
        np.testing.assert_allclose(parts.means, whole.means, atol=1e-6)
        np.testing.assert_allclose(parts.deviations, whole.deviations, atol=1e-6)
    turned = cohort_statistics(embeddings, cohort[::-1], 10)
    np.testing.assert_allclose(turned.means, whole.means, atol=1e-6)
    first, second = np.arange(25), np.arange(25, 50)
    scores = score_trials(embeddings, first, second)
    assert np.array_equal(as_norm(scores, first, second, whole), as_norm(scores, second, first, whole))


def test_a_score_worked_by_hand() -> None:
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    cohort = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [-1.0, 0.0]], dtype=np.float32)
    statistics = cohort_statistics(embeddings, cohort, top=2)
    np.testing.assert_allclose(statistics.means, [0.9, 0.7], atol=1e-6)  # of 1 and 0.8, and of 0.8 and 0.6
    np.testing.assert_allclose(statistics.deviations, [0.1, 0.1], atol=1e-6)
    score = as_norm(np.array([0.0]), np.array([0]), np.array([1]), statistics)
    assert score[0] == pytest.approx((-9 - 7) / 2, abs=1e-4)


def test_recordings_that_resemble_everybody_are_put_right() -> None:
    """What all voices have in common is louder in some recordings than in others."""
    rng = np.random.default_rng(4)

    def recorded(voices: NDArray[np.float64]) -> NDArray[np.float32]:
        common = rng.uniform(0.3, 2.0, (len(voices), 1)) * np.ones(32)
        rows = voices + 0.9 * rng.standard_normal(voices.shape) + common
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    embeddings = recorded(np.repeat(rng.standard_normal((60, 32)), 4, axis=0))  # 60 speakers of 4 recordings
    cohort = recorded(rng.standard_normal((400, 32)))
    enrolments, tests = np.triu_indices(len(embeddings), 1)
    labels = enrolments // 4 == tests // 4
    scores = score_trials(embeddings, enrolments, tests)
    normalised = as_norm(scores, enrolments, tests, cohort_statistics(embeddings, cohort, 50))
    before, after = eer(scores, labels), eer(normalised, labels)
    assert 0.1 < before < 0.3 and after < 0.75 * before, (before, after)


@pytest.mark.parametrize(
    ("cohort", "top", "complaint"),
    [
        (unit_rows(1, 8, 0), 300, "at least 2 speakers.*there are 1 speakers"),
        (unit_rows(5, 8, 0)[:0], 300, "there are 0 speakers"),
        (unit_rows(5, 8, 0), 1, "at least the top 2 scores.*1 scores were asked for"),
        (unit_rows(5, 9, 0), 3, r"shape \(4, 8\) do not fit a cohort of shape \(5, 9\)"),
        (
            np.repeat(unit_rows(1, 8, 0), 5, axis=0),
            3,
            "top 3 scores of embedding 0 against the cohort are all the same",
        ),
        (np.full((5, 8), np.nan, dtype=np.float32), 3, "must be finite"),
    ],
)
def test_a_cohort_that_says_nothing_is_refused(cohort: NDArray[np.float32], top: int, complaint: str) -> None:
    with pytest.raises(MetricError, match=complaint) as caught:
        cohort_statistics(unit_rows(4, 8, seed=1), cohort, top)
    assert "\n" not in str(caught.value)


def test_scores_of_other_trials_are_refused() -> None:
    told = CohortStatistics(np.zeros(3), np.ones(3), 2)
    with pytest.raises(MetricError, match=re.escape("there are 1 scores, but 2 enrolments and 1 tests")):
        as_norm(np.zeros(1), np.array([0, 1]), np.array([2]), told)
