"""The addresses of who speaks when: a recording in, and its result at once, or a job to ask for it."""

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from sound_groove.client.records import JobFacts
from sound_groove.diarization.clustering import SpeakerCount
from sound_groove.service.answers import job_answer
from sound_groove.service.descriptions import (
    CALLED,
    UNKNOWN_JOB,
    UPLOADED,
    WHO_JOB,
    WHO_RESULT,
    example,
    form,
    refusals,
    refused,
)
from sound_groove.service.engine import checked
from sound_groove.service.forms import RULE, Forms, channel, record_of
from sound_groove.service.uploads import Form, FormShape, malformed, read_form
from sound_groove.service.who_jobs import Question

SHAPE = FormShape({"audio": 1}, ("speakers", "min", "max", "wait", "prior", *RULE, "channel"))
JobId = Annotated[str, Path(description="Of the job, as the answer to its recording told it.", max_length=64)]


def add_who(router: APIRouter, forms: Forms) -> None:
    """Add these routes."""
    engine = forms.engine
    jobs, limits = engine.who, engine.limits

    @router.post(
        "/v1/who",
        response_model=JobFacts,
        summary="Who speaks when in a long recording?",
        tags=["who"],
        dependencies=forms.described,
        responses={
            **example(WHO_RESULT),
            202: {
                "model": JobFacts,
                "description": "It takes longer: ask for the result at the address in the header 'location'.",
                "content": {"application/json": {"example": WHO_JOB}},
            },
            **refusals(409, *UPLOADED),
        },
        openapi_extra=form(SHAPE, ("audio",)),
    )
    async def who(request: Request) -> Response:
        """Needs scope read. What is found within the seconds of 'wait' is answered at once, and not kept."""
        key = forms.caller(request, "read")
        record = record_of(request)
        with jobs.entered() as coming:
            sent = await read_form(dict(request.headers), request.stream(), SHAPE, limits.of_who, coming)
            wait_s = sent.number("wait", limits.who_wait_s)
            if not 0 <= wait_s <= limits.who_wait_s:
                raise malformed(f"the field 'wait' lies between 0 and {limits.who_wait_s:g}; {wait_s:g} was given")
            question = question_of(sent, forms)
            content = sent.recordings("audio")[0].content
            job = jobs.submit(
                coming,
                key.hash,
                content,
                question,
                lambda seconds: forms.charge(key, seconds),
                lambda error: forms.log.failure(record, error),
            )
        del sent, content
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await job.finished.wait()
        if not job.finished.is_set():
            answer = job_answer(job, 202)
            answer.headers["location"] = f"/v1/who/{job.id}"
            return answer
        jobs.drop(job)
        if job.error is not None:
            raise job.error
        return job_answer(job)

    @router.get(
        "/v1/who/{job}",
        response_model=JobFacts,
        summary="How far a job is, and its result",
        tags=["who"],
        dependencies=forms.described,
        responses={**example(WHO_RESULT), **refusals(*CALLED), 404: refused(404, *UNKNOWN_JOB)},
    )
    async def progress(request: Request, job: JobId) -> Response:
        """Needs the key that sent the recording. A result can be had until it is too old, or deleted."""
        key = forms.caller(request, "read")
        return job_answer(jobs.find(job, key.hash))

    @router.delete(
        "/v1/who/{job}",
        response_model=JobFacts,
        summary="Give a job up, and forget its result",
        tags=["who"],
        dependencies=forms.described,
        responses={**example(WHO_JOB), **refusals(*CALLED), 404: refused(404, *UNKNOWN_JOB)},
    )
    async def give_up(request: Request, job: JobId) -> Response:
        """Needs the key that sent the recording."""
        key = forms.caller(request, "read")
        found = jobs.find(job, key.hash)
        jobs.drop(found)
        return job_answer(found)


def question_of(sent: Form, forms: Forms) -> Question:
    """What a form asks of its recording.

    Raises:
        RequestError: 400: a field is out of range.
    """
    judge = forms.judge(sent)
    if sent.text("speakers"):
        if sent.text("min") or sent.text("max"):
            raise malformed("'speakers' says how many people speak; 'min' and 'max' are for when that is not known")
        number = sent.integer("speakers", 1)
        fewest, most = number, number
    else:
        fewest, most = sent.integer("min", 1), sent.integer("max", 0)
    speakers = checked(lambda: SpeakerCount(fewest, most if most or sent.text("max") else None))
    return Question(channel(sent), speakers, judge.prior, judge.rule)
