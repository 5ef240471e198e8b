"""Corpora from the network: what there is, and how it comes to lie on the disk."""

from sound_groove.corpora.downloads.acquisition import Delivery, download
from sound_groove.corpora.downloads.archives import COLLECTIONS, MIRRORS, Archive, Collection
from sound_groove.fetching.remote_file import RemoteFile
from sound_groove.fetching.transfer import Patience

__all__ = ["COLLECTIONS", "MIRRORS", "Archive", "Collection", "Delivery", "Patience", "RemoteFile", "download"]
