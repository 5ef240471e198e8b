"""What is no HTTP, or HTTP that never ends, on bare connections."""

import socket
import time
from collections.abc import Iterator

import numpy as np
from hostile_siege import Siege, Tally

HOST = b"Host: localhost\r\n"
END = b"Connection: close\r\n\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=XX\r\n"
POST = b"POST /v1/embed HTTP/1.1\r\nConnection: close\r\n" + HOST + FORM
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
PART = b'--XX\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
FIRST = b"%x\r\n%b\r\n" % (len(PART), PART)
PATHS = (
    b"//v1/info", b"/v1/../v1/info", b"/page/../../keys.py", b"/page/%2e%2e/keys.py", b"/page/%00", b"/%",
    b"/v1/speakers/%ff", b"/v1/speakers/%", b"/v1/%73peakers/a%252Fb", b"/v1/speakers?limit=" + b"9" * 5000,
    b"/v1/speakers?after=%ED%A0%80&after=%00", b"/v1/audit?after=-1", b"/v1/speakers?limit=1e3",
    b"http://localhost/v1/info", b"http://evil.test/v1/info", b"/" + b"a" * 15_000,
)  # fmt: skip
HOSTS = (
    b"evil.test", b"localhost.evil.test", b"evil@localhost", b"[::1", b"", b"localhost:99999", b"\xff",
    b"LOCALHOST",
)  # fmt: skip
HEADERS = (
    b"Origin: https://evil.test", b"Origin: null", b"Origin: http://[::1", b"Sec-Fetch-Site: cross-site",
    b"Accept: x/y", b"Accept: \xff", b"Accept-Encoding: br;q=x", b"Range: bytes=0-,1-", b"If-None-Match: \xff",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"Authorization: Bearer \xff", b"Authorization: Basic eDp5",
    b"Cookie: " + b"a" * 10_000, b"X: " + b"a" * 20_000, b"a: b\r\n" * 3000 + b"c: d", b" folded: x",
    b"X-Forwarded-Host: evil.test", b"X-HTTP-Method-Override: DELETE", b"Expect: 100-continue",
    b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: -1", b"Content-Length: 1e3",
    b"Content-Length: " + b"9" * 30, b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked, chunked",
)  # fmt: skip
BODIES = (
    b"", b"--XX--\r\n", b"--XX\r\n\r\n", PART * 5000, PART[:-4], b"--XX\r\n" * 5000, b"\r\n" * 5000,
    PART + b"a\r\n--XY--", b"--XX\r\nContent-Disposition: form-data\r\n\r\n--XX--",
    b'--XX\r\nContent-Disposition: x; name="audio\r\n\r\n', PART.replace(b"audio", b"a" * 3000),
    PART.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
    PART.replace(b'filename="a"', b"filename*=utf-7''%41") + b"a\r\n--XX--\r\n", b"a: b" * 10_000,
)  # fmt: skip
BOUNDARIES = (
    b"", b"boundary=" + b"X" * 500, b'boundary="', b"boundary=\xff", b"boundary==", b"charset=x",
    b"boundary=a; boundary=b",
)  # fmt: skip
RANDOM = 500
PATIENCE_S = 30.0  # far more than the service has


