"""What runs an ONNX file: onnxruntime with the providers that it has, or OpenVINO."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.encoder.onnx_content import read_onnx
from sound_groove.errors import CheckpointError, UsageError, printable, require_extra
from sound_groove.provenance import available_cores
from sound_groove.telemetry import import_onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
ONNXRUNTIME = "onnxruntime"
OPENVINO = "openvino"
OPENVINO_PRECISIONS = {"": "f32", "bf16": "bf16"}  # what may stand behind "openvino:"
DEVICES = (*PROVIDERS, OPENVINO, f"{OPENVINO}:bf16")
COMPLAINT_LENGTH = 200  # characters that are shown of what a runtime says

# An input with a default, 0, which lets the model find the level itself. Only our own files have it.
LEVEL = "recording_level"
# The output (B,) that tells how long each embedding was before it was brought to unit length; of our own files alone.
NORM = "embedding_norm"

Shape = list[int | str | None]


@dataclass(frozen=True)
class OpenedModel:
    """A file that is ready to run.

    Attributes:
        inputs: shape of each input that has no default, by its name; a size that is free is a text or None.
        outputs: names of what it gives.
        takes_level: whether it may also be given levels, as our own files with a floor may (`LEVEL`).
        metadata: what the file says of itself.
        run: gives the outputs for the first input and, where it takes them, the level of each of its rows, 0 for those
            whose level the model is to find; it may be called from several threads at a time.
    """

    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    metadata: Mapping[str, str]
    takes_level: bool
    run: Callable[[NDArray[np.float32], NDArray[np.float32]], list[NDArray[Any]]]


def open_model(path: Path, device: str, threads: int | None) -> OpenedModel:
    """Open an ONNX file.

    Args:
        path: the file.
        device: "cpu", "cuda" or "cuda:1", "tensorrt"; "openvino", or "openvino:bf16" to compute in bfloat16.
        threads: CPU threads for one batch; None takes all cores that this process may use.

    Raises:
        CheckpointError: the file is missing, or cannot be opened.
        UsageError: there is no such device here.
        MissingExtraError: OpenVINO is asked for and not installed.
    """
    kind, _, more = device.partition(":")
    is_known = more in OPENVINO_PRECISIONS if kind == OPENVINO else kind in PROVIDERS and (not more or more.isdecimal())
    if not is_known:
        raise UsageError(f"device '{printable(device)}' is not one for an ONNX model: {', '.join(DEVICES)}")
    if kind == OPENVINO:
        require_extra("The device 'openvino'", "openvino", "openvino")
    if not path.is_file():
        raise CheckpointError(f"{printable(str(path))}: there is no such model file")
    threads = available_cores() if threads is None else threads
    return _in_openvino(path, more, threads) if kind == OPENVINO else _in_onnxruntime(path, kind, more, threads)


def complaint(error: Exception) -> str:
    """What a runtime says, on one line."""
    return " ".join(str(error).split())[:COMPLAINT_LENGTH]


def _in_onnxruntime(path: Path, kind: str, number: str, threads: int) -> OpenedModel:
    onnxruntime = import_onnxruntime()
    provider = PROVIDERS[kind]
    if provider not in onnxruntime.get_available_providers():
        raise UsageError(
            f"device '{kind}' cannot be used: this onnxruntime has no {provider}; it has "
            f"{', '.join(onnxruntime.get_available_providers())}"
        )
    options = onnxruntime.SessionOptions()
    # Fatal ones only: errors come as exceptions, and onnxruntime would write the names in a file to stderr as they are.
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    choice: Any = (provider, {"device_id": number}) if number else provider
    choices = [choice] if kind == "cpu" else [choice, PROVIDERS["cpu"]]  # the last computes what the first cannot
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=choices)
    except Exception as error:  # the library has errors of many kinds, none of them exported
        raise CheckpointError(
            f"{printable(str(path))}: cannot be opened as an ONNX model: {complaint(error)}"
        ) from None
    inputs = {one.name: list(one.shape) for one in session.get_inputs()}
    first = next(iter(inputs), "")
    takes_level = any(one.name == LEVEL for one in session.get_overridable_initializers())

    outputs = tuple(one.name for one in session.get_outputs())

    def run(batch: NDArray[np.float32], levels: NDArray[np.float32]) -> list[NDArray[Any]]:
        found: list[NDArray[Any]] = session.run(None, {first: batch, **({LEVEL: levels} if takes_level else {})})
        return found

    return OpenedModel(inputs, outputs, dict(session.get_modelmeta().custom_metadata_map), takes_level, run)


def _in_openvino(path: Path, precision: str, threads: int) -> OpenedModel:
    import openvino

    content = read_onnx(path)
    try:
        core = openvino.Core()
        model = core.read_model(str(path))
        takes_level = _free_level(model)
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[precision],
                "NUM_STREAMS": 1,
            },
        )
    except Exception as error:
        raise CheckpointError(f"{printable(str(path))}: cannot be opened by OpenVINO: {complaint(error)}") from None
    inputs: dict[str, Shape] = {
        one.any_name: [size.get_length() if size.is_static else None for size in one.partial_shape]
        for one in compiled.inputs
        if not (takes_level and one.any_name == LEVEL)
    }
    requests = threading.local()  # one serves one thread

    outputs = tuple(one.any_name for one in compiled.outputs)

    def run(batch: NDArray[np.float32], levels: NDArray[np.float32]) -> list[NDArray[Any]]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        found = requests.own.infer({0: batch, **({1: levels} if takes_level else {})})
        # the request's own memory, which the next call fills again
        return [found[place].copy() for place in range(len(outputs))]

    return OpenedModel(inputs, outputs, content.metadata, takes_level, run)


def _free_level(model: Any) -> bool:
    """Whether a model that OpenVINO read has a level, which it takes for a constant, and which becomes an input."""
    from openvino import opset13

    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.friendly_name == LEVEL:
            level = opset13.parameter([-1], np.float32, name=LEVEL)
            level.output(0).get_tensor().set_names({LEVEL})
            node.output(0).replace(level.output(0))
            model.add_parameters([level])
            model.validate_nodes_and_infer_types()
            return True
    return False
