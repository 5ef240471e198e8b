"""A model as one ONNX file for sherpa-onnx: its filterbanks in, unit-length embeddings out.

sherpa-onnx (https://github.com/k2-fsa/sherpa-onnx) runs speaker models on phones and computers, from C++, Swift,
Kotlin, Java, JavaScript, Python and more. It computes the features itself; how they differ from ours, and what the file
makes of them, stands in `sherpa_front_end`.

The file is checked before it gets its name: the graph against the network that it was traced from, and its embeddings
of made-up voices, through a likeness of sherpa-onnx's front end, against those of the encoder that serves.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from sound_groove.encoder.encoder import MINIMUM_FRAMES
from sound_groove.errors import CheckpointError, require_extra
from sound_groove.export.parity import demand, worst_cosine
from sound_groove.export.placing import ExportedFile, destination, place
from sound_groove.export.sherpa_front_end import OurFeatures, repeated, sherpa_features
from sound_groove.export.tracing import describe, facts, serialised, trace
from sound_groove.export.waveform_model import WaveformModel
from sound_groove.networks.checkpoint import Checkpoint, load_checkpoint
from sound_groove.networks.hearing import SAMPLES
from sound_groove.telemetry import import_onnxruntime
from sound_groove.types import Embeddings, Samples

INPUT = "features"
# Between the file's embeddings of made-up voices and the checkpoint's: a sound file gave at least 0.98, at 1 s.
LEAST_COSINE = 0.95
CHECKED_S = (1.0, 2.0, 3.7, 10.0, 30.0)  # below 1 s the ends of a recording, which differ, are much of it
LEAST_GRAPH_COSINE = 0.99999  # between the graph and the network that it was traced from
# ONNX's versions of the file's form and of its operators belong together, and old runtimes on phones read this one.
IR_VERSION = 8


class SherpaModel(nn.Module):
    """From sherpa-onnx's features to the unit-length embedding.

    Args:
        checkpoint: the model.

    Raises:
        CheckpointError: its network cannot be built, or hears no features.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.whole = WaveformModel(checkpoint)
        self.feature_size = self.whole.feature_size
        if self.feature_size == SAMPLES:
            raise CheckpointError(
                f"{checkpoint.path}: hears the samples themselves, and sherpa-onnx gives features; take --format onnx"
            )
        self.our_features = OurFeatures(self.feature_size)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F), at least 3 frames, as sherpa-onnx gives them -> (B, D) of unit length."""
        features = repeated(self.our_features(features), MINIMUM_FRAMES)  # (B, T', F)
        return self.whole.embedding(self.whole.normalization(features))


def export_sherpa(model: str | Path, out: str | Path | None = None, force: bool = False) -> ExportedFile:
    """Write a model as one ONNX file for sherpa-onnx's `SpeakerEmbeddingExtractor`.

    Args:
        model: a model file or run folder.
        out: the file to write; beside the model, with the suffix .sherpa.onnx, when None.
        force: replace a file that is there.

    Raises:
        MissingExtraError: something that exporting needs is not installed. sherpa-onnx itself is not needed.
        CheckpointError: the model cannot be used, or the file disagrees with it.
        OutputError: the file is there already, or cannot be written.
    """
    require_extra("Exporting", "train", "torch", "onnx", "onnxscript", "onnxruntime")
    checkpoint = load_checkpoint(model)
    path = destination(checkpoint, out, ".sherpa.onnx", force)
    module = SherpaModel(checkpoint).eval()
    proto = trace(module, torch.zeros(2, 250, module.feature_size), INPUT, ("batch", "frames"))
    proto.ir_version = IR_VERSION
    describe(proto, facts(checkpoint) | sherpa_entries(checkpoint))
    content = serialised(proto)
    worst = _checked(content, module, checkpoint)
    return place(path, content, checkpoint.identity, int(checkpoint.header.network["embedding_size"]), worst, CHECKED_S)


def sherpa_entries(checkpoint: Checkpoint) -> dict[str, object]:
    """What sherpa-onnx reads in a file, and stops the whole program where it is missing.

    `sample_rate`, which it reads too, is among the facts of every exported graph.
    """
    return {
        "framework": "wespeaker",  # of those that it knows, the one whose features come in the scale of 16 bits
        "language": "any",  # it asks for a word and does nothing with it
        "output_dim": checkpoint.header.network["embedding_size"],
        "normalize_samples": 0,  # samples in the scale of 16 bits
        "feature_normalize_type": "",  # the mean is removed in the graph, after the repetition
    }


def _checked(content: bytes, module: SherpaModel, checkpoint: Checkpoint) -> float:
    """The lowest cosine with the encoder's embeddings.

    Raises:
        CheckpointError: it is too low, or the graph is not the network that it was traced from.
    """
    session = import_onnxruntime().InferenceSession(content, providers=["CPUExecutionProvider"])
    of_graph = [1.0]

    def embed(waveforms: Samples) -> Embeddings:
        with torch.inference_mode():
            features = sherpa_features(torch.from_numpy(waveforms))
            expected = module(features).numpy()
        found: Embeddings = session.run(None, {INPUT: features.numpy()})[0]
        of_graph.append(float((found * expected).sum(axis=1).min()))
        return found

    worst = worst_cosine(checkpoint.path, embed, CHECKED_S, repeat=False)
    demand(checkpoint.path, min(of_graph), LEAST_GRAPH_COSINE)
    demand(checkpoint.path, worst, LEAST_COSINE)
    return worst
