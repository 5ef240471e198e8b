"""A model as one module, from the waveform to the unit-length embedding: what every export format holds."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.networks.checkpoint import Checkpoint, restore_network
from sound_groove.networks.hearing import build_hearing, build_normalization


class WaveformModel(nn.Module):
    """From a waveform to its unit-length embedding, as `SpeakerEncoder` takes one piece there.

    Front end, level and floor, mean removal, network, centre and normalisation.

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
        self.feature_size = checkpoint.configuration.feature_size
        self.front_end = build_hearing(self.feature_size).eval()
        self.normalization = build_normalization(self.feature_size, checkpoint.floor_db)
        self.is_centred = checkpoint.centre is not None
        centre = torch.zeros(size) if checkpoint.centre is None else torch.from_numpy(checkpoint.centre)
        self.register_buffer("centre", centre)

    def forward(self, waveform: Tensor, level: Tensor | None = None) -> Tensor:
        """The embeddings of a batch.

        Args:
            waveform: (B, samples) at 16 kHz in [-1, 1], at least 25 ms.
            level: (B,) or (1,), of the recording that each is a piece of; 0 or None where each is the whole. Of no
                meaning for a network without a floor.

        Returns:
            (B, D) of unit length.
        """
        return self.embedding(self.normalization(self.front_end(waveform), levels=level))

    def embedding(self, features: Tensor) -> Tensor:
        """(B, T, F) as `Normalization` gives them -> (B, D) of unit length."""
        return self._scaled(self.network(features))

    def _scaled(self, embedding: Tensor) -> Tensor:
        """(B, D) as the network gives them -> (B, D) of unit length, the centre taken out."""
        unit = F.normalize(embedding)
        return F.normalize(unit - self.centre) if self.is_centred else unit


class TellingModel(WaveformModel):
    """`WaveformModel` that also tells how long each embedding was before it was brought to unit length."""

    def forward(self, waveform: Tensor, level: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The embeddings of a batch (B, D), of unit length, and their norms before (B,); arguments as above."""
        embedding = self.network(self.normalization(self.front_end(waveform), levels=level))
        return self._scaled(embedding), torch.linalg.vector_norm(embedding, dim=1)
