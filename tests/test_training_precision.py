"""The precision of a training run: named, or chosen for the machine, and kept to the end."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sound_groove.errors import ConfigurationError, TrainingError
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.recipe.loading import load_recipe
from sound_groove.recipe.schema import Recipe, TrainingConfiguration
from sound_groove.training import device
from sound_groove.training.device import check_agreement, choose_precision, computes_bf16, cpu_computes_bf16
from sound_groove.training.facts import run_facts
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, rows, tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


def set_instructions(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(device, "cpu_computes_bf16", lambda: there)


def short_recipe(prepared: Path, precision: str, epochs: int = 1) -> Recipe:
    return tiny_recipe(prepared, training__precision=precision, training__epochs=epochs, training__batches_per_epoch=1)


def begun_run(recipe: Recipe, folder: Path, **facts: str) -> RunFolder:
    """A run folder as the start of a run leaves it, with other facts."""
    run = RunFolder(folder)
    plan = planned(recipe, folder)
    run.start(recipe, run_facts(plan, {}, "", 1) | facts)
    return run


def planned(recipe: Recipe, folder: Path, resume: bool = False) -> TrainingPlan:
    return preflight(recipe, RunFolder(folder), resume=resume, force=False)


def said_of_device(recipe: Recipe, folder: Path, resume: bool = False) -> str:
    return planned(recipe, folder, resume).summary().splitlines()[-1].removeprefix("device     ")


def problem_of_resuming(recipe: Recipe, folder: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        planned(recipe, folder, resume=True)
    (problem,) = caught.value.problems
    return problem


LACKING = "this CPU has no instructions for"


@pytest.mark.parametrize(
    ("precision", "there", "said"),
    [
        ("auto", True, "cpu, bf16 (chosen by training.precision=auto)"),
        ("auto", False, f"cpu, fp32 (chosen by training.precision=auto, {LACKING} bf16)"),
        ("bf16", True, "cpu, bf16"),
        ("bf16", False, f"cpu, bf16 (slow: {LACKING} it, training.precision=fp32 is several times as fast)"),
        ("fp32", True, "cpu, fp32"),
        ("fp32", False, "cpu, fp32"),
    ],
)
def test_what_is_taken_and_why_is_said_before_training(
    precision: str, there: bool, said: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_instructions(monkeypatch, there)
    assert said_of_device(short_recipe(prepared, precision), tmp_path / "run") == said


def test_a_recipe_that_does_not_insist_takes_what_is_fast() -> None:
    assert TrainingConfiguration().precision == "auto"


@pytest.mark.parametrize(
    ("asked", "fast", "begun", "chosen"),
    [
        ("auto", True, None, "bf16"),
        ("auto", False, None, "fp32"),
        ("auto", True, "fp32", "fp32"),
        ("auto", False, "bf16", "bf16"),
        ("auto", False, "fp16", "fp16"),
        ("bf16", False, None, "bf16"),
        ("fp32", True, "bf16", "fp32"),  # and the preflight refuses that
    ],
)
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_auto_takes_what_the_device_is_fast_at_and_a_run_keeps_it(
    kind: str,
    asked: str,
    fast: bool,
    begun: str | None,
    chosen: str,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_instructions(monkeypatch, fast)
    # of a GPU, its own arithmetic and not the imitation of it that torch has for old ones
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: fast or including_emulation)
    recipe = short_recipe(prepared, asked)
    assert choose_precision(recipe, torch.device(kind), begun) == chosen


def test_a_device_that_nothing_tells_of_computes_in_float32(prepared: Path) -> None:
    assert not computes_bf16(torch.device("mps"))
    assert choose_precision(short_recipe(prepared, "auto"), torch.device("mps")) == "fp32"


@pytest.mark.parametrize(
    ("instructions", "supported", "there"),
    [
        ("AVX2", False, False),
        ("AVX-512 VNNI", True, False),  # oneDNN imitates bf16 there
        ("AVX-512 VNNI BF16", True, True),
        ("AVX-512 VNNI BF16 AMX", True, True),
        ("AVX-512 VNNI BF16 AMX", False, False),  # held back, as by ONEDNN_MAX_CPU_ISA
        ("SVE2 DOTPROD I8MM BF16", True, True),
        ("not known", True, False),
    ],
)
def test_both_the_processor_and_its_library_must_know_bf16(
    instructions: str, supported: bool, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "instruction_set", lambda: instructions)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert cpu_computes_bf16() == (there and torch._C._has_mkldnn)


@pytest.mark.slow
@pytest.mark.parametrize("there", [True, False])
def test_what_was_chosen_is_written_down_and_used(
    there: bool, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_instructions(monkeypatch, there)
    chosen = "bf16" if there else "fp32"
    losses = {}
    for precision in ("auto", chosen):
        folder = train(short_recipe(prepared, precision), tmp_path / precision).folder
        losses[precision] = [row["loss"] for row in rows(folder)]
        assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["precision"] == chosen
        for name in ("best", "last"):
            training = load_checkpoint(folder / f"{name}.safetensors").header.training
            assert training["precision"] == chosen
            assert training["recipe"]["training"]["precision"] == precision
        assert load_recipe(folder / "recipe.yaml").training.precision == precision
    assert losses["auto"] == losses[chosen]


@pytest.mark.slow
@pytest.mark.parametrize("began_with", [True, False])
def test_a_resumed_run_keeps_its_precision_on_another_processor(
    began_with: bool, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle on one kind of processor, gone on with on the other: the losses of the whole run."""
    recipe = short_recipe(prepared, "auto", epochs=2)
    set_instructions(monkeypatch, began_with)
    whole = rows(train(recipe, tmp_path / "whole").folder)

    def stop(line: str) -> None:
        if line.startswith("epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", say=stop)
    set_instructions(monkeypatch, not began_with)
    said: list[str] = []
    train(recipe, tmp_path / "run", resume=True, say=said.append)
    begun = "bf16" if began_with else "fp32"
    slow = f", slow: {LACKING} it, a resumed run keeps it" if began_with else ""
    assert (
        next(line for line in said if line.startswith("device")) == f"device     cpu, {begun} (as the run began{slow})"
    )
    assert rows(tmp_path / "run") == whole
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["precision"] == begun


