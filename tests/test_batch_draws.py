"""Draws that do not depend on which process an item is in, and on which other items are asked about."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from signals import batch_draws, draws
from sound_groove.inputs.augment import Augmentation
from sound_groove.inputs.masking import mask_features
from sound_groove.inputs.surroundings import Surroundings
from sound_groove.recipe.material import AugmentationConfiguration, MaskingConfiguration, NoiseConfiguration
from sound_groove.synthesis.batch_draws import BatchDraws, SharedBatch
from sound_groove.synthesis.draws import Draw

CPU = torch.device("cpu")


def share(whole: Tensor, rank: int, processes: int) -> tuple[Tensor, SharedBatch]:
    """A process's items of a batch, and what knows of the others, without any other process."""

    def gather(own: Tensor) -> Tensor:
        return torch.cat([whole[r::processes] for r in range(processes)]) if torch.is_tensor(own) else own

    return whole[rank::processes], SharedBatch(rank, processes, gather, CPU)


def put_together(work: Callable[[Tensor, BatchDraws, int], Tensor], whole: Tensor, processes: int) -> Tensor:
    """What processes make of their shares, as one batch."""
    result = torch.empty_like(whole)
    for rank in range(processes):
        own, shared = share(whole, rank, processes)
        result[rank::processes] = work(own, shared.draws(len(own), 7, Draw.AUGMENTATION, 2, 3), rank)
    return result


@pytest.mark.parametrize("processes", [2, 3, 6])
def test_several_processes_augment_as_one_does(processes: int) -> None:
    waveforms = torch.randn(12, 4000, generator=draws(1)) * 0.1
    settings = AugmentationConfiguration(
        noise_probability=0.7,
        babble_share=0.5,
        reverberation_probability=0.5,
        rt60_s=(0.05, 0.2),
        telephone_probability=0.3,
        gain_db=(-6.0, 6.0),
    )

    def work(own: Tensor, drawn: BatchDraws, rank: int) -> Tensor:
        return Augmentation(settings)(own, drawn)

    alone = put_together(work, waveforms, 1)
    assert not torch.allclose(alone, waveforms, atol=1e-3)
    assert torch.allclose(put_together(work, waveforms, processes), alone, atol=1e-6)


def test_several_processes_hear_the_babble_of_one_beside_recorded_noise() -> None:
    waveforms = torch.randn(12, 4000, generator=draws(1)) * 0.1
    noise, noisy = torch.randn(12, 4000, generator=draws(2)), torch.arange(12) % 3 == 0
    settings = AugmentationConfiguration(
        noise_probability=0.9, babble_share=0.7, noise_folders=(NoiseConfiguration(folder=Path("x")),)
    )

    def work(own: Tensor, drawn: BatchDraws, rank: int) -> Tensor:
        processes = 12 // len(own)
        rows = slice(rank, None, processes)
        items = noisy[rows].nonzero().squeeze(1)
        nowhere = torch.zeros(0, 1), torch.zeros(0, dtype=torch.long)
        around = Surroundings(noise[rows][items], items, torch.full((len(items),), 10.0), *nowhere)
        return Augmentation(settings)(own, drawn, around)

    alone = put_together(work, waveforms, 1)
    assert (alone != waveforms).any(dim=1).sum() > 4
    assert torch.allclose(put_together(work, waveforms, 2), alone, atol=1e-6)


def test_several_processes_hide_what_one_does() -> None:
    features = torch.ones(12, 30, 80)
    settings = MaskingConfiguration(probability=0.8, time_masks=2, time_mask_frames=5, frequency_masks=2)

    def work(own: Tensor, drawn: BatchDraws, rank: int) -> Tensor:
        return mask_features(own, settings, drawn)

    assert torch.equal(put_together(work, features, 4), put_together(work, features, 1))


def test_an_items_long_draws_do_not_depend_on_the_other_items_that_ask() -> None:
    everyone = batch_draws(6, 3).normal(torch.arange(6), 100)
    some = batch_draws(6, 3).normal(torch.tensor([4, 1]), 100)
    assert torch.equal(some, everyone[[4, 1]])
    assert not torch.equal(everyone[0], everyone[1])
    assert abs(everyone.mean()) < 0.2 and 0.9 < everyone.std() < 1.1


def test_draws_stay_within_their_bounds_and_fill_them() -> None:
    drawn = batch_draws(1000).uniform((-3.0, 2.0), 2)
    assert drawn.shape == (1000, 2) and -3.0 <= drawn.min() < -2.98 and 1.98 < drawn.max() <= 2.0
    assert (batch_draws(10).uniform((4.0, 4.0)) == 4.0).all()
    assert set(batch_draws(200).integers(2, 5).tolist()) == {2, 3, 4}
    rows = batch_draws(4).uniform_rows(torch.arange(4), 1000)
    assert 0.0 <= rows.min() < 0.01 and 0.99 < rows.max() <= 1.0
    assert batch_draws(4000).chosen(0.3).numel() == pytest.approx(1200, abs=120)


def test_other_places_and_seeds_draw_otherwise() -> None:
    shared = SharedBatch(0, 1, lambda own: own, CPU)
    first, *others = (
        shared.draws(8, seed, draw, epoch, batch).uniform()
        for seed, draw, epoch, batch in (
            (1, Draw.AUGMENTATION, 2, 3),
            (2, Draw.AUGMENTATION, 2, 3),
            (1, Draw.MASKING, 2, 3),
            (1, Draw.AUGMENTATION, 3, 2),
        )
    )
    assert not any(torch.equal(first, other) for other in others)
    assert torch.equal(first, shared.draws(8, 1, Draw.AUGMENTATION, 2, 3).uniform())


def test_the_total_batch_comes_in_its_order() -> None:
    whole = torch.arange(6.0).unsqueeze(1)
    own, shared = share(whole, 1, 3)
    assert torch.equal(shared.in_order(own), whole)
