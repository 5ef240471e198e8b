"""What networks with a self-supervised backbone share: its sizes, how its layers are heard, what it is published as.

The backbones are those of `transformers`. Their layers are heard in one of two ways:

    adapters       Li, Cheng and Li 2025 ("Enhancing Speaker Verification with w2v-BERT 2.0 and Knowledge Distillation
                   guided Structured Pruning"): each layer's output goes through an adapter of its own, two linear
                   layers; those of all are joined, pooled by attentive statistics and brought to the embedding
    weighted_sum   Yang et al. 2021 (SUPERB): the sum of the layers, with weights that are learnt and add up to 1, is
                   what an ECAPA-TDNN hears, as Chen et al. 2022 have it

Departures: there is no LoRA, as in one of their models; the backbone is trained whole or not at all
(`training.frozen_backbone`). And there is no dropout, so that a training can be repeated.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError
from sound_groove.networks.ecapa_tdnn import EcapaTdnn
from sound_groove.networks.features import frame_mask
from sound_groove.networks.pooling import AttentiveStatistics

LAYERS = ("adapters", "weighted_sum")
_MOST = {"width": 4096, "depth": 64, "heads": 64, "inner": 16384}


@dataclass(frozen=True, slots=True)
class BackboneSizes:
    """Sizes of a backbone; the defaults are those of w2v-BERT 2.0 and of WavLM Large.

    Attributes:
        width: of a layer's output.
        depth: layers.
        heads: of their attention; they divide the width.
        inner: width inside the feed-forward parts.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    inner: int = 4096

    def __post_init__(self) -> None:
        """Refuse what makes no network."""
        given = {name: getattr(self, name) for name in _MOST}
        problems = [
            f"options.{name}: must lie between 1 and {_MOST[name]}, given {value}"
            for name, value in given.items()
            if not 1 <= value <= _MOST[name]
        ]
        if not problems and self.width % self.heads:
            problems.append(f"options.heads: {self.heads} heads do not divide a width of {self.width}")
        if problems:
            raise ConfigurationError("network", problems)


class BackboneNetwork(nn.Module):
    """A network with a backbone that was taught on unlabelled speech.

    Attributes:
        backbone: of `transformers`.
        MODEL_TYPE: what `transformers` calls such a backbone.
        PUBLISHED: where one is published, `owner/name` on the hub.
    """

    MODEL_TYPE: ClassVar[str]
    PUBLISHED: ClassVar[str]
    backbone: nn.Module

    def fields(self) -> dict[str, Any]:
        """What `transformers` calls all that its backbone is made by, without any dropout or masking."""
        raise NotImplementedError


def build_back_end(layers: str, states: int, width: int, channels: int, embedding_size: int) -> nn.Module:
    """What hears a backbone's layers: outputs of layers (B, T, W) each and how many frames are real (B,) -> (B, D).

    Args:
        layers: how they are heard, one of LAYERS.
        states: how many there are.
        width: W.
        channels: of each adapter, or of the ECAPA-TDNN.
        embedding_size: D.
    """
    kind = AdaptedLayers if layers == "adapters" else WeightedLayers
    return kind(states, width, channels, embedding_size)


def check_layers(layers: str, states: int, sizes: BackboneSizes) -> list[str]:
    """What is wrong with how a backbone's layers are to be heard."""
    problems = []
    if layers not in LAYERS:
        problems.append(f"options.layers: must be {' or '.join(LAYERS)}, given {layers!r}")
    if states > sizes.depth + 1:
        problems.append(f"options.states: a backbone of {sizes.depth} layers has {sizes.depth + 1}, given {states}")
    return problems


class AdaptedLayers(nn.Module):
    """An adapter for each layer's output, attentive statistics of them all together, and the embedding.

    Args:
        states: how many layers' outputs there are.
        width: of each.
        channels: of each adapter.
        embedding_size: D.
    """

    def __init__(self, states: int, width: int, channels: int, embedding_size: int) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(
            nn.Sequential(nn.Linear(width, channels), nn.LayerNorm(channels), nn.ReLU(), nn.Linear(channels, channels))
            for _ in range(states)
        )
        self.pooling = AttentiveStatistics(states * channels, has_context=False)
        self.embedding = nn.Linear(2 * states * channels, embedding_size)

    def forward(self, states: tuple[Tensor, ...], lengths: Tensor) -> Tensor:
        """Outputs of layers (B, T, W) each, and how many frames are real (B,) -> (B, D)."""
        adapted = [adapter(state) for adapter, state in zip(self.adapters, states, strict=True)]
        x = torch.cat(adapted, dim=2).transpose(1, 2)  # (B, states x C, T)
        embedding: Tensor = self.embedding(self.pooling(x, frame_mask(lengths, x.shape[2]).unsqueeze(1)))
        return embedding


class WeightedLayers(nn.Module):
    """The weighted sum of layers' outputs, and an ECAPA-TDNN that hears it.

    Args:
        states: how many layers' outputs there are.
        width: of each.
        channels: of the ECAPA-TDNN.
        embedding_size: D.
    """

    def __init__(self, states: int, width: int, channels: int, embedding_size: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(states))  # before the softmax: all alike at first
        self.network = EcapaTdnn(width, channels, embedding_size)

    def shares(self) -> Tensor:
        """(states,) how much of each layer is in the sum; together 1."""
        return torch.softmax(self.weights, dim=0)

    def forward(self, states: tuple[Tensor, ...], lengths: Tensor) -> Tensor:
        """Outputs of layers (B, T, W) each, and how many frames are real (B,) -> (B, D)."""
        shares = self.shares()
        total = shares[0] * states[0]
        for share, state in zip(shares[1:], states[1:], strict=True):
            total = total + share * state
        embedding: Tensor = self.network(total, lengths)
        return embedding
