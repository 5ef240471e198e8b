"""Small ONNX files as others publish them, whose embedding shows what they were given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = {"(B, T, F)": 3, "(B, F, T)": 3, "(B, 1, F, T)": 4}


def write_foreign(
    path: Path,
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    time_axis: int,
    kinds: Mapping[str, int] | None = None,
    opset: int = 11,
    **metadata: str,
) -> Path:
    """A model whose last output is the mean over time of the squares of its first input, and less for other lengths.

    Args:
        path: of the file.
        inputs: shape of what it takes, by name; a second one is lengths, which enter by their mean.
        outputs: shape of what it gives, by name; of two, the first is the mean itself, as logits are.
        time_axis: of the first input.
        kinds: types of inputs that are not float32.
        opset: version of the operators.
        metadata: what it says of itself.
    """
    first, *lengths = inputs
    embedding = list(outputs)[-1]
    rank, axis = len(inputs[first]), time_axis
    nodes = [helper.make_node("Mul", [first, first], ["power"])]
    if rank == 2:  # waveforms: eight values a row
        nodes += [
            helper.make_node("Reshape", ["power", "columns"], ["table"]),
            helper.make_node("ReduceMean", ["table"], ["mean"], axes=[1], keepdims=0),
        ]
    else:
        nodes.append(helper.make_node("ReduceMean", ["power"], ["mean"], axes=[axis], keepdims=0))
    last = "mean"
    if lengths:
        nodes += [
            helper.make_node("Cast", [lengths[0]], ["count"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["count"], ["column"], axes=[1]),
            helper.make_node("Div", ["mean", "column"], ["scaled"]),
            helper.make_node("Concat", ["scaled", "column"], ["both"], axis=1),
        ]
        last = "both"
    shape = [0, 1, -1] if len(outputs[embedding]) == 3 else [0, -1]
    nodes.append(helper.make_node("Reshape", [last, "shape"], [embedding]))
    if len(outputs) == 2:
        nodes.append(helper.make_node("Identity", ["mean"], [next(iter(outputs))]))
    stored = [numpy_helper.from_array(np.array(shape, np.int64), "shape")]
    if rank == 2:
        stored.append(numpy_helper.from_array(np.array([0, -1, 8], np.int64), "columns"))
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(n, (kinds or {}).get(n, TensorProto.FLOAT), s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
