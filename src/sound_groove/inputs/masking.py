"""SpecAugment (Park et al. 2019, section 2): stretches of time and bands of frequency are hidden from the network.

Masked values become 0, which is the mean of features whose mean was removed. Time is not warped: the paper found it to
matter least.
"""

import torch
from torch import Tensor

from sound_groove.recipe.material import MaskingConfiguration
from sound_groove.synthesis.batch_draws import BatchDraws


def mask_features(features: Tensor, settings: MaskingConfiguration, draws: BatchDraws) -> Tensor:
    """Hide parts of features; each item draws its own masks.

    Args:
        features: (B, T, F), the mean of each item removed.
        settings: how many masks, and how wide at most.
        draws: source of the draws.

    Returns:
        (B, T, F); the features themselves where nothing is switched on.
    """
    if not settings.changes_features:
        return features
    _, frames, bins = features.shape
    times = hidden(frames, settings.time_masks, settings.time_mask_frames, draws)
    bands = hidden(bins, settings.frequency_masks, settings.frequency_mask_bins, draws)
    masked = times.unsqueeze(2) | bands.unsqueeze(1)  # (B, T, F)
    chosen = draws.uniform() < settings.probability
    return features.masked_fill(masked & chosen.view(-1, 1, 1), 0.0)


def hidden(length: int, masks: int, widest: int, draws: BatchDraws) -> Tensor:
    """Which places of an axis are hidden.

    Args:
        length: of the axis.
        masks: stretches an item; they may overlap.
        widest: each is drawn from 0 to this (or to the whole axis) with equal chances, and then its place.
        draws: source of the draws, of B items.

    Returns:
        (B, length) bool.
    """
    width = draws.integers(0, min(widest, length) + 1, masks, 1)  # (B, masks, 1)
    place = draws.uniform((0.0, 1.0), masks, 1)
    start = (place * (length - width + 1)).long()  # 0 to length - width
    position = torch.arange(length, device=width.device)
    return ((position >= start) & (position < start + width)).any(dim=1)
