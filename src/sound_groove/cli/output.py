"""How the verbs print: data to stdout, talk to stderr, and nothing that a terminal would take for a command.

Text goes out line by line, so that no name in it can begin a line of its own.
"""

import json
import sys
from contextvars import ContextVar
from typing import Any

from sound_groove.errors import printable
from sound_groove.terminal import printable_json

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


def show_json(content: Any, indent: int | None = 2) -> None:
    """Print data for machines, as one JSON value that says exactly what there is.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot say.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(printable_json(text) + "\n")


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
