"""A web server on this machine that misbehaves as it is told, and remembers what it was asked for."""

import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


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
    """A request: its path, the first byte that was asked for (None = the whole), how many bytes were sent, who asks."""

    path: str
    start: int | None
    sent: int = 0
    authorization: str = ""


class Mirror:
    """The server; a context in which it runs.

    Attributes:
        places: path to what it answers with.
        asked: all requests so far, in order.
    """

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.asked: list[Asked] = []
        self.leaving = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _answer(mirror, self)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Mirror":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leaving.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _answer(mirror: Mirror, handler: BaseHTTPRequestHandler) -> None:
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start_of = int(match[1]) if match else None
    asked = Asked(handler.path, start_of, authorization=handler.headers.get("Authorization", ""))
    mirror.asked.append(asked)
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
        mirror.leaving.wait(5)


def wait_until_sent(mirror: Mirror, count: int) -> None:
    """Wait until so many bytes of bodies were sent in all."""
    deadline = time.monotonic() + 5
    while sum(asked.sent for asked in mirror.asked) < count and time.monotonic() < deadline:
        time.sleep(0.01)
