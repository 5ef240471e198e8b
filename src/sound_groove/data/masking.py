"""SpecAugment (Park et al. 2019, section 2): stretches of time and bands of frequency are hidden from the network.

Masked values become 0, which is the mean of features whose mean was removed. Time is not warped: the paper found it to
matter least.
"""

import torch
from torch import Tensor

from sound_groove.configuration import MaskingConfiguration


def mask_features(features: Tensor, settings: MaskingConfiguration, generator: torch.Generator) -> Tensor:
    """Hide parts of features; each item draws its own masks.

    Args:
        features: (B, T, F), the mean of each item removed.
        settings: how many masks, and how wide at most.
        generator: source of the draws, on the features' device.

    Returns:
        (B, T, F); the features themselves where nothing is switched on.
    """
    if not settings.changes_features:
        return features
    count, frames, bins = features.shape
    times = hidden(count, frames, settings.time_masks, settings.time_mask_frames, generator)
    bands = hidden(count, bins, settings.frequency_masks, settings.frequency_mask_bins, generator)
    masked = times.unsqueeze(2) | bands.unsqueeze(1)  # (B, T, F)
    chosen = torch.rand(count, generator=generator, device=generator.device) < settings.probability
    return features.masked_fill(masked & chosen.view(-1, 1, 1), 0.0)


def hidden(count: int, length: int, masks: int, widest: int, generator: torch.Generator) -> Tensor:
    """Which places of an axis are hidden.

    Args:
        count: items B.
        length: of the axis.
        masks: stretches an item; they may overlap.
        widest: each is drawn from 0 to this (or to the whole axis) with equal chances, and then its place.
        generator: source of the draws.

    Returns:
        (B, length) bool.
    """
    device = generator.device
    width = torch.randint(0, min(widest, length) + 1, (count, masks, 1), generator=generator, device=device)
    place = torch.rand(count, masks, 1, generator=generator, device=device)
    start = (place * (length - width + 1)).long()  # 0 to length - width
    position = torch.arange(length, device=device)
    return ((position >= start) & (position < start + width)).any(dim=1)
