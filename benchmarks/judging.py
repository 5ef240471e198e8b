"""A model against two peers, in one table: the equal error rate of each trial list, by noise and length.

    python benchmarks/judging.py CORPUS --model outputs/mine [--cohort embeddings.npz] [--out outputs/judging]

CORPUS is the development corpus (its val/, val_trials/, noise/, noise.tsv and teacher.npz). Every system hears the same
recordings: as they are, and with noise and reverberation added (see corpus_trials.py), each of them whole and with both
sides of a trial cut to 1, 2 and 5 s from the middle. The systems are

    model        the model's embeddings, compared by their cosine
    as-norm      the same scores normalised by a cohort: a file that 'sound-groove embed' wrote, of other speakers
    teacher      the stored embeddings of a model of much more data; of clean, whole recordings only
    resemblyzer  a public peer with public weights, with its own preparation of the audio; where it is installed:
                 pip install librosa webrtcvad-wheels && pip install --no-deps resemblyzer==0.1.4

The table goes to stdout, and every figure, minDCF too, into a JSON file. Embeddings are kept below --out by model and
condition, so that a run that was stopped goes on where it was. Lists are never pooled.
"""

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from corpus_trials import (
    DEGRADED_SEED,
    LISTS,
    ROOMS,
    SNR_DB,
    TRAINING_NOISE,
    degrade,
    degraded_path,
    read_lists,
    recordings_of,
)
from judged_systems import (
    AbsentError,
    Condition,
    Embedded,
    System,
    embed_all,
    resemblyzer_system,
    sound_groove_system,
    teacher_embeddings,
)

from sound_groove.cli import describe
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import OutputError, SoundGrooveError, TrialError, UsageError, printable
from sound_groove.evaluation.cohort import Cohort, choose_cohort
from sound_groove.evaluation.figures import FEW_SPEAKERS, measure
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.scorings import Scoring, ScoringPlan, score_all
from sound_groove.evaluation.trials.trial_list import TrialList, file_sha256
from sound_groove.files import locked_folder, write_json, write_text, writing
from sound_groove.networks.trained_speakers import check_unheard
from sound_groove.provenance import machine, now, processor

SYSTEMS = ("model", "as-norm", "teacher", "resemblyzer")
RECORDINGS = ("clean", "degraded")
LENGTHS: tuple[float | None, ...] = (1.0, 2.0, 5.0, None)
TEACHER_NOTE = (
    "The teacher's embeddings are stored ones, of at most 10 s from the middle of the audio before it was encoded: a "
    "ceiling, of clean and whole recordings only."
)


@dataclass(frozen=True)
class Row:
    """The figures of one system under one condition.

    Attributes:
        condition: which.
        system: one of SYSTEMS.
        name: for the table.
        lists: name of a list to what `measure` says of it.
        embedded: what was scored.
    """

    condition: Condition
    system: str
    name: str
    lists: dict[str, dict[str, Any]]
    embedded: Embedded


