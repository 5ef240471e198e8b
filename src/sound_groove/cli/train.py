"""`sound-groove train`: train a recipe."""

import argparse
import shlex
import sys
from pathlib import Path

from sound_groove.errors import require_extra

EXAMPLES = """examples:
  sound-groove train recipes/corpus/ecapa-small.yaml
  sound-groove train recipes/cnceleb/6gb.yaml training.epochs=3 data.prepared=data/mine --out outputs/try
  sound-groove train recipes/cnceleb/ecapa512.yaml --resume     go on after an interruption, exactly
  sound-groove train recipes/cnceleb/ecapa512.yaml --check      say what would be trained, and stop

The run is written to outputs/<name>: checkpoints, logs, TensorBoard, curves.png. best.safetensors is the model.
"""


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb's parser."""
    parser = verbs.add_parser(
        "train",
        help="train a model",
        description="Train a model from a recipe, into a run folder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml", help="the recipe")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="settings that override the recipe's")
    parser.add_argument("--out", metavar="DIR", help="the run folder (default: outputs/<name of the recipe>)")
    parser.add_argument("--resume", action="store_true", help="go on with the run that lies there")
    parser.add_argument("--force", action="store_true", help="replace the run that lies there")
    parser.add_argument("--check", action="store_true", help="check recipe, data and machine, and stop")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, and print where the model lies."""
    require_extra(
        "Training", "train", "torch", "accelerate", "safetensors", "pydantic", "yaml", "tensorboard", "matplotlib"
    )
    from tqdm import tqdm

    from sound_groove.cli.allocator import keep_freed_memory
    from sound_groove.cli.threads import spin_briefly

    spin_briefly()  # before torch is imported
    keep_freed_memory()
    from sound_groove.configuration import load_recipe
    from sound_groove.training.preflight import preflight
    from sound_groove.training.run_folder import RunFolder
    from sound_groove.training.trainer import train

    def say(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    if arguments.check:
        folder = RunFolder(arguments.out or Path("outputs") / recipe.name)
        say(preflight(recipe, folder, arguments.resume, arguments.force).summary(recipe))
        return 0
    result = train(
        recipe,
        folder=arguments.out,
        resume=arguments.resume,
        force=arguments.force,
        command=shlex.join(["sound-groove", *sys.argv[1:]]),
        say=say,
    )
    say(
        f"best validation EER {100 * result.best_eer:.2f} % after epoch {result.best_epoch}; "
        f"curves in {result.folder / 'curves.png'}"
    )
    print(result.model)
    return 0
