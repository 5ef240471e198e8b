"""Joining of short utterances with their neighbours, the recipe behind the best published CN-Celeb numbers.

A third of CN-Celeb is shorter than 2 s. Training crops of 2 s and more then see little but repetition, so short
neighbours of one speaker and genre are read as one piece. The rule is that of Kaldi's `choose_utts_to_combine.py`
(Povey and Peddinti 2016) as CN-Celeb recipes changed it: a neighbour on the right that is longer than the minimum is
left alone.
"""

from collections.abc import Sequence

Group = tuple[int, int]  # [first, last) of the items that become one piece


def join_neighbours(durations: Sequence[float], minimum: float) -> list[Group]:
    """Divide a row of utterances into pieces that each last the minimum.

    The row is walked from its end. A piece that is too short takes in its right neighbour or goes to its left one: to
    the only one there is; to the left one where the right one is longer than the minimum; else to the one that makes it
    long enough; else, both doing so, to the shorter (the right one of equals).

    Args:
        durations: length of each utterance, in any unit (sample counts make the comparisons exact), sorted by name.
        minimum: what each piece should last, in the same unit.

    Returns:
        [first, last) of each piece, in order, without gap or overlap. Each lasts at least the minimum, unless the whole
        row does not: that is one piece.

    >>> join_neighbours([0.5, 0.6, 1.7], 1.0)
    [(0, 2), (2, 3)]
    >>> join_neighbours([7.0, 0.1, 6.0], 0.5)
    [(0, 2), (2, 3)]
    """
    if not durations:
        return []
    pieces: list[tuple[int, int, float]] = []  # (first, last, duration), finished, the nearest on the right at the end
    first, last, duration = len(durations) - 1, len(durations), durations[-1]
    while True:
        left = durations[first - 1] if first > 0 else None
        right = pieces[-1][2] if pieces else None
        if duration >= minimum or (left is None and right is None):
            pieces.append((first, last, duration))
            if left is None:
                return [(first, last) for first, last, _ in reversed(pieces)]
            first, last, duration = first - 1, first, left
        elif left is not None and _goes_left(duration, left, right, minimum):
            first, duration = first - 1, duration + left
        else:
            _, last, more = pieces.pop()
            duration += more


def _goes_left(duration: float, left: float, right: float | None, minimum: float) -> bool:
    if right is None or right > minimum:
        return True
    if left + duration < minimum:
        return False
    return right + duration < minimum or left < right
