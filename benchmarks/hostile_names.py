"""Names that are none, or look like something else, and crowds that enrol and remove one of them at once."""

import random
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote_from_bytes

import httpx
import numpy as np
from hostile_audio import EXAMPLES, encoded
from hostile_siege import TOKEN, Siege, speaker

from sound_groove.audio.reading import load_audio
from sound_groove.errors import UsageError
from sound_groove.voiceprints.store.names import checked_name

SPEECH_SAMPLES = 40_000
CLIENTS, TURNS = 8, 30
NAMES = (
    "a/recordings", "a/../b", "/", "//", "../../etc/passwd", "C:\\x", ".", "..", "...", "", " ", " a", "a ", "\t",
    "%", "%2F", "%00", "%252e", "?x=1", "#", "&a=b", ";", "+", "a b", "'", '"', "`", "''; DROP TABLE speakers; --",
    "' OR '1'='1", "%' OR name LIKE '%", "\\", "\\x00", "a\x00b", "a\nb", "a\r\nSet-Cookie: x=y", "\x1b[31m",
    "\x7f", "\x85", "\u200b", "a\u200bb", "\ufeff", "\u202eKim", "\u2066Kim\u2069", "\u00ad", "Zoë",
    unicodedata.normalize("NFD", "Zoë"), "Å", "\u212b", "ﬁ", "日本", "👩‍👩‍👧", "😀", "\U0001f3f3", "\ue000", "\uffff",
    "\U0010ffff", "\ud800", "\udfff\ud800", "ق", "a" * 200, "a" * 201, "a" * 10_000, "é" * 200,
    unicodedata.normalize("NFD", "é" * 200), "😀" * 200, "a\u0301" * 201, "recordings", "{name}", "{{7*7}}",
    "${jndi:ldap://x}", "<script>alert(1)</script>", "null", "None", "true", "0", "-1", "1e9", "NaN", "__proto__",
    "*", "[a-z]", "(a+)+$", "@", "~", "a,b", "a=b", "file:///etc/passwd", "http://localhost/",
)  # fmt: skip


def send_names(siege: Siege, names: Sequence[str] = NAMES) -> None:
    """Every name by address and by form: the whole way for those that may be, a refusal for the others."""
    clip = ("a.wav", encoded(load_audio(EXAMPLES / "awb-1.flac")[:SPEECH_SAMPLES], "wav"))
    for number, name in enumerate([*names, *(f"{TOKEN}{name}" for name in names if name.strip())]):
        what = f"name {number}"
        encoded_name = name.encode("utf-8", "surrogatepass")
        address = "/v1/speakers/" + quote_from_bytes(encoded_name, safe="").replace(".", "%2E")
        try:
            expected = checked_name(encoded_name.decode("utf-8"))
        except (UsageError, UnicodeDecodeError):
            _send_refused(siege, what, encoded_name, address, clip)
            continue
        _send_accepted(siege, what, expected, encoded_name, address, clip)
    siege.check_health()


def _send_refused(siege: Siege, what: str, name: bytes, address: str, clip: tuple[str, bytes]) -> None:
    form = [("name", (None, name)), ("audio", clip)]
    for send in (
        lambda client: client.get(address),
        lambda client: client.delete(address),
        lambda client: client.post(f"{address}/recordings", files={"audio": clip}),
        lambda client: client.post("/v1/verify", files=form),
    ):
        answer = siege.ask("names that may not be", what, send)
        if answer is not None and answer.status_code not in (400, 404, 405):
            siege.wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")


