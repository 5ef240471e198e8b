"""Judging a network by trial lists, each a collection of its own: the mean of their equal error rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import probe, read_segment
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import SoundGrooveError, TrainingError
from sound_groove.evaluation.trials.trial_list import TrialList, read_trials
from sound_groove.progress import ProgressBar
from sound_groove.recipe.schema import ValidationConfiguration
from sound_groove.scoring.metrics import eer
from sound_groove.types import Embeddings

CHUNK = 64  # recordings in memory at a time


@dataclass(frozen=True)
class JudgingLists:
    """Trial lists and where their recordings lie.

    Attributes:
        lists: by name.
        paths: of all recordings that they name, as they name them.
        root: folder to which these are relative.
        longest_s: that is taken of a recording, from its beginning.
    """

    lists: Mapping[str, TrialList]
    paths: tuple[str, ...]
    root: Path
    longest_s: float

    def judge(self, encoder: SpeakerEncoder) -> dict[str, float]:
        """The equal error rate of each list, a fraction.

        Raises:
            AudioError: a recording cannot be read.
        """
        return self.judged(self.embed(encoder))

    def embed(self, encoder: SpeakerEncoder) -> Embeddings:
        """(recordings, D) of unit length; shorter recordings than 2 s are repeated, as everywhere."""
        parts = []
        for start in ProgressBar(
            range(0, len(self.paths), CHUNK), desc="judging", unit="batch", leave=False, disable=None
        ):
            files = [self.root / path for path in self.paths[start : start + CHUNK]]
            most = int(self.longest_s * SAMPLE_RATE)
            parts.append(encoder.embed([read_segment(file, 0, min(most, probe(file).samples)) for file in files]))
        return np.concatenate(parts)

    def judged(self, embeddings: Embeddings) -> dict[str, float]:
        """The equal error rate of each list, by the embeddings of the recordings."""
        rows = {path: row for row, path in enumerate(self.paths)}
        rates = {}
        for name, trials in self.lists.items():
            of_list = np.array([rows[path] for path in trials.ids])
            first, second = embeddings[of_list[trials.enrolments]], embeddings[of_list[trials.tests]]
            rates[name] = eer((first * second).sum(axis=1, dtype=np.float64), trials.labels)
        return rates


def read_judging_lists(settings: ValidationConfiguration) -> JudgingLists | None:
    """The lists that a recipe names, or None.

    Raises:
        TrainingError: one of them cannot be used, or there are none.
    """
    if settings.trials is None:
        return None
    files = sorted(settings.trials.glob("*.txt"))
    if not files:
        raise TrainingError(f"validation.trials: there are no trial lists (*.txt) in {settings.trials}")
    root = settings.audio_root or settings.trials.parent
    try:
        lists = {file.stem: read_trials(file)[0] for file in files}
    except SoundGrooveError as error:
        raise TrainingError(f"validation.trials: {error}") from None
    paths = tuple(dict.fromkeys(path for trials in lists.values() for path in trials.ids))
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        raise TrainingError(
            f"validation.trials: {len(missing)} of {len(paths)} recordings are not below {root}, the first is "
            f"{missing[0]}; say where they are with validation.audio_root"
        )
    return JudgingLists(lists, paths, root, settings.maximum_duration_s)
