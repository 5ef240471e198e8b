"""ResNets on the plane of frequency and time (He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image
Recognition"), in the form that speaker verification gave them (Zeinali et al. 2019, "BUT System Description to VoxCeleb
Speaker Recognition Challenge 2019"; of the deep ones Chen et al. 2022, "Build a SRE Challenge System: Lessons from
VoxSRC 2022 and CNSRC 2022").

A convolution of 3 x 3 without pooling behind it, four stages of residual blocks, of which the last three halve both
axes and double the channels, mean and deviation over time of every channel and bin, and one linear layer. Sizes, order
of the operations and names of the weights are those of WeSpeaker, so that its published state dictionaries load
strictly (but for the class weights, `projection.`).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError
from sound_groove.networks.masks import masked, real_frames, strided
from sound_groove.networks.pooling import TemporalStatistics

_FREQUENCY_STRIDE = 8  # of all stages together
_MOST_CHANNELS = 128  # four times the published width: a slip of the pen would ask for thousands of millions of weights
_EPSILON = 1e-7  # of WeSpeaker's pooling


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3 and what they leave out: (B, C, F, T) -> (B, C', F / stride, T / stride).

    Args:
        channels_in: C.
        channels: C'.
        stride: of frequency and of time.
    """

    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = shortcut(channels_in, channels, stride)
        self.time_stride = stride[1]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, F, T) and the mask (B, 1, T) of the real frames -> (B, C', F / stride, T / stride)."""
        y = F.relu(self.bn1(self.conv1(masked(x, mask))))
        y = self.bn2(self.conv2(masked(y, strided(mask, self.time_stride))))
        return F.relu(y + self.shortcut(x))


class Bottleneck(nn.Module):
    """A convolution of 3 x 3 between two of 1 x 1, and what they leave out: (B, C, F, T) -> (B, 4 C', F', T').

    Args:
        channels_in: C.
        channels: C', of the middle convolution.
        stride: of frequency and of time.
    """

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.expansion * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * channels)
        self.shortcut = shortcut(channels_in, self.expansion * channels, stride)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, F, T) and the mask (B, 1, T) of the real frames -> (B, 4 C', F / stride, T / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(masked(y, mask))))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


def shortcut(channels_in: int, channels_out: int, stride: tuple[int, int]) -> nn.Sequential:
    """What goes round a block: nothing is done to it where the sizes are the same."""
    if stride == (1, 1) and channels_in == channels_out:
        return nn.Sequential()
    projection = nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(channels_out))


# Blocks of each stage, by layers.
_LAYOUTS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    34: (BasicBlock, (3, 4, 6, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
    221: (Bottleneck, (6, 16, 48, 3)),
    293: (Bottleneck, (10, 20, 64, 3)),
}
DEPTHS = tuple(_LAYOUTS)


class ResNet(nn.Module):
    """The network from features to an embedding.

    Args:
        depth: layers: 34, 152, 221 or 293.
        feature_size: F, features of a frame; a multiple of 8.
        channels: C, of the first stage; 32 is the published size.
        embedding_size: D.

    Raises:
        ConfigurationError: channels are too many, or feature_size is not a multiple of 8.

    >>> import torch
    >>> ResNet(34, channels=4, embedding_size=6).eval()(torch.zeros(2, 50, 80)).shape
    torch.Size([2, 6])
    """

    def __init__(self, depth: int, feature_size: int = 80, channels: int = 32, embedding_size: int = 256) -> None:
        super().__init__()
        problems = []
        if channels > _MOST_CHANNELS:
            problems.append(f"channels: {channels} are more than resnet{depth} may have, {_MOST_CHANNELS}")
        if feature_size % _FREQUENCY_STRIDE:
            problems.append(f"feature_size: {feature_size} is not a multiple of {_FREQUENCY_STRIDE}")
        if problems:
            raise ConfigurationError("network", problems)
        block, counts = _LAYOUTS[depth]
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        width = channels
        for stage, count in enumerate(counts):
            wide, stride = channels << stage, 2 if stage else 1
            blocks = [block(width, wide, (stride, stride))]
            width = block.expansion * wide
            self.add_module(f"layer{stage + 1}", nn.ModuleList(blocks + [block(width, wide) for _ in range(count - 1)]))
        self.pool = TemporalStatistics(_EPSILON)
        self.seg_1 = nn.Linear(2 * width * feature_size // _FREQUENCY_STRIDE, embedding_size)

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
        for stage in range(1, 5):
            for number, block in enumerate(self.get_submodule(f"layer{stage}").children()):
                x = block(x, mask)
                if stage > 1 and number == 0:
                    mask = strided(mask, 2)
        embedding: Tensor = self.seg_1(self.pool(x.flatten(1, 2), mask))
        return embedding
