"""Running the service: the socket, the server, its signals, and the way down."""

import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import uvicorn

from sound_groove.archive.finding import check_archive
from sound_groove.archive.recordings import open_archive
from sound_groove.diarization.segmentation import Segmentation
from sound_groove.errors import ServiceError, UsageError, printable
from sound_groove.service.application import build_application
from sound_groove.service.connection import ConnectionRules, bounded_protocol
from sound_groove.service.embedding import Embedder
from sound_groove.service.engine import Engine
from sound_groove.service.guard import Guard, is_loopback
from sound_groove.service.keys import KeyRing
from sound_groove.service.limits import Limits
from sound_groove.service.logs import Log, ServerMessages
from sound_groove.service.origins import Origins
from sound_groove.voiceprints.known_model import check_model
from sound_groove.voiceprints.store.opening import open_store

BACKLOG = 256
CONNECTIONS = 500  # open at once
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
    origins: Sequence[str] = (),
    log_file: Path | None = None,
    segmentation: Path | None = None,
    limits: Limits | None = None,
    archives: Sequence[Path] = (),
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
        origins: of web pages of other places that may ask, such as https://app.example.org.
        log_file: where the log goes; None writes to stderr.
        segmentation: a segmentation model, which tells who speaks at the same time; None does without.
        limits: of everything; None takes the usual ones.
        archives: indexes in which voices can be found; each is read once, when the service starts.
        on_start: is told the address when requests are answered.

    Raises:
        ArchiveError: an index cannot be used, or is of another model (OtherModelError).
        CheckpointError: the model cannot be used.
        ServiceError: the address or the keys cannot be used.
        StoreError: the store cannot be opened, or knows another model by the hash of this one (OtherModelError).
        UsageError: another address than the loopback's without keys, or an origin that is none.
    """
    limits = limits or Limits()
    if keys is None and not is_loopback(host):
        raise UsageError(
            f"without API keys the service listens at 127.0.0.1 only, and '{printable(host)}' was given; make a key "
            "with 'sound-groove keys add', and name its file with --keys"
        )
    guard = Guard(None if keys is None else KeyRing(keys), names, Origins.of(origins))
    log = Log(log_file)
    with listening(host, port) as listener:
        embedder = Embedder.load(model, limits.workers)
        read = [open_archive(path) for path in archives]
        for archive in read:
            check_archive(archive, embedder.encoder)
        overlap = None if segmentation is None else Segmentation(segmentation, threads=1)
        opened = open_store(store, create=True)
        try:
            check_model(opened, embedder.encoder)
        except BaseException:
            opened.close()
            raise
        engine = Engine(opened, embedder, limits, read, overlap)
        config = uvicorn.Config(
            build_application(engine, guard, log),
            http=bounded_protocol(ConnectionRules(limits.reading_s, CONNECTIONS, log)),
            ws="wsproto" if find_spec("wsproto") else "none",
            ws_max_size=limits.listening_bytes,
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(limits.grace_s)),
            h11_max_incomplete_event_size=HEADER_BYTES,
        )
        _hear_others(log)
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


def _hear_others(log: Log) -> None:
    """What the server, the event loop and the parser of forms complain about goes to our log, and nowhere else."""
    for name in ("uvicorn", "asyncio", "python_multipart"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [ServerMessages(log)], False
    logging.getLogger("uvicorn.error").handlers = []


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
