"""What an evaluation leaves on disk, written so that no file under a final name is ever partial."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sound_groove.errors import OutputError, printable
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.scorings import SCORINGS, Scoring
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.files import json_text, replaced
from sound_groove.progress import ProgressBar

METRICS, SCORES, REPORT, FAILED = "metrics.json", "scores.tsv", "report.html", "failed_trials.tsv"
RELIABILITY, GENRE_PAIRS = "reliability.png", "genre_pairs.png"
PICTURES = ("roc.png", "det.png", "score_hist.png", "tsne.png", RELIABILITY, GENRE_PAIRS)
VECTORS = tuple(f"{Path(name).stem}.{form}" for name in PICTURES for form in ("svg", "pdf"))  # with --figures
OTHER_SCORES = tuple(f"scores-{name}.tsv" for name in SCORINGS)  # of scorings that are not the main one
RESULTS = (
    METRICS,
    SCORES,
    REPORT,
    *PICTURES,
    *VECTORS,
    *OTHER_SCORES,
)  # their presence means: an evaluation was finished here
ROWS = 100_000  # written at a time


def check_folder(out: Path, force: bool) -> None:
    """Refuse to start when the result could not be put where it should go.

    Raises:
        OutputError: `out` is a file, or holds a result and `force` was not given.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, not a folder; choose another --out")
    if not force and (there := [name for name in RESULTS if (out / name).exists()]):
        raise OutputError(
            f"{out}: holds a result already ({there[0]}); pass --force to replace it, or choose another --out"
        )


@contextmanager
def result_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well, or whose files replace the earlier result there.

    In a folder that is there metrics.json goes first and comes last: where it is, the files beside it belong to it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}-{secrets.token_hex(4)}.partial"
    partial.mkdir()
    try:
        yield partial
        if not out.exists():
            partial.rename(out)  # all at once: a kill leaves all of it or nothing
            return
        for name in (*RESULTS, FAILED):
            (out / name).unlink(missing_ok=True)
        for path in sorted(partial.iterdir(), key=lambda path: (path.name == METRICS, path.name)):
            path.replace(out / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def scores_of(scoring: Scoring) -> str:
    """The file of the scores of a scoring that is not the main one."""
    return OTHER_SCORES[SCORINGS.index(scoring)]


def write_scores(path: Path, judged: JudgedList) -> None:
    """One line a trial: enrolment, test, score, llr (empty without calibration), label (1 = same speaker)."""
    trials, scores, llrs = judged.trials, judged.scores, judged.llrs
    names = [printable(name) for name in trials.ids]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("enrolment\ttest\tscore\tllr\tlabel\n")
        for start in ProgressBar(range(0, len(trials), ROWS), desc="writing scores", leave=False, disable=None):
            part = slice(start, start + ROWS)
            ratios = [""] * len(scores[part]) if llrs is None else [f"{llr:.6f}" for llr in llrs[part].tolist()]
            columns = (trials.enrolments, trials.tests, scores, trials.labels)
            rows = zip(*(column[part].tolist() for column in columns), ratios, strict=True)
            file.writelines(
                f"{names[enrolment]}\t{names[test]}\t{score:.6f}\t{llr}\t{label:d}\n"
                for enrolment, test, score, label, llr in rows
            )


def write_failed(path: Path, trials: TrialList, reasons: dict[int, str]) -> None:
    """One line for each trial that cannot be scored, and why.

    Args:
        path: file to write.
        trials: all of them.
        reasons: by index of the name that cannot be used.
    """
    names = [printable(name) for name in trials.ids]
    clauses = {index: printable(reason) for index, reason in reasons.items()}
    with replaced(path) as file:
        file.write("line\tenrolment\ttest\tlabel\treason\n")
        for index in np.flatnonzero(failed_mask(trials, reasons)).tolist():
            enrolment, test = int(trials.enrolments[index]), int(trials.tests[index])
            why = "; ".join(dict.fromkeys(clauses[side] for side in (enrolment, test) if side in clauses))
            label = int(trials.labels[index])
            file.write(f"{trials.lines[index]}\t{names[enrolment]}\t{names[test]}\t{label}\t{why}\n")


def failed_mask(trials: TrialList, reasons: dict[int, str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(trials,) whether a side of the trial cannot be used."""
    bad = np.zeros(len(trials.ids), dtype=np.bool_)
    bad[list(reasons)] = True
    return np.asarray(bad[trials.enrolments] | bad[trials.tests])


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """metrics.json: one object, strictly JSON."""
    path.write_text(json_text(metrics), encoding="utf-8")
