"""What a change makes of a speaker, whatever database it is then written to."""

from collections.abc import Sequence
from dataclasses import replace

from sound_groove.audio.listening import joint_facts
from sound_groove.errors import (
    DamagedVoiceprintError,
    OtherModelError,
    StaleVoiceprintError,
    UnknownSpeakerError,
    printable,
)
from sound_groove.types import ModelIdentity
from sound_groove.voiceprints.store.records import (
    EnrolledRecording,
    SpeakerEntry,
    coherence_of,
    new_id,
    norm_spread_of,
    timestamp,
)


def changed_entry(
    name: str,
    earlier: SpeakerEntry | None,
    recordings: Sequence[EnrolledRecording],
    model: ModelIdentity,
    revision: int,
) -> SpeakerEntry:
    """The entry of a speaker who is to have these recordings.

    Args:
        name: of the speaker.
        earlier: the entry until now; None for a new speaker.
        recordings: all that there will be.
        model: which made their embeddings.
        revision: of the store, after the change.
    """
    facts, time = joint_facts([recording.facts for recording in recordings]), timestamp()
    new = SpeakerEntry(
        id=new_id(),
        name=name,
        model=model,
        recordings=len(recordings),
        with_audio=sum(1 for recording in recordings if recording.audio),
        speech_s=facts.speech_s,
        snr_db=facts.snr_db,
        coherence=coherence_of(recordings),
        embedding_norm=facts.embedding_norm,
        norm_spread=norm_spread_of(recordings),
        enrolled_at=time,
        changed_at=time,
        version=revision,
    )
    return new if earlier is None else replace(new, id=earlier.id, enrolled_at=earlier.enrolled_at)


def check_addition(name: str, earlier: SpeakerEntry | None, model: ModelIdentity, version: int | None) -> None:
    """Refuse to add to a speaker who is not the one that was looked at, or whose model is another.

    Raises:
        StaleVoiceprintError: the speaker has changed, come or gone.
        OtherModelError: the other recordings are of another model.
    """
    check_version(name, earlier, version)
    if earlier is not None and earlier.model.hash != model.hash:
        raise other_model(earlier, model)


def check_version(name: str, earlier: SpeakerEntry | None, version: int | None) -> None:
    """Refuse to change a speaker who is not as looked at.

    Raises:
        StaleVoiceprintError: the speaker has changed, come or gone.
    """
    if (None if earlier is None else earlier.version) != version:
        raise StaleVoiceprintError(f"'{printable(name)}' was changed by somebody else at the same time; try again")


def other_model(entry: SpeakerEntry, model: ModelIdentity) -> OtherModelError:
    """The refusal to compare a speaker with what another model embedded."""
    was, is_now = printable(entry.model.label), printable(model.label)
    return OtherModelError(
        f"'{printable(entry.name)}' was enrolled with model {was}, and this is {is_now}; use that one, or "
        "'sound-groove speakers re-embed' where the audio was kept, or enrol again"
    )


def unknown_speaker(name: str, location: str) -> UnknownSpeakerError:
    """The refusal of a name that nobody has."""
    return UnknownSpeakerError(
        f"nobody is enrolled as '{printable(name)}' in {location}; 'sound-groove speakers list' shows who is"
    )


def damaged_voiceprint(name: str, speaker_id: str, reason: str, location: str) -> DamagedVoiceprintError:
    """The refusal to use what is kept of a speaker."""
    return DamagedVoiceprintError(
        f"{location}: the voiceprint of '{printable(name)}' cannot be used: {reason} (speaker "
        f"{printable(speaker_id)}); remove it with 'sound-groove speakers remove', and enrol again"
    )
