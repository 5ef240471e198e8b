"""Exact search among voiceprints that come and go: the same answers as comparing with every one in float64."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from sound_groove.errors import MetricError, UsageError
from sound_groove.voiceprints import search
from sound_groove.voiceprints.search import Neighbours, VoiceprintIndex

SIZE = 8


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Blocks, chunks and groups so small that a handful of embeddings fills several of them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(search, "BLOCK", 16)
        monkeypatch.setattr(search, "PART", 8)
        monkeypatch.setattr(search, "CHUNK", 24)
        monkeypatch.setattr(search, "GROUPS_OF", 4)
        yield


def unit_rows(count: int, size: int = SIZE, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def names(count: int) -> list[str]:
    return [f"{number:032x}" for number in np.random.default_rng(count).permutation(count).tolist()]


def brute_force(stored: dict[str, NDArray[np.float32]], query: NDArray[np.float32], count: int) -> Neighbours:
    """The definition: every cosine in float64, sorted by score and key."""
    cosines = {key: float((row.astype(np.float64) * query.astype(np.float64)).sum()) for key, row in stored.items()}
    best = sorted(cosines, key=lambda key: (-np.clip(cosines[key], -1, 1), key))[:count]
    return Neighbours(tuple(best), np.clip([cosines[key] for key in best], -1.0, 1.0))


def filled(rows: NDArray[np.float32], threads: int = 2) -> tuple[VoiceprintIndex, dict[str, NDArray[np.float32]]]:
    stored = dict(zip(names(len(rows)), rows, strict=True))
    index = VoiceprintIndex(rows.shape[1], threads)
    index.put_all(list(stored), rows)
    return index, stored


def assert_exact(index: VoiceprintIndex, stored: dict[str, NDArray[np.float32]], query: NDArray[np.float32]) -> None:
    for count in (1, 3, 10, 10_000):
        found, expected = index.nearest(query, count), brute_force(stored, query, count)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-14)
        assert found.keys == expected.keys


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 333])
def test_the_nearest_are_those_of_comparing_with_every_one(threads: int, count: int) -> None:
    index, stored = filled(unit_rows(count, seed=count), threads)
    assert len(index) == count
    for query in [*unit_rows(5, seed=1), *list(stored.values())[:5]]:
        assert_exact(index, stored, query)


def test_an_answer_worked_by_hand() -> None:
    index = VoiceprintIndex(2, threads=1)
    index.put_all(["east", "north", "west"], np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32))
    found = index.nearest(np.array([0.6, 0.8], dtype=np.float32), 3)
    assert found.keys == ("north", "east", "west")
    np.testing.assert_allclose(found.scores, [0.8, 0.6, -0.6], atol=1e-7)


class AnyChanges(RuleBasedStateMachine):
    """Random puts, replacements and removals, beside a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.index, self.stored = VoiceprintIndex(3, threads=2), dict[str, NDArray[np.float32]]()

    @rule(key=st.integers(0, 60), seed=st.integers(0, 20))
    def put(self, key: int, seed: int) -> None:
        row = unit_rows(1, 3, seed)[0]
        self.index.put(f"{key:02d}", row)
        self.stored[f"{key:02d}"] = row

    @rule(keys=st.lists(st.integers(0, 60), max_size=50), seed=st.integers(0, 20))
    def put_all(self, keys: list[int], seed: int) -> None:
        rows = unit_rows(len(keys), 3, seed)
        self.index.put_all([f"{key:02d}" for key in keys], rows)
        self.stored.update({f"{key:02d}": row for key, row in zip(keys, rows, strict=True)})

    @rule(keys=st.lists(st.integers(0, 60), max_size=30))
    def remove(self, keys: list[int]) -> None:
        for key in keys:
            self.index.remove(f"{key:02d}")
            self.stored.pop(f"{key:02d}", None)

    @rule(seed=st.integers(0, 20))
    def look(self, seed: int) -> None:
        assert_exact(self.index, self.stored, unit_rows(1, 3, seed)[0])

    @invariant()
    def nothing_else_is_held(self) -> None:
        assert len(self.index) == len(self.stored)
        assert all((f"{key:02d}" in self.index) == (f"{key:02d}" in self.stored) for key in range(61))
        rows = np.concatenate([*self.index._blocks, np.zeros((0, 3))])
        assert not rows[len(self.stored) :].any(), "what was removed is still there"
        assert len(rows) <= len(self.stored) + 2 * search.BLOCK
        expected = sum(search._bytes_of(key) for key in self.stored)
        assert self.index._key_bytes == expected


