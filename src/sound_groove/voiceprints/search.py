"""Exact nearest neighbours by cosine among embeddings that come and go: an index in memory. numpy only.

Every row is compared in every search, so that nothing is trained or rebuilt and no neighbour is ever missed. A million
embeddings of 192 values are 768 MB to read, so they are read once, in float32, and by all threads.

**Exact** is meant of the cosines in float64. Those in float32 only sort out who cannot be among the nearest: with D
products and their sum in any order, the float32 inner product of two unit-length vectors lies within D u / (1 - D u) of
the true one, u = 2^-24 (Higham 2002, equation 3.5; by Cauchy and Schwarz the products' sizes add up to 1 at most). Let
this be E. `count` rows have a float32 score of f or above, so a true one of f - E or above, and whoever truly has that
has a float32 score of at least f - 2 E. All of those, and no others, are compared again in float64.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import MetricError, UsageError, printable
from sound_groove.provenance import available_cores
from sound_groove.types import Embeddings, Scores

# Rows that memory is taken for at a time: 13 MB of 192 values. Linux gives memory in large pages to what is as large as
# that; comparing took 27 ms of one core for a million rows then, and 37 in blocks of 4096 rows.
BLOCK = 16_384
PART = 4096  # rows that a thread compares at a time; a block has a whole number of parts
MOST_VALUES = 10_000  # of an embedding: inner products of more may be divided among threads by BLAS
CHUNK = 16_384  # rows at a time where float64 copies are made: 25 MB of 192 values
GROUPS_OF = 64  # rows of which only the highest score counts when the nearest are bounded
LENGTH_TOLERANCE = 1e-4  # of unit length; rounding to float32 leaves 1e-7
ROW_NUMBER = 32  # bytes of a row's number in Python


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest embeddings, best first; of equal scores, the smaller key first.

    Attributes:
        keys: (K,) of the embeddings.
        scores: (K,) their cosines, in [-1, 1].
    """

    keys: tuple[str, ...]
    scores: Scores


