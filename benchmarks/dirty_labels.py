"""What wrong labels cost, and what of it comes back: one small run on right, wrong, cleaned and doubted labels.

    python benchmarks/dirty_labels.py CORPUS --out outputs/dirty [--share 0.1] [--seeds 0 1 2]

CORPUS is the development corpus. A share of the training recordings exchange their labels, drawn at random; those of
the 50 speakers held out, and the trials, keep theirs. The wrong labels are looked for as `sound-groove doctor` does, on
CORPUS/teacher.npz, embeddings of another model than the one that is trained. Every run is recipes/corpus/ablation.yaml,
with one thread; runs that are finished are not made again. Prints the EER on each list of trials, in Markdown.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from ablation import Judging, decode, finish
from corpus_trials import LISTS, read_lists, recordings_of
from wrong_labels import examined

from sound_groove.corpora.manifest import MANIFEST_NAME, read_manifest
from sound_groove.curation.corpus import CHOICES_FILE, NOISE_FILE, write_examination
from sound_groove.curation.findings import Labelled
from sound_groove.files import read_json, write_text
from sound_groove.provenance import processor

HELD_OUT = 50  # speakers
COMMON = ("training.precision=auto",)
FDR = 0.05


def main() -> None:
    """Exchange labels, look for them, train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.1, help="of the labels that are exchanged (default: 0.1)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    out, corpus = arguments.out.absolute(), arguments.corpus.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with (corpus / "manifest.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "train"]
    right = [row["speaker"] for row in rows]
    prepare(corpus, rows, right, out, "true")
    held_out = {one.speaker for one in read_manifest(out / "true") if one.split == "validation"}
    labels = exchanged(right, held_out, arguments.share)
    prepare(corpus, rows, labels, out, "dirty")
    look(corpus, rows, labels, out)
    trials = read_lists(corpus)
    clean = out / "clean"
    decode(corpus, recordings_of(trials.values()), clean)
    systems = {
        "right": [f"data.prepared={out / 'true'}"],
        "wrong": [f"data.prepared={out / 'dirty'}"],
        "cleaned": [f"data.prepared={out / 'dirty'}", f"data.exclude={out / 'doctor' / CHOICES_FILE}"],
        "doubted": [f"data.prepared={out / 'dirty'}", f"data.label_noise={out / 'doctor' / NOISE_FILE}"],
    }
    for seed in arguments.seeds:
        for name, words in systems.items():
            finish(out / f"{name}-{seed}", [*words, f"seed={seed}", *COMMON], Judging(trials, {"clean": clean}, "cpu"))
            print(f"{name}-{seed} is done", file=sys.stderr, flush=True)
    wrong = sum(label != own for label, own in zip(labels, right, strict=True))
    print(f"{wrong:,} of {len(rows):,} labels are wrong; {processor()}\n\n{table(out, list(systems))}")


def prepare(corpus: Path, rows: list[dict[str, str]], labels: list[str], out: Path, name: str) -> None:
    """Prepare the recordings with these labels, once."""
    if (out / name / MANIFEST_NAME).exists():
        return
    lines = (f"{corpus / row['path']}\t{label}\n" for row, label in zip(rows, labels, strict=True))
    write_text(out / f"{name}.tsv", "".join(lines))
    command = [sys.executable, "-m", "sound_groove", "prepare", "list", str(out / f"{name}.tsv"), "--pack"]
    subprocess.run([*command, "--validation-speakers", str(HELD_OUT), "--out", str(out / name)], check=True)


def exchanged(right: list[str], held_out: set[str], share: float) -> list[str]:
    """Labels of which a share have been exchanged, but for those of speakers who are held out."""
    draws = np.random.default_rng(5)
    may = [row for row, speaker in enumerate(right) if speaker not in held_out]
    chosen = draws.choice(may, round(share * len(may)), replace=False)
    labels = list(right)
    for row, other in zip(chosen, draws.permutation(chosen), strict=True):
        labels[row] = right[other]
    return labels


def look(corpus: Path, rows: list[dict[str, str]], labels: list[str], out: Path) -> None:
    """Look for wrong labels, and write what is to be done about them."""
    if (out / "doctor" / NOISE_FILE).exists():
        return
    with np.load(corpus / "teacher.npz") as stored:
        known = dict(zip(stored["path"].tolist(), stored["emb"].astype(np.float32), strict=True))
    embeddings = np.stack([known[row["path"]] for row in rows])
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    located = [{**row, "path": str(corpus / row["path"])} for row in rows]
    found = examined(located, labels, embeddings, FDR)
    recordings = [
        Labelled(row["path"], label, f"{row['speaker']} {row['session']}")
        for row, label in zip(located, labels, strict=True)
    ]
    (out / "doctor").mkdir(exist_ok=True)
    write_examination(out / "doctor", recordings, found)


def table(out: Path, names: list[str]) -> str:
    """The results, EER in percent: means over the seeds, and how these spread."""
    lines = [f"| labels | seeds | {' | '.join(LISTS)} | mean |", "| --- " * (len(LISTS) + 3) + "|"]
    for name in names:
        found = [read_json(path)["clean"] for path in sorted(out.glob(f"{name}-[0-9]*/eer.json"))]
        rows = [[100 * one[list_name] for list_name in LISTS] for one in found]
        means = [mean(row) for row in rows]
        spread = f" ± {stdev(means):.2f}" if len(means) > 1 else ""
        cells = [f"{mean(column):.1f}" for column in zip(*rows, strict=True)]
        lines.append(f"| {name} | {len(found)} | {' | '.join(cells)} | **{mean(means):.2f}**{spread} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
