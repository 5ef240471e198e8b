"""Whether the npm package answers as Python does, and how fast: the same recordings given to both.

    python benchmarks/javascript.py --trials TRIALS --root FOLDER [--pairs 200] [--seed 0]

Takes pairs of a trial list, half of them of one speaker, and of each pair a treatment in turn (`TREATMENTS`): as it is,
gated, at 8 kHz, at 44.1 kHz, 30 dB quieter, in noise, in two channels, cut to a second, with pauses, behind a codec.
Python treats and writes both as wav, and Python and Node (`javascript/`, after `npm ci`) compare the files. Prints, for
each treatment, the largest differences of llr, and verdicts and warnings that differ; then the milliseconds for 3 s.

Both compute on one thread (OMP_NUM_THREADS=1 besides).
"""

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

import sound_groove
from sound_groove.audio.listening import HeardRecording
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.several_voices import with_voices
from sound_groove.errors import AudioError
from sound_groove.provenance import processor
from sound_groove.types import Samples

JAVASCRIPT = Path(__file__).resolve().parents[1] / "javascript"
RATE = 16000


def gated(samples: Samples) -> Samples:
    """All that is quiet set to zero, as a gate does."""
    level = np.sqrt(np.convolve(samples**2, np.ones(800) / 800, "same"))
    return np.where(level > 0.1 * level.max(), samples, 0).astype(np.float32)


def telephone(samples: Samples) -> Samples:
    """300 to 3,400 Hz, at 8 kHz, in the codec of telephones."""
    narrow = soxr.resample(samples, RATE, 8000, quality="HQ")
    coded = io.BytesIO()
    soundfile.write(coded, np.clip(narrow, -1, 1), 8000, format="WAV", subtype="ULAW")
    coded.seek(0)
    return np.asarray(soundfile.read(coded, dtype="float32")[0])


def noisy(samples: Samples) -> Samples:
    """White noise 10 dB below."""
    noise = np.random.default_rng(len(samples)).normal(size=len(samples))
    return np.asarray(samples + noise * np.sqrt(np.mean(samples**2) / 10), np.float32)


def musical(samples: Samples) -> Samples:
    """Chords over it, as loud as it is."""
    t = np.arange(len(samples)) / RATE
    steps = 220 * 2 ** (np.floor(t * 2) % 7 / 12)
    chord = sum(np.sin(2 * np.pi * np.cumsum(steps * ratio) / RATE) for ratio in (1, 1.26, 1.5, 2))
    return np.asarray(samples + chord * np.sqrt(np.mean(samples**2) / 2), np.float32)


def paused(samples: Samples) -> Samples:
    """6 s of a quiet room in its middle."""
    room = np.random.default_rng(0).normal(scale=1e-3 * max(np.abs(samples).max(), 1e-6), size=6 * RATE)
    half = len(samples) // 2
    return np.concatenate((samples[:half], room, samples[half:])).astype(np.float32)


def joined(samples: Samples) -> Samples:
    """It eight times, and so more than a minute where it lasts 8 s."""
    return np.tile(samples, 8)


TREATMENTS: dict[str, tuple[Callable[[Samples], Samples], int]] = {
    "as it is": (lambda samples: samples, RATE),
    "gated": (gated, RATE),
    "padded": (lambda samples: np.pad(samples, RATE), RATE),
    "8 kHz": (lambda samples: soxr.resample(samples, RATE, 8000, quality="HQ"), 8000),
    "telephone": (telephone, 8000),
    "44.1 kHz": (lambda samples: soxr.resample(samples, RATE, 44100, quality="HQ"), 44100),
    "48 kHz, two channels": (lambda samples: np.stack([soxr.resample(samples, RATE, 48000)] * 2, axis=1), 48000),
    "30 dB quieter": (lambda samples: (samples / 31.6).astype(np.float32), RATE),
    "in noise": (noisy, RATE),
    "music over it": (musical, RATE),
    "a second": (lambda samples: samples[: RATE + 7], RATE),
    "a pause of 6 s": (paused, RATE),
    "clipped": (lambda samples: np.clip(samples * 8, -1, 1), RATE),
    "eight times": (joined, RATE),
}


def written(samples: Samples, path: Path, treatment: str) -> Path:
    """A treated recording as a wav."""
    change, rate = TREATMENTS[treatment]
    soundfile.write(path, np.clip(change(samples), -1, 1), rate, subtype="PCM_16")
    return path


