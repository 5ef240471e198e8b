"""SpecAugment: what is hidden, how often, and from whom."""

import pytest
import torch
from torch import Tensor

from signals import batch_draws
from sound_groove.inputs.masking import hidden, mask_features
from sound_groove.recipe.material import MaskingConfiguration

BOTH = MaskingConfiguration(time_masks=2, time_mask_frames=20, frequency_masks=1, frequency_mask_bins=10)


def masked(settings: MaskingConfiguration, count: int = 64, seed: int = 0) -> Tensor:
    """Which values of features that are nowhere 0 have become 0 (B, T, F)."""
    features = torch.ones(count, 100, 80)
    result = mask_features(features, settings, batch_draws(count, seed))
    assert set(torch.unique(result).tolist()) <= {0.0, 1.0} and bool((features == 1).all())
    return result == 0


def runs(row: Tensor) -> list[int]:
    """Lengths of the stretches of True."""
    return [len(word) for word in "".join("x" if value else " " for value in row.tolist()).split()]


def test_masks_are_whole_stretches_of_time_and_whole_bands_of_frequency() -> None:
    for item in masked(BOTH):
        times, bands = item.all(dim=1), item.all(dim=0)
        assert torch.equal(item, times.unsqueeze(1) | bands.unsqueeze(0))
        assert len(runs(times)) <= 2 and sum(runs(times)) <= 40
        assert len(runs(bands)) <= 1 and sum(runs(bands)) <= 10


def test_each_item_draws_its_own_masks() -> None:
    assert len({item.numpy().tobytes() for item in masked(BOTH)}) > 60
    assert torch.equal(masked(BOTH), masked(BOTH)) and not torch.equal(masked(BOTH), masked(BOTH, seed=1))


def test_every_width_and_every_place_is_as_likely_as_the_others() -> None:
    one = hidden(9, 1, 2, batch_draws(60_000))
    widths = one.sum(dim=1)
    assert all(abs((widths == width).float().mean() - 1 / 3) < 0.01 for width in (0, 1, 2))
    single = one[widths == 1].float().mean(dim=0)
    assert torch.allclose(single, torch.full((9,), 1 / 9), atol=0.01)
    starts = one[widths == 2].float().argmax(dim=1)
    assert set(starts.tolist()) == set(range(8))  # the last pair begins with the last place but one
    assert torch.allclose(torch.bincount(starts) / len(starts), torch.full((8,), 1 / 8), atol=0.01)


def test_a_mask_is_never_wider_than_what_it_masks() -> None:
    widths = hidden(5, 1, 50, batch_draws(500)).sum(dim=1)
    assert widths.max() == 5 and widths.min() == 0


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_the_share_of_items_that_are_masked_is_the_one_asked_for(probability: float) -> None:
    settings = MaskingConfiguration(probability=probability, time_masks=10, time_mask_frames=50)
    assert masked(settings, count=2000).flatten(1).any(dim=1).float().mean() == pytest.approx(probability, abs=0.03)


def test_nothing_is_drawn_where_nothing_is_switched_on() -> None:
    drawn, features = batch_draws(2), torch.randn(2, 30, 80)
    assert mask_features(features, MaskingConfiguration(), drawn) is features
    assert torch.equal(drawn.uniform(), batch_draws(2).uniform())
