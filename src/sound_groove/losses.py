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

    Attributes:
        margin: in radians; may be set between steps.

    Args:
        embedding_size: D.
        classes: number of training speakers.
        scale: factor of the logits.
        margin: in radians, 0 <= margin < pi / 2; 0 is the plain softmax over cosines.
        subcenters: weights of each class.
    """

    def __init__(
        self, embedding_size: int, classes: int, scale: float = 32.0, margin: float = 0.2, subcenters: int = 1
    ) -> None:
        super().__init__()
        self.classes = classes
        self.scale = scale
        self.margin = margin
        self.subcenters = subcenters
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
            logits = self.scale * cosines.scatter(1, column, target)
            return F.cross_entropy(logits, labels), cosines

    def _cosines(self, embeddings: Tensor) -> Tensor:
        """(B, D) -> (B, classes): cosine with the nearest sub-centre of every class."""
        directions = F.normalize(embeddings, eps=_SHORTEST)
        cosines = F.linear(directions, F.normalize(self.weight.float(), eps=_SHORTEST))  # (B, classes * subcenters)
        if self.subcenters > 1:
            cosines = cosines.view(-1, self.classes, self.subcenters).amax(dim=2)
        return cosines

    def _with_margin(self, cosine: Tensor) -> Tensor:
        """cos(angle + margin), or its continuation past pi - margin."""
        # The square root's gradient is infinite at 0. The clamp acts only there, because float32 has no value of
        # 1 - cos^2 between 0 and 6e-8, and passes no gradient.
        sine = (1.0 - cosine.square()).clamp(min=1e-12).sqrt()
        turned = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        turning_point = math.cos(math.pi - self.margin)
        return torch.where(cosine > turning_point, turned, cosine - (1.0 + turning_point))

    def _check_labels(self, labels: Tensor) -> None:
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= self.classes:
            raise TrainingError(
                f"the batch has labels from {low} to {high}, and the loss has {self.classes} classes (0 to "
                f"{self.classes - 1}); check that the loss was made for this manifest's speakers"
            )

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"classes={self.classes}, scale={self.scale}, margin={self.margin}, subcenters={self.subcenters}"
