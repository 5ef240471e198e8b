"""ReDimNet2 (Yakovlev, Okhotnikov 2026, "ReDimNet2: Scaling Speaker Verification via Time-Pooled Dimension Reshaping").

Every stage looks at the same C F values of a frame in two ways: as C channels of F bins, with convolutions over the
plane, and as C F channels of a sequence, with convolutions and self-attention over time. Between the stages lie
sequences at the full frame rate, (B, C F, T); each stage begins with a weighted mean, value by value, of all of them.
As a stage goes on, bins become channels (their product stays C F) and frames are joined by two and by four, which is
what ReDimNet2 has and ReDimNet (Yakovlev et al. 2024, "Reshape Dimensions Network for Speaker Recognition") has not.
Attentive statistics, a normalisation and a linear layer make the embedding.

Sizes and order of the operations are those that its authors publish with their training (PalabraAI/redimnet2); their
weights load strictly by other names (`sound_groove.networks.published`). Their front end is another one, though: mel
energies of a normalised waveform, 72 bins from 20 to 7,600 Hz. Trained here, the network hears Kaldi's filterbank, of
72 bins, as all others do.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError
from sound_groove.networks.masks import masked, real_frames, strided
from sound_groove.networks.pooling import AttentiveStatistics, frame_count

_EPSILON = 1e-6  # of the normalisations over channels
_HEADS = 4
_KERNELS = (7, 19, 31, 59)  # frames, of the convolutions over time
_BLOCKS = (2, 3, 4, 5, 4, 3)  # of each stage
_STRIDES = ((1, 1), (2, 1), (1, 2), (2, 1), (1, 2), (2, 1))  # of frequency and time
_TIME_STRIDE = 4  # of all stages together
_NARROW, _WIDE = (2, 1, 1, 1, 1, 1), (4, 3, 2, 1, 1, 1)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a size is made of, by stages.

    Attributes:
        expansions: by what the channels of the plane are multiplied inside a stage.
        reductions: by what the values of a frame are divided for the work over time.
        channels_out: channels of the plane that is pooled; None = as many as it has.
        blocks: residual blocks on the plane.
        strides: of frequency and of time.
    """

    expansions: tuple[float, ...]
    reductions: tuple[int, ...]
    channels_out: int | None = None
    blocks: tuple[int, ...] = _BLOCKS
    strides: tuple[tuple[int, int], ...] = _STRIDES


LAYOUTS = {
    "b0": Layout(_NARROW, (36, 36, 36, 36, 18, 18), 64),
    "b1": Layout(_NARROW, (32, 32, 32, 32, 16, 16)),
    "b2": Layout(_NARROW, (40, 30, 30, 20, 20, 10), strides=((1, 1), (2, 1), (1, 2), (3, 1), (1, 2), (2, 1))),
    "b3": Layout(_WIDE, (24, 24, 24, 24, 24, 24)),
    "b4": Layout(_WIDE, (24, 24, 24, 24, 24, 24)),
    "b5": Layout(_WIDE, (48, 48, 48, 48, 32, 32), 256),
    "b6": Layout((3, 2, 2, 1, 0.75, 0.5), (64, 64, 48, 48, 32, 24), 224, blocks=(3, 4, 5, 5, 4, 3)),
}


