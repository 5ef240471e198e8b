"""WavLM (Chen et al. 2022) as a speaker network: a backbone of convolutions and Transformer layers that was taught on
unlabelled speech and hears the samples themselves, and a small back end (`sound_groove.networks.backbone`).

It comes in two forms, which differ in more than size:

    large   layer normalisation in every convolution and before the parts of each layer; samples are brought to mean 0
            and variance 1
    base    (Base and Base+) normalisation over time in the first convolution, and behind the parts of each layer;
            samples are left as they are

What is heard of the layers is the input of the first one and what each of them gives; the last of the large form after
the normalisation that is behind all of them.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError, require_extra
from sound_groove.networks.backbone import BackboneNetwork, BackboneSizes, build_back_end, check_layers
from sound_groove.networks.features import frame_mask
from sound_groove.networks.hearing import SAMPLES
from sound_groove.networks.pooling import masked_mean

FORMS = {"large": BackboneSizes(), "base": BackboneSizes(768, 12, 12, 3072)}
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # of the convolutions: 25 ms, every 20 ms
CONVOLUTION = 512  # channels of them
_POSITION_GROUPS = 16  # of the convolution that tells positions, which divide the width
_LEAST_VARIANCE = 1e-7  # is added to the variance of the samples, as its own feature extractor does


class WavLM(BackboneNetwork):
    """The network from samples to an embedding.

    Args:
        feature_size: 1, the samples themselves.
        channels: of `adapters` the width of each adapter; of `weighted_sum` that of the ECAPA-TDNN.
        embedding_size: D.
        form: one of FORMS.
        sizes: of the backbone; the form's published ones when None.
        convolution: channels of its convolutions.
        layers: how its layers are heard, one of `backbone.LAYERS`.
        states: so many of the last ones are heard, of depth + 1 (the input of the first layer is one); 0 = all.

    Raises:
        ConfigurationError: sizes that make no network.
        MissingExtraError: `transformers` is not installed.
    """

    MODEL_TYPE = "wavlm"
    PUBLISHED = "microsoft/wavlm-large"

    def __init__(
        self,
        feature_size: int = SAMPLES,
        channels: int = 128,
        embedding_size: int = 256,
        form: str = "large",
        sizes: BackboneSizes | None = None,
        convolution: int = CONVOLUTION,
        layers: str = "adapters",
        states: int = 0,
    ) -> None:
        super().__init__()
        require_extra("network.kind wavlm", "ssl", "transformers")
        from transformers import WavLMConfig, WavLMModel

        self.sizes = sizes = sizes or FORMS.get(form, FORMS["large"])
        self.form, self.convolution = form, convolution
        self.states = states or sizes.depth + 1
        _check(feature_size, form, layers, self.states, sizes)
        still = ("layerdrop", "feat_proj_dropout", "hidden_dropout", "activation_dropout", "attention_dropout")
        quiet = dict.fromkeys((*still, "mask_time_prob", "mask_feature_prob"), 0.0)
        self.backbone = WavLMModel(WavLMConfig(**self.fields(), **quiet, attn_implementation="eager"))
        self.back_end = build_back_end(layers, self.states, sizes.width, channels, embedding_size)

    def fields(self) -> dict[str, Any]:
        """What `transformers` calls all that its backbone is made by, without any dropout or masking."""
        is_large = self.form == "large"
        return {
            "hidden_size": self.sizes.width,
            "num_hidden_layers": self.sizes.depth,
            "num_attention_heads": self.sizes.heads,
            "intermediate_size": self.sizes.inner,
            "feat_extract_norm": "layer" if is_large else "group",
            "do_stable_layer_norm": is_large,
            "conv_dim": [self.convolution] * len(KERNELS),
            "conv_kernel": list(KERNELS),
            "conv_stride": list(STRIDES),
            "conv_bias": False,
            "num_conv_pos_embeddings": 128,
            "num_conv_pos_embedding_groups": _POSITION_GROUPS,
            "num_buckets": 320,
            "max_bucket_distance": 800,
            "hidden_act": "gelu",
            "feat_extract_activation": "gelu",
            "layer_norm_eps": 1e-5,
            "add_adapter": False,
        }

    def forward(self, samples: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The embeddings of a batch.

        Args:
            samples: (B, T, 1) at 16 kHz in [-1, 1], at least 400.
            lengths: (B,) samples of each clip that are real; None = all.

        Returns:
            (B, D), not normalised.
        """
        waveforms = samples.squeeze(2)  # (B, T)
        is_whole = lengths is None
        if lengths is None:
            lengths = torch.full_like(waveforms[:, 0], waveforms.shape[1], dtype=torch.int64)
        x, frames = self._convolved(self.scaled(waveforms, lengths), lengths)
        states = self._heard(x, None if is_whole else frame_mask(frames, x.shape[1]))
        embeddings: Tensor = self.back_end(states[-self.states :], frames)
        return embeddings

    def scaled(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """What the backbone takes, as its own feature extractor (`Wav2Vec2FeatureExtractor`) makes it.

        Args:
            waveforms: (B, T).
            lengths: (B,).

        Returns:
            (B, T), zeros in the padding; in the large form of mean 0 and variance 1 elsewhere.
        """
        mask = frame_mask(lengths, waveforms.shape[1])  # (B, T)
        if self.form == "large":
            x = waveforms.unsqueeze(1)  # (B, 1, T)
            mean, variance = _moments(x, mask.unsqueeze(1))
            scaled = (x.to(mean.dtype) - mean) / (variance + _LEAST_VARIANCE).sqrt()
            waveforms = scaled.squeeze(1).to(waveforms.dtype)
        return waveforms.masked_fill(~mask, 0.0)

    def _convolved(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) and (B,) samples -> (B, T', C) and (B,) frames, one every 20 ms."""
        x = waveforms.unsqueeze(1)
        extractor: Any = self.backbone.feature_extractor
        for layer, kernel, stride in zip(extractor.conv_layers, KERNELS, STRIDES, strict=True):
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):  # over time: padding must not count
                x = layer.activation(_normalised(layer.conv(x), norm, lengths))
            else:
                x = layer(x)
        return x.transpose(1, 2), lengths.clamp(min=1)

    def _heard(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        """The input of the first layer and the output of each (B, T', W).

        Args:
            x: (B, T', C), convolved.
            mask: (B, T') of the real frames; None when all are.
        """
        backbone: Any = self.backbone
        encoder = backbone.encoder
        x = backbone.feature_projection(x)[0]
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(2), 0.0)
        x = x + encoder.pos_conv_embed(x)
        if self.form == "base":
            x = encoder.layer_norm(x)
        states, bias = [x], None
        with nullcontext() if mask is None else _quiet():
            for layer in encoder.layers:
                x, bias = layer(x, attention_mask=mask, position_bias=bias)[:2]
                states.append(x)
        if self.form == "large":
            states[-1] = encoder.layer_norm(x)
        return states


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns that the bias of positions is a number where the mask of the padding is a truth value."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask and attn_mask")
        yield


