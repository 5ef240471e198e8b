"""Reading JSON that strangers may have written: bounded in size and depth, and without what JSON readers disagree on.

Python's own reader takes NaN and Infinity for numbers, keeps the last of two equal names, and runs out of stack in
a few thousand brackets. Here each of these is a ValueError that says in a clause what is wrong, as other mistakes are.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from sound_groove.errors import printable

MOST_CHARACTERS = 20_000_000  # of a text, unless its reader says otherwise
MOST_DEPTH = 50  # of lists and objects in each other
MOST_DIGITS = 25  # of a whole number
MOST_QUOTED = 80  # characters of what is wrong


def parse_json(text: str | bytes, most: int = MOST_CHARACTERS) -> Any:
    """The value that a JSON text says.

    Args:
        text: UTF-8 where it is bytes.
        most: characters (bytes) that it may have.

    Returns:
        Dictionaries, lists, texts, finite numbers, truth values and None.

    Raises:
        ValueError: it is no JSON; or too long, too deep, with a name twice in one object, or with a number that is not
            finite. The message is a clause.

    >>> parse_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: it gives 'a' twice
    """
    if len(text) > most:
        raise ValueError(f"it has more than {most:,} characters")
    decoded = text.decode() if isinstance(text, bytes) else text
    try:
        value = _DECODER.decode(decoded)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if decoded.count("[") + decoded.count("{") > MOST_DEPTH:  # else it cannot be deep
        _check_depth(value)
    return value


def through_json(content: object) -> Any:
    """A value as it comes back when it is written as JSON and read again: tuples as lists, names as texts."""
    return parse_json(json.dumps(content))


def read_bounded(path: Path, most: int = MOST_CHARACTERS) -> bytes:
    """The content of a file that may have so many bytes.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content


def bounded_lines(file: IO[str], most: int = MOST_CHARACTERS) -> Iterator[str]:
    """The lines of a text file, with their ends.

    Raises:
        ValueError: one has more characters than `most`.
    """
    while line := file.readline(most + 1):
        if len(line) > most:
            raise ValueError(f"a line has more than {most:,} characters")
        yield line


_TOO_DEEP = f"it has lists or objects within each other, more than {MOST_DEPTH} deep"


def _check_depth(value: Any) -> None:
    layer = [value]
    for _ in range(MOST_DEPTH + 1):
        containers = [one for one in layer if isinstance(one, dict | list)]
        if not containers:
            return
        layer = [part for one in containers for part in (one.values() if isinstance(one, dict) else one)]
    raise ValueError(_TOO_DEEP)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f"it gives '{printable(twice[:MOST_QUOTED])}' twice")
    return found


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it says {text[:MOST_QUOTED]}, which is more than any number here can be")
    return value


def _int(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it says {text[:MOST_QUOTED]}, which is more than any number here can be")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"it says {text}, which is no number in JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_no_number)
