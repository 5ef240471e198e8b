r"""What may leave for a terminal, decided in one place for all that is printed, told, complained of or drawn.

Names, paths, recipes, model files and lists are written by strangers. A control character in one of them can move a
terminal's cursor and write over a verdict, a bidirectional override can turn what is read, a line separator can begin a
line of its own. `printable` (in `errors`) escapes whatever is not a letter, digit, mark, symbol or plain space;
here it is applied to whole texts, to JSON, and to the streams of a process, so that nothing gets around it.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal, TextIO, cast
from unicodedata import category, east_asian_width

from sound_groove.errors import printable


def printable_text(text: str) -> str:
    r"""Text of several lines, with everything escaped that is no newline, tab, or printable.

    >>> printable_text("one\n\ttwo\x1b[A")
    'one\n\ttwo\\x1b[A'
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def printable_json(text: str) -> str:
    r"""JSON that means the same, with everything escaped that is not printable, as JSON escapes it.

    Only strings can hold such characters: json.dumps itself escapes those below the space.

    >>> import json
    >>> printable_json(json.dumps("a\x9b\u202e\U000e0001", ensure_ascii=False))
    '"a\\u009b\\u202e\\udb40\\udc01"'
    """
    return "".join(c if c == "\n" or c.isprintable() else _json_escape(c) for c in text)


def columns_of(text: str) -> int:
    """How many columns of a terminal a printable text takes: a wide character (Unicode's UAX 11) two, a mark none.

    >>> columns_of("anna"), columns_of("小明"), columns_of("e\u0301")
    (4, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(0 if category(c) in ("Mn", "Me") else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def padded(text: str, columns: int) -> str:
    """A printable text with spaces behind it, so that it takes so many columns of a terminal.

    >>> padded("小明", 6) + "|"
    '小明  |'
    """
    return text + " " * (columns - columns_of(text))


Colour = Literal["red", "green", "yellow"]
_CODES = {"red": 31, "green": 32, "yellow": 33}


def in_colour(text: str, colour: Colour, stream: IO[str]) -> str:
    """A printable text in bold and a colour, where a stream is a terminal that shows them and nobody objects.

    The environment variable NO_COLOR objects (https://no-color.org), and so does TERM=dumb.
    """
    environment = os.environ
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb" or not stream.isatty():
        return text
    if os.name == "nt" and "WT_SESSION" not in environment:  # an older console shows the codes themselves
        return text
    return f"\x1b[1;{_CODES[colour]}m{text}\x1b[0m"


def _json_escape(character: str) -> str:
    """One character as UTF-16 has it, a surrogate as itself."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class GuardedStream:
    """A text stream that lets only printable characters, newlines and tabs through; all else is the stream's own.

    Attributes:
        unguarded: the stream.
    """

    def __init__(self, unguarded: IO[str]) -> None:
        self.unguarded = unguarded

    def write(self, text: str) -> int:
        """Write what may be written of a text; gives the text's length."""
        self.unguarded.write(printable_text(text))
        return len(text)

    def writelines(self, lines: "Iterator[str]") -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard stdout and stderr of this process while the block runs, whoever writes to them."""
    before = sys.stdout, sys.stderr
    for stream in before:
        # A file name that the terminal cannot show must not become an error of its own.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (cast(TextIO, GuardedStream(unguarded(stream))) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def unguarded(stream: IO[str]) -> IO[str]:
    """The stream behind a guarded one; another is given back as it is.

    For what moves the cursor on purpose, and has escaped its words before.
    """
    return stream.unguarded if isinstance(stream, GuardedStream) else stream
