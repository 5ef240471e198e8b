"""Which windows are of one speaker, and how many speakers there are.

Windows are joined by average linkage (`agglomeration`) down to a similarity below which two clusters are two people.
Of many hours, that is done in two stages: within parts of so many windows, where no more is joined than would be
anyway, and then among the clusters of all parts, by their means and sizes. What is compared at a time stays bounded.

A cluster of a few windows is rarely a person: it is a cough, a laugh, two at a time. Its windows go to the nearest of
the others; where there is no other, the largest is a person.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sound_groove.arguments import check_integer
from sound_groove.diarization.agglomeration import Labels, Merges, agglomerate, centroids, numbered
from sound_groove.errors import UsageError
from sound_groove.types import Embeddings

MOST_AT_ONCE = 1500  # windows: 20 minutes of speech
MOST_CLUSTERS = 60  # that such a part may leave to the second stage
LEAST_WINDOWS = 4  # of a speaker, where there are so many: 4 s of speech
LEAST_SHARE = 0.01  # of all windows, likewise


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """How many speakers there may be.

    Attributes:
        fewest: at least 1.
        most: None where nothing is known.
    """

    fewest: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no recording has."""
        for count in (self.fewest, self.most):
            if count is not None and check_integer(count, "a number of speakers") < 1:
                raise UsageError(f"a number of speakers is at least 1; {count} was given")
        if self.most is not None and self.most < self.fewest:
            raise UsageError(f"there cannot be at least {self.fewest} speakers and at most {self.most}")

    def within(self, count: int) -> int:
        """The nearest number that there may be.

        >>> SpeakerCount(2, 4).within(1), SpeakerCount(2).within(9)
        (2, 9)
        """
        return max(self.fewest, count if self.most is None else min(count, self.most))


def cluster(
    embeddings: Embeddings, similarity: float, count: SpeakerCount | None = None, at_once: int = MOST_AT_ONCE
) -> Labels:
    """Find the speakers.

    Args:
        embeddings: (N, D) unit length, of windows in the order of time, at least one.
        similarity: mean cosine of two clusters' windows from which on they are one speaker's.
        count: how many speakers there may be; it comes before the similarity.
        at_once: windows that are compared with each other at a time.

    Returns:
        (N,) the speaker of each window, numbered in the order in which they first speak.
    """
    allowed = SpeakerCount() if count is None else count
    parts = first_stage(embeddings, similarity, at_once)
    sizes = np.bincount(parts)
    means = centroids(embeddings, parts)
    merges = agglomerate(means, sizes)
    least = least_size(len(embeddings))

    def found_by(steps: int) -> int:
        return int(np.count_nonzero(_sizes(merges, steps, sizes) >= least))

    steps = merges.until(similarity)
    speakers = max(found_by(steps), 1)
    if (wanted := min(allowed.within(speakers), len(sizes))) != speakers:
        # The last step that still leaves so many; where small clusters must count, the one that leaves so many of any.
        steps = next((step for step in range(len(sizes) - 1, -1, -1) if found_by(step) >= wanted), len(sizes) - wanted)
    of_parts = merges.labels(steps)
    return numbered(without_small(embeddings, of_parts[parts], least, wanted))


def fitted(embeddings: Embeddings, labels: Labels, count: SpeakerCount) -> Labels:
    """(N,) labels of as many speakers as there may be: of too many, those most alike are joined.

    Where there are too few, the speakers are found anew, by agglomeration alone.
    """
    speakers = int(labels.max()) + 1
    if speakers < count.fewest:
        return cluster(embeddings, 1.0, SpeakerCount(count.fewest, count.fewest))
    if (wanted := count.within(speakers)) == speakers:
        return labels
    merges = agglomerate(centroids(embeddings, labels), np.bincount(labels))
    return numbered(merges.labels(speakers - wanted)[labels])


def least_size(windows: int) -> int:
    """How many windows a speaker has at least, among so many.

    >>> least_size(3), least_size(200), least_size(4000)
    (1, 4, 40)
    """
    return max(min(LEAST_WINDOWS, windows // LEAST_WINDOWS), round(LEAST_SHARE * windows), 1)


def first_stage(embeddings: Embeddings, similarity: float, at_once: int) -> Labels:
    """(N,) clusters of windows, found in parts of the recording; each window one of its own where one part has all."""
    if len(embeddings) <= at_once:
        return np.arange(len(embeddings))
    found, passed = [], 0
    for part in np.array_split(np.asarray(embeddings), -(-len(embeddings) // at_once)):
        merges = agglomerate(part)
        labels = merges.labels(max(merges.until(similarity), len(part) - MOST_CLUSTERS))
        found.append(labels + passed)
        passed += int(labels.max()) + 1
    return np.concatenate(found)


def without_small(embeddings: Embeddings, labels: Labels, least: int, speakers: int) -> Labels:
    """(N,) labels, the windows of all but the large clusters given to the nearest of these.

    Args:
        embeddings: (N, D) of the windows.
        labels: (N,) of the clusters, 0 to K - 1.
        least: windows of a large cluster.
        speakers: how many of the largest count as large, whatever their size.
    """
    sizes = np.bincount(labels)
    largest = np.argsort(-sizes, kind="stable")
    large = np.sort(largest[: max(speakers, int(np.count_nonzero(sizes >= least)))])
    means = centroids(embeddings, labels)[large]
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    place = np.full(len(sizes), -1)
    place[large] = np.arange(len(large))
    kept = place[labels]
    moved = kept < 0
    kept[moved] = (np.asarray(embeddings)[moved] @ means.T).argmax(axis=1)
    return np.asarray(kept, dtype=np.intp)


def _sizes(merges: Merges, steps: int, sizes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Windows of each cluster after so many steps."""
    return np.bincount(merges.labels(steps), weights=sizes.astype(np.float64)).astype(np.float64)
