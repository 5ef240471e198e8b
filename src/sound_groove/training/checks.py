"""What can stand against a recipe: each function names the mistakes that it finds, a sentence for each."""

import os
from collections.abc import Sequence

import torch

from sound_groove.audio.given import split_name
from sound_groove.audio.limits import MINIMUM_DURATION_S, SAMPLE_RATE
from sound_groove.corpora.manifest import Utterance
from sound_groove.corpora.shards import damaged_shards
from sound_groove.errors import ConfigurationError, SoundGrooveError, printable
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.hearing import SAMPLES
from sound_groove.networks.own import is_own
from sound_groove.networks.tensor_groups import FRONT_END_OPTIONS
from sound_groove.recipe.schema import Recipe
from sound_groove.training.device import choose_device
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.validation import can_be_paired

STORED_BINS = 80  # of the filterbanks that `prepare --features` writes


def check_folder(folder: RunFolder, resume: bool, force: bool) -> list[str]:
    """What stands against writing a run into a folder."""
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


def check_start(recipe: Recipe) -> list[str]:
    """Whether the network that training starts from is the one that the recipe builds.

    Weights that heard no floor may be taught one, but not the other way round.
    """
    path = recipe.training.start_from
    if path is None and recipe.training.frozen_steps:
        return ["training.frozen_steps: freezes a network that nobody has trained; name one with training.start_from"]
    if path is None:
        return []
    try:
        there = load_checkpoint(path).configuration.model_dump()
    except SoundGrooveError as error:
        return [f"training.start_from: {error}"]
    return [
        f"network.{name}: the model to start from has {there.get(name)!r}, and the recipe says {value!r}; "
        "let the recipe say the same"
        for name, value in recipe.network.model_dump().items()
        if there.get(name) != value and not (name in FRONT_END_OPTIONS and there.get(name) is None)
    ]


def check_own_network(recipe: Recipe) -> list[str]:
    """Whether a network of the user's own keeps the contract: (B, T, F) -> (B, D), and padding changes nothing."""
    configuration = recipe.network
    if not is_own(configuration.kind):
        return []
    long, short = (16000, 9600) if configuration.feature_size == SAMPLES else (90, 60)
    shape = (2, long, configuration.feature_size)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(recipe.seed)
            network = build_network(configuration).eval()
            features = torch.randn(shape)
            together = network(features, torch.tensor([long, short]))
            alone = network(features[1:, :short])
    except ConfigurationError:
        return []  # said where the network is counted
    except Exception as error:  # whatever code of somebody else's does
        reason = printable(f"{type(error).__name__}: {error}")[:300]
        return [f"network.kind: {configuration.kind} fails on features {shape}: {reason}"]
    wanted = (2, configuration.embedding_size)
    if not isinstance(together, torch.Tensor) or tuple(together.shape) != wanted or alone.shape != together[:1].shape:
        return [
            f"network.kind: {configuration.kind} must give embeddings {wanted} of features and lengths, and did not"
        ]
    if not (together.isfinite().all() and alone.isfinite().all()):
        return [f"network.kind: {configuration.kind} gives embeddings that are not finite numbers"]
    if not torch.allclose(together[1], alone[0], rtol=1e-3, atol=1e-3 * float(alone.abs().max())):
        return [
            f"network.kind: {configuration.kind} gives a padded clip another embedding than the clip alone; heed the "
            "lengths wherever time is summed, averaged or convolved"
        ]
    return []


def check_device(recipe: Recipe, precision: str) -> list[str]:
    """What the recipe, and the precision that it comes to here, ask of this machine that it has not."""
    problems = []
    wanted = recipe.training.device
    if wanted == "cuda" and not torch.cuda.is_available():
        problems.append("training.device: cuda is asked for and this machine has none that torch can use")
    if wanted == "mps" and not torch.backends.mps.is_available():
        problems.append("training.device: mps is asked for and this machine has none")
    if precision == "fp16" and choose_device(recipe).type != "cuda":
        if recipe.training.precision == "auto":  # kept of a run that named it
            problems.append("training.precision: the run began with fp16, which needs a CUDA GPU; go on with it on one")
        else:
            problems.append("training.precision: fp16 needs a CUDA GPU; use bf16 or fp32 here")
    return problems


def check_batches(recipe: Recipe) -> list[str]:
    """What in the settings of a stage does not go together."""
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
    if recipe.loss.kind == "sphereface2" and recipe.loss.top_k:
        problems.append("loss.top_k: penalises in aam_softmax alone, and loss.kind is sphereface2; set it to 0")
    speeds_differ = len(recipe.augmentation.speeds) > 1
    if recipe.data.input == "features" and (recipe.augmentation.changes_waveforms or speeds_differ):
        problems.append("augmentation: works on waveforms, and data.input is 'features'; switch one of them off")
    for folders, share in (("noise_folders", "noise_probability"), ("room_folder", "reverberation_probability")):
        if getattr(recipe.augmentation, folders) and not getattr(recipe.augmentation, share):
            problems.append(f"augmentation.{folders}: is given, and augmentation.{share} is 0; set both or none")
    if recipe.data.input == "features" and recipe.network.feature_size != STORED_BINS:
        problems.append(
            f"data.input: stored features have {STORED_BINS} bins, and network.feature_size is "
            f"{recipe.network.feature_size}; use data.input=waveform"
        )
    if recipe.network.feature_size == SAMPLES and recipe.augmentation.masking.changes_features:
        problems.append(
            "augmentation.masking: hides frames and bands of filterbanks, and the network hears the samples "
            "themselves; switch it off"
        )
    if recipe.data.input == "features" and recipe.training.dither:
        problems.append("training.dither: is added to waveforms, and data.input is 'features'; set it to 0")
    return problems + _check_schedule(recipe) + _check_distillation(recipe)


