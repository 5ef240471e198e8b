"""One file, every processor: the embeddings of model files on emulated processors against those computed here.

    apt-get install qemu-user
    python benchmarks/processors.py voice.onnx fast.onnx --cpu Haswell --cpu Nehalem
    python benchmarks/processors.py voice.onnx --interpreter 'qemu-aarch64 -L ROOT ROOT/usr/bin/python3'

An emulator computes what the processor would compute, a hundred times as slowly: it tells right from wrong, and nothing
of speed. Each guest says which instructions it sees. The clips are those in examples/, or those that --clips names; the
table has the lowest cosine between an embedding there and the same file's here.

For each file with 8-bit weights, the largest sum of two neighbouring products is shown too. Up to 32,767 nothing
overflows on processors that add two of them in 16 bits (AVX2, and AVX-512 without VNNI), whatever the recording.
Emulators have no AVX-512: for it, that is the proof.

Guests need numpy and onnxruntime alone: Python of another architecture with its wheels is enough.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.pieces import repeated
from sound_groove.audio.reading import load_audio
from sound_groove.networks.probe import probe_signal
from sound_groove.pretrained import model_path
from sound_groove.provenance import host
from sound_groove.telemetry import DISABLE

SIXTEEN_BITS = 2**15 - 1
SHORTEST = 31920  # samples: what the encoder repeats a shorter clip to
LONGEST = 3 * 16000  # of a clip, from its beginning

# What a guest runs: no module of ours, so that it needs few packages.
GUEST = """
import json, platform, sys
import numpy as np, onnxruntime
from numpy._core._multiarray_umath import __cpu_features__ as features
clips = np.load(sys.argv[1])
found = {}
for model in sys.argv[2:]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found[model] = [session.run(None, {name: clips[key][None]})[0][0].tolist() for key in sorted(clips)]
seen = [name for name, is_there in features.items() if is_there]
print(json.dumps({"machine": platform.machine(), "onnxruntime": onnxruntime.__version__, "sees": seen, "found": found}))
"""


def main() -> None:
    """Embed here and there, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", nargs="+", type=model_path, help="waveform-in ONNX files of ours")
    parser.add_argument("--cpu", action="append", default=[], help="a processor of qemu-x86_64 (Haswell, Nehalem, ...)")
    parser.add_argument("--interpreter", action="append", default=[], help="a command that runs a guest's Python")
    parser.add_argument("--reference", type=model_path, help="a float32 file of the same weights, computed here")
    examples = Path(__file__).parents[1] / "examples"
    parser.add_argument("--clips", type=Path, default=examples, help="folder of recordings (default: examples)")
    parser.add_argument("--count", type=int, default=3, help="how many clips (default: 3, and the probe)")
    parser.add_argument("--minutes", type=float, default=30, help="for one guest at most (default: 30)")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.clips.rglob("*") if path.suffix in (".wav", ".flac", ".opus"))
    clips = [repeated(load_audio(path)[:LONGEST], SHORTEST) for path in paths[: arguments.count]]
    print(json.dumps(host()))
    for model in arguments.models:
        print(f"{model.name}: {overflow(model)}")
    guests = [["qemu-x86_64", "-cpu", cpu, sys.executable] for cpu in arguments.cpu]
    guests += [shlex.split(words) for words in arguments.interpreter]
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "clips.npz"
        np.savez(stored, *clips, probe_signal())
        models, seconds = arguments.models, 60 * arguments.minutes
        known = [*models, arguments.reference] if arguments.reference else models
        here = embedded([sys.executable], stored, known, seconds)
        for guest in guests:
            there = embedded(guest, stored, models, seconds)
            print(f"\n{shlex.join(guest)}\n  {there['machine']}, onnxruntime {there['onnxruntime']}")
            print(f"  sees {', '.join(there['sees'])}")
            for model in models:
                for expected, words in ((model, "itself here"), (arguments.reference, "the reference")):
                    if expected is not None:
                        cosines = _cosines(here["found"][str(expected)], there["found"][str(model)])
                        lowest = f"lowest cosine {cosines.min():.6f} of {len(cosines)} clips"
                        print(f"  {model.name:24} with {words}: {lowest}")


def embedded(interpreter: list[str], clips: Path, models: list[Path], seconds: float) -> dict[str, Any]:
    """What a guest says of itself, and its embeddings."""
    command = [*interpreter, "-c", GUEST, str(clips), *map(str, models)]
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", DISABLE: "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(interpreter)} failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def overflow(model: Path) -> str:
    """Whether two products of a file's 8-bit integers can leave 16 bits."""
    import onnx

    from sound_groove.export.quantization import largest_pair

    largest = largest_pair(onnx.load(model))
    if largest == 0:
        return "no products of 8-bit integers"
    verdict = "nothing can overflow" if largest <= SIXTEEN_BITS else "OVERFLOWS without VNNI"
    return f"two neighbouring products reach at most {largest:,} of {SIXTEEN_BITS:,}: {verdict}"


def _cosines(first: list[list[float]], second: list[list[float]]) -> NDArray[np.float64]:
    """(N,) between rows (N, D)."""
    a, b = np.array(first), np.array(second)
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


if __name__ == "__main__":
    main()
