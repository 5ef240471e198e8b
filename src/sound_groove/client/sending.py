"""Questions to a service: forms as they are sent, answers, refusals, and when it may be asked once more."""

import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from sound_groove.client.reading import record_from
from sound_groove.client.records import ErrorAnswer
from sound_groove.errors import RequestError, UnreachableError, UsageError, printable
from sound_groove.json_reading import parse_json

MOST_BYTES = 64 << 20  # of an answer
FIRST_WAIT_S = 0.5  # before it is asked once more where it does not say when, and twice as long each time after that
LONGEST_WAIT_S = 30.0  # a service that asks for more patience is not waited for


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, headers with names in lower case, and what the JSON says."""

    status: int
    headers: Mapping[str, str]
    content: Any


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form: a field, or a file with its name."""

    name: str
    content: bytes
    file_name: str | None = None


class Sender:
    """Asks a service, by a connection for each question, so that threads may share it.

    Args:
        address: of the service, such as "http://127.0.0.1:8000"; a proxy's may have a path.
        key: an API key; None where the service has none.
        timeout_s: for a connection, and for each part of an answer.
        attempts: how often to ask at most, where asking again is safe.
        context: for TLS; None takes the system's certificates.
        sleep: waits so many seconds.

    Raises:
        UsageError: one of them is none.
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        timeout_s: float = 60.0,
        attempts: int = 3,
        context: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            parts = urlsplit(address)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            parts = urlsplit("")
        is_more = parts.query or parts.fragment or "@" in address
        if parts.scheme not in ("http", "https") or not parts.hostname or is_more:
            raise UsageError(
                f"'{printable(address)}' is no address of a service; give one such as http://127.0.0.1:8000"
            )
        if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
            raise UsageError("the key is none: 'sound-groove keys add' prints one, of letters, digits, '-' and '_'")
        if attempts < 1:
            raise UsageError(f"a service is asked at least once; {attempts} attempts were given")
        self.address = address.rstrip("/")
        self._is_secure = parts.scheme == "https"
        self._folder = parts.path.rstrip("/")
        self._key = key
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._context = context
        self._sleep = sleep

    def ask(
        self, method: str, path: str, parts: Sequence[Part] = (), *, is_repeatable: bool, patience_s: float = 0.0
    ) -> Answer:
        """The answer to a question.

        It is asked again, a few times, where the service says that it did nothing and when to come back (429), and
        where no connection was made. Where it may be that the service did what was asked and only the answer was lost,
        or where it failed on the way (503), only what is repeatable is asked again.

        Args:
            method: of HTTP.
            path: below the service's address, percent-encoded.
            parts: of a form.
            is_repeatable: asking twice is the same as asking once.
            patience_s: how much longer than usual an answer may take.

        Raises:
            RequestError: it refuses, with the status and the code of the service.
            UnreachableError: it does not answer, or what answers is no such service.
        """
        wait_s = FIRST_WAIT_S
        for attempt in range(1, self._attempts + 1):
            is_last = attempt == self._attempts
            try:
                answer = self._exchange(method, path, parts, patience_s)
            except _Failure as failure:
                if is_last or (failure.was_sent and not is_repeatable):
                    raise UnreachableError(f"{self.address} {failure}") from failure.__cause__
                self._sleep(wait_s)
            else:
                if answer.status < 400:
                    return answer
                error = self._refusal(answer)
                later_s = wait_s if error.retry_after_s is None else error.retry_after_s
                did_nothing = answer.status == 429 or (answer.status == 503 and is_repeatable)
                if is_last or not did_nothing or later_s > LONGEST_WAIT_S:
                    raise error
                self._sleep(later_s)
            wait_s *= 2
        raise AssertionError("the last attempt returns or raises")

    def _exchange(self, method: str, path: str, parts: Sequence[Part], patience_s: float) -> Answer:
        headers = {"accept": "application/json", "connection": "close"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        body = None
        if parts:
            boundary = secrets.token_hex(16)
            headers["content-type"] = f"multipart/form-data; boundary={boundary}"
            body = encoded_form(parts, boundary)
        timeout_s = self._timeout_s + patience_s
        with closing(self._connection(timeout_s)) as connection:
            try:
                connection.connect()
            except OSError as error:
                raise _Failure(f"cannot be reached: {_reason(error)}", was_sent=False) from error
            try:
                with suppress(BrokenPipeError, ConnectionResetError):  # it may have refused already, and say why
                    connection.request(method, f"{self._folder}{path}", body, headers)
                response = connection.getresponse()
                content = response.read(MOST_BYTES + 1)
            except TimeoutError as error:
                raise _Failure(f"did not answer within {timeout_s:g} s", was_sent=True) from error
            except (OSError, HTTPException) as error:
                raise _Failure(f"broke off: {_reason(error)}", was_sent=True) from error
        if len(content) > MOST_BYTES:
            raise UnreachableError(f"{self.address} answered with more than {MOST_BYTES >> 20} MiB")
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, told, self._read(content, response.status))

    def _connection(self, timeout_s: float) -> HTTPConnection:
        if self._is_secure:
            return HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._context)
        return HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _read(self, content: bytes, status: int) -> Any:
        try:
            return parse_json(content, MOST_BYTES)
        except ValueError:
            raise UnreachableError(
                f"{self.address} answered with status {status} and no JSON; is that the address of a service?"
            ) from None

    def _refusal(self, answer: Answer) -> RequestError:
        """The service's refusal as it puts it."""
        try:
            told = record_from(ErrorAnswer, answer.content).error
        except ValueError as error:
            raise UnreachableError(
                f"{self.address} refused with status {answer.status}, and not as a Sound-Groove service does: {error}"
            ) from None
        retry_after = answer.headers.get("retry-after", "")
        return RequestError(
            answer.status,
            told.code,
            told.message,
            told.problems,
            int(retry_after) if retry_after.isascii() and retry_after.isdigit() else None,
            told.refusals,
        )


class _Failure(Exception):
    """A question that was not answered, and whether the service may have got it."""

    def __init__(self, reason: str, was_sent: bool) -> None:
        self.was_sent = was_sent
        super().__init__(reason)


def _reason(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def encoded_form(parts: Sequence[Part], boundary: str) -> bytes:
    r"""A form as multipart/form-data (RFC 7578), its names as browsers write them (HTML, multipart form data).

    >>> encoded_form([Part("name", "Zoë".encode()), Part("audio", b"RIFF", 'a".wav')], "x").decode().split("\r\n")[:4]
    ['--x', 'Content-Disposition: form-data; name="name"', '', 'Zoë']
    """
    lines = []
    for part in parts:
        head = f'Content-Disposition: form-data; name="{_quoted(part.name)}"'
        if part.file_name is not None:
            head += f'; filename="{_quoted(part.file_name)}"\r\nContent-Type: application/octet-stream'
        lines += [f"--{boundary}\r\n{head}\r\n\r\n".encode("utf-8", "replace"), part.content, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()])


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
