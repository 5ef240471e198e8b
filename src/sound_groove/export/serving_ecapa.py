"""ECAPA-TDNN arranged for serving: the embeddings of a trained network to rounding, from fewer and larger steps.

Nearly all of the network's work is products of matrices, and a runtime on a CPU reaches the machine's own rate in them
when the constant matrix stands on the right, where it is packed once, at load. Frames are therefore rows here,
(B T, C), where training has (B, C, T); a convolution over several frames is one product with the frames side by side.

What is not a product goes over the activations once each, and there is less of it:

- normalisation after ReLU, s relu(a) + b, is max(s a + b, b) where s > 0, and min(s a + b, b) where s < 0: the scale
  goes into the weights, and a bound for each channel is left. Zero padding stays zero padding;
- the normalisation of the pooled statistics goes into the last layer;
- the bias of the attention's scores, one for each channel, cancels in the softmax over time;
- the softmax needs no maximum where the weights bound the scores: they are products with values in (-1, 1).
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.networks.ecapa_tdnn import ConvReluNorm, EcapaTdnn, SeRes2Block
from sound_groove.networks.matrices import StoredMatrix
from sound_groove.networks.pooling import LEAST_VARIANCE, AttentiveStatistics

# Parts of these names belong to products that are made once an utterance, not for each frame.
ONCE_AN_UTTERANCE = ("squeeze", "excite", "of_context", "embedding")
# exp of at most this, times 6000 frames (60 s), is far from the largest and the smallest float32.
_LARGEST_EXPONENT = 60.0


class ServingEcapa(nn.Module):
    """The embedding of whole utterances of one length; weights are copied, the network stays as it is.

    Args:
        network: the trained network.
    """

    def __init__(self, network: EcapaTdnn) -> None:
        super().__init__()
        self.layer = _Layer(network.layer)
        self.kernel = _kernel(network.layer)
        self.blocks = nn.ModuleList(_Block(block) for block in network.blocks if isinstance(block, SeRes2Block))
        self.aggregation = _Product(network.aggregation.weight.squeeze(2), network.aggregation.bias)
        self.pooling = _Pooling(network.pooling)
        scale, shift = _affine(network.norm)
        weight = network.embedding.weight.double()
        self.embedding = _Product(weight * scale, network.embedding.bias + weight @ shift)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F), each utterance's mean removed -> (B, D), not normalised."""
        batch, frames = features.shape[0], features.shape[1]
        x = self.layer(_side_by_side(features, _neighbours(frames, *self.kernel)))  # (B T, C)
        outputs = []
        for block in self.blocks:
            x = block(x, batch, frames)
            outputs.append(x)
        x = torch.unflatten(self.aggregation(torch.cat(outputs, dim=1)), 0, (batch, frames))  # (B, T, 1536)
        # Not before the change of shape: onnxruntime would join the two, and not see that the product is of integers.
        embedding: Tensor = self.embedding(self.pooling(F.relu(x)))
        return embedding


class Folded(NamedTuple):
    """A matrix of the network that the products here have times the scale of a normalisation.

    Attributes:
        matrix: (C, C') as it was trained, float32, on the right of the rows.
        scale: (C') of its columns or (C, 1) of its rows, float32.
    """

    matrix: Tensor
    scale: Tensor


def is_served(network: nn.Module) -> TypeGuard[EcapaTdnn]:
    """Whether a network is one that `ServingEcapa` computes: SpeechBrain's form of it is not."""
    return isinstance(network, EcapaTdnn) and not network.is_speechbrains


def folded(network: EcapaTdnn) -> dict[str, Folded]:
    """The matrices into which a normalisation went, by the names that they have in `ServingEcapa`."""
    found = {}
    for name, _, layer in _layers(network):
        scale, _ = _affine(layer.norm)
        found[f"{name}.product.weight"] = Folded(_flat(layer.conv.weight).T, scale.float())
    scale, _ = _affine(network.norm)
    found["embedding.weight"] = Folded(network.embedding.weight.detach().T, scale.float().unsqueeze(1))
    return found