def asked_in_node(pairs: list[tuple[Path, Path]], *options: str) -> list[dict[str, Any]]:
    """What the package says of pairs of files."""
    lines = "".join(json.dumps({"a": str(a), "b": str(b)}) + "\n" for a, b in pairs)
    command = ["node", "scripts/compare.js", *options]
    done = subprocess.run(command, cwd=JAVASCRIPT, input=lines, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def asked_in_python(pairs: list[tuple[Path, Path]]) -> list[dict[str, Any]]:
    """What Python says of them; a file that is in several pairs is heard once."""
    encoder = SpeakerEncoder.load("pretrained", threads=1)
    listener = Listener(encoder, seek=partial(with_voices, encoder=encoder))
    heard: dict[Path, HeardRecording] = {}
    answers = []
    for pair in pairs:
        try:
            for path in pair:
                heard[path] = heard[path] if path in heard else listener.hear(str(path))
            answer = sound_groove.compare(heard[pair[0]], heard[pair[1]], encoder).as_dict()
            answers.append(json.loads(json.dumps(answer)))
        except AudioError as error:
            answers.append({"error": str(error), "code": error.code})
    return answers


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[float, list[str]]:
    """How far apart two answers are: in llr, and what else is not the same."""
    if "error" in ours or "error" in theirs:
        return 0.0, [] if ours == theirs else [f"{ours.get('error')} | {theirs.get('error')}"]
    other = [name for name in ("verdict", "strength", "warnings") if ours[name] != theirs[name]]
    for side in (0, 1):
        for name, most in (("speech_s", 1e-6), ("snr_db", 0.01), ("embedding_norm", 0.1), ("unfamiliarity", 0.01)):
            values = [answer["audio"][side][name] for answer in (ours, theirs)]
            if (None in values and values != [None, None]) or (
                None not in values and abs(values[0] - values[1]) > most
            ):
                other.append(f"{name} {values}")
    return abs(ours["llr"] - theirs["llr"]), other


def drawn(trials: Path, count: int, seed: int) -> list[tuple[str, str]]:
    """Pairs of a trial list, half of them of one speaker."""
    rows = [line.split() for line in trials.read_text(encoding="utf-8").splitlines() if line.strip()]
    draw = random.Random(seed)
    chosen = [draw.sample([row for row in rows if row[0] == label], count // 2) for label in ("1", "0")]
    return [(a, b) for half in chosen for _, a, b in half]


def speed(path: Path) -> None:
    """Print the milliseconds for 3 s of a recording: two of them compared, and so heard, embedded, and judged."""
    encoder = SpeakerEncoder.load("pretrained", threads=1)
    pairs = [(path, path)] * 8
    here = []
    for a, b in pairs:
        begun = time.perf_counter()
        sound_groove.compare(str(a), str(b), encoder)
        here.append((time.perf_counter() - begun) * 1000 / 2)
    there = [answer["ms"] / 2 for answer in asked_in_node(pairs)]
    print(f"a recording of 3 s, heard and embedded: Python {min(here):.0f} ms, Node {min(there):.0f} ms (fastest of 8)")
    print(processor())


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help="label enrolment test, a line each")
    parser.add_argument("--root", type=Path, required=True, help="where the paths of the lists begin")
    parser.add_argument("--pairs", type=int, default=28, help="of each list")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = SpeakerEncoder.load("pretrained").identity
    print(f"model {model.label}, Python {sys.version.split()[0]}, sound_groove {sound_groove.__version__}")
    pairs = [pair for trials in arguments.trials for pair in drawn(trials, arguments.pairs, arguments.seed)]
    with tempfile.TemporaryDirectory() as folder:
        files, names = [], []
        for number, pair in enumerate(pairs):
            treatment = list(TREATMENTS)[number % len(TREATMENTS)]
            both = [sound_groove.load_audio(arguments.root / path) for path in pair]
            files.append(
                tuple(written(one, Path(folder) / f"{number}-{side}.wav", treatment) for side, one in enumerate(both))
            )
            names.append(treatment)
        asked = [(a, b) for a, b in files]
        worst: dict[str, list[float]] = defaultdict(list)
        others: list[str] = []
        for name, (a, _), ours, theirs in zip(
            names, asked, asked_in_python(asked), asked_in_node(asked, "--keep"), strict=True
        ):
            apart, other = differences(ours, theirs)
            worst[name].append(apart)
            others += [f"{name}: {pairs[int(a.name.split('-')[0])]}: {one}" for one in other]
        for name, found in worst.items():
            print(f"{name:22} {len(found):4} pairs, llr apart by {max(found):.5f} at most")
        print(
            f"{len(pairs)} pairs, llr apart by {max(map(max, worst.values())):.5f} at most; else apart: {len(others)}"
        )
        print("\n".join(others))
        sound = np.tile(sound_groove.load_audio(arguments.root / pairs[0][0]), 10)[: 3 * RATE]
        speed(written(sound, Path(folder) / "three.wav", "as it is"))


if __name__ == "__main__":
    main()
