"""How sure a verdict must be, as options; and how a verdict is shown."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sound_groove.cli.options import number
from sound_groove.cli.output import say, show, show_in_colour, show_json
from sound_groove.percentages import probability_text
from sound_groove.terminal import Colour

if TYPE_CHECKING:
    from sound_groove.comparison import Comparison
    from sound_groove.scoring.decision import DecisionRule
    from sound_groove.types import QualityWarning

VERDICTS: Mapping[str, str] = MappingProxyType(
    {"same": "same speaker", "different": "different speakers", "inconclusive": "inconclusive"}
)
COLOURS: Mapping[str, Colour] = MappingProxyType(
    {"same": "green", "different": "red", "identified": "green", "nobody": "red", "inconclusive": "yellow"}
)


def add_decision_options(parser: argparse.ArgumentParser) -> None:
    """Let a verb be told how sure a verdict must be."""
    parser.add_argument("--prior", metavar="P", type=number, default=0.5, help="default: 0.5")
    parser.add_argument(
        "--max-false-accept",
        metavar="R",
        type=number,
        help="of comparisons of different speakers, call at most this share 'same', such as 0.01",
    )
    parser.add_argument(
        "--max-false-reject",
        metavar="R",
        type=number,
        help="of comparisons of one speaker, call at most this share 'different'",
    )
    parser.add_argument(
        "--costs",
        metavar=("FA", "FR", "NONE"),
        nargs=3,
        type=number,
        help="of a wrong 'same', a wrong 'different' and no verdict (default: 1 1 0.2)",
    )


def decision_rule(arguments: argparse.Namespace) -> "DecisionRule":
    """The rule that the options ask for.

    Raises:
        UsageError: a cost or an error rate is out of range.
    """
    from sound_groove.scoring.decision import DEFAULT_COSTS, DecisionRule

    false_accept, false_reject, inconclusive = arguments.costs or DEFAULT_COSTS
    return DecisionRule(
        false_accept, false_reject, inconclusive, arguments.max_false_accept, arguments.max_false_reject
    )


def show_comparison(comparison: "Comparison", record: dict[str, Any] | None) -> None:
    """Print a comparison, as JSON where there is a record to print, and what weakens it."""
    if record is None:
        show_answer(summary(comparison), comparison.verdict)
    else:
        show_json(record)
    show_warnings(comparison.warnings)


def show_answer(lines: Sequence[str], verdict: str) -> None:
    """Print an answer, whose first line is the label and the words of its verdict, these in its colour."""
    label = "verdict      "
    show_in_colour(label, lines[0].removeprefix(label), "", COLOURS[verdict])
    show(*lines[1:])


def show_warnings(warnings: "Iterable[QualityWarning]") -> None:
    """Print warnings to stderr, one a line."""
    for warning in warnings:
        say(f"warning: {warning.message}")


def summary(comparison: "Comparison") -> tuple[str, ...]:
    """The answer for people, on a few lines."""
    from sound_groove.scoring.strength import NOT_DETECTED, evidence_text

    threshold = "" if comparison.threshold is None else f"  (even chances at {comparison.threshold:.3f})"
    fitted_on = calibration_text(comparison.collections)
    if comparison.llr is None or comparison.probability is None:
        evidence, probability = "unknown", "unknown"
    else:
        low, high = comparison.limits
        doubt = "uncalibrated, " if any(warning.code == "uncalibrated" for warning in comparison.warnings) else ""
        words = evidence_text(comparison.llr)
        evidence = f"{words}: llr {comparison.llr:.2f}  ('same' from {high:.2f}, 'different' below {low:.2f})"
        probability = f"{probability_text(comparison.probability)}  ({doubt}at a prior of {comparison.prior:g})"
    return (
        f"verdict      {VERDICTS[comparison.verdict]}",
        f"score        {comparison.score:.3f}{threshold}",
        f"evidence     {evidence}",
        f"probability  {probability}",
        f"model        {comparison.model.label}{fitted_on}",
        f"note         {NOT_DETECTED}",
    )


def calibration_text(collections: int | None) -> str:
    """How many collections stand behind a model's evidence, to be said behind its name; nothing where none does."""
    return "" if collections is None else f", calibrated on {collections} collections"
