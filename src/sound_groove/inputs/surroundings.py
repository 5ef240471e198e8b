"""Recorded noise and recorded rooms, read beside the crops that they are to be added to.

Which item gets which recording, and which part of it, is a function of (seed, epoch, place), as its crop is. Workers
read; mixing and convolution run batched on the training device, in `sound_groove.synthesis.effects`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio, probe, read_segment
from sound_groove.corpora.file_work import to_sixteen_bit
from sound_groove.corpora.layouts.listing import audio_below
from sound_groove.corpora.shards import Steps, to_float
from sound_groove.errors import CorpusError, SoundGrooveError, TrainingError
from sound_groove.recipe.material import AugmentationConfiguration, NoiseConfiguration
from sound_groove.synthesis.draws import Draw, generator, uniform
from sound_groove.types import Samples

T = TypeVar("T")

LONGEST_ROOM = 2 * SAMPLE_RATE  # of a response, from its direct path on; what comes later is far below any speech
NOISE_KEPT = 512  # short recordings in each reading process, decoded: 164 MB at most
NOISE_KEPT_UP_TO = 10 * SAMPLE_RATE  # what is longer is read in parts, from its file
ROOMS_KEPT = 600  # in each reading process: 15 MB of those of `sound-groove rooms`, 77 MB at most
# MUSAN (Snyder et al. 2015) and what its recordings are used for in the published CN-Celeb recipes: folder, decibels of
# the signal-to-noise ratio, and how many recordings are heard at once.
MUSAN = (("noise", (0.0, 15.0), (1, 1)), ("music", (5.0, 15.0), (1, 1)), ("speech", (10.0, 30.0), (3, 7)))
SIMULATED_ROOMS = "simulated_rirs"  # in RIRS_NOISES (Ko et al. 2017), beside recorded rooms and recorded noise


@dataclass(frozen=True)
class NoiseSource:
    """A folder of noise.

    Attributes:
        paths: of the recordings.
        lengths: of each, in samples at 16 kHz.
        snr_db: range of the signal-to-noise ratio.
        voices: how many recordings are heard at once, from and to.
    """

    paths: tuple[str, ...]
    lengths: tuple[int, ...]
    snr_db: tuple[float, float]
    voices: tuple[int, int]


@dataclass(frozen=True)
class Surroundings:
    """What is to be heard around some of the crops of a batch.

    Attributes:
        noise: (N, samples) of any level.
        noise_items: (N,) indices of the items that it is for.
        snr_db: (N,) ratio at which it is to be added.
        rooms: (M, L) impulse responses, the direct path first.
        room_items: (M,) indices of the items that are in them.
    """

    noise: Tensor
    noise_items: Tensor
    snr_db: Tensor
    rooms: Tensor
    room_items: Tensor

    def to(self, device: torch.device) -> "Surroundings":
        """The same on a device."""
        return Surroundings(*(column.to(device, non_blocking=True) for column in self._columns))

    def pin_memory(self) -> "Surroundings":
        """The same in page-locked memory."""
        return Surroundings(*(column.pin_memory() for column in self._columns))

    @property
    def _columns(self) -> tuple[Tensor, ...]:
        return self.noise, self.noise_items, self.snr_db, self.rooms, self.room_items


@dataclass(frozen=True)
class SurroundingsReader:
    """Reads what is to be heard around crops.

    Attributes:
        sources: folders of noise, each as likely as the others.
        rooms: paths of impulse responses.
        noise_probability: share of items that get recorded noise.
        room_probability: share of items that get a recorded room.
        seed: of every draw.
    """

    sources: tuple[NoiseSource, ...]
    rooms: tuple[str, ...]
    noise_probability: float
    room_probability: float
    seed: int

    def __str__(self) -> str:
        """What there is, for people."""
        count = sum(len(source.paths) for source in self.sources)
        noise = (
            f"{count:,} recordings of noise"
            if len(self.sources) == 1
            else (f"{count:,} recordings of noise in {len(self.sources)} folders")
        )
        rooms = f"{len(self.rooms):,} room responses"
        return ", ".join(text for text, there in ((noise, self.sources), (rooms, self.rooms)) if there)

    def read(self, places: Sequence[tuple[int, int]], samples: int) -> Surroundings:
        """The surroundings of a batch.

        Args:
            places: epoch and place of each item.
            samples: length of the crops.

        Raises:
            TrainingError: a recording cannot be read any more.
        """
        noise, noise_items, snr_db, rooms, room_items = [], [], [], [], []
        for item, place in enumerate(places):
            if self.sources and uniform(self.seed, Draw.NOISE, *place) < self.noise_probability:
                draw = generator(self.seed, Draw.NOISE_PART, *place)
                source = self.sources[draw.integers(len(self.sources))]
                snr_db.append(draw.uniform(*source.snr_db))
                noise.append(_read_noise(source, samples, draw))
                noise_items.append(item)
            if self.rooms and (drawn := uniform(self.seed, Draw.ROOM, *place)) < self.room_probability:
                rooms.append(_read_room(self.rooms[int(drawn / self.room_probability * len(self.rooms))]))
                room_items.append(item)
        return Surroundings(
            torch.from_numpy(np.array(noise, dtype=np.float32).reshape(-1, samples)),
            torch.tensor(noise_items, dtype=torch.long),
            torch.tensor(snr_db, dtype=torch.float32),
            pad_sequence(rooms, batch_first=True) if rooms else torch.zeros(0, 1),
            torch.tensor(room_items, dtype=torch.long),
        )


def find_surroundings(
    settings: AugmentationConfiguration,
    seed: int,
    noise_in: Callable[[NoiseConfiguration], list[NoiseSource]] | None = None,
    rooms_in: Callable[[Path], tuple[str, ...]] | None = None,
) -> SurroundingsReader | None:
    """What the recipe's folders hold; None when it names none.

    Args:
        settings: the folders, and how often they are heard.
        seed: of every draw.
        noise_in: finds the noise of a folder; `find_noise`, or one that remembers what it found.
        rooms_in: finds the rooms of a folder; `find_rooms`, or one that remembers.

    Raises:
        CorpusError: a folder is missing, or holds no audio that can be read.
    """
    noise_in, rooms_in = noise_in or find_noise, rooms_in or find_rooms
    sources = tuple(source for folder in settings.noise_folders for source in noise_in(folder))
    rooms = () if settings.room_folder is None else rooms_in(settings.room_folder)
    if not sources and not rooms:
        return None
    recorded = settings.noise_probability * settings.recorded_share
    return SurroundingsReader(sources, rooms, recorded, settings.reverberation_probability if rooms else 0.0, seed)


def find_noise(settings: NoiseConfiguration) -> list[NoiseSource]:
    """The recordings of a folder; those of MUSAN as three sources, of noise, music and speech.

    Raises:
        CorpusError: the folder is missing, or holds no audio that can be read.
    """
    folder = settings.folder
    if settings.snr_db is None and all((folder / name).is_dir() for name, _, _ in MUSAN):
        return [_noise_source(folder / name, snr_db, voices) for name, snr_db, voices in MUSAN]
    return [_noise_source(folder, settings.snr_db or (0.0, 15.0), settings.voices)]


def find_rooms(folder: Path) -> tuple[str, ...]:
    """The impulse responses of a folder; of RIRS_NOISES, those of the simulated rooms.

    Raises:
        CorpusError: the folder is missing, or holds no audio.
    """
    simulated = folder / SIMULATED_ROOMS
    found = tuple(audio_below(simulated if simulated.is_dir() else folder, "impulse responses"))
    _check(_read_room, found[0])
    return found


def _noise_source(folder: Path, snr_db: tuple[float, float], voices: tuple[int, int]) -> NoiseSource:
    paths = tuple(audio_below(folder, "noise"))
    return NoiseSource(paths, tuple(_check(lambda path: probe(path).samples, path) for path in paths), snr_db, voices)


def _check(read: Callable[[str], T], path: str) -> T:
    """What reading a file gives, before training begins."""
    try:
        return read(path)
    except SoundGrooveError as error:
        raise CorpusError(f"{error}; remove it from the folder, or name another folder") from None


def _read_noise(source: NoiseSource, samples: int, draw: np.random.Generator) -> Samples:
    """A part of one recording, or the sum of parts of several at the same level (samples,)."""
    count = int(draw.integers(source.voices[0], source.voices[1] + 1))
    chosen = draw.choice(len(source.paths), size=min(count, len(source.paths)), replace=False)
    mixture = np.zeros(samples, dtype=np.float32)
    for index in chosen.tolist():
        length = source.lengths[index]
        wanted = min(samples, length)
        start = int(draw.random() * (length - wanted + 1))
        try:
            part = _read_part(source.paths[index], length, start, wanted)
        except SoundGrooveError as error:
            raise TrainingError(f"{error} (recorded noise)") from None
        level = math.sqrt(float(np.dot(part, part)) / wanted)
        repeated = part if wanted == samples else np.resize(part, samples)  # np.resize repeats
        mixture += repeated * np.float32(1.0 / max(level, 1e-5))
    return mixture


def _read_part(path: str, length: int, start: int, wanted: int) -> Samples:
    """A part of a recording of so many samples (wanted,)."""
    if length > NOISE_KEPT_UP_TO:
        return read_segment(path, start, wanted)
    return to_float(_read_whole(path)[start : start + wanted])


@lru_cache(maxsize=NOISE_KEPT)
def _read_whole(path: str) -> Steps:
    """A short recording of noise in 16-bit steps (samples,); to be read only, since it is kept."""
    return to_sixteen_bit(load_audio(path))


@lru_cache(maxsize=ROOMS_KEPT)
def _read_room(path: str) -> Tensor:
    """An impulse response from its direct path on (L,), which is 1; to be read only, since it is kept."""
    try:
        response = load_audio(path)
    except SoundGrooveError as error:
        raise TrainingError(f"{error} (recorded room)") from None
    direct = int(np.argmax(np.abs(response)))
    return torch.from_numpy(response[direct : direct + LONGEST_ROOM] / response[direct])
