"""What is trained: the network, the classes that only training needs, and the optimiser that moves both."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import Checkpoint, load_checkpoint, restore_network
from sound_groove.networks.losses import AamSoftmax, SpeakerHead, SphereFace2
from sound_groove.recipe.schema import OptimizerConfiguration, Recipe
from sound_groove.training.backbone import freeze_backbone
from sound_groove.training.distillation import Lesson, Pupil
from sound_groove.training.muon import Muon
from sound_groove.training.schedule import risen
from sound_groove.training.state import Progress
from sound_groove.types import ModelIdentity


class BatchResult(NamedTuple):
    """What came of a batch, or of a part of it; each a mean over what the whole batch has of it.

    Attributes:
        loss: what is minimised.
        correct: share of the items with a label whose class is the nearest, without margin.
        distance: mean distance from the teacher; 0 without one.
    """

    loss: Tensor
    correct: Tensor
    distance: Tensor


@dataclass(frozen=True)
class Shares:
    """How many items of each kind a part of a batch has on average, so that means over parts are those of the whole.

    Attributes:
        labelled: with a label.
        taught: by a teacher.
    """

    labelled: float
    taught: float = 0.0


class TrainingModel(nn.Module):
    """The network, its classes and what a teacher needs as one module, as distributed training wants it.

    Args:
        network: (B, T, F) -> (B, D).
        head: embeddings and labels -> loss and cosines.
        pupil: embeddings -> distance from the teacher's, if there is a teacher.

    Attributes:
        label_weight: of the head's loss.
        weight: of the distance from the teacher.
    """

    def __init__(self, network: nn.Module, head: SpeakerHead, pupil: Pupil | None = None) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.pupil = pupil
        self.label_weight, self.weight = 1.0, 0.0

    def follow(self, settings: Recipe, place: float, progress: Progress) -> None:
        """Let the loss be what a stage's settings say that it is at a place in it."""
        loss = settings.loss
        self.label_weight, self.weight = settings.distillation.label_weight, settings.distillation.weight
        self.head.scale = risen(loss.scale, place, progress.scale_way)
        self.head.margin = risen(loss.margin, place, progress.margin_way)
        if isinstance(self.head, AamSoftmax):
            share = self.head.margin / loss.margin.final if loss.margin.final else 1.0
            self.head.top_k, self.head.penalty = loss.top_k, loss.penalty * min(share, 1.0)

    def forward(
        self,
        features: Tensor,
        labels: Tensor,
        shares: Shares,
        lesson: Lesson | None = None,
        trust: Tensor | None = None,
    ) -> BatchResult:
        """What comes of a part of a batch.

        Args:
            features: (B, T, F).
            labels: (B,) classes, -1 = not known.
            shares: how many items of each kind such a part has on average.
            lesson: what the teacher says of the items.
            trust: (B,) by what the head's loss of each is multiplied; None = by 1.
        """
        embeddings = self.network(features)
        known = labels >= 0  # (B,)
        count = int(known.sum())
        if count:
            loss, cosines = self.head(embeddings[known], labels[known], None if trust is None else trust[known])
            correct = (cosines.detach().argmax(dim=1) == labels[known]).float().mean()
            loss, correct = loss * (count / shares.labelled), correct * (count / shares.labelled)
        else:
            loss, correct = 0.0 * self.head.weight.sum(), torch.zeros((), device=labels.device)
        if lesson is None or self.pupil is None:
            return BatchResult(loss, correct, torch.zeros_like(correct))
        distance = self.pupil(embeddings, lesson) / max(shares.taught, 1e-9)
        return BatchResult(self.label_weight * loss + self.weight * distance, correct, distance.detach())


def make_head(recipe: Recipe, classes: int) -> SpeakerHead:
    """The loss, with a centre for each class."""
    size, loss = recipe.network.embedding_size, recipe.loss
    if loss.kind == "sphereface2":
        return SphereFace2(
            size,
            classes,
            scale=loss.scale.initial,
            subcenters=loss.subcenters,
            balance=loss.balance,
            exponent=loss.exponent,
            margin_of=loss.margin_of,
        )
    return AamSoftmax(size, classes, scale=loss.scale.initial, subcenters=loss.subcenters)


def make_modules(
    recipe: Recipe, classes: int, teacher_size: int | None = None
) -> tuple[nn.Module, SpeakerHead, Pupil | None]:
    """The network, its classes, and what a teacher with embeddings of `teacher_size` needs.

    The first weights are a function of the recipe's seed and of nothing else.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # torch.manual_seed would seed the GPUs too
        network, head = build_network(recipe.network), make_head(recipe, classes)
        freeze_backbone(network, recipe)
        pupil = None if teacher_size is None else Pupil(recipe.network.embedding_size, teacher_size)
        return network, head, pupil


def encoder_around(network: nn.Module, recipe: Recipe) -> SpeakerEncoder:
    """An encoder that embeds with a network in training, on the device where it lies, as the model file will."""
    settings = recipe.network
    return SpeakerEncoder.of_network(
        network,
        ModelIdentity(recipe.name, ""),
        settings.embedding_size,
        settings.feature_size,
        floor_db=settings.floor_db,
        silence_share=settings.silence_share,
    )


def make_optimizer(
    settings: OptimizerConfiguration,
    network: nn.Module,
    head: nn.Module,
    pupil: nn.Module | None = None,
    precision: str = "fp32",
) -> torch.optim.Optimizer:
    """The optimiser of two groups: the network, and what only training needs of it (head and pupil).

    `set_rate` sets their learning rates before every step. What is not trained is in neither: an optimiser keeps no
    state of it, and a state that lacks some is not gone on from. With a precision of "bf16"
    Muon takes its products in that too.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    beside = [*head.parameters(), *(() if pupil is None else pupil.parameters())]
    groups = [{"params": parameters, "lr": 1.0} for parameters in (trained, beside)]
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    if settings.kind == "muon":
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return Muon([{**groups[0], "matrices": True}, groups[1]], weight_decay=settings.weight_decay, dtype=dtype)
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


def start_network(network: nn.Module, path: Path) -> Checkpoint:
    """Give a network the weights of a model file.

    Returns:
        The model that the file holds.

    Raises:
        CheckpointError: the file cannot be used, or its weights are not those of such a network.
    """
    checkpoint = load_checkpoint(path)
    network.load_state_dict(restore_network(checkpoint).state_dict(), strict=True)
    return checkpoint
