"""The addresses of the service, each a function: who may, what comes, what the engine makes of it, what is answered.

A speaker's name is one part of an address, percent-encoded as every name in an address is; a slash in it is sent as
%2F, and is matched before it is decoded, so that "a/recordings" is a name and not another address.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import HTTPBearer
from starlette.responses import Response

from sound_groove import __version__
from sound_groove.enrolment import Enrolment
from sound_groove.identification import TOP, WEIGHED, Identification
from sound_groove.service.answers import (
    AuditPage,
    CallerFacts,
    Embedded,
    Health,
    Info,
    LimitFacts,
    RecordingEntry,
    SpeakerDetail,
    SpeakerPage,
    json_answer,
)
from sound_groove.service.descriptions import (
    CALLED,
    COMPARISON,
    IDENTIFICATION,
    PUBLIC,
    SPEAKER,
    UPLOADED,
    example,
    form,
    refusals,
)
from sound_groove.service.engine import Clip, Engine, Known, checked
from sound_groove.service.guard import Guard
from sound_groove.service.keys import Key, Scope
from sound_groove.service.logs import RequestRecord
from sound_groove.service.measures import CONTENT_TYPE, Measures
from sound_groove.service.uploads import Form, FormShape, malformed, read_form
from sound_groove.store.records import Erasure, checked_name
from sound_groove.verifier import DEFAULT_PRIOR, Comparison, check_prior

LARGEST_PAGE = 1000
LARGEST_REVISION = 2**63 - 1
BEARER = Depends(HTTPBearer(auto_error=False, description="An API key, where the service has keys."))


def build_routes(engine: Engine, guard: Guard, measures: Measures) -> APIRouter:
    """The routes of a service."""
    router = APIRouter()
    house = _House(engine, guard)
    _add_answers(router, house)
    _add_speakers(router, house)
    _add_facts(router, house, measures)
    return router


class _House:
    """What every route needs: who asks, and what they send.

    Attributes:
        engine: answers.
        described: what the description of a route says of keys, where there are any.
    """

    def __init__(self, engine: Engine, guard: Guard) -> None:
        self.engine = engine
        self.described = [] if guard.ring is None else [BEARER]
        self._guard = guard

    def caller(self, request: Request, scope: Scope) -> Key:
        """Who asks, when they may."""
        key = self._guard.caller(request.headers.get("authorization"), scope)
        record_of(request).key = key.name
        return key

    async def with_form(
        self, request: Request, shape: FormShape, answer: Callable[[Form], Awaitable[tuple[Any, Sequence[Known]]]]
    ) -> Any:
        """What becomes of a form, when there is a place inside for it."""
        with self.engine.admission.entered() as holding:
            form = await read_form(dict(request.headers), request.stream(), shape, self.engine.limits, holding)
            async with self.engine.admission.working():
                result, known = await answer(form)
        record_of(request).audio_s = sum(one.heard.facts.duration_s for one in known)
        return result


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
    """The one recording of a field."""
    return Clip(form.recordings(name)[0].content, name)


def prior(form: Form) -> float:
    """The prior that was sent, or the usual one."""
    return checked(partial(check_prior, form.number("prior", DEFAULT_PRIOR)))


Name = Annotated[
    str, Path(description="Of the speaker, percent-encoded; a slash in it is sent as %2F.", examples=["Kim"])
]

PAIR = FormShape({"a": 1, "b": 1}, ("prior",))
ONE = FormShape({"audio": 1})
SOUGHT = FormShape({"audio": 1}, ("top", "prior"))
CLAIM = FormShape({"audio": 1}, ("name", "prior"))


def _add_answers(router: APIRouter, house: _House) -> None:
    engine = house.engine

    @router.post(
        "/v1/compare",
        response_model=Comparison,
        summary="Are two recordings of the same speaker?",
        tags=["verify"],
        dependencies=house.described,
        responses={**example(COMPARISON), **refusals(*UPLOADED)},
        openapi_extra=form(PAIR, ("a", "b")),
    )
    async def compare(request: Request) -> Response:
        """Needs scope read. Without enough speech or evidence the verdict is 'inconclusive'."""
        house.caller(request, "read")

        async def answer(sent: Form) -> tuple[Comparison, Sequence[Known]]:
            return await engine.compare(clip(sent, "a"), clip(sent, "b"), prior(sent))

        return json_answer((await house.with_form(request, PAIR, answer)).as_dict())

    @router.post(
        "/v1/embed",
        response_model=Embedded,
        summary="The embedding of a recording",
        tags=["verify"],
        dependencies=house.described,
        responses=refusals(*UPLOADED),
        openapi_extra=form(ONE, ("audio",)),
    )
    async def embed(request: Request) -> Response:
        """Needs scope read. The cosine of two embeddings is the score; those of another model cannot be compared."""
        house.caller(request, "read")

        async def answer(sent: Form) -> tuple[Embedded, Sequence[Known]]:
            return await engine.embed(clip(sent, "audio"))

        return json_answer(await house.with_form(request, ONE, answer))

    @router.post(
        "/v1/verify",
        response_model=Comparison,
        summary="Is a recording of the speaker who is enrolled under a name?",
        tags=["verify"],
        dependencies=house.described,
        responses={**example(COMPARISON), **refusals(404, 409, *UPLOADED)},
        openapi_extra=form(CLAIM, ("name", "audio")),
    )
    async def verify(request: Request) -> Response:
        """Needs scope read. The first of the two in the answer is the mean of what is enrolled."""
        house.caller(request, "read")

        async def answer(sent: Form) -> tuple[Comparison, Sequence[Known]]:
            given = sent.text("name")
            if given is None:
                raise malformed("the form has no field 'name': who is it claimed to be?")
            name = checked(partial(checked_name, given))
            return await engine.verify(name, clip(sent, "audio"), prior(sent))

        return json_answer((await house.with_form(request, CLAIM, answer)).as_dict())

    @router.post(
        "/v1/identify",
        response_model=Identification,
        summary="Who of those enrolled is in a recording, or nobody of them?",
        tags=["verify"],
        dependencies=house.described,
        responses={**example(IDENTIFICATION), **refusals(*UPLOADED)},
        openapi_extra=form(SOUGHT, ("audio",)),
    )
    async def identify(request: Request) -> Response:
        """Needs scope read. The prior is that of somebody enrolled; 'nobody' is an answer."""
        house.caller(request, "read")

        async def answer(sent: Form) -> tuple[Identification, Sequence[Known]]:
            top = sent.integer("top", TOP)
            if not 1 <= top <= WEIGHED:
                raise malformed(f"the field 'top' lies between 1 and {WEIGHED}; {top} was given")
            return await engine.identify(clip(sent, "audio"), top, prior(sent))

        return json_answer((await house.with_form(request, SOUGHT, answer)).as_dict())


def _add_speakers(router: APIRouter, house: _House) -> None:
    engine = house.engine
    enrolment = FormShape({"audio": engine.limits.recordings}, ("force", "keep_audio"))

    @router.get(
        "/v1/speakers",
        response_model=SpeakerPage,
        summary="Who is enrolled",
        tags=["speakers"],
        dependencies=house.described,
        responses={**example({"speakers": [SPEAKER], "next": None}), **refusals(*CALLED)},
    )
    async def list_speakers(
        request: Request,
        after: Annotated[str, Query(description="Only names after this one.", max_length=200)] = "",
        limit: Annotated[int, Query(description="At most so many.", ge=1, le=LARGEST_PAGE)] = 100,
    ) -> Response:
        """Needs scope read. By name, in the order of code points."""
        house.caller(request, "read")
        found = await engine.in_store(lambda: engine.store.speakers(after, limit + 1))
        page = tuple(found[:limit])
        return json_answer(SpeakerPage(page, page[-1].name if len(found) > limit else None))

    @router.get(
        "/v1/speakers/{name}",
        response_model=SpeakerDetail,
        summary="What is enrolled of a speaker",
        tags=["speakers"],
        dependencies=house.described,
        responses=refusals(404, *CALLED),
    )
    async def show_speaker(request: Request, name: Name) -> Response:
        """Needs scope read. Embeddings and audio are never shown."""
        house.caller(request, "read")
        voiceprint = await engine.voiceprint(speaker_name(name))
        return json_answer(
            SpeakerDetail(voiceprint.speaker, tuple(RecordingEntry.of(one) for one in voiceprint.recordings))
        )

    @router.post(
        "/v1/speakers/{name}/recordings",
        status_code=201,
        response_model=Enrolment,
        summary="Enrol a speaker, or add recordings to one",
        tags=["speakers"],
        dependencies=house.described,
        responses={
            **example({"speaker": SPEAKER, "added": 2, "agreement": [0.78, 0.78], "warnings": []}, 201),
            **refusals(409, *UPLOADED),
        },
        openapi_extra=form(enrolment, ("audio",)),
    )
    async def enrol(request: Request, name: Name) -> Response:
        """Needs scope enrol. All recordings are enrolled, or none. When 201 is answered, they are on the disk."""
        key = house.caller(request, "enrol")
        speaker = speaker_name(name)

        async def answer(sent: Form) -> tuple[Enrolment, Sequence[Known]]:
            clips = [
                Clip(part.content, part.file_name or f"recording {number}")
                for number, part in enumerate(sent.recordings("audio"), start=1)
            ]
            return await engine.enrol(speaker, clips, sent.flag("force"), sent.flag("keep_audio"), key.name)

        return json_answer(await house.with_form(request, enrolment, answer), 201)

    @router.delete(
        "/v1/speakers/{name}",
        response_model=Erasure,
        summary="Forget a speaker",
        tags=["speakers"],
        dependencies=house.described,
        responses={**example({"speaker": SPEAKER, "complete": True, "out_of_reach": ""}), **refusals(404, *CALLED)},
    )
    async def remove(request: Request, name: Name) -> Response:
        """Needs scope admin. Erases name, embeddings and audio for good."""
        key = house.caller(request, "admin")
        return json_answer(await engine.remove(speaker_name(name), key.name))


def _add_facts(router: APIRouter, house: _House, measures: Measures) -> None:
    engine = house.engine

    @router.get(
        "/v1/info",
        response_model=Info,
        summary="What this service is, and who you are to it",
        tags=["service"],
        dependencies=house.described,
        responses=refusals(*CALLED),
    )
    async def info(request: Request) -> Response:
        """Needs scope read."""
        key = house.caller(request, "read")
        encoder, limits = engine.embedder.encoder, engine.limits
        facts = Info(
            version=__version__,
            model=encoder.identity,
            embedding_size=encoder.embedding_size,
            calibrated=encoder.score_map is not None and encoder.score_map.calibrated,
            speakers=await engine.in_store(engine.store.count),
            limits=LimitFacts(limits.upload_bytes, limits.duration_s, limits.decode_s, limits.recordings),
            caller=CallerFacts(key.name, key.scope),
        )
        return json_answer(facts)

    @router.get(
        "/v1/audit",
        response_model=AuditPage,
        summary="Who enrolled and removed, and when",
        tags=["service"],
        dependencies=house.described,
        responses=refusals(*CALLED),
    )
    async def audit(
        request: Request,
        after: Annotated[int, Query(description="Only revisions after this one.", ge=0, le=LARGEST_REVISION)] = 0,
        limit: Annotated[int, Query(description="At most so many.", ge=1, le=LARGEST_PAGE)] = 100,
    ) -> Response:
        """Needs scope admin. It names no speaker: an id says nothing once its speaker is removed."""
        house.caller(request, "admin")
        found = await engine.in_store(lambda: engine.store.events(after, limit + 1))
        page = tuple(found[:limit])
        return json_answer(AuditPage(page, page[-1].revision if len(found) > limit else None))

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        tags=["service"],
        dependencies=house.described,
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **refusals(401, *PUBLIC)},
    )
    async def metrics(request: Request) -> Response:
        """Needs scope read."""
        house.caller(request, "read")
        return Response(measures.text(), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})

    @router.get("/healthz", response_model=Health, summary="It answers", tags=["service"], responses=refusals(*PUBLIC))
    async def health() -> Response:
        """Needs no key."""
        return json_answer(asdict(Health("ok")))

    @router.get(
        "/readyz",
        response_model=Health,
        summary="It can decode, and reach its store",
        tags=["service"],
        responses=refusals(*PUBLIC),
    )
    async def ready() -> Response:
        """Needs no key."""
        await engine.check_ready()
        return json_answer(asdict(Health("ok")))
