"""What adapting a score map to a domain is worth: each collection by the general map that was fitted without it.

    python benchmarks/adaptation.py CORPUS --model plain.onnx [--speakers 30] [--draws 6]

CORPUS is the development corpus, the collections and recordings those of `unseen_collections.py`. Half of the speakers
of each collection, drawn anew several times, are adapted to, and the other half are judged: by the general map as it
is, by the one that is adapted without labels (by the cohort alone, and by clusters too), and with labels of 5, 20 and
50 of the first half's speakers, as far as there are so many. Judged are random pairs of versions (whole, cut, noisy, in
rooms, over lines, with other pauses). Then the same with recordings that are all over lines, in rooms or in noise, both
to adapt to and to judge, the mean over collections. Collections with too few people are refused without labels, and
keep the general map, as users' do.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from unseen_collections import ABOUT, trials_of_collections

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.evaluation.adapting import (
    FEWEST_PEOPLE,
    by_cohort,
    raw_llrs,
    seen_clusters,
    seen_cohort,
    with_clusters,
    with_labels,
)
from sound_groove.evaluation.calibrating import calibrate_on
from sound_groove.evaluation.calibration_material import CalibrationSettings, Material
from sound_groove.evaluation.domain_clusters import clustered_pairs
from sound_groove.evaluation.version_pairs import pairs_alike
from sound_groove.evaluation.versions import AS_IT_IS, conditions
from sound_groove.provenance import machine
from sound_groove.scoring.adaptation import Moved
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.metrics import cllr, min_cllr

DURATIONS_S = (1.0, 2.0, 5.0)
LABELLED = (5, 10, 15, 20, 50)  # speakers
KINDS = ("over a line", "in a room", "noisy")
FEWEST_JUDGED = 3  # speakers, and targets


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--speakers", type=int, default=30, help="of a collection; 100 takes all, and an hour more")
    parser.add_argument("--draws", type=int, default=6, help="of the half that is adapted to")
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    trials = trials_of_collections(arguments.corpus, arguments.speakers)
    settings = CalibrationSettings(DURATIONS_S, threads=1)
    material = Material.to_fit_on(encoder, trials, settings)
    print(json.dumps(machine(1)), encoder.identity.hash[:12], flush=True)
    print(table(material, calibrate_on(material, ABOUT, settings).left_out, arguments.draws))


def table(material: Material, maps: Mapping[str, ScoreMap], draws: int) -> str:
    """The table, in Markdown.

    Args:
        material: versions of all collections, and pairs of them.
        maps: by collection, the one that was fitted without it.
        draws: of the half that is adapted to.
    """
    kinds = np.array([one.kind for one in conditions(DURATIONS_S)])[material.versions.kinds]
    names = ["least", "general", "cohort", "and clusters", *(f"{count} labelled" for count in LABELLED)]
    lines = [f"| | people, found | {' | '.join(names)} |", "| --- " * (len(names) + 2) + "|"]
    rows = {name: costs(material, number, maps[name], kinds, draws) for number, name in enumerate(material.collections)}
    lines += [line(name, found) for name, found in rows.items()]
    lines.append(line("mean", mean(list(rows.values()))))
    for kind in KINDS:
        of_kind = [
            costs(material, number, maps[name], kinds, draws, kind) for number, name in enumerate(material.collections)
        ]
        lines.append(line(f"{kind}, mean", mean([one for one in of_kind if one])))
    return "\n".join(lines)


def costs(
    material: Material, number: int, general: ScoreMap, kinds: NDArray[np.str_], draws: int, kind: str = ""
) -> dict[str, list[float]]:
    """Of one collection, by name of the column, what the judged halves cost; `people` has what was found.

    Where a `kind` is given, recordings are all of that kind.
    """
    versions, speakers = material.versions, material.speakers[material.versions.names]
    own = (material.parts == number) & ((kinds == kind) if kind else True)
    pairs = material.pairs.kept(own[material.pairs.first] & own[material.pairs.second])
    if kind:
        pairs = pairs_alike(versions, material.trials, np.flatnonzero(own))
    llrs, left = raw_llrs(general, versions, pairs)
    present, found = np.unique(speakers[own]), dict[str, list[float]]()
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(present)
        adapted, judged = order[: len(order) // 2], order[len(order) // 2 :]
        mask = np.isin(speakers[pairs.first], judged) & np.isin(speakers[pairs.second], judged)
        labels = pairs.labels[mask]
        if len(judged) < FEWEST_JUDGED or labels.sum() < FEWEST_JUDGED or labels.all():
            continue

        def cost(moved: Moved, mask: NDArray[np.bool_] = mask, labels: NDArray[np.bool_] = labels) -> float:
            assert general.bounds is not None
            return cllr(np.clip(left[mask] * (moved.scale * llrs[mask] + moved.shift), *general.bounds), labels)

        seen = own & np.isin(speakers, adapted) & ((kinds == AS_IT_IS) if not kind else True)
        whole = seen if kind else seen & are_whole(material)
        cohort = seen_cohort(general, versions, np.flatnonzero(seen), np.flatnonzero(whole), 0)
        moved = by_cohort(cohort)
        # whoever is told apart, and pairs of their versions, as the verb has them
        ones = np.flatnonzero(whole)[np.unique(versions.names[whole], return_index=True)[1]]
        clusters = seen_clusters(general, versions, ones, cohort)
        by_name = np.full(len(material.speakers), -1)
        by_name[versions.names[ones]] = clusters.labels
        told = by_name[versions.names]
        of_told = own & np.isin(speakers, adapted) & (told >= 0)
        unlabelled = clustered_pairs(pairs.kept(of_told[pairs.first] & of_told[pairs.second]), told)
        without = (
            with_clusters(general, versions, unlabelled, clusters, moved) if cohort.people >= FEWEST_PEOPLE else moved
        )
        found.setdefault("people", []).append(cohort.people)
        found.setdefault("least", []).append(min_cllr(llrs[mask], labels))
        found.setdefault("general", []).append(cost(Moved()))
        found.setdefault("cohort", []).append(cost(moved))
        found.setdefault("clusters", []).append(cost(without))
        for count in LABELLED:
            some = np.isin(speakers[pairs.first], adapted[:count]) & np.isin(speakers[pairs.second], adapted[:count])
            if count <= len(adapted) and pairs.labels[some].any():
                more = with_labels(general, versions, pairs.kept(some), count, moved)
                found.setdefault(f"{count} labelled", []).append(cost(more))
    return found


def are_whole(material: Material) -> NDArray[np.bool_]:
    """(V,) versions that are as long as their recordings."""
    return np.array([one.duration_s is None for one in conditions(DURATIONS_S)])[material.versions.kinds]


def mean(rows: Sequence[Mapping[str, list[float]]]) -> dict[str, list[float]]:
    """The means of rows, of those columns that all have."""
    kept = [row for row in rows if row]
    shared = set.intersection(*(set(row) for row in kept))
    return {name: [float(np.mean([np.mean(row[name]) for row in kept]))] for name in shared}


def line(name: str, found: Mapping[str, list[float]]) -> str:
    """A line of the table."""
    if not found:
        return f"| {name} |" + " - |" * (len(LABELLED) + 5)  # too few speakers to judge
    columns = ["least", "general", "cohort", "clusters", *(f"{count} labelled" for count in LABELLED)]
    cells = [f"{np.mean(found[column]):.3f}" if column in found else "-" for column in columns]
    return f"| {name} | {np.mean(found['people']):.1f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
