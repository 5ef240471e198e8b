"""The figures of one model on several trial lists, as one table for the terminal."""

from collections.abc import Mapping
from typing import Any

from sound_groove.errors import printable
from sound_groove.evaluation.figure_texts import PERCENT, PLAIN, interval_text, value_text
from sound_groove.evaluation.report.page import explained

COLUMNS = (("eer", "EER", PERCENT), ("min_dcf", "minDCF 0.01", PLAIN), ("min_dcf_05", "minDCF 0.05", PLAIN))


def table_of_lists(of_each: Mapping[str, dict[str, Any]]) -> list[str]:
    """A line for each list, and below them what a reader should know, line by line.

    Where trials were scored in several ways, a list has a line for each.

    Args:
        of_each: by the name of a list, what its metrics.json holds.
    """
    rows = [["list", "trials", "speakers", "scoring", *(name for _, name, _ in COLUMNS)]]
    for name, metrics in of_each.items():
        counts = (f"{metrics['trials']:,}", f"{metrics['interval']['speakers']:,}")
        for scoring, figures in metrics["scorings"].items():
            rows.append([name, *counts, scoring, *(_cell(figures[key], form) for key, _, form in COLUMNS)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first = next(iter(of_each.values()))
    lines = [printable(first["model"]["name"]), ""]
    for row in rows:
        cells = zip(row, widths, strict=True)
        lines.append("  " + "  ".join(cell.ljust(width) for cell, width in cells).rstrip())
    if first["interval"]["resamples"]:
        lines += ["", *(f"  {name}: [low, high]: {explained(each['interval'])}" for name, each in of_each.items())]
    return lines + [f"  {name}: note: {note}" for name, metrics in of_each.items() for note in metrics["notes"]]


def _cell(figure: dict[str, Any], form: str) -> str:
    return f"{value_text(figure, form)} {interval_text(figure, form)}".rstrip()
