"""How often a second voice is found in a recording, and where there is none, and what looking for it costs.

    python benchmarks/several_voices.py 'data/val/ocean-*' 'data/val/wuw2-*' [--model M] [--count 40]

Every pattern names the folders of one collection's speakers; what a file is called up to its last hyphen is its
session. Of each collection so many recordings of each kind are taken, or made of as many speakers as there are:

- as they are: one person, 5 s or more;
- joined: 5 to 20 s of one person's recordings of one session, one after the other;
- spliced: 5 to 20 s of two people, the second with a fifth to a half of the speech, who speaks before or after the
  first, in between, or in turns; the second up to a few dB louder or weaker, noise 45 dB below the speech.

**Joined and spliced recordings are made up**, of real people's voices. A recording counts where 5 s of speech are found
in it; less is not judged. Printed are the shares that get the warning `several_voices`, by how long they are; of the
spliced ones that do, the share of the speech that is given to the right voice, and how much processor time the look
takes, as a share of what decoding, judging and embedding these recordings of one voice take without it.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording, judge_samples
from sound_groove.audio.pieces import Span
from sound_groove.audio.reading import load_audio
from sound_groove.audio.speech import speech_in
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.several_voices import LEAST_S, voices_in
from sound_groove.provenance import machine
from sound_groove.types import Samples

LENGTHS_S = (5.0, 20.0)
SECOND = (0.2, 0.5)  # of the speech
LEAST_VOICE_S = (1.5, 1.0)  # of the first and the second voice
PAUSE_S = (0.05, 0.5)
AROUND = SAMPLE_RATE // 10  # kept around the speech of a clip
NOISE_DB = -45.0
ATTEMPTS = 20  # at a recording, in the mean
EDGE_S = 10.0  # between shorter and longer recordings
ONE, TWO = ("as they are", "joined"), "spliced"

Session = tuple[str, str]  # speaker, and what the files of the session begin with


@dataclass(frozen=True)
class Made:
    """A recording.

    Attributes:
        kind: of it.
        samples: (samples,) of it.
        voices: whose the stretches are; none where all is one person's.
        speaker: whose it is, the first one's of two.
    """

    kind: str
    samples: Samples
    voices: tuple[tuple[int, Span], ...] = ()
    speaker: str = ""


@dataclass
class Row:
    """What was found in a recording."""

    collection: str
    kind: str
    speech_s: float
    is_found: bool
    right: float
    look_s: float
    other_s: float


def sessions_of(pattern: str) -> dict[Session, list[Path]]:
    """The recordings of a collection."""
    found = defaultdict[Session, list[Path]](list)
    for folder in sorted(Path().glob(pattern) if not Path(pattern).is_absolute() else Path("/").glob(pattern[1:])):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            found[folder.name, path.stem.rpartition("-")[0]].append(path)
    return dict(found)


def said(paths: Sequence[Path], seconds: float, draws: np.random.Generator) -> Samples:
    """So much of what was recorded in a session, clip after clip, or all there is."""
    parts, length = list[Samples](), 0
    for place in draws.permutation(len(paths)):
        if length >= seconds * SAMPLE_RATE:
            break
        samples = load_audio(paths[place])
        speech = speech_in(samples)
        if not speech:
            continue
        clip = samples[max(speech[0][0] - AROUND, 0) : speech[-1][1] + AROUND]
        parts += [clip, np.zeros(int(draws.uniform(0.1, 0.4) * SAMPLE_RATE), np.float32)]
        length += len(clip)
    whole: Samples = np.concatenate(parts[:-1] or [np.empty(0, np.float32)])[: int(seconds * SAMPLE_RATE)]
    return whole


def spliced(first: Samples, second: Samples, draws: np.random.Generator) -> Made:
    """Two voices in one recording."""
    gain = _level(first) / _level(second) * 10 ** (float(draws.normal(0.0, 3.0)) / 20)
    second = second * np.float32(gain)
    cut, other = (int(len(voice) * draws.uniform(0.3, 0.7)) for voice in (first, second))
    order = (
        [(0, first), (1, second)],
        [(1, second), (0, first)],
        [(0, first[:cut]), (1, second), (0, first[cut:])],
        [(0, first[:cut]), (1, second[:other]), (0, first[cut:]), (1, second[other:])],
    )[int(draws.integers(4))]
    parts, voices, length = list[Samples](), list[tuple[int, Span]](), 0
    for voice, samples in order:
        pause = np.zeros(int(draws.uniform(*PAUSE_S) * SAMPLE_RATE), np.float32)
        voices.append((voice, (length, length + len(samples))))
        parts += [samples, pause]
        length += len(samples) + len(pause)
    whole = np.concatenate(parts)
    whole = whole + draws.normal(0.0, _level(whole) * 10 ** (NOISE_DB / 20), len(whole)).astype(np.float32)
    return Made(TWO, whole / max(1.0, float(np.abs(whole).max())), tuple(voices))


def recordings(sessions: dict[Session, list[Path]], wanted: int, seed: int) -> Iterator[Made]:
    """Those of a collection, of each kind as many as are wanted or can be had."""
    keys = sorted(sessions)
    files = [path for key in keys for path in sessions[key]]
    draws, made = np.random.default_rng((seed, 0)), 0
    for place in draws.permutation(len(files)):
        if made == wanted:
            break
        samples = load_audio(files[place])
        if len(samples) >= LEAST_S * SAMPLE_RATE:
            made += 1
            yield Made(ONE[0], samples[: int(LENGTHS_S[1]) * SAMPLE_RATE])
    draws, made = np.random.default_rng((seed, 1)), 0
    for _ in range(ATTEMPTS * wanted):
        if made == wanted:
            break
        key = keys[draws.integers(len(keys))]
        samples = said(sessions[key], draws.uniform(*LENGTHS_S), draws)
        if len(samples) >= LEAST_S * SAMPLE_RATE:
            made += 1
            yield Made(ONE[1], samples, speaker=key[0])
    draws, made = np.random.default_rng((seed, 2)), 0
    for _ in range(ATTEMPTS * wanted):
        if made == wanted or len({speaker for speaker, _ in keys}) < 2:
            return
        one, other = (keys[place] for place in draws.choice(len(keys), 2, replace=False))
        seconds, share = draws.uniform(*LENGTHS_S), draws.uniform(*SECOND)
        if one[0] == other[0]:
            continue
        voices = said(sessions[one], seconds * (1 - share), draws), said(sessions[other], seconds * share, draws)
        if all(len(voice) >= least * SAMPLE_RATE for voice, least in zip(voices, LEAST_VOICE_S, strict=True)):
            made += 1
            yield replace(spliced(*voices, draws), speaker=one[0])


def look(made: Made, encoder: SpeakerEncoder, collection: str) -> Row:
    """Hear a recording, and look for several voices in it."""
    started = time.process_time()
    heard = Listener(encoder).hear(judge_samples(made.samples), keep_samples=True)
    between = time.process_time()
    voices = voices_in(heard, encoder)
    ended = time.process_time()
    right = right_share(heard, voices, made.voices) if voices and made.voices else float("nan")
    return Row(collection, made.kind, heard.facts.speech_s, bool(voices), right, ended - between, between - started)


def right_share(heard: HeardRecording, voices: Sequence[Sequence[Span]], truth: Sequence[tuple[int, Span]]) -> float:
    """The share of the speech that is given to the right voice, where voices are matched as is best for that."""
    told, own = (np.full(len(heard.samples), -1) for _ in range(2))
    for voice, spans in enumerate(voices):
        for start, end in spans:
            told[start:end] = voice
    for voice, (start, end) in truth:
        own[start:end] = voice
    speech = np.zeros(len(own), np.bool_)
    for start, end in heard.speech:
        speech[start:end] = True
    both = np.array([[np.count_nonzero(speech & (told == a) & (own == b)) for b in (0, 1)] for a in range(len(voices))])
    best = max(both[a, 0] + both[b, 1] for a in range(len(both)) for b in range(len(both)) if a != b)
    return float(best / np.count_nonzero(speech & (own >= 0)))


def main() -> None:
    """Take and make the recordings, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", metavar="PATTERN", nargs="+")
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--count", type=int, default=40, help="of each kind and collection")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    rows = list[Row]()
    for number, pattern in zip(count(arguments.seed), arguments.collections, strict=False):
        name = Path(pattern).name.rstrip("-*") or Path(pattern).parent.name
        all_made = recordings(sessions_of(pattern), arguments.count, number)
        rows += [look(made, encoder, name) for made in tqdm(all_made, name, leave=False, disable=None)]
    rows = [row for row in rows if row.speech_s >= LEAST_S]
    print(f"model {encoder.identity.name} {encoder.identity.hash[:12]}; {json.dumps(machine(1))}\n")
    print("| collection | as they are, warned | joined, warned | spliced, found | under 10 s | longer | right voice |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for name in (*dict.fromkeys(row.collection for row in rows), "all"):
        own = [row for row in rows if name in (row.collection, "all")]
        two = [row for row in own if row.kind == TWO]
        cells = [share([row for row in own if row.kind == kind]) for kind in ONE]
        cells += [share(two), share([row for row in two if row.speech_s < EDGE_S])]
        cells += [share([row for row in two if row.speech_s >= EDGE_S])]
        right = [row.right for row in two if row.is_found]
        cells += [f"{100 * np.mean(right):.0f} %" if right else "-"]
        print(f"| {name} | {' | '.join(cells)} |")
    one = [row for row in rows if row.kind in ONE]
    for low, high in ((0.0, EDGE_S), (EDGE_S, float("inf"))):
        part = [row for row in one if low <= row.speech_s < high]
        cost = sum(row.look_s for row in part) / max(sum(row.other_s for row in part), 1e-9)
        print(f"\none voice, {low:g} to {high:g} s of speech: the look takes {100 * cost:.0f} % more processor time")


def share(rows: Sequence[Row]) -> str:
    """How many of the recordings were found to have several voices, and of how many."""
    found = sum(row.is_found for row in rows)
    return f"{found}/{len(rows)} ({100 * found / len(rows):.1f} %)" if rows else "-"


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) + 1e-9


if __name__ == "__main__":
    main()
