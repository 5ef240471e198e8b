"""The figures of scored trials, each with its operating point and its interval, as metrics.json holds them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from tqdm import tqdm

from sound_groove.errors import MetricError
from sound_groove.evaluation.intervals import LEVEL, SpeakerBootstrap, bounds
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.scoring.metrics import Roc, cllr, query_ranks, roc
from sound_groove.types import Embeddings, Scores

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
    """EER, minDCF, Cllr and what of it is loss by calibration, with intervals; how many trials there are of each kind.

    The lowest Cllr is that of the llrs where a map looks at more than the score, and puts trials in another order.

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
    cost = None if llrs is None else cllr(llrs, trials.labels)
    sides = speakers[trials.enrolments], speakers[trials.tests]
    bootstrap = SpeakerBootstrap(scores, trials.labels, *sides, llrs)
    count = resamples if bootstrap.speakers > 1 else 0
    samples: Iterable[tuple[Roc, Roc, float | None]] = ((s.roc, s.roc, s.cllr) for s in bootstrap.draw(count, seed))
    evidence = curve
    if llrs is not None and _are_reordered(scores, llrs):
        evidence, other = roc(llrs, trials.labels), SpeakerBootstrap(llrs, trials.labels, *sides)
        pairs = zip(bootstrap.draw(count, seed), other.draw(count, seed), strict=True)  # the same draws
        samples = ((one.roc, another.roc, one.cllr) for one, another in pairs)
    draws = [values_of(*sample) for sample in tqdm(samples, "intervals", count, leave=False, unit="draw", disable=None)]
    figures = with_intervals(values_of(curve, evidence, cost), draws)
    figures["eer"] |= {"threshold": curve.eer_threshold}
    for name, p_target in OPERATING_POINTS:
        figures[name] |= {"p_target": p_target, "c_miss": 1.0, "c_fa": 1.0}
    return {
        **figures,
        "cllr": figures.get("cllr"),
        "calibration_loss": figures.get("calibration_loss"),
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


def _are_reordered(scores: Scores, llrs: Scores) -> bool:
    """Whether a trial with a lower score has a higher log-likelihood ratio somewhere."""
    ranked = llrs[np.lexsort((llrs, scores))]
    return bool((np.diff(ranked) < 0).any())


def with_intervals(values: Mapping[str, float], draws: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Each value with the bounds that its draws leave; they are null where nothing was drawn."""
    figures = {}
    for name, value in values.items():
        low, high = bounds([draw[name] for draw in draws])
        figures[name] = {"value": value, "low": low, "high": high}
    return figures


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
