"""Fitting the map from score to log-likelihood ratio of a model on labelled trials, and saying what a map is worth.

What is reported is cross-validated: trials within a part are judged by a map that was fitted without it
(`sound_groove.evaluation.calibration_material` says what the parts are).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sound_groove.errors import CheckpointError, MetricError, printable
from sound_groove.evaluation.baselines import baseline_of
from sound_groove.evaluation.calibration_material import CalibrationSettings, Judge, Material
from sound_groove.evaluation.embedding import Encoder
from sound_groove.evaluation.figures import measure
from sound_groove.evaluation.intervals import bounds
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.reliability import measure_reliability
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.evaluation.version_pairs import Pairs, pairs_alike
from sound_groove.evaluation.versions import AS_IT_IS, conditions
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.measures import UNFAMILIARITY


@dataclass(frozen=True, slots=True)
class Judged:
    """What a score map is worth.

    Attributes:
        score_map: the map.
        overall: figures over random pairs of versions, as `figures.measure` gives them; `verdicts`: by kind of trial
            (`targets`, `nontargets`), the share of each verdict at the default costs and a prior of one half;
            `wrong_verdicts`: of pairs of two speakers the share called `same`, and of one speaker `different`, with
            intervals over speakers; and `reliability`, as `measure_reliability` gives it.
        by_condition: the same for trials whose two sides are in one condition.
        by_collection: the same for the trials of each collection, by the map that was fitted without it; empty where
            the parts were folds of the speakers. `ece` is the expected calibration error: how far the stated
            probabilities lie from what came true, on average over the trials; `unfamiliar` the share of its whole
            recordings as they are that are unlike all of the others.
        speakers: number of speakers.
        recordings: number of recordings.
        mixed: those whose channels carry different sound and were averaged.
        left_out: by collection, the map of the same making that was fitted without it; empty likewise.
    """

    score_map: ScoreMap
    overall: dict[str, Any]
    by_condition: dict[str, dict[str, Any]]
    by_collection: dict[str, dict[str, Any]]
    speakers: int
    recordings: int
    mixed: tuple[str, ...] = ()
    left_out: Mapping[str, ScoreMap] = field(default_factory=dict)


def calibrate(encoder: Encoder, trial_set: TrialSet, fitted_on: str, settings: CalibrationSettings) -> Judged:
    """Fit a score map on trials; what is said of it is cross-validated.

    Args:
        encoder: the model.
        trial_set: labelled trials of speakers that were not trained on.
        fitted_on: which these are, for people to read.
        settings: how.

    Raises:
        TrialError: fewer than 10 speakers, too few trials of a kind, speakers that the model was trained on, or a
            speaker of two collections.
        AudioError: a recording cannot be read.
    """
    return calibrate_on(Material.to_fit_on(encoder, trial_set, settings), fitted_on, settings)


def calibrate_on(material: Material, fitted_on: str, settings: CalibrationSettings) -> Judged:
    """The same, where the versions of the recordings were embedded before."""
    found = material.fitted(fitted_on, settings)
    judges = [Judge(one, material.versions) for one in found.without]
    judged = judge_all(material, judges, settings)
    left_out = dict(zip(material.collections, found.without, strict=False))  # none where the parts are folds
    score_map = replace(found.score_map, baseline=baseline_of(material, found.score_map, judges, settings))
    return replace(judged, score_map=calibrated(score_map, judged, material), left_out=left_out)


def calibrated(score_map: ScoreMap, judged: Judged, material: Material) -> ScoreMap:
    """A map that says of itself what it is worth on parts that it was not fitted on."""
    figures = {name: judged.overall[name]["value"] for name in ("eer", "cllr", "min_cllr")}
    if material.collections:
        figures["collections"] = float(len(material.collections))
    return replace(score_map, calibrated=True, figures=figures, speakers=material.digests)


def check_calibration(encoder: Encoder, trial_set: TrialSet, settings: CalibrationSettings) -> Judged:
    """Judge the score map that a model carries, on trials of other speakers.

    Args:
        encoder: the model.
        trial_set: labelled trials of speakers that were neither trained nor calibrated on.
        settings: how.

    Raises:
        TrialError: too few trials of a kind, or speakers that the model was trained or calibrated on.
        AudioError: a recording cannot be read.
        CheckpointError: the model carries no map.
    """
    if encoder.score_map is None:
        raise CheckpointError(f"model '{printable(encoder.identity.name)}' carries no score map that could be checked")
    material = Material.to_judge_on(encoder, trial_set, settings)
    return judge_all(material, [Judge(encoder.score_map, material.versions)], settings)


def judge_all(material: Material, judges: Sequence[Judge], settings: CalibrationSettings) -> Judged:
    """Judge random pairs of versions, and those in one condition or collection each.

    Args:
        material: the versions and pairs.
        judges: one for each part.
        settings: how.
    """
    versions, pairs = material.versions, material.pairs
    overall = _judge(material, pairs, judges, settings)
    by_condition, by_collection = {}, {}
    kinds = {str(one): one.kind if one.kind != AS_IT_IS else str(one) for one in conditions(settings.durations_s)}
    labels = np.array(list(kinds.values()))[versions.kinds]
    for label in dict.fromkeys(kinds.values()):
        # With too few recordings that are so long there is nothing to say.
        with suppress(MetricError):
            alike = pairs_alike(versions, material.trials, np.flatnonzero(labels == label))
            by_condition[label] = _judge(material, alike, judges, settings)
    own = material.parts
    for number, name in enumerate(material.collections):
        within = pairs.kept(own[pairs.first] == number)
        unchanged = versions.unfamiliarity[material.unchanged(settings) & (own == number)]
        measures = {UNFAMILIARITY: unchanged}
        unfamiliar = float(judges[number].score_map.is_unfamiliar(measures).mean()) if len(unchanged) else 0.0
        by_collection[name] = _judge(material, within, judges, settings) | {"unfamiliar": unfamiliar}
    recordings = len(np.unique(versions.names))
    return Judged(
        judges[0].score_map, overall, by_condition, by_collection, material.speaker_count, recordings, material.mixed
    )


def _judge(material: Material, pairs: Pairs, judges: Sequence[Judge], settings: CalibrationSettings) -> dict[str, Any]:
    """Figures of the pairs within a part, by the map that was fitted without it."""
    own, names = material.parts, material.versions.names
    pairs = pairs.kept(own[pairs.first] == own[pairs.second])
    llrs = np.empty(len(pairs.first))
    for part, judge in enumerate(judges):
        mask = own[pairs.first] == part
        first, second = pairs.first[mask], pairs.second[mask]
        measures = judge.versions.measures(first, second, judge.score_map)
        llrs[mask] = judge.score_map.llr(judge.versions.scores(first, second), measures)
    rows = np.arange(len(names)).astype(str)
    indices = (pairs.first.astype(np.int32), pairs.second.astype(np.int32))
    listed = TrialList(tuple(rows.tolist()), *indices, pairs.labels, indices[0], duplicates=0)
    judged = JudgedList(listed, llrs, llrs, material.speakers[names], settings.resamples, settings.seed)
    figures = measure(judged) | measure_reliability(judged)
    counts = np.array([one["trials"] for one in figures["reliability"]])
    errors = np.array([abs(one["predicted"] - one["observed"]) for one in figures["reliability"]])
    figures["ece"] = float(counts @ errors / counts.sum())
    low, high = DecisionRule().limits(0.5)
    same, different = llrs >= high, llrs < low
    for kind, mask in (("targets", pairs.labels), ("nontargets", ~pairs.labels)):
        shares = {"same": float(same[mask].mean()), "different": float(different[mask].mean())}
        figures.setdefault("verdicts", {})[kind] = shares | {"inconclusive": 1.0 - sum(shares.values())}
    wrong = {
        "same": (figures["verdicts"]["nontargets"]["same"], [rates[0] for rates in judged.resampled_rates(same)]),
        "different": (figures["verdicts"]["targets"]["different"], [r[1] for r in judged.resampled_rates(different)]),
    }
    figures["wrong_verdicts"] = {
        name: dict(zip(("value", "low", "high"), (value, *bounds(draws)), strict=True))
        for name, (value, draws) in wrong.items()
    }
    return figures
