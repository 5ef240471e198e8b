"""How often channels are found to differ, by what is in them: real voices, made into stereo.

    python benchmarks/channel_kinds.py speech --noise noise --rooms rooms

`speech` and `noise` are folders of recordings, the first with a folder for each speaker; `rooms` is what
`python -m sound_groove rooms` makes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from sound_groove.audio.channels import Mixdown
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.types import Samples

LONGEST, SHORTEST = 10 * SAMPLE_RATE, 3 * SAMPLE_RATE
LEVEL = 0.05
Kind = Callable[[int], tuple[NDArray[np.float64], NDArray[np.float64]]]


def at_level(samples: NDArray[np.float64], db: float = 0.0) -> NDArray[np.float64]:
    """Samples at one root mean square."""
    return samples * (LEVEL * 10 ** (db / 20) / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-9))


def late(samples: NDArray[np.float64], milliseconds: float) -> NDArray[np.float64]:
    """Samples behind a silence, of the same length."""
    return np.concatenate((np.zeros(round(milliseconds * SAMPLE_RATE / 1000)), samples))[: len(samples)]


def drawn(folder: Path, count: int, seed: int) -> list[tuple[str, Samples]]:
    """Speaker and samples of some recordings, long enough, of as many folders as there are."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    np.random.default_rng(seed).shuffle(paths)
    found: list[tuple[str, Samples]] = []
    for path in paths:
        samples = load_audio(path)[:LONGEST]
        if len(samples) >= SHORTEST:
            found.append((path.parent.name, samples))
        if len(found) == count:
            break
    return found


def kinds_of(voices: list[tuple[str, Samples]], noises: list[Samples], rooms: list[Samples]) -> dict[str, Kind]:
    """What is in the two channels of the recording of a number."""
    draw = np.random.default_rng(0)

    def voice(number: int, db: float = 0.0) -> NDArray[np.float64]:
        return at_level(voices[number][1].astype(np.float64), db)

    def other(number: int, db: float = 0.0) -> NDArray[np.float64]:
        turned = [*range(number + 1, len(voices)), *range(number)]
        index = next(one for one in turned if voices[one][0] != voices[number][0])
        return voice(index, db)

    def noise(number: int, db: float) -> NDArray[np.float64]:
        return at_level(np.resize(noises[number % len(noises)], len(voices[number][1])).astype(np.float64), db)

    def hiss(number: int, db: float) -> NDArray[np.float64]:
        return at_level(draw.standard_normal(len(voices[number][1])), db)

    def in_room(number: int, room: int) -> NDArray[np.float64]:
        return at_level(fftconvolve(voice(number), rooms[(number + room) % len(rooms)]))

    def call(number: int, db: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        one, two = voice(number), other(number, db)
        sides = (np.concatenate((one, 0 * two, one)), np.concatenate((0 * one, two, 0 * one)))
        first, second = (side + 1e-4 * draw.standard_normal(len(side)) for side in sides)
        return first, second

    return {
        "alike: a copy, 12 dB quieter": lambda n: (voice(n), voice(n, -12)),
        "alike: opposite, half as loud": lambda n: (voice(n), -voice(n, -6)),
        **{f"alike: {ms} ms late": lambda n, ms=ms: (voice(n), late(voice(n), ms)) for ms in (1, 5, 20)},  # type: ignore[misc]
        "alike: the other is silent": lambda n: (0 * voice(n), voice(n)),
        "alike: the other hisses at -40 dB": lambda n: (voice(n), hiss(n, -40)),
        "alike: two rooms": lambda n: (in_room(n, 0), in_room(n, 5)),
        "alike: near, and in a room": lambda n: (voice(n), in_room(n, 0)),
        "alike: hiss as loud in both": lambda n: (voice(n) + hiss(n, 0), voice(n) + hiss(n, 0)),
        "alike: noise 20 dB below in one": lambda n: (voice(n), voice(n) + noise(n, -20)),
        "either: noise 10 dB below in one": lambda n: (voice(n), voice(n) + noise(n, -10)),
        "either: noise 5 dB below in one": lambda n: (voice(n), voice(n) + noise(n, -5)),
        "differ: noise as loud in one": lambda n: (voice(n), voice(n) + noise(n, 0)),
        "differ: hiss as loud in one": lambda n: (voice(n), voice(n) + hiss(n, 0)),
        "differ: noise alone in one": lambda n: (voice(n), noise(n, 0)),
        "differ: two people in turn": lambda n: call(n, 0),
        "differ: in turn, one 20 dB below": lambda n: call(n, -20),
        "differ: two people at once": lambda n: (voice(n), other(n)),
        "differ: at once, one 12 dB below": lambda n: (voice(n), other(n, -12)),
    }


def main() -> None:
    """Print a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, nargs="+")
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--rooms", type=Path, required=True)
    parser.add_argument("--count", type=int, default=30, help="of recordings from each folder (default: %(default)s)")
    arguments = parser.parse_args()
    voices = [clip for folder in arguments.speech for clip in drawn(folder, arguments.count, 0)]
    noises = [samples for _, samples in drawn(arguments.noise, 30, 0)]
    rooms = [load_audio(path) for path in sorted(arguments.rooms.rglob("*.wav"))[:60]]
    for name, kind in kinds_of(voices, noises, rooms).items():
        found = 0
        for number in range(len(voices)):
            sides = kind(number)
            length = min(map(len, sides))
            frames = np.stack([side[:length] for side in sides], axis=1).astype(np.float32)
            mixdown = Mixdown(None, SAMPLE_RATE, 2)
            mixdown.mono(frames)
            found += mixdown.facts().differing is not None
        print(f"{name:36} {found:4} of {len(voices)} differ", flush=True)


if __name__ == "__main__":
    main()
