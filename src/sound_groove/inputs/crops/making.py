"""Making crops: a batch of one length at a time, each a function of (seed, shard, batch, place in the batch).

    voice: whose speech it is made of, at what speed, with what formants
    take of it: utterance -> pitch, tempo, tilt -> a second voice -> room -> noise -> telephone band -> music
    -> clipping -> codec -> level -> 16 bits

`takes` crops in a row are of one voice, each of another utterance and in a mood of its own: what there is to learn is
that they are one. What comes out is what the teacher hears; what no ear should notice is done later, to the network's
copy (`sound_groove.inputs.crops.inaudible`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.corpora.file_work import to_sixteen_bit
from sound_groove.corpora.manifest import Utterance
from sound_groove.corpora.shards import Steps
from sound_groove.inputs.augment import Augmentation
from sound_groove.inputs.crops.voices import Change
from sound_groove.inputs.dataset import read_crop
from sound_groove.inputs.surroundings import SurroundingsReader
from sound_groove.recipe.distillation import CropConfiguration
from sound_groove.recipe.schema import Recipe
from sound_groove.synthesis.batch_draws import BatchDraws
from sound_groove.synthesis.draws import Draw, generator, log_uniform, torch_seed
from sound_groove.synthesis.lines import clipped, encoded_somehow, made_up_music
from sound_groove.types import Samples

LEAST_LEVEL = 1e-4  # RMS below which a stretch of an utterance holds no voice, -80 dB: another stretch is drawn
TRIES = 3  # stretches that are drawn before one without a voice is taken
SPOKEN_SHARE = 0.8  # of utterances that are drawn by their duration; the others each as likely as any other
CLIPPED_SHARE = (0.001, 0.1)  # of the samples


@dataclass(frozen=True)
class CropBatch:
    """Crops of one length.

    Attributes:
        steps: (B, samples) in 16-bit steps.
        labels: (B,) classes of those that are one voice as it was, -1 for the others.
    """

    steps: Steps
    labels: NDArray[np.int64]


def crop_lengths(settings: CropConfiguration) -> list[int]:
    """The lengths of crops, in samples.

    >>> [length / 16_000 for length in crop_lengths(CropConfiguration(seconds=(1, 6), lengths=3))]
    [1.0, 3.5, 6.0]
    """
    low, high = settings.seconds
    return [round(SAMPLE_RATE * float(s)) for s in np.linspace(low, high, settings.lengths)]


class _Voice(NamedTuple):
    """Somebody whose speech is at hand, or whom warping makes of them.

    Attributes:
        utterances: places of theirs.
        warp: what makes another voice of theirs; None = nothing does.
    """

    utterances: Sequence[int]
    warp: Change | None


class CropMaker:
    """Draws crops of utterances and makes of them what is to be heard.

    Args:
        recipe: the settings of crops and augmentation, and the seed.
        utterances: all that may be drawn.
        labels: (utterances,) classes, -1 = not known.
        surroundings: recorded noise and rooms, where the recipe names folders of them.
    """

    def __init__(
        self,
        recipe: Recipe,
        utterances: Sequence[Utterance],
        labels: NDArray[np.int64],
        surroundings: SurroundingsReader | None = None,
    ) -> None:
        self._settings, self._seed = recipe.distillation.crops, recipe.seed
        self._batch = recipe.data.sampler.total_batch
        self._augmentation = Augmentation(recipe.augmentation)
        self._utterances, self._labels, self._surroundings = utterances, labels, surroundings
        durations = np.array([utterance.duration_s for utterance in utterances])
        chances = SPOKEN_SHARE * durations / durations.sum() + (1.0 - SPOKEN_SHARE) / len(durations)
        self._until = np.cumsum(chances)
        self._said_by: dict[str, list[int]] = {}
        for place, utterance in enumerate(utterances):
            self._said_by.setdefault(utterance.speaker, []).append(place)

    def make(self, shard: int, batch: int, length: int) -> CropBatch:
        """One batch.

        Args:
            shard: number of the shard that it is for.
            batch: number of the batch in the shard.
            length: of the crops, in samples.

        Raises:
            TrainingError, AudioError: a recording cannot be read.
        """
        draws = [generator(self._seed, Draw.CROP, shard, batch, place) for place in range(self._batch)]
        takes = self._settings.takes
        voices = [
            self._voice(generator(self._seed, Draw.CROP_VOICE, shard, batch, number))
            for number in range(-(-self._batch // takes))
        ]
        crops, labels = zip(
            *(self._voices(voices[place // takes], length, draw) for place, draw in enumerate(draws)), strict=True
        )
        place = (shard, batch)
        around = None
        if self._surroundings is not None:
            # Their draws are asked for by an epoch and a place, and every item needs a place of its own.
            first = batch * self._batch
            around = self._surroundings.read([(shard, first + item) for item in range(self._batch)], length)
        few = BatchDraws.of_whole_batch(torch_seed(self._seed, Draw.CROP_SURROUNDINGS, *place), self._batch)
        heard = self._augmentation(torch.from_numpy(np.stack(crops)), few, around).numpy()
        steps = np.stack([self._recorded(crop, draw) for crop, draw in zip(heard, draws, strict=True)])
        return CropBatch(steps, np.array(labels, dtype=np.int64))

    def _voice(self, draw: np.random.Generator) -> _Voice:
        """Somebody, the more likely the longer they speak, or another voice made of theirs."""
        settings = self._settings
        index = min(int(np.searchsorted(self._until, draw.random())), len(self._utterances) - 1)
        spoken = self._said_by[self._utterances[index].speaker]
        if draw.random() >= settings.warped:
            return _Voice(spoken, None)
        speed = log_uniform(draw, settings.speed) if draw.random() < 0.7 else 1.0
        formants = log_uniform(draw, settings.formants) if draw.random() < 0.5 else 1.0
        return _Voice(spoken, Change(speed, formants))

    def _mood(self, draw: np.random.Generator) -> tuple[float, float, float] | None:
        """Factors of pitch and tempo, and a tilt in decibels an octave; None = as it was spoken."""
        settings = self._settings
        if draw.random() >= settings.warped:
            return None
        pitch = log_uniform(draw, settings.pitch) if draw.random() < 0.6 else 1.0
        tempo = log_uniform(draw, settings.tempo) if draw.random() < 0.4 else 1.0
        return pitch, tempo, draw.uniform(*settings.tilt_db) if draw.random() < 0.5 else 0.0

    def _voices(self, voice: _Voice, length: int, draw: np.random.Generator) -> tuple[Samples, int]:
        """A take of a voice, alone or with a second one (samples,), and the class, where it is one voice as it was."""
        settings = self._settings
        take, label = self._take(voice, length, draw)
        if draw.random() >= settings.mixed:
            return take, label
        other, _ = self._take(self._voice(draw), length, draw)
        ratio_db = draw.uniform(*settings.mixed_db)
        factor = 10.0 ** (-ratio_db / 20.0) * _level(take) / max(_level(other), LEAST_LEVEL)
        return take + np.float32(factor) * other, -1

    def _take(self, voice: _Voice, length: int, draw: np.random.Generator) -> tuple[Samples, int]:
        """A stretch of what somebody said, in a mood (samples,), and the class."""
        mood = self._mood(draw)
        change = voice.warp or Change()
        if mood is not None:
            change = change.spoken(*mood)
        for _ in range(TRIES):
            index = voice.utterances[int(draw.integers(len(voice.utterances)))]
            take = read_crop(self._utterances[index], change.samples_for(length), draw.random())
            if _level(take) > LEAST_LEVEL:
                break
        is_as_it_was = voice.warp is None and mood is None
        return np.resize(change.of(take), length), int(self._labels[index]) if is_as_it_was else -1

    def _recorded(self, crop: Samples, draw: np.random.Generator) -> Steps:
        """A crop behind music, an overdriven microphone and a codec, at its level, in 16-bit steps (samples,)."""
        settings = self._settings
        if draw.random() < settings.music:
            music = made_up_music(len(crop), draw)
            factor = 10.0 ** (-draw.uniform(*settings.music_db) / 20.0) * _level(crop) / max(_level(music), LEAST_LEVEL)
            crop = crop + np.float32(factor) * music
        if draw.random() < settings.clipped:
            crop = clipped(crop, draw.uniform(*CLIPPED_SHARE), draw.random() < 0.5)
        level_db = draw.uniform(*settings.level_db)
        crop = _at_level(crop, level_db)
        if draw.random() < settings.coded:
            crop = encoded_somehow(crop, draw)
        return to_sixteen_bit(np.clip(crop, -1.0, 1.0 - 2.0**-15))


def _level(samples: Samples) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _at_level(samples: Samples, level_db: float) -> Samples:
    """At a level, or as near to it as the loudest sample allows."""
    factor = 10.0 ** (level_db / 20.0) / max(_level(samples), 1e-9)
    largest = float(np.abs(samples).max())
    scaled: Samples = samples * np.float32(min(factor, 0.99 / max(largest, 1e-9)))
    return scaled