def _send_accepted(siege: Siege, what: str, expected: str, name: bytes, address: str, clip: tuple[str, bytes]) -> None:
    def ask(status: int, send: httpx.Request) -> dict[str, object]:
        answer = siege.ask("names that may be", what, lambda client: client.send(send))
        if answer is None or answer.status_code != status:
            siege.wrong.append(f"{what}: {'' if answer is None else answer.text[:200]} where {status} was due")
            return {}
        return dict(answer.json())

    build = siege.client.build_request
    form = [("name", (None, name)), ("audio", clip)]
    enrolment = ask(201, build("POST", f"{address}/recordings", files={"audio": clip}))
    shown = ask(200, build("GET", address))
    listed = ask(200, build("GET", "/v1/speakers", params={"limit": 1000}))
    ask(200, build("POST", "/v1/verify", files=form))
    removed = ask(200, build("DELETE", address))
    ask(404, build("GET", address))
    names = {str(one.get("speaker", {}).get("name")) for one in (enrolment, shown, removed)}  # type: ignore[attr-defined]
    if names != {expected} or (expected not in str(listed.get("speakers")) and expected.isalnum()):
        siege.wrong.append(f"{what}: it came back as {names!a}")


def crowd(siege: Siege, seed: int, turns: int = TURNS) -> None:
    """Clients that enrol, remove and read one name at once; then the audit trail must lead to what is there."""
    name, guard, done = f"{TOKEN}-crowd", threading.Lock(), Counter[str]()
    last = _last_revision(siege)
    speech = load_audio(EXAMPLES / "awb-1.flac")
    clips = [
        encoded(np.roll(speech, 97 * number)[:SPEECH_SAMPLES], "wav") for number in range(CLIENTS * turns)
    ]  # the same recording twice would be refused

    def work(client_number: int) -> None:
        draw = random.Random(f"{seed}-{client_number}")
        for turn in range(turns):
            kind = draw.choice(["enrol", "enrol", "remove", "show", "verify", "identify"])
            request = _request(siege.client, kind, name, clips[client_number * turns + turn])
            what = f"client {client_number}, turn {turn}"
            answer = siege.ask("a crowd at one name", what, lambda client: client.send(request))  # noqa: B023
            with guard:
                if answer is not None and answer.status_code < 300:
                    done[kind] += 1
                    if kind == "show" and answer.json()["speaker"]["recordings"] != len(answer.json()["recordings"]):
                        siege.wrong.append("a voiceprint that is half there was shown")

    with ThreadPoolExecutor(CLIENTS) as executor:
        list(executor.map(work, range(CLIENTS)))
    siege.check_health()
    siege.enrolled[name] = _replayed(siege, name, last, done)


def _request(client: httpx.Client, kind: str, name: str, content: bytes) -> httpx.Request:
    clip = {"audio": ("a.wav", content)}
    match kind:
        case "enrol":
            return client.build_request("POST", f"{speaker(name)}/recordings", files=clip, data={"force": "true"})
        case "remove":
            return client.build_request("DELETE", speaker(name))
        case "verify":
            return client.build_request("POST", "/v1/verify", files=clip, data={"name": name})
        case "identify":
            return client.build_request("POST", "/v1/identify", files=clip)
        case _:
            return client.build_request("GET", speaker(name))


def _events(siege: Siege, after: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    place: int | None = after
    while place is not None:
        page = siege.client.get("/v1/audit", params={"after": place, "limit": 1000}).json()
        found += page["events"]
        place = page["next"]
    return found


def _last_revision(siege: Siege) -> int:
    return max((int(str(event["revision"])) for event in _events(siege, 0)), default=0)


def _replayed(siege: Siege, name: str, after: int, done: Counter[str]) -> int:
    """How many recordings the audit trail leaves; whatever disagrees with what was acknowledged is noted."""
    there, enrolled, removed = 0, 0, 0
    revisions: list[int] = []
    for event in _events(siege, after):
        revisions.append(int(str(event["revision"])))
        if event["action"] == "enrolled":
            there, enrolled = there + int(str(event["recordings"])), enrolled + 1
        else:
            if event["recordings"] != there:
                siege.wrong.append(f"a removal of {event['recordings']} recordings where there were {there}")
            there, removed = 0, removed + 1
    if revisions != sorted(set(revisions)):
        siege.wrong.append("the revisions of the audit trail are out of order")
    if (enrolled, removed) != (done["enrol"], done["remove"]):
        siege.wrong.append(f"the audit trail has {enrolled} and {removed}, acknowledged were {dict(done)}")
    print(f"A crowd: {enrolled} enrolments and {removed} removals, {there} recordings left, as the audit trail says")
    return there
