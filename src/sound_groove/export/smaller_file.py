"""An ONNX file of ours in fewer bits: for a model that was imported, and has no checkpoint to be exported from.

Weights in halves, or products of 8-bit integers: those of all convolutions and matrices of the network with stored
weights, but for the front end and the last one, which makes the embedding.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.onnx_content import read_onnx
from sound_groove.encoder.onnx_model import PROBE_KEY, is_own_file
from sound_groove.errors import CheckpointError, UsageError, printable, require_extra
from sound_groove.export.onnx_file import (
    CALIBRATION_RECORDINGS,
    CHECKED_RECORDINGS,
    INPUT,
    comparing,
    running_with_norms,
)
from sound_groove.export.parity import CHECKED_S, agreement, demand, demand_norm
from sound_groove.export.placing import ExportedFile, check_free, place
from sound_groove.export.precision import LEAST_COSINE, LEAST_PROBE_COSINE, MOST_LOG_NORM, Precision, store_in_halves
from sound_groove.export.quantization import quantised
from sound_groove.export.speech import draw_pieces
from sound_groove.export.tracing import OUTPUT, carry_probe, describe, serialised
from sound_groove.networks.probe import probe_signal
from sound_groove.pretrained import model_path

if TYPE_CHECKING:
    import onnx

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_FRONT_END = "front_end."
_CHECK_SEED = 1  # other recordings than those of the calibration, where there are enough


def export_smaller(
    model: str | Path,
    out: str | Path | None,
    force: bool = False,
    precision: Precision = "fp32",
    calibrate_on: str | Path | None = None,
    check_on: str | Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> ExportedFile:
    """Write an ONNX file of ours in fewer bits.

    Args:
        model: the file, in fp32.
        out: the file to write; it must be named.
        force: replace a file that is there.
        precision: fp16 or int8.
        calibrate_on: a folder of speech, or a list with one path a line: int8 needs to see what values occur.
        check_on: the same, to compare the two files on; `calibrate_on` when None.
        tell: is told what is done next, in a line.

    Raises:
        CheckpointError: the file is none of ours, or in fewer bits already, or what is written disagrees with it.
        OutputError: the file is there already, or cannot be written.
        UsageError: no file to write is named, the precision is fp32, or int8 without speech.
        MissingExtraError: something that exporting needs is not installed.
    """
    require_extra("Exporting", "train", "torch", "onnx", "onnxruntime")
    import onnx

    model = model_path(model)
    name = printable(str(model))
    metadata = read_onnx(model).metadata
    if not is_own_file(metadata):
        raise CheckpointError(f"{name}: is no model of ours; 'sound-groove import' makes one of it")
    if metadata.get("precision", "fp32") != "fp32":
        raise CheckpointError(f"{name}: is in {metadata['precision']} already; name the file that it was made from")
    if precision == "fp32" or out is None:
        raise UsageError(f"{name}: is in ONNX already; fewer bits are made with --precision fp16 or int8, and --out")
    if (precision == "int8") != (calibrate_on is not None):
        raise UsageError("--precision int8 needs speech to calibrate on, and nothing else does: --calibrate-on")
    out = Path(out)
    check_free(out, force)
    spoken = check_on or calibrate_on
    recordings = [] if spoken is None else draw_pieces(spoken, CHECKED_RECORDINGS, _CHECK_SEED)
    proto = onnx.load(str(model))
    calibration = [] if calibrate_on is None else draw_pieces(calibrate_on, CALIBRATION_RECORDINGS)
    said = {entry.key: entry.value for entry in proto.metadata_props if entry.key != PROBE_KEY}
    if precision == "fp16":
        store_in_halves(proto)
    else:
        tell(f"calibrating on {len(calibration)} recordings ...")
        proto = quantised(proto, calibration, INPUT, _PRODUCTS, _left_out(proto))
    del proto.metadata_props[:]
    seen = {"judged_recordings": len(recordings), "calibration_recordings": len(calibration)}
    describe(proto, {**said, "precision": precision, **seen})
    content = proto.SerializeToString()
    compute = running_with_norms(content)
    tell(comparing(recordings))
    agreed = agreement(model, compute, recordings)
    demand(model, agreed.worst_cosine, LEAST_COSINE[precision])
    demand_norm(model, agreed.furthest_norm, MOST_LOG_NORM[precision])
    carry_probe(proto, compute(probe_signal()[None])[0][0], LEAST_PROBE_COSINE[precision])
    encoder = SpeakerEncoder.load(model)
    return place(out, serialised(proto), encoder.identity, encoder.embedding_size, agreed.worst_cosine, CHECKED_S)


def _left_out(proto: "onnx.ModelProto") -> list[str]:
    """Names of the products that stay as they are, every node of the graph having a name afterwards."""
    stored = {tensor.name for tensor in proto.graph.initializer}
    makers = {output: node for node in proto.graph.node for output in node.output}
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}.{number}"
    last, waiting = "", [OUTPUT]
    while waiting and not last:  # backwards from the embedding, breadth first
        node = makers.get(waiting.pop(0))
        if node is not None:
            last = node.name if node.op_type in _PRODUCTS else ""
            waiting += node.input
    return [
        node.name
        for node in proto.graph.node
        if node.op_type in _PRODUCTS
        and (node.name == last or node.input[1] not in stored or node.input[1].startswith(_FRONT_END))
    ]
