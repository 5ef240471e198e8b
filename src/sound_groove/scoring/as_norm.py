"""Scores made comparable by what a cohort says: adaptive symmetric normalisation (AS-norm). numpy only.

Some recordings score high against everybody, because of their noise, their channel or an ordinary voice. A cohort of
other speakers shows which: each side of a trial is compared with all of them, and a score is counted in standard
deviations above what each side gets from those who resemble it most (Karam, Campbell & Dehak 2011; Cumani, Batzu,
Colibro, Vair, Laface & Vasilakakis 2011; Matejka et al. 2017).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import MetricError
from sound_groove.types import Embeddings, Scores

TOP = 300  # cohort speakers who resemble a side most
CHUNK = 1024  # embeddings at a time: 11 MB of cosines to 2,793 cohort speakers
LEAST_SPREAD = 1e-6  # a standard deviation of cosines that rounding alone may give


@dataclass(frozen=True, slots=True)
class CohortStatistics:
    """How embeddings score against those of the cohort who resemble them most.

    Attributes:
        means: (N,) of the top scores of each embedding.
        deviations: (N,) standard deviation of the same scores (dividing by their number, not by one less).
        top: how many scores these are of.
    """

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    top: int


def cohort_statistics(
    embeddings: Embeddings, cohort: Embeddings, top: int = TOP, chunk: int = CHUNK
) -> CohortStatistics:
    """Compare embeddings with a cohort.

    Args:
        embeddings: (N, D) unit length.
        cohort: (M, D) unit length, one for each speaker; none of them is a speaker of `embeddings`.
        top: how many of the highest scores of each embedding count; all when there are not so many.
        chunk: embeddings at a time; it changes nothing but memory.

    Raises:
        MetricError: fewer than 2 speakers or scores, other sizes, values that are not finite, or an embedding whose top
            scores are all the same.
    """
    if len(cohort) < 2 or top < 2:
        raise MetricError(
            f"AS-norm needs a cohort of at least 2 speakers, and at least the top 2 scores; "
            f"there are {len(cohort)} speakers, and {top} scores were asked for"
        )
    if embeddings.ndim != 2 or cohort.ndim != 2 or embeddings.shape[1] != cohort.shape[1]:
        raise MetricError(f"embeddings of shape {embeddings.shape} do not fit a cohort of shape {cohort.shape}")
    if not (np.isfinite(embeddings).all() and np.isfinite(cohort).all()):
        raise MetricError("embeddings must be finite")
    top = min(top, len(cohort))
    means, deviations = np.empty(len(embeddings)), np.empty(len(embeddings))
    for start in range(0, len(embeddings), chunk):
        part = slice(start, start + chunk)
        scores = embeddings[part] @ cohort.T  # (chunk, M)
        highest = np.partition(scores, len(cohort) - top, axis=1)[:, len(cohort) - top :].astype(np.float64)
        means[part], deviations[part] = highest.mean(axis=1), highest.std(axis=1)
    without = np.flatnonzero(~(deviations > LEAST_SPREAD))
    if len(without):
        raise MetricError(
            f"the top {top} scores of embedding {without[0]} against the cohort are all the same, so "
            "that AS-norm has no measure for it; a cohort needs voices that differ"
        )
    return CohortStatistics(means, deviations, top)


def as_norm(
    scores: Scores, enrolments: NDArray[np.integer], tests: NDArray[np.integer], statistics: CohortStatistics
) -> Scores:
    """Normalised scores: the mean of the score in the standard deviations of one side and of the other.

    With the mean m and the standard deviation d of each side's top cohort scores,
    `score' = ((score - m_e) / d_e + (score - m_t) / d_t) / 2`.

    Args:
        scores: (trials,) cosines.
        enrolments: (trials,) rows of what the statistics are of.
        tests: (trials,) rows of the same.
        statistics: what the cohort says.

    Returns:
        (trials,) in standard deviations, the same for a trial and its mirror image.

    Raises:
        MetricError: the lengths differ.

    >>> told = CohortStatistics(np.array([0.1, 0.3]), np.array([0.1, 0.2]), top=300)
    >>> as_norm(np.array([0.5]), np.array([0]), np.array([1]), told).tolist()
    [2.5]
    """
    if not len(scores) == len(enrolments) == len(tests):
        raise MetricError(f"there are {len(scores)} scores, but {len(enrolments)} enrolments and {len(tests)} tests")
    means, deviations = statistics.means, statistics.deviations
    one = (scores - means[enrolments]) / deviations[enrolments]
    other = (scores - means[tests]) / deviations[tests]
    return np.asarray((one + other) / 2)
