"""ERes2NetV2 (Chen, Zheng, Wang, Cheng, Zhu, Huang, Deng, Chen, Zhang, Wang, Li 2024, "ERes2NetV2: Boosting
Short-Duration Speaker Verification Performance with Computational Efficiency").

A ResNet of four stages whose middle convolutions are Res2Net's: groups of channels, each convolved together with the
result of the group before it. In the last two stages, and where these two stages are joined, the two are not added but
weighed against each other by an attention (`AttentiveFusion`). Mean and deviation over time and one linear layer make
the embedding.

Sizes, order of the operations and names of the weights are those of 3D-Speaker, so that its published state
dictionaries load strictly: that of 17.86 M parameters, and with `width=24, scale=4, expansion=4` the wide one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError
from sound_groove.networks.masks import masked, real_frames, strided
from sound_groove.networks.pooling import TemporalStatistics
from sound_groove.networks.resnet import shortcut

_BLOCKS = (3, 4, 6, 3)  # of each stage
_FUSED_FROM = 2  # the stage from which on groups are fused
_FREQUENCY_STRIDE = 8  # of all stages together
_MOST_CHANNELS = 256  # four times the published width
_REDUCTION = 4  # of an attention's bottleneck
_WHOLE_WIDTH = 64  # the width at which a group has as many channels as the block
_CEILING = 20.0  # of activations inside the blocks
_EPSILON = 1e-8  # of 3D-Speaker's pooling


class ERes2NetV2(nn.Module):
    """The network from features to an embedding.

    Args:
        feature_size: F, features of a frame; a multiple of 8.
        channels: C, of the first stage; 64 is the published size.
        embedding_size: D.
        width: channels of a group, in sixty-fourths of those of its stage.
        scale: groups of a convolution.
        expansion: by what a stage's channels are multiplied where it ends.

    Raises:
        ConfigurationError: channels are too many or too few for these groups, or feature_size is not a multiple of 8.

    >>> ERes2NetV2(channels=12, embedding_size=6).eval()(torch.zeros(2, 50, 80)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        feature_size: int = 80,
        channels: int = 64,
        embedding_size: int = 192,
        width: int = 26,
        scale: int = 2,
        expansion: int = 2,
    ) -> None:
        super().__init__()
        problems = []
        if channels > _MOST_CHANNELS:
            problems.append(f"channels: {channels} are more than eres2netv2 may have, {_MOST_CHANNELS}")
        if channels * width // _WHOLE_WIDTH < 1 or min(scale, expansion) < 1:
            problems.append(f"channels: {channels} leave no channel to a group of width {width}")
        if feature_size % _FREQUENCY_STRIDE:
            problems.append(f"feature_size: {feature_size} is not a multiple of {_FREQUENCY_STRIDE}")
        if problems:
            raise ConfigurationError("network", problems)
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        channels_in = channels
        for stage, count in enumerate(_BLOCKS):
            wide, stride = channels << stage, 2 if stage else 1
            blocks = nn.ModuleList()
            for number in range(count):
                group, fuses = wide * width // _WHOLE_WIDTH, stage >= _FUSED_FROM
                blocks.append(
                    Res2Block(channels_in, group, scale, expansion * wide, 1 if number else stride, fuses=fuses)
                )
                channels_in = expansion * wide
            self.add_module(f"layer{stage + 1}", blocks)
        self.layer3_ds = nn.Conv2d(channels_in // 2, channels_in, 3, stride=2, padding=1, bias=False)
        self.fuse34 = AttentiveFusion(channels_in)
        self.pool = TemporalStatistics(_EPSILON)
        self.seg_1 = nn.Linear(2 * channels_in * feature_size // _FREQUENCY_STRIDE, embedding_size)

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
        mask = real_frames(lengths, features.shape[1])  # (B, 1, T)
        x = masked(features.transpose(1, 2), mask).unsqueeze(1)  # (B, 1, F, T)
        x = F.relu(self.bn1(self.conv1(x)))
        third, masks = x, [mask]
        for stage in range(1, 5):
            third = x  # in the end what the third stage gives
            for number, block in enumerate(self.get_submodule(f"layer{stage}").children()):
                x = block(x, masks[-1])
                if stage > 1 and number == 0:
                    masks.append(strided(masks[-1], 2))
        x = self.fuse34(x, self.layer3_ds(masked(third, masks[-2])))
        embedding: Tensor = self.seg_1(self.pool(x.flatten(1, 2), masks[-1]))
        return embedding


class Res2Block(nn.Module):
    """Res2Net's groups between two convolutions of 1 x 1, and what they leave out.

    (B, C, F, T) -> (B, C', F / stride, T / stride).

    Args:
        channels_in: C.
        group: channels of a group.
        scale: groups.
        channels_out: C'.
        stride: of frequency and of time.
        fuses: a group is fused with the result of the one before it, not added to it.
    """

    def __init__(self, channels_in: int, group: int, scale: int, channels_out: int, stride: int, fuses: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, group * scale, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(group * scale)
        self.convs = nn.ModuleList(nn.Conv2d(group, group, 3, padding=1, bias=False) for _ in range(scale))
        self.bns = nn.ModuleList(nn.BatchNorm2d(group) for _ in range(scale))
        if fuses:
            self.fuse_models = nn.ModuleList(AttentiveFusion(group) for _ in range(scale - 1))
        self.conv3 = nn.Conv2d(group * scale, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.shortcut = shortcut(channels_in, channels_out, (stride, stride))
        self.stride, self.scale, self.fuses = stride, scale, fuses

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, F, T) and the mask (B, 1, T) of the real frames -> (B, C', F / stride, T / stride)."""
        mask = strided(mask, self.stride)
        groups = _clipped(self.bn1(self.conv1(x))).chunk(self.scale, dim=1)
        outputs: list[Tensor] = []
        for number, (conv, norm) in enumerate(zip(self.convs, self.bns, strict=True)):
            y = groups[number]
            if number:
                y = self.fuse_models[number - 1](outputs[-1], y) if self.fuses else outputs[-1] + y
            outputs.append(_clipped(norm(conv(masked(y, mask)))))
        y = self.bn3(self.conv3(torch.cat(outputs, dim=1)))
        return _clipped(y + self.shortcut(x))


class AttentiveFusion(nn.Module):
    """Two tensors weighed against each other, point by point: their sum where the attention gives 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // _REDUCTION, 1)
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, C, F, T) twice -> (B, C, F, T)."""
        share: Tensor = torch.tanh(self.local_att(torch.cat((x, y), dim=1)))  # from -1, y alone, to 1, x alone
        return x * (1.0 + share) + y * (1.0 - share)


def _clipped(x: Tensor) -> Tensor:
    """ReLU that ends at 20."""
    return F.hardtanh(x, 0.0, _CEILING)
