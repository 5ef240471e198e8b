"""Learning rate, margin and scale as pure functions of the place in training, in epochs (a fraction within one)."""

import math

from sound_groove.recipe.loss import RiseConfiguration
from sound_groove.recipe.schema import LearningRateConfiguration


def learning_rate(settings: LearningRateConfiguration, epoch: float, epochs: int, total_batch: int) -> float:
    """The learning rate.

    Args:
        settings: the rates for a total batch of `per_batch`.
        epoch: place in training, from 0 to `epochs`.
        epochs: length of training.
        total_batch: utterances in one optimiser step over all devices and accumulation steps.

    >>> rate = LearningRateConfiguration(peak=0.1, final=0.001, per_batch=64, warmup_epochs=2, decay="exponential")
    >>> [round(learning_rate(rate, epoch, 10, 128), 6) for epoch in (1, 2, 6, 10)]  # a batch of 128: everything doubled
    [0.1, 0.2, 0.02, 0.002]
    """
    factor = total_batch / settings.per_batch
    peak, final = settings.peak * factor, settings.final * factor
    if epoch < settings.warmup_epochs:
        return peak * epoch / settings.warmup_epochs
    rest = max(epochs - settings.warmup_epochs, 1e-9)
    way = min(1.0, (epoch - settings.warmup_epochs) / rest)
    if settings.decay == "constant":
        return peak
    if settings.decay == "cosine":
        return final + (peak - final) * 0.5 * (1.0 + math.cos(math.pi * way))
    return float(peak * (final / peak) ** way)


def risen(settings: RiseConfiguration, epoch: float, way: float = 0.0) -> float:
    """The margin of AAM-Softmax in radians, or its scale.

    Args:
        settings: where it begins and ends.
        epoch: place in training.
        way: for an adaptive rise, how far it has come, from 0 to 1, as `adapted_way` finds.

    >>> rise = RiseConfiguration(initial=0.0, final=0.2, start_epoch=20, end_epoch=40, growth="linear")
    >>> [round(risen(rise, epoch), 4) for epoch in (0, 20, 30, 40, 100)]
    [0.0, 0.0, 0.1, 0.2, 0.2]
    """
    if settings.growth == "adaptive":
        return settings.initial + (settings.final - settings.initial) * way
    if epoch >= settings.end_epoch:
        return settings.final
    if epoch <= settings.start_epoch:
        return settings.initial
    way = (epoch - settings.start_epoch) / (settings.end_epoch - settings.start_epoch)
    if settings.growth == "exponential":
        way = 1.0 - 0.001**way
    return settings.initial + (settings.final - settings.initial) * way


def adapted_way(settings: RiseConfiguration, epoch: float, way: float, accuracy: float, batches: int) -> float:
    """How far an adaptive rise has come after one more batch, from 0 to 1.

    It is a function of training's course, and so a part of its state.

    Args:
        settings: between which epochs it may rise, and at which accuracy.
        epoch: place in training.
        way: how far it had come.
        accuracy: of the last batches, without margin.
        batches: of an epoch.

    >>> rise = RiseConfiguration(initial=0.0, final=0.2, start_epoch=1, end_epoch=3, growth="adaptive", accuracy=0.7)
    >>> adapted_way(rise, 0.9, 0.0, accuracy=0.9, batches=50), adapted_way(rise, 1.0, 0.0, accuracy=0.9, batches=50)
    (0.0, 0.01)
    >>> adapted_way(rise, 2.0, 0.5, accuracy=0.65, batches=50), adapted_way(rise, 2.0, 0.5, accuracy=0.5, batches=50)
    (0.5, 0.49)
    """
    step = 1.0 / ((settings.end_epoch - settings.start_epoch) * batches)
    if epoch < settings.start_epoch:
        return way
    if accuracy >= settings.accuracy:
        return min(way + step, 1.0)
    return max(way - step, 0.0) if accuracy < settings.accuracy - 0.1 else way
