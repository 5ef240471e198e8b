"""Making the index of an archive: every recording of a folder heard once, in windows.

A run goes on where the last one stopped: recordings whose files have the size and the time of change that the index
knows are not heard again, those that are gone are forgotten, and those that could not be used are tried again. Each
recording is kept as soon as it is heard, so that a kill costs those in work.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np

from sound_groove.archive.index_file import FileState, IndexedRecording, IndexFacts, IndexFile
from sound_groove.arguments import check_integer
from sound_groove.audio.reading import open_recording
from sound_groove.audio.suffixes import is_audio
from sound_groove.diarization.hearing import hear_windows
from sound_groove.diarization.who import LONGEST_S
from sound_groove.encoder.encoder import SpeakerEncoder, default_model
from sound_groove.encoder.listener import in_order
from sound_groove.errors import ArchiveError, AudioError, OtherModelError, UsageError, printable
from sound_groove.files import locked_folder
from sound_groove.provenance import available_cores
from sound_groove.types import ModelIdentity

SUFFIX = ".index"


@dataclass(frozen=True, slots=True)
class IndexResult:
    """What a run made of an archive.

    Attributes:
        path: of the index.
        model: which embedded the recordings.
        recordings: how many the index holds that can be searched.
        windows: of them all.
        duration_s: of them all.
        heard: how many this run heard.
        kept: how many were known already.
        removed: how many are gone.
        failures: path and reason of each that cannot be used.
    """

    path: Path
    model: ModelIdentity
    recordings: int
    windows: int
    duration_s: float
    heard: int
    kept: int
    removed: int
    failures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Whom to tell how far the work is.

    Attributes:
        begin: is told how many recordings there are to hear, once.
        recording: is told that one more is done.
        seconds: is told how many seconds more were heard; by several threads.
    """

    begin: Callable[[int], object] = lambda count: None
    recording: Callable[[], object] = lambda: None
    seconds: Callable[[float], object] = lambda seconds: None


SILENT = Progress()


@dataclass(frozen=True, slots=True)
class Unheard:
    """The recordings of a folder that are to be heard.

    Attributes:
        folder: that they are in, or below.
        channel: which one to listen to, counted from 1; None averages all.
        states: size and time of change of each file, by its path below the folder.
    """

    folder: Path
    channel: int | None
    states: Mapping[str, FileState]

    def hear(
        self, name: str, encoder: SpeakerEncoder, told: Callable[[float], object] = lambda seconds: None
    ) -> IndexedRecording:
        """What is kept of a recording.

        Args:
            name: its path below the folder.
            encoder: embeds its windows.
            told: is told how many seconds more were heard; what it raises ends the work.

        Raises:
            AudioError: it cannot be used.
        """
        with open_recording(self.folder / name, self.channel, compared=True, longest_s=LONGEST_S) as opened:
            heard = hear_windows(opened, encoder, told)
        norms = np.empty(0) if heard.norms is None else heard.norms
        return IndexedRecording(
            path=name,
            state=self.states[name],
            facts=heard.facts,
            windows=np.array(heard.windows, np.int32).reshape(-1, 2),
            norms=norms.astype(np.float32),
            embeddings=heard.embeddings,
        )

    def refused(self, name: str, error: AudioError) -> IndexedRecording:
        """What is kept of a recording that cannot be used."""
        return IndexedRecording(name, self.states[name], error.reason)


Hear = Callable[[Unheard], Generator[IndexedRecording, None, None]]  # all recordings of it, in any order


def default_index(folder: Path) -> Path:
    """The index of a folder where none is named: beside the folder, with its name.

    >>> default_index(Path("archive/meetings")).as_posix()
    'archive/meetings.index'
    """
    folder = folder.absolute()
    return folder.with_name((folder.name or "archive") + SUFFIX)


