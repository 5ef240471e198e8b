"""A model as a .safetensors file to be given away: network and centre, without head and optimiser, whole or in halves.

Training can start from such a file, and every other format can be exported from it. The hash is that of the weights in
it: halves are other numbers, so they have another hash.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sound_groove.errors import UsageError, require_extra
from sound_groove.export.parity import CHECKED_S, demand, worst_cosine
from sound_groove.export.placing import ExportedFile, destination
from sound_groove.export.precision import LEAST_COSINE, LEAST_PROBE_COSINE, SMALLEST_MATRIX, Precision
from sound_groove.export.shared_facts import shared_facts
from sound_groove.export.waveform_model import WaveformModel
from sound_groove.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sound_groove.networks.probe import Probe, probe_signal
from sound_groove.networks.tensor_groups import network_hash
from sound_groove.types import Embeddings, Samples

SUFFIX = ".network.safetensors"


def export_network(
    model: str | Path,
    out: str | Path | None = None,
    force: bool = False,
    precision: Precision = "fp32",
    data: str | None = None,
    licence: str | None = None,
) -> ExportedFile:
    """Write what makes a model's embeddings as one .safetensors file.

    Args:
        model: a model file or run folder.
        out: the file to write; beside the model, with the suffix .network.safetensors, when None.
        force: replace a file that is there.
        precision: fp32, or fp16, which keeps the matrices in half the size; they are float32 again when loaded.
        data: what the model was trained on, in words.
        licence: of these data.

    Raises:
        CheckpointError: the model cannot be used, or its halves disagree with it.
        OutputError: the file is there already, or cannot be written.
        UsageError: there is no such precision of this format.
    """
    require_extra("Exporting", "train", "torch", "safetensors", "pydantic")
    if precision == "int8":
        raise UsageError("a .safetensors file is in fp32 or fp16; int8 goes with --format onnx")
    checkpoint = load_checkpoint(model)
    path = destination(checkpoint, out, SUFFIX, force)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path}: must end in .safetensors")
    tensors = checkpoint.tensors  # of network and centre
    if precision == "fp16":
        tensors = {name: _halved(tensor) for name, tensor in tensors.items()}
    training = {name: fact for name, fact in checkpoint.header.training.items() if name != "progress"}
    training |= {name: fact for name, fact in (("data", data), ("licence", licence)) if fact is not None}
    header = replace(checkpoint.header, training=shared_facts(training))
    written = Checkpoint(path, header, tensors, network_hash(tensors, header.network))
    embed = _running(written)
    worst = worst_cosine(checkpoint.path, embed)
    demand(checkpoint.path, worst, LEAST_COSINE[precision])
    probe = Probe.of(embed(probe_signal()[None])[0], LEAST_PROBE_COSINE[precision])
    save_checkpoint(path, tensors, replace(written.header, probe=probe.as_dict()))
    size = int(checkpoint.header.network["embedding_size"])
    return ExportedFile(path, written.header.name, written.hash, size, path.stat().st_size, worst, CHECKED_S)


def _halved(tensor: Tensor) -> Tensor:
    """A matrix of the network as float16; what is small stays as it is."""
    return tensor.half() if tensor.is_floating_point() and tensor.numel() >= SMALLEST_MATRIX else tensor


def _running(written: Checkpoint) -> Callable[[Samples], Embeddings]:
    """What a file's weights compute: (B, samples) -> (B, D)."""
    module = WaveformModel(written).eval()

    @torch.inference_mode()
    def embed(waveforms: Samples) -> Embeddings:
        found: Embeddings = module(torch.from_numpy(waveforms)).numpy()
        return found

    return embed
