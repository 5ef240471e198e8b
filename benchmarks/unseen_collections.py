"""Calibrate a model over collections, and show what its probabilities are worth on a collection that was left out.

    python benchmarks/unseen_collections.py CORPUS --model pretrained.onnx --out calibrated.onnx [--speakers 30]
    python benchmarks/unseen_collections.py CORPUS --model pretrained.onnx campplus-zh-en.onnx --out both.onnx

CORPUS is the development corpus. The collections are the five of val/, the phones of more/labelled (coswara) and the
six of abroad/; none of their speakers was trained on. Utterances are taken as they are, and joined to 10 s; every pair
within a collection is a trial (in wuw2, one speaker's come from different calls). Each recording is also cut, and taken
with noise, other pauses, rooms and lines, for each side of a trial by itself (`sound-groove calibrate` says how).

It writes the calibrated model and prints its table, in Markdown: every line is of the map that was fitted without that
collection. Of two models it makes one, and prints the tables of each alone, too.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from verdicts import Piece, drawn, joined, read_table, trials_of

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.evaluation.calibrating import Judged, calibrate
from sound_groove.evaluation.calibration_material import CalibrationSettings
from sound_groove.evaluation.fusing import calibrate_fused
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.export.calibrated_file import write_calibrated
from sound_groove.export.fused_file import write_fused
from sound_groove.files import write_json
from sound_groove.provenance import machine

JOINED_S = 10.0
NUMBERS = "{:.1f} | {:.3f} | {:.3f} | {:.1f} | {:.1f} | {:.1f} | {:.1f}"  # of a row
PIECES = 80  # of a collection, about
ABOUT = "twelve collections: five of the development corpus, coswara, and six from abroad; pairs within a collection"


def main() -> None:
    """Calibrate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--maps", type=Path, help="also write the maps that were fitted without each collection (one model)"
    )
    parser.add_argument("--speakers", type=int, default=30, help="of a collection, evenly spaced; all if fewer")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    encoders = [SpeakerEncoder.load(path, threads=arguments.threads) for path in arguments.model]
    trial_set = trials_of_collections(arguments.corpus, arguments.speakers)
    settings = CalibrationSettings((1.0, 2.0, 5.0), threads=arguments.threads)
    labels = [f"{encoder.identity.name} {encoder.identity.hash[:12]}" for encoder in encoders]
    print(json.dumps(machine(arguments.threads)), flush=True)
    if len(encoders) == 1:
        judged = calibrate(encoders[0], trial_set, ABOUT, settings)
        write_calibrated(arguments.model[0], judged.score_map, arguments.out)
        tell(labels[0], judged)
        if arguments.maps is not None:
            write_json(arguments.maps, {name: one.as_dict() for name, one in judged.left_out.items()})
        return
    fused = calibrate_fused(encoders, trial_set, ABOUT, settings)
    write_fused(arguments.model, fused.shares, fused.judged.score_map, arguments.out)
    for label, judged in zip(labels, fused.alone, strict=True):
        tell(label, judged)
    tell(" + ".join(f"{share:.2f} {label}" for share, label in zip(fused.shares, labels, strict=True)), fused.judged)


def tell(label: str, judged: Judged) -> None:
    """Print what came of a model, but for the speakers."""
    about = {name: value for name, value in judged.score_map.as_dict().items() if name not in ("speakers", "reference")}
    print(f"\nmodel {label}: {judged.speakers} speakers, {judged.recordings} recordings; {json.dumps(about)}\n")
    print(table(judged), flush=True)


def trials_of_collections(corpus: Path, speakers: int) -> TrialSet:
    """Trials within each collection, of so many of its speakers: utterances as they are, and joined to 10 s."""
    single: list[Piece] = []
    long: list[Piece] = []
    for rows in collections(corpus):
        for pieces, found in ((single, joined(rows, 0.0)), (long, joined(rows, JOINED_S))):
            pieces += chosen(found, speakers)
    return trials_of(single, long).in_collections([piece.collection for piece in (*single, *long)])


def collections(corpus: Path) -> Iterator[list[dict[str, str]]]:
    """The rows of each collection's manifest, with whole paths."""
    found: dict[str, list[dict[str, str]]] = {}
    for folder, wanted in (
        (corpus, lambda row: row["split"] == "val"),
        (corpus / "more", lambda row: row["corpus"] == "coswara"),
        (corpus / "abroad", lambda row: True),
    ):
        for row in read_table(folder):
            if wanted(row):
                found.setdefault(row["corpus"], []).append(row)
    yield from found.values()


def chosen(pieces: list[Piece], most: int) -> list[Piece]:
    """Pieces of at most so many speakers, as many of each as make half of a collection of about `PIECES`."""
    speakers = sorted({piece.speaker for piece in pieces})
    kept = {
        speakers[place] for place in np.linspace(0, len(speakers) - 1, min(most, len(speakers))).round().astype(int)
    }
    return drawn([piece for piece in pieces if piece.speaker in kept], max(2, PIECES // 2 // len(kept)))


def table(judged: Judged) -> str:
    """What the map is worth on each collection that was left out, in Markdown."""
    lines = [
        "| collection, left out | trials (of one speaker) | EER % | Cllr | least | ECE % | strangers 'same' % | own "
        "'different' % | unfamiliar % | within 1.15 x least + 0.05 |",
        "| --- " * 10 + "|",
    ]
    within, shown = 0, []
    for name, figures in judged.by_collection.items():
        cost, least = figures["cllr"]["value"], figures["min_cllr"]["value"]
        wrong = [100 * figures["verdicts"]["nontargets"]["same"], 100 * figures["verdicts"]["targets"]["different"]]
        is_within = cost <= 1.15 * least + 0.05
        within += is_within
        unfamiliar = 100 * figures["unfamiliar"]
        shown.append((100 * figures["eer"]["value"], cost, least, 100 * figures["ece"], *wrong, unfamiliar))
        numbers = NUMBERS.format(*shown[-1])
        counts = f"{figures['trials']:,} ({figures['targets']:,})"
        lines.append(f"| {name} | {counts} | {numbers} | {'yes' if is_within else 'no'} |")
    means = NUMBERS.format(*np.mean(shown, axis=0))
    lines.append(f"| mean | | {means} | {within} of {len(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
