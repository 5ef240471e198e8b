"""Embedding many recordings: on all cores, going on where it was stopped, and losing nothing to a bad file.

The recordings are embedded in chunks. What a chunk gave is written beside the result, and a run that was stopped goes
on with the chunks that are missing; the result itself is written in one piece at the end.
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.content import Content
from sound_groove.audio.given import AnyRecording, split_name
from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.encoder.embedding_file import EMBEDDINGS, MODEL, NORMS, PATHS
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener, Seek
from sound_groove.errors import AudioError, OutputError, UsageError, printable
from sound_groove.files import read_json, replaced_bytes, write_json, write_text, writing
from sound_groove.json_reading import parse_json, through_json
from sound_groove.scoring.measures import number_or_nan
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, QualityWarning

CHUNK = 512  # recordings; what a run that is killed has to do again at most
ABOUT = "about.json"
COLUMNS = ("heard", EMBEDDINGS, "reason")  # of an outcome
KEPT = ("name", "facts", "warnings", "digest", "model")  # of what was heard, beside the embedding

STATES = "states"  # of the files

Outcome = HeardRecording | AudioError
FileState = tuple[int, int]  # bytes; nanoseconds of the last change
UNKNOWN: FileState = (-1, -1)


class Recordings(Protocol):
    """Many recordings by name; it can be sent to other processes."""

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called."""
        ...

    def open(self, name: str) -> AnyRecording:
        """The recording: a path, or samples."""
        ...

    def state(self, name: str) -> FileState:
        """Size and time of change of the file that it is in, by which a change is noticed."""
        ...


@dataclass(frozen=True)
class Files:
    """Audio files, called by their paths, or by names of their own.

    Attributes:
        names: what they are called.
        paths: of those that are not called by their paths.
    """

    names: tuple[str, ...]
    paths: Mapping[str, str] = field(default_factory=dict)

    def open(self, name: str) -> str:
        """The path."""
        return self.paths.get(name, name)

    def state(self, name: str) -> FileState:
        """Size and time of change of the file."""
        return _file_state(split_name(self.open(name))[0])


@dataclass(frozen=True)
class Arrays:
    """The arrays of a .npz file, (samples,) each at 16 kHz in [-1, 1], called by their names.

    Attributes:
        path: the file.
        names: of its arrays.
    """

    path: str
    names: tuple[str, ...]

    def open(self, name: str) -> AnyRecording:
        """The samples."""
        with np.load(self.path, allow_pickle=False) as stored:
            samples: NDArray[np.float32] = stored[name]
        return samples

    def state(self, name: str) -> FileState:
        """Size and time of change of the file that they are all in."""
        return _file_state(Path(self.path))


def _file_state(path: Path) -> FileState:
    try:
        found = path.stat()
    except OSError:
        return UNKNOWN  # the reader will say why
    return found.st_size, found.st_mtime_ns


Embed = Callable[[Recordings, Sequence[str]], Iterator[Outcome]]  # outcomes of some recordings, in their order


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of many recordings.

    Attributes:
        file: the result.
        embedded: how many recordings it holds.
        earlier: how many of all had been dealt with by a run before.
        failures: name and reason of each that is not in it.
        mixed: name and reason of each whose embedding is that of several sounds, averaged over its channels.
    """

    file: Path
    embedded: int
    earlier: int
    failures: tuple[tuple[str, str], ...]
    mixed: tuple[tuple[str, str], ...]


def open_arrays(path: Path) -> Arrays:
    """The recordings in a .npz file.

    Raises:
        UsageError: it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Arrays(str(path), tuple(stored.files))
    except (OSError, ValueError, BadZipFile, AttributeError) as error:
        raise UsageError(f"{printable(str(path))}: is not a .npz file of samples: {error}") from None


def in_threads(encoder: SpeakerEncoder, crops: CropAveraging | None, threads: int, seek: Seek | None = None) -> Embed:
    """Embed with an encoder that computes one recording in one thread, in several threads at a time.

    Args:
        encoder: of that kind.
        crops: as `Listener` takes them.
        threads: how many.
        seek: as `Listener` takes it; what it finds of landmarks, voices and content is kept.
    """
    listener = Listener(encoder, crops, seek)

    def embed(recordings: Recordings, names: Sequence[str]) -> Iterator[Outcome]:
        return listener.hear_all(names, lambda name: listener.hear_in_parts(recordings.open(name), name), threads)

    return embed


