"""ECAPA-TDNN (Desplanques, Thienpondt, Demuynck 2020, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification").

The sizes are those of the published implementation whose CN-Celeb figures this project compares itself with
(WeSpeaker): convolution, then ReLU, then batch normalisation; a bias in every convolution; a residual around each block
only; the three blocks' outputs concatenated; no normalisation between the aggregation and the pooling.

SpeechBrain's is another in four things, which one option makes: the sequence is mirrored at its ends and not continued
with zeros; behind the aggregation and inside the attention stand ReLU and batch normalisation; and a variance counts as
zero below 1e-12 only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError
from sound_groove.networks.masks import masked, mirrored, real_frames
from sound_groove.networks.pooling import LEAST_VARIANCE, AttentiveStatistics, masked_mean

SCALE = 8  # groups of channels in a Res2 convolution, as published
_SQUEEZE_SIZE = 128  # width of the squeeze-excitation bottleneck
POOLED_SIZE = 1536  # channels that are pooled, whatever the width of the blocks; SpeechBrain's have 3072 of 1024
_SPEECHBRAIN_LEAST_VARIANCE = 1e-12


class EcapaTdnn(nn.Module):
    """The network from features to an embedding.

    Args:
        feature_size: F, features of a frame.
        channels: C, width of the blocks; a multiple of `scale`. 512 and 1024 are the published ones.
        embedding_size: D.
        unbiased: the attention sees the deviation of WeSpeaker's pooling, divided by T - 1 and not by T: for weights
            that were trained so.
        scale: groups of channels in a Res2 convolution, at least 2. With fewer there are fewer convolutions, one after
            another, and the network is faster; all published ones have 8.
        pooled: channels behind the aggregation.
        speechbrain: as SpeechBrain has it: for weights that were trained so.

    Attributes:
        is_speechbrains: whether it is as SpeechBrain has it.
        pooled_size: channels behind the aggregation.
        pooled_stride: 1, every filterbank frame is pooled.

    Raises:
        ConfigurationError: channels is not a multiple of the scale, or the scale is 1.
    """

    pooled_stride = 1

    def __init__(
        self,
        feature_size: int = 80,
        channels: int = 512,
        embedding_size: int = 192,
        unbiased: bool = False,
        scale: int = SCALE,
        pooled: int = POOLED_SIZE,
        speechbrain: bool = False,
    ) -> None:
        super().__init__()
        if scale < 2:
            raise ConfigurationError("network", [f"options.scale: must be at least 2, given {scale}"])
        if channels % scale:
            raise ConfigurationError("network", [f"channels: {channels} is not a multiple of {scale}"])
        self.is_speechbrains, self.pooled_size = speechbrain, pooled
        self.layer = ConvReluNorm(feature_size, channels, kernel_size=5, mirrors=speechbrain)
        self.blocks = nn.ModuleList(SeRes2Block(channels, dilation, scale, speechbrain) for dilation in (2, 3, 4))
        self.aggregation = nn.Conv1d(3 * channels, pooled, kernel_size=1)
        self.aggregation_norm = nn.BatchNorm1d(pooled) if speechbrain else nn.Identity()
        least_variance = _SPEECHBRAIN_LEAST_VARIANCE if speechbrain else LEAST_VARIANCE
        self.pooling = AttentiveStatistics(pooled, unbiased, least_variance=least_variance, normalises=speechbrain)
        self.norm = nn.BatchNorm1d(2 * pooled)
        self.embedding = nn.Linear(2 * pooled, embedding_size)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings of a batch.

        Args:
            features: (B, T, F), each utterance's mean removed.
            lengths: (B,) frames of each utterance that are real, at least 1; all when None. What the others hold does
                not matter: in evaluation mode every embedding is that of its utterance alone. In training mode the
                batch normalisation sees the padding, so training crops should be of one length.

        Returns:
            (B, D), not normalised.
        """
        return self.embed_and_tell(features, lengths)[0]

    def embed_and_tell(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings (B, D), and the frames that they are pooled from (B, pooled, T); arguments as for `forward`."""
        mask = real_frames(lengths, features.shape[1])  # (B, 1, T)
        x = self.layer(features.transpose(1, 2), mask)  # (B, C, T)
        outputs = []
        for block in self.blocks:
            x = block(x, mask)
            outputs.append(x)
        x = self.aggregation_norm(F.relu(self.aggregation(torch.cat(outputs, dim=1))))  # (B, pooled, T)
        return self.embedding(self.norm(self.pooling(x, mask))), x


class ConvReluNorm(nn.Module):
    """Convolution over time, ReLU, batch normalisation: (B, C, T) -> (B, C', T).

    Beyond its ends a sequence has zeros, or is mirrored.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel_size: int = 1, dilation: int = 1, mirrors: bool = False
    ) -> None:
        super().__init__()
        self.reach = dilation * (kernel_size // 2)  # frames on either side that the kernel sees
        self.mirrors = mirrors and self.reach > 0
        padding = 0 if self.mirrors else self.reach
        self.conv = nn.Conv1d(channels_in, channels_out, kernel_size, padding=padding, dilation=dilation)
        self.norm = nn.BatchNorm1d(channels_out)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) and the mask (B, 1, T) of the real frames -> (B, C', T)."""
        if self.mirrors:
            x = mirrored(x, self.reach, mask)
        elif self.reach:
            x = masked(x, mask)
        y: Tensor = self.norm(F.relu(self.conv(x)))
        return y


class Res2Conv(nn.Module):
    """Res2Net's hierarchy (Gao et al. 2019): group i is convolved together with the result of group i - 1.

    The last group passes unchanged: 7 convolutions for 8 groups.
    """

    def __init__(self, channels: int, dilation: int, scale: int = SCALE, mirrors: bool = False) -> None:
        super().__init__()
        width = channels // scale
        self.layers = nn.ModuleList(
            ConvReluNorm(width, width, kernel_size=3, dilation=dilation, mirrors=mirrors) for _ in range(scale - 1)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        groups = x.chunk(len(self.layers) + 1, dim=1)  # 8 of (B, C / 8, T)
        outputs = [self.layers[0](groups[0], mask)]
        for layer, group in zip(self.layers[1:], groups[1:-1], strict=True):
            outputs.append(layer(outputs[-1] + group, mask))
        return torch.cat((*outputs, groups[-1]), dim=1)


class SqueezeExcitation(nn.Module):
    """Scale every channel by a factor computed from the mean of all channels over time (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, _SQUEEZE_SIZE)
        self.excite = nn.Linear(_SQUEEZE_SIZE, channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        mean = masked_mean(x, mask)  # (B, C)
        factors = torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
        return x * factors.unsqueeze(2)


class SeRes2Block(nn.Module):
    """1x1 convolution, Res2 convolution, 1x1 convolution, squeeze-excitation, and a residual around all of them."""

    def __init__(self, channels: int, dilation: int, scale: int = SCALE, mirrors: bool = False) -> None:
        super().__init__()
        self.before = ConvReluNorm(channels, channels)
        self.res2 = Res2Conv(channels, dilation, scale, mirrors)
        self.after = ConvReluNorm(channels, channels)
        self.excitation = SqueezeExcitation(channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        y: Tensor = self.excitation(self.after(self.res2(self.before(x), mask)), mask)
        return x + y
