"""A web server on this machine that misbehaves as it is told, and remembers what it was asked for."""

import re
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType

from local_server import QuietHandler, serving


@dataclass
class Place:
    """What a path answers with.

    Attributes:
        data: the whole file.
        drops: of this and the next answers, after how many bytes of the body the connection ends.
        stalls: whether those connections stay open in silence instead.
        heeds_ranges: whether a part of the file can be asked for.
        status: of the answer, when it is to be an error.
        etag: the name of this version of the file.
        is_chunked: whether the answer keeps its length to itself.
        kind: of the content, as the answer's header says it.
    """

    data: bytes = b""
    drops: list[int] = field(default_factory=list)
    stalls: bool = False
    heeds_ranges: bool = True
    status: int = 200
    etag: str = ""
    is_chunked: bool = False
    kind: str = ""


@dataclass
class Asked:
    """A request.

    Attributes:
        path: what was asked for.
        start: the first byte that was asked for; None = the whole.
        sent: how many bytes of the body were sent.
        authorization: who asks.
        answered: set once all is sent that will be.
    """

    path: str
    start: int | None
    sent: int = 0
    authorization: str = ""
    answered: threading.Event = field(default_factory=threading.Event)


class Mirror:
    """The server; a context in which it runs.

    Attributes:
        places: path to what it answers with.
        requests: all requests so far, in order, that which is being answered included.
        url: its address, while it runs.
    """

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.requests: list[Asked] = []
        self.leaving = threading.Event()
        self.url = ""
        self._running = ExitStack()

    @property
    def asked(self) -> list[Asked]:
        """All requests so far, in order, once they are answered: who asked has the last byte before it is counted."""
        for request in self.requests:
            assert request.answered.wait(5)
        return self.requests

    def __enter__(self) -> "Mirror":
        mirror = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                request = Asked(self.path, _first_byte(self), authorization=self.headers.get("Authorization", ""))
                mirror.requests.append(request)
                try:
                    _answer(mirror, self, request)
                finally:
                    request.answered.set()

        self.url = self._running.enter_context(serving(Handler))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leaving.set()
        self._running.close()


def _first_byte(handler: QuietHandler) -> int | None:
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    return int(match[1]) if match else None


def _answer(mirror: Mirror, handler: QuietHandler, asked: Asked) -> None:
    place = mirror.places.get(handler.path, Place(status=404))
    if place.status != 200:
        handler.send_error(place.status)
        return
    size = len(place.data)
    start = asked.start if place.heeds_ranges and asked.start is not None else None
    if start is not None and start >= size:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{size}")
        handler.end_headers()
        return
    handler.send_response(200 if start is None else 206)
    if start is not None:
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    body = place.data[start or 0 :]
    if not place.is_chunked:
        handler.send_header("Content-Length", str(len(body)))
    if place.kind:
        handler.send_header("Content-Type", place.kind)
    if place.etag:
        handler.send_header("ETag", place.etag)
    handler.end_headers()
    drop = place.drops.pop(0) if place.drops else None
    handler.wfile.write(body[:drop])
    asked.sent = len(body[:drop])
    handler.wfile.flush()
    if drop is not None and place.stalls:
        asked.answered.set()
        mirror.leaving.wait(5)


def wait_until_sent(mirror: Mirror, count: int) -> None:
    """Wait until so many bytes of bodies were sent in all."""
    deadline = time.monotonic() + 5
    while sum(request.sent for request in mirror.requests) < count and time.monotonic() < deadline:
        time.sleep(0.01)
