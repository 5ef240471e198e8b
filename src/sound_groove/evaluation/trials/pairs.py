"""Trials drawn from a validation set: all its pairs, or a sample of them without repeats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import TrialError
from sound_groove.evaluation.trials.trial_list import Indices, TrialList
from sound_groove.json_reading import bounded_lines, parse_json
from sound_groove.types import Labels


@dataclass(frozen=True, slots=True)
class ValidationUtterance:
    """One line of a `val_meta.jsonl`.

    Attributes:
        utterance: its name, unique in the file.
        speaker: who speaks.
        paths: its audio, in the order in which several files are joined.
    """

    utterance: str
    speaker: str
    paths: tuple[Path, ...]


def read_validation_set(path: str | Path, audio_root: str | Path | None = None) -> list[ValidationUtterance]:
    """Read the validation utterances that `prepare` lists.

    Args:
        path: a file of objects, one a line, with `speaker`, `path` or `paths`, and if possible `utterance`.
        audio_root: where relative paths start; the file's own folder when None.

    Raises:
        TrialError: it cannot be read, a line is not as it should be, or an utterance is listed twice; names the line.
    """
    path = Path(path)
    root = Path(audio_root) if audio_root is not None else path.parent
    utterances: dict[str, ValidationUtterance] = {}
    line = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for text in bounded_lines(file):
                line += 1
                if text.strip():
                    utterance = _utterance(parse_json(text), root)
                    if utterance.utterance in utterances:
                        raise ValueError(f"utterance '{utterance.utterance}' is listed twice")
                    utterances[utterance.utterance] = utterance
    except OSError as error:
        raise TrialError(f"{path}: the validation set cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # covers JSON and UTF-8
        raise TrialError(f"{path}, line {line}: not a line of a validation set: {error}") from None
    if not utterances:
        raise TrialError(f"{path}: the validation set holds no utterances")
    return list(utterances.values())


def _utterance(record: Any, root: Path) -> ValidationUtterance:
    if not isinstance(record, dict):
        raise ValueError("expected an object with speaker, utterance and paths")
    speaker, paths = record.get("speaker"), record.get("paths", record.get("path"))
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(speaker, str) or not speaker:
        raise ValueError("it names no speaker")
    if not isinstance(paths, list) or not paths or not all(isinstance(item, str) and item for item in paths):
        raise ValueError("it names no audio ('path' or 'paths'); run 'sound-groove prepare' again")
    name = record.get("utterance", paths[0])
    if not isinstance(name, str) or not name:
        raise ValueError("the utterance's name must be text")
    return ValidationUtterance(name, speaker, tuple(root / item for item in paths))


def draw_pairs(speakers: Sequence[str] | NDArray[np.str_], most: int, seed: int) -> tuple[Indices, Indices, Labels]:
    """Distinct pairs of utterances: all of them when there are at most `most`, else a sample without replacement.

    A sample is half same-speaker pairs (fewer where there are not so many), half different-speaker pairs, each drawn
    uniformly. It is a function of the arguments alone.

    Args:
        speakers: (N,) who speaks in each utterance.
        most: number of pairs, at least 2.
        seed: of the draw.

    Returns:
        First and second utterance of each pair, and whether one speaker speaks in both; same-speaker pairs first.

    Raises:
        TrialError: there is no pair of one speaker, or none of two.

    >>> [side.tolist() for side in draw_pairs(["a", "b", "a"], 10, seed=0)]
    [[0, 0, 2], [2, 1, 1], [True, False, False]]
    """
    _, codes = np.unique(np.asarray(speakers), return_inverse=True)
    order = np.argsort(codes, kind="stable")  # utterances, speaker by speaker
    position = np.arange(len(order))
    ends = np.searchsorted(codes[order], codes[order], side="right")  # where the speaker of each position ends
    # The partners of position i that lie after it: first those of the same speaker, then everyone else's.
    target_counts, nontarget_counts = ends - position - 1, len(order) - ends
    targets, nontargets = int(target_counts.sum()), int(nontarget_counts.sum())
    if not targets or not nontargets:
        lacking = "no speaker has two utterances" if not targets else "there is only one speaker"
        raise TrialError(f"pairs cannot be drawn from these {len(order)} utterances: {lacking}")
    wanted = targets
    if targets + nontargets > most:
        wanted = min(targets, max(most // 2, most - nontargets))
    rng = np.random.default_rng(seed)
    firsts, seconds = [], []
    for counts, first_partner, number in (
        (target_counts, position + 1, wanted),
        (nontarget_counts, ends, min(nontargets, most - wanted)),
    ):
        total = int(counts.sum())
        ranks = np.arange(total) if number == total else np.sort(rng.choice(total, number, replace=False))
        before = np.concatenate(([0], np.cumsum(counts)))  # pairs whose first utterance lies before each position
        first = np.searchsorted(before, ranks, side="right") - 1
        firsts.append(order[first])
        seconds.append(order[first_partner[first] + ranks - before[first]])
    labels = np.repeat([True, False], [len(firsts[0]), len(firsts[1])])
    return np.concatenate(firsts).astype(np.int32), np.concatenate(seconds).astype(np.int32), labels


def pair_trials(utterances: Sequence[ValidationUtterance], most: int, seed: int) -> TrialList:
    """The drawn pairs as a trial list; see `draw_pairs`."""
    first, second, labels = draw_pairs([utterance.speaker for utterance in utterances], most, seed)
    names = tuple(utterance.utterance for utterance in utterances)
    return TrialList(names, first, second, labels, np.arange(1, len(labels) + 1, dtype=np.int32), duplicates=0)
