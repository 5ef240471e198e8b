"""A Kaldi data folder: wav.scp, and where they are beside it segments, utt2spk and spk2utt.

    wav.scp     recording path              which file a recording is
    segments    utterance recording start end      which part of it an utterance is, in seconds; -1 = to its end
    utt2spk     utterance speaker
    spk2utt     speaker utterance1 utterance2 ...

Kaldi itself runs what ends with `|` in a wav.scp as a command. Nothing of a list is ever run here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sound_groove.audio.given import Part
from sound_groove.corpora.layouts.listing import UNWRITABLE, Listing, abbreviate, read_lines
from sound_groove.errors import CorpusError, printable

SCP = "wav.scp"
ABOVE = 3  # folders above a data folder from which its relative names may start, as from a recipe's own folder
_ARCHIVE = re.compile(r"\.ark:\d+$")


@dataclass(frozen=True, slots=True)
class KaldiData:
    """What a data folder says.

    Attributes:
        scp: its wav.scp.
        recordings: the file of each recording, as written.
        segments: the recording of each utterance, and which part of it; empty where there are no segments.
    """

    scp: Path
    recordings: dict[str, str]
    segments: dict[str, tuple[str, Part]]

    @property
    def utterances(self) -> tuple[str, ...]:
        """The names of all utterances, in the order of the files."""
        return tuple(self.segments or self.recordings)

    def path(self, utterance: str) -> str:
        """Where an utterance lies: a file, or a part of one (`a.wav#t=1.5,3`).

        Relative names start at the data folder, at the working folder, or at one of the folders above the data folder:
        the first where there is such a file.
        """
        recording, part = self.segments.get(utterance, (utterance, None))
        found = str(self._file(self.recordings[recording]))
        return found if part is None else part.word(found)

    def _file(self, written: str) -> Path:
        folder = self.scp.absolute().parent
        places = [base / written for base in (folder, Path.cwd(), *list(folder.parents)[:ABOVE])]
        return next((path for path in places if path.is_file()), places[0])


def is_kaldi(path: Path) -> bool:
    """Whether a path is that of a Kaldi data folder, or of its wav.scp."""
    return (path / SCP).is_file() if path.is_dir() else path.suffix == ".scp"


def read_kaldi(path: Path) -> KaldiData:
    """Read a data folder; nothing in it is opened.

    Args:
        path: the folder, or its wav.scp.

    Raises:
        CorpusError: it holds a command, or a line that makes no sense; names the line.
    """
    scp = path / SCP if path.is_dir() else path
    recordings = {}
    for number, name, entry in _table(scp, "a recording and its file"):
        check_entry(scp, number, name, entry)
        recordings[name] = entry
    if not recordings:
        raise CorpusError(f"{scp}: names no recording")
    segments = scp.parent / "segments"
    return KaldiData(scp, recordings, read_segments(segments, recordings) if segments.is_file() else {})


def read_segments(path: Path, recordings: dict[str, str]) -> dict[str, tuple[str, Part]]:
    """The recording of each utterance, and which part of it.

    Raises:
        CorpusError: a line makes no sense, or names a recording that is not there.
    """
    found: dict[str, tuple[str, Part]] = {}
    for number, name, rest in _table(path, "an utterance, a recording, and where it begins and ends"):
        words = rest.split()
        where = f"{path}, line {number}"
        if len(words) == 4:
            raise CorpusError(f"{where}: names a channel, which is not read; write each channel to a file of its own")
        try:
            recording, start, end = words[0], float(words[1]), float(words[2])
            is_sound = len(words) == 3 and 0 <= start < 1e9 and (end == -1 or start < end < 1e9)
        except (IndexError, ValueError):
            is_sound = False
        if not is_sound:
            raise CorpusError(f"{where}: expected 'utterance recording start end' (s), found '{printable(rest)[:80]}'")
        if recording not in recordings:
            raise CorpusError(f"{where}: '{printable(recording)}' is not in {SCP}")
        found[name] = (recording, Part(start, None if end == -1 else end))
    if not found:
        raise CorpusError(f"{path}: names no utterance")
    return found


def check_entry(scp: Path, number: int, name: str, entry: str) -> None:
    """Refuse what a wav.scp says of a recording where it is no file.

    Args:
        scp: the list.
        number: of the line.
        name: of the recording.
        entry: what the list says of it.

    Raises:
        CorpusError: it is a command, an archive or the standard input.
    """
    where, what = f"{scp}, line {number}", f"'{printable(name)}'"
    if entry.endswith("|") or entry.startswith("|"):
        raise CorpusError(
            f"{where}: {what} is a command ('{printable(entry)[:80]}'), and commands in a list are never run; run it "
            "yourself and name the file that it writes, or name the recording itself, which may be a wav, flac, sphere "
            "or any other that is read"
        )
    if entry == "-" or _ARCHIVE.search(entry):
        raise CorpusError(
            f"{where}: {what} is '{printable(entry)[:80]}', not a file; write the audio to one and name it"
        )


def read_speakers(folder: Path) -> dict[str, str] | None:
    """Who speaks in each utterance, by utt2spk or else spk2utt; None where there is neither.

    Raises:
        CorpusError: a line makes no sense, or an utterance has two speakers.
    """
    speaker_of: dict[str, str] = {}
    for name, is_inverse in (("utt2spk", False), ("spk2utt", True)):
        path = folder / name
        if not path.is_file():
            continue
        for number, first, rest in _table(path, "an utterance and a speaker"):
            pairs = [(utterance, first) for utterance in rest.split()] if is_inverse else [(first, rest)]
            for utterance, speaker in pairs:
                if speaker_of.setdefault(utterance, speaker) != speaker:
                    raise CorpusError(f"{path}, line {number}: '{printable(utterance)}' has two speakers")
        return speaker_of
    return None


def _table(path: Path, what: str) -> Iterator[tuple[int, str, str]]:
    """Number, first word and the rest of each line.

    Raises:
        CorpusError: no such file, a line without a rest, or a name that stands for two things.
    """
    seen: dict[str, str] = {}
    for number, line in read_lines(path):
        words = line.split(maxsplit=1)
        if len(words) < 2:
            raise CorpusError(
                f"{path}, line {number}: '{printable(line)[:80]}' is not followed by anything; expected {what}"
            )
        if seen.setdefault(words[0], words[1]) != words[1]:
            raise CorpusError(f"{path}, line {number}: '{printable(words[0])}' stands for two different things")
        yield number, words[0], words[1]


@dataclass(frozen=True, slots=True)
class KaldiFolder:
    """A Kaldi data folder as a corpus.

    Attributes:
        path: the folder, or its wav.scp.
    """

    path: Path
    name = "list"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are searched for audio: none, the lists name each file."""
        return ()

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        return {"corpus": self.name, "file": str(self.path.absolute())}

    def listing(self) -> Listing:
        """Read the lists; whether the files exist shows when they are opened.

        Raises:
            CorpusError: a list makes no sense, holds a command, or does not say who speaks.
        """
        data = read_kaldi(self.path)
        folder = data.scp.parent
        speaker_of = read_speakers(folder)
        if speaker_of is None:
            raise CorpusError(f"{folder}: has neither utt2spk nor spk2utt, so that nobody knows who speaks")
        lacking = [utterance for utterance in data.utterances if utterance not in speaker_of]
        if lacking:
            raise CorpusError(f"{folder}: does not say who speaks in {abbreviate(lacking)}")
        listing = Listing(self.name)
        for utterance in data.utterances:
            speaker = speaker_of[utterance]
            for word in (speaker, utterance):
                if (
                    word.startswith(("/", "\\"))
                    or {".", ".."} & set(re.split(r"[/\\]", word))
                    or UNWRITABLE.search(word)
                ):
                    raise CorpusError(f"{folder}: '{printable(word)}' cannot name a file")
            if "/" in speaker or "\\" in speaker:
                raise CorpusError(f"{folder}: '{printable(speaker)}' cannot name a folder")
            listing.add(speaker, utterance, data.path(utterance))
        if data.segments:
            listing.notes.append(
                "the utterances are parts of longer recordings; with --wav or --pack each becomes a copy of its own, "
                "which trains faster"
            )
        return listing.finish()
