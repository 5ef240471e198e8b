"""Enrolment: recordings of one speaker, checked, into a store.

A voiceprint is worth what was enrolled. A recording is refused that cannot be used, that has too little speech, whose
channels carry different sound when none was chosen, in which several voices are found (`encoder.several_voices`), that
is enrolled already, or that does not sound like the speaker's others: each new one is compared with all the others (the
mean of the cosines), and where the evidence speaks for another voice (llr < 0) it is set aside and the rest are
compared anew. One refusal refuses them all, so that nothing is half done.
"""

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile

from sound_groove.arguments import check_has, check_integer, check_kind
from sound_groove.audio.given import AnyRecording, list_of
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import MINIMUM_SPEECH_S, NO_VERDICT, AudioFacts, HeardRecording, hear, joint_facts
from sound_groove.audio.quality import LITTLE_SPEECH_S, seconds_text
from sound_groove.comparison import Judge, measures_of
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.several_voices import described, in_seconds, voice_of, with_voices
from sound_groove.errors import (
    AudioError,
    EnrolmentError,
    Refusal,
    StaleVoiceprintError,
    UsageError,
    printable,
)
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.cosine import cosine, in_steps
from sound_groove.types import Embeddings, QualityWarning, Samples
from sound_groove.voiceprints.known_model import check_model
from sound_groove.voiceprints.store.changing import other_model
from sound_groove.voiceprints.store.interface import VoiceprintStore, find_voiceprint
from sound_groove.voiceprints.store.names import checked_name
from sound_groove.voiceprints.store.records import EnrolledRecording, SpeakerEntry, new_id, timestamp

