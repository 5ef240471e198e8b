"""How recordings are cut into the pieces that a network is given, and which pieces share a batch."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sound_groove.types import CropAveraging

Span = tuple[int, int]  # first sample or frame, and the one after the last
Array = NDArray[np.float32]


def repeated(item: Array, least: int) -> Array:
    """The item a whole number of times, so that it lasts at least `least` and every part of it counts the same."""
    return np.concatenate([item] * -(-least // len(item))) if len(item) < least else item


def windows(total: int, longest: int) -> list[Span]:
    """The fewest windows of (nearly) equal length, none longer than `longest`.

    >>> windows(10, 4)
    [(0, 3), (3, 7), (7, 10)]
    """
    edges = np.linspace(0, total, -(-total // longest) + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def crops(total: int, count: int, length: int) -> list[Span]:
    """Evenly spaced crops from the first to the last possible position; one crop is taken from the middle.

    >>> crops(5, 2, 3), crops(5, 1, 3)
    ([(0, 3), (2, 5)], [(1, 4)])
    """
    last = total - length
    starts = [last // 2] if count == 1 else np.linspace(0, last, count).round().astype(int).tolist()
    return [(start, start + length) for start in starts]


def spans(total: int, longest: int, averaging: CropAveraging | None, crop_length: int) -> list[Span]:
    """Where a recording of a length is cut; arguments as for `windows` and `crops`."""
    return windows(total, longest) if averaging is None else crops(total, averaging.count, crop_length)


def batches(lengths: Sequence[int], most: int, alike: bool = False) -> Iterator[list[int]]:
    """Indices grouped by similar length, each group's count times its longest within `most` (or a single index).

    Args:
        lengths: of the pieces.
        most: of all pieces of a group, padded to the longest.
        alike: only pieces of the very same length share a group.

    >>> list(batches([5, 1, 9, 2], 10))
    [[2], [0, 3], [1]]
    >>> list(batches([5, 1, 5, 2], 10, alike=True))
    [[0, 2], [3], [1]]
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):  # longest first: memory fails at once or never
        longest = lengths[batch[0]] if batch else 0
        if batch and ((len(batch) + 1) * longest > most or (alike and lengths[index] != longest)):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
