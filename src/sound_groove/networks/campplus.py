"""CAM++ (Wang, Zheng, Chen, Cheng, Chen 2023, "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking").

A head of two-dimensional convolutions looks at neighbouring bins and frames (`ConvolutionHead`, section 2.3). Behind it
is a time-delay network whose layers each see the outputs of all before them in their block (`DenseBlock`, section 2.1),
and scale what they compute by a mask that comes from the whole utterance and from the 100 frames around (`ContextMask`,
section 2.2). Mean and deviation over time, a linear layer and a normalisation without weights make the embedding.

Sizes, order of the operations, first weights and names of the weights are those of 3D-Speaker, so that its published
state dictionaries load strictly, and WeSpeaker's too. One size stands for all: C = 512 is the published network, and
the growth of the dense blocks (C / 16), their bottleneck (C / 4) and the channels of the head (C / 16) follow it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError
from sound_groove.networks.masks import masked, real_frames, strided
from sound_groove.networks.pooling import frame_count, mean_and_variance
from sound_groove.networks.resnet import BasicBlock

_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of each dense block
_GROWTH = 16  # the share of C, as its divisor, that each dense layer adds
_STRIDE = 2  # of the time-delay layers
_WIDENING = 4  # bottleneck of a dense layer, in growths; also the channels that enter the first block
_SEGMENT = 100  # frames, of 20 ms each, that have a context of their own
_FREQUENCY_STRIDE = 8  # of the head
# Of a single frame, in 3D-Speaker's pooling.
_DEVIATION_OF_ONE = 1e-2
# Below this a variance counts as zero: its root's gradient would grow without bound.
_LEAST_VARIANCE = 1e-12


class CamPlusPlus(nn.Module):
    """The network from features to an embedding.

    Args:
        feature_size: F, features of a frame; a multiple of 8.
        channels: C, channels that are pooled; a multiple of 16. 512 is the published one.
        embedding_size: D.
        epsilon: is added to the variances that are pooled: 1e-7 in WeSpeaker's version of the network.

    Attributes:
        pooled_size: C.
        pooled_stride: 2, a frame of every 20 ms is pooled.

    Raises:
        ConfigurationError: channels is not a multiple of 16, or feature_size not one of 8.

    >>> CamPlusPlus(channels=16, embedding_size=4).eval()(torch.zeros(2, 50, 80)).shape
    torch.Size([2, 4])
    """

    pooled_stride = _STRIDE

    def __init__(
        self, feature_size: int = 80, channels: int = 512, embedding_size: int = 192, epsilon: float = 0.0
    ) -> None:
        super().__init__()
        problems = []
        if channels % _GROWTH:
            problems.append(f"channels: {channels} is not a multiple of {_GROWTH}, which campplus needs")
        if feature_size % _FREQUENCY_STRIDE:
            problems.append(f"feature_size: {feature_size} is not a multiple of {_FREQUENCY_STRIDE}")
        if problems:
            raise ConfigurationError("network", problems)
        self.pooled_size = channels
        growth = channels // _GROWTH
        self.head = ConvolutionHead(growth)
        self.xvector = DenseTimeDelay(growth * feature_size // _FREQUENCY_STRIDE, growth, embedding_size, epsilon)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

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
        """Embeddings (B, D), and the frames that they are pooled from (B, C, T / 2); arguments as for `forward`."""
        mask = real_frames(lengths, features.shape[1])  # (B, 1, T)
        found: tuple[Tensor, Tensor] = self.xvector(self.head(features.transpose(1, 2), mask), mask)
        return found


class ConvolutionHead(nn.Module):
    """Four residual blocks over frequency and time, which leave an eighth of the bins: (B, F, T) -> (B, C F / 8, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.ModuleList((BasicBlock(channels, channels, (2, 1)), BasicBlock(channels, channels)))
        self.layer2 = nn.ModuleList((BasicBlock(channels, channels, (2, 1)), BasicBlock(channels, channels)))
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, F, T) and the mask (B, 1, T) of the real frames -> (B, C F / 8, T)."""
        y = F.relu(self.bn1(self.conv1(masked(x, mask).unsqueeze(1))))  # (B, C, F, T)
        for block in (*self.layer1, *self.layer2):
            y = block(y, mask)
        y = F.relu(self.bn2(self.conv2(masked(y, mask))))  # (B, C, F / 8, T)
        return y.flatten(1, 2)


class DenseTimeDelay(nn.Module):
    """From the frames that the head leaves to an embedding, at half the frame rate."""

    def __init__(self, channels_in: int, growth: int, embedding_size: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        channels = _WIDENING * growth
        self.tdnn = TimeDelayLayer(channels_in, channels)
        for number, (layers, dilation) in enumerate(_BLOCKS, 1):
            self.add_module(f"block{number}", DenseBlock(channels, growth, layers, dilation))
            channels += layers * growth
            self.add_module(f"transit{number}", Transition(channels, channels // 2))
            channels //= 2
        self.out_nonlinear = NormRelu(channels)
        self.dense = EmbeddingLayer(2 * channels, embedding_size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, C', T) and the mask (B, 1, T) of the real frames -> (B, D), and what is pooled (B, C, T / 2)."""
        x = self.tdnn(masked(x, mask))  # (B, C, T / 2)
        mask = strided(mask, _STRIDE)
        for number in range(1, len(_BLOCKS) + 1):
            x = self.get_submodule(f"block{number}")(x, mask)
            x = self.get_submodule(f"transit{number}")(x)
        x = self.out_nonlinear(x)
        return self.dense(_statistics(x, mask, self.epsilon)), x


