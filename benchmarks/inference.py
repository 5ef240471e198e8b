"""How long one embedding takes on a CPU, from the waveform on, beside other ways of running the same network.

    python benchmarks/inference.py [--channels 512] [--threads 1 2] [--seconds 2 5 20] [--batch 1 4] [--budget 3]

All have the same ECAPA-TDNN with weights drawn at random and the batch statistics of made-up voices, and are given
samples: reading files is not in the figures. In milliseconds for the whole batch:

    torch     our front end and network as they are trained, in torch
    plain     the network as torch exports it, features in, in onnxruntime; features by kaldi-native-fbank
    sherpa    the same file in sherpa-onnx's extractor, one recording after the other
    fp32      what `sound-groove export` writes, in onnxruntime
    int8      the same with --precision int8, calibrated on made-up voices

`fp32 x` and `int8 x` say how many times as fast they are as the fastest of the first three. `front` is the front end's
share of the time of fp32 and of int8, measured on a graph that has nothing else. `GFLOP/s` is what the network's
products make of the time of fp32, and `share` how much that is of the machine's rate for a large product of matrices
(torch, 4096 x 1536 x 1536), measured in the same turns. The shortest time of each counts.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kaldi_native_fbank
import numpy as np
import sherpa_onnx
import torch
from network_step import matrix_product, network_macs
from torch import nn

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.export.folded_fbank import FoldedFbank
from sound_groove.export.onnx_file import INPUT, serving_module
from sound_groove.export.quantization import quantised
from sound_groove.export.tracing import describe, trace
from sound_groove.export.waveform_model import WaveformModel
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import Checkpoint, load_checkpoint, restore_network, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.features import KaldiFbank, frame_count, remove_mean
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.provenance import processor
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.telemetry import import_onnxruntime
from sound_groove.types import Samples

if TYPE_CHECKING:
    import onnx

PEERS = ("torch", "plain", "sherpa")
MATRIX_FLOP = 2 * 4096 * 1536 * 1536
REST_S = 0.05  # until the threads of the one before have stopped waiting for work, which they do at full speed
WAVES = ("batch", "samples")


class FrontEnd(nn.Module):
    """The exported front end alone."""

    def __init__(self) -> None:
        super().__init__()
        self.front_end = FoldedFbank()

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """(B, samples) -> (B, T, F) with the mean removed."""
        features: torch.Tensor = self.front_end(waveform)
        return remove_mean(features)


@dataclass(frozen=True)
class Files:
    """The network in all its forms.

    Attributes:
        checkpoint: as it was trained.
        plain: features in.
        served: by name, waveforms in: fp32, int8, and the front end alone.
    """

    checkpoint: Checkpoint
    plain: Path
    served: dict[str, Path]


def main() -> None:
    """Make the network, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=int, nargs="+", default=[2, 5, 20])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--budget", type=float, default=3.0, help="seconds for each row of the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), arguments.channels)
        macs_of_frame = network_macs(arguments.channels) / 200
        versions = f"onnxruntime {import_onnxruntime().__version__}, torch {torch.__version__}"
        print(f"{processor()}, {versions}, C = {arguments.channels}")
        print(
            "  thr   s   B " + " ".join(f"{name:>8}" for name in (*PEERS, "fp32", "int8", "fp32 x", "int8 x")), end=""
        )
        print(f" {'front':>12} {'GFLOP/s':>8} {'matrix':>7} {'share':>6}")
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            embedders = make_embedders(files, threads)
            for seconds in arguments.seconds:
                for batch in arguments.batch:
                    best = measure(embedders, waveforms(batch, seconds), arguments.budget)
                    flop = 2 * macs_of_frame * frame_count(seconds * SAMPLE_RATE) * batch
                    print(f"{threads:>5} {seconds:>3} {batch:>3} {line(best, flop)}", flush=True)


def line(best: dict[str, float], flop: float) -> str:
    """A row of the table, from the shortest times in seconds."""
    peer = min(best[name] for name in PEERS)
    times = " ".join(f"{1000 * best[name]:>8.2f}" for name in (*PEERS, "fp32", "int8"))
    front = f"{best['front end'] / best['fp32']:.1%} {best['front end'] / best['int8']:.1%}"
    rate, matrix = flop / best["fp32"] / 1e9, MATRIX_FLOP / best["matrix"] / 1e9
    gains = f"{peer / best['fp32']:>8.2f} {peer / best['int8']:>8.2f}"
    return f"{times} {gains} {front:>12} {rate:>8.0f} {matrix:>7.0f} {rate / matrix:>6.0%}"


