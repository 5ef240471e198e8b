"""From the names in a trial list to files on disk.

Lists and disks disagree in known ways. CN-Celeb's lists say `.wav` where the disk has `.flac`; its enrolments are names
that `enroll.lst` or `enroll.map` explains; Kaldi's names are explained by a `wav.scp`, by `segments` and, for
enrolments, by `spk2utt`. Nothing of a list is executed: a `wav.scp` with commands in it is refused.

A name may end in a channel of its recording, counted from 1: `call.wav#2` is the second of `call.wav`.

A map of enrolments (`model file1 file2 ...`, as in CN-Celeb's `enroll.map` and Kaldi's `spk2utt`) goes with a list in
any format: its files are found as the list's own names are, and their embeddings are averaged.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Literal

from sound_groove.audio.channels import NAMED, with_channel
from sound_groove.audio.given import Part
from sound_groove.audio.suffixes import RANK
from sound_groove.corpora.layouts.kaldi import ABOVE, SCP, read_kaldi
from sound_groove.errors import CorpusError, TrialError, UsageError, printable
from sound_groove.evaluation.trials.trial_list import CNCELEB, KALDI, ListFormat, TrialList

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
        AUDIO_SUFFIXES. Backslashes are tried as slashes, for lists that were written on Windows. A name may end in a
        channel, `#2` (`sound_groove.audio.channels`), and so does the path then.
        """
        path = self._find(name)
        if path is None and (named := NAMED.fullmatch(name)):
            path = self._find(named["file"])
            return None if path is None else with_channel(path, int(named["channel"]))
        return path

    def _find(self, name: str) -> Path | None:
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
    trials: TrialList,
    form: ListFormat,
    list_path: Path,
    audio_root: Path,
    enrollment: Enrollment | None = None,
    enroll_map: Path | None = None,
) -> Sources:
    """Find what each name of a list stands for.

    Args:
        trials: the list.
        form: its format.
        list_path: the list's file; `enroll.lst`, `enroll.map` and `wav.scp` are looked for beside it.
        audio_root: where relative names start.
        enrollment: which of CN-Celeb's two protocols; None takes `concatenated` where there is a choice.
        enroll_map: says of which recordings an enrolment is the average; names that it lacks are recordings themselves.

    Raises:
        TrialError: audio_root is no folder, or a file that explains names is missing, malformed or of another list.
        UsageError: a protocol was asked for, and the list is not in CN-Celeb's format or there is a map as well.
    """
    if not audio_root.is_dir():
        raise TrialError(f"{audio_root}: no such folder; --audio-root must name the one in which the list's names lie")
    if enrollment is not None and enroll_map is not None:
        raise UsageError("--enrollment and --enroll-map both say what an enrolment is; give one of them")
    if enrollment is not None and form is not CNCELEB:
        raise UsageError(
            f"--enrollment is for lists in the CN-Celeb format, and {list_path} is in the {form.name} format"
        )
    names = _names_of(form, list_path, audio_root)
    if enrollment == "average":
        enroll_map = list_path.parent / "enroll.map"
        if not enroll_map.is_file():
            raise TrialError(f"{enroll_map}: no such file; the 'average' protocol needs it beside the list")
    if enroll_map is not None:
        files = names
        if form is CNCELEB:  # whose enroll.map names files relative to data/
            files = replace(
                names, audio=AudioFinder(*names.audio.roots, audio_root.parent / "data", audio_root / "data")
            )
        return Sources(_averages(trials, names, files, enroll_map), "average", enroll_map)
    if form is CNCELEB:
        return _concatenated(trials, names, list_path.parent / "enroll.lst")
    if names.table_path is not None:
        speakers = names.table_path.parent / "spk2utt"
        enrolled = {trials.ids[index] for index in set(trials.enrolments.tolist())}
        is_of_speakers = speakers.is_file() and any(name not in names for name in enrolled)
        if is_of_speakers and not enrolled.isdisjoint(read_table(speakers)):
            return Sources(_averages(trials, names, names, speakers), "average", speakers)
    return Sources(tuple(map(names.find, trials.ids)), "single recordings", names.table_path)


