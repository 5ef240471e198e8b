"""Scores of trials: the cosine between two embeddings. numpy only.

A score leaves in whole steps of 1e-6 (`in_steps`), whether it is of one comparison, of a candidate or of a list, and
evidence and verdict are of that score. Beyond that is the rounding of sums, whose order is that of the threads.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.errors import MetricError
from sound_groove.types import Embeddings, Scores

DECIMALS = 6  # of a score
CHUNK = 16_384  # trials at a time: two gathered blocks of 12 MB for 192 values


def cosine(a: Embeddings, b: Embeddings) -> float:
    """Cosine of two unit-length embeddings of shape (D,), in [-1, 1].

    >>> cosine(np.array([1.0, 0.0], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32))
    0.0
    """
    return float(np.clip(np.dot(a.astype(np.float64), b.astype(np.float64)), -1.0, 1.0))


def in_steps(scores: ArrayLike) -> Scores:
    """Scores as they are told: to the nearest step of 1e-6.

    With another number of threads a cosine was seen to move by 6e-9, less than a hundredth of a step. The score that
    is told is then the same; or its neighbour where the cosine lies between two steps, as one in a hundred may.

    >>> in_steps([0.1234564, -0.12345651, 1.0000001, -0.0]).tolist()
    [0.123456, -0.123457, 1.0, 0.0]
    """
    return np.asarray(np.round(np.asarray(scores, dtype=np.float64), DECIMALS) + 0.0)


def score_trials(
    embeddings: Embeddings, enrolments: NDArray[np.integer], tests: NDArray[np.integer], chunk: int = CHUNK
) -> Scores:
    """Cosine of each trial, in chunks, so that millions of trials fit in memory.

    Args:
        embeddings: (N, D) unit length.
        enrolments: (trials,) rows of `embeddings`.
        tests: (trials,) rows of `embeddings`.
        chunk: trials at a time; it changes nothing but memory.

    Returns:
        (trials,) in [-1, 1], the same for a trial and its mirror image.

    Raises:
        MetricError: the two sides differ in length, or an index is out of range.
    """
    return np.clip(inner_products(embeddings, enrolments, tests, chunk), -1.0, 1.0)  # rounding may leave 1.0000001


def inner_products(
    vectors: NDArray[np.floating], enrolments: NDArray[np.integer], tests: NDArray[np.integer], chunk: int = CHUNK
) -> Scores:
    """Inner product of the two vectors of each trial; arguments and errors as for `score_trials`, of any length.

    A matrix product of all enrolments with all tests would be quicker on lists that have every pair (3.5 million trials
    in 0.1 s instead of 0.8 s), but would give a trial and its mirror image scores that differ in the last digit.
    """
    if len(enrolments) != len(tests):
        raise MetricError(f"there are {len(enrolments)} enrolments but {len(tests)} tests")
    for side in (enrolments, tests):
        if len(side) and not (side.min() >= 0 and side.max() < len(vectors)):
            raise MetricError(f"a trial names an embedding outside the {len(vectors)} there are")
    products = np.empty(len(enrolments), dtype=np.float64)
    for start in range(0, len(products), chunk):
        part = slice(start, start + chunk)
        products[part] = np.einsum("nd,nd->n", vectors[enrolments[part]], vectors[tests[part]])
    return products


def mean_embedding(embeddings: Embeddings) -> Embeddings:
    """The direction of the mean of several unit-length embeddings (N, D): one embedding (D,), unit length.

    Raises:
        MetricError: there are none, or they cancel out.

    >>> mean_embedding(np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32))
    array([0.70710677, 0.70710677], dtype=float32)
    """
    if len(embeddings) == 0:
        raise MetricError("the mean of no embeddings is not defined")
    mean = embeddings.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(mean))
    if not length > 1e-6:
        raise MetricError("the embeddings cancel out, so that their mean has no direction")
    return np.asarray(mean / length, dtype=np.float32)


def centred(
    embeddings: Embeddings, mean: NDArray[np.floating], projection: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Embeddings (N, D) without what they have in common, scaled to unit length again.

    Args:
        embeddings: (N, D).
        mean: (D,) what is subtracted.
        projection: (D, d) applied before the scaling; None leaves the dimensions as they are.

    Returns:
        (N, d) unit length.

    Raises:
        MetricError: nothing is left of an embedding.

    >>> centred(np.array([[0.6, 0.8], [0.6, -0.8]], dtype=np.float32), np.array([0.6, 0.0])).round(6).tolist()
    [[0.0, 1.0], [0.0, -1.0]]
    """
    rest = embeddings.astype(np.float64) - mean
    if projection is not None:
        rest = rest @ projection  # (N, d)
    lengths = np.linalg.norm(rest, axis=1, keepdims=True)  # (N, 1)
    if not (lengths > 1e-6).all():
        raise MetricError(
            f"nothing is left of {int((lengths <= 1e-6).sum())} of {len(rest)} embeddings when the mean is subtracted"
        )
    return np.asarray(rest / lengths)
