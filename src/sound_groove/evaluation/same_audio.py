"""Trials that hold the same audio on both sides: a file with itself, or one recording under two names.

Their score says nothing about who is speaking. They are scored like the rest, since a published list is used as it was
published, and they are counted and named.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import printable
from sound_groove.evaluation.trials.trial_list import TrialList

MOST_NAMED = 20


def same_audio(trials: TrialList, digests: Mapping[int, Sequence[str]]) -> NDArray[np.bool_]:
    """(trials,) whether a recording of one side is also among those of the other.

    Args:
        trials: the trials.
        digests: of the samples of the recordings behind each name, by its index; a name without any shares none.
    """
    numbers: dict[str, int] = {}
    single = np.full(len(trials.ids), -1, dtype=np.int64)  # the recording of a name that stands for one alone
    several: dict[int, frozenset[str]] = {}
    for index, found in digests.items():
        if len(found) == 1:
            single[index] = numbers.setdefault(found[0], len(numbers))
        elif found:
            several[index] = frozenset(found)
    first, second = single[trials.enrolments], single[trials.tests]
    shared: NDArray[np.bool_] = (first == second) & (first >= 0)
    mixed = np.isin(trials.enrolments, list(several)) | np.isin(trials.tests, list(several))
    for row in np.flatnonzero(mixed).tolist():
        one, other = (frozenset(digests.get(int(side[row]), ())) for side in (trials.enrolments, trials.tests))
        shared[row] = not one.isdisjoint(other)
    return shared


def describe_same_audio(trials: TrialList, shared: NDArray[np.bool_]) -> dict[str, Any]:
    """How many such trials there are, and the first of them, for metrics.json.

    Args:
        trials: the trials.
        shared: what `same_audio` gave.
    """
    rows = np.flatnonzero(shared)
    named = [
        {
            "line": int(trials.lines[row]),
            "enrolment": trials.ids[trials.enrolments[row]],
            "test": trials.ids[trials.tests[row]],
        }
        for row in rows[:MOST_NAMED]
    ]
    targets = int(trials.labels[rows].sum())
    return {"trials": len(rows), "targets": targets, "nontargets": len(rows) - targets, "first": named}


def same_audio_notes(found: Mapping[str, Any]) -> list[str]:
    """What a reader of the figures should know of them.

    Args:
        found: what `describe_same_audio` gave.

    >>> same_audio_notes({"trials": 0})
    []
    """
    if not found["trials"]:
        return []
    count = "1 trial compares" if found["trials"] == 1 else f"{found['trials']:,} trials compare"
    pairs = [
        f"line {one['line']} ('{printable(one['enrolment'])}' and '{printable(one['test'])}')"
        for one in found["first"][:3]
    ]
    more = ", ..." if found["trials"] > len(pairs) else ""
    note = (
        f"{count} a recording with itself, or with the same audio under another name: {', '.join(pairs)}{more}; scored "
        "as listed, which says nothing about who is speaking"
    )
    if found["nontargets"]:
        note += f"; {found['nontargets']:,} of them labelled 'different speakers', which cannot be"
    return [note]