ATTEMPTS = 5  # at a speaker whom others change at the same moment
LEAST_LLR = 0.0  # below it a recording is more likely another speaker's

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an enrolment did.

    Attributes:
        speaker: as the store has it now.
        added: how many recordings came.
        agreement: of each of them with the speaker's others: mean cosine, or None for a first recording alone.
        warnings: what makes the voiceprint less trustworthy.
    """

    speaker: SpeakerEntry
    added: int
    agreement: tuple[float | None, ...]
    warnings: tuple[QualityWarning, ...]


def enroll(
    store: VoiceprintStore,
    name: str,
    recordings: AnyRecording | HeardRecording | Sequence[AnyRecording | HeardRecording],
    encoder: SpeakerEncoder,
    *,
    force: bool = False,
    keep_audio: bool = False,
    actor: str = "python",
    channel: int | None = None,
    voice: int | None = None,
) -> Enrolment:
    """Enrol a speaker, or add recordings to one.

    Args:
        store: where to keep them.
        name: of the speaker, up to 200 printable characters.
        recordings: at least one, each as `compare` takes it, or what a `Listener` with this model heard of it;
            or one of these. To keep the audio, the samples must be in what was heard.
        encoder: makes the embeddings; a speaker has those of one model only.
        force: enrol recordings with little speech, with several voices, and those that do not sound like the others.
        keep_audio: keep the samples as well, so that another model can embed them later.
        actor: who does it, for the audit trail.
        channel: which one to listen to, counted from 1, where a path names none; None averages all.
        voice: of recordings in which several voices are found, which to enrol alone: 1 is the one that speaks longest.
            None enrols none of such a recording.

    Raises:
        DamagedVoiceprintError: what the store keeps of the speaker cannot be used.
        EnrolmentError: recordings were refused; it names them all, and nothing was enrolled.
        OtherModelError: the speaker was enrolled with another model, or the model is not the one that it says it is.
        StoreError: the store cannot be written.
        UsageError: there is no recording, or the name is none.
    """
    check_kind(name, str, "the speaker's name", "text")
    judge = Judge.of(encoder)
    check_has(store, "voiceprint", "the store", "what open_store gives")
    name = checked_name(name)
    check_model(store, encoder)
    if voice is not None and check_integer(voice, "the number of a voice") < 1:
        raise UsageError(f"voices are counted from 1; {voice} was given")
    heard = _hear(name, recordings, encoder, channel, keep_audio, voice)
    new = [_enrolled(one, keep_audio) for one in heard]

    def attempt() -> Enrolment:
        earlier = find_voiceprint(store, name)
        if earlier is not None and earlier.speaker.model.hash != judge.model.hash:
            raise other_model(earlier.speaker, judge.model)
        kept = () if earlier is None else earlier.recordings
        agreement = _check(name, heard, kept, judge.score_map, force)
        warnings = [warning for one in heard for warning in (*one.warnings, *judge.doubts_of(one))]
        warnings += _elsewhere(store, name, heard)
        warnings += _alike(store, name) if earlier is None else []
        version = None if earlier is None else earlier.speaker.version
        entry = store.add(name, new, judge.model, version, actor, encoder.probe_embedding)
        if judge.score_map is None and len(new) + len(kept) > 1:
            message = "the model carries no map from score to probability, so nobody checked that these sound alike"
            warnings.append(QualityWarning("cohesion_unchecked", message))
        return Enrolment(entry, len(new), agreement, tuple(warnings))

    return _persevere(name, attempt)


def _hear(
    name: str,
    recordings: AnyRecording | HeardRecording | Sequence[AnyRecording | HeardRecording],
    encoder: SpeakerEncoder,
    channel: int | None,
    keep_samples: bool,
    voice: int | None,
) -> list[HeardRecording]:
    """What is heard of the recordings of a speaker; those that cannot be used are all named before any is embedded."""
    several = [recordings] if isinstance(recordings, HeardRecording) else list_of(recordings)
    if not several:
        raise UsageError(f"to enrol '{printable(name)}', name at least one recording")
    listened: list[HeardRecording] = []
    problems: list[Refusal] = []
    for number, recording in enumerate(several, start=1):
        try:
            is_heard = isinstance(recording, HeardRecording)
            listened.append(recording if is_heard else hear(recording, f"recording {number}", channel))
        except AudioError as error:
            problems.append(Refusal.of(error))
    if problems:
        raise EnrolmentError(name, problems)
    if bare := [one.name for one in listened if keep_samples and len(one.samples) == 0]:
        raise UsageError(
            f"{bare[0]}: its samples were not kept, so that its audio cannot be; hear it with keep_samples"
        )
    listener = Listener(encoder, seek=partial(with_voices, encoder=encoder))
    # One at a time: a recording's embedding does not depend on what it is enrolled with.
    if voice is None:
        return [listener.hear(one, keep_samples=keep_samples) for one in listened]
    heard = [_one_voice(listener.hear(one, keep_samples=True), voice) for one in listened]
    if problems := [one for one in heard if isinstance(one, Refusal)]:
        raise EnrolmentError(name, problems)
    alone = Listener(encoder)
    return [alone.hear(one, keep_samples=keep_samples) for one in heard if not isinstance(one, Refusal)]


def _one_voice(heard: HeardRecording, number: int) -> HeardRecording | Refusal:
    """The speech of one voice of a recording; or why there is none of that number."""
    if not heard.voices:
        alone = f"one voice is heard in it, and no voice {number}; enrol it without --voice"
        return heard if number == 1 else Refusal(heard.name, "no_such_voice", alone, {"voice": number, "voices": 1})
    if number > len(heard.voices):
        reason = f"has no voice {number}: {described(heard.voices)}; choose one of these with --voice N"
        values = {"voice": number, "voices": len(heard.voices)}
        return Refusal(heard.name, "no_such_voice", reason, values)
    if len(heard.samples) == 0:
        raise UsageError(f"{heard.name}: its samples were not kept, so that no voice can be chosen; hear it again")
    return voice_of(heard, number)


def _elsewhere(store: VoiceprintStore, name: str, heard: Sequence[HeardRecording]) -> list[QualityWarning]:
    """That the audio of recordings is enrolled under another name as well: one of the two is not who it is called."""
    names = store.enrolled_as([one.digest for one in heard])
    found = []
    for one in heard:
        others = [printable(other) for other in names.get(one.digest, ()) if other != name]
        if others:
            shown = f"'{others[0]}'" + (f" and {len(others) - 1:,} more" if len(others) > 1 else "")
            message = f"{one.name}: this audio is enrolled as {shown} too; remove it where it does not belong"
            found.append(QualityWarning("enrolled_elsewhere", message))
    return found


def _alike(store: VoiceprintStore, name: str) -> list[QualityWarning]:
    """That a new name looks like that of somebody who is enrolled: people could take one for the other."""
    others = store.look_alikes(name)
    if not others:
        return []
    shown = f"'{others[0]}'" + (f" and {len(others) - 1:,} more" if len(others) > 1 else "")
    message = (
        f"'{printable(name)}' looks like {shown}, who is enrolled too, and is written with other characters; choose "
        "another name unless both are meant"
    )
    return [QualityWarning("look_alike", message)]


def re_embed(store: VoiceprintStore, name: str, encoder: SpeakerEncoder, actor: str = "python") -> SpeakerEntry:
    """Embed a speaker's recordings again, by another model, from the audio that was kept.

    Raises:
        EnrolmentError: the audio of a recording was not kept; nothing was changed.
        OtherModelError: the model is not the one that it says it is.
        UnknownSpeakerError: nobody has this name.
    """

    check_model(store, encoder)
    listener = Listener(encoder)

    def attempt() -> SpeakerEntry:
        voiceprint = store.voiceprint(name)
        if voiceprint.speaker.model.hash == encoder.identity.hash:
            return voiceprint.speaker
        lacking = [
            Refusal(printable(recording.source), "no_audio", "its audio was not kept, so it must be enrolled again")
            for recording in voiceprint.recordings
            if not recording.audio
        ]
        if lacking:
            raise EnrolmentError(name, lacking)
        again = [_with_embedding(recording, listener.hear(recording.audio)) for recording in voiceprint.recordings]
        version = voiceprint.speaker.version
        return store.replace(name, again, encoder.identity, version, actor, encoder.probe_embedding)

    return _persevere(name, attempt)


def _persevere(name: str, attempt: Callable[[], Result]) -> Result:
    """What comes of changing a speaker, who is looked at anew each time that somebody else was faster.

    Raises:
        StaleVoiceprintError: somebody else always was.
    """
    for _ in range(ATTEMPTS):
        with suppress(StaleVoiceprintError):
            return attempt()
    raise StaleVoiceprintError(f"'{printable(name)}' is being changed by others all the time; try again")


def _with_embedding(recording: EnrolledRecording, heard: HeardRecording) -> EnrolledRecording:
    """The recording under a new id, which the old embedding's seal does not fit, with what a model heard of it."""
    return replace(recording, id=new_id(), embedding=heard.embedding, embedding_norm=heard.facts.embedding_norm)


