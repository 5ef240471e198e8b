"""The address that looks for a voice in the archives that the service was started with."""

import math
from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from sound_groove.archive.finding import PER_HOUR, Finding
from sound_groove.audio.listening import HeardRecording
from sound_groove.errors import RequestError
from sound_groove.service.answers import json_answer
from sound_groove.service.descriptions import FINDING, MOST_TOLD, TOLD, UPLOADED, example, form, refusals
from sound_groove.service.engine import Clip, checked
from sound_groove.service.forms import Forms, channel
from sound_groove.service.uploads import Form, FormShape, malformed
from sound_groove.voiceprints.store.names import checked_name


def add_archive(router: APIRouter, forms: Forms) -> None:
    """Add this route."""
    engine = forms.engine
    shape = FormShape({"audio": engine.limits.recordings}, ("name", "per_hour", "stretches", "channel"))

    @router.post(
        "/v1/find",
        response_model=Finding,
        summary="Where in the archive does somebody speak?",
        tags=["verify"],
        dependencies=forms.described,
        responses={**example(FINDING), **refusals(404, 409, *UPLOADED)},
        openapi_extra=form(shape, ()),
    )
    async def find(request: Request) -> Response:
        """Needs scope read. Of an enrolled speaker (name), or of the person of recordings (audio), one of the two."""
        forms.caller(request, "read")
        if not engine.archives:
            raise RequestError(404, "no_archive", "this service has no archive; it is started with --archive INDEX")

        async def answer(sent: Form) -> tuple[Finding, Sequence[HeardRecording]]:
            name, per_hour, top = sent.text("name"), sent.number("per_hour", PER_HOUR), sent.integer("stretches", TOLD)
            if not 0 < per_hour < math.inf:
                raise malformed(f"the field 'per_hour' must be above 0; {per_hour:g} was given")
            if not 1 <= top <= MOST_TOLD:
                raise malformed(f"the field 'stretches' must lie between 1 and {MOST_TOLD}; {top} was given")
            if (name is None) == (not sent.has("audio")):
                raise malformed("say whom to look for: either 'name', of an enrolled speaker, or 'audio', recordings")
            if name is not None:
                return await engine.find_speaker(checked(partial(checked_name, name)), per_hour, top), ()
            clips = [
                Clip(part.content, part.file_name or f"recording {number}", channel(sent))
                for number, part in enumerate(sent.recordings("audio"), start=1)
            ]
            return await engine.find_voice(clips, per_hour, top)

        return json_answer((await forms.with_form(request, shape, answer)).as_dict())
