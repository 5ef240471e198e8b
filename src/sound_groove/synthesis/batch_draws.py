"""The draws of a batch on the training device: each item's are the same whichever process the item is in.

A total batch is shared by the processes of a run. All of them draw the few numbers of every item of it, from generators
in the same state, and keep those of their own items. What is long (the noise of a crop) is drawn for one's own items
only, by a generator for each item, whose seed is one of those few numbers. So two processes draw what one would draw,
as long as they ask for the same things in the same order: what is asked for must never depend on which items one has.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sound_groove.synthesis.draws import Draw, torch_seed

SEEDS = 2**62


class BatchDraws:
    """The draws of one batch.

    The few numbers are drawn on the CPU, so that they are the same on every device; the long ones on the device itself.

    Attributes:
        rows: (B,) place of each of this process's items in the total batch, on the device.

    Args:
        seed: as `torch_seed` gives it, the same in every process.
        rows: places of this process's items.
        total: items of the total batch.
        device: of the results.
        gather: gives the total batch (total, ...) of this process's part of it (B, ...); the part itself when None.
    """

    def __init__(
        self,
        seed: int,
        rows: Tensor,
        total: int,
        device: torch.device,
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.rows = rows.to(device)
        self._own = rows.cpu()
        self._total = total
        self._device = device
        self._gather = gather
        self._few = torch.Generator().manual_seed(seed)
        self._long = torch.Generator(device=device)

    @classmethod
    def of_whole_batch(cls, seed: int, count: int, device: torch.device | None = None) -> "BatchDraws":
        """The draws of a batch that no other process shares."""
        return cls(seed, torch.arange(count), count, torch.device("cpu") if device is None else device)

    def __len__(self) -> int:
        """This process's items, B."""
        return len(self.rows)

    def uniform(self, bounds: tuple[float, float] = (0.0, 1.0), *shape: int) -> Tensor:
        """Uniform draws of every item (B, *shape)."""
        low, high = bounds
        return low + (high - low) * self._kept(torch.rand(self._total, *shape, generator=self._few))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers of every item from `low` to `high` - 1 (B, *shape)."""
        return self._kept(torch.randint(low, high, (self._total, *shape), generator=self._few))

    def chosen(self, probability: float) -> Tensor:
        """The indices (N,) of the items that are chosen, each with the given probability."""
        return (self.uniform() < probability).nonzero().squeeze(1)

    def normal(self, items: Tensor, length: int) -> Tensor:
        """Standard normal draws of some items (N, length); the others draw nothing."""
        return self._long_draws(items, length, lambda row: row.normal_(generator=self._long))

    def uniform_rows(self, items: Tensor, length: int) -> Tensor:
        """Uniform draws of some items (N, length), from 0 to 1; the others draw nothing."""
        return self._long_draws(items, length, lambda row: row.uniform_(generator=self._long))

    def everybody(self, own: Tensor) -> Tensor:
        """The total batch (total, ...), in its order, of this process's part of it (B, ...)."""
        return own if self._gather is None else self._gather(own)

    def _kept(self, drawn: Tensor) -> Tensor:
        return drawn[self._own].to(self._device, non_blocking=True)

    def _long_draws(self, items: Tensor, length: int, fill: Callable[[Tensor], object]) -> Tensor:
        seeds = torch.randint(SEEDS, (self._total,), generator=self._few)[self._own]
        rows = torch.empty(len(items), length, device=self._device)
        for row, seed in zip(rows, seeds[items.cpu()].tolist(), strict=True):
            self._long.manual_seed(seed)
            fill(row)
        return rows


class SharedBatch:
    """Which items of every total batch this process has, as `sound_groove.inputs.sampler.shard` deals them out.

    Attributes:
        rank: which process this is.
        processes: how many there are.
        device: of the draws.

    Args:
        rank: which process this is.
        processes: how many there are.
        gather: puts tensors (B, ...) of all processes one behind the other, by rank.
        device: of the draws.
    """

    def __init__(self, rank: int, processes: int, gather: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self.rank, self.processes, self._gather, self.device = rank, processes, gather, device

    def draws(self, count: int, seed: int, draw: Draw, *place: int) -> BatchDraws:
        """The draws of a batch.

        Args:
            count: items that this process has of it.
            seed: the recipe's.
            draw: what is drawn.
            place: epoch and batch.
        """
        total = count * self.processes
        rows = torch.arange(self.rank, total, self.processes)
        gather = self.in_order if self.processes > 1 else None
        return BatchDraws(torch_seed(seed, draw, *place), rows, total, self.device, gather)

    def in_order(self, own: Tensor) -> Tensor:
        """The total batch (total, ...) in its order: item i of rank r lies at i * processes + r."""
        by_rank = self._gather(own).view(self.processes, *own.shape)  # (processes, B, ...)
        return by_rank.transpose(0, 1).flatten(0, 1)
