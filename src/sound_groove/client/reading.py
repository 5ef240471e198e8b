"""Records from JSON: what `dataclasses.asdict` made of one becomes one again."""

import dataclasses
import types
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def record_from(kind: type[Record], value: Any) -> Record:
    """A record from the object that JSON has for it.

    What the record does not know is passed over, since a newer service may tell more.

    Args:
        kind: a dataclass.
        value: as `json_reading.parse_json` gives it.

    Raises:
        ValueError: something is missing, or of another kind; the message is a clause.

    >>> from sound_groove.types import ModelIdentity
    >>> record_from(ModelIdentity, {"name": "pretrained", "hash": "c2adbd", "colour": "blue"})
    ModelIdentity(name='pretrained', hash='c2adbd')
    """
    record: Record = _record(kind, value, kind.__name__)
    return record


def _record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no object")
    found = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            found[field.name] = _value(_hints(kind)[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}.{field.name} is missing")
    return kind(**found)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(kind: Any, value: Any, where: str) -> Any:
    """A value of an annotated type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        (only,) = [one for one in inner if one is not type(None)]
        return _value(only, value, where)
    if origin is Literal:
        return _checked(value, value in inner, where)
    if origin in (tuple, list):
        return origin(_items(inner, value, where))
    if kind is Any or origin is not None:  # of a mapping its reader knows more
        return value
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, where)
    if kind is float:
        return float(_checked(value, isinstance(value, int | float) and not isinstance(value, bool), where))
    return _checked(value, type(value) is kind, where)


def _items(inner: tuple[Any, ...], value: Any, where: str) -> list[Any]:
    _checked(value, isinstance(value, list), where)
    kinds = [inner[0]] * len(value) if len(inner) == 1 or inner[1:] == (...,) else list(inner)
    _checked(value, len(kinds) == len(value), where)
    return [_value(kind, one, f"{where}[{place}]") for place, (kind, one) in enumerate(zip(kinds, value, strict=True))]


def _checked(value: Any, is_right: bool, where: str) -> Any:
    if not is_right:
        raise ValueError(f"{where} is of another kind than it should be")
    return value
