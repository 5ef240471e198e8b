"""The figures of scored trials, each with its operating point and its interval, as metrics.json holds them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from sound_groove.errors import MetricError
from sound_groove.evaluation.intervals import LEVEL, Resample, with_intervals
from sound_groove.evaluation.judged import JudgedList
from sound_groove.progress import ProgressBar
from sound_groove.scoring.metrics import Roc, query_ranks
from sound_groove.types import Embeddings

OPERATING_POINTS = (("min_dcf", 0.01), ("min_dcf_05", 0.05))
NEIGHBOURS = (1, 5, 10)
FEW_SPEAKERS = 20  # below so many, an interval is itself uncertain


def measure(judged: JudgedList) -> dict[str, Any]:
    """EER, minDCF, Cllr and what of it is loss by calibration, with intervals; how many trials there are of each kind.

    The lowest Cllr is that of the llrs where a map looks at more than the score, and puts trials in another order.

    Raises:
        MetricError: the trials are all of one kind.
    """
    evidence = judged.by_evidence
    samples: Iterable[tuple[Resample, Resample]] = ((one, one) for one in judged.resampled())
    if evidence is not judged:
        samples = zip(judged.resampled(), evidence.resampled(), strict=True)  # the same draws
    drawn = ProgressBar(samples, "intervals", judged.draws, leave=False, unit="draw", disable=None)
    draws = [values_of(one.roc, another.roc, one.cllr) for one, another in drawn]
    figures = with_intervals(values_of(judged.curve, evidence.curve, judged.cllr), draws)
    points = {name: {"p_target": p_target, "c_miss": 1.0, "c_fa": 1.0} for name, p_target in OPERATING_POINTS}
    points["eer"] = {"threshold": judged.curve.eer_threshold}
    return {
        **{name: figure | points.get(name, {}) for name, figure in figures.items()},
        "cllr": figures.get("cllr"),
        "calibration_loss": figures.get("calibration_loss"),
        "interval": {
            "method": "bootstrap over speakers, percentiles",
            "level": LEVEL,
            "resamples": len(draws),
            "seed": judged.seed,
            "speakers": judged.bootstrap.speakers,
        },
        "trials": len(judged),
        "targets": int(judged.labels.sum()),
        "nontargets": int((~judged.labels).sum()),
    }


def values_of(curve: Roc, evidence: Roc, cost: float | None) -> dict[str, float]:
    """The figures of one curve, by their names in metrics.json; those of calibration only where there is a Cllr.

    Args:
        curve: of all trials, or of one draw of them, by their scores.
        evidence: the same by their log-likelihood ratios; mostly the same curve.
        cost: the Cllr of the same trials; None without log-likelihood ratios.
    """
    costs = {name: curve.min_dcf(p_target) for name, p_target in OPERATING_POINTS}
    least = evidence.min_cllr(_regression)
    values = {"eer": curve.eer, **costs, "min_cllr": least}
    return values if cost is None else values | {"cllr": cost, "calibration_loss": cost - least}


def measure_recall(
    embeddings: Embeddings, speakers: NDArray[np.int64], resamples: int = 1000, seed: int = 0
) -> tuple[dict[str, dict[str, Any] | None], str | None]:
    """Recall@1, 5 and 10 with intervals, and why there is none, if so.

    The bootstrap draws the speakers that ask, and weighs the answers to their utterances. The crowd in which they are
    looked for stays as it is: a speaker drawn twice is not in it twice. The interval is therefore that of other
    speakers who ask this crowd, not of another crowd.

    Args:
        embeddings: (N, D) unit length.
        speakers: (N,) who speaks.
        resamples: draws of speakers for the intervals; 0 gives none.
        seed: of these draws.
    """
    names = [f"recall_at_{k}" for k in NEIGHBOURS]
    try:
        queries, ranks = query_ranks(embeddings, speakers)
    except MetricError as error:
        return dict.fromkeys(names), f"no recall: {error}"
    present, who = np.unique(speakers[queries], return_inverse=True)
    asked = np.bincount(who)  # (S,) by speaker
    found = np.stack([np.bincount(who, ranks < k) for k in NEIGHBOURS])  # (figures, S)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples if len(present) > 1 else 0):
        weights = rng.multinomial(len(present), np.full(len(present), 1 / len(present)))
        draws.append(dict(zip(names, (found @ weights / (asked @ weights)).tolist(), strict=True)))
    values = dict(zip(names, (found.sum(axis=1) / asked.sum()).tolist(), strict=True))
    return dict(with_intervals(values, draws)), None


def _regression(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`scoring.metrics.isotonic`, six times as fast: it is needed in every draw."""
    return np.asarray(isotonic_regression(values, weights=weights).x, dtype=np.float64)
