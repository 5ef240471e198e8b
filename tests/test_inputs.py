"""What the network is given does not depend on where it was made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sound_groove.inputs.dataset import training_batches
from sound_groove.networks.features import KaldiFbank, Normalization
from sound_groove.recipe.schema import Recipe
from sound_groove.synthesis.batch_draws import SharedBatch
from sound_groove.synthesis.draws import BLOCK, Draw, uniform
from sound_groove.training.inputs import StageInputs
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from training_corpus import prepare_corpus, tiny_recipe

CPU = torch.device("cpu")


def planned(folder: Path) -> tuple[Recipe, TrainingPlan]:
    """A recipe in which every augmentation is on."""
    recipe = tiny_recipe(
        prepare_corpus(folder / "corpus"),
        augmentation={
            "speeds": [0.9, 1.0, 1.1],
            "noise_probability": 0.7,
            "reverberation_probability": 0.5,
            "telephone_probability": 0.3,
            "masking": {"time_masks": 1, "frequency_masks": 1},
        },
        training__dither=1.0,
    )
    return recipe, preflight(recipe, RunFolder(folder / "run"), resume=False, force=False)


def inputs_of(plan: TrainingPlan, processes: int = 1) -> StageInputs:
    return StageInputs(plan.stages[0], plan, SharedBatch(0, processes, lambda own: own, CPU), CPU)


def test_reading_processes_make_the_features_that_the_training_process_would(tmp_path: Path) -> None:
    _, plan = planned(tmp_path)
    inputs, sampler = inputs_of(plan), plan.stages[0].sampler
    here, there = (
        list(training_batches(inputs.source(workers), sampler, range(2), workers=workers)) for workers in (0, 2)
    )
    assert len(here) == len(there) == 2 * sampler.batches_per_epoch > 2
    for number, (crops, ready) in enumerate(zip(here, there, strict=True)):
        features = inputs.features(crops, *divmod(number, sampler.batches_per_epoch))
        assert features.ndim == 3 and crops.inputs.ndim == 2
        assert torch.equal(ready.inputs, features)
        assert torch.equal(inputs.features(ready, 0, 0), features)  # as it is
        assert torch.equal(ready.labels, crops.labels) and torch.equal(ready.utterances, crops.utterances)


def test_one_of_several_processes_makes_its_features_itself(tmp_path: Path) -> None:
    inputs = inputs_of(planned(tmp_path)[1], processes=2)
    assert inputs.source(2) is inputs.reader


def test_a_floor_is_laid_below_the_level_of_each_crop(tmp_path: Path) -> None:
    recipe = tiny_recipe(prepare_corpus(tmp_path / "corpus"), network__floor_db=40.0)
    plan = preflight(recipe, RunFolder(tmp_path / "run"), resume=False, force=False)
    inputs = inputs_of(plan)
    batch = next(iter(training_batches(inputs.source(0), plan.stages[0].sampler, range(1), workers=0))).to(CPU)
    expected = Normalization(40.0)(KaldiFbank()(batch.inputs))
    assert torch.allclose(inputs.features(batch, 0, 0), expected, atol=1e-3)
    quieter = replace(batch, inputs=batch.inputs * 10 ** (-45 / 20))
    assert torch.allclose(inputs.features(quieter, 0, 0), expected, atol=1e-2)


def test_silence_lies_behind_each_crop_as_behind_each_recording(tmp_path: Path) -> None:
    recipe = tiny_recipe(prepare_corpus(tmp_path / "corpus"), network__floor_db=40.0, network__silence_share=0.5)
    plan = preflight(recipe, RunFolder(tmp_path / "run"), resume=False, force=False)
    inputs = inputs_of(plan)
    batch = next(iter(training_batches(inputs.source(0), plan.stages[0].sampler, range(1), workers=0))).to(CPU)
    crops, samples = batch.inputs.shape
    padded = torch.cat((batch.inputs, torch.zeros(crops, round(0.5 * samples))), dim=1)
    found = inputs.features(batch, 0, 0)
    assert torch.allclose(found, Normalization(40.0)(KaldiFbank()(padded)), atol=1e-3)
    silent = found[:, -(samples // 2 // 160 - 3) :]
    assert torch.allclose(silent, silent[:, :1], atol=1e-4)  # digital silence is the same everywhere


def test_single_draws_are_even_and_do_not_follow_each_other() -> None:
    drawn = np.array([uniform(3, Draw.CROP_PLACE, 5, place) for place in range(20 * BLOCK)])
    counts, _ = np.histogram(drawn, 16, (0.0, 1.0))
    assert (abs(counts - len(drawn) / 16) < 5 * np.sqrt(len(drawn) / 16)).all()
    others = [
        [uniform(3, Draw.CROP_PLACE, 6, place) for place in range(len(drawn))],  # the next epoch
        [uniform(3, Draw.SPEED, 5, place) for place in range(len(drawn))],
        [uniform(4, Draw.CROP_PLACE, 5, place) for place in range(len(drawn))],
        np.roll(drawn, 1),
        np.roll(drawn, BLOCK),
    ]
    for other in others:
        assert abs(np.corrcoef(drawn, np.asarray(other))[0, 1]) < 5 / np.sqrt(len(drawn))
