"""Two systems on the same trials of the same speakers: by how much do their figures differ, and is that luck?

Intervals of two systems may overlap and the difference be certain all the same, since a speaker who is hard for one is
hard for the other. Both are therefore measured on the same draws of speakers, and the interval is that of the
difference (Bisani & Ney 2004 for paired draws; Bolle, Ratha & Pankanti 2004 for drawing people instead of trials).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sound_groove.errors import printable
from sound_groove.evaluation.figure_texts import PERCENT, PLAIN, number
from sound_groove.evaluation.figures import values_of, with_intervals
from sound_groove.evaluation.intervals import SpeakerBootstrap
from sound_groove.evaluation.other_scores import OtherScores
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.scoring.metrics import cllr, roc
from sound_groove.types import Scores

COMPARED = {"eer": "EER", "min_dcf": "minDCF 0.01", "min_dcf_05": "minDCF 0.05", "cllr": "Cllr"}


def compare(
    trials: TrialList,
    scores: Scores,
    llrs: Scores | None,
    speakers: NDArray[np.int64],
    other: OtherScores,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of two systems and their differences, below 0 where this system errs less.

    Args:
        trials: the trials; those that the other file lacks are left out, for both systems.
        scores: (trials,) of this system.
        llrs: (trials,) natural log-likelihood ratios of this system, or None.
        speakers: (ids,) who speaks in each of the trials' names.
        other: the other system's scores of these trials.
        resamples: draws of speakers for the intervals, the same for both systems; 0 gives none.
        seed: of these draws.

    Returns:
        What metrics.json holds below `against`. There is a Cllr where both systems have log-likelihood ratios.

    Raises:
        MetricError: the trials that both have scores of are all of one kind.
    """
    kept = ~other.lacking
    labels, both_llrs = trials.labels[kept], llrs is not None and other.llrs is not None
    sides = speakers[trials.enrolments[kept]], speakers[trials.tests[kept]]
    values, draws = [], []
    for system, ratios in ((scores, llrs), (other.scores, other.llrs)):
        used = ratios[kept] if both_llrs and ratios is not None else None
        bootstrap = SpeakerBootstrap(system[kept], labels, *sides, used)
        curve = roc(system[kept], labels)
        values.append(values_of(curve, curve, None if used is None else cllr(used, labels)))
        draws.append(bootstrap.draw(resamples if bootstrap.speakers > 1 else 0, seed))
    differences = []
    with tqdm(total=resamples, desc="comparing", unit="draw", leave=False, disable=None) as progress:
        for this, another in zip(*draws, strict=True):  # what is drawn hangs on labels, speakers and seed alone
            differences.append(_less(*(values_of(one.roc, one.roc, one.cllr) for one in (this, another))))
            progress.update()
    figures = {
        name: {"this": values[0][name], "other": values[1][name], "difference": difference}
        for name, difference in with_intervals(_less(*values), differences).items()
    }
    return {
        "path": str(other.path),
        "sha256": other.sha256,
        "trials": int(kept.sum()),
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
