"""Trial sets: trials of a list or of a validation set, with the recordings and the people behind their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.channels import with_channel
from sound_groove.errors import TrialError, UsageError, printable
from sound_groove.evaluation.trials.pairs import pair_trials, read_validation_set
from sound_groove.evaluation.trials.sources import Enrollment, Source, Sources, locate, read_table
from sound_groove.evaluation.trials.trial_list import Indices, ListFormat, TrialList, file_sha256, read_trials
from sound_groove.types import Labels


@dataclass(frozen=True, slots=True)
class TrialSet:
    """Trials, and what their names stand for.

    Attributes:
        trials: the trials.
        sources: (ids,) the recordings behind each name.
        speakers: (ids,) who speaks, numbered from 0.
        origin: where the trials come from, for metrics.json: path, sha256, format.
        protocol: how enrolments or pairs were made.
        notes: what a reader of the figures should know about the list.
        speaker_names: (ids,) what the speakers are called; None where nobody said so.
        collections: (ids,) which of the collections each name is of; empty where nobody said so.
        collection_names: what the collections are called.
    """

    trials: TrialList
    sources: tuple[Source, ...]
    speakers: NDArray[np.int64]
    origin: dict[str, Any]
    protocol: str
    notes: tuple[str, ...] = ()
    speaker_names: tuple[str, ...] | None = None
    collections: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    collection_names: tuple[str, ...] = ()

    def in_collections(self, names: Sequence[str]) -> "TrialSet":
        """The same trials, with the collection that each name (ids,) is of."""
        collections, numbers = np.unique(names, return_inverse=True)
        return replace(self, collections=numbers.astype(np.int64), collection_names=tuple(collections.tolist()))


def collections_from_table(trial_set: TrialSet, path: Path) -> TrialSet:
    """The trials with their collections, as a file of lines 'name collection' says.

    Raises:
        TrialError: it cannot be read, or lacks a name.
    """
    try:
        table = read_table(path)
    except OSError as error:
        raise TrialError(f"{path}: cannot be read: {error.strerror or error}") from None
    ids = trial_set.trials.ids
    if lacking := [name for name in ids if name not in table]:
        name = printable(lacking[0])
        raise TrialError(f"{path}: does not say which collection '{name}' is of ({len(lacking)} names lack)")
    return trial_set.in_collections([table[name] for name in ids])


def joined_collections(trial_sets: Mapping[str, TrialSet]) -> TrialSet:
    """The trials of several sets as one, each set a collection.

    Speakers of one name are one speaker where every set says what its speakers are called; else no speaker of one set
    is one of another's.

    Args:
        trial_sets: by the name of the collection.
    """
    parts = list(trial_sets.values())
    first = np.cumsum([0, *(len(part.trials.ids) for part in parts)])
    ids = tuple(f"{name}: {one}" for name, part in trial_sets.items() for one in part.trials.ids)

    def indices(column: Literal["enrolments", "tests"]) -> Indices:
        shifted = [getattr(part.trials, column) + start for part, start in zip(parts, first[:-1], strict=True)]
        return np.concatenate(shifted).astype(np.int32)

    trials = TrialList(
        ids,
        indices("enrolments"),
        indices("tests"),
        np.concatenate([part.trials.labels for part in parts]),
        np.concatenate([part.trials.lines for part in parts]),
        sum(part.trials.duplicates for part in parts),
    )
    named = [part.speaker_names for part in parts]
    names = None if None in named else tuple(one for of_part in named if of_part is not None for one in of_part)
    if names is None:
        counts = np.cumsum([0, *(int(part.speakers.max()) + 1 for part in parts)])
        speakers = np.concatenate([part.speakers + start for part, start in zip(parts, counts[:-1], strict=True)])
    else:
        speakers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    joined = TrialSet(
        trials,
        tuple(source for part in parts for source in part.sources),
        speakers,
        {"collections": {name: part.origin for name, part in trial_sets.items()}},
        "; ".join(f"{name}: {part.protocol}" for name, part in trial_sets.items()),
        tuple(f"{name}: {note}" for name, part in trial_sets.items() for note in part.notes),
        names,
    )
    return joined.in_collections([name for name, part in trial_sets.items() for _ in part.trials.ids])


def trials_from_list(
    path: str | Path,
    audio_root: str | Path,
    enrollment: Enrollment | None = None,
    speaker_table: str | Path | None = None,
    enroll_map: str | Path | None = None,
) -> TrialSet:
    """The trials of a list, and the files that it means.

    Args:
        path: a list in the VoxCeleb, CN-Celeb or Kaldi format.
        audio_root: where its names start.
        enrollment: which of CN-Celeb's protocols.
        speaker_table: a file that says who speaks in each name ('name speaker', Kaldi's utt2spk); None finds out from
            the same-speaker trials, see `find_speakers`.
        enroll_map: a file that says of which recordings an enrolment is the average ('model file1 file2 ...').

    Raises:
        TrialError, UsageError: see `read_trials`, `locate` and `read_table`; or the table lacks a name or contradicts
            the list.
    """
    path = Path(path)
    trials, form = read_trials(path)
    sources = locate(trials, form, path, Path(audio_root), enrollment, None if enroll_map is None else Path(enroll_map))
    names = None if speaker_table is None else _names_from_table(trials, Path(speaker_table))
    return listed_trials(path, trials, form, sources, names, str(speaker_table))


def listed_trials(
    path: Path,
    trials: TrialList,
    form: ListFormat,
    sources: Sources,
    speaker_names: tuple[str, ...] | None = None,
    told_by: str = "",
) -> TrialSet:
    """The trials that were read from a list, with what its names stand for and who speaks.

    Args:
        path: the list.
        trials: what it holds.
        form: its format.
        sources: what its names stand for.
        speaker_names: (ids,) who speaks in each; None finds out from the same-speaker trials, see `find_speakers`.
        told_by: what says so, for the error.

    Raises:
        TrialError: the speakers contradict the labels.
    """
    notes = []
    if speaker_names is not None:
        speakers = _number_speakers(trials, speaker_names, told_by)
    else:
        speakers = find_speakers(len(trials.ids), trials.enrolments, trials.tests, trials.labels)
        if alone := int((np.bincount(speakers) == 1).sum()):
            notes.append(
                f"who speaks was found out from the same-speaker trials, which leaves {alone} of {speakers.max() + 1} "
                "'speakers' with a single recording; name the speakers with --utt2spk for sharper intervals and recall"
            )
    if trials.duplicates:
        notes.append(f"{trials.duplicates} trials repeat an earlier one; all were scored, as listed")
    within = (speakers[trials.enrolments] == speakers[trials.tests]) & ~trials.labels
    if within.any():
        notes.append(
            f"{np.count_nonzero(within)} different-speaker trials (first: line {trials.lines[np.argmax(within)]}) are "
            "of recordings that the list's same-speaker trials join into one speaker; some labels must be wrong"
        )
    origin = {"path": str(path), "sha256": file_sha256(path), "format": form.name}
    if sources.explained_by:
        origin["names"] = str(sources.explained_by)
    return TrialSet(trials, sources.by_id, speakers, origin, sources.protocol, tuple(notes), speaker_names)


def find_speakers(ids: int, enrolments: Indices, tests: Indices, labels: Labels) -> NDArray[np.int64]:
    """Who speaks, from what a list says: names joined by same-speaker trials, directly or in a chain, are one speaker.

    Names of files are not interpreted. A name without a same-speaker trial is a speaker of its own.

    Args:
        ids: number of names.
        enrolments: (trials,) index of a name.
        tests: (trials,) index of a name.
        labels: (trials,) True = same speaker.

    Returns:
        (ids,) speaker of each name, numbered from 0.

    >>> find_speakers(4, np.array([0, 2, 0]), np.array([1, 1, 3]), np.array([True, True, False])).tolist()
    [0, 0, 0, 1]
    """
    parent = list(range(ids))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]  # halve the path on the way up
        return node

    for a, b in zip(enrolments[labels].tolist(), tests[labels].tolist(), strict=True):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.unique([root(node) for node in range(ids)], return_inverse=True)[1].astype(np.int64)


def choose_channel(trial_set: TrialSet, channel: int | None) -> TrialSet:
    """The same trials of one channel of every recording, but for those whose name in the list says another (`#2`).

    Args:
        trial_set: the trials.
        channel: counted from 1; None leaves them as they are.

    Raises:
        UsageError: it is not a whole number from 1 on.
    """
    if channel is None:
        return trial_set
    sources = (
        replace(
            source,
            recordings=tuple(
                tuple(with_channel(path, channel) for path in recording) for recording in source.recordings
            ),
        )
        for source in trial_set.sources
    )
    note = f"channel {channel} of every recording was listened to, where the list names no other"
    return replace(trial_set, sources=tuple(sources), notes=(*trial_set.notes, note))


def _names_from_table(trials: TrialList, path: Path) -> tuple[str, ...]:
    """(ids,) who speaks, as a table says."""
    try:
        table = read_table(path)
    except OSError as error:
        raise TrialError(f"{path}: cannot be read: {error.strerror or error}") from None
    if lacking := [name for name in trials.ids if name not in table]:
        raise TrialError(f"{path}: does not say who speaks in '{printable(lacking[0])}' ({len(lacking)} names lack)")
    return tuple(table[name] for name in trials.ids)


def _number_speakers(trials: TrialList, names: tuple[str, ...], told_by: str) -> NDArray[np.int64]:
    """(ids,) who speaks, numbered, where names are those of speakers and agree with the labels."""
    speakers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    wrong = np.flatnonzero((speakers[trials.enrolments] == speakers[trials.tests]) != trials.labels)
    if len(wrong):
        raise TrialError(
            f"{told_by}: contradicts {len(wrong)} labels of the trial list, first that of line {trials.lines[wrong[0]]}"
        )
    return speakers


def trials_from_validation(
    path: str | Path, pairs: int = 20_000, seed: int = 0, audio_root: str | Path | None = None
) -> TrialSet:
    """Pairs drawn from a validation set; see `pairs.draw_pairs`.

    Args:
        path: a `val_meta.jsonl`.
        pairs: most pairs to draw.
        seed: of the draw.
        audio_root: where relative paths start; the file's folder when None.

    Raises:
        TrialError: the file cannot be used, or gives no pair of a kind.
        UsageError: fewer than 2 pairs, or a negative seed.
    """
    if pairs < 2 or seed < 0:
        raise UsageError(f"--pairs must be at least 2 and --seed at least 0; {pairs} and {seed} were given")
    path = Path(path)
    utterances = read_validation_set(path, audio_root)
    trials = pair_trials(utterances, pairs, seed)
    names = tuple(utterance.speaker for utterance in utterances)
    speakers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    every = len(utterances) * (len(utterances) - 1) // 2
    drawn = "all pairs" if every == len(trials) else f"{len(trials)} of {every} pairs, drawn with seed {seed}"
    origin = {"path": str(path), "sha256": file_sha256(path), "format": "validation set"}
    sources = tuple(Source((utterance.paths,)) for utterance in utterances)
    return TrialSet(trials, sources, speakers, origin, drawn, speaker_names=names)
