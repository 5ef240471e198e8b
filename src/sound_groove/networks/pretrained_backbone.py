"""Backbones as the Hugging Face hub has them, or a folder of its layout: whether one fits a network, and its weights.

Only config.json and model.safetensors are read. Nothing is unpickled, and no code of a repository is run.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from sound_groove.errors import CheckpointError, printable
from sound_groove.networks.backbone import BackboneNetwork

T = TypeVar("T")

# owner/name, and perhaps the revision: a branch, a tag or a commit
HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
UNUSED = frozenset({"masked_spec_embed"})  # what it put in place of frames that it had to guess


def misfits(source: str, network: BackboneNetwork) -> list[str]:
    """In what a published backbone differs from that of a network; nothing where its weights fit.

    Args:
        source: a folder, or `owner/name` on the hub, of which config.json is read.
        network: whose backbone it is to be.

    Returns:
        Clauses, each of which says what the one and the other have.

    Raises:
        CheckpointError: it cannot be had, or is another kind of network.
    """
    from transformers import PreTrainedConfig

    name, revision = _located(source)
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise CheckpointError(
            f"{printable(source)}: is a folder without config.json, so holds no network of transformers"
        )
    found, _ = _had(source, lambda: PreTrainedConfig.get_config_dict(name, revision=revision))
    if found.get("model_type") != network.MODEL_TYPE:
        raise CheckpointError(
            f"{printable(source)}: is a network of the type '{printable(str(found.get('model_type')))}', and this one "
            f"takes one of '{network.MODEL_TYPE}', such as {network.PUBLISHED}; network.kind wavlm takes WavLM, and no "
            "network here HuBERT or wav2vec 2.0"
        )
    here: Any = network.backbone.config
    default = type(here)()
    wanted = network.fields()
    there = {name: found.get(name, getattr(default, name)) for name in wanted}
    return [
        f"{name} is {there[name]!r} there, and {value!r} here" for name, value in wanted.items() if there[name] != value
    ]


def load_backbone(source: str, network: BackboneNetwork) -> None:
    """Give a network's backbone the published weights; all of them, and no others.

    Args:
        source: a folder, or `owner/name` on the hub, which is downloaded into the hub's cache if it is not there.
        network: whose backbone they are of.

    Raises:
        CheckpointError: they cannot be had, or are not those of such a backbone.
    """
    if found := misfits(source, network):
        raise CheckpointError(f"{printable(source)}: is not the network's backbone: {'; '.join(found)}")
    state = _weights(source, network)
    ours = network.backbone.state_dict()
    lacking, left = sorted(set(ours) - set(state)), sorted(set(state) - set(ours) - UNUSED)
    if lacking or left:
        what = f"lacks {printable(lacking[0])}" if lacking else f"has {printable(left[0])} beside them"
        raise CheckpointError(f"{printable(source)}: its weights are not those of a {network.MODEL_TYPE}: it {what}")
    network.backbone.load_state_dict({name: state[name] for name in ours}, strict=True)


def _weights(source: str, network: BackboneNetwork) -> dict[str, Tensor]:
    import torch

    kind: Any = type(network.backbone)
    name, revision = _located(source)
    model, report = _had(
        source,
        lambda: kind.from_pretrained(
            name, revision=revision, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        ),
    )
    # What was missing has been made up by then, and must not pass for taught.
    made_up = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    state: dict[str, Tensor] = model.state_dict()
    return {name: tensor for name, tensor in state.items() if name not in made_up}


def _located(source: str) -> tuple[str, str]:
    """The folder, or the name on the hub, and the revision there."""
    if Path(source).is_dir():
        return source, "main"
    if (match := HUB_NAME.fullmatch(source)) is None:
        raise CheckpointError(
            f"{printable(source)}: is neither a folder nor owner/name on the Hugging Face hub, such as "
            "facebook/w2v-bert-2.0"
        )
    return match["name"], match["revision"] or "main"


def _had(source: str, read: Callable[[], T]) -> T:
    """What `transformers` reads; its errors, which are several lines, as one sentence."""
    try:
        return read()
    except (OSError, ValueError, RuntimeError) as error:
        where = "read from this folder" if Path(source).is_dir() else "had from the Hugging Face hub"
        reason = printable(" ".join(str(error).split()))[:200]
        raise CheckpointError(f"{printable(source)}: cannot be {where} ({reason})") from error