TestAnyChanges = AnyChanges.TestCase
TestAnyChanges.settings = hypothesis_settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_the_scores_of_given_keys_are_their_cosines_in_the_order_given() -> None:
    index, rows = VoiceprintIndex(SIZE, threads=1), unit_rows(60)
    index.put_all([str(number) for number in range(60)], rows)
    index.remove("3")  # the last takes its row
    found = index.scores(rows[7], ["59", "7", "0"])
    assert found == pytest.approx(rows[[59, 7, 0]].astype(np.float64) @ rows[7].astype(np.float64), abs=1e-12)
    assert len(index.scores(rows[7], [])) == 0
    with pytest.raises(MetricError, match="there is no embedding of '3' to compare with"):
        index.scores(rows[7], ["0", "3"])


def test_rounding_to_float32_never_hides_a_neighbour() -> None:
    """Scores that lie much closer together than float32 can tell, so that its order is not the true one."""
    rng = np.random.default_rng(0)
    query = unit_rows(1, 192, seed=1)[0]
    rows = np.repeat(unit_rows(1, 192, seed=2), 400, axis=0)
    for row in rows:  # each differs in the last places of many values only
        for _ in range(3):
            there = rng.integers(0, 192, 60)
            row[there] = np.nextafter(row[there], rng.choice([-2, 2], 60).astype(np.float32))
    order = rng.permutation(192)  # an order of adding up that einsum does not have
    in_float32 = np.argsort(-np.cumsum(rows[:, order] * query[order], axis=1, dtype=np.float32)[:, -1], kind="stable")
    index, stored = filled(rows)
    true = brute_force(stored, query, 10).keys
    assert {names(400)[row] for row in in_float32[:10].tolist()} != set(true), "too easy: float32 has the same ten"
    own = np.argsort(-index._scores(query), kind="stable")[:10]
    assert {names(400)[row] for row in own.tolist()} != set(true), "too easy: the first pass alone has the same ten"
    assert_exact(index, stored, query)


def test_the_bound_of_rounding_is_nearly_reached_and_never_passed() -> None:
    """After a first product of nearly 1, products of half a unit in its last place are lost, one after another."""
    row = np.full(192, 2.0**-12.5 * 0.999, dtype=np.float32)
    row[0] = np.sqrt(1 - (row[1:].astype(np.float64) ** 2).sum())
    assert np.linalg.norm(row.astype(np.float64)) == pytest.approx(1, abs=1e-7)
    true = float((row.astype(np.float64) ** 2).sum())
    one_by_one = float(np.cumsum(row * row, dtype=np.float32)[-1])
    assert 0.45 * search.float32_error(192) < true - one_by_one <= search.float32_error(192)


@given(size=st.integers(1, 300), seed=st.integers(0, 2**31))
@hypothesis_settings(max_examples=60, deadline=None)
def test_the_first_pass_stays_within_the_bound(size: int, seed: int) -> None:
    """For values of all sizes; their float64 inner product stands for the true one."""
    rng = np.random.default_rng(seed)
    values = 10.0 ** rng.uniform(-rng.choice([0, 1, 4]), 0, (64, size)) * rng.choice([-1, 1], (64, size))
    rows = np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)
    index, _ = filled(rows)
    true = np.einsum("nd,d->n", rows.astype(np.float64), rows[0].astype(np.float64))
    assert np.abs(index._scores(rows[0]) - true).max() <= search.float32_error(size)


def test_of_equal_scores_the_smaller_key_comes_first_wherever_it_stands() -> None:
    one, other = unit_rows(2, seed=3)
    for seed in range(10):
        index = VoiceprintIndex(SIZE, threads=2)
        for number in np.random.default_rng(seed).permutation(100).tolist():
            index.put(f"{number:03d}", other if number % 2 else one)
        found = index.nearest(one, 20)
        assert found.keys == tuple(f"{number:03d}" for number in range(0, 40, 2))
        assert set(found.scores.tolist()) == {found.scores[0]}, "the same numbers have different scores"
        assert index.nearest(one, 51).keys[-1] == "001"