def embed_all(
    recordings: Recordings,
    out: Path,
    embed: Embed,
    about: Mapping[str, object],
    *,
    force: bool = False,
    allow_failures: bool = False,
    progress: Callable[[int], object] = lambda count: None,
    told: Callable[[str, Outcome], object] = lambda name, outcome: None,
) -> BulkResult:
    """Embed recordings into a .npz file: `path` (N,) names them, `emb` (N, D) float32 holds their embeddings.

    `norms` (N,) float32 are the lengths that these had before they were brought to unit length, NaN where the model
    does not tell them, and `model` () is the model's hash where `about` tells it.

    Args:
        recordings: all of them.
        out: the file to write; beside it, while the work is going on, lies a folder with what is done.
        embed: does the work.
        about: what the embeddings depend on, beside the recordings: the model, the crops. What was done under other
            conditions is not gone on with.
        force: replace the file that is there, and begin anew.
        allow_failures: write the result without the recordings that failed. Otherwise they are listed in
            `<out>.failed.tsv`, there is no result, and another run goes on with those.
        progress: told how many more recordings are done.
        told: told every recording's name and what was heard of it, or why it failed, before the result is written.

    Raises:
        UsageError: there is nothing to embed, or two recordings have one name.
        OutputError: the file is there already, another work of that name lies half done, or it cannot be written.
    """
    names = recordings.names
    if not names:
        raise UsageError("there are no recordings to embed")
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise UsageError(f"'{printable(twice)}' is given twice; every recording needs a name of its own")
    if out.exists() and not force:
        raise OutputError(f"{printable(str(out))}: is there already; choose another --out, or replace it with --force")
    parts = _Parts(out, {**about, "recordings": hashlib.sha256("\n".join(names).encode()).hexdigest()}, force)
    failures: dict[str, str] = {}
    mixed: dict[str, str] = {}
    chunks: list[Embeddings] = []
    norms: list[float] = []
    earlier = 0
    for number, start in enumerate(range(0, len(names), CHUNK)):
        chunk = names[start : start + CHUNK]
        states = {name: recordings.state(name) for name in chunk}  # before they are read: a change meanwhile counts
        done = parts.read(number, states)
        todo = [name for name in chunk if not isinstance(done.get(name), HeardRecording)]  # new, or failed before
        earlier += len(chunk) - len(todo)
        progress(len(chunk) - len(todo))
        if todo:
            for name, outcome in zip(todo, embed(recordings, todo), strict=True):
                done[name] = outcome
                progress(1)
            parts.write(number, done, states)
        found = [done[name] for name in chunk]
        for name, outcome in zip(chunk, found, strict=True):
            told(name, outcome)
            if isinstance(outcome, AudioError):
                failures[name] = outcome.reason
            elif differing := [w.message for w in outcome.warnings if w.code == "channels_differ"]:
                mixed[name] = differing[0].removeprefix(f"{outcome.name}: ")
        usable = [one for one in found if isinstance(one, HeardRecording)]
        chunks.append(np.array([one.embedding for one in usable], np.float32))
        norms += [number_or_nan(one.facts.embedding_norm) for one in usable]
    if failures:
        listed = out.with_name(out.name + ".failed.tsv")
        write_text(listed, "".join(f"{printable(name)}\t{printable(reason)}\n" for name, reason in failures.items()))
        if not allow_failures or len(failures) == len(names):
            first, reason = next(iter(failures.items()))
            count = "1 recording" if len(failures) == 1 else f"{len(failures):,} recordings"
            raise AudioError(
                first,
                f"{reason} ({count} of {len(names):,} cannot be used, listed in {printable(str(listed))}; mend them "
                "and run this again, which goes on with them, or leave them out with --allow-failures)",
            )
    kept = [name for name in names if name not in failures]
    arrays = {
        PATHS: np.array(kept),
        EMBEDDINGS: np.concatenate([chunk for chunk in chunks if len(chunk)]),
        NORMS: np.array(norms, np.float32),
    }
    if MODEL in about:
        arrays[MODEL] = np.array(str(about[MODEL]))
    with writing(out), replaced_bytes(out) as file:
        np.savez(file, allow_pickle=False, **arrays)
    parts.remove()
    return BulkResult(out, len(kept), earlier, tuple(failures.items()), tuple(mixed.items()))


