"""The corpora that can be prepared: each module knows one layout on disk and says which files and speakers it holds."""

from sound_groove.corpora.layouts.cnceleb import CnCeleb
from sound_groove.corpora.layouts.folder import Folder
from sound_groove.corpora.layouts.kaldi import KaldiFolder
from sound_groove.corpora.layouts.list_file import ListFile
from sound_groove.corpora.layouts.listing import Corpus, Listing, Skipped, Source
from sound_groove.corpora.layouts.voxceleb import VoxCeleb

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
