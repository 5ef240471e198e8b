"""How many crops of two seconds a training step of ECAPA-TDNN takes in a second on this machine.

    python benchmarks/network_step.py [--channels 512 1024] [--precision fp32 bf16] [--batch 64] [--repeats 5]
    python benchmarks/network_step.py --device cuda --precision bf16 --batch 128 512 --compile

A step is forward, backward and AdamW, features given. Beside it stands the machine's own rate for a large product of
matrices in the same precision, measured in the same run: `share` is how much of it the step reaches. The two are taken
in turns and the best of each counts, so that other work on the machine disturbs the share little. On a GPU `GB` is the
most memory that torch had allocated, and with `--compile` each row comes again with `torch.compile`.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sound_groove.cli.allocator import keep_freed_memory
from sound_groove.networks.architectures import build_network
from sound_groove.networks.losses import AamSoftmax
from sound_groove.provenance import processor
from sound_groove.recipe.network import NetworkConfiguration

FRAMES = 200  # 2 s
SPEAKERS = 1000
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
PRODUCT_ROWS = {"cpu": 4096, "cuda": 65536}  # of the product: enough to fill the machine


def main() -> None:
    """Measure every combination that was asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--precision", choices=sorted(PRECISIONS), nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="measure each step with torch.compile as well")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kept = keep_freed_memory()  # as training does
    where = f"{processor()}, {arguments.threads} threads, memory kept: {kept}"
    print(f"{torch.cuda.get_device_name() if arguments.device == 'cuda' else where}, torch {torch.__version__}")
    print(f"crops of {FRAMES} frames")
    print(
        f"{'C':>5} {'precision':>9} {'batch':>5} {'compiled':>8} {'GMAC':>6} {'crops/s':>8} {'TFLOP/s':>8} "
        f"{'matrix':>7} {'share':>6} {'GB':>5}"
    )
    device = torch.device(arguments.device)
    for channels in arguments.channels:
        macs = network_macs(channels)
        for name in arguments.precision:
            product = matrix_product(PRECISIONS[name], device)
            for batch in arguments.batch:
                for compiled in (False, True) if arguments.compile else (False,):
                    if device.type == "cuda":
                        torch.cuda.reset_peak_memory_stats()
                    step = training_step(channels, PRECISIONS[name], batch, device, compiled)
                    step_s, product_s = best_of(arguments.repeats, device, step, product)
                    crops = batch / step_s
                    # A multiplication and an addition each, forward once and backward twice.
                    rate = crops * macs * 6
                    matrix = 2 * PRODUCT_ROWS[device.type] * 1536 * 1536 / product_s
                    memory = f"{torch.cuda.max_memory_allocated() / 1e9:.1f}" if device.type == "cuda" else ""
                    print(
                        f"{channels:>5} {name:>9} {batch:>5} {'yes' if compiled else 'no':>8} {macs / 1e9:>6.2f} "
                        f"{crops:>8.1f} {rate / 1e12:>8.2f} {matrix / 1e12:>7.2f} {rate / matrix:>6.0%} {memory:>5}",
                        flush=True,
                    )


def training_step(
    channels: int, precision: torch.dtype, batch: int, device: torch.device, compiled: bool = False
) -> Callable[[], None]:
    """A function that makes one step, always with the same features."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(batch, FRAMES, 80, generator=generator).to(device)
    labels = torch.randint(SPEAKERS, (batch,), generator=generator).to(device)
    step = step_on_features(channels, precision, device, compiled)
    return lambda: step(features, labels)


def step_on_features(
    channels: int, precision: torch.dtype, device: torch.device | None = None, compiled: bool = False
) -> Callable[[Tensor, Tensor], None]:
    """A function that makes one step with features (B, T, 80) and labels (B,) below SPEAKERS."""
    device = torch.device("cpu") if device is None else device
    network = build_network(NetworkConfiguration(channels=channels)).train().to(device)
    head = AamSoftmax(192, SPEAKERS).to(device)
    optimizer = torch.optim.AdamW(nn.ModuleList((network, head)).parameters(), lr=1e-4, fused=True)
    if compiled:
        network.compile()

    def step(features: Tensor, labels: Tensor) -> None:
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            loss: Tensor = head(network(features), labels)[0]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def matrix_product(precision: torch.dtype, device: torch.device | None = None) -> Callable[[], None]:
    """A function that makes one large product, of the shape of the network's largest convolution."""
    device = torch.device("cpu") if device is None else device
    # Random numbers: a GPU multiplies ones and zeros faster.
    a, b = (
        torch.randn(rows, 1536, generator=torch.Generator().manual_seed(rows)).to(device, precision)
        for rows in (PRODUCT_ROWS[device.type], 1536)
    )

    def product() -> None:
        a @ b

    return product


def network_macs(channels: int) -> int:
    """Multiplications of the forward pass of one crop."""
    network = build_network(NetworkConfiguration(channels=channels)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, FRAMES, 80))
    return int(counter.get_total_flops()) // 2


def best_of(repeats: int, device: torch.device, *functions: Callable[[], None]) -> list[float]:
    """The shortest time of each function in seconds, taken in turns after two calls that warm up."""

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for function in functions:
        function()
        function()
    best = [float("inf")] * len(functions)
    for _ in range(repeats):
        for index, function in enumerate(functions):
            finish()
            start = time.perf_counter()
            function()
            finish()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
