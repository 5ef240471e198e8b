"""`sound-groove demo`: the whole way on made-up voices."""

import argparse
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.options import seed
from sound_groove.cli.output import say, show
from sound_groove.cli.verb import add_verb, command_line, ready_for_computing
from sound_groove.errors import require_extra
from sound_groove.percentages import rate_text

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.demo import DemoResult

EXAMPLES = """examples:
  sound-groove demo
  sound-groove demo --out /tmp/demo --seed 1

It makes up voices with a small synthesiser, prepares them, trains on them, judges the model on voices that it never
heard, and compares two recordings of each kind. It takes a few minutes on two CPU cores and downloads nothing. The
figures are those of made-up voices and say nothing about real ones.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "demo",
        "the whole way on made-up voices, in a few minutes",
        "Go the whole way on made-up voices: corpus, training, evaluation, comparison.",
        EXAMPLES,
        run,
    )
    parser.add_argument("--out", metavar="DIR", default="outputs/demo", help="folder to write (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace an earlier demo in that folder")
    parser.add_argument("--seed", type=seed, default=0, help="of every draw (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo, and print where it lies."""
    require_extra(
        "The demo",
        "train",
        "torch",
        "accelerate",
        "safetensors",
        "pydantic",
        "yaml",
        "tensorboard",
        "matplotlib",
        "sklearn",
    )
    ready_for_computing()
    from sound_groove.demo import demo

    result = demo(
        arguments.out,
        seed=arguments.seed,
        force=arguments.force,
        command=command_line(),
        say=say,
    )
    say(*_closing(result))
    show(str(result.folder.path))
    return 0


def _closing(result: "DemoResult") -> list[str]:
    """What was made, and what to try next, line by line."""
    folder, (same, different) = result.folder, result.pairs
    voices = result.metrics["interval"]["speakers"]
    made = [
        (folder.speech, "recordings of made-up voices: listen to some"),
        (folder.prepared / "manifest.jsonl", "the list of what was trained on"),
        (folder.model / "best.safetensors", "the model, of no use for real voices"),
        (folder.model / "curves.png", "how the training went"),
        (folder.evaluation / "report.html", "the evaluation with its pictures, for a browser"),
        (folder.summary, "this summary for machines"),
    ]
    width = max(len(str(path)) for path, _ in made)
    run = _program()
    words = {
        "model": shlex.quote(str(folder.model)),
        "recipe": shlex.quote(str(folder.model / "recipe.yaml")),
        "same": shlex.join([str(same.first), str(same.second)]),
        "different": shlex.join([str(different.first), str(different.second)]),
        "trials": shlex.quote(str(folder.trials)),
        "unseen": shlex.quote(str(folder.unseen)),
        "crops": shlex.quote(f"{folder.path}-crops"),
        "longer": shlex.quote(f"{folder.path}-longer"),
    }
    return [
        "",
        f"done in {sum(result.elapsed_s.values()) / 60:.1f} minutes: EER {rate_text(result.eer)} on {voices} "
        "made-up voices that the model never heard, which says nothing about real ones",
        "",
        "what was made",
        *(f"  {path!s:{width}}  {what}" for path, what in made),
        "",
        "what to try next",
        f"  {run} compare {words['same']} --model {words['model']}",
        f"  {run} compare {words['different']} --model {words['model']} --json",
        f"  {run} info {words['model']}",
        f"  {run} verify --model {words['model']} --trials {words['trials']} --audio-root {words['unseen']} "
        f"--crops 5 --crop-frames 100 --out {words['crops']}",
        f"  {run} train {words['recipe']} training.epochs=30 --out {words['longer']}",
        f"  {run} prepare --help        then your own recordings",
    ]


def _program() -> str:
    """How this program was called, as a shell understands it: a command that is copied must work."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return shlex.join([sys.executable, "-m", "sound_groove"])
    found = shutil.which("sound-groove")
    return "sound-groove" if found and Path(found).resolve() == called.resolve() else shlex.quote(str(called))
