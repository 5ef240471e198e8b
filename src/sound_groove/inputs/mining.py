"""Hard negatives: batches in which speakers meet those whom the network confuses them with.

Hard prototype mining (Thienpondt, Desplanques, Demuynck 2020, "Cross-lingual speaker verification with domain-balanced
hard prototype mining and language-dependent score normalization"): how alike two speakers sound to the
network is read from the centres of their classes, so that it costs no pass over the data.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sound_groove.inputs.sampler import PkSampler, Plan
from sound_groove.synthesis.draws import Draw, generator

SPARE = 4  # times as many neighbours are known as are wanted, for those that are in the batch already
CHUNK = 1024  # rows of the matrix of similarities at a time


@dataclass(frozen=True, eq=False)
class HardSampler:
    """PK batches of anchors and their companions, the speakers most like them.

    Each batch has P / (1 + H) anchors, drawn as the speakers of `PkSampler` are: in passes that visit every speaker, so
    nobody is dropped, and all of a speaker's utterances come in turn. With each anchor come the H speakers nearest to
    it that are not in the batch yet. A plan is a function of seed, epoch and neighbours.

    Attributes:
        anchors: draws the anchors.
        companions: H.
        neighbours: of each speaker, the most similar ones, nearest first (S, N); None: companions are drawn at random.
    """

    anchors: PkSampler
    companions: int
    neighbours: NDArray[np.int64] | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Rows of each plan."""
        return self.anchors.batches_per_epoch

    def knowing(self, neighbours: NDArray[np.int64]) -> "HardSampler":
        """The same sampler with other neighbours (S, N)."""
        return replace(self, neighbours=neighbours)

    def plan(self, epoch: int) -> Plan:
        """The utterance indices of every batch of an epoch (batches, P * K), K neighbours of one speaker."""
        anchors = self.anchors.plan(epoch)  # (batches, A * K)
        first = epoch * self.batches_per_epoch
        rows = [self._with_companions(row, first + batch) for batch, row in enumerate(anchors)]
        return np.stack(rows)

    def _with_companions(self, visits: NDArray[np.int64], batch: int) -> NDArray[np.int64]:
        """The utterances of a batch, each anchor's followed by those of its companions."""
        count = self.anchors.utterances
        anchors = visits.reshape(-1, count)  # (A, K)
        speakers = self.anchors.labels[anchors[:, 0]].tolist()
        taken, parts = set(speakers), []
        everybody = len(self.anchors.speaker_groups)
        others = iter(generator(self.anchors.seed, Draw.COMPANIONS, batch).permutation(everybody))
        for speaker, visit in zip(speakers, anchors, strict=True):
            parts.append(visit)
            near = [] if self.neighbours is None else self.neighbours[speaker].tolist()
            free = (int(other) for source in (near, others) for other in source)
            for _ in range(self.companions):
                companion = next(other for other in free if other not in taken)
                taken.add(companion)
                group = self.anchors.speaker_groups[companion]
                order = generator(self.anchors.seed, Draw.COMPANION_UTTERANCES, batch, companion).permutation(group)
                parts.append(order.take(range(count), mode="wrap"))
        return np.concatenate(parts)


def find_neighbours(centres: Tensor, count: int) -> NDArray[np.int64]:
    """The most similar other speakers of each.

    Args:
        centres: (S, D) of the classes, of any length.
        count: how many.

    Returns:
        (S, min(count, S - 1)) nearest first, by cosine.
    """
    directions = torch.nn.functional.normalize(centres.detach().float().cpu())
    count = min(count, len(directions) - 1)
    rows = []
    for start in range(0, len(directions), CHUNK):
        similarity = directions[start : start + CHUNK] @ directions.T  # (chunk, S)
        similarity[torch.arange(len(similarity)), torch.arange(start, start + len(similarity))] = -torch.inf
        rows.append(similarity.topk(count, dim=1).indices)
    return torch.cat(rows).numpy()
