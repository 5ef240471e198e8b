"""w2v-BERT 2.0 (Seamless Communication 2023) as a speaker network: a backbone of 24 Conformer layers that was taught on
unlabelled speech, what is learnt of all its layers, and a small back end.

The backbone is that of `transformers`. Its layers are heard in one of two ways:

    adapters       Li, Cheng and Li 2025 ("Enhancing Speaker Verification with w2v-BERT 2.0 and Knowledge Distillation
                   guided Structured Pruning"): each layer's output goes through an adapter of its own, two linear
                   layers; those of all are joined, pooled by attentive statistics and brought to the embedding
    weighted_sum   Yang et al. 2021 (SUPERB): the sum of the layers, with weights that are learnt and add up to 1, is
                   what an ECAPA-TDNN hears, as Chen et al. 2022 have it

Departures: there is no LoRA, as in one of their models; the backbone is trained whole or not at all
(`training.frozen_backbone`). And there is no dropout, so that a training can be repeated.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError, require_extra
from sound_groove.networks.ecapa_tdnn import EcapaTdnn
from sound_groove.networks.features import frame_mask
from sound_groove.networks.pooling import AttentiveStatistics, mean_and_variance

STACKED = 2  # frames of features that make one of the backbone's
LAYERS = ("adapters", "weighted_sum")
MODEL_TYPE = "wav2vec2-bert"  # what transformers calls it
_LEAST_VARIANCE = 1e-7  # is added to the variance of each bin, as its own feature extractor does
_MOST = {"width": 4096, "depth": 64, "heads": 64, "inner": 16384}


@dataclass(frozen=True, slots=True)
class BackboneSizes:
    """Sizes of a backbone; the defaults are those of w2v-BERT 2.0.

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

    def fields(self, feature_size: int) -> dict[str, Any]:
        """What `transformers` calls all that a backbone is made by, without any dropout or masking."""
        return {
            "hidden_size": self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
            "intermediate_size": self.inner,
            "feature_projection_input_dim": STACKED * feature_size,
            "hidden_act": "swish",
            "layer_norm_eps": 1e-5,
            "position_embeddings_type": "relative_key",
            "left_max_position_embeddings": 64,
            "right_max_position_embeddings": 8,
            "conv_depthwise_kernel_size": 31,
            "add_adapter": False,
            "use_intermediate_ffn_before_adapter": False,
        }


class W2vBert(nn.Module):
    """The network from features to an embedding.

    Args:
        feature_size: F; 80, of which two frames are one of the backbone's.
        channels: of `adapters` the width of each adapter, 128 as published; of `weighted_sum` that of the ECAPA-TDNN.
        embedding_size: D.
        sizes: of the backbone.
        layers: how its layers are heard, one of LAYERS.
        states: so many of the last ones are heard, of depth + 1 (the input of the first layer is one); 0 = all.

    Attributes:
        backbone: of `transformers`.

    Raises:
        ConfigurationError: sizes that make no network.
        MissingExtraError: `transformers` is not installed.
    """

    def __init__(
        self,
        feature_size: int = 80,
        channels: int = 128,
        embedding_size: int = 256,
        sizes: BackboneSizes | None = None,
        layers: str = "adapters",
        states: int = 0,
    ) -> None:
        super().__init__()
        require_extra("network.kind w2v_bert", "ssl", "transformers")
        from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

        self.sizes = sizes = sizes or BackboneSizes()
        self.feature_size = feature_size
        self.states = states or sizes.depth + 1
        _check(feature_size, layers, self.states, sizes)
        still = ("layerdrop", "conformer_conv_dropout", "feat_proj_dropout", "hidden_dropout", "activation_dropout")
        quiet = dict.fromkeys((*still, "attention_dropout", "mask_time_prob", "mask_feature_prob"), 0.0)
        configuration = Wav2Vec2BertConfig(**sizes.fields(feature_size), **quiet, attn_implementation="eager")
        self.backbone: nn.Module = Wav2Vec2BertModel(configuration)
        self.back_end: nn.Module = (
            AdaptedLayers(self.states, sizes.width, channels, embedding_size)
            if layers == "adapters"
            else WeightedLayers(self.states, sizes.width, channels, embedding_size)
        )

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The embeddings of a batch.

        Args:
            features: (B, T, F), the mean of each clip removed.
            lengths: (B,) frames of each clip that are real; None = all.

        Returns:
            (B, D), not normalised.
        """
        if lengths is None:
            lengths = torch.full_like(features[:, 0, 0], features.shape[1], dtype=torch.int64)
        pairs = (lengths // STACKED).clamp(min=1)  # (B,)
        stacked = self.stacked(features, lengths)
        mask = frame_mask(pairs, stacked.shape[1])
        heard = self.backbone(stacked, attention_mask=mask, output_hidden_states=True)
        embeddings: Tensor = self.back_end(heard.hidden_states[-self.states :], pairs)
        return embeddings

    def stacked(self, features: Tensor, lengths: Tensor) -> Tensor:
        """What the backbone takes, as its own feature extractor (`SeamlessM4TFeatureExtractor`) makes it.

        Each bin has mean 0 and variance 1 over the clip; then two frames are one. Of an odd number of frames the last
        one, which has no other, counts in the statistics alone.

        Args:
            features: (B, T, F).
            lengths: (B,).

        Returns:
            (B, ceil(T / 2), 2 F), zeros in the padding.
        """
        mask = frame_mask(lengths, features.shape[1])  # (B, T)
        x = features.transpose(1, 2)  # (B, F, T)
        mean, variance = mean_and_variance(x, mask.unsqueeze(1))
        scaled = (x.to(mean.dtype) - mean.unsqueeze(2)) / (variance + _LEAST_VARIANCE).sqrt().unsqueeze(2)
        scaled = scaled.transpose(1, 2).masked_fill(~mask.unsqueeze(2), 0.0).to(features.dtype)  # (B, T, F)
        longer = F.pad(scaled, (0, 0, 0, 1))  # so that an odd number of frames is a whole number of pairs
        return torch.cat((longer[:, :-1:STACKED], longer[:, 1::STACKED]), dim=2)


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


def _check(feature_size: int, layers: str, states: int, sizes: BackboneSizes) -> None:
    problems = []
    if feature_size != 80:
        problems.append(f"feature_size: w2v_bert takes 80 mel bins, given {feature_size}")
    if layers not in LAYERS:
        problems.append(f"options.layers: must be {' or '.join(LAYERS)}, given {layers!r}")
    if states > sizes.depth + 1:
        problems.append(f"options.states: a backbone of {sizes.depth} layers has {sizes.depth + 1}, given {states}")
    if problems:
        raise ConfigurationError("network", problems)
