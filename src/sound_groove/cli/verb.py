"""What the verbs have in common: how a parser is added, and what a process does before it computes."""

import argparse
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from sound_groove.cli.allocator import keep_freed_memory
from sound_groove.cli.threads import spin_briefly

if TYPE_CHECKING:
    from sound_groove.cli.parser import Parser

    Verbs = argparse._SubParsersAction[Parser]


def add_verb(
    verbs: "Verbs",
    name: str,
    short: str,
    description: str,
    epilog: str,
    run: Callable[[argparse.Namespace], int] | None = None,
) -> "Parser":
    """Add a verb, or a verb of a verb.

    Args:
        verbs: what the verb is to be one of.
        name: its word.
        short: what it does, for the list of verbs.
        description: what it does, for its own help.
        epilog: examples, printed as they are written.
        run: does the work; None where verbs of its own do.

    Returns:
        Its parser, without options yet.
    """
    parser = verbs.add_parser(
        name,
        help=short,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def command_line() -> str:
    """The command line of this process, as it is recorded beside results."""
    return shlex.join(["sound-groove", *sys.argv[1:]])


def ready_for_computing() -> None:
    """Let this process compute with a network at full speed; to be called before torch is imported."""
    spin_briefly()
    keep_freed_memory()
