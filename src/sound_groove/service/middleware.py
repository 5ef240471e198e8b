"""The middleware: the outermost layer, which every request passes on its way in and every answer on its way out.

It gives the request its id, has the guard look at where it comes from, sees to it that a refusal reaches a client that
is still sending, adds the headers that browsers heed, and writes the log and the metrics.
"""

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sound_groove.errors import RequestError
from sound_groove.service.admission import Admission
from sound_groove.service.answers import refusal
from sound_groove.service.guard import Guard
from sound_groove.service.limits import Limits
from sound_groove.service.logs import Log, RequestRecord
from sound_groove.service.metrics import Metrics
from sound_groove.service.origins import Origins

NAMED = "/v1/speakers/"  # addresses below it hold a speaker's name
LEFT = 499  # what the log says when the client left, or the service was stopped, before there was an answer
DRAINED_S = 2.0  # how long a client that is refused may go on sending
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
        b"img-src 'self' data: blob:; media-src 'self' blob:",
    ),
)


class Middleware:
    """Wraps the application.

    Args:
        app: answers requests.
        guard: says who may ask.
        admission: says when nobody may.
        limits: of uploads.
        log: where each request is written.
        metrics: where it is counted.
    """

    def __init__(
        self, app: ASGIApp, guard: Guard, admission: Admission, limits: Limits, log: Log, metrics: Metrics
    ) -> None:
        self._app = app
        self._guard = guard
        self._admission = admission
        self._limits = limits
        self._log = log
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = _Exchange(scope, receive, send, self._limits, self._guard.origins)
        record = exchange.record
        keep_name_encoded(scope)
        scope.setdefault("state", {})["record"] = record
        try:
            self._guard.check_browser(record.method, scope["path"], exchange.headers)
            self._admission.check_open()
            preflight = self._guard.origins.preflight(record.method, exchange.headers)
        except RequestError as error:
            record.code = error.code
            await refusal(error, record.id)(scope, exchange.receive, exchange.send)
        else:
            try:
                await (preflight or self._app)(scope, exchange.receive, exchange.send)
            except Exception as error:  # has been answered (500) by the application's own handler
                self._log.failure(record, error)
        finally:
            route = scope.get("route")
            record.route = getattr(route, "path", record.route)
            record.status = record.status or LEFT
            duration_s = time.perf_counter() - started
            self._log.request(record, duration_s)
            self._metrics.request(record, duration_s)


class _Exchange:
    """One request, and what passes by it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits, origins: Origins) -> None:
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.record = RequestRecord(scope["method"])
        self._receive = receive
        self._send = send
        self._limits = limits
        self._origin_headers = origins.answer_headers(self.headers.get("origin"))
        self._has_more = self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    async def receive(self) -> Message:
        """A message from the client."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.record.received_bytes += len(message.get("body", b""))
            self._has_more = message.get("more_body", False)
        else:
            self._has_more = False
        return message

    async def send(self, message: Message) -> None:
        """A message to the client."""
        if message["type"] == "http.response.start":
            self.record.status = message["status"]
            if message["status"] >= 400 and self._has_more:
                await self._drain()
            own = {name for name, _ in message.get("headers", [])}
            added: list[tuple[bytes, bytes]] = [header for header in HEADERS if header[0] not in own]
            added += [(b"x-request-id", self.record.id.encode()), *self._origin_headers]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await self._send(message)

    async def _drain(self) -> None:
        """Take what a refused client is still sending, for a while: cut off while it sends, it would read no answer."""
        if self.headers.get("expect", "").lower() == "100-continue" and not self.record.received_bytes:
            return  # it waits for us before it sends
        most = self.record.received_bytes + 2 * self._limits.upload_bytes
        try:
            async with asyncio.timeout(DRAINED_S):
                while self._has_more and self.record.received_bytes < most:
                    await self.receive()
        except TimeoutError:
            pass


def keep_name_encoded(scope: Scope) -> None:
    """Match addresses with a speaker's name as they were sent: a name may have slashes, which are sent as %2F.

    Where another part of such an address is percent-encoded, nothing matches: the name would be decoded twice.
    """
    if scope["path"].startswith(NAMED):
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        scope["path"] = raw.partition(b"?")[0].decode("latin-1")
