"""What a network of ours hears of a recording: Kaldi's filterbanks, or the samples themselves.

Which of the two is told by `network.feature_size`: the number of mel bins, or 1. Both are modules with the same
interface: (B, samples) -> (B, T, F), and how many of the T are real where so many samples are. Of samples every one is
a frame, and nothing is done to them before the network: no level, no floor, no removal of the mean.
"""

from typing import overload

from torch import Tensor, nn

from sound_groove.audio.filterbank import FRAME_LENGTH, SIXTEEN_BIT
from sound_groove.errors import AudioError, UsageError
from sound_groove.networks.features import KaldiFbank, Normalization, frame_mask

SAMPLES = 1  # `network.feature_size` of a network that hears the samples themselves


class Waveform(nn.Module):
    """The samples as they are, each of them a frame of one feature.

    Args:
        dither: standard deviation of the Gaussian noise that is added in training mode, in 16-bit steps.

    >>> import torch
    >>> Waveform()(torch.zeros(2, 16000)).shape, Waveform().frame_count(16000)
    (torch.Size([2, 16000, 1]), 16000)
    """

    def __init__(self, dither: float = 0.0) -> None:
        super().__init__()
        self.dither = dither

    def forward(self, waveforms: Tensor, noise: Tensor | None = None) -> Tensor:
        """The samples of a batch of waveforms.

        Args:
            waveforms: (B, samples) in [-1, 1], 16 kHz, at least 400 samples.
            noise: (B, samples) standard normal draws; needed only in training mode with `dither` > 0.

        Returns:
            (B, samples, 1) float32.

        Raises:
            AudioError: the waveforms are shorter than 25 ms, or not a batch.
            UsageError: dither is on and there is no noise to make it of.
        """
        if waveforms.dim() != 2:
            raise AudioError(None, f"waveforms of shape {tuple(waveforms.shape)} are not a batch (B, samples)")
        if waveforms.shape[1] < FRAME_LENGTH:
            raise AudioError(
                None,
                f"has {waveforms.shape[1]} samples, fewer than {FRAME_LENGTH} (25 ms at 16 kHz); repeat it until it is "
                "long enough",
            )
        samples = waveforms.float()
        if self.training and self.dither > 0.0:
            if noise is None:
                raise UsageError("dither in training mode is made of noise: pass Waveform.forward normal draws")
            samples = samples + self.dither / SIXTEEN_BIT * noise
        return samples.unsqueeze(2)

    @overload
    def frame_count(self, samples: int) -> int: ...
    @overload
    def frame_count(self, samples: Tensor) -> Tensor: ...
    def frame_count(self, samples: int | Tensor) -> int | Tensor:
        """The number of frames of so many samples: each is one."""
        return samples


class Unchanged(nn.Module):
    """In the place of `Normalization`, for samples: they stay as they are, with zeros in the padding."""

    def forward(self, features: Tensor, lengths: Tensor | None = None, levels: Tensor | None = None) -> Tensor:
        """(B, T, 1) -> (B, T, 1); arguments as for `Normalization`, of which the levels mean nothing here."""
        if lengths is None:
            return features
        return features.masked_fill(~frame_mask(lengths, features.shape[1]).unsqueeze(2), 0.0)


def build_hearing(feature_size: int, dither: float = 0.0) -> KaldiFbank | Waveform:
    """From waveforms (B, samples) to what a network is given, before normalisation (B, T, F).

    Args:
        feature_size: F: mel bins, or SAMPLES.
        dither: in training, in 16-bit steps.
    """
    return Waveform(dither) if feature_size == SAMPLES else KaldiFbank(feature_size, dither)


def build_normalization(feature_size: int, floor_db: float | None = None) -> Normalization | Unchanged:
    """What is done to that before a network hears it.

    Args:
        feature_size: F: mel bins, or SAMPLES.
        floor_db: how far below the recording's level the floor lies, in dB; None = no floor.
    """
    return Unchanged() if feature_size == SAMPLES else Normalization(floor_db, feature_size)