@dataclass(frozen=True, slots=True)
class Names:
    """What the names of a list stand for.

    Attributes:
        audio: where recordings lie.
        table: what a `wav.scp` says of names.
        table_path: that file, or None.
        segments: which part of which recording a name is.
    """

    audio: AudioFinder
    table: dict[str, str]
    table_path: Path | None
    segments: dict[str, tuple[str, Part]] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        """Whether a file explains the name."""
        return name in self.table or name in self.segments

    def find(self, name: str) -> Source:
        """The recording of a name."""
        recording, part = self.segments.get(name, (name, None))
        if path := self.audio.find(self.table.get(recording, recording)):
            return Source(((path if part is None else Path(part.word(str(path))),),))
        return Source(problem=f"no such recording under {' or '.join(map(str, self.audio.roots))}")


def _names_of(form: ListFormat, list_path: Path, root: Path) -> Names:
    """What explains the names of a list in that format."""
    if form is KALDI:
        for folder in (list_path.parent, root):
            if (folder / SCP).is_file():
                try:
                    data = read_kaldi(folder)
                except CorpusError as error:
                    raise TrialError(str(error)) from None
                above = list(folder.absolute().parents)[:ABOVE]
                return Names(AudioFinder(root, folder, Path(), *above), data.recordings, data.scp, data.segments)
    # CN-Celeb's own folder is as good as its eval folder.
    folders = (root, root / "eval") if form is CNCELEB else (root,)
    return Names(AudioFinder(*folders), {}, None)


def _concatenated(trials: TrialList, names: Names, table_path: Path) -> Sources:
    """CN-Celeb's enrolments as single recordings, which `enroll.lst` names, or else lie in `enroll/`."""
    is_explained = table_path.is_file()
    table = read_table(table_path) if is_explained else {}
    enrolments = set(trials.enrolments.tolist())
    sources = []
    for index, name in enumerate(trials.ids):
        source = names.find(table.get(name, name) if index in enrolments else name)
        if source.problem and index in enrolments and name not in table:
            alone = names.find(f"enroll/{name}")
            source = source if alone.problem else alone
        sources.append(source)
    protocol = "concatenated" if is_explained else "single recordings"
    return Sources(tuple(sources), protocol, table_path if is_explained else None)


def _averages(trials: TrialList, names: Names, files: Names, map_path: Path) -> tuple[Source, ...]:
    """The recordings of each name that a map of enrolments has; another name is a recording itself.

    Args:
        trials: the list.
        names: find the list's own names.
        files: find the names in the map.
        map_path: the map.

    Raises:
        TrialError: the map cannot be read, or has none of the list's names.
    """
    try:
        table = read_table(map_path)
    except OSError as error:
        raise TrialError(f"{map_path}: cannot be read: {error.strerror or error}") from None
    if table.keys().isdisjoint(trials.ids):
        first = printable(trials.ids[trials.enrolments[0]])
        raise TrialError(
            f"{map_path}: has none of the list's names, such as '{first}'; it must be that of another list"
        )
    enrolments = set(trials.enrolments.tolist())
    sources = []
    for index, name in enumerate(trials.ids):
        source = _average(files, table[name].split()) if name in table else names.find(name)
        if source.problem and index in enrolments and name not in table:
            source = Source(problem=f"not in {map_path}, and {source.problem}")
        sources.append(source)
    return tuple(sources)


def _average(files: Names, listed: Sequence[str]) -> Source:
    """An enrolment of several recordings; it stands only when all of them do, so that the protocol is what it says."""
    found = [files.find(name) for name in listed]
    if missing := [name for name, source in zip(listed, found, strict=True) if source.problem]:
        return Source(
            problem=f"{len(missing)} of its {len(found)} enrolment recordings missing, first {printable(missing[0])}"
        )
    return Source(tuple(recording for source in found for recording in source.recordings))


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
