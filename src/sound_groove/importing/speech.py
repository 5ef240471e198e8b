"""The speech on which front ends are tried: the user's, by folders of speakers, or made-up voices."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import repeated
from sound_groove.audio.reading import load_audio
from sound_groove.corpora.layouts.folder import Folder
from sound_groove.errors import AudioError, UsageError, printable
from sound_groove.synthesis.voices import made_up_speaker, speak

Item = TypeVar("Item")

CLIP_SAMPLES = 3 * SAMPLE_RATE
SPEAKERS, CLIPS_OF_EACH = 60, 4  # at most; the more, the longer it takes
MADE_UP_SPEAKERS = 24
LEAST_SPEAKERS = 3


@dataclass(frozen=True, slots=True)
class TrialSpeech:
    """Clips of one length with their speakers.

    Attributes:
        name: what it is, in words.
        is_made_up: whether nobody has said it.
        clips: (N, samples) at 16 kHz.
        speakers: (N,) numbered from 0.
    """

    name: str
    is_made_up: bool
    clips: NDArray[np.float32]
    speakers: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many speakers there are."""
        return len(np.unique(self.speakers))


def made_up_speech(speakers: int = MADE_UP_SPEAKERS, clips_of_each: int = CLIPS_OF_EACH) -> TrialSpeech:
    """Voices of the package's synthesiser, each with several sentences over several channels."""
    clips = [
        speak(made_up_speaker(0, speaker), clips_of_each * speaker + clip, CLIP_SAMPLES / SAMPLE_RATE)
        for speaker in range(speakers)
        for clip in range(clips_of_each)
    ]
    numbers = np.repeat(np.arange(speakers), clips_of_each)
    return TrialSpeech(f"{speakers} made-up voices", True, np.stack(clips), numbers)


def speech_of(folder: str | Path) -> TrialSpeech:
    """Speech of a folder that is laid out as speaker/**/audio: of each of at most 60 speakers four recordings, evenly
    spaced in the order of their names, and of each the 3 s in its middle; a shorter one is repeated.

    Raises:
        CorpusError: there is no such folder, or it is not laid out so.
        UsageError: fewer than three speakers have two recordings that can be used.
    """
    folder = Path(folder)
    of_speaker: dict[str, list[str]] = defaultdict(list)
    for source in Folder(folder).listing().sources:
        of_speaker[source.speaker].append(source.path)
    several = [paths for _, paths in sorted(of_speaker.items()) if len(paths) > 1]
    clips: list[NDArray[np.float32]] = []
    numbers: list[int] = []
    for paths in _evenly(several, SPEAKERS):
        found = [clip for path in _evenly(paths, CLIPS_OF_EACH) if (clip := _clip(path)) is not None]
        if len(found) > 1:
            numbers += [len(set(numbers))] * len(found)
            clips += found
    if len(set(numbers)) < LEAST_SPEAKERS:
        raise UsageError(
            f"{printable(str(folder))}: {len(set(numbers))} speakers have two recordings that can be used, and "
            f"{LEAST_SPEAKERS} are needed; name a folder of speaker/**/audio"
        )
    name = f"{len(set(numbers))} speakers of {printable(folder.name)}"
    return TrialSpeech(name, False, np.stack(clips), np.array(numbers))


def _evenly(items: list[Item], most: int) -> list[Item]:
    """At most so many of them, evenly spaced."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]


def _clip(path: str) -> NDArray[np.float32] | None:
    try:
        samples = load_audio(path)
    except AudioError:
        return None
    start = max(0, len(samples) - CLIP_SAMPLES) // 2
    return repeated(samples[start : start + CLIP_SAMPLES], CLIP_SAMPLES)[:CLIP_SAMPLES]
