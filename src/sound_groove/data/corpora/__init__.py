"""The corpora that can be prepared: each module knows one layout on disk and says which files and speakers it holds."""

from sound_groove.data.corpora.cnceleb import CnCeleb
from sound_groove.data.corpora.folder import Folder
from sound_groove.data.corpora.kaldi import KaldiFolder
from sound_groove.data.corpora.list_file import ListFile
from sound_groove.data.corpora.listing import Corpus, Listing, Skipped, Source
from sound_groove.data.corpora.voxceleb import VoxCeleb

CORPORA = (CnCeleb, VoxCeleb, Folder, ListFile, KaldiFolder)

__all__ = [
    "CORPORA",
    "CnCeleb",
    "Corpus",
    "Folder",
    "KaldiFolder",
    "ListFile",
    "Listing",
    "Skipped",
    "Source",
    "VoxCeleb",
]
