"""The figures of scored trials, each with its operating point and its interval, as metrics.json holds them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sound_groove.errors import MetricError
from sound_groove.evaluation.intervals import SpeakerBootstrap
from sound_groove.evaluation.trials import TrialList
from sound_groove.metrics import cllr, min_cllr, recall_at_k, roc
from sound_groove.types import Embeddings, Scores

LEVEL = 0.95  # of the intervals
OPERATING_POINTS = (("min_dcf", 0.01), ("min_dcf_05", 0.05))
NEIGHBOURS = (1, 5, 10)
FEW_SPEAKERS = 20  # below so many, an interval is itself uncertain


def measure(
    trials: TrialList,
    scores: Scores,
    llrs: Scores | None,
    speakers: NDArray[np.int64],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """EER, minDCF and Cllr with intervals, and how many trials there are of each kind.

    Args:
        trials: the trials.
        scores: (trials,) higher = more likely the same speaker.
        llrs: (trials,) natural log-likelihood ratios; None gives no Cllr.
        speakers: (ids,) who speaks in each of the trials' names.
        resamples: draws of speakers for the intervals; 0 gives none.
        seed: of these draws.

    Raises:
        MetricError: the trials are all of one kind.
    """
    curve = roc(scores, trials.labels)
    figures: dict[str, dict[str, Any] | None] = {"eer": _figure(curve.eer) | {"threshold": curve.eer_threshold}}
    for name, p_target in OPERATING_POINTS:
        figures[name] = _figure(curve.min_dcf(p_target)) | {"p_target": p_target, "c_miss": 1.0, "c_fa": 1.0}
    figures["cllr"] = None if llrs is None else _figure(cllr(llrs, trials.labels))
    bootstrap = SpeakerBootstrap(scores, trials.labels, speakers[trials.enrolments], speakers[trials.tests], llrs)
    draws = []
    with tqdm(total=resamples, desc="intervals", unit="draw", leave=False, disable=None) as progress:
        for sample in bootstrap.draw(resamples if bootstrap.speakers > 1 else 0, seed):
            costs = [sample.roc.min_dcf(p_target) for _, p_target in OPERATING_POINTS]
            draws.append([sample.roc.eer, *costs, np.nan if sample.cllr is None else sample.cllr])
            progress.update()
    if draws:
        bounds = np.quantile(np.array(draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T  # (figures, 2)
        for figure, (low, high) in zip(figures.values(), bounds.tolist(), strict=True):
            if figure is not None:
                figure |= {"low": low, "high": high}
    return {
        **figures,
        "min_cllr": _figure(min_cllr(scores, trials.labels)),
        "interval": {
            "method": "bootstrap over speakers, percentiles",
            "level": LEVEL,
            "resamples": len(draws),
            "seed": seed,
            "speakers": bootstrap.speakers,
        },
        "trials": len(trials),
        "targets": int(trials.labels.sum()),
        "nontargets": int((~trials.labels).sum()),
    }


def measure_recall(embeddings: Embeddings, speakers: NDArray[np.int64]) -> tuple[dict[str, float | None], str | None]:
    """Recall@1, 5 and 10 over embeddings (N, D) of known speakers (N,), and why there is none, if so."""
    names = [f"recall_at_{k}" for k in NEIGHBOURS]
    try:
        return dict(zip(names, recall_at_k(embeddings, speakers, NEIGHBOURS).values(), strict=True)), None
    except MetricError as error:
        return dict.fromkeys(names), f"no recall: {error}"


def _figure(value: float) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None}
