"""How long a comparison takes beside the network alone: decoding, finding speech, embedding, and all of it.

    python benchmarks/whole_comparison.py [--seconds 5 60 3600] [--threads 1 2] [--turns 3]

Two recordings of each length are compared with the model in the package, from files (FLAC, 16 kHz). They are made-up
voices; beyond a minute, a minute of them repeated, with a pause of 1 s in each: nothing in a comparison is quicker for
that. In seconds for the two recordings, the shortest of several turns, the parts in turns with the whole:

    decode    reading the files
    detect    judging them: speech, noise, clipping, band
    network   their embeddings from the samples of their speech, and nothing else
    whole     `sound_groove.compare` with the encoder at hand
    ratio     whole / network
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from sound_groove import SpeakerEncoder, compare, load_audio
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pauses import without_pauses
from sound_groove.audio.quality import assess
from sound_groove.provenance import machine
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import Samples

MINUTE_S = 60
LONG_S = 600  # longer recordings are timed once


def recording(speaker: int, seconds: int) -> Samples:
    """Made-up speech of a length."""
    voice = [speak(made_up_speaker(0, speaker), sentence, 9.0) for sentence in range(-(-min(seconds, MINUTE_S) // 10))]
    minute = np.concatenate([np.append(part, np.zeros(SAMPLE_RATE, np.float32)) for part in voice])
    return np.resize(minute, seconds * SAMPLE_RATE)


def shortest(calls: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """The shortest time of each call, in seconds, all of them taking turns."""
    best = dict.fromkeys(calls, np.inf)
    for _ in range(turns):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def measure(folder: Path, seconds: int, encoder: SpeakerEncoder, turns: int) -> dict[str, float]:
    """The parts of a comparison of two recordings of a length, and the whole."""
    paths = [folder / f"{speaker}-{seconds}.flac" for speaker in (0, 1)]
    for speaker, path in enumerate(paths):
        if not path.exists():
            soundfile.write(path, recording(speaker, seconds), SAMPLE_RATE)
    sides = [load_audio(path) for path in paths]
    voices = [without_pauses(side) for side in sides]
    calls: dict[str, Callable[[], object]] = {
        "decode": lambda: [load_audio(path) for path in paths],
        "detect": lambda: [assess(side, SAMPLE_RATE) for side in sides],
        "network": lambda: [encoder.embed_voices([voice]) for voice in voices],
        "whole": lambda: compare(paths[0], paths[1], encoder),
    }
    return shortest(calls, 1 if seconds > LONG_S else turns)


def main() -> None:
    """Print a row for every length and number of threads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 60, 3600])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps(machine(max(arguments.threads))))
    print("threads  seconds   decode   detect  network    whole  ratio")
    with tempfile.TemporaryDirectory() as folder:
        for threads in arguments.threads:
            encoder = SpeakerEncoder.load("pretrained", threads=threads)
            measure(Path(folder), 5, encoder, 1)  # what is loaded once is loaded
            for seconds in arguments.seconds:
                took = measure(Path(folder), seconds, encoder, arguments.turns)
                cells = "  ".join(f"{took[name]:7.3f}" for name in ("decode", "detect", "network", "whole"))
                print(f"{threads:7}  {seconds:7}  {cells}  {took['whole'] / took['network']:5.2f}", flush=True)


if __name__ == "__main__":
    main()
