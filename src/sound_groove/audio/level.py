"""The level of a recording, and the floor that is laid under its features, so that silence decides nothing.

A logarithm tells a digital silence from a quiet room by as much as a quiet room from a voice, and the mean over time
carries that into every frame. So a network may ask for a floor (`NetworkConfiguration.floor_db`): the energies of white
noise, so many dB below the recording's level, are added to those of the mel filters before the logarithm. They are
constants and not noise: nothing is drawn.

The level is that of the voice, whatever lies before, between and behind. Frames are sorted by their amplitude (the
root of the energy that the mel filters find in them, of which an offset and hum are little), and the level is the
energy of the frame at which the louder ones hold half of the sum of all amplitudes. Zeros have no part in that sum and
a quiet room hardly any, however long they last; and a click is one frame among many.

The same in torch, for batches, is `sound_groove.networks.features.Normalization`; this module serves recordings that
are too long for one piece, of which every piece is given the level of the whole.
"""

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.filterbank import (
    FRAME_LENGTH,
    FRAME_SHIFT,
    LOG_FLOOR,
    SIXTEEN_BIT,
    mel_filters,
    power_spectra,
    white_noise_energies,
)
from sound_groove.types import Samples

BLOCK_FRAMES = 3000  # 30 s
LEAST_ENERGY = 80 * LOG_FLOOR  # what is found in a frame of zeros: each of 80 filters is at the logarithm's floor


def level_of(energies: NDArray[np.float64]) -> float:
    """The energy of the frame at which the louder ones hold half of the sum of all amplitudes.

    Args:
        energies: (T,) of the frames, at least one.

    >>> level_of(np.array([0.0, 0.0, 0.0, 4.0, 9.0, 16.0, 0.0]))
    9.0
    """
    amplitudes = np.sort(np.sqrt(energies))[::-1]
    louder = np.cumsum(amplitudes)
    return float(amplitudes[np.searchsorted(louder, louder[-1] / 2)] ** 2)


def level_of_samples(samples: Samples) -> float:
    """The level of a recording (samples,) in [-1, 1] at 16 kHz, at least 400 of them."""
    spans = level_spans(len(samples))
    return level_of(np.concatenate([frame_energies(samples[start:end]) for start, end in spans]))


def level_of_features(features: NDArray[np.float32]) -> float:
    """The level of a recording whose log-mel energies (T, F) are stored, with their mean."""
    return level_of(np.exp(features.astype(np.float64)).sum(axis=1))


def level_spans(samples: int) -> list[tuple[int, int]]:
    """The stretches of a recording of so many samples that have all of its frames, each once.

    >>> level_spans(480_400)
    [(0, 480240), (480000, 480400)]
    """
    step, rest = BLOCK_FRAMES * FRAME_SHIFT, FRAME_LENGTH - FRAME_SHIFT
    starts = range(0, max(samples - rest, 1), step)
    return [(start, min(start + step + rest, samples)) for start in starts if samples - start >= FRAME_LENGTH]


def frame_energies(samples: Samples) -> NDArray[np.float64]:
    """The energy that 80 mel filters find in each frame (T,) of (samples,) at 16 kHz in [-1, 1]."""
    weights = mel_filters().sum(axis=1).astype(np.float32)  # (255,)
    parts = [power @ weights for power in power_spectra(samples, SIXTEEN_BIT)]
    return np.maximum(np.concatenate(parts).astype(np.float64), LEAST_ENERGY)


def floor_energies(num_mel_bins: int = 80) -> NDArray[np.float64]:
    """What white noise gives each mel filter (F,), as a share of what it gives all of them."""
    energies = white_noise_energies(num_mel_bins)
    return np.asarray(energies / energies.sum())
