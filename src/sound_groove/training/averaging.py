"""The mean of a model's weights over the last epochs of a stage (Izmailov et al. 2018, "Averaging Weights Leads to
Wider Optima and Better Generalization").

What is averaged is everything that a model is made of, the running statistics of its batch normalisation too, as the
published CN-Celeb recipes do it; counters keep their last value.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightMean:
    """A sum of weights, and how many were added.

    Args:
        sums: of earlier weights by name, on the CPU; empty to begin with.
        count: how many those were.
    """

    def __init__(self, sums: Mapping[str, Tensor] | None = None, count: int = 0) -> None:
        self.sums = dict(sums or {})
        self.count = count

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Add a model's present weights."""
        for name, tensor in model.state_dict().items():
            value = tensor.detach().to("cpu", copy=True)
            if value.is_floating_point() and name in self.sums:
                value += self.sums[name]
            self.sums[name] = value
        self.count += 1

    @torch.no_grad()
    def load_into(self, model: nn.Module) -> None:
        """Give a model the mean weights."""
        mean = {name: value / self.count if value.is_floating_point() else value for name, value in self.sums.items()}
        model.load_state_dict(mean, strict=True)


class MovingMean:
    """A running mean of a model's weights, in which each step counts for less than the one after it.

    Early on, when there is little to average, it follows the weights faster: at step n the mean before counts for at
    most (1 + n) / (10 + n).

    Args:
        decay: by what the mean before is multiplied at each step; 0 = the weights themselves.
        weights: the mean so far by name, on any device; those of the first model that it sees when there are none.
    """

    def __init__(self, decay: float, weights: Mapping[str, Tensor] | None = None) -> None:
        self._decay = decay
        self.weights = dict(weights or {})

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        """Take a model's weights after so many steps into the mean."""
        decay = min(self._decay, (1.0 + step) / (10.0 + step)) if self._decay else 0.0
        for name, tensor in model.state_dict().items():
            value = tensor.detach()
            if name in self.weights and value.is_floating_point():
                self.weights[name].lerp_(value.to(self.weights[name]), 1.0 - decay)
            else:
                self.weights[name] = value.clone()
