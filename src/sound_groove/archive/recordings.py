"""The windows of all recordings of an index, in memory, as a search needs them.

A hundred hours of speech are about 480,000 windows: 370 MB for D = 192, and 0.4 s to read.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.archive.index_file import IndexFacts, IndexFile
from sound_groove.audio.listening import AudioFacts
from sound_groove.types import Embeddings


@dataclass(frozen=True, slots=True)
class ArchivedRecording:
    """A recording of an archive.

    Attributes:
        path: below the archive's folder.
        facts: its length, speech, noise and rate.
    """

    path: str
    facts: AudioFacts


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """An archive that can be searched.

    Attributes:
        path: of its index.
        facts: of the index: the folder of the recordings, the model.
        recordings: those that could be used.
        unusable: how many more could not.
        owners: (N,) the place in `recordings` of each window's recording; windows of one are together, by beginnings.
        windows: (N, 2) first sample at 16 kHz, and the one after the last.
        norms: (N,) how long the embeddings were before they were brought to unit length; NaN where unknown.
        embeddings: (N, D) of unit length, but for rounding.
    """

    path: Path
    facts: IndexFacts
    recordings: tuple[ArchivedRecording, ...]
    unusable: int
    owners: NDArray[np.int32] = field(repr=False)
    windows: NDArray[np.int32] = field(repr=False)
    norms: NDArray[np.float32] = field(repr=False)
    embeddings: Embeddings = field(repr=False)

    @property
    def duration_s(self) -> float:
        """The length of all recordings that could be used."""
        return sum(recording.facts.duration_s for recording in self.recordings)


def open_archive(path: str | Path) -> Archive:
    """Read an index.

    Args:
        path: of the file that `index_archive` made.

    Raises:
        ArchiveError: it is missing, no index, or damaged.
    """
    with IndexFile(Path(path)) as index:
        count, size = index.windows(), index.facts.size
        owners, windows = np.empty(count, np.int32), np.empty((count, 2), np.int32)
        norms, embeddings = np.full(count, np.nan, np.float32), np.empty((count, size), np.float32)
        recordings = list[ArchivedRecording]()
        unusable = at = 0
        for one in index.recordings():
            if one.facts is None:
                unusable += 1
                continue
            here = slice(at, at + len(one.windows))
            owners[here], windows[here], embeddings[here] = len(recordings), one.windows, one.embeddings
            if len(one.norms):
                norms[here] = one.norms
            at = here.stop
            recordings.append(ArchivedRecording(one.path, one.facts))
        return Archive(
            path=Path(path),
            facts=index.facts,
            recordings=tuple(recordings),
            unusable=unusable,
            owners=owners,
            windows=windows,
            norms=norms,
            embeddings=embeddings,
        )
