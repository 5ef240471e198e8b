"""One recording, heard: its samples, what is known of them, and what makes them less trustworthy."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sound_groove.audio.given import STANDARD_INPUT, AnyRecording
from sound_groove.audio.pieces import Span
from sound_groove.audio.quality import Quality, assess, seconds_text
from sound_groove.audio.reading import SAMPLE_RATE, read_recording
from sound_groove.errors import AudioError, printable
from sound_groove.types import ChannelFacts, QualityWarning, Samples

MINIMUM_SPEECH_S = 0.5  # with less speech than this a recording gives no verdict
NO_VERDICT = frozenset({"too_little_speech", "channels_differ"})  # codes of warnings that leave no verdict
ONE_CHANNEL = ChannelFacts(1)


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What one recording was.

    Attributes:
        duration_s: its length.
        speech_s: how much of it is speech.
        snr_db: how far the speech lies above the noise, an estimate.
        sample_rate: the file's own rate, in Hz.
    """

    duration_s: float
    speech_s: float
    snr_db: float
    sample_rate: int

    @property
    def allows_verdict(self) -> bool:
        """There is enough speech in it."""
        return self.speech_s >= MINIMUM_SPEECH_S


@dataclass(frozen=True, slots=True)
class ReadRecording:
    """A recording that was decoded.

    Attributes:
        name: what warnings call it.
        samples: (samples,) mono at 16 kHz.
        sample_rate: the file's own, in Hz.
        channels: the file's own, and what became of them.
        warnings: what is doubtful about where the samples come from.
    """

    name: str
    samples: Samples
    sample_rate: int
    channels: ChannelFacts = ONE_CHANNEL
    warnings: tuple[QualityWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class HeardRecording:
    """A recording that was decoded and judged.

    Attributes:
        name: what warnings call it.
        samples: (samples,) mono at 16 kHz.
        facts: its length, speech, noise and rate.
        warnings: what makes it less trustworthy, each with the recording's name.
        speech: the stretches of speech in the samples.
    """

    name: str
    samples: Samples
    facts: AudioFacts
    warnings: tuple[QualityWarning, ...]
    speech: tuple[Span, ...] = ()

    @property
    def allows_verdict(self) -> bool:
        """There is enough speech in it, and its channels, if they were averaged, carry one sound."""
        return self.facts.allows_verdict and allow_verdict(self.warnings)

    @property
    def digest(self) -> str:
        """SHA-256 of its samples (hexadecimal): the same for the same audio in another lossless file."""
        return digest_of(self.samples)


def digest_of(samples: Samples) -> str:
    """SHA-256 of samples (hexadecimal), by which the same audio is found under another name."""
    return hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest()


def joint_facts(parts: Sequence[AudioFacts]) -> AudioFacts:
    """The facts of several recordings of one voice as if they were one: their speech adds up.

    >>> joint_facts([AudioFacts(3.0, 2.0, 10.0, 16000), AudioFacts(5.0, 4.0, 20.0, 8000)])
    AudioFacts(duration_s=8.0, speech_s=6.0, snr_db=15.0, sample_rate=8000)
    """
    return AudioFacts(
        duration_s=sum(part.duration_s for part in parts),
        speech_s=sum(part.speech_s for part in parts),
        snr_db=sum(part.snr_db for part in parts) / len(parts),
        sample_rate=min(part.sample_rate for part in parts),
    )


def allow_verdict(warnings: Sequence[QualityWarning]) -> bool:
    """Whether none of these warnings leaves no verdict."""
    return not any(warning.code in NO_VERDICT for warning in warnings)


def hear(recording: AnyRecording, name: str = "the recording", channel: int | None = None) -> HeardRecording:
    """Decode and judge a recording.

    Args:
        recording: as `audio.reading.load_audio` takes it.
        name: what to call what has no path.
        channel: which one to listen to, counted from 1; None averages all.

    Raises:
        AudioError: it cannot be used.
    """
    return judge(read(recording, name, channel))


def read(recording: AnyRecording, name: str, channel: int | None = None) -> ReadRecording:
    """Decode a recording; arguments and errors are those of `hear`."""
    try:
        loaded = read_recording(recording, channel)
    except AudioError as error:
        raise error.named(name) from error.__cause__
    if loaded.path is not None:
        given = isinstance(recording, str | os.PathLike) and recording != STANDARD_INPUT
        name = printable(os.fsdecode(recording) if given else str(loaded.path))  # type: ignore[arg-type]
    return ReadRecording(name, loaded.samples, loaded.source_sample_rate, loaded.channels, loaded.warnings)


def judge(recording: ReadRecording) -> HeardRecording:
    """Judge a recording: the quality's warnings under its name, and one more where it allows no verdict."""
    return judged(recording, assess(recording.samples, recording.sample_rate))


def judged(recording: ReadRecording, quality: Quality) -> HeardRecording:
    """The same where the quality was found already, as by another process."""
    facts = AudioFacts(len(recording.samples) / SAMPLE_RATE, quality.speech_s, quality.snr_db, recording.sample_rate)
    found = (*recording.channels.warnings, *recording.warnings, *quality.warnings)
    named = [QualityWarning(warning.code, f"{recording.name}: {warning.message}") for warning in found]
    heard = HeardRecording(recording.name, recording.samples, facts, tuple(named), quality.speech)
    if facts.allows_verdict:
        return heard
    amount = f"only {seconds_text(facts.speech_s)} of speech was" if facts.speech_s > 0 else "no speech was"
    reason = f"{recording.name}: {amount} found, and a verdict needs {MINIMUM_SPEECH_S} s; give a longer recording"
    # It says what little_speech says, and what follows from it.
    others = [warning for warning in named if warning.code != "little_speech"]
    warnings = (QualityWarning("too_little_speech", reason), *others)
    return replace(heard, warnings=warnings)
