"""Verification: is this recording of the speaker who is enrolled under a name?

recording -> embedding -> score (mean cosine with what is enrolled) -> `comparison.Judge`
"""

from sound_groove.audio.given import AnyRecording
from sound_groove.audio.listening import HeardRecording, joint_facts
from sound_groove.comparison import DEFAULT_PRIOR, DEFAULT_RULE, Comparison, Judge
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.scoring.cosine import cosine
from sound_groove.scoring.decision import DecisionRule
from sound_groove.types import QualityWarning
from sound_groove.voiceprints.known_model import voiceprint_for
from sound_groove.voiceprints.store.interface import VoiceprintStore


def verify_speaker(
    store: VoiceprintStore,
    name: str,
    recording: AnyRecording | HeardRecording,
    encoder: SpeakerEncoder,
    *,
    prior: float = DEFAULT_PRIOR,
    rule: DecisionRule = DEFAULT_RULE,
    channel: int | None = None,
) -> Comparison:
    """Is this recording of the speaker who is enrolled under a name?

    Args:
        store: where the speaker is enrolled.
        name: of the speaker.
        recording: as `compare` takes it; or what a `Listener` with this model heard of it.
        encoder: the model that the speaker was enrolled with.
        prior: probability of the same speaker before listening, in (0, 1).
        rule: how sure a verdict must be.
        channel: which one to listen to, counted from 1; None averages all.

    Returns:
        The comparison of what is enrolled (first) with the recording (second). Its score is the mean of the cosines of
        the recording with those enrolled: the cosine with their centroid would be higher the less these agree with each
        other, for everybody, and the model's score map does not know that.

    Raises:
        AudioError: the recording cannot be used.
        DamagedVoiceprintError: what the store keeps of the speaker is damaged or forged.
        OtherModelError: the speaker was enrolled with another model, or the model is not the one that it says it is.
        UnknownSpeakerError: nobody has this name.
        UsageError: the prior is out of range, or an argument is of another kind.
    """
    judge = Judge.of(encoder, prior, rule)
    voiceprint = voiceprint_for(store, name, encoder)
    heard = Listener(encoder).hear(recording, channel=channel)
    warnings = list(heard.warnings)
    if heard.digest in {recording.digest for recording in voiceprint.recordings}:
        message = f"{heard.name}: this very recording is enrolled, so that its score says nothing about who is speaking"
        warnings.append(QualityWarning("enrolled_recording", message))
    score = cosine(voiceprint.centroid, heard.embedding) * voiceprint.speaker.coherence
    enrolled = joint_facts([recording.facts for recording in voiceprint.recordings])
    mean = voiceprint.centroid * voiceprint.speaker.coherence  # of the embeddings
    return judge.weigh(score, (enrolled, heard.facts), warnings, (mean, heard.embedding))
