"""What is about to be trained, as the preflight found it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from sound_groove.corpora.manifest import Utterance
from sound_groove.errors import printable
from sound_groove.inputs.exclusion import Excluded
from sound_groove.inputs.label_noise import LabelTrust
from sound_groove.networks.trained_speakers import speaker_digests
from sound_groove.recipe.schema import Recipe
from sound_groove.training.device import precision_summary
from sound_groove.training.stages import Stage
from sound_groove.training.teacher import Teacher


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """What is about to be trained.

    Attributes:
        recipe: as it was asked for, its stages included.
        utterances: of the training speakers.
        labels: (utterances,) speaker of each.
        speakers: number of training speakers.
        classes: that the network learns to tell apart: each speaker at each speed.
        hours: of training speech.
        validation: utterances of held-out speakers.
        excluded: what the recipe's file of choices left out and moved, if it names one.
        label_trust: how far the labels of `utterances` are trusted; None = all alike.
        unlabelled: utterances of which only a teacher speaks.
        teacher: what the network learns from beside the labels, if anything.
        stages: what is trained, one after the other.
        manifest_sha256: names the data.
        other_sha256: the same of what else is learnt from: `teacher`, `unlabelled`, `exclude` and `label_noise`, where
            there are such.
        network_parameters: of the network alone.
        head_parameters: of the class weights.
        device: where it will run.
        precision: in what it will be computed: "bf16", "fp16" or "fp32".
        resumes: whether it goes on with a run.
        notes: what people should know of the material, a sentence each.
    """

    recipe: Recipe
    utterances: Sequence[Utterance]
    labels: NDArray[np.int64]
    speakers: int
    classes: int
    hours: float
    validation: Sequence[Utterance]
    excluded: Excluded | None
    label_trust: LabelTrust | None
    unlabelled: Sequence[Utterance]
    teacher: Teacher | None
    stages: tuple[Stage, ...]
    manifest_sha256: str
    other_sha256: Mapping[str, str]
    network_parameters: int
    head_parameters: int
    device: torch.device
    precision: str
    resumes: bool
    notes: tuple[str, ...] = ()

    @cached_property
    def read(self) -> list[Utterance]:
        """All that is read in training: the utterances with a label, and behind them those without."""
        return [*self.utterances, *self.unlabelled]

    @cached_property
    def read_labels(self) -> NDArray[np.int64]:
        """The speaker of each of these, -1 where it is not known."""
        return np.concatenate([self.labels, np.full(len(self.unlabelled), -1, dtype=np.int64)])

    @property
    def trust(self) -> NDArray[np.float32] | None:
        """How far the label of each of these is trusted; None = all alike."""
        if self.label_trust is None:
            return None
        return np.concatenate([self.label_trust.values, np.ones(len(self.unlabelled), np.float32)])

    @cached_property
    def speaker_digests(self) -> frozenset[str]:
        """Digests of the names of all whose speech is read in training, with a label or without."""
        former = frozenset[str]() if self.excluded is None else self.excluded.former
        return speaker_digests([*(utterance.speaker for utterance in self.read), *former])

    @property
    def epochs(self) -> int:
        """Of all stages together."""
        return self.stages[-1].end_epoch

    def _surroundings(self) -> list[str]:
        """What recordings are heard around the crops, a line for each choice of folders."""
        return list(dict.fromkeys(str(s.surroundings) for s in self.stages if s.surroundings is not None))

    def _lessons(self) -> list[str]:
        """What is learnt beside the labels."""
        if self.teacher is None:
            return []
        more = f", and of {len(self.unlabelled):,} utterances without labels" if self.unlabelled else ""
        return [f"teacher    {self.teacher.path}, embeddings of {self.teacher.embedding_size} values{more}"]

    def _label(self, stage: Stage) -> str:
        return "steps" if len(self.stages) == 1 else f"stage {stage.number}"

    def stage_at(self, epoch: int) -> Stage | None:
        """The stage that is under way when so many epochs are done; None when all are."""
        return next((stage for stage in self.stages if epoch < stage.end_epoch), None)

    @property
    def plain_speed(self) -> int:
        """Index of the speed 1 among those that make classes."""
        return self.recipe.augmentation.speeds.index(1.0)

    def summary(self) -> str:
        """What is about to be trained, in a few lines for people."""
        recipe = self.recipe
        at_speeds = f" ({self.classes:,} classes, by speed)" if self.classes > self.speakers else ""
        held_out = len({utterance.speaker for utterance in self.validation})
        return "\n".join(
            printable(line)
            for line in [
                f"training   {self.speakers:,} speakers{at_speeds}, {len(self.utterances):,} utterances, "
                f"{self.hours:.1f} h",
                f"validation {held_out:,} held-out speakers, {len(self.validation):,} utterances",
                *([] if self.excluded is None else [f"excluded   {self.excluded.summary()}"]),
                *([] if self.label_trust is None else [f"doubted    {self.label_trust.summary()}"]),
                *(f"around     {line}" for line in self._surroundings()),
                *self._lessons(),
                *(f"{self._label(stage):10} {stage.summary()}" for stage in self.stages),
                *(f"note       {note}" for note in self.notes),
                f"network    {recipe.network.kind}, {self.network_parameters / 1e6:.2f} M parameters, "
                f"embedding {recipe.network.embedding_size}; {self.head_parameters / 1e6:.2f} M class weights",
                f"device     {self.device}, {precision_summary(recipe, self.device, self.precision, self.resumes)}",
            ]
        )
