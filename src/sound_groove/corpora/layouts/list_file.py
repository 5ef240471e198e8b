"""A list of recordings: one path and one speaker a line, a tab between them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sound_groove.audio.channels import NAMED
from sound_groove.corpora.layouts.listing import UNWRITABLE, Listing, abbreviate, read_lines
from sound_groove.errors import CorpusError, printable


@dataclass(frozen=True, slots=True)
class ListFile:
    """A list of `path <tab> speaker`; relative paths are relative to the list's folder.

    A path may end in a channel of the recording, counted from 1: `call.wav#2`.

    An utterance is named by its path below the deepest folder that all files of its speaker share, without suffix.

    Attributes:
        file: the list.
    """

    file: Path
    name = "list"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are searched for audio: none, the list names each file."""
        return ()

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        return {"corpus": self.name, "file": str(self.file.absolute())}

    def listing(self) -> Listing:
        """Read the list; whether the files exist shows when they are opened.

        Raises:
            CorpusError: no such list, lines that are not `path <tab> speaker`, or a file listed for two speakers.
        """
        speaker_of = self._read()
        paths_of: dict[str, list[str]] = {}
        for path, speaker in speaker_of.items():
            paths_of.setdefault(speaker, []).append(path)
        listing = Listing(self.name)
        for speaker, paths in paths_of.items():
            # Plain text, not Path objects: a list may name 640,000 files.
            base = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
            for path in paths:
                listing.add(speaker, _name(path[len(base) :].lstrip("/\\")), path)
        return listing.finish()

    def _read(self) -> dict[str, str]:
        """The speaker of each absolute path."""
        base = self.file.absolute().parent
        speaker_of: dict[str, str] = {}
        problems: list[str] = []
        for number, line in read_lines(self.file):
            path, _, speaker = (part.strip() for part in line.partition("\t"))
            problem = label_problem(speaker)
            full = os.path.normpath(base / path)
            if not problem and speaker_of.setdefault(full, speaker) != speaker:
                problem = f"{path} is listed for {speaker_of[full]} and for {speaker}"
            if problem:
                problems.append(f"line {number} ({problem})")
        if problems:
            raise CorpusError(f"{self.file}: each line must be a path, a tab and a speaker; {abbreviate(problems)}")
        if not speaker_of:
            raise CorpusError(f"{self.file}: the list is empty; each line must be a path, a tab and a speaker")
        return speaker_of


def _name(path: str) -> str:
    """An utterance's name: the path without suffix; one channel of a recording is another utterance than the next.

    >>> _name("calls/one.wav"), _name("calls/one.wav#2")
    ('calls/one', 'calls/one#2')
    """
    channel = NAMED.fullmatch(path)
    if channel is None:
        return os.path.splitext(path)[0]  # noqa: PTH122 - 640,000 times
    return f"{os.path.splitext(channel['file'])[0]}#{channel['channel']}{channel['part'] or ''}"  # noqa: PTH122


def label_problem(speaker: str) -> str:
    """Why a label cannot name a speaker; empty where it can."""
    if not speaker:
        return "no tab with a speaker after it"
    if "\t" in speaker:
        return "more than one tab"
    if "/" in speaker or "\\" in speaker or speaker in (".", "..") or UNWRITABLE.search(speaker):
        return f"{printable(speaker)} cannot name a folder"
    return ""
