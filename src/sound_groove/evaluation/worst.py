"""The trials on which a model is most wrong: different speakers that score highest, same speakers that score lowest.

They are worth listening to. Behind them stand wrong labels, second voices, silence and noise as often as voices that
are hard to tell apart.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import printable
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.trials.sources import Source
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.types import Scores

MOST_PER_NAME = 2  # so that one bad recording does not fill the list
CHUNK = 10_000  # trials looked at one by one before names that are in the list often enough are dropped at once


def find_worst(judged: JudgedList, sources: tuple[Source, ...], count: int) -> dict[str, list[dict[str, Any]]] | None:
    """The trials that are most wrong, as metrics.json has them; None where none are asked for.

    Args:
        judged: the list.
        sources: (ids,) the recordings behind each name.
        count: how many of each kind at most; a name is in at most MOST_PER_NAME of them, and a pair in one.
    """
    if count == 0:
        return None
    trials, scores, llrs = judged.trials, judged.scores, judged.llrs
    kinds = {"false_accepts": (False, -scores), "false_rejects": (True, scores)}

    def record(index: int) -> dict[str, Any]:
        enrolment, test = int(trials.enrolments[index]), int(trials.tests[index])
        return {
            "line": int(trials.lines[index]),
            "enrolment": printable(trials.ids[enrolment]),
            "test": printable(trials.ids[test]),
            "score": float(scores[index]),
            "llr": None if llrs is None else float(llrs[index]),
            "enrolment_files": _files(sources[enrolment]),
            "test_files": _files(sources[test]),
        }

    def ranked(label: bool, order_by: Scores) -> NDArray[np.int64]:
        candidates = np.flatnonzero(trials.labels == label)
        return candidates[np.argsort(order_by[candidates], kind="stable")]

    return {name: [record(index) for index in choose(trials, ranked(*kind), count)] for name, kind in kinds.items()}


def choose(trials: TrialList, ranked: NDArray[np.int64], count: int) -> list[int]:
    """The first trials of a ranking, no name in more than MOST_PER_NAME of them and no pair in two.

    Args:
        trials: the trials.
        ranked: (n,) indices of trials, the wanted first.
        count: how many at most.
    """
    chosen: list[int] = []
    uses = np.zeros(len(trials.ids), dtype=np.int64)
    pairs = set()
    for start in range(0, len(ranked), CHUNK):
        part = ranked[start : start + CHUNK]
        part = part[(uses[trials.enrolments[part]] < MOST_PER_NAME) & (uses[trials.tests[part]] < MOST_PER_NAME)]
        for index in part.tolist():
            if len(chosen) == count:
                return chosen
            sides = frozenset((int(trials.enrolments[index]), int(trials.tests[index])))
            if sides in pairs or any(uses[side] >= MOST_PER_NAME for side in sides):
                continue
            pairs.add(sides)
            uses[list(sides)] += 1
            chosen.append(index)
    return chosen


def _files(source: Source) -> list[str]:
    return [printable(str(path)) for recording in source.recordings for path in recording]
