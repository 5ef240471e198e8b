"""`sound-groove info`: what is in a model file."""

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove info outputs/ecapa512
  sound-groove info best.safetensors --json     everything, the recipe too
"""

LONG = ("training.recipe", "training.progress")  # only in --json


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "info",
        "what is in a model file",
        "Say what is in a model file: its network, how it was trained, and what its scores mean.",
        EXAMPLES,
        run,
    )
    parser.add_argument("model", metavar="MODEL", help="model file or run folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Read the file, build its network, and print the facts."""
    from sound_groove.errors import require_extra

    require_extra("Reading a .safetensors model", "train", "torch", "safetensors", "pydantic")
    from sound_groove.checkpoint import describe_checkpoint, load_checkpoint

    facts = describe_checkpoint(load_checkpoint(arguments.model))
    if arguments.json:
        print(json.dumps(facts, indent=2, allow_nan=False))
    else:
        rows = list(_rows(facts))
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f"{name:{width}}  {value}")
    return 0


def _rows(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The facts, one line each, nested names joined by dots; without the long ones."""
    for name, value in facts.items():
        if prefix + name in LONG:
            continue
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{name}.")
        elif value is not None and value != "":
            text = f"{value:,}" if name == "parameters" else f"{value:.6g}" if isinstance(value, float) else str(value)
            yield f"{prefix}{name}", " ".join(text.split())
