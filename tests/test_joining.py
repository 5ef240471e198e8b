"""Joining of short neighbours: the worked examples of the recipe, and what must hold for any row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sound_groove.corpora.joining import join_neighbours

WORKED: list[tuple[float, list[float], list[tuple[int, int]]]] = [
    (1.0, [0.5, 0.6, 1.7], [(0, 2), (2, 3)]),
    (1.0, [0.5, 0.6, 0.7], [(0, 3)]),
    (0.5, [0.1, 6, 7], [(0, 2), (2, 3)]),
    (0.5, [6, 7, 0.1], [(0, 1), (1, 3)]),
    (0.5, [7, 0.1, 6], [(0, 2), (2, 3)]),
    (1.0, [1, 0.5, 0.1, 6], [(0, 3), (3, 4)]),
]


@pytest.mark.parametrize(("minimum", "durations", "pieces"), WORKED)
def test_the_worked_examples_come_out_as_published(
    minimum: float, durations: list[float], pieces: list[tuple[int, int]]
) -> None:
    assert join_neighbours(durations, minimum) == pieces


@pytest.mark.parametrize(("minimum", "durations", "pieces"), WORKED)
def test_sample_counts_give_what_seconds_give(
    minimum: float, durations: list[float], pieces: list[tuple[int, int]]
) -> None:
    assert join_neighbours([round(16000 * d) for d in durations], 16000 * minimum) == pieces


def test_an_empty_row_gives_no_piece() -> None:
    assert join_neighbours([], 5.0) == []


def test_a_row_shorter_than_the_minimum_stays_one_piece() -> None:
    assert join_neighbours([1.0, 1.0, 1.0], 5.0) == [(0, 3)]


def test_utterances_that_are_long_enough_are_left_alone() -> None:
    assert join_neighbours([5.0, 6.0, 7.0], 5.0) == [(0, 1), (1, 2), (2, 3)]


def test_the_row_is_walked_from_its_end() -> None:
    # .9 has only .3 beside it: 1.2. Then .8 has only these two.
    assert join_neighbours([0.8, 0.3, 0.9], 1.0) == [(0, 3)]


def test_equal_neighbours_go_to_the_right() -> None:
    assert join_neighbours([10, 5, 10], 10) == [(0, 1), (1, 3)]


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(0, 40))
def test_every_utterance_is_in_one_piece_and_every_piece_lasts_the_minimum(durations: list[int], minimum: int) -> None:
    pieces = join_neighbours(durations, minimum)
    assert [i for first, last in pieces for i in range(first, last)] == list(range(len(durations)))
    if len(pieces) > 1:
        assert all(sum(durations[first:last]) >= minimum for first, last in pieces)


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(0, 40))
def test_no_piece_holds_a_joint_that_was_not_needed(durations: list[int], minimum: int) -> None:
    """A piece that can be cut into two long enough ones may come about, but never one of long utterances only."""
    for first, last in join_neighbours(durations, minimum):
        assert last - first == 1 or min(durations[first:last]) < minimum


def test_a_row_of_a_hundred_thousand_is_joined_without_recursion_or_quadratic_work() -> None:
    pieces = join_neighbours([0.7] * 100_000, 5.0)
    assert {last - first for first, last in pieces} == {8}  # 8 x 0.7 s is the first multiple that reaches 5 s
