"""Who asks, and whether a browser was tricked into asking.

Without keys the service answers to this machine alone, and trusts whoever can reach it. A web page that the owner of
the machine visits can reach it too, by the browser: a request is refused when its Host is a name that this service does
not have (DNS rebinding), and when it comes from another origin than the service's own page or one that its owner named.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from sound_groove.client.records import Scope
from sound_groove.errors import RequestError, ServiceError
from sound_groove.service.keys import Key, KeyRing, fingerprint
from sound_groove.service.origins import NONE, Origins

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
# A host and a port as RFC 9110 has them (7.2), and nothing else that an address may hold, such as `user@host`.
HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII)
LOCAL = Key("local", "admin", "", "")  # who asks where there are no keys


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is this machine's alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of who may ask.

    Attributes:
        ring: the API keys; None lets everybody in who can reach the service.
        names: hosts under which the service is reached, beside those of the loopback; where there are keys and no
            names, any host will do.
        origins: of web pages of other places that may ask.
    """

    ring: KeyRing | None
    names: tuple[str, ...] = ()
    origins: Origins = NONE

    def check_browser(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Refuse what a browser was tricked into asking.

        Args:
            method: of the request.
            path: asked for.
            headers: by names in lower case.

        Raises:
            RequestError: 421: the host is none of ours; 403: another site asks.
        """
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise RequestError(421, "unknown_host", "this service is not reached under that name; see --name")
        if method in ("GET", "HEAD") and (path in ("/", "/docs") or path.startswith("/page/")):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if self.origins.allow(origin):
            return
        is_foreign = origin is not None and not self._is_own_origin(origin, host)
        if is_foreign or site not in ("none", "same-origin"):
            raise RequestError(403, "cross_origin", "a page of another site may not use this service")

    def _is_own_origin(self, origin: str, host: str) -> bool:
        """Whether a page came from here; a proxy may have changed the host on the way."""
        given = _host_of(origin)
        return given == _normal(host) or given in map(_normal, self.names)

    def _is_ours(self, host: str) -> bool:
        if self.ring is not None and not self.names:
            return True
        parts = HOST.fullmatch(host)
        if parts is None:
            return False
        name = (parts["address"] or parts["name"]).lower()
        return name in (*LOOPBACK_NAMES, *(known.lower() for known in self.names))

    def caller(self, authorization: str | None, scope: Scope) -> Key:
        """Who asks, when they may.

        Args:
            authorization: the header; None where it did not come.
            scope: what the request needs.

        Raises:
            RequestError: as `known` and `check_scope` do.
        """
        key = self.known(authorization)
        check_scope(key, scope)
        return key

    def known(self, authorization: str | None) -> Key:
        """Who asks, whatever they ask for.

        Args:
            authorization: the header; None where it did not come.

        Raises:
            RefusedKeyError: 401: there is no such key, or not any more.
            RequestError: 401: no key came; 503: the keys cannot be read.
        """
        if self.ring is None:
            return LOCAL
        kind, _, given = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not given.strip():
            raise RequestError(401, "no_key", "this service needs an API key: 'Authorization: Bearer KEY'")
        try:
            key = self.ring.find(given.strip())
            gone = None if key is not None else self.ring.find_removed(given.strip())
        except ServiceError:
            raise RequestError(503, "keys_unavailable", "the service cannot read its API keys at the moment") from None
        if key is None:
            if gone is not None:
                raise RefusedKeyError("removed_key", f"this API key was removed at {gone.removed}", name=gone.name)
            unknown = fingerprint(given.strip())
            raise RefusedKeyError("unknown_key", "there is no such API key", fingerprint=unknown)
        if key.has_expired(datetime.now(UTC)):
            raise RefusedKeyError("expired_key", f"this API key expired at {key.expires}", name=key.name)
        return key


class RefusedKeyError(RequestError):
    """A key that lets nobody in (401).

    Attributes:
        name: of the key, where it is known.
        fingerprint: by which the log tells an unknown one from others (`keys.fingerprint`).
    """

    def __init__(self, code: str, message: str, name: str = "", fingerprint: str = "") -> None:
        self.name, self.fingerprint = name, fingerprint
        super().__init__(401, code, message)


def check_scope(key: Key, scope: Scope) -> None:
    """Refuse what a key does not allow.

    Raises:
        RequestError: 403.
    """
    if not key.allows(scope):
        raise RequestError(403, "scope", f"this needs a key of scope '{scope}', and this one has '{key.scope}'")


def _normal(host: str) -> str:
    """A host and port as it is compared: the usual ports are left out, since a proxy may end TLS."""
    host = host.lower()
    for port in (":80", ":443"):
        host = host.removesuffix(port)
    return host


def _host_of(origin: str) -> str:
    """The host and port of an origin; empty where it has none, as 'null'."""
    try:
        return _normal(urlsplit(origin).netloc)
    except ValueError:
        return ""
