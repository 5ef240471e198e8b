"""What recordings and evidence were like where a score map was fitted, and how far collections lie apart in it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sound_groove.evaluation.calibration_material import CalibrationSettings, Judge, Material, weighted_quantile
from sound_groove.evaluation.version_pairs import pairs_alike
from sound_groove.scoring.baseline import (
    FEWEST,
    LEAST_TOLERANCE,
    SHARES,
    Baseline,
    Distribution,
    Evidence,
    Quantity,
    distance,
)
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import Scores

LLRS = tuple(np.arange(-4.0, 6.01, 0.5))  # the edges of those of evidence
SPREADS = 2.0  # standard deviations above the median distance up to which a collection counts as alike
DEVIATIONS = 1.4826  # standard deviations in a median deviation from the median, where values are normal


def baseline_of(
    material: Material, score_map: ScoreMap, judges: Sequence[Judge], settings: CalibrationSettings
) -> Baseline | None:
    """What the whole recordings of a calibration are like, as they are, and the evidence of their pairs.

    Args:
        material: that the map was fitted on.
        score_map: fitted on all of it.
        judges: of the pairs of each part, fitted without it.
        settings: of the calibration.

    Returns:
        None where there are too few recordings to say anything.
    """
    rows = np.flatnonzero(material.unchanged(settings))
    if len(rows) < FEWEST:
        return None
    versions, own = material.versions, material.parts[rows]
    apart = material.part_count if material.collections else 0
    weights = 1.0 / np.bincount(own)[own] if apart else np.ones(len(rows))
    quantities = {}
    for name, known in versions.known(score_map).items():
        values = known[rows]
        if np.isfinite(values).sum() >= FEWEST:
            quantities[name] = _quantity(values, weights, own, apart)
    pairs = pairs_alike(versions, material.trials, rows)
    pairs = pairs.kept(material.parts[pairs.first] == material.parts[pairs.second])
    parts = material.parts[pairs.first]
    llrs = np.empty(len(parts))
    for part, judge in enumerate(judges):
        mask = parts == part
        first, second = pairs.first[mask], pairs.second[mask]
        measures = judge.versions.measures(first, second, judge.score_map)
        llrs[mask] = judge.score_map.llr(judge.versions.scores(first, second), measures)
    return Baseline(len(rows), quantities, _evidence(llrs, pairs.labels, parts, apart))


def _quantity(values: Scores, weights: Scores, own: NDArray[np.int64], apart: int) -> Quantity:
    known = np.isfinite(values)
    values, weights, own = values[known], weights[known], own[known]
    edges = np.unique([weighted_quantile(values, weights, share) for share in SHARES])

    def is_apart(part: int) -> float:
        inside = own == part
        here, others = (Distribution.of(values[mask], edges.tolist(), weights[mask]) for mask in (inside, ~inside))
        return distance(here, others)

    return Quantity(Distribution.of(values, edges.tolist(), weights), _tolerance(is_apart, apart))


def _evidence(llrs: Scores, labels: NDArray[np.bool_], parts: NDArray[np.int64], apart: int) -> Evidence | None:
    """That of pairs, collections weighing the same in each kind."""
    if min(labels.sum(), (~labels).sum()) < FEWEST:
        return None

    def of(mask: NDArray[np.bool_]) -> Distribution:
        weights = 1.0 / np.bincount(parts[mask])[parts[mask]] if apart else None
        return Distribution.of(llrs[mask], LLRS, weights)

    def is_apart(part: int) -> float:
        inside = parts == part
        others = Evidence(of(labels & ~inside), of(~labels & ~inside), 0.0)
        return max(others.distance(llrs[inside & kind])[0] for kind in (labels, ~labels))

    return Evidence(of(labels), of(~labels), _tolerance(is_apart, apart))


def _tolerance(is_apart: Callable[[int], float], apart: int) -> float:
    """The distance up to which a collection counts as alike, from how far each lies from all others."""
    if not apart:
        return LEAST_TOLERANCE
    found = np.array([is_apart(part) for part in range(apart)])
    middle = np.median(found)  # not the mean: a collection that is unlike all others must not widen it
    return float(max(LEAST_TOLERANCE, middle + SPREADS * DEVIATIONS * np.median(np.abs(found - middle))))
