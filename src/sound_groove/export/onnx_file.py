"""A model as one ONNX file: waveforms in, unit-length embeddings out, for any ONNX runtime.

The file is compared with the checkpoint before it gets its name: made-up voices from 0.3 to 60 s, and recordings where
they are given, go through it and through the encoder that serves. Where the embeddings differ, there is no file.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.encoder.runtimes import NORM
from sound_groove.errors import CheckpointError, UsageError, require_extra
from sound_groove.export.folded_fbank import FoldedFbank
from sound_groove.export.parity import (
    CHECKED_S,
    SHORTEST_SAMPLES,
    agreement,
    demand,
    demand_norm,
)
from sound_groove.export.placing import ExportedFile, destination, place
from sound_groove.export.precision import LEAST_COSINE, LEAST_PROBE_COSINE, MOST_LOG_NORM, Precision, store_in_halves
from sound_groove.export.serving_ecapa import ServingEcapa, folded, is_served
from sound_groove.export.speech import draw_pieces
from sound_groove.export.tracing import OUTPUT, carry_probe, describe, facts, serialised, trace
from sound_groove.export.waveform_model import TellingModel
from sound_groove.networks.checkpoint import Checkpoint, load_checkpoint, restore_network
from sound_groove.networks.features import KaldiFbank
from sound_groove.networks.probe import probe_signal
from sound_groove.telemetry import import_onnxruntime
from sound_groove.types import Embeddings, Samples

if TYPE_CHECKING:
    import onnx

INPUT = "waveform"
CALIBRATION_RECORDINGS = 200
CHECKED_RECORDINGS = 50
LARGEST_BYTES = 2**31 - 1  # of a message of protobuf, which an ONNX file is
_CHECK_SEED = 1  # other recordings than those of the calibration, where there are enough


def export_onnx(
    model: str | Path,
    out: str | Path | None = None,
    force: bool = False,
    precision: Precision = "fp32",
    calibrate_on: str | Path | None = None,
    check_on: str | Path | None = None,
    data: str | None = None,
    licence: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
    name: str | None = None,
) -> ExportedFile:
    """Write a model as one ONNX file.

    Its input is `waveform` (B, samples); its outputs are `embedding` (B, D), of unit length, and `embedding_norm` (B,),
    how long each was before. B and the number of samples are free.

    Args:
        model: a model file or run folder.
        out: the file to write; beside the model, with the suffix .onnx, when None.
        force: replace a file that is there.
        precision: fp32; fp16, which stores the weights in half the size and computes as fp32; or int8, which computes
            the products over frames with 8-bit integers.
        calibrate_on: a folder of speech, or a list with one path a line: int8 needs to see what values occur.
        check_on: the same, to compare file and checkpoint on; `calibrate_on` when None.
        data: what the model was trained on, in words, where its recipe does not say it.
        licence: of these data.
        tell: is told what is done next, in a line.
        name: what the model is called in the file; as it is called where it comes from, when None.

    Raises:
        MissingExtraError: something that exporting needs is not installed.
        CheckpointError: the model cannot be used, or the file disagrees with it.
        OutputError: the file is there already, or cannot be written.
        UsageError: int8 without speech to calibrate on, such speech without int8, or too few recordings in it.
        CorpusError: a list of recordings cannot be read.
    """
    require_extra("Exporting", "train", "torch", "onnx", "onnxscript", "onnxruntime")
    if precision == "int8" and calibrate_on is None:
        raise UsageError("int8 needs speech to calibrate on; name a folder or a list of recordings with --calibrate-on")
    if precision != "int8" and calibrate_on is not None:
        raise UsageError(f"--calibrate-on belongs to int8, not to {precision}; --check-on compares on speech")
    checkpoint = load_checkpoint(model)
    if name is not None:
        checkpoint = replace(checkpoint, header=replace(checkpoint.header, name=name))
    path = destination(checkpoint, out, ".onnx", force)
    spoken = check_on or calibrate_on
    recordings = [] if spoken is None else draw_pieces(spoken, CHECKED_RECORDINGS, _CHECK_SEED)
    tell("tracing the network ...")
    proto = _trace(checkpoint)
    if precision == "fp16":
        store_in_halves(proto, folded_matrices(checkpoint))
    _refuse_beyond_limit(checkpoint, proto)
    calibration = [] if calibrate_on is None else draw_pieces(calibrate_on, CALIBRATION_RECORDINGS)
    if precision == "int8":
        from sound_groove.export.quantization import quantised

        tell(f"calibrating on {len(calibration)} recordings ...")
        proto = quantised(proto, calibration, INPUT)
    describe(
        proto,
        {
            **facts(checkpoint, data, licence),
            "precision": precision,
            "shortest_samples": SHORTEST_SAMPLES,
            "judged_s": f"{min(CHECKED_S):g}-{max(CHECKED_S):g}",
            "judged_recordings": len(recordings),
            "calibration_recordings": len(calibration),
        },
    )
    content = proto.SerializeToString()
    compute = running_with_norms(content)
    tell(comparing(recordings))
    agreed = agreement(checkpoint.path, compute, recordings)
    demand(checkpoint.path, agreed.worst_cosine, LEAST_COSINE[precision])
    demand_norm(checkpoint.path, agreed.furthest_norm, MOST_LOG_NORM[precision])
    carry_probe(proto, compute(probe_signal()[None])[0][0], LEAST_PROBE_COSINE[precision])
    return place(
        path,
        serialised(proto),
        checkpoint.identity,
        int(checkpoint.header.network["embedding_size"]),
        agreed.worst_cosine,
        CHECKED_S,
    )


def _refuse_beyond_limit(checkpoint: Checkpoint, proto: "onnx.ModelProto") -> None:
    """An ONNX file is one message of protobuf, which cannot be longer than 2 GiB.

    Raises:
        CheckpointError: the weights alone are.
    """
    size = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    if size > LARGEST_BYTES:
        raise CheckpointError(
            f"{checkpoint.path}: its weights take {size / 1e9:.1f} GB, and an ONNX file holds no more than "
            f"{LARGEST_BYTES / 1e9:.1f}; take --precision fp16, or --format safetensors"
        )


def serving_module(checkpoint: Checkpoint) -> nn.Module:
    """What is traced: equal to `TellingModel` to rounding, and faster in a runtime on a CPU.

    Raises:
        CheckpointError: the network cannot be built.
    """
    module = TellingModel(checkpoint)
    if isinstance(module.front_end, KaldiFbank):
        module.add_module("front_end", FoldedFbank(module.feature_size))
    if is_served(module.network):
        module.add_module("network", ServingEcapa(module.network))
    return module.eval()


def folded_matrices(checkpoint: Checkpoint) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The matrices of the traced network into which a normalisation went, by name: as trained, and the scale."""
    if checkpoint.configuration.kind != "ecapa_tdnn":  # of which some take gigabytes to build
        return {}
    network = restore_network(checkpoint)
    if not is_served(network):
        return {}
    return {f"network.{name}": (found.matrix.numpy(), found.scale.numpy()) for name, found in folded(network).items()}


