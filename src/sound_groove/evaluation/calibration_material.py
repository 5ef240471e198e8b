"""What a score map is fitted and judged on: embedded versions of the recordings of labelled trials, and pairs of them.

Every recording of the trials is taken as it is, in cuts of a few durations, and in one cut or whole with noise, with
other pauses, in a room and over a line; each trial is scored in several random pairs of such versions, with the
measures of both. Trials within a part are judged by a map that was fitted without it. The parts are the collections,
where there are three or more, since what differs from one collection to the next is what a user's recordings differ in;
else they are folds of the speakers, and nothing is learnt of other collections.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.listening import MINIMUM_SPEECH_S, HeardRecording, judge_samples
from sound_groove.audio.reading import read_recording
from sound_groove.comparison import check_prior
from sound_groove.encoder.listener import Listener
from sound_groove.errors import TrialError, UsageError, printable
from sound_groove.evaluation.embedding import Encoder
from sound_groove.evaluation.map_fitting import Fitted, Fitting, ScoredPairs
from sound_groove.evaluation.trials.known_speakers import find_known_speakers
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.evaluation.version_pairs import Pairs, Versions, random_pairs
from sound_groove.evaluation.versions import AS_IT_IS, conditions, drawn_conditions, make_versions
from sound_groove.networks.trained_speakers import speaker_digests
from sound_groove.progress import ProgressBar
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.measures import UNFAMILIARITY
from sound_groove.types import Samples, Scores

SHORTEST_S, LONGEST_S = 0.3, 600.0  # that recordings can be cut to
MOST_NAMES = 2_000  # recordings that are used; of more, so many are drawn
FOLDS = 5
FEWEST_COLLECTIONS = 3  # of fewer, nothing can be learnt by leaving one out
FEWEST_SPEAKERS = 10  # two in each fold
TALKERS = 6  # recordings that are kept for babble
FAMILIAR_SHARE = 0.98  # of unchanged recordings that count as familiar
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
class Judge:
    """What judges the trials of one part.

    Attributes:
        score_map: fitted without the part.
        versions: whose scores it takes; those of the material, or the same with other embeddings.
    """

    score_map: ScoreMap
    versions: Versions


@dataclass(frozen=True, slots=True)
class Material:
    """Versions of the recordings of trials, random pairs of them, and the parts that are left out in turn.

    Attributes:
        trials: that the versions are of.
        speakers: (names,) number of the speaker of each name.
        versions: of the recordings.
        pairs: of versions, each trial several times.
        folds: (speakers,) the part that each speaker is of.
        collections: names of the parts; empty where they are folds of the speakers.
        digests: of the names of the trials' speakers; none where nobody says who they are.
        mixed: recordings whose channels carry different sound and were averaged.
    """

    trials: TrialList
    speakers: NDArray[np.int64]
    versions: Versions
    pairs: Pairs
    folds: NDArray[np.int64]
    collections: tuple[str, ...]
    digests: tuple[str, ...]
    mixed: tuple[str, ...] = ()

    @classmethod
    def to_fit_on(cls, encoder: Encoder, trial_set: TrialSet, settings: CalibrationSettings) -> "Material":
        """Make and embed the versions, and draw the pairs, for fitting a map by leaving parts out.

        Args:
            encoder: the model.
            trial_set: labelled trials of speakers that were not trained on.
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
        return cls._embedded(encoder, trial_set, trials, settings, folds, collections)

    @classmethod
    def to_judge_on(cls, encoder: Encoder, trial_set: TrialSet, settings: CalibrationSettings) -> "Material":
        """The same for judging one map on all trials.

        Raises:
            TrialError: too few trials of a kind, or speakers that the model was trained or calibrated on.
            AudioError: a recording cannot be read.
        """
        trials, speakers = _chosen(encoder, trial_set, settings), trial_set.speakers
        if not settings.allow_trained_speakers and encoder.score_map is not None:
            fitted, names = frozenset(encoder.score_map.speakers), trial_set.speaker_names
            find_known_speakers(fitted, trials, trial_set.sources, names, "calibrated").refuse(encoder.identity.name)
        folds = np.zeros(int(speakers.max()) + 1, dtype=np.int64)  # a single one
        return cls._embedded(encoder, trial_set, trials, settings, folds, ())

    @classmethod
    def _embedded(
        cls,
        encoder: Encoder,
        trial_set: TrialSet,
        trials: TrialList,
        settings: CalibrationSettings,
        folds: NDArray[np.int64],
        collections: tuple[str, ...],
    ) -> "Material":
        versions, mixed = _embed(encoder, trial_set, trials, settings)
        pairs, digests = random_pairs(versions, trials, settings.seed), _digests(trial_set, trials)
        return cls(trials, trial_set.speakers, versions, pairs, folds, collections, digests, mixed)

    @property
    def parts(self) -> NDArray[np.int64]:
        """(V,) the part that each version is of."""
        return self.folds[self.speakers[self.versions.names]]

    @property
    def part_count(self) -> int:
        """How many parts there are."""
        return len(self.collections) or FOLDS

    @property
    def speaker_count(self) -> int:
        """How many speakers the trials are of."""
        return len(_present(self.trials, self.speakers))

    def fitted(self, fitted_on: str, settings: CalibrationSettings) -> Fitted:
        """The map of all parts, and those of the same making that were fitted without one each."""
        versions, pairs, own = self.versions, self.pairs, self.parts
        scores, measures = versions.scores(pairs.first, pairs.second), versions.measures(pairs.first, pairs.second)
        del measures[UNFAMILIARITY]  # by which the map fades, and does not bend
        means, near = None, None
        if self.collections:
            means = np.array(
                [versions.embeddings[own == part].mean(axis=0) for part in range(self.part_count)], np.float64
            )
            cosines = versions.embeddings @ means.T
            near = np.stack((cosines[pairs.first], cosines[pairs.second]))
        scored = ScoredPairs(scores, pairs.labels, measures, own[pairs.first], own[pairs.second], near)
        of_collections = bool(self.collections)
        found = Fitting(scored, self.part_count, of_collections, settings.prior, settings.seed, means).fit(fitted_on)
        without = tuple(
            replace(one, familiar_up_to=self.familiar_up_to(settings, part)) for part, one in enumerate(found.without)
        )
        return Fitted(replace(found.score_map, familiar_up_to=self.familiar_up_to(settings)), without)

    def unchanged(self, settings: CalibrationSettings) -> NDArray[np.bool_]:
        """(V,) versions that are whole recordings as they are."""
        wanted = [one.kind == AS_IT_IS and one.duration_s is None for one in conditions(settings.durations_s)]
        return np.array(wanted)[self.versions.kinds]

    def familiar_up_to(self, settings: CalibrationSettings, without: int | None = None) -> float:
        """Up to which unfamiliarity recordings are like these, of all parts or of all but one, which weigh the same.

        It is never lower than what the detector itself has as the limit of speech: recordings of one's own widen what
        is familiar, and do not narrow it.
        """
        rows = np.flatnonzero(self.unchanged(settings) & np.isfinite(self.versions.unfamiliarity))
        own = self.parts[rows]
        rows, own = (rows, own) if without is None else (rows[own != without], own[own != without])
        if not len(rows):
            return 0.0
        values = self.versions.unfamiliarity[rows]
        return max(0.0, weighted_quantile(values, 1.0 / np.bincount(own)[own], FAMILIAR_SHARE))


