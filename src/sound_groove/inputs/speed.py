"""Speed perturbation on the training device: a recording played faster or slower, its pitch changing with it.

A voice at another speed is another voice, so each speed of each speaker is a class of its own (Yamamoto et al. 2019,
"Speaker augmentation and bandwidth extension for deep speaker embedding", section 2.1).
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

ZERO_CROSSINGS = 24  # of the sinc on each side of an output sample
ROLL_OFF = 0.95  # of the Nyquist frequency: the band that is kept
KAISER_BETA = 8.0  # side lobes about 80 dB down
LARGEST_DENOMINATOR = 100  # speeds are steps of 0.01


def source_samples(samples: int, speed: float) -> int:
    """How many samples it takes to give `samples` at a speed.

    >>> [source_samples(1000, speed) for speed in (0.9, 1.0, 1.1)]
    [900, 1000, 1100]
    """
    return math.ceil(samples * _ratio(speed))


def play(waveforms: Tensor, chosen: Tensor, speeds: Sequence[float], samples: int) -> Tensor:
    """Play each waveform at its own speed.

    Args:
        waveforms: (B, L); the item is its first `source_samples(samples, speed)` samples.
        chosen: (B,) index of each item's speed.
        speeds: to choose from.
        samples: length of the results.

    Returns:
        (B, samples).
    """
    if len(speeds) == 1:  # nothing to sort by
        return change_speed(waveforms, speeds[0])[:, :samples]
    played = waveforms.new_empty(len(waveforms), samples)
    for index, speed in enumerate(speeds):
        items = (chosen == index).nonzero().squeeze(1)
        if len(items):
            played[items] = change_speed(waveforms[items, : source_samples(samples, speed)], speed)[:, :samples]
    return played


def change_speed(waveforms: Tensor, speed: float) -> Tensor:
    """Play waveforms at a speed: 1.1 shortens them by 1.1, and a tone of 1 kHz becomes one of 1.1 kHz.

    Band-limited interpolation (Smith and Gossett 1984) with a Kaiser window. Beyond the ends lies silence. Frequencies
    that would pass the Nyquist frequency are removed.

    Args:
        waveforms: (B, samples).
        speed: a multiple of 0.01.

    Returns:
        (B, ceil(samples / speed)); the waveforms themselves at the speed 1.
    """
    ratio = _ratio(speed)
    if ratio == 1:
        return waveforms
    half, kernels = _kernels(ratio)
    step = ratio.numerator  # in input samples, from block to block of `ratio.denominator` output samples
    # Sample i of block k lies at the input k * step + i * ratio: one kernel for each i, one stride for each k.
    padded = pad(waveforms, (half, half + step)).unsqueeze(1)
    blocks = conv1d(padded, kernels.to(waveforms).unsqueeze(1), stride=step)  # (B, denominator, blocks)
    length = math.ceil(waveforms.shape[1] / ratio)
    return blocks.transpose(1, 2).flatten(1)[:, :length]


@lru_cache(maxsize=16)
def _kernels(ratio: Fraction) -> tuple[int, Tensor]:
    """How many taps lie before a block's first sample, and the kernels (denominator, taps)."""
    cutoff = ROLL_OFF * min(1.0, 1.0 / ratio)
    half = math.ceil(ZERO_CROSSINGS / cutoff)
    position = torch.arange(ratio.denominator, dtype=torch.float64).unsqueeze(1) * float(ratio)  # of each output sample
    distance = cutoff * (
        position + half - torch.arange(2 * half + ratio.numerator, dtype=torch.float64)
    )  # (phases, taps)
    inside = (1.0 - (distance / ZERO_CROSSINGS).square()).clamp(min=0.0)
    window = torch.special.i0(KAISER_BETA * inside.sqrt()) / torch.special.i0(torch.tensor(KAISER_BETA).double())
    window = torch.where(distance.abs() <= ZERO_CROSSINGS, window, 0.0)
    return half, (cutoff * torch.special.sinc(distance) * window).float()


def _ratio(speed: float) -> Fraction:
    return Fraction(speed).limit_denominator(LARGEST_DENOMINATOR)
