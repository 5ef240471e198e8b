"""The cohort: embeddings of speakers who are in no trial, by which scores are centred, normalised or modelled.

It comes from a folder that `prepare` wrote, whose training speakers are embedded, or from a file of embeddings. Which
recordings it has is settled before anything is embedded, so that what is wrong with it is found at once.
"""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from sound_groove.corpora.manifest import read_manifest
from sound_groove.encoder.embedding_file import EMBEDDINGS, PATHS, SPEAKERS, read_embedding_file
from sound_groove.errors import CorpusError, printable
from sound_groove.evaluation.embedding import Encoder, describe, embed_recordings
from sound_groove.evaluation.trials.sources import Recording
from sound_groove.scoring.cosine import mean_embedding
from sound_groove.types import CropAveraging, Embeddings

UTTERANCES = 10  # of each speaker, at most


@dataclass(frozen=True, slots=True)
class Cohort:
    """Embeddings of other speakers than those of the trials.

    Attributes:
        source: where they come from.
        embeddings: (N, D) unit length.
        speakers: (N,) who speaks, numbered from 0 without gaps.
    """

    source: Path
    embeddings: Embeddings
    speakers: NDArray[np.int64]

    def speaker_means(self) -> Embeddings:
        """(M, D) the direction of each speaker's mean embedding.

        Raises:
            MetricError: the embeddings of a speaker cancel out.
        """
        order = np.argsort(self.speakers, kind="stable")
        starts = np.searchsorted(self.speakers[order], np.arange(1, self.speakers.max() + 1))
        return np.array([mean_embedding(own) for own in np.split(self.embeddings[order], starts)])


@dataclass(frozen=True, slots=True)
class ChosenCohort:
    """Which recordings a cohort is to have.

    Attributes:
        source: the manifest, or the file of embeddings.
        recordings: (N,) their files, in the order of their joining.
        speakers: (N,) names of who speaks.
        embeddings: (N, D) where they are there already, else None.
    """

    source: Path
    recordings: tuple[Recording, ...]
    speakers: tuple[str, ...]
    embeddings: Embeddings | None = None

    def codes(self) -> NDArray[np.int64]:
        """(N,) who speaks, numbered from 0 without gaps."""
        return np.unique(self.speakers, return_inverse=True)[1].astype(np.int64)

    def refuse_trial_voices(self, speakers: Collection[str], recordings: Iterable[Recording]) -> None:
        """Make sure that nobody is in the cohort who is in the trials, as far as names and files tell.

        Args:
            speakers: names of the trials' speakers; empty where nobody says.
            recordings: of the trials.

        Raises:
            CorpusError: a speaker or a recording is in both.
        """
        if shared := sorted(set(self.speakers) & set(speakers)):
            more = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
            raise CorpusError(
                f"{self.source}: speaker '{printable(shared[0])}'{more} is in the trials too; a cohort is of other "
                "people, so leave these speakers out of it, or rename those who are others of the same name"
            )
        heard = {os.path.abspath(path) for recording in recordings for path in recording}  # noqa: PTH100 - many
        for recording in self.recordings:
            for path in recording:
                if os.path.abspath(path) in heard:  # noqa: PTH100
                    raise CorpusError(
                        f"{self.source}: {describe((path,))} is in the trials too; a cohort is of other people, so "
                        "leave the speakers of the trials out of it"
                    )

    def embed(self, encoder: Encoder, crops: CropAveraging | None, threads: int, allow_failures: bool) -> Cohort:
        """The cohort; recordings that cannot be used are left out where that is allowed.

        Raises:
            CorpusError: recordings cannot be used, and that is not allowed or leaves fewer than 2 speakers.
        """
        if self.embeddings is not None:
            return Cohort(self.source, self.embeddings, self.codes())
        embedded = embed_recordings(encoder, self.recordings, crops, threads, allow_failures)
        if embedded.problems and not allow_failures:
            first = min(embedded.problems)
            raise CorpusError(
                f"{self.source}: {len(embedded.problems)} of {len(self.recordings)} recordings of the cohort cannot be "
                f"used, first {describe(self.recordings[first])}: {embedded.problems[first].reason}; mend them, or "
                "leave them out with --allow-missing"
            )
        kept = np.setdiff1d(np.arange(len(self.recordings)), list(embedded.problems))
        codes = np.unique(self.codes()[kept], return_inverse=True)[1].astype(np.int64)
        if len(np.unique(codes)) < 2:
            raise CorpusError(f"{self.source}: hardly a recording of the cohort can be used; it needs 2 speakers")
        return Cohort(self.source, embedded.embeddings[kept], codes)