@dataclass(frozen=True)
class Contest:
    """What is judged, and against whom.

    Attributes:
        corpus: the development corpus.
        out: where embeddings and degraded recordings are kept.
        lists: name to trials.
        model: the model.
        wanted: of SYSTEMS.
        cohort: for as-norm.
        peer: Resemblyzer, where it is wanted and there.
        teacher: its embeddings, where they are wanted and there.
        notes: sentences to stand below the table.
    """

    corpus: Path
    out: Path
    lists: Mapping[str, TrialList]
    model: System
    wanted: tuple[str, ...]
    cohort: Cohort | None = None
    peer: System | None = None
    teacher: Embedded | None = None
    notes: tuple[str, ...] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Judge, print, and give the exit status: 0 = done, 1 = could not, 2 = wrong use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="a model file or run folder")
    parser.add_argument("--cohort", type=Path, help="embeddings (.npz) of speakers who are in no trial, for as-norm")
    parser.add_argument("--out", type=Path, default=Path("outputs/judging"))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=None, help="default: all that there are")
    parser.add_argument("--lists", nargs="+", choices=LISTS, default=list(LISTS))
    parser.add_argument("--recordings", nargs="+", choices=RECORDINGS, default=list(RECORDINGS))
    parser.add_argument("--lengths", nargs="+", type=_length, default=list(LENGTHS), help="seconds, or 'whole'")
    parser.add_argument("--resamples", type=int, default=1000, help="draws of speakers for the intervals")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where every figure goes (default: judging.json below --out)")
    arguments = parser.parse_args(argv)
    try:
        judge(arguments)
    except (SoundGrooveError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def judge(arguments: argparse.Namespace) -> None:
    """Embed what is missing, score, print the table and write the JSON file."""
    wanted = arguments.systems or [name for name in SYSTEMS if name != "as-norm" or arguments.cohort]
    if "as-norm" in wanted and arguments.cohort is None:
        raise UsageError("as-norm needs --cohort: a .npz file that 'sound-groove embed' wrote, of other speakers")
    if arguments.resamples < 0 or arguments.threads < 1:
        raise UsageError("--resamples must be at least 0, and --threads at least 1")
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        raise UsageError(f"--json {printable(str(arguments.json))}: there is no such folder")
    everything = read_lists(arguments.corpus)
    lists = {name: everything[name] for name in LISTS if name in arguments.lists}
    every = recordings_of(everything.values())
    encoder = SpeakerEncoder.load(arguments.model, threads=arguments.threads)
    refuse_heard(encoder, lists)
    cohort = read_cohort(arguments.cohort, encoder, arguments.corpus, lists) if "as-norm" in wanted else None
    claim(arguments.out, arguments.corpus, every)
    with kept_to_oneself(arguments.out):
        contest = enter(arguments, lists, sound_groove_system(encoder), wanted, cohort)
        if "degraded" in arguments.recordings:
            degrade(arguments.corpus, every, arguments.out / "degraded")
        lengths = sorted(set(arguments.lengths), key=lambda length: length or np.inf)
        kinds = [kind for kind in RECORDINGS if kind in arguments.recordings]
        conditions = [Condition(kind, length) for kind in kinds for length in lengths]
        rows = [row for condition in conditions for row in judge_condition(contest, condition, arguments.resamples)]
        report(contest, rows, arguments)


def enter(
    arguments: argparse.Namespace,
    lists: Mapping[str, TrialList],
    model: System,
    wanted: Sequence[str],
    cohort: Cohort | None,
) -> Contest:
    """The model with those of its peers that are wanted and there."""
    contest = Contest(arguments.corpus, arguments.out, lists, model, tuple(wanted), cohort)
    try:
        if "resemblyzer" in wanted:
            contest = replace(contest, peer=resemblyzer_system(arguments.threads))
    except AbsentError as error:
        contest = _without(contest, "resemblyzer", error)
    try:
        if "teacher" in wanted:
            teacher = teacher_embeddings(arguments.corpus, recordings_of(lists.values()))
            contest = replace(contest, teacher=teacher, notes=(*contest.notes, TEACHER_NOTE))
    except AbsentError as error:
        contest = _without(contest, "teacher", error)
    return contest


def judge_condition(contest: Contest, condition: Condition, resamples: int) -> list[Row]:
    """The rows of one condition: the model's, then those of the peers."""
    degraded = contest.out / "degraded"
    files = {
        path: contest.corpus / path if condition.recordings == "clean" else degraded_path(degraded, path)
        for path in recordings_of(contest.lists.values())
    }
    cache = contest.out / "embeddings"
    rows = []
    if {"model", "as-norm"} & set(contest.wanted):
        embedded = embed_all(contest.model, condition, files, cache)
        for system, scoring in (("model", "cosine"), ("as-norm", "as-norm")):
            if system in contest.wanted:
                name = contest.model.name + (", AS-norm" if system == "as-norm" else "")
                of_lists = figures(embedded, contest, cast(Scoring, scoring), resamples)
                rows.append(Row(condition, system, name, of_lists, embedded))
    if contest.teacher is not None and condition == Condition("clean", None):
        of_lists = figures(contest.teacher, contest, "cosine", resamples)
        rows.append(Row(condition, "teacher", "teacher", of_lists, contest.teacher))
    if contest.peer is not None:
        embedded = embed_all(contest.peer, condition, files, cache)
        of_lists = figures(embedded, contest, "cosine", resamples)
        rows.append(Row(condition, "resemblyzer", contest.peer.name, of_lists, embedded))
    return rows


def figures(embedded: Embedded, contest: Contest, scoring: Scoring, resamples: int) -> dict[str, dict[str, Any]]:
    """What `measure` says of each list, by one scoring."""
    plan = ScoringPlan((scoring,), contest.cohort.source if contest.cohort and scoring == "as-norm" else None)
    found = {}
    for name, trials in contest.lists.items():
        own = embedded.embeddings[embedded.rows(trials.ids)]
        scores = score_all(plan, own, trials, contest.cohort)[scoring].scores
        speakers = np.unique(speakers_of(trials), return_inverse=True)[1].astype(np.int64)
        found[name] = measure(JudgedList(trials, scores, None, speakers, resamples))
    return found


def report(contest: Contest, rows: Sequence[Row], arguments: argparse.Namespace) -> None:
    """Write the JSON file, and print the table with what a reader must know of it."""
    facts = machine(arguments.threads)
    where = arguments.json or contest.out / "judging.json"
    systems = [system for system in (contest.model, contest.peer) if system is not None]
    cohort, trial_folder = contest.cohort, contest.corpus / "val_trials"
    content = {
        "made": now(),
        "corpus": str(contest.corpus),
        "systems": {system.key: {"name": system.name, "hash": system.hash} for system in systems},
        "teacher": None if contest.teacher is None else file_sha256(contest.corpus / "teacher.npz"),
        "cohort": cohort and {"source": str(cohort.source), "speakers": int(cohort.speakers.max()) + 1},
        "lists": {name: file_sha256(trial_folder / f"{name}.txt") for name in contest.lists},
        "degrading": degrading(),
        "machine": facts,
        "notes": list(contest.notes),
        "rows": [as_json(row, contest.lists) for row in rows],
    }
    write_json(where, content)
    for system in systems:
        print(f"{system.name}, SHA-256 of the weights {system.hash}  ")
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    print(f"{versions}, commit {facts['git_commit']}  ")
    print(f"{processor()}, {facts['threads']} thread{'s' * (facts['threads'] > 1)}, {facts['system']}\n")
    print("\n".join(table(rows, contest.lists)))
    for note in (*contest.notes, *remarks(rows, contest.lists, arguments.resamples)):
        print(f"\n{note}")
    print(f"every figure: {where}", file=sys.stderr)


def table(rows: Sequence[Row], lists: Mapping[str, TrialList]) -> list[str]:
    """The lines of the Markdown table: EER in percent, with its interval."""
    lines = [f"| recordings | length | system | {' | '.join(lists)} |", "| --- | --- | --- |" + " --: |" * len(lists)]
    for row in rows:
        cells = []
        for name in lists:
            eer = row.lists[name]["eer"]
            between = "" if eer["low"] is None else f" [{100 * eer['low']:.1f}, {100 * eer['high']:.1f}]"
            cells.append(f"{100 * eer['value']:.1f}{between}")
        lines.append(f"| {row.condition.recordings} | {row.condition.length} | {row.name} | {' | '.join(cells)} |")
    return lines


def remarks(rows: Sequence[Row], lists: Mapping[str, TrialList], resamples: int) -> list[str]:
    """What must be known to read the table."""
    counts = {name: len(set(speakers_of(trials))) for name, trials in lists.items()}
    told = "; ".join(f"{name} {len(trials):,} trials of {counts[name]} speakers" for name, trials in lists.items())
    found = [f"Equal error rates in percent, of each list for itself: {told}."]
    if resamples:
        few = [name for name, count in counts.items() if count < FEW_SPEAKERS]
        unsure = f"; those of {', '.join(few)} are of few speakers and themselves uncertain" if few else ""
        found.append(f"In brackets, 95 % intervals: {resamples:,} draws of speakers{unsure}.")
    every = recordings_of(lists.values())
    for row in rows:
        if silent := row.embedded.count_no_speech(every):
            found.append(
                f"{row.name} heard no speech in {silent:,} of {len(every):,} recordings ({row.condition.recordings}, "
                f"{row.condition.length}), which were embedded untrimmed."
            )
    cut = {row.condition.length: row.embedded for row in rows if row.condition.length_s is not None}
    for length, embedded in cut.items():
        told = ", ".join(f"{name} {embedded.count_cut(one.ids):,} of {len(one.ids):,}" for name, one in lists.items())
        found.append(f"Recordings that are longer than {length} and were cut: {told}.")
    return found


def as_json(row: Row, lists: Mapping[str, TrialList]) -> dict[str, Any]:
    """A row for the JSON file."""
    every = recordings_of(lists.values())
    return {
        "recordings": row.condition.recordings,
        "length_s": row.condition.length_s,
        "system": row.system,
        "name": row.name,
        "embedded": len(row.embedded.paths),
        "seconds": row.embedded.seconds,
        "cut": row.embedded.count_cut(every),
        "no_speech": row.embedded.count_no_speech(every),
        "lists": row.lists,
    }


def speakers_of(trials: TrialList) -> list[str]:
    """(ids,) the folder of each recording, which is its speaker."""
    return [PurePosixPath(name).parent.name for name in trials.ids]


def refuse_heard(encoder: SpeakerEncoder, lists: Mapping[str, TrialList]) -> None:
    """Do not judge a model on speakers that it knows.

    Raises:
        TrialError: it was trained on some of them.
    """
    names = {speaker for trials in lists.values() for speaker in speakers_of(trials)}
    if known := check_unheard(encoder.trained_speakers, names):
        raise TrialError(
            f"model '{printable(encoder.identity.name)}' was trained on {len(known)} of the {len(names)} speakers, "
            f"first '{printable(known[0])}', so its figures would be too good; judge a model that never heard them"
        )


def read_cohort(path: Path, encoder: SpeakerEncoder, corpus: Path, lists: Mapping[str, TrialList]) -> Cohort:
    """The cohort of AS-norm.

    Raises:
        CorpusError: it is none, is of another model, or has a voice that is in the trials.
    """
    chosen = choose_cohort(path, encoder)
    speakers = {speaker for trials in lists.values() for speaker in speakers_of(trials)}
    chosen.refuse_trial_voices(speakers, [(corpus / name,) for name in recordings_of(lists.values())])
    return chosen.embed(encoder, None, 1, allow_failures=False)


def degrading() -> dict[str, Any]:
    """How recordings are degraded."""
    return {"seed": DEGRADED_SEED, "rooms": ROOMS, "snr_db": list(SNR_DB), "without_noise_of": list(TRAINING_NOISE)}


def claim(out: Path, corpus: Path, paths: Sequence[str]) -> None:
    """Bind a folder of results to the recordings that they are of, so that none of others are taken from it.

    Raises:
        OutputError: it is of others, or cannot be written.
        OSError: a recording is missing.
    """
    sizes = [f"{path} {(corpus / path).stat().st_size}" for path in paths]
    digest = hashlib.sha256("\n".join([*sizes, repr(degrading())]).encode()).hexdigest()
    path = out / "corpus.sha256"
    if path.is_file():
        if path.read_text(encoding="utf-8").strip() != digest:
            raise OutputError(
                f"{printable(str(out))}: holds results of other recordings; remove it, or name another with --out"
            )
        return
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    write_text(path, digest + "\n")


def kept_to_oneself(out: Path) -> AbstractContextManager[None]:
    """Keep a second run away from a folder of results: each would overwrite what the other has embedded.

    Raises:
        OutputError: another run is using it.
    """
    complaint = f"{printable(str(out))}: another run is using it; wait, or name another folder with --out"
    return locked_folder(out, complaint)


def _without(contest: Contest, system: str, reason: AbsentError) -> Contest:
    """The contest without a peer that is not there."""
    print(reason, file=sys.stderr)
    wanted = tuple(name for name in contest.wanted if name != system)
    return replace(contest, wanted=wanted, notes=(*contest.notes, f"{reason}."))


def _length(text: str) -> float | None:
    if text == "whole":
        return None
    value = float(text)
    if not 0.1 <= value < np.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no length; give seconds of at least 0.1, or 'whole'")
    return value


if __name__ == "__main__":
    sys.exit(main())
