"""A model as a TensorRT engine: waveforms in, unit-length embeddings out, on an NVIDIA GPU.

Written against the documented Python API of TensorRT 10 and 11 and tested on a small stand-in for it: not yet run on
hardware.

An engine holds the kernels that were chosen on one kind of GPU by one version of TensorRT, and runs on those only.
Every precision is fixed by the graph (a strongly typed network, the only kind that TensorRT 11 has): with fp16 the
network's convolutions and products are in half precision, while the front end, the statistics and the normalisation
stay in float32; and TF32 is off, since ten bits of mantissa would replace a quiet band beside a loud one with noise.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import CheckpointError, UsageError, printable, require_extra
from sound_groove.export.parity import CHECKED_S, SHORTEST_SAMPLES, demand, worst_cosine
from sound_groove.export.placing import ExportedFile, destination, place
from sound_groove.export.tracing import OUTPUT, trace
from sound_groove.export.waveform_model import WaveformModel
from sound_groove.networks.checkpoint import Checkpoint, load_checkpoint
from sound_groove.types import Embeddings, Samples

INPUT = "waveform"
DEVICE = "cuda"
LEAST_COSINES = {"fp32": 0.9999, "fp16": 0.999}  # between the engine's embeddings and the checkpoint's
USUAL_S = 4.0  # the length that the kernels are chosen for
LEAST_LONGEST_S, MOST_LONGEST_S = (
    5.0,
    60.0,
)  # twice the shortest input fits in the one, and the encoder cuts at the other
Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class InputSizes:
    """What inputs an engine takes: batches from 1, recordings from 2 s; shorter ones are to be repeated.

    Attributes:
        largest_batch: most recordings at once.
        longest_s: longest recordings, 5 to 60 s. Memory grows with the product of the two.
    """

    largest_batch: int = 8
    longest_s: float = 60.0

    def __post_init__(self) -> None:
        if self.largest_batch < 1 or not LEAST_LONGEST_S <= self.longest_s <= MOST_LONGEST_S:
            raise UsageError(
                f"an engine needs a largest batch of at least 1 and recordings of at most {LEAST_LONGEST_S:g} to "
                f"{MOST_LONGEST_S:g} s; {self.largest_batch} and {self.longest_s:g} s were given"
            )

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(B, samples): least, usual, most.

        >>> InputSizes(largest_batch=4, longest_s=10.0).shapes
        ((1, 31920), (1, 64000), (4, 160000))
        """
        usual, most = int(USUAL_S * SAMPLE_RATE), int(self.longest_s * SAMPLE_RATE)
        return (1, SHORTEST_SAMPLES), (1, usual), (self.largest_batch, most)


def export_tensorrt(
    model: str | Path,
    out: str | Path | None = None,
    force: bool = False,
    precision: Precision = "fp32",
    sizes: InputSizes | None = None,
) -> ExportedFile:
    """Build a TensorRT engine: input `waveform` (B, samples), output `embedding` (B, D), on the GPU that is used here.

    Args:
        model: a model file or run folder.
        out: the file to write; beside the model, with the suffix .engine, when None.
        force: replace a file that is there.
        precision: of the network's convolutions and products.
        sizes: of the inputs; batches up to 8 and recordings of 2 to 60 s when None.

    Raises:
        MissingExtraError: TensorRT, or something else that exporting needs, is not installed.
        UsageError: there is no NVIDIA GPU.
        CheckpointError: the model cannot be used, no engine can be built of it, or the engine disagrees with it.
        OutputError: the file is there already, or cannot be written.
    """
    require_extra("Exporting", "train", "torch", "onnx", "onnxscript")
    require_extra("Exporting for TensorRT", "tensorrt", "tensorrt")
    _require_gpu()
    import tensorrt as trt

    sizes = sizes or InputSizes()
    checkpoint = load_checkpoint(model)
    path = destination(checkpoint, out, ".engine", force)
    logger = trt.Logger(trt.Logger.ERROR)
    content = _build(trt, logger, graph_of(checkpoint, precision), sizes, checkpoint)
    engine = Engine(trt, logger, content, sizes)
    durations_s = tuple(duration_s for duration_s in CHECKED_S if duration_s <= sizes.longest_s)
    worst = worst_cosine(checkpoint.path, engine.embed, durations_s)
    demand(checkpoint.path, worst, LEAST_COSINES[precision])
    return place(
        path, content, checkpoint.identity, int(checkpoint.header.network["embedding_size"]), worst, durations_s
    )


