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

The mean of the features is removed over each piece, as in training over each crop. Where the network has a floor, every
piece is heard at the level of the whole recording, so that a quiet stretch of an hour stays one; a file is then read
twice, as its level is to be known before its first piece. Nothing is drawn at random: the same recording gives the same
embedding, and a batch gives what its members give alone.

A model is a file in ONNX, for which numpy and onnxruntime suffice, or a .safetensors file or run folder, for which
torch is imported when it is loaded. The package carries one, under the name `pretrained`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio import SAMPLE_RATE, read_spans
from sound_groove.calibration import ScoreMap
from sound_groove.errors import AudioError, CheckpointError, UsageError, printable, require_extra
from sound_groove.filterbank import FRAME_SHIFT, samples_of
from sound_groove.level import frame_energies, level_of, level_of_features, level_of_samples, level_spans
from sound_groove.pieces import Array, Span, batches, repeated, spans
from sound_groove.pretrained import PRETRAINED, model_path
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, Samples

if TYPE_CHECKING:
    from torch import nn

MODEL_VARIABLE = "SOUND_GROOVE_MODEL"  # names the model to use when none is given
MINIMUM_FRAMES = 198  # the whole frames of 2 s, about what the recipes train on
LONGEST_FRAMES = 6000  # 60 s
HELD_SECONDS = 600.0  # of pieces that wait to be put into batches of similar length: 38 MB

Piece = tuple[Array, float]  # and the level of the recording that it is a part of; 0 where it is the whole
AnyRecording = str | os.PathLike[str] | Samples


class Backend(Protocol):
    """What computes embeddings of pieces.

    Attributes:
        embedding_size: D.
        pads: pieces of a batch may have different lengths.
        has_floor: the level of a recording matters to the network.
        batch_seconds: of audio, padding included, that a batch should have at most.
    """

    embedding_size: int
    pads: bool
    has_floor: bool
    batch_seconds: float

    def embed_waveforms(self, pieces: Sequence[Samples], levels: Sequence[float]) -> NDArray[np.float64]:
        """(N, D), not normalised, of pieces (samples,), with the levels of their recordings, 0 where they are whole."""
        ...

    def embed_features(self, pieces: Sequence[Array], levels: Sequence[float]) -> NDArray[np.float64]:
        """(N, D), not normalised, of features (T, F); levels as above."""
        ...


