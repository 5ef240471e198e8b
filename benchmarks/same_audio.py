"""Is the same audio found twice? Copies of recordings are made, encoded anew, cut and louder, and looked for.

    python benchmarks/same_audio.py FOLDER manifest.tsv [--count 100]

The manifest is a table with a column `path`, below the folder. The copies are of recordings drawn at random, as many of
each kind, and all recordings are looked through with them. What is found among the recordings themselves is listed: it
is to be listened to, for a corpus may hold copies.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr

from sound_groove.audio.fingerprint import fingerprint, landmarks
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.audio.reading import load_audio
from sound_groove.curation.copies import find_copies
from sound_groove.curation.heard import heard_corpus
from sound_groove.provenance import processor
from sound_groove.types import Samples


def coded(samples: Samples, form: str, subtype: str, level: float, rate: int = SAMPLE_RATE) -> Samples:
    """Written and read again in a lossy format; the level goes from 0 (best) to 1."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "coded"
        with soundfile.SoundFile(path, "w", rate, 1, subtype, format=form, compression_level=level) as file:
            file.write(samples)
        found, rate = soundfile.read(path, dtype="float32")
    return np.asarray(soxr.resample(found, rate, SAMPLE_RATE), np.float32)


def cut(samples: Samples, start: float, end: float) -> Samples:
    """A part, from and to a share of the whole, and a few samples later."""
    return samples[int(start * len(samples)) + 77 : int(end * len(samples))]


def telephone(samples: Samples) -> Samples:
    """At 8 kHz."""
    return np.asarray(soxr.resample(samples, SAMPLE_RATE, 8000), np.float32)


KINDS: dict[str, Callable[[Samples], Samples]] = {
    "Opus": lambda x: coded(x, "OGG", "OPUS", 0.9),
    "MP3": lambda x: coded(x, "MP3", "MPEG_LAYER_III", 0.9),
    "Vorbis": lambda x: coded(x, "OGG", "VORBIS", 0.95),
    "a tenth as loud": lambda x: 0.1 * x,
    "clipped": lambda x: np.clip(6 * x, -1, 1),
    "8 kHz": lambda x: soxr.resample(telephone(x), 8000, SAMPLE_RATE),
    "60 % of it": lambda x: cut(x, 0.2, 0.8),
    "the second half": lambda x: cut(x, 0.5, 1.0),
    "60 %, 8 kHz, MP3": lambda x: coded(0.2 * telephone(cut(x, 0.2, 0.8)), "MP3", "MPEG_LAYER_III", 0.9, 8000),
}


def main() -> None:
    """Make copies, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--count", type=int, default=100, help="copies of each kind (default: 100)")
    parser.add_argument("--most", type=int, help="recordings at most (default: all)")
    arguments = parser.parse_args()
    with arguments.manifest.open(encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file, delimiter="\t")][: arguments.most]
    draws = np.random.default_rng(1)
    planted: list[tuple[str, int]] = []
    samples: list[Samples] = []
    for kind, make in KINDS.items():
        for row in draws.choice(len(paths), arguments.count, replace=False).tolist():
            planted.append((kind, row))
            samples.append(make(load_audio(arguments.folder / paths[row])).astype(np.float32))

    def opened(row: int) -> Samples:
        return load_audio(arguments.folder / paths[row]) if row < len(paths) else samples[row - len(paths)]

    start, seconds = time.process_time(), 0.0
    heard, lengths = [], []
    for row in range(len(paths) + len(planted)):
        one = opened(row)
        seconds += len(one) / SAMPLE_RATE
        lengths.append(len(one) / SAMPLE_RATE)
        facts = AudioFacts(lengths[-1], lengths[-1], 20.0, SAMPLE_RATE)
        heard.append(HeardRecording("", facts, (), str(row), landmarks=landmarks(fingerprint(one))))
    spent = time.process_time() - start
    corpus = heard_corpus(heard)
    start = time.process_time()
    # A copy is as long as its original or shorter, so it is the one that is named.
    found = find_copies(corpus, lambda row: (opened(row), SAMPLE_RATE))
    searched = time.process_time() - start
    print(
        f"{len(heard):,} recordings, {seconds / 3600:.1f} h; {processor()}; {spent:.0f} s of one core for reading and "
        f"landmarks, {searched:.1f} s for the search\n"
    )
    sides = {frozenset((copy.row, copy.of)) for copy in found}
    rows_found = {row for pair in sides for row in pair}
    print("| copy | made | found | of at least 2 s, found |")
    print("| --- | --- | --- | --- |")
    for kind in KINDS:
        own = [len(paths) + place for place, (of, _) in enumerate(planted) if of == kind]
        long = [row for row in own if lengths[row] >= 2]
        shares = [f"{sum(row in rows_found for row in some)} of {len(some)}" for some in (own, long)]
        print(f"| {kind} | {len(own)} | {shares[0].split(' of ')[0]} | {shares[1]} |")

    def root(row: int) -> int:
        return row if row < len(paths) else planted[row - len(paths)][1]

    others = [copy for copy in found if root(copy.row) != root(copy.of)]
    pairs = len(paths) * (len(paths) - 1) // 2
    print(f"\namong {pairs:,} pairs of different recordings, {len(others)} are called copies")
    for copy in others:
        a, b = root(copy.row), root(copy.of)
        print(f"  {paths[a]} {paths[b]} {copy.likeness}")


if __name__ == "__main__":
    main()
