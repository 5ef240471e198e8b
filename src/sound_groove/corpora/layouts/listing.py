"""What a corpus holds, before any file is opened: the records that each corpus fills, and the walk of a folder."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any, Literal, NamedTuple, Protocol

from sound_groove.audio.suffixes import RANK, is_audio, suffix_of
from sound_groove.errors import CorpusError

# Control characters, line separators and undecodable bytes would break the lists that are written, one item a line.
UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

SkipKind = Literal["bad", "missing", "twin", "short", "no_audio"]


class Source(NamedTuple):
    """One audio file of a corpus (a tuple, for there may be 640,000 of them).

    Attributes:
        speaker: who speaks.
        name: the utterance's name within the speaker, such as `singing-01-001` or `VIDEO/00001`.
        path: absolute path.
        session: recording session or video, or None.
        genre: such as `singing`, or None.
    """

    speaker: str
    name: str
    path: str
    session: str | None
    genre: str | None

    @property
    def key(self) -> str:
        """`speaker/utterance`."""
        return f"{self.speaker}/{self.name}"


class Skipped(NamedTuple):
    """Something that was left out, and why.

    Attributes:
        path: the file or folder.
        reason: one clause.
        kind: bad = cannot be read; missing = a list names it, the disk has it not; twin = another file has its name;
            short = shorter than asked for; no_audio = a speaker's folder without audio.
    """

    path: str
    reason: str
    kind: SkipKind


@dataclass(slots=True)
class Listing:
    """What a corpus holds.

    Attributes:
        corpus: its name, as on the command line.
        join_by: what, besides the speaker, joined utterances must share.
        sources: the files, sorted by speaker and name after `finish`.
        skipped: what was left out already.
        ignored: number of files that are not audio, or hidden.
        validation_candidates: the speakers that may be held out for validation; None = all.
        facts: what else the report should say, for machines.
        notes: the same for people, one sentence each.
        licence: what the data may be used for, where the corpus binds its users.
    """

    corpus: str
    join_by: Literal["genre", "session"] | None = None
    sources: list[Source] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: int = 0
    validation_candidates: frozenset[str] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    licence: str | None = None

    def add_speaker(self, speaker: str, folder: Path, describe: Callable[[str], tuple[str | None, str | None]]) -> int:
        """Add every audio file under a speaker's folder.

        Args:
            speaker: who speaks in them.
            folder: the folder, walked to its depths.
            describe: gives session and genre of an utterance's name.

        Returns:
            The number of files added.
        """
        before = len(self.sources)
        for relative in self._audio_files(folder):
            name = relative[: -len(Path(relative).suffix)]
            session, genre = describe(name)
            self.add(speaker, name, os.path.join(folder, relative), session, genre)  # noqa: PTH118 - 640,000 times
        if len(self.sources) == before:
            self.skipped.append(Skipped(str(folder), f"holds no audio of speaker {speaker}", "no_audio"))
        return len(self.sources) - before

    def add(self, speaker: str, name: str, path: str, session: str | None = None, genre: str | None = None) -> None:
        """Add one file, or skip it where its name could not stand in a list."""
        if UNWRITABLE.search(path):
            self.skipped.append(Skipped(path, "has control characters or undecodable bytes in its name", "bad"))
            return
        self.sources.append(
            Source(intern(speaker), name, path, session and intern(session), genre and intern(genre)),
        )

    def finish(self) -> "Listing":
        """Sort the sources; of those with one name keep the best and name the others."""
        self.sources.sort(key=lambda source: (source.speaker, source.name, _rank(source.path), source.path))
        kept: list[Source] = []
        for source in self.sources:
            if kept and kept[-1].speaker == source.speaker and kept[-1].name == source.name:
                self.skipped.append(Skipped(source.path, f"is another {source.key}; took {kept[-1].path}", "twin"))
            else:
                kept.append(source)
        self.sources = kept
        return self

    def _audio_files(self, folder: Path) -> Iterator[str]:
        """Paths of the audio files under a folder, relative to it."""
        # Each entry: a folder relative to the root, and the real folders that lead to it (links may go in circles).
        stack: list[tuple[str, frozenset[str]]] = [("", frozenset())]
        while stack:
            relative, above = stack.pop()
            here = folder / relative
            real = os.path.realpath(here)
            if real in above:
                self.skipped.append(Skipped(str(here), "is a link to a folder above it", "bad"))
                continue
            try:
                with os.scandir(here) as entries:
                    found = [(entry.name, entry.is_dir()) for entry in entries]
            except OSError as error:
                self.skipped.append(Skipped(str(here), f"cannot be listed ({error.strerror})", "bad"))
                continue
            for name, is_folder in found:
                if is_hidden(name):
                    self.ignored += not is_folder
                elif is_folder:
                    stack.append((f"{relative}{name}/", above | {real}))
                elif is_audio(name):
                    yield relative + name
                else:
                    self.ignored += 1


class Corpus(Protocol):
    """A corpus on disk, which can say what it holds."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are searched for audio."""

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another, for the check that a preparation goes on with the same one."""

    def listing(self) -> Listing:
        """Find the files, without opening them.

        Raises:
            CorpusError: the folder or list is not laid out as it should be.
        """


def is_hidden(name: str) -> bool:
    """Whether an entry of a folder is not the user's own: hidden, or left by an archiver."""
    return name.startswith(".") or name == "__MACOSX"


def require_folder(folder: Path, what: str) -> None:
    """Check that a folder is there.

    Raises:
        CorpusError: it is not, or is a file.
    """
    if not folder.exists():
        raise CorpusError(f"{folder}: no such folder; {what} was expected")
    if not folder.is_dir():
        raise CorpusError(f"{folder}: is a file; {what} was expected")


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))


def contents(folder: Path) -> str:
    """What lies in a folder, in a few words, for an error that says what was found.

    >>> contents(Path("/nowhere"))
    'nothing'
    """
    try:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir() if not is_hidden(entry.name))
    except OSError:
        names = []
    return abbreviate(names) or "nothing"


def audio_below(folder: Path, what: str) -> Iterator[str]:
    """The absolute paths of all audio files below a folder, sorted.

    Args:
        folder: to look in.
        what: is expected there, for the error.

    Raises:
        CorpusError: there is no such folder, or no audio in it.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder}: there is no such folder of {what}")
    found = sorted(str(path.absolute()) for path in folder.rglob("*") if is_audio(path.name) and path.is_file())
    if not found:
        raise CorpusError(f"{folder}: there is no audio in this folder of {what}")
    yield from found


def abbreviate(names: list[str], most: int = 5) -> str:
    """The first few names of many.

    >>> abbreviate(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a list with their numbers: byte order mark, line ends of any system and blank lines removed.

    Raises:
        CorpusError: no such list, or it is not UTF-8 text.
    """
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if text:
                    yield number, text
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such list") from None
    except IsADirectoryError:
        raise CorpusError(f"{path}: is a folder; a list was expected") from None
    except UnicodeDecodeError:
        raise CorpusError(f"{path}, line {number}: is not UTF-8 text") from None


def listed_paths(file: Path) -> Iterator[Path]:
    """The paths in a list of one a line; relative ones start at the list's folder, what follows a tab does not count.

    Raises:
        CorpusError: no such list, or it is not UTF-8 text.
    """
    return (file.parent / line.partition("\t")[0].strip() for _, line in read_lines(file))


def _rank(path: str) -> int:
    return RANK.get(suffix_of(path), len(RANK))
