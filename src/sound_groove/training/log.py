"""The log of a run: what is written of every step and every epoch, for machines, for TensorBoard and as a picture."""

import math
import time
from dataclasses import dataclass
from typing import Any

from sound_groove.files import writing
from sound_groove.percentages import rate_text
from sound_groove.training.curves import draw_curves
from sound_groove.training.events import EventFile
from sound_groove.training.run_folder import RunFolder, append_rows, read_rows
from sound_groove.training.state import Progress
from sound_groove.training.validation import Validation

CURVES = ("loss", "accuracy", "learning_rate", "margin", "gradient_norm")
MOST_ROWS = 100  # kept in memory
CURVES_EVERY_S = 20.0  # that long a picture stands before it is drawn anew, which takes a second or two


@dataclass(frozen=True)
class EpochDone:
    """What came of an epoch's batches.

    Attributes:
        loss: mean over the batches.
        accuracy: mean over the batches, without margin.
        crops_per_second: over the batches, validation left out.
        waiting: share of that time in which training waited for crops to be read.
    """

    loss: float
    accuracy: float
    crops_per_second: float
    waiting: float

    @classmethod
    def of(cls, progress: Progress, batches: int, crops: int, elapsed_s: float, waited_s: float) -> "EpochDone":
        """What came of an epoch whose last batch has just been done.

        Args:
            progress: after that batch.
            batches: of the whole epoch.
            crops: that were trained on since the process began with it.
            elapsed_s: in which that was done.
            waited_s: of that, for crops.
        """
        elapsed_s = max(elapsed_s, 1e-9)
        means = progress.loss_sum / batches, progress.correct_sum / batches
        return cls(*means, crops_per_second=crops / elapsed_s, waiting=waited_s / elapsed_s)


class RunLog:
    """The open log of a run.

    Args:
        folder: the run folder.
        title: of the picture.
        step: optimiser steps done so far.

    Raises:
        OutputError: here and in every method, when something cannot be written.
    """

    def __init__(self, folder: RunFolder, title: str, step: int) -> None:
        self._folder, self._title = folder, title
        self._rows: list[dict[str, Any]] = []  # steps that are not on the disk yet
        self._drawn_s, self._is_drawn = time.monotonic(), True
        with writing(folder.tensorboard):
            self._events = EventFile(folder.tensorboard, step)

    def add_step(self, row: dict[str, Any]) -> None:
        """Take a step's row; it is on the disk after the next `flush`."""
        self._rows.append(row)
        finite = {f"train/{name}": row[name] for name in CURVES if math.isfinite(row[name])}
        with writing(self._folder.tensorboard):
            self._events.add(finite, row["step"])
        if len(self._rows) >= MOST_ROWS:
            self.flush()

    def add_epoch(
        self,
        progress: Progress,
        done: EpochDone,
        judged: Validation | None,
        judged_mean: Validation | None,
        averaged: int,
    ) -> str:
        """Write an epoch's row, and draw the curves anew where they were not drawn just now.

        Args:
            progress: after the epoch.
            done: what came of it.
            judged: its validation, if it had one.
            judged_mean: that of the mean of the weights, if it had one.
            averaged: of how many epochs that is the mean.

        Returns:
            The same as a line for people.
        """
        row: dict[str, Any] = {
            "epoch": progress.epoch,
            "step": progress.step,
            "loss": done.loss,
            "accuracy": done.accuracy,
            "validation_eer": None if judged is None else judged.eer,
            "validation_eer_low": None if judged is None or judged.interval is None else judged.interval[0],
            "validation_eer_high": None if judged is None or judged.interval is None else judged.interval[1],
            "mean_validation_eer": None if judged_mean is None else judged_mean.eer,
            "crops_per_second": round(done.crops_per_second, 1),
            "waiting": round(done.waiting, 4),
        }

        def mark(of: Validation) -> str:
            return " (best)" if (progress.best_epoch, progress.best_eer) == (progress.epoch, of.eer) else ""

        line = f"epoch {progress.epoch}: loss {done.loss:.3f}, accuracy {rate_text(done.accuracy, 1)}"
        if judged is not None:
            row |= {"targets": judged.targets, "nontargets": judged.nontargets}
            row |= {"validation_speakers": judged.speakers} if judged.speakers else {}
            row |= {"lists": dict(judged.lists)} if judged.lists else {}
            line += f", validation EER {judged.text}{mark(judged)}"
            with writing(self._folder.tensorboard):
                self._events.add({"validation/eer": judged.eer}, progress.step)
        if judged_mean is not None:
            line += f" (mean of {averaged} epochs: {judged_mean.text}{mark(judged_mean)})"
        self.flush()
        append_rows(self._folder.epochs, [row])
        self._is_drawn = False
        if time.monotonic() - self._drawn_s >= CURVES_EVERY_S:
            self._draw()
        return f"{line}, {done.crops_per_second:.0f} crops/s, {100 * done.waiting:.0f} % of the time waiting for data"

    def last_steps(self, count: int) -> list[dict[str, Any]]:
        """The rows of the last steps, written or not."""
        return [*read_rows(self._folder.steps), *self._rows][-count:]

    def _draw(self) -> None:
        """Draw the curves of all epochs."""
        steps, epochs = ([*read_rows(path)] for path in (self._folder.steps, self._folder.epochs))
        with writing(self._folder.curves):
            draw_curves(self._folder.curves, steps, epochs, self._title)
        self._drawn_s, self._is_drawn = time.monotonic(), True

    def flush(self) -> None:
        """Put the steps so far on the disk."""
        # Taken first: an interrupt may come when they are written already, and `close` would write them once more.
        rows, self._rows = self._rows, []
        append_rows(self._folder.steps, rows)
        with writing(self._folder.tensorboard):
            self._events.flush()

    def close(self) -> None:
        """Write what is left, and close."""
        try:
            self.flush()
            if not self._is_drawn:
                self._draw()
        finally:
            with writing(self._folder.tensorboard):
                self._events.close()
