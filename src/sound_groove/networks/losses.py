"""The training loss: additive angular margin softmax over cosine similarities."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import TrainingError

# Shorter vectors are divided by this instead of by their length: the gradient of a zero embedding stays finite.
_SHORTEST = 1e-6


class AamSoftmax(nn.Module):
    """Additive angular margin softmax (Deng et al. 2019, ArcFace, equation 3).

    The target's logit is scale * cos(angle + margin) in place of scale * cos(angle). Past angle = pi - margin, where
    that would rise again, it goes on as cos(angle) - (1 + cos(pi - margin)): continuous, and falling to the end.
    Sub-centres (Deng et al. 2020) give every class several weights, of which the nearest counts.

    The inter-top-k penalty (Zhao et al. 2022, "Multi-query multi-head attention pooling and inter-topK penalty for
    speaker verification") makes the k wrong classes that are nearest to an embedding seem nearer than they are, by a
    margin of their own: scale * cos(angle - penalty). Below angle = penalty, where that would fall again, it goes on as
    cos(angle) + (1 - cos(penalty)): continuous, and rising to the end.

    Attributes:
        margin: in radians; may be set between steps.
        penalty: of the k nearest wrong classes, in radians; may be set between steps.

    Args:
        embedding_size: D.
        classes: number of training speakers.
        scale: factor of the logits.
        margin: in radians, 0 <= margin < pi / 2; 0 is the plain softmax over cosines.
        subcenters: weights of each class.
        top_k: wrong classes that are penalised, at most; 0 = none.
        penalty: in radians, 0 <= penalty < pi / 2.
    """

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        scale: float = 32.0,
        margin: float = 0.2,
        subcenters: int = 1,
        top_k: int = 0,
        penalty: float = 0.06,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.scale = scale
        self.margin = margin
        self.subcenters = subcenters
        self.top_k = top_k
        self.penalty = penalty
        # (classes * subcenters, D): the sub-centres of a class are neighbours.
        self.weight = nn.Parameter(torch.empty(classes * subcenters, embedding_size))
        nn.init.xavier_normal_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a batch, in float32 whatever the autocast state.

        Args:
            embeddings: (B, D), of any length.
            labels: (B,) int64, 0 <= label < classes.

        Returns:
            The mean loss, and the cosines (B, classes) without margin or scale.

        Raises:
            TrainingError: a label is out of range.
        """
        self._check_labels(labels)
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            cosines = self._cosines(embeddings.float())  # (B, classes)
            column = labels.unsqueeze(1)  # (B, 1)
            target = self._with_margin(cosines.gather(1, column))
            logits = self.scale * self._with_penalty(cosines, column).scatter(1, column, target)
            return F.cross_entropy(logits, labels), cosines

    @torch.no_grad()
    def centres(self) -> Tensor:
        """(classes, D): the direction of each class, the mean of those of its sub-centres."""
        directions = F.normalize(self.weight.detach().float(), eps=_SHORTEST)
        return directions.view(self.classes, self.subcenters, -1).mean(dim=1)

    def _cosines(self, embeddings: Tensor) -> Tensor:
        """(B, D) -> (B, classes): cosine with the nearest sub-centre of every class."""
        directions = F.normalize(embeddings, eps=_SHORTEST)
        cosines = F.linear(directions, F.normalize(self.weight.float(), eps=_SHORTEST))  # (B, classes * subcenters)
        if self.subcenters > 1:
            cosines = cosines.view(-1, self.classes, self.subcenters).amax(dim=2)
        return cosines

    def _with_margin(self, cosine: Tensor) -> Tensor:
        """cos(angle + margin), or its continuation past pi - margin."""
        turned = cosine * math.cos(self.margin) - _sine(cosine) * math.sin(self.margin)
        turning_point = math.cos(math.pi - self.margin)
        return torch.where(cosine > turning_point, turned, cosine - (1.0 + turning_point))

    def _with_penalty(self, cosines: Tensor, column: Tensor) -> Tensor:
        """(B, classes): the cosines, those of the nearest wrong classes as if they were nearer.

        Args:
            cosines: (B, classes).
            column: (B, 1) the right classes.
        """
        count = min(self.top_k, self.classes - 1)
        if not count or not self.penalty:
            return cosines
        wrong = cosines.detach().scatter(1, column, -torch.inf)
        nearest = wrong.topk(count, dim=1).indices  # (B, k)
        cosine = cosines.gather(1, nearest)
        turned = cosine * math.cos(self.penalty) + _sine(cosine) * math.sin(self.penalty)
        turning_point = math.cos(self.penalty)
        return cosines.scatter(1, nearest, torch.where(cosine < turning_point, turned, cosine + (1.0 - turning_point)))

    def _check_labels(self, labels: Tensor) -> None:
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= self.classes:
            raise TrainingError(
                f"the batch has labels from {low} to {high}, and the loss has {self.classes} classes (0 to "
                f"{self.classes - 1}); check that the loss was made for this manifest's speakers"
            )

    def extra_repr(self) -> str:
        """What `print` shows."""
        return (
            f"classes={self.classes}, scale={self.scale}, margin={self.margin}, subcenters={self.subcenters}, "
            f"top_k={self.top_k}, penalty={self.penalty}"
        )


def _sine(cosine: Tensor) -> Tensor:
    """The sine of an angle from 0 to pi."""
    # The square root's gradient is infinite at 0. The clamp acts only there, because float32 has no value of
    # 1 - cos^2 between 0 and 6e-8, and passes no gradient.
    return (1.0 - cosine.square()).clamp(min=1e-12).sqrt()
