"""Agglomerative clustering with average linkage: the two clusters that are most alike become one, again and again.

How alike two clusters are is the mean of the cosines of all pairs, one embedding from each (UPGMA; Sokal & Michener
1958). For unit vectors that is the inner product of the two clusters' mean vectors, so that clusters which were found
in a part of a recording go on as one vector each, with their size as weight, and give what all pairs would have given.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Labels = NDArray[np.intp]  # (N,) of each embedding, 0 to K - 1 in the order in which they first appear


@dataclass(frozen=True, slots=True, eq=False)
class Merges:
    """Which clusters were joined, from the most alike to the least.

    Attributes:
        pairs: (N - 1, 2) the items by which the two clusters are known: the least item in each.
        similarities: (N - 1,) of the two, falling but for rounding.
    """

    pairs: NDArray[np.intp]
    similarities: NDArray[np.float64]

    def until(self, similarity: float) -> int:
        """How many of them join clusters that are at least so similar."""
        return int(np.count_nonzero(np.minimum.accumulate(self.similarities) >= similarity))

    def labels(self, merges: int) -> Labels:
        """(N,) of the items, once the first so many merges are done."""
        parents = np.arange(len(self.pairs) + 1)
        for kept, taken in self.pairs[:merges].tolist():
            parents[taken] = kept
        for item, parent in enumerate(parents.tolist()):  # a parent is a lesser item, and so known already
            parents[item] = parents[parent]
        return numbered(parents)


def agglomerate(vectors: ArrayLike, weights: ArrayLike | None = None) -> Merges:
    """Join items until one cluster is left.

    Args:
        vectors: (N, D) unit embeddings, at least one; or of clusters that were found before, the means of theirs.
        weights: (N,) how many embeddings each stands for; None takes one.

    >>> found = agglomerate([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> found.pairs.tolist(), found.similarities.round(3).tolist(), found.labels(1).tolist()
    ([[1, 2], [0, 1]], [0.8, 0.3], [0, 1, 1])
    """
    rows = np.asarray(vectors, dtype=np.float64)
    count = len(rows)
    sizes = np.ones(count) if weights is None else np.array(weights, dtype=np.float64)
    alike = rows @ rows.T  # (N, N), of those that are clusters still; others and the diagonal are no candidates
    np.fill_diagonal(alike, -np.inf)
    nearest = alike.argmax(axis=1)
    best = alike[np.arange(count), nearest]
    pairs, similarities = np.zeros((count - 1, 2), np.intp), np.zeros(count - 1)
    for step in range(count - 1):
        one = int(best.argmax())
        kept, taken = sorted((one, int(nearest[one])))
        pairs[step], similarities[step] = (kept, taken), best[one]
        share = sizes[kept] / (sizes[kept] + sizes[taken])
        sizes[kept] += sizes[taken]
        alike[kept] = alike[:, kept] = share * alike[kept] + (1 - share) * alike[taken]
        alike[taken] = alike[:, taken] = -np.inf
        # The mean of two is never above the higher of them: only those whose nearest was one of the two look anew.
        lost = np.flatnonzero((nearest == kept) | (nearest == taken))
        changed = np.append(lost, kept)
        nearest[changed] = alike[changed].argmax(axis=1)
        best[changed] = alike[changed, nearest[changed]]
        best[taken] = -np.inf
    return Merges(pairs, similarities)


def numbered(names: NDArray[np.intp]) -> Labels:
    """Numbers from 0 on, in the order in which names (N,) first appear.

    >>> numbered(np.array([7, 3, 7, 5])).tolist()
    [0, 1, 0, 2]
    """
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse], dtype=np.intp)


def centroids(embeddings: ArrayLike, labels: Labels, count: int | None = None) -> NDArray[np.float64]:
    """(K, D) the mean embedding of each cluster, which is not of unit length."""
    rows = np.asarray(embeddings, dtype=np.float64)
    sums = np.zeros((int(labels.max()) + 1 if count is None else count, rows.shape[1]))
    np.add.at(sums, labels, rows)
    return np.asarray(sums / np.maximum(np.bincount(labels, minlength=len(sums)), 1)[:, np.newaxis])