def weighted_quantile(values: Scores, weights: Scores, share: float) -> float:
    """The least of values (N,) that a share of the weight (N,) lies at or below."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, share * reached[-1])])


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


def _embed(
    encoder: Encoder, trial_set: TrialSet, trials: TrialList, settings: CalibrationSettings
) -> tuple[Versions, tuple[str, ...]]:
    """Make and hear the versions of all recordings; those with too little speech for a verdict are left out.

    Returns:
        The versions, and the recordings whose channels carry different sound.
    """
    wanted, seed = conditions(settings.durations_s), settings.seed
    names = np.unique(np.concatenate((trials.enrolments, trials.tests))).tolist()
    owners: list[int] = []
    kinds: list[int] = []
    mixed: list[str] = []
    talked: deque[tuple[int, Samples]] = deque(maxlen=TALKERS)  # speakers and recordings, for babble

    def versions() -> Iterator[Samples]:
        order = np.random.default_rng(seed).permutation(names).tolist()  # so that neighbours are different people
        for name in ProgressBar(order, desc="cutting and embedding", unit="recording", disable=None):
            samples, speaker = _read(trial_set, name, mixed), int(trial_set.speakers[name])
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
    kept_versions = Versions.of(np.array(owners)[rows], np.array(kinds)[rows], kept)
    return kept_versions, tuple(mixed)


def _read(trial_set: TrialSet, name: int, mixed: list[str]) -> Samples:
    """All audio of a name; several recordings are joined. Those that are of several sounds are put down in `mixed`."""
    source = trial_set.sources[name]
    if source.problem:
        raise TrialError(f"{trial_set.trials.ids[name]}: {source.problem}")
    parts = []
    for path in (path for recording in source.recordings for path in recording):
        read = read_recording(path)
        parts.append(read.samples)
        if read.channels.differing is not None:
            mixed.append(printable(str(path)))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
