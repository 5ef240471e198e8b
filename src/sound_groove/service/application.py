"""The application: routes, the page, and one sentence for whatever goes wrong."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response
from starlette.routing import compile_path
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from sound_groove._version import __version__
from sound_groove.errors import RequestError, StoreError, printable
from sound_groove.service.answers import refusal
from sound_groove.service.archive_routes import add_archive
from sound_groove.service.descriptions import TITLE, describe
from sound_groove.service.engine import Engine
from sound_groove.service.fact_routes import add_facts
from sound_groove.service.forms import Forms, record_of
from sound_groove.service.guard import Guard
from sound_groove.service.live_routes import add_listening
from sound_groove.service.logs import Log
from sound_groove.service.metrics import Metrics
from sound_groove.service.middleware import LEFT, Middleware
from sound_groove.service.speaker_routes import add_speakers
from sound_groove.service.verification_routes import add_verification
from sound_groove.service.who_routes import add_who

LISTED = 100  # ids in a line of the log
PAGE = Path(__file__).parent / "page"
SAMPLES = ("rms-1.flac", "rms-2.flac", "slt-1.flac")  # a voice twice, and another one


def build_application(engine: Engine, guard: Guard, log: Log) -> ASGIApp:
    """The service as an ASGI application, which starts the engine and stops it.

    Args:
        engine: does the work.
        guard: says who may ask.
        log: where every request is written.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        try:
            await engine.start()
            await _tell_of_store(engine, log)
            yield
        finally:
            await engine.stop()

    metrics = Metrics(engine)
    app = FastAPI(
        title=TITLE,
        version=__version__,
        lifespan=life,
        openapi_url=None,  # FastAPI would write it anew for everyone who asks; see _add_description
        docs_url=None,  # Swagger's page loads its scripts from elsewhere; page/reference.html is ours
        redoc_url=None,
        redirect_slashes=False,
    )
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.include_router(_routes(Forms(engine, guard, log), metrics, log))
    _add_description(app)
    _add_page(app)
    _add_handlers(app, log)
    return Middleware(app, guard, engine.admission, engine.limits, log, metrics)


async def _tell_of_store(engine: Engine, log: Log) -> None:
    """Write to the log what should be known of the store that was opened; speakers by their ids."""
    for notice in engine.store.notices:
        log.write("store", {"message": notice}, "warning")
    damaged = await engine.in_store(engine.gallery.left_out)
    if damaged:
        log.write("left_out", {"count": len(damaged), "speakers": [one.id for one in damaged[:LISTED]]}, "warning")
    if not await engine.in_store(engine.gallery.is_whole):
        log.write("altered_store", {}, "warning")


def _routes(forms: Forms, metrics: Metrics, log: Log) -> APIRouter:
    router = APIRouter()
    add_verification(router, forms)
    add_archive(router, forms)
    add_listening(router, forms, log)
    add_speakers(router, forms)
    add_who(router, forms)
    add_facts(router, forms, metrics)
    return router


def _add_description(app: FastAPI) -> None:
    """The API's description, written once: a crowd that asks for it must not hold up those who ask for others."""

    @cache
    def written() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode("utf-8")

    async def description(_: Request) -> Response:
        return Response(written(), media_type="application/json")

    app.add_route("/openapi.json", description, include_in_schema=False)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    async def reference() -> Response:
        return FileResponse(PAGE / "reference.html", headers={"cache-control": "no-cache"})

    @app.get("/page/samples/{name}", include_in_schema=False)
    async def sample(name: str) -> Response:
        if name not in SAMPLES:
            raise HTTPException(404)
        return FileResponse(sample_folder() / name, headers={"cache-control": "no-cache"}, media_type="audio/flac")

    app.mount("/page", GZipMiddleware(_PageFiles(directory=PAGE)), name="page")


def sample_folder() -> Path:
    """Where the clips are that the page offers to try: in the package, or beside src/ where that is run from."""
    packaged = PAGE.parents[1] / "examples"
    return packaged if packaged.is_dir() else PAGE.parents[3] / "examples"


class _PageFiles(StaticFiles):
    """Files that a browser asks for anew each time (it may keep what has not changed): two versions do not mix."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response


def _methods(app: FastAPI, request: Request) -> set[str]:
    """The methods that the routes of an address take; Starlette tells those of the first of them only."""
    found: set[str] = set()
    for path, operations in app.openapi()["paths"].items():
        pattern, _, _ = compile_path(path)
        if pattern.match(request.scope["path"]):
            found.update(method.upper() for method in operations)
    return found or {"GET"}  # the page


def _add_handlers(app: FastAPI, log: Log) -> None:
    def answer(request: Request, error: RequestError) -> Response:
        record_of(request).code = error.code
        return refusal(error, record_of(request).id)

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> Response:
        return answer(request, error)

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, _: ClientDisconnect) -> Response:
        return answer(request, RequestError(LEFT, "client_left", "the client left before its request was whole"))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return answer(request, RequestError(400, "malformed", printable(f"'{where}': {first['msg']}"[:300])))

    @app.exception_handler(HTTPException)
    async def misdirected(request: Request, error: HTTPException) -> Response:
        sentences = {
            404: ("not_found", "there is nothing at this address; see /openapi.json"),
            405: ("method_not_allowed", "this address does not take that method; see /openapi.json"),
        }
        code, message = sentences.get(error.status_code, ("http", str(error.detail)))
        response = answer(request, RequestError(error.status_code, code, message))
        response.headers.update(error.headers or {})
        if error.status_code == 405:
            response.headers["allow"] = ", ".join(sorted(_methods(app, request)))
        return response

    @app.exception_handler(StoreError)
    async def store_failed(request: Request, error: StoreError) -> Response:
        log.failure(record_of(request), error)
        message = "the store of voiceprints cannot be used at the moment; the service's log says more"
        return answer(request, RequestError(503, "store_unavailable", message))

    @app.exception_handler(Exception)
    async def failed(request: Request, _: Exception) -> Response:
        number = record_of(request).id
        message = f"this is a bug in Sound-Groove; report it with the lines of the log that have the id {number}"
        return answer(request, RequestError(500, "internal", message))
