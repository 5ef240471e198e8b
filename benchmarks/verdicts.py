"""Calibrated verdicts on real speech: how often they are right, wrong and withheld, by length and noise.

    python benchmarks/verdicts.py CORPUS --model outputs/ecapa-small [--out outputs/verdicts] [--most 3]

CORPUS is the development corpus. The model is calibrated on the speakers of train/ whom it was not trained on, by
utterances as they are and by joined ones, and judged on the speakers of val/, whom nothing has heard. Utterances of a
speaker are joined until they last 10 s, so that they can be cut to 10, 5, 2 and 1 s. Every pair within a collection is
a trial (in wuw2, one speaker's come from different calls), never a pair of two collections, whose channels differ.

It writes the calibrated model, a reliability diagram and the two tables, in Markdown.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from corpus_trials import LISTS

from sound_groove.corpora.joining import join_neighbours
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.evaluation.calibrating import calibrate, check_calibration
from sound_groove.evaluation.calibration_material import CalibrationSettings
from sound_groove.evaluation.report.plots import plot_reliability
from sound_groove.evaluation.trials.sources import Source
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.export.calibrated_file import write_calibrated
from sound_groove.networks.trained_speakers import speaker_digest
from sound_groove.provenance import machine

PIECE_S = 10.0
DIFFERENT_CALLS = ("wuw2",)
THREADS = 2


class Piece(NamedTuple):
    """Utterances of one speaker and session, joined."""

    paths: tuple[Path, ...]
    speaker: str
    collection: str
    session: str


def main() -> None:
    """Calibrate, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("outputs/verdicts"))
    parser.add_argument("--most", type=int, help="pieces of a speaker and kind; all by default")
    parser.add_argument("--calibrate-only", action="store_true", help="do not judge the calibrated model")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = CalibrationSettings(threads=THREADS)

    encoder = SpeakerEncoder.load(arguments.model, threads=THREADS)
    rows = read_rows(
        arguments.corpus,
        lambda row: row["split"] == "train" and speaker_digest(row["speaker"]) not in encoder.trained_speakers,
    )
    about = "the held-out training speakers of the development corpus, pairs within a collection"
    sets = [drawn(joined(rows, least_s), arguments.most) for least_s in (0.0, PIECE_S)]
    fitted = calibrate(encoder, trials_of(*sets), about, settings)
    path = arguments.out / f"calibrated{'.onnx' if arguments.model.suffix == '.onnx' else '.safetensors'}"
    write_calibrated(arguments.model, fitted.score_map, path)
    print(f"calibrated on {fitted.speakers} speakers: {fitted.score_map.as_dict()}")
    print(table("condition, cross-validated", {"all, in random pairs": fitted.overall, **fitted.by_condition}))
    if arguments.calibrate_only:
        return

    encoder = SpeakerEncoder.load(path, threads=THREADS)
    pieces = drawn(joined(read_rows(arguments.corpus, lambda row: row["split"] == "val"), PIECE_S), arguments.most)
    together = check_calibration(encoder, trials_of(pieces), settings)
    overall = together.overall
    title = f"{encoder.identity.name}, {overall['trials']:,} pairs of {together.speakers} speakers, cut and noisy"
    plot_reliability(arguments.out / "reliability.png", overall["reliability"], overall["prior"], title)
    print(f"model {encoder.identity.name} {encoder.identity.hash[:12]}; {json.dumps(machine(THREADS))}\n")
    print(f"calibrated on {fitted.speakers} speakers, checked on {together.speakers} others\n")
    print(table("condition", {"all, in random pairs": overall, **together.by_condition}), flush=True)
    single = {name: [piece for piece in pieces if piece.collection == name] for name in LISTS}
    judged = {name: check_calibration(encoder, trials_of(own), settings).overall for name, own in single.items()}
    print("\n" + table("collection", judged))


def read_table(folder: Path) -> list[dict[str, str]]:
    """The rows of a manifest by path, which is made whole."""
    header, *lines = (folder / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    return sorted((row | {"path": str(folder / row["path"])} for row in rows), key=lambda row: row["path"])


def read_rows(corpus: Path, wanted: Callable[[Mapping[str, str]], bool]) -> list[dict[str, str]]:
    """The rows of the corpus's manifest that are wanted, by path, which is made whole."""
    return [row for row in read_table(corpus) if wanted(row)]


def joined(rows: Iterable[Mapping[str, str]], least_s: float) -> list[Piece]:
    """Utterances of a speaker and session, joined until each piece lasts so long; a short remainder stays one."""
    sessions: dict[tuple[str, str, str], list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        sessions[row["speaker"], row["corpus"], row["session"]].append(row)
    return [
        Piece(tuple(Path(row["path"]) for row in own[first:last]), *key)
        for key, own in sessions.items()
        for first, last in join_neighbours([float(row["duration_s"]) for row in own], least_s)
    ]


def drawn(pieces: list[Piece], most: int | None) -> list[Piece]:
    """At most so many pieces of each speaker, evenly spaced in their order; all when None."""
    own: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        own[piece.speaker].append(piece)
    if most is None:
        return pieces
    return [
        one[place]
        for one in own.values()
        for place in np.unique(np.linspace(0, len(one) - 1, min(most, len(one))).round().astype(int))
    ]


def trials_of(*sets: list[Piece]) -> TrialSet:
    """All pairs within a set and a collection; of one speaker's in different calls only, where there are calls."""
    pieces = [piece for own in sets for piece in own]
    ends = np.cumsum([0, *map(len, sets)]).tolist()
    pairs = [
        (i, j)
        for first, last in pairwise(ends)
        for i, j in combinations(range(first, last), 2)
        if is_trial(pieces[i], pieces[j])
    ]
    sides = np.array(pairs, dtype=np.int32).T
    speakers = np.unique([piece.speaker for piece in pieces], return_inverse=True)[1].astype(np.int64)
    names = tuple(f"{piece.speaker}/{number}" for number, piece in enumerate(pieces))
    lines = np.arange(1, len(pairs) + 1, dtype=np.int32)
    return TrialSet(
        TrialList(names, sides[0], sides[1], speakers[sides[0]] == speakers[sides[1]], lines, duplicates=0),
        tuple(Source((piece.paths,)) for piece in pieces),
        speakers,
        {"path": "pieces of the corpus", "sha256": "", "format": "pieces"},
        "pairs within a collection",
        speaker_names=tuple(piece.speaker for piece in pieces),
    )


def is_trial(a: Piece, b: Piece) -> bool:
    """Whether two pieces may be compared."""
    if a.collection != b.collection:
        return False
    return a.collection not in DIFFERENT_CALLS or a.speaker != b.speaker or a.session != b.session


def table(what: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Figures and verdicts as a Markdown table, in percent but for Cllr."""
    lines = [
        f"| {what} | trials (of one speaker) | EER | Cllr | min Cllr | one speaker: right | no verdict | wrong | "
        "two speakers: right | no verdict | wrong |",
        "| --- " * 11 + "|",
    ]
    for name, figures in rows.items():
        one, two = figures["verdicts"]["targets"], figures["verdicts"]["nontargets"]
        shares = [one[verdict] for verdict in ("same", "inconclusive", "different")]
        shares += [two[verdict] for verdict in ("different", "inconclusive", "same")]
        eer = "{value:.1f} [{low:.1f}, {high:.1f}]".format(
            **{key: 100 * figures["eer"][key] for key in ("value", "low", "high")}
        )
        lines.append(
            f"| {name} | {figures['trials']:,} ({figures['targets']:,}) | {eer} | {figures['cllr']['value']:.3f} | "
            f"{figures['min_cllr']['value']:.3f} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