def places(network: EcapaTdnn) -> dict[str, StoredMatrix]:
    """By name, where each matrix of a network lies in `ServingEcapa`, but for the scales that went into it."""
    found = {}
    for name, trained, layer in _layers(network):
        size, channels, frames = layer.conv.weight.shape
        found[f"{trained}.conv.weight"] = StoredMatrix((f"{name}.product.weight",), (size, frames, channels), (0, 2, 1))
    same: dict[str, tuple[str, ...]] = {
        "aggregation.weight": ("aggregation.weight",),
        "embedding.weight": ("embedding.weight",),
        "pooling.hidden.weight": ("pooling.of_frame.weight", "pooling.of_context.weight"),
        "pooling.scores.weight": ("pooling.scores.weight",),
    }
    for number in range(len(network.blocks)):
        for part in ("squeeze", "excite"):
            same[f"blocks.{number}.excitation.{part}.weight"] = (f"blocks.{number}.{part}.weight",)
    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters()}
    for name, parts in same.items():
        found[name] = StoredMatrix(parts, shapes[name], tuple(range(len(shapes[name]))))
    return found


def _layers(network: EcapaTdnn) -> Iterator[tuple[str, str, ConvReluNorm]]:
    """Convolutions with a normalisation, by the names that they have in `ServingEcapa` and in the network."""
    yield "layer", "layer", network.layer
    for number, block in enumerate(block for block in network.blocks if isinstance(block, SeRes2Block)):
        within = f"blocks.{number}"
        yield f"{within}.before", f"{within}.before", block.before
        layers = [layer for layer in block.res2.layers if isinstance(layer, ConvReluNorm)]
        for place, layer in enumerate(layers):
            yield f"{within}.res2.{place}", f"{within}.res2.layers.{place}", layer
        yield f"{within}.after", f"{within}.after", block.after


def _flat(weight: Tensor) -> Tensor:
    """(C', C, K) -> (C', K C): the order in which the frames stand side by side."""
    return weight.detach().permute(0, 2, 1).flatten(1)


class _Product(nn.Module):
    """Rows times a matrix, plus a bias: (N, C) -> (N, C'). `weight` (C', C) and `bias` are given as in `nn.Linear`."""

    weight: Tensor  # (C, C')
    bias: Tensor  # (C',)

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().T.float().contiguous())
        self.register_buffer("bias", torch.zeros(len(weight)) if bias is None else bias.detach().float().clone())

    def forward(self, rows: Tensor) -> Tensor:
        """(N, C) -> (N, C')."""
        return torch.addmm(self.bias, rows, self.weight)


class _Layer(nn.Module):
    """`ConvReluNorm` on rows that hold the frames of its kernel side by side: (N, K C) -> (N, C')."""

    floor: Tensor  # (C',) lower bounds: what the normalisation makes of 0, where its scale is positive
    ceiling: Tensor  # (C',) upper bounds, where it is negative

    def __init__(self, layer: ConvReluNorm) -> None:
        super().__init__()
        scale, shift = _affine(layer.norm)
        assert layer.conv.bias is not None
        weight = scale.unsqueeze(1) * _flat(layer.conv.weight).double()
        self.product = _Product(weight, scale * layer.conv.bias + shift)
        infinite = torch.full_like(shift, torch.inf)
        self.register_buffer("floor", torch.where(scale < 0.0, -infinite, shift).float())
        self.register_buffer("ceiling", torch.where(scale < 0.0, shift, infinite).float())
        self.has_ceiling = bool((scale < 0.0).any())

    def forward(self, rows: Tensor) -> Tensor:
        """(N, K C) -> (N, C')."""
        y: Tensor = torch.maximum(self.product(rows), self.floor)
        return torch.minimum(y, self.ceiling) if self.has_ceiling else y


