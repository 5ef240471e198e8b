"""The self-supervised backbone of a network: whether a recipe may begin with one, and its first weights."""

from torch import nn

from sound_groove.errors import SoundGrooveError
from sound_groove.networks.architectures import build_network
from sound_groove.networks.backbone import BackboneNetwork
from sound_groove.networks.pretrained_backbone import load_backbone, misfits
from sound_groove.networks.tensor_groups import NETWORK, network_hash
from sound_groove.networks.w2v_bert import W2vBert
from sound_groove.networks.wavlm import WavLM
from sound_groove.recipe.schema import Recipe

KINDS: dict[str, type[BackboneNetwork]] = {"w2v_bert": W2vBert, "wavlm": WavLM}


def check_backbone(recipe: Recipe) -> list[str]:
    """What is wrong with where a recipe's backbone begins; of the published one only the configuration is read."""
    settings, kind = recipe.training, recipe.network.kind
    is_one = kind in KINDS
    if is_one and recipe.distillation.of == "crop":
        return [f"network.kind: {kind} is not trained where distillation.of is crop; take another network"]
    if settings.backbone is None:
        if is_one and settings.start_from is None:
            return [
                f"training.backbone: a {kind} that begins at random learns next to nothing; name its weights, such as "
                f"{KINDS[kind].PUBLISHED} or a folder, or a model of yours with training.start_from"
            ]
        return []
    if not is_one:
        return [f"training.backbone: is for network.kind {' or '.join(KINDS)}, and the recipe has {kind}"]
    if settings.start_from is not None:
        return ["training.backbone: the model of training.start_from has one already; leave out one of them"]
    import torch

    try:
        with torch.device("meta"):
            network = build_network(recipe.network)
        assert isinstance(network, BackboneNetwork)
        return [f"training.backbone: {settings.backbone}: {each}" for each in misfits(settings.backbone, network)]
    except SoundGrooveError as error:
        return [f"training.backbone: {error}"]


def freeze_backbone(network: nn.Module, recipe: Recipe) -> None:
    """Let the backbone stay as it is in training, where the recipe says so."""
    if isinstance(network, BackboneNetwork) and recipe.training.frozen_backbone:
        network.backbone.requires_grad_(False)


def start_backbone(network: nn.Module, source: str) -> dict[str, str]:
    """Give a network's backbone its published weights.

    Returns:
        Where they are from, and the SHA-256 of them, as run facts have it.

    Raises:
        CheckpointError: they cannot be had, or do not fit.
    """
    assert isinstance(network, BackboneNetwork)  # the preflight has seen to it
    load_backbone(source, network)
    weights = {NETWORK + name: tensor for name, tensor in network.backbone.state_dict().items()}
    return {"file": source, "name": source, "hash": network_hash(weights)}