def _require_gpu() -> None:
    if not torch.cuda.is_available():
        raise UsageError("a TensorRT engine is built on the GPU that is to run it, and torch sees no NVIDIA GPU here")


def graph_of(checkpoint: Checkpoint, precision: Precision) -> bytes:
    """The model as an ONNX graph whose types say what is computed in which precision."""
    module = WaveformModel(checkpoint)
    if precision == "fp16":
        module.network = _HalfNetwork(module.network)
    content: bytes = trace(
        module.eval(), torch.zeros(2, 2 * SAMPLE_RATE), INPUT, ("batch", "samples")
    ).SerializeToString()
    return content


class _HalfNetwork(nn.Module):
    """A network as it trains in mixed precision: half where that is safe, float32 where the network asks for it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F) -> (B, D), float32."""
        with torch.autocast(features.device.type, torch.float16):
            embedding: Tensor = self.network(features)
        return embedding.float()


def _build(trt: Any, logger: Any, graph: bytes, sizes: InputSizes, checkpoint: Checkpoint) -> bytes:
    """The engine, serialised."""
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        reasons = "; ".join(parser.get_error(number).desc() for number in range(parser.num_errors))
        raise CheckpointError(
            f"{printable(str(checkpoint.path))}: TensorRT cannot read the graph: {printable(reasons)}"
        )
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *sizes.shapes)
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    config.clear_flag(trt.BuilderFlag.TF32)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise CheckpointError(f"{printable(str(checkpoint.path))}: TensorRT could not build an engine of it")
    return bytes(serialized)


class Engine:
    """An engine that runs.

    Args:
        trt: the tensorrt package.
        logger: its logger.
        content: the engine, serialised.
        sizes: what it was built for.

    Raises:
        UsageError: the engine was built by another version of TensorRT or on another kind of GPU.
    """

    def __init__(self, trt: Any, logger: Any, content: bytes, sizes: InputSizes) -> None:
        self._runtime = trt.Runtime(logger)  # must outlive the engine
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise UsageError("the engine cannot be loaded: another version of TensorRT or kind of GPU built it")
        self._context = self._engine.create_execution_context()
        self._largest_batch = sizes.largest_batch
        self._size = int(self._engine.get_tensor_shape(OUTPUT)[1])

    def embed(self, waveforms: Samples) -> Embeddings:
        """(N, samples) at 16 kHz in [-1, 1] -> (N, D) of unit length, in as many batches as needed."""
        starts = range(0, len(waveforms), self._largest_batch)
        return np.concatenate([self._run(waveforms[start : start + self._largest_batch]) for start in starts])

    def _run(self, waveforms: Samples) -> Embeddings:
        given = torch.from_numpy(np.ascontiguousarray(waveforms)).to(DEVICE)  # (B, samples)
        found = torch.empty(len(given), self._size, device=DEVICE)
        self._context.set_input_shape(INPUT, tuple(given.shape))
        self._context.set_tensor_address(INPUT, given.data_ptr())
        self._context.set_tensor_address(OUTPUT, found.data_ptr())
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())  # the copy of the waveforms is on that one
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise CheckpointError(f"the engine did not run on {tuple(given.shape)} samples")
        stream.synchronize()
        embeddings: Embeddings = found.cpu().numpy()
        return embeddings
