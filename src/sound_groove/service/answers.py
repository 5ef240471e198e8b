"""Answers as they are sent: records as JSON, and refusals."""

import json
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from sound_groove.client.records import ErrorAnswer, ErrorFacts, JobError
from sound_groove.errors import RequestError
from sound_groove.service.who_jobs import Job

LARGEST_PAGE = 1000  # entries


def json_answer(content: Any, status: int = 200) -> Response:
    """An answer in JSON: a record of the library or of this module, or what JSON can hold already."""
    if not isinstance(content, dict):
        content = asdict(content)
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    return Response(body, status, {"cache-control": "no-store"}, "application/json")


def job_answer(job: Job, status: int = 200) -> Response:
    """What is known of a job."""
    refused = job.error
    error = None if refused is None else JobError(refused.status, refused.code, str(refused), refused.refusals)
    return json_answer(
        {
            "id": job.id,
            "state": job.state,
            "duration_s": None if job.duration_s is None else round(job.duration_s, 3),
            "heard_s": round(job.heard_s, 3),
            "result": None if job.result is None else job.result.as_dict(),
            "error": None if error is None else asdict(error),
        },
        status,
    )


def refusal(error: RequestError, request_id: str) -> Response:
    """The answer that says why a request was refused."""
    facts = ErrorFacts(error.code, str(error), error.problems, error.refusals, request_id)
    answer = json_answer(ErrorAnswer(facts), error.status)
    if error.retry_after_s is not None:
        answer.headers["retry-after"] = str(error.retry_after_s)
    if error.status == 401:
        answer.headers["www-authenticate"] = 'Bearer realm="sound-groove"'
    if error.status in (408, 413):
        answer.headers["connection"] = "close"  # what is left of the body is of no interest
    return answer
