"""Trials that are left out since a recording of theirs was dropped, and those whose label follows a new one."""

from dataclasses import replace

import numpy as np

from sound_groove.corpora.choices import Choice, Choices
from sound_groove.errors import TrialError, printable
from sound_groove.evaluation.trials.trial_sets import TrialSet


def without_excluded(trial_set: TrialSet, choices: Choices) -> TrialSet:
    """The trials that are left by a file of choices, with a note of how many were left out.

    A trial goes where a recording of it is dropped; of an enrolment that is several recordings, where one of these is.
    Where it is known what the speakers are called (`--utt2spk`, or a validation set), a recording that is moved has its
    new speaker, and the labels of its trials follow. Where it is not, its trials go too; but by a list of what is left,
    which names every speaker, only those whose label contradicts it.

    Args:
        trial_set: the trials.
        choices: by the paths of recordings, or by what the list calls them.

    Raises:
        TrialError: the file names no recording of the trials, or leaves none of them.
    """
    trials, names = trial_set.trials, trial_set.speaker_names
    gone = np.zeros(len(trials.ids), bool)
    speakers = None if names is None else list(names)
    found, said = set[str](), [""] * len(trials.ids)
    for index in trials.used.tolist():
        made = [
            choices.of(path, trials.ids[index])
            for recording in trial_set.sources[index].recordings
            for path in recording
        ] or [choices.of(trials.ids[index])]
        found |= {choice.recording for choice in made if choice is not None}
        labels = {_label(choice, choices.names_all) for choice in made}
        if "" in labels or len(labels) > 1:
            gone[index] = True
        elif (label := labels.pop()) is not None:
            if speakers is not None:
                speakers[index] = label
            elif choices.names_all:
                said[index] = label
            else:
                gone[index] = True
    if not found:
        raise TrialError(
            f"{printable(str(choices.path))}: names no recording of the trials; its paths must be those of the "
            "recordings, or names as the list has them"
        )
    out = gone[trials.enrolments] | gone[trials.tests]
    if speakers is None and choices.names_all:
        codes = np.unique(said, return_inverse=True)[1]
        out |= (codes[trials.enrolments] == codes[trials.tests]) != trials.labels
    if out.all():
        raise TrialError(f"{printable(str(choices.path))}: leaves none of the {len(trials)} trials")
    kept = trials.kept(~out)
    changed = 0
    if speakers is not None:
        codes = np.unique(speakers, return_inverse=True)[1].astype(np.int64)
        labels_now = codes[kept.enrolments] == codes[kept.tests]
        changed = int((labels_now != kept.labels).sum())
        kept = replace(kept, labels=labels_now)
        trial_set = replace(trial_set, speaker_names=tuple(speakers), speakers=codes)
    note = (
        f"{int(out.sum()):,} of {len(trials):,} trials were left out by {choices.path}, which drops or moves "
        f"{int(gone.sum()):,} of their recordings"
    )
    relabelled = f"{changed:,} trials have another label since it moves recordings" if changed else ""
    excluded = {
        "path": str(choices.path),
        "sha256": choices.sha256,
        "trials": int(out.sum()),
        "names": int(gone.sum()),
        "relabelled": changed,
    }
    return replace(
        trial_set,
        trials=kept,
        origin={**trial_set.origin, "excluded": excluded},
        notes=(*trial_set.notes, note, *([relabelled] if relabelled else [])),
    )


def _label(choice: Choice | None, names_all: bool) -> str | None:
    """The new label of a recording; None where it keeps its own, empty where it is dropped."""
    if choice is None:
        return "" if names_all else None
    if choice.action == "drop":
        return ""
    return choice.speaker if choice.action == "move" else None
