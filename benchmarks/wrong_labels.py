"""Are wrong labels found? Labels of a corpus are made wrong, and looked for.

    python benchmarks/wrong_labels.py embeddings.npz manifest.tsv [--corpus ocean] [--fdr 0.05]

The embeddings are a .npz file with `path` and `emb`, of `sound-groove embed` or of another model; the manifest is a
table with the columns path, speaker, corpus and session. Planted are exchanged labels (0, 1, 5 and 10 % of all
recordings), and, in a run of their own, labels of two people and people with two labels: of each a twelfth of the
speakers with six recordings and more of each collection. Prints tables in Markdown: found, precision, recall.
"""

import argparse
import csv
import time
from collections import Counter
from pathlib import Path

import numpy as np

from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.curation.examination import examine
from sound_groove.curation.findings import Examination, Labelled
from sound_groove.curation.heard import heard_corpus
from sound_groove.provenance import processor
from sound_groove.types import Embeddings, ModelIdentity

LEAST = 6  # recordings of a speaker that is put together with another, or cut in two
SHARE = 12  # one in so many


def examined(rows: list[dict[str, str]], labels: list[str], embeddings: Embeddings, rate: float) -> Examination:
    """What is found where the rows have these labels."""
    recordings = [
        Labelled(row["path"], label, f"{row['speaker']} {row['session']}")
        for row, label in zip(rows, labels, strict=True)
    ]
    facts, model = AudioFacts(10.0, 10.0, 20.0, 16_000), ModelIdentity("given", "")
    heard = (
        HeardRecording(row["path"], facts, (), row["path"], embedding=embedding, model=model)
        for row, embedding in zip(rows, embeddings, strict=True)
    )
    return examine(recordings, heard_corpus(heard), rate)


def ratio(part: int, whole: int) -> str:
    """In percent."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def exchanged(rows: list[dict[str, str]], embeddings: Embeddings, rate: float, name: str) -> None:
    """Exchange labels, and print what is found."""
    right = [row["speaker"] for row in rows]
    print("| corpus | exchanged | wrong, comparable | estimated | called wrong | precision | recall | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for share in (0.0, 0.01, 0.05, 0.1):
        draws = np.random.default_rng(5)
        chosen = draws.choice(len(rows), int(share * len(rows)), replace=False)
        labels = list(right)
        for row, other in zip(chosen, draws.permutation(chosen), strict=True):
            labels[row] = right[other]
        counts = Counter(labels)
        wrong = {
            row["path"]
            for row, label, own in zip(rows, labels, right, strict=True)
            if label != own and counts[label] > 1
        }
        start = time.process_time()
        found = examined(rows, labels, embeddings, rate)
        spent = time.process_time() - start
        called = {one.path for one in found.of_kind("wrong_label")}
        print(
            f"| {name} | {100 * share:.0f} % | {len(wrong)} | {found.wrong_share * found.compared:.0f} | "
            f"{len(called)} | "
            f"{ratio(len(called & wrong), len(called))} | {ratio(len(called & wrong), len(wrong))} | {spent:.0f} |",
            flush=True,
        )


def put_together(rows: list[dict[str, str]], embeddings: Embeddings, rate: float, name: str) -> None:
    """Put speakers together and cut others in two, and print what is found."""
    draws = np.random.default_rng(3)
    counts = Counter(row["speaker"] for row in rows)
    merged, cut, into = set[str](), set[str](), dict[str, str]()
    for corpus in sorted({row["corpus"] for row in rows}):
        speakers = sorted(
            {row["speaker"] for row in rows if row["corpus"] == corpus and counts[row["speaker"]] >= LEAST}
        )
        mixed = draws.permutation(speakers).tolist()
        some = len(mixed) // SHARE
        into |= dict(zip(mixed[some : 2 * some], mixed[:some], strict=True))
        merged |= set(mixed[:some])
        cut |= set(mixed[2 * some : 3 * some])
    labels = [
        f"{row['speaker']} again"
        if row["speaker"] in cut and draws.random() < 0.5
        else into.get(row["speaker"], row["speaker"])
        for row in rows
    ]
    found = examined(rows, labels, embeddings, rate)
    two = {one.speaker for one in found.of_kind("two_people")}
    pairs = [(one.speaker, one.other) for one in found.of_kind("one_person")]
    right = [pair for pair in pairs if pair[1] == f"{pair[0]} again"]
    print("| corpus | kind | planted | found | of these planted |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| {name} | labels of two people | {len(merged)} | {len(two)} | {len(two & merged)} |")
    print(f"| {name} | people with two labels | {len(cut)} | {len(pairs)} | {len(right)} |")


def main() -> None:
    """Plant, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--corpus", help="only of this collection (default: all)")
    parser.add_argument("--fdr", type=float, default=0.05)
    arguments = parser.parse_args()
    with np.load(arguments.embeddings) as stored:
        known = dict(zip(stored["path"].tolist(), stored["emb"].astype(np.float32), strict=True))
    with arguments.manifest.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["path"] in known]
    rows = [row for row in rows if arguments.corpus in (None, row["corpus"])]
    embeddings = np.stack([known[row["path"]] for row in rows])
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    print(f"{len(rows)} recordings of {len({row['speaker'] for row in rows})} speakers; {processor()}\n")
    exchanged(rows, embeddings, arguments.fdr, arguments.corpus or "all")
    print()
    put_together(rows, embeddings, arguments.fdr, arguments.corpus or "all")


if __name__ == "__main__":
    main()
