"""What every store of voiceprints can do."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sound_groove.errors import UnknownSpeakerError
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.store.records import (
    Centroid,
    Changes,
    DamagedVoiceprint,
    EnrolledRecording,
    Erasure,
    Event,
    SpeakerEntry,
    Voiceprint,
)


class VoiceprintStore(Protocol):
    """Voiceprints by name, on a disk or a server.

    A change is whole or did not happen, and once its method has returned it survives the end of the process and of the
    machine's power. Every change has a revision of the store, one higher than the last. A store may be used from
    several threads, and by several processes at once. Names are those of `records.checked_name`. All methods raise
    StoreError where the store cannot be read or written.

    Attributes:
        location: its path or URL for people, without a password.
        encrypted: embeddings and audio are encrypted at rest; names and figures are not, but nobody can change them
            unnoticed without the key.
        notices: what people should know about its opening, a clause each, such as a removal that was finished.
    """

    location: str
    encrypted: bool
    notices: list[str]

    def revision(self) -> int:
        """The number of changes that there were."""
        ...

    def count(self, model_hash: str | None = None) -> int:
        """How many speakers there are, of a model or of all."""
        ...

    def speakers(self, after: str = "", limit: int | None = None) -> list[SpeakerEntry]:
        """Speakers by name (in the order of code points), without those whose rows are damaged.

        Args:
            after: only those whose name comes after this.
            limit: at most so many; None gives all.
        """
        ...

    def voiceprint(self, name: str) -> Voiceprint:
        """All that is kept of a speaker, compared with what the recordings give.

        Raises:
            DamagedVoiceprintError: it is not what the store wrote, or cannot be.
            UnknownSpeakerError: nobody has this name.
        """
        ...

    def is_enrolled(self, name: str) -> bool:
        """Whether somebody has this name, be the voiceprint damaged or not."""
        ...

    def look_alikes(self, name: str) -> list[str]:
        """Names of others who are enrolled that look like this one (Unicode's confusables), a few of them, escaped."""
        ...

    def damaged(self) -> list[DamagedVoiceprint]:
        """Speakers who are left out, since their rows are not what the store wrote, or cannot be; reads all."""
        ...

    def is_whole(self) -> bool:
        """Whether an encrypted store's speakers are those that its last change left; reads all.

        False where, without the key, rows were taken away, put in, or put back to what they were before. Of a store
        that is not encrypted nothing can be told, and it is True.
        """
        ...

    def enrolled_as(self, digests: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Under which names the audio with these digests is enrolled, by any model: those that are, by digest."""
        ...

    def probe(self, model_hash: str) -> Embeddings | None:
        """The embedding (D,) that a model gave of the probe when it was first enrolled with; None where none is kept.

        Raises:
            StoreError: it is not what the store wrote.
        """
        ...

    def add(
        self,
        name: str,
        recordings: Sequence[EnrolledRecording],
        model: ModelIdentity,
        version: int | None,
        actor: str,
        probe: Embeddings | None = None,
    ) -> SpeakerEntry:
        """Enrol a speaker, or add recordings to one.

        Args:
            name: of the speaker.
            recordings: at least one.
            model: which made their embeddings.
            version: the speaker's version when the recordings were checked; None for nobody of that name.
            actor: for the audit trail.
            probe: (D,) what the model gives of the probe, by which it is known from then on.

        Raises:
            DamagedVoiceprintError: what is kept of the speaker cannot be used.
            StaleVoiceprintError: the speaker has changed, come or gone since, and must be looked at again.
            OtherModelError: the speaker's other recordings are of another model, or the model is not the one that the
                store knows by this hash.
        """
        ...

    def replace(
        self,
        name: str,
        recordings: Sequence[EnrolledRecording],
        model: ModelIdentity,
        version: int,
        actor: str,
        probe: Embeddings | None = None,
    ) -> SpeakerEntry:
        """Put recordings, embedded again by another model, in the place of all that a speaker has.

        Raises:
            DamagedVoiceprintError, StaleVoiceprintError, OtherModelError: as in `add`.
            UnknownSpeakerError: nobody has this name.
        """
        ...

    def remove(self, name: str, actor: str) -> Erasure:
        """Erase a speaker for good: name, embeddings, audio and figures, from the database and its journal.

        A removal of this name that was left incomplete is gone on with.

        Raises:
            UnknownSpeakerError: nobody has this name, and no removal of it is left incomplete.
        """
        ...

    def discard(self, speaker_id: str, actor: str) -> Erasure:
        """Erase a speaker by id, whose name may be damaged.

        Raises:
            UnknownSpeakerError: nobody has this id.
        """
        ...

    def changes(self, since: int = 0, limit: int | None = None) -> Changes:
        """Who changed after a revision, of all models; from 0, everybody.

        Args:
            since: the revision that is known.
            limit: at most so many speakers, those who changed first; the revision that it leads to is then that of the
                last of them. None gives all.
        """
        ...

    def events(self, after: int = 0, limit: int | None = None) -> list[Event]:
        """The audit trail in order, after a revision."""
        ...

    def close(self) -> None:
        """Let go of the file or the connection; nothing else may be called after it."""
        ...


@runtime_checkable
class SearchingStore(VoiceprintStore, Protocol):
    """A store that finds the nearest voiceprints by itself, for sets that no one process should hold."""

    def nearest(
        self, embedding: Embeddings, model_hash: str, count: int, exact: bool = False
    ) -> list[tuple[Centroid, float]]:
        """The speakers of a model whose centroids are nearest to an embedding.

        Args:
            embedding: (D,) unit length.
            model_hash: of the model that made it; speakers of other models are not compared.
            count: how many; fewer where the model has fewer speakers.
            exact: compare with every one. Otherwise an index may be used, which misses some.

        Returns:
            speaker and cosine with the centroid (computed in float64), the highest first. Times the speaker's coherence
            it is the mean cosine with the recordings, whose order may be another: ask for some more than are needed.
        """
        ...

    def sample(self, model_hash: str, count: int) -> list[Centroid]:
        """Some speakers of a model, drawn without regard to who they are: the same until they change; none is damaged.

        Args:
            model_hash: of the model.
            count: how many; all where there are not so many.
        """
        ...

    def implausible(self, model_hash: str, size: int | None) -> list[DamagedVoiceprint]:
        """Speakers of a model whose rows cannot be, as far as the server can tell; `nearest` leaves them out.

        Args:
            model_hash: of the model.
            size: values of its embeddings (D), if that is known.
        """
        ...

    def build_index(self, model_hash: str) -> None:
        """Make the index by which `nearest` finds speakers of a model faster, anew where there is one."""
        ...


def find_voiceprint(store: VoiceprintStore, name: str) -> Voiceprint | None:
    """All that is kept of a speaker; None where nobody has this name."""
    try:
        return store.voiceprint(name)
    except UnknownSpeakerError:
        return None
