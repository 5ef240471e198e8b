"""The service's log: one JSON object a line, that says what happened and to what, never to whom.

No audio, no embedding, no speaker's name, no file's name, no query string and no message of an error that may quote
one: of an unexpected error its type and the lines of code that it came through.
"""

import json
import logging
import os
import sys
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from sound_groove.files import writing
from sound_groove.terminal import printable_json


@dataclass(slots=True)
class RequestRecord:
    """What the log and the metrics say of a request, filled in as it goes its way.

    Attributes:
        id: random, also in the answer's header x-request-id.
        method: of the request.
        route: its pattern, such as /v1/speakers/{name}; "other" for what there is not.
        status: of the answer.
        code: of the error; empty where there is none.
        key: the name of the caller's API key, also where it was refused; empty where nobody asked for it.
        unknown_key: by which a key that there is not is told from others (`keys.fingerprint`); empty where none came.
        received_bytes: of the body.
        audio_s: seconds of audio that were heard.
    """

    method: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    route: str = "other"
    status: int = 0
    code: str = ""
    key: str = ""
    unknown_key: str = ""
    received_bytes: int = 0
    audio_s: float = 0.0


class Log:
    """Where the lines go.

    Args:
        path: a file to append to, which may be moved away by a rotation; None writes to stderr.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._handler: logging.Handler
        if path is None:
            self._handler = logging.StreamHandler(sys.stderr)
        else:
            with writing(path):
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
                self._handler = WatchedFileHandler(path, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, event: str, fields: Mapping[str, Any], level: str = "info") -> None:
        """Write a line.

        Args:
            event: what happened, one word.
            fields: what is known of it; nothing that names a person.
            level: info, warning or error.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = printable_json(json.dumps({"time": time, "level": level, "event": event, **fields}, ensure_ascii=False))
        self._handler.handle(logging.LogRecord("service", logging.INFO, "", 0, line, None, None))

    def request(self, record: RequestRecord, duration_s: float) -> None:
        """Write what became of a request."""
        fields = {
            "id": record.id,
            "method": record.method,
            "route": record.route,
            "status": record.status,
            "duration_ms": round(1000 * duration_s, 1),
            "bytes": record.received_bytes,
            "audio_s": round(record.audio_s, 2),
            "key": record.key,
            **({"unknown_key": record.unknown_key} if record.unknown_key else {}),
            **({"code": record.code} if record.code else {}),
        }
        level = "error" if record.status >= 500 else "warning" if record.status in (401, 403, 421, 429) else "info"
        self.write("request", fields, level)

    def failure(self, record: RequestRecord, error: BaseException) -> None:
        """Write where an error came from that nobody expected."""
        self.write("failure", {"id": record.id, **failure_facts(error)}, "error")

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


def failure_facts(error: BaseException) -> dict[str, Any]:
    """An error's type and the lines of code that it came through, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "where": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-12:]],
    }


TOLD = ("uvicorn.error", "Invalid HTTP request received.")  # the connection has told of it
QUOTING = "python_multipart"  # says which byte of a form it did not expect, which may be of a name


class ServerMessages(logging.Handler):
    """Passes what the server, the event loop and others complain about on to the log, without tracebacks."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message on: its first line, since the event loop quotes tasks with all that they hold in the next."""
        message = record.getMessage().partition("\n")[0][:300]
        if (record.name, message) == TOLD or record.name.startswith(QUOTING):
            return
        facts = failure_facts(record.exc_info[1]) if record.exc_info and record.exc_info[1] else {}
        self._log.write("server", {"message": message, **facts}, "warning")