def _moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, T) -> (B, C, 1) twice: mean and variance over what is real, divided by its number."""
    mean = masked_mean(x, mask).unsqueeze(2)
    return mean, masked_mean((x.to(mean.dtype) - mean).square(), mask).unsqueeze(2)


def _normalised(x: Tensor, norm: nn.GroupNorm, lengths: Tensor) -> Tensor:
    """(B, C, T) -> (B, C, T): each channel, which is a group of its own, normalised over its real frames."""
    mean, variance = _moments(x, frame_mask(lengths, x.shape[2]).unsqueeze(1))
    scaled = (x.to(mean.dtype) - mean) / (variance + norm.eps).sqrt()
    return (scaled * norm.weight.unsqueeze(1) + norm.bias.unsqueeze(1)).to(x.dtype)


def _check(feature_size: int, form: str, layers: str, states: int, sizes: BackboneSizes) -> None:
    problems = check_layers(layers, states, sizes)
    if feature_size != SAMPLES:
        problems.append(f"feature_size: wavlm hears the samples themselves, {SAMPLES}; given {feature_size}")
    if form not in FORMS:
        problems.append(f"options.form: must be {' or '.join(FORMS)}, given {form!r}")
    if sizes.width % _POSITION_GROUPS:
        problems.append(f"options.width: must be a multiple of {_POSITION_GROUPS}, given {sizes.width}")
    if problems:
        raise ConfigurationError("network", problems)
