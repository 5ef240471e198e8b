"""The front end of sherpa-onnx, and the way from its features to ours.

sherpa-onnx (its features.cc and speaker-embedding-extractor-general-impl.h, version 2.0.1) computes the filterbanks
that a speaker model sees, with kaldi-native-fbank and settings that a model cannot change, but for the sample rate and
the scale of the samples. Beside ours:

- the frames are centred at 5, 15, 25 ms ..., with the recording mirrored at both ends (snip_edges off), where ours
  begin at 0, 10, 20 ms ...: a frame more at each end, and those in between lie 2.5 ms (40 samples) later;
- the 80 mel filters end at 7600 Hz, where ours end at 8000 Hz: filter i lies lower, the last one by 1.6 filters.

The rest is the same: scale of 16 bits (normalize_samples = 0), DC removal, pre-emphasis, window, floor.

The frames cannot be shifted: mixing neighbours blurs more than it mends. By itself the shift costs 0.001 of cosine, in
the median, at 1 s. The filters can be replaced: see `OurFeatures`.

sherpa-onnx's other front end, for NeMo models, has our frames, and up to 188 filters. But it takes the samples in
[-1, 1], where the logarithm's floor lies above the quiet parts of speech: the median cosine was 0.82 to 0.96, and
0.46 to 0.63 for recordings 20 dB lower.
"""

import numpy as np
import torch
from torch import Tensor, nn

from sound_groove.audio.filterbank import FRAME_LENGTH, FRAME_SHIFT, mel, mel_edges, mel_filters
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.networks.features import KaldiFbank

HIGH_FREQUENCY = 7600.0  # Hz, where the last filter ends
_BEFORE = (FRAME_LENGTH - FRAME_SHIFT) // 2  # samples by which the first frame begins before the recording
_STEPS = 4  # of Richardson's iteration: 0, 1, 2, 4, 8 leave errors of 0.28, 0.22, 0.19, 0.18, 0.17
_OTHER_END = 0.3  # how much of the farther end is in a frame across the seam of a repeated recording
_LEAST_ENERGY = 1e-9