def test_scores_do_not_leave_the_cosines_range() -> None:
    rows = unit_rows(200, 192, seed=5)
    index, _ = filled(rows)
    for row in rows:
        scores = index.nearest(row, 5).scores
        assert scores.dtype == np.float64 and scores.min() >= -1.0 and 0.999999 < scores[0] <= 1.0


def test_an_empty_index_has_no_neighbours() -> None:
    index = VoiceprintIndex(SIZE)
    query = unit_rows(1)[0]
    assert index.nearest(query, 5).keys == () and index.nearest(query, 5).scores.shape == (0,)
    index.put_all([], np.empty((0, SIZE), dtype=np.float32))
    assert len(index) == 0 and "a" not in index
    index.put("a", query)
    index.remove("a")
    assert index.nearest(query, 5).keys == () and len(index) == 0


def test_removing_erases_the_numbers_and_twice_is_once() -> None:
    index, stored = filled(unit_rows(40))
    blocks = list(index._blocks)
    for key in list(stored):
        index.remove(key)
        index.remove(key)
        index.remove("never there")
    assert len(index) == 0 and not any(block.any() for block in blocks)


def test_memory_grows_with_the_rows_and_is_given_back() -> None:
    index = VoiceprintIndex(192)
    empty = index.memory_bytes
    assert empty < 1000
    keys, rows = names(1600), unit_rows(1600, 192)
    index.put_all(keys, rows)
    each = index.memory_bytes / 1600
    assert 192 * 4 + 32 + 49 <= each < 192 * 4 + 300
    for key in keys:
        index.remove(key)
    assert index.memory_bytes < 17 * 192 * 4 + 100_000


def test_growing_copies_no_row() -> None:
    index, _ = filled(unit_rows(16))
    before = index._blocks[0]
    index.put_all([f"more {number}" for number in range(1000)], unit_rows(1000))
    assert index._blocks[0] is before


BAD_VALUES = unit_rows(3)
BAD_VALUES[1, 2] = np.nan


@pytest.mark.parametrize(
    ("keys", "rows", "complaint"),
    [
        (["a"], unit_rows(1, 9), r"1 keys need embeddings of shape \(1, 8\), not \(1, 9\)"),
        (["a", "b"], unit_rows(3), r"2 keys need embeddings of shape \(2, 8\), not \(3, 8\)"),
        (["a"], unit_rows(1)[0], r"1 keys need embeddings of shape \(1, 8\), not \(8,\)"),
        (["a", "b\n", "c"], BAD_VALUES, r"b\\n: holds values that are not finite; an embedding must be"),
        (["a"], unit_rows(1) * np.float32(1.01), "a: has the length 1.01; an embedding must be finite and of unit"),
        (["a"], unit_rows(1) * np.float32(0), "a: has the length 0;"),
        (["a"], np.full((1, SIZE), 1e300), "a: holds values that are not finite"),
        (["a"], np.full((1, SIZE), -np.inf, dtype=np.float32), "a: holds values that are not finite"),
    ],
)
def test_what_is_no_embedding_is_refused_and_changes_nothing(
    keys: list[str], rows: NDArray[np.floating], complaint: str
) -> None:
    index, stored = filled(unit_rows(20))
    with pytest.raises(MetricError, match=complaint) as caught:
        index.put_all(keys, rows)
    assert "\n" not in str(caught.value)
    assert len(index) == 20 and "a" not in index
    assert_exact(index, stored, unit_rows(1)[0])


