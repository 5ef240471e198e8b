"""Signals and draws that several tests are made of."""

import math

import torch
from torch import Tensor

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.synthesis.batch_draws import BatchDraws


def draws(seed: int = 0) -> torch.Generator:
    """A fresh generator."""
    return torch.Generator().manual_seed(seed)


def batch_draws(count: int, seed: int = 0) -> BatchDraws:
    """The draws of a batch that one process has to itself."""
    return BatchDraws.of_whole_batch(seed, count)


def tone(frequency_hz: float, samples: int = SAMPLE_RATE) -> Tensor:
    """A sine of amplitude 1 (1, samples), its phase computed in float64."""
    phase = 2 * math.pi * frequency_hz * torch.arange(samples, dtype=torch.float64) / SAMPLE_RATE
    return phase.sin().float().unsqueeze(0)