def choose_cohort(path: Path, encoder: Encoder, utterances: int = UTTERANCES) -> ChosenCohort:
    """Settle which recordings a cohort has.

    Args:
        path: a folder that `prepare` wrote (or its manifest), of which the training speakers are taken; or a .npz file
            with the arrays `path` (N,) and `emb` (N, D), as `embed` writes it. Who speaks is told by an array `speaker`
            (N,) of it, else by the folders that the paths lie in; see `speakers_of_paths`.
        encoder: the model that the embeddings must be of, as far as the file tells.
        utterances: of each speaker at most, evenly chosen from all of them.

    Raises:
        CorpusError: it cannot be read, has fewer than 2 speakers, or holds embeddings of another model.
    """
    embeddings = None
    if path.suffix == ".npz":
        file = read_embedding_file(path)
        _check_model(path, file.model, file.embeddings, encoder)
        recordings: list[Recording] = [(Path(name),) for name in file.names]
        speakers: Sequence[str] = file.speakers if file.speakers is not None else speakers_of_paths(path, file.names)
        embeddings = file.embeddings
    else:
        training = [utterance for utterance in read_manifest(path) if utterance.split == "train"]
        recordings = [tuple(map(Path, utterance.paths)) for utterance in training]
        speakers = [utterance.speaker for utterance in training]
    if (count := len(set(speakers))) < 2:
        raise CorpusError(f"{path}: a cohort needs at least 2 speakers; there {'is' if count == 1 else 'are'} {count}")
    rows = choose_evenly(speakers, utterances)
    return ChosenCohort(
        path,
        tuple(recordings[row] for row in rows),
        tuple(speakers[row] for row in rows),
        None if embeddings is None else embeddings[rows],
    )


def _check_model(path: Path, model: str | None, embeddings: Embeddings, encoder: Encoder) -> None:
    if model is not None and model != encoder.identity.hash:
        raise CorpusError(
            f"{path}: holds embeddings of the model {model[:12]}, and this is {encoder.identity.hash[:12]}; embed the "
            "cohort with this model"
        )
    if embeddings.shape[1] != encoder.embedding_size:
        raise CorpusError(
            f"{path}: holds embeddings of {embeddings.shape[1]} values, and this model's have "
            f"{encoder.embedding_size}; embed the cohort with this model"
        )
    if blank := int((~embeddings.any(axis=1)).sum()):
        raise CorpusError(f"{path}: {blank} of its {len(embeddings)} embeddings are all zeros; leave them out")


def choose_evenly(speakers: Sequence[str], most: int) -> list[int]:
    """Rows of at most so many utterances of each speaker, spread evenly over all that there are, rising.

    >>> choose_evenly(["a", "a", "a", "a", "b"], most=2)
    [1, 3, 4]
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, speaker in enumerate(speakers):
        rows[speaker].append(row)
    chosen: list[int] = []
    for own in rows.values():
        count = min(most, len(own))
        middles = [(2 * number + 1) * len(own) // (2 * count) for number in range(count)]  # of as many equal parts
        chosen += [own[middle] for middle in middles]
    return sorted(chosen)


def speakers_of_paths(file: Path, names: Sequence[str]) -> list[str]:
    """Who speaks, told by folders: a speaker is the first folder below the one in which all recordings lie.

    Raises:
        CorpusError: a recording lies in no such folder.

    >>> speakers_of_paths(Path("e.npz"), ["rec/anna/monday/1.wav", "rec/anna/2.wav", "rec/bob/1.wav"])
    ['anna', 'anna', 'bob']
    """
    folders = [PurePath(name.replace("\\", "/")).parts[:-1] for name in names]
    shared = 0  # folders that all have in common: those with which the first and the last in order begin
    if folders:
        both = zip(min(folders), max(folders), strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
    for name, parts in zip(names, folders, strict=True):
        if len(parts) == shared:
            raise CorpusError(
                f"{file}: the folders do not tell who speaks in '{printable(name)}'; name the recordings "
                f"speaker/.../file, or add an array '{SPEAKERS}' beside '{PATHS}' and '{EMBEDDINGS}'"
            )
    return [parts[shared] for parts in folders]
