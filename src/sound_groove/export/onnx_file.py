"""A model as one ONNX file: waveforms in, unit-length embeddings out, for any ONNX runtime.

The file is compared with the checkpoint before it gets its name: made-up voices from 0.3 to 60 s go through it and
through the encoder that serves, and embeddings that differ mean that there is no file.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sound_groove.audio import SAMPLE_RATE
from sound_groove.checkpoint import Checkpoint, load_checkpoint
from sound_groove.errors import require_extra
from sound_groove.export.parity import CHECKED_S, SHORTEST_SAMPLES, demand, worst_cosine
from sound_groove.export.placing import ExportedFile, destination, place
from sound_groove.export.tracing import describe, facts, trace
from sound_groove.export.waveform_model import WaveformModel
from sound_groove.types import Embeddings, Samples

if TYPE_CHECKING:
    import onnx

INPUT = "waveform"
LEAST_COSINE = 0.99999  # between the file's embedding and the checkpoint's


def export_onnx(model: str | Path, out: str | Path | None = None, force: bool = False) -> ExportedFile:
    """Write a model as one ONNX file: input `waveform` (B, samples), output `embedding` (B, D), dynamic in both.

    Args:
        model: a model file or run folder.
        out: the file to write; beside the model, with the suffix .onnx, when None.
        force: replace a file that is there.

    Raises:
        MissingExtraError: something that exporting needs is not installed.
        CheckpointError: the model cannot be used, or the file disagrees with it.
        OutputError: the file is there already, or cannot be written.
    """
    require_extra("Exporting", "train", "torch", "onnx", "onnxscript", "onnxruntime")
    checkpoint = load_checkpoint(model)
    path = destination(checkpoint, out, ".onnx", force)
    proto = _trace(checkpoint)
    describe(proto, {**facts(checkpoint), "shortest_samples": SHORTEST_SAMPLES})
    content = proto.SerializeToString()
    worst = _worst_cosine(content, checkpoint)
    demand(checkpoint, worst, LEAST_COSINE)
    return place(path, content, checkpoint, worst, CHECKED_S)


def _trace(checkpoint: Checkpoint) -> "onnx.ModelProto":
    waveform = torch.zeros(2, 2 * SAMPLE_RATE)
    return trace(WaveformModel(checkpoint).eval(), waveform, INPUT, ("batch", "samples"))


def _worst_cosine(content: bytes, checkpoint: Checkpoint) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def embed(waveforms: Samples) -> Embeddings:
        found: Embeddings = session.run(None, {INPUT: waveforms})[0]
        return found

    return worst_cosine(checkpoint, embed)
