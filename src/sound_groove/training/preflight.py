"""What is checked before training starts: every mistake is found now, and all are reported at once."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sound_groove.audio import MINIMUM_DURATION_S, SAMPLE_RATE
from sound_groove.checkpoint import load_checkpoint
from sound_groove.configuration import Recipe
from sound_groove.data.manifest import Utterance, manifest_hash, read_manifest
from sound_groove.data.mining import HardSampler
from sound_groove.data.sampler import PkSampler, Sampler, ShuffledSampler, speaker_labels
from sound_groove.data.shards import damaged_shards
from sound_groove.data.surroundings import find_noise, find_rooms, find_surroundings
from sound_groove.errors import ConfigurationError, CorpusError, SoundGrooveError
from sound_groove.models import build_network
from sound_groove.recipes import stage_recipes
from sound_groove.training.model import make_head
from sound_groove.training.resumption import check_resumption
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.stages import Stage, line_up
from sound_groove.training.teacher import Teacher, open_teacher, teacher_hash
from sound_groove.training.validation import can_be_paired, choose_utterances

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """What is about to be trained.

    Attributes:
        utterances: of the training speakers.
        labels: (utterances,) speaker of each.
        speakers: number of training speakers.
        classes: that the network learns to tell apart: each speaker at each speed.
        hours: of training speech.
        validation: utterances of held-out speakers.
        unlabelled: utterances of which only a teacher speaks.
        teacher: what the network learns from beside the labels, if anything.
        stages: what is trained, one after the other.
        manifest_sha256: names the data.
        other_sha256: the same of what else is learnt from: `teacher` and `unlabelled`, where there are such.
        network_parameters: of the network alone.
        head_parameters: of the class weights.
        device: where it will run.
    """

    utterances: Sequence[Utterance]
    labels: NDArray[np.int64]
    speakers: int
    classes: int
    hours: float
    validation: Sequence[Utterance]
    unlabelled: Sequence[Utterance]
    teacher: Teacher | None
    stages: tuple[Stage, ...]
    manifest_sha256: str
    other_sha256: Mapping[str, str]
    network_parameters: int
    head_parameters: int
    device: torch.device

    @property
    def read(self) -> list[Utterance]:
        """All that is read in training: the utterances with a label, and behind them those without."""
        return [*self.utterances, *self.unlabelled]

    @property
    def read_labels(self) -> NDArray[np.int64]:
        """The speaker of each of these, -1 where it is not known."""
        return np.concatenate([self.labels, np.full(len(self.unlabelled), -1, dtype=np.int64)])

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

    def summary(self, recipe: Recipe) -> str:
        """What is about to be trained, in a few lines for people."""
        at_speeds = f" ({self.classes:,} classes, by speed)" if self.classes > self.speakers else ""
        held_out = len({utterance.speaker for utterance in self.validation})
        return "\n".join(
            [
                f"training   {self.speakers:,} speakers{at_speeds}, {len(self.utterances):,} utterances, "
                f"{self.hours:.1f} h",
                f"validation {held_out:,} held-out speakers, {len(self.validation):,} utterances",
                *(f"around     {line}" for line in self._surroundings()),
                *self._lessons(),
                *(f"{self._label(stage):10} {stage.summary()}" for stage in self.stages),
                f"network    {recipe.network.architecture}, {self.network_parameters / 1e6:.2f} M parameters, "
                f"embedding {recipe.network.embedding_size}; {self.head_parameters / 1e6:.2f} M class weights",
                f"device     {self.device}, {recipe.training.precision}{_precision_hint(recipe, self.device)}",
            ]
        )


def preflight(recipe: Recipe, folder: RunFolder, resume: bool, force: bool) -> TrainingPlan:
    """Check a recipe against the data and the machine.

    Args:
        recipe: what to train.
        folder: where the run will be written.
        resume: whether to go on with an earlier run.
        force: whether an earlier run may be replaced.

    Returns:
        What is about to be trained.

    Raises:
        ConfigurationError: with every mistake found.
    """
    problems = [*_check_folder(folder, resume, force), *_check_device(recipe)]
    recipes = _collect(problems, lambda: stage_recipes(recipe), [recipe])
    for index, stage in enumerate(recipes):
        known = set(problems)
        problems += [f"stages.{index - 1}.{p}" if index else p for p in _check_batches(stage) if p not in known]
    network_parameters = _collect(
        problems, lambda: _count_parameters(lambda: build_network(recipe.network)), 0, "network."
    )
    problems += [] if resume else _check_start(recipe)
    nothing: tuple[list[Utterance], dict[str, int]] = ([], {})
    utterances, ids = _collect(problems, lambda: read_prepared(recipe.data.prepared), nothing)
    manifest_sha256 = manifest_hash(recipe.data.prepared) if utterances else None
    teacher = _collect(problems, lambda: _teacher(recipe), None, "distillation.")
    no_utterances: list[Utterance] = []
    unlabelled = _collect(problems, lambda: _unlabelled(recipe), no_utterances, "distillation.")
    no_hashes: dict[str, str] = {}
    other_sha256 = no_hashes if teacher is None else _collect(problems, lambda: _other_hashes(recipe), no_hashes)
    if resume and folder.is_run:
        problems += check_resumption(folder, recipe, manifest_sha256, other_sha256)
    training = [u for u in utterances if u.split == "train" and u.duration_s >= recipe.data.minimum_duration_s]
    validation = choose_utterances(
        [u for u in utterances if u.split == "validation"], recipe.validation.maximum_utterances
    )
    if utterances:
        problems += _check_utterances(recipe, training, validation)
        problems += _check_files(recipe, [*training, *unlabelled], validation)
        problems += _check_unlabelled(recipe, unlabelled, validation)
        problems += _check_shards(recipe, [*utterances, *unlabelled])
    # Speakers that lost all their utterances to the minimum duration get no class.
    given = _collect(problems, lambda: speaker_labels([u.speaker for u in training], ids), np.empty(0, np.int64))
    speaker_ids, labels = np.unique(given, return_inverse=True)
    if len(speaker_ids):
        problems += [p for stage in recipes for p in _check_speakers(stage, len(speaker_ids))]
    finders = (
        cache(find_noise),
        cache(find_rooms),
    )  # stages mostly name the same folders, and each is looked into once
    around = [
        _collect(problems, partial(find_surroundings, stage.augmentation, recipe.seed, *finders), None)
        for stage in recipes
    ]
    if problems or manifest_sha256 is None:
        raise ConfigurationError(recipe.name, list(dict.fromkeys(problems)))  # stages share most of their mistakes
    classes = len(speaker_ids) * len(recipe.augmentation.speeds)
    return TrainingPlan(
        utterances=training,
        labels=labels.astype(np.int64),
        speakers=len(speaker_ids),
        classes=classes,
        hours=sum(utterance.duration_s for utterance in training) / 3600,
        validation=validation,
        unlabelled=unlabelled,
        teacher=teacher,
        stages=line_up(recipes, [_sampler(stage, labels.astype(np.int64)) for stage in recipes], around),
        manifest_sha256=manifest_sha256,
        other_sha256=other_sha256,
        network_parameters=network_parameters,
        head_parameters=_count_parameters(lambda: make_head(recipe, classes)),
        device=choose_device(recipe),
    )


def read_prepared(folder: Path) -> tuple[list[Utterance], dict[str, int]]:
    """The manifest and the speaker table of a prepared corpus.

    Raises:
        CorpusError: one of them is missing or damaged.
    """
    if not folder.is_dir():
        raise CorpusError(f"data.prepared: there is no folder {folder}; make it with 'sound-groove prepare'")
    utterances = read_manifest(folder)
    table = folder / "spk2id.json"
    try:
        ids = json.loads(table.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorpusError(f"{table}: cannot be read ({error.strerror}); run 'sound-groove prepare' again") from None
    except ValueError as error:
        raise CorpusError(f"{table}: is not JSON ({error}); run 'sound-groove prepare' again") from None
    numbers = [number for number in ids.values() if type(number) is int] if isinstance(ids, dict) else []
    if not isinstance(ids, dict) or len(numbers) < len(ids) or sorted(numbers) != list(range(len(ids))):
        raise CorpusError(f"{table}: must give each speaker a number from 0 on; run 'sound-groove prepare' again")
    return utterances, ids


def _teacher(recipe: Recipe) -> Teacher | None:
    path = recipe.distillation.teacher
    return None if path is None else open_teacher(path)


def _unlabelled(recipe: Recipe) -> list[Utterance]:
    """The utterances without labels; who speaks in them and on which side of a split they were is not heeded."""
    folder = recipe.distillation.unlabelled
    return [] if folder is None else read_manifest(folder)


def _other_hashes(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of what is learnt from beside the prepared corpus."""
    settings, hashes = recipe.distillation, {}
    if settings.teacher is not None:
        hashes["teacher"] = teacher_hash(settings.teacher)
    if settings.unlabelled is not None:
        hashes["unlabelled"] = manifest_hash(settings.unlabelled)
    return hashes


