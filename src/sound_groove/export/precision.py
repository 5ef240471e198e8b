"""In how many bits an exported model keeps its weights, and how near to the checkpoint each must come."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Precision = Literal["fp32", "fp16", "int8"]
# Lowest cosine that is allowed between the file's embedding and the checkpoint's.
LEAST_COSINE: dict[Precision, float] = {"fp32": 0.99999, "fp16": 0.9999, "int8": 0.995}

# Most that the logarithm of an embedding's length may differ from the checkpoint's. Score maps go by it: a tenth moves
# an llr of the model in the package by 0.3 at most.
MOST_LOG_NORM: dict[Precision, float] = {"fp32": 0.001, "fp16": 0.01, "int8": 0.1}

# The same between the embeddings of the probe where the file is used and where it was written. In floating point the
# runtimes agree to a millionth (onnxruntime, OpenVINO, torch); in int8 a value that is rounded the other way moves the
# embedding (0.99998 in OpenVINO).
LEAST_PROBE_COSINE: dict[Precision, float] = {"fp32": 0.9999, "fp16": 0.9999, "int8": 0.999}

SMALLEST_MATRIX = 4096  # values; smaller tensors would save nothing
HALF = ".float16"  # behind the name of a matrix that is kept so
# The front end stays exact: a quiet band beside a loud tone is 100 dB down.
_FRONT_END = "front_end."


def store_in_halves(
    model: "onnx.ModelProto", folded: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]] | None = None
) -> None:
    """Keep the network's matrices as float16 in the file; a runtime makes them float32 again when it loads it.

    The computation is that of float32, with weights of 11 significant bits. Nothing is lost in speed: the casts have
    constant inputs, and are done once.

    Args:
        model: the graph, which is changed.
        folded: by name, what a matrix of the graph is the product of: the matrix that was trained, and a scale. It is
            the former that is kept, so that halves of it are those that a checkpoint in halves has.
    """
    from onnx import TensorProto, helper, numpy_helper

    folded = folded or {}
    unfolding, stored = [], []
    for tensor in model.graph.initializer:
        is_matrix = tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALLEST_MATRIX
        if not is_matrix or tensor.name.startswith(_FRONT_END):
            continue
        name, half = tensor.name, f"{tensor.name}{HALF}"
        matrix, scale = folded.get(name, (numpy_helper.to_array(tensor), None))
        tensor.CopyFrom(numpy_helper.from_array(matrix.astype(np.float16), half))
        whole = name if scale is None else f"{name}.trained"
        unfolding.append(helper.make_node("Cast", [half], [whole], name=f"{name}.cast", to=TensorProto.FLOAT))
        if scale is not None:
            stored.append(numpy_helper.from_array(scale, f"{name}.scale"))
            unfolding.append(helper.make_node("Mul", [whole, f"{name}.scale"], [name], name=f"{name}.scaled"))
    model.graph.initializer.extend(stored)
    nodes = [*unfolding, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
