"""Muon against torch's own, against AdamW, and against the singular values that it should leave."""

import pytest
import torch
from torch import Tensor, nn

from sound_groove.recipe.schema import OptimizerConfiguration
from sound_groove.training.model import make_optimizer, set_rate
from sound_groove.training.muon import Muon, is_matrix, orthogonal


def steps(optimizer: torch.optim.Optimizer, weight: Tensor, count: int = 4) -> Tensor:
    """Where a weight is after steps down the same slopes."""
    draw = torch.Generator().manual_seed(1)
    for _ in range(count):
        weight.grad = torch.randn(weight.shape, generator=draw)
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16)])
def test_a_matrix_keeps_its_singular_vectors_and_all_directions_count_alike(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.01
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonal(matrix) @ right.T
    assert float(values.max() / values.min()) > 4
    assert float((turned - torch.diag(turned.diagonal())).abs().max()) < 1e-3
    assert float(turned.diagonal().min()) > 0.6 and float(turned.diagonal().max()) < 1.25


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_steps_as_torchs_does(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """torch's takes the iterations in bfloat16, which has three digits."""
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ended = steps(Muon([{"params": [ours], "lr": 0.02, "matrices": True}], weight_decay=0.1, dtype=dtype), ours)
    expected = steps(torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), theirs)
    assert float((ended - expected).norm() / (expected - start).norm()) < 0.02


def test_a_convolution_is_a_matrix_of_its_taps() -> None:
    start = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0))
    kernel, flat = nn.Parameter(start.clone()), nn.Parameter(start.flatten(1).clone())
    one = steps(Muon([{"params": [kernel], "lr": 0.02, "matrices": True}], weight_decay=0.0), kernel)
    other = steps(Muon([{"params": [flat], "lr": 0.02, "matrices": True}], weight_decay=0.0), flat)
    assert torch.allclose(one.flatten(1), other, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "matrices"), [((7,), True), ((1, 9), True), ((9, 1, 1), True), ((6, 5), False)], ids=str
)
def test_what_is_no_matrix_of_the_network_goes_as_by_adamw(shape: tuple[int, ...], matrices: bool) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    assert not (matrices and is_matrix(ours))
    ended = steps(Muon([{"params": [ours], "lr": 0.02, "matrices": matrices}], weight_decay=0.1), ours)
    expected = steps(torch.optim.AdamW([theirs], lr=0.02, weight_decay=0.1), theirs)
    assert torch.allclose(ended, expected, atol=1e-6)


def test_a_recipe_asks_for_it_and_the_head_has_adamw() -> None:
    network, head = nn.Linear(6, 5), nn.Linear(5, 4)
    settings = OptimizerConfiguration.model_validate({"kind": "muon", "head_rate": 10, "weight_decay": 0})
    optimizer = make_optimizer(settings, network, head)
    set_rate(optimizer, settings, 0.001, frozen=False)
    for parameter in (*network.parameters(), *head.parameters()):
        parameter.grad = torch.ones_like(parameter)
    before = network.weight.detach().clone()
    optimizer.step()
    # A matrix of ones has one direction, in which the step has a length of 0.7 to 1.2 times the rate and the scale.
    moved = float((network.weight - before).detach().norm())
    assert 0.6 < moved / (0.001 * 0.2 * 6**0.5) < 1.25
    assert optimizer.state[network.weight].keys() == {"momentum_buffer"}
    assert optimizer.state[head.weight].keys() == {"step", "exp_avg", "exp_avg_sq"}
