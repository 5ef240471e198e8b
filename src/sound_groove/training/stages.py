"""The stages of a run: stretches of training, one after the other, each with settings of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, count

from sound_groove.inputs.sampler import Sampler
from sound_groove.inputs.surroundings import SurroundingsReader
from sound_groove.recipe.schema import Recipe


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage, as it will be trained.

    Attributes:
        number: from 1.
        recipe: with this stage's settings; schedules count its epochs from 0.
        sampler: draws its batches. It is given the epochs of the whole run, so that no draw is made twice.
        first_epoch: epochs of the run before it.
        surroundings: reads the recorded noise and rooms that its recipe names, if any.
    """

    number: int
    recipe: Recipe
    sampler: Sampler
    first_epoch: int
    surroundings: SurroundingsReader | None = None

    @property
    def end_epoch(self) -> int:
        """Epochs of the run until its end."""
        return self.first_epoch + self.recipe.training.epochs

    @property
    def steps(self) -> int:
        """Its optimiser steps."""
        return self.recipe.training.epochs * self.sampler.batches_per_epoch

    def place(self, epoch: int, batch: int) -> float:
        """Epochs into the stage, of a batch of an epoch of the run: what its schedules go by."""
        return epoch - self.first_epoch + batch / self.sampler.batches_per_epoch

    def summary(self) -> str:
        """What will be computed, for people."""
        batch, crop_s = self.recipe.data.sampler.total_batch, self.recipe.data.crop_frames / 100
        return (
            f"{self.steps:,} = {self.recipe.training.epochs} epochs x {self.sampler.batches_per_epoch:,} batches "
            f"of {batch} crops of {crop_s:g} s ({self.steps * batch * crop_s / 3600:.1f} h of crops)"
        )


def line_up(
    recipes: Sequence[Recipe], samplers: Sequence[Sampler], surroundings: Sequence[SurroundingsReader | None]
) -> tuple[Stage, ...]:
    """The stages of a run: the recipe of each, as `stage_recipes` gives them, its sampler and its surroundings."""
    ends = list(accumulate(recipe.training.epochs for recipe in recipes))
    columns = zip(count(1), recipes, samplers, [0, *ends], surroundings, strict=False)  # numbers and places run on
    return tuple(Stage(*column) for column in columns)