def _check_crops(recipe: Recipe) -> list[str]:
    """What does not go together where crops are taught by ear."""
    settings, problems = recipe.distillation, []
    if settings.teacher is None:
        problems.append("distillation.teacher: somebody must say what is to be heard; name a model")
    if recipe.data.input != "waveform":
        problems.append("data.input: the teacher hears crops of audio, and data.input is 'features'; use waveform")
    needless = {
        "distillation.unlabelled_items": (
            settings.unlabelled_items,
            0,
            "crops are drawn from all speech by its duration",
        ),
        "data.sampler.kind": (recipe.data.sampler.kind, "shuffled", "crops are drawn one by one"),
        "augmentation.speeds": (recipe.augmentation.speeds, (1.0,), "distillation.crops.speed takes their place"),
        "augmentation.gain_db": (recipe.augmentation.gain_db, (0.0, 0.0), "distillation.crops sets levels and gains"),
        "training.batches_per_epoch": (recipe.training.batches_per_epoch, None, "an epoch is a new shard of crops"),
        "training.average_epochs": (recipe.training.average_epochs, 0, "training.moving_average takes its place"),
        "training.gradient_accumulation": (
            recipe.training.gradient_accumulation,
            1,
            "pairs are those of a whole batch",
        ),
        "training.dither": (recipe.training.dither, 0.0, "distillation.crops.unheard has noise of its own"),
        "training.frozen_steps": (recipe.training.frozen_steps, 0, "the embeddings must move from the first step on"),
        "stages": (len(recipe.stages), 0, "the training has one stage"),
    }
    problems += [
        f"{name}: has no place with distillation.of='crop', {why}; let it be {wanted!r}"
        for name, (value, wanted, why) in needless.items()
        if value != wanted
    ]
    if recipe.training.precision == "fp16":
        problems.append("training.precision: fp16 is not for distillation.of='crop'; use bf16 or fp32")
    if not any((settings.weight, settings.matrix_weight, settings.neighbour_weight)):
        problems.append(
            "distillation.weight: is 0, as are matrix_weight and neighbour_weight, so nothing would be learnt of the "
            "teacher"
        )
    return problems


def _check_distillation(recipe: Recipe) -> list[str]:
    settings, problems = recipe.distillation, []
    if settings.of == "crop":
        return _check_crops(recipe)
    if recipe.validation.trials is not None:
        problems.append("validation.trials: judges where distillation.of is 'crop'; leave it out")
    if settings.teacher is None and (settings.unlabelled is not None or settings.unlabelled_items):
        problems.append("distillation.unlabelled: only a teacher speaks of it; name one with distillation.teacher")
    elif (settings.unlabelled is None) != (settings.unlabelled_items == 0):
        problems.append("distillation.unlabelled: and distillation.unlabelled_items go together; set both or none")
    if settings.teacher is not None and settings.weight == 0:
        problems.append("distillation.weight: is 0, so nothing would be learnt of the teacher; leave the teacher out")
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


def check_speakers(recipe: Recipe, speakers: int) -> list[str]:
    """Whether a batch can be made of so many speakers."""
    if speakers < 2:
        return [f"{recipe.data.prepared}: has one speaker to train on, and telling speakers apart needs two"]
    wanted = recipe.data.sampler.speakers
    if recipe.data.sampler.kind == "pk" and speakers < wanted:
        return [
            f"data.sampler.speakers: a batch asks for {wanted} speakers and the corpus has {speakers} to train on; "
            f"set it to {speakers} or less"
        ]
    return []


def check_utterances(recipe: Recipe, training: Sequence[Utterance], validation: Sequence[Utterance]) -> list[str]:
    """What the prepared corpus lacks."""
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


def check_files(recipe: Recipe, training: Sequence[Utterance], validation: Sequence[Utterance]) -> list[str]:
    """Look for what would only be found when it is read, an epoch later; a sample of the training files will do."""
    looked_at = [*validation, *training[:: max(1, len(training) // 200)]]
    if recipe.data.input == "features":
        files = [utterance.feature_path for utterance in looked_at if utterance.feature_path is not None]
    else:
        files = [path for utterance in looked_at if utterance.shard_path is None for path in utterance.paths]
    problems = []
    missing = [path for path in files if not split_name(path)[0].is_file()]
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


def check_shards(recipe: Recipe, utterances: Sequence[Utterance]) -> list[str]:
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


def check_unlabelled(recipe: Recipe, unlabelled: Sequence[Utterance], validation: Sequence[Utterance]) -> list[str]:
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
