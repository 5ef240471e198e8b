"""Noise, rooms and lines for batches of waveforms, on any device.

The only source of randomness are the draws that every function is given. Waveforms are (B, samples); each item draws
for itself, and gets the same in whichever process it is.
"""

import math

import torch
from torch import Tensor

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.synthesis.batch_draws import BatchDraws

BABBLE_TALKERS = (3, 7)  # as in the MUSAN recipes of Snyder et al. 2018, section 3.3
DIRECT_TO_REVERBERANT_DB = (0.0, 15.0)
SILENT_POWER = 1e-10  # mean square below which an item is left as it is: no ratio to it means anything


def mix(signals: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Add noise at a signal-to-noise ratio, measured over the whole crop.

    Args:
        signals: (B, samples).
        noise: (B, samples), of any level.
        snr_db: (B,) ratio of the mean squares.

    Returns:
        (B, samples). Silent signals, and signals whose noise is silent, come back as they are.

    >>> signal, noise = torch.ones(1, 4), torch.full((1, 4), 5.0)
    >>> mix(signal, noise, torch.tensor([20.0])).tolist()  # 20 dB: a tenth of the amplitude
    [[1.100000023841858, 1.100000023841858, 1.100000023841858, 1.100000023841858]]
    """
    signal_power, noise_power = _power(signals), _power(noise)  # (B, 1)
    factor = (signal_power / noise_power.clamp(min=SILENT_POWER) * 10.0 ** (-snr_db.unsqueeze(1) / 10.0)).sqrt()
    factor = torch.where((signal_power > SILENT_POWER) & (noise_power > SILENT_POWER), factor, torch.zeros_like(factor))
    return signals + factor * noise


def coloured_noise(items: Tensor, samples: int, draws: BatchDraws) -> Tensor:
    """Gaussian noise whose power falls as 1 / f^a, a drawn from 0 (white) to 2 (brown) for each item.

    Args:
        items: (N,) indices of the items that are to hear it.
        samples: its length.
        draws: source of the draws.

    Returns:
        (N, samples).
    """
    slope = draws.uniform((0.0, 2.0))[items].unsqueeze(1)
    white = draws.normal(items, samples)
    if not len(items):  # which the Fourier transform does not take
        return white
    frequency = torch.fft.rfftfreq(samples, 1.0 / SAMPLE_RATE, device=white.device).clamp(min=20.0)  # (bins,)
    noise: Tensor = torch.fft.irfft(torch.fft.rfft(white) * frequency ** (-slope / 2.0), n=samples)
    return noise


def babble(waveforms: Tensor, items: Tensor, draws: BatchDraws) -> Tensor:
    """The sum of a few other items of the total batch, for each chosen item.

    Args:
        waveforms: (B, samples) of this process.
        items: (N,) indices of the items that are to hear babble; an item never hears itself.
        draws: source of the draws, and of the other processes' items.

    Returns:
        (N, samples); silence when the total batch has a single item.
    """
    batch = draws.everybody(waveforms)  # (total, samples)
    count, talkers = len(batch), min(BABBLE_TALKERS[1], len(batch) - 1)
    keys = draws.uniform_rows(items, count)
    wanted = draws.integers(min(BABBLE_TALKERS[0], talkers), talkers + 1)[items].unsqueeze(1)
    if talkers < 1 or not len(items):
        return torch.zeros_like(waveforms[items])
    # Distinct talkers: the smallest of random keys, where the item's own key is too large to be among them.
    keys.scatter_(1, draws.rows[items].unsqueeze(1), 2.0)
    talker = keys.topk(talkers, dim=1, largest=False).indices  # (N, talkers)
    weight = (torch.arange(talkers, device=batch.device) < wanted).float()  # (N, talkers)
    mixture = torch.zeros(len(items), count, device=batch.device).scatter_(1, talker, weight)
    level = _power(batch).clamp(min=SILENT_POWER).rsqrt()  # every talker equally loud
    return mixture @ (batch * level)  # (N, total) @ (total, samples)


def room_responses(rt60_s: Tensor, items: Tensor, draws: BatchDraws, longest_s: float) -> Tensor:
    """Synthetic room impulse responses: a direct path, and behind it noise that decays by 60 dB in `rt60_s`.

    Polack's statistical model of late reverberation (1988), with the direct-to-reverberant ratio drawn for each room.

    Args:
        rt60_s: (N,) reverberation times.
        items: (N,) indices of the items whose rooms these are.
        draws: source of the draws.
        longest_s: length of the responses.

    Returns:
        (N, L) with the direct path, of height 1, at the first sample.
    """
    length = max(2, int(longest_s * SAMPLE_RATE))
    time_s = torch.arange(length, device=rt60_s.device) / SAMPLE_RATE  # (L,)
    decay = torch.exp(-3.0 * math.log(10.0) * time_s / rt60_s.unsqueeze(1))  # amplitude: -60 dB = 10^-3
    tail = draws.normal(items, length) * decay
    delay_s = draws.uniform((0.001, 0.01))[items].unsqueeze(1)  # the first reflection
    tail = tail * (time_s >= delay_s)
    ratio_db = draws.uniform(DIRECT_TO_REVERBERANT_DB)[items].unsqueeze(1)
    energy = tail.square().sum(dim=1, keepdim=True).clamp(min=SILENT_POWER)
    response = tail * (10.0 ** (-ratio_db / 10.0) / energy).sqrt()
    response[:, 0] = 1.0
    return response


def reverberate(waveforms: Tensor, responses: Tensor) -> Tensor:
    """Convolve each waveform with its room; the length and the level (mean square) stay as they were.

    Args:
        waveforms: (B, samples).
        responses: (B, L), of any L.

    Returns:
        (B, samples): the convolution from the first sample on, cut where the waveform ended.
    """
    samples = waveforms.shape[1]
    size = fast_length(samples + responses.shape[1] - 1)  # room for the whole convolution
    spectrum = torch.fft.rfft(waveforms, n=size) * torch.fft.rfft(responses, n=size)
    wet: Tensor = torch.fft.irfft(spectrum, n=size)[:, :samples]
    return wet * (_power(waveforms) / _power(wet).clamp(min=SILENT_POWER)).sqrt()


def fast_length(least: int) -> int:
    """The next length that a Fourier transform is fast for: an even one with no prime factor beyond 5.

    The next power of two would be up to twice as long: 65,536 for a crop of 2 s in a room of 0.8 s.

    >>> [fast_length(least) for least in (1, 7, 45039)]
    [2, 8, 46080]
    """
    factors = [int(3**threes * 5**fives) for threes in range(20) for fives in range(14)]
    return min(factor << max(1, (-(-least // factor) - 1).bit_length()) for factor in factors)


def limit_band(waveforms: Tensor, low_hz: float, high_hz: float) -> Tensor:
    """Keep a band of frequencies, with the slopes of an eighth-order Butterworth filter and no phase shift.

    Args:
        waveforms: (B, samples).
        low_hz: lower corner, where the power is halved.
        high_hz: upper corner.

    Returns:
        (B, samples).
    """
    samples = waveforms.shape[1]
    frequency = torch.fft.rfftfreq(samples, 1.0 / SAMPLE_RATE, device=waveforms.device).clamp(min=1e-3)
    gain = ((1 + (frequency / high_hz) ** 16) * (1 + (low_hz / frequency) ** 16)).rsqrt()
    limited: Tensor = torch.fft.irfft(torch.fft.rfft(waveforms) * gain, n=samples)
    return limited


def _power(waveforms: Tensor) -> Tensor:
    """Mean square of each waveform (B, 1)."""
    norm: Tensor = torch.linalg.vector_norm(waveforms, dim=1, keepdim=True)
    return norm.square() / waveforms.shape[1]
