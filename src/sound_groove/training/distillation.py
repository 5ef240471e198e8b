"""Learning from a teacher: the embedding of an augmented crop is drawn to the teacher's of the clean, whole utterance.

The distance is 1 - cosine, one of the two of embedding-level distillation (Wang et al. 2019, "Knowledge distillation
for small foot-print deep speaker embedding"). A network whose embeddings have another size than the teacher's gets a
linear projection, which is trained along and left out of the model.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.inputs.dataset import Batch


class Lesson(NamedTuple):
    """What a teacher says of the items of a batch.

    Attributes:
        targets: (B, teacher's D) its embeddings of their utterances, of unit length; zeros where it has none.
        taught: (B,) bool: the items that are to be drawn to them.
    """

    targets: Tensor
    taught: Tensor

    def split(self, parts: int) -> list["Lesson"]:
        """The lesson in parts, as `Batch.split` cuts the batch."""
        return [Lesson(*part) for part in zip(self.targets.chunk(parts), self.taught.chunk(parts), strict=True)]


class Teaching:
    """The teacher's embeddings of all training utterances.

    Args:
        targets: (N, teacher's D) of unit length; zeros where the teacher has none.
        plain: index of the speed 1: at another speed an utterance is another voice, of which the teacher says nothing.
        device: of the lessons.
    """

    def __init__(self, targets: Tensor, plain: int, device: torch.device) -> None:
        self._targets, self._plain, self._device = targets, plain, device

    def lesson(self, batch: Batch) -> Lesson:
        """What the teacher says of a batch."""
        targets = self._targets[batch.utterances.cpu()].to(self._device, non_blocking=True).float()
        taught = (batch.speeds == self._plain) & targets.any(dim=1)
        return Lesson(targets, taught)


class Pupil(nn.Module):
    """How far embeddings are from the teacher's.

    Args:
        embedding_size: D.
        teacher_size: of the teacher's embeddings.
    """

    def __init__(self, embedding_size: int, teacher_size: int) -> None:
        super().__init__()
        same = embedding_size == teacher_size
        self.projection = nn.Identity() if same else nn.Linear(embedding_size, teacher_size, bias=False)

    def forward(self, embeddings: Tensor, lesson: Lesson) -> Tensor:
        """The sum of 1 - cosine over the items that are taught, in float32 whatever the autocast state.

        Args:
            embeddings: (B, D), of any length.
            lesson: what the teacher says of them.
        """
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            directions = F.normalize(self.projection(embeddings.float()), eps=1e-6)  # (B, teacher's D)
            distances = 1.0 - (directions * lesson.targets).sum(dim=1)  # (B,)
            return torch.where(lesson.taught, distances, torch.zeros_like(distances)).sum()
