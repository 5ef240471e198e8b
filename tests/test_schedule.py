"""Learning rate and margin, worked out by hand."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sound_groove.networks.losses import AamSoftmax
from sound_groove.recipe.loss import LossConfiguration, MarginConfiguration
from sound_groove.recipe.schema import LearningRateConfiguration
from sound_groove.training.schedule import adapted_way, learning_rate, risen


def rates(decay: str, warmup_epochs: float = 2.0) -> LearningRateConfiguration:
    return LearningRateConfiguration.model_validate(
        {"peak": 0.1, "final": 0.001, "per_batch": 64, "warmup_epochs": warmup_epochs, "decay": decay}
    )


@pytest.mark.parametrize(
    ("decay", "epoch", "expected"),
    [
        ("exponential", 0.5, 0.025),  # a quarter of the way up to 0.1
        ("exponential", 2, 0.1),
        ("exponential", 6, 0.01),  # half of the way down by a factor of 100
        ("exponential", 10, 0.001),
        ("cosine", 1, 0.05),
        ("cosine", 2, 0.1),
        ("cosine", 6, 0.0505),  # half way between 0.1 and 0.001
        ("cosine", 8, 0.001 + 0.099 * 0.5 * (1 - 0.5**0.5)),  # cos(3 pi / 4)
        ("cosine", 10, 0.001),
        ("constant", 1, 0.05),
        ("constant", 2, 0.1),
        ("constant", 10, 0.1),
    ],
)
def test_the_learning_rate_rises_in_a_line_and_decays_as_asked(decay: str, epoch: float, expected: float) -> None:
    assert learning_rate(rates(decay), epoch, epochs=10, total_batch=64) == pytest.approx(expected)


@pytest.mark.parametrize("decay", ["exponential", "cosine", "constant"])
def test_rates_scale_linearly_with_the_total_batch_everywhere(decay: str) -> None:
    for epoch in (0.1, 1, 2, 5.5, 10):
        at_64 = learning_rate(rates(decay), epoch, 10, 64)
        assert learning_rate(rates(decay), epoch, 10, 256) == pytest.approx(4 * at_64)
        assert learning_rate(rates(decay), epoch, 10, 16) == pytest.approx(at_64 / 4)


def test_the_published_recipe_is_met() -> None:
    """WeSpeaker on CN-Celeb: 0.1 x 256 / 64 = 0.4 at epoch 6, 5e-5 x 4 = 2e-4 at epoch 150."""
    published = LearningRateConfiguration(peak=0.1, final=5e-5, per_batch=64, warmup_epochs=6)
    assert learning_rate(published, 6, 150, 256) == pytest.approx(0.4)
    assert learning_rate(published, 150, 150, 256) == pytest.approx(2e-4)
    assert learning_rate(published, 78, 150, 256) == pytest.approx((0.4 * 2e-4) ** 0.5)


def test_without_warm_up_training_begins_at_the_peak_and_with_nothing_else_it_never_leaves_it() -> None:
    assert learning_rate(rates("exponential", 0.0), 0.0, 10, 64) == pytest.approx(0.1)
    assert learning_rate(rates("cosine", 10.0), 10.0, 10, 64) == pytest.approx(0.1)  # all of it is warm-up


@given(
    st.sampled_from(["exponential", "cosine", "constant"]),
    st.floats(0, 5),
    st.lists(st.floats(0, 10), min_size=2, max_size=9).map(sorted),
)
def test_the_rate_rises_then_falls_and_stays_within_its_bounds(decay: str, warmup: float, epochs: list[float]) -> None:
    values = [learning_rate(rates(decay, warmup), epoch, 10, 64) for epoch in epochs]
    assert all(0 <= value <= 0.1 * (1 + 1e-12) for value in values)
    rising = [value for epoch, value in zip(epochs, values, strict=True) if epoch < warmup]
    falling = [value for epoch, value in zip(epochs, values, strict=True) if epoch >= warmup]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert all(value >= 0.001 * (1 - 1e-12) for value in falling)


@pytest.mark.parametrize(
    ("growth", "epoch", "expected"),
    [
        ("linear", 0, 0.1),
        ("linear", 20, 0.1),
        ("linear", 25, 0.15),
        ("linear", 39.999, 0.299990),
        ("linear", 40, 0.3),
        ("linear", 1000, 0.3),
        ("exponential", 20, 0.1),
        ("exponential", 20 + 20 / 3, 0.1 + 0.2 * 0.9),  # 1 - 0.001^(1/3)
        ("exponential", 30, 0.1 + 0.2 * (1 - 0.001**0.5)),
        ("exponential", 20 + 40 / 3, 0.1 + 0.2 * 0.99),
        ("exponential", 40, 0.3),
    ],
)
def test_the_margin_rises_between_its_epochs(growth: str, epoch: float, expected: float) -> None:
    settings = MarginConfiguration.model_validate(
        {"initial": 0.1, "final": 0.3, "start_epoch": 20, "end_epoch": 40, "growth": growth}
    )
    assert risen(settings, epoch) == pytest.approx(expected)


def test_a_margin_without_a_rise_is_there_from_the_start() -> None:
    assert risen(MarginConfiguration(initial=0.0, final=0.2), 0.0) == 0.2
    assert risen(MarginConfiguration(initial=0.3, final=0.1, start_epoch=1, end_epoch=1), 0.99) == 0.3
    assert risen(MarginConfiguration(initial=0.3, final=0.1, start_epoch=1, end_epoch=1), 1.0) == 0.1


def test_a_margin_may_fall_as_well() -> None:
    settings = MarginConfiguration(initial=0.4, final=0.2, start_epoch=0, end_epoch=4, growth="linear")
    assert risen(settings, 1.0) == pytest.approx(0.35)


def learn(growth: str, rate: float, noise: float) -> tuple[float, float]:
    """Accuracy without margin, and margin, over the last 50 of 400 steps of a small network that learns noisy classes.

    The margin rises to 1.4, which is more than the classes have room for.
    """
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(30, 20, generator=generator)
    sizes = (20, 32, 32, 32)
    layers = [layer for pair in pairwise(sizes) for layer in (torch.nn.Linear(*pair), torch.nn.ReLU())]
    network, head = torch.nn.Sequential(*layers, torch.nn.Linear(32, 16)), AamSoftmax(16, 30, scale=30.0)
    parameters = [*network.parameters(), *head.parameters()]
    for parameter in parameters:
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    rise = MarginConfiguration(final=1.4, start_epoch=0, end_epoch=2, growth=growth, accuracy=0.7)  # type: ignore[arg-type]
    way, recent, course = 0.0, 0.0, []
    for step in range(400):
        labels = torch.randint(30, (64,), generator=generator)
        features = classes[labels] + noise * torch.randn(64, 20, generator=generator)
        head.margin = risen(rise, step / 100, way)
        loss, cosines = head(network(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = (cosines.argmax(dim=1) == labels).float().mean().item()
        recent += (accuracy - recent) / 100
        way = adapted_way(rise, step / 100, way, recent, batches=100)
        course.append((accuracy, head.margin))
    accuracies, margins = zip(*course[-50:], strict=True)
    return sum(accuracies) / 50, sum(margins) / 50


def test_an_adaptive_margin_keeps_what_was_learnt_where_one_that_only_rises_destroys_it() -> None:
    assert learn("linear", rate=0.2, noise=0.5)[0] < 0.6
    accuracy, margin = learn("adaptive", rate=0.2, noise=0.5)
    assert accuracy > 0.75 and margin < 0.1  # it came back
    assert learn("linear", rate=0.05, noise=0.8)[0] < 0.86
    accuracy, margin = learn("adaptive", rate=0.05, noise=0.8)
    assert accuracy > 0.9 and 0.5 < margin < 1.3  # it stopped on the way


def test_a_scale_is_a_number_that_stays_or_rises_as_a_margin_does() -> None:
    stays = LossConfiguration.model_validate({"scale": 25}).scale
    assert {risen(stays, epoch) for epoch in (0, 3, 100)} == {25}
    rise = {"initial": 20, "final": 30, "start_epoch": 2, "end_epoch": 4, "growth": "linear"}
    rises = LossConfiguration.model_validate({"scale": rise}).scale
    assert [risen(rises, epoch) for epoch in (0, 2, 3, 4, 9)] == [20, 20, 25, 30, 30]
    for wrong in (0, 200, "much", True, {"final": -1}):
        with pytest.raises(ValidationError, match="scale"):
            LossConfiguration.model_validate({"scale": wrong})
