"""Teachers: where the embeddings come from that a network is to learn.

A teacher is a file of stored embeddings (.npz), or a speaker model in ONNX (.onnx) that takes waveforms or Kaldi
filterbanks, as WeSpeaker's and 3D-Speaker's do. It is asked once for each clean, whole utterance, before training.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.corpora.manifest import Utterance
from sound_groove.encoder.embedding_file import EMBEDDINGS, PATHS, read_embedding_file, unit_rows
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CorpusError, SoundGrooveError, TrainingError, printable
from sound_groove.files import replaced_bytes, writing
from sound_groove.inputs.dataset import read_crop
from sound_groove.progress import ProgressBar
from sound_groove.synthesis.batch_draws import SharedBatch
from sound_groove.types import Embeddings

LONGEST_S = 20.0  # that a model is given of an utterance: the middle of a longer one


class Teacher(Protocol):
    """What knows embeddings of utterances.

    Attributes:
        path: its file.
        embedding_size: values in an embedding.
    """

    path: Path
    embedding_size: int

    def embed(self, utterances: Sequence[Utterance], show: bool = True) -> Embeddings:
        """(N, D) of unit length; zeros where it does not know an utterance."""
        ...


def open_teacher(path: Path) -> Teacher:
    """The teacher in a file.

    Raises:
        TrainingError: the file cannot be used.
    """
    if not path.is_file():
        raise TrainingError(f"{printable(str(path))}: there is no such teacher; give a file of embeddings or a model")
    if path.suffix == ".npz":
        return StoredTeacher(path)
    if path.suffix == ".onnx":
        return OnnxTeacher(path)
    raise TrainingError(
        f"{printable(str(path))}: a teacher is a .npz file of embeddings (arrays '{PATHS}' and '{EMBEDDINGS}') or an "
        ".onnx model"
    )


def ask(teacher: Teacher, utterances: Sequence[Utterance], kept: Path, shared: SharedBatch) -> Embeddings:
    """The teacher's embeddings of utterances (N, D), of unit length; zeros where it does not know one.

    A model is asked once, each process about its share, and what it said is kept; a run that goes on reads it there.

    Args:
        teacher: stored embeddings or a model.
        utterances: all that is read in training.
        kept: where what a model says is kept.
        shared: by which processes the asking is shared; all of them must call this.

    Raises:
        TrainingError: the teacher knows none of them, or fails on one.
        OutputError: what it said cannot be kept.
    """
    if isinstance(teacher, StoredTeacher):
        embeddings = teacher.embed(utterances)
    elif kept.exists():
        embeddings = read_embeddings(kept)[1]  # in the order of the utterances, whose keys two corpora may share
    else:
        count = len(utterances)
        mine = np.resize(np.arange(shared.rank, count, shared.processes), -(-count // shared.processes))
        found = teacher.embed([utterances[index] for index in mine.tolist()], show=shared.rank == 0)
        whole = shared.in_order(torch.from_numpy(found).to(shared.device))
        embeddings = _as_stored(whole[:count].cpu().numpy())
        if shared.rank == 0:
            write_embeddings(kept, utterances, embeddings)
    if not embeddings.any():
        raise TrainingError(
            f"{printable(str(teacher.path))}: knows none of the {len(utterances):,} utterances, such as "
            f"{utterances[0].key}; an utterance is known by the end of its path"
        )
    return embeddings


def centred(embeddings: Embeddings) -> Embeddings:
    """Embeddings (N, D) of unit length without what they have in common, their mean; rows of zeros stay.

    >>> centred(np.array([[0.6, 0.8], [0.6, -0.8], [0.0, 0.0]], dtype=np.float32)).tolist()
    [[0.0, 1.0], [0.0, -1.0], [0.0, 0.0]]
    """
    known = embeddings.any(axis=1, keepdims=True)  # (N, 1)
    mean = embeddings.sum(axis=0, dtype=np.float64) / max(int(known.sum()), 1)  # (D,)
    return unit_rows(np.asarray(np.where(known, embeddings - mean, 0.0), dtype=np.float32))


def teacher_hash(path: Path) -> str:
    """SHA-256 of a teacher's file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class StoredTeacher:
    """Embeddings in a file: `path` (N,) names the recordings, `emb` (N, D) holds their embeddings.

    A recording is known by the end of its path without the suffix, which must be the utterance's key:
    `train/anna/01.flac` is `anna/01`. Where several have that end, it is the one whose path is like the utterance's own
    for the longest way back. An utterance that `prepare --join` made of several files is known by those: its embedding
    is the mean of theirs, each weighted by its length.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            TrainingError: it does not hold what it should.
        """
        self.path = path
        paths, self._embeddings = read_embeddings(path)
        self._paths = [str(Path(text).with_suffix("")) for text in paths]
        self.embedding_size = self._embeddings.shape[1]

    def embed(self, utterances: Sequence[Utterance], show: bool = True) -> Embeddings:
        """(N, D) of unit length; zeros where the file does not have an utterance.

        Raises:
            TrainingError: two recordings could be the same utterance.
        """
        found = np.zeros((len(utterances), self.embedding_size), dtype=np.float32)
        for parts in sorted({utterance.key.count("/") + 1 for utterance in utterances}):
            rows = self._by_tail(parts)
            for index, utterance in enumerate(utterances):
                if utterance.key in rows:
                    row = self._nearest(utterance, utterance.paths[0], rows[utterance.key])
                    found[index] = self._embeddings[row]
                elif len(utterance.paths) > 1 and utterance.key.count("/") + 1 == parts:
                    found[index] = self._of_members(utterance, parts, rows)
        return found

    def _of_members(self, utterance: Utterance, parts: int, rows: Mapping[str, list[int]]) -> Embeddings:
        """(D,) the mean over the files of a joined utterance; zeros where one of them is not known."""
        tails = ["/".join(Path(path).with_suffix("").parts[-parts:]) for path in utterance.paths]
        if any(tail not in rows for tail in tails):
            return np.zeros(self.embedding_size, dtype=np.float32)
        own = [self._nearest(utterance, path, rows[tail]) for path, tail in zip(utterance.paths, tails, strict=True)]
        weights = np.asarray(utterance.samples, dtype=np.float32)
        mean: Embeddings = unit_rows((weights @ self._embeddings[own])[None])[0]
        return mean

    def _by_tail(self, parts: int) -> dict[str, list[int]]:
        """The rows of the recordings, by the last parts of their paths."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, path in enumerate(self._paths):
            rows["/".join(path.split("/")[-parts:])].append(row)
        return rows

    def _nearest(self, utterance: Utterance, path: str | Path, rows: Sequence[int]) -> int:
        """The row whose path agrees with that of an utterance's file for the longest way from the end."""
        if len(rows) == 1:
            return rows[0]
        own = str(Path(path).with_suffix("")).split("/")[::-1]

        def agreement(row: int) -> int:
            there = self._paths[row].split("/")[::-1]
            return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(own, there, strict=False)))

        best, second = sorted(rows, key=agreement, reverse=True)[:2]
        if agreement(best) == agreement(second):
            first, other = sorted((self._paths[best], self._paths[second]))
            raise TrainingError(
                f"{printable(str(self.path))}: '{first}' and '{other}' may both be utterance {utterance.key}; "
                "name them by more of their paths, or take one of them out"
            )
        return best


