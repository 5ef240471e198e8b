"""Several training processes: the same run as one process with the same total batch."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sound_groove.corpora.manifest import read_manifest
from sound_groove.files import read_json
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.tensor_groups import GROUPS
from sound_groove.recipe.loading import dump_recipe, load_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.training.model import make_modules
from sound_groove.training.state import model_tensors
from sound_groove.training.trainer import train as train_here
from training_corpus import prepare_corpus, rows, tiny_recipe

pytestmark = pytest.mark.slow

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
    "network": {"channels": 64, "embedding_size": 16, "options": {"scale": 2, "pooled": 192}},
    "training__dither": 1.0,
    "training__average_epochs": 2,
    "training__gradient_accumulation": 2,
    # Small steps: a difference of rounding grows tenfold with every large one.
    "learning_rate": {"peak": 0.0005, "final": 0.0001, "per_batch": 32, "warmup_epochs": 0.5},
    "optimizer__kind": "sgd",  # AdamW divides gradients that are next to nothing by themselves: rounding becomes a step
}

TEACHER_SIZE = 12


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


# What starts two processes: the one the steps below, the other the command. accelerate's --cpu would start one: without
# an mpirun it does not start more on a CPU.
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")


def launch(launcher: Sequence[str], *words: str) -> str:
    """Run a program of Python by a launcher, and give what it printed."""
    command = [sys.executable, *launcher, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "FutureWarning" not in done.stderr
    return done.stdout


def train(recipe: Path, out: Path, launcher: Sequence[str]) -> None:
    """Run the command, by a launcher."""
    said = launch(launcher, "-m", "sound_groove", "train", str(recipe), "--out", str(out))
    assert said == f"{out / 'best.safetensors'}\n"  # said once


def double_steps(recipe: Path, out: Path, launcher: Sequence[str] = ()) -> dict[str, NDArray[np.float64]]:
    """Take a recipe's steps in float64; gives columns of their rows, and the weights after the last."""
    launch(launcher, str(Path(__file__).with_name("double_training.py")), str(recipe), str(out))
    with np.load(out) as arrays:
        return dict(arrays)


def write_recipe(path: Path, recipe: Recipe) -> Path:
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def with_everything(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of everything that the processes must share, a teacher's lessons among it."""
    folder = tmp_path_factory.mktemp("everything")
    more = prepare_corpus(folder / "more", training=3, validation=0, seed=60)
    known = [utterance.paths[0] for source in (prepared, more) for utterance in read_manifest(source)]
    teacher = np.random.default_rng(0).normal(size=(len(known), TEACHER_SIZE))
    np.savez(folder / "teacher.npz", path=np.array(known), emb=teacher)
    lessons = {"teacher": str(folder / "teacher.npz"), "unlabelled": str(more), "unlabelled_items": 8, "weight": 3}
    return write_recipe(folder / "recipe.yaml", tiny_recipe(prepared, **EVERYTHING, distillation=lessons))


def test_two_processes_train_as_one_does(with_everything: Path, tmp_path: Path) -> None:
    """In float64, where what remains is no rounding: every step, and the weights after the last.

    With AdamW, which lets rounding grow the most, and which is not asked to follow it to the end in float32. Measured
    without a teacher: steps 5e-13 apart after five steps, weights 5e-11. Statistics of the batch that were not shared,
    or gradients that were not summed right, would be apart in the first digits.
    """
    recipe = write_recipe(tmp_path / "recipe.yaml", load_recipe(with_everything, ["optimizer.kind=adamw"]))
    alone, together = double_steps(recipe, tmp_path / "one.npz"), double_steps(recipe, tmp_path / "two.npz", TORCHRUN)
    assert alone.keys() == together.keys()
    steps = [name for name in alone if name.startswith("step.")]
    assert len(steps) == 10 and len(alone["step.loss"]) == 10
    for name in steps:
        assert together[name] == pytest.approx(alone[name], rel=1e-8, abs=1e-10), name
    for name in alone.keys() - set(steps):
        assert np.allclose(together[name], alone[name], rtol=0, atol=1e-6 * (np.abs(alone[name]).max() + 1e-3)), name


# Rounding in float32, from 1e-7 on. A step of AdamW divides each gradient by its own size, so that where the parts of a
# gradient nearly cancel, what was rounding becomes a part of the step; and a small network with few items in a batch
# normalisation, at a high rate, takes that up. It grows tenfold or more with each step: to 5e-4 of the gradient's norm
# at the third step and 7 % at the fifth. Between two instruction sets in one process it was the same: 4e-4 and 2 %.
ROUNDED: dict[str, Any] = {
    "rel": 1e-3,
    "abs": 1e-5,
}  # of the first two steps; 8e-6 was the most, 1.2e-4 between instruction sets


def test_the_command_in_two_processes_gives_the_run_of_one(with_everything: Path, tmp_path: Path) -> None:
    train_here(load_recipe(with_everything), tmp_path / "one")
    train(with_everything, tmp_path / "two", ACCELERATE)
    assert [read_json(tmp_path / name / "run.json")["processes"] for name in ("one", "two")] == [1, 2]
    alone, together = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(alone) == len(together) == 10
    for one, two in zip(alone[:2], together[:2], strict=True):
        assert two == pytest.approx(one, **ROUNDED)
    for one, two in zip(alone, together, strict=True):  # small steps of SGD: 1.5e-3 at the most
        assert two["loss"] == pytest.approx(one["loss"], rel=0.02)
    before = model_tensors(*make_modules(load_recipe(with_everything), classes=8 * 3, teacher_size=TEACHER_SIZE))
    weights, others = (load_checkpoint(tmp_path / name / "last.safetensors", GROUPS).tensors for name in ("one", "two"))
    assert weights.keys() == others.keys()
    for name in before:
        if weights[name].is_floating_point():
            moved, apart = (weights[name] - before[name]).norm(), (weights[name] - others[name]).norm()
            assert moved > 0 and apart < 0.05 * moved + 1e-6, name  # a millionth is rounding, of weights of about 1
