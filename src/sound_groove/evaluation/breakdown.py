"""Where a model fails: its equal error rate in groups of the trials.

The equal error rate of a group tells how well it can be separated by a threshold of its own. The misses and false
alarms at the threshold of all trials tell which groups pay when there is one threshold for all; they can also be stated
where a group has trials of one kind only, such as those of a woman and a man.

A rate is left out where there are too few trials, and intervals say how much it may be trusted: a group of three
speakers says little, however many trials it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.evaluation.grouping import Grouping, by_column, by_duration, by_genre, by_session
from sound_groove.evaluation.intervals import bounds
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.trials.metadata import Metadata
from sound_groove.evaluation.trials.places import Place, find_places, read_enrolments
from sound_groove.evaluation.trials.sources import Source
from sound_groove.evaluation.trials.trial_list import CNCELEB
from sound_groove.progress import ProgressBar

MOST_RESAMPLES = 200  # for each group: bounds of 2.5 % need not be as steady as those of the headline figures
FEWEST_TRIALS = 10  # of each kind, for a rate to be stated


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a list's names without listening to them.

    Attributes:
        places: (ids,) genres and sessions, or None where the names are not CN-Celeb's.
        ordered: whether enrolments differ in kind from tests.
        columns: by column of a table, the value of each name.
        notes: what a reader should know.
    """

    places: tuple[frozenset[Place], ...] | None
    ordered: bool
    columns: Mapping[str, Sequence[str | None]]
    notes: tuple[str, ...]


def find_traits(
    ids: Sequence[str], sources: Sequence[Source], origin: Mapping[str, Any], metadata: Metadata | None
) -> Traits:
    """Find out what is known of a list's names.

    Args:
        ids: the names.
        sources: (ids,) what they stand for.
        origin: where the list comes from, as metrics.json has it: `path` and `format` are read.
        metadata: a table about them, if there is one.

    Raises:
        TrialError: not one name is in the table; or `enroll.map` beside the list is malformed.
    """
    ordered = origin["format"] == CNCELEB.name
    enrolments = read_enrolments(Path(origin["path"])) if ordered else {}
    columns, notes = metadata.match(ids, enrolments) if metadata else ({}, [])
    return Traits(find_places(ids, sources, enrolments), ordered, columns, tuple(notes))


def break_down(
    judged: JudgedList, durations_s: NDArray[np.float64], traits: Traits
) -> tuple[list[dict[str, Any]], list[str]]:
    """The equal error rate in every group that can be told.

    Args:
        judged: the list; misses and false alarms are counted at the threshold of its equal error rate, and of its draws
            of speakers at most MOST_RESAMPLES are made.
        durations_s: (ids,) length of what each name stands for.
        traits: what is known of the names.

    Returns:
        The breakdowns as metrics.json has them, and what a reader should know.
    """
    trials, threshold = judged.trials, judged.curve.eer_threshold
    judged = replace(judged, llrs=None, resamples=min(judged.resamples, MOST_RESAMPLES))
    groupings: list[Grouping | None] = [by_duration(trials, durations_s)]
    if traits.places is not None:
        groupings.append(by_genre(trials, traits.places, traits.ordered))
        groupings.append(by_session(trials, traits.places))
    groupings += [by_column(trials, column, values) for column, values in traits.columns.items()]
    wanted = [grouping for grouping in groupings if grouping is not None]
    measured = [
        {
            "by": grouping.by,
            "title": grouping.title,
            "kind": grouping.kind,
            "groups": measure_groups(grouping, judged, threshold),
        }
        for grouping in wanted
    ]
    return measured, [*traits.notes, *(note for grouping in wanted for note in grouping.notes)]


def measure_groups(grouping: Grouping, judged: JudgedList, threshold: float) -> list[dict[str, Any]]:
    """Counts and error rates of each group that has trials.

    Args:
        grouping: which trials belong together.
        judged: the list.
        threshold: at which misses and false alarms are counted; a score that reaches it is accepted.

    Returns:
        One object a group: `name`, or `pair` where the groups are pairs; `trials`, `targets`, `nontargets`; `eer` with
        `value`, `low` and `high`, or null; `reason` why it is null, or null; `miss_rate` and `false_alarm_rate`.
    """
    order = np.argsort(grouping.codes, kind="stable")
    ends = np.searchsorted(grouping.codes[order], np.arange(len(grouping.names) + 1)).tolist()
    nontargets = np.flatnonzero(~judged.labels) if grouping.shares_nontargets else order[:0]
    named = zip(grouping.names, ends[:-1], ends[1:], strict=True)
    return [
        ({"pair": list(name)} if grouping.kind == "pairs" else {"name": name[0]})
        | _measure_group(judged.part(np.concatenate((order[start:end], nontargets))), threshold)
        for name, start, end in ProgressBar(
            named, f"by {grouping.by}", len(grouping.names), unit="group", leave=False, disable=None
        )
        if start < end
    ]


def _measure_group(group: JudgedList, threshold: float) -> dict[str, Any]:
    """What `measure_groups` says of a group beside its name."""
    labels, accepted = group.labels, group.scores >= threshold
    targets = int(np.count_nonzero(labels))
    reason = _too_few(targets, len(group) - targets)
    return {
        "trials": len(group),
        "targets": targets,
        "nontargets": len(group) - targets,
        "eer": None if reason else _measure_eer(group),
        "reason": reason,
        "miss_rate": _share(~accepted[labels]),
        "false_alarm_rate": _share(accepted[~labels]),
    }


def _share(errors: NDArray[np.bool_]) -> float | None:
    """The share of trials that are decided wrongly, or None where it would be of too few."""
    return float(errors.mean()) if len(errors) >= FEWEST_TRIALS else None


def _too_few(targets: int, nontargets: int) -> str | None:
    """Why so many trials give no rate, or None when they do."""
    few = [
        f"{f'only {count}' if count else 'no'} {kind}-speaker trial{'' if count == 1 else 's'}"
        for count, kind in ((targets, "same"), (nontargets, "different"))
        if count < FEWEST_TRIALS
    ]
    return " and ".join(few) if few else None


def _measure_eer(group: JudgedList) -> dict[str, float | None]:
    """Equal error rate of a group, with its interval where its speakers can be drawn."""
    draws = [sample.roc.eer for sample in group.resampled()]
    # A group that nearly no draw can measure has no interval to speak of.
    low, high = bounds(draws if len(draws) == group.resamples else [])
    return {"value": group.curve.eer, "low": low, "high": high}
