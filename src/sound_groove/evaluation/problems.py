"""What a person is told of recordings that cannot be used, and of the trials that they cost."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.usable import Usable

MOST_NAMED = 20  # unusable recordings named on the terminal; the file names all


def tell_problems(usable: Usable, trials: TrialList, failed: NDArray[np.bool_], say: Callable[[str], None]) -> str:
    """Name the recordings of a list that cannot be used.

    Args:
        usable: what can be used.
        trials: all trials of the list.
        failed: (trials,) those that cannot be scored.
        say: is told of each recording, line by line.

    Returns:
        How many there are and what they cost, as a clause.
    """
    for number, (what, (why, indices)) in enumerate(usable.problems.items()):
        if number == MOST_NAMED:
            say(f"... and {len(usable.problems) - MOST_NAMED} more recordings")
            break
        costs = np.flatnonzero(np.isin(trials.enrolments, indices) | np.isin(trials.tests, indices))
        say(f"{what}: {why}; costs {counted(len(costs), 'trial')} ({_lines(trials.lines[costs[:3]], len(costs))})")
    return (
        f"{counted(len(usable.problems), 'recording')} cannot be used, "
        f"which costs {failed.sum()} of {counted(len(trials), 'trial')}"
    )


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "trial"), counted(3, "trial")
    ('1 trial', '3 trials')
    """
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _lines(first: Sequence[int] | NDArray[np.int32], total: int) -> str:
    listed = ", ".join(str(line) for line in first)
    return f"line {listed}" if total == 1 else f"lines {listed}" + (", ..." if total > len(first) else "")
