"""What was chosen about recordings of a corpus: which are kept, dropped, or moved to another label, and why.

The file is a table with tabs between its columns and their names in the first line:

    recording           choice  speaker  reason
    /speech/a/1.wav     drop             wrong_label 0.998: fits 'b' best
    /speech/b/4.wav     move    a        one_person 0.983
    /speech/b/5.wav     keep

A recording is an absolute path, a path relative to the file's folder, or the name that a corpus or a trial list has for
it. What a file does not name stays as it is. A list of `path <tab> speaker` (`clean.tsv` of `doctor`) is such a file
too: of what it names the label is the speaker, and what it does not name is dropped.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Literal, get_args

from sound_groove.corpora.layouts import ListFile
from sound_groove.corpora.layouts.list_file import label_problem
from sound_groove.corpora.layouts.listing import abbreviate, read_lines
from sound_groove.errors import CorpusError, nearest, printable
from sound_groove.files import replaced, writing

Action = Literal["keep", "drop", "move"]
ACTIONS: tuple[Action, ...] = get_args(Action)
HEADER = ("recording", "choice", "speaker", "reason")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen about a recording.

    Attributes:
        recording: its path or name, as the file has it.
        action: keep and drop speak for themselves; move gives it another label.
        speaker: that label; empty unless it is moved.
        reason: for people.
    """

    recording: str
    action: Action
    speaker: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What a file says about the recordings of a corpus.

    Attributes:
        path: of the file.
        sha256: of the file.
        names_all: whether what it does not name is dropped.
        by_name: choices by the names of recordings and by their absolute paths.
    """

    path: Path
    sha256: str
    names_all: bool
    by_name: dict[str, Choice] = field(repr=False)

    def of(self, path: str | Path, *names: str) -> Choice | None:
        """The choice about a recording; None where the file does not name it.

        Args:
            path: of the recording.
            names: what it is called besides.
        """
        for name in (str(path), absolute(path), *names):
            if (found := self.by_name.get(name)) is not None:
                return found
        return None

    def __len__(self) -> int:
        """How many recordings the file names."""
        return len({one.recording for one in self.by_name.values()})


def read_choices(file: str | Path) -> Choices:
    """Read a file of choices.

    Raises:
        CorpusError: there is no such file, or lines of it are not as they should be; the message names them.
    """
    path = Path(file)
    first = next(read_lines(path), (0, ""))[1]
    if tuple(first.split("\t")[:2]) != HEADER[:2]:
        return _of_list(path)
    base = path.absolute().parent
    by_name: dict[str, Choice] = {}
    problems: list[str] = []
    for number, line in read_lines(path):
        cells = [cell.strip() for cell in line.split("\t")]
        if tuple(cells[:2]) == HEADER[:2]:
            continue
        recording, action, speaker, reason, *_ = [*cells, "", "", ""]
        full = os.path.normpath(base / recording)
        known = by_name.get(full)
        if problem := _problem(recording, action, speaker, known):
            problems.append(f"line {number} ({problem})")
            continue
        action = next(one for one in ACTIONS if one == action)
        by_name[recording] = by_name[full] = Choice(recording, action, intern(speaker), reason)
    if problems:
        raise CorpusError(
            f"{printable(str(path))}: each line must be a recording, a choice ({', '.join(ACTIONS)}), for 'move' a "
            f"speaker, and a reason or none, with tabs between; {abbreviate(problems)}"
        )
    return Choices(path, _sha256(path), False, by_name)


def absolute(path: str | Path) -> str:
    """The path of a recording by which files of choices know it; links stay what they are."""
    return os.path.abspath(path)  # noqa: PTH100 - `resolve` follows links


def write_choices(path: Path, choices: Iterable[Choice]) -> None:
    """Write a file of choices, in one piece.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path), replaced(path) as file:
        file.write("\t".join(HEADER) + "\n")
        for one in choices:
            file.write("\t".join(map(printable, (one.recording, one.action, one.speaker, one.reason))) + "\n")


def _of_list(path: Path) -> Choices:
    """The choices that a list of `path <tab> speaker` means."""
    try:
        listing = ListFile(path).listing()
    except CorpusError as error:
        raise CorpusError(
            f"{error}; a file of choices begins with the line '{' <tab> '.join(HEADER)}' instead"
        ) from None
    return Choices(
        path, _sha256(path), True, {one.path: Choice(one.path, "move", one.speaker) for one in listing.sources}
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _problem(recording: str, action: str, speaker: str, known: Choice | None) -> str:
    if not recording:
        return "names no recording"
    if action not in ACTIONS:
        return f"'{printable(action)}' is no choice, {nearest(action, ACTIONS)}"
    if (problem := label_problem(speaker)) and action == "move":
        return "'move' needs a speaker" if not speaker else problem
    if action != "move" and speaker:
        return f"'{action}' takes no speaker"
    if known is not None and (known.action, known.speaker) != (action, speaker):
        return f"{printable(recording)} has another choice above"
    return ""
