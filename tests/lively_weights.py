"""Weights and batch statistics as after training, none of them at its fresh 0 or 1, the same on every machine."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn


def lively_state(layout: Mapping[str, Sequence[int]], seed: int = 1) -> dict[str, Tensor]:
    """Tensors of these names and shapes, float64: a function of the names, in their order, and of the seed."""
    generator = np.random.default_rng(seed)
    state = {}
    for name, shape in sorted(layout.items()):
        if "num_batches" in name:
            state[name] = torch.zeros((), dtype=torch.int64)
            continue
        values = torch.from_numpy(np.asarray(generator.standard_normal(tuple(shape))))
        if "running_var" in name:
            values = 0.5 + values.abs()
        elif name.endswith("weight"):
            values = 1.0 + 0.2 * values if values.dim() == 1 else values * math.sqrt(1.5 / values[0].numel())
        else:
            values = 0.3 * values
        state[name] = values
    return state


def lively(network: nn.Module, seed: int = 1) -> nn.Module:
    """The network in evaluation mode with such weights."""
    state = lively_state({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}, seed)
    network.load_state_dict(state)
    return network.eval()


def clip(frames: int, seed: int = 2, batch: int = 1, size: int = 80) -> Tensor:
    """(B, T, F) float32 features."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((batch, frames, size))).float()
