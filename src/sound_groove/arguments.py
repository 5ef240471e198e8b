"""Checks of arguments from Python code, so that a wrong one gets a sentence and not a traceback from deep within."""

from numbers import Integral, Real

from sound_groove.errors import UsageError, printable

LONGEST_SHOWN = 60  # characters of a wrong value


def shown(value: object) -> str:
    """A wrong value, short enough for a sentence.

    >>> shown("abc"), shown(None), shown([1, 2])
    ("'abc'", 'None', '[1, 2]')
    """
    text = printable(repr(value))
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def check_number(value: object, what: str) -> float:
    """A number.

    Args:
        value: of any type.
        what: the argument, as the start of a sentence: "the prior".

    Raises:
        UsageError: it is none.

    >>> check_number(0.5, "the prior")
    0.5
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    raise UsageError(f"{what} must be a number; {shown(value)} was given")


def check_integer(value: object, what: str) -> int:
    """A whole number; arguments and errors are those of `check_number`.

    >>> check_integer(3, "the count")
    3
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    raise UsageError(f"{what} must be a whole number; {shown(value)} was given")


def check_kind(value: object, kinds: type | tuple[type, ...], what: str, expected: str) -> None:
    """Refuse an argument of another type.

    Args:
        value: the argument.
        kinds: what it may be.
        what: the argument, as the start of a sentence.
        expected: what it may be, in words.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(value, kinds):
        raise UsageError(f"{what} must be {expected}; {shown(value)} was given")


def check_has(value: object, attribute: str, what: str, expected: str) -> None:
    """The same for an argument of a protocol, which is known by one of its methods.

    Raises:
        UsageError: it lacks that method.
    """
    if not hasattr(value, attribute):
        raise UsageError(f"{what} must be {expected}; {shown(value)} was given")
