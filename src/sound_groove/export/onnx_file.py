"""A model as one ONNX file: waveforms in, unit-length embeddings out, for any ONNX runtime.

The file is compared with the checkpoint before it gets its name: made-up voices from 0.3 to 60 s go through it and
through the encoder that serves, and embeddings that differ mean that there is no file.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sound_groove import __version__
from sound_groove.audio import SAMPLE_RATE
from sound_groove.checkpoint import Checkpoint, load_checkpoint
from sound_groove.data.synthesis import made_up_speaker, speak
from sound_groove.encoder import MINIMUM_FRAMES, SpeakerEncoder
from sound_groove.errors import CheckpointError, OutputError, printable, require_extra
from sound_groove.export.waveform_model import WaveformModel
from sound_groove.files import replaced_bytes, writing
from sound_groove.filterbank import samples_of
from sound_groove.pieces import repeated

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "waveform", "embedding"
LEAST_COSINE = 0.99999  # between the file's embedding and the checkpoint's
CHECKED_S = (0.3, 1.0, 2.0, 3.7, 10.0, 60.0)
# A shorter recording is repeated, a whole number of times, before it is embedded.
SHORTEST_SAMPLES = samples_of(MINIMUM_FRAMES)
OPSET = 18


@dataclass(frozen=True)
class OnnxExport:
    """A file that was written.

    Attributes:
        file: the ONNX file.
        name: the model's.
        hash: the model's, as `SpeakerEncoder.identity` has it.
        embedding_size: D.
        bytes: size of the file.
        worst_cosine: lowest between its embeddings and the checkpoint's.
    """

    file: Path
    name: str
    hash: str
    embedding_size: int
    bytes: int
    worst_cosine: float


def export_onnx(model: str | Path, out: str | Path | None = None, force: bool = False) -> OnnxExport:
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
    path = checkpoint.path.with_suffix(".onnx") if out is None else Path(out)
    if path.exists() and not force:
        raise OutputError(f"{printable(str(path))}: is there already; choose another --out, or replace it with --force")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{printable(str(path))}: there is no folder {printable(str(path.absolute().parent))}")
    proto = _trace(checkpoint)
    _describe(proto, checkpoint)
    content = proto.SerializeToString()
    worst = _worst_cosine(content, checkpoint)
    if not worst >= LEAST_COSINE:  # a cosine that is not a number, too
        raise CheckpointError(
            f"{printable(str(checkpoint.path))}: the exported model disagrees with it (cosine {worst:.6f}, and "
            f"{LEAST_COSINE} is asked for); nothing was written"
        )
    with writing(path), replaced_bytes(path) as file:
        file.write(content)
    size = int(checkpoint.header.network["embedding_size"])
    return OnnxExport(path, checkpoint.header.name, checkpoint.hash, size, len(content), worst)


def _trace(checkpoint: Checkpoint) -> "onnx.ModelProto":
    waveform = torch.zeros(2, 2 * SAMPLE_RATE)
    dynamic = {INPUT: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}}
    with _quiet():
        program = torch.onnx.export(
            WaveformModel(checkpoint).eval(),
            (waveform,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise CheckpointError(f"{printable(str(checkpoint.path))}: torch could not export the network")
    proto: onnx.ModelProto = program.model_proto
    for value, names in ((proto.graph.input[0], ("batch", "samples")), (proto.graph.output[0], ("batch",))):
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            dimension.dim_param = name
    # Nobody needs these: they speak of the dimensions by other names, and of the exporting machine's files and folders.
    del proto.graph.value_info[:]
    del proto.graph.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    return proto


def _describe(proto: "onnx.ModelProto", checkpoint: Checkpoint) -> None:
    """Let the file say what it is: plain entries for everybody, and all that the checkpoint says as JSON."""
    score_map = checkpoint.score_map
    entries = {
        "name": checkpoint.header.name,
        "hash": checkpoint.hash,
        "sample_rate": SAMPLE_RATE,
        "embedding_size": checkpoint.header.network["embedding_size"],
        "network": json.dumps(checkpoint.header.network),
        "score_map": json.dumps(None if score_map is None else asdict(score_map)),
        "description": checkpoint.header.training.get("description", ""),
        "training": json.dumps(checkpoint.header.training),
        "shortest_samples": SHORTEST_SAMPLES,
        "sound_groove": __version__,
    }
    for key, value in entries.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, str(value)


def _worst_cosine(content: bytes, checkpoint: Checkpoint) -> float:
    """The lowest cosine between the file's embeddings of made-up voices and those of the encoder that serves."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    encoder = SpeakerEncoder.load(checkpoint.path)
    worst = 1.0
    for number, duration_s in enumerate(CHECKED_S):
        voice = speak(made_up_speaker(0, number), 0, max(duration_s, 0.5))[: int(duration_s * SAMPLE_RATE)]
        voice = repeated(voice, SHORTEST_SAMPLES)
        pair = np.stack([voice, voice[::-1]])  # (2, samples): a batch, whose second item is no speech
        found = session.run(None, {INPUT: pair})[0]  # (2, D)
        worst = min(worst, float((found * encoder.embed(list(pair))).sum(axis=1).min()))
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's talk of packages that it does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
