"""Speed perturbation, checked by physics and against libsoxr's resampler."""

import math

import numpy as np
import pytest
import soxr
import torch
from scipy.signal import butter, sosfiltfilt

from signals import tone
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.inputs.speed import change_speed, play, source_samples

SPEEDS = [0.5, 0.9, 0.95, 1.1, 1.25, 2.0]


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_speed_shortens_by_itself(speed: float) -> None:
    assert change_speed(torch.zeros(2, 22000), speed).shape == (2, math.ceil(round(22000 / speed, 6)))


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("frequency_hz", [100.0, 1000.0, 3000.0])
def test_a_tone_becomes_the_tone_of_its_frequency_times_the_speed(speed: float, frequency_hz: float) -> None:
    played = change_speed(tone(frequency_hz), speed)[:, 200:-200]
    expected = tone(frequency_hz * speed, SAMPLE_RATE * 2)[:, 200 : 200 + played.shape[1]]
    assert torch.allclose(played, expected, atol=2e-4)


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.25])
def test_it_is_what_another_resampler_gives(speed: float) -> None:
    noise = np.random.default_rng(3).standard_normal(SAMPLE_RATE)
    speech = sosfiltfilt(butter(8, 5500, fs=SAMPLE_RATE, output="sos"), noise).astype(np.float32)
    expected = soxr.resample(speech, round(100 * speed), 100, quality="VHQ")
    played = change_speed(torch.from_numpy(speech).unsqueeze(0), speed)[0].numpy()
    assert abs(len(played) - len(expected)) <= 1
    count = min(len(played), len(expected)) - 300
    assert np.abs(played[300:count] - expected[300:count]).max() < 2e-3 * np.abs(speech).max()


def test_what_would_pass_the_nyquist_frequency_is_removed_and_not_folded_back() -> None:
    played = change_speed(tone(7800.0), 1.1)[:, 200:-200]
    assert played.abs().max() < 0.01


def test_the_speed_1_changes_nothing() -> None:
    waveforms = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(change_speed(waveforms, 1.0), waveforms)


def test_each_item_is_played_at_its_own_speed_and_hears_nothing_of_the_padding() -> None:
    speeds, samples = (0.9, 1.0, 1.1), 8000
    longest = source_samples(samples, max(speeds))
    waveforms = torch.randn(7, longest, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([2, 0, 1, 0, 2, 1, 0])
    played = play(waveforms, chosen, speeds, samples)
    assert played.shape == (7, samples)
    for waveform, index, result in zip(waveforms, chosen.tolist(), played, strict=True):
        alone = waveform[: source_samples(samples, speeds[index])].unsqueeze(0)
        assert torch.allclose(result, change_speed(alone, speeds[index])[0, :samples], atol=1e-6)
        padded = waveform.clone()
        padded[source_samples(samples, speeds[index]) :] = 99.0
        again = play(padded.unsqueeze(0), torch.tensor([index]), speeds, samples)[0]
        assert torch.allclose(again, result, atol=1e-6)


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("samples", [1, 399, 32240])
def test_a_source_is_just_long_enough(speed: float, samples: int) -> None:
    source = source_samples(samples, speed)
    assert change_speed(torch.ones(1, source), speed).shape[1] >= samples
    assert (source - 1) / speed < samples
