"""The log of a run: what is written of every step and every epoch, for machines, for TensorBoard and as a picture."""

import math
from typing import Any

from sound_groove.files import writing
from sound_groove.training.curves import draw_curves
from sound_groove.training.events import EventFile
from sound_groove.training.run_folder import RunFolder, append_rows, read_rows

CURVES = ("loss", "accuracy", "learning_rate", "margin", "gradient_norm")
MOST_ROWS = 100  # kept in memory


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

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Write an epoch's row, and draw the curves anew."""
        if row["validation_eer"] is not None:
            with writing(self._folder.tensorboard):
                self._events.add({"validation/eer": row["validation_eer"]}, row["step"])
        self.flush()
        append_rows(self._folder.epochs, [row])
        with writing(self._folder.curves):
            draw_curves(
                self._folder.curves, [*read_rows(self._folder.steps)], [*read_rows(self._folder.epochs)], self._title
            )

    def last_steps(self, count: int) -> list[dict[str, Any]]:
        """The rows of the last steps, written or not."""
        return [*read_rows(self._folder.steps), *self._rows][-count:]

    def flush(self) -> None:
        """Put the steps so far on the disk."""
        append_rows(self._folder.steps, self._rows)
        self._rows = []
        with writing(self._folder.tensorboard):
            self._events.flush()

    def close(self) -> None:
        """Write what is left, and close."""
        try:
            self.flush()
        finally:
            with writing(self._folder.tensorboard):
                self._events.close()
