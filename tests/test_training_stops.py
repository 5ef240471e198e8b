"""Training: what is refused before the first step, and what stops a run."""

import json
import math
import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from sound_groove.cli import main
from sound_groove.corpora.manifest import Utterance, read_manifest
from sound_groove.errors import ConfigurationError, OutputError, TrainingError
from sound_groove.inputs.augment import Augmentation
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.tensor_groups import HEAD, NETWORK, OPTIMIZER
from sound_groove.recipe.loading import load_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.trainer import Trainer, _accelerator, train
from training_corpus import (
    RANDOM_PARTS,
    prepare_corpus,
    recipe_file,
    rows,
    steps_text,
    tiny_recipe,
    write_prepared,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"), features=True)


# --- what is wrong with the recordings


def test_what_is_listed_twice_is_refused_with_its_count_and_its_first_name(prepared: Path, tmp_path: Path) -> None:
    listed = read_manifest(prepared)
    one, third = listed[0], listed[2]
    twice = [*listed, one, replace(third, key=f"{third.speaker}/again"), replace(third, key=f"{third.speaker}/more")]
    problems = problems_of(reprepared(prepared, tmp_path / "prepared", twice), tmp_path / "run")
    assert [problem for problem in problems if "listed more than once" in problem] == [
        f"{tmp_path / 'prepared'}: 1 utterance is listed more than once, the first is {one.key}; prepare again"
    ]
    assert [problem for problem in problems if "made of files" in problem] == [
        f"{tmp_path / 'prepared'}: 3 utterances are made of files that others are made of too, such as {third.key} and "
        f"{third.speaker}/again; list each file once, and prepare again"
    ]


def test_silence_is_refused_before_training_begins(prepared: Path, tmp_path: Path) -> None:
    listed = read_manifest(prepared)
    silent = []
    for number, utterance in enumerate(listed[:2]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.full(utterance.samples[0], 0.25), 16_000)
        silent.append(replace(utterance, paths=(str(path),)))
    gated = tmp_path / "gated.wav"  # silent in its middle only
    samples = np.zeros(40_000)
    samples[:2000] = 0.1
    soundfile.write(gated, samples, 16_000)
    third = replace(listed[2], paths=(str(gated),), samples=(40_000,))
    problems = problems_of(reprepared(prepared, tmp_path / "prepared", [*silent, third, *listed[3:]]), tmp_path / "run")
    assert problems == (
        f"{tmp_path / 'prepared'}: of 36 utterances that were looked at, 2 utterances are digital silence, the first "
        f"is {listed[0].key}; prepare again without --quick, which leaves them out",
    )


def test_one_recording_under_two_names_is_told_and_not_refused(prepared: Path, tmp_path: Path) -> None:
    listed = read_manifest(prepared)
    one, other = listed[0], next(u for u in listed if u.speaker != listed[0].speaker)
    copy = Path(shutil.copyfile(one.paths[0], tmp_path / "copy.wav"))
    inverted = tmp_path / "inverted.wav"  # as long, and not the same
    soundfile.write(inverted, -soundfile.read(one.paths[0])[0], 16_000)
    more = [
        replace(other, key=f"{other.speaker}/copy", paths=(str(copy),), samples=one.samples),
        replace(one, key=f"{one.speaker}/inverted", paths=(str(inverted),)),
    ]
    plan = preflight(reprepared(prepared, tmp_path / "a", [*listed, *more]), RunFolder(tmp_path / "run"), False, False)
    assert plan.notes == (
        "1 utterance is the audio of another one, 1 of them under another speaker, such as "
        f"{other.speaker}/copy, which is {one.key}",
    )
    assert f"note       {plan.notes[0]}" in plan.summary().splitlines()
    assert preflight(reprepared(prepared, tmp_path / "b", listed), RunFolder(tmp_path / "c"), False, False).notes == ()


def poison_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make the augmentation of one step return NaN."""
    calls = []

    def poisoned(self: Augmentation, waveforms: Tensor, *_: object) -> Tensor:
        calls.append(1)
        return waveforms * math.nan if len(calls) == step else waveforms

    monkeypatch.setattr(Augmentation, "__call__", poisoned)


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_stops_the_run_and_leaves_the_last_good_checkpoint(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poison_step(monkeypatch, 4)
    recipe = tiny_recipe(prepared, training__checkpoint_every=2)
    folder = tmp_path / "run"
    assert main(["train", str(recipe_file(recipe, tmp_path)), "--out", str(folder)]) == 1
    printed, said = capsys.readouterr()
    assert printed == ""
    *_, last_line = said.splitlines()
    assert last_line.startswith("error: the loss is not a finite number at step 4 (epoch 1, learning rate 0.00")
    assert str(folder / "failure.json") in last_line
    report = json.loads((folder / "failure.json").read_text(encoding="utf-8"))
    assert report["what"] == "loss" and report["step"]["step"] == 4 and report["step"]["loss"] == "nan"
    assert [row["step"] for row in report["steps_before"]] == [1, 2, 3]
    assert len(report["utterances"]) == 8 and set(report["utterances"]) <= {u.key for u in read_manifest(prepared)}
    assert report["weights_not_finite"] == [] and report["inputs_finite"] is True
    state = load_checkpoint(folder / "last.safetensors", (NETWORK, HEAD, OPTIMIZER))
    assert state.header.training["step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in state.tensors.values() if tensor.is_floating_point())
    # What was wrong has gone away: the run can go on, and ends as if nothing had happened.
    monkeypatch.undo()
    train(recipe, folder, resume=True)
    train(recipe, tmp_path / "whole")
    assert steps_text(folder) == steps_text(tmp_path / "whole")
    assert not (folder / "failure.json").exists()


@pytest.mark.slow
def test_weights_that_run_away_stop_the_run(prepared: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        prepared,
        optimizer={"kind": "sgd"},
        learning_rate={"peak": 1e38, "final": 1e30, "per_batch": 8, "warmup_epochs": 0},
        training__gradient_clip=0,
    )
    with pytest.raises(TrainingError, match=r"not a finite number at step [2-9]"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "best.safetensors").exists()


# What is refused before anything is written


def problems_of(recipe: Recipe, folder: Path, resume: bool = False, force: bool = False) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        preflight(recipe, RunFolder(folder), resume, force)
    return caught.value.problems


def test_all_that_stands_against_a_recipe_is_said_at_once(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    recipe = tiny_recipe(
        prepared,
        network__kind="ecapa_tdn",
        data__sampler={"speakers": 9, "utterances": 2},
        training__precision="fp16",
        training__gradient_accumulation=4,
        learning_rate={"peak": 1e-5, "final": 1e-4, "warmup_epochs": 3},
        data__minimum_duration_s=0.1,
    )
    found = problems_of(recipe, tmp_path / "full")
    assert [problem.split(": ")[0] for problem in found] == [
        str(tmp_path / "full"),
        "training.precision",
        "training.gradient_accumulation",
        "learning_rate.warmup_epochs",
        "learning_rate.final",
        "network.kind",
        "data.sampler.speakers",
    ]
    assert "did you mean 'ecapa_tdnn'?" in found[5]
    assert "a batch asks for 9 speakers and the corpus has 8" in found[6]
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["thesis.txt"]


def test_stored_features_do_not_go_with_what_works_on_waveforms(tmp_path: Path) -> None:
    corpus = prepare_corpus(tmp_path, training=3, validation=2, utterances=2)
    recipe = tiny_recipe(corpus, **RANDOM_PARTS, data__input="features", data__sampler={"speakers": 2, "utterances": 2})
    found = problems_of(recipe, tmp_path / "run")
    assert [problem.split(": ")[0] for problem in found] == ["augmentation", "training.dither", "data.input"]
    assert "10 utterances have no stored features; prepare with --features" in found[2]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data__sampler": {"speakers": 1, "utterances": 1}}, "data.sampler: a batch of one utterance cannot"),
        ({"training__gradient_accumulation": 8}, "training.gradient_accumulation: 8 parts of a batch of 8 are single"),
        ({"training__gradient_accumulation": 3}, "training.gradient_accumulation: 3 parts do not divide a batch of 8"),
        ({"training__device": "cuda"}, "training.device: cuda is asked for and this machine has none"),
        ({"data__minimum_duration_s": 60}, "no training utterance is left (see data.minimum_duration_s)"),
        ({"data__prepared": "nowhere"}, "data.prepared: there is no folder nowhere; make it with"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    prepared: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    if "training__device" in changes and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    (problem,) = problems_of(tiny_recipe(prepared, **changes), tmp_path / "run")
    assert expected in problem


def reprepared(prepared: Path, folder: Path, utterances: list[Utterance]) -> Recipe:
    """The tiny recipe on another choice of the utterances."""
    folder.mkdir()
    write_prepared(folder, utterances)
    return tiny_recipe(folder, data__sampler={"speakers": 1, "utterances": 2})


def test_a_corpus_that_cannot_be_trained_on_is_refused(prepared: Path, tmp_path: Path) -> None:
    listed = read_manifest(prepared)
    training = [u for u in listed if u.split == "train"]
    validation = [u for u in listed if u.split == "validation"]
    one_speaker = [u for u in training if u.speaker == training[0].speaker]
    cases = {
        "has one speaker to train on": one_speaker + validation,
        "validation needs two held-out speakers": training,
        "validation needs two": training + [u for u in validation if u.key.endswith("000")],
        "no training utterance is left": validation,
    }
    for number, (expected, utterances) in enumerate(cases.items()):
        (problem,) = problems_of(reprepared(prepared, tmp_path / str(number), utterances), tmp_path / "run")
        assert expected in problem
    both = [*training, *validation, *(replace(u, split="validation") for u in one_speaker)]
    problem, twice = problems_of(reprepared(prepared, tmp_path / "both", both), tmp_path / "run")
    assert "3 utterances are listed more than once" in twice
    assert f"1 speakers are in training and validation, such as {training[0].speaker}" in problem


def test_files_that_are_missing_or_too_short_are_found_before_the_first_step(prepared: Path, tmp_path: Path) -> None:
    listed = read_manifest(prepared)
    listed[-1] = replace(listed[-1], paths=("/nowhere/a.wav",))
    listed[0] = replace(listed[0], samples=(1599,))
    found = problems_of(reprepared(prepared, tmp_path / "prepared", listed), tmp_path / "run")
    assert "1 of 36 files looked for are missing, the first is /nowhere/a.wav" in found[0]
    assert (
        f"1 utterances have a recording shorter than 0.1 s, which cannot be read, the first is {listed[0].key}"
        in found[1]
    )


@pytest.mark.parametrize("content", ["", "[]", '{"a": "b"}', '{"a": [1]}', '{"a": 1}', '{"a": true}', "\xff"])
def test_a_damaged_speaker_table_is_refused(prepared: Path, tmp_path: Path, content: str) -> None:
    recipe = reprepared(prepared, tmp_path / "prepared", read_manifest(prepared))
    (tmp_path / "prepared" / "spk2id.json").write_text(content, encoding="latin-1")
    (problem,) = problems_of(recipe, tmp_path / "run")
    assert "spk2id.json: " in problem and "run 'sound-groove prepare' again" in problem
    (tmp_path / "prepared" / "spk2id.json").unlink()
    assert "spk2id.json: cannot be read (No such file" in problems_of(recipe, tmp_path / "run")[0]


@pytest.mark.slow
def test_every_speed_of_every_speaker_is_a_class(prepared: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(prepared, augmentation={"speeds": [0.9, 1.0, 1.1]}, training__epochs=1)
    plan = preflight(recipe, RunFolder(tmp_path / "run"), resume=False, force=False)
    assert (plan.speakers, plan.classes, plan.head_parameters) == (8, 24, 24 * recipe.network.embedding_size)
    assert "8 speakers (24 classes, by speed), 24 utterances" in plan.summary()
    assert "8 speakers, 24 utterances" in replace(plan, classes=8).summary()
    train(recipe, tmp_path / "run")
    head = load_checkpoint(tmp_path / "run" / "last.safetensors", (HEAD,)).group(HEAD)
    assert head["weight"].shape == (24, recipe.network.embedding_size)


def test_a_speaker_of_whom_all_utterances_are_too_short_gets_no_class(prepared: Path, tmp_path: Path) -> None:
    listed = read_manifest(prepared)
    gone = listed[3].speaker
    listed = [replace(u, samples=(2000,)) if u.speaker == gone else u for u in listed]
    recipe = reprepared(prepared, tmp_path / "prepared", listed)
    shortened = recipe.model_copy(update={"data": recipe.data.model_copy(update={"minimum_duration_s": 0.5})})
    plan = preflight(shortened, RunFolder(tmp_path / "run"), resume=False, force=False)
    assert plan.speakers == 7 and sorted(set(plan.labels.tolist())) == list(range(7))
    assert gone not in {u.speaker for u in plan.utterances}


@pytest.mark.slow
def test_an_earlier_run_is_replaced_only_when_asked_and_nothing_else_with_it(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    recipe = tiny_recipe(prepared, training__epochs=1, training__batches_per_epoch=1)
    assert "there is no run to resume" in problems_of(recipe, folder, resume=True)[0]
    train(recipe, folder)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / "tensorboard" / "old").touch()
    assert "holds an earlier run; go on with --resume, or replace it with --force" in problems_of(recipe, folder)[0]
    assert "give one of them" in problems_of(recipe, folder, resume=True, force=True)[0]
    again = recipe.model_copy(update={"seed": 9})
    train(again, folder, force=True)
    assert load_recipe(folder / "recipe.yaml") == again
    assert len(rows(folder)) == 1 and not (folder / "tensorboard" / "old").exists()
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_is_no_run_is_never_written_into(prepared: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(prepared)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "run.json").touch()
    for name in ("file", "folder"):
        for force in (False, True):
            assert "exists and is not a run folder" in problems_of(recipe, tmp_path / name, force=force)[0]
    assert "is a file, not a folder" in problems_of(recipe, tmp_path / "file" / "run")[0]


# What goes wrong on the way


@pytest.mark.slow
@pytest.mark.parametrize("name", ["steps.jsonl", "epochs.jsonl", "curves.png", "last.safetensors", "best.safetensors"])
def test_a_run_folder_that_cannot_be_written_stops_the_run_in_one_sentence(
    prepared: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "run"

    def spoil(line: str) -> None:
        if not line.startswith("epoch") or (folder / name).is_dir():
            return
        for path in (folder / name, folder / f"{name}.partial"):
            path.unlink(missing_ok=True)
        if name.endswith("jsonl"):
            (folder / name).symlink_to("/dev/full")  # a disk without space
        else:
            (folder / name).mkdir()
            (folder / name / "in the way").touch()

    recipe = tiny_recipe(prepared, training__batches_per_epoch=1)
    with pytest.raises(OutputError, match=name) as caught:
        # An EER that only falls, so that the best model is written after every epoch.
        train(recipe, folder, say=spoil) if name != "best.safetensors" else spoil_best(recipe, folder, spoil)
    assert "\n" not in str(caught.value)


def spoil_best(recipe: Recipe, folder: Path, spoil: Any) -> None:
    plan = preflight(recipe, RunFolder(folder), resume=False, force=False)
    with _accelerator(plan) as accelerator:
        trainer = Trainer(plan, RunFolder(folder), accelerator, "", lambda line: None)
        trainer.folder.start(recipe, trainer.facts)
        spoil("epoch")
        trainer._validate()


@pytest.mark.slow
def test_a_reading_process_that_dies_is_a_sentence(prepared: Path, tmp_path: Path) -> None:
    def kill_a_worker(line: str) -> None:
        if line.startswith("epoch"):
            for process in multiprocessing.active_children():
                process.kill()

    recipe = tiny_recipe(prepared, data__workers=1, training__epochs=3, training__batches_per_epoch=20)
    with pytest.raises(TrainingError, match=r"a reading process died.*go on with --resume and fewer data\.workers"):
        train(recipe, tmp_path / "run", say=kill_a_worker)


@pytest.mark.slow
def test_a_file_that_vanishes_on_the_way_stops_the_run_and_names_itself(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = read_manifest(prepared)
    cut = {u.key: u for u in listed if u.speaker == listed[0].speaker}  # shorter than the manifest says
    listed = [replace(u, samples=(10**6,)) if u.key in cut else u for u in listed]
    recipe = reprepared(prepared, tmp_path / "prepared", listed)
    path = recipe_file(recipe, tmp_path)
    for workers in (0, 1):
        words = [f"data.workers={workers}", "--out", str(tmp_path / f"run{workers}")]
        assert main(["train", str(path), *words]) == 1
        last_line = capsys.readouterr().err.splitlines()[-1]
        named = [u for u in cut.values() if last_line.startswith(f"error: {u.paths[0]}: has ")]
        assert len(named) == 1
        assert f"(utterance {named[0].key}); run 'sound-groove prepare' again" in last_line


# The command line
