"""The run folder: everything that one training run leaves behind.

recipe.yaml          the resolved configuration
run.json             command, versions, git commit, manifest hash, machine, and when the run started and resumed
best.safetensors     the network with the lowest validation EER so far
last.safetensors     the newest state, optimiser included: what `--resume` goes on from
steps.jsonl          loss, accuracy, learning rate, margin and gradient norm, every few steps
epochs.jsonl         means of each epoch, and its validation EER
curves.png           the same as a picture
tensorboard/         the same for TensorBoard
crops/               crops that a teacher has heard, where distillation is by ear
teacher.npz          the embeddings of a teacher, where a model was asked for them
failure.json         what led to a loss that was not a number, if that happened
"""

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sound_groove.errors import OutputError, printable
from sound_groove.files import read_json, replaced, write_json, write_text, writing
from sound_groove.json_reading import bounded_lines, parse_json
from sound_groove.networks.checkpoint import BEST_NAME, LAST_NAME
from sound_groove.provenance import now
from sound_groove.recipe.loading import dump_recipe
from sound_groove.recipe.schema import Recipe


class RunFolder:
    """One run's folder.

    Args:
        path: the folder; made by `start`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.best = self.path / BEST_NAME
        self.last = self.path / LAST_NAME
        self.recipe = self.path / "recipe.yaml"
        self.facts = self.path / "run.json"
        self.steps = self.path / "steps.jsonl"
        self.epochs = self.path / "epochs.jsonl"
        self.curves = self.path / "curves.png"
        self.tensorboard = self.path / "tensorboard"
        self.teacher = self.path / "teacher.npz"
        self.crops = self.path / "crops"
        self.failure = self.path / "failure.json"

    @property
    def is_used(self) -> bool:
        """Whether something lies there already, but for crops, whose maker may have begun before the training."""
        return self.path.exists() and (
            not self.path.is_dir() or any(path != self.crops for path in self.path.iterdir())
        )

    @property
    def is_run(self) -> bool:
        """Whether an earlier run lies there."""
        return self.facts.is_file() and self.recipe.is_file()

    def start(self, recipe: Recipe, facts: dict[str, Any]) -> None:
        """Begin a new run, removing an earlier run's files and nothing else (the preflight has asked before).

        Raises:
            OutputError: the folder cannot be made or written.
        """
        with writing(self.path):
            if self.is_run:
                self._clear()
            self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.recipe, dump_recipe(recipe))
        write_json(self.facts, {**facts, "started": [now()]})  # last: from here on it is a run

    def resume(self, step: int, epoch: int) -> None:
        """Go on with the run after `step` optimiser steps and `epoch` whole epochs.

        What the logs hold beyond was lost with the process that wrote it, and will be written again.

        Raises:
            OutputError: something cannot be read or written.
        """
        truncate_rows(self.steps, "step", step)
        truncate_rows(self.epochs, "epoch", epoch)
        with writing(self.failure):
            self.failure.unlink(missing_ok=True)
        facts = read_json(self.facts)
        write_json(self.facts, {**facts, "started": [*facts.get("started", []), now()]})

    def _clear(self) -> None:
        # Recipe and facts are not removed but replaced, so that a kill in between leaves something that is still a run.
        for file in (self.best, self.last, self.steps, self.epochs, self.curves, self.teacher, self.failure):
            file.unlink(missing_ok=True)
        if self.tensorboard.is_dir():
            shutil.rmtree(self.tensorboard)


def run_folder(recipe: Recipe, folder: str | Path | None) -> RunFolder:
    """The folder that is given, or that which the recipe's name means."""
    return RunFolder(Path("outputs") / recipe.name if folder is None else folder)


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append lines to a log, durably: they are on the disk when this returns.

    Raises:
        OutputError: they cannot be written.
    """
    if not rows:
        return
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.writelines(_line(row) for row in rows)
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; a last line that a kill cut short is left out.

    Raises:
        OutputError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for line in bounded_lines(file):
                if line.endswith("\n"):
                    yield parse_json(line)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"{printable(str(path))}: cannot be read: {error}") from None


def truncate_rows(path: Path, key: str, last: int) -> None:
    """Keep the lines of a log whose `key` is at most `last`.

    Raises:
        OutputError: it cannot be read or written.
    """
    kept = [row for row in read_rows(path) if row[key] <= last]
    with writing(path), replaced(path) as file:
        file.writelines(_line(row) for row in kept)


def _line(row: dict[str, Any]) -> str:
    """A row as JSON, which has no infinity (an fp16 gradient that overflowed)."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(finite, ensure_ascii=False) + "\n"
