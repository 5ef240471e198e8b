"""What is trained: the network, the classes that only training needs, and the optimiser that moves both."""

from pathlib import Path

import torch
from torch import Tensor, nn

from sound_groove.checkpoint import load_checkpoint, restore_network
from sound_groove.configuration import OptimizerConfiguration, Recipe
from sound_groove.losses import AamSoftmax
from sound_groove.models import build_network


class TrainingModel(nn.Module):
    """The network and its classes as one module, as distributed training wants it.

    Args:
        network: (B, T, F) -> (B, D).
        head: embeddings and labels -> loss and cosines.
    """

    def __init__(self, network: nn.Module, head: AamSoftmax) -> None:
        super().__init__()
        self.network = network
        self.head = head

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss and the cosines (B, classes) of a batch of features (B, T, F)."""
        loss, cosines = self.head(self.network(features), labels)
        return loss, cosines


def make_head(recipe: Recipe, classes: int) -> AamSoftmax:
    """The loss, with a centre for each class."""
    return AamSoftmax(
        recipe.network.embedding_size, classes, scale=recipe.loss.scale.initial, subcenters=recipe.loss.subcenters
    )


def make_modules(recipe: Recipe, classes: int) -> tuple[nn.Module, AamSoftmax]:
    """The network and its classes, with first weights that are a function of the recipe's seed and of nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # torch.manual_seed would seed the GPUs too
        return build_network(recipe.network), make_head(recipe, classes)


def make_optimizer(settings: OptimizerConfiguration, network: nn.Module, head: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of two groups, network and head; `set_rate` sets its learning rate before every step."""
    groups = [{"params": list(module.parameters()), "lr": 1.0} for module in (network, head)]
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    nesterov = settings.nesterov and settings.momentum > 0
    return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=nesterov, weight_decay=settings.weight_decay)


def set_rate(optimizer: torch.optim.Optimizer, settings: OptimizerConfiguration, rate: float, frozen: bool) -> None:
    """Set the learning rate of both groups.

    Args:
        optimizer: as `make_optimizer` gives it.
        settings: of the head's rate.
        rate: of the network.
        frozen: whether the network is to stay as it is.
    """
    network, head = optimizer.param_groups
    network["lr"], head["lr"] = 0.0 if frozen else rate, rate * settings.head_rate


def start_network(network: nn.Module, path: Path) -> dict[str, str]:
    """Give a network the weights of a model file.

    Returns:
        The model's file, name and hash.

    Raises:
        CheckpointError: the file cannot be used, or its weights are not those of such a network.
    """
    checkpoint = load_checkpoint(path)
    network.load_state_dict(restore_network(checkpoint).state_dict(), strict=True)
    return {"file": str(checkpoint.path), "name": checkpoint.identity.name, "hash": checkpoint.hash}
