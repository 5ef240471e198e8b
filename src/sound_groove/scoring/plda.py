"""PLDA: a log-likelihood ratio from how voices differ, and how recordings of one voice do. numpy only.

The two-covariance model (Bruemmer & de Villiers 2010; Prince & Elder 2007 with subspaces of full rank): an embedding is
`y + e`, where y ~ N(mean, between) is the speaker and e ~ N(0, within) the recording. A trial is scored by the ratio of
two densities of its pair of embeddings: with one y for both, and with a y for each.

There is a basis in which `within` is the identity and `between` diagonal (Ioffe 2006). In it the posterior of a speaker
and the ratio are sums over coordinates, so that a step of fitting costs a few matrix products, and a trial one inner
product.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.errors import MetricError
from sound_groove.scoring.cosine import centred, inner_products
from sound_groove.types import Embeddings, Scores

Matrix = NDArray[np.float64]
STEPS = 20  # of EM; on embeddings of 1,244 real speakers, error rates stay as they are from the fifth on
NEGLIGIBLE = 1e-9  # share of the variance that counts as none


@dataclass(frozen=True, slots=True)
class TwoCovariances:
    """How embeddings are distributed.

    Attributes:
        mean: (D,) of all speakers.
        between: (D, D) covariance of speakers around it.
        within: (D, D) covariance of a speaker's recordings around the speaker; positive definite.
        basis: (D, D) columns of the basis in which `within` is the identity and `between` diagonal.
        ratios: (D,) the variances between speakers in that basis, rising.
    """

    mean: Matrix
    between: Matrix
    within: Matrix
    basis: Matrix = field(init=False, repr=False)
    ratios: Matrix = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find the basis.

        Raises:
            MetricError: `within` is not positive definite.
        """
        try:
            lower = np.linalg.cholesky(self.within)
        except np.linalg.LinAlgError:
            raise MetricError("the covariance within speakers must be positive definite") from None
        whitened = np.linalg.solve(lower, np.linalg.solve(lower, self.between).T)
        ratios, rotation = np.linalg.eigh((whitened + whitened.T) / 2)
        object.__setattr__(self, "basis", np.linalg.solve(lower.T, rotation))
        object.__setattr__(self, "ratios", np.maximum(ratios, 0.0))  # rounding may leave -1e-17

    def score_trials(self, vectors: ArrayLike, enrolments: NDArray[np.integer], tests: NDArray[np.integer]) -> Scores:
        """Log-likelihood ratio (natural logarithm) of each trial: one speaker against two.

        In a coordinate of the basis with ratio r, the pair (u, v) has covariances (1 + r, r; r, 1 + r) for one speaker
        and (1 + r, 0; 0, 1 + r) for two. The logarithm of the ratio of both densities is

            log(1 + r) - log(1 + 2r) / 2 + r / (1 + 2r) u v - r^2 / (2 (1 + r) (1 + 2r)) (u^2 + v^2)

        and its sum over the coordinates is an inner product, plus a number for each side.

        Args:
            vectors: (N, D) embeddings.
            enrolments: (trials,) rows of `vectors`.
            tests: (trials,) rows of `vectors`.

        Returns:
            (trials,) the same for a trial and its mirror image.

        Raises:
            MetricError: see `cosine.inner_products`.
        """
        r = self.ratios
        coordinates = (np.asarray(vectors, dtype=np.float64) - self.mean) @ self.basis  # (N, D)
        alone = -(coordinates**2) @ (r**2 / (2 * (1 + r) * (1 + 2 * r)))  # (N,)
        scores = inner_products(coordinates * np.sqrt(r / (1 + 2 * r)), enrolments, tests)
        scores += alone[enrolments] + alone[tests]
        return scores + float(np.sum(np.log1p(r) - np.log1p(2 * r) / 2))

    def step(self, statistics: "SpeakerStatistics") -> "TwoCovariances":
        """One step of EM: the mean and covariances that the posteriors of the speakers under this model imply.

        The likelihood of the embeddings that the statistics are of never falls.
        """
        counts, r = statistics.counts[:, None], self.ratios  # (K, 1), (D,)
        means = (statistics.means - self.mean) @ self.basis  # (K, D) of each speaker's embeddings
        variances = r / (1 + counts * r)  # (K, D) of the posteriors, and below their means
        speakers = counts * variances * means
        shift = speakers.mean(axis=0)
        between = (speakers - shift).T @ (speakers - shift) / len(counts) + np.diag(variances.mean(axis=0))
        rest = means - speakers
        within = self.basis.T @ statistics.scatter @ self.basis + rest.T @ (counts * rest)
        within = (within + np.diag((counts * variances).sum(axis=0))) / counts.sum()
        back = self.basis.T @ self.within  # the inverse of the basis
        return TwoCovariances(self.mean + shift @ back, back.T @ between @ back, back.T @ within @ back)


@dataclass(frozen=True, slots=True)
class SpeakerStatistics:
    """All that fitting needs to know of embeddings.

    Attributes:
        counts: (K,) embeddings of each speaker.
        means: (K, D) of each speaker.
        scatter: (D, D) squared deviations from these means, summed over all embeddings.
    """

    counts: NDArray[np.float64]
    means: Matrix
    scatter: Matrix


def speaker_statistics(vectors: Matrix, speakers: NDArray[np.integer]) -> SpeakerStatistics:
    """Counts, means and scatter of embeddings (N, D) by their speakers (N,), any whole numbers.

    Raises:
        MetricError: see `check_speakers`; or lengths differ.
    """
    if vectors.ndim != 2 or len(vectors) != len(speakers):
        raise MetricError(f"there are embeddings of shape {vectors.shape} but {len(speakers)} speakers")
    check_speakers(speakers)
    _, codes, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    sums = np.add.reduceat(vectors[order], np.cumsum(counts) - counts, axis=0)  # (K, D)
    means = sums / counts[:, None]
    rest = vectors - means[codes]
    return SpeakerStatistics(counts.astype(np.float64), means, rest.T @ rest)