def _trace(checkpoint: Checkpoint) -> "onnx.ModelProto":
    waveform = torch.zeros(2, 2 * SAMPLE_RATE)
    has_level, outputs = checkpoint.floor_db is not None, (OUTPUT, NORM)
    return trace(serving_module(checkpoint), waveform, INPUT, ("batch", "samples"), has_level, outputs)


def comparing(recordings: Sequence[Samples]) -> str:
    """What is said before a file is compared with its model."""
    besides = f" and {len(recordings)} recordings" if recordings else ""
    return f"comparing with the model, on made-up voices of {CHECKED_S[0]:g} to {CHECKED_S[-1]:g} s{besides} ..."


def running(content: bytes) -> Callable[[Samples], Embeddings]:
    """A graph in onnxruntime: (B, samples) -> embeddings (B, D)."""
    compute = running_with_norms(content)
    return lambda waveforms: compute(waveforms)[0]


def running_with_norms(content: bytes) -> Callable[[Samples], tuple[Embeddings, NDArray[np.float32] | None]]:
    """A graph in onnxruntime: (B, samples) -> embeddings (B, D), and how long they were (B,) where it tells that.

    It computes in batches as large as it is made for.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # without the warning that a level has a default
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    first = session.get_inputs()[0].shape[0]
    outputs = [name for name in (OUTPUT, NORM) if name in {output.name for output in session.get_outputs()}]

    def compute(waveforms: Samples) -> tuple[Embeddings, NDArray[np.float32] | None]:
        rows = first if isinstance(first, int) else len(waveforms)
        spare = np.repeat(waveforms[:1], -len(waveforms) % rows, axis=0)
        whole = np.concatenate((waveforms, spare)) if len(spare) else waveforms
        parts = [session.run(outputs, {INPUT: whole[at : at + rows]}) for at in range(0, len(whole), rows)]
        unit, *norms = [np.concatenate(of_all)[: len(waveforms)] for of_all in zip(*parts, strict=True)]
        return unit, norms[0] if norms else None

    return compute
