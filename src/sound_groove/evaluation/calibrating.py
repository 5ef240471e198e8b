"""Fitting the map from score to log-likelihood ratio of a model on labelled trials, and saying what a map is worth.

Every recording of the trials is taken as it is, in cuts of a few durations, and in one cut or whole with noise, with
other pauses, in a room and over a line; each trial is scored in several random pairs of such versions, with the
measures of both. What is reported is cross-validated: trials within a part are judged by a map that was fitted without
it. The parts are the collections, where there are three or more, since what differs from one collection to the next is
what a user's recordings differ in; else they are folds of the speakers, and nothing is learnt of other collections.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.listening import MINIMUM_SPEECH_S, HeardRecording, judge_samples
from sound_groove.audio.reading import load_audio
from sound_groove.comparison import check_prior
from sound_groove.encoder.listener import Listener
from sound_groove.errors import CheckpointError, MetricError, TrialError, UsageError, printable
from sound_groove.evaluation.embedding import Encoder
from sound_groove.evaluation.figures import measure
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.map_fitting import Fitting, ScoredPairs
from sound_groove.evaluation.reliability import measure_reliability
from sound_groove.evaluation.trials.known_speakers import find_known_speakers
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.evaluation.versions import AS_IT_IS, conditions, drawn_conditions, make_versions
from sound_groove.networks.trained_speakers import speaker_digests
from sound_groove.progress import ProgressBar
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.cosine import score_trials
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.measures import number_or_nan, trial_measures
from sound_groove.types import Embeddings, Samples, Scores

SHORTEST_S, LONGEST_S = 0.3, 600.0  # that recordings can be cut to
MOST_NAMES = 2_000  # recordings that are used; of more, so many are drawn
PAIRS = 200_000  # of versions that the map is fitted on, about
MOST_PER_TRIAL = 20
FOLDS = 5
FEWEST_COLLECTIONS = 3  # of fewer, nothing can be learnt by leaving one out
FEWEST_SPEAKERS = 10  # two in each fold
TALKERS = 6  # recordings that are kept for babble
BATCH_S = 120.0  # of audio embedded at a time


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """How to calibrate, or to check a calibration.

    Attributes:
        durations_s: what recordings are cut to, besides being taken whole.
        prior: where on the score axis a map should be best.
        seed: of cuts, noise, pairs and folds.
        threads: that judge recordings.
        resamples: draws of speakers for the intervals.
        allow_trained_speakers: take speakers that the model was trained on, or that the checked map was fitted on.
    """

    durations_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)
    prior: float = 0.5
    seed: int = 0
    threads: int = 1
    resamples: int = 200
    allow_trained_speakers: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not all(SHORTEST_S <= duration <= LONGEST_S for duration in self.durations_s):
            raise UsageError(f"--durations must lie between {SHORTEST_S:g} and {LONGEST_S:g} s")
        check_prior(self.prior)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a score map is worth.

    Attributes:
        score_map: the map.
        overall: figures over random pairs of versions, as `figures.measure` gives them; `verdicts`: by kind of trial
            (`targets`, `nontargets`), the share of each verdict at the default costs and a prior of one half; and
            `reliability`, as `measure_reliability` gives it.
        by_condition: the same for trials whose two sides are in one condition.
        by_collection: the same for the trials of each collection, by the map that was fitted without it; empty where
            the parts were folds of the speakers. `ece` is the expected calibration error: how far the stated
            probabilities lie from what came true, on average over the trials.
        speakers: number of speakers.
        recordings: number of recordings.
    """

    score_map: ScoreMap
    overall: dict[str, Any]
    by_condition: dict[str, dict[str, Any]]
    by_collection: dict[str, dict[str, Any]]
    speakers: int
    recordings: int