class _Block(nn.Module):
    """`SeRes2Block`: (B T, C) -> (B T, C)."""

    def __init__(self, block: SeRes2Block) -> None:
        super().__init__()
        self.before = _Layer(block.before)
        layers = [layer for layer in block.res2.layers if isinstance(layer, ConvReluNorm)]
        self.kernel = _kernel(layers[0])  # that of all of them
        self.res2 = nn.ModuleList(map(_Layer, layers))
        self.after = _Layer(block.after)
        self.squeeze = _Product(block.excitation.squeeze.weight, block.excitation.squeeze.bias)
        self.excite = _Product(block.excitation.excite.weight, block.excitation.excite.bias)

    def forward(self, x: Tensor, batch: int, frames: int) -> Tensor:
        """(B T, C) -> (B T, C)."""
        groups = self.before(x).chunk(len(self.res2) + 1, dim=1)  # 8 of (B T, C / 8)
        neighbours = _neighbours(frames, *self.kernel)
        outputs: list[Tensor] = []
        for layer, group in zip(self.res2, groups[:-1], strict=True):
            y = outputs[-1] + group if outputs else group
            outputs.append(layer(_side_by_side(torch.unflatten(y, 0, (batch, frames)), neighbours)))
        y = torch.unflatten(self.after(torch.cat((*outputs, groups[-1]), dim=1)), 0, (batch, frames))  # (B, T, C)
        factors = torch.sigmoid(self.excite(F.relu(self.squeeze(_mean(y)))))  # (B, C)
        return x + (y * factors.unsqueeze(1)).flatten(0, 1)


class _Pooling(nn.Module):
    """`AttentiveStatistics`: (B, T, C) -> (B, 2 C)."""

    def __init__(self, pooling: AttentiveStatistics) -> None:
        super().__init__()
        weight = pooling.hidden.weight.detach().squeeze(2)  # (128, 3 C)
        channels = weight.shape[1] // 3
        self.of_frame = _Product(weight[:, :channels], pooling.hidden.bias)
        self.of_context = _Product(weight[:, channels:], None)
        self.unbiased = pooling.unbiased
        scores = pooling.scores.weight.detach().squeeze(2)  # (C, 128)
        self.scores = _Product(scores, None)
        self.is_bounded = float(scores.abs().sum(dim=1).max()) < _LARGEST_EXPONENT

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, 2 C)."""
        size = x.shape[:2]
        mean = _mean(x)  # (B, C)
        centred = x - mean.unsqueeze(1)
        spread = _mean(centred * centred)
        if self.unbiased:
            spread = spread * (size[1] / (size[1] - 1))
        context = torch.cat((mean, _deviation(spread)), dim=1)  # (B, 2 C)
        hidden = torch.unflatten(self.of_frame(x.flatten(0, 1)), 0, size) + self.of_context(context).unsqueeze(
            1
        )  # (B, T, 128)
        scores = torch.unflatten(self.scores(torch.tanh(hidden).flatten(0, 1)), 0, size)  # (B, T, C)
        if not self.is_bounded:
            scores = scores - scores.amax(dim=1, keepdim=True)
        weights = scores.exp()
        total = _mean(weights)  # (B, C)
        weighted = weights * centred
        offset = _mean(weighted) / total
        variance = _mean(weighted * centred) / total - offset.square()
        return torch.cat((mean + offset, _deviation(variance)), dim=1)


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """(C,) scale and shift of a normalisation in evaluation, float64."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.detach().double() - scale * norm.running_mean.double()


def _kernel(layer: ConvReluNorm) -> tuple[int, int]:
    """Size and dilation of a layer's kernel."""
    return layer.conv.kernel_size[0], layer.conv.dilation[0]


def _neighbours(frames: int, size: int, dilation: int) -> Tensor:
    """(T K,) which K frames a kernel sees around each frame; T where there is none."""
    offsets = dilation * (torch.arange(size) - size // 2)
    index = torch.arange(frames).unsqueeze(1) + offsets  # (T, K)
    return torch.where((index < 0) | (index >= frames), frames, index).flatten()


def _side_by_side(x: Tensor, neighbours: Tensor) -> Tensor:
    """(B, T, C) and (T K,) -> (B T, K C): each frame's neighbours in a row; frame T is zeros."""
    batch, frames = x.shape[0], x.shape[1]
    taken = F.pad(x, (0, 0, 0, 1)).index_select(1, neighbours)  # (B, T K, C)
    return taken.reshape(batch * frames, -1)


def _mean(x: Tensor) -> Tensor:
    """(B, T, C) -> (B, C): the mean over time, as a product with a row of 1 / T.

    A runtime's own sum over an axis that is not the last was ten times as slow.
    """
    frames = x.shape[1]
    return torch.matmul(x.new_ones(1, frames) / frames, x).squeeze(1)


def _deviation(variance: Tensor) -> Tensor:
    return variance.clamp(min=LEAST_VARIANCE).sqrt()