class OnnxTeacher:
    """A speaker model in ONNX that takes waveforms (B, samples) or Kaldi's filterbanks (B, T, F)."""

    def __init__(self, path: Path) -> None:
        """Open the model and try it.

        Raises:
            TrainingError: it cannot be opened, or is no speaker model.
        """
        self.path = path
        try:
            self._encoder = SpeakerEncoder.load(path)
        except SoundGrooveError as error:
            raise TrainingError(str(error)) from None
        self.embedding_size = self._encoder.embedding_size

    def embed(self, utterances: Sequence[Utterance], show: bool = True) -> Embeddings:
        """(N, D) of unit length, of the middle of long utterances.

        Raises:
            TrainingError: a recording cannot be read, or the model gives nothing usable for it.
        """
        found = np.zeros((len(utterances), self.embedding_size), dtype=np.float32)
        with ProgressBar(
            utterances, desc="asking the teacher", unit="utterance", disable=None if show else True
        ) as bar:
            for index, utterance in enumerate(bar):
                count = min(sum(utterance.samples), int(LONGEST_S * SAMPLE_RATE))
                try:
                    found[index] = self._encoder.embed(read_crop(utterance, count, 0.5), keep_pauses=True)
                except SoundGrooveError as error:
                    raise TrainingError(f"{error} (utterance {utterance.key}, for the teacher)") from None
        return found


def read_embeddings(path: Path) -> tuple[list[str], Embeddings]:
    """What a file of embeddings holds: the names (N,), and the embeddings (N, D), of unit length.

    Raises:
        TrainingError: it does not hold what it should.
    """
    try:
        file = read_embedding_file(path)
    except CorpusError as error:
        raise TrainingError(str(error)) from None
    return list(file.names), file.embeddings


def write_embeddings(path: Path, utterances: Sequence[Utterance], embeddings: Embeddings) -> None:
    """Store embeddings as a `StoredTeacher` reads them, in float16.

    Raises:
        OutputError: they cannot be written.
    """
    keys = np.array([utterance.key for utterance in utterances])
    with writing(path), replaced_bytes(path) as file:
        np.savez(file, allow_pickle=False, **{PATHS: keys, EMBEDDINGS: embeddings.astype(np.float16)})


def _as_stored(embeddings: Embeddings) -> Embeddings:
    """Embeddings as they come back from a file, so that a run that reads them there goes on with the same ones."""
    return unit_rows(embeddings.astype(np.float16).astype(np.float32))
