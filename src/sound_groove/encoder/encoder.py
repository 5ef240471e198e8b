"""The encoder: recordings in, one unit-length embedding each out.

What is embedded of a recording is its speech: pauses of more than a second are cut out of it
(`sound_groove.audio.pauses`). That becomes one or more pieces, the pieces go through the network in batches of similar
length, and the unit embeddings of a recording's pieces are averaged and brought back to unit length:

- one piece, all of it, in the ordinary case;
- shorter than 2 s: repeated a whole number of times until it lasts 2 s, since the network never saw less in training
  (there too, an utterance shorter than the crop is repeated);
- longer than 60 s: the fewest windows of equal length that are each at most 60 s, so that memory stays bounded;
- with `CropAveraging`: evenly spaced crops.

A model may carry a centre: the mean of unit embeddings of training speakers. It is subtracted from the unit embedding
of every piece, which is then brought back to unit length: what all voices have in common tells none of them apart.

The mean of the features is removed over each piece, as in training over each crop. Where the network has a floor, every
piece is heard at the level of all that is embedded of the recording, so that a quiet stretch of an hour stays one. A
file of more than ten minutes is read twice, since it is listened to before its first piece is cut. Nothing is drawn at
random: the same recording gives the same embedding, and a batch gives what its members give alone.

A model is a file in ONNX, for which numpy and onnxruntime suffice, or a .safetensors file or run folder, for which
torch is imported when it is loaded. The package carries one, under the name `pretrained`.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from sound_groove.arguments import check_integer, check_kind, check_number
from sound_groove.audio.channels import check_chosen
from sound_groove.audio.filterbank import FRAME_SHIFT, samples_of
from sound_groove.audio.given import AnyRecording, described, is_recording, list_of
from sound_groove.audio.level import level_of_features, level_of_samples
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pauses import with_silence, without_pauses
from sound_groove.audio.pieces import Array, Span, batches, repeated, spans
from sound_groove.audio.reading import open_recording
from sound_groove.audio.voices import LongVoice, Piece, Voice, is_long, long_voice
from sound_groove.encoder.proof import Place, Proof, prove
from sound_groove.encoder.runtimes import ONNXRUNTIME, OPENVINO
from sound_groove.errors import AudioError, CheckpointError, UsageError, printable, require_extra
from sound_groove.networks.probe import Probe, probe_signal
from sound_groove.pretrained import PRETRAINED, model_path
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, ModelTerms, Samples, VoiceEmbeddings

if TYPE_CHECKING:
    from torch import nn

MODEL_VARIABLE = "SOUND_GROOVE_MODEL"  # names the model to use when none is given
MINIMUM_FRAMES = 198  # the whole frames of 2 s, about what the recipes train on
LONGEST_FRAMES = 6000  # 60 s
HELD_SECONDS = 600.0  # of pieces that wait to be put into batches of similar length: 38 MB


class Backend(Protocol):
    """What computes embeddings of pieces.

    Attributes:
        embedding_size: D.
        pads: pieces of a batch may have different lengths.
        has_floor: the level of a recording matters to the network.
        tells_norm: the length of its embeddings says something.
        silence_share: how much digital silence is put behind speech, as a share of it, or None.
        longest_samples: of a piece, where the network takes no more; None where 60 s may be as well.
        batch_seconds: of audio, padding included, that a batch should have at most.
    """

    embedding_size: int
    pads: bool
    has_floor: bool
    tells_norm: bool
    silence_share: float | None
    longest_samples: int | None
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
        trained_speakers: digests of the names of the speakers that it was trained on
            (`sound_groove.networks.trained_speakers`); empty where the model does not say.
        terms: its licence and what it was trained on, as far as its file says.
        proof: that it computes here what it computed where its file was written; None for a model without a probe.

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
        self.terms = ModelTerms()
        self.proof: Proof | None = None
        self._backend = backend

    @property
    def tells_norm(self) -> bool:
        """Whether the length of its embeddings, before they are scaled, says something."""
        return self._backend.tells_norm

    @property
    def silence_share(self) -> float | None:
        """How much digital silence it puts behind speech, as a share of it; None for none."""
        return self._backend.silence_share

    @cached_property
    def probe_embedding(self) -> Embeddings:
        """(D,) the embedding that it gives of the probe (`sound_groove.networks.probe`), computed when first asked for.

        A store of voiceprints knows a model by it.

        Raises:
            CheckpointError: it gives none.
        """
        embedding: Embeddings = self.embed_voices([probe_signal()]).unit[0]
        return embedding

    @classmethod
    def of_network(
        cls,
        network: "nn.Module",
        identity: ModelIdentity,
        embedding_size: int,
        feature_size: int = 80,
        threads: int | None = None,
        floor_db: float | None = None,
        silence_share: float | None = None,
    ) -> "SpeakerEncoder":
        """Wrap a network that is in memory already, such as the one in training.

        Args:
            network: (B, T, F) features and (B,) lengths -> (B, D); it is used on the device where it lies, and in
                evaluation mode only while it embeds.
            identity: what to call it.
            embedding_size: D.
            feature_size: F, mel bins; 1 for the samples themselves.
            threads: CPU threads to use while it embeds; None leaves torch's own setting.
            floor_db: how far below a recording's level the floor of its features lies, or None.
            silence_share: how much digital silence is put behind speech (`sound_groove.audio.pauses`), or None.
        """
        from sound_groove.encoder.torch_network import TorchNetwork

        return cls(TorchNetwork(network, embedding_size, feature_size, threads, floor_db, silence_share), identity)

    @classmethod
    def load(
        cls, path: str | Path, device: str = "cpu", threads: int | None = None, *, prove_anew: bool = False
    ) -> "SpeakerEncoder":
        """Load a model file, or the best model of a run folder, and see that it computes here what it should.

        A file of ours carries a probe (`sound_groove.networks.probe`). It is embedded once for each file, runtime,
        device and kind of processor; what was found is kept in the user's cache.

        Args:
            path: an `.onnx` file, of ours or of WeSpeaker, 3D-Speaker or sherpa-onnx; a `.safetensors` file; a run
                folder; the name `pretrained`, for the model that the package carries; or that of a public model which
                was fetched (`sound-groove models get`).
            device: where to compute: "cpu", "cuda", "cuda:1"; for an ONNX file also "tensorrt", as far as the installed
                onnxruntime has it, "openvino" and, in bfloat16, "openvino:bf16".
            threads: CPU threads to use while it embeds; None takes all cores.
            prove_anew: embed the probe even if the model was proved here before.

        Raises:
            MissingExtraError: torch or what belongs to it is not installed, and the model is not an ONNX file.
            CheckpointError: the file is missing, damaged or not a model that is known here, or it gives another
                embedding of its probe than it should: its weights were changed, or it is computed wrongly here.
            UsageError: there is no such device here.
        """
        check_kind(path, (str, os.PathLike), "the model", "a path or a name")
        check_kind(device, str, "the device", "a word such as 'cpu'")
        if threads is not None and check_integer(threads, "threads") < 1:
            raise UsageError(f"threads must be at least 1; {threads} was given")
        path = model_path(path)
        if path.suffix == ".onnx":
            from sound_groove.encoder.onnx_model import OnnxModel

            model = OnnxModel(path, device, threads)
            probe, place = model.probe, Place(model.content, OPENVINO if OPENVINO in device else ONNXRUNTIME, device)
            encoder = cls(model, model.identity, model.score_map, trained_speakers=model.trained_speakers)
            encoder.terms = model.terms
            return encoder._proved(printable(str(path)), probe, place, prove_anew)
        require_extra("Using a .safetensors model", "train", "torch", "safetensors", "pydantic")
        from sound_groove.encoder.torch_network import TorchNetwork
        from sound_groove.networks.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(path)
        network = TorchNetwork.restore(checkpoint, device, threads)
        encoder = cls(
            network, checkpoint.identity, checkpoint.score_map, checkpoint.centre, checkpoint.trained_speakers
        )
        said = checkpoint.header.training
        encoder.terms = ModelTerms(str(said.get("licence", "")), str(said.get("data", said.get("description", ""))))
        place = Place(checkpoint.hash, "torch", device)
        return encoder._proved(printable(str(checkpoint.path)), checkpoint.probe, place, prove_anew)

    def _proved(self, name: str, probe: Probe | None, place: Place, anew: bool) -> "SpeakerEncoder":
        """Itself, once it has given the right embedding of its probe, if it carries one."""
        if probe is not None:
            self.proof = prove(name, probe, place, lambda samples: self.embed(samples, keep_pauses=True), anew=anew)
        return self

    def embed(
        self,
        recordings: AnyRecording | Sequence[AnyRecording],
        crops: CropAveraging | None = None,
        batch_seconds: float | None = None,
        channel: int | None = None,
        keep_pauses: bool = False,
    ) -> Embeddings:
        """Embed one recording or several.

        What is embedded of a recording is its speech, with pauses of a second at most, and as much silence behind it as
        the model asks for (`sound_groove.audio.pauses`). Hours of audio take no more memory than minutes: a recording
        of more than ten minutes is listened to part by part, and then decoded again.

        Args:
            recordings: each as `audio.reading.load_audio` takes it: a path, which may name a channel (`call.wav#2`),
                the bytes of a file, an open file, (samples, rate), or (samples,) mono float at 16 kHz in [-1, 1], at
                least 25 ms; or one of these.
            crops: average evenly spaced crops of this count and length; None takes the whole recording.
            batch_seconds: most audio in a batch, padding included; bounds the memory. One piece always fits. None takes
                what suits the model's kind.
            channel: which one to listen to in all files, counted from 1, where a path names none; None averages all.
            keep_pauses: embed all of each recording, as of a training crop, or where pauses were cut out before.

        Returns:
            (N, D) float32 of unit length, in the order given; (D,) of a single recording.

        Raises:
            AudioError: a recording cannot be used.
            CheckpointError: the network's output is not finite, or zero.
            UsageError: crops of no length, or none of them; or an argument of another kind.
        """
        if is_recording(recordings):
            one = [cast(AnyRecording, recordings)]
            single: Embeddings = self.embed(one, crops, batch_seconds, channel, keep_pauses)[0]
            return single
        several = list_of(recordings)
        share = None if keep_pauses else self._backend.silence_share
        voices = _voices(several, channel, keep_pauses)
        return self._embed(voices, len(several), share, crops, batch_seconds).unit

    def embed_voices(
        self, voices: Sequence[Voice], crops: CropAveraging | None = None, batch_seconds: float | None = None
    ) -> VoiceEmbeddings:
        """Embed recordings that were listened to.

        Args:
            voices: of each, its speech with short pauses: (samples,) as `without_pauses` gives it, or a `LongVoice`.
            crops: as in `embed`.
            batch_seconds: as in `embed`.

        Returns:
            What `embed` gives of the recordings, and the norms where the model tells them.

        Raises:
            AudioError, CheckpointError, UsageError: as `embed`.
        """
        return self._embed(voices, len(voices), self._backend.silence_share, crops, batch_seconds)

    def _embed(
        self,
        voices: Iterable[Voice],
        count: int,
        silence_share: float | None,
        crops: CropAveraging | None,
        batch_seconds: float | None,
    ) -> VoiceEmbeddings:
        least, cut = _cutter(crops, samples_of, self._backend.longest_samples)
        has_floor = self._backend.has_floor

        def pieces_of(voice: Voice) -> Iterator[Piece]:
            if isinstance(voice, LongVoice):
                found = voice.pieces(least, cut, has_floor)
            else:
                found = _pieces_in(voice, least, cut, level_of_samples if has_floor else _no_level)
            return ((with_silence(piece, silence_share), level) for piece, level in found)

        most = self._most(batch_seconds)
        return self._average(map(pieces_of, voices), count, self._backend.embed_waveforms, most, SAMPLE_RATE)

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
        for item in features:
            if getattr(item, "ndim", 0) != 2:
                raise UsageError(f"features are arrays (T, F), one a recording; {described(item)} was given")
        if self._backend.has_floor and any(_is_centred(item) for item in features):
            raise UsageError(
                f"model '{printable(self.identity.name)}' has a floor below the recording's level, and these features "
                "lost their level with their mean; give it features with their mean, or the recordings"
            )
        find = level_of_features if self._backend.has_floor else _no_level
        pieces = (_pieces_in(item, least, cut, find) for item in features)
        most = self._most(batch_seconds)
        per_second = SAMPLE_RATE // FRAME_SHIFT
        return self._average(pieces, len(features), self._backend.embed_features, most, per_second).unit

    def _most(self, batch_seconds: float | None) -> float:
        """Seconds of audio in a batch."""
        if batch_seconds is None:
            return self._backend.batch_seconds
        if not 0 < check_number(batch_seconds, "batch_seconds") < math.inf:
            raise UsageError(f"batch_seconds must be above 0; {batch_seconds} was given")
        return batch_seconds

    def _average(
        self,
        recordings: Iterable[Iterable[Piece]],
        count: int,
        embed: Callable[[Sequence[Array], Sequence[float]], NDArray[np.float64]],
        batch_seconds: float,
        per_second: int,
    ) -> VoiceEmbeddings:
        """The mean of the unit embeddings of each recording's pieces, and of their norms; all pieces weigh the same."""
        sums = np.zeros((count, self.embedding_size), dtype=np.float64)
        lengths, pieces_of_each = np.zeros((2, count), dtype=np.float64)
        owners: list[int] = []
        waiting: list[Array] = []
        levels: list[float] = []

        most = int(batch_seconds * per_second)

        def embed_waiting() -> None:
            for batch in batches([len(piece) for piece in waiting], most, alike=not self._backend.pads):
                given = [waiting[index] for index in batch], [levels[index] for index in batch]
                found, norms = _unit(embed(*given), self.identity)
                if self.centre is not None:
                    found, _ = _unit(found - self.centre, self.identity)
                rows = [owners[index] for index in batch]
                np.add.at(sums, rows, found)
                np.add.at(lengths, rows, norms)
                np.add.at(pieces_of_each, rows, 1.0)
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
        unit, _ = _unit(sums, self.identity)
        return VoiceEmbeddings(unit.astype(np.float32), lengths / pieces_of_each if self._backend.tells_norm else None)


