"""The client: a method for each thing that the service does."""

import os
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sound_groove.archive.finding import Finding
from sound_groove.client.reading import record_from
from sound_groove.client.records import (
    AuditPage,
    DriftAnswer,
    Embedded,
    Info,
    Inspected,
    JobFacts,
    Readiness,
    SpeakerDetail,
    SpeakerPage,
    WhoFacts,
)
from sound_groove.client.sending import Part, Sender
from sound_groove.comparison import Comparison
from sound_groove.errors import AudioError, RequestError, UnreachableError, UsageError
from sound_groove.scoring.decision import DecisionRule
from sound_groove.voiceprints.enrolment import Enrolment
from sound_groove.voiceprints.identification import Identification
from sound_groove.voiceprints.store.records import Erasure, Event, SpeakerEntry

SentRecording = str | os.PathLike[str] | bytes  # a path, or the content of a file
WAITS_S = (0.2, 0.5, 1.0, 2.0)  # between two questions about a job, the last again and again

Record = TypeVar("Record")


class Client:
    """A client of one service.

    Threads may share it. It keeps no connection and no cookie, heeds no proxy of the environment, and follows no
    redirection.

    Args:
        address: of the service; a proxy's may have a path.
        key: an API key; None where the service has none. Over plain HTTP it travels in the clear.
        timeout_s: for a connection, and for each part of an answer.
        attempts: how often to ask at most where the service is busy or cannot be reached, and asking again is safe:
            never what may have enrolled or removed somebody already.
        context: for TLS; None takes the system's certificates.
        sleep: waits so many seconds.

    Raises:
        UsageError: the address or the key is none.

    All methods raise

        AudioError: a recording cannot be read here.
        RequestError: the service refuses; `status`, `code`, `problems` and `refusals` are those of the service.
        UnreachableError: it does not answer, or what answers is no such service.

    Example:
        service = Client("http://127.0.0.1:8000")
        service.enroll("Ann", ["ann-1.wav", "ann-2.wav"])
        print(service.verify("Ann", "door.wav").probability)
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        timeout_s: float = 60.0,
        attempts: int = 3,
        context: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sender = Sender(address, key, timeout_s=timeout_s, attempts=attempts, context=context, sleep=sleep)
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"Client({self._sender.address!r})"  # without the key

    def compare(
        self,
        a: SentRecording,
        b: SentRecording,
        *,
        prior: float | None = None,
        rule: DecisionRule | None = None,
        channel: int | None = None,
    ) -> Comparison:
        """Are two recordings of the same speaker?

        Args:
            a: a path, or the content of a file in any format that the service reads.
            b: the same.
            prior: probability of the same speaker before listening; None leaves it to the service (0.5).
            rule: how sure a verdict must be; None leaves that to the service.
            channel: which one to listen to, counted from 1; None averages all.
        """
        parts = [_file("a", a), _file("b", b), *_asked(prior, rule, channel)]
        return self._post(Comparison, "/v1/compare", parts)

    def verify(
        self,
        name: str,
        recording: SentRecording,
        *,
        prior: float | None = None,
        rule: DecisionRule | None = None,
        channel: int | None = None,
    ) -> Comparison:
        """Is a recording of the speaker who is enrolled under a name? Arguments as of `compare`."""
        parts = [_field("name", name), _file("audio", recording), *_asked(prior, rule, channel)]
        return self._post(Comparison, "/v1/verify", parts)

    def identify(
        self,
        recording: SentRecording,
        *,
        top: int | None = None,
        prior: float | None = None,
        rule: DecisionRule | None = None,
        channel: int | None = None,
    ) -> Identification:
        """Who of those enrolled speaks, or nobody of them? `top` candidates are told; the rest as of `compare`."""
        parts = [_file("audio", recording), *_asked(prior, rule, channel, top=top)]
        return self._post(Identification, "/v1/identify", parts)

    def embed(self, recording: SentRecording, *, channel: int | None = None) -> Embedded:
        """The embedding of a recording."""
        return self._post(Embedded, "/v1/embed", [_file("audio", recording), *_asked(channel=channel)])

    def inspect(self, recording: SentRecording, *, channel: int | None = None) -> Inspected:
        """What is wrong with a recording, and where in it somebody speaks."""
        return self._post(Inspected, "/v1/inspect", [_file("audio", recording), *_asked(channel=channel)])

    def find(
        self,
        voice: str | Sequence[SentRecording],
        *,
        per_hour: float | None = None,
        stretches: int | None = None,
        channel: int | None = None,
    ) -> Finding:
        """Where a voice speaks in the service's archives.

        Args:
            voice: the name of a speaker, or recordings of one.
            per_hour: false alarms that are allowed in an hour of recordings; None leaves it to the service.
            stretches: how many to tell, the best first; None likewise.
            channel: which one of the recordings to listen to, counted from 1; None averages all.
        """
        sought = [_field("name", voice)] if isinstance(voice, str) else [_file("audio", one) for one in voice]
        asked = _asked(channel=channel, per_hour=per_hour, stretches=stretches)
        return self._post(Finding, "/v1/find", [*sought, *asked])

    def who(
        self,
        recording: SentRecording,
        *,
        speakers: int | None = None,
        least: int | None = None,
        most: int | None = None,
        prior: float | None = None,
        rule: DecisionRule | None = None,
        channel: int | None = None,
        on_progress: Callable[[JobFacts], None] = lambda job: None,
    ) -> WhoFacts:
        """Who speaks when; waits for the result, however long that takes.

        Args:
            recording: a path, or the content of a file.
            speakers: how many people speak, where that is known.
            least: at least so many, where it is not.
            most: at most so many.
            prior: probability that a speaker is enrolled, before listening; None leaves it to the service.
            rule: how sure a name must be; None likewise.
            channel: which one to listen to, counted from 1; None averages all.
            on_progress: is told how far it is.

        Raises:
            RequestError: also when the work on it fails.
        """
        asked = _asked(prior, rule, channel, speakers=speakers, min=least, max=most, wait=0)
        parts = [_file("audio", recording), *asked]
        job = self._record(JobFacts, self._sender.ask("POST", "/v1/who", parts, is_repeatable=False).content)
        path = f"/v1/who/{quote(job.id, safe='')}"
        try:
            turn = 0
            while job.result is None and job.error is None:
                on_progress(job)
                self._sleep(WAITS_S[min(turn, len(WAITS_S) - 1)])
                job, turn = self._get(JobFacts, path), turn + 1
        except BaseException:
            self._forget(path)
            raise
        if job.error is not None:
            raise RequestError(job.error.status, job.error.code, job.error.message, (), None, job.error.refusals)
        assert job.result is not None
        self._forget(path)
        return job.result

    def _forget(self, path: str) -> None:
        """Let a job go, if that can be said; it goes of itself, too."""
        with suppress(RequestError, UnreachableError):
            self._sender.ask("DELETE", path, is_repeatable=False)

    def enroll(
        self,
        name: str,
        recordings: SentRecording | Sequence[SentRecording],
        *,
        force: bool = False,
        keep_audio: bool = False,
        voice: int | None = None,
        channel: int | None = None,
    ) -> Enrolment:
        """Enrol a speaker, or add recordings to one: all of them, or none.

        Args:
            name: of the speaker.
            recordings: one or several.
            force: also those with little speech, with several voices, or that do not sound like the others.
            keep_audio: keep the audio as well, so that another model can embed it later.
            voice: where several voices are found in a recording, which to enrol alone.
            channel: which one to listen to, counted from 1; None averages all.
        """
        several = [recordings] if isinstance(recordings, str | os.PathLike | bytes) else list(recordings)
        parts = [_file("audio", one) for one in several]
        parts += [_field("force", str(force).lower()), _field("keep_audio", str(keep_audio).lower())]
        parts += _asked(channel=channel, voice=voice)
        path = f"{_address_of(name)}/recordings"
        return self._record(Enrolment, self._sender.ask("POST", path, parts, is_repeatable=False).content)

    def remove(self, name: str) -> Erasure:
        """Forget a speaker, for good."""
        return self._record(Erasure, self._sender.ask("DELETE", _address_of(name), is_repeatable=False).content)

    def speakers(self) -> Iterator[SpeakerEntry]:
        """All who are enrolled, by name; asked for as they are wanted."""
        after: str | None = ""
        while after is not None:
            page = self._get(SpeakerPage, f"/v1/speakers?after={quote(after, safe='')}")
            yield from page.speakers
            after = page.next

    def speaker(self, name: str) -> SpeakerDetail:
        """What is enrolled of a speaker."""
        return self._get(SpeakerDetail, _address_of(name))

    def audit(self, after: int = 0) -> Iterator[Event]:
        """Who enrolled and removed, and when, beyond a revision of the store; asked for as it is wanted."""
        next_one: int | None = after
        while next_one is not None:
            page = self._get(AuditPage, f"/v1/audit?after={next_one}")
            yield from page.events
            next_one = page.next

    def info(self) -> Info:
        """What the service is, and who you are to it."""
        return self._get(Info, "/v1/info")

    def drift(self) -> DriftAnswer:
        """Whether what the service hears is still as where its model was calibrated."""
        return self._get(DriftAnswer, "/v1/drift")

    def readiness(self) -> Readiness:
        """Whether the service can do its work; refused (503) where it cannot."""
        return self._get(Readiness, "/readyz")

    def _get(self, kind: type[Record], path: str) -> Record:
        return self._record(kind, self._sender.ask("GET", path, is_repeatable=True).content)

    def _post(self, kind: type[Record], path: str, parts: Sequence[Part]) -> Record:
        """What the service finds out and does not keep, so that it may be asked twice."""
        return self._record(kind, self._sender.ask("POST", path, parts, is_repeatable=True).content)

    def _record(self, kind: type[Record], content: Any) -> Record:
        try:
            return record_from(kind, content)
        except ValueError as error:
            raise UnreachableError(f"{self._sender.address} answered something else than was asked: {error}") from None


def _address_of(name: str) -> str:
    return f"/v1/speakers/{quote(name, safe='')}"


def _field(name: str, value: str) -> Part:
    return Part(name, value.encode("utf-8", "replace"))


def _file(name: str, recording: SentRecording) -> Part:
    """A recording as a part of a form.

    Raises:
        AudioError: it cannot be read.
        UsageError: it is neither a path nor bytes.
    """
    if isinstance(recording, bytes):
        return Part(name, recording, "")
    if not isinstance(recording, str | os.PathLike):
        raise UsageError(f"a recording is a path or the bytes of a file; {type(recording).__name__} was given")
    path = Path(recording)
    try:
        return Part(name, path.read_bytes(), path.name)
    except (OSError, ValueError) as error:
        raise AudioError(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _asked(
    prior: float | None = None, rule: DecisionRule | None = None, channel: int | None = None, **others: float | None
) -> list[Part]:
    """The fields that were given; what was not is left to the service."""
    given: dict[str, float | None] = {"prior": prior, "channel": channel, **others}
    if rule is not None:
        given |= {field.name: getattr(rule, field.name) for field in fields(rule)}
    return [_field(name, str(value)) for name, value in given.items() if value is not None]
