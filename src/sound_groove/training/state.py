"""What has to be kept so that a run goes on as if it had never stopped.

Every random draw is a function of (seed, epoch, item), and learning rate and margin are functions of the place in
training. So the state is the weights, their mean under way, the optimiser's tensors, the gradient scaler's numbers and
the place.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sound_groove.errors import CheckpointError
from sound_groove.networks.checkpoint import Checkpoint
from sound_groove.networks.tensor_groups import CENTRE, HEAD, MEAN, MINING, NETWORK, OPTIMIZER, PUPIL
from sound_groove.recipe.loss import LossConfiguration, RiseConfiguration
from sound_groove.training.averaging import WeightMean
from sound_groove.training.schedule import adapted_way
from sound_groove.types import Embeddings


@dataclass(frozen=True)
class Progress:
    """The place in training.

    Attributes:
        epoch: whole epochs done, validated and logged.
        batch: batches done of the next one.
        step: optimiser steps done in all.
        best_eer: lowest validation EER so far, a fraction; None before the first validation.
        best_interval: its 95 % interval over the held-out speakers, fractions; None where there is none.
        best_epoch: the number (from 1) of the epoch that gave it.
        loss_sum: sum of the losses of the batches of the epoch under way, for its mean.
        correct_sum: sum of their accuracies.
        margin_way: how far an adaptive margin has risen in the stage under way, from 0 to 1.
        scale_way: the same of an adaptive scale.
        recent_accuracy: of about the last 100 batches of the stage.
        averaged: epochs of the stage under way whose weights are in the mean, at the time of the checkpoint.
        scaler: state of the fp16 gradient scaler.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_eer: float | None = None
    best_epoch: int = 0
    loss_sum: float = 0.0
    correct_sum: float = 0.0
    margin_way: float = 0.0
    scale_way: float = 0.0
    recent_accuracy: float = 0.0
    averaged: int = 0
    scaler: dict[str, Any] | None = None
    best_interval: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the checkpoint's header."""
        return asdict(self)

    def after_batch(self, loss: float, accuracy: float) -> "Progress":
        """One batch further."""
        return replace(
            self,
            batch=self.batch + 1,
            step=self.step + 1,
            loss_sum=self.loss_sum + loss,
            correct_sum=self.correct_sum + accuracy,
            recent_accuracy=self.recent_accuracy + (accuracy - self.recent_accuracy) / 100,
        )

    def adapted(self, loss: LossConfiguration, place: float, batches: int) -> "Progress":
        """The same place, an adaptive margin and an adaptive scale having followed the accuracy.

        Args:
            loss: how they rise.
            place: of the last batch, in epochs of the stage.
            batches: of an epoch.
        """

        def way(settings: RiseConfiguration, before: float) -> float:
            adapts = settings.growth == "adaptive"
            return adapted_way(settings, place, before, self.recent_accuracy, batches) if adapts else before

        return replace(self, margin_way=way(loss.margin, self.margin_way), scale_way=way(loss.scale, self.scale_way))

    def after_epoch(self) -> "Progress":
        """One epoch further."""
        return replace(self, epoch=self.epoch + 1, batch=0, loss_sum=0.0, correct_sum=0.0)

    def in_new_stage(self) -> "Progress":
        """The same place, as the beginning of a stage."""
        return replace(self, margin_way=0.0, scale_way=0.0, recent_accuracy=0.0)


def model_tensors(network: nn.Module, head: nn.Module, pupil: nn.Module | None = None) -> dict[str, Tensor]:
    """Network and class weights, and a pupil's, under the names of the checkpoint."""
    named = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    named.update({HEAD + name: tensor for name, tensor in head.state_dict().items()})
    if pupil is not None:
        named.update({PUPIL + name: tensor for name, tensor in pupil.state_dict().items()})
    return named


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors as `optimizer.<index of the parameter>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{OPTIMIZER}{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def centre_tensors(centre: Embeddings | None) -> dict[str, Tensor]:
    """What is subtracted from embeddings (D,) under its name of the checkpoint; nothing for None."""
    return {} if centre is None else {f"{CENTRE}mean": torch.from_numpy(centre)}


def mean_tensors(mean: WeightMean) -> dict[str, Tensor]:
    """The sums of a mean under way under the names of the checkpoint."""
    return {MEAN + name: tensor for name, tensor in mean.sums.items()}


def mining_tensors(neighbours: NDArray[np.int64] | None) -> dict[str, Tensor]:
    """Which speakers are confused with which (S, N) under its name of the checkpoint; nothing for None."""
    return {} if neighbours is None else {f"{MINING}neighbours": torch.from_numpy(neighbours)}


def restore_neighbours(checkpoint: Checkpoint) -> NDArray[np.int64] | None:
    """Which speakers are confused with which (S, N), or None."""
    neighbours = checkpoint.group(MINING).get("neighbours")
    return None if neighbours is None else np.asarray(neighbours.numpy())


def restore_mean(checkpoint: Checkpoint, progress: Progress, model: nn.Module) -> WeightMean:
    """The mean under way.

    Raises:
        CheckpointError: the file holds no mean of this model's weights, and should.
    """
    sums = checkpoint.group(MEAN) if progress.averaged else {}
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if progress.averaged and {name: tensor.shape for name, tensor in sums.items()} != shapes:
        raise CheckpointError(f"{checkpoint.path}: the mean of the weights is missing or not whole")
    return WeightMean(sums, progress.averaged)


def restore(
    checkpoint: Checkpoint,
    network: nn.Module,
    head: nn.Module,
    pupil: nn.Module | None,
    optimizer: torch.optim.Optimizer,
) -> Progress:
    """Load weights and optimiser state, strictly.

    Returns:
        The place in training at which the checkpoint was written.

    Raises:
        CheckpointError: the file is not a resumable state of these modules.
    """
    try:
        progress = Progress(**checkpoint.header.training["progress"])
        if progress.best_interval is not None:  # a list, in JSON
            low, high = progress.best_interval
            progress = replace(progress, best_interval=(low, high))
        network.load_state_dict(checkpoint.group(NETWORK), strict=True)
        head.load_state_dict(checkpoint.group(HEAD), strict=True)
        if pupil is not None:
            pupil.load_state_dict(checkpoint.group(PUPIL), strict=True)
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in checkpoint.group(OPTIMIZER).items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = tensor
        whole = optimizer.state_dict()
        keeps_state = any(group.get("momentum", 1.0) for group in whole["param_groups"])  # all but SGD without momentum
        if keeps_state and len(state) != sum(len(group["params"]) for group in whole["param_groups"]):
            raise ValueError("the optimiser's state is missing or not whole")
        optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{checkpoint.path}: is not a state that this run can go on from: {reason}") from None
    return progress
