"""The addresses that judge recordings: compare, embed, inspect, verify, identify."""

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from sound_groove.audio.listening import HeardRecording
from sound_groove.client.records import Embedded, Inspected
from sound_groove.comparison import Comparison
from sound_groove.service.answers import json_answer
from sound_groove.service.descriptions import COMPARISON, IDENTIFICATION, INSPECTED, UPLOADED, example, form, refusals
from sound_groove.service.engine import checked
from sound_groove.service.forms import RULE, Forms, clip
from sound_groove.service.uploads import Form, FormShape, malformed
from sound_groove.voiceprints.identification import TOP, WEIGHED, Identification
from sound_groove.voiceprints.store.names import checked_name

PAIR = FormShape({"a": 1, "b": 1}, ("prior", *RULE, "channel"))
ONE = FormShape({"audio": 1}, ("channel",))
SOUGHT = FormShape({"audio": 1}, ("top", "prior", *RULE, "channel"))
CLAIM = FormShape({"audio": 1}, ("name", "prior", *RULE, "channel"))


def add_verification(router: APIRouter, forms: Forms) -> None:
    """Add these routes."""
    engine = forms.engine

    @router.post(
        "/v1/compare",
        response_model=Comparison,
        summary="Are two recordings of the same speaker?",
        tags=["verify"],
        dependencies=forms.described,
        responses={**example(COMPARISON), **refusals(*UPLOADED)},
        openapi_extra=form(PAIR, ("a", "b")),
    )
    async def compare(request: Request) -> Response:
        """Needs scope read. Without enough speech or evidence the verdict is 'inconclusive'."""
        forms.caller(request, "read")

        async def answer(sent: Form) -> tuple[Comparison, Sequence[HeardRecording]]:
            return await engine.compare(clip(sent, "a"), clip(sent, "b"), forms.judge(sent))

        return json_answer((await forms.with_form(request, PAIR, answer)).as_dict())

    @router.post(
        "/v1/embed",
        response_model=Embedded,
        summary="The embedding of a recording",
        tags=["verify"],
        dependencies=forms.described,
        responses=refusals(*UPLOADED),
        openapi_extra=form(ONE, ("audio",)),
    )
    async def embed(request: Request) -> Response:
        """Needs scope read. The cosine of two embeddings is the score; those of another model cannot be compared."""
        forms.caller(request, "read")

        async def answer(sent: Form) -> tuple[Embedded, Sequence[HeardRecording]]:
            return await engine.embed(clip(sent, "audio"))

        return json_answer(await forms.with_form(request, ONE, answer))

    @router.post(
        "/v1/inspect",
        response_model=Inspected,
        summary="How good is a recording, and where in it does somebody speak?",
        tags=["verify"],
        dependencies=forms.described,
        responses={**example(INSPECTED), **refusals(*UPLOADED)},
        openapi_extra=form(ONE, ("audio",)),
    )
    async def inspect(request: Request) -> Response:
        """Needs scope read. It is decoded and judged, not embedded: to tell people at once what is wrong with it."""
        forms.caller(request, "read")

        async def answer(sent: Form) -> tuple[Inspected, Sequence[HeardRecording]]:
            return await engine.inspect(clip(sent, "audio"))

        return json_answer(await forms.with_form(request, ONE, answer))

    @router.post(
        "/v1/verify",
        response_model=Comparison,
        summary="Is a recording of the speaker who is enrolled under a name?",
        tags=["verify"],
        dependencies=forms.described,
        responses={**example(COMPARISON), **refusals(404, 409, *UPLOADED)},
        openapi_extra=form(CLAIM, ("name", "audio")),
    )
    async def verify(request: Request) -> Response:
        """Needs scope read. The first of the two in the answer is the mean of what is enrolled."""
        forms.caller(request, "read")

        async def answer(sent: Form) -> tuple[Comparison, Sequence[HeardRecording]]:
            given = sent.text("name")
            if given is None:
                raise malformed("the form has no field 'name': who is it claimed to be?")
            name = checked(partial(checked_name, given))
            return await engine.verify(name, clip(sent, "audio"), forms.judge(sent))

        return json_answer((await forms.with_form(request, CLAIM, answer)).as_dict())

    @router.post(
        "/v1/identify",
        response_model=Identification,
        summary="Who of those enrolled is in a recording, or nobody of them?",
        tags=["verify"],
        dependencies=forms.described,
        responses={**example(IDENTIFICATION), **refusals(409, *UPLOADED)},
        openapi_extra=form(SOUGHT, ("audio",)),
    )
    async def identify(request: Request) -> Response:
        """Needs scope read. The prior is that of somebody enrolled; 'nobody' is an answer."""
        forms.caller(request, "read")

        async def answer(sent: Form) -> tuple[Identification, Sequence[HeardRecording]]:
            top = sent.integer("top", TOP)
            if not 1 <= top <= WEIGHED:
                raise malformed(f"the field 'top' lies between 1 and {WEIGHED}; {top} was given")
            return await engine.identify(clip(sent, "audio"), top, forms.judge(sent))

        return json_answer((await forms.with_form(request, SOUGHT, answer)).as_dict())