def sherpa_features(waveforms: Tensor, num_mel_bins: int = 80) -> Tensor:
    """What sherpa-onnx gives a model for a batch of recordings.

    Args:
        waveforms: (B, samples) in [-1, 1], 16 kHz, at least 25 ms.
        num_mel_bins: F.

    Returns:
        (B, T, F) log-mel energies, T the number of samples / 160, rounded; their mean is not removed.

    >>> sherpa_features(torch.zeros(1, 16000)).shape
    torch.Size([1, 100, 80])
    """
    samples = waveforms.shape[1]
    frames = (samples + FRAME_SHIFT // 2) // FRAME_SHIFT
    after = max(0, (frames - 1) * FRAME_SHIFT + FRAME_LENGTH - _BEFORE - samples)
    start, end = waveforms[:, :_BEFORE].flip(1), waveforms[:, samples - after :].flip(1)
    front_end = KaldiFbank(num_mel_bins, high_frequency=HIGH_FREQUENCY).eval()
    features: Tensor = front_end(torch.cat((start, waveforms, end), dim=1))  # (B, T, F)
    return features


class OurFeatures(nn.Module):
    """From sherpa-onnx's features to ours, but for the removal of the mean.

    Each frame's power spectrum is estimated from the energies of their 80 filters, and our filters are laid on it. The
    first estimate is smooth: the cubic, in the logarithm, through the four nearest filters. Richardson's iteration
    (1972, "Bayesian-based iterative method of image restoration") then brings it into agreement with the energies. At
    low frequencies, where the filters are narrower than the bins of the spectrum, that recovers the bins; elsewhere the
    shape of the first estimate stays. Above 7600 Hz nothing was measured, and the last filter's energy goes on.

    Over speech the result lies within 0.18 (root mean square, natural logarithm) of our features of the same frames;
    the cubic alone is within 0.23, lines between two filters within 0.25.

    Args:
        num_mel_bins: F.
    """

    theirs: Tensor  # (K, F) their filters over the bins 1..255 of the power spectrum
    ours: Tensor  # (K, F)
    smooth: Tensor  # (F, K) from their filters to the bins, in the logarithm
    log_mass: Tensor  # (F,) log of the sum of each of their filters
    share: Tensor  # (F, K) their filters, each bin's over their sum there; 0 where there is none
    unmeasured: Tensor  # (K,) 1 in the bins that no filter of theirs sees, else 0

    def __init__(self, num_mel_bins: int = 80) -> None:
        super().__init__()
        theirs = _filters(num_mel_bins, HIGH_FREQUENCY)
        covered = theirs.sum(dim=1, keepdim=True)  # (K, 1)
        self.register_buffer("theirs", theirs)
        self.register_buffer("ours", _filters(num_mel_bins, SAMPLE_RATE / 2))
        self.register_buffer("smooth", _cubic(len(theirs), num_mel_bins))
        self.register_buffer("log_mass", theirs.sum(dim=0).log())
        self.register_buffer("share", torch.where(covered > 0.0, theirs / covered.clamp(min=1e-6), 0.0).T.contiguous())
        self.register_buffer("unmeasured", (covered == 0.0).float().squeeze(1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F), their log-mel energies -> (B, T, F), ours."""
        energies = features.exp()
        power = ((features - self.log_mass) @ self.smooth).exp()  # (B, T, K)
        for _ in range(_STEPS):
            ratio = energies / (power @ self.theirs).clamp(min=_LEAST_ENERGY)  # (B, T, F) measured to estimated
            power = power * (ratio @ self.share + self.unmeasured)
        return (power @ self.ours).clamp(min=_LEAST_ENERGY).log()


def repeated(features: Tensor, least: int) -> Tensor:
    """Features of a recording that is repeated a whole number of times until it is long enough.

    Where it is, the frames at the two ends, which see the recording mirrored, are left out. Where it is not, they tell
    how the two frames across each seam sound, which see the recording's end and its start.

    Args:
        features: (B, T, F) log-mel energies of the frames of `sherpa_features`, T at least 3.
        least: fewest frames, of those that lie wholly in the repeated recording.

    Returns:
        (B, k T - 2, F), k the number of times.

    >>> repeated(torch.zeros(1, 100, 80), 200).shape, repeated(torch.zeros(1, 202, 80), 200).shape
    (torch.Size([1, 298, 80]), torch.Size([1, 200, 80]))
    """
    times = (least + 1) // features.shape[1] + 1  # k T - 2 >= least
    first, last = features[:, :1].exp(), features[:, -1:].exp()
    seam = torch.cat((torch.lerp(last, first, _OTHER_END), torch.lerp(first, last, _OTHER_END)), dim=1).log()
    return torch.cat((features[:, 1:-1], seam), dim=1).repeat(1, times, 1)[:, :-2]


def _filters(num_mel_bins: int, high_frequency: float) -> Tensor:
    """(K, F) float32: mel filters over the bins 1..K of the power spectrum."""
    return torch.from_numpy(mel_filters(num_mel_bins, high_frequency)).float()


def _cubic(bins: int, num_mel_bins: int) -> Tensor:
    """(F, K) float32: from values at the peaks of their filters to values at the bins 1..K, flat beyond the ends.

    Lagrange's cubic through the four nearest peaks.
    """
    peaks = torch.from_numpy(mel_edges(num_mel_bins, HIGH_FREQUENCY)[1:-1])  # (F,) in mel, evenly spaced
    frequencies = np.arange(1, bins + 1) * (SAMPLE_RATE / 2 / (bins + 1))
    position = ((torch.from_numpy(mel(frequencies)) - peaks[0]) / (peaks[1] - peaks[0])).clamp(
        0, num_mel_bins - 1
    )  # (K,) in peaks
    first = (position.floor().long() - 1).clamp(0, num_mel_bins - 4)  # of the four
    weights = torch.zeros(num_mel_bins, bins, dtype=torch.float64)
    for a in range(4):
        weight = torch.ones_like(position)
        for b in set(range(4)) - {a}:
            weight = weight * (position - first - b) / (a - b)
        weights[first + a, torch.arange(bins)] = weight
    return weights.float()
