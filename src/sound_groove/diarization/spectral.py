"""Spectral clustering, with the number of speakers from the eigengap: a second way beside agglomeration.

Each window keeps only the neighbours that are most like it; the eigenvectors of the normalised graph Laplacian of what
is left place the windows so that those of one speaker lie together (Ng, Jordan & Weiss 2002). Its eigenvalues are near
0 once for each speaker, so that the first large gap between two of them tells how many there are (von Luxburg 2007).
It needs no threshold, and so no calibration.
"""

import numpy as np
from numpy.typing import NDArray

from sound_groove.diarization.agglomeration import Labels, centroids, numbered
from sound_groove.diarization.clustering import SpeakerCount, first_stage
from sound_groove.types import Embeddings

NEIGHBOURS = 0.1  # share of all windows that each keeps
LEAST_NEIGHBOURS = 10
MOST_SPEAKERS = 15  # that are looked for where nobody says how many
ROUNDS = 50  # of k-means
MOST_AT_ONCE = 1500


def cluster_by_spectrum(
    embeddings: Embeddings, count: SpeakerCount | None = None, at_once: int = MOST_AT_ONCE, joined: float = 0.5
) -> Labels:
    """Find the speakers.

    Args:
        embeddings: (N, D) unit length, of windows in the order of time, at least one.
        count: how many speakers there may be.
        at_once: windows that are compared with each other; of more, those are joined first that are alike.
        joined: mean cosine from which on these are.

    Returns:
        (N,) the speaker of each window, numbered in the order in which they first speak.
    """
    allowed = SpeakerCount() if count is None else count
    parts = first_stage(embeddings, joined, at_once)
    means = centroids(embeddings, parts)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    if len(means) < 3:
        return numbered(np.minimum(np.arange(len(means)), allowed.within(1) - 1)[parts])
    values, vectors = np.linalg.eigh(laplacian(means))  # rising
    most = min(len(means), MOST_SPEAKERS if allowed.most is None else allowed.most)
    fewest = min(allowed.fewest, most)
    gaps = np.diff(values[: most + 1])  # the gap behind each number of speakers from 1 on
    speakers = fewest + int(np.argmax(gaps[fewest - 1 :])) if len(gaps) >= fewest else fewest
    places = vectors[:, :speakers]
    places = places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-12)
    return numbered(k_means(places, speakers)[parts])


def laplacian(embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, N) the normalised Laplacian of the graph of nearest neighbours of unit embeddings (N, D)."""
    alike = np.maximum(embeddings @ embeddings.T, 0.0)
    np.fill_diagonal(alike, 0.0)
    kept = min(max(LEAST_NEIGHBOURS, round(NEIGHBOURS * len(alike))), len(alike) - 1)
    least = np.partition(alike, -kept, axis=1)[:, -kept, np.newaxis]
    alike = np.where(alike >= least, alike, 0.0)
    alike = (alike + alike.T) / 2
    root = np.sqrt(np.maximum(alike.sum(axis=1), 1e-12))
    return np.asarray(np.eye(len(alike)) - alike / root / root[:, np.newaxis])


def k_means(points: NDArray[np.float64], count: int) -> Labels:
    """(N,) clusters of points (N, d): Lloyd's way, begun with points that lie farthest from each other."""
    chosen = [int(np.argmax(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    away = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(points - points[chosen[-1]], axis=1))
    middles = points[chosen]
    labels = np.full(len(points), -1)
    for _ in range(ROUNDS):
        nearest = np.linalg.norm(points[:, np.newaxis] - middles, axis=2).argmin(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        taken = np.unique(labels)
        middles[taken] = centroids(points, labels, count)[taken]
    return np.asarray(labels, dtype=np.intp)
