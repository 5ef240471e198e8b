"""How the verbs print: data to stdout, talk to stderr, and nothing that a terminal would take for a command.

Text goes out line by line, so that no name in it can begin a line of its own.
"""

import json
import sys
from contextvars import ContextVar
from typing import Any

from sound_groove.errors import printable
from sound_groove.terminal import Colour, in_colour, printable_json, unguarded

errors_are_json: ContextVar[bool] = ContextVar("errors_are_json", default=False)


def tell_error(message: str) -> None:
    """Say what went wrong; where data goes out as JSON, so does this: an object with `error`.

    Args:
        message: one sentence, or a line for each mistake.
    """
    say(*f"error: {message}".split("\n"))
    if errors_are_json.get():
        show_json({"error": message})


def show(*lines: str, at_once: bool = False) -> None:
    """Print data for people, or one word for scripts.

    Args:
        lines: without their ends; what is not printable in them is escaped, newlines too.
        at_once: let them leave the process now, and not when it ends or has more to print.
    """
    sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))
    if at_once:
        sys.stdout.flush()


def show_in_colour(before: str, text: str, after: str, colour: Colour) -> None:
    """Print a line for people, a part of it in colour on a terminal; what is not printable in it is escaped.

    It leaves the process now.
    """
    stream = unguarded(sys.stdout)
    stream.write(f"{printable(before)}{in_colour(printable(text), colour, stream)}{printable(after)}\n")
    stream.flush()


def show_script(text: str) -> None:
    """Print a text of several lines for another program; nothing in it is escaped but what a terminal would obey."""
    sys.stdout.write(f"{text.rstrip()}\n")


def prints_on_terminal() -> bool:
    """Whether what is shown goes to a terminal."""
    return sys.stdout.isatty()


def talks_on_terminal() -> bool:
    """Whether what is said goes to a terminal."""
    return sys.stderr.isatty()


def show_json(content: Any, indent: int | None = 2, at_once: bool = False) -> None:
    """Print data for machines, as one JSON value that says exactly what there is.

    Args:
        content: what JSON can hold.
        indent: of what lies within it; None for all on one line.
        at_once: let it leave the process now, as in `show`.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot say.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(printable_json(text) + "\n")
    if at_once:
        sys.stdout.flush()


def say(*lines: str) -> None:
    """Talk to a person, above a progress bar if one is shown.

    Args:
        lines: without their ends; what is not printable in them is escaped, newlines too.
    """
    bars = sys.modules.get("sound_groove.progress")  # where nothing has loaded it, no bar is shown
    text = "\n".join(map(printable, lines))
    if bars is None:
        sys.stderr.write(f"{text}\n")
    else:
        bars.say_above_bars(text)
