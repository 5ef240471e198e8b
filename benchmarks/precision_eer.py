"""What each precision of an exported model does to the equal error rate, on trial lists of your own.

    python benchmarks/precision_eer.py outputs/mine --trials ocean.txt words.txt --audio-root corpus \\
        --calibrate-on corpus/train

The model is exported in every precision into a temporary folder. The checkpoint and the files embed every recording of
the lists, whole and once. Printed are the EER of each list in percent, its difference from the checkpoint's, and the
lowest and median cosine of a file's embeddings with the checkpoint's.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.evaluation.trials.trial_list import TrialList, read_trials
from sound_groove.export.onnx_file import export_onnx
from sound_groove.export.precision import LEAST_COSINE
from sound_groove.provenance import processor
from sound_groove.scoring.metrics import eer
from sound_groove.types import Embeddings

AT_ONCE = 64  # recordings in memory


def main() -> None:
    """Export, embed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--trials", type=Path, nargs="+", required=True)
    parser.add_argument("--audio-root", type=Path, required=True)
    parser.add_argument("--calibrate-on", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    lists = {path.stem: read_trials(path)[0] for path in arguments.trials}
    names = sorted({name for trials in lists.values() for name in trials.ids})
    checkpoint = SpeakerEncoder.load(arguments.model, threads=arguments.threads)
    print(f"{checkpoint.identity.label}, {len(names)} recordings, {arguments.threads} thread(s) of {processor()}")
    print(f"{'':>10} {'MB':>6} {'lowest':>8} {'median':>8}", *(f"{name:>16}" for name in (*lists, "mean")))
    expected = embed(checkpoint, names, arguments.audio_root)
    base = rates(lists, names, expected)
    row("checkpoint", "", "", "", [f"{100 * rate:.2f}" for rate in base])
    with tempfile.TemporaryDirectory() as folder:
        for precision in LEAST_COSINE:
            done = export_onnx(
                arguments.model,
                Path(folder) / f"{precision}.onnx",
                precision=precision,
                calibrate_on=arguments.calibrate_on if precision == "int8" else None,
            )
            found = embed(SpeakerEncoder.load(done.file, threads=arguments.threads), names, arguments.audio_root)
            cosines = (found * expected).sum(axis=1)
            cells = [
                f"{100 * one:.2f} ({100 * (one - other):+.2f})"
                for one, other in zip(rates(lists, names, found), base, strict=True)
            ]
            row(precision, f"{done.bytes / 1e6:.1f}", f"{cosines.min():.6f}", f"{np.median(cosines):.6f}", cells)


def embed(encoder: SpeakerEncoder, names: Sequence[str], root: Path) -> Embeddings:
    """(N, D) of the named recordings."""
    parts = []
    for start in range(0, len(names), AT_ONCE):
        parts.append(encoder.embed([load_audio(root / name) for name in names[start : start + AT_ONCE]]))
    return np.concatenate(parts)


def rates(lists: dict[str, TrialList], names: Sequence[str], embeddings: Embeddings) -> list[float]:
    """The EER of each list, and their mean."""
    place = {name: index for index, name in enumerate(names)}
    found = []
    for trials in lists.values():
        rows: NDArray[np.float32] = embeddings[[place[name] for name in trials.ids]]
        scores = (rows[trials.enrolments] * rows[trials.tests]).sum(axis=1)
        found.append(eer(scores, trials.labels))
    return [*found, float(np.mean(found))]


def row(name: str, size: str, lowest: str, median: str, cells: Sequence[str]) -> None:
    """Print a line of the table."""
    print(f"{name:>10} {size:>6} {lowest:>8} {median:>8}", *(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