class VoiceprintIndex:
    """Embeddings by key, of which the nearest to another are found exactly.

    Methods may be called from several threads at once. Changes and searches take turns, so that a search sees all of a
    change or nothing of it, and all searches together use the index's own threads only, whatever BLAS may use.

    A voiceprint takes 4 D bytes for its numbers (768 for D = 192) and about 170 for a key of 32 letters; a million take
    0.93 GB. Memory is taken in blocks of 16,384 rows (and used as they fill), so nothing is copied when there are more,
    and blocks that are no longer needed are given back.

    >>> index = VoiceprintIndex(2)
    >>> index.put("east", np.array([1.0, 0.0], dtype=np.float32))
    >>> index.put("north", np.array([0.0, 1.0], dtype=np.float32))
    >>> index.nearest(np.array([0.6, 0.8], dtype=np.float32), 1).keys
    ('north',)
    """

    def __init__(self, size: int, threads: int | None = None) -> None:
        """An empty index.

        Args:
            size: values of an embedding, D.
            threads: CPU threads of a search; None takes all cores that this process may use.

        Raises:
            UsageError: a size outside 1 to 10,000, or less than 1 thread.
        """
        if not 1 <= size <= MOST_VALUES:
            raise UsageError(f"an index cannot hold embeddings of {size} values; give a size of 1 to {MOST_VALUES}")
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} threads cannot search; give 1 or more, or None for all cores")
        self.size = size
        self._threads = available_cores() if threads is None else threads
        self._rows: dict[str, int] = {}
        self._keys: list[str] = []  # (N,) of the rows
        self._blocks: list[NDArray[np.float32]] = []  # of shape (BLOCK, D); rows from N on are zeros
        self._key_bytes = 0
        self._lock = Lock()
        # The thread that asks works too. Idle threads end with the index.
        self._helpers = ThreadPoolExecutor(max(1, self._threads - 1), thread_name_prefix="search")

    def __len__(self) -> int:
        """How many embeddings there are; told without waiting, even in the midst of a change."""
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        """Whether there is an embedding of this key; told without waiting, even in the midst of a change."""
        return key in self._rows

    @property
    def memory_bytes(self) -> int:
        """Bytes taken: the blocks of rows as a whole, the keys, and where they are."""
        with self._lock:
            rows = len(self._blocks) * BLOCK * self.size * np.dtype(np.float32).itemsize
            places = sys.getsizeof(self._rows) + sys.getsizeof(self._keys)
            return rows + places + self._key_bytes

    def put(self, key: str, embedding: Embeddings) -> None:
        """Add an embedding, or replace the one of that key.

        Args:
            key: any text.
            embedding: (D,) unit length.

        Raises:
            MetricError: another size, values that are not finite, or another length.
        """
        self.put_all([key], self._checked(embedding, f"the embedding of '{printable(key)}'")[np.newaxis])

    def put_all(self, keys: Sequence[str], embeddings: Embeddings) -> None:
        """Add or replace many embeddings at once: a search sees all of them or none.

        Args:
            keys: (N,) any texts; of a key that is there twice, the last embedding stays.
            embeddings: (N, D) unit length.

        Raises:
            MetricError: other sizes or lengths, or values that are not finite; then nothing was changed.
        """
        if np.shape(embeddings) != (len(keys), self.size):
            raise MetricError(
                f"{len(keys)} keys need embeddings of shape ({len(keys)}, {self.size}), not {np.shape(embeddings)}"
            )
        values = _single(embeddings)
        for start in range(0, len(keys), CHUNK):
            _check_lengths(values[start : start + CHUNK], keys[start : start + CHUNK])
        with self._lock:
            for start in range(0, len(keys), CHUNK):
                rows = np.array([self._row_for(key) for key in keys[start : start + CHUNK]])
                for block in np.unique(rows // BLOCK):
                    here = rows // BLOCK == block
                    # numpy assigns in order, so that the last of several embeddings of a key stays
                    self._blocks[block][rows[here] % BLOCK] = values[start : start + CHUNK][here]

    def remove(self, key: str) -> None:
        """Erase the embedding of a key; a key that is not there is left at that, as by `set.discard`.

        The last row takes the place of the erased one, and zeros the place of the last.
        """
        with self._lock:
            row = self._rows.pop(key, None)
            if row is None:
                return
            self._key_bytes -= _bytes_of(key)
            last = len(self._keys) - 1
            moved = self._keys.pop()
            from_block, to_block = self._blocks[last // BLOCK], self._blocks[row // BLOCK]
            if row != last:
                to_block[row % BLOCK] = from_block[last % BLOCK]
                self._keys[row], self._rows[moved] = moved, row
            from_block[last % BLOCK] = 0.0
            # One spare block stays, so that putting and removing at its edge does not take and give memory each time.
            del self._blocks[-(-last // BLOCK) + 1 :]

    def nearest(self, embedding: Embeddings, count: int) -> Neighbours:
        """The embeddings with the greatest cosine to another.

        Args:
            embedding: (D,) unit length.
            count: how many; all when there are not so many.

        Returns:
            The min(count, N) nearest, best first, by their cosines in float64; of equal cosines, the smaller key first,
            so that the answer does not depend on the order in which embeddings came.

        Raises:
            MetricError: another size, values that are not finite, or another length.
            UsageError: a count below 1.
        """
        if count < 1:
            raise UsageError(f"the nearest {count} embeddings cannot be found; ask for 1 or more")
        query = self._checked(embedding, "the embedding to search for")
        with self._lock:
            count = min(count, len(self._keys))
            if count == 0:
                return Neighbours((), np.empty(0))
            scores = self._scores(query)
            margin = 2 * float32_error(self.size)
            rows = np.flatnonzero(scores >= _lower_bound(scores, count) - margin)
            rows = rows[scores[rows] >= _highest(scores[rows], count) - margin]
            cosines = self._cosines(rows, query.astype(np.float64))
            # Sorting a tuple for each row is slow for very many, so those below the last of the nearest are left out.
            kept = cosines >= _highest(cosines, count)
            found = sorted(
                (-cosine, self._keys[row])
                for cosine, row in zip(cosines[kept].tolist(), rows[kept].tolist(), strict=True)
            )[:count]
        return Neighbours(tuple(key for _, key in found), np.array([-cosine for cosine, _ in found]))

    def scores(self, embedding: Embeddings, keys: Sequence[str]) -> Scores:
        """The cosines (K,) of an embedding (D,) to those of some keys, in float64.

        Raises:
            MetricError: another size, values that are not finite, or another length; or a key that is not there.
        """
        query = self._checked(embedding, "the embedding to compare")
        with self._lock:
            return self._cosines(self._rows_of(keys), query.astype(np.float64))

    def embeddings(self, keys: Sequence[str]) -> Embeddings:
        """The embeddings (K, D) of some keys.

        Raises:
            MetricError: a key is not there.
        """
        with self._lock:
            rows = self._rows_of(keys).tolist()
            return np.array([self._blocks[row // BLOCK][row % BLOCK] for row in rows]).reshape(len(rows), self.size)

    def _rows_of(self, keys: Sequence[str]) -> NDArray[np.intp]:
        if missing := [key for key in keys if key not in self._rows]:
            raise MetricError(f"there is no embedding of '{printable(missing[0])}' to compare with")
        return np.array([self._rows[key] for key in keys], dtype=np.intp)

    def _checked(self, embedding: Embeddings, what: str) -> NDArray[np.float32]:
        """One embedding (D,) as float32."""
        if np.shape(embedding) != (self.size,):
            raise MetricError(f"{what} must have the shape ({self.size},), not {np.shape(embedding)}")
        values = _single(embedding)
        _check_lengths(values[np.newaxis], [what])
        return values

    def _row_for(self, key: str) -> int:
        """The row of a key, which is a new one of zeros where there was none."""
        if key in self._rows:
            return self._rows[key]
        row = len(self._keys)
        if row == len(self._blocks) * BLOCK:  # first of all, as there may be no memory for it
            self._blocks.append(np.zeros((BLOCK, self.size), dtype=np.float32))
        self._rows[key] = row
        self._keys.append(key)
        self._key_bytes += _bytes_of(key)
        return row

    def _scores(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float32 inner products (N,) of a query with every row."""
        scores = np.empty(len(self._keys), dtype=np.float32)
        starts = iter(range(0, len(scores), PART))

        def work() -> None:
            for start in starts:  # shared, so that a thread whose core is busy with other work compares fewer rows
                part, first = scores[start : start + PART], start % BLOCK
                # An inner product for each row: 25 ms of one core for a million rows, and sgemv of OpenBLAS takes 50.
                np.vecdot(self._blocks[start // BLOCK][first : first + len(part)], query, out=part)

        helpers = min(self._threads, -(-len(scores) // PART)) - 1
        waiting = [self._helpers.submit(work) for _ in range(helpers)]
        work()
        for helper in waiting:
            helper.result()
        return scores

    def _cosines(self, rows: NDArray[np.intp], query: NDArray[np.float64]) -> Scores:
        """The cosines of a query with some rows, in float64: the same for the same numbers, wherever they stand."""
        cosines = np.empty(len(rows))
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK].tolist()
            values = np.array([self._blocks[row // BLOCK][row % BLOCK] for row in some], dtype=np.float64)
            cosines[start : start + CHUNK] = np.einsum("nd,d->n", values, query)
        return np.clip(cosines, -1.0, 1.0)


def float32_error(size: int) -> float:
    """How far the float32 inner product of two unit-length vectors of `size` values lies from the true one at most.

    That is D u / (1 - D u). A thousandth and 4 u more leave room for the denominator, for lengths that are nearly 1
    and for the rounding of a bound to float32; they suffice up to `MOST_VALUES`.

    >>> round(float32_error(192) * 1e6, 1)
    11.7
    """
    return (1.001 * size + 4) * 2.0**-24


def _single(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Numbers as float32; those that are too large for it become infinite, and are refused as such."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float32)


def _check_lengths(values: NDArray[np.float32], names: Sequence[str]) -> None:
    """Refuse embeddings (N, D) that are not of unit length, which those that are not finite are not either."""
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
    wrong = np.flatnonzero(~(np.abs(lengths - 1.0) <= LENGTH_TOLERANCE))
    if len(wrong):
        name, length = printable(names[int(wrong[0])]), float(lengths[wrong[0]])
        reason = f"has the length {length:.6g}" if np.isfinite(length) else "holds values that are not finite"
        raise MetricError(f"{name}: {reason}; an embedding must be finite and of unit length")


def _lower_bound(scores: NDArray[np.float32], count: int) -> float:
    """A number that at least `count` scores (N,) reach, close to the count-th highest, in a fifth of the time.

    The count-th highest of the groups' highest scores is one, as each of these groups has a score that reaches it.
    """
    groups = len(scores) // GROUPS_OF
    if groups < count:
        return _highest(scores, count)
    return _highest(scores[: groups * GROUPS_OF].reshape(GROUPS_OF, groups).max(axis=0), count)  # (groups,)


def _highest(scores: NDArray[np.floating], count: int) -> float:
    """The count-th highest of scores (N,)."""
    return float(np.partition(scores, len(scores) - count)[len(scores) - count])


def _bytes_of(key: str) -> int:
    """What a key takes, with the number of its row."""
    return sys.getsizeof(key) + ROW_NUMBER
