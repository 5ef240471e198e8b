"""The encoder: recordings in, one unit-length embedding each out.

Every recording becomes one or more pieces, the pieces go through the network in batches of similar length, and the unit
embeddings of a recording's pieces are averaged and brought back to unit length:

- one piece, the whole recording, in the ordinary case;
- shorter than 2 s: repeated a whole number of times until it lasts 2 s, since the network never saw less in training
  (there too, an utterance shorter than the crop is repeated);
- longer than 60 s: the fewest windows of equal length that are each at most 60 s, so that memory stays bounded;
- with `CropAveraging`: evenly spaced crops.

A model may carry a centre: the mean of unit embeddings of training speakers. It is subtracted from the unit embedding
of every piece, which is then brought back to unit length: what all voices have in common tells none of them apart.

The mean of the features is removed over each piece, as in training over each crop. Nothing is drawn at random: the same
recording gives the same embedding, and a batch gives what its members give alone.

torch is imported only when a model is loaded.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sound_groove.calibration import ScoreMap
from sound_groove.errors import CheckpointError, UsageError, require_extra
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, Samples

if TYPE_CHECKING:
    from torch import Tensor, nn

MODEL_VARIABLE = "SOUND_GROOVE_MODEL"  # the environment variable that names the model to use when none is given
MINIMUM_FRAMES = 200  # 2 s: the crops that the recipes train on
LONGEST_FRAMES = 6000  # 60 s
BATCH_SECONDS = 120.0  # of audio, padding included; the peak is then 0.6 GB above what the model takes (5 MB a second)

Array = NDArray[np.float32]


class SpeakerEncoder:
    """A trained network with the front end that trained it.

    Attributes:
        identity: the model's name and hash.
        embedding_size: values in an embedding.
        score_map: from cosine score to log-likelihood ratio, or None when the model carries none.
        centre: (D,) what is subtracted from unit embeddings, or None; it may be set.

    Example:
        encoder = SpeakerEncoder.load("outputs/ecapa512")
        first, second = encoder.embed([load_audio("a.wav"), load_audio("b.wav")])
        score = float(first @ second)
    """

    def __init__(
        self,
        network: "nn.Module",
        identity: ModelIdentity,
        embedding_size: int,
        feature_size: int = 80,
        score_map: ScoreMap | None = None,
        threads: int | None = None,
        centre: Embeddings | None = None,
    ) -> None:
        """Wrap a network that is in memory already, such as the one in training.

        Args:
            network: (B, T, F) features and (B,) lengths -> (B, D); it is used on the device where it lies, and in
                evaluation mode only while it embeds.
            identity: what to call it.
            embedding_size: D.
            feature_size: F, mel bins.
            score_map: from score to log-likelihood ratio.
            threads: CPU threads to use while it embeds; None leaves torch's own setting.
            centre: (D,) mean of unit embeddings, to be subtracted.
        """
        from sound_groove.features import KaldiFbank

        self.identity = identity
        self.embedding_size = embedding_size
        self.score_map = score_map
        self.centre = centre
        self._network = network
        self._front_end = KaldiFbank(num_mel_bins=feature_size).eval()
        self._feature_size = feature_size
        self._threads = threads

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu", threads: int | None = None) -> "SpeakerEncoder":
        """Load a model file, or the best model of a run folder.

        Args:
            path: a `.safetensors` file or a run folder.
            device: where to compute: "cpu", "cuda", "cuda:1".
            threads: CPU threads to use while it embeds; None leaves torch's own setting.

        Raises:
            MissingExtraError: torch or what belongs to it is not installed.
            CheckpointError: the file is missing, damaged or not a model of ours.
            UsageError: there is no such device here.
        """
        require_extra("Using a .safetensors model", "train", "torch", "safetensors", "pydantic")
        from sound_groove.checkpoint import load_checkpoint, restore_network
        from sound_groove.configuration import NetworkConfiguration

        checkpoint = load_checkpoint(path)
        try:
            network = restore_network(checkpoint).to(device)
        except (RuntimeError, AssertionError) as error:  # torch raises either
            raise UsageError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
        configuration = NetworkConfiguration.model_validate(checkpoint.header.network)
        return cls(
            network,
            checkpoint.identity,
            configuration.embedding_size,
            configuration.feature_size,
            checkpoint.score_map,
            threads,
            checkpoint.centre,
        )

    def embed(
        self, recordings: Sequence[Samples], crops: CropAveraging | None = None, batch_seconds: float = BATCH_SECONDS
    ) -> Embeddings:
        """Embed recordings.

        Args:
            recordings: each (samples,) mono at 16 kHz in [-1, 1], at least 25 ms.
            crops: average evenly spaced crops of this count and length; None takes the whole recording.
            batch_seconds: most audio in a batch, padding included; bounds the memory. One piece always fits.

        Returns:
            (N, D) float32 of unit length, in the order given.

        Raises:
            CheckpointError: the network's output is not finite, or zero.
            UsageError: crops of no length, or none of them.
        """
        from sound_groove.features import FRAME_LENGTH, FRAME_SHIFT

        def samples_in(frames: int) -> int:
            return FRAME_LENGTH + (frames - 1) * FRAME_SHIFT

        def front_end(padded: "Tensor", lengths: "Tensor") -> tuple["Tensor", "Tensor"]:
            from sound_groove.features import frame_count

            features = self._front_end.to(padded.device)(padded)  # (B, samples) -> (B, T, F)
            return features, frame_count(lengths)

        return self._embed(recordings, crops, samples_in, front_end, int(batch_seconds * 100) * FRAME_SHIFT)

    def embed_features(
        self, features: Sequence[Array], crops: CropAveraging | None = None, batch_seconds: float = BATCH_SECONDS
    ) -> Embeddings:
        """Embed recordings whose filterbanks are stored.

        Args:
            features: each (T, F) as `KaldiFbank` gives them, with or without the mean removed.
            crops: as in `embed`.
            batch_seconds: as in `embed`, at 10 ms a frame.

        Returns:
            (N, D) float32 of unit length, in the order given.

        Raises:
            CheckpointError: the features have another number of bins than the model, or its output is not finite.
        """
        for item in features:
            if item.ndim != 2 or item.shape[1] != self._feature_size:
                raise CheckpointError(
                    f"model '{self.identity.name}' takes features of shape (T, {self._feature_size}), "
                    f"and these have shape {tuple(item.shape)}"
                )
        return self._embed(
            features, crops, lambda frames: frames, lambda padded, n: (padded, n), int(batch_seconds * 100)
        )

    def _embed(
        self,
        items: Sequence[Array],
        crops: CropAveraging | None,
        length_of: Callable[[int], int],
        front_end: Callable[["Tensor", "Tensor"], tuple["Tensor", "Tensor"]],
        batch_length: int,
    ) -> Embeddings:
        """Cut, batch, run and average; lengths along the first axis are samples or frames, and `length_of` converts."""
        if crops is not None and (crops.count < 1 or crops.frames < 1):
            raise UsageError(
                f"crops need a count and a length of at least 1; {crops.count} and {crops.frames} were given"
            )
        pieces: list[Array] = []
        owners: list[int] = []
        for index, item in enumerate(items):
            if crops is None:
                cut = _windows(_repeated(item, length_of(MINIMUM_FRAMES)), length_of(LONGEST_FRAMES))
            else:
                cut = _crops(_repeated(item, length_of(crops.frames)), crops.count, length_of(crops.frames))
            pieces.extend(cut)
            owners.extend([index] * len(cut))
        outputs = np.zeros((len(pieces), self.embedding_size), dtype=np.float64)
        with self._ready():
            for batch in _batches([len(piece) for piece in pieces], batch_length):
                embeddings = _unit(self._run([pieces[i] for i in batch], front_end), self.identity)
                outputs[batch] = embeddings if self.centre is None else _unit(embeddings - self.centre, self.identity)
        sums = np.zeros((len(items), self.embedding_size), dtype=np.float64)
        np.add.at(
            sums, np.array(owners, dtype=np.intp), outputs
        )  # pieces of one recording have equal lengths and weights
        return _unit(sums, self.identity).astype(np.float32)

    def _run(
        self, pieces: Sequence[Array], front_end: Callable[["Tensor", "Tensor"], tuple["Tensor", "Tensor"]]
    ) -> NDArray[np.float64]:
        """One batch: pad, features, mean removal, network."""
        import torch

        from sound_groove.features import remove_mean

        device = next(self._network.parameters()).device
        padded = np.zeros((len(pieces), max(map(len, pieces)), *pieces[0].shape[1:]), dtype=np.float32)
        for row, piece in zip(padded, pieces, strict=True):
            row[: len(piece)] = piece
        with torch.inference_mode():
            lengths = torch.tensor([len(piece) for piece in pieces], device=device)
            features, frames = front_end(torch.from_numpy(padded).to(device), lengths)
            embeddings: Tensor = self._network(remove_mean(features, frames), frames)  # (B, T, F) -> (B, D)
            return embeddings.double().cpu().numpy()

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Evaluation mode and the chosen number of threads, put back as they were afterwards."""
        import torch

        training, threads = self._network.training, torch.get_num_threads()
        self._network.eval()
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            self._network.train(training)
            if self._threads is not None:
                torch.set_num_threads(threads)


