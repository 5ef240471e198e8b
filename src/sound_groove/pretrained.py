"""The model that the package carries, under the name `pretrained`.

It is there twice: as `pretrained.onnx`, which numpy and onnxruntime suffice for, and as `pretrained.safetensors`, from
which training can start. Both have the same weights, the same hash and the same calibration; MODEL_CARD.md beside them
says what they were trained on and what they are worth.
"""

import os
from pathlib import Path

PRETRAINED = "pretrained"
WEIGHTS = Path(__file__).parent / "weights"
MODEL_CARD = WEIGHTS / "MODEL_CARD.md"


def model_path(model: str | os.PathLike[str], suffix: str = ".onnx") -> Path:
    """The file or folder that a model's name or path means.

    Args:
        model: the name `pretrained`, or a path. A file or folder of that name is reached as `./pretrained`.
        suffix: of the file that the name stands for.

    >>> model_path("best.onnx").name, model_path("pretrained").name, model_path("pretrained", ".safetensors").name
    ('best.onnx', 'pretrained.onnx', 'pretrained.safetensors')
    """
    return WEIGHTS / f"{PRETRAINED}{suffix}" if os.fspath(model) == PRETRAINED else Path(model)


def is_packaged(path: Path) -> bool:
    """Whether a file is one that the package carries, which nothing may be written to or beside."""
    return path.absolute().parent == WEIGHTS.absolute()
