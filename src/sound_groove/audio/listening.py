"""One recording, heard: what is known of it, what makes it less trustworthy, and its embedding once it has one."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sound_groove.audio.content import Content
from sound_groove.audio.fingerprint import Landmarks
from sound_groove.audio.given import STANDARD_INPUT, AnyRecording
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span
from sound_groove.audio.quality import Quality, assess, seconds_text
from sound_groove.audio.reading import read_recording
from sound_groove.errors import AudioError, printable
from sound_groove.types import ChannelFacts, Embeddings, ModelIdentity, QualityWarning, Recording, Samples

MINIMUM_SPEECH_S = 0.5  # with less speech than this a recording gives no verdict
NO_VERDICT = frozenset({"too_little_speech", "channels_differ"})  # codes of warnings that leave no verdict


def _nothing() -> Samples:
    return np.empty(0, np.float32)


def _no_landmarks() -> Landmarks:
    return np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What one recording was.

    Attributes:
        duration_s: its length.
        speech_s: how much of it is speech.
        snr_db: how far the speech lies above the noise, an estimate.
        sample_rate: the file's own rate, in Hz.
        embedding_norm: how long its embedding was before it was brought to unit length, by which some networks tell how
            well they heard it; None where it is not embedded, or the model does not tell.
        unfamiliarity: how unlike known speech it sounds, log odds (`audio.familiarity`); None where there is too little
            speech to tell, and for what was enrolled, of which it is not kept.
    """

    duration_s: float
    speech_s: float
    snr_db: float
    sample_rate: int
    embedding_norm: float | None = None
    unfamiliarity: float | None = None

    @property
    def allows_verdict(self) -> bool:
        """There is enough speech in it."""
        return self.speech_s >= MINIMUM_SPEECH_S


@dataclass(frozen=True, slots=True, eq=False)
class HeardRecording:
    """What was heard of a recording: one record from the decoder to the verdict.

    Whoever decodes it (`hear`, or a worker of the service) fills in all but its embedding and its model; a
    `sound_groove.encoder.listener.Listener` embeds it, and keeps its samples only where somebody asks for them.

    Attributes:
        name: what warnings call it.
        facts: its length, speech, noise and rate.
        warnings: what makes it less trustworthy, each with the recording's name.
        digest: SHA-256 of its samples (hexadecimal): the same for the same audio in another lossless file.
        speech: the stretches of speech in it, first sample and the one after the last.
        samples: (samples,) mono at 16 kHz; empty where they were not kept.
        embedding: (D,) of unit length; empty until it is embedded.
        model: which embedded it; None until then.
        voices: where several were found (`sound_groove.encoder.several_voices`), the stretches of each in samples, that
            which speaks longest first; empty where one was found, or none was looked for.
        landmarks: (L,) by which copies of it are found (`sound_groove.audio.fingerprint`); empty until they are sought.
        content: its level and the music in it; None until they are sought.
    """

    name: str
    facts: AudioFacts
    warnings: tuple[QualityWarning, ...]
    digest: str
    speech: tuple[Span, ...] = ()
    samples: Samples = field(default_factory=_nothing, repr=False)
    embedding: Embeddings = field(default_factory=_nothing, repr=False)
    model: ModelIdentity | None = None
    voices: tuple[tuple[Span, ...], ...] = ()
    landmarks: Landmarks = field(default_factory=_no_landmarks, repr=False)
    content: Content | None = None

    @property
    def allows_verdict(self) -> bool:
        """There is enough speech in it, and its channels, if they were averaged, carry one sound."""
        return self.facts.allows_verdict and allow_verdict(self.warnings)


def digest_of(samples: Samples) -> str:
    """SHA-256 of samples (hexadecimal), by which the same audio is found under another name."""
    return hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest()