def index_archive(
    folder: str | Path,
    out: str | Path | None = None,
    model: str | Path | SpeakerEncoder | None = None,
    *,
    channel: int | None = None,
    workers: int | None = None,
    hear: Hear | None = None,
    progress: Progress = SILENT,
) -> IndexResult:
    """Embed the windows of every recording in a folder, and below it, that the index does not know yet.

    Args:
        folder: of the recordings.
        out: the index; None takes the folder's name with `.index` behind it, beside the folder.
        model: a model file, a run folder, or an encoder (loaded with threads=1, as many recordings are heard at a
            time); None as in `compare`.
        channel: which one to listen to, counted from 1; None averages all.
        workers: recordings at a time; None takes all cores.
        hear: hears the recordings by the same model elsewhere (`archive.ray_indexing.on_ray`); None hears them here, in
            threads.
        progress: whom to tell how far the work is.

    Raises:
        ArchiveError: the index cannot be used, or is of another folder or channel.
        AudioError: no recording can be used.
        CheckpointError: the model cannot be used.
        OtherModelError: the index is of another model.
        UsageError: there is no such folder, or no recording in it.
    """
    folder = Path(folder)
    if workers is not None and check_integer(workers, "workers") < 1:
        raise UsageError(f"workers must be at least 1; {workers} was given")
    if channel is not None and check_integer(channel, "the channel") < 1:
        raise UsageError(f"channels are counted from 1; {channel} was given")
    if not folder.is_dir():
        raise UsageError(f"{printable(str(folder))}: there is no such folder of recordings")
    path = default_index(folder) if out is None else Path(out)
    encoder = model if isinstance(model, SpeakerEncoder) else SpeakerEncoder.load(model or default_model(), threads=1)
    complaint = f"{printable(str(folder))}: another process is making an index of it; wait for it, or end it"
    facts = IndexFacts(str(folder.resolve()), encoder.identity, encoder.embedding_size, channel)
    with locked_folder(folder, complaint):
        files = {name: state for name, state in _files(folder) if folder / name != path}
        if not files:
            raise UsageError(f"{printable(str(folder))}: there is no audio in this folder of recordings")
        if not path.absolute().parent.is_dir():
            raise UsageError(f"{printable(str(path))}: there is no folder for this index")
        with IndexFile(path, facts) as index:
            _check(index, facts)
            hear = hear or _in_threads(encoder, workers or available_cores(), progress.seconds)
            return _brought_up(index, folder, files, hear, progress)


def _files(folder: Path) -> list[tuple[str, FileState]]:
    """Paths below a folder, and states, of its audio files, sorted."""
    found = []
    for path in folder.rglob("*"):
        if is_audio(path.name) and path.is_file():
            status = path.stat()
            found.append((str(path.relative_to(folder)), (status.st_size, status.st_mtime_ns)))
    return sorted(found)


def _check(index: IndexFile, facts: IndexFacts) -> None:
    """Refuse an index of something else."""
    name, known = printable(str(index.path)), index.facts
    if known.model.hash != facts.model.hash:
        raise OtherModelError(
            f"{name}: is of model {known.model.label}, and this is {facts.model.label}; give that --model, "
            "or another --out"
        )
    if known.channel != facts.channel:
        listened = "the average of all channels" if known.channel is None else f"channel {known.channel}"
        raise ArchiveError(f"{name}: is of {listened}; give the same --channel, or another --out")
    if known.folder != facts.folder and Path(known.folder).is_dir():
        raise ArchiveError(f"{name}: is the index of {printable(known.folder)}; give another --out")


def _brought_up(
    index: IndexFile, folder: Path, files: dict[str, FileState], hear: Hear, progress: Progress
) -> IndexResult:
    """Let the index know all files and no others."""
    facts = replace(index.facts, folder=str(folder.resolve()), is_complete=False)  # a folder may have been moved
    index.note(facts)
    damaged = set(index.damaged())
    known = {name: state for name, (state, usable) in index.states().items() if usable and name not in damaged}
    gone = [name for name in index.states() if name not in files]
    for name in gone:
        index.remove(name)
    todo = [name for name, state in files.items() if known.get(name) != state]
    progress.begin(len(todo))
    failures = list[tuple[str, str]]()
    with closing(hear(Unheard(folder, facts.channel, {name: files[name] for name in todo}))) as recordings:
        for recording in recordings:
            if recording.reason:
                failures.append((recording.path, recording.reason))
            index.put(recording)
            progress.recording()
    failures.sort()
    index.note(replace(facts, is_complete=True))
    if len(failures) == len(files):
        raise AudioError(folder / failures[0][0], f"{failures[0][1]} (and no other recording can be used either)")
    return IndexResult(
        path=index.path,
        model=facts.model,
        recordings=len(files) - len(failures),
        windows=index.windows(),
        duration_s=index.duration_s(),
        heard=len(todo) - len(failures),
        kept=len(files) - len(todo),
        removed=len(gone),
        failures=tuple(failures),
    )


class _StoppedError(Exception):
    """The work was given up."""


def _in_threads(encoder: SpeakerEncoder, workers: int, seconds: Callable[[float], object]) -> Hear:
    """Hear with an encoder that computes one recording in one thread, so many recordings at a time."""

    def heard(unheard: Unheard) -> Generator[IndexedRecording, None, None]:
        stopped = Event()

        def told(more_s: float) -> None:
            if stopped.is_set():
                raise _StoppedError
            seconds(more_s)

        try:
            with closing(in_order(unheard.states, lambda name: unheard.hear(name, encoder, told), workers)) as outcomes:
                for name, outcome in zip(unheard.states, outcomes, strict=True):
                    yield unheard.refused(name, outcome) if isinstance(outcome, AudioError) else outcome
        finally:
            stopped.set()

    return heard
