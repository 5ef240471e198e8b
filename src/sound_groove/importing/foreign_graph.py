"""A foreign ONNX graph: read, brought to our version of the operators, and joined with a front end."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sound_groove.audio.front_end import FrontEnd
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.encoder.foreign_files import ForeignFile
from sound_groove.encoder.runtimes import NORM, complaint
from sound_groove.errors import CheckpointError, printable
from sound_groove.export.operators import operators_of, with_operators
from sound_groove.export.tracing import OPSET, OUTPUT, trace
from sound_groove.networks.front_ends import NemoFeatures, build_front_end
from sound_groove.telemetry import import_onnxruntime

if TYPE_CHECKING:
    import onnx

INPUT = "waveform"
FRONT_END, NETWORK = "front_end.", "network."  # in front of the names of each part
_FEATURES, _LENGTHS = "features", "lengths"
_LEAST_NORM = 1e-12
_EXAMPLE_SAMPLES = 2 * SAMPLE_RATE


class Feeding(nn.Module):
    """From waveforms to what a foreign network takes: its features, as they are to lie, and their lengths.

    Args:
        front_end: how it is fed.
        file: what it takes.
        lengths_are_shares: whether it takes lengths as shares of the longest row, and not in frames or samples.
    """

    def __init__(self, front_end: FrontEnd, file: ForeignFile, lengths_are_shares: bool = False) -> None:
        super().__init__()
        self.layout = file.layout
        self.samples = file.samples
        self.scale = front_end.scale
        self.gives_lengths = file.lengths is not None
        self.lengths_are_shares = lengths_are_shares
        self.front_end = None if file.takes_waveforms else build_front_end(front_end)

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """(B, samples) at 16 kHz in [-1, 1] -> what it takes, and (B,) the lengths where it takes them."""
        if self.front_end is None:
            given = waveform if self.scale == 1.0 else self.scale * waveform
            if self.samples is not None:  # repeated, or its beginning
                there = torch.ones_like(
                    waveform[0], dtype=torch.int64
                ).sum()  # not a size: exporters divide by no sizes
                given = given[:, torch.remainder(torch.arange(self.samples), there)]
            lengths = given.shape[1]
            given = given.unsqueeze(1) if self.layout == "(B, 1, samples)" else given
        else:
            given = self.front_end(waveform)  # (B, T, F)
            lengths = given.shape[1]
            given = given if self.layout == "(B, T, F)" else given.transpose(1, 2)
            given = given.unsqueeze(1) if self.layout == "(B, 1, F, T)" else given
        if not self.gives_lengths:
            return (given,)
        if self.lengths_are_shares:
            return given, torch.ones_like(waveform[:, 0])
        if isinstance(self.front_end, NemoFeatures):
            return given, self.front_end.lengths(waveform)
        return given, lengths * torch.ones_like(waveform[:, 0], dtype=torch.int64)


class ForeignGraph:
    """A graph of others that can be run on features and joined with a front end.

    Attributes:
        proto: the graph, in our version of the operators or a later one.

    Args:
        path: of the file.
        file: what it takes.

    Raises:
        CheckpointError: it cannot be read, keeps its weights in other files, or cannot be brought to our version.
    """

    def __init__(self, path: Path, file: ForeignFile) -> None:
        self._name = printable(str(path))
        self._file = file
        self.proto = _modern(self._name, _read(self._name, path))
        (self._lengths_type,) = [
            one.type.tensor_type.elem_type for one in self.proto.graph.input if one.name == file.lengths
        ] or [0]
        self._session: Any = None

    @property
    def _lengths_are_shares(self) -> bool:
        return bool(self._lengths_type == 1)  # float32, as SpeechBrain has them

    def feeding(self, front_end: FrontEnd) -> Feeding:
        """What feeds it."""
        return Feeding(front_end, self._file, self._lengths_are_shares).eval()

    def run(self, given: Sequence[Tensor]) -> Tensor:
        """(B, D), not normalised, of what `feeding` gives.

        Raises:
            CheckpointError: the graph fails.
        """
        try:
            if self._session is None:
                self._session = _session(self.proto.SerializeToString())
            names = [name for name in (self._file.input, self._file.lengths) if name is not None]
            count = len(given[0])
            rows = self._file.largest_batch or count
            places = torch.arange(-(-count // rows) * rows) % count  # what is more than there are is any of them
            parts = [
                self._session.run(
                    [self._file.output],
                    {name: one[batch].numpy() for name, one in zip(names, given, strict=True)},
                )[0]
                for batch in torch.split(places, rows)
            ]
        except Exception as error:  # the library has errors of many kinds, none of them exported
            raise CheckpointError(f"{self._name}: fails on speech: {complaint(error)}") from None
        found = np.concatenate([np.asarray(part, np.float32).reshape(-1, part.shape[-1]) for part in parts])
        return torch.from_numpy(found[:count])

    def joined(self, front_end: FrontEnd, tells_norm: bool) -> "onnx.ModelProto":
        """One graph from the waveform to the unit embedding (B, D) and, where that says something, its norm (B,).

        Raises:
            CheckpointError: the two do not fit together.
        """
        import onnx

        outputs = (_FEATURES, _LENGTHS) if self._file.lengths else (_FEATURES,)
        waveform = torch.zeros(2, _EXAMPLE_SAMPLES)
        front = trace(self.feeding(front_end), waveform, INPUT, ("batch", "samples"), outputs=outputs)
        front = with_operators(front, operators_of(self.proto), self._name)
        network = onnx.ModelProto.FromString(self.proto.SerializeToString())
        front.ir_version = network.ir_version = max(front.ir_version, network.ir_version)
        names = {_FEATURES: self._file.input, _LENGTHS: self._file.lengths}
        try:
            proto = onnx.compose.merge_models(
                onnx.compose.add_prefix(front, FRONT_END, rename_inputs=False, rename_outputs=False),
                onnx.compose.add_prefix(network, NETWORK, rename_inputs=True, rename_outputs=True),
                io_map=[(name, f"{NETWORK}{names[name]}") for name in outputs],
                outputs=[f"{NETWORK}{self._file.output}"],
            )
        except (ValueError, onnx.checker.ValidationError) as error:
            raise CheckpointError(f"{self._name}: cannot be joined with a front end: {complaint(error)}") from None
        _end_in_unit_length(proto, f"{NETWORK}{self._file.output}", tells_norm)
        batch = self._file.largest_batch
        for value in (proto.graph.input[0], *proto.graph.output):
            first = value.type.tensor_type.shape.dim[0]
            first.Clear()
            if batch is None:
                first.dim_param = "batch"
            else:
                first.dim_value = batch
        return proto


def _read(name: str, path: Path) -> "onnx.ModelProto":
    """A graph with nothing of the machine that wrote it: no paths in texts, no shapes of what lies between.

    Raises:
        CheckpointError: it cannot be read, or keeps its weights in other files.
    """
    import onnx

    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's errors are not exported
        raise CheckpointError(f"{name}: is damaged, truncated or not an ONNX file: {complaint(error)}") from None
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise CheckpointError(f"{name}: keeps its weights in other files; bring them into one file with onnx.save")
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [one for one in proto.graph.input if one.name not in stored]  # old files list their weights here too
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    del proto.graph.value_info[:], proto.metadata_props[:], proto.graph.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    proto.graph.ClearField("doc_string")
    proto.ClearField("doc_string")
    return proto


def _modern(name: str, proto: "onnx.ModelProto") -> "onnx.ModelProto":
    return with_operators(proto, max(OPSET, operators_of(proto)), name)


def _end_in_unit_length(proto: "onnx.ModelProto", embedding: str, tells_norm: bool) -> None:
    """Let a graph end in the embedding as one row, of unit length, and how long it was before."""
    from onnx import TensorProto, helper, numpy_helper

    proto.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([1], np.int64), "unit.axis"),
            numpy_helper.from_array(np.array(_LEAST_NORM, np.float32), "unit.least"),
        ]
    )
    proto.graph.node.extend(
        [
            helper.make_node("Flatten", [embedding], ["unit.row"], name="unit.flatten", axis=1),
            helper.make_node("ReduceL2", ["unit.row", "unit.axis"], ["unit.norm"], name="unit.norm", keepdims=1),
            helper.make_node("Max", ["unit.norm", "unit.least"], ["unit.divisor"], name="unit.max"),
            helper.make_node("Div", ["unit.row", "unit.divisor"], [OUTPUT], name="unit.divide"),
        ]
    )
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", None]))
    if tells_norm:
        proto.graph.node.append(helper.make_node("Squeeze", ["unit.norm", "unit.axis"], [NORM], name="unit.squeeze"))
        proto.graph.output.append(helper.make_tensor_value_info(NORM, TensorProto.FLOAT, ["batch"]))


def _session(content: bytes) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = max(1, torch.get_num_threads())
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
