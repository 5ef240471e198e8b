"""VBx: windows given to speakers anew by a Bayesian hidden Markov model over PLDA.

Landini, Profant, Diez & Burget 2022, "Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization".
A state is a speaker. Where the model is in the basis in which embeddings vary within a speaker by the identity, and
between speakers by a diagonal matrix Phi, a speaker is a vector y ~ N(0, I) and emits windows by N(Phi^(1/2) y, I). Who
speaks goes on with a probability from window to window. Posteriors of the speakers' vectors and of the states are
improved in turns (variational Bayes, equations 8 to 24 of the paper); speakers who are not needed lose their windows.

Departure from the paper: the two covariances are those of the recording at hand, the same in all directions. They are
estimated from the clusters that are to be refined, so that any model can be used, and no other speech is needed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sound_groove.diarization.agglomeration import Labels, centroids, numbered
from sound_groove.types import Embeddings

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Vbx:
    """How VBx weighs evidence; the paper's factors are for four times as many windows a second.

    Attributes:
        acoustic: factor F_A on the evidence of a window, below 1 since windows overlap.
        speakers: factor F_B on what a speaker costs; higher leaves fewer.
        staying: probability that the next window is of the same speaker.
        sharpness: of the labels that it begins with, as exponents of a softmax.
        steps: at most.
        least_gain: of the bound, below which it ends.
    """

    acoustic: float = 0.3
    speakers: float = 3.0
    staying: float = 0.8
    sharpness: float = 5.0
    steps: int = 20
    least_gain: float = 1e-3

    def refine(self, embeddings: Embeddings, labels: Labels) -> Labels:
        """(N,) labels, given labels (N,) of windows (N, D) that need no more than to be improved."""
        speakers = int(labels.max()) + 1
        if speakers == 1:
            return labels
        rows, ratio = whitened(embeddings, labels)
        softened = np.exp(self.sharpness * np.eye(speakers)[labels])  # (N, K)
        posteriors = self.posteriors(rows, ratio, softened / softened.sum(axis=1, keepdims=True))
        return numbered(posteriors.argmax(axis=1))

    def posteriors(self, rows: Array, ratio: Array, gamma: Array) -> Array:
        """The probabilities of the speakers, window for window.

        Args:
            rows: (N, D) embeddings in the basis in which a speaker's windows vary by the identity.
            ratio: (D,) variances between speakers in it.
            gamma: (N, K) probabilities to begin with.

        Returns:
            (N, K).
        """
        speakers = gamma.shape[1]
        scaled = rows * np.sqrt(ratio)  # (N, D)
        constant = -0.5 * (np.sum(rows**2, axis=1, keepdims=True) + rows.shape[1] * np.log(2 * np.pi))
        shares = np.full(speakers, 1 / speakers)
        bound = -np.inf
        for _ in range(self.steps):
            weight = self.acoustic / self.speakers
            variance = 1 / (1 + weight * gamma.sum(axis=0)[:, np.newaxis] * ratio)  # (K, D) of the posterior of y
            mean = weight * variance * (gamma.T @ scaled)  # (K, D)
            evidence = self.acoustic * (scaled @ mean.T - 0.5 * (variance + mean**2) @ ratio + constant)  # (N, K)
            total, gamma, entered = forward_backward(evidence, shares, self.staying)
            shares = gamma[0] + entered
            shares = np.maximum(shares / shares.sum(), 1e-12)
            reached = total + 0.5 * self.speakers * float(np.sum(np.log(variance) - variance - mean**2 + 1))
            if reached - bound < self.least_gain:
                break
            bound = reached
        return gamma


def whitened(embeddings: Embeddings, labels: Labels) -> tuple[Array, Array]:
    """Embeddings (N, D) in the basis in which clusters vary by the identity, and the ratios (D,) between clusters.

    Both covariances are multiples of the identity: within clusters that of the windows around their means; between them
    what is left of the length of a unit vector.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    count, size = rows.shape
    rest = rows - centroids(rows, labels)[labels]
    within = float(np.sum(rest**2)) / (size * max(count - int(labels.max()) - 1, 1))
    within = min(max(within, 1e-6), 0.95 / size)
    return rows / np.sqrt(within), np.full(size, (1 / size - within) / within)


def forward_backward(evidence: Array, shares: Array, staying: float) -> tuple[float, Array, Array]:
    """The posteriors of the states of a chain that stays, or goes on with any state by its share.

    Args:
        evidence: (N, K) logarithms of the densities.
        shares: (K,) of the states.
        staying: probability of staying.

    Returns:
        The logarithm of the likelihood, (N, K) posteriors, and (K,) how often each state was gone on with.
    """
    count = len(evidence)
    highest = evidence.max(axis=1, keepdims=True)
    density = np.exp(evidence - highest)  # (N, K)
    forward, scale = np.empty_like(density), np.empty(count)
    state = shares
    for place in range(count):
        if place:
            state = staying * state + (1 - staying) * shares
        state = state * density[place]
        scale[place] = state.sum()
        state = state / scale[place]
        forward[place] = state
    backward = np.ones_like(density)
    for place in range(count - 2, -1, -1):
        ahead = density[place + 1] * backward[place + 1] / scale[place + 1]
        backward[place] = staying * ahead + (1 - staying) * float(shares @ ahead)
    gamma = forward * backward
    gamma /= gamma.sum(axis=1, keepdims=True)
    entered = (1 - staying) * shares * np.sum(density[1:] * backward[1:] / scale[1:, np.newaxis], axis=0)
    return float(np.sum(np.log(scale)) + np.sum(highest)), gamma, entered
