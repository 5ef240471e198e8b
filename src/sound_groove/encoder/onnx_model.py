"""A speaker model in ONNX as an encoder's backend; it needs numpy and a runtime, and no torch.

Two kinds are known by what they take:

    waveforms (B, samples)    what `sound-groove export` writes: the front end is inside
    features (B, T, F)        what WeSpeaker, 3D-Speaker and sherpa-onnx publish: Kaldi's log-mel filterbanks, as the
                              file's family has them (`sound_groove.encoder.foreign_files`)

A foreign file is believed here. `sound-groove import` tries what it is said to want, knows more families, and writes a
file of the first kind.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.filterbank import SIXTEEN_BIT, kaldi_fbank
from sound_groove.audio.front_end import FrontEnd
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.encoder.foreign_files import ForeignFile, recognise
from sound_groove.encoder.onnx_content import CHECKSUM, check_content
from sound_groove.encoder.runtimes import NORM, complaint, open_model
from sound_groove.errors import CheckpointError, MetricError, UsageError, printable
from sound_groove.json_reading import parse_json
from sound_groove.networks.probe import Probe
from sound_groove.networks.trained_speakers import listed_digests
from sound_groove.pretrained import known_name
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import ModelIdentity, ModelTerms, Samples

PROBE_KEY = "probe"
UNIT_WITHIN = 1e-3  # of 1: a foreign model whose embedding of noise is so long scales its embeddings itself
OWN_KEY = "sound_groove"  # the metadata entry by which our own files are known: the version that wrote them


class OnnxModel:
    """A model file.

    Attributes:
        path: the file.
        metadata: what the file says of itself.
        embedding_size: D.
        pads: pieces of a batch may have different lengths: never, as these files know no padding.
        has_floor: the level of a recording matters to the model.
        tells_norm: the length of its embeddings says something; our own files tell it beside the unit embedding, and
            many others do not scale their embeddings.
        silence_share: how much digital silence is put behind speech, as a share of it, or None.
        longest_samples: of a piece, where the file is made for one length only; None where any will do.
        batch_seconds: of a batch: a processor gains nothing by more, and a minute takes 0.4 GB at C = 512.

    Args:
        path: the file.
        device: as `sound_groove.encoder.runtimes.open_model` takes it.
        threads: CPU threads for one batch; None takes all cores that this process may use.

    Raises:
        CheckpointError: the file is missing, damaged, or no speaker model that is known here.
        UsageError: there is no such device here.
        MissingExtraError: OpenVINO is asked for and not installed.
    """

    pads = False
    batch_seconds = 30.0

    def __init__(self, path: str | Path, device: str = "cpu", threads: int | None = None) -> None:
        self.path = Path(path)
        self._name = printable(str(path))
        self._model = open_model(self.path, device, threads)
        if CHECKSUM in self._model.metadata:
            check_content(self.path)
        self.metadata = self._model.metadata
        self.has_floor = self._model.takes_level
        file = recognise(self._name, self._model.inputs, self._model.outputs, self.metadata)
        self._output = file.output
        self._front_end = self._fed(file)  # None where the file takes waveforms
        self._rows = file.largest_batch  # of every batch, where they are fixed
        self.longest_samples = self._whole_number("longest_samples") if self.is_own else None
        self.silence_share = self._find_silence_share()
        self.tells_norm = NORM in self._model.outputs
        self.embedding_size = self._own_size() if self.is_own else self._try()

    @cached_property
    def identity(self) -> ModelIdentity:
        """The name and hash of the weights that our own files carry; of others the file's name and its SHA-256."""
        return identity_of(self.path, self.metadata, self.content)

    @property
    def is_own(self) -> bool:
        """Whether `sound-groove export` wrote the file."""
        return is_own_file(self.metadata)

    @property
    def score_map(self) -> ScoreMap | None:
        """From cosine score to log-likelihood ratio, as far as the file says.

        Raises:
            CheckpointError: what it says is damaged.
        """
        try:
            fields = parse_json(self.metadata.get("score_map", "null"))
            return None if fields is None else ScoreMap.restored(fields)
        except (ValueError, TypeError, MetricError) as error:
            raise CheckpointError(f"{self._name}: its score map is damaged: {error}") from None

    @cached_property
    def content(self) -> str:
        """SHA-256 of the file (hexadecimal)."""
        return content_hash(self.path)

    @property
    def probe(self) -> Probe | None:
        """The embedding that it must give of the probe, or None when the file carries none that is known here.

        Raises:
            CheckpointError: it is damaged; or the file computes with 8-bit integers and carries none: it comes from a
                version whose sums overflow on processors without instructions for them.
        """
        if not self.is_own:
            return None
        try:
            fields = parse_json(self.metadata.get(PROBE_KEY, "null"))
            probe = None if fields is None else Probe.restored(fields)
        except (ValueError, MetricError) as error:
            raise CheckpointError(f"{self._name}: its probe is damaged: {error}") from None
        if fields is None and self.metadata.get("precision") == "int8":
            raise CheckpointError(
                f"{self._name}: is in int8 and carries no probe; it was written by a version whose sums overflow on "
                "many processors: export it again"
            )
        return probe

    @property
    def trained_speakers(self) -> frozenset[str]:
        """Digests of the speakers whose speech it was trained on (`speakers`); empty where the file says nothing.

        Raises:
            CheckpointError: what it says is damaged.
        """
        try:
            training = parse_json(self.metadata.get("training", "{}")) if self.is_own else {}
        except ValueError as error:
            raise CheckpointError(f"{self._name}: the facts of its training are damaged: {error}") from None
        return listed_digests(training if isinstance(training, dict) else {}, str(self.path))

    @property
    def terms(self) -> ModelTerms:
        """Its licence, and what it was trained on, as far as our own file says."""
        said = self.metadata if self.is_own else {}
        return ModelTerms(said.get("licence", ""), said.get("data", ""), said.get("use", ""))

    def embed_waveforms(self, pieces: Sequence[Samples], levels: Sequence[float] = ()) -> NDArray[np.float64]:
        """(N, D), not normalised, of pieces (samples,), all of one length.

        Args:
            pieces: to embed.
            levels: of the recordings that they are of; 0 where a piece is the whole recording, as all are when empty.

        Raises:
            CheckpointError: the model fails.
        """
        batch = np.stack([piece if self._front_end is None else self._features(piece) for piece in pieces])
        of_each = np.array(levels or [0.0] * len(pieces), np.float32)
        rows = self._rows or len(pieces)
        if len(pieces) % rows:  # what is more than there are pieces for is the first one again
            more = [0] * (-len(pieces) % rows)
            batch, of_each = np.concatenate((batch, batch[more])), np.concatenate((of_each, of_each[more]))
        try:
            parts = [
                self._model.run(batch[at : at + rows], of_each[at : at + rows]) for at in range(0, len(batch), rows)
            ]
        except Exception as error:  # the library has errors of many kinds, none of them exported
            raise CheckpointError(f"{self._name}: fails on audio: {complaint(error)}") from None

        def output(name: str) -> NDArray[np.float64]:
            place = self._model.outputs.index(name)
            values = np.concatenate([np.asarray(part[place], dtype=np.float64) for part in parts])
            return values[: len(pieces)].reshape(len(pieces), -1)

        embeddings = output(self._output)
        if NORM in self._model.outputs:  # what the file has divided by
            embeddings *= output(NORM)
        return embeddings

    def embed_features(
        self, pieces: Sequence[NDArray[np.float32]], levels: Sequence[float] = ()
    ) -> NDArray[np.float64]:
        """Stored features cannot be used.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self._name}: an ONNX model embeds audio, not stored features; give it the recordings")

    def _features(self, samples: Samples) -> NDArray[np.float32]:
        """(T, F) of one piece."""
        fed = self._front_end
        assert fed is not None
        features = kaldi_fbank(samples, fed.num_mel_bins, fed.scale, fed.window, fed.high_frequency)
        if fed.removes_mean:
            features -= features.mean(axis=0)
        return features

    def _fed(self, file: ForeignFile) -> FrontEnd | None:
        """What it is fed, None where it takes waveforms.

        Raises:
            CheckpointError: it is no speaker model, or not to be used before it is imported.
        """
        front_end = file.front_end
        if self.is_own and not file.takes_waveforms:  # for sherpa-onnx: the mean is removed inside
            return FrontEnd("wespeaker", 80, SIXTEEN_BIT, "povey", removes_mean=False)
        needs_import = f"'sound-groove import {self._name}' makes a file of it that can be used"
        if file.lengths is not None or file.samples is not None:
            raise CheckpointError(f"{self._name}: takes more than waveforms or features of any length; {needs_import}")
        if front_end is None:
            raise CheckpointError(f"{self._name}: how it is to be fed is not known, as {file.told_by}; {needs_import}")
        if file.takes_waveforms:
            return None
        if not front_end.is_kaldi:
            raise CheckpointError(f"{self._name}: takes {front_end.family}'s features, not Kaldi's; {needs_import}")
        return front_end

    def _try(self) -> int:
        """The size of the embedding of some noise, which shows whether a foreign file can be used at all."""
        noise = np.random.default_rng(0).normal(scale=0.1, size=2 * SAMPLE_RATE).astype(np.float32)
        embedding = self.embed_waveforms([noise])[0]
        if not np.isfinite(embedding).all() or not embedding.any():
            raise CheckpointError(f"{self._name}: gives no usable embedding of noise; it is no speaker model")
        self.tells_norm = bool(abs(float(np.linalg.norm(embedding)) - 1.0) > UNIT_WITHIN)
        return len(embedding)

    def _own_size(self) -> int:
        """What our own file says of its embeddings."""
        size = self._whole_number("embedding_size")
        assert size is not None
        return size

    def _whole_number(self, key: str) -> int | None:
        """What our own file says under a key, None where it says nothing."""
        text = self.metadata.get(key)
        if text is not None and not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text)):
            what = "that embeddings have" if key == "embedding_size" else f"of {key}"
            values = f"'{printable(text[:40])}'" + (" values" if key == "embedding_size" else "")
            raise CheckpointError(f"{self._name}: is damaged: it says {what} {values}")
        return None if text is None else int(text)

    def _find_silence_share(self) -> float | None:
        """What our own file says of pauses."""
        if not self.is_own:
            return None
        try:
            share = parse_json(self.metadata.get("network", "{}")).get("silence_share")
            return None if share is None else float(share)
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self._name}: what it says of its network is damaged: {error}") from None


def is_own_file(metadata: Mapping[str, str]) -> bool:
    """Whether `sound-groove export` wrote the file that says this of itself."""
    return OWN_KEY in metadata and {"name", "hash", "embedding_size"} <= metadata.keys()


def identity_of(path: Path, metadata: Mapping[str, str], content: str) -> ModelIdentity:
    """The name and hash of the weights that our own files carry; of others the file's name and its SHA-256, `content`.

    The name is that of the model in the package only where the file is the package's.
    """
    name, weights = (metadata["name"], metadata["hash"]) if is_own_file(metadata) else (path.stem, content)
    return ModelIdentity(known_name(name, path, content), weights)


def content_hash(path: Path) -> str:
    """SHA-256 of a file (hexadecimal).

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{printable(str(path))}: cannot be read: {error.strerror or error}") from None
