"""Batch normalisation over the total batch, wherever its parts are, so that the number of processes changes nothing."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation whose statistics are those of all processes together (Ioffe and Szegedy 2015, algorithm 1).

    For CPUs, where torch's own `SyncBatchNorm` does not run. Every process must bring as many items as the others.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T) or (B, C) -> the same shape and type; in evaluation, plain batch normalisation."""
        if not self.training:
            return super().forward(input)
        over = [axis for axis in range(input.dim()) if axis != 1]
        x = input.float()
        count = x.numel() // x.shape[1] * torch.distributed.get_world_size()
        mean = _over_processes(x.sum(dim=over)) / count  # (C,)
        centred = x - _in_column(mean, x)
        variance = _over_processes(centred.square().sum(dim=over)) / count
        self._keep(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * _in_column(scale, x) + _in_column(self.bias, x)).to(input.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow, as the ones of every torch normalisation do."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def share_batch_norm(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with every batch normalisation taken over all processes; parameters and their names stay.

    Args:
        module: with `nn.BatchNorm1d` somewhere in it.
        device: where it will run; on a GPU torch's own `SyncBatchNorm` is used.
    """
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for child in module.modules():
        if type(child) is nn.BatchNorm1d:
            child.__class__ = SharedBatchNorm  # the same state, with another way to normalise
    return module


class _Sum(torch.autograd.Function):
    """The sum over all processes. Its gradient is one too, since the loss of each depends on the values of all."""

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass  # the gradient does not depend on the values

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(gradient)


def _over_processes(values: Tensor) -> Tensor:
    """The sum over all processes."""
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def _in_column(values: Tensor, like: Tensor) -> Tensor:
    """(C,) as (1, C, 1) or (1, C), beside (B, C, T) or (B, C)."""
    return values.view(1, -1, *[1] * (like.dim() - 2))
