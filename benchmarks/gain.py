"""What a gain does to scores: of floating-point samples, and of files that hold 16 bits.

    python benchmarks/gain.py CORPUS [--model pretrained] [--recordings 60]

CORPUS is the development corpus. Recordings of val/ are made quieter and compared with the next one of the list as it
is. Printed is by how much the cosine changes, at most and in the median: from a gain in floating point, which should
change nothing, and from the same gain in a 16-bit file, whose steps then lie nearer to the voice.
"""

import argparse
from pathlib import Path

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.provenance import processor
from sound_groove.types import Embeddings, Samples

GAINS_DB = (-10, -20, -30, -40, -45)
LONGEST_S = 10


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--recordings", type=int, default=60)
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    paths = sorted((arguments.corpus / "val").rglob("*.opus"))
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, arguments.recordings).astype(int)]
    recordings = [load_audio(path)[: LONGEST_S * SAMPLE_RATE] for path in chosen]
    expected = encoder.embed(recordings)
    others = np.roll(expected, 1, axis=0)
    print(f"model {encoder.identity.label}, {len(recordings)} recordings, {processor()}\n")
    print("| gain, dB | floating point: most | median | 16 bits: most | median |")
    print("| --- | --: | --: | --: | --: |")
    for gain_db in GAINS_DB:
        quieter: list[Samples] = [np.float32(10 ** (gain_db / 20)) * samples for samples in recordings]
        rounded: list[Samples] = [(np.round(samples * 32768) / 32768).astype(np.float32) for samples in quieter]
        cells = [
            f"{change:.4f}"
            for ways in (quieter, rounded)
            for change in of_scores(encoder.embed(ways), expected, others)
        ]
        print(f"| {gain_db} | {' | '.join(cells)} |", flush=True)


def of_scores(found: Embeddings, expected: Embeddings, others: Embeddings) -> tuple[float, float]:
    """The largest and the median change of the cosines with other recordings."""
    changes = np.abs(((found - expected) * others).sum(axis=1))
    return float(changes.max()), float(np.median(changes))


if __name__ == "__main__":
    main()