def check_speakers(speakers: NDArray[np.integer]) -> None:
    """Refuse speakers (N,) from whose embeddings the two covariances cannot be told.

    Raises:
        MetricError: there are fewer than 2, or none has 2 embeddings.
    """
    counts = np.unique(speakers, return_counts=True)[1]
    if len(counts) < 2:
        raise MetricError(f"PLDA needs the embeddings of at least 2 speakers; there are those of {len(counts)}")
    if counts.max() < 2:
        raise MetricError(
            f"PLDA needs speakers with at least 2 recordings; each of these {len(counts)} speakers has only one"
        )


def fit_two_covariances(
    vectors: ArrayLike, speakers: NDArray[np.integer], shrinkage: float | None = None
) -> TwoCovariances:
    """Fit the model by EM, from the moments on.

    Both covariances are drawn towards multiples of the identity with their own mean variance, as if `shrinkage` more
    speakers (or recordings) had been seen that vary alike in all directions. That keeps a model of few speakers finite:
    without it, one of fewer speakers than dimensions takes directions that it never saw vary for certain. As many as
    there are dimensions is a good number over the whole range: on embeddings of 192 values of real speech it costs at
    most 0.4 percentage points of EER with 1,244 speakers; with 30, a tenth of it costs 1 to 4 (and nothing: no model).

    Args:
        vectors: (N, D) embeddings.
        speakers: (N,) who speaks; any whole numbers.
        shrinkage: at least 0; None takes D.

    Raises:
        MetricError: see `speaker_statistics`; a value is not finite; or the recordings of each speaker do not differ.
    """
    given = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(given).all():
        raise MetricError("embeddings must be finite")
    statistics = speaker_statistics(given, speakers)
    count, total, size = len(statistics.counts), float(statistics.counts.sum()), given.shape[1]
    extra = float(size) if shrinkage is None else shrinkage
    within = statistics.scatter / (total - count)
    between = np.cov(statistics.means.T, bias=True).reshape(size, size)
    noise = float(np.trace(within)) / size
    if not noise > NEGLIGIBLE * (noise + float(np.trace(between)) / size):
        raise MetricError("PLDA needs recordings that differ; those of each of these speakers are all the same")
    # What the means vary is the speakers' variance and a part of the recordings'; some of it is always left.
    signal = max(float(np.trace(between)) / size - noise * float((1 / statistics.counts).mean()), 0.01 * noise)

    def shrunk(matrix: Matrix, seen: float, variance: float) -> Matrix:
        return (seen * matrix + extra * variance * np.eye(size)) / (seen + extra)

    model = TwoCovariances(
        statistics.means.mean(axis=0), shrunk(between, count, signal), shrunk(within, total - count, noise)
    )
    for _ in range(STEPS):
        stepped = model.step(statistics)
        model = TwoCovariances(
            stepped.mean, shrunk(stepped.between, count, signal), shrunk(stepped.within, total, noise)
        )
    return model


@dataclass(frozen=True, slots=True)
class Plda:
    """PLDA of unit-length embeddings.

    Attributes:
        centre: (D,) is subtracted from an embedding first.
        projection: (D, d) is applied next (LDA); None leaves embeddings as they are.
        model: of what comes out, scaled to unit length (Garcia-Romero & Espy-Wilson 2011).
    """

    centre: Matrix
    projection: Matrix | None
    model: TwoCovariances

    def vectors(self, embeddings: Embeddings) -> Matrix:
        """(N, d) what the model is of, unit length, of embeddings (N, D).

        Raises:
            MetricError: see `cosine.centred`.
        """
        return centred(embeddings, self.centre, self.projection)

    def score_trials(
        self, embeddings: Embeddings, enrolments: NDArray[np.integer], tests: NDArray[np.integer]
    ) -> Scores:
        """Log-likelihood ratio (natural logarithm) of each trial; see `TwoCovariances.score_trials`.

        An enrolment of several recordings is one embedding here, their mean direction, and is scored as if it were one
        recording.

        Raises:
            MetricError: see `cosine.centred` and `cosine.inner_products`.
        """
        return self.model.score_trials(self.vectors(embeddings), enrolments, tests)


def fit_plda(embeddings: Embeddings, speakers: NDArray[np.integer], dimensions: int | None = None) -> Plda:
    """Fit PLDA to embeddings after centring, LDA where it is asked for, and scaling to unit length.

    Args:
        embeddings: (N, D) unit length, of other speakers than those to be told apart.
        speakers: (N,) who speaks; any whole numbers.
        dimensions: that LDA leaves, from 1 to D; None leaves LDA out.

    Raises:
        MetricError: see `fit_two_covariances` and `cosine.centred`; or a number of dimensions out of range.
    """
    size = embeddings.shape[1]
    if dimensions is not None and not 1 <= dimensions <= size:
        raise MetricError(f"LDA can leave 1 to {size} dimensions; {dimensions} were asked for")
    centre = embeddings.mean(axis=0, dtype=np.float64)
    projection = None
    if dimensions is not None:  # the directions in which speakers differ most, measured by what their recordings do
        projection = fit_two_covariances(embeddings - centre, speakers).basis[:, size - dimensions :]
    return Plda(centre, projection, fit_two_covariances(centred(embeddings, centre, projection), speakers))
