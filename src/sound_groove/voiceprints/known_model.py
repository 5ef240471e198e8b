"""Whether a model is the one that a store knows by its hash, whatever its file says of itself."""

from sound_groove.arguments import check_has, check_kind
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.types import Embeddings
from sound_groove.voiceprints.store.changing import other_model
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.probes import check_probe
from sound_groove.voiceprints.store.records import Voiceprint


def voiceprint_for(store: VoiceprintStore, name: str, encoder: SpeakerEncoder) -> Voiceprint:
    """The voiceprint of a speaker whom this model enrolled.

    Raises:
        DamagedVoiceprintError: what the store keeps of the speaker is damaged or forged.
        OtherModelError: the speaker was enrolled with another model, or the model is not the one that it says it is.
        UnknownSpeakerError: nobody has this name.
        UsageError: the name or the store is of another kind.
    """
    check_kind(name, str, "the speaker's name", "text")
    check_has(store, "voiceprint", "the store", "what open_store gives")
    voiceprint = store.voiceprint(name)
    if voiceprint.speaker.model.hash != encoder.identity.hash:
        raise other_model(voiceprint.speaker, encoder.identity)
    check_model(store, encoder)
    return voiceprint


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
