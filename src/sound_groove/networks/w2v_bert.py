"""w2v-BERT 2.0 (Seamless Communication 2023) as a speaker network: a backbone of 24 Conformer layers that was taught on
unlabelled speech, what is learnt of all its layers, and a small back end (`sound_groove.networks.backbone`).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sound_groove.errors import ConfigurationError, require_extra
from sound_groove.networks.backbone import BackboneNetwork, BackboneSizes, build_back_end, check_layers
from sound_groove.networks.features import frame_mask
from sound_groove.networks.pooling import mean_and_variance

STACKED = 2  # frames of features that make one of the backbone's
_LEAST_VARIANCE = 1e-7  # is added to the variance of each bin, as its own feature extractor does


class W2vBert(BackboneNetwork):
    """The network from features to an embedding.

    Args:
        feature_size: F; 80, of which two frames are one of the backbone's.
        channels: of `adapters` the width of each adapter, 128 as published; of `weighted_sum` that of the ECAPA-TDNN.
        embedding_size: D.
        sizes: of the backbone.
        layers: how its layers are heard, one of LAYERS.
        states: so many of the last ones are heard, of depth + 1 (the input of the first layer is one); 0 = all.

    Raises:
        ConfigurationError: sizes that make no network.
        MissingExtraError: `transformers` is not installed.
    """

    MODEL_TYPE = "wav2vec2-bert"
    PUBLISHED = "facebook/w2v-bert-2.0"

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
        configuration = Wav2Vec2BertConfig(**self.fields(), **quiet, attn_implementation="eager")
        self.backbone = Wav2Vec2BertModel(configuration)
        self.back_end = build_back_end(layers, self.states, sizes.width, channels, embedding_size)

    def fields(self) -> dict[str, Any]:
        """What `transformers` calls all that its backbone is made by, without any dropout or masking."""
        return {
            "hidden_size": self.sizes.width,
            "num_hidden_layers": self.sizes.depth,
            "num_attention_heads": self.sizes.heads,
            "intermediate_size": self.sizes.inner,
            "feature_projection_input_dim": STACKED * self.feature_size,
            "hidden_act": "swish",
            "layer_norm_eps": 1e-5,
            "position_embeddings_type": "relative_key",
            "left_max_position_embeddings": 64,
            "right_max_position_embeddings": 8,
            "conv_depthwise_kernel_size": 31,
            "add_adapter": False,
            "use_intermediate_ffn_before_adapter": False,
        }

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


def _check(feature_size: int, layers: str, states: int, sizes: BackboneSizes) -> None:
    problems = check_layers(layers, states, sizes)
    if feature_size != 80:
        problems.insert(0, f"feature_size: w2v_bert takes 80 mel bins, given {feature_size}")
    if problems:
        raise ConfigurationError("network", problems)
