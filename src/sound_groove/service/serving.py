"""Running the service: the socket, the server, its signals, and the way down.

Of a connection that sends its header drop by drop, uvicorn would wait for the rest for ever; here it has as long as a
body has.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sound_groove.errors import ServiceError, UsageError, printable
from sound_groove.service.application import build_application
from sound_groove.service.embedding import Embedder
from sound_groove.service.engine import Engine
from sound_groove.service.guard import Guard, is_loopback
from sound_groove.service.keys import KeyRing
from sound_groove.service.limits import Limits
from sound_groove.service.logs import Log, ServerMessages
from sound_groove.store.opening import open_store

BACKLOG = 256
CONNECTIONS = 500  # open at once; more are answered 503 by uvicorn itself
HEADER_BYTES = 16_384
KEEP_ALIVE_S = 15
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    host: str,
    port: int,
    *,
    store: str,
    model: str | Path,
    keys: Path | None = None,
    names: tuple[str, ...] = (),
    log_file: Path | None = None,
    limits: Limits | None = None,
    on_start: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGTERM or SIGINT; to be called in the main thread.

    Args:
        host: address to listen at.
        port: to listen at; 0 takes a free one.
        store: path or URL of the store of voiceprints, which is made where it is missing.
        model: file, run folder or name.
        keys: file of API keys; None lets everybody in who reaches the service, on the loopback only.
        names: under which the service is reached, beside those of the loopback.
        log_file: where the log goes; None writes to stderr.
        limits: of everything; None takes the usual ones.
        on_start: is told the address when requests are answered.

    Raises:
        CheckpointError: the model cannot be used.
        ServiceError: the address or the keys cannot be used.
        StoreError: the store cannot be opened.
        UsageError: another address than the loopback's without keys.
    """
    limits = limits or Limits()
    if keys is None and not is_loopback(host):
        raise UsageError(
            f"without API keys the service listens at 127.0.0.1 only, and '{printable(host)}' was given; make a key "
            "with 'sound-groove keys add', and name its file with --keys"
        )
    guard = Guard(None if keys is None else KeyRing(keys), names)
    log = Log(log_file)
    with listening(host, port) as listener:
        embedder = Embedder.load(model, limits.workers)
        engine = Engine(open_store(store, create=True), embedder, limits)
        config = uvicorn.Config(
            build_application(engine, guard, log),
            http=_protocol(limits.reading_s),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(limits.grace_s)),
            h11_max_incomplete_event_size=HEADER_BYTES,
        )
        _hear_uvicorn(log)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        server = _Server(config, engine, log, lambda: on_start(address))
        try:
            server.run(sockets=[listener])
        except SystemExit:  # uvicorn's, when the engine does not start
            raise engine.failure or ServiceError("the service cannot be started; the log says why") from None
        finally:
            log.close()


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        ServiceError: the address cannot be had.
    """
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServiceError(f"cannot listen at {printable(host)}, port {port}: {reason}") from None
    with listener:
        yield listener


def _hear_uvicorn(log: Log) -> None:
    """What uvicorn complains about goes to our log, and nowhere else."""
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [ServerMessages(log)] if name == "uvicorn" else []
        logger.propagate = name != "uvicorn"


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it answers, refuses requests while it stops, and ends with status 0."""

    def __init__(self, config: uvicorn.Config, engine: Engine, log: Log, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._engine = engine
        self._log = log
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._log.write("started", {})
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was accepted, and stop."""
        self._engine.admission.stopping = True
        self._log.write("stopping", {"inside": self._engine.admission.inside})
        await super().shutdown(sockets)
        self._log.write("stopped", {})

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM; unlike uvicorn, do not raise them again when all is done."""
        earlier = {number: signal.signal(number, self._heed) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        self._engine.admission.stopping = True
        self.handle_exit(number, frame)


def _protocol(reading_s: float) -> type[H11Protocol]:
    """uvicorn's protocol, that closes a connection whose header does not arrive in time."""

    class PatientProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._deadline = self.loop.call_later(reading_s, self._give_up)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._forget()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(reading_s, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def _give_up(self) -> None:
            self._deadline = None
            if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
                self.transport.close()

        def _forget(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return PatientProtocol
