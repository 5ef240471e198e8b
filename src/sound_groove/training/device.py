"""Where a recipe is trained and in which precision, and what this machine is slow at."""

from collections.abc import Sequence

import torch

from sound_groove.errors import TrainingError
from sound_groove.provenance import instruction_set
from sound_groove.recipe.schema import Recipe


def choose_device(recipe: Recipe) -> torch.device:
    """The device that the recipe names; "auto" takes CUDA or MPS when there is one."""
    if recipe.training.device != "auto":
        return torch.device(recipe.training.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_precision(recipe: Recipe, device: torch.device, begun: str | None = None) -> str:
    """In what a recipe is computed on a device.

    Args:
        recipe: names it, or says "auto".
        device: where.
        begun: the precision of the run that is gone on with; None for a new one.

    Returns:
        "bf16", "fp16" or "fp32". "auto" keeps what the run began with; a new run takes bf16 where the device has
        instructions for it, and fp32 elsewhere.
    """
    if recipe.training.precision != "auto":
        return recipe.training.precision
    if begun is not None:
        return begun
    return "bf16" if computes_bf16(device) else "fp32"


def precision_summary(recipe: Recipe, device: torch.device, precision: str, resumes: bool) -> str:
    """The precision of a run as a person is told it: why it was taken, and whether this machine is slow at it.

    Args:
        recipe: what is trained.
        device: where.
        precision: as `choose_precision` gave it.
        resumes: whether the run is gone on with, and keeps its precision.
    """
    automatic = recipe.training.precision == "auto"
    lacking = f"this {'CPU' if device.type == 'cpu' else 'GPU'} has no instructions for"
    remarks = []
    if automatic:
        remarks.append("as the run began" if resumes else "chosen by training.precision=auto")
    if device.type in ("cpu", "cuda") and not computes_bf16(device):
        if precision == "bf16":
            remarks.append(f"slow: {lacking} it")
            remarks.append("a resumed run keeps it" if resumes else "training.precision=fp32 is several times as fast")
        elif automatic and precision == "fp32" and not resumes:
            remarks.append(f"{lacking} bf16")
    return f"{precision} ({', '.join(remarks)})" if remarks else precision


def check_agreement(precisions: Sequence[str]) -> None:
    """Stop where the processes of a run, each of which chose for its own machine, would compute differently.

    Raises:
        TrainingError: they chose different precisions.
    """
    if len(set(precisions)) > 1:
        raise TrainingError(
            f"the processes of this run chose different precisions ({', '.join(sorted(set(precisions)))}), since their "
            "machines differ; name one with training.precision"
        )


def computes_bf16(device: torch.device) -> bool:
    """Whether a CPU or a CUDA GPU has instructions for bf16; False for other devices, which nothing tells."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_computes_bf16()


def cpu_computes_bf16() -> bool:
    """Whether this CPU has instructions for bf16."""
    # oneDNN, which computes the convolutions, is asked itself; torch has no public name for the question. It says yes
    # as well where it would imitate bf16 with AVX-512, which is slower than fp32: so the processor is asked too.
    supported = torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bool(supported) and "BF16" in instruction_set().split()
