"""Which crops make which batch: every crop is visited `visits` times, far apart, each time among others.

Epoch t visits shard t for the first time, and shard t - gap and t - 2 gap once more. Their crops of one length are
shuffled together and cut into batches. So the order is a function of (seed, epoch) and of nothing else, and a crop's
next visit comes `gap` shards later.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sound_groove.audio.pauses import with_silence
from sound_groove.corpora.shards import to_float
from sound_groove.inputs.crops.inaudible import unheard
from sound_groove.inputs.crops.pool import CropShard
from sound_groove.recipe.distillation import CropConfiguration
from sound_groove.synthesis.draws import Draw, generator

LONGEST_PADDING = 0.5  # of a crop's length
PADDINGS = 4  # different ones: torch keeps memory and code for every length of batch, and runs grew to 15 GB in an hour


@dataclass(frozen=True)
class VisitPlan:
    """When shards are visited.

    Attributes:
        visits: of each.
        gap: shards between two visits of one.
        ahead: shards that may be there before they are needed.
    """

    visits: int
    gap: int
    ahead: int

    def shards(self, epoch: int) -> list[int]:
        """The shards that an epoch visits.

        >>> [VisitPlan(visits=3, gap=4, ahead=2).shards(epoch) for epoch in (0, 5, 9)]
        [[0], [5, 1], [9, 5, 1]]
        """
        return [epoch - visit * self.gap for visit in range(self.visits) if epoch >= visit * self.gap]

    def oldest(self, epoch: int) -> int:
        """The oldest shard that this epoch or a later one visits."""
        return max(0, epoch - (self.visits - 1) * self.gap)


def plan_visits(settings: CropConfiguration) -> VisitPlan:
    """The widest gap for which so many shards suffice, a quarter of them being ahead.

    >>> plan_visits(CropConfiguration(visits=3, kept=16))
    VisitPlan(visits=3, gap=5, ahead=3)
    """
    ahead = max(1, settings.kept // 4 - 1)
    # Those of the epoch before are there too, as its checkpoint may be the last, and that of the next.
    gap = max(1, (settings.kept - ahead - 2) // max(1, settings.visits - 1))
    return VisitPlan(settings.visits, gap, ahead)


@dataclass(frozen=True)
class Visit:
    """A batch of crops as the network hears them.

    Attributes:
        waveforms: (B, samples).
        targets: (B, teacher's D) of unit length.
        labels: (B,) classes, -1 = none.
        frames: (B, C, T) what the teacher pools over time; None where it is not asked for.
        starts: (B,) the sample of the waveform at which the crop that the teacher heard begins; -1 where nothing lies
            where it lay.
    """

    waveforms: Tensor
    targets: Tensor
    labels: Tensor
    frames: Tensor | None
    starts: Tensor


class EpochVisits:
    """The batches of an epoch.

    Args:
        shards: that it visits, the newest first.
        settings: of the crops.
        batch_size: B.
        seed: of every draw.
        epoch: its number.
        silence_share: of the network, which hears each crop as it hears a recording: with so much digital silence
            behind it.
    """

    def __init__(
        self,
        shards: Sequence[CropShard],
        settings: CropConfiguration,
        batch_size: int,
        seed: int,
        epoch: int,
        silence_share: float | None = None,
    ) -> None:
        self._shards, self._settings, self._seed, self._epoch = shards, settings.unheard, seed, epoch
        self._silence_share = silence_share
        order = generator(seed, Draw.CROP_ORDER, epoch)
        batches = []
        for length in shards[0].steps:
            rows = [(part, row) for part, shard in enumerate(shards) for row in range(len(shard.steps[length]))]
            mixed = [rows[index] for index in order.permutation(len(rows))]
            batches += [(length, mixed[start : start + batch_size]) for start in range(0, len(mixed), batch_size)]
        self._batches = [batches[index] for index in order.permutation(len(batches))]

    def __len__(self) -> int:
        """Batches in it."""
        return len(self._batches)

    def batch(self, number: int) -> Visit:
        """One of its batches, from 0 on."""
        length, rows = self._batches[number]
        common = generator(self._seed, Draw.UNHEARD, self._epoch, number, 0)
        padded_to = None
        # Crops of a batch have one length, or the normalisation would see other padding than the network does.
        if common.random() < self._settings.padding_probability:
            padded_to = length + int(LONGEST_PADDING * length * common.integers(1, PADDINGS + 1) / PADDINGS)
        copies = [
            unheard(
                to_float(self._shards[part].steps[length][row]),
                self._settings,
                generator(self._seed, Draw.UNHEARD, self._epoch, number, 1 + place),
                padded_to,
            )
            for place, (part, row) in enumerate(rows)
        ]
        waveforms = np.stack([with_silence(copy.samples, self._silence_share) for copy in copies])
        starts = np.array([-1 if copy.start is None else copy.start for copy in copies])
        targets = np.stack([self._shards[part].targets[length][row] for part, row in rows])
        labels = np.array([self._shards[part].labels[length][row] for part, row in rows])
        frames = None
        if all(length in self._shards[part].frames for part, _ in rows):
            frames = torch.from_numpy(np.stack([self._shards[part].frames[length][row] for part, row in rows]))
        return Visit(
            torch.from_numpy(waveforms),
            torch.from_numpy(targets),
            torch.from_numpy(labels),
            frames,
            torch.from_numpy(starts),
        )
