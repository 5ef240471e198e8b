"""Whether a model is the one that a store knows by its hash, whatever its file says of itself."""

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.types import Embeddings
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.probes import check_probe


def check_model(store: VoiceprintStore, encoder: SpeakerEncoder) -> None:
    """Refuse a model that gives another embedding of the probe than the one that the store was filled by.

    The probe is embedded once for each encoder, and only where the store keeps what it should give.

    Raises:
        OtherModelError: it does.
        StoreError: the store cannot be read.
    """
    check_encoder(store.probe(encoder.identity.hash), encoder)


def check_encoder(kept: Embeddings | None, encoder: SpeakerEncoder) -> None:
    """The same, with what the store keeps (D,), or None where it knows no such model."""
    if kept is not None:
        check_probe(encoder.identity, kept, encoder.probe_embedding)
