"""From frames to one vector: the statistics over time that the networks share.

All of them are computed in float32 at least, since squares lose what half precision keeps, and around the mean, since
the square of a mean far from zero would swallow a small variance. Frames of padding count for nothing.
"""

from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.networks.masks import masked

# Below this a variance counts as zero: its root's gradient would grow without bound.
LEAST_VARIANCE = 1e-7
_ATTENTION_SIZE = 128  # width of the attention bottleneck


@runtime_checkable
class TellsFrames(Protocol):
    """A network that tells what it pools over time, so that it can teach that and be taught it.

    Attributes:
        pooled_size: C, channels that are pooled.
        pooled_stride: filterbank frames from one pooled frame to the next.
    """

    pooled_size: int
    pooled_stride: int

    def embed_and_tell(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings (B, D), as the network gives them, and the frames that they are pooled from (B, C, T / stride).

        Frame i is of what is around filterbank frame i x stride.

        Args:
            features: (B, T, F), each utterance's mean removed.
            lengths: (B,) filterbank frames of each utterance that are real; all when None.
        """
        ...


class TemporalStatistics(nn.Module):
    """Mean and standard deviation over time (Snyder et al. 2018, x-vectors), WeSpeaker's and 3D-Speaker's `TSTP`.

    Args:
        epsilon: is added to the variance; WeSpeaker has 1e-7, 3D-Speaker 1e-8.

    >>> TemporalStatistics(0.0)(torch.tensor([[[1.0, 3.0, 8.0]]]))  # the mean is 4, the variance (9 + 1 + 16) / 2
    tensor([[4.0000, 3.6056]])
    """

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) and the mask (B, 1, T) of the real frames -> (B, 2 C): means, then deviations (unbiased)."""
        mean, variance = mean_and_variance(x, mask)
        return torch.cat((mean, (variance + self.epsilon).sqrt()), dim=1)


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over time, weighted by an attention of its own for every channel.

    The attention sees each frame beside the mean and standard deviation of the whole utterance (Desplanques et al.
    2020, section 3.1), or each frame alone (Okabe et al. 2018).

    Args:
        channels: C.
        unbiased: the deviation that the attention sees is divided by T - 1, as in WeSpeaker and ReDimNet, not by T.
        has_context: whether the attention sees the whole utterance's statistics.
        least_variance: below this a variance counts as zero.
        normalises: ReLU and batch normalisation stand before the attention's tanh, as in SpeechBrain.
    """

    def __init__(
        self,
        channels: int,
        unbiased: bool = False,
        has_context: bool = True,
        least_variance: float = LEAST_VARIANCE,
        normalises: bool = False,
    ) -> None:
        super().__init__()
        self.unbiased = unbiased
        self.has_context = has_context
        self.least_variance = least_variance
        seen = 3 * channels if has_context else channels  # of frame, mean, standard deviation
        self.hidden = nn.Conv1d(seen, _ATTENTION_SIZE, kernel_size=1)
        self.between: nn.Module = (
            nn.Sequential(nn.ReLU(), nn.BatchNorm1d(_ATTENTION_SIZE)) if normalises else nn.Identity()
        )
        self.scores = nn.Conv1d(_ATTENTION_SIZE, channels, kernel_size=1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, 2 C): weighted means, then weighted standard deviations."""
        mean = masked_mean(x, mask)  # (B, C)
        centred = masked(x.to(mean.dtype) + (-mean).unsqueeze(2), mask)  # a difference's gradient would negate all of x
        squared = centred.square()
        weights = self._attention(x, self._context(x, mean, squared, mask), mask)
        offset = (weights * centred).sum(dim=2)
        variance = (weights * squared).sum(dim=2) - offset.square()
        return torch.cat((mean + offset, self._deviation(variance)), dim=1)

    def _context(self, x: Tensor, mean: Tensor, squared: Tensor, mask: Tensor | None) -> Tensor:
        """(B, 2 C): the statistics that the attention sees beside each frame; (B, 0) where it sees none."""
        if not self.has_context:
            return mean[:, :0]
        spread = masked_mean(squared, mask)
        if self.unbiased:
            count = frame_count(x, mask)
            spread = spread * (count / (count - 1.0).clamp(min=1.0))
        return torch.cat((mean, self._deviation(spread)), dim=1)

    def _attention(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C, T) and statistics (B, 2 C or 0) -> (B, C, T): weights that sum to 1 over time, float32 at least."""
        # The same as a convolution over frame, mean and deviation, without a copy of the last two for every frame.
        channels = x.shape[1]
        if self.has_context:
            of_frame, of_context = torch.split(self.hidden.weight.squeeze(2), [channels, 2 * channels], dim=1)
            bias = F.linear(context, of_context, self.hidden.bias)  # (B, 128)
            hidden = F.conv1d(x, of_frame.unsqueeze(2)) + bias.unsqueeze(2)  # (B, 128, T)
        else:
            hidden = self.hidden(x)
        scores: Tensor = self.scores(torch.tanh(self.between(hidden)))
        scores = scores.to(context.dtype)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return torch.softmax(scores, dim=2)

    def _deviation(self, variance: Tensor) -> Tensor:
        """The square root, with a finite gradient where nothing varies."""
        return variance.clamp(min=self.least_variance).sqrt()


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B, C, T) -> (B, C): mean over the real frames."""
    # A sum and a small division: the gradient of `mean` would divide the whole tensor.
    dtype = torch.promote_types(x.dtype, torch.float32)
    if mask is None:
        return x.sum(dim=2, dtype=dtype) / x.shape[2]
    return masked(x, mask).sum(dim=2, dtype=dtype) / mask.sum(dim=2)


def mean_and_variance(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, C, T) -> (B, C) twice: mean and unbiased variance over the real frames; a single frame has variance 0."""
    mean = masked_mean(x, mask)
    centred = masked(x.to(mean.dtype) - mean.unsqueeze(2), mask)
    return mean, centred.square().sum(dim=2) / (frame_count(x, mask) - 1.0).clamp(min=1.0)


def frame_count(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B or 1, 1): real frames of each utterance in (B, C, T), as a number of float32 at least."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    if mask is None:
        return torch.full((1, 1), x.shape[2], dtype=dtype, device=x.device)
    return mask.sum(dim=2).to(dtype)
