"""Which trials belong together: by length, by genre and session, by what a table says of their recordings.

Every name of a list gets a number first, and trials take theirs from their two names, so that millions of trials cost
a look-up each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import printable
from sound_groove.evaluation.trials.places import Place
from sound_groove.evaluation.trials.trial_list import TrialList

LENGTHS_S = (1.0, 2.0, 5.0, 10.0)  # where one group of lengths ends and the next begins
LENGTH_NAMES = ("under 1 s", "1 to 2 s", "2 to 5 s", "5 to 10 s", "10 s and more")
MOST_GROUPS = 30  # of a table's column: more are neither readable nor large enough to be measured
SEVERAL, UNKNOWN = "several", "unknown"
NO_GROUP = -1

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Trials in groups.

    Attributes:
        by: short name: `duration`, `genre`, `session` or a column's.
        title: a sentence for people.
        names: of the groups: one word or phrase each, or two where they are pairs.
        kind: `groups`, or `pairs` of what the enrolment and what the test is.
        codes: (trials,) which group each trial is in, NO_GROUP for none.
        shares_nontargets: whether different-speaker trials belong to every group.
        notes: what a reader should know.
    """

    by: str
    title: str
    names: tuple[tuple[str, ...], ...]
    kind: Literal["groups", "pairs"]
    codes: Codes
    shares_nontargets: bool = False
    notes: tuple[str, ...] = ()


def by_duration(trials: TrialList, durations_s: NDArray[np.float64]) -> Grouping:
    """Groups by the length of the shorter side.

    Args:
        trials: the trials.
        durations_s: (ids,) length of what each name stands for; that of several recordings is their sum.
    """
    shorter = np.minimum(durations_s[trials.enrolments], durations_s[trials.tests])
    return Grouping(
        "duration",
        "by the length of the shorter side",
        tuple((name,) for name in LENGTH_NAMES),
        "groups",
        np.digitize(shorter, LENGTHS_S),
    )


def by_genre(trials: TrialList, places: Sequence[frozenset[Place]], ordered: bool) -> Grouping:
    """Groups by the genres of both sides; by that of the test alone where no enrolment's is known.

    Args:
        trials: the trials.
        places: (ids,) where each name's recordings come from.
        ordered: whether the sides differ in kind, so that 'singing, speech' is not 'speech, singing'.
    """
    genres = [_genre(own) for own in places]
    values, numbers = np.unique(genres, return_inverse=True)
    left, right = numbers[trials.enrolments], numbers[trials.tests]
    if all(genres[index] == UNKNOWN for index in np.unique(trials.enrolments).tolist()):
        return Grouping("genre", "by the genre of the test", tuple((str(v),) for v in values), "groups", right)
    title = "by the genres of enrolment and test"
    if not ordered:
        left, right = np.minimum(left, right), np.maximum(left, right)
        title = "by the genres of both sides, in either order"
    pairs, codes = np.unique(left * len(values) + right, return_inverse=True)
    names = tuple((str(values[pair // len(values)]), str(values[pair % len(values)])) for pair in pairs.tolist())
    return Grouping("genre", title, names, "pairs", codes)


def _genre(places: frozenset[Place]) -> str:
    genres = sorted({place.genre for place in places})
    return UNKNOWN if not genres else genres[0] if len(genres) == 1 else SEVERAL


def by_session(trials: TrialList, places: Sequence[frozenset[Place]]) -> Grouping | None:
    """Same-speaker trials within a session and across sessions, both against all different-speaker trials.

    A trial is within a session when a recording of its test and one of its enrolment are of one genre and session.

    Returns:
        The groups; None where no same-speaker trial tells its sessions.
    """
    numbers = {place: number for number, place in enumerate(sorted(set().union(*places), key=repr))}
    members = [sorted(numbers[place] for place in own) for own in places]
    most = max(map(len, members), default=0)
    table = np.array([own + [NO_GROUP] * (most - len(own)) for own in members], dtype=np.int64)  # (ids, places)
    known = np.array([bool(own) for own in members])
    held = np.array([name * len(numbers) + number for name, own in enumerate(members) for number in own], np.int64)
    asked = np.flatnonzero(trials.labels & known[trials.enrolments] & known[trials.tests])
    if not len(asked):
        return None
    enrolments, of_tests = trials.enrolments[asked].astype(np.int64), table[trials.tests[asked]]  # (asked, places)
    same = np.isin(enrolments[:, None] * len(numbers) + of_tests, held) & (of_tests != NO_GROUP)
    return _sessions(trials, asked, same.any(axis=1))


def _sessions(trials: TrialList, asked: Codes, is_same: NDArray[np.bool_]) -> Grouping:
    """The two groups of sessions: of the same-speaker trials `asked`, those within one and the others."""
    codes = np.full(len(trials), NO_GROUP, dtype=np.int64)
    codes[asked] = np.where(is_same, 0, 1)
    title = "by the sessions of the same-speaker trials, against all different-speaker trials"
    return Grouping("session", title, (("same session",), ("different sessions",)), "groups", codes, True)


def by_column(trials: TrialList, column: str, values: Sequence[str | None]) -> Grouping:
    """Groups by a column of a table: by its values, but a column `session` by whether both sides are of one session.

    Args:
        trials: the trials.
        column: of the table.
        values: (ids,) what it says of each name, None where it says nothing; such trials are in no group.
    """
    if column != "session":
        return by_values(trials, column, values)
    known = np.array([value is not None for value in values])
    numbers = np.unique([value or "" for value in values], return_inverse=True)[1]
    asked = np.flatnonzero(trials.labels & known[trials.enrolments] & known[trials.tests])
    return _sessions(trials, asked, numbers[trials.enrolments[asked]] == numbers[trials.tests[asked]])


def by_values(trials: TrialList, column: str, values: Sequence[str | None]) -> Grouping:
    """Groups by what a table says: one for each value that both sides have, one for each pair of values that differ.

    Args:
        trials: the trials.
        column: of the table.
        values: (ids,) what it says of each name, None where it says nothing; such trials are in no group.
    """
    distinct = sorted({value for value in values if value is not None}, key=_natural)
    number = {value: index for index, value in enumerate(distinct)}
    numbers = np.array([NO_GROUP if value is None else number[value] for value in values], dtype=np.int64)
    left, right = numbers[trials.enrolments], numbers[trials.tests]
    low, high = np.minimum(left, right), np.maximum(left, right)
    keys, codes, sizes = np.unique(
        np.where(low == NO_GROUP, NO_GROUP, low * len(distinct) + high), return_inverse=True, return_counts=True
    )
    # Groups of one value come first, then those of two; and of too many the largest are kept.
    groups = [
        (int(key) // len(distinct), int(key) % len(distinct), index) for index, key in enumerate(keys) if key >= 0
    ]
    largest = sorted(groups, key=lambda group: (-sizes[group[2]], group))[:MOST_GROUPS]
    kept = sorted(largest, key=lambda group: (group[0] != group[1], group))
    place = np.full(len(keys), NO_GROUP, dtype=np.int64)
    place[[index for *_, index in kept]] = np.arange(len(kept))
    notes = []
    if len(kept) < len(groups):
        notes.append(f"of the {len(groups):,} groups by {printable(column)}, the {MOST_GROUPS} largest are shown")
    names = tuple((f"both {distinct[a]}" if a == b else f"{distinct[a]} x {distinct[b]}",) for a, b, _ in kept)
    return Grouping(column, f"by {column}", names, "groups", place[codes], notes=tuple(notes))


def _natural(value: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words by the alphabet."""
    try:
        return (False, float(value), value)
    except ValueError:
        return (True, 0.0, value)