def default_model() -> str:
    """The model to use when none is named: that of the environment variable SOUND_GROOVE_MODEL, else `pretrained`."""
    return os.environ.get(MODEL_VARIABLE) or PRETRAINED


def _cutter(
    crops: CropAveraging | None, length_of: Callable[[int], int], most: int | None = None
) -> tuple[int, Callable[[int], list[Span]]]:
    """The least length, to which a shorter recording is repeated; and where one of a length is cut.

    Args:
        crops: as in `embed`.
        length_of: of a number of frames.
        most: the length that the network takes at most; None where there is none.
    """
    if crops is not None:
        check_kind(crops, CropAveraging, "crops", "CropAveraging(count, frames)")
        check_integer(crops.count, "the number of crops")
        check_integer(crops.frames, "the length of crops")
    if crops is not None and (crops.count < 1 or crops.frames < 1):
        raise UsageError(f"crops need a count and a length of at least 1; {crops.count} and {crops.frames} were given")
    least, longest = length_of(MINIMUM_FRAMES if crops is None else crops.frames), length_of(LONGEST_FRAMES)
    longest = longest if most is None else min(longest, most)
    return least, lambda total: spans(total, longest, crops, least)


def _voices(recordings: Sequence[AnyRecording], channel: int | None, keep_pauses: bool) -> Iterator[Voice]:
    """What is embedded of each recording; a long one stays open until the next is asked for."""
    for recording in recordings:
        if isinstance(recording, np.ndarray):
            if recording.ndim != 1 or recording.dtype.kind != "f":
                shape = f"has shape {recording.shape} and type {recording.dtype}"
                raise AudioError(None, f"{shape}; samples are one row of floating point")
            check_chosen(None, channel, 1)
            samples = cast(Samples, recording)
            yield samples if keep_pauses else without_pauses(samples)
            continue
        with open_recording(recording, channel) as whole:
            if is_long(whole):
                yield LongVoice(whole, [(0, whole.samples)]) if keep_pauses else long_voice(whole)
            else:
                samples = whole.whole().samples
                yield samples if keep_pauses else without_pauses(samples)


def _pieces_in(
    item: Array, least: int, cut: Callable[[int], list[Span]], find_level: Callable[[Array], float]
) -> Iterator[Piece]:
    """The pieces of samples or of features."""
    item = repeated(item, least)
    pieces = cut(len(item))
    level = find_level(item) if len(pieces) > 1 else 0.0
    return ((item[start:end], level) for start, end in pieces)


def _no_level(item: Array) -> float:
    return 0.0


def _is_centred(features: Array) -> bool:
    """Whether the mean over time was removed from features (T, F): whole log energies are never all that near 0."""
    return features.ndim == 2 and bool((np.abs(features.mean(axis=0, dtype=np.float64)) < 1e-3).all())


def _unit(embeddings: NDArray[np.float64], identity: ModelIdentity) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows brought to unit length, and their lengths before (N,)."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise CheckpointError(
            f"model '{identity.name}' gave an embedding that is not finite or is zero; it is of no use"
        )
    return np.asarray(embeddings / norms, dtype=np.float64), norms[:, 0]
