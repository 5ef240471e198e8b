"""How figures, intervals and names are written for people, in the terminal and on the page."""

from collections.abc import Mapping
from typing import Any

from sound_groove.percentages import rate_text

PERCENT, PLAIN = "percent", "plain"


def number(value: float, form: str) -> str:
    """A value as PERCENT or PLAIN.

    >>> number(0.0712, PERCENT), number(0.0712, PLAIN)
    ('7.12 %', '0.071')
    """
    return rate_text(value) if form == PERCENT else f"{value:.3f}"


def value_text(figure: Mapping[str, Any] | float | None, form: str) -> str:
    """The value of a figure of metrics.json, '-' where it has none."""
    value = figure["value"] if isinstance(figure, Mapping) else figure
    return "-" if value is None else number(value, form)


def interval_text(figure: Mapping[str, Any] | float | None, form: str) -> str:
    """The interval of a figure of metrics.json, empty where it has none.

    >>> interval_text({"value": 0.07, "low": 0.06, "high": 0.08}, PERCENT)
    '[6.00, 8.00 %]'
    """
    if not isinstance(figure, Mapping) or figure.get("low") is None:
        return ""
    low, high = number(figure["low"], form), number(figure["high"], form)
    return f"[{low.removesuffix(' %')}, {high}]"
