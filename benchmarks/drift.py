"""Does `drift` notice other recordings, and does it leave alone those that are like the calibration's?

    python benchmarks/drift.py CORPUS --model plain.onnx [--out baseline.json]

The collections are those of unseen_collections.py, each judged by the baseline of the others: 100 of its whole
recordings, drawn anew 50 times, as they are, and what was made of them (a cut of 2 s, noise, a room, a line, other
pauses). Those of the other collections stand for recordings that are like the baseline. Printed is how often "no longer
like" is said, and of which quantity first. Then each collection is divided by chance, seven to three, and the second
part, and what was made of it, is compared with the first, as `drift --like` does. --out also writes the baseline of all
collections.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from unseen_collections import ABOUT, trials_of_collections

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.evaluation.baselines import baseline_of
from sound_groove.evaluation.calibrating import calibrate_on
from sound_groove.evaluation.calibration_material import CalibrationSettings, Judge, Material
from sound_groove.evaluation.versions import AS_IT_IS, Condition, conditions
from sound_groove.files import write_json
from sound_groove.provenance import machine
from sound_groove.scoring.baseline import FEWEST, Baseline
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import Scores

SPEAKERS = 30
COUNT, DRAWS = 100, 50
EARLIER = 0.7  # of a collection's recordings, with which the others are compared
MADE = {
    "as it is": Condition(None, "as it is"),
    "2 s": Condition(2.0, "as it is"),
    "noise": Condition(None, "noisy"),
    "a room": Condition(None, "in a room"),
    "a line": Condition(None, "over a line"),
    "other pauses": Condition(None, "other pauses"),
}


def main() -> None:
    """Hear, leave out, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    settings = CalibrationSettings((1.0, 2.0, 5.0))
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    trial_set = trials_of_collections(arguments.corpus, SPEAKERS)
    material = Material.to_fit_on(encoder, trial_set, settings)
    print(json.dumps(machine(1)), flush=True)
    baseline = tables(material, settings)
    if arguments.out is not None:
        write_json(arguments.out, asdict(baseline))


def tables(material: Material, settings: CalibrationSettings) -> Baseline:
    """Print how often drift is said, by the baselines without each collection; the baseline of all."""
    judged = calibrate_on(material, ABOUT, settings)
    kinds = conditions(settings.durations_s)
    print(f"| left out | the others | {' | '.join(MADE)} | first |\n{'| --- ' * (len(MADE) + 3)}|")
    for number, name in enumerate(material.collections):
        maps = judged.left_out
        without = replace(material, collections=tuple(one for one in material.collections if one != name))
        without = only(without, material.parts != number, number)
        judges = [Judge(maps[other], without.versions) for other in without.collections]
        baseline = baseline_of(without, maps[name], judges, settings)
        assert baseline is not None
        known = material.versions.known(maps[name])
        others = np.flatnonzero(material.unchanged(settings) & (material.parts != number))
        weights = 1.0 / np.bincount(material.parts[others])[material.parts[others]]
        cells, first = [said(baseline, known, others, Counter(), weights)], Counter[str]()
        for made in MADE.values():
            is_made = np.array([one == made or _is_kind(one, made) for one in kinds])
            rows = np.flatnonzero((material.parts == number) & is_made[material.versions.kinds])
            cells.append(said(baseline, known, rows, first if made is MADE["as it is"] else Counter()))
        print(f"| {name} | {' | '.join(cells)} | {', '.join(one for one, _ in first.most_common(2))} |", flush=True)
    table_of_own(material, judged.score_map, settings)
    found = judged.score_map.baseline
    assert found is not None
    return found


def only(material: Material, mask: NDArray[np.bool_], number: int) -> Material:
    """The material of the versions that a mask keeps, which are of all parts but one."""
    old = material.versions
    rows = np.flatnonzero(mask)
    columns = {name: getattr(old, name)[rows] for name in type(old).__slots__}
    folds = np.where(material.folds > number, material.folds - 1, material.folds)
    return replace(material, versions=type(old)(**columns), folds=folds)


def said(
    baseline: Baseline,
    known: Mapping[str, Scores],
    rows: NDArray[np.int64],
    first: Counter[str],
    weights: Scores | None = None,
) -> str:
    """How often drift is said of recordings drawn among some, in percent."""
    draws, drifted = np.random.default_rng(0), 0
    share = None if weights is None else weights / weights.sum()
    for _ in range(DRAWS):
        chosen_rows = draws.choice(rows, COUNT, p=share)
        found = baseline.drift({name: values[chosen_rows] for name, values in known.items()}, COUNT)
        drifted += found.finding == "drifted"
        if found.finding == "drifted":
            first[max(found.shifts, key=lambda one: one.degree).quantity] += 1
    return f"{100 * drifted / DRAWS:.0f}"


def table_of_own(material: Material, score_map: ScoreMap, settings: CalibrationSettings) -> None:
    """Print how often drift is said of a part of a collection, by what the other part is like."""
    known = material.versions.known(score_map)
    unchanged, draws = material.unchanged(settings), np.random.default_rng(0)
    kinds = conditions(settings.durations_s)
    print(f"\n| collection | earlier, later | {' | '.join(MADE)} |\n{'| --- ' * (len(MADE) + 2)}|")
    for number, name in enumerate(material.collections):
        own = np.flatnonzero(unchanged & (material.parts == number))
        found: dict[str, list[bool]] = {made: [] for made in MADE}
        for _ in range(DRAWS):
            rows = draws.permutation(own)
            earlier, later = np.split(rows, [round(EARLIER * len(rows))])
            baseline = Baseline.of({one: values[earlier] for one, values in known.items()}, len(earlier))
            for made, condition in MADE.items():
                is_made = np.array([one == condition or _is_kind(one, condition) for one in kinds])
                others = np.isin(material.versions.names, material.versions.names[later])
                chosen_rows = np.flatnonzero(others & is_made[material.versions.kinds])
                drift = baseline.drift({one: values[chosen_rows] for one, values in known.items()}, len(chosen_rows))
                found[made].append(drift.finding == "drifted")
        enough = len(earlier) >= FEWEST
        cells = " | ".join(f"{100 * np.mean(one):.0f}" if enough else "-" for one in found.values())
        print(f"| {name} | {len(earlier)}, {len(later)} | {cells} |", flush=True)


def _is_kind(one: Condition, wanted: Condition) -> bool:
    """Whether a condition is of a kind that is wanted at any length."""
    return wanted.kind != AS_IT_IS and one.kind == wanted.kind


if __name__ == "__main__":
    main()
