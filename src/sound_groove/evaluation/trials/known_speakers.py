"""Whether a model was made with speakers of the trials that are to judge it, which would make its figures too good.

A model file lists digests of its training speakers (`sound_groove.networks.trained_speakers`), and of those that it was
calibrated on. Who speaks in the trials is told by a table or by the validation set; else it is guessed from names and
files, generously: a guess does harm only where it is the name of such a speaker.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sound_groove.errors import TrialError, printable
from sound_groove.evaluation.trials.places import without_suffix
from sound_groove.evaluation.trials.sources import Source
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.networks.trained_speakers import check_unheard


@dataclass(frozen=True, slots=True)
class KnownSpeakers:
    """What was found out about the speakers of some trials.

    Attributes:
        is_checked: whether the model says whom it was trained on.
        is_guessed: whether who speaks in the trials was guessed from names.
        speakers: training speakers among them, by name, sorted.
        example: a recording of the first of them, as the list calls it.
        trials: trials with a training speaker on a side.
        total: trials altogether.
        use: what the model was made with them: "trained" or "calibrated".
    """

    is_checked: bool
    is_guessed: bool
    speakers: tuple[str, ...] = ()
    example: str = ""
    trials: int = 0
    total: int = 0
    use: str = "trained"

    def refuse(self, model: str) -> None:
        """Do not let a model be judged on speakers that it knows.

        Args:
            model: its name.

        Raises:
            TrialError: it was trained on some of the speakers.
        """
        if self.speakers:
            raise TrialError(
                f"model '{printable(model)}' {self._finding()}, so its figures would be too good; take others, "
                "or pass --allow-trained-speakers to go on, also where a name is somebody else's by coincidence"
            )

    def notes(self) -> list[str]:
        """What a reader of the figures should know."""
        if not self.speakers:
            return []
        return [f"the model {self._finding()}, so the figures are too good, unless names are others' by coincidence"]

    def as_dict(self) -> dict[str, Any]:
        """What metrics.json holds of it."""
        return {
            "checked": self.is_checked,
            "guessed": self.is_guessed,
            "found": len(self.speakers),
            "trials": self.trials,
        }

    def _finding(self) -> str:
        count = "1 speaker" if len(self.speakers) == 1 else f"{len(self.speakers):,} speakers"
        return (
            f"was {self.use} on {count} of these trials, such as '{printable(self.speakers[0])}' (in "
            f"'{printable(self.example)}'), which concerns {self.trials:,} of {self.total:,} trials"
        )


def find_known_speakers(
    trained: frozenset[str],
    trials: TrialList,
    sources: Sequence[Source],
    speaker_names: Sequence[str] | None = None,
    use: str = "trained",
) -> KnownSpeakers:
    """Which speakers of some trials a model was made with.

    Args:
        trained: digests of the model's training speakers, or of those it was calibrated on; none where it does not say.
        trials: the trials.
        sources: (ids,) the files behind each name.
        speaker_names: (ids,) who speaks in each; None guesses from names and files.
        use: "trained" or "calibrated", for the sentences.
    """
    if not trained:
        return KnownSpeakers(is_checked=False, is_guessed=speaker_names is None, total=len(trials), use=use)
    candidates = _guesses(trials.ids, sources) if speaker_names is None else [{name} for name in speaker_names]
    known = set(check_unheard(trained, set().union(*candidates)))
    is_known = np.array([not known.isdisjoint(names) for names in candidates], dtype=np.bool_)
    concerned = is_known[trials.enrolments] | is_known[trials.tests]
    speakers = tuple(sorted(known))
    example = next(
        (n for n, names in zip(trials.ids, candidates, strict=True) if speakers and speakers[0] in names), ""
    )
    return KnownSpeakers(True, speaker_names is None, speakers, example, int(concerned.sum()), len(trials), use)


def guess_speakers(name: str) -> set[str]:
    """Who may speak in a recording, to judge by its name: its folders, and the beginnings of its own name.

    >>> sorted(guess_speakers("test/id00800-singing-01.wav"))
    ['id00800', 'id00800-singing', 'id00800-singing-01', 'test']
    >>> sorted(guess_speakers("id10270/x/00001.wav"))  # a number in a folder counts recordings
    ['id10270', 'x']
    """
    *folders, last = re.split(r"[/\\]", name)
    stem = without_suffix(last)
    guesses = {stem[: match.start()] for match in re.finditer(r"[-_]|$", stem)}
    if folders and stem.isdecimal():
        guesses.discard(stem)
    return {guess for guess in (*folders, *guesses) if guess}


def _guesses(ids: Sequence[str], sources: Sequence[Source]) -> list[set[str]]:
    """(ids,) who may speak in each, to judge by its name and its files."""
    paths = [path for source in sources for recording in source.recordings for path in recording]
    shared = _shared_folders(paths)
    candidates = []
    for name, source in zip(ids, sources, strict=True):
        # A whole path leads through folders that have nothing to do with the recordings, such as a user's own.
        guesses = set() if Path(name).is_absolute() else guess_speakers(name)
        for recording in source.recordings:
            for path in recording:
                guesses |= guess_speakers("/".join(_parts(path)[shared:]))
        candidates.append(guesses)
    return candidates


def _shared_folders(paths: Sequence[Path]) -> int:
    """How many folders, from the root on, all files lie in: those tell no speaker from another."""
    folders = {_parts(folder) for folder in {path.parent for path in paths}}
    if not folders:
        return 0
    first, last = min(folders), max(folders)  # what these two share lies between them in all
    return next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _parts(path: Path) -> tuple[str, ...]:
    return Path(os.path.abspath(path)).parts  # noqa: PTH100 - Path.absolute keeps '..'
