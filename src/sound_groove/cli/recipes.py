"""`sound-groove recipes`: the recipes that come with the package."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.output import say, show
from sound_groove.cli.verb import add_verb
from sound_groove.errors import OutputError, UsageError, nearest, printable
from sound_groove.terminal import columns_of, padded

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove recipes                          their names, and what each is for
  sound-groove recipes show fine-tune           print one
  sound-groove recipes copy fine-tune           into fine-tune.yaml, to change it
  sound-groove train fine-tune data.prepared=data/mine --from pretrained --out outputs/mine
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    short = "ready recipes: list, show, copy"
    parser = add_verb(verbs, "recipes", short, "The recipes that come with the package.", EXAMPLES)
    parser.usual = "list"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_verb(actions, "list", "their names, and what each is for", "List the recipes.", "", _list)
    shown = add_verb(actions, "show", "print one", "Print a recipe.", "", _show)
    copied = add_verb(actions, "copy", "copy one, to change it", "Copy a recipe into a file of your own.", "", _copy)
    for action in (shown, copied):
        action.add_argument("name", metavar="NAME", help="of the recipe, as 'sound-groove recipes' lists them")
    copied.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the new file (default: NAME.yaml)")
    copied.add_argument("--force", action="store_true", help="replace the file that is there")


def _list(arguments: argparse.Namespace) -> int:
    from sound_groove.recipe.shipped import shipped_recipes

    found = shipped_recipes()
    width = max(map(columns_of, found))
    folder = ""
    for name, path in found.items():
        if path.parent.name != folder:
            folder = path.parent.name
            show(f"{folder}:")
        show(f"  {padded(name, width)}  {_about(path)}")
    return 0


def _about(path: Path) -> str:
    """The first sentence of the comment that a recipe begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    return " ".join(lines).split(". ")[0].split(":")[0].rstrip(".")


def _show(arguments: argparse.Namespace) -> int:
    show(*_found(arguments.name).read_text(encoding="utf-8").splitlines())
    return 0


def _copy(arguments: argparse.Namespace) -> int:
    from sound_groove.files import replaced_bytes

    source = _found(arguments.name)
    target: Path = arguments.file or Path(source.name)
    if target.exists() and not arguments.force:
        raise OutputError(f"{printable(str(target))}: is there already; give --force to replace it, or another name")
    with replaced_bytes(target) as file:
        file.write(source.read_bytes())
    say(f"change it, then: sound-groove train {printable(str(target))}")
    show(str(target))
    return 0


def _found(name: str) -> Path:
    """The recipe of this name.

    Raises:
        UsageError: there is none.
    """
    from sound_groove.recipe.shipped import shipped_recipes

    known = shipped_recipes()
    if name not in known:
        raise UsageError(f"there is no recipe '{printable(name)}'; {nearest(name, list(known))}")
    return known[name]
