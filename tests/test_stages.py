"""Later stages of training, and the mean of the weights of the last epochs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sound_groove.errors import CheckpointError, ConfigurationError
from sound_groove.inputs.sampler import ShuffledSampler
from sound_groove.networks.checkpoint import Checkpoint, load_checkpoint
from sound_groove.networks.tensor_groups import HEAD, NETWORK
from sound_groove.recipe.loading import dump_recipe, load_recipe, parse_recipe, stage_recipes
from sound_groove.recipe.schema import Recipe
from sound_groove.training.averaging import WeightMean
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.schedule import learning_rate, risen
from sound_groove.training.stages import line_up
from sound_groove.training.trainer import Trainer, train
from training_corpus import prepare_corpus, rows, tiny_recipe

SECOND: dict[str, Any] = {
    "data": {"crop_frames": 80, "sampler": {"speakers": 2}},
    "augmentation": {"speeds": [1.0]},
    "loss": {"margin": {"initial": 0.3, "final": 0.4, "end_epoch": 1}, "scale": 25},
    "learning_rate": {"peak": 0.001, "final": 0.0001, "warmup_epochs": 0},
    "training": {"epochs": 1, "batches_per_epoch": 4},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


def staged(prepared: Path, *stages: dict[str, Any], **changes: Any) -> Recipe:
    return tiny_recipe(prepared, augmentation={"speeds": [0.9, 1.0]}, stages=list(stages), **changes)


def problems(prepared: Path, *stages: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        staged(prepared, *stages)
    return caught.value.problems


# What a stage may be


def test_a_stage_is_the_recipe_with_some_settings_changed(prepared: Path) -> None:
    recipe = staged(prepared, SECOND)
    first, second = stage_recipes(recipe)
    assert first == recipe.model_copy(update={"stages": ()})
    assert (second.data.crop_frames, second.loss.scale.final, second.augmentation.speeds) == (80, 25, (1.0,))
    assert (second.data.sampler.speakers, second.data.sampler.utterances) == (2, 2)  # the second one as it was
    assert second.learning_rate.per_batch == first.learning_rate.per_batch
    assert (second.network, second.optimizer, second.seed) == (first.network, first.optimizer, first.seed)


def test_a_recipe_with_stages_is_written_and_read_back(prepared: Path, tmp_path: Path) -> None:
    recipe = staged(prepared, SECOND, {"training": {"epochs": 2}})
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert load_recipe(tmp_path / "recipe.yaml", ["stages=[]"]).stages == ()


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ({}, ["stages.0.training.epochs: a stage must say how long it is"]),
        ({"training": {"epochs": 0}}, ["stages.0.training.epochs: must be greater than or equal to 1, given 0"]),
        (
            {"training": {"epochs": 1}, "network": {"channels": 16}, "seed": 4},
            ["stages.0.network.channels: a stage cannot change it", "stages.0.seed: a stage cannot change it"],
        ),
        (
            {"training": {"epochs": 1}, "data": {"crop_frame": 80}},
            ["stages.0.data.crop_frame: there is no such setting; did you mean 'crop_frames'?"],
        ),
        (
            {"training": {"epochs": 1}, "augmentation": {"speeds": [1.0, 1.1]}},
            ["stages.0.augmentation.speeds: the recipe has no classes for the speed 1.1"],
        ),
    ],
)
def test_what_is_wrong_with_a_stage_is_said_with_its_number(
    prepared: Path, stage: dict[str, Any], expected: list[str]
) -> None:
    assert list(problems(prepared, stage)) == expected
    later = [problem.replace("stages.0", "stages.1") for problem in expected]
    assert list(problems(prepared, {"training": {"epochs": 1}}, stage)) == later


def test_what_does_not_fit_together_is_found_before_training(prepared: Path, tmp_path: Path) -> None:
    stage = {"training": {"epochs": 1, "gradient_accumulation": 3}, "data": {"sampler": {"speakers": 99}}}
    with pytest.raises(ConfigurationError) as caught:
        preflight(staged(prepared, stage), RunFolder(tmp_path / "run"), resume=False, force=False)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["data.sampler.speakers"]  # 198 in 3 parts
    stage = {"training": {"epochs": 1, "gradient_accumulation": 3}, "learning_rate": {"warmup_epochs": 2}}
    with pytest.raises(ConfigurationError) as caught:
        preflight(staged(prepared, stage), RunFolder(tmp_path / "run"), resume=False, force=False)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "stages.0.training.gradient_accumulation",
        "stages.0.learning_rate.warmup_epochs",
    ]


def test_stages_follow_each_other_and_count_their_own_epochs(prepared: Path) -> None:
    recipes = stage_recipes(staged(prepared, SECOND, {"training": {"epochs": 3}}))
    stages = line_up(recipes, [ShuffledSampler(24, 8, 0, batches) for batches in (5, 4, 2)], [None] * 3)
    assert [(stage.number, stage.first_epoch, stage.end_epoch, stage.steps) for stage in stages] == [
        (1, 0, 2, 10),
        (2, 2, 3, 4),
        (3, 3, 6, 6),
    ]
    assert stages[0].place(1, 2) == 1.4 and stages[1].place(2, 1) == 0.25 and stages[2].place(5, 0) == 2.0
    assert stages[1].summary() == "4 = 1 epochs x 4 batches of 4 crops of 0.8 s (0.0 h of crops)"


# How they are trained


@pytest.mark.slow
def test_each_stage_follows_its_own_schedule(prepared: Path, tmp_path: Path) -> None:
    recipe = staged(prepared, SECOND)
    said: list[str] = []
    result = train(recipe, tmp_path / "run", say=said.append)
    logged = rows(tmp_path / "run")
    assert result.steps == len(logged) == 14
    assert [row["epoch"] for row in logged] == [1] * 5 + [2] * 5 + [3] * 4
    _, second = stage_recipes(recipe)
    for number, row in enumerate(logged[10:]):
        assert row["place"] == pytest.approx(2 + (number + 1) / 4)
        assert row["learning_rate"] == pytest.approx(learning_rate(second.learning_rate, (number + 1) / 4, 1, 4))
        assert row["margin"] == pytest.approx(risen(second.loss.margin, number / 4))
    errors = [row["validation_eer"] for row in rows(tmp_path / "run", "epochs")]
    assert len(errors) == 3 and result.best_eer == min(errors)
    assert "stage 1    10 = 2 epochs x 5 batches of 8 crops" in "\n".join(said)
    assert "stage 2    4 = 1 epochs x 4 batches of 4 crops of 0.8 s" in "\n".join(said)
    told = said[next(place for place, line in enumerate(said) if line.startswith("epoch")) :]
    assert [line.split(":")[0] for line in told] == ["epoch 1", "epoch 2", told[2].split(":")[0], "epoch 3"]
    assert told[2].startswith("stage 2, steps 4 = ")


@pytest.mark.slow
def test_a_stage_reads_crops_of_its_own_length_and_draws_only_its_own_speeds(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, tuple[int, ...], set[int]]] = []
    step = Trainer._step

    def noting(self: Trainer, batch: Any) -> dict[str, Any]:
        seen.append(
            (
                self.stage.number,
                tuple(self.inputs.features(batch, 0, 0, 0).shape[:2]),
                set((batch.labels // 8).tolist()),
            )
        )
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", noting)
    train(staged(prepared, SECOND), tmp_path / "run")
    assert {shape for stage, shape, _ in seen if stage == 1} == {(8, 50)}
    assert {shape for stage, shape, _ in seen if stage == 2} == {(4, 80)}
    assert set.union(*(blocks for stage, _, blocks in seen if stage == 1)) == {0, 1}  # both speeds' classes
    assert set.union(*(blocks for stage, _, blocks in seen if stage == 2)) == {1}  # those of the speed 1.0


def parameters(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """What a gradient moves: no running statistics."""
    running = ("running_mean", "running_var", "num_batches_tracked")
    return {name: tensor for name, tensor in checkpoint.tensors.items() if not name.endswith(running)}


@pytest.mark.slow
def test_a_stage_starts_from_the_mean_of_the_last_epochs_with_a_fresh_optimiser(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[dict[str, Tensor]] = []
    after_epoch = Trainer._validate

    def noting(self: Trainer) -> Any:
        named = {f"{NETWORK}{name}": tensor for name, tensor in self.model.network.state_dict().items()}
        named |= {f"{HEAD}{name}": tensor for name, tensor in self.model.head.state_dict().items()}
        weights.append({name: tensor.clone() for name, tensor in named.items()})
        return after_epoch(self)

    monkeypatch.setattr(Trainer, "_validate", noting)
    still = {"training": {"epochs": 1, "batches_per_epoch": 1}, "learning_rate": {"peak": 1e-12, "final": 1e-12}}
    recipe = staged(prepared, still, training__epochs=4, training__average_epochs=3)
    result = train(recipe, tmp_path / "run")
    last = load_checkpoint(tmp_path / "run" / "last.safetensors", (NETWORK, HEAD, "optimizer."))
    assert {int(tensor) for name, tensor in last.tensors.items() if name.endswith(".step")} == {1}  # of AdamW
    for name, tensor in parameters(last).items():
        if not name.startswith("optimizer."):
            mean = torch.stack([epoch[name].double() for epoch in weights[1:4]]).mean(dim=0)
            assert torch.allclose(tensor.double(), mean, atol=1e-6), name
    epochs = rows(tmp_path / "run", "epochs")
    assert [row["mean_validation_eer"] is not None for row in epochs] == [False, False, False, True, True]
    judged = [row[key] for row in epochs for key in ("validation_eer", "mean_validation_eer") if row[key] is not None]
    assert result.best_eer == min(judged)


@pytest.mark.slow
def test_the_mean_is_kept_when_it_is_the_best(prepared: Path, tmp_path: Path) -> None:
    """At a rate that makes single epochs jump about, their mean is nearly always better; here it must be kept if so."""
    recipe = tiny_recipe(prepared, training__epochs=4, training__average_epochs=2)
    said: list[str] = []
    result = train(recipe, tmp_path / "run", say=said.append)
    last = rows(tmp_path / "run", "epochs")[-1]
    header = load_checkpoint(result.model).header.training
    others = [row["validation_eer"] for row in rows(tmp_path / "run", "epochs")]
    assert "(mean of 2 epochs: " in said[-1]
    assert header["averaged_epochs"] == (2 if last["mean_validation_eer"] < min(others) else 0)
    assert header["validation_eer"] == result.best_eer == min(*others, last["mean_validation_eer"])
    # The state is that of the last epoch, not the mean: whoever goes on, goes on from there.
    state = load_checkpoint(tmp_path / "run" / "last.safetensors", ("mean.",))
    half = state.tensors["mean.network.embedding.weight"] / 2
    assert not torch.equal(half, state.tensors["network.embedding.weight"])
    assert torch.allclose(half, state.tensors["network.embedding.weight"], atol=0.1)


def test_a_mean_is_that_of_numbers_and_the_last_of_counters() -> None:
    normalisation = nn.BatchNorm1d(3)
    model = nn.Sequential(nn.Linear(2, 3), normalisation)
    assert normalisation.num_batches_tracked is not None
    mean, added = WeightMean(), []
    generator = torch.Generator().manual_seed(0)
    for count in range(1, 4):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator))
            normalisation.num_batches_tracked.fill_(count)
        added.append({name: tensor.clone().numpy() for name, tensor in model.state_dict().items()})
        mean.add(model)
    mean.load_into(model)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            assert np.allclose(tensor, np.mean([weights[name] for weights in added], axis=0), atol=1e-6)
    assert int(normalisation.num_batches_tracked) == 3
    again = WeightMean(mean.sums, mean.count)
    again.add(model)
    assert again.count == 4 and mean.count == 3 and not torch.equal(again.sums["0.weight"], mean.sums["0.weight"])


@pytest.mark.slow
def test_a_state_without_the_mean_that_it_should_have_is_refused(prepared: Path, tmp_path: Path) -> None:
    from sound_groove.networks.checkpoint import save_checkpoint
    from sound_groove.networks.tensor_groups import OPTIMIZER

    recipe = tiny_recipe(prepared, training__epochs=2, training__average_epochs=2)
    train(recipe, tmp_path / "run")
    path = tmp_path / "run" / "last.safetensors"
    state = load_checkpoint(path, (NETWORK, HEAD, OPTIMIZER))
    save_checkpoint(path, state.tensors, state.header)
    with pytest.raises(CheckpointError, match="the mean of the weights is missing or not whole"):
        train(recipe, tmp_path / "run", resume=True)


def test_stages_of_one_recipe_can_be_parsed_from_plain_settings() -> None:
    recipe = parse_recipe({"name": "a", "data": {"prepared": "b"}, "stages": [{"training": {"epochs": 2}}]})
    assert [stage.training.epochs for stage in stage_recipes(recipe)] == [60, 2]
