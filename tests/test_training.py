"""Training, end to end on a tiny corpus of made-up voices: what a run leaves, and what it survives."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from costs import costs
from processes import heed_interrupts
from sound_groove.audio.reading import load_audio
from sound_groove.cli import main
from sound_groove.comparison import compare
from sound_groove.corpora.manifest import manifest_hash, read_manifest
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, ConfigurationError, OutputError
from sound_groove.files import locked_folder
from sound_groove.inputs.dataset import Batch
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.tensor_groups import GROUPS, HEAD, NETWORK, OPTIMIZER
from sound_groove.provenance import instruction_set
from sound_groove.recipe.loading import load_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.training import log
from sound_groove.training.curves import draw_curves
from sound_groove.training.preflight import preflight
from sound_groove.training.result import TrainingResult
from sound_groove.training.run_folder import RunFolder, append_rows, read_rows, truncate_rows
from sound_groove.training.schedule import learning_rate, risen
from sound_groove.training.trainer import Trainer, _accelerator, train
from sound_groove.training.validation import find_centre, validate
from training_corpus import (
    RANDOM_PARTS,
    prepare_corpus,
    recipe_file,
    rows,
    steps_text,
    tiny_recipe,
    train_until_killed,
    write_prepared,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"), features=True)


@pytest.fixture(scope="module")
def recipe(prepared: Path) -> Recipe:
    return tiny_recipe(prepared, **RANDOM_PARTS)


@pytest.mark.slow
@pytest.mark.parametrize(("every_s", "pictures"), [(20.0, [3]), (0.0, [1, 2, 3])])
def test_the_picture_is_drawn_at_the_end_and_not_after_every_short_epoch(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_s: float, pictures: list[int]
) -> None:
    drawn: list[int] = []

    def draw(path: Path, steps: list[Any], epochs: list[Any], title: str) -> None:
        assert path == tmp_path / "run" / "curves.png" and steps and title == "tiny"
        drawn.append(len(epochs))

    monkeypatch.setattr(log, "draw_curves", draw)
    monkeypatch.setattr(log, "CURVES_EVERY_S", every_s)
    train(tiny_recipe(prepared, training__epochs=3, training__batches_per_epoch=1), tmp_path / "run")
    assert drawn == pictures


@pytest.fixture(scope="module")
@costs("slow")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, list[str]]:
    """A run that came to its end, and what it said."""
    said: list[str] = []
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "draw_curves", draw_curves)
        return train(recipe, folder, command="sound-groove train tiny.yaml", say=said.append), said


# What a run leaves


def test_a_run_leaves_its_files_and_nothing_half_written(finished: tuple[TrainingResult, list[str]]) -> None:
    result, _ = finished
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "best.safetensors",
        "curves.png",
        "epochs.jsonl",
        "last.safetensors",
        "recipe.yaml",
        "run.json",
        "steps.jsonl",
        "tensorboard",
    ]
    assert result.model == result.folder / "best.safetensors"
    assert (result.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_recipe_that_a_run_keeps_is_the_resolved_one(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe
) -> None:
    assert load_recipe(finished[0].folder / "recipe.yaml") == recipe
    header = load_checkpoint(finished[0].model).header
    assert header.training["recipe"] == recipe.model_dump(mode="json")


def test_a_run_knows_its_data_its_software_and_its_command(
    finished: tuple[TrainingResult, list[str]], prepared: Path
) -> None:
    facts = json.loads((finished[0].folder / "run.json").read_text(encoding="utf-8"))
    assert facts["manifest_sha256"] == manifest_hash(prepared)
    assert facts["speakers"] == 8 and facts["utterances"] == 24 and facts["validation_utterances"] == 12
    hours = sum(u.duration_s for u in read_manifest(prepared) if u.split == "train") / 3600
    assert facts["hours"] == pytest.approx(hours, abs=6e-4)
    assert facts["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert facts["command"] == "sound-groove train tiny.yaml"
    assert facts["device"] == "cpu" and facts["cpu_threads"] == 1 and len(facts["started"]) == 1
    assert facts["precision"] == "fp32" and facts["instruction_set"] == instruction_set()
    assert facts["network_parameters"] > 50_000 and facts["head_parameters"] == 8 * 12


def test_the_log_of_steps_follows_the_schedule(finished: tuple[TrainingResult, list[str]], recipe: Recipe) -> None:
    logged = rows(finished[0].folder)
    assert [row["step"] for row in logged] == list(range(1, 11)) and finished[0].steps == 10
    assert [row["epoch"] for row in logged] == [1] * 5 + [2] * 5
    for number, row in enumerate(logged):
        assert row["place"] == pytest.approx((number + 1) / 5)
        assert row["learning_rate"] == pytest.approx(learning_rate(recipe.learning_rate, (number + 1) / 5, 2, 8))
        assert row["margin"] == pytest.approx(risen(recipe.loss.margin, number / 5))
        assert row["scale"] == 20  # a number is a scale that stays
        assert 0 <= row["accuracy"] <= 1 and math.isfinite(row["loss"]) and row["gradient_norm"] > 0
    assert logged[-1]["learning_rate"] == pytest.approx(0.0003)  # the last step has the last rate


def test_the_log_of_epochs_holds_the_means_of_the_steps(finished: tuple[TrainingResult, list[str]]) -> None:
    result, said = finished
    steps, epochs = rows(result.folder), rows(result.folder, "epochs")
    for number, row in enumerate(epochs):
        of_epoch = steps[5 * number : 5 * number + 5]
        assert row["epoch"] == number + 1 and row["step"] == 5 * number + 5
        assert row["loss"] == pytest.approx(sum(step["loss"] for step in of_epoch) / 5)
        assert row["accuracy"] == pytest.approx(sum(step["accuracy"] for step in of_epoch) / 5)
        assert row["targets"] == 4 * 3 and row["nontargets"] == 66 - 12  # 4 speakers x 3 utterances
    errors = [row["validation_eer"] for row in epochs]
    assert result.best_eer == min(errors) and result.best_epoch == 1 + errors.index(min(errors))
    assert said[0].startswith("training   8 speakers, 24 utterances")
    assert any("10 = 2 epochs x 5 batches of 8 crops of 0.5 s" in line for line in said)
    assert [line.split(":")[0] for line in said if line.startswith("epoch")] == ["epoch 1", "epoch 2"]


def test_tensorboard_can_read_the_curves(finished: tuple[TrainingResult, list[str]]) -> None:
    folder = finished[0].folder
    read = EventAccumulator(str(folder / "tensorboard")).Reload()
    losses = read.Scalars("train/loss")
    assert [event.step for event in losses] == list(range(1, 11))
    assert [event.value for event in losses] == pytest.approx([row["loss"] for row in rows(folder)], rel=1e-6)
    assert [event.step for event in read.Scalars("validation/eer")] == [5, 10]


def test_the_best_model_gives_embeddings_and_comparisons(
    finished: tuple[TrainingResult, list[str]], prepared: Path
) -> None:
    result, _ = finished
    encoder = SpeakerEncoder.load(result.model)
    assert encoder.score_map is not None and "provisional" in encoder.score_map.fitted_on
    paths = [u.paths[0] for u in read_manifest(prepared) if u.split == "validation"][:2]
    embeddings = encoder.embed([load_audio(path) for path in paths])
    assert embeddings.shape == (2, 12)
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-6)
    compared = compare(paths[0], paths[1], encoder)
    assert compared.score == pytest.approx(float(embeddings[0] @ embeddings[1]), abs=1e-5)


def test_the_best_model_is_lean_and_the_last_state_is_whole(finished: tuple[TrainingResult, list[str]]) -> None:
    result, _ = finished
    prefixes = (NETWORK, HEAD, OPTIMIZER)
    best, last = (load_checkpoint(result.folder / f"{name}.safetensors", prefixes) for name in ("best", "last"))
    assert not best.group(OPTIMIZER) and best.group(HEAD)
    assert len(last.group(OPTIMIZER)) == 3 * len(last.group(HEAD) | dict(_parameters(last.group(NETWORK))))
    assert best.header.training["validation_eer"] == result.best_eer
    assert best.header.training["epoch"] == result.best_epoch
    assert last.header.training["progress"]["epoch"] == 2


def _parameters(state: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return [(name, tensor) for name, tensor in state.items() if not name.endswith(statistics)]


@pytest.mark.slow
def test_made_up_voices_are_learnt(tmp_path: Path) -> None:
    """Enough to see that it learns: utterances that were held out are given to their voices, one of eight.

    Voices that were held out take longer, and are the demo's.
    """
    corpus = prepare_corpus(tmp_path, training=8, validation=1, utterances=9, duration_s=(1.0, 1.5))
    heard = [u for u in read_manifest(corpus) if u.split == "train"]
    held_out = [
        replace(u, key=f"again-{u.key}", speaker=f"again-{u.speaker}", split="validation")
        for u in heard
        if u.name >= "006"
    ]
    write_prepared(corpus, [u for u in heard if u.name < "006"] + held_out)
    recipe = tiny_recipe(
        corpus,
        data__sampler={"speakers": 8, "utterances": 2},
        network={"channels": 32, "embedding_size": 32, "options": {"pooled": 384}},
        loss={"scale": 15, "margin": {"initial": 0.0, "final": 0.1}},
        learning_rate={"peak": 0.0015, "final": 0.0001, "per_batch": 16, "warmup_epochs": 0.5, "decay": "cosine"},
        training__epochs=3,
        training__batches_per_epoch=18,
        validation__maximum_utterances=48,
    )
    result = train(recipe, tmp_path / "run")
    first, _, last = rows(tmp_path / "run", "epochs")
    assert last["loss"] < 0.4 * first["loss"] and last["accuracy"] > max(0.7, 0.15 + first["accuracy"])
    assert result.best_eer < 0.42  # 0.5 by chance; 0.29 to 0.33 with three other seeds
    checkpoint = load_checkpoint(tmp_path / "run" / "last.safetensors", (HEAD,))
    classes = nn.functional.normalize(checkpoint.group(HEAD)["weight"]).numpy()
    embeddings = SpeakerEncoder.load(checkpoint.path).embed([load_audio(u.paths[0]) for u in held_out])
    voices = [int(u.speaker[-4:]) for u in held_out]
    assert np.mean((embeddings @ classes.T).argmax(axis=1) == voices) > 0.4  # 0.125 by chance


# What changes nothing


def test_the_number_of_workers_changes_no_loss(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe, tmp_path: Path
) -> None:
    data = recipe.data.model_copy(update={"workers": 2})
    train(recipe.model_copy(update={"data": data}), tmp_path / "run")
    assert steps_text(tmp_path / "run") == steps_text(finished[0].folder)


@pytest.mark.slow
def test_training_touches_no_global_state_and_precisions_may_follow_each_other(prepared: Path, tmp_path: Path) -> None:
    def state() -> list[object]:
        numpy_state = np.random.get_state(legacy=False)["state"]["key"].tobytes()
        settings = (torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled())
        return [torch.get_rng_state().tolist(), numpy_state, random.getstate(), dict(os.environ), *settings]

    before = state()
    losses = []
    for number, precision in enumerate(["fp32", "bf16", "fp32"]):
        recipe = tiny_recipe(prepared, training__precision=precision, training__epochs=1, training__batches_per_epoch=2)
        train(recipe, tmp_path / f"run{number}")
        assert not AcceleratorState._shared_state and not PartialState._shared_state
        losses.append([row["loss"] for row in rows(tmp_path / f"run{number}")])
    assert state() == before
    assert losses[0] == losses[2] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_parts_of_a_batch_add_up_to_its_gradient(prepared: Path, tmp_path: Path) -> None:
    """The halves are alike, so that each has the normalisation of the whole."""
    gradients = []
    for parts in (1, 2):
        recipe = tiny_recipe(prepared, training__gradient_accumulation=parts)
        plan = preflight(recipe, RunFolder(tmp_path / "run"), resume=False, force=False)
        with _accelerator(plan) as accelerator:
            trainer = Trainer(plan, RunFolder(tmp_path / "run"), accelerator, "", lambda line: None)
            half = torch.randn(4, 8240, generator=torch.Generator().manual_seed(1)) * 0.1
            labels = torch.arange(4)
            trainer.optimizer.zero_grad = lambda: None
            row = trainer._step(Batch(half.repeat(2, 1), labels.repeat(2), torch.zeros(8), torch.zeros(8)))
            network = trainer.model.network
            gradients.append((row["loss"], [p.grad.clone() for p in network.parameters() if p.grad is not None]))
    (whole_loss, whole), (parts_loss, parts_sum) = gradients
    assert parts_loss == pytest.approx(whole_loss, rel=1e-5)
    for one, other in zip(whole, parts_sum, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5 + 1e-4 * float(one.abs().max()))


def test_margin_penalty_and_scale_rise_together_and_follow_the_accuracy_where_they_are_adaptive(
    prepared: Path, tmp_path: Path
) -> None:
    rise = {"initial": 0.1, "final": 0.2, "start_epoch": 0, "end_epoch": 2, "growth": "adaptive", "accuracy": 0.5}
    scale = {**rise, "initial": 20, "final": 30}
    recipe = tiny_recipe(prepared, loss={"margin": rise, "top_k": 3, "penalty": 0.08, "scale": scale})
    plan = preflight(recipe, RunFolder(tmp_path / "run"), resume=False, force=False)
    with _accelerator(plan) as accelerator:
        trainer = Trainer(plan, RunFolder(tmp_path / "run"), accelerator, "", lambda line: None)
        margins = []
        for accuracy in [1.0] * 80 + [0.0] * 150:
            trainer.model.follow(trainer.recipe, 0.0, trainer.progress)
            margins.append(trainer.model.head.margin)
            assert trainer.model.head.penalty == pytest.approx(0.08 * trainer.model.head.margin / 0.2)
            trainer.progress = trainer.progress.after_batch(1.0, accuracy)
            assert trainer.model.head.scale == pytest.approx(10 + 100 * trainer.model.head.margin)
            trainer.progress = trainer.progress.adapted(trainer.recipe.loss, 0.0, batches=5)
        assert trainer.model.head.top_k == 3
    # The whole way takes 2 epochs of 5 batches. It begins when 1 - 0.99^n reaches 0.5, which is after 69 right batches.
    assert margins[:69] == pytest.approx([0.1] * 69)
    assert margins[69:79] == pytest.approx([0.11 + 0.01 * number for number in range(10)])
    # After 80 right batches the mean is 0.5525; it is below 0.5 - 0.1 after 33 wrong ones.
    assert margins[79:113] == pytest.approx([0.2] * 34)
    assert margins[113:123] == pytest.approx([0.19 - 0.01 * number for number in range(10)])
    assert margins[123:] == pytest.approx([0.1] * len(margins[123:]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {
            "data__input": "features",
            "optimizer": {"kind": "sgd"},
            "data__sampler": {"kind": "shuffled", "batch_size": 6},
        },
        {"training__precision": "bf16", "training__gradient_accumulation": 2, "loss__subcenters": 2},
        {"data__sampler": {"speakers": 1, "utterances": 2}, "optimizer": {"kind": "sgd", "momentum": 0.0}},
        {"data__sampler": {"speakers": 8, "utterances": 1}, "training__gradient_clip": 0},
        {"augmentation": {"speeds": [0.9, 1.0, 1.1], "noise_probability": 1.0, "babble_share": 1.0}},
        {"data__sampler": {"kind": "shuffled", "batch_size": 40}, "training__batches_per_epoch": None},  # of 24
    ],
)
def test_other_recipes_train_as_well(prepared: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = tiny_recipe(prepared, **{"training__epochs": 1, "training__batches_per_epoch": 2, **changes})
    result = train(recipe, tmp_path / "run")
    assert 0 <= result.best_eer <= 1
    assert all(math.isfinite(row["loss"]) for row in rows(result.folder))


# Killed and resumed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "moments"),
    [
        (
            {"training__precision": "fp32"},
            # Before the first checkpoint; mending the log; validating; with the best model half written; in an epoch.
            [("step", 2), ("write", 3), ("validation", 4), ("write", 7), ("step", 1)],
        ),
        (
            {
                "training__precision": "bf16",
                "optimizer": {"kind": "sgd"},
                "data__sampler": {"kind": "shuffled", "batch_size": 6},
                "data__workers": 1,
                "training__gradient_accumulation": 2,
                "augmentation__speeds": [0.9, 1.0, 1.1],
            },
            [("step", 4), ("write", 5)],
        ),
        (
            {
                "augmentation__speeds": [0.9, 1.0],
                "training__average_epochs": 2,
                "loss": {
                    "margin": {"final": 0.3, "end_epoch": 2, "growth": "adaptive", "accuracy": 0.02},
                    "top_k": 2,
                },
                "training__epochs": 3,
                "training__batches_per_epoch": 4,
                "data__sampler": {"speakers": 4, "utterances": 2, "companions": 1},
                "stages": [{"training": {"epochs": 2, "average_epochs": 1}, "data": {"crop_frames": 80}}],
            },
            # In the first epoch of the mean, after it, at the border, and in the second stage.
            [("step", 6), ("step", 4), ("validation", 2), ("step", 1), ("write", 3)],
        ),
    ],
    ids=["fp32-adamw-pk", "bf16-sgd-shuffled-worker", "stages"],
)
def test_a_run_that_was_killed_many_times_gives_the_losses_of_one_that_was_not(
    prepared: Path, tmp_path: Path, changes: dict[str, Any], moments: list[tuple[str, int]]
) -> None:
    recipe = tiny_recipe(prepared, **RANDOM_PARTS, **changes, training__checkpoint_every=3)
    whole = train(recipe, tmp_path / "whole")
    context = get_context("forkserver")
    folder = tmp_path / "killed"
    for moment, count in (*moments, ("never", 1)):
        process = context.Process(
            target=train_until_killed, args=(recipe, str(folder), folder.exists(), moment, count), daemon=False
        )
        process.start()
        process.join(300)
        assert process.exitcode == (0 if moment == "never" else -signal.SIGKILL), (moment, count)
    assert steps_text(folder) == steps_text(whole.folder)
    for judged in ("validation_eer", "mean_validation_eer"):
        assert [row[judged] for row in rows(folder, "epochs")] == [row[judged] for row in rows(whole.folder, "epochs")]
    for name in ("best.safetensors", "last.safetensors"):
        one, other = (load_checkpoint(run / name, GROUPS) for run in (folder, whole.folder))
        assert one.hash == other.hash
        assert all(torch.equal(one.tensors[key], other.tensors[key]) for key in one.tensors | other.tensors)
    assert not list(folder.glob("*.partial")) + list(folder.glob(".*.partial"))
    assert len(json.loads((folder / "run.json").read_text(encoding="utf-8"))["started"]) > 2


@pytest.mark.slow
def test_the_command_can_be_killed_from_outside_and_interrupted_from_the_keyboard(
    prepared: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(prepared, training__checkpoint_every=2, training__batches_per_epoch=1000, training__epochs=1)
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "sound_groove", "train", str(recipe_file(recipe, tmp_path)), "data.workers=1"]

    def start(*words: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*command, "--out", str(folder), *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_interrupts,
        )

    def wait_until_saved(process: "subprocess.Popen[str]", after: float) -> int:
        last, deadline = folder / "last.safetensors", time.monotonic() + 300
        while not last.exists() or last.stat().st_mtime <= after:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.05)
        return int(load_checkpoint(last).header.training["step"])

    process = start()
    wait_until_saved(process, 0.0)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    killed_at = int(load_checkpoint(folder / "last.safetensors").header.training["step"])
    process = start("--resume")
    wait_until_saved(process, (folder / "last.safetensors").stat().st_mtime)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches the reading processes too
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 130 and printed == ""
    assert f"resumed after step {killed_at} " in said
    assert "--resume goes on from the last checkpoint" in said and said.endswith("\ninterrupted\n")
    assert "Traceback" not in said
    assert [row["step"] for row in rows(folder)] == list(range(1, len(rows(folder)) + 1))
    assert load_checkpoint(folder / "last.safetensors").header.training["step"] > killed_at


def test_an_interrupt_while_the_log_is_written_leaves_each_step_in_it_once(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = recipe.model_copy(update={"training": recipe.training.model_copy(update={"checkpoint_every": 2})})
    calls = []

    def interrupted(path: Path, rows: list[dict[str, Any]]) -> None:
        append_rows(path, rows)
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt  # as Python raises it after the call of the system that it arrived in

    monkeypatch.setattr(log, "append_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(often, tmp_path / "run")
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4]
    # The state is older than the log: what it will do again is cut off.
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").header.training["step"] == 2
    train(often, tmp_path / "run", resume=True)
    assert steps_text(tmp_path / "run") == steps_text(finished[0].folder)


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe
) -> None:
    before = steps_text(finished[0].folder)
    assert train(recipe, finished[0].folder, resume=True) == finished[0]
    assert steps_text(finished[0].folder) == before


def test_a_run_is_not_resumed_with_another_recipe_or_other_data(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe, prepared: Path, tmp_path: Path
) -> None:
    other_corpus = tmp_path / "prepared"
    other_corpus.mkdir()
    write_prepared(other_corpus, read_manifest(prepared)[1:])
    other = tiny_recipe(
        other_corpus, **{**RANDOM_PARTS, "training__dither": 0.5}, training__epochs=3, seed=4, data__workers=1
    )
    with pytest.raises(ConfigurationError) as caught:
        train(other, finished[0].folder, resume=True)
    assert sorted(problem.split(":")[0] for problem in caught.value.problems) == [
        str(other_corpus),
        "seed",
        "training.dither",
        "training.epochs",
    ]
    assert "seed: the run was started with 3, and now it is 4" in str(caught.value)


def test_a_state_that_is_damaged_is_refused(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "recipe.yaml", "steps.jsonl"):
        (folder / name).write_bytes((finished[0].folder / name).read_bytes())
    (folder / "last.safetensors").write_bytes(finished[0].model.read_bytes())  # whole, but without the optimiser
    with pytest.raises(CheckpointError, match="not a state that this run can go on from"):
        train(recipe, folder, resume=True)
    (folder / "last.safetensors").write_bytes(finished[0].model.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        train(recipe, folder, resume=True)
    (folder / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"begin it anew with --force: .*run\.json: cannot be read"):
        train(recipe, folder, resume=True)


def test_a_state_with_a_bit_that_turned_is_not_gone_on_from(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished[0].folder, tmp_path / "run"))
    content = bytearray((folder / "last.safetensors").read_bytes())
    content[-1000] ^= 1
    (folder / "last.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.safetensors: is damaged: .* is not what was written"):
        train(recipe, folder, resume=True)


def test_a_second_training_into_a_folder_is_refused_and_changes_nothing(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe, tmp_path: Path
) -> None:
    folder, new = Path(shutil.copytree(finished[0].folder, tmp_path / "run")), tmp_path / "new"
    new.mkdir()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with locked_folder(folder, ""), locked_folder(new, ""):
        for place, resume, force in ((folder, True, False), (folder, False, True), (new, False, False)):
            with pytest.raises(OutputError) as refused:
                train(recipe, place, resume, force)
            assert str(refused.value) == f"{place}: another training is at work there; choose another --out"
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before and not list(new.iterdir())


def test_a_run_says_that_it_goes_on_with_other_software(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(finished[0].folder, tmp_path / "run"))
    said: list[str] = []
    train(recipe, folder, resume=True, say=said.append)
    assert not [line for line in said if line.startswith("note: ")]
    monkeypatch.setattr("sound_groove.training.facts.code_hash", lambda: "other")
    train(recipe, folder, resume=True, say=said.append)
    assert "note: goes on with other code of the same version; what comes may differ from" in said[-1]
    state = load_checkpoint(folder / "last.safetensors", GROUPS)
    older = {**state.header.training, "versions": {**state.header.training["versions"], "torch": "1.0\x1b"}}
    save_checkpoint(folder / "last.safetensors", state.tensors, replace(state.header, training=older))
    train(recipe, folder, resume=True, say=said.append)
    assert f"note: goes on with torch {version('torch')} where it was 1.0\\x1b; " in said[-1]


def test_the_log_of_a_run_that_was_killed_while_writing_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    append_rows(path, [{"step": step, "gradient_norm": math.inf} for step in (1, 2, 3)])
    with path.open("a") as file:
        file.write('{"step": 4, "loss"')
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3]
    truncate_rows(path, "step", 2)
    append_rows(path, [{"step": 3, "gradient_norm": 1.5}])
    assert path.read_text() == (
        '{"step": 1, "gradient_norm": null}\n{"step": 2, "gradient_norm": null}\n{"step": 3, "gradient_norm": 1.5}\n'
    )


# Losses that are not numbers


@pytest.mark.slow
def test_the_command_trains_and_prints_where_the_model_lies(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe_file(tiny_recipe(prepared, training__epochs=1), tmp_path)
    folder = tmp_path / "run"
    assert main(["train", str(path), "training.batches_per_epoch=2", "--out", str(folder)]) == 0
    printed, said = capsys.readouterr()
    assert printed == f"{folder / 'best.safetensors'}\n"
    assert "epoch 1: loss" in said and "best validation EER" in said and "curves.png" in said
    assert load_recipe(folder / "recipe.yaml").training.batches_per_epoch == 2
    assert main(["train", str(path), "training.batches_per_epoch=2", "--out", str(folder)]) == 1
    assert "go on with --resume, or replace it with --force" in capsys.readouterr().err


def test_check_says_what_would_be_trained_and_writes_nothing(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = recipe_file(tiny_recipe(prepared), tmp_path)
    assert main(["train", str(path), "--check"]) == 0
    printed, said = capsys.readouterr()
    assert printed == ""
    for words in ("8 speakers, 24 utterances", "4 held-out speakers, 12 utterances", "10 = 2 epochs x 5 batches of 8"):
        assert words in said
    assert "0.06 M parameters" in said and "cpu, fp32" in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.yaml"]


def test_mistakes_end_the_command_with_1_and_wrong_use_with_2(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe_file(tiny_recipe(prepared), tmp_path)
    assert main(["train", str(path), "trainning.epochs=3", "seed=x", "--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: {path}: 2 mistakes",
        "  - seed: must be a whole number, given 'x'",
        "  - trainning: there is no such setting; did you mean 'training'?",
    ]
    assert main(["train", str(tmp_path / "missing.yaml")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["train", str(path), "--resum"])
    assert caught.value.code == 2


# Validation


def test_the_best_model_has_its_centre_and_its_validation_was_made_with_it(
    finished: tuple[TrainingResult, list[str]], recipe: Recipe, prepared: Path, tmp_path: Path
) -> None:
    best = load_checkpoint(finished[0].model)
    encoder = SpeakerEncoder.load(finished[0].model)
    training = [utterance for utterance in read_manifest(prepared) if utterance.split == "train"]
    found = find_centre(SpeakerEncoder.load(finished[0].model), training, recipe.validation, stored_features=False)
    assert best.centre is not None and found is not None and np.allclose(best.centre, found, atol=1e-5)
    held_out = [utterance for utterance in read_manifest(prepared) if utterance.split == "validation"]
    judged = validate(encoder, held_out, recipe.validation, stored_features=False)
    assert judged.eer == pytest.approx(finished[0].best_eer, abs=1e-6)
    plain = train(tiny_recipe(prepared, **RANDOM_PARTS, validation__centre_utterances=0), tmp_path / "run")
    assert load_checkpoint(plain.model).centre is None
    assert steps_text(plain.folder) == steps_text(finished[0].folder)  # training itself knows nothing of it
