"""Muon: steps of an optimiser whose matrices move by the same length in each of their directions.

The gradient of a weight matrix is mostly of few directions, and so is a step of AdamW. Muon (Jordan et al. 2024) brings
the running mean of the gradient to the nearest matrix with orthogonal rows or columns, by five iterations of Newton and
Schulz, so that rare directions are learnt as fast as common ones. With the scale of Liu et al. 2025 ("Muon is scalable
for LLM training", equation 4) a step has about the size of one of AdamW, so that one learning rate serves both.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic by which singular values come near to 1
ITERATIONS = 5
SCALE = 0.2  # root mean square of a step of AdamW, in learning rates
BETAS = (0.9, 0.999)  # of AdamW
EPSILON = 1e-8


def orthogonal(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A matrix (rows, columns) with its singular values brought to about 1 (0.7 to 1.2), in float32.

    Args:
        matrix: (rows, columns).
        dtype: of the products. bfloat16 is enough for a step, and where processors have instructions for it a product
            of 1536 x 1536 matrices takes a sixth of the time.

    >>> singular = torch.linalg.svdvals(orthogonal(torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.1, 0.2]])))
    >>> bool((singular > 0.6).all() and (singular < 1.3).all())
    True
    """
    rows, columns = matrix.shape
    x: Tensor = (matrix.float() / (torch.linalg.matrix_norm(matrix.float()) + 1e-7)).to(dtype)
    if rows > columns:
        x = x.T
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        products = x @ x.T
        x = torch.addmm(a * x, torch.addmm(products, products, products, beta=b, alpha=c), x)
    return (x.T if rows > columns else x).float()


def is_matrix(weight: Tensor) -> bool:
    """Whether a weight maps several inputs to several outputs; a convolution's does, with its taps as inputs.

    >>> [is_matrix(torch.zeros(shape)) for shape in ((8, 4), (8, 4, 3), (8,), (1, 8), (8, 1, 1))]
    [True, True, False, False, False]
    """
    return weight.ndim >= 2 and min(len(weight), weight[0].numel()) > 1


class Muon(torch.optim.Optimizer):
    """Muon for the matrices of groups with `matrices` true, AdamW for all else; decoupled weight decay for both.

    Args:
        groups: of parameters, each with `params`, `lr` and `matrices`.
        weight_decay: decoupled, times the learning rate.
        momentum: by which the running mean of the gradient of a matrix is multiplied at each step.
        dtype: in which matrices are made orthogonal; see `orthogonal`.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(groups, {"weight_decay": weight_decay, "momentum": momentum, "matrices": False})
        self._dtype = dtype

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; a closure is called for the loss and its gradient first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if (gradient := weight.grad) is None:
                    continue
                weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                if group["matrices"] and is_matrix(weight):
                    self._step_of_matrix(weight, gradient, group)
                else:
                    self._step_of_adamw(weight, gradient, group)
        return loss

    def _step_of_matrix(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        mean: Tensor = state["momentum_buffer"]
        mean.lerp_(gradient, 1.0 - group["momentum"])
        ahead = torch.lerp(gradient, mean, group["momentum"])  # Nesterov's
        moved = orthogonal(ahead.flatten(1), self._dtype)
        weight.add_(moved.view_as(weight), alpha=-group["lr"] * SCALE * float(max(moved.shape)) ** 0.5)

    def _step_of_adamw(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        step = float(state["step"])
        state["exp_avg"].lerp_(gradient, 1.0 - BETAS[0])
        state["exp_avg_sq"].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1.0 - BETAS[1])
        spread = (state["exp_avg_sq"] / (1.0 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
        weight.addcdiv_(state["exp_avg"], spread, value=-group["lr"] / (1.0 - BETAS[0] ** step))
