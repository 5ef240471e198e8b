"""Products of 8-bit integers in place of float32 ones: static quantisation, its ranges measured on speech.

The products over frames are quantised, nearly all of the arithmetic: weights to signed 8 bits with a scale for each
channel, activations to unsigned 8 bits with one scale for each tensor, from the lowest and highest value that
calibration met (narrower ranges, from percentiles, were nearer in the middle and far off in the worst case). Sums are
exact 32-bit integers and come out as float32. The front end, the statistics of the pooling and the products that are
made once an utterance stay in float32.

The weights use seven of their bits (-64 to 64), so that one file is right on every processor: where there are no
instructions for such products (VNNI), kernels add two of them in 16 bits, and 2 x 255 x 64 = 32,640 still fits there.
With all eight, the embeddings of the model in the package had a cosine of 0.68 with the right ones on AVX2; with seven
they have 0.9991 everywhere, as they have with eight in a scheme that cannot overflow (unsigned weights).
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from sound_groove.errors import CheckpointError
from sound_groove.export.serving_ecapa import ONCE_AN_UTTERANCE
from sound_groove.telemetry import import_onnxruntime
from sound_groove.types import Samples

if TYPE_CHECKING:
    import onnx

LARGEST_ACTIVATION = 255
SIXTEEN_BITS = 2**15 - 1
ERRORS_ONLY = 3  # of onnxruntime's log levels


def quantised(
    model: "onnx.ModelProto",
    pieces: Sequence[Samples],
    name: str,
    kinds: tuple[str, ...] = ("Gemm",),
    left_out: Collection[str] = (),
) -> "onnx.ModelProto":
    """A graph with its products over frames in 8 bits.

    Args:
        model: the graph, in float32.
        pieces: speech to calibrate on, each (samples,) at 16 kHz, as the encoder would give it to the model.
        name: of the graph's input.
        kinds: of operators that are quantised. What comes out of a convolution is rounded too, as runtimes compute
            these with 8-bit integers from end to end or not at all.
        left_out: names of operators that are not.

    Returns:
        The quantised graph, in the standard's QuantizeLinear and DequantizeLinear, which runtimes fuse.
    """
    import onnx

    onnxruntime = import_onnxruntime()
    # Its sessions while it calibrates take no options of ours, and warn of inputs that have defaults, which ours have.
    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Pieces(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(pieces)

        def get_next(self) -> dict[str, Samples] | None:
            piece = next(self.left, None)
            return None if piece is None else {name: piece[None]}

    model = onnx.ModelProto.FromString(model.SerializeToString())  # what is given to the library is changed by it
    entry = model.metadata_props.add()  # without it a warning is logged, and logging set up for the whole process
    entry.key, entry.value = "onnx.quant.pre_process", "onnxruntime.quant"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        quantize_static(
            model,
            file,
            Pieces(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(kinds),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*_once_an_utterance(model), *left_out],
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": [kind for kind in kinds if kind != "Conv"]},
        )
        result = onnx.load(file)
    del result.metadata_props[:]
    _only_products(result, kinds)
    refuse_overflow(result)
    return result


def refuse_overflow(model: "onnx.ModelProto") -> None:
    """Make sure that no sum of two neighbouring products can leave 16 bits, whatever the activations.

    Raises:
        CheckpointError: one can.
    """
    largest = largest_pair(model)
    if largest > SIXTEEN_BITS:
        raise CheckpointError(
            f"the products of 8-bit integers overflow on processors without instructions for them: two of them can "
            f"reach {largest:,}, and 16 bits hold {SIXTEEN_BITS:,}; nothing was written"
        )


def largest_pair(model: "onnx.ModelProto") -> int:
    """The most that the sum of two neighbouring products of a quantised graph can be.

    Kernels of AVX2, and of AVX-512 without VNNI, add two products of an unsigned and a signed byte in 16 bits, where
    what is too large is cut off (the instruction vpmaddubsw). A product of rows (N, K) with a matrix (K, C) is a sum
    over K, and any two of its terms may be neighbours in a kernel's packing of the matrix. A convolution is such a
    product, of a matrix that is stored the other way round, (C, K).
    """
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    whole = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    largest = 0
    for node in model.graph.node:
        name = whole.get(node.input[1], "") if node.op_type in ("Gemm", "MatMul", "Conv") else ""
        if name in stored:
            weights = np.abs(numpy_helper.to_array(stored[name]).astype(np.int64))
            weights = weights.reshape(len(weights), -1).T if node.op_type == "Conv" else weights  # (K, C)
            weights = np.concatenate((weights, np.zeros_like(weights[:1])))  # a sum of one term has no neighbour
            two = np.sort(weights, axis=0)[-2:].sum(axis=0)  # (C,)
            largest = max(largest, LARGEST_ACTIVATION * int(two.max()))
    return largest


def _once_an_utterance(model: "onnx.ModelProto") -> list[str]:
    """Names of the products that are not over frames."""
    names = []
    for node in model.graph.node:
        if node.op_type == "Gemm" and any(f".{part}." in f".{node.input[1]}" for part in ONCE_AN_UTTERANCE):
            names.append(node.name)
    return names


def _only_products(model: "onnx.ModelProto", kinds: tuple[str, ...]) -> None:
    """Give the quantised values to the products alone.

    The library hands them to everybody who wants the tensor: the residual stream and the statistics of the pooling
    would be rounded too, which was five times the error.
    """
    whole = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    rounded = {
        node.output[0]: whole[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in whole
    }
    for node in model.graph.node:
        if node.op_type not in kinds:
            node.input[:] = [rounded.get(name, name) for name in node.input]
