"""Who is enrolled, as identification sees it: the nearest voiceprints of one model.

Voiceprints of another model lie elsewhere in a space of their own: they are counted and never compared. Those whose
rows in the store are damaged, or were changed without its key, are left out and told of; the others are compared as
ever.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from threading import Lock
from typing import Protocol, TypeGuard

import numpy as np

from sound_groove.errors import printable
from sound_groove.scoring.cosine import cosine
from sound_groove.types import Embeddings, ModelIdentity, Scores
from sound_groove.voiceprints.search import VoiceprintIndex
from sound_groove.voiceprints.store.interface import SearchingStore, VoiceprintStore
from sound_groove.voiceprints.store.records import Centroid, DamagedVoiceprint, SpeakerEntry

CHUNK = 16_384  # speakers at a time that are taken from the store
COHORT = 300  # speakers who stand for all


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An enrolled speaker, and how near.

    Attributes:
        speaker: who.
        score: cosine to the speaker's centroid, in [-1, 1].
        centroid: (D,) of unit length; None where it is not known.
    """

    speaker: SpeakerEntry
    score: float
    centroid: Embeddings | None = field(default=None, compare=False)

    @property
    def mean(self) -> Embeddings | None:
        """Of the speaker's embeddings (D,), which is not of unit length; None where it is not known."""
        return None if self.centroid is None else self.centroid * self.speaker.coherence


class Gallery(Protocol):
    """The enrolled speakers whose voiceprints are of one model.

    Attributes:
        model: which.
    """

    model: ModelIdentity

    def count(self) -> int:
        """How many there are."""
        ...

    def others(self) -> int:
        """How many more are enrolled with another model, and therefore not compared."""
        ...

    def left_out(self) -> list[DamagedVoiceprint]:
        """Speakers who are not compared, since what the store keeps of them cannot be used."""
        ...

    def is_whole(self) -> bool:
        """Whether the store's speakers were those of its last change when they were first read: see the store's."""
        ...

    def probe(self) -> Embeddings | None:
        """(D,) what the model gives of the probe, as far as the store knows: see the store's."""
        ...

    def nearest(self, embedding: Embeddings, count: int) -> list[Neighbour]:
        """The speakers nearest to an embedding, best first.

        Args:
            embedding: (D,) unit length, by the gallery's model.
            count: how many, at least 1; all when there are not so many.
        """
        ...

    def cohort(self, embedding: Embeddings) -> list[Neighbour]:
        """COHORT speakers, drawn without regard to who they are, or all; with their scores, in any order."""
        ...


class MemoryGallery:
    """A gallery in memory, which follows a store: see `Gallery`.

    Every question first asks the store whether anything changed, which is one small query, and takes in what did; so an
    answer is never older than the question, whoever changed the store. A speaker takes what `VoiceprintIndex` says, and
    about 1 kB for name and facts. Methods may be called from several threads at once.

    Args:
        store: whose speakers these are.
        model: which voiceprints are compared.
        threads: CPU threads of a search; None takes all cores that this process may use.
        size: values of the model's embeddings; None takes what most of the first voiceprints have.
    """

    def __init__(
        self, store: VoiceprintStore, model: ModelIdentity, threads: int | None = None, size: int | None = None
    ) -> None:
        self.model = model
        self._store = store
        self._threads = threads
        self._size = size
        self._lock = Lock()
        self._revision = 0
        self._index: VoiceprintIndex | None = None  # None until the first voiceprint tells the size
        self._entries: dict[str, SpeakerEntry] = {}  # by id, of this model
        self._others: set[str] = set()  # ids
        self._damaged: dict[str, DamagedVoiceprint] = {}  # by id
        self._is_whole: bool | None = None  # None until it was looked at
        self._cohort: list[str] | None = None  # the smallest ids of this model, which are random; None where unknown

    def count(self) -> int:
        """How many speakers there are."""
        with self._lock:
            self._follow()
            return len(self._entries)

    def others(self) -> int:
        """How many more are enrolled with another model."""
        with self._lock:
            self._follow()
            return len(self._others)

    def left_out(self) -> list[DamagedVoiceprint]:
        """Speakers who are not compared."""
        with self._lock:
            self._follow()
            return list(self._damaged.values())

    def is_whole(self) -> bool:
        """Whether the store's speakers were those that its last change left."""
        with self._lock:
            self._follow()
            return self._is_whole is not False

    def probe(self) -> Embeddings | None:
        """What the model gives of the probe, as far as the store knows."""
        return self._store.probe(self.model.hash)

    def nearest(self, embedding: Embeddings, count: int) -> list[Neighbour]:
        """The speakers nearest to an embedding."""
        with self._lock:
            self._follow()
            if self._index is None:
                return []
            found = self._index.nearest(embedding, count)
            return self._neighbours(found.keys, found.scores)

    def cohort(self, embedding: Embeddings) -> list[Neighbour]:
        """Some speakers, drawn without regard to who they are."""
        with self._lock:
            self._follow()
            if self._index is None:
                return []
            if self._cohort is None:
                self._cohort = nsmallest(COHORT, self._entries)
            return self._neighbours(self._cohort, self._index.scores(embedding, self._cohort))

    def refresh(self) -> None:
        """Take in what changed in the store; any question does so by itself.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._lock:
            self._follow()

    def _neighbours(self, keys: Sequence[str], scores: Scores) -> list[Neighbour]:
        centroids: Iterable[Embeddings] = () if self._index is None else self._index.embeddings(keys)
        found = zip(keys, scores.tolist(), centroids, strict=True)
        return [Neighbour(self._entries[key], score, centroid) for key, score, centroid in found]

    def _follow(self) -> None:
        if self._is_whole is None:
            self._is_whole = self._store.is_whole()
        newest = self._store.revision()
        while self._revision < newest:  # by parts, so that a million speakers are not in memory twice
            changes = self._store.changes(self._revision, CHUNK)
            for key in changes.removed:
                self._forget(key)
                self._damaged.pop(key, None)
            for damaged in changes.damaged:
                self._forget(damaged.id)
                self._damaged[damaged.id] = damaged
            ours = [centroid for centroid in changes.changed if centroid.speaker.model.hash == self.model.hash]
            for centroid in changes.changed:
                self._damaged.pop(centroid.speaker.id, None)
                if centroid.speaker.model.hash != self.model.hash:
                    self._forget(centroid.speaker.id)  # it was of this model before
                    self._others.add(centroid.speaker.id)
            if fitting := self._of_size(ours):
                self._take(fitting)
            self._revision = changes.revision

    def _of_size(self, centroids: list[Centroid]) -> list[Centroid]:
        """Those whose embeddings have the model's size; the others are left out."""
        if self._size is None and centroids:
            ((self._size, _),) = Counter(len(centroid.embedding) for centroid in centroids).most_common(1)
        for centroid in centroids:
            if (size := len(centroid.embedding)) != self._size:
                entry = centroid.speaker
                reason = f"its embeddings have {size} values, and those of the model {self._size}"
                self._forget(entry.id)
                self._damaged[entry.id] = DamagedVoiceprint(entry.id, printable(entry.name), reason)
        return [centroid for centroid in centroids if len(centroid.embedding) == self._size]

    def _take(self, centroids: list[Centroid]) -> None:
        keys = [centroid.speaker.id for centroid in centroids]
        embeddings = np.stack([centroid.embedding for centroid in centroids])  # (N, D)
        if self._index is None:
            self._index = VoiceprintIndex(embeddings.shape[1], self._threads)
        self._index.put_all(keys, embeddings)
        self._others.difference_update(keys)
        if self._cohort is not None:
            self._cohort = nsmallest(COHORT, {*self._cohort, *keys})
        self._entries.update(zip(keys, (centroid.speaker for centroid in centroids), strict=True))

    def _forget(self, key: str) -> None:
        self._others.discard(key)
        if self._entries.pop(key, None) is not None and self._index is not None:
            self._index.remove(key)
            if self._cohort is not None and key in self._cohort:
                self._cohort = None