def joint_facts(parts: Sequence[AudioFacts]) -> AudioFacts:
    """The facts of several recordings of one voice as if they were one.

    Their speech adds up; for noise and the embeddings' norms stand the means, and where a norm is not known, nothing.
    The least familiar of them stands for all.

    >>> joint_facts([AudioFacts(3.0, 2.0, 10.0, 16000, 7.0), AudioFacts(5.0, 4.0, 20.0, 8000, 9.0, -2.5)])
    AudioFacts(duration_s=8.0, speech_s=6.0, snr_db=15.0, sample_rate=8000, embedding_norm=8.0, unfamiliarity=-2.5)
    """
    norms = [part.embedding_norm for part in parts if part.embedding_norm is not None]
    return AudioFacts(
        duration_s=sum(part.duration_s for part in parts),
        speech_s=sum(part.speech_s for part in parts),
        snr_db=sum(part.snr_db for part in parts) / len(parts),
        sample_rate=min(part.sample_rate for part in parts),
        embedding_norm=sum(norms) / len(norms) if len(norms) == len(parts) else None,
        unfamiliarity=max((part.unfamiliarity for part in parts if part.unfamiliarity is not None), default=None),
    )


def allow_verdict(warnings: Sequence[QualityWarning]) -> bool:
    """Whether none of these warnings leaves no verdict."""
    return not any(warning.code in NO_VERDICT for warning in warnings)


def hear(recording: AnyRecording, name: str = "the recording", channel: int | None = None) -> HeardRecording:
    """Decode and judge a recording, all of it in memory.

    Args:
        recording: as `audio.reading.load_audio` takes it.
        name: what to call what has no path.
        channel: which one to listen to, counted from 1; None averages all.

    Raises:
        AudioError: it cannot be used.
    """
    return judge(*decode(recording, name, channel))


def decode(recording: AnyRecording, name: str, channel: int | None = None) -> tuple[Recording, str]:
    """A recording that is decoded, and what warnings call it; arguments and errors are those of `hear`."""
    try:
        decoded = read_recording(recording, channel)
    except AudioError as error:
        raise error.named(name) from error.__cause__
    return decoded, called(recording, decoded.path, name)


def judge(decoded: Recording, name: str) -> HeardRecording:
    """The record of a recording that was decoded, and is judged now."""
    return heard_of(decoded, assess(decoded.samples, decoded.source_sample_rate), name)


def judge_samples(samples: Samples, name: str = "samples") -> HeardRecording:
    """The record of samples (samples,) that were made here and, other than those of a file, may be silent."""
    return judge(Recording(None, samples, SAMPLE_RATE, ChannelFacts(1)), name)


def called(recording: object, path: Path | None, name: str) -> str:
    """What warnings call a recording: its path as it was given, else that which was found, else the name."""
    if path is None:
        return name
    is_given = isinstance(recording, str | os.PathLike) and recording != STANDARD_INPUT
    return printable(os.fsdecode(recording) if is_given else str(path))  # type: ignore[arg-type]


def heard_of(decoded: Recording, quality: Quality, name: str) -> HeardRecording:
    """The record of a recording that was decoded and judged, here or by another process.

    Args:
        decoded: its samples, and what is known of the file.
        quality: what `audio.quality.assess` found in the samples.
        name: what warnings call it.
    """
    facts = facts_of(decoded.duration_s, quality, decoded.source_sample_rate)
    warnings = warnings_of(name, facts, (*decoded.channels.warnings, *decoded.warnings, *quality.warnings))
    return HeardRecording(name, facts, warnings, digest_of(decoded.samples), quality.speech, decoded.samples)


def facts_of(duration_s: float, quality: Quality, sample_rate: int) -> AudioFacts:
    """What is known of a recording before it is embedded."""
    return AudioFacts(duration_s, quality.speech_s, quality.snr_db, sample_rate, unfamiliarity=quality.unfamiliarity)


def warnings_of(name: str, facts: AudioFacts, found: Sequence[QualityWarning]) -> tuple[QualityWarning, ...]:
    """What was found, under the recording's name, and one warning more where it has too little speech for a verdict."""
    named = [QualityWarning(warning.code, f"{name}: {warning.message}") for warning in found]
    if facts.allows_verdict:
        return tuple(named)
    amount = f"only {seconds_text(facts.speech_s)} of speech was" if facts.speech_s > 0 else "no speech was"
    reason = f"{name}: {amount} found, and a verdict needs {MINIMUM_SPEECH_S} s; give a longer recording"
    # It says what little_speech says, and what follows from it.
    others = [warning for warning in named if warning.code != "little_speech"]
    return (QualityWarning("too_little_speech", reason), *others)