def make_files(folder: Path, channels: int) -> Files:
    """Draw a network, and write it in every form."""
    configuration = NetworkConfiguration(channels=channels)
    torch.manual_seed(0)
    network = build_network(configuration).train()
    voices = waveforms(24, 3)
    features = remove_mean(KaldiFbank().eval()(torch.from_numpy(voices)))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = 0.5
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
        for _ in range(6):
            network(features)
    path = folder / "drawn.safetensors"
    tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    save_checkpoint(path, tensors, CheckpointHeader("drawn", configuration.model_dump()))
    checkpoint = load_checkpoint(path)

    plain = trace(restore_network(checkpoint), torch.zeros(2, 200, 80), "features", ("batch", "frames"))
    described = {"framework": "wespeaker", "language": "any", "sample_rate": SAMPLE_RATE, "output_dim": 192}
    describe(plain, {**described, "normalize_samples": 0, "feature_normalize_type": "global-mean"})
    served = trace(serving_module(checkpoint), torch.zeros(2, 2 * SAMPLE_RATE), INPUT, WAVES)
    front_end = trace(FrontEnd().eval(), torch.zeros(2, 2 * SAMPLE_RATE), INPUT, WAVES)
    graphs = {"fp32": served, "front end": front_end, "int8": quantised(served, list(voices), INPUT)}
    return Files(
        checkpoint,
        written(plain, folder / "plain.onnx"),
        {name: written(graph, folder / f"{name}.onnx") for name, graph in graphs.items()},
    )


def written(graph: "onnx.ModelProto", path: Path) -> Path:
    """The file of a graph."""
    path.write_bytes(graph.SerializeToString())
    return path


def make_embedders(files: Files, threads: int) -> dict[str, Callable[[Samples], Any]]:
    """Functions of a batch of waveforms (B, samples)."""
    module = WaveformModel(files.checkpoint).eval()
    plain = session(files.plain, threads)
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(
        sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(files.plain), num_threads=threads)
    )
    product = matrix_product(torch.float32)

    def in_torch(batch: Samples) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(batch))

    def in_plain(batch: Samples) -> Any:
        return plain.run(None, {"features": np.stack([kaldi(one) for one in batch])})

    def in_sherpa(batch: Samples) -> Any:
        found = []
        for one in batch:
            stream = extractor.create_stream()
            stream.accept_waveform(sample_rate=SAMPLE_RATE, waveform=one)
            stream.input_finished()
            found.append(extractor.compute(stream))
        return found

    def served(path: Path) -> Callable[[Samples], Any]:
        loaded = session(path, threads)
        return lambda batch: loaded.run(None, {INPUT: batch})

    embedders: dict[str, Callable[[Samples], Any]] = {"torch": in_torch, "plain": in_plain, "sherpa": in_sherpa}
    embedders |= {name: served(path) for name, path in files.served.items()}
    return embedders | {"matrix": lambda _: product()}


def session(path: Path, threads: int) -> Any:
    """A session of so many threads, as `SpeakerEncoder` makes it."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def kaldi(waveform: Samples) -> Samples:
    """(samples,) -> (T, 80) with the mean removed, by kaldi-native-fbank."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(SAMPLE_RATE, waveform * np.float32(32768.0))
    fbank.input_finished()
    features = np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])
    return np.asarray(features - features.mean(axis=0))


def waveforms(batch: int, seconds: int) -> Samples:
    """(B, samples) of made-up voices, a few seconds of each repeated."""
    voices = [speak(made_up_speaker(0, number), 0, 3.0)[: 3 * SAMPLE_RATE] for number in range(batch)]
    return np.stack([np.resize(voice, seconds * SAMPLE_RATE) for voice in voices])


def measure(embedders: dict[str, Callable[[Samples], Any]], batch: Samples, budget_s: float) -> dict[str, float]:
    """The shortest time of each in seconds, taken in turns after one call that warms up, at least two turns."""
    for embed in embedders.values():
        embed(batch)
    best = dict.fromkeys(embedders, float("inf"))
    turns, end = 0, time.perf_counter() + budget_s
    while turns < 2 or time.perf_counter() < end:
        for name, embed in embedders.items():
            time.sleep(REST_S)
            start = time.perf_counter()
            embed(batch)
            best[name] = min(best[name], time.perf_counter() - start)
        turns += 1
    return best


if __name__ == "__main__":
    main()
