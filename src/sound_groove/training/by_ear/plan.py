"""What is about to be taught by ear, and everything that stands against it, found before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sound_groove.corpora.manifest import Utterance, manifest_hash, read_manifest
from sound_groove.errors import ConfigurationError, TrainingError, printable
from sound_groove.inputs.crops.visits import VisitPlan, plan_visits
from sound_groove.inputs.exclusion import Excluded, with_new_speakers
from sound_groove.inputs.sampler import speaker_labels
from sound_groove.inputs.surroundings import SurroundingsReader, find_surroundings
from sound_groove.networks.architectures import build_network
from sound_groove.networks.pooling import TellsFrames
from sound_groove.networks.trained_speakers import speaker_digests
from sound_groove.recipe.schema import Recipe
from sound_groove.training.backbone import check_backbone
from sound_groove.training.by_ear.judging import JudgingLists, read_judging_lists
from sound_groove.training.by_ear.teacher import is_published
from sound_groove.training.checks import (
    check_batches,
    check_device,
    check_files,
    check_folder,
    check_own_network,
    check_shards,
    check_start,
)
from sound_groove.training.device import choose_device, choose_precision, precision_summary
from sound_groove.training.material import check_listed, check_sound, same_audio
from sound_groove.training.preflight import choose, collect, read_prepared
from sound_groove.training.resumption import begun_precision, check_resumption, setting_of
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.teacher import teacher_hash
from sound_groove.training.validation import can_be_paired, choose_utterances


@dataclass(frozen=True, eq=False)
class ByEarPlan:
    """What is about to be taught.

    Attributes:
        recipe: what is trained, and how.
        utterances: all that crops are drawn from.
        labels: (utterances,) classes, -1 = not known.
        classes: speakers that are told apart beside the teacher's embeddings; 0 = that is not done.
        surroundings: recorded noise and rooms, if any.
        lists: trial lists that judge, if any.
        excluded: what the recipe's file of choices left out and moved, if it names one.
        validation: utterances of held-out speakers, which judge where there are no lists.
        manifest_sha256: names the labelled data.
        other_sha256: the same of `teacher`, `unlabelled` and `exclude`.
        network_parameters: of the network alone.
        device: where it will run.
        precision: in what the network will be computed: "bf16" or "fp32".
        resumes: whether an earlier run is gone on with.
        crops_folder: of the shards.
        notes: what people should know of the material, a sentence each.
    """

    recipe: Recipe
    utterances: Sequence[Utterance]
    labels: NDArray[np.int64]
    classes: int
    surroundings: SurroundingsReader | None
    lists: JudgingLists | None
    excluded: Excluded | None
    validation: Sequence[Utterance]
    manifest_sha256: str
    other_sha256: dict[str, str]
    network_parameters: int
    device: torch.device
    precision: str
    resumes: bool
    crops_folder: Path
    notes: tuple[str, ...] = ()

    @cached_property
    def visits(self) -> VisitPlan:
        """When which shard is visited."""
        return plan_visits(self.recipe.distillation.crops)

    @property
    def batches_per_shard(self) -> int:
        """Batches that a shard makes at one visit."""
        return self.recipe.distillation.crops.lengths * self.recipe.distillation.crops.rounds

    @property
    def crops_per_shard(self) -> int:
        """Crops in a shard."""
        return self.batches_per_shard * self.recipe.data.sampler.total_batch

    @property
    def hours(self) -> float:
        """Of speech that crops are drawn from."""
        return sum(utterance.duration_s for utterance in self.utterances) / 3600

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.steps_from(0)

    def steps_from(self, epoch: int) -> int:
        """Optimiser steps of an epoch and those behind it; the first epochs have no older shards to visit."""
        visited = sum(len(self.visits.shards(number)) for number in range(epoch, self.recipe.training.epochs))
        return visited * self.batches_per_shard

    @property
    def labelled(self) -> list[Utterance]:
        """The utterances whose speakers are known."""
        return [utterance for utterance, label in zip(self.utterances, self.labels, strict=True) if label >= 0]

    @cached_property
    def speaker_digests(self) -> frozenset[str]:
        """Digests of the names of all whose speech is heard."""
        former = frozenset[str]() if self.excluded is None else self.excluded.former
        return speaker_digests([*(utterance.speaker for utterance in self.utterances), *former])

    @property
    def made_by(self) -> dict[str, Any]:
        """All that the crops are a function of, for `CropPool.begin`."""
        crops = self.recipe.distillation.crops.model_dump(
            mode="json", exclude={"folder", "maker", "visits", "kept", "unheard"}
        )
        augmentation = self.recipe.augmentation.model_dump(mode="json", exclude={"masking", "speeds", "gain_db"})
        has_frames = self.recipe.distillation.frame_weight > 0.0
        return {
            "seed": self.recipe.seed,
            # None where there are none, as where the crops were made before they could have any.
            "distillation.frame_weight": has_frames or None,
            "data.sampler.batch_size": self.recipe.data.sampler.total_batch,
            "data.prepared": self.manifest_sha256,
            **{setting_of(name): sha256 for name, sha256 in self.other_sha256.items()},
            **{f"distillation.crops.{name}": value for name, value in crops.items()},
            **{f"augmentation.{name}": value for name, value in augmentation.items()},
        }

    def summary(self) -> str:
        """What is about to be trained, in a few lines for people."""
        recipe, visits = self.recipe, self.steps * self.recipe.data.sampler.total_batch
        unlabelled = int((self.labels < 0).sum())
        judge = f"{len(self.validation):,} utterances of held-out speakers"
        if self.lists is not None:
            judge = f"{len(self.lists.lists)} trial lists, {len(self.lists.paths):,} recordings"
        around = [] if self.surroundings is None else [f"around     {self.surroundings}"]
        return "\n".join(
            printable(line)
            for line in [
                f"speech     {len(self.utterances):,} utterances, {unlabelled:,} without labels, {self.hours:.1f} h",
                *([] if self.excluded is None else [f"excluded   {self.excluded.summary()}"]),
                *around,
                f"teacher    {recipe.distillation.teacher}",
                f"crops      {recipe.training.epochs * self.crops_per_shard:,} in {recipe.training.epochs:,} shards of "
                f"{self.crops_per_shard:,}, at most {recipe.distillation.crops.kept} at a time in {self.crops_folder}",
                f"steps      {self.steps:,} of {recipe.data.sampler.total_batch} crops: {visits:,} visits, "
                f"{self.visits.visits} to each crop",
                f"judged by  {judge}",
                *(f"note       {note}" for note in self.notes),
                f"network    {recipe.network.kind}, {self.network_parameters / 1e6:.2f} M parameters, "
                f"embedding {recipe.network.embedding_size}",
                f"device     {self.device}, {precision_summary(recipe, self.device, self.precision, self.resumes)}",
            ]
        )


def plan_by_ear(
    recipe: Recipe, run: RunFolder, resume: bool = False, force: bool = False, trains: bool = True
) -> ByEarPlan:
    """Check a recipe against the data and the machine.

    Args:
        recipe: what to train.
        run: where the run will be written.
        resume: whether to go on with an earlier run.
        force: whether an earlier run may be replaced.
        trains: whether a network is to be trained; a maker of crops needs neither the run folder nor what judges.

    Raises:
        ConfigurationError: with every mistake found.
    """
    problems: list[str] = []
    settings = recipe.distillation
    resumes, device = resume and run.is_run, choose_device(recipe)
    precision = choose_precision(recipe, device, begun_precision(run) if resumes else None)
    if settings.of != "crop":
        problems.append("distillation.of: crops are made for 'crop' only")
    if recipe.data.label_noise is not None:
        problems.append("data.label_noise: is not heeded where distillation.of is 'crop'; leave it out")
    problems += check_batches(recipe)
    if trains:
        problems += [*check_folder(run, resume, force), *check_device(recipe, precision)]
        problems += check_own_network(recipe)
        problems += [] if resume else [*check_start(recipe), *check_backbone(recipe)]
    nothing: tuple[list[Utterance], dict[str, int]] = ([], {})
    prepared, ids = collect(problems, lambda: read_prepared(recipe.data.prepared), nothing)
    excluded = collect(problems, lambda: choose(recipe, prepared), None)
    listed = prepared
    if excluded is not None:
        prepared, ids = excluded.utterances, with_new_speakers(ids, excluded.utterances)
    known = [u for u in prepared if u.split == "train" and u.duration_s >= recipe.data.minimum_duration_s]
    no_utterances: list[Utterance] = []
    no_hashes: dict[str, str] = {}
    unknown = collect(problems, lambda: _unlabelled(settings.unlabelled), no_utterances)
    validation = choose_utterances(
        [u for u in prepared if u.split == "validation"], recipe.validation.maximum_utterances
    )
    lists = collect(problems, lambda: read_judging_lists(recipe.validation), None) if trains else None
    if prepared and not known:
        problems.append(f"{recipe.data.prepared}: no training utterance is left (see data.minimum_duration_s)")
    if trains and lists is None and recipe.validation.trials is None and not can_be_paired(validation):
        problems.append(
            f"{recipe.data.prepared}: validation needs two held-out speakers, one of them with two utterances, or "
            "trial lists in validation.trials"
        )
    problems += check_files(recipe, [*known, *unknown], validation) if prepared else []
    problems += check_shards(recipe, [*listed, *unknown])
    problems += check_listed(recipe.data.prepared, listed)
    problems += check_sound(recipe.data.prepared, (known, validation))
    notes = same_audio([*known, *validation])
    manifest_sha256 = manifest_hash(recipe.data.prepared) if prepared else ""
    other = collect(problems, lambda: _other_hashes(recipe), no_hashes)
    if excluded is not None:
        other = {**other, "exclude": excluded.choices.sha256}
    if resumes:
        problems += check_resumption(run, recipe, manifest_sha256 or None, other)
    surroundings = collect(problems, lambda: find_surroundings(recipe.augmentation, recipe.seed), None)
    network = collect(problems, lambda: _without_memory(recipe), None, "network.")
    problems += _check_frames(recipe, network)
    labels = collect(problems, lambda: speaker_labels([u.speaker for u in known], ids), np.empty(0, np.int64))
    if problems:
        raise ConfigurationError(recipe.name, list(dict.fromkeys(problems)))
    numbers, dense = np.unique(labels, return_inverse=True)
    return ByEarPlan(
        recipe=recipe,
        utterances=[*known, *unknown],
        labels=np.concatenate([dense.astype(np.int64), np.full(len(unknown), -1, dtype=np.int64)]),
        classes=len(numbers) if settings.label_weight else 0,
        surroundings=surroundings,
        lists=lists,
        excluded=excluded,
        validation=validation,
        manifest_sha256=manifest_sha256,
        other_sha256=other,
        network_parameters=0 if network is None else sum(parameter.numel() for parameter in network.parameters()),
        device=device,
        precision=precision,
        resumes=resumes,
        notes=tuple(notes),
        crops_folder=settings.crops.folder or run.crops,
    )


def _unlabelled(folder: Path | None) -> list[Utterance]:
    return [] if folder is None else read_manifest(folder)


def _other_hashes(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of what is learnt from beside the prepared corpus."""
    settings, hashes = recipe.distillation, {}
    if settings.teacher is not None:
        if not settings.teacher.is_file():
            raise TrainingError(f"distillation.teacher: there is no file {settings.teacher}")
        hashes["teacher"] = teacher_hash(settings.teacher)
    if settings.unlabelled is not None:
        hashes["unlabelled"] = manifest_hash(settings.unlabelled)
    return hashes


def _check_frames(recipe: Recipe, network: nn.Module | None) -> list[str]:
    """Whether teacher and network tell what they pool over time, where the one is to learn the other's."""
    settings, problems = recipe.distillation, []
    if not settings.frame_weight:
        return []
    if settings.teacher is not None and not is_published(settings.teacher):
        problems.append(
            f"distillation.frame_weight: {printable(settings.teacher.name)} does not tell what it pools over time, as "
            "CAM++'s published state dictionary (.pt) does; let it be 0"
        )
    if network is not None and not isinstance(network, TellsFrames):
        problems.append(
            f"distillation.frame_weight: {recipe.network.kind} does not tell what it pools over time, as ecapa_tdnn "
            "and campplus do; let it be 0"
        )
    return problems


def _without_memory(recipe: Recipe) -> nn.Module:
    """The network, without taking memory for its parameters."""
    with torch.device("meta"):
        return build_network(recipe.network)
