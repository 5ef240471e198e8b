"""A network in torch as an encoder's backend: what training validates, and what a .safetensors file holds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sound_groove.audio.pieces import Array
from sound_groove.errors import CheckpointError, UsageError
from sound_groove.networks.checkpoint import Checkpoint, restore_network
from sound_groove.networks.hearing import SAMPLES, build_hearing, build_normalization
from sound_groove.networks.torch_threads import torch_threads


class TorchNetwork:
    """A network with its front end.

    Attributes:
        embedding_size: D.
        pads: pieces of a batch may have different lengths.
        has_floor: the level of a recording matters to the network.
        tells_norm: the length of its embeddings says something: always, before they are scaled.
        silence_share: how much digital silence is put behind speech, as a share of it, or None.
        longest_samples: None: pieces may be as long as they are made.
        batch_seconds: of a batch; the peak is then 0.6 GB above what the model takes (5 MB a second).

    Args:
        network: (B, T, F) features and (B,) lengths -> (B, D); it is used on the device where it lies, and in
            evaluation mode only while it embeds.
        embedding_size: D.
        feature_size: F, mel bins; 1 for the samples themselves.
        threads: CPU threads to use while it embeds; None leaves torch's own setting.
        floor_db: how far below a recording's level the floor of its features lies, or None.
        silence_share: how much digital silence is put behind speech (`sound_groove.audio.pauses`), or None.
    """

    pads = True
    tells_norm = True
    longest_samples: int | None = None
    batch_seconds = 120.0

    def __init__(
        self,
        network: nn.Module,
        embedding_size: int,
        feature_size: int = 80,
        threads: int | None = None,
        floor_db: float | None = None,
        silence_share: float | None = None,
    ) -> None:
        self.embedding_size = embedding_size
        self.has_floor = floor_db is not None
        self.silence_share = silence_share
        self._network = network
        self._front_end = build_hearing(feature_size).eval()
        self._normalization = build_normalization(feature_size, floor_db)
        self._feature_size = feature_size
        self._threads = threads

    @classmethod
    def restore(cls, checkpoint: Checkpoint, device: str, threads: int | None) -> "TorchNetwork":
        """The network of a model file.

        Raises:
            CheckpointError: it cannot be built.
            UsageError: there is no such device here.
        """
        try:
            network = restore_network(checkpoint).to(device)
        except (RuntimeError, AssertionError) as error:  # torch raises either
            raise UsageError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
        settings = checkpoint.configuration
        front_end = settings.floor_db, settings.silence_share
        return cls(network, settings.embedding_size, settings.feature_size, threads, *front_end)

    def embed_waveforms(self, pieces: Sequence[Array], levels: Sequence[float]) -> NDArray[np.float64]:
        """(N, D), not normalised, of pieces (samples,) each, with the levels of the recordings that they are of."""

        def front_end(padded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            return self._front_end.to(padded.device)(padded), self._front_end.frame_count(lengths)

        return self._run(pieces, levels, front_end)

    def embed_features(self, pieces: Sequence[Array], levels: Sequence[float]) -> NDArray[np.float64]:
        """(N, D), not normalised, of features (T, F) each, with the levels of the recordings that they are of.

        Raises:
            CheckpointError: they have another number of bins than the network takes, or it hears samples.
        """
        if self._feature_size == SAMPLES:
            raise CheckpointError("the model hears the samples themselves; give it recordings, not features")
        for piece in pieces:
            if piece.ndim != 2 or piece.shape[1] != self._feature_size:
                raise CheckpointError(
                    f"the model takes features of shape (T, {self._feature_size}), "
                    f"and these have shape {tuple(piece.shape)}"
                )
        return self._run(pieces, levels, lambda padded, lengths: (padded, lengths))

    def _run(
        self,
        pieces: Sequence[Array],
        levels: Sequence[float],
        front_end: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> NDArray[np.float64]:
        """One batch: pad, features, level and floor, mean removal, network."""
        device = next(self._network.parameters()).device
        padded = np.zeros((len(pieces), max(map(len, pieces)), *pieces[0].shape[1:]), dtype=np.float32)
        for row, piece in zip(padded, pieces, strict=True):
            row[: len(piece)] = piece
        with self._ready(), torch.inference_mode():
            lengths = torch.tensor([len(piece) for piece in pieces], device=device)
            features, frames = front_end(torch.from_numpy(padded).to(device), lengths)
            normalization = self._normalization.to(device)
            heard = normalization(features, frames, torch.tensor(levels, dtype=torch.float32, device=device))
            embeddings: Tensor = self._network(heard, frames)  # (B, T, F) -> (B, D)
            return embeddings.double().cpu().numpy()

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Evaluation mode and the chosen number of threads, put back as they were afterwards."""
        training = self._network.training
        self._network.eval()
        try:
            with torch_threads(self._threads):
                yield
        finally:
            self._network.train(training)
