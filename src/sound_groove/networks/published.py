"""State dictionaries as others publish them: which network they are of, and their tensors by the names used here.

ResNets (WeSpeaker), CAM++ (3D-Speaker, WeSpeaker) and ERes2NetV2 (3D-Speaker) have the same names here and there.
ECAPA-TDNN (WeSpeaker, SpeechBrain) and ReDimNet2 (its authors, WeSpeaker) have others. What belongs to no network is
left out: the classes of their training and constants of their front ends. Nothing else may be left over: a network is
built of the configuration and loads strictly.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from sound_groove.errors import CheckpointError, ConfigurationError
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import mismatch
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.recipe.network_sizes import REDIMNET2

# Beside the network: class weights (WeSpeaker, 3D-Speaker), and mel filters and windows (ReDimNet2).
_BESIDE = ("projection.", "classifier.", "spec.")

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class PublishedNetwork:
    """A network of others.

    Attributes:
        configuration: builds it.
        state: its tensors, by the names used here.
    """

    configuration: NetworkConfiguration
    state: dict[str, Tensor]


def read_published(state: State) -> PublishedNetwork:
    """Tell which network a state dictionary is of.

    Args:
        state: as it is published; `module.` in front of every name, of distributed training, does no harm.

    Raises:
        CheckpointError: it is of no network that is known here; says what was looked for.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    is_of_wespeaker = any(name.startswith("projection.") for name in state)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(_BESIDE)}
    for is_it, read in _FAMILIES:
        if is_it(state):
            try:
                found = read(state)
                if is_of_wespeaker and found.configuration.kind == "campplus":
                    found = _of_wespeaker(found)
                with torch.device("meta"):
                    expected = build_network(found.configuration).state_dict()
            except (KeyError, IndexError, ValueError) as error:
                raise CheckpointError(f"a state dictionary of a network that is not known here: {error}") from error
            except ConfigurationError as error:
                raise CheckpointError(f"a state dictionary of no network: {'; '.join(error.problems)}") from error
            if difference := mismatch(expected, found.state):
                kind = found.configuration.kind
                raise CheckpointError(f"a state dictionary that is not quite one of {kind}: {difference}")
            return found
    raise CheckpointError(
        "a state dictionary of none of these networks: ResNet34, 152, 221 and 293, ECAPA-TDNN, CAM++, ERes2NetV2, "
        "ReDimNet2"
    )


def _resnet(state: State) -> PublishedNetwork:
    third = _numbers(state, r"layer3\.(\d+)\.")
    by_blocks = {6: "resnet34", 36: "resnet152", 48: "resnet221", 64: "resnet293"}
    if third not in by_blocks:
        raise ValueError(f"a ResNet with {third} blocks in its third stage is not known here")
    if "seg_2.weight" in state:
        raise ValueError("a ResNet with two layers behind the pooling is not known here")
    channels, size = len(state["conv1.weight"]), len(state["seg_1.weight"])
    return PublishedNetwork(_configuration(by_blocks[third], channels, size), dict(state))


def _campplus(state: State) -> PublishedNetwork:
    channels, size = 16 * len(state["head.conv1.weight"]), len(state["xvector.dense.linear.weight"])
    return PublishedNetwork(_configuration("campplus", channels, size), dict(state))


def _of_wespeaker(network: PublishedNetwork) -> PublishedNetwork:
    """CAM++ as WeSpeaker pools it. Its files have the names of 3D-Speaker's, and the classes of training besides."""
    fields = network.configuration.model_dump() | {"options": {"epsilon": 1e-7}}
    return PublishedNetwork(NetworkConfiguration.model_validate(fields), network.state)


