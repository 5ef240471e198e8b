"""Give a trained model another front end: its weights as they are, and a centre that is found anew.

    python benchmarks/front_end.py CORPUS --model OLD.safetensors --floor-db 40 --silence-share 0.5 \\
        --out NEW.safetensors

CORPUS is the development corpus. The centre is the mean of unit embeddings of one piece of each of the model's own
training speakers, as training finds it: it is of a front end, and another floor makes another one. The score map goes,
for the same reason: calibrate the new model.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from verdicts import joined, read_rows

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.export.precision import LEAST_PROBE_COSINE
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.probe import Probe, probe_signal
from sound_groove.networks.tensor_groups import CENTRE
from sound_groove.networks.trained_speakers import speaker_digest
from sound_groove.types import Embeddings, Samples

PIECE_S = 3.0  # utterances are joined until they last so long, as `prepare --join 3` does
LONGEST_S = 4.0  # taken of a piece
AT_ONCE = 64


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--floor-db", type=float, required=True)
    parser.add_argument("--silence-share", type=float, help="of silence behind speech (default: none)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.model)
    network = {**checkpoint.header.network, "floor_db": arguments.floor_db, "silence_share": arguments.silence_share}
    header = replace(checkpoint.header, network=network, score_map=None, probe=None)
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith(CENTRE)}
    save_checkpoint(arguments.out, tensors, header)
    encoder = SpeakerEncoder.load(arguments.out, threads=1)
    encoder.centre = find_centre(encoder, arguments.corpus)
    probe = Probe.of(encoder.embed(probe_signal(), keep_pauses=True), LEAST_PROBE_COSINE["fp16"])
    tensors[f"{CENTRE}mean"] = torch.from_numpy(encoder.centre)
    save_checkpoint(arguments.out, tensors, replace(header, probe=probe.as_dict()))
    print(f"{arguments.out}: model {load_checkpoint(arguments.out).hash}")


def find_centre(encoder: SpeakerEncoder, corpus: Path) -> Embeddings:
    """The mean of the unit embeddings of one piece of each training speaker (D,)."""
    rows = read_rows(
        corpus, lambda row: row["split"] == "train" and speaker_digest(row["speaker"]) in encoder.trained_speakers
    )
    first = {piece.speaker: piece for piece in reversed(joined(rows, PIECE_S))}
    pieces = [first[speaker] for speaker in sorted(first)]
    sums = np.zeros(encoder.embedding_size)
    for start in tqdm(range(0, len(pieces), AT_ONCE), desc="centring", unit="batch", disable=None):
        sums += encoder.embed([_read(piece.paths) for piece in pieces[start : start + AT_ONCE]]).sum(axis=0)
    return np.asarray(sums / len(pieces), dtype=np.float32)


def _read(paths: tuple[Path, ...]) -> Samples:
    joined_samples: Samples = np.concatenate([load_audio(path) for path in paths])
    return joined_samples[: int(LONGEST_S * SAMPLE_RATE)]


if __name__ == "__main__":
    main()
