"""What judging.py compares: systems that embed samples, and their embeddings of a condition, kept on the disk.

Resemblyzer (Wan, Wang, Papir & Lopez Moreno 2018; resemble-ai, Apache-2.0) is a public peer with public weights. It is
no dependency of Sound-Groove: it is used where it is installed.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.embedding_file import EMBEDDINGS, MODEL, PATHS, read_embedding_file, unit_rows
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CorpusError, printable
from sound_groove.evaluation.trials.trial_list import file_sha256
from sound_groove.files import replaced_bytes, writing
from sound_groove.types import Embeddings, Labels, Samples

INSTALL_RESEMBLYZER = "pip install librosa webrtcvad-wheels && pip install --no-deps resemblyzer==0.1.4"
AT_ONCE = 64  # recordings in memory, and between two savings
IS_CUT, NO_SPEECH, SECONDS = "is_cut", "no_speech", "seconds"  # arrays of a cached file beside those of `embed`


class AbsentError(Exception):
    """A peer is not there, so that its rows are left out."""


@dataclass(frozen=True)
class Answer:
    """What a system says of some recordings.

    Attributes:
        embeddings: (N, D) unit length.
        no_speech: (N,) True where the system's own voice detection found nothing, so that the whole was embedded.
    """

    embeddings: Embeddings
    no_speech: Labels


@dataclass(frozen=True)
class System:
    """Something that embeds samples.

    Attributes:
        name: for the table.
        key: for the name of its folder.
        hash: SHA-256 of its weights, hexadecimal.
        embed: of mono samples at 16 kHz.
    """

    name: str
    key: str
    hash: str
    embed: Callable[[Sequence[Samples]], Answer]


@dataclass(frozen=True)
class Condition:
    """In what shape recordings are judged.

    Attributes:
        recordings: "clean" or "degraded".
        length_s: to which they are cut; None leaves them whole.
    """

    recordings: str
    length_s: float | None

    @property
    def length(self) -> str:
        """For the table."""
        return "whole" if self.length_s is None else f"{self.length_s:g} s"

    @property
    def key(self) -> str:
        """For the name of a file."""
        return f"{self.recordings}-{self.length.replace(' ', '')}"


@dataclass(frozen=True)
class Embedded:
    """The embeddings of one system under one condition.

    Attributes:
        paths: (N,) of the recordings.
        embeddings: (N, D) unit length.
        is_cut: (N,) whether a recording was longer than the condition's length.
        no_speech: (N,) see `Answer`.
        seconds: that reading and embedding took.
    """

    paths: tuple[str, ...]
    embeddings: Embeddings
    is_cut: Labels
    no_speech: Labels
    seconds: float

    def rows(self, paths: Sequence[str]) -> list[int]:
        """Where the embeddings of some recordings are."""
        place = {path: row for row, path in enumerate(self.paths)}
        return [place[path] for path in paths]

    def count_cut(self, paths: Sequence[str]) -> int:
        """How many of some recordings were cut."""
        return int(self.is_cut[self.rows(paths)].sum())

    def count_no_speech(self, paths: Sequence[str]) -> int:
        """In how many of some recordings the system heard no speech."""
        return int(self.no_speech[self.rows(paths)].sum())


def sound_groove_system(encoder: SpeakerEncoder) -> System:
    """The model that is judged, as it serves."""

    def embed(recordings: Sequence[Samples]) -> Answer:
        return Answer(encoder.embed(recordings), np.zeros(len(recordings), dtype=np.bool_))

    return System(encoder.identity.name, "model", encoder.identity.hash, embed)


def resemblyzer_system(threads: int) -> System:
    """Resemblyzer with its own preparation of the audio: volume, and silences cut short by its voice detection.

    Args:
        threads: of torch, for the whole process.

    Raises:
        AbsentError: it is not installed.
    """
    torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings(action="ignore"):  # it imports what scipy calls by another name now
            resemblyzer: Any = import_module("resemblyzer")
            volume: float = import_module("resemblyzer.hparams").audio_norm_target_dBFS
        number = version("resemblyzer")
    except (ImportError, PackageNotFoundError) as error:
        raise AbsentError(
            f"Resemblyzer is not installed ({printable(str(error))}), so its rows are left out; install it with "
            f"'{INSTALL_RESEMBLYZER}'"
        ) from None
    encoder = resemblyzer.VoiceEncoder("cpu", verbose=False)

    def embed(recordings: Sequence[Samples]) -> Answer:
        found, no_speech = [], []
        for samples in recordings:
            speech = np.zeros(0, dtype=np.float32)
            if samples.any():  # it would divide by the level
                speech = resemblyzer.preprocess_wav(samples, source_sr=SAMPLE_RATE)
                if not len(speech):
                    samples = resemblyzer.normalize_volume(samples, volume, increase_only=True)
            no_speech.append(not len(speech))
            found.append(encoder.embed_utterance(speech if len(speech) else samples))
        return Answer(unit_rows(np.array(found, dtype=np.float32)), np.array(no_speech, dtype=np.bool_))

    weights = Path(resemblyzer.__file__).parent / "pretrained.pt"
    return System(f"Resemblyzer {number}", "resemblyzer", file_sha256(weights), embed)


def middle(samples: Samples, length_s: float | None) -> Samples:
    """The middle of a recording (samples,); one that is not longer stays whole.

    >>> middle(np.arange(16002, dtype=np.float32), 1.0)[[0, -1]].tolist()
    [1.0, 16000.0]
    """
    if length_s is None:
        return samples
    count = round(length_s * SAMPLE_RATE)
    start = max(len(samples) - count, 0) // 2
    return samples[start : start + count]


def embed_all(system: System, condition: Condition, files: Mapping[str, Path], cache: Path) -> Embedded:
    """The embeddings of recordings under a condition, from the cache as far as they are there.

    Args:
        system: what embeds.
        condition: how the recordings are cut; `files` must be what it says they are.
        files: path in the trial lists to file.
        cache: a folder in which each model has its own, told by its hash; it is written to after every AT_ONCE
            recordings, so that what was done is not lost.

    Raises:
        AudioError: a recording cannot be used.
        CorpusError: the cache holds something else.
        OutputError: the cache cannot be written.
    """
    path = cache / f"{system.key}-{system.hash[:12]}" / f"{condition.key}.npz"
    done = _read(path, system.hash) if path.exists() else None
    missing = sorted(set(files) - set(done.paths if done else ()))
    title = f"{system.name}, {condition.recordings}, {condition.length}"
    starts = range(0, len(missing), AT_ONCE)
    with tqdm(total=len(missing), desc=title, unit="recording", leave=False, disable=None) as bar:
        for names in (missing[start : start + AT_ONCE] for start in starts):
            started = time.perf_counter()
            whole = [load_audio(files[name]) for name in names]
            cut = [middle(samples, condition.length_s) for samples in whole]
            answer = system.embed(cut)
            is_cut = np.array([len(a) < len(b) for a, b in zip(cut, whole, strict=True)])
            taken = time.perf_counter() - started
            done = _joined(done, Embedded(tuple(names), answer.embeddings, is_cut, answer.no_speech, taken))
            _write(path, done, system.hash)
            bar.update(len(names))
    if done is None:
        raise CorpusError("there are no recordings to embed")
    return done


def teacher_embeddings(corpus: Path, paths: Sequence[str]) -> Embedded:
    """The stored embeddings of the corpus's teacher.

    Raises:
        AbsentError: the corpus has none, or not all of them.
        CorpusError: the file is not one of embeddings.
    """
    path = corpus / "teacher.npz"
    if not path.is_file():
        raise AbsentError(f"{printable(str(path))} is missing, so the teacher's rows are left out")
    file = read_embedding_file(path)
    if missing := sorted(set(paths) - set(file.names)):
        raise AbsentError(
            f"{printable(str(path))} lacks {len(missing)} of the {len(paths)} recordings, first "
            f"{printable(missing[0])}, so the teacher's rows are left out"
        )
    nothing = np.zeros(len(file.names), dtype=np.bool_)
    return Embedded(file.names, file.embeddings, nothing, nothing, 0.0)


def _joined(first: Embedded | None, second: Embedded) -> Embedded:
    if first is None:
        return second
    return Embedded(
        (*first.paths, *second.paths),
        np.concatenate((first.embeddings, second.embeddings)),
        np.concatenate((first.is_cut, second.is_cut)),
        np.concatenate((first.no_speech, second.no_speech)),
        first.seconds + second.seconds,
    )


def _read(path: Path, model: str) -> Embedded:
    file = read_embedding_file(path)
    with np.load(path, allow_pickle=False) as stored:
        if file.model != model or not {IS_CUT, NO_SPEECH, SECONDS} <= set(stored):
            raise CorpusError(f"{printable(str(path))}: was not written by this command for this model; remove it")
        return Embedded(file.names, file.embeddings, stored[IS_CUT], stored[NO_SPEECH], float(stored[SECONDS]))


def _write(path: Path, embedded: Embedded, model: str) -> None:
    arrays = {
        PATHS: np.array(embedded.paths),
        EMBEDDINGS: embedded.embeddings,
        MODEL: np.array(model),
        IS_CUT: embedded.is_cut,
        NO_SPEECH: embedded.no_speech,
        SECONDS: np.array(embedded.seconds),
    }
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_bytes(path, durable=False) as file:
            np.savez(file, allow_pickle=False, **arrays)
