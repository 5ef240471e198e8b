"""Web pages of other places that may use the service: the origins that its owner names (CORS, the Fetch standard).

Without any, a browser lets no page but the service's own read an answer, and the guard refuses what such a page asks.
A page of an origin that is named may ask as any program may: where there are keys, it needs one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from sound_groove.errors import UsageError, printable

METHODS = "GET, POST, DELETE"
ASKED_HEADERS = "authorization"  # beyond those that a page may always send
TOLD_HEADERS = "x-request-id, retry-after, location"  # beyond those that a page may always read
REMEMBERED_S = 600  # for which a browser does not ask again
USUAL_PORTS = {"http": ":80", "https": ":443"}  # which browsers leave out
# A scheme, a host and a port, as browsers send them (RFC 6454, section 6.2).
ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]{1,5})?", re.ASCII)

Headers = list[tuple[bytes, bytes]]


def checked_origin(text: str) -> str:
    """An origin as browsers write it: in lower case, and without its usual port.

    Raises:
        UsageError: it is none, or is one that every page could have.

    >>> checked_origin("https://App.example.org:443"), checked_origin("http://localhost:5173")
    ('https://app.example.org', 'http://localhost:5173')
    """
    if text in ("*", "null"):
        raise UsageError(
            f"'{text}' would let every web page that somebody visits use the service; name the origins of those that "
            "may, such as https://app.example.org"
        )
    found = ORIGIN.fullmatch(text.lower())
    if found is None:
        raise UsageError(
            f"'{printable(text)}' is no origin, which is a scheme, a host and perhaps a port, without a path: "
            "https://app.example.org"
        )
    port = found["port"] or ""
    return f"{found['scheme']}://{found['host']}{'' if port == USUAL_PORTS[found['scheme']] else port}"


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins whose pages may use the service.

    Attributes:
        allowed: as `checked_origin` gives them.
    """

    allowed: frozenset[str]

    @classmethod
    def of(cls, origins: Iterable[str]) -> "Origins":
        """Those that are named.

        Raises:
            UsageError: one is none.
        """
        return cls(frozenset(map(checked_origin, origins)))

    def allow(self, origin: str | None) -> bool:
        """Whether pages of this origin may ask; it is compared as the browser sent it."""
        return origin in self.allowed

    def answer_headers(self, origin: str | None) -> Headers:
        """What an answer says of who may read it."""
        if not self.allowed:
            return []
        headers = [(b"vary", b"origin")]  # or a cache would give one page the answer that another may read
        if origin is not None and self.allow(origin):
            headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
            headers.append((b"access-control-expose-headers", TOLD_HEADERS.encode()))
        return headers

    def preflight(self, method: str, headers: Mapping[str, str]) -> Response | None:
        """The answer to a browser that asks first whether a page may ask; None where this is no such question.

        Args:
            method: of the request.
            headers: by names in lower case.
        """
        is_question = method == "OPTIONS" and "access-control-request-method" in headers
        if not is_question or not self.allow(headers.get("origin")):
            return None
        told = {
            "access-control-allow-methods": METHODS,
            "access-control-allow-headers": ASKED_HEADERS,
            "access-control-max-age": str(REMEMBERED_S),
        }
        return Response(status_code=204, headers=told)


NONE = Origins(frozenset())
