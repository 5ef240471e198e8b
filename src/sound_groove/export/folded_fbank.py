"""The front end with half the multiplications: the same features to rounding, for graphs that only ever serve.

Two properties of Kaldi's filterbank carry it. The power spectrum does not depend on where a frame's time begins, and
the window is symmetric: with time counted from the middle of the frame, the real part sees only the sum of each sample
and its mirror image, the imaginary part only their difference, so that two products of 200 samples take the place of
one of 400. And the window is 0 at the first sample of a frame, the only one whose pre-emphasis depends on where frames
begin: the waveform can be pre-emphasised once, not every frame anew.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.audio.filterbank import (
    FFT_SIZE,
    FRAME_LENGTH,
    FRAME_SHIFT,
    LOG_FLOOR,
    PREEMPHASIS,
    SIXTEEN_BIT,
    mel_filters,
    povey_window,
)

_HALF = FRAME_LENGTH // 2


class FoldedFbank(nn.Module):
    """Log-mel filterbank energies of 16 kHz waveforms, as `KaldiFbank` gives them in evaluation.

    Args:
        num_mel_bins: F.

    >>> FoldedFbank()(torch.zeros(2, 16000)).shape
    torch.Size([2, 98, 80])
    """

    cosines: Tensor  # (200, K) a frame's second half -> real parts of the bins 1..K
    sines: Tensor  # (200, K) -> imaginary parts
    mel: Tensor  # (K, F) power spectrum -> mel energies

    def __init__(self, num_mel_bins: int = 80) -> None:
        super().__init__()
        filters = torch.from_numpy(mel_filters(num_mel_bins))
        since_middle = torch.arange(_HALF, dtype=torch.float64) + 0.5
        bins = torch.arange(1, len(filters) + 1, dtype=torch.float64)
        phase = (2.0 * math.pi / FFT_SIZE) * torch.outer(since_middle, bins)
        # The scale of 16 bits is a power of two: in the matrices it rounds nothing.
        window = SIXTEEN_BIT * torch.from_numpy(povey_window()[_HALF:]).unsqueeze(1)
        self.register_buffer("cosines", (window * phase.cos()).float())
        self.register_buffer("sines", (window * phase.sin()).float())
        self.register_buffer("mel", filters.float())

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, samples) in [-1, 1], at least 400 samples -> (B, T, F)."""
        frames = 1 + (waveforms.shape[1] - FRAME_LENGTH) // FRAME_SHIFT
        # A constant offset goes first, as the products of a large one, rounded, would drown what is beside it; in whole
        # steps of 16 bits, so that the difference is exact where the samples are such steps.
        offset = (SIXTEEN_BIT * waveforms.mean(dim=1, keepdim=True)).round() / SIXTEEN_BIT  # (B, 1)
        samples = F.pad(waveforms - offset, (0, FRAME_SHIFT))[:, : (frames + 2) * FRAME_SHIFT]
        before = F.pad(samples[:, :-1], (1, 0))
        first, second = _halves(samples - PREEMPHASIS * before, frames)
        mirrored = first.flip(2)
        # A frame's mean m, which is to be removed before the pre-emphasis, is 0.03 m after it.
        rest = (2.0 * (1.0 - PREEMPHASIS)) * _means(samples, frames)  # (B, T, 1)
        real = (mirrored + second - rest) @ self.cosines  # (B, T, K)
        imaginary = (second - mirrored) @ self.sines
        energies = (real.square() + imaginary.square()) @ self.mel  # (B, T, F)
        return energies.clamp(min=LOG_FLOOR).log()


def _halves(samples: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """(B, (T + 2) 160) -> the two halves of all frames, (B, T, 200) each.

    Rows of one frame shift are cut and joined: whole rows are copied, where an index would fetch sample by sample.
    """
    rows = torch.unflatten(samples, 1, (frames + 2, FRAME_SHIFT))  # (B, T + 2, 160)
    here, next_row, last = rows[:, :-2], rows[:, 1:-1], rows[:, 2:]
    rest = _HALF - FRAME_SHIFT
    first = torch.cat((here, next_row[..., :rest]), dim=2)
    second = torch.cat((next_row[..., rest:], last[..., : FRAME_LENGTH - 2 * FRAME_SHIFT]), dim=2)
    return first, second


def _means(samples: Tensor, frames: int) -> Tensor:
    """(B, (T + 2) 160) -> the mean of each frame (B, T, 1), from sums of half a shift each."""
    sums = torch.unflatten(samples, 1, (frames + 2, 2, FRAME_SHIFT // 2)).sum(dim=3)  # (B, T + 2, 2)
    both = sums.sum(dim=2, keepdim=True)
    total: Tensor = both[:, :-2] + both[:, 1:-1] + sums[:, 2:, :1]
    return total / FRAME_LENGTH
