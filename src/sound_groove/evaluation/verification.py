"""Judging a model on trials: embed each recording once, score each trial, measure, draw, write.

trial set (a list, or pairs of a validation set) -> embeddings -> scores -> figures with intervals -> result folder

Several trial sets are judged in one go, so that a recording which all of them have is embedded once.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.channels import mixed_notes
from sound_groove.errors import MetricError, OutputError, TrialError, UsageError, printable
from sound_groove.evaluation import results
from sound_groove.evaluation.against import compare
from sound_groove.evaluation.breakdown import Traits, break_down, find_traits
from sound_groove.evaluation.cohort import ChosenCohort, Cohort, choose_cohort
from sound_groove.evaluation.embedding import Encoder, describe
from sound_groove.evaluation.figures import FEW_SPEAKERS, measure_recall
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.other_scores import OtherScores
from sound_groove.evaluation.problems import MOST_NAMED, counted, tell_problems
from sound_groove.evaluation.reliability import measure_reliability
from sound_groove.evaluation.report.excerpts import excerpts_of
from sound_groove.evaluation.report.figure_options import FigureOptions
from sound_groove.evaluation.same_audio import describe_same_audio, same_audio, same_audio_notes
from sound_groove.evaluation.scorings import Scoring, ScoringPlan, describe_cohort, measure_all, score_all
from sound_groove.evaluation.trials.known_speakers import KnownSpeakers, find_known_speakers
from sound_groove.evaluation.trials.metadata import Metadata
from sound_groove.evaluation.trials.trial_list import CNCELEB
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.evaluation.usable import EmbeddedOnce, Usable, embed_once
from sound_groove.evaluation.worst import find_worst
from sound_groove.provenance import machine
from sound_groove.scoring.plda import check_speakers
from sound_groove.types import CropAveraging, Embeddings

MOST_WORST = 100  # of each kind: a page with the voices of more takes tens of megabytes


@dataclass(frozen=True, slots=True)
class VerificationSettings:
    """How to evaluate.

    Attributes:
        crops: how recordings are cut; None takes them whole.
        allow_missing: score the rest when recordings are missing or unreadable.
        resamples: draws of speakers for the intervals; 0 gives none.
        seed: of these draws.
        threads: that read recordings.
        allow_trained_speakers: judge a model on speakers that it was trained on.
        metadata: columns of a table by which to break the equal error rate down.
        worst: how many of the trials that are most wrong to list, of each kind.
        audio: put excerpts of their recordings into the report.
        figures: how the pictures are saved.
        scoring: which scorings, and the cohort that they need.
    """

    crops: CropAveraging | None = None
    allow_missing: bool = False
    resamples: int = 1000
    seed: int = 0
    threads: int = 1
    allow_trained_speakers: bool = False
    metadata: Metadata | None = None
    worst: int = 10
    audio: bool = False
    figures: FigureOptions = field(default_factory=FigureOptions)
    scoring: ScoringPlan = field(default_factory=ScoringPlan)

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.resamples < 0 or self.threads < 1 or self.seed < 0:
            raise UsageError("resamples and seed must be at least 0, and threads at least 1")
        if not 0 <= self.worst <= MOST_WORST:
            raise UsageError(f"--worst must lie between 0 and {MOST_WORST}; {self.worst} was given")
        if self.crops is not None and (self.crops.count < 1 or self.crops.frames < 1):
            raise UsageError("crops need a count and a length of at least 1")


@dataclass(frozen=True, slots=True)
class ListToJudge:
    """A trial set, and what is to come of it.

    Attributes:
        trial_set: what to judge a model on.
        out: folder for metrics.json, scores.tsv, the pictures and report.html.
        against: another system's scores of the trial set's trials, to compare with.
    """

    trial_set: TrialSet
    out: Path
    against: OtherScores | None = None


def evaluate(
    encoder: Encoder,
    trial_set: TrialSet,
    out: str | Path,
    settings: VerificationSettings | None = None,
    command: str = "",
    force: bool = False,
    say: Callable[[str], None] = lambda line: None,
    against: OtherScores | None = None,
) -> dict[str, Any]:
    """Judge a model on a trial set and write the result folder: `evaluate_lists` of one.

    Returns:
        What metrics.json holds.
    """
    return evaluate_lists(encoder, [ListToJudge(trial_set, Path(out), against)], settings, command, force, say)[0]


def evaluate_lists(
    encoder: Encoder,
    lists: Sequence[ListToJudge],
    settings: VerificationSettings | None = None,
    command: str = "",
    force: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Judge a model on trial sets, and write a result folder for each; a recording is embedded once for all of them.

    Args:
        encoder: the model.
        lists: what to judge it on, and where the results go.
        settings: how.
        command: the command line, for the record.
        force: replace earlier results.
        say: is told what went wrong with single files and how far the work is, line by line.

    Returns:
        What the metrics.json of each holds.

    Raises:
        OutputError: a folder holds a result already, or cannot be written.
        TrialError: recordings are missing or unreadable, and that is not allowed; failed_trials.tsv names the trials.
            Or the model was trained on speakers of the trials, and that is not allowed; or the table in `settings`
            knows none of the names.
        MetricError: the trials of a list are all of one kind, or the cohort is not fit for a scoring.
        CorpusError: the cohort cannot be used, or has speakers of the trials in it.
    """
    settings, started = settings or VerificationSettings(), time.monotonic()
    for each in lists:
        results.check_folder(each.out, force)
    known = [_check(encoder, each.trial_set, settings) for each in lists]
    trial_sets = [each.trial_set for each in lists]
    chosen = _choose_cohort(encoder, trial_sets, settings.scoring, say)
    embedded = embed_once(encoder, trial_sets, settings.crops, settings.threads, settings.allow_missing)
    _report_problems(lists, embedded, settings.allow_missing, say)
    cohort = None
    if chosen is not None:
        cohort = chosen.embed(encoder, settings.crops, settings.threads, settings.allow_missing)
    work = _Work(encoder, settings, command, embedded, cohort, started, time.monotonic() - started)
    return [_judge(work, each, checked, say) for each, checked in zip(lists, known, strict=True)]


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found out about a trial set before anything is embedded: whom the model knows, and the groups."""

    heard: KnownSpeakers
    known: KnownSpeakers
    traits: Traits


@dataclass(frozen=True, slots=True)
class _Work:
    """What all the lists of an evaluation share."""

    encoder: Encoder
    settings: VerificationSettings
    command: str
    embedded: EmbeddedOnce
    cohort: Cohort | None
    started: float
    embedding_s: float


def _check(encoder: Encoder, trial_set: TrialSet, settings: VerificationSettings) -> _Checked:
    """Refuse a trial set that the model cannot be judged on."""
    trials = trial_set.trials
    if trials.labels.all() or not trials.labels.any():
        kind = "same-speaker" if trials.labels.all() else "different-speaker"
        raise MetricError(f"all {len(trials)} trials are {kind} trials; both kinds are needed")
    heard = find_known_speakers(encoder.trained_speakers, trials, trial_set.sources, trial_set.speaker_names)
    if not settings.allow_trained_speakers:
        heard.refuse(encoder.identity.name)
    fitted = frozenset(() if encoder.score_map is None else encoder.score_map.speakers)
    known = find_known_speakers(fitted, trials, trial_set.sources, trial_set.speaker_names, "calibrated")
    return _Checked(heard, known, find_traits(trials.ids, trial_set.sources, trial_set.origin, settings.metadata))


def _judge(work: _Work, task: ListToJudge, checked: _Checked, say: Callable[[str], None]) -> dict[str, Any]:
    """Score the trials of a list, measure, draw and write; returns what metrics.json holds."""
    encoder, settings, trial_set = work.encoder, work.settings, task.trial_set
    usable, trials = work.embedded.usable(trial_set), trial_set.trials
    failed = results.failed_mask(trials, usable.reasons)
    trials = trials.kept(~failed) if usable.reasons else trials
    weigh = None if encoder.score_map is None else partial(usable.llrs, encoder.score_map, trials)
    drawn = (settings.resamples, settings.seed)
    scored = {
        name: JudgedList(trials, each.scores, each.llrs, trial_set.speakers, *drawn)
        for name, each in score_all(settings.scoring, usable.embeddings, trials, work.cohort, weigh).items()
    }
    judged = scored[settings.scoring.main]
    figures = measure_all(scored)
    other = None if task.against is None else task.against.only(~failed)
    embeddings, speakers = usable.embeddings[trials.used], trial_set.speakers[trials.used]
    recall, no_recall = measure_recall(embeddings, speakers, *drawn)
    breakdowns, notes_on_groups = break_down(judged, usable.durations_s, checked.traits)
    repeated = describe_same_audio(trials, same_audio(trials, usable.digests))
    notes = [
        *checked.heard.notes(),
        *checked.known.notes(),
        *trial_set.notes,
        *same_audio_notes(repeated),
        *mixed_notes(usable.mixed),
        *([no_recall] if no_recall else []),
        *(other.notes if other else ()),
        *_notes_on_size(figures["interval"]["speakers"], failed),
        *notes_on_groups,
    ]
    metrics = {
        **figures,
        "against": other and compare(judged, other),
        "cohort": describe_cohort(settings.scoring, work.cohort),
        "breakdowns": breakdowns,
        "same_audio": repeated,
        "channels_differ": {"recordings": len(usable.mixed), "first": list(usable.mixed[:MOST_NAMED])},
        "worst": find_worst(judged, trial_set.sources, settings.worst),
        **recall,
        **_circumstances(encoder, trial_set, usable, failed, settings),
        "trained_speakers": checked.heard.as_dict(),
        "calibration": _describe_calibration(judged, figures),
        "command": work.command,
    }
    try:
        with results.result_folder(task.out) as folder:
            say("drawing and writing")
            if usable.reasons:
                results.write_failed(folder / results.FAILED, trial_set.trials, usable.reasons)
            for name, each in scored.items():
                file = results.SCORES if name == settings.scoring.main else results.scores_of(name)
                results.write_scores(folder / file, each)
            names = _names_of_speakers(trial_set, trials.used)
            notes += _draw(folder, _Drawn(scored, other, embeddings, speakers, names, settings.figures), metrics)
            elapsed_s = {"embedding": round(work.embedding_s, 2), "total": round(time.monotonic() - work.started, 2)}
            metrics = {**metrics, "elapsed_s": elapsed_s, "notes": notes}
            from sound_groove.evaluation.report.page import write_report

            excerpts = excerpts_of(metrics["worst"]) if settings.audio else {}
            write_report(folder / results.REPORT, metrics, [folder / name for name in results.PICTURES], excerpts)
            results.write_metrics(folder / results.METRICS, metrics)
    except OSError as error:
        raise OutputError(f"{task.out}: the result cannot be written: {error.strerror or error}") from error
    return metrics


def _notes_on_size(speakers: int, failed: NDArray[np.bool_]) -> list[str]:
    """That there are few speakers, and that trials could not be scored."""
    notes = []
    if speakers < FEW_SPEAKERS:
        notes.append(f"there are only {speakers} speakers, so the intervals are rough")
    if failed.any():
        notes.append(f"{np.count_nonzero(failed)} of {len(failed)} trials could not be scored and are left out")
    return notes


def _describe_calibration(judged: JudgedList, figures: dict[str, Any]) -> dict[str, Any] | None:
    """What the log-likelihood ratios cost, and whether the probabilities are true; None where there are none."""
    if judged.llrs is None:
        return None
    costs = {"cllr": "cllr", "min_cllr": "min_cllr", "loss": "calibration_loss"}
    return {name: figures[key]["value"] for name, key in costs.items()} | measure_reliability(judged)


def _choose_cohort(
    encoder: Encoder, trial_sets: Sequence[TrialSet], plan: ScoringPlan, say: Callable[[str], None]
) -> ChosenCohort | None:
    """The recordings of the cohort, checked for what would make it unfit; None where no scoring needs one."""
    if plan.cohort is None:
        return None
    chosen = choose_cohort(plan.cohort, encoder, plan.utterances)
    for trial_set in trial_sets:
        recordings = (recording for source in trial_set.sources for recording in source.recordings)
        chosen.refuse_trial_voices(trial_set.speaker_names or (), recordings)
    codes = chosen.codes()
    if "plda" in plan.names:
        check_speakers(codes)
    first = f"{describe(chosen.recordings[0])} is of '{printable(chosen.speakers[0])}'"
    say(f"cohort: {counted(len(codes), 'recording')} of {counted(int(codes.max()) + 1, 'speaker')}; {first}")
    return chosen


def _circumstances(
    encoder: Encoder, trial_set: TrialSet, usable: Usable, failed: NDArray[np.bool_], settings: VerificationSettings
) -> dict[str, Any]:
    """What a reader needs to know to repeat the figures."""
    crops, labels = settings.crops, trial_set.trials.labels
    score_map = encoder.score_map if settings.scoring.main == "cosine" else None  # it is of the cosine
    return {
        "protocol": trial_set.protocol,
        "crops": None if crops is None else {"count": crops.count, "frames": crops.frames},
        "model": {"name": encoder.identity.name, "hash": encoder.identity.hash},
        "score_map": None if score_map is None else score_map.as_dict(),
        "trial_list": trial_set.origin,
        "metadata": None if settings.metadata is None else settings.metadata.record(),
        "recordings": usable.recordings,
        "audio_s": round(usable.audio_s, 1),
        "duplicates": trial_set.trials.duplicates,
        "missing": {
            "recordings": len(usable.problems),
            "trials": int(failed.sum()),
            "targets": int((failed & labels).sum()),
            "nontargets": int((failed & ~labels).sum()),
        },
        "machine": machine(settings.threads),
    }


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What the pictures of a list show.

    Attributes:
        scored: the list, by each scoring, the main one first.
        other: another system's scores of its trials; None for none.
        embeddings: (N, D) of the names that have a trial.
        speakers: (N,) who speaks in each.
        names: of the speakers, by their numbers, where they have any.
        options: how the pictures are saved.
    """

    scored: dict[Scoring, JudgedList]
    other: OtherScores | None
    embeddings: Embeddings
    speakers: NDArray[np.int64]
    names: dict[int, str]
    options: FigureOptions


