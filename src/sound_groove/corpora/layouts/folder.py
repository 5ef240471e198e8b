"""A folder of one's own recordings: one folder a speaker, anything below it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sound_groove.audio.suffixes import is_audio
from sound_groove.corpora.layouts.listing import Listing, contents, require_folder, subfolders
from sound_groove.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder laid out as `speaker/**/audio`; the folders below a speaker are taken as sessions.

    Attributes:
        folder: the folder that holds the speakers' folders.
    """

    folder: Path
    name = "folder"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are searched for audio."""
        return (self.folder,)

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        return {"corpus": self.name, "folder": str(self.folder.absolute())}

    def listing(self) -> Listing:
        """Find the files.

        Raises:
            CorpusError: there is no such folder, or no speakers' folders are in it.
        """
        require_folder(self.folder, "a folder laid out as speaker/**/audio")
        listing = Listing(self.name)
        root = self.folder.absolute()
        speakers = subfolders(root)
        if not speakers:
            raise CorpusError(
                f"{self.folder}: expected one folder a speaker (speaker/**/audio), found {contents(root)}",
            )
        for speaker in speakers:
            listing.add_speaker(speaker, root / speaker, _describe)
        stray = sum(is_audio(entry.name) for entry in root.iterdir() if entry.is_file())
        if stray:
            listing.notes.append(f"{stray} audio files beside the speakers' folders belong to nobody and were left out")
        return listing.finish()


def _describe(name: str) -> tuple[str | None, str | None]:
    return name.rpartition("/")[0] or None, None
