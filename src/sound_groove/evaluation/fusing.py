"""Two models, one verdict: what share each has in the score, and the map from that score to log-likelihood ratio.

The score of a pair is p x cosine of the first model + (1 - p) x cosine of the second. That is the cosine of embeddings
in which the models' own lie one behind the other, scaled by the roots of their shares, so that two models are used as
one is (`sound_groove.export.fused_file`). The shares come from linear logistic fusion, and like the map they are found
without the part that is judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sound_groove.errors import MetricError, TrialError, printable
from sound_groove.evaluation.baselines import baseline_of
from sound_groove.evaluation.calibrating import Judged, calibrate_on, calibrated, judge_all
from sound_groove.evaluation.calibration_material import CalibrationSettings, Judge, Material
from sound_groove.evaluation.embedding import Encoder
from sound_groove.evaluation.map_fitting import Fitted
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.scoring.map_regression import fit_shares
from sound_groove.types import Scores

STEPS = 20  # that shares are rounded to: finer ones change no verdict, and each needs maps of its own

Shares = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fused:
    """Two models fused, and what that is worth.

    Attributes:
        judged: the map, and what is said of it, by shares and maps that were found without the part that is judged.
        shares: of the models in the score.
        alone: the same of each model without the other.
    """

    judged: Judged
    shares: Shares
    alone: tuple[Judged, ...]


def calibrate_fused(
    encoders: Sequence[Encoder], trial_set: TrialSet, fitted_on: str, settings: CalibrationSettings
) -> Fused:
    """Find the shares of two models and the map from their common score; what is said of it is cross-validated.

    Args:
        encoders: the models.
        trial_set: labelled trials of speakers that none of them was trained on.
        fitted_on: which these are, for people to read.
        settings: how.

    Raises:
        TrialError: as `calibrate`; or one of the models adds nothing to the other.
        AudioError: a recording cannot be read.
    """
    of_each = [Material.to_fit_on(encoder, trial_set, settings) for encoder in encoders]
    return fuse_on(of_each, [printable(encoder.identity.name) for encoder in encoders], fitted_on, settings)


def fuse_on(of_each: Sequence[Material], names: Sequence[str], fitted_on: str, settings: CalibrationSettings) -> Fused:
    """The same, where the versions of the recordings were embedded before by each of the models, which have names."""
    shares = found_shares(of_each, settings)
    if min(shares) == 0:
        lesser, other = names[int(np.argmin(shares))], names[int(np.argmax(shares))]
        raise TrialError(f"model '{lesser}' adds nothing to '{other}' on these trials; calibrate that one alone")
    found: dict[Shares, tuple[Material, Fitted]] = {}

    def fitted(by: Shares) -> tuple[Material, Fitted]:
        if by not in found:
            fused = fused_material(of_each, by)
            found[by] = fused, fused.fitted(fitted_on, settings)
        return found[by]

    material, whole = fitted(shares)
    judges = []
    for part in range(material.part_count):
        without, maps = fitted(found_shares(of_each, settings, part))
        judges.append(Judge(maps.without[part], without.versions))
    judged = judge_all(material, judges, settings)
    alone = tuple(calibrate_on(one, fitted_on, settings) for one in of_each)
    score_map = replace(whole.score_map, baseline=baseline_of(material, whole.score_map, judges, settings))
    return Fused(replace(judged, score_map=calibrated(score_map, judged, material)), shares, alone)


def found_shares(of_each: Sequence[Material], settings: CalibrationSettings, without: int | None = None) -> Shares:
    """The shares of the models, in steps of 1 / STEPS, by the pairs of all parts, or of all but one.

    Raises:
        TrialError: neither model tells speakers apart on these pairs.
    """
    material = of_each[0]
    own, pairs = material.parts, material.pairs
    if without is not None:
        pairs = pairs.kept((own[pairs.first] != without) & (own[pairs.second] != without))
    scores = np.stack([one.versions.scores(pairs.first, pairs.second) for one in of_each], axis=1)
    groups = own[pairs.first] if material.collections else None
    try:
        shares = fit_shares(scores, pairs.labels, settings.prior, groups)
    except MetricError as error:
        raise TrialError(f"the models cannot be fused on these trials: {error}") from None
    steps = np.round(shares * STEPS)
    return tuple((steps / steps.sum()).tolist())


def fused_material(of_each: Sequence[Material], shares: Shares) -> Material:
    """The material with the embeddings of a fused model, and its norms."""
    embeddings = np.hstack(
        [np.sqrt(share) * one.versions.embeddings for share, one in zip(shares, of_each, strict=True)]
    ).astype(np.float32)
    norms = fused_norms([one.versions.norms for one in of_each])
    return replace(of_each[0], versions=replace(of_each[0].versions, embeddings=embeddings, norms=norms))


def fused_norms(of_each: Sequence[Scores]) -> Scores:
    """(V,) the geometric mean of the norms (V,) of those models that tell them; NaN where none does."""
    told = [norms for norms in of_each if np.isfinite(norms).all()]
    return np.exp(np.mean(np.log(told), axis=0)) if told else np.full(len(of_each[0]), np.nan)
