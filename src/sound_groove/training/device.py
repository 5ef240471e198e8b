"""Where a recipe is trained, and what this machine is slow at."""

import torch

from sound_groove.configuration import Recipe


def choose_device(recipe: Recipe) -> torch.device:
    """The device that the recipe names; "auto" takes CUDA or MPS when there is one."""
    if recipe.training.device != "auto":
        return torch.device(recipe.training.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def precision_hint(recipe: Recipe, device: torch.device) -> str:
    """What to say of a precision that this machine computes slowly."""
    if device.type != "cpu" or recipe.training.precision != "bf16" or cpu_computes_bf16():
        return ""
    return " (slow: this CPU has no instructions for it, training.precision=fp32 is several times as fast)"


def cpu_computes_bf16() -> bool:
    """Whether this CPU has instructions for bf16."""
    # oneDNN, which computes the convolutions, is asked itself; torch has no public name for the question.
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())
