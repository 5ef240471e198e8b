"""`sound-groove crops`: make the crops that a training by ear visits."""

import argparse
from typing import TYPE_CHECKING

from sound_groove.cli.options import positive_integer
from sound_groove.cli.output import say, show
from sound_groove.cli.verb import add_verb, ready_for_computing
from sound_groove.errors import require_extra

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove crops recipes/corpus/by-ear.yaml &           make crops as long as training asks for them
  sound-groove train recipes/corpus/by-ear.yaml             and train on them, in another process
  sound-groove crops recipes/corpus/by-ear.yaml --shards 2  make two shards at most, and stop

For recipes with distillation.of: crop. The shards lie in distillation.crops.folder, by default in the run folder.
Stopped at any moment, it goes on with the shard that it was at; it ends when training has no more use for crops.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "crops",
        "make crops for a training by ear",
        "Make augmented crops, let the teacher of a recipe hear them, and keep both for its training.",
        EXAMPLES,
        run,
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml", help="the recipe")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="settings that override the recipe's")
    parser.add_argument("--out", metavar="DIR", help="the run folder (default: outputs/<name of the recipe>)")
    parser.add_argument(
        "--shards", metavar="N", type=positive_integer, help="stop after so many, or when there are enough for now"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make crops, and print how many shards were made."""
    require_extra("Making crops", "train", "torch", "safetensors", "pydantic", "yaml")
    ready_for_computing()
    from sound_groove.recipe.loading import load_recipe
    from sound_groove.training.by_ear.maker import make_crops_of

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    show(str(make_crops_of(recipe, arguments.out, arguments.shards, say)))
    return 0
