"""Several training processes: the same run as one process with the same total batch."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sound_groove.checkpoint import GROUPS, load_checkpoint
from sound_groove.data.manifest import read_manifest
from sound_groove.files import read_json
from sound_groove.recipes import dump_recipe, load_recipe
from sound_groove.training.model import make_modules
from sound_groove.training.state import model_tensors
from sound_groove.training.trainer import train as train_here
from training_corpus import prepare_corpus, rows, tiny_recipe

EVERYTHING: dict[str, Any] = {
    "data__sampler": {"kind": "pk", "speakers": 8, "utterances": 4, "companions": 1},
    "augmentation": {
        "speeds": [0.9, 1.0, 1.1],
        "noise_probability": 0.7,
        "babble_share": 0.5,
        "reverberation_probability": 0.5,
        "rt60_s": [0.1, 0.3],
        "telephone_probability": 0.3,
        "gain_db": [-6, 6],
        "masking": {"time_masks": 1, "frequency_masks": 1},
    },
    "loss__margin": {"final": 0.1, "end_epoch": 2, "growth": "adaptive", "accuracy": 0.0},
    "loss__top_k": 2,
    "network": {"channels": 64, "embedding_size": 16},
    "training__dither": 1.0,
    "training__average_epochs": 2,
    "training__gradient_accumulation": 2,
    # Small steps: a difference of rounding grows tenfold with every large one.
    "learning_rate": {"peak": 0.0005, "final": 0.0001, "per_batch": 32, "warmup_epochs": 0.5},
    "optimizer__kind": "sgd",  # AdamW divides gradients that are next to nothing by themselves: rounding becomes a step
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


# What starts two processes. accelerate's --cpu would start one: without an mpirun it does not start more on a CPU.
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")


def train(recipe: Path, out: Path, launcher: Sequence[str] = ()) -> None:
    """Run the command, by a launcher."""
    command = [sys.executable, *launcher, "-m", "sound_groove", "train", str(recipe), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'best.safetensors'}\n"  # said once
    assert "FutureWarning" not in done.stderr


def test_two_processes_train_as_one_does_with_the_same_total_batch(prepared: Path, tmp_path: Path) -> None:
    more = prepare_corpus(tmp_path / "more", training=3, validation=0, seed=60)
    known = [utterance.paths[0] for folder in (prepared, more) for utterance in read_manifest(folder)]
    np.savez(tmp_path / "teacher.npz", path=np.array(known), emb=np.random.default_rng(0).normal(size=(len(known), 12)))
    lessons = {"teacher": str(tmp_path / "teacher.npz"), "unlabelled": str(more), "unlabelled_items": 8, "weight": 3}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(tiny_recipe(prepared, **EVERYTHING, distillation=lessons)), encoding="utf-8")
    train(recipe, tmp_path / "one")
    train(recipe, tmp_path / "two", TORCHRUN)
    alone, together = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(alone) == len(together) == 10
    for one, two in zip(alone, together, strict=True):
        assert two == pytest.approx(one, rel=5e-3, abs=1e-5)
    recipe_there = load_recipe(recipe)
    before = model_tensors(*make_modules(recipe_there, classes=8 * 3, teacher_size=12))
    weights, others = (load_checkpoint(tmp_path / name / "last.safetensors", GROUPS).tensors for name in ("one", "two"))
    assert weights.keys() == others.keys()
    for name in before:
        if weights[name].is_floating_point():
            moved, apart = (weights[name] - before[name]).norm(), (weights[name] - others[name]).norm()
            assert moved > 0 and apart < 0.05 * moved + 1e-6, name  # a millionth is rounding, of weights of about 1


def test_accelerate_launches_the_same_run(prepared: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(tiny_recipe(prepared, training__epochs=1)), encoding="utf-8")
    train_here(load_recipe(recipe), tmp_path / "one")
    train(recipe, tmp_path / "two", ACCELERATE)
    assert [read_json(tmp_path / name / "run.json")["processes"] for name in ("one", "two")] == [1, 2]
    for one, two in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=5e-3, abs=1e-5)