class NormRelu(nn.Module):
    """Batch normalisation, then ReLU, over channels: (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return F.relu(self.batchnorm(x))


class TimeDelayLayer(nn.Module):
    """A convolution over five frames, at every second of them, normalised: (B, C', T) -> (B, C, T / 2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels_in, channels_out, 5, stride=_STRIDE, padding=2, bias=False)
        self.nonlinear = NormRelu(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C', T) -> (B, C, T / 2)."""
        y: Tensor = self.nonlinear(self.linear(x))
        return y


class DenseBlock(nn.ModuleDict):
    """N layers that each see what entered the block and what all layers before them made of it."""

    def __init__(self, channels: int, growth: int, layers: int, dilation: int) -> None:
        super().__init__({f"tdnnd{i + 1}": DenseLayer(channels + i * growth, growth, dilation) for i in range(layers)})

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, C + N G, T)."""
        for layer in self.values():
            x = torch.cat((x, layer(x, mask)), dim=1)
        return x


class DenseLayer(nn.Module):
    """A bottleneck and a masked convolution: (B, C, T) -> (B, G, T)."""

    def __init__(self, channels: int, growth: int, dilation: int) -> None:
        super().__init__()
        bottleneck = _WIDENING * growth
        self.nonlinear1 = NormRelu(channels)
        self.linear1 = nn.Conv1d(channels, bottleneck, 1, bias=False)
        self.nonlinear2 = NormRelu(bottleneck)
        self.cam_layer = ContextMask(bottleneck, growth, dilation)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, G, T)."""
        y: Tensor = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))), mask)
        return y


class ContextMask(nn.Module):
    """A convolution whose output is scaled, channel by channel, as the context asks for: (B, C, T) -> (B, G, T).

    The context of a frame is the mean over the utterance plus the mean over its segment of 100 frames (equation 4 of
    the paper). Segments are counted from the utterance's first frame; the last one may be shorter.
    """

    def __init__(self, channels: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(channels, growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(channels, channels // 2, 1)
        self.linear2 = nn.Conv1d(channels // 2, growth, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, G, T)."""
        x = masked(x, mask)
        frames = x.shape[2]
        counts = x.new_ones(1, 1, frames) if mask is None else mask.to(x.dtype)  # (1 or B, 1, T)
        sums, real = _segment_sums(x), _segment_sums(counts)  # (B, C, segments), (1 or B, 1, segments)
        whole = sums.sum(dim=2, keepdim=True) / real.sum(dim=2, keepdim=True)
        context = whole + sums / real.clamp(min=1.0)  # a segment of padding has no frame that could see it
        factors = torch.sigmoid(self.linear2(F.relu(self.linear1(context))))  # (B, G, segments)
        factors = factors.repeat_interleave(_SEGMENT, dim=2)[..., :frames]
        y: Tensor = self.linear_local(x) * factors
        return y


class Transition(nn.Module):
    """Fewer channels between two dense blocks: (B, C, T) -> (B, C', T)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.nonlinear = NormRelu(channels_in)
        self.linear = nn.Conv1d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C', T)."""
        y: Tensor = self.linear(self.nonlinear(x))
        return y


class EmbeddingLayer(nn.Module):
    """A linear layer and a normalisation without weights: (B, 2 C) -> (B, D)."""

    def __init__(self, channels: int, embedding_size: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, embedding_size, 1, bias=False)
        self.nonlinear = nn.ModuleDict({"batchnorm": nn.BatchNorm1d(embedding_size, affine=False)})

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 C) -> (B, D)."""
        y: Tensor = self.nonlinear["batchnorm"](self.linear(x.unsqueeze(2)).squeeze(2))
        return y


def _segment_sums(x: Tensor) -> Tensor:
    """(B, C, T) -> (B, C, segments): sums over 100 frames each, the last over what is left."""
    padded = F.pad(x, (0, -x.shape[2] % _SEGMENT))
    return torch.unflatten(padded, 2, (-1, _SEGMENT)).sum(dim=3)


def _statistics(x: Tensor, mask: Tensor | None, epsilon: float) -> Tensor:
    """(B, C, T) -> (B, 2 C): means over the real frames, then unbiased deviations."""
    mean, variance = mean_and_variance(x, mask)
    deviation = (variance + epsilon).clamp(min=_LEAST_VARIANCE).sqrt()
    return torch.cat((mean, torch.where(frame_count(x, mask) > 1.0, deviation, _DEVIATION_OF_ONE)), dim=1)