@dataclass(frozen=True, slots=True)
class _Versions:
    """Embedded versions of recordings, V of them, sorted by the name that they are of.

    Attributes:
        names: (V,) index of the name.
        kinds: (V,) index of the condition.
        embeddings: (V, D).
        speech_s: (V,) seconds of speech.
        snr_db: (V,) signal-to-noise ratios.
        norms: (V,) of the embeddings before they were scaled; NaN where the model does not tell.
    """

    names: NDArray[np.int64]
    kinds: NDArray[np.int64]
    embeddings: Embeddings
    speech_s: Scores
    snr_db: Scores
    norms: Scores

    def measures(
        self, first: NDArray[np.int64], second: NDArray[np.int64], score_map: ScoreMap | None = None
    ) -> dict[str, Scores]:
        """Of pairs of versions; those that are known of all. The closeness is to what `score_map` was fitted on."""
        closeness = np.full(len(self.names), np.nan) if score_map is None else score_map.closeness(self.embeddings)
        sides = (
            {
                "speech_s": self.speech_s[rows],
                "snr_db": self.snr_db[rows],
                "embedding_norm": self.norms[rows],
                "closeness": closeness[rows],
            }
            for rows in (first, second)
        )
        return {name: values for name, values in trial_measures(*sides).items() if np.isfinite(values).all()}

    def scores(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Scores:
        """Cosines of pairs of versions."""
        return score_trials(self.embeddings, first, second)


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
    trials, speakers = _chosen(encoder, trial_set, settings), trial_set.speakers
    present = _present(trials, speakers)
    if len(present) < FEWEST_SPEAKERS:
        raise TrialError(
            f"a calibration needs trials of at least {FEWEST_SPEAKERS} speakers, and these are of {len(present)}; "
            "fewer say little about others"
        )
    collections = _collections(trial_set, trials)
    folds = np.zeros(int(speakers.max()) + 1, dtype=np.int64)
    if collections:
        folds[speakers] = trial_set.collections
    else:
        folds[np.random.default_rng(settings.seed).permutation(present)] = np.arange(len(present)) % FOLDS
    versions = _embed(encoder, trial_set, trials, settings)
    pairs = _random_pairs(versions, trials, settings.seed)
    own = folds[speakers[versions.names]]
    scores, measures = versions.scores(pairs.first, pairs.second), versions.measures(pairs.first, pairs.second)
    means, near = None, None
    if collections:
        means = np.array(
            [versions.embeddings[own == part].mean(axis=0) for part in range(len(collections))], np.float64
        )
        cosines = versions.embeddings @ means.T
        near = np.stack((cosines[pairs.first], cosines[pairs.second]))
    scored = ScoredPairs(scores, pairs.labels, measures, own[pairs.first], own[pairs.second], near)
    fitting = Fitting(scored, len(collections) or FOLDS, bool(collections), settings.prior, settings.seed, means)
    found = fitting.fit(fitted_on)
    judged = _judge_all(versions, trials, pairs, speakers, folds, found.without, settings, collections)
    figures = {name: judged.overall[name]["value"] for name in ("eer", "cllr", "min_cllr")}
    if collections:
        figures["collections"] = float(len(collections))
    fitted = replace(found.score_map, calibrated=True, figures=figures, speakers=_digests(trial_set, trials))
    return replace(judged, score_map=fitted)


def _collections(trial_set: TrialSet, trials: TrialList) -> tuple[str, ...]:
    """The names of the collections that trials are of, where there are enough of them to leave one out.

    Raises:
        TrialError: a speaker is in two collections, or the trials of one are all of a kind.
    """
    names, numbers, speakers = trial_set.collection_names, trial_set.collections, trial_set.speakers
    if len(names) < FEWEST_COLLECTIONS:
        return ()
    for kind, is_kind in (("one speaker", trials.labels), ("two speakers", ~trials.labels)):
        lacking = set(range(len(names))) - set(numbers[trials.enrolments[is_kind]].tolist())
        if lacking:
            raise TrialError(f"collection '{printable(names[min(lacking)])}' has no trials of {kind}")
    order = np.argsort(speakers, kind="stable")
    same = (speakers[order][1:] == speakers[order][:-1]) & (numbers[order][1:] != numbers[order][:-1])
    if same.any():
        name = printable(trial_set.trials.ids[order[int(np.argmax(same))]])
        raise TrialError(f"the speaker of '{name}' is in two collections, and one of them is to be left out")
    return names


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
    score_map = encoder.score_map
    if score_map is None:
        raise CheckpointError(f"model '{printable(encoder.identity.name)}' carries no score map that could be checked")
    trials, speakers = _chosen(encoder, trial_set, settings), trial_set.speakers
    if not settings.allow_trained_speakers:
        fitted, names = frozenset(score_map.speakers), trial_set.speaker_names
        find_known_speakers(fitted, trials, trial_set.sources, names, "calibrated").refuse(encoder.identity.name)
    versions = _embed(encoder, trial_set, trials, settings)
    pairs = _random_pairs(versions, trials, settings.seed)
    folds = np.zeros(int(speakers.max()) + 1, dtype=np.int64)  # a single one
    judged = _judge_all(versions, trials, pairs, speakers, folds, [score_map], settings)
    return replace(judged, score_map=score_map)


def _judge_all(
    versions: _Versions,
    trials: TrialList,
    pairs: "_Pairs",
    speakers: NDArray[np.int64],
    folds: NDArray[np.int64],
    fits: Sequence[ScoreMap],
    settings: CalibrationSettings,
    collections: Sequence[str] = (),
) -> Judged:
    """Judge the maps of the folds on random pairs of versions, and on those in one condition or collection each."""
    overall = _judge(versions, pairs, speakers, folds, fits, settings)
    by_condition, by_collection = {}, {}
    kinds = {str(one): one.kind if one.kind != AS_IT_IS else str(one) for one in conditions(settings.durations_s)}
    labels = np.array(list(kinds.values()))[versions.kinds]
    for label in dict.fromkeys(kinds.values()):
        # With too few recordings that are so long there is nothing to say.
        with suppress(MetricError):
            alike = _pairs_alike(versions, trials, np.flatnonzero(labels == label))
            by_condition[label] = _judge(versions, alike, speakers, folds, fits, settings)
    own = folds[speakers[versions.names]]
    for number, name in enumerate(collections):
        within = pairs.kept(own[pairs.first] == number)
        by_collection[name] = _judge(versions, within, speakers, folds, fits, settings)
    count = len(_present(trials, speakers))
    return Judged(fits[0], overall, by_condition, by_collection, count, len(np.unique(versions.names)))


def _present(trials: TrialList, speakers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The speakers of trials."""
    return np.unique(speakers[np.concatenate((trials.enrolments, trials.tests))])


def _digests(trial_set: TrialSet, trials: TrialList) -> tuple[str, ...]:
    """Of the names of the trials' speakers; none where nobody says who they are."""
    if trial_set.speaker_names is None:
        return ()
    names = np.unique(np.concatenate((trials.enrolments, trials.tests))).tolist()
    return tuple(sorted(speaker_digests(trial_set.speaker_names[name] for name in names)))


def _chosen(encoder: Encoder, trial_set: TrialSet, settings: CalibrationSettings) -> TrialList:
    """The trials among at most MOST_NAMES names, within collections, of no speaker that the model was made with."""
    trials = trial_set.trials
    if not settings.allow_trained_speakers:
        heard = find_known_speakers(encoder.trained_speakers, trials, trial_set.sources, trial_set.speaker_names)
        heard.refuse(encoder.identity.name)
    names = np.unique(np.concatenate((trials.enrolments, trials.tests)))
    if len(names) > MOST_NAMES:
        drawn = np.zeros(len(trials.ids), dtype=np.bool_)
        drawn[np.random.default_rng(settings.seed).choice(names, MOST_NAMES, replace=False)] = True
        trials = trials.kept(drawn[trials.enrolments] & drawn[trials.tests])
    trials = trials.kept(trials.enrolments != trials.tests)  # a recording with itself says nothing about speakers
    if trial_set.collection_names:
        numbers = trial_set.collections
        trials = trials.kept(numbers[trials.enrolments] == numbers[trials.tests])
    if trials.labels.all() or not trials.labels.any():
        raise TrialError("a calibration needs trials of one speaker and trials of two")
    return trials


def _embed(encoder: Encoder, trial_set: TrialSet, trials: TrialList, settings: CalibrationSettings) -> _Versions:
    """Make and hear the versions of all recordings; those with too little speech for a verdict are left out."""
    wanted, seed = conditions(settings.durations_s), settings.seed
    names = np.unique(np.concatenate((trials.enrolments, trials.tests))).tolist()
    owners: list[int] = []
    kinds: list[int] = []
    talked: deque[tuple[int, Samples]] = deque(maxlen=TALKERS)  # speakers and recordings, for babble

    def versions() -> Iterator[Samples]:
        order = np.random.default_rng(seed).permutation(names).tolist()  # so that neighbours are different people
        for name in ProgressBar(order, desc="cutting and embedding", unit="recording", disable=None):
            samples, speaker = _read(trial_set, name), int(trial_set.speakers[name])
            others = [other for talker, other in talked if talker != speaker]
            drawn = drawn_conditions(wanted, len(samples), np.random.default_rng((seed, name)))
            for condition, version in make_versions(samples, drawn, others, seed=seed * 1_000_003 + name):
                owners.append(name)
                kinds.append(wanted.index(condition))
                yield version
            talked.append((speaker, samples))

    heard = Listener(encoder).hear_all(versions(), judge_samples, settings.threads, BATCH_S)
    rows, kept = [], []
    for row, one in enumerate(heard):
        if isinstance(one, HeardRecording) and one.facts.allows_verdict:
            rows.append(row)
            kept.append(one)
    if not kept:
        raise TrialError(f"no recording has {MINIMUM_SPEECH_S} s of speech, which a verdict needs")
    order = np.argsort(np.array(owners)[rows], kind="stable")
    return _Versions(
        names=np.array(owners)[rows][order],
        kinds=np.array(kinds)[rows][order],
        embeddings=np.array([one.embedding for one in kept])[order],
        speech_s=np.array([one.facts.speech_s for one in kept])[order],
        snr_db=np.array([one.facts.snr_db for one in kept])[order],
        norms=np.array([number_or_nan(one.facts.embedding_norm) for one in kept])[order],
    )


def _read(trial_set: TrialSet, name: int) -> Samples:
    """All audio of a name; several recordings are joined."""
    source = trial_set.sources[name]
    if source.problem:
        raise TrialError(f"{trial_set.trials.ids[name]}: {source.problem}")
    parts = [load_audio(path) for recording in source.recordings for path in recording]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of versions: their rows, and whether the speaker is the same."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    labels: NDArray[np.bool_]

    def kept(self, mask: NDArray[np.bool_]) -> "_Pairs":
        return _Pairs(self.first[mask], self.second[mask], self.labels[mask])


def _random_pairs(versions: _Versions, trials: TrialList, seed: int) -> _Pairs:
    """Each trial several times, each time in random versions of its two sides."""
    rng = np.random.default_rng(seed)
    count = int(np.clip(PAIRS // max(len(trials), 1), 1, MOST_PER_TRIAL))
    starts = np.searchsorted(versions.names, np.arange(len(trials.ids) + 1))  # where the versions of each name begin
    sizes = np.diff(starts)
    sides = []
    for side in (trials.enrolments, trials.tests):
        name = np.tile(side, count)
        sides.append(np.where(sizes[name] > 0, starts[name] + rng.integers(np.maximum(sizes[name], 1)), -1))
    pairs = _Pairs(sides[0], sides[1], np.tile(trials.labels, count))
    return pairs.kept((pairs.first >= 0) & (pairs.second >= 0))


def _pairs_alike(versions: _Versions, trials: TrialList, rows: NDArray[np.int64]) -> _Pairs:
    """The trials whose two sides there are in one condition, the versions of which lie in these rows."""
    row = np.full(len(trials.ids), -1)
    row[versions.names[rows]] = rows
    pairs = _Pairs(row[trials.enrolments], row[trials.tests], trials.labels)
    return pairs.kept((pairs.first >= 0) & (pairs.second >= 0))


def _judge(
    versions: _Versions,
    pairs: _Pairs,
    speakers: NDArray[np.int64],
    folds: NDArray[np.int64],
    fits: Sequence[ScoreMap],
    settings: CalibrationSettings,
) -> dict[str, Any]:
    """Figures of the pairs within a fold, by the map that was fitted without it."""
    own = folds[speakers[versions.names]]
    pairs = pairs.kept(own[pairs.first] == own[pairs.second])
    scores, llrs = versions.scores(pairs.first, pairs.second), np.empty(len(pairs.first))
    for fold, score_map in enumerate(fits):
        mask = own[pairs.first] == fold
        llrs[mask] = score_map.llr(scores[mask], versions.measures(pairs.first[mask], pairs.second[mask], score_map))
    rows = np.arange(len(versions.names)).astype(str)
    indices = (pairs.first.astype(np.int32), pairs.second.astype(np.int32))
    listed = TrialList(tuple(rows.tolist()), *indices, pairs.labels, indices[0], duplicates=0)
    judged = JudgedList(listed, llrs, llrs, speakers[versions.names], settings.resamples, settings.seed)
    figures = measure(judged) | measure_reliability(judged)
    counts = np.array([one["trials"] for one in figures["reliability"]])
    errors = np.array([abs(one["predicted"] - one["observed"]) for one in figures["reliability"]])
    figures["ece"] = float(counts @ errors / counts.sum())
    low, high = DecisionRule().limits(0.5)
    for kind, mask in (("targets", pairs.labels), ("nontargets", ~pairs.labels)):
        same, different = float((llrs[mask] >= high).mean()), float((llrs[mask] < low).mean())
        figures.setdefault("verdicts", {})[kind] = {
            "same": same,
            "inconclusive": 1.0 - same - different,
            "different": different,
        }
    return figures
