"""Products of 8-bit integers in place of float32 ones: static quantisation, its ranges measured on speech.

The products over frames are quantised, nearly all of the arithmetic: weights to signed 8 bits with a scale for each
channel, activations to unsigned 8 bits with one scale for each tensor, from the lowest and highest value that
calibration met (narrower ranges, from percentiles, were nearer in the middle and far off in the worst case). Sums are
exact 32-bit integers and come out as float32. The front end, the statistics of the pooling and the products that are
made once an utterance stay in float32.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sound_groove.export.serving_ecapa import ONCE_AN_UTTERANCE
from sound_groove.telemetry import import_onnxruntime
from sound_groove.types import Samples

if TYPE_CHECKING:
    import onnx


def quantised(model: "onnx.ModelProto", pieces: Sequence[Samples], name: str) -> "onnx.ModelProto":
    """A graph with its products over frames in 8 bits.

    Args:
        model: the graph, in float32.
        pieces: speech to calibrate on, each (samples,) at 16 kHz, as the encoder would give it to the model.
        name: of the graph's input.

    Returns:
        The quantised graph, in the standard's QuantizeLinear and DequantizeLinear, which runtimes fuse.
    """
    import onnx

    import_onnxruntime()
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
            op_types_to_quantize=["Gemm"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_once_an_utterance(model),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        result = onnx.load(file)
    del result.metadata_props[:]
    _only_products(result)
    return result


def _once_an_utterance(model: "onnx.ModelProto") -> list[str]:
    """Names of the products that are not over frames."""
    names = []
    for node in model.graph.node:
        if node.op_type == "Gemm" and any(f".{part}." in f".{node.input[1]}" for part in ONCE_AN_UTTERANCE):
            names.append(node.name)
    return names


def _only_products(model: "onnx.ModelProto") -> None:
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
        if node.op_type != "Gemm":
            node.input[:] = [rounded.get(name, name) for name in node.input]