class ReDimNet2(nn.Module):
    """The network from features to an embedding.

    Args:
        size: a name of `LAYOUTS`, from "b0" with 1.1 to "b6" with 12.4 million parameters.
        feature_size: F, features of a frame; 72 is the published number.
        channels: C, of the plane at the start; published are 12, 16, 20, 24, 32, 48 and 64 for "b0" to "b6".
        embedding_size: D.
        group_norm: whether each sequence between the stages is normalised, in C groups over the whole utterance, as in
            the weights that were trained on VoxBlink2.

    Raises:
        ConfigurationError: there is no such size, or its stages cannot divide these features or channels.

    >>> ReDimNet2("b0", channels=4, embedding_size=6).eval()(torch.zeros(2, 50, 72)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        size: str = "b0",
        feature_size: int = 72,
        channels: int = 12,
        embedding_size: int = 192,
        group_norm: bool = False,
    ) -> None:
        super().__init__()
        layout = LAYOUTS[size]
        if problems := _problems(size, layout, feature_size, channels):
            raise ConfigurationError("network", problems)
        values = channels * feature_size
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.stem_norm = ChannelNorm(channels)
        self.sequence_norm = GroupNorm(channels, values) if group_norm else None
        self.stages = nn.ModuleList()
        plane, bins, joined = channels, feature_size, 1
        for number, (by_frequency, by_time) in enumerate(layout.strides):
            joined *= by_time
            stage = Stage(
                number + 1,
                (plane, bins),
                (by_frequency, joined),
                layout.expansions[number],
                layout.blocks[number],
                values // layout.reductions[number],
                channels if group_norm else 0,
            )
            self.stages.append(stage)
            plane, bins = plane * by_frequency, bins // by_frequency
        self.mean = WeightedMean(len(layout.strides) + 1, values)
        self.plane = (bins, plane)
        self.head = None if layout.channels_out is None else nn.Conv2d(plane, layout.channels_out, 1)
        pooled = bins * (plane if layout.channels_out is None else layout.channels_out)
        self.pooling = AttentiveStatistics(pooled, unbiased=True)
        self.norm = nn.BatchNorm1d(2 * pooled)
        self.embedding = nn.Linear(2 * pooled, embedding_size)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings of a batch.

        Args:
            features: (B, T, F), each utterance's mean removed. Of each, the last frames that do not make four are left
                out; of less than four, four are made with zeros.
            lengths: (B,) frames of each utterance that are real, at least 1; all when None. What the others hold does
                not matter: in evaluation mode every embedding is that of its utterance alone. In training mode the
                batch normalisation sees the padding, so training crops should be of one length.

        Returns:
            (B, D), not normalised.
        """
        x = masked(features.transpose(1, 2), real_frames(lengths, features.shape[1]))  # (B, F, T)
        if x.shape[2] < _TIME_STRIDE:
            x = F.pad(x, (0, _TIME_STRIDE - x.shape[2]))
        x = x[..., : x.shape[2] // _TIME_STRIDE * _TIME_STRIDE].unsqueeze(1)  # (B, 1, F, T), T from here on by fours
        if lengths is not None:
            lengths = (lengths // _TIME_STRIDE * _TIME_STRIDE).clamp(min=_TIME_STRIDE)
        mask = real_frames(lengths, x.shape[3])  # (B, 1, T)
        x = _as_sequence(self.stem_norm(self.stem(masked(x, mask))))  # (B, C F, T)
        sequences = [x if self.sequence_norm is None else self.sequence_norm(x, mask)]
        for stage in self.stages:
            sequences.append(stage(sequences, mask))
        x = _as_plane(self.mean(sequences), *self.plane)
        x = x if self.head is None else self.head(x)
        embedding: Tensor = self.embedding(self.norm(self.pooling(x.flatten(1, 2), mask)))
        return embedding


class Stage(nn.Module):
    """A weighted mean of what is there, worked on as a plane, then as a sequence: N x (B, C F, T) -> (B, C F, T).

    Args:
        inputs: N.
        plane: channels and bins that enter.
        strides: how many bins become channels, and how many frames are joined for the time of the stage.
        expansion: by what channels are multiplied inside.
        blocks: residual blocks on the plane.
        hidden: channels of the work over time.
        groups: of the normalisation at the end; 0 = none.
    """

    def __init__(
        self,
        inputs: int,
        plane: tuple[int, int],
        strides: tuple[int, int],
        expansion: float,
        blocks: int,
        hidden: int,
        groups: int,
    ) -> None:
        super().__init__()
        channels, bins = plane
        wide = int(strides[0] * channels * expansion)
        self.plane, self.joined = (bins, channels), strides[1]
        self.mean = WeightedMean(inputs, channels * bins)
        self.join = nn.Conv2d(channels, wide, strides, stride=strides, groups=math.gcd(channels, wide))
        self.blocks = nn.ModuleList(SeparableBlock(wide) for _ in range(blocks))
        out = strides[0] * channels
        self.narrow = (
            None if expansion == 1 else nn.Sequential(nn.Conv2d(wide, out, 1), nn.BatchNorm2d(out, eps=_EPSILON))
        )
        self.context = TimeContext(channels * bins, hidden)
        self.norm = GroupNorm(groups, channels * bins) if groups else None

    def forward(self, sequences: list[Tensor], mask: Tensor | None = None) -> Tensor:
        """N x (B, C F, T) and the mask (B, 1, T) of the real frames -> (B, C F, T)."""
        there = strided(mask, self.joined)  # (B, 1, T / joined)
        x = self.join(_as_plane(self.mean(sequences), *self.plane))  # (B, C', F', T / joined)
        for block in self.blocks:
            x = block(x, there)
        x = x if self.narrow is None else self.narrow(x)
        y: Tensor = self.context(_as_sequence(x), there)  # (B, C F, T / joined)
        if self.joined > 1:
            y = y.unsqueeze(3).expand(-1, -1, -1, self.joined).flatten(2)  # (B, C F, T)
        return y if self.norm is None else self.norm(y, mask)


class WeightedMean(nn.Module):
    """The mean of N sequences, weighted by a softmax over them for every channel: N x (B, C, T) -> (B, C, T)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        # Of a single one there is nothing to learn; the published weights have it all the same.
        self.weight = nn.Parameter(torch.zeros(1, inputs, channels, 1), requires_grad=inputs > 1)

    def forward(self, sequences: list[Tensor]) -> Tensor:
        """N x (B, C, T) -> (B, C, T)."""
        if len(sequences) == 1:
            return sequences[0]
        shares = torch.softmax(self.weight, dim=1).unbind(dim=1)  # N of (1, C, 1)
        total = sequences[0] * shares[0]
        for sequence, share in zip(sequences[1:], shares[1:], strict=True):
            total = total + sequence * share
        return total


class SeparableBlock(nn.Module):
    """Two convolutions of 3 x 3, each of its own channel and then over all, and what they leave out.

    (B, C, F, T) -> (B, C, F, T); ReLU comes before the first normalisation, as in ECAPA-TDNN.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.conv1pw = nn.Conv2d(channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.conv2pw = nn.Conv2d(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, F, T) and the mask (B, 1, T) of the real frames -> (B, C, F, T)."""
        y = self.bn1(F.relu(self.conv1pw(self.conv1(masked(x, mask)))))
        y = self.bn2(self.conv2pw(self.conv2(masked(y, mask))))
        return F.relu(y + x)


class TimeContext(nn.Module):
    """Convolutions with longer and longer kernels, then attention, on fewer channels: (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(channels, hidden, 1)
        self.reduce_norm = ChannelNorm(hidden)
        self.convolutions = nn.ModuleList(TimeBlock(hidden, size) for size in _KERNELS)
        self.transformer = Transformer(hidden)
        self.expand = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) and the mask (B, 1, T) of the real frames -> (B, C, T)."""
        y = self.reduce_norm(self.reduce(x))
        for block in self.convolutions:
            y = block(y, mask)
        y = self.transformer(masked(y, mask).transpose(1, 2), mask).transpose(1, 2)
        z: Tensor = self.expand(y)
        return x + z


class TimeBlock(nn.Module):
    """A convolution of each channel over time, then one over the channels, and what they leave out (ConvNeXt)."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, size, padding=size // 2, groups=channels)
        self.norm = nn.BatchNorm1d(channels)
        self.pointwise = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        y: Tensor = self.pointwise(F.gelu(self.norm(self.depthwise(masked(x, mask)))))
        return x + y


class Transformer(nn.Module):
    """Self-attention with four heads and a layer of its own for each frame, normalised behind (Vaswani et al. 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self.attention_norm = nn.LayerNorm(channels, eps=_EPSILON)
        self.inner = nn.Linear(channels, channels)
        self.outer = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels, eps=_EPSILON)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, C), zeros where padding is, and the mask (B, 1, T) of the real frames -> (B, T, C)."""
        query, key, value = (
            torch.unflatten(layer(x), 2, (_HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )  # (B, heads, T, C / heads)
        seen = F.scaled_dot_product_attention(query, key, value, None if mask is None else mask.unsqueeze(1))
        x = self.attention_norm(x + self.out(seen.transpose(1, 2).flatten(2)))
        y: Tensor = self.norm(x + self.outer(F.gelu(self.inner(x), approximate="tanh")))
        return y


class ChannelNorm(nn.Module):
    """Normalisation over the channels of each point (Ba et al. 2016): (B, C, ..., T) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ..., T) -> the same."""
        y = F.layer_norm(x.transpose(1, -1), self.weight.shape, self.weight, self.bias, _EPSILON)
        return y.transpose(1, -1)


class GroupNorm(nn.GroupNorm):
    """Normalisation of groups of channels over the utterance (Wu and He 2018): (B, C, T) -> the same."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) and the mask (B, 1, T) of the real frames, over which the statistics are -> (B, C, T)."""
        if mask is None:
            return super().forward(x)
        x = masked(x, mask).to(torch.promote_types(x.dtype, torch.float32))
        count = frame_count(x, mask).unsqueeze(2) * (self.num_channels // self.num_groups)  # (B, 1, 1)
        groups = torch.unflatten(x, 1, (self.num_groups, -1))  # (B, G, C / G, T)
        mean = groups.sum(dim=(2, 3)).unsqueeze(2) / count  # (B, G, 1)
        mean = mean.unsqueeze(3)
        centred = masked((groups - mean).flatten(1, 2), mask)
        variance = torch.unflatten(centred.square(), 1, (self.num_groups, -1)).sum(dim=(2, 3)).unsqueeze(2) / count
        scale = (variance + self.eps).rsqrt().expand(-1, -1, x.shape[1] // self.num_groups).flatten(1).unsqueeze(2)
        return centred * scale * self.weight.unsqueeze(1) + self.bias.unsqueeze(1)


def _as_sequence(x: Tensor) -> Tensor:
    """(B, C, F, T) -> (B, F C, T): the channels of each bin are neighbours."""
    return x.transpose(1, 2).flatten(1, 2)


def _as_plane(x: Tensor, bins: int, channels: int) -> Tensor:
    """(B, F C, T) -> (B, C, F, T)."""
    return torch.unflatten(x, 1, (bins, channels)).transpose(1, 2)


def _problems(size: str, layout: Layout, feature_size: int, channels: int) -> list[str]:
    """What stands against these sizes."""
    problems = []
    if feature_size % (stride := math.prod(by_frequency for by_frequency, _ in layout.strides)):
        problems.append(f"feature_size: {feature_size} is not a multiple of {stride}, which redimnet2 {size} needs")
    values = channels * feature_size
    if any(values % (_HEADS * reduction) for reduction in layout.reductions):
        problems.append(
            f"channels: {channels} x {feature_size} values of a frame cannot be divided by "
            f"{sorted({_HEADS * reduction for reduction in layout.reductions})}, as redimnet2 {size} does"
        )
    if channels > 256:
        problems.append(f"channels: {channels} are more than redimnet2 may have, 256")
    return problems
