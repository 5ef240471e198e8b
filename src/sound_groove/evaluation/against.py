"""Two systems on the same trials of the same speakers: by how much do their figures differ, and is that luck?

Intervals of two systems may overlap and the difference be certain all the same, since a speaker who is hard for one is
hard for the other. Both are therefore measured on the same draws of speakers, and the interval is that of the
difference (Bisani & Ney 2004 for paired draws; Bolle, Ratha & Pankanti 2004 for drawing people instead of trials).
"""

from dataclasses import replace
from typing import Any

from sound_groove.errors import printable
from sound_groove.evaluation.figure_texts import PERCENT, PLAIN, number
from sound_groove.evaluation.figures import values_of
from sound_groove.evaluation.intervals import with_intervals
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.other_scores import OtherScores
from sound_groove.progress import ProgressBar

COMPARED = {"eer": "EER", "min_dcf": "minDCF 0.01", "min_dcf_05": "minDCF 0.05", "cllr": "Cllr"}


def compare(judged: JudgedList, other: OtherScores) -> dict[str, Any]:
    """The figures of two systems and their differences, below 0 where this system errs less.

    Args:
        judged: the list, judged by this system; trials that the other file lacks are left out, for both systems.
        other: the other system's scores of these trials.

    Returns:
        What metrics.json holds below `against`. There is a Cllr where both systems have log-likelihood ratios.

    Raises:
        MetricError: the trials that both have scores of are all of one kind.
    """
    both_llrs = judged.llrs is not None and other.llrs is not None
    systems = [
        replace(judged, scores=scores, llrs=llrs if both_llrs else None).part(~other.lacking)
        for scores, llrs in ((judged.scores, judged.llrs), (other.scores, other.llrs))
    ]
    values = [values_of(system.curve, system.curve, system.cllr) for system in systems]
    # What is drawn hangs on labels, speakers and seed alone.
    pairs = zip(*(system.resampled() for system in systems), strict=True)
    drawn = ProgressBar(pairs, "comparing", judged.resamples, unit="draw", leave=False, disable=None)
    differences = [_less(*(values_of(one.roc, one.roc, one.cllr) for one in pair)) for pair in drawn]
    figures = {
        name: {"this": values[0][name], "other": values[1][name], "difference": difference}
        for name, difference in with_intervals(_less(*values), differences).items()
    }
    return {
        "path": str(other.path),
        "sha256": other.sha256,
        "trials": len(systems[0]),
        "figures": dict.fromkeys(COMPARED) | figures,
    }


def describe_comparison(against: dict[str, Any]) -> list[str]:
    """The comparison in words, a line for each figure.

    Args:
        against: what `compare` gave.
    """
    lines = [f"against {printable(against['path'])}, {against['trials']:,} trials:"]
    for name, figure in against["figures"].items():
        if figure is not None:
            factor, form = (100, ".2f") if name == "eer" else (1, ".3f")
            this, other = (number(figure[side], PERCENT if name == "eer" else PLAIN) for side in ("this", "other"))
            value, low, high = (figure["difference"][key] for key in ("value", "low", "high"))
            line = f"  {COMPARED[name]:<12} {this:>9} against {other}: {factor * value:+{form}}"
            if low is not None:
                shown = low > 0 or high < 0
                verdict = "a difference that these speakers show" if shown else "which these speakers cannot tell apart"
                line += f" [{factor * low:+{form}}, {factor * high:+{form}}], {verdict}"
            lines.append(line)
    return lines


def _less(this: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """How much lower this system's figures are; below 0 where they are."""
    return {name: this[name] - other[name] for name in COMPARED if name in this and name in other}
