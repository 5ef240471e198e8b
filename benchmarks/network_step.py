"""How many crops of two seconds a training step of ECAPA-TDNN takes in a second on this machine.

    python benchmarks/network_step.py [--channels 512 1024] [--precision fp32 bf16] [--batch 64] [--repeats 5]

A step is forward, backward and AdamW, features given. Beside it stands the machine's own rate for a large product of
matrices in the same precision, measured in the same run: `share` is how much of it the step reaches. The two are taken
in turns and the best of each counts, so that other work on the machine disturbs the share little.
"""

import argparse
import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sound_groove.cli.allocator import keep_freed_memory
from sound_groove.configuration import NetworkConfiguration
from sound_groove.losses import AamSoftmax
from sound_groove.models import build_network

FRAMES = 200  # 2 s
SPEAKERS = 1000
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    """Measure every combination that was asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--precision", choices=sorted(PRECISIONS), nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kept = keep_freed_memory()  # as training does
    print(f"{processor()}, {arguments.threads} threads, torch {torch.__version__}, memory kept: {kept}")
    print(f"batch {arguments.batch} x {FRAMES} frames")
    print(f"{'C':>5} {'precision':>9} {'GMAC':>6} {'crops/s':>8} {'GFLOP/s':>8} {'matrix':>7} {'share':>6}")
    for channels in arguments.channels:
        macs = network_macs(channels)
        for name in arguments.precision:
            step = training_step(channels, PRECISIONS[name], arguments.batch)
            product = matrix_product(PRECISIONS[name])
            step_s, product_s = best_of(arguments.repeats, step, product)
            crops = arguments.batch / step_s
            # A multiplication and an addition each, forward once and backward twice.
            rate, matrix = crops * macs * 6, 2 * 4096 * 1536 * 1536 / product_s
            print(
                f"{channels:>5} {name:>9} {macs / 1e9:>6.2f} {crops:>8.1f} {rate / 1e9:>8.0f} {matrix / 1e9:>7.0f} "
                f"{rate / matrix:>6.0%}",
                flush=True,
            )


def training_step(channels: int, precision: torch.dtype, batch: int) -> Callable[[], None]:
    """A function that makes one step, always with the same features."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(batch, FRAMES, 80, generator=generator)
    labels = torch.randint(SPEAKERS, (batch,), generator=generator)
    step = step_on_features(channels, precision)
    return lambda: step(features, labels)


def step_on_features(channels: int, precision: torch.dtype) -> Callable[[Tensor, Tensor], None]:
    """A function that makes one step with features (B, T, 80) and labels (B,) below SPEAKERS."""
    network = build_network(NetworkConfiguration(channels=channels)).train()
    head = AamSoftmax(192, SPEAKERS)
    optimizer = torch.optim.AdamW(nn.ModuleList((network, head)).parameters(), lr=1e-4, fused=True)

    def step(features: Tensor, labels: Tensor) -> None:
        with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
            loss: Tensor = head(network(features), labels)[0]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def matrix_product(precision: torch.dtype) -> Callable[[], None]:
    """A function that makes one large product, of the shape of the network's largest convolution."""
    a, b = torch.ones(4096, 1536, dtype=precision), torch.ones(1536, 1536, dtype=precision)

    def product() -> None:
        a @ b

    return product


def network_macs(channels: int) -> int:
    """Multiplications of the forward pass of one crop."""
    network = build_network(NetworkConfiguration(channels=channels)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, FRAMES, 80))
    return int(counter.get_total_flops()) // 2


def best_of(repeats: int, *functions: Callable[[], None]) -> list[float]:
    """The shortest time of each function in seconds, taken in turns after one call that warms up."""
    for function in functions:
        function()
    best = [float("inf")] * len(functions)
    for _ in range(repeats):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def processor() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 (a device, not a file)
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
