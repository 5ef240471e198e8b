"""What is trained: the network, the classes that only training needs, and the optimiser that moves both."""

import torch
from torch import Tensor, nn

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
        recipe.network.embedding_size, classes, scale=recipe.loss.scale, subcenters=recipe.loss.subcenters
    )


def make_modules(recipe: Recipe, classes: int) -> tuple[nn.Module, AamSoftmax]:
    """The network and its classes, with first weights that are a function of the recipe's seed and of nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # torch.manual_seed would seed the GPUs too
        return build_network(recipe.network), make_head(recipe, classes)


def make_optimizer(settings: OptimizerConfiguration, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser; its learning rate is set before every step."""
    if settings.kind == "adamw":
        return torch.optim.AdamW(parameters, weight_decay=settings.weight_decay)
    nesterov = settings.nesterov and settings.momentum > 0
    return torch.optim.SGD(
        parameters, lr=1.0, momentum=settings.momentum, nesterov=nesterov, weight_decay=settings.weight_decay
    )