def test_a_run_may_be_gone_on_with_by_the_name_of_what_it_chose_and_by_no_other(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_instructions(monkeypatch, False)
    folder = begun_run(short_recipe(prepared, "auto"), tmp_path / "run").path
    assert planned(short_recipe(prepared, "fp32"), folder, resume=True).precision == "fp32"
    problem = problem_of_resuming(short_recipe(prepared, "bf16"), folder)
    assert problem.startswith("training.precision: the run was started with 'fp32', and now it is 'bf16'")


def test_a_run_from_before_there_was_a_choice_goes_on_as_its_recipe_said(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun_run(short_recipe(prepared, "bf16"), tmp_path / "run")
    facts = json.loads(run.facts.read_text(encoding="utf-8"))
    del facts["precision"]
    run.facts.write_text(json.dumps(facts), encoding="utf-8")
    set_instructions(monkeypatch, False)
    assert planned(short_recipe(prepared, "auto"), run.path, resume=True).precision == "bf16"


def test_a_precision_that_cannot_be_had_any_more_is_refused(prepared: Path, tmp_path: Path) -> None:
    """A run in fp16 was begun on a GPU, and there is none here."""
    run = begun_run(short_recipe(prepared, "auto"), tmp_path / "run", precision="fp16")
    problem = problem_of_resuming(short_recipe(prepared, "auto"), run.path)
    assert problem == "training.precision: the run began with fp16, which needs a CUDA GPU; go on with it on one"


def test_processes_that_chose_differently_do_not_train_together() -> None:
    check_agreement(["bf16"])
    check_agreement(["fp32", "fp32"])
    with pytest.raises(TrainingError, match=r"different precisions \(bf16, fp32\), since their machines differ"):
        check_agreement(["fp32", "bf16", "fp32"])


def test_a_gpu_without_the_instructions_is_slow_too(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = short_recipe(prepared, "bf16")
    plan = replace(planned(recipe, tmp_path / "run"), device=torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert "bf16 (slow: this GPU has no instructions for it, " in plan.summary()
