"""What a stranger may write, to see that no terminal obeys it; and records that consist of nothing else."""

import io
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

# Clears the screen, renames the window, goes back, up and to the start; C1's CSI; turns the order of letters; begins
# lines in every way that there is; a tag character; a bell; what is deleted; and half a pair of UTF-16.
HOSTILE = (
    "\x1b[2J\x1b]0;x\x07 \r\x08\x0b\x0c\x1b[1A\x9b31m\x85\u2028\u2029\u202e\u2066\u200f\ufeff\U000e0041\x7f\udc9b\n"
    "FORGED  verdict same"
)
# The same where the system does not take half a pair, and where a word is one part of a path.
HOSTILE_NAME = HOSTILE.replace("\udc9b", "")
LET_THROUGH = "\n\t"


def of(kind: Any) -> Any:
    """A value of an annotated type, in which every text is hostile."""
    origin, inner = get_origin(kind), get_args(kind)
    plain: dict[Any, Any] = {str: HOSTILE, int: 3, float: 0.25, bool: False, bytes: b"", Path: Path(HOSTILE)}
    if kind in plain:
        return plain[kind]
    if kind is Any:
        return HOSTILE
    if origin is Literal:
        return inner[0]
    if origin in (Union, types.UnionType):
        return of(next(one for one in inner if one is not type(None)))
    if origin is tuple:
        return (of(inner[0]),) * 2 if inner[1:] == (...,) else tuple(map(of, inner))
    if origin in (list, Sequence):
        return [of(inner[0])] * 2
    if origin is dict or origin is Mapping:
        return {of(inner[0]): of(inner[1])}
    if kind is NDArray or origin is np.ndarray:
        return np.full(4, 0.5, np.float32)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return record(kind)
    raise AssertionError(f"no hostile value of {kind}")


def record(kind: type[Any], **given: Any) -> Any:
    """A record with hostile texts, but for the fields that are given."""
    hints = get_type_hints(kind)
    names = [one.name for one in fields(kind)] if is_dataclass(kind) else list(kind._fields)
    return kind(**{name: given[name] if name in given else of(hints[name]) for name in names})


def offences(text: str) -> set[str]:
    """What of a text a terminal might obey: characters, and lines of a stranger's own."""
    found = {repr(c) for c in text if c not in LET_THROUGH and not c.isprintable()}
    return found | {line for line in text.split("\n") if line.startswith("FORGED")}


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True