def requests() -> Iterator[tuple[str, bytes]]:
    """What is sent, and what it is."""
    yield "HTTP/0.9", b"GET /\r\n\r\n"
    yield "HTTP/1.0 without a host", b"GET /healthz HTTP/1.0\r\n\r\n"
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
    for method in (b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"get", b"X" * 3000):
        for path in (b"/", b"/v1/info", b"/v1/speakers/a", b"*", b"localhost:80"):
            yield "methods", method + b" " + path + b" HTTP/1.1\r\n" + HOST + END
    for path in PATHS:
        yield "addresses", b"GET " + path + b" HTTP/1.1\r\n" + HOST + END
    for host in HOSTS:
        yield "hosts", b"GET /v1/info HTTP/1.1\r\nHost: " + host + b"\r\n" + END
    for header in HEADERS:
        yield "headers", b"GET /v1/info HTTP/1.1\r\n" + HOST + header + b"\r\n" + END
    yield (
        "two lengths",
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    )
    yield "a chunk that is none", CHUNKED + FIRST + b"ZZZ\r\n"
    yield "a chunk of all there is", CHUNKED + b"ffffffffffffffff\r\n"
    yield "chunks of a byte", CHUNKED + FIRST + b"1\r\na\r\n" * 500_000
    yield "chunks without end", CHUNKED + FIRST + b"ffff\r\n%b\r\n" % bytes(65_535) * 500
    yield "extensions of chunks", CHUNKED + b"1;" + b"a=b;" * 20_000 + b"\r\na\r\n"
    yield "trailers", CHUNKED + FIRST + b"0\r\n" + b"a: b\r\n" * 5000 + b"\r\n"
    yield "less than was promised", POST + b"Content-Length: 1000\r\n\r\n" + PART
    yield "more than was promised", POST + b"Content-Length: 10\r\n\r\n" + PART * 100
    yield (
        "pipelined",
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n") * 2000 + b"GET /healthz HTTP/1.1\r\n" + HOST + END,
    )
    for body in BODIES:
        yield "forms", POST + b"Content-Length: %d\r\n" % len(body) + END + body
    for kind in BOUNDARIES:
        yield "boundaries", POST.replace(b"boundary=XX", kind) + b"Content-Length: 5\r\n" + END + b"hello"


def send_sockets(siege: Siege) -> None:
    """All of them, then random bytes, then crowds that do nothing, drip, or do not read."""
    for group, sent in requests():
        talk(siege, group, sent)
    siege.check_health()
    rng = np.random.default_rng(0)
    for _ in range(RANDOM):
        start = (b"", b"GET / HTTP/1.1\r\n", POST + b"Content-Length: 2000\r\n\r\n", CHUNKED)[rng.integers(4)]
        talk(siege, "random bytes", start + rng.bytes(int(rng.integers(1, 2000))) + b"\r\n\r\n", half_close=True)
    siege.check_health()
    _crowds(siege)


def talk(siege: Siege, group: str, sent: bytes, half_close: bool = False) -> None:
    """Send bytes, and note the first answer, or that the connection was closed without one."""
    received, began = b"", time.perf_counter()
    with siege.socket() as connection:
        connection.settimeout(PATIENCE_S)
        try:
            connection.sendall(sent)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        except TimeoutError:
            siege.wrong.append(f"{group}: the connection was left open: {sent[:80]!r}")
        except ConnectionError:
            pass
    status = received[9:12].decode("ascii", "replace") or "closed"
    siege.tallies.setdefault(group, Tally()).add(status, time.perf_counter() - began, repr(sent[:30]))
    if (received and not received.startswith(b"HTTP/1.1 ")) or (status >= "5" and status != "closed"):
        siege.wrong.append(f"{group}: {sent[:80]!r} was answered {received[:80]!r}")
    if status >= "400" and status != "closed" and b"HEAD" not in sent[:5] and b'{"error":{"code":' not in received:
        siege.wrong.append(f"{group}: {sent[:80]!r} was refused without a sentence")


def _crowds(siege: Siege) -> None:
    """Crowds on many connections, while others ask whether the service is well."""
    crowds = {
        "does nothing": (700, b""),
        "drips a header": (300, b"GET /healthz HTTP/1.1\r\nHost: lo"),
        "drips a body": (100, POST + b"Content-Length: 20000000\r\n\r\n--X"),
        "reads no answer": (50, (b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 2000),
    }
    for what, (count, sent) in crowds.items():
        connections = []
        for _ in range(count):
            connections.append(siege.socket())
            if sent:
                connections[-1].sendall(sent)
        for _ in range(20):
            siege.check_health()
            time.sleep(0.05)
        files = siege.watched.num_fds()
        print(
            f"A crowd of {count} that {what}: {files} open files, /healthz within {siege.slowest_health_s:.3f} s so far"
        )
        for connection in connections:
            connection.close()
        _wait_until_gone(siege, what)


def _wait_until_gone(siege: Siege, what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if len(siege.watched.net_connections()) <= 3 and siege.metric("sound_groove_requests_inside ") == 0:
            return
        time.sleep(0.1)
    siege.wrong.append(f"a crowd that {what} left {len(siege.watched.net_connections())} connections open")