def _enrolled(heard: HeardRecording, keep_audio: bool) -> EnrolledRecording:
    return EnrolledRecording(
        id=new_id(),
        embedding=heard.embedding,
        source=Path(heard.name).name,
        digest=heard.digest,
        duration_s=heard.facts.duration_s,
        speech_s=heard.facts.speech_s,
        snr_db=heard.facts.snr_db,
        sample_rate=heard.facts.sample_rate,
        embedding_norm=heard.facts.embedding_norm,
        enrolled_at=timestamp(),
        audio=_flac(heard.samples) if keep_audio else b"",
    )


def _flac(samples: Samples) -> bytes:
    """A FLAC file of samples, in 24 bits; louder than full scale is turned down, which no embedding hears."""
    peak = float(np.abs(samples).max())
    file = io.BytesIO()
    soundfile.write(file, samples / max(1.0, peak), SAMPLE_RATE, format="FLAC", subtype="PCM_24")
    return file.getvalue()


def _check(
    name: str,
    heard: Sequence[HeardRecording],
    kept: Sequence[EnrolledRecording],
    score_map: ScoreMap | None,
    force: bool,
) -> tuple[float | None, ...]:
    """Refuse what may not be enrolled; the cosine of each recording with the speaker's others.

    Raises:
        EnrolmentError: it names all that are refused.
    """
    problems = [*_repeated(heard, kept), *_unheard(heard, force)]
    known = [(recording.embedding, recording.facts) for recording in kept]
    new = [(one.embedding, one.facts) for one in heard]
    if not problems and score_map is not None and not force:
        odd = strangers(known, new, score_map)
        for place, (index, score, llr) in enumerate(odd, start=1):
            reason = f"does not sound like the others (score {score:.3f}, llr {llr:.2f})"
            reason += "; leave it out, or enrol it all the same with --force" if place == len(odd) else ""
            values = {"score": round(score, 3), "llr": round(llr, 2)}
            problems.append(Refusal(heard[index].name, "other_voice", reason, values))
    if problems:
        raise EnrolmentError(name, problems)
    rests = [[embedding for embedding, _ in (*known, *new[:index], *new[index + 1 :])] for index in range(len(new))]
    return tuple(_agreement(embedding, rest) if rest else None for (embedding, _), rest in zip(new, rests, strict=True))