def _eres2netv2(state: State) -> PublishedNetwork:
    channels, size = len(state["conv1.weight"]), len(state["seg_1.weight"])
    group, scale = len(state["layer1.0.convs.0.weight"]), _numbers(state, r"layer1\.0\.convs\.(\d+)\.")
    # A group has floor(C x width / 64) channels, of the last stage 8 C: the widths that give both are few.
    last = len(state["layer4.0.convs.0.weight"])
    widths = [w for w in range(1, 257) if (channels * w // 64, 8 * channels * w // 64) == (group, last)]
    expansion = len(state["layer1.0.conv3.weight"]) // channels
    options: dict[str, Any] = {"width": widths[0], "scale": scale, "expansion": expansion}
    if options == {"width": 26, "scale": 2, "expansion": 2}:
        options = {}
    return PublishedNetwork(_configuration("eres2netv2", channels, size, options=options), dict(state))


# Patterns at the start of a name, and what takes their place; the first that fits is taken, one after the other.
Renaming = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

_ECAPA: Renaming = (
    (r"layer1\.", "layer."),
    (r"layer2\.se_res2block\.", "blocks.0."),
    (r"layer3\.se_res2block\.", "blocks.1."),
    (r"layer4\.se_res2block\.", "blocks.2."),
    (r"conv\.", "aggregation."),
    (r"pool\.linear1\.", "pooling.hidden."),
    (r"pool\.linear2\.", "pooling.scores."),
    (r"bn\.", "norm."),
    (r"linear\.", "embedding."),
)
_ECAPA_PARTS: Renaming = (
    (r"(blocks\.\d)\.0\.", r"\1.before."),
    (r"(blocks\.\d)\.1\.convs\.(\d)\.", r"\1.res2.layers.\2.conv."),
    (r"(blocks\.\d)\.1\.bns\.(\d)\.", r"\1.res2.layers.\2.norm."),
    (r"(blocks\.\d)\.2\.", r"\1.after."),
    (r"(blocks\.\d)\.3\.linear1\.", r"\1.excitation.squeeze."),
    (r"(blocks\.\d)\.3\.linear2\.", r"\1.excitation.excite."),
)
_ECAPA_NORMS: Renaming = ((r"(.*)\.bn\.", r"\1.norm."),)

_SPEECHBRAIN: Renaming = (
    (r"blocks\.0\.", "layer."),
    (r"blocks\.(\d)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"mfa\.conv\.", "aggregation."),
    (r"mfa\.norm\.", "aggregation_norm."),
    (r"asp\.tdnn\.conv\.", "pooling.hidden."),
    (r"asp\.tdnn\.norm\.", "pooling.between.1."),
    (r"asp\.conv\.", "pooling.scores."),
    (r"asp_bn\.", "norm."),
    (r"fc\.", "embedding."),
)
_SPEECHBRAIN_PARTS: Renaming = (
    (r"(blocks\.\d)\.tdnn1\.", r"\1.before."),
    (r"(blocks\.\d)\.res2net_block\.blocks\.(\d+)\.", r"\1.res2.layers.\2."),
    (r"(blocks\.\d)\.tdnn2\.", r"\1.after."),
    (r"(blocks\.\d)\.se_block\.conv1\.", r"\1.excitation.squeeze."),
    (r"(blocks\.\d)\.se_block\.conv2\.", r"\1.excitation.excite."),
)
# Its convolutions and normalisations are modules that hold torch's.
_SPEECHBRAIN_INSIDE: Renaming = (
    (r"(.*)\.conv\.conv\.", r"\1.conv."),
    (r"(.*)\.norm\.norm\.", r"\1.norm."),
    (r"(aggregation|pooling\.hidden|pooling\.scores|.*excitation\.\w+|embedding)\.conv\.", r"\1."),
    (r"(aggregation_norm|pooling\.between\.1|norm)\.norm\.", r"\1."),
)

_REDIMNET2: Renaming = (
    (r"backbone\.stem\.0\.", "stem."),
    (r"backbone\.stem\.1\.", "stem_norm."),
    (r"backbone\.stem_gnorm\.", "sequence_norm."),
    (r"backbone\.fin_wght1d\.w$", "mean.weight"),
    (r"backbone\.head\.", "head."),
    (r"pool\.linear1\.", "pooling.hidden."),
    (r"pool\.linear2\.", "pooling.scores."),
    (r"bn\.", "norm."),
    (r"linear\.", "embedding."),
    (r"backbone\.stage(\d)\.0\.w$", r"stages.\1.mean.weight"),
    (r"backbone\.stage(\d)\.2\.", r"stages.\1.join."),
    (r"backbone\.stage(\d)\.(\d+)\.conv_block\.", lambda m: f"stages.{m[1]}.blocks.{int(m[2]) - 3}."),
    (r"backbone\.stage(\d)\.\d+\.([01])\.", r"stages.\1.narrow.\2."),
    (r"backbone\.stage(\d)\.\d+\.(weight|bias)$", r"stages.\1.norm.\2"),
    (r"backbone\.stage(\d)\.\d+\.", r"stages.\1.context."),
)
_REDIMNET2_PARTS: Renaming = (
    (r"(.*\.context)\.red_dim_conv\.0\.", r"\1.reduce."),
    (r"(.*\.context)\.red_dim_conv\.1\.", r"\1.reduce_norm."),
    (r"(.*\.context)\.exp_dim_conv\.", r"\1.expand."),
    (r"(.*\.context)\.tcm\.4\.attention\.q_proj\.", r"\1.transformer.query."),
    (r"(.*\.context)\.tcm\.4\.attention\.k_proj\.", r"\1.transformer.key."),
    (r"(.*\.context)\.tcm\.4\.attention\.v_proj\.", r"\1.transformer.value."),
    (r"(.*\.context)\.tcm\.4\.attention\.out_proj\.", r"\1.transformer.out."),
    (r"(.*\.context)\.tcm\.4\.layer_norm\.", r"\1.transformer.attention_norm."),
    (r"(.*\.context)\.tcm\.4\.feed_forward\.intermediate_dense\.", r"\1.transformer.inner."),
    (r"(.*\.context)\.tcm\.4\.feed_forward\.output_dense\.", r"\1.transformer.outer."),
    (r"(.*\.context)\.tcm\.4\.final_layer_norm\.", r"\1.transformer.norm."),
    (r"(.*\.context)\.tcm\.(\d)\.dwconvs\.0\.", r"\1.convolutions.\2.depthwise."),
    (r"(.*\.context)\.tcm\.(\d)\.pwconv1\.", r"\1.convolutions.\2.pointwise."),
    (r"(.*\.context)\.tcm\.(\d)\.norm\.", r"\1.convolutions.\2.norm."),
)


def _ecapa(state: State) -> PublishedNetwork:
    channels, size = len(state["layer1.conv.weight"]), len(state["linear.weight"])
    if state["pool.linear1.weight"].shape[1] != 3 * state["pool.linear2.weight"].shape[0]:
        raise ValueError("an ECAPA-TDNN whose attention does not see the whole utterance is not known here")
    configuration = _configuration("ecapa_tdnn", channels, size, options={"unbiased": True})
    return PublishedNetwork(configuration, _renamed(state, _ECAPA, _ECAPA_PARTS, _ECAPA_NORMS))


def _speechbrain(state: State) -> PublishedNetwork:
    first = len(state["blocks.0.conv.conv.weight"])
    channels, pooled = len(state["blocks.1.tdnn1.conv.conv.weight"]), len(state["asp.conv.conv.weight"])
    size = len(state["fc.conv.weight"])
    scale = 1 + _numbers(state, r"blocks\.1\.res2net_block\.blocks\.(\d+)\.")
    if state["asp.tdnn.conv.conv.weight"].shape[1] != 3 * pooled:
        raise ValueError("an ECAPA-TDNN whose attention does not see the whole utterance is not known here")
    if first != channels:
        raise ValueError(f"an ECAPA-TDNN whose blocks have {first} and {channels} channels is not known here")
    options: dict[str, bool | int | float | str] = {"speechbrain": True, "pooled": pooled}
    configuration = _configuration(
        "ecapa_tdnn", channels, size, options=options | ({} if scale == 8 else {"scale": scale})
    )
    renamed = _renamed(state, _SPEECHBRAIN, _SPEECHBRAIN_PARTS, _SPEECHBRAIN_INSIDE)
    return PublishedNetwork(
        configuration, {name: _fitted(name, tensor, channels // scale) for name, tensor in renamed.items()}
    )


def _fitted(name: str, tensor: Tensor, width: int) -> Tensor:
    """A tensor of SpeechBrain's as it stands here.

    Of the groups of a Res2 convolution, `width` channels each, its first one passes unchanged and here the last one:
    the layers before and behind have their channels in another order.
    """
    if re.match(r"blocks\.\d\.before\.", name) and tensor.dim():
        return tensor.roll(-width, dims=0)
    if re.match(r"blocks\.\d\.after\.conv\.weight", name):
        return tensor.roll(-width, dims=1)
    if re.match(r"(blocks\.\d\.excitation\.\w+|embedding)\.weight", name):
        return tensor.squeeze(2)
    return tensor


def _redimnet2(state: State) -> PublishedNetwork:
    if any(name.startswith("backbone.stage0_pre.") for name in state):
        raise ValueError("a ReDimNet2 with two sequences a stage (dual_agg) is not known here")
    channels, size = len(state["backbone.stem.0.weight"]), len(state["linear.weight"])
    sizes = [name for name, published in REDIMNET2.items() if published.channels == channels]
    if not sizes:
        raise ValueError(f"a ReDimNet2 of {channels} channels is not known here")
    bins = state["backbone.fin_wght1d.w"].shape[2] // channels
    options = {"group_norm": True} if "backbone.stem_gnorm.weight" in state else {}
    configuration = _configuration("redimnet2", channels, size, sizes[0], bins, options)
    return PublishedNetwork(configuration, _renamed(state, _REDIMNET2, _REDIMNET2_PARTS))


# How each is told, and how it is read.
_FAMILIES: tuple[tuple[Callable[[State], bool], Callable[[State], PublishedNetwork]], ...] = (
    (lambda state: "xvector.tdnn.linear.weight" in state, _campplus),
    (lambda state: "backbone.fin_wght1d.w" in state, _redimnet2),
    (lambda state: "layer2.se_res2block.0.conv.weight" in state, _ecapa),
    (lambda state: "blocks.1.res2net_block.blocks.0.conv.conv.weight" in state, _speechbrain),
    (lambda state: "fuse34.local_att.0.weight" in state and "layer1.0.convs.0.weight" in state, _eres2netv2),
    (lambda state: "layer1.0.conv2.weight" in state and "seg_1.weight" in state, _resnet),
)


def _configuration(
    kind: str,
    channels: int,
    embedding_size: int,
    size: str | None = None,
    feature_size: int = 80,
    options: Mapping[str, bool | int | float | str] | None = None,
) -> NetworkConfiguration:
    try:
        return NetworkConfiguration.model_validate(
            {
                "kind": kind,
                "size": size,
                "channels": channels,
                "embedding_size": embedding_size,
                "feature_size": feature_size,
                "options": dict(options or {}),
            }
        )
    except ValidationError as error:
        raise ValueError("; ".join(str(problem["msg"]) for problem in error.errors())) from None


def _numbers(state: State, pattern: str) -> int:
    """How many parts of a network are numbered by the pattern's group."""
    return len({found[1] for name in state if (found := re.match(pattern, name))})


def _renamed(state: State, *renamings: Renaming) -> dict[str, Tensor]:
    """The tensors by other names."""
    return {_rename(name, renamings): tensor for name, tensor in state.items()}


def _rename(name: str, renamings: tuple[Renaming, ...]) -> str:
    for renaming in renamings:
        for pattern, replacement in renaming:
            changed, count = re.subn(f"^{pattern}", replacement, name)
            if count:
                name = changed
                break
    return name
