"""What every route needs: who asks, and what they send."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from sound_groove.audio.limits import MAXIMUM_CHANNELS
from sound_groove.audio.listening import HeardRecording
from sound_groove.client.records import Scope
from sound_groove.comparison import DEFAULT_PRIOR, Judge
from sound_groove.scoring.decision import DecisionRule
from sound_groove.service.engine import Clip, Engine, checked
from sound_groove.service.guard import Guard, RefusedKeyError, check_scope
from sound_groove.service.keys import Key
from sound_groove.service.logs import Log, RequestRecord
from sound_groove.service.rations import METER, Meter, Rations
from sound_groove.service.uploads import Form, FormShape, malformed, read_form
from sound_groove.voiceprints.store.names import checked_name

RULE = tuple(field.name for field in fields(DecisionRule))  # fields of a form that say how sure a verdict must be
BEARER = Depends(HTTPBearer(auto_error=False, description="An API key, where the service has keys."))
Name = Annotated[
    str, Path(description="Of the speaker, percent-encoded; a slash in it is sent as %2F.", examples=["Kim"])
]


class Forms:
    """What every route needs: who asks, and what they send.

    Attributes:
        engine: answers.
        described: what the description of a route says of keys, where there are any.
        log: of the service.
    """

    def __init__(self, engine: Engine, guard: Guard, log: Log) -> None:
        self.engine = engine
        self.log = log
        self.described = [] if guard.ring is None else [BEARER]
        self._guard = guard
        self._rations = Rations()

    def caller(self, request: Request, scope: Scope) -> Key:
        """Who asks, when they may; the log is told of whoever may not, too."""
        record = record_of(request)
        try:
            key = self._guard.known(request.headers.get("authorization"))
        except RefusedKeyError as error:
            record.key, record.unknown_key = error.name, error.fingerprint
            raise
        record.key = key.name
        check_scope(key, scope)
        self._rations.take(key)
        request.state.key = key
        return key

    def listener(self, path: str, headers: dict[str, str], record: RequestRecord) -> Key:
        """Who opens a live connection, when they may; the log is told of whoever may not, too."""
        self._guard.check_browser("WEBSOCKET", path, headers)
        self.engine.admission.check_open()
        try:
            key = self._guard.known(headers.get("authorization"))
        except RefusedKeyError as error:
            record.key, record.unknown_key = error.name, error.fingerprint
            raise
        record.key = key.name
        check_scope(key, "read")
        self._rations.take(key)
        return key

    async def with_form(
        self,
        request: Request,
        shape: FormShape,
        answer: Callable[[Form], Awaitable[tuple[Any, Sequence[HeardRecording]]]],
    ) -> Any:
        """What becomes of a form, when there is a place inside for it."""
        meter = Meter()
        METER.set(meter)  # for this request's task alone
        try:
            with self.engine.admission.entered() as holding:
                form = await read_form(dict(request.headers), request.stream(), shape, self.engine.limits, holding)
                async with self.engine.admission.working():
                    result, _ = await answer(form)
        finally:
            record_of(request).audio_s = meter.audio_s
            self._rations.charge(request.state.key, meter.audio_s)
        return result

    def charge(self, key: Key, audio_s: float) -> None:
        """Take seconds of audio, which were decoded after their request was answered, from a key's account."""
        self._rations.charge(key, audio_s)

    def judge(self, form: Form) -> Judge:
        """Who judges as a form asks: at its prior, costs and error rates, or the usual ones.

        Raises:
            RequestError: 400: one of them is out of range.
        """
        prior = form.number("prior", DEFAULT_PRIOR)
        given = {name: form.number(name, 0.0) for name in RULE if form.text(name) is not None}
        return checked(lambda: Judge.of(self.engine.embedder.encoder, prior, DecisionRule(**given)))


def record_of(request: Request) -> RequestRecord:
    """What the log will say of a request."""
    record: RequestRecord = request.state.record
    return record


def speaker_name(name: str) -> str:
    """A name as it stands in an address, decoded and checked.

    Raises:
        RequestError: 400: it may not be a name.
    """
    try:
        decoded = unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise malformed("the name in the address is not UTF-8; percent-encode its bytes") from None
    return checked(partial(checked_name, decoded))


def clip(form: Form, name: str) -> Clip:
    """The one recording of a field, and which of its channels to listen to."""
    return Clip(form.recordings(name)[0].content, name, channel(form))


def channel(form: Form) -> int | None:
    """The channel that was asked for, of all recordings of a form; None averages all.

    Raises:
        RequestError: 400: it is none.
    """
    if not form.text("channel"):
        return None
    number = form.integer("channel", 0)
    if not 1 <= number <= MAXIMUM_CHANNELS:
        raise malformed(f"the field 'channel' is counted from 1 to {MAXIMUM_CHANNELS}; {number} was given")
    return number


def voice_number(form: Form) -> int | None:
    """Which voice to enrol of a recording in which several speak; None: of one alone.

    Raises:
        RequestError: 400: it is none.
    """
    if not form.text("voice"):
        return None
    number = form.integer("voice", 0)
    if number < 1:
        raise malformed(f"the field 'voice' is counted from 1; {number} was given")
    return number