def default_model() -> str:
    """The model that the environment variable SOUND_GROOVE_MODEL names.

    Raises:
        UsageError: it is not set.
    """
    path = os.environ.get(MODEL_VARIABLE, "")
    if not path:
        raise UsageError(
            f"no model was given: name a model file or run folder with --model or {MODEL_VARIABLE}, "
            "or make one with 'sound-groove train RECIPE.yaml' or 'sound-groove demo'"
        )
    return path


def _repeated(item: Array, length: int) -> Array:
    """The item a whole number of times, so that it lasts at least `length` and every part of it counts the same."""
    return np.concatenate([item] * -(-length // len(item))) if len(item) < length else item


def _windows(item: Array, longest: int) -> list[Array]:
    """The fewest windows of (nearly) equal length, none longer than `longest`.

    >>> [len(window) for window in _windows(np.zeros(10, np.float32), 4)]
    [3, 4, 3]
    """
    count = -(-len(item) // longest)
    edges = np.linspace(0, len(item), count + 1).round().astype(int)
    return [item[start:end] for start, end in pairwise(edges)]


def _crops(item: Array, count: int, length: int) -> list[Array]:
    """Evenly spaced crops from the first to the last possible position; one crop is taken from the middle.

    >>> [list(crop) for crop in _crops(np.arange(5, dtype=np.float32), 2, 3)]
    [[np.float32(0.0), np.float32(1.0), np.float32(2.0)], [np.float32(2.0), np.float32(3.0), np.float32(4.0)]]
    """
    last = len(item) - length
    starts = [last // 2] if count == 1 or last == 0 else np.linspace(0, last, count).round().astype(int).tolist()
    return [item[start : start + length] for start in starts]


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices grouped by similar length, each group's count times its longest within `most` (or a single index).

    >>> list(_batches([5, 1, 9, 2], 10))
    [[2], [0, 3], [1]]
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):  # longest first: memory fails at once or never
        if batch and (len(batch) + 1) * lengths[batch[0]] > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _unit(embeddings: NDArray[np.float64], identity: ModelIdentity) -> NDArray[np.float64]:
    """Rows brought to unit length."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise CheckpointError(
            f"model '{identity.name}' gave an embedding that is not finite or is zero; it is of no use"
        )
    return np.asarray(embeddings / norms, dtype=np.float64)
