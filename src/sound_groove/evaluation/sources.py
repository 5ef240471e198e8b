"""From the names in a trial list to files on disk.

Lists and disks disagree in known ways. CN-Celeb's lists say `.wav` where the disk has `.flac`; its enrolments are names
that `enroll.lst` or `enroll.map` explains; Kaldi's names are explained by a `wav.scp`. Nothing of a list is executed: a
`wav.scp` with commands in it is refused.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from sound_groove.data.corpora.listing import RANK
from sound_groove.errors import TrialError, UsageError, printable
from sound_groove.evaluation.trials import CNCELEB, KALDI, ListFormat, TrialList

Enrollment = Literal["concatenated", "average"]
Recording = tuple[Path, ...]  # files that are joined without a gap; nearly always one


@dataclass(frozen=True, slots=True)
class Source:
    """What one name of a list stands for.

    Attributes:
        recordings: those whose embeddings are averaged; nearly always one.
        problem: why it could not be found, as one clause; None when it was.
    """

    recordings: tuple[Recording, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """What all names of a list stand for.

    Attributes:
        by_id: one for each of the list's ids, in their order.
        protocol: how enrolments were made: `concatenated`, `average`, or `single recordings`.
        explained_by: the file that explained names, or None.
    """

    by_id: tuple[Source, ...]
    protocol: str
    explained_by: Path | None


class AudioFinder:
    """Finds recordings under one of several folders, by name or, where only the suffix differs, by stem."""

    def __init__(self, *roots: Path) -> None:
        self.roots = tuple(dict.fromkeys(roots))
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> Path | None:
        """The file of that name (absolute, or relative to one of the roots), or None.

        A file of exactly that name comes first; then one whose name differs in the audio suffix alone, in the order of
        AUDIO_SUFFIXES. Backslashes are tried as slashes, for lists that were written on Windows.
        """
        spellings = (name, name.replace("\\", "/")) if "\\" in name else (name,)
        candidates = [root / spelling for spelling in spellings for root in self.roots]
        for path in candidates:
            if path.is_file():
                return path
        for path in candidates:
            stem = path.stem if path.suffix.lower() in RANK else path.name
            if names := self._listing(path.parent).get(stem):
                return path.with_name(names[0])
        return None

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        """The audio files of a folder by stem; a folder is listed once, however many names are looked up in it."""
        if folder not in self._listings:
            names: dict[str, list[str]] = {}
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        found = PurePath(entry.name)
                        if found.suffix.lower() in RANK:
                            names.setdefault(found.stem, []).append(entry.name)
            except OSError:  # no such folder, or one that may not be listed: nothing is found in it
                pass
            for same_stem in names.values():
                same_stem.sort(key=lambda name: (RANK[PurePath(name).suffix.lower()], name))
            self._listings[folder] = names
        return self._listings[folder]


def locate(
    trials: TrialList, form: ListFormat, list_path: Path, audio_root: Path, enrollment: Enrollment | None = None
) -> Sources:
    """Find what each name of a list stands for.

    Args:
        trials: the list.
        form: its format.
        list_path: the list's file; `enroll.lst`, `enroll.map` and `wav.scp` are looked for beside it.
        audio_root: where relative names start.
        enrollment: which of CN-Celeb's two protocols; None takes `concatenated` where there is a choice.

    Raises:
        TrialError: audio_root is no folder, or a file that should explain names is missing or malformed.
        UsageError: a protocol was asked for, and the list is not in CN-Celeb's format.
    """
    if not audio_root.is_dir():
        raise TrialError(f"{audio_root}: no such folder; --audio-root must name the one in which the list's names lie")
    if form is CNCELEB:
        return _locate_cnceleb(trials, list_path, audio_root, enrollment or "concatenated")
    if enrollment is not None:
        raise UsageError(
            f"--enrollment is for lists in the CN-Celeb format, and {list_path} is in the {form.name} format"
        )
    if form is KALDI:
        for folder in (list_path.parent, audio_root):
            if (table := folder / "wav.scp").is_file():
                return _locate_kaldi(trials, table, audio_root)
    finder = AudioFinder(audio_root)
    return Sources(tuple(_single(finder, name) for name in trials.ids), "single recordings", None)


def _single(finder: AudioFinder, *names: str) -> Source:
    """The first of several names that is a recording."""
    for name in names:
        if path := finder.find(name):
            return Source(((path,),))
    return Source(problem=f"no such recording under {' or '.join(map(str, finder.roots))}")


def _locate_cnceleb(trials: TrialList, list_path: Path, root: Path, enrollment: Enrollment) -> Sources:
    name = "enroll.lst" if enrollment == "concatenated" else "enroll.map"
    table_path: Path | None = list_path.parent / name
    if not (list_path.parent / name).is_file():
        if enrollment == "average":
            raise TrialError(f"{table_path}: no such file; the 'average' protocol needs it beside the list")
        table_path = None
    table = read_table(table_path) if table_path else {}
    finder = AudioFinder(root, root / "eval")  # the corpus's own folder is as good as its eval folder
    data = AudioFinder(root.parent / "data", root / "data", root)  # enroll.map's names are relative to data/
    sources: list[Source | None] = [None] * len(trials.ids)
    for index in dict.fromkeys(trials.enrolments.tolist()):
        identity = trials.ids[index]
        if enrollment == "average":
            sources[index] = _average(data, table.get(identity), table_path)
        elif identity in table:
            sources[index] = _single(finder, table[identity])
        else:
            sources[index] = _single(finder, identity, f"enroll/{identity}")
    found = tuple(source or _single(finder, trials.ids[index]) for index, source in enumerate(sources))
    protocol: str = enrollment if table_path else "single recordings"
    return Sources(found, protocol, table_path)


def _average(data: AudioFinder, names: str | None, table: Path | None) -> Source:
    """An enrolment of several recordings; it stands only when all of them do, so that the protocol is what it says."""
    if names is None:
        return Source(problem=f"not in {table}")
    paths = [data.find(name) for name in names.split()]
    if missing := [name for name, path in zip(names.split(), paths, strict=True) if path is None]:
        return Source(
            problem=f"{len(missing)} of its {len(paths)} enrolment recordings missing, first {printable(missing[0])}"
        )
    return Source(tuple((path,) for path in paths if path is not None))


def _locate_kaldi(trials: TrialList, table_path: Path, root: Path) -> Sources:
    table = read_table(table_path)
    finder = AudioFinder(root, table_path.parent, Path())
    sources = []
    for identity in trials.ids:
        entry = table.get(identity, identity)
        if entry.endswith("|") or entry.startswith("|"):
            raise TrialError(
                f"{table_path}: '{printable(identity)}' is a command ('{printable(entry[:60])}'), and commands are "
                "never run; write the audio to files and name those"
            )
        sources.append(_single(finder, entry))
    return Sources(tuple(sources), "single recordings", table_path)


def read_table(path: Path) -> dict[str, str]:
    """Lines of a name, blanks, and what it stands for.

    Raises:
        TrialError: a line has no second part, or a name stands for two things; names the line.
    """
    table: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for line, text in enumerate(file, start=1):
            if not (fields := text.split(maxsplit=1)):
                continue
            if len(fields) != 2:
                raise TrialError(f"{path}, line {line}: '{printable(fields[0])}' is not followed by a file")
            if table.setdefault(fields[0], fields[1].strip()) != fields[1].strip():
                raise TrialError(f"{path}, line {line}: '{printable(fields[0])}' stands for two different things")
    return table
