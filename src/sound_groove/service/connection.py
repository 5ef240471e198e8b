"""A connection: uvicorn's protocol, bounded where it would wait, hold or work without end for a client that means ill.

- A header that drips, or never comes, has as long as a body has. So has an answer that nobody reads.
- When too many connections are open, the one that has waited longest without a request makes room for the next.
- A body in chunks of a few bytes costs a thousand times its length in work; such a one is refused.
- A request that tells its length in two ways is refused, since a proxy in front may believe the other one (RFC 9112,
  section 6.3).
- What is no HTTP is told so as everything else is, and in the log.
- No other protocol is spoken after this one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sound_groove.errors import RequestError
from sound_groove.service.answers import refusal
from sound_groove.service.logs import Log, RequestRecord

FREE_CHUNKS = 1000  # of a body, which may have any length
LEAST_CHUNK = 32  # bytes that the rest must have on average


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """What all connections share.

    Attributes:
        patience_s: for a header to arrive, and for an answer to be read.
        most: connections that may be open.
        log: where refusals are written that no route makes.
    """

    patience_s: float
    most: int
    log: Log


class _StrictConnection(h11.Connection):
    """h11's reader, which refuses what is lawful but never meant well."""

    _chunks = 0
    _bytes = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                raise h11.RemoteProtocolError("two lengths")
        elif isinstance(event, h11.Data):
            self._chunks += 1
            self._bytes += len(event.data)
            if self._chunks - FREE_CHUNKS > self._bytes / LEAST_CHUNK:
                raise h11.RemoteProtocolError("tiny chunks")
        return event


class _Alarm:
    """Rings once, some time after it was started, unless it is stopped before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, after_s: float, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._after_s = after_s
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._after_s, self._ring)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded_protocol(rules: ConnectionRules) -> type[H11Protocol]:
    """The protocol for uvicorn, which makes one for every connection."""

    class BoundedProtocol(H11Protocol):
        opened: ClassVar[set["BoundedProtocol"]] = set()

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            most = self.config.h11_max_incomplete_event_size
            self.conn = _StrictConnection(h11.SERVER, 16_384 if most is None else most)
            self._header = _Alarm(self.loop, rules.patience_s, self._give_up)
            self._reader = _Alarm(self.loop, rules.patience_s, lambda: self.transport.abort())
            self.waits_since = 0.0
            self.is_live = False

        @property
        def is_idle(self) -> bool:
            """It has no request in work."""
            return self.cycle is None or self.cycle.response_complete

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.opened.add(self)
            transport.set_write_buffer_limits(high=0)  # tells of the first byte that the client does not take
            self.waits_since = self.loop.time()
            self._header.start()
            if len(self.opened) > rules.most:
                self._make_room()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.is_idle and not self.is_live:
                self._header.start()
            else:
                self._header.stop()

        def on_response_complete(self) -> None:
            self.waits_since = self.loop.time()
            super().on_response_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reader.start()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._reader.stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self.opened.discard(self)
            self._header.stop()
            self._reader.stop()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """Tell that this is no HTTP, unless an answer is on its way already."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                record = RequestRecord("", status=400, code="no_http")
                error = RequestError(400, "no_http", "this is no HTTP request, or not one that is accepted here")
                answer = refusal(error, record.id)
                headers = [*answer.raw_headers, (b"x-request-id", record.id.encode()), (b"connection", b"close")]
                for event in (
                    h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                    h11.Data(data=bytes(answer.body)),
                    h11.EndOfMessage(),
                ):
                    self.transport.write(self.conn.send(event))
                rules.log.request(record, 0.0)
            if self.cycle is not None:  # nobody listens to what the application makes of it
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self.transport.close()

        def _should_upgrade(self) -> bool:
            """Whether a request is for a live connection; nothing else is upgraded to anything."""
            return self.ws_protocol_class is not None and super()._should_upgrade()

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            """Hand the connection over: what bounds it from now on are the limits of live connections."""
            super().handle_websocket_upgrade(event)
            self.opened.discard(self)
            self.is_live = True
            self._reader.stop()

        def _give_up(self) -> None:
            self._header.stop()
            if self.is_idle and not self.transport.is_closing():
                self.transport.close()

        def _make_room(self) -> None:
            idle = [one for one in self.opened if one.is_idle and not one.transport.is_closing()]
            min(idle, key=lambda one: one.waits_since, default=self).transport.abort()

    return BoundedProtocol
