"""How far a network is from its teacher on the same crops, and what its embedding's norm should say.

Three terms:

- the mean of 1 - cosine with the teacher's embedding, from which the mean of all of the teacher's is taken first: what
  all voices have in common is easily learnt, and would be most of what there is to gain;
- the mean squared difference between the cosines of all pairs of the batch and those of the teacher (relational
  distillation, Park et al. 2019), which is what trials are decided by;
- how well the norm tells the cosine with the teacher. Cosines do not depend on the norm, so it is free to say how well
  the network hears: the cosine that it announces is that which a von Mises-Fisher distribution of the concentration
  k x norm has with its mean. The announced is drawn to the true one, and by this term only the norm moves.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FIRST_COSINE = 0.6  # that the norms announce on average when training begins


class Distances(NamedTuple):
    """What comes of a batch, each a mean.

    Attributes:
        crops: 1 - cosine with the teacher's embeddings.
        pairs: squared difference of the cosines of pairs.
        norms: squared difference of the announced cosine and the true one.
    """

    crops: Tensor
    pairs: Tensor
    norms: Tensor


class HearingLoss(nn.Module):
    """The distances of a batch from the teacher.

    Args:
        embedding_size: D.
        teacher_size: of the teacher's embeddings; where it differs from D, a linear projection is trained along.
    """

    mean: Tensor  # (teacher's D,) of the teacher's unit embeddings

    def __init__(self, embedding_size: int, teacher_size: int) -> None:
        super().__init__()
        same = embedding_size == teacher_size
        self.projection = nn.Identity() if same else nn.Linear(embedding_size, teacher_size, bias=False)
        self.log_concentration = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(teacher_size))
        self._half = embedding_size / 2.0

    @torch.no_grad()
    def begin(self, mean: Tensor, norms: Tensor) -> None:
        """Let it know the mean of the teacher's embeddings (teacher's D,), and norms (N,) as the network gives them."""
        self.mean.copy_(mean)
        x = 2.0 * _FIRST_COSINE / (1.0 - _FIRST_COSINE**2)  # where x / (1 + sqrt(1 + x^2)) is that
        self.log_concentration.fill_(math.log(x * self._half / float(norms.mean().clamp(min=1e-6))))

    def forward(self, embeddings: Tensor, targets: Tensor) -> Distances:
        """In float32, whatever the autocast state.

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
            return Distances(1.0 - cosines.mean(), pairs.mean(), norms.mean())

    def announced(self, norms: Tensor) -> Tensor:
        """The cosine with the teacher that norms (N,) announce: that of von Mises-Fisher, to 1 % (Amos 1974)."""
        x = self.log_concentration.exp() * norms / self._half
        return x / (1.0 + (1.0 + x.square()).sqrt())
