"""The maker of crops: it makes shards that training asks for, and lets the teacher hear them.

It may be stopped at any moment, and goes on with the shard that it was at.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sound_groove.files import locked_folder
from sound_groove.inputs.crops.making import CropMaker, crop_lengths
from sound_groove.inputs.crops.pool import CropPool, CropShard
from sound_groove.recipe.schema import Recipe
from sound_groove.training.by_ear.plan import ByEarPlan, plan_by_ear
from sound_groove.training.by_ear.teacher import HearingTeacher, open_hearing_teacher
from sound_groove.training.run_folder import run_folder

IDLE_S = 2.0  # between two looks at a pool that is full


@dataclass(frozen=True)
class MadeShard:
    """What a shard cost.

    Attributes:
        number: of the shard.
        crops: in it.
        making_s: that the crops took.
        teaching_s: that the teacher took.
    """

    number: int
    crops: int
    making_s: float
    teaching_s: float

    def __str__(self) -> str:
        """For people."""
        whole = self.making_s + self.teaching_s
        return (
            f"shard {self.number}: {self.crops} crops in {whole:.0f} s ({self.crops / whole:.1f} a second), "
            f"{100 * self.teaching_s / whole:.0f} % of it the teacher's"
        )


class ShardMaker:
    """Makes shards.

    Args:
        plan: what is to be heard.
        teacher: hears it.
    """

    def __init__(self, plan: ByEarPlan, teacher: HearingTeacher) -> None:
        recipe = plan.recipe
        self._settings, self._teacher = recipe.distillation.crops, teacher
        self._keeps_frames = recipe.distillation.frame_weight > 0.0
        self._maker = CropMaker(recipe, plan.utterances, plan.labels, plan.surroundings)

    def make(self, number: int) -> tuple[CropShard, MadeShard]:
        """A shard, a function of its number; and what it cost.

        Raises:
            TrainingError, AudioError: a recording cannot be read, or the teacher fails.
        """
        steps, targets, labels, frames = {}, {}, {}, {}
        making_s = teaching_s = 0.0
        for index, length in enumerate(crop_lengths(self._settings)):
            rounds = self._settings.rounds
            started = time.monotonic()
            batches = [self._maker.make(number, index * rounds + turn, length) for turn in range(rounds)]
            steps[length] = np.concatenate([batch.steps for batch in batches])
            labels[length] = np.concatenate([batch.labels for batch in batches])
            made = time.monotonic()
            targets[length], told = self._teacher.hear(steps[length])
            if self._keeps_frames:
                assert told is not None, "the plan checks that the teacher tells them"
                frames[length] = told
            making_s, teaching_s = making_s + made - started, teaching_s + time.monotonic() - made
        shard = CropShard(steps, targets, labels, frames)
        return shard, MadeShard(number, len(shard), making_s, teaching_s)


def make_crops(
    plan: ByEarPlan,
    teacher: HearingTeacher,
    most: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Make shards as long as training may ask for some.

    Args:
        plan: what is to be heard.
        teacher: hears it.
        most: stop after so many shards, or when there are enough for now; None = never for these reasons.
        say: is given a line for each shard.

    Returns:
        How many were made.

    Raises:
        TrainingError, AudioError: a recording cannot be read, the teacher fails, or other crops are in the folder.
        OutputError: a shard cannot be written, or another process makes crops there.
    """
    pool = CropPool(plan.crops_folder, plan.recipe.distillation.crops.kept)
    pool.begin(plan.made_by)
    maker, made = ShardMaker(plan, teacher), 0
    with locked_folder(pool.folder, f"{pool.folder}: another process makes crops there already"):
        while not pool.is_done and (most is None or made < most):
            number = pool.next_missing()
            if number is not None:
                shard, cost = maker.make(number)
                pool.write(number, shard)
                made += 1
                say(str(cost))
            elif most is None:
                time.sleep(IDLE_S)
            else:
                break
    return made


def make_crops_of(
    recipe: Recipe,
    folder: str | Path | None = None,
    most: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Make the crops of a recipe; arguments and errors as for `make_crops`, and for a recipe as for training."""
    plan = plan_by_ear(recipe, run_folder(recipe, folder), trains=False)
    assert recipe.distillation.teacher is not None
    return make_crops(plan, open_hearing_teacher(recipe.distillation.teacher, plan.device), most, say)