def _check_unlabelled(recipe: Recipe, unlabelled: Sequence[Utterance], validation: Sequence[Utterance]) -> list[str]:
    problems = []
    judged = {path for utterance in validation for path in utterance.paths}
    both = [utterance.key for utterance in unlabelled if not judged.isdisjoint(utterance.paths)]
    if both:
        problems.append(
            f"distillation.unlabelled: {len(both)} of its utterances are those that validation judges by, such as "
            f"{both[0]}; leave them out"
        )
    if recipe.data.input == "features" and any(utterance.feature_path is None for utterance in unlabelled):
        problems.append("distillation.unlabelled: has no stored features, and data.input is 'features'")
    return problems


def choose_device(recipe: Recipe) -> torch.device:
    """The device that the recipe names; "auto" takes CUDA or MPS when there is one."""
    if recipe.training.device != "auto":
        return torch.device(recipe.training.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _check_folder(folder: RunFolder, resume: bool, force: bool) -> list[str]:
    if resume and force:
        return ["--resume goes on with the run and --force begins it anew: give one of them"]
    if resume and not folder.is_run:
        return [f"{folder.path}: there is no run to resume; leave --resume out"]
    if not resume and folder.is_used and not folder.is_run:
        return [f"{folder.path}: exists and is not a run folder; choose another name or --out"]
    if not resume and folder.is_run and not force:
        return [f"{folder.path}: holds an earlier run; go on with --resume, or replace it with --force"]
    parent = next(parent for parent in (folder.path.absolute(), *folder.path.absolute().parents) if parent.exists())
    if not parent.is_dir():
        return [f"{folder.path}: {parent} is a file, not a folder; choose another --out"]
    return [] if os.access(parent, os.W_OK) else [f"{folder.path}: {parent} is not writable; choose another --out"]


def _check_start(recipe: Recipe) -> list[str]:
    """Whether the network that training starts from is the one that the recipe builds."""
    path = recipe.training.start_from
    if path is None and recipe.training.frozen_steps:
        return ["training.frozen_steps: freezes a network that nobody has trained; name one with training.start_from"]
    if path is None:
        return []
    try:
        there = load_checkpoint(path).header.network
    except SoundGrooveError as error:
        return [f"training.start_from: {error}"]
    return [
        f"network.{name}: the model to start from has {there.get(name)!r}, and the recipe says {value!r}; "
        "let the recipe say the same"
        for name, value in recipe.network.model_dump().items()
        if there.get(name) != value
    ]


def _check_device(recipe: Recipe) -> list[str]:
    problems = []
    wanted = recipe.training.device
    if wanted == "cuda" and not torch.cuda.is_available():
        problems.append("training.device: cuda is asked for and this machine has none that torch can use")
    if wanted == "mps" and not torch.backends.mps.is_available():
        problems.append("training.device: mps is asked for and this machine has none")
    if recipe.training.precision == "fp16" and choose_device(recipe).type != "cuda":
        problems.append("training.precision: fp16 needs a CUDA GPU; use bf16 or fp32 here")
    return problems


def _precision_hint(recipe: Recipe, device: torch.device) -> str:
    """What to say of a precision that this machine computes slowly."""
    if device.type != "cpu" or recipe.training.precision != "bf16" or _cpu_computes_bf16():
        return ""
    return " (slow: this CPU has no instructions for it, training.precision=fp32 is several times as fast)"


def _cpu_computes_bf16() -> bool:
    # oneDNN, which computes the convolutions, is asked itself; torch has no public name for the question.
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _check_batches(recipe: Recipe) -> list[str]:
    problems = []
    batch, parts = recipe.data.sampler.total_batch, recipe.training.gradient_accumulation
    if batch < 2:
        problems.append("data.sampler: a batch of one utterance cannot be normalised; raise speakers or utterances")
    elif batch % parts:
        problems.append(f"training.gradient_accumulation: {parts} parts do not divide a batch of {batch} evenly")
    elif batch // parts < 2:
        problems.append(
            f"training.gradient_accumulation: {parts} parts of a batch of {batch} are single utterances, "
            "which cannot be normalised; take fewer parts"
        )
    sampler = recipe.data.sampler
    if sampler.companions and sampler.kind != "pk":
        problems.append("data.sampler.companions: come with the speakers of a 'pk' batch; set kind to pk, or them to 0")
    elif sampler.speakers % (1 + sampler.companions):
        problems.append(
            f"data.sampler.companions: {sampler.speakers} speakers a batch cannot be groups of "
            f"{1 + sampler.companions}, each speaker with {sampler.companions} others"
        )
    speeds_differ = len(recipe.augmentation.speeds) > 1
    if recipe.data.input == "features" and (recipe.augmentation.changes_waveforms or speeds_differ):
        problems.append("augmentation: works on waveforms, and data.input is 'features'; switch one of them off")
    for folders, share in (("noise_folders", "noise_probability"), ("room_folder", "reverberation_probability")):
        if getattr(recipe.augmentation, folders) and not getattr(recipe.augmentation, share):
            problems.append(f"augmentation.{folders}: is given, and augmentation.{share} is 0; set both or none")
    if recipe.data.input == "features" and recipe.training.dither:
        problems.append("training.dither: is added to waveforms, and data.input is 'features'; set it to 0")
    return problems + _check_schedule(recipe) + _check_distillation(recipe)


def _check_distillation(recipe: Recipe) -> list[str]:
    settings, problems = recipe.distillation, []
    if settings.teacher is None and (settings.unlabelled is not None or settings.unlabelled_items):
        problems.append("distillation.unlabelled: only a teacher speaks of it; name one with distillation.teacher")
    elif (settings.unlabelled is None) != (settings.unlabelled_items == 0):
        problems.append("distillation.unlabelled: and distillation.unlabelled_items go together; set both or none")
    if settings.label_weight == 0 and settings.teacher is None:
        problems.append("distillation.label_weight: is 0 and there is no teacher, so nothing would be learnt")
    if settings.label_weight == 0 and recipe.data.sampler.companions:
        problems.append("data.sampler.companions: are found from classes, and distillation.label_weight=0 trains none")
    if recipe.items_per_batch % recipe.training.gradient_accumulation and settings.unlabelled_items:
        problems.append(
            f"training.gradient_accumulation: {recipe.training.gradient_accumulation} parts do not divide "
            f"{recipe.items_per_batch} items, unlabelled ones included, evenly"
        )
    return problems


def _check_schedule(recipe: Recipe) -> list[str]:
    problems = []
    rate, epochs = recipe.learning_rate, recipe.training.epochs
    if rate.warmup_epochs > epochs:
        problems.append(
            f"learning_rate.warmup_epochs: {rate.warmup_epochs:g} epochs of warm-up do not fit into {epochs}"
        )
    if rate.decay != "constant" and rate.final > rate.peak:
        problems.append(
            f"learning_rate.final: {rate.final:g} lies above learning_rate.peak ({rate.peak:g}), "
            "so that the rate would rise where it should decay"
        )
    return problems


def _check_speakers(recipe: Recipe, speakers: int) -> list[str]:
    if speakers < 2:
        return [f"{recipe.data.prepared}: has one speaker to train on, and telling speakers apart needs two"]
    wanted = recipe.data.sampler.speakers
    if recipe.data.sampler.kind == "pk" and speakers < wanted:
        return [
            f"data.sampler.speakers: a batch asks for {wanted} speakers and the corpus has {speakers} to train on; "
            f"set it to {speakers} or less"
        ]
    return []


def _check_utterances(recipe: Recipe, training: Sequence[Utterance], validation: Sequence[Utterance]) -> list[str]:
    problems = []
    if not training:
        problems.append(f"{recipe.data.prepared}: no training utterance is left (see data.minimum_duration_s)")
    if not can_be_paired(validation):
        problems.append(
            f"{recipe.data.prepared}: validation needs two held-out speakers, one of them with two utterances; "
            "prepare again with --validation-speakers"
        )
    both = {u.speaker for u in training} & {u.speaker for u in validation}
    if both:
        problems.append(
            f"{recipe.data.prepared}: {len(both)} speakers are in training and validation, such as {min(both)}"
        )
    if recipe.data.input == "features":
        without = sum(u.feature_path is None for u in (*training, *validation))
        if without:
            problems.append(
                f"data.input: {without} utterances have no stored features; prepare with --features, "
                "or use data.input=waveform"
            )
    return problems


def _check_files(recipe: Recipe, training: Sequence[Utterance], validation: Sequence[Utterance]) -> list[str]:
    """Look for what would only be found when it is read, an epoch later; a sample of the training files will do."""
    looked_at = [*validation, *training[:: max(1, len(training) // 200)]]
    if recipe.data.input == "features":
        files = [utterance.feature_path for utterance in looked_at if utterance.feature_path is not None]
    else:
        files = [path for utterance in looked_at if utterance.shard_path is None for path in utterance.paths]
    problems = []
    missing = [path for path in files if not Path(path).is_file()]
    if missing:
        problems.append(
            f"{recipe.data.prepared}: {len(missing)} of {len(files)} files looked for are missing, the first is "
            f"{missing[0]}; bring them back, or run 'sound-groove prepare' again"
        )
    shortest = int(MINIMUM_DURATION_S * SAMPLE_RATE)
    short = [utterance.key for utterance in (*training, *validation) if min(utterance.samples) < shortest]
    if short and recipe.data.input == "waveform":
        problems.append(
            f"{recipe.data.prepared}: {len(short)} utterances have a recording shorter than {MINIMUM_DURATION_S} s, "
            f"which cannot be read, the first is {short[0]}; run 'sound-groove prepare' again"
        )
    return problems


def _check_shards(recipe: Recipe, utterances: Sequence[Utterance]) -> list[str]:
    """Whether the shards are as long as the manifest implies; a look at each of them costs little, there are few."""
    damaged, count = damaged_shards(utterances) if recipe.data.input == "waveform" else ([], 0)
    if not damaged:
        return []
    path, there, expected = damaged[0]
    state = f"has {there:,} of its {expected:,} bytes" if there else "is missing or empty"
    return [
        f"{recipe.data.prepared}: {len(damaged)} of {count} shards are missing or truncated, "
        f"the first, {path}, {state}; bring them back, or run 'sound-groove prepare' again"
    ]


def _sampler(recipe: Recipe, labels: NDArray[np.int64]) -> Sampler:
    settings = recipe.data.sampler
    batches = recipe.training.batches_per_epoch or -(-len(labels) // settings.total_batch)
    if settings.kind == "pk":
        anchors = settings.speakers // (1 + settings.companions)
        sampler = PkSampler(labels, anchors, settings.utterances, recipe.seed, batches)
        return HardSampler(sampler, settings.companions) if settings.companions else sampler
    return ShuffledSampler(len(labels), settings.batch_size, recipe.seed, batches)


def _count_parameters(make: Callable[[], nn.Module]) -> int:
    """Parameters of a module, counted without taking memory for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())


def _collect(problems: list[str], compute: Callable[[], T], otherwise: T, section: str = "") -> T:
    """What is computed; or, when that fails, `otherwise`, with the reason (about a section) added to the problems."""
    try:
        return compute()
    except ConfigurationError as error:
        problems += [section + problem for problem in error.problems]
    except SoundGrooveError as error:
        problems.append(str(error))
    return otherwise
