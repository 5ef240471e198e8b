"""`listen`: seconds of speech until a verdict, errors promised and found, changes of the voice, and processor time.

    python benchmarks/listening.py 'data/val/ocean-*' 'data/val/wuw2-*' [--model M] [--people 12] [--seconds 30]

Every pattern names the folders of one collection's speakers. Of so many people of each, half of the recordings are
enrolled, 15 s at most; the others, one after the other, are what is heard live. Every voice is heard by everybody of
its collection: by the person (a verdict 'nobody' is a false reject) and by all others (a name is a false accept). Each
of these trials ends with its first verdict, at whatever look, so that the errors are those of the moment of decision.

Then pairs of people after each other: how often the change is noticed, how long after it, and how often one is where
nobody else speaks. The people are real, what they say in a row was put together.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from made_up_talks import Person, people_of

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.live.listening import LiveEvent, LiveListener
from sound_groove.live.promise import fallen_limit, reached_limit
from sound_groove.provenance import machine
from sound_groove.types import Samples
from sound_groove.voiceprints.sought import recorded_voice

PIECE = SAMPLE_RATE // 10  # samples that come at a time
PAUSE = SAMPLE_RATE // 4  # between two recordings
FLOOR = 1e-3  # of the level: no room is digitally silent
PROMISED = (0.1, 0.05, 0.01, 0.001)
NOTICED_S = 6.0  # after a change


@dataclass(frozen=True)
class Trial:
    """A voice, heard by somebody who is named.

    Attributes:
        is_same: the voice is that person's.
        looks: seconds of speech and llr of each look.
    """

    is_same: bool
    looks: tuple[tuple[float, float], ...]

    def ended(self, low: float, high: float) -> tuple[str, float]:
        """The first verdict, or none, and after how many seconds of speech."""
        for seconds, llr in self.looks:
            if llr >= high or llr < low:
                return "same" if llr >= high else "other", seconds
        return "none", self.looks[-1][0] if self.looks else 0.0


def said(person: Person, seconds: float) -> Samples:
    """What somebody says in a row."""
    parts = [np.pad(load_audio(path), (0, PAUSE)) for path in person.clips]
    samples = np.concatenate(parts)[: int(seconds * SAMPLE_RATE)]
    level = FLOOR * float(np.sqrt(np.mean(samples**2)))
    return (samples + level * np.random.default_rng(0).standard_normal(len(samples))).astype(np.float32)


def heard(listener: LiveListener, samples: Samples) -> list[LiveEvent]:
    """All events of some sound, which comes piece by piece."""
    return [event for start in range(0, len(samples), PIECE) for event in listener.add(samples[start : start + PIECE])]


def trials_of(name: str, events: Sequence[LiveEvent]) -> list[Trial]:
    """Of one voice with everybody named: the looks before it was taken for another."""
    looks: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        if event.voice == 1:
            for one in event.candidates:
                looks.setdefault(one.name, []).append((event.speech_s, one.llr))
    return [Trial(other == name, tuple(pairs)) for other, pairs in looks.items()]


def row(trials: Sequence[Trial], promised: float) -> str:
    """A row of the table of errors."""
    low, high = fallen_limit(promised), reached_limit(promised)
    same = [one.ended(low, high) for one in trials if one.is_same]
    other = [one.ended(low, high) for one in trials if not one.is_same]
    cells = [f"{100 * promised:g} %"]
    for ends, wrong, right in ((other, "same", "other"), (same, "other", "same")):
        seconds = [after for what, after in ends if what == right]
        share = 100 / max(len(ends), 1)
        cells += [
            f"{share * sum(what == wrong for what, _ in ends):.2f} % of {len(ends):,}",
            f"{share * len(seconds):.0f} %",
            f"{np.median(seconds):.1f} s" if seconds else "-",
        ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Hear everybody, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", metavar="PATTERN", nargs="+")
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--people", type=int, default=12, help="of each collection")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each voice")
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    trials, delays = list[Trial](), list[float]()
    false_changes = changes = 0
    alone_s = spent = lasting = 0.0
    for pattern in arguments.collections:
        people = people_of(pattern)[: arguments.people]
        voices = [
            replace(recorded_voice([str(path) for path in person.enrolled], encoder), name=person.name)
            for person in people
        ]
        sounds = [said(person, arguments.seconds) for person in people]
        for person, sound in zip(people, sounds, strict=True):
            began = time.process_time()
            events = heard(LiveListener(voices, encoder), sound)
            spent, lasting = spent + time.process_time() - began, lasting + len(sound) / SAMPLE_RATE
            trials += trials_of(person.name, events)
            false_changes += sum(event.kind == "change" for event in events)
            alone_s += len(sound) / SAMPLE_RATE
        half = int(arguments.seconds / 2 * SAMPLE_RATE)
        for number, sound in enumerate(sounds):
            following = sounds[(number + 1) % len(sounds)][:half]
            events = heard(LiveListener(voices[:1], encoder), np.concatenate([sound[:half], following]))
            at = len(sound[:half]) / SAMPLE_RATE
            after = [event.time_s - at for event in events if event.kind == "change" and event.time_s > at]
            changes += 1
            delays += [delay for delay in after[:1] if delay <= NOTICED_S]
    print(f"model {encoder.identity.name} {encoder.identity.hash[:12]}; {json.dumps(machine(1))}\n")
    print("| promised | false accepts | told 'nobody' | after | false rejects | told the name | after |")
    print("| --- " * 7 + "|")
    for promised in PROMISED:
        print(row(trials, promised))
    names = [Path(pattern).name.rstrip("-*") or Path(pattern).parent.name for pattern in arguments.collections]
    print(f"\n{len(trials):,} trials of {', '.join(names)}; medians of seconds of speech")
    print(
        f"changes noticed within {NOTICED_S:g} s: {len(delays)} of {changes}, after {np.median(delays or [0]):.1f} s "
        f"in the median; where one voice speaks alone: {false_changes} in {alone_s / 60:.0f} min"
    )
    print(f"processor time: {100 * spent / lasting:.1f} % of one core, in real time, with {len(voices)} people named")


if __name__ == "__main__":
    main()
