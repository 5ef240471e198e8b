"""Conversations of real people that are made up, for the benchmarks of `who`, `find` and `listen`.

Recordings of a collection's speakers, put together by `synthesis/conversations.py`: 2 to 6 people, up to a fifth of the
speech by several at a time, and in turn as recorded, in a room, in noise and over a telephone line. Half of a person's
recordings are kept out of the conversations, to be enrolled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.audio.speech import speech_in
from sound_groove.errors import CorpusError
from sound_groove.synthesis.batch_draws import BatchDraws
from sound_groove.synthesis.conversations import Conversation, TalkingHabits, make_conversation
from sound_groove.synthesis.effects import coloured_noise, limit_band, mix, reverberate, room_responses
from sound_groove.types import Samples

PEOPLE = (2, 3, 4, 5, 6)
OVERLAP = (0.0, 0.25, 0.5, 0.8)  # of turns that begin before the last has ended; 0 to 20 % of the speech
CONDITIONS = ("as recorded", "room", "noise", "telephone")
ENROLLED_S = 15.0  # of speech of each person who is enrolled
LEAST_SPEECH_S = 1.0  # of a recording that is enrolled
MOST_CLIPS = 40
FLOOR = 10 ** (-60 / 20)  # root mean square of what is always heard: no room is digitally silent


@dataclass(frozen=True)
class Person:
    """Somebody of a collection: recordings to be enrolled, and to talk with."""

    name: str
    enrolled: tuple[Path, ...]
    clips: tuple[Path, ...]


def people_of(pattern: str) -> list[Person]:
    """Those whose folders a pattern names, with enough recordings for both.

    Raises:
        CorpusError: there is nobody.
    """
    found = []
    for folder in sorted(Path().glob(pattern) if not Path(pattern).is_absolute() else Path("/").glob(pattern[1:])):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        enrolled, spoken_s = list[Path](), 0.0
        for path in files[: len(files) // 2]:
            speech_s = sum(end - start for start, end in speech_in(load_audio(path))) / SAMPLE_RATE
            if spoken_s < ENROLLED_S and speech_s >= LEAST_SPEECH_S:
                enrolled.append(path)
                spoken_s += speech_s
        if enrolled:
            found.append(Person(folder.name, tuple(enrolled), tuple(files[len(files) // 2 :][:MOST_CLIPS])))
    if not found:
        raise CorpusError(f"{pattern}: names no folder of a person with {LEAST_SPEECH_S:g} s of speech in a recording")
    return found


def changed(samples: Samples, condition: str, seed: int) -> Samples:
    """A conversation in a room, in noise or over a line; with a floor, whatever the condition."""
    draws, heard = BatchDraws.of_whole_batch(seed, 1), torch.from_numpy(samples)[None]
    only = torch.tensor([0])
    if condition == "room":
        heard = reverberate(heard, room_responses(draws.uniform((0.2, 0.7)), only, draws, 0.8))
    elif condition == "noise":
        heard = mix(heard, coloured_noise(only, len(samples), draws), draws.uniform((8.0, 20.0)))
    elif condition == "telephone":
        heard = limit_band(heard, 300.0, 3400.0)
    made: Samples = (heard + FLOOR * draws.normal(only, len(samples)))[0].numpy()
    return made


def conversations(people: Sequence[Person], count: int, duration_s: float, seed: int) -> Iterator[Conversation]:
    """Conversations of a collection, each of other people, numbers, overlap and condition."""
    for number in range(count):
        draws = np.random.default_rng((seed, number))
        size = min(PEOPLE[number % len(PEOPLE)], len(people))
        chosen = [people[place] for place in draws.choice(len(people), size, replace=False)]
        clips = {person.name: [load_audio(path) for path in person.clips] for person in chosen}
        habits = TalkingHabits(overlap=OVERLAP[number % len(OVERLAP)])
        made = make_conversation(clips, duration_s, draws, habits)
        yield Conversation(changed(made.samples, CONDITIONS[(number // 2) % len(CONDITIONS)], number), made.turns)