class ServerGallery:
    """A gallery that a store's server searches: see `Gallery`. Only the cohort is kept in memory.

    Where the server searches by an index, it may miss a speaker; `exact` compares with every one.

    Args:
        store: whose speakers these are.
        model: which voiceprints are compared.
        exact: use no index.
        size: values of the model's embeddings, if that is known.
    """

    def __init__(
        self, store: SearchingStore, model: ModelIdentity, exact: bool = False, size: int | None = None
    ) -> None:
        self.model = model
        self._store = store
        self._exact = exact
        self._size = size
        self._damaged: tuple[int, list[DamagedVoiceprint]] | None = None  # of a revision
        self._counts: tuple[int, int, int] | None = None  # a revision; then how many are of this model, and of all
        self._cohort: tuple[int, list[Centroid]] | None = None  # of a revision

    def count(self) -> int:
        """How many speakers there are."""
        return self._counted()[0] - len(self.left_out())

    def others(self) -> int:
        """How many more are enrolled with another model."""
        ours, everybody = self._counted()
        return everybody - ours

    def left_out(self) -> list[DamagedVoiceprint]:
        """Speakers who are not compared, as far as the server can tell without sending all of them."""
        revision, kept = self._store.revision(), self._damaged
        if kept is None or kept[0] != revision:
            self._damaged = kept = revision, self._store.implausible(self.model.hash, self._size)
        return kept[1]

    def is_whole(self) -> bool:
        """True: a store that a server searches is not encrypted, so that nothing can be told."""
        return True

    def probe(self) -> Embeddings | None:
        """What the model gives of the probe, as far as the store knows."""
        return self._store.probe(self.model.hash)

    def _counted(self) -> tuple[int, int]:
        """How many speakers are of this model, and of all; a server reads a whole table to count it."""
        revision, kept = self._store.revision(), self._counts
        if kept is None or kept[0] != revision:
            self._counts = kept = revision, self._store.count(self.model.hash), self._store.count()
        return kept[1:]

    def nearest(self, embedding: Embeddings, count: int) -> list[Neighbour]:
        """The speakers nearest to an embedding."""
        found = self._store.nearest(embedding, self.model.hash, count, self._exact)
        return [Neighbour(centroid.speaker, score, centroid.embedding) for centroid, score in found]

    def cohort(self, embedding: Embeddings) -> list[Neighbour]:
        """Some speakers, drawn without regard to who they are."""
        revision, kept = self._store.revision(), self._cohort
        if kept is None or kept[0] != revision:
            self._cohort = kept = revision, self._store.sample(self.model.hash, COHORT)
        return [
            Neighbour(centroid.speaker, cosine(centroid.embedding, embedding), centroid.embedding)
            for centroid in kept[1]
        ]


def open_gallery(store: VoiceprintStore, model: ModelIdentity, size: int | None = None) -> Gallery:
    """The gallery of a store's speakers of one model: the server searches where it can, else this process's memory.

    Args:
        store: whose speakers these are.
        model: which voiceprints are compared.
        size: values of the model's embeddings (`SpeakerEncoder.embedding_size`); None takes what most have.
    """
    return ServerGallery(store, model, size=size) if searches_itself(store) else MemoryGallery(store, model, size=size)


def searches_itself(store: VoiceprintStore) -> TypeGuard[SearchingStore]:
    """Whether a store finds the nearest voiceprints by itself; a server cannot search what it cannot read."""
    return isinstance(store, SearchingStore) and not store.encrypted
