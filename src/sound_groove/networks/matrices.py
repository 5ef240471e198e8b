"""The matrices of a model file that lie in the ONNX file beside it, so that a package carries them once.

Nearly all of a model are its matrices, and an ONNX file that keeps them in halves, as they were trained, holds the same
numbers as a `.safetensors` file in halves. So of two such files side by side one can do without: `mine.safetensors`
says where in `mine.onnx` each of its matrices lies. That they are the right ones is checked with the file's checksum,
which is one of all tensors.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sound_groove.errors import CheckpointError, printable, require_extra
from sound_groove.json_reading import parse_json

SUFFIX = ".onnx"


@dataclass(frozen=True)
class StoredMatrix:
    """Where a tensor lies in an ONNX file, and how it is turned there.

    Attributes:
        parts: names of what is stored, each (C, C'), one above the other.
        shape: of the tensor when its axes are those of the stored matrix, (C', C), C taken apart.
        axes: the order of these in the tensor.
    """

    parts: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]


def stored_text(matrices: Mapping[str, StoredMatrix]) -> str:
    """What a model file says of its matrices that lie elsewhere, as JSON."""
    return json.dumps({name: asdict(place) for name, place in matrices.items()}, sort_keys=True)


def read_stored(path: Path, text: str) -> dict[str, Tensor]:
    """The matrices that a model file has in the ONNX file beside it.

    Args:
        path: the model file.
        text: what it says of them.

    Raises:
        CheckpointError: the ONNX file is not there or cannot be read, or what is said of it is not true.
        MissingExtraError: the onnx package is not installed.
    """
    require_extra("Training from a model in the package", "train", "onnx")
    from google.protobuf.message import DecodeError
    from onnx import load, numpy_helper

    name, other = printable(str(path)), path.with_suffix(SUFFIX)
    if not other.is_file():
        raise CheckpointError(f"{name}: its matrices are in {other.name}, which must lie beside it")
    try:
        places = _places(parse_json(text))
        wanted = {part for place in places.values() for part in place.parts}
        stored = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in load(str(other)).graph.initializer
            if tensor.name in wanted
        }
        return {
            tensor: torch.from_numpy(
                np.concatenate([stored[part] for part in place.parts])
                .T.reshape(place.shape)
                .transpose(place.axes)
                .copy()
            )
            for tensor, place in places.items()
        }
    except OSError as error:
        raise CheckpointError(f"{printable(str(other))}: cannot be read: {error.strerror or error}") from None
    except (DecodeError, AttributeError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{name}: what lies beside it in {other.name} are not its matrices") from None


def _places(entries: Any) -> dict[str, StoredMatrix]:
    """What `stored_text` has written.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is something else.
    """
    return {
        name: StoredMatrix(
            tuple(map(str, fields["parts"])), tuple(map(int, fields["shape"])), tuple(map(int, fields["axes"]))
        )
        for name, fields in entries.items()
    }