class SpeakerEncoder:
    """A trained network with the front end that trained it.

    Attributes:
        identity: the model's name and hash.
        embedding_size: values in an embedding.
        score_map: from cosine score to log-likelihood ratio, or None when the model carries none.
        centre: (D,) what is subtracted from unit embeddings, or None; it may be set. A model in ONNX subtracts its own.
        trained_speakers: digests of the names of the speakers that it was trained on (`sound_groove.speakers`); empty
            where the model does not say.

    Args:
        backend: computes embeddings of pieces.
        identity: what to call the model.
        score_map: from score to log-likelihood ratio.
        centre: (D,) mean of unit embeddings, to be subtracted.
        trained_speakers: digests of the names of the speakers that it was trained on.

    Example:
        encoder = SpeakerEncoder.load("pretrained")
        first, second = encoder.embed(["a.wav", "b.wav"])
        score = float(first @ second)
    """

    def __init__(
        self,
        backend: Backend,
        identity: ModelIdentity,
        score_map: ScoreMap | None = None,
        centre: Embeddings | None = None,
        trained_speakers: frozenset[str] = frozenset(),
    ) -> None:
        self.identity = identity
        self.embedding_size = backend.embedding_size
        self.score_map = score_map
        self.centre = centre
        self.trained_speakers = trained_speakers
        self._backend = backend

    @classmethod
    def of_network(
        cls,
        network: "nn.Module",
        identity: ModelIdentity,
        embedding_size: int,
        feature_size: int = 80,
        threads: int | None = None,
        floor_db: float | None = None,
    ) -> "SpeakerEncoder":
        """Wrap a network that is in memory already, such as the one in training.

        Args:
            network: (B, T, F) features and (B,) lengths -> (B, D); it is used on the device where it lies, and in
                evaluation mode only while it embeds.
            identity: what to call it.
            embedding_size: D.
            feature_size: F, mel bins.
            threads: CPU threads to use while it embeds; None leaves torch's own setting.
            floor_db: how far below a recording's level the floor of its features lies, or None.
        """
        from sound_groove.torch_network import TorchNetwork

        return cls(TorchNetwork(network, embedding_size, feature_size, threads, floor_db), identity)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu", threads: int | None = None) -> "SpeakerEncoder":
        """Load a model file, or the best model of a run folder.

        Args:
            path: an `.onnx` file, of ours or of WeSpeaker, 3D-Speaker or sherpa-onnx; a `.safetensors` file; a run
                folder; or the name `pretrained`, for the model that the package carries.
            device: where to compute: "cpu", "cuda", "cuda:1"; for an ONNX file also "tensorrt", as far as the installed
                onnxruntime has it, "openvino" and, in bfloat16, "openvino:bf16".
            threads: CPU threads to use while it embeds; None takes all cores.

        Raises:
            MissingExtraError: torch or what belongs to it is not installed, and the model is not an ONNX file.
            CheckpointError: the file is missing, damaged or not a model that is known here.
            UsageError: there is no such device here.
        """
        path = model_path(path)
        if path.suffix == ".onnx":
            from sound_groove.onnx_model import OnnxModel

            model = OnnxModel(path, device, threads)
            return cls(model, model.identity, model.score_map, trained_speakers=model.trained_speakers)
        require_extra("Using a .safetensors model", "train", "torch", "safetensors", "pydantic")
        from sound_groove.checkpoint import load_checkpoint
        from sound_groove.torch_network import TorchNetwork

        checkpoint = load_checkpoint(path)
        network = TorchNetwork.restore(checkpoint, device, threads)
        return cls(network, checkpoint.identity, checkpoint.score_map, checkpoint.centre, checkpoint.trained_speakers)

    def embed(
        self,
        recordings: AnyRecording | Sequence[AnyRecording],
        crops: CropAveraging | None = None,
        batch_seconds: float | None = None,
    ) -> Embeddings:
        """Embed one recording or several.

        A file is decoded piece by piece: hours of audio take no more memory than minutes.

        Args:
            recordings: paths of audio files, or (samples,) mono float at 16 kHz in [-1, 1], at least 25 ms; or one.
            crops: average evenly spaced crops of this count and length; None takes the whole recording.
            batch_seconds: most audio in a batch, padding included; bounds the memory. One piece always fits. None takes
                what suits the model's kind.

        Returns:
            (N, D) float32 of unit length, in the order given; (D,) of a single recording.

        Raises:
            AudioError: a recording cannot be used.
            CheckpointError: the network's output is not finite, or zero.
            UsageError: crops of no length, or none of them.
        """
        if isinstance(recordings, str | os.PathLike) or (
            isinstance(recordings, np.ndarray) and recordings.ndim == 1 and recordings.dtype != object
        ):
            single: Embeddings = self.embed([recordings], crops, batch_seconds)[0]
            return single
        cut = _cutter(crops, samples_of)
        pieces = (_pieces_of(recording, *cut, self._backend.has_floor) for recording in recordings)
        most = batch_seconds or self._backend.batch_seconds
        return self._average(pieces, len(recordings), self._backend.embed_waveforms, most, SAMPLE_RATE)

    def embed_features(
        self, features: Sequence[Array], crops: CropAveraging | None = None, batch_seconds: float | None = None
    ) -> Embeddings:
        """Embed recordings whose filterbanks are stored.

        Args:
            features: each (T, F) as `KaldiFbank` gives them; with or without the mean removed, unless the model has a
                floor, which lies below a level that only the mean tells.
            crops: as in `embed`.
            batch_seconds: as in `embed`, at 10 ms a frame.

        Returns:
            (N, D) float32 of unit length, in the order given.

        Raises:
            CheckpointError: the features have another number of bins than the model, or its output is not finite.
            UsageError: the model is an ONNX file, which takes audio; or it has a floor, and the mean of the features
                was removed.
        """
        least, cut = _cutter(crops, lambda frames: frames)
        if self._backend.has_floor and any(_is_centred(item) for item in features):
            raise UsageError(
                f"model '{printable(self.identity.name)}' has a floor below the recording's level, and these features "
                "lost their level with their mean; give it features with their mean, or the recordings"
            )
        find = level_of_features if self._backend.has_floor else _no_level
        pieces = (_pieces_in(item, least, cut, find) for item in features)
        most = batch_seconds or self._backend.batch_seconds
        return self._average(pieces, len(features), self._backend.embed_features, most, SAMPLE_RATE // FRAME_SHIFT)

    def _average(
        self,
        recordings: Iterable[Iterable[Piece]],
        count: int,
        embed: Callable[[Sequence[Array], Sequence[float]], NDArray[np.float64]],
        batch_seconds: float,
        per_second: int,
    ) -> Embeddings:
        """The mean of the unit embeddings of each recording's pieces (N, D), which all weigh the same."""
        sums = np.zeros((count, self.embedding_size), dtype=np.float64)
        owners: list[int] = []
        waiting: list[Array] = []
        levels: list[float] = []

        most = int(batch_seconds * per_second)

        def embed_waiting() -> None:
            for batch in batches([len(piece) for piece in waiting], most, alike=not self._backend.pads):
                given = [waiting[index] for index in batch], [levels[index] for index in batch]
                found = _unit(embed(*given), self.identity)
                if self.centre is not None:
                    found = _unit(found - self.centre, self.identity)
                np.add.at(sums, [owners[index] for index in batch], found)
            owners.clear()
            waiting.clear()
            levels.clear()

        held = 0
        for owner, pieces in enumerate(recordings):
            for piece, level in pieces:
                owners.append(owner)
                waiting.append(piece)
                levels.append(level)
                held += len(piece)
                if held >= HELD_SECONDS * per_second:
                    embed_waiting()
                    held = 0
        embed_waiting()
        return _unit(sums, self.identity).astype(np.float32)


def default_model() -> str:
    """The model to use when none is named: that of the environment variable SOUND_GROOVE_MODEL, else `pretrained`."""
    return os.environ.get(MODEL_VARIABLE) or PRETRAINED


def _cutter(crops: CropAveraging | None, length_of: Callable[[int], int]) -> tuple[int, Callable[[int], list[Span]]]:
    """The least length, to which a shorter recording is repeated; and where one of a length is cut.

    Args:
        crops: as in `embed`.
        length_of: of a number of frames.
    """
    if crops is not None and (crops.count < 1 or crops.frames < 1):
        raise UsageError(f"crops need a count and a length of at least 1; {crops.count} and {crops.frames} were given")
    least, longest = length_of(MINIMUM_FRAMES if crops is None else crops.frames), length_of(LONGEST_FRAMES)
    return least, lambda total: spans(total, longest, crops, least)


def _pieces_of(
    recording: AnyRecording, least: int, cut: Callable[[int], list[Span]], has_floor: bool
) -> Iterator[Piece]:
    """The pieces of a file or of samples, one after the other."""
    if not isinstance(recording, str | os.PathLike):
        if recording.ndim != 1 or recording.dtype.kind != "f":
            raise AudioError(
                None, f"has shape {recording.shape} and type {recording.dtype}; samples are one row of floating point"
            )
        yield from _pieces_in(recording, least, cut, level_of_samples if has_floor else _no_level)
        return
    levels = [0.0]

    def cut_file(total: int) -> list[Span]:
        pieces = cut(total) if total >= least else [(0, total)]  # a short one is read whole, to be repeated
        if has_floor and len(pieces) > 1:
            levels[0] = _level_of_file(recording)
        return pieces

    for piece in read_spans(recording, cut_file):
        if len(piece) >= least:
            yield piece, levels[0]
        else:
            yield from _pieces_in(piece, least, cut, _no_level)


def _pieces_in(
    item: Array, least: int, cut: Callable[[int], list[Span]], find_level: Callable[[Array], float]
) -> Iterator[Piece]:
    item = repeated(item, least)
    pieces = cut(len(item))
    level = find_level(item) if len(pieces) > 1 else 0.0
    return ((item[start:end], level) for start, end in pieces)


def _level_of_file(path: str | os.PathLike[str]) -> float:
    """The level of a recording, read from its beginning to its end in bounded memory."""
    return level_of(np.concatenate([frame_energies(part) for part in read_spans(path, level_spans)]))


def _no_level(item: Array) -> float:
    return 0.0


def _is_centred(features: Array) -> bool:
    """Whether the mean over time was removed from features (T, F): whole log energies are never all that near 0."""
    return features.ndim == 2 and bool((np.abs(features.mean(axis=0, dtype=np.float64)) < 1e-3).all())


def _unit(embeddings: NDArray[np.float64], identity: ModelIdentity) -> NDArray[np.float64]:
    """Rows brought to unit length."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise CheckpointError(
            f"model '{identity.name}' gave an embedding that is not finite or is zero; it is of no use"
        )
    return np.asarray(embeddings / norms, dtype=np.float64)
