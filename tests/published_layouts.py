"""Names and shapes of the tensors in published state dictionaries, where they are not the names used here.

Written from what the networks consist of, not from the code here; `digest` shows that it is what the public code has.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

Layout = dict[str, tuple[int, ...]]


def digest(layout: Mapping[str, Sequence[int]]) -> str:
    """Sixteen digits of the SHA-256 of lines 'name (shape)', sorted by name."""
    lines = [f"{name} {tuple(shape)}" for name, shape in sorted(layout.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def norm(name: str, channels: int) -> Layout:
    """Batch normalisation."""
    vectors: Layout = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return vectors | {f"{name}.num_batches_tracked": ()}


def layer(name: str, *shape: int, bias: bool = True) -> Layout:
    """A convolution or a linear layer."""
    weights: Layout = {f"{name}.weight": shape}
    return weights | ({f"{name}.bias": shape[:1]} if bias else {})


def affine(name: str, channels: int) -> Layout:
    """A normalisation without running statistics."""
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def ecapa_tdnn(channels: int, size: int) -> Layout:
    """WeSpeaker's ECAPA_TDNN_GLOB."""
    found = layer("layer1.conv", channels, 80, 5) | norm("layer1.bn", channels)
    for number in (2, 3, 4):
        block, group = f"layer{number}.se_res2block", channels // 8
        for side in (0, 2):
            found |= layer(f"{block}.{side}.conv", channels, channels, 1) | norm(f"{block}.{side}.bn", channels)
        for part in range(7):
            found |= layer(f"{block}.1.convs.{part}", group, group, 3) | norm(f"{block}.1.bns.{part}", group)
        found |= layer(f"{block}.3.linear1", 128, channels) | layer(f"{block}.3.linear2", channels, 128)
    found |= layer("conv", 1536, 3 * channels, 1) | norm("bn", 3072) | layer("linear", size, 3072)
    return found | layer("pool.linear1", 128, 3 * 1536, 1) | layer("pool.linear2", 1536, 128, 1)


def speechbrain_ecapa(channels: int, pooled: int, size: int) -> Layout:
    """SpeechBrain's ECAPA_TDNN, in which every convolution and normalisation is inside another module."""

    def tdnn(name: str, wide: int, seen: int, kernel: int) -> Layout:
        return layer(f"{name}.conv.conv", wide, seen, kernel) | norm(f"{name}.norm.norm", wide)

    found = tdnn("blocks.0", channels, 80, 5)
    for number in (1, 2, 3):
        block, group = f"blocks.{number}", channels // 8
        found |= tdnn(f"{block}.tdnn1", channels, channels, 1) | tdnn(f"{block}.tdnn2", channels, channels, 1)
        for part in range(7):
            found |= tdnn(f"{block}.res2net_block.blocks.{part}", group, group, 3)
        found |= layer(f"{block}.se_block.conv1.conv", 128, channels, 1)
        found |= layer(f"{block}.se_block.conv2.conv", channels, 128, 1)
    found |= tdnn("mfa", pooled, 3 * channels, 1) | tdnn("asp.tdnn", 128, 3 * pooled, 1)
    found |= layer("asp.conv.conv", pooled, 128, 1) | norm("asp_bn.norm", 2 * pooled)
    return found | layer("fc.conv", size, 2 * pooled, 1)


