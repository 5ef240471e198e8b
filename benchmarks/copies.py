"""At what rate copies of a voice pass for it: played back, vocoded, and spoken by a machine.

    apt-get install espeak-ng
    python benchmarks/copies.py CORPUS [--model pretrained]

CORPUS is the development corpus. The target trials of a few validation lists are taken as they are, and with the second
recording replaced by a copy of it:

    played back    through a loudspeaker without lows and highs, into a room, and recorded in noise at 30 dB
    vocoded        brought to 80 mel energies a frame, which vocoders are given, and back (Griffin & Lim 1984)
    espeak-ng      a text by synthetic voices that know nothing of the speaker; the one that comes nearest is counted

A copy is made of the very recording that is not enrolled, so that what passes is the speaker's voice, but nobody
speaks. Rates are of verdicts 'same': at the default costs, and where one stranger in a hundred may pass. One recording
stands for the speaker.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from corpus_trials import read_lists
from judged_systems import middle
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, istft, sosfilt, stft
from tqdm import tqdm

from sound_groove.audio.filterbank import mel, mel_edges
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording
from sound_groove.audio.reading import load_audio
from sound_groove.comparison import compare
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.provenance import machine
from sound_groove.scoring.decision import DecisionRule
from sound_groove.synthesis.rooms import draw_room, room_response
from sound_groove.types import Samples

ROOM_SEED, ROOMS = 2027, 12  # rooms that nothing was trained in
LISTS = ("ocean", "words", "arabic")
RULES = {"default costs": DecisionRule(), "1 in 100": DecisionRule(max_false_accept=0.01)}
LOUDSPEAKER_HZ = (250.0, 6000.0)
PLAYED_SNR_DB = 30.0
WINDOW, HOP, MELS, ROUNDS = 1024, 256, 80, 60
VARIANTS = ("m1", "m3", "m7", "f1", "f2", "f4")
TEXT = "Good morning, this is a short message. Please call me back before noon, or write to me tomorrow."
MACHINE_VOICES = tuple(product(("en-gb", "en-us"), VARIANTS, ("30", "60")))
AS_IT_IS = "as it is"


def main() -> None:
    """Judge, and print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--trials", type=int, default=200, help="of a kind and list at most, evenly spaced")
    parser.add_argument("--longest", type=float, default=10.0, help="seconds taken of a recording, from the middle")
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    spoken = [Listener(encoder).hear(samples, "espeak-ng") for samples in machine_voices()]
    print(f"model {encoder.identity.label}, {machine(threads=1)}\n")
    print("| list | trials | the second recording is | " + " | ".join(f"'same', {name}" for name in RULES) + " |")
    print("| --- | --- | --- |" + " --- |" * len(RULES))
    lists = read_lists(arguments.corpus)
    for name in LISTS:
        for cells in judged(encoder, arguments, lists[name], spoken):
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


Pair = tuple[HeardRecording, HeardRecording]


def judged(
    encoder: SpeakerEncoder, arguments: argparse.Namespace, trials: TrialList, spoken: Sequence[HeardRecording]
) -> Iterator[list[str]]:
    """The rows of a list: what takes the place of the second recording, and how often it is called 'same'."""
    listener, heard = Listener(encoder), dict[tuple[str, str], HeardRecording]()

    def hear(name: str, copy: str = AS_IT_IS) -> HeardRecording:
        if (name, copy) not in heard:
            samples = middle(load_audio(arguments.corpus / name), arguments.longest)
            heard[name, copy] = listener.hear(COPIES[copy](samples), name)
        return heard[name, copy]

    own, strangers = (named_pairs(trials.kept(kind), arguments.trials) for kind in (trials.labels, ~trials.labels))
    for copy in COPIES:
        pairs = [(hear(first), hear(second, copy)) for first, second in tqdm(own, copy, disable=None)]
        yield row(encoder, f"the speaker's, {copy}", [[pair] for pair in pairs])
    yield row(encoder, "a stranger's", [[(hear(first), hear(second))] for first, second in strangers])
    nearest = [[(hear(name), voice) for voice in spoken] for name in sorted({first for first, _ in own})]
    yield row(encoder, f"espeak-ng's, the nearest of {len(spoken)} voices", nearest)