def test_one_embedding_that_is_none_is_refused() -> None:
    index, stored = filled(unit_rows(20))
    for wrong in (unit_rows(1, 9)[0], unit_rows(1), np.array(1.0, np.float32)):
        with pytest.raises(MetricError, match=r"the embedding of 'a' must have the shape \(8,\), not"):
            index.put("a", wrong)
        with pytest.raises(MetricError, match=r"the embedding to search for must have the shape \(8,\), not"):
            index.nearest(wrong, 1)
    with pytest.raises(MetricError, match="the embedding of 'a': holds values that are not finite"):
        index.put("a", BAD_VALUES[1])
    with pytest.raises(MetricError, match="the embedding to search for: has the length 2; an embedding must be"):
        index.nearest(unit_rows(1)[0] * np.float32(2), 1)
    assert len(index) == len(stored)


def test_sizes_counts_and_threads_out_of_range_are_refused() -> None:
    for size in (0, 10_001):
        with pytest.raises(UsageError, match=f"cannot hold embeddings of {size} values; give a size of 1 to 10000"):
            VoiceprintIndex(size)
    with pytest.raises(UsageError, match="0 threads cannot search; give 1 or more, or None for all cores"):
        VoiceprintIndex(SIZE, threads=0)
    with pytest.raises(UsageError, match="the nearest 0 embeddings cannot be found; ask for 1 or more"):
        VoiceprintIndex(SIZE).nearest(unit_rows(1)[0], 0)


def test_each_answer_is_of_a_consistent_state() -> None:
    """A group of embeddings is replaced at once, over and over: no search sees some of the old and some of the new."""
    rows, query = unit_rows(60), unit_rows(1, seed=9)[0]
    index, _ = filled(rows)
    group = [f"group {number}" for number in range(40)]
    near, far = (np.tile(np.float32(sign) * query, (40, 1)) for sign in (1, -1))
    index.put_all(group, near)
    expected = {brute_force(dict(zip(group, side, strict=True)), query, 1).scores[0] for side in (near, far)}
    done, problems = threading.Event(), []

    def change() -> None:
        for turn in range(300):
            index.put_all(group, (near, far)[turn % 2])
            for number in range(10):
                index.put(f"passing {number}", rows[number])
            for number in range(10):
                index.remove(f"passing {number}")

    def look() -> None:
        while not done.is_set():
            found = index.nearest(query, 1000)
            scores = dict(zip(found.keys, found.scores.tolist(), strict=True))
            passing = sum(key.startswith("passing") for key in scores)
            if len({scores[key] for key in group}) != 1 or scores[group[0]] not in expected:
                problems.append("a group half changed")
            if len(found.keys) != 100 + passing or len(scores) != len(found.keys):
                problems.append(f"{len(found.keys)} neighbours, {passing} of them passing")

    run_beside([change, change], [look, look], done)
    assert problems == []
    assert len(index) == 100


def test_changes_get_their_turn_beside_searches_without_pause() -> None:
    index, stored = filled(unit_rows(2000, 64))
    query = next(iter(stored.values()))
    done, searches = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            searches.append(len(index.nearest(query, 5).keys))

    def change() -> None:
        for number in range(100):
            index.put(f"new {number}", query)

    run_beside([change], [look, look, look], done)
    assert len(index) == 2100 and len(searches) > 0


def run_beside(changes: list[Callable[[], None]], looks: list[Callable[[], None]], done: threading.Event) -> None:
    """Run the changes to their end while the looks go on, and raise what any of them raised."""
    with ThreadPoolExecutor(len(changes) + len(looks)) as pool:
        looking = [pool.submit(look) for look in looks]
        changing = [pool.submit(change) for change in changes]
        try:
            for future in changing:
                future.result(timeout=60)
        finally:
            done.set()
        for future in looking:
            future.result(timeout=60)


IN_ONE_THREAD = """
import time
import numpy as np
from sound_groove.voiceprints.search import VoiceprintIndex

rows = np.random.default_rng(0).standard_normal((20_000, 192), dtype=np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
index = VoiceprintIndex(192, threads=1)
index.put_all([str(number) for number in range(len(rows))], rows)
everything, own = time.process_time(), time.thread_time()
for row in rows[:40]:
    index.nearest(row, 10)
print((time.process_time() - everything) / (time.thread_time() - own))
"""


def test_a_search_in_one_thread_stays_in_it_whatever_blas_may_use() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"}
    command = [sys.executable, "-c", IN_ONE_THREAD]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) < 1.2, "other threads worked too"
