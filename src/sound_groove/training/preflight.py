"""What is checked before training starts: every mistake is found now, and all are reported at once."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sound_groove.corpora.choices import read_choices
from sound_groove.corpora.manifest import Utterance, manifest_hash, read_manifest
from sound_groove.errors import ConfigurationError, CorpusError, SoundGrooveError
from sound_groove.inputs.exclusion import Excluded, exclude, with_new_speakers
from sound_groove.inputs.label_noise import LabelTrust, read_trust
from sound_groove.inputs.mining import HardSampler
from sound_groove.inputs.sampler import PkSampler, Sampler, ShuffledSampler, speaker_labels
from sound_groove.inputs.surroundings import find_noise, find_rooms, find_surroundings
from sound_groove.json_reading import parse_json, read_bounded
from sound_groove.networks.architectures import build_network
from sound_groove.recipe.loading import stage_recipes
from sound_groove.recipe.schema import Recipe
from sound_groove.training.backbone import check_backbone
from sound_groove.training.checks import (
    check_batches,
    check_device,
    check_files,
    check_folder,
    check_own_network,
    check_shards,
    check_speakers,
    check_start,
    check_unlabelled,
    check_utterances,
)
from sound_groove.training.device import choose_device, choose_precision
from sound_groove.training.material import check_listed, check_sound, same_audio
from sound_groove.training.model import make_head
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.resumption import begun_precision, check_resumption
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.stages import line_up
from sound_groove.training.teacher import Teacher, open_teacher, teacher_hash
from sound_groove.training.validation import choose_utterances

T = TypeVar("T")


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
    resumes, device = resume and folder.is_run, choose_device(recipe)
    precision = choose_precision(recipe, device, begun_precision(folder) if resumes else None)
    problems = [*check_folder(folder, resume, force), *check_device(recipe, precision)]
    recipes = collect(problems, lambda: stage_recipes(recipe), [recipe])
    for index, stage in enumerate(recipes):
        known = set(problems)
        problems += [f"stages.{index - 1}.{p}" if index else p for p in check_batches(stage) if p not in known]
    network_parameters = collect(
        problems, lambda: _count_parameters(lambda: build_network(recipe.network)), 0, "network."
    )
    problems += check_own_network(recipe)
    problems += [] if resume else [*check_start(recipe), *check_backbone(recipe)]
    nothing: tuple[list[Utterance], dict[str, int]] = ([], {})
    utterances, ids = collect(problems, lambda: read_prepared(recipe.data.prepared), nothing)
    manifest_sha256 = manifest_hash(recipe.data.prepared) if utterances else None
    excluded = collect(problems, lambda: choose(recipe, utterances), None)
    listed = utterances
    if excluded is not None:
        utterances, ids = excluded.utterances, with_new_speakers(ids, excluded.utterances)
    teacher = collect(problems, lambda: _teacher(recipe), None, "distillation.")
    no_utterances: list[Utterance] = []
    unlabelled = collect(problems, lambda: _unlabelled(recipe), no_utterances, "distillation.")
    no_hashes: dict[str, str] = {}
    other_sha256 = no_hashes if teacher is None else collect(problems, lambda: _other_hashes(recipe), no_hashes)
    if excluded is not None:
        other_sha256 = {**other_sha256, "exclude": excluded.choices.sha256}
    training = [u for u in utterances if u.split == "train" and u.duration_s >= recipe.data.minimum_duration_s]
    validation = choose_utterances(
        [u for u in utterances if u.split == "validation"], recipe.validation.maximum_utterances
    )
    notes: list[str] = []
    if utterances:
        problems += check_utterances(recipe, training, validation)
        problems += check_files(recipe, [*training, *unlabelled], validation)
        problems += check_unlabelled(recipe, unlabelled, validation)
        problems += check_shards(recipe, [*listed, *unlabelled])
        problems += check_listed(recipe.data.prepared, listed)
        if recipe.data.input == "waveform":
            problems += check_sound(recipe.data.prepared, (training, validation))
            notes = same_audio([*training, *validation])
    # Speakers that lost all their utterances to the minimum duration get no class.
    given = collect(problems, lambda: speaker_labels([u.speaker for u in training], ids), np.empty(0, np.int64))
    trust = collect(problems, lambda: _trust(recipe, training, excluded), None)
    if trust is not None:
        other_sha256 = {**other_sha256, "label_noise": trust.sha256}
    if resumes:
        problems += check_resumption(folder, recipe, manifest_sha256, other_sha256)
    speaker_ids, labels = np.unique(given, return_inverse=True)
    if len(speaker_ids):
        problems += [p for stage in recipes for p in check_speakers(stage, len(speaker_ids))]
    finders = (
        cache(find_noise),
        cache(find_rooms),
    )  # stages mostly name the same folders, and each is looked into once
    around = [
        collect(problems, partial(find_surroundings, stage.augmentation, recipe.seed, *finders), None)
        for stage in recipes
    ]
    if problems or manifest_sha256 is None:
        raise ConfigurationError(recipe.name, list(dict.fromkeys(problems)))  # stages share most of their mistakes
    classes = len(speaker_ids) * len(recipe.augmentation.speeds)
    return TrainingPlan(
        recipe=recipe,
        utterances=training,
        labels=labels.astype(np.int64),
        speakers=len(speaker_ids),
        classes=classes,
        hours=sum(utterance.duration_s for utterance in training) / 3600,
        validation=validation,
        excluded=excluded,
        label_trust=trust,
        unlabelled=unlabelled,
        teacher=teacher,
        stages=line_up(recipes, [_sampler(stage, labels.astype(np.int64)) for stage in recipes], around),
        manifest_sha256=manifest_sha256,
        other_sha256=other_sha256,
        network_parameters=network_parameters,
        head_parameters=_count_parameters(lambda: make_head(recipe, classes)),
        device=device,
        precision=precision,
        resumes=resumes,
        notes=tuple(notes),
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
        ids = parse_json(read_bounded(table))
    except OSError as error:
        raise CorpusError(f"{table}: cannot be read ({error.strerror}); run 'sound-groove prepare' again") from None
    except ValueError as error:
        raise CorpusError(f"{table}: {error}; run 'sound-groove prepare' again") from None
    numbers = [number for number in ids.values() if type(number) is int] if isinstance(ids, dict) else []
    if not isinstance(ids, dict) or len(numbers) < len(ids) or sorted(numbers) != list(range(len(ids))):
        raise CorpusError(f"{table}: must give each speaker a number from 0 on; run 'sound-groove prepare' again")
    return utterances, ids


def choose(recipe: Recipe, utterances: list[Utterance]) -> Excluded | None:
    """What the recipe's file of choices makes of a corpus; None where it names no file, or nothing was read.

    Raises:
        CorpusError: the file cannot be used.
    """
    if recipe.data.exclude is None or not utterances:
        return None
    try:
        return exclude(utterances, read_choices(recipe.data.exclude))
    except CorpusError as error:
        raise CorpusError(f"data.exclude: {error}") from None


def _trust(recipe: Recipe, training: list[Utterance], excluded: Excluded | None) -> LabelTrust | None:
    """How far the labels of what is trained on are trusted; None where the recipe names no table."""
    if recipe.data.label_noise is None or not training:
        return None
    try:
        return read_trust(recipe.data.label_noise, training, frozenset() if excluded is None else excluded.moved)
    except CorpusError as error:
        raise CorpusError(f"data.label_noise: {error}") from None


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


def collect(problems: list[str], compute: Callable[[], T], otherwise: T, section: str = "") -> T:
    """What is computed; or, when that fails, `otherwise`, with the reason (about a section) added to the problems."""
    try:
        return compute()
    except ConfigurationError as error:
        problems += [section + problem for problem in error.problems]
    except SoundGrooveError as error:
        problems.append(str(error))
    return otherwise
