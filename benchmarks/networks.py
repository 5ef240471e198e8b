"""What the networks cost: parameters, multiply-adds for 3 s, and ms for 2 s on one thread.

    OMP_NUM_THREADS=1 python benchmarks/networks.py [--only resnet34 "redimnet2 b0"] [--rounds 7] [--onnx]

Multiply-adds are counted in the graph: torch counts the products of every convolution, linear layer and attention that
a run calls, and a multiplication with an addition is one. The networks alone are timed, on features, with random
weights: a network costs the same whatever it has learnt. The time is the median of `--rounds` runs, in turns, of a
clip of 2 s (198 frames) in torch in one thread. With `--onnx` the same is timed of the exported form in onnxruntime, as
it serves: with its front end, which takes about 1 ms, and as `export` arranges it. Prints a table in Markdown.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sound_groove.audio.filterbank import samples_of
from sound_groove.export.onnx_file import INPUT, serving_module
from sound_groove.export.tracing import trace
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.provenance import processor
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.recipe.network_sizes import REDIMNET2
from sound_groove.telemetry import import_onnxruntime

FRAMES_OF_3_S, FRAMES_OF_2_S = 298, 198
NETWORKS = {
    "ecapa_tdnn 512": NetworkConfiguration(),
    "ecapa_tdnn 1024": NetworkConfiguration(channels=1024),
    "ecapa_tdnn speechbrain": NetworkConfiguration(channels=1024, options={"speechbrain": True, "pooled": 3072}),
    "campplus": NetworkConfiguration(kind="campplus", embedding_size=512),
    "resnet34": NetworkConfiguration(kind="resnet34"),
    "resnet152": NetworkConfiguration(kind="resnet152"),
    "resnet221": NetworkConfiguration(kind="resnet221"),
    "resnet293": NetworkConfiguration(kind="resnet293"),
    "eres2netv2": NetworkConfiguration(kind="eres2netv2"),
    **{
        f"redimnet2 {size}": NetworkConfiguration.model_validate({"kind": "redimnet2", "size": size})
        for size in REDIMNET2
    },
}


def multiply_adds(network: nn.Module, features: torch.Tensor) -> int:
    """Of one run, which takes no memory where the network has none."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(features)
    return int(counter.get_total_flops()) // 2


def exported(configuration: NetworkConfiguration, network: nn.Module) -> Callable[[], object]:
    """A run of 2 s in onnxruntime, one thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
        save_checkpoint(path, tensors, CheckpointHeader("network", configuration.model_dump()))
        graph = trace(serving_module(load_checkpoint(path)), torch.zeros(2, 32_000), INPUT, ("batch", "samples"))
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    samples = np.random.default_rng(0).normal(0, 0.1, (1, samples_of(FRAMES_OF_2_S))).astype(np.float32)
    return lambda: session.run(None, {INPUT: samples})


def main() -> None:
    """Count, time, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(NETWORKS), help="these networks alone")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="runs of each (default: 7)")
    parser.add_argument("--onnx", action="store_true", help="time the exported form too; tracing takes a while")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.only or list(NETWORKS)
    runs: dict[str, Callable[[], object]] = {}
    rows: dict[str, list[str]] = {}
    for name in names:
        configuration = NETWORKS[name]
        with torch.device("meta"):
            counted = build_network(configuration).eval()
            products = multiply_adds(counted, torch.zeros(1, FRAMES_OF_3_S, configuration.feature_size))
        parameters = sum(parameter.numel() for parameter in counted.parameters())
        rows[name] = [f"{parameters / 1e6:.2f} M", f"{products / 1e9:.2f} G"]
        network = build_network(configuration).eval()
        features = torch.randn(1, FRAMES_OF_2_S, configuration.feature_size)

        def run(network: nn.Module = network, features: torch.Tensor = features) -> object:
            with torch.inference_mode():
                return network(features)

        runs[name] = run
        if arguments.onnx:
            runs[f"{name} onnx"] = exported(configuration, network)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(arguments.rounds + 1):  # the first is for warming up
        for name, call in runs.items():
            start = time.perf_counter()
            call()
            if number:
                times[name].append(1e3 * (time.perf_counter() - start))
    columns = ["network", "parameters", "multiply-adds for 3 s", "ms for 2 s"]
    print(" | ".join(["", *columns, *(["ms for 2 s, onnxruntime"] if arguments.onnx else []), ""]).strip())
    print("|" + " --- |" * (len(columns) + arguments.onnx))
    for name, row in rows.items():
        shown = [f"{median(times[key]):.0f}" for key in (name, f"{name} onnx") if key in times]
        print(" | ".join(["", name, *row, *shown, ""]).strip())
    print(f"\n{processor()}, one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
