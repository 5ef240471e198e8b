"""A tiny prepared corpus of made-up voices, as `sound-groove prepare` would leave it, and recipes that train on it."""

import json
import os
import signal
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from sound_groove.audio.reading import load_audio
from sound_groove.corpora.manifest import Utterance, write_manifest
from sound_groove.networks.features import KaldiFbank
from sound_groove.recipe.loading import dump_recipe, parse_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.synthesis.voices import write_corpus
from sound_groove.training import log, trainer, validation
from sound_groove.training.run_folder import read_rows

# Two groups of channels and not eight: a third of the operations, in training and when it is traced. And few channels
# to be pooled: of 1,536 an epoch takes five times as long. What has this form is traced once in a run of the tests.
TINY_NETWORK = {"channels": 16, "embedding_size": 12, "options": {"scale": 2, "pooled": 64}}

RANDOM_PARTS: dict[str, Any] = {  # everything that draws
    "augmentation": {
        "noise_probability": 0.5,
        "snr_db": [0, 15],
        "reverberation_probability": 0.5,
        "rt60_s": [0.1, 0.2],
        "telephone_probability": 0.3,
        "gain_db": [-3, 3],
        "masking": {"time_masks": 1, "frequency_masks": 1},
    },
    "training__dither": 1.0,
    "training__gradient_clip": 1.0,
}


def prepare_corpus(
    folder: Path,
    training: int = 8,
    validation: int = 4,
    utterances: int = 3,
    seed: int = 0,
    duration_s: tuple[float, float] = (0.6, 1.2),
    features: bool = False,
) -> Path:
    """Write made-up recordings and their manifest.

    Args:
        folder: where to.
        training: speakers to train on.
        validation: speakers held out.
        utterances: of each speaker.
        seed: of the voices.
        duration_s: shortest and longest utterance.
        features: also write the filterbanks.

    Returns:
        The prepared folder, as `data.prepared` names it.
    """
    paths = write_corpus(folder / "audio", training + validation, utterances, seed, duration_s=duration_s, workers=1)
    prepared = folder / "prepared"
    prepared.mkdir()
    listed = [
        Utterance(
            key=f"{path.parent.name}/{path.stem}",
            speaker=path.parent.name,
            paths=(str(path),),
            samples=(soundfile.info(path).frames,),
            split="train" if number < training * utterances else "validation",
            genre=None,
            session=None,
            feature_path=write_features(path) if features else None,
        )
        for number, path in enumerate(paths)
    ]
    write_prepared(prepared, listed)
    return prepared


def write_prepared(prepared: Path, utterances: list[Utterance]) -> None:
    """Write manifest.jsonl and spk2id.json."""
    write_manifest(prepared / "manifest.jsonl", utterances)
    speakers = sorted({utterance.speaker for utterance in utterances if utterance.split == "train"})
    ids = {speaker: number for number, speaker in enumerate(speakers)}
    (prepared / "spk2id.json").write_text(json.dumps(ids), encoding="utf-8")


def write_features(path: Path) -> str:
    """Write the filterbanks of a recording beside it."""
    target = path.with_suffix(".pt")
    torch.save(KaldiFbank()(torch.from_numpy(load_audio(path)).unsqueeze(0))[0].clone(), target)
    return str(target)


def tiny_recipe(prepared: Path, **changes: Any) -> Recipe:
    """A recipe that trains in a second or two; a change is named `section__setting`."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "seed": 3,
        "data": {
            "prepared": str(prepared),
            "crop_frames": 50,
            "workers": 0,
            "sampler": {"speakers": 4, "utterances": 2},
        },
        "network": deepcopy(TINY_NETWORK),
        "loss": {"scale": 20, "margin": {"initial": 0.0, "final": 0.1, "start_epoch": 0, "end_epoch": 2}},
        "optimizer": {"kind": "adamw"},
        "learning_rate": {"peak": 0.003, "final": 0.0003, "per_batch": 8, "warmup_epochs": 0.5, "decay": "cosine"},
        "training": {
            "epochs": 2,
            "batches_per_epoch": 5,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 1,
            "checkpoint_every": 0,
        },
        "validation": {"maximum_utterances": 20, "maximum_duration_s": 2.0, "centre_utterances": 8},
    }
    for name, value in changes.items():
        *parents, last = name.split("__")
        section = settings
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = deepcopy(value)  # or a later change would reach into the caller
    return parse_recipe(settings)


def rows(folder: Path, name: str = "steps") -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return list(read_rows(folder / f"{name}.jsonl"))


def steps_text(folder: Path) -> str:
    """The log of a run's steps, as it lies there."""
    return (folder / "steps.jsonl").read_text(encoding="utf-8")


def recipe_file(recipe: Recipe, folder: Path) -> Path:
    """A recipe written into a folder."""
    path = folder / "tiny.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    return path


def draw_nothing(path: Path, steps: list[Any], epochs: list[Any], title: str) -> None:
    """In place of `draw_curves`, which takes longer than everything else in a tiny epoch."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(b"not a picture")
    partial.replace(path)


def train_until_interrupted(recipe: Recipe, folder: Path, steps: int) -> None:
    """Train, and let Ctrl-C come after so many steps."""
    left = [steps]

    def interrupted(self: trainer.Trainer, batch: Any) -> dict[str, Any]:
        row = step(self, batch)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return row

    step = trainer.Trainer._step
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.Trainer, "_step", interrupted)
        trainer.train(recipe, folder)


def train_until_killed(recipe: Recipe, folder: str, resume: bool, moment: str, count: int) -> None:
    """Train in this process, and kill it (SIGKILL, to itself) at a moment; to be run in a process of its own.

    Args:
        recipe: what to train.
        folder: the run folder.
        resume: go on with the run that lies there.
        moment: "step" (after an optimiser step), "write" (when a file's content has been written and not yet taken its
            place), "validation" (in the middle of it), or "never".
        count: at which of these moments, from 1.
    """
    torch.set_num_threads(1)
    log.draw_curves = draw_nothing  # type: ignore[attr-defined]
    left = [count]

    def deadly(function: Callable[..., Any], after: bool) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named) if after else None
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result if after else function(*arguments, **named)

        return wrapped

    if moment == "step":
        trainer.Trainer._step = deadly(trainer.Trainer._step, after=True)  # type: ignore[method-assign]
    elif moment == "write":
        os.fsync = deadly(os.fsync, after=False)
    elif moment == "validation":
        validation.read_crop = deadly(validation.read_crop, after=True)  # type: ignore[attr-defined]
    trainer.train(recipe, folder, resume=resume)
