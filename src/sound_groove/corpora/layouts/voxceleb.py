"""VoxCeleb1 and VoxCeleb2, in any of their published layouts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sound_groove.corpora.layouts.listing import Listing, abbreviate, contents, read_lines, require_folder, subfolders
from sound_groove.errors import CorpusError

SPEAKER = re.compile(r"id\d+")
SPEAKER_IN_LIST = re.compile(r"(?:^|[\s/\\])(id\d+)(?=[\s/\\]|$)")
DEEPEST = 4  # such as vox2/dev/aac/idXXXXX


@dataclass(frozen=True, slots=True)
class VoxCeleb:
    """A folder that holds `idXXXXX/VIDEO/00001.wav`, directly or below `wav`, `dev/wav`, `dev/aac` and the like.

    Attributes:
        folder: the folder.
        exclude: trial lists (such as veri_test.txt), or lists of speakers, whose speakers are to be judged on: they
            appear neither in training nor in validation.
    """

    folder: Path
    exclude: tuple[Path, ...] = ()
    name = "voxceleb"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are searched for audio."""
        return (self.folder,)

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        return {
            "corpus": self.name,
            "folder": str(self.folder.absolute()),
            "exclude": [str(path.absolute()) for path in self.exclude],
        }

    def listing(self) -> Listing:
        """Find the files.

        Raises:
            CorpusError: no speakers' folders in there, or a list that names no speaker.
        """
        require_folder(self.folder, "a folder with VoxCeleb's speakers (idXXXXX/VIDEO/00001.wav)")
        excluded = frozenset(speaker for path in self.exclude for speaker in listed_speakers(path))
        listing = Listing(self.name, join_by="session")
        found: set[str] = set()
        for folder in speaker_folders(self.folder.absolute()):
            found.add(folder.name)
            if folder.name not in excluded:
                listing.add_speaker(folder.name, folder, _describe)
        if not found:
            raise CorpusError(
                f"{self.folder}: expected idXXXXX/VIDEO/00001.wav, directly or below wav, dev/wav or dev/aac; "
                f"found {contents(self.folder)}",
            )
        self._report_exclusion(listing, excluded, found)
        return listing.finish()

    def _report_exclusion(self, listing: Listing, excluded: frozenset[str], found: set[str]) -> None:
        listing.facts["excluded_speakers"] = {"listed": len(excluded), "found": len(excluded & found)}
        if self.exclude:
            listing.notes.append(
                f"{len(excluded & found)} of the {len(excluded)} speakers to be judged on were found and left out",
            )
        else:
            listing.notes.append(
                "no --exclude-trials was given: every speaker here may be trained on, those of any test list too",
            )


def listed_speakers(path: Path) -> frozenset[str]:
    """The speakers that a trial list, or a list of speakers, names.

    Raises:
        CorpusError: no such list, or a line without a speaker.
    """
    speakers: set[str] = set()
    without: list[str] = []
    for number, line in read_lines(path):
        named = SPEAKER_IN_LIST.findall(line)
        speakers.update(named)
        if not named:
            without.append(f"line {number}")
    if without or not speakers:
        where = abbreviate(without) or "the list is empty"
        raise CorpusError(f"{path}: expected lines that name VoxCeleb speakers such as id10270 ({where})")
    return frozenset(speakers)


def speaker_folders(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """The folders of speakers (idXXXXX) in a folder, so many levels down at most."""
    for name in subfolders(folder):
        if SPEAKER.fullmatch(name):
            yield folder / name
        elif depth > 1:
            yield from speaker_folders(folder / name, depth - 1)


def _describe(name: str) -> tuple[str | None, str | None]:
    return name.rpartition("/")[0] or None, None
