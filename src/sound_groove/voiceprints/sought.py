"""A voice that is looked for in other recordings: somebody who is enrolled, or the person of some recordings."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sound_groove.audio.given import AnyRecording, list_of
from sound_groove.audio.listening import NO_VERDICT, AudioFacts, HeardRecording, joint_facts
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.errors import AudioError, UsageError
from sound_groove.types import Embeddings, ModelIdentity, QualityWarning
from sound_groove.voiceprints.known_model import voiceprint_for
from sound_groove.voiceprints.store.interface import VoiceprintStore


@dataclass(frozen=True, slots=True, eq=False)
class SoughtVoice:
    """Whom to look for.

    Attributes:
        name: as enrolled; None for the person of some recordings.
        mean: (D,) of the unit embeddings of the person's recordings, so that its inner product with an embedding is the
            mean of the cosines with them.
        facts: of these recordings, as if they were one.
        model: which embedded them.
        warnings: what makes them less trustworthy.
    """

    name: str | None
    mean: Embeddings = field(repr=False)
    facts: AudioFacts
    model: ModelIdentity
    warnings: tuple[QualityWarning, ...] = ()


def enrolled_voice(store: VoiceprintStore, name: str, encoder: SpeakerEncoder) -> SoughtVoice:
    """Somebody who is enrolled.

    Args:
        store: where.
        name: under which name.
        encoder: the model that the speaker was enrolled with.

    Raises:
        DamagedVoiceprintError: what the store keeps of the speaker is damaged or forged.
        OtherModelError: the speaker was enrolled with another model, or the model is not the one that it says it is.
        UnknownSpeakerError: nobody has this name.
    """
    voiceprint = voiceprint_for(store, name, encoder)
    return SoughtVoice(
        name=voiceprint.speaker.name,
        mean=np.asarray(voiceprint.centroid * voiceprint.speaker.coherence, np.float32),
        facts=joint_facts([one.facts for one in voiceprint.recordings]),
        model=encoder.identity,
    )


def recorded_voice(
    recordings: AnyRecording | HeardRecording | Sequence[AnyRecording | HeardRecording],
    encoder: SpeakerEncoder,
    channel: int | None = None,
) -> SoughtVoice:
    """The person of some recordings.

    Args:
        recordings: at least one, each as `compare` takes it, or what a `Listener` with this model heard of it; or one
            of these.
        encoder: makes the embeddings.
        channel: which one to listen to, counted from 1; None averages all.

    Raises:
        AudioError: a recording cannot be used, has too little speech, or its channels carry different sound.
        OtherModelError: one was embedded by another model.
        UsageError: there is none.
    """
    given = [recordings] if isinstance(recordings, HeardRecording) else list_of(recordings)
    if not given:
        raise UsageError("there is no recording of whom to look for")
    listener = Listener(encoder)
    heard = [
        listener.hear(one, f"recording {number}", channel)
        if isinstance(one, HeardRecording)
        else listener.hear_in_parts(one, f"recording {number}", channel)
        for number, one in enumerate(given, start=1)
    ]
    for one in heard:
        if not one.allows_verdict:
            bar = next(warning for warning in one.warnings if warning.code in NO_VERDICT)
            raise AudioError(None, bar.message.removeprefix(f"{one.name}: "), one.name, code=bar.code)
    return SoughtVoice(
        name=None,
        mean=np.asarray(np.mean([one.embedding for one in heard], axis=0, dtype=np.float64), np.float32),
        facts=joint_facts([one.facts for one in heard]),
        model=encoder.identity,
        warnings=tuple(warning for one in heard for warning in one.warnings),
    )
