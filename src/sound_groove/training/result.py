"""What a finished training run gave."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run gave.

    Attributes:
        folder: the run folder.
        model: the best checkpoint.
        best_eer: its EER on the held-out speakers, or the mean of those of the trial lists, a fraction.
        best_epoch: the number of the epoch that gave it, from 1.
        steps: optimiser steps done in all.
        is_main: whether this is the process, of those that shared the run, that should speak of it.
        best_interval: the 95 % interval of `best_eer` over the held-out speakers, fractions; None where there is none.
    """

    folder: Path
    model: Path
    best_eer: float
    best_epoch: int
    steps: int
    is_main: bool = True
    best_interval: tuple[float, float] | None = None
