"""A model as one module, from the waveform to the unit-length embedding: what every export format holds."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.checkpoint import Checkpoint, restore_network
from sound_groove.features import KaldiFbank, remove_mean


class WaveformModel(nn.Module):
    """Front end, mean removal, network, centre and normalisation, as `SpeakerEncoder` applies them to one piece.

    Args:
        checkpoint: the model.

    Raises:
        CheckpointError: its network cannot be built.
    """

    centre: Tensor  # (D,)

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        size = int(checkpoint.header.network["embedding_size"])
        self.network = restore_network(checkpoint)
        self.front_end = KaldiFbank().eval()
        self.is_centred = checkpoint.centre is not None
        centre = torch.zeros(size) if checkpoint.centre is None else torch.from_numpy(checkpoint.centre)
        self.register_buffer("centre", centre)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, samples) at 16 kHz in [-1, 1], at least 25 ms -> (B, D) of unit length."""
        return self.embedding(remove_mean(self.front_end(waveform)))

    def embedding(self, features: Tensor) -> Tensor:
        """(B, T, F) with the mean removed -> (B, D) of unit length."""
        embedding = F.normalize(self.network(features))
        return F.normalize(embedding - self.centre) if self.is_centred else embedding
