"""The training losses over cosine similarities: additive angular margin softmax, and SphereFace2."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import TrainingError

# Shorter vectors are divided by this instead of by their length: the gradient of a zero embedding stays finite.
_SHORTEST = 1e-6


class SpeakerHead(nn.Module):
    """The classes of the training speakers, and what every loss over cosines has.

    Attributes:
        classes: number of training speakers.
        scale: factor of the cosines; may be set between steps.
        margin: by which the right class is made harder to hit; may be set between steps.
        subcenters: weights of each class, of which the nearest counts (Deng et al. 2020).
        weight: (classes * subcenters, D), the sub-centres of a class are neighbours.

    Args:
        embedding_size: D.
        classes: number of training speakers.
        scale: factor of the cosines.
        margin: see the losses.
        subcenters: weights of each class.
    """

    def __init__(self, embedding_size: int, classes: int, scale: float, margin: float, subcenters: int) -> None:
        super().__init__()
        self.classes = classes
        self.scale = scale
        self.margin = margin
        self.subcenters = subcenters
        self.weight = nn.Parameter(torch.empty(classes * subcenters, embedding_size))
        nn.init.xavier_normal_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor, trust: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The loss of a batch, in float32 whatever the autocast state.

        Args:
            embeddings: (B, D), of any length.
            labels: (B,) int64, 0 <= label < classes.
            trust: (B,) by what the loss of each is multiplied, from 0 to 1; None = by 1.

        Returns:
            The mean loss, and the cosines (B, classes) without margin or scale.

        Raises:
            TrainingError: a label is out of range.
        """
        self._check_labels(labels)
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            cosines = self._cosines(embeddings.float())  # (B, classes)
            losses = self.losses(cosines, labels)
            return (losses if trust is None else losses * trust).mean(), cosines

    def losses(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """The loss of each item of a batch: what a loss of your own has to give.

        Args:
            cosines: (B, classes) with the directions of the training speakers, in float32.
            labels: (B,) int64.

        Returns:
            (B,) losses, with the margin as it is now.
        """
        raise NotImplementedError

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


class AamSoftmax(SpeakerHead):
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
        super().__init__(embedding_size, classes, scale, margin, subcenters)
        self.top_k = top_k
        self.penalty = penalty

    def losses(self, cosines: Tensor, labels: Tensor) -> Tensor:
        column = labels.unsqueeze(1)  # (B, 1)
        target = self._with_margin(cosines.gather(1, column))
        logits = self.scale * self._with_penalty(cosines, column).scatter(1, column, target)
        return F.cross_entropy(logits, labels, reduction="none")

    def _with_margin(self, cosine: Tensor) -> Tensor:
        """cos(angle + margin), or its continuation past pi - margin."""
        return _turned_away(cosine, self.margin)

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
        return cosines.scatter(1, nearest, _turned_near(cosine, self.penalty))

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{super().extra_repr()}, top_k={self.top_k}, penalty={self.penalty}"


class SphereFace2(SpeakerHead):
    """SphereFace2 (Wen et al. 2022, "SphereFace2: Binary classification is all you need for deep face recognition",
    section 3), as Han et al. 2023 ("Exploring binary classification loss for speaker verification") use it.

    No class competes with another: each is a question of its own, is it this speaker or not. With the embedding's
    cosine c_j with class j, its own class y, r = `scale`, m = `margin`, l = `balance`, t = `exponent` and

        g(z) = 2 ((z + 1) / 2)^t - 1

    the loss of an embedding is

        l log(1 + exp(-r (g(c_y) - m) - b)) + (1 - l) sum over j != y of log(1 + exp(r (g(c_j) + m) + b))

    where b is learnt. That is the margin of cosines ("cosine", type C). With a margin of angles ("angle", type A) the
    terms are r g(cos(angle_y + m)) and r g(cos(angle_j - m)); past their turning points the cosines go on as in
    `AamSoftmax`.

    Departures from Wen et al., as in the published training of speaker networks (WeSpeaker): the loss is not divided by
    r, which belongs to the learning rate, and b begins at 0.

    Attributes:
        bias: b.

    Args:
        embedding_size: D.
        classes: number of training speakers.
        scale: r.
        margin: m, of cosines or in radians, at least 0.
        subcenters: weights of each class.
        balance: l, the share of the right class, between 0 and 1.
        exponent: t, at least 1: the higher, the further apart are the scores of what is alike and of what is not.
        margin_of: "cosine" or "angle".
    """

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        scale: float = 32.0,
        margin: float = 0.2,
        subcenters: int = 1,
        balance: float = 0.7,
        exponent: int = 3,
        margin_of: Literal["cosine", "angle"] = "cosine",
    ) -> None:
        super().__init__(embedding_size, classes, scale, margin, subcenters)
        self.balance = balance
        self.exponent = exponent
        self.margin_of = margin_of
        self.bias = nn.Parameter(torch.zeros(()))

    def losses(self, cosines: Tensor, labels: Tensor) -> Tensor:
        column = labels.unsqueeze(1)  # (B, 1)
        bias = self.bias.float()
        own, others = self._own(cosines.gather(1, column)), self._others(cosines)
        right = F.softplus(-self.scale * own - bias).squeeze(1)  # (B,)
        wrong = F.softplus(self.scale * others + bias).scatter(1, column, 0.0).sum(dim=1)
        return self.balance * right + (1.0 - self.balance) * wrong

    def _own(self, cosine: Tensor) -> Tensor:
        """What the right class scores, less the margin."""
        if self.margin_of == "cosine":
            return self._spread(cosine) - self.margin
        return self._spread(_turned_away(cosine, self.margin))

    def _others(self, cosines: Tensor) -> Tensor:
        """What the wrong classes score, and the margin."""
        if self.margin_of == "cosine":
            return self._spread(cosines) + self.margin
        return self._spread(_turned_near(cosines, self.margin))

    def _spread(self, z: Tensor) -> Tensor:
        """g."""
        return 2.0 * ((z + 1.0) / 2.0) ** self.exponent - 1.0

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{super().extra_repr()}, balance={self.balance}, exponent={self.exponent}, margin_of={self.margin_of!r}"


def _turned_away(cosine: Tensor, margin: float) -> Tensor:
    """cos(angle + margin), or past pi - margin, where that would rise again, its continuation, which falls."""
    turned = cosine * math.cos(margin) - _sine(cosine) * math.sin(margin)
    turning_point = math.cos(math.pi - margin)
    return torch.where(cosine > turning_point, turned, cosine - (1.0 + turning_point))


def _turned_near(cosine: Tensor, margin: float) -> Tensor:
    """cos(angle - margin), or below margin, where that would fall again, its continuation, which rises."""
    turned = cosine * math.cos(margin) + _sine(cosine) * math.sin(margin)
    turning_point = math.cos(margin)
    return torch.where(cosine < turning_point, turned, cosine + (1.0 - turning_point))


def _sine(cosine: Tensor) -> Tensor:
    """The sine of an angle from 0 to pi."""
    # The square root's gradient is infinite at 0. The clamp acts only there, because float32 has no value of
    # 1 - cos^2 between 0 and 6e-8, and passes no gradient.
    return (1.0 - cosine.square()).clamp(min=1e-12).sqrt()
