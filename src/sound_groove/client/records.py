"""What a service answers where the library has no record for it; the rest are the library's own.

The service fills them in, and the client reads them.
"""

from dataclasses import dataclass
from typing import Literal

from sound_groove.audio.listening import AudioFacts
from sound_groove.diarization.answer import Speaker
from sound_groove.errors import Refusal
from sound_groove.scoring.baseline import Drift
from sound_groove.types import ModelIdentity, ModelTerms, QualityWarning
from sound_groove.voiceprints.store.records import Event, RecordingEntry, SpeakerEntry

Scope = Literal["read", "enrol", "admin"]
State = Literal["waiting", "working", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embedding of a recording.

    Attributes:
        embedding: D values, of unit length.
        model: which made it.
        audio: length, speech, noise and rate of the recording, and the norm of its embedding before it was brought to
            unit length, or None.
        warnings: what makes it less trustworthy.
    """

    embedding: list[float]
    model: ModelIdentity
    audio: AudioFacts
    warnings: tuple[QualityWarning, ...]


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a recording is, before anything is asked about it.

    Attributes:
        audio: length, speech, noise and rate; it is not embedded, so that there is no norm.
        warnings: what makes it less trustworthy.
        speech_spans: stretches of speech, from and to, in seconds.
        kept_spans: what a model would hear of it: the speech and short pauses; the rest is left out.
    """

    audio: AudioFacts
    warnings: tuple[QualityWarning, ...]
    speech_spans: tuple[tuple[float, float], ...]
    kept_spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class SpeakerPage:
    """Some of the speakers, by name.

    Attributes:
        speakers: of this page.
        next: what to give as `after` for the next page; None on the last.
    """

    speakers: tuple[SpeakerEntry, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class SpeakerDetail:
    """A speaker and what is enrolled."""

    speaker: SpeakerEntry
    recordings: tuple[RecordingEntry, ...]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some of the audit trail, in order.

    Attributes:
        events: of this page.
        next: what to give as `after` for the next page; None on the last.
    """

    events: tuple[Event, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class CallerFacts:
    """Who asks: the name of the key, its scope, and what it may ask for in a minute (null: there is no limit)."""

    name: str
    scope: Scope
    requests_a_minute: int | None
    audio_s_a_minute: float | None


@dataclass(frozen=True, slots=True)
class WhoLimitFacts:
    """What a request of who speaks when may have, and how long its result can be had."""

    upload_bytes: int
    duration_s: float
    wait_s: float
    kept_s: float


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """What one request may have."""

    upload_bytes: int
    duration_s: float
    decode_s: float
    recordings: int
    who: WhoLimitFacts


@dataclass(frozen=True, slots=True)
class Info:
    """What this service is.

    Attributes:
        version: of Sound-Groove.
        model: which embeds.
        terms: the model's licence, what it was trained on, and what alone it may be used for, as far as its file says.
        embedding_size: values in an embedding.
        calibrated: the model carries a map from score to probability that was fitted for it.
        speakers: how many are enrolled.
        limits: of one request.
        caller: who asks.
        documentation: where the documentation is published; None where it is not.
    """

    version: str
    model: ModelIdentity
    terms: ModelTerms
    embedding_size: int
    calibrated: bool
    speakers: int
    limits: LimitFacts
    caller: CallerFacts
    documentation: str | None


@dataclass(frozen=True, slots=True)
class DriftAnswer:
    """What was heard and compared since the service started, and whether it is still as where its model was calibrated.

    Attributes:
        recordings: heard.
        comparisons: made.
        warnings: how often recordings were warned of, by code.
        drift: of the last 1,000 recordings and comparisons; None where the model does not say what it was calibrated
            on.
        sentence: the same in words.
    """

    recordings: int
    comparisons: int
    warnings: dict[str, int]
    drift: Drift | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Health:
    """The service answers."""

    status: Literal["ok"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """The service can do its work.

    Attributes:
        status: "degraded" where some who are enrolled are left out or may be missing; all others are served.
        left_out: how many are not compared, since what the store keeps of them is damaged or forged.
        whole: an encrypted store's speakers were those that its last change left, when the service started.
    """

    status: Literal["ok", "degraded"]
    left_out: int
    whole: bool


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: what a request would have been refused with."""

    status: int
    code: str
    message: str
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """Why a request was refused.

    Attributes:
        code: a stable word for machines.
        message: one sentence for people.
        problems: one sentence for each thing that is wrong, where there are several.
        refusals: where recordings were refused, which and why: a stable word, a clause, and what was measured.
        request_id: by which the log knows the request.
    """

    code: str
    message: str
    problems: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    request_id: str


@dataclass(frozen=True, slots=True)
class NamedTurn:
    """A stretch of speech: by whom, and what the name rests on; null where nobody enrolled was recognised."""

    start_s: float
    end_s: float
    speaker: str
    name: str | None
    llr: float | None
    probability: float | None


@dataclass(frozen=True, slots=True)
class WhoFacts:
    """Who speaks when; what stands in it says `sound-groove who --json`."""

    turns: tuple[NamedTurn, ...]
    speakers: tuple[Speaker, ...]
    overlap_s: float | None
    enrolled: int | None
    prior: float
    audio: AudioFacts
    model: ModelIdentity
    warnings: tuple[QualityWarning, ...]


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A recording of which it was asked who speaks when.

    Attributes:
        id: by which to ask for it.
        state: "waiting", "working", "done" or "failed".
        duration_s: of the recording; None until it is decoded.
        heard_s: how much of it was heard.
        result: once it is done; else None.
        error: why it failed; else None.
    """

    id: str
    state: State
    duration_s: float | None
    heard_s: float
    result: WhoFacts | None
    error: JobError | None


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """The body of every refusal."""

    error: ErrorFacts