def packed(outcomes: Sequence[Outcome]) -> dict[str, NDArray[Any]]:
    """Outcomes of some recordings as arrays, which a file keeps: COLUMNS, one row each."""
    size = max((len(one.embedding) for one in outcomes if isinstance(one, HeardRecording)), default=0)
    heard, embeddings, reasons = [], np.zeros((len(outcomes), size), np.float32), []
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, AudioError):
            heard.append("")
            reasons.append(outcome.reason)
            continue
        embeddings[row] = outcome.embedding
        known = {name: getattr(outcome, name) for name in KEPT}
        known |= {"voices": outcome.voices} if outcome.voices else {}
        known |= {"landmarks": _text_of(outcome.landmarks)} if len(outcome.landmarks) else {}
        known |= {"content": outcome.content} if outcome.content else {}
        heard.append(json.dumps(known, default=asdict))
        reasons.append("")
    return dict(zip(COLUMNS, (np.array(heard), embeddings, np.array(reasons)), strict=True))


def unpacked(heard: str | bytes, embedding: NDArray[np.float32], reason: str) -> Outcome:
    """The outcome that a row of `packed` holds."""
    if reason:
        return AudioError(None, str(reason))
    known = parse_json(heard)
    return HeardRecording(
        name=known["name"],
        facts=AudioFacts(**known["facts"]),
        warnings=tuple(QualityWarning(**warning) for warning in known["warnings"]),
        digest=known["digest"],
        embedding=embedding,
        model=ModelIdentity(**known["model"]),
        voices=tuple(tuple((start, end) for start, end in spans) for spans in known.get("voices", ())),
        landmarks=np.frombuffer(base64.b64decode(known.get("landmarks", "")), "<u8").astype(np.uint64),
        content=Content(**known["content"]) if "content" in known else None,
    )


def _text_of(landmarks: NDArray[np.uint64]) -> str:
    return base64.b64encode(landmarks.astype("<u8").tobytes()).decode("ascii")


class _Parts:
    """The folder beside the result with what is done of it."""

    def __init__(self, out: Path, about: Mapping[str, object], force: bool) -> None:
        self.folder = out.with_name(out.name + ".parts")
        if force:
            self.remove()
        with writing(out):
            self.folder.mkdir(exist_ok=True)
        known = self.folder / ABOUT
        if not known.exists():
            write_json(known, dict(about))
        elif read_json(known) != through_json(dict(about)):
            raise OutputError(
                f"{printable(str(self.folder))}: holds what was done of other recordings, or with another model or "
                "other crops; choose another --out, or begin anew with --force"
            )

    def read(self, number: int, states: Mapping[str, FileState]) -> dict[str, Outcome]:
        """What a chunk gave, by name, without the recordings whose files are others now, or no files at all.

        Nothing when it was not done, or by a version that kept less of it.
        """
        try:
            with np.load(self._path(number), allow_pickle=False) as stored:
                rows = zip(*(stored[name] for name in (PATHS, STATES, *COLUMNS)), strict=True)
                return {
                    str(name): unpacked(*row)
                    for name, state, *row in rows
                    if UNKNOWN != tuple(map(int, state)) == states.get(str(name))
                }
        except (OSError, ValueError, KeyError, BadZipFile, EOFError):
            return {}

    def write(self, number: int, done: dict[str, Outcome], states: Mapping[str, FileState]) -> None:
        """Keep what a chunk gave, and what its files were."""
        path = self._path(number)
        with writing(path), replaced_bytes(path) as file:
            columns = packed(list(done.values()))
            columns["heard"] = columns["heard"].astype(np.bytes_)  # a quarter of the size; JSON is ASCII
            columns[STATES] = np.array([states[name] for name in done], np.int64)
            np.savez(file, allow_pickle=False, **{PATHS: np.array(list(done)), **columns})

    def remove(self) -> None:
        """The work is done."""
        if (self.folder / ABOUT).exists():
            shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"