def named_pairs(trials: TrialList, most: int) -> list[tuple[str, str]]:
    """The names of trials, at most so many, evenly spaced."""
    places = np.unique(np.linspace(0, len(trials) - 1, min(most, len(trials))).round().astype(int)).tolist()
    return [(trials.ids[trials.enrolments[place]], trials.ids[trials.tests[place]]) for place in places]


def row(encoder: SpeakerEncoder, what: str, attempts: Sequence[Sequence[Pair]]) -> list[str]:
    """The share of attempts that pass by each rule, an attempt being the best of some pairs."""
    cells = [f"{len(attempts):,}", what]
    for rule in RULES.values():
        passed = [any(compare(*pair, encoder, rule=rule).verdict == "same" for pair in one) for one in attempts]
        cells.append(f"{100 * float(np.mean(passed)):.0f} %")
    return cells


def played_back(samples: Samples) -> Samples:
    """A recording that a loudspeaker plays in a room, as another microphone records it."""
    room = draw_room(ROOM_SEED, len(samples) % ROOMS)  # any one, and the same for the same recording
    filters = butter(4, LOUDSPEAKER_HZ, "bandpass", fs=SAMPLE_RATE, output="sos")
    heard = fftconvolve(sosfilt(filters, samples), room_response(room))[: len(samples)]
    noise = np.random.default_rng(len(samples)).standard_normal(len(heard))
    noise *= np.sqrt(np.square(heard).mean() / 10 ** (PLAYED_SNR_DB / 10))
    return scaled(heard + noise, samples)


def vocoded(samples: Samples) -> Samples:
    """A recording made anew of its mel energies, without their phases (Griffin & Lim 1984)."""
    edges = mel_edges(MELS)
    place = mel(np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE))
    rising = (place - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - place) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(np.minimum(rising, falling), 0.0)  # (MELS, frequencies)
    magnitudes = np.abs(spectrum(samples))
    wanted = np.maximum(np.linalg.pinv(filters) @ (filters @ magnitudes), 0.0)
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random(wanted.shape))
    for _ in range(ROUNDS):
        made = waveform(wanted * phases, len(samples))
        phases = np.exp(1j * np.angle(spectrum(made)))[:, : wanted.shape[1]]
    return scaled(waveform(wanted * phases, len(samples)), samples)


def spectrum(samples: NDArray[Any]) -> NDArray[np.complex128]:
    """(frequencies, frames)."""
    return np.asarray(stft(samples, nperseg=WINDOW, noverlap=WINDOW - HOP)[2])


def waveform(values: NDArray[np.complex128], length: int) -> NDArray[np.float64]:
    """(samples,) of a spectrum."""
    return np.asarray(istft(values, nperseg=WINDOW, noverlap=WINDOW - HOP)[1][:length])


def scaled(made: NDArray[np.float64], like: Samples) -> Samples:
    """A recording brought to the loudness of another."""
    return np.asarray(made * np.sqrt(np.square(like).mean() / np.square(made).mean()), dtype=np.float32)


def machine_voices() -> list[Samples]:
    """The same text by each synthetic voice.

    Raises:
        SystemExit: espeak-ng is not installed.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        for language, variant, pitch in MACHINE_VOICES:
            words = ["espeak-ng", "-v", f"{language}+{variant}", "-p", pitch, "-w", str(path), TEXT]
            try:
                subprocess.run(words, check=True, capture_output=True)
            except FileNotFoundError:
                sys.exit("espeak-ng is not installed; it comes with most systems: apt-get install espeak-ng")
            found.append(load_audio(path))
    return found


COPIES: dict[str, Callable[[Samples], Samples]] = {
    AS_IT_IS: lambda samples: samples,
    "played back": played_back,
    "vocoded": vocoded,
}


if __name__ == "__main__":
    main()
