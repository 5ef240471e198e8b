"""The addresses that tell about the service itself."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sound_groove._version import __version__
from sound_groove.client.records import (
    AuditPage,
    CallerFacts,
    DriftAnswer,
    Health,
    Info,
    LimitFacts,
    Readiness,
    WhoLimitFacts,
)
from sound_groove.monitoring import drift_text
from sound_groove.service.answers import LARGEST_PAGE, json_answer
from sound_groove.service.descriptions import CALLED, PUBLIC, refusals
from sound_groove.service.forms import Forms
from sound_groove.service.metrics import CONTENT_TYPE, Metrics

LARGEST_REVISION = 2**63 - 1
NO_BASELINE = "The model does not say what the recordings were like that it was calibrated on."
PLACEHOLDER = "https://example.org/"  # stands in pyproject.toml until there is a place


def documentation_of(project_urls: Sequence[str]) -> str | None:
    """Where the documentation is published, by the package's own metadata; None where it is not.

    >>> documentation_of(["Source, https://code.test/it", "Documentation, https://docs.test/it"])
    'https://docs.test/it'
    >>> documentation_of(["Documentation, https://example.org/docs"])
    """
    addresses = dict(entry.split(", ", 1) for entry in project_urls)
    address = addresses.get("Documentation", PLACEHOLDER)
    return None if address.startswith(PLACEHOLDER) else address


def _project_urls() -> list[str]:
    """What the installed package's metadata says; nothing where it is run from its sources alone."""
    try:
        return metadata("sound-groove").get_all("Project-URL", [])
    except PackageNotFoundError:
        return []


def add_facts(router: APIRouter, forms: Forms, counters: Metrics) -> None:
    """Add these routes."""
    engine = forms.engine
    documentation = documentation_of(_project_urls())
    # What some load balancers ask.
    bare: dict[str, Any] = {"tags": ["service"], "response_class": Response, "responses": refusals(*PUBLIC)}

    @router.get(
        "/v1/info",
        response_model=Info,
        summary="What this service is, and who you are to it",
        tags=["service"],
        dependencies=forms.described,
        responses=refusals(*CALLED),
    )
    async def info(request: Request) -> Response:
        """Needs scope read."""
        key = forms.caller(request, "read")
        encoder, limits = engine.embedder.encoder, engine.limits
        facts = Info(
            version=__version__,
            model=encoder.identity,
            terms=encoder.terms,
            embedding_size=encoder.embedding_size,
            calibrated=encoder.score_map is not None and encoder.score_map.calibrated,
            speakers=await engine.in_store(engine.store.count),
            limits=LimitFacts(
                upload_bytes=limits.upload_bytes,
                duration_s=limits.duration_s,
                decode_s=limits.decode_s,
                recordings=limits.recordings,
                who=WhoLimitFacts(limits.who_upload_bytes, limits.who_duration_s, limits.who_wait_s, limits.who_kept_s),
            ),
            caller=CallerFacts(key.name, key.scope, key.requests_a_minute, key.audio_s_a_minute),
            documentation=documentation,
        )
        return json_answer(facts)

    @router.get(
        "/v1/audit",
        response_model=AuditPage,
        summary="Who enrolled and removed, and when",
        tags=["service"],
        dependencies=forms.described,
        responses=refusals(*CALLED),
    )
    async def audit(
        request: Request,
        after: Annotated[int, Query(description="Only revisions after this one.", ge=0, le=LARGEST_REVISION)] = 0,
        limit: Annotated[int, Query(description="At most so many.", ge=1, le=LARGEST_PAGE)] = 100,
    ) -> Response:
        """Needs scope admin. It names no speaker: an id says nothing once its speaker is removed."""
        forms.caller(request, "admin")
        found = await engine.in_store(lambda: engine.store.events(after, limit + 1))
        page = tuple(found[:limit])
        return json_answer(AuditPage(page, page[-1].revision if len(found) > limit else None))

    @router.get(
        "/v1/drift",
        response_model=DriftAnswer,
        summary="Are recordings still like those that the model was calibrated on?",
        tags=["service"],
        dependencies=forms.described,
        responses=refusals(*CALLED),
    )
    async def drift(request: Request) -> Response:
        """Needs scope read. It counts since the service started; kept are numbers, and neither sound nor embeddings."""
        forms.caller(request, "read")
        monitor = engine.monitor
        found = monitor.drift()
        sentence = NO_BASELINE if found is None else drift_text(found)
        return json_answer(
            DriftAnswer(monitor.recordings, monitor.comparisons, dict(monitor.warnings), found, sentence)
        )

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        tags=["service"],
        dependencies=forms.described,
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **refusals(401, 429, *PUBLIC)},
    )
    async def metrics(request: Request) -> Response:
        """Needs scope read."""
        forms.caller(request, "read")
        return Response(counters.text(), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})

    @router.head("/healthz", summary="It answers, without a body", **bare)
    @router.get("/healthz", response_model=Health, summary="It answers", tags=["service"], responses=refusals(*PUBLIC))
    async def health() -> Response:
        """Needs no key."""
        return json_answer(Health("ok"))

    @router.head("/readyz", summary="It can decode, and reach its store, without a body", **bare)
    @router.get(
        "/readyz",
        response_model=Readiness,
        summary="It can decode, and reach its store",
        tags=["service"],
        responses=refusals(*PUBLIC),
    )
    async def ready() -> Response:
        """Needs no key. "degraded" is said with 200: all but those who are left out are served."""
        return json_answer(await engine.check_ready())
