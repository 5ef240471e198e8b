"""Where a model fails: its equal error rate in groups of the trials.

The equal error rate of a group tells how well it can be separated by a threshold of its own. The misses and false
alarms at the threshold of all trials tell which groups pay when there is one threshold for all; they can also be stated
where a group has trials of one kind only, such as those of a woman and a man.

A rate is left out where there are too few trials, and intervals say how much it may be trusted: a group of three
speakers says little, however many trials it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sound_groove.evaluation.grouping import Grouping, by_column, by_duration, by_genre, by_session
from sound_groove.evaluation.intervals import SpeakerBootstrap, bounds
from sound_groove.evaluation.trials.metadata import Metadata
from sound_groove.evaluation.trials.places import Place, find_places, read_enrolments
from sound_groove.evaluation.trials.sources import Source
from sound_groove.evaluation.trials.trial_list import CNCELEB, TrialList
from sound_groove.scoring.metrics import roc
from sound_groove.types import Scores

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
    trials: TrialList,
    scores: Scores,
    speakers: NDArray[np.int64],
    durations_s: NDArray[np.float64],
    traits: Traits,
    threshold: float,
    resamples: int,
    seed: int,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The equal error rate in every group that can be told.

    Args:
        trials: the trials.
        scores: (trials,) higher = more likely the same speaker.
        speakers: (ids,) who speaks.
        durations_s: (ids,) length of what each name stands for.
        traits: what is known of the names.
        threshold: that of all trials, at which misses and false alarms are counted.
        resamples: draws of speakers for the intervals, of which at most MOST_RESAMPLES are made.
        seed: of these draws.

    Returns:
        The breakdowns as metrics.json has them, and what a reader should know.
    """
    groupings: list[Grouping | None] = [by_duration(trials, durations_s)]
    if traits.places is not None:
        groupings.append(by_genre(trials, traits.places, traits.ordered))
        groupings.append(by_session(trials, traits.places))
    groupings += [by_column(trials, column, values) for column, values in traits.columns.items()]
    wanted = [grouping for grouping in groupings if grouping is not None]
    draws = min(resamples, MOST_RESAMPLES)
    measured = [
        {
            "by": grouping.by,
            "title": grouping.title,
            "kind": grouping.kind,
            "groups": measure_groups(grouping, trials, scores, speakers, threshold, draws, seed),
        }
        for grouping in wanted
    ]
    return measured, [*traits.notes, *(note for grouping in wanted for note in grouping.notes)]


def measure_groups(
    grouping: Grouping,
    trials: TrialList,
    scores: Scores,
    speakers: NDArray[np.int64],
    threshold: float,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Counts and error rates of each group that has trials.

    Args:
        grouping: which trials belong together.
        trials: the trials.
        scores: (trials,) higher = more likely the same speaker.
        speakers: (ids,) who speaks.
        threshold: at which misses and false alarms are counted; a score that reaches it is accepted.
        resamples: draws of speakers for the intervals; 0 gives none.
        seed: of these draws.

    Returns:
        One object a group: `name`, or `pair` where the groups are pairs; `trials`, `targets`, `nontargets`; `eer` with
        `value`, `low` and `high`, or null; `reason` why it is null, or null; `miss_rate` and `false_alarm_rate`.
    """
    order = np.argsort(grouping.codes, kind="stable")
    bounds = np.searchsorted(grouping.codes[order], np.arange(len(grouping.names) + 1))
    nontargets = np.flatnonzero(~trials.labels) if grouping.shares_nontargets else order[:0]
    records = []
    with tqdm(total=len(grouping.names), desc=f"by {grouping.by}", unit="group", leave=False, disable=None) as progress:
        for name, start, end in zip(grouping.names, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            progress.update()
            if start == end:
                continue
            own = np.concatenate((order[start:end], nontargets))
            targets = int(np.count_nonzero(trials.labels[own]))
            named = {"pair": list(name)} if grouping.kind == "pairs" else {"name": name[0]}
            counts = {"trials": len(own), "targets": targets, "nontargets": len(own) - targets}
            eer, reason = None, _too_few(targets, len(own) - targets)
            if reason is None:
                eer = _measure_eer(own, trials, scores, speakers, resamples, seed)
            accepted, labels = scores[own] >= threshold, trials.labels[own]
            rates = {"miss_rate": _share(~accepted[labels]), "false_alarm_rate": _share(accepted[~labels])}
            records.append({**named, **counts, "eer": eer, "reason": reason, **rates})
    return records


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


def _measure_eer(
    own: NDArray[np.int64],
    trials: TrialList,
    scores: Scores,
    speakers: NDArray[np.int64],
    resamples: int,
    seed: int,
) -> dict[str, float | None]:
    """Equal error rate of some of the trials, with its interval where their speakers can be drawn."""
    labels = trials.labels[own]
    sides = speakers[trials.enrolments[own]], speakers[trials.tests[own]]
    bootstrap = SpeakerBootstrap(scores[own], labels, *sides)
    draws = [sample.roc.eer for sample in bootstrap.draw(resamples if bootstrap.speakers > 1 else 0, seed)]
    # A group that nearly no draw can measure has no interval to speak of.
    low, high = bounds(draws if len(draws) == resamples else [])
    return {"value": roc(scores[own], labels).eer, "low": low, "high": high}
