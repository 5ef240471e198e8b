"""`sound-groove train`: train a recipe."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sound_groove.cli.output import say, show
from sound_groove.cli.verb import add_verb, command_line, ready_for_computing
from sound_groove.errors import UsageError, printable, require_extra

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove train ecapa-small
  sound-groove train 6gb training.epochs=3 data.prepared=data/mine --out outputs/try
  sound-groove train fine-tune data.prepared=data/mine --from pretrained --out outputs/mine
  sound-groove train mine.yaml                                  a recipe of your own
  sound-groove train --resume outputs/ecapa512                  go on after an interruption, exactly
  sound-groove train ecapa512 --check                           say what would be trained, and stop

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
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a file, or a name of 'sound-groove recipes'")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="settings that override the recipe's")
    parser.scattered = "overrides"
    parser.add_argument(
        "--from",
        dest="base",
        metavar="MODEL",
        help="start from this model, 'pretrained' being the one in the package, with a new head: training.start_from",
    )
    parser.add_argument("--out", metavar="DIR", help="the run folder (default: outputs/<name of the recipe>)")
    parser.add_argument(
        "--resume",
        metavar="RUN",
        nargs="?",
        const="",
        help="go on with this run, by its own recipe; without RUN, with the one at --out, by the recipe that is given",
    )
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
    from sound_groove.training.validation import eer_text

    given = _given(arguments)
    start = [] if arguments.base is None else [f"training.start_from={json.dumps(arguments.base)}"]
    recipe = load_recipe(given.recipe, [*given.overrides, *start])
    if arguments.check:
        say(*check(recipe, given.out, given.resume, arguments.force).split("\n"))
        return 0
    result = train(
        recipe,
        folder=given.out,
        resume=given.resume,
        force=arguments.force,
        command=command_line(),
        say=say,
    )
    if not result.is_main:
        return 0
    say(
        f"best validation EER {eer_text(result.best_eer, result.best_interval)} after epoch {result.best_epoch}; "
        f"curves in {result.folder / 'curves.png'}"
    )
    show(str(result.model))
    return 0


class _Given(NamedTuple):
    """What is trained: the recipe, what overrides it, the folder (None: by the recipe's name), if a run goes on."""

    recipe: str
    overrides: list[str]
    out: str | None
    resume: bool


def _given(arguments: argparse.Namespace) -> _Given:
    """What a command line means, in which a word behind `--resume` may be a run, a recipe or a setting.

    Raises:
        UsageError: neither a recipe nor a run is named, or a run has no recipe.
    """
    from sound_groove.training.run_folder import RunFolder

    words = [word for word in (arguments.recipe, *arguments.overrides) if word is not None]
    resume, run = arguments.resume is not None, arguments.resume or None
    if run is not None and ("=" in run or Path(run).suffix in (".yaml", ".yml")):
        words, run = [*words, run], None
    recipe = next((word for word in words if "=" not in word), None)
    overrides = [word for word in words if word is not recipe]
    if wrong := [word for word in overrides if "=" not in word]:
        raise UsageError(
            f"'{printable(wrong[0])}' is no setting (key=value), and the recipe is '{printable(recipe or '')}'"
        )
    if run is not None:
        if recipe is not None:
            raise UsageError("give a recipe, or the run to go on with (--resume RUN), which has its own")
        own = RunFolder(run).recipe
        if not own.is_file():
            raise UsageError(f"{printable(run)}: is no run to go on with; it has no {own.name}")
        return _Given(str(own), overrides, arguments.out or run, True)
    if recipe is None:
        raise UsageError(
            "name a recipe ('sound-groove recipes' lists ready ones), or go on with a run: --resume outputs/RUN"
        )
    return _Given(recipe, overrides, arguments.out, resume)
