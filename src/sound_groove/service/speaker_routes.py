"""The addresses of those who are enrolled.

A speaker's name is one part of an address, percent-encoded as every name in an address is; a slash in it is sent as
%2F, and is matched before it is decoded, so that "a/recordings" is a name and not another address.
"""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sound_groove.audio.listening import HeardRecording
from sound_groove.client.records import SpeakerDetail, SpeakerPage
from sound_groove.service.answers import LARGEST_PAGE, json_answer
from sound_groove.service.descriptions import CALLED, SPEAKER, UPLOADED, example, form, refusals
from sound_groove.service.engine import Clip
from sound_groove.service.forms import Forms, Name, channel, speaker_name, voice_number
from sound_groove.service.uploads import Form, FormShape
from sound_groove.voiceprints.enrolment import Enrolment
from sound_groove.voiceprints.store.records import Erasure


def add_speakers(router: APIRouter, forms: Forms) -> None:
    """Add these routes."""
    engine = forms.engine
    enrolment = FormShape({"audio": engine.limits.recordings}, ("force", "keep_audio", "voice", "channel"))

    @router.get(
        "/v1/speakers",
        response_model=SpeakerPage,
        summary="Who is enrolled",
        tags=["speakers"],
        dependencies=forms.described,
        responses={**example({"speakers": [SPEAKER], "next": None}), **refusals(*CALLED)},
    )
    async def list_speakers(
        request: Request,
        after: Annotated[str, Query(description="Only names after this one.", max_length=200)] = "",
        limit: Annotated[int, Query(description="At most so many.", ge=1, le=LARGEST_PAGE)] = 100,
    ) -> Response:
        """Needs scope read. By name, in the order of code points."""
        forms.caller(request, "read")
        found = await engine.in_store(lambda: engine.store.speakers(after, limit + 1))
        page = tuple(found[:limit])
        return json_answer(SpeakerPage(page, page[-1].name if len(found) > limit else None))

    @router.get(
        "/v1/speakers/{name}",
        response_model=SpeakerDetail,
        summary="What is enrolled of a speaker",
        tags=["speakers"],
        dependencies=forms.described,
        responses=refusals(404, *CALLED),
    )
    async def show_speaker(request: Request, name: Name) -> Response:
        """Needs scope read. Embeddings and audio are never shown."""
        forms.caller(request, "read")
        voiceprint = await engine.voiceprint(speaker_name(name))
        return json_answer(SpeakerDetail(voiceprint.speaker, tuple(one.entry for one in voiceprint.recordings)))

    @router.post(
        "/v1/speakers/{name}/recordings",
        status_code=201,
        response_model=Enrolment,
        summary="Enrol a speaker, or add recordings to one",
        tags=["speakers"],
        dependencies=forms.described,
        responses={
            **example({"speaker": SPEAKER, "added": 2, "agreement": [0.78, 0.78], "warnings": []}, 201),
            **refusals(409, *UPLOADED),
        },
        openapi_extra=form(enrolment, ("audio",)),
    )
    async def enrol(request: Request, name: Name) -> Response:
        """Needs scope enrol. All recordings are enrolled, or none. When 201 is answered, they are on the disk."""
        key = forms.caller(request, "enrol")
        speaker = speaker_name(name)

        async def answer(sent: Form) -> tuple[Enrolment, Sequence[HeardRecording]]:
            clips = [
                Clip(part.content, part.file_name or f"recording {number}", channel(sent))
                for number, part in enumerate(sent.recordings("audio"), start=1)
            ]
            voice = voice_number(sent)
            return await engine.enrol(speaker, clips, sent.flag("force"), sent.flag("keep_audio"), voice, key.name)

        return json_answer(await forms.with_form(request, enrolment, answer), 201)

    @router.delete(
        "/v1/speakers/{name}",
        response_model=Erasure,
        summary="Forget a speaker",
        tags=["speakers"],
        dependencies=forms.described,
        responses={**example({"speaker": SPEAKER, "complete": True, "out_of_reach": ""}), **refusals(404, *CALLED)},
    )
    async def remove(request: Request, name: Name) -> Response:
        """Needs scope admin. Erases name, embeddings and audio for good."""
        key = forms.caller(request, "admin")
        return json_answer(await engine.remove(speaker_name(name), key.name))
