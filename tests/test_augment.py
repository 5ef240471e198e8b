"""Noise, rooms and lines made up in the batch, checked by measuring what was asked for."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from torch import Tensor

from signals import batch_draws, draws, tone
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.inputs.augment import Augmentation
from sound_groove.recipe.material import AugmentationConfiguration
from sound_groove.synthesis.effects import babble, coloured_noise, limit_band, mix, reverberate, room_responses

EVERYTHING: dict[str, Any] = {
    "noise_probability": 1.0,
    "babble_share": 0.5,
    "snr_db": (0.0, 20.0),
    "reverberation_probability": 1.0,
    "rt60_s": (0.1, 0.8),
    "telephone_probability": 0.5,
    "gain_db": (-6.0, 6.0),
}


def speech_like(count: int = 8, samples: int = 8000, seed: int = 1) -> Tensor:
    """Noise in bursts, each item at a level of its own (count, samples)."""
    generator = draws(seed)
    bursts = torch.rand(count, samples // 400, generator=generator).repeat_interleave(400, dim=1)
    level = 10.0 ** (-torch.rand(count, 1, generator=generator) * 2)
    return torch.randn(count, samples, generator=generator) * bursts * level * 0.3


def augment(waveforms: Tensor, seed: int = 0, **settings: Any) -> Tensor:
    return Augmentation(AugmentationConfiguration(**settings))(waveforms, batch_draws(len(waveforms), seed))


def power_db(waveforms: Tensor) -> Tensor:
    """Mean square in decibels, in float64 (B,)."""
    return 10 * waveforms.double().square().mean(dim=-1).log10()


def test_the_ratio_that_is_asked_for_is_the_one_that_is_measured() -> None:
    speech, noise = speech_like(), 5 * torch.randn(8, 8000, generator=draws(2))
    asked = torch.tensor([-5.0, 0.0, 3.0, 10.0, 15.0, 20.0, 30.0, 40.0])
    measured = power_db(speech) - power_db(mix(speech, noise, asked) - speech)
    assert torch.allclose(measured, asked.double(), atol=0.01)


@pytest.mark.parametrize("babble_share", [0.0, 1.0])
def test_the_whole_augmentation_keeps_to_the_ratio_for_coloured_noise_and_for_babble(babble_share: float) -> None:
    speech = speech_like()
    noisy = augment(speech, noise_probability=1.0, babble_share=babble_share, snr_db=(7.0, 7.0))
    assert torch.allclose(power_db(speech) - power_db(noisy - speech), torch.full((8,), 7.0).double(), atol=0.01)


def test_ratios_fill_their_range() -> None:
    speech = speech_like(count=200, samples=1600)
    noisy = augment(speech, noise_probability=1.0, babble_share=0.5, snr_db=(0.0, 20.0))
    measured = power_db(speech) - power_db(noisy - speech)
    assert -0.01 < measured.min() < 1 and 19 < measured.max() < 20.01
    assert 8.5 < measured.mean() < 11.5


def test_noise_comes_on_top_of_the_room() -> None:
    """The ratio is that of the reverberated speech to the noise: a listener in the room has no other."""
    room: dict[str, Any] = {"reverberation_probability": 1.0, "rt60_s": (0.5, 0.5)}
    wet = augment(speech_like(), **room)
    noisy = augment(speech_like(), **room, noise_probability=1.0, snr_db=(3.0, 3.0))
    assert torch.allclose(power_db(wet) - power_db(noisy - wet), torch.full((8,), 3.0).double(), atol=0.01)


def test_a_room_without_echoes_changes_nothing() -> None:
    speech = speech_like()
    dry_room = torch.zeros(8, 4000)
    dry_room[:, 0] = 1.0
    assert torch.allclose(reverberate(speech, dry_room), speech, atol=1e-6)


def test_reverberation_is_the_convolution_brought_back_to_the_level() -> None:
    speech, rooms = speech_like(3), torch.randn(3, 3000, generator=draws(4))
    for dry, room, wet in zip(speech, rooms, reverberate(speech, rooms), strict=True):
        expected = fftconvolve(dry.double(), room.double())[: len(dry)]
        expected *= np.sqrt(dry.double().square().mean().item() / np.mean(expected**2))
        assert np.allclose(wet, expected, atol=1e-5)


@pytest.mark.parametrize("rt60_s", [0.15, 0.3, 0.6, 1.2])
def test_the_reverberation_time_that_is_asked_for_is_measured_by_schroeders_integration(rt60_s: float) -> None:
    # Beside rooms of another time, which must not change it.
    times = torch.tensor([rt60_s, 1.5] * 10)
    responses = room_responses(times, torch.arange(20), batch_draws(20), longest_s=1.5)[::2].double()
    tail = responses[:, 1:]
    left = tail.square().flip(1).cumsum(1).flip(1)  # energy still to come
    decay_db = (10 * (left / left[:, :1]).log10()).mean(0)
    first, last = (int((decay_db < level).nonzero()[0]) for level in (-5.0, -35.0))  # T30
    measured_s = 2 * (last - first) / SAMPLE_RATE
    assert measured_s == pytest.approx(rt60_s, rel=0.05)


def test_a_room_has_its_direct_path_first_then_a_gap_then_echoes_of_at_most_the_same_energy() -> None:
    responses = room_responses(torch.full((300,), 0.4), torch.arange(300), batch_draws(300), 0.4).double()
    assert (responses[:, 0] == 1.0).all()
    assert (responses[:, 1:16] == 0.0).all()  # 1 ms: nothing is nearer than 34 cm
    ratio_db = -10 * responses[:, 1:].square().sum(1).log10()
    assert -0.01 < ratio_db.min() < 1 and 14 < ratio_db.max() < 15.01


def test_reverberation_keeps_length_and_level() -> None:
    speech = speech_like()
    wet = augment(speech, reverberation_probability=1.0, rt60_s=(0.2, 0.8))
    assert wet.shape == speech.shape
    assert not torch.allclose(wet, speech, atol=1e-3)
    assert torch.allclose(power_db(wet), power_db(speech), atol=0.001)


def test_babble_is_three_to_seven_others_equally_loud_and_never_the_item_itself() -> None:
    """Each item is a click at a time of its own, so that the mixture shows who is in it."""
    loudness = torch.logspace(-2, 2, 12).unsqueeze(1)
    clicks = torch.eye(12) * loudness
    counts = set()
    for seed in range(60):
        chosen = torch.arange(12)[seed % 2 :: 2]  # only some items hear babble, but all may talk
        mixture = babble(clicks, chosen, batch_draws(12, seed))
        talks = mixture > 0
        assert not talks[torch.arange(6), chosen].any()
        assert torch.allclose(mixture[talks], torch.tensor(math.sqrt(12.0)))  # mean square 1, each
        counts |= set(talks.sum(dim=1).tolist())
    assert counts == {3, 4, 5, 6, 7}


def test_babble_makes_do_with_the_items_that_there_are() -> None:
    pair = torch.eye(2)
    assert torch.equal(babble(pair, torch.arange(2), batch_draws(2)) > 0, torch.eye(2).flip(0) > 0)
    alone = speech_like(1)
    assert torch.equal(augment(alone, noise_probability=1.0, babble_share=1.0), alone)


def test_the_telephone_keeps_1_khz_and_takes_6_khz_and_hum_away() -> None:
    def through(frequency_hz: float) -> float:
        heard = augment(tone(frequency_hz), telephone_probability=1.0)
        return float(power_db(heard) - power_db(tone(frequency_hz)))

    assert through(1000) == pytest.approx(0.0, abs=0.01)
    assert through(6000) < -39.0
    assert through(50) < -100.0


def test_a_band_has_half_the_power_at_its_corners_and_does_not_shift() -> None:
    for corner_hz in (300.0, 3000.0):
        limited = limit_band(tone(corner_hz), 300.0, 3000.0)
        assert float(power_db(limited) - power_db(tone(corner_hz))) == pytest.approx(-3.01, abs=0.02)
        assert torch.allclose(limited, tone(corner_hz) * math.sqrt(0.5), atol=1e-3)


def test_coloured_noise_falls_by_every_slope_between_white_and_brown() -> None:
    noise = coloured_noise(torch.arange(300), 16000, batch_draws(300)).double()
    frequency = torch.fft.rfftfreq(16000, 1 / SAMPLE_RATE)
    band = (frequency > 50) & (frequency < 7500)
    power = torch.fft.rfft(noise).abs().square()[:, band].log()
    octaves = frequency[band].log().double()
    octaves = octaves - octaves.mean()
    slope = -(power * octaves).sum(1) / octaves.square().sum()
    assert slope.min() > -0.1 and slope.max() < 2.1
    share, _ = np.histogram(slope, bins=4, range=(-0.1, 2.1))
    assert share.min() > 45  # of 75 in each quarter, were the drawing perfectly even


def test_each_item_draws_for_itself_with_the_probability_that_is_asked_for() -> None:
    speech = speech_like(2000, 400)
    for name in ("noise_probability", "reverberation_probability", "telephone_probability"):
        changed = (augment(speech, 0, **{name: 0.3}) != speech).any(dim=1)
        assert changed.float().mean().item() == pytest.approx(0.3, abs=0.04), name


def test_a_gain_is_a_gain() -> None:
    speech = speech_like()
    assert torch.allclose(augment(speech, gain_db=(20.0, 20.0)), 10 * speech)
    ratio_db = power_db(augment(speech_like(100, 400), gain_db=(-6.0, 6.0))) - power_db(speech_like(100, 400))
    assert -6.01 < ratio_db.min() < -5 and 5 < ratio_db.max() < 6.01


def test_what_is_switched_off_changes_nothing() -> None:
    speech = speech_like()
    assert not AugmentationConfiguration().changes_waveforms
    assert torch.equal(augment(speech), speech)


def test_the_draws_come_from_the_generator_alone() -> None:
    speech = speech_like()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    once, again, other = (augment(speech, seed, **EVERYTHING) for seed in (5, 5, 6))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_state)


def test_the_waveforms_that_are_given_stay_as_they_are() -> None:
    speech = speech_like()
    before = speech.clone()
    augment(speech, **EVERYTHING)
    assert torch.equal(speech, before)


def test_silence_and_the_faintest_sounds_stay_finite() -> None:
    waveforms = speech_like()
    waveforms[2] = 0.0
    waveforms[3] *= 1e-12
    waveforms[4, 1:] = 0.0
    for seed in range(10):
        heard = augment(waveforms, seed, **EVERYTHING)
        assert torch.isfinite(heard).all()
        assert (heard[2] == 0.0).all()  # no ratio to silence means anything: it is left alone
    assert torch.isfinite(augment(torch.zeros(4, 800), **EVERYTHING)).all()