def _agreement(embedding: Embeddings, others: Sequence[Embeddings]) -> float:
    """The mean cosine of an embedding (D,) with some others."""
    return float(in_steps(np.mean([cosine(embedding, other) for other in others])))


def _repeated(heard: Sequence[HeardRecording], kept: Sequence[EnrolledRecording]) -> list[Refusal]:
    """Recordings that are enrolled already, or named twice: they would count double and say nothing new."""
    seen = {recording.digest for recording in kept}
    problems = []
    for one in heard:
        if one.digest in seen:
            problems.append(Refusal(one.name, "enrolled_already", "this audio is enrolled already; leave it out"))
        seen.add(one.digest)
    return problems


def _unheard(heard: Sequence[HeardRecording], force: bool) -> list[Refusal]:
    """Recordings with too little speech to tell a voice by, with several voices, and averages of different sounds."""
    problems = []
    for one in heard:
        bars = [warning for warning in one.warnings if warning.code in NO_VERDICT]
        for bar in bars:
            values = {"speech_s": one.facts.speech_s, "wanted_s": MINIMUM_SPEECH_S}
            reason = bar.message.removeprefix(f"{one.name}: ")
            problems.append(Refusal(one.name, bar.code, reason, values if bar.code == "too_little_speech" else {}))
        if bars:
            continue
        if one.voices and not force:
            reason = f"{described(one.voices)}; enrol one of them alone with --voice N, or all with --force"
            problems.append(Refusal(one.name, "several_voices", reason, {"voices": in_seconds(one.voices)}))
        elif one.facts.speech_s < LITTLE_SPEECH_S and not force:
            reason = (
                f"has {seconds_text(one.facts.speech_s)} of speech, and an enrolment wants {LITTLE_SPEECH_S:.0f} s; "
                "give a longer one, or enrol it all the same with --force"
            )
            values = {"speech_s": one.facts.speech_s, "wanted_s": LITTLE_SPEECH_S}
            problems.append(Refusal(one.name, "little_speech", reason, values))
    return problems


def strangers(
    known: Sequence[tuple[Embeddings, AudioFacts]],
    new: Sequence[tuple[Embeddings, AudioFacts]],
    score_map: ScoreMap,
) -> list[tuple[int, float, float]]:
    """Which of the new recordings do not sound like the rest.

    Args:
        known: embedding (D,) and facts of what is enrolled already, which nobody doubts.
        new: of what is to come.
        score_map: of the model.

    Returns:
        Index, score and llr of each, by index.
    """
    members, found = list(range(len(new))), []
    while len(members) + len(known) > 1 and members:
        fits = []
        for index in members:
            rest = [*known, *(new[other] for other in members if other != index)]
            others = [embedding for embedding, _ in rest]
            score = _agreement(new[index][0], others)
            facts = (joint_facts([facts for _, facts in rest]), new[index][1])
            measures = measures_of(facts, (np.mean(others, axis=0), new[index][0]), score_map)
            fits.append((float(score_map.llr(score, measures)), score, index))
        llr, score, worst = min(fits)
        if llr >= LEAST_LLR:
            break
        found.append((worst, score, llr))
        members.remove(worst)
        if len(members) == 1 and not known:
            found.append((members[0], score, llr))  # of two alone, nobody can say which is the wrong one
            break
    return sorted(found)