def _names_of_speakers(trial_set: TrialSet, used: NDArray[np.int64]) -> dict[int, str]:
    """What the speakers of some names are called, by their numbers; nothing where nobody said so."""
    if trial_set.speaker_names is None:
        return {}
    return {int(trial_set.speakers[index]): printable(trial_set.speaker_names[index]) for index in used.tolist()}


def _draw(folder: Path, drawn: _Drawn, metrics: dict[str, Any]) -> list[str]:
    """The pictures; the reason for one that is left out, if one is."""
    from sound_groove.evaluation.report import error_curves, plots

    judged, options = drawn.scored[metrics["scoring"]], drawn.options
    title = f"{metrics['model']['name']} on {Path(metrics['trial_list']['path']).name}, {len(judged):,} trials"
    roc_path, det_path, histogram_path, tsne_path = (folder / name for name in results.PICTURES[:4])
    systems = error_curves.systems_of(metrics["model"]["name"], metrics["scoring"], drawn.scored, drawn.other)
    error_curves.plot_roc(roc_path, systems, title, metrics["nontargets"], options)
    error_curves.plot_det(det_path, systems, title, metrics["targets"], metrics["nontargets"], options)
    threshold = metrics["eer"]["threshold"]
    plots.plot_histogram(histogram_path, judged.scores, judged.labels, threshold, title, metrics["scoring"], options)
    reason = plots.plot_tsne(tsne_path, drawn.embeddings, drawn.speakers, title, drawn.names, options)
    if calibration := metrics["calibration"]:
        bins, prior = calibration["reliability"], calibration["prior"]
        plots.plot_reliability(folder / results.RELIABILITY, bins, prior, title, options)
    for breakdown in metrics["breakdowns"]:
        if breakdown["by"] == "genre" and breakdown["kind"] == "pairs":
            sides = (
                ("enrolment", "test") if metrics["trial_list"]["format"] == CNCELEB.name else ("one side", "the other")
            )
            plots.plot_pairs(folder / results.GENRE_PAIRS, breakdown["groups"], sides, title, options)
    return [reason] if reason else []


def _report_problems(
    lists: Sequence[ListToJudge], embedded: EmbeddedOnce, allowed: bool, say: Callable[[str], None]
) -> None:
    """Tell which recordings cannot be used and what that costs; end here unless that is allowed."""
    refusals = []
    for each in lists:
        if not embedded.has_problems(each.trial_set):
            continue
        usable, trials = embedded.usable(each.trial_set), each.trial_set.trials
        failed = results.failed_mask(trials, usable.reasons)
        summary = tell_problems(usable, trials, failed, say)
        if allowed:
            if failed.all():
                raise TrialError(f"{summary}: there is nothing to measure")
            continue
        try:
            each.out.mkdir(parents=True, exist_ok=True)
            results.write_failed(each.out / results.FAILED, trials, usable.reasons)
        except OSError as error:
            raise OutputError(f"{each.out}: cannot be written: {error.strerror or error}") from error
        refusals.append(f"{summary}, named in {each.out / results.FAILED}")
    if refusals:
        raise TrialError(f"{'; '.join(refusals)}; mend them, or pass --allow-missing to score the rest")
