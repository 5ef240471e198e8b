"""`sound-groove train`: train a recipe."""

import argparse
import json
from typing import TYPE_CHECKING

from sound_groove.cli.output import say, show
from sound_groove.cli.verb import add_verb, command_line, ready_for_computing
from sound_groove.errors import require_extra
from sound_groove.percentages import rate_text

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove train recipes/corpus/ecapa-small.yaml
  sound-groove train recipes/cnceleb/6gb.yaml training.epochs=3 data.prepared=data/mine --out outputs/try
  sound-groove train recipes/own/fine-tune.yaml data.prepared=data/mine --from pretrained --out outputs/mine
  sound-groove train recipes/cnceleb/ecapa512.yaml --resume     go on after an interruption, exactly
  sound-groove train recipes/cnceleb/ecapa512.yaml --check      say what would be trained, and stop

The run is written to outputs/<name>: checkpoints, logs, TensorBoard, curves.png. best.safetensors is the model.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "train",
        "train a model",
        "Train a model from a recipe, into a run folder.",
        EXAMPLES,
        run,
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml", help="the recipe")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="settings that override the recipe's")
    parser.add_argument(
        "--from",
        dest="base",
        metavar="MODEL",
        help="start from this model, 'pretrained' being the one in the package, with a new head: training.start_from",
    )
    parser.add_argument("--out", metavar="DIR", help="the run folder (default: outputs/<name of the recipe>)")
    parser.add_argument("--resume", action="store_true", help="go on with the run that lies there")
    parser.add_argument("--force", action="store_true", help="replace the run that lies there")
    parser.add_argument("--check", action="store_true", help="check recipe, data and machine, and stop")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print where the model lies."""
    require_extra(
        "Training", "train", "torch", "accelerate", "safetensors", "pydantic", "yaml", "tensorboard", "matplotlib"
    )
    ready_for_computing()
    from sound_groove.recipe.loading import load_recipe
    from sound_groove.training.trainer import check, train

    start = [] if arguments.base is None else [f"training.start_from={json.dumps(arguments.base)}"]
    recipe = load_recipe(arguments.recipe, [*arguments.overrides, *start])
    if arguments.check:
        say(*check(recipe, arguments.out, arguments.resume, arguments.force).split("\n"))
        return 0
    result = train(
        recipe,
        folder=arguments.out,
        resume=arguments.resume,
        force=arguments.force,
        command=command_line(),
        say=say,
    )
    if not result.is_main:
        return 0
    say(
        f"best validation EER {rate_text(result.best_eer)} after epoch {result.best_epoch}; "
        f"curves in {result.folder / 'curves.png'}"
    )
    show(str(result.model))
    return 0
