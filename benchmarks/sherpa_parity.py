"""How near the embeddings that sherpa-onnx gives come to the encoder's, on recordings of your own.

    python benchmarks/sherpa_parity.py outputs/mine speech [--seconds 1 2 3 5 10 15 20] [--pieces 60] [--seed 0]

The model is exported into a temporary folder and loaded by the real sherpa-onnx package. For each length, pieces are
cut at random places from recordings that are long enough, one piece a recording; pieces without sound are left out.
Printed are the lowest cosine, the one that 10 % lie below, and the median.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import sherpa_onnx
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.export.sherpa_file import export_sherpa
from sound_groove.provenance import processor

SILENT = 0.003  # root mean square below which a piece is left out
Array = NDArray[np.float32]


def main() -> None:
    """Export, embed both ways, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 2, 3, 5, 10, 15, 20])
    parser.add_argument("--pieces", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    recordings = shuffled(arguments.recordings, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        file = export_sherpa(arguments.model, Path(folder) / "voice.onnx").file
        loaded = sherpa_onnx.SpeakerEmbeddingExtractor(sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(file)))
    print(f"{encoder.identity.name} {encoder.identity.hash[:12]}, sherpa-onnx {sherpa_onnx.__version__}, {processor()}")
    print(f"{'seconds':>7} {'pieces':>6} {'lowest':>7} {'10 %':>7} {'median':>7}")
    every: list[float] = []
    for seconds in arguments.seconds:
        pieces = cut(recordings, seconds, arguments.pieces, arguments.seed)
        if not pieces:
            continue
        cosines = (encoder.embed(pieces) * np.stack([embed(loaded, piece) for piece in pieces])).sum(axis=1)
        every += cosines.tolist()
        print_row(f"{seconds:g}", cosines)
    print_row("all", np.array(every))


def shuffled(folder: Path, seed: int) -> list[Path]:
    """The recordings below a folder, in an order of the seed."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac", ".opus", ".ogg", ".mp3"))
    return [paths[index] for index in np.random.default_rng(seed).permutation(len(paths))]


def cut(recordings: list[Path], seconds: float, count: int, seed: int) -> list[Array]:
    """At most `count` pieces; their lengths differ by up to 10 ms, so that every phase of the frames occurs."""
    draws = np.random.default_rng((seed, round(1000 * seconds)))
    pieces: list[Array] = []
    for path in recordings:
        if len(pieces) == count:
            break
        samples = load_audio(path)
        length = int(seconds * SAMPLE_RATE) + int(draws.integers(160))
        if len(samples) >= length:
            start = int(draws.integers(len(samples) - length + 1))
            piece = samples[start : start + length]
            if np.sqrt(np.square(piece).mean()) > SILENT:
                pieces.append(piece)
    return pieces


def embed(loaded: sherpa_onnx.SpeakerEmbeddingExtractor, samples: Array) -> Array:
    """One piece through sherpa-onnx."""
    stream = loaded.create_stream()
    stream.accept_waveform(SAMPLE_RATE, samples)
    stream.input_finished()
    return np.asarray(loaded.compute(stream), np.float32)


def print_row(name: str, cosines: NDArray[np.floating]) -> None:
    """A line of the table."""
    lowest, tenth, median = np.quantile(cosines, [0.0, 0.1, 0.5])
    print(f"{name:>7} {len(cosines):>6} {lowest:>7.4f} {tenth:>7.4f} {median:>7.4f}", flush=True)


if __name__ == "__main__":
    main()
