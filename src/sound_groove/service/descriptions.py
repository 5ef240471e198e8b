"""What the OpenAPI description says that types cannot: examples, forms, and the refusals of each address."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sound_groove.archive.finding import PER_HOUR
from sound_groove.audio.limits import MAXIMUM_CHANNELS
from sound_groove.client.records import ErrorAnswer
from sound_groove.scoring.decision import DEFAULT_COSTS
from sound_groove.service.uploads import FALSE, TRUE, FormShape
from sound_groove.voiceprints.identification import TOP, WEIGHED

TITLE = "Sound-Groove"
SUMMARY = (
    "Speaker verification: compare two recordings, enrol speakers, verify and identify them, and forget them; and who "
    "speaks when in a long recording."
)
MODEL = {"name": "pretrained", "hash": "5d0c9c…"}
AUDIO = {
    "duration_s": 5.1,
    "speech_s": 4.3,
    "snr_db": 32.5,
    "sample_rate": 16000,
    "embedding_norm": 12.7,
    "unfamiliarity": -6.3,
}
INSPECTED = {
    "audio": {**AUDIO, "embedding_norm": None},
    "warnings": [],
    "speech_spans": [[0.3, 2.1], [2.5, 5.0]],
    "kept_spans": [[0.0, 5.1]],
}
COMPARISON = {
    "score": 0.71,
    "llr": 6.2,
    "strength": "moderately strong",
    "probability": 0.998,
    "prior": 0.5,
    "threshold": 0.38,
    "limits": [-1.39, 1.39],
    "verdict": "same",
    "model": MODEL,
    "collections": 12,
    "warnings": [],
    "audio": [AUDIO, AUDIO],
}
SPEAKER = {
    "id": "0b6f7c0e2f5d4d0d9a3f0c1b2a39485f",
    "name": "Kim",
    "model": MODEL,
    "recordings": 2,
    "with_audio": 0,
    "speech_s": 8.4,
    "snr_db": 31.0,
    "coherence": 0.94,
    "embedding_norm": 12.9,
    "norm_spread": 0.4,
    "enrolled_at": "2026-01-31T12:00:00+00:00",
    "changed_at": "2026-01-31T12:00:00+00:00",
    "version": 7,
}
IDENTIFICATION = {
    "verdict": "identified",
    "speaker": "Kim",
    "candidates": [{"name": "Kim", "score": 0.71, "llr": 6.2, "normalised": 6.2, "probability": 0.99}],
    "nobody": 0.01,
    "prior": 0.5,
    "cohort_llr": 0.0,
    "limit": 3.1,
    "threshold": 0.52,
    "enrolled": 12,
    "others": 0,
    "left_out": 0,
    "model": MODEL,
    "collections": 12,
    "warnings": [],
    "audio": AUDIO,
}
FINDING = {
    "name": "Kim",
    "stretches": [
        {
            "recording": "monday/call-7.flac",
            "start_s": 612.4,
            "end_s": 618.9,
            "llr": 6.9,
            "best_llr": 5.2,
            "false_alarms_per_hour": 0.02,
        }
    ],
    "per_hour": 1.0,
    "threshold": 3.1,
    "found": 1,
    "recordings": 412,
    "unusable": 0,
    "is_complete": True,
    "duration_s": 360000.0,
    "windows": 371020,
    "model": MODEL,
    "warnings": [],
}
TOLD, MOST_TOLD = 100, 10_000  # stretches that an answer tells, where nobody says how many, and at most
EVIDENCE = {
    "verdict": "identified",
    "llr": 6.2,
    "probability": 0.99,
    "nobody": 0.01,
    "limit": 3.1,
    "candidates": [{"name": "Kim", "score": 0.71, "llr": 6.2, "normalised": 6.2, "probability": 0.99}],
}
WHO_JOB = {
    "id": "kPwJXTbqfHnRmZ2v0cQd5A",
    "state": "working",
    "duration_s": 1800.0,
    "heard_s": 620.5,
    "result": None,
    "error": None,
}
WHO_RESULT = {
    **WHO_JOB,
    "state": "done",
    "duration_s": 5.1,
    "heard_s": 5.1,
    "result": {
        "turns": [
            {"start_s": 0.3, "end_s": 4.7, "speaker": "Kim", "name": "Kim", "llr": 6.2, "probability": 0.99},
        ],
        "speakers": [{"speaker": "Kim", "name": "Kim", "speech_s": 4.4, "turns": 1, "evidence": EVIDENCE}],
        "overlap_s": None,
        "enrolled": 12,
        "prior": 0.5,
        "audio": {**AUDIO, "embedding_norm": None},
        "model": MODEL,
        "warnings": [],
    },
}
UNKNOWN_JOB = ("unknown_job", "there is no such job, or not any more; send the recording again")
MEANINGS = {
    400: ("malformed", "the form has no recording 'a'; send one as multipart/form-data, field 'a'"),
    401: ("no_key", "this service needs an API key: 'Authorization: Bearer KEY'"),
    403: ("scope", "this needs a key of scope 'enrol', and this one has 'read'"),
    404: ("unknown_speaker", "nobody is enrolled as 'Kim'; GET /v1/speakers lists who is"),
    408: ("too_slow", "the request took more than 30 s to arrive"),
    409: ("conflict", "'Kim' is being changed by others all the time; try again"),
    413: ("upload_too_large", "a request may have 25 MB in all; send less audio, or as flac"),
    415: ("unsupported_media_type", "send the recordings as multipart/form-data"),
    421: ("unknown_host", "this service is not reached under that name; see --name"),
    422: ("unusable_recording", "a: is digital silence: all its samples have the same value"),
    429: ("over_requests", "this key may ask for 60 requests a minute, and has; try again later"),
    503: ("stopping", "the service is stopping; ask again when it is back"),
}
RETRY_AFTER = {
    "Retry-After": {"description": "Seconds after which it may be tried again.", "schema": {"type": "integer"}}
}
FLAGS: list[Any] = [True, False, *TRUE, *FALSE, 1, 0, None]  # all of which are text in a form
PUBLIC = (403, 421, 503)
CALLED = (400, 401, 429, *PUBLIC)
UPLOADED = (408, 413, 415, 422, *CALLED)


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of an application, without the refusal that FastAPI assumes and this service words otherwise."""
    if app.openapi_schema is None:
        found = get_openapi(title=TITLE, version=app.version, summary=SUMMARY, routes=app.routes)
        for path in found["paths"].values():
            for operation in path.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        for name in ("HTTPValidationError", "ValidationError"):
            found["components"]["schemas"].pop(name, None)
        app.openapi_schema = found
    return app.openapi_schema


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of an address, each with an example."""
    return {status: refused(status, *MEANINGS[status]) for status in sorted(statuses)}


def refused(status: int, code: str, message: str) -> dict[str, Any]:
    """One refusal of an address, with an example."""
    return {
        "model": ErrorAnswer,
        "description": message,
        "content": {"application/json": {"example": error_example(code, message)}},
        **({"headers": RETRY_AFTER} if status in (429, 503) else {}),
    }


def error_example(code: str, message: str) -> dict[str, Any]:
    """The body of a refusal."""
    refusals = []
    if code == "unusable_recording":
        recording, _, reason = message.partition(": ")
        refusals = [{"recording": recording, "code": "silent", "reason": reason, "values": {}}]
    return {
        "error": {
            "code": code,
            "message": message,
            "problems": [],
            "refusals": refusals,
            "request_id": "9f2c1e0d5b7a4c38",
        }
    }


def example(content: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """An answer, as an example."""
    return {status: {"content": {"application/json": {"example": content}}}}


def form(shape: FormShape, required: Sequence[str]) -> dict[str, Any]:
    """The request's body, for a route that reads it itself."""
    kinds: dict[str, dict[str, Any]] = {
        "prior": {
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "default": 0.5,
            "description": "Probability of the same speaker before listening.",
        },
        "false_accept": {
            "type": "number",
            "exclusiveMinimum": 0,
            "default": DEFAULT_COSTS[0],
            "description": "Cost of calling different speakers the same.",
        },
        "false_reject": {
            "type": "number",
            "exclusiveMinimum": 0,
            "default": DEFAULT_COSTS[1],
            "description": "Cost of calling one speaker different.",
        },
        "inconclusive": {
            "type": "number",
            "exclusiveMinimum": 0,
            "default": DEFAULT_COSTS[2],
            "description": "Cost of no verdict.",
        },
        "max_false_accept": {
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "Largest share of comparisons of different speakers to call the same.",
        },
        "max_false_reject": {
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "Largest share of comparisons of one speaker to call different.",
        },
        "channel": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAXIMUM_CHANNELS,
            "description": "Which channel of the recordings to listen to, counted from 1; all are averaged without it.",
        },
        "speakers": {"type": "integer", "minimum": 1, "description": "So many people speak."},
        "min": {"type": "integer", "minimum": 1, "default": 1, "description": "At least so many people speak."},
        "max": {"type": "integer", "minimum": 1, "description": "At most so many people speak."},
        "wait": {
            "type": "number",
            "minimum": 0,
            "description": "Seconds to wait for the result before it is told where to ask for it; at most, and without "
            "this field, what /v1/info has as limits.who.wait_s.",
        },
        "name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Of the speaker."},
        "force": {
            "enum": FLAGS,
            "default": False,
            "description": (
                "Enrol recordings with little speech, with several voices, and those that do not sound like the others."
            ),
        },
        "voice": {
            "type": "integer",
            "minimum": 1,
            "description": "Where several voices are found in a recording, enrol this one alone; 1 speaks longest.",
        },
        "keep_audio": {
            "enum": FLAGS,
            "default": False,
            "description": "Keep the audio as well, so that another model can embed it later.",
        },
        "top": {
            "type": "integer",
            "minimum": 1,
            "maximum": WEIGHED,
            "default": TOP,
            "description": "How many candidates to list.",
        },
        "per_hour": {
            "type": "number",
            "exclusiveMinimum": 0,
            "default": PER_HOUR,
            "description": "False alarms that are allowed in an hour of recordings.",
        },
        "stretches": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_TOLD,
            "default": TOLD,
            "description": "How many stretches to list, the best first.",
        },
    }
    recording = {
        "type": "string",
        "format": "binary",
        "description": "A recording: wav, flac, ogg, opus, mp3 …",
    }
    properties: dict[str, Any] = {
        name: recording if most == 1 else {"type": "array", "items": recording, "minItems": 1, "maxItems": most}
        for name, most in shape.files.items()
    }
    properties.update({name: kinds[name] for name in shape.texts})
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