# C, channels behind the last stage (None = no layer), and by stages: blocks, expansion, reduction, stride of frequency.
_SIZES: dict[str, tuple[int, int | None, str]] = {
    "b0": (12, 64, "2 2 36 1, 3 1 36 2, 4 1 36 1, 5 1 36 2, 4 1 18 1, 3 1 18 2"),
    "b1": (16, None, "2 2 32 1, 3 1 32 2, 4 1 32 1, 5 1 32 2, 4 1 16 1, 3 1 16 2"),
    "b2": (20, None, "2 2 40 1, 3 1 30 2, 4 1 30 1, 5 1 20 3, 4 1 20 1, 3 1 10 2"),
    "b3": (24, None, "2 4 24 1, 3 3 24 2, 4 2 24 1, 5 1 24 2, 4 1 24 1, 3 1 24 2"),
    "b4": (32, None, "2 4 24 1, 3 3 24 2, 4 2 24 1, 5 1 24 2, 4 1 24 1, 3 1 24 2"),
    "b5": (48, 256, "2 4 48 1, 3 3 48 2, 4 2 48 1, 5 1 48 2, 4 1 32 1, 3 1 32 2"),
    "b6": (64, 224, "3 3 64 1, 4 2 64 2, 5 2 48 1, 5 1 48 2, 4 0.75 32 1, 3 0.5 24 2"),
}
_TIMES = (1, 1, 2, 2, 4, 4)  # frames that a stage joins


def redimnet2(size: str, group_norm: bool) -> Layout:
    """The authors' ReDimNet2 without its front end, as trained on VoxCeleb2, or with normalised sequences."""
    width, out, stages = _SIZES[size]
    values = 72 * width
    found = layer("backbone.stem.0", width, 1, 3, 3) | affine("backbone.stem.1", width)
    found |= affine("backbone.stem_gnorm", values) if group_norm else {}
    plane = width
    for stage, words in enumerate(stages.split(", ")):
        name = f"backbone.stage{stage}"
        blocks, expansion, reduction, stride = (float(word) for word in words.split())
        wide, hidden = int(stride * plane * expansion), values // int(reduction)
        groups = math.gcd(plane, wide)
        found[f"{name}.0.w"] = (1, stage + 1, values, 1)
        found |= layer(f"{name}.2", wide, plane // groups, int(stride), _TIMES[stage])
        plane, place = int(stride) * plane, 3
        for _ in range(int(blocks)):
            for conv in "12":
                block = f"{name}.{place}.conv_block"
                found |= layer(f"{block}.conv{conv}", wide, 1, 3, 3, bias=False) | norm(f"{block}.bn{conv}", wide)
                found |= layer(f"{block}.conv{conv}pw", wide, wide, 1, 1)
            place += 1
        if expansion != 1:
            found |= layer(f"{name}.{place}.0", plane, wide, 1, 1) | norm(f"{name}.{place}.1", plane)
            place += 1
        place += 1  # the change of shape has no weights
        found |= layer(f"{name}.{place}.red_dim_conv.0", hidden, values, 1)
        found |= affine(f"{name}.{place}.red_dim_conv.1", hidden)
        found |= layer(f"{name}.{place}.exp_dim_conv", values, hidden, 1)
        for number, kernel in enumerate((7, 19, 31, 59)):
            part = f"{name}.{place}.tcm.{number}"
            found |= layer(f"{part}.dwconvs.0", hidden, 1, kernel) | norm(f"{part}.norm", hidden)
            found |= layer(f"{part}.pwconv1", hidden, hidden, 1)
        part = f"{name}.{place}.tcm.4"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            found |= layer(f"{part}.attention.{projection}", hidden, hidden)
        for dense in ("intermediate_dense", "output_dense"):
            found |= layer(f"{part}.feed_forward.{dense}", hidden, hidden)
        found |= affine(f"{part}.layer_norm", hidden) | affine(f"{part}.final_layer_norm", hidden)
        found |= affine(f"{name}.{place + 2}", values) if group_norm else {}
    found["backbone.fin_wght1d.w"] = (1, 7, values, 1)
    pooled = values if out is None else out * values // plane
    found |= {} if out is None else layer("backbone.head", out, plane, 1, 1)
    found |= layer("pool.linear1", 128, 3 * pooled, 1) | layer("pool.linear2", pooled, 128, 1)
    return found | norm("bn", 2 * pooled) | layer("linear", 192, 2 * pooled)
