"""In how many bits an exported model keeps its weights, and how near to the checkpoint each must come."""

from typing import TYPE_CHECKING, Literal

import numpy as np

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
# The front end stays exact: a quiet band beside a loud tone is 100 dB down.
_FRONT_END = "front_end."


def store_in_halves(model: "onnx.ModelProto") -> None:
    """Keep the network's matrices as float16 in the file; a runtime makes them float32 again when it loads it.

    The computation is that of float32, with weights of 11 significant bits. Nothing is lost in speed: the casts have
    constant inputs, and are done once.

    Args:
        model: the graph, which is changed.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        is_matrix = tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALLEST_MATRIX
        if not is_matrix or tensor.name.startswith(_FRONT_END):
            continue
        name, stored = tensor.name, f"{tensor.name}.float16"
        values = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, stored))
        casts.append(helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
