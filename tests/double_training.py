"""The steps of a training run in float64, for tests: a program that a launcher may start in several processes.

    python double_training.py RECIPE.yaml OUT.npz

What is left of a difference between two ways to share a run out is a real one then: rounding begins at 1e-16, and has
no room to grow to where it could be mistaken for one.
"""

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from sound_groove.recipe.loading import load_recipe
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.trainer import Trainer, _accelerator


class InDouble(TorchFunctionMode):
    """float64 wherever the code asks for float32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, with the wider type."""
        named = dict(kwargs or {})
        if named.get("dtype") is torch.float32:
            named["dtype"] = torch.float64
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        return func(*args, **named)


def train_in_double(recipe_path: Path, out: Path) -> None:
    """Take the steps of the first stage; the main process writes their rows, and the weights after the last."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    recipe = load_recipe(recipe_path)
    folder = RunFolder(out.with_suffix(""))
    plan = preflight(recipe, folder, resume=False, force=False)
    with InDouble(), _accelerator(plan) as accelerator:
        trainer = Trainer(plan, folder, accelerator, command="", say=lambda line: None)
        if plan.teacher is not None:
            trainer.teaching = trainer._teaching(plan.teacher)
        rows = []
        for epoch in range(trainer.stage.end_epoch):
            with closing(trainer._batches(epoch + 1)) as batches:
                rows += [trainer._step(replace(batch, inputs=batch.inputs.double())) for batch in batches]
            trainer.progress = trainer.progress.after_epoch()
        assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float64}
        weights = {name: tensor.numpy() for name, tensor in trainer.model.state_dict().items()}
        if accelerator.is_main_process:
            columns = {f"step.{name}": np.array([row[name] for row in rows]) for name in rows[0]}
            np.savez(out, **columns, **weights)  # type: ignore[arg-type]


if __name__ == "__main__":
    train_in_double(Path(sys.argv[1]), Path(sys.argv[2]))
