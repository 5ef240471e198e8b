"""How far a network is from its teacher on the same crops, and what its embedding's norm should say.

Terms that a batch's embeddings are measured by:

- the mean of 1 - cosine with the teacher's embedding, from which the mean of all of the teacher's is taken first: what
  all voices have in common is easily learnt, and would be most of what there is to gain;
- the mean squared difference between the cosines of all pairs of the batch and those of the teacher (relational
  distillation, Park et al. 2019), which is what trials are decided by;
- how differently the two say whom a crop resembles, of the others of its batch and of those before it: the
  Kullback-Leibler divergence between softmaxes of the cosines (SEED, Fang et al. 2021, section 3). Most pairs of
  crops are of strangers, and how far these are from one another hardly matters: the sharper the teacher's softmax, the
  more its nearest count;
- how well the norm tells the cosine with the teacher. Cosines do not depend on the norm, so it is free to say how well
  the network hears: the cosine that it announces is that which a von Mises-Fisher distribution of the concentration
  k x norm has with its mean. The announced is drawn to the true one, and by this term only the norm moves.

And one by what they are pooled from (`FrameDistance`): of a crop of 2.5 s the teacher gives one embedding, and 125
frames.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.audio.filterbank import FRAME_SHIFT
from sound_groove.inputs.crops.pool import FRAME_SAMPLES

_FIRST_COSINE = 0.6  # that the norms announce on average when training begins
_FIRST_SHARPNESS = 0.6  # of the network's softmax, as a share of the teacher's: about where it settles
_ITSELF = -1e4  # in the place of a crop's likeness to itself
_LEAST_VARIANCE = 1e-3  # of a channel that the teacher pools: below it hardly anything is said


class Distances(NamedTuple):
    """What comes of a batch, each a mean.

    Attributes:
        crops: 1 - cosine with the teacher's embeddings.
        pairs: squared difference of the cosines of pairs.
        neighbours: Kullback-Leibler divergence of whom a crop resembles from whom it resembles by the teacher, in nats.
        norms: squared difference of the announced cosine and the true one.
    """

    crops: Tensor
    pairs: Tensor
    neighbours: Tensor
    norms: Tensor


class FrameDistance(nn.Module):
    """How far what the network pools over time is from what its teacher pools ("hints", Romero et al. 2015, "FitNets").

    It is the mean squared difference, each channel in units of its variance in the teacher, over the crops in which the
    teacher's frames have their places.

    Args:
        pooled_size: C, channels that the network pools.
        teacher_size: P, those that the teacher pools; where it differs from C, a linear projection of each frame is
            trained along.
        stride: filterbank frames from one of the network's frames to the next.
    """

    variance: Tensor  # (P,) of the teacher's channels

    def __init__(self, pooled_size: int, teacher_size: int, stride: int) -> None:
        super().__init__()
        same = pooled_size == teacher_size
        self.projection = nn.Identity() if same else nn.Conv1d(pooled_size, teacher_size, 1)
        self.register_buffer("variance", torch.ones(teacher_size))
        self._hop = FRAME_SHIFT * stride

    @torch.no_grad()
    def begin(self, told: Sequence[Tensor]) -> None:
        """Let it know how much the teacher's channels vary, from frames of it, each (B, P, T)."""
        whole = torch.cat([frames.float().transpose(1, 2).flatten(0, 1) for frames in told])  # (frames, P)
        self.variance.copy_(whole.var(dim=0) + _LEAST_VARIANCE)

    def forward(self, frames: Tensor, told: Tensor, starts: Tensor) -> Tensor:
        """The mean over the crops, in float32, whatever the autocast state; 0 where no crop has its place.

        Args:
            frames: (B, C, T) that the network pools, one every stride.
            told: (B, P, K) that the teacher pools, one every `FRAME_SAMPLES`.
            starts: (B,) the sample at which the teacher's crop begins in the network's, a multiple of `FRAME_SAMPLES`;
                -1 = nowhere.
        """
        with torch.autocast(device_type=frames.device.type, enabled=False):
            every = torch.arange(told.shape[2], device=frames.device) * (FRAME_SAMPLES // self._hop)  # (K,)
            places = starts.clamp(min=0)[:, None] // self._hop + every  # (B, K)
            there = frames.gather(2, places[:, None].expand(-1, frames.shape[1], -1)).float()  # (B, C, K)
            squares = (self.projection(there) - told.float()).square() / self.variance[:, None]
            has_place = starts >= 0
            of_crops = torch.where(has_place, squares.mean(dim=(1, 2)), 0.0)
            return of_crops.sum() / has_place.sum().clamp(min=1)


class HearingLoss(nn.Module):
    """The distances of a batch from the teacher.

    Args:
        embedding_size: D.
        teacher_size: of the teacher's embeddings; where it differs from D, a linear projection is trained along.
        neighbours: how many earlier crops a crop is compared with, beside those of its batch; they are remembered as
            they were embedded then.
        temperature: by which the teacher's cosines are divided before their softmax; the network's own is learnt.
        frames: compares what is pooled over time, where that is asked for.
    """

    mean: Tensor  # (teacher's D,) of the teacher's unit embeddings
    earlier: Tensor  # (N, D) unit embeddings of earlier crops, the newest first
    earlier_targets: Tensor  # (N, teacher's D) the teacher's of the same, centred
    remembered: Tensor  # () how many of the N rows there are so far

    def __init__(
        self,
        embedding_size: int,
        teacher_size: int,
        neighbours: int = 0,
        temperature: float = 0.04,
        frames: FrameDistance | None = None,
    ) -> None:
        super().__init__()
        self.frames = frames
        same = embedding_size == teacher_size
        self.projection = nn.Identity() if same else nn.Linear(embedding_size, teacher_size, bias=False)
        self.log_concentration = nn.Parameter(torch.zeros(()))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(_FIRST_SHARPNESS / temperature)))
        self.register_buffer("mean", torch.zeros(teacher_size))
        self.register_buffer("earlier", torch.zeros(neighbours, embedding_size))
        self.register_buffer("earlier_targets", torch.zeros(neighbours, teacher_size))
        self.register_buffer("remembered", torch.zeros((), dtype=torch.int64))
        self._temperature = temperature
        self._half = embedding_size / 2.0

    @torch.no_grad()
    def begin(self, mean: Tensor, norms: Tensor) -> None:
        """Let it know the mean of the teacher's embeddings (teacher's D,), and norms (N,) as the network gives them."""
        self.mean.copy_(mean)
        x = 2.0 * _FIRST_COSINE / (1.0 - _FIRST_COSINE**2)  # where x / (1 + sqrt(1 + x^2)) is that
        self.log_concentration.fill_(math.log(x * self._half / float(norms.mean().clamp(min=1e-6))))

    def forward(self, embeddings: Tensor, targets: Tensor) -> Distances:
        """In float32, whatever the autocast state. In training, the crops are remembered for the batches to come.

        Args:
            embeddings: (B, D), of any length.
            targets: (B, teacher's D) of unit length.
        """
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            directions = F.normalize(self.projection(embeddings), eps=1e-6)  # (B, teacher's D)
            wanted = F.normalize(targets.float() - self.mean, eps=1e-6)
            cosines = (directions * wanted).sum(dim=1)  # (B,)
            apart = ~torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
            pairs = (directions @ directions.T - wanted @ wanted.T)[apart].square()
            announced = self.announced(torch.linalg.vector_norm(embeddings, dim=1))
            norms = (announced - cosines.detach()).square()
            neighbours = self._neighbours(F.normalize(embeddings, eps=1e-6), wanted)
            return Distances(1.0 - cosines.mean(), pairs.mean(), neighbours, norms.mean())

    def _neighbours(self, directions: Tensor, wanted: Tensor) -> Tensor:
        """The divergence of whom crops resemble, by their unit embeddings (B, D) and the teacher's (B, teacher's D)."""
        known = int(self.remembered)
        candidates = torch.cat([directions, self.earlier[:known]])
        teachers = torch.cat([wanted, self.earlier_targets[:known]])
        itself = torch.zeros(len(directions), len(candidates), device=directions.device)
        itself.fill_diagonal_(_ITSELF)
        said = F.log_softmax(directions @ candidates.T * self.log_sharpness.exp() + itself, dim=1)
        told = F.log_softmax(wanted @ teachers.T / self._temperature + itself, dim=1)
        if self.training:
            self._remember(candidates, teachers)
        return F.kl_div(said, told, reduction="batchmean", log_target=True)

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, teachers: Tensor) -> None:
        """Keep the newest, which come first."""
        known = min(len(embeddings), len(self.earlier))
        self.earlier[:known], self.earlier_targets[:known] = embeddings[:known], teachers[:known]
        self.remembered.fill_(known)

    def announced(self, norms: Tensor) -> Tensor:
        """The cosine with the teacher that norms (N,) announce: that of von Mises-Fisher, to 1 % (Amos 1974)."""
        x = self.log_concentration.exp() * norms / self._half
        return x / (1.0 + (1.0 + x.square()).sqrt())
