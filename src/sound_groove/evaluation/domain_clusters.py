"""People told apart among a domain's recordings without labels, where that is sure enough to learn from.

Whole recordings are joined by average linkage of their llrs. That alone is no list of targets as others are: only the
pairs that were sure anyway are in it, and a map fitted on those would be too sure. What makes it one is taken of the
same recordings: cuts of them, with noise, in rooms and over lines, whose llrs joined nothing. How much they count goes
by the share of all pairs of one person that lie in clusters, as the llrs themselves estimate it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from sound_groove.evaluation.version_pairs import Pairs
from sound_groove.scoring.calibration import sigmoid
from sound_groove.types import Scores

SURER = 1.0  # llr beyond even odds from which on two clusters are one person
FOUND, ALL_FOUND = 0.4, 0.6  # of the pairs of one person: from the first share on they count, from the other on wholly
FEWEST_CLUSTERS = 3
SUREST = 30.0  # llrs beyond this count as this

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Who is one person among R recordings.

    Attributes:
        labels: (R,) the cluster of each; recordings that are joined to no other have one of their own.
        count: clusters of two recordings and more.
        found: the share of all pairs of one person that are in one cluster, as estimated.
    """

    labels: Rows
    count: int
    found: float

    @property
    def weight(self) -> float:
        """How much they count, in [0, 1]; 0 where they are too few or not sure enough.

        >>> nobody = np.zeros(0, np.int64)
        >>> [round(Clusters(nobody, 9, found).weight, 3) for found in (0.3, 0.5, 0.7)], Clusters(nobody, 2, 0.9).weight
        ([0.0, 0.5, 1.0], 0.0)
        """
        if self.count < FEWEST_CLUSTERS:
            return 0.0
        return float(np.clip((self.found - FOUND) / (ALL_FOUND - FOUND), 0.0, 1.0))

    @property
    def members(self) -> Rows:
        """Recordings that share a cluster with another."""
        return np.flatnonzero(np.bincount(self.labels)[self.labels] > 1)


def pairs_of(count: int) -> tuple[Rows, Rows]:
    """All pairs of so many recordings, in the order in which `find_clusters` takes their llrs."""
    first, second = np.triu_indices(count, 1)
    return first, second


def find_clusters(llrs: Scores, count: int, people: float) -> Clusters:
    """Join recordings that are more likely of one person than of two.

    Args:
        llrs: of `pairs_of(count)`, before bounds.
        count: of recordings, R.
        people: about how many speak in them, which gives the prior.
    """
    if count < 2:
        return Clusters(np.zeros(count, np.int64), 0, 0.0)
    odds = -np.log(max(people - 1.0, 0.01))  # of one person against two
    tree = linkage(np.maximum(SUREST - llrs, 0.0), "average")
    labels = fcluster(tree, SUREST + odds - SURER, "distance").astype(np.int64) - 1
    first, second = pairs_of(count)
    sure = sigmoid(llrs + odds)
    found = float(sure[labels[first] == labels[second]].sum() / sure.sum())
    return Clusters(labels, int((np.bincount(labels) > 1).sum()), found)


def drawn_members(clusters: Clusters, most: int, rng: np.random.Generator) -> Rows:
    """At most so many recordings, sorted: whole clusters in an order that is drawn, then recordings that are alone."""
    sizes = np.bincount(clusters.labels)
    place = rng.permutation(len(sizes))[clusters.labels]
    return np.sort(np.lexsort((place, sizes[clusters.labels] == 1))[:most])


def clustered_pairs(pairs: Pairs, of_versions: Rows) -> Pairs:
    """Pairs of versions, labelled by the clusters of the recordings that they are of.

    Args:
        pairs: of versions of different recordings.
        of_versions: (V,) the cluster of each.
    """
    return Pairs(pairs.first, pairs.second, of_versions[pairs.first] == of_versions[pairs.second])
