"""API keys: made once, kept as hashes, compared whole, heeded at once; and who a request may come from."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sound_groove.cli import main
from sound_groove.errors import OutputError, RequestError, ServiceError, UsageError
from sound_groove.service.guard import LOCAL, Guard, is_loopback
from sound_groove.service.keys import (
    Key,
    KeyRing,
    add_key,
    fingerprint,
    hash_of,
    limit_key,
    load_keys,
    remove_key,
)
from sound_groove.service.rations import Rations


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_long_random_and_kept_as_its_hash_only(file: Path) -> None:
    keys = [add_key(file, name, "read") for name in ("one", "two")]
    assert len(set(keys)) == 2 and all(key.startswith("sg_") and len(key) >= 46 for key in keys)
    text = file.read_text()
    assert not any(key in text or key[3:] in text for key in keys)
    assert [entry.hash for entry in load_keys(file)] == [hash_of(key) for key in keys]


def test_the_file_is_its_owners_alone_and_nothing_else_is_left_beside_it(file: Path) -> None:
    add_key(file, "one", "admin")
    add_key(file, "two", "admin")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


def test_a_key_is_found_and_a_part_of_it_is_not(file: Path) -> None:
    key = add_key(file, "one", "enrol")
    ring = KeyRing(file)
    found = ring.find(key)
    assert found is not None and found.name == "one" and found.scope == "enrol"
    for other in ("", key[:-1], key + "A", key.lower(), hash_of(key), "\udcff", "ключ"):
        assert ring.find(other) is None, other


def test_every_entry_is_compared_whichever_fits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [add_key(file, f"key{number}", "read") for number in range(5)]
    ring = KeyRing(file)
    import hmac

    compared: list[bytes] = []
    usual = hmac.compare_digest

    def noted(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return usual(a, b)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    assert ring.find(keys[0]) is not None
    assert len(compared) == 5


def test_a_change_of_the_file_is_heeded_at_once(file: Path) -> None:
    first = add_key(file, "first", "read")
    ring = KeyRing(file)
    second = add_key(file, "second", "read")
    assert ring.find(second) is not None
    remove_key(file, "first")
    assert ring.find(first) is None and ring.find(second) is not None


def test_nobody_is_let_in_when_the_file_is_gone_or_damaged(file: Path) -> None:
    key = add_key(file, "one", "read")
    guard = Guard(KeyRing(file))
    file.write_text("{")
    for _ in range(2):
        with pytest.raises(RequestError, match="cannot read its API keys") as refused:
            guard.caller(f"Bearer {key}", "read")
        assert refused.value.status == 503
        file.unlink(missing_ok=True)


def test_a_file_that_others_may_write_is_refused(file: Path) -> None:
    add_key(file, "one", "read")
    file.chmod(0o622)
    with pytest.raises(ServiceError, match="others may write to it, and so let themselves in; chmod 600"):
        load_keys(file)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"keys": 3}',
        '{"keys": [{}]}',
        '{"keys": [{"name": "a", "scope": "root", "hash": "0", "created": ""}]}',
        '{"keys": [{"name": "../a", "scope": "read", "hash": "0", "created": ""}]}',
        '{"keys": [{"name": "a", "scope": "read", "hash": 3, "created": ""}]}',
        '{"keys": [{"name": 3, "scope": "read", "hash": "0", "created": ""}]}',
        '{"keys": [{"name": "a", "scope": ["read"], "hash": "0", "created": ""}]}',
        '{"keys": [{"name": "a", "scope": "read", "hash": "é", "created": ""}]}',
        "\xff\xfe",
    ],
)
def test_a_file_of_something_else_is_refused_with_one_sentence(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ServiceError, match=r"is no file of API keys|is damaged") as refused:
        load_keys(file)
    assert "\n" not in str(refused.value)


def test_a_file_without_keys_lets_no_service_start(file: Path) -> None:
    add_key(file, "one", "read")
    remove_key(file, "one")
    with pytest.raises(ServiceError, match="holds no API key; 'sound-groove keys add' makes one"):
        KeyRing(file)


@pytest.mark.parametrize("name", ["", "a b", "ключ", "a\n", "-a", "a" * 65, "../a"])
def test_a_name_that_a_log_could_not_hold_is_refused(file: Path, name: str) -> None:
    with pytest.raises(UsageError, match="a key's name has up to 64"):
        add_key(file, name, "read")
    assert not file.exists()


def test_wrong_use_of_the_file_is_told(file: Path) -> None:
    add_key(file, "one", "read")
    with pytest.raises(UsageError, match="has a key 'one' already"):
        add_key(file, "one", "admin")
    with pytest.raises(UsageError, match="there is no scope 'admn'; did you mean 'admin'"):
        add_key(file, "two", "admn")
    with pytest.raises(UsageError, match="has no key 'ona'; did you mean 'one'"):
        remove_key(file, "ona")
    with pytest.raises(ServiceError, match="No such file or directory; 'sound-groove keys add' makes one"):
        remove_key(file.with_name("other.json"), "one")
    with pytest.raises(OutputError, match="cannot be written"):
        add_key(file / "keys.json", "one", "read")
    assert [key.name for key in load_keys(file)] == ["one"]


def test_the_verb_makes_lists_and_removes_keys(file: Path) -> None:
    def keys(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sound_groove", "keys", *words, "--keys", str(file)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ})

    made = keys("add", "desk", "--scope", "enrol")
    assert made.returncode == 0 and KeyRing(file).find(made.stdout.strip()) is not None
    assert "shown once" in made.stderr
    listed = json.loads(keys("list", "--json").stdout)
    assert [(key["name"], key["scope"]) for key in listed["keys"]] == [("desk", "enrol")]
    assert "hash" not in listed["keys"][0]
    assert keys("remove", "desk").returncode == 0
    assert keys("remove", "desk").returncode == 2 and load_keys(file) == ()


# --- who a request may come from ---


def test_scopes_include_those_before_them(file: Path) -> None:
    guard_keys = {scope: add_key(file, scope, scope) for scope in ("read", "enrol", "admin")}
    guard = Guard(KeyRing(file))
    allowed = {
        (held, wanted)
        for held, key in guard_keys.items()
        for wanted in ("read", "enrol", "admin")
        if _status(guard, f"Bearer {key}", wanted) == 200
    }
    assert allowed == {
        ("read", "read"), ("enrol", "read"), ("enrol", "enrol"), ("admin", "read"), ("admin", "enrol"),
        ("admin", "admin"),
    }  # fmt: skip
    assert _status(guard, f"Bearer {guard_keys['read']}", "enrol") == 403


def _status(guard: Guard, authorization: str | None, scope: str) -> int:
    try:
        guard.caller(authorization, scope)  # type: ignore[arg-type]
    except RequestError as error:
        return error.status
    return 200


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer sg_wrong"])
def test_without_a_known_key_nobody_is_let_in(file: Path, authorization: str | None) -> None:
    add_key(file, "one", "admin")
    assert _status(Guard(KeyRing(file)), authorization, "read") == 401


def test_without_a_file_of_keys_everybody_may_do_everything() -> None:
    assert Guard(None).caller(None, "admin") == LOCAL


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1", "voice.lan"])
def test_the_services_own_names_are_known(host: str) -> None:
    Guard(None, ("voice.lan",)).check_browser("POST", "/v1/compare", {"host": host})


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "",
        "127.0.0.1.evil.test",
        "localhost.evil.test:8000",
        "[",
        "a@b",
        "0",
        "evil.com@localhost",
        "evil.com:80@localhost:8000",
        "localhost/evil.com",
        "localhost?evil.com",
        "localhost#evil",
        "localhost\\evil.com",
        "[::1]evil.com",
        "[::1",
        "localhost:",
        "localhost:8000:8000",
        " localhost",
        "localhost\n",
    ],
)
def test_a_rebound_name_is_refused(host: str) -> None:
    for path in ("/", "/v1/compare", "/openapi.json"):
        with pytest.raises(RequestError, match="not reached under that name") as refused:
            Guard(None).check_browser("GET", path, {"host": host})
        assert refused.value.status == 421


def test_with_keys_any_name_will_do_unless_names_are_given(file: Path) -> None:
    add_key(file, "one", "read")
    Guard(KeyRing(file)).check_browser("GET", "/v1/info", {"host": "anything.test"})
    with pytest.raises(RequestError, match="not reached under that name"):
        Guard(KeyRing(file), ("voice.lan",)).check_browser("GET", "/v1/info", {"host": "anything.test"})


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_page_is_refused_but_for_our_page_itself(headers: dict[str, str]) -> None:
    guard = Guard(None)
    for method, path in (("POST", "/v1/compare"), ("GET", "/v1/speakers"), ("DELETE", "/v1/speakers/Kim")):
        with pytest.raises(RequestError, match="a page of another site") as refused:
            guard.check_browser(method, path, {"host": "localhost:8000", **headers})
        assert refused.value.status == 403
    guard.check_browser("GET", "/", {"host": "localhost:8000", **headers})
    guard.check_browser("GET", "/docs", {"host": "localhost:8000", **headers})


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("localhost", "http://localhost:80"),
        ("voice.lan", "https://voice.lan"),
        ("voice.lan:443", "https://voice.lan"),
        ("127.0.0.1:8000", "https://voice.lan"),  # by a proxy that tells its own address
    ],
)
def test_our_own_page_may_ask(host: str, origin: str) -> None:
    headers = {"host": host, "origin": origin, "sec-fetch-site": "same-origin"}
    Guard(None, ("voice.lan",)).check_browser("POST", "/v1/compare", headers)


def test_only_loopback_addresses_are_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "", "localhost.evil.test", "::ffff:10.0.0.1")))


# --- what a key may ask for in a minute


class Clock:
    """Tells the time that it is set to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(requests: int | None = None, audio_s: float | None = None, hash: str = "h") -> Key:
    return Key("desk", "read", hash, "", requests, audio_s)


def waiting_s(rations: Rations, key: Key, code: str) -> int:
    """After how many seconds a key that is refused may try again."""
    with pytest.raises(RequestError) as refused:
        rations.take(key)
    assert (refused.value.status, refused.value.code) == (429, code)
    assert refused.value.retry_after_s is not None
    return refused.value.retry_after_s


def test_requests_come_back_at_an_even_rate() -> None:
    clock, key = Clock(), limited(requests=6)
    rations = Rations(clock)
    for _ in range(6):
        rations.take(key)
    assert waiting_s(rations, key, "over_requests") == 10
    clock.now += 9.5
    assert waiting_s(rations, key, "over_requests") == 1
    clock.now += 0.5
    rations.take(key)
    assert waiting_s(rations, key, "over_requests") == 10  # what is refused costs nothing
    clock.now += 3600
    for _ in range(6):  # and no more than a minute's worth is kept
        rations.take(key)
    assert waiting_s(rations, key, "over_requests") == 10


def test_audio_is_charged_when_it_was_heard_and_a_debt_is_waited_for() -> None:
    clock, key = Clock(), limited(audio_s=60.0)
    rations = Rations(clock)
    rations.take(key)
    rations.charge(key, 59.0)
    rations.take(key)
    rations.charge(key, 31.0)  # 30 s too much: nobody knew before it was decoded
    assert waiting_s(rations, key, "over_audio") == 31
    clock.now += 31
    rations.take(key)


def test_keys_do_not_share_an_account_and_those_without_limits_have_none() -> None:
    rations, free = Rations(Clock()), limited()
    first, second, anew = limited(1), limited(1, hash="other"), limited(1, hash="anew")
    for key in (first, second, anew):
        rations.take(key)
        assert waiting_s(rations, key, "over_requests") == 60
    for _ in range(1000):
        rations.take(free)
        rations.charge(free, 1e6)


def test_other_limits_are_heeded_at_once() -> None:
    rations = Rations(Clock())
    rations.take(limited(100))
    rations.take(limited(1))  # of the 99 that are left only the one that may be is kept
    assert waiting_s(rations, limited(1), "over_requests") == 60
    rations.take(limited())
    rations.take(limited(1))


def test_limits_are_kept_in_the_file_and_changed_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--keys", str(file)]
    assert main(["keys", "add", "desk", "--scope", "read", "--requests", "60", "--audio", "600.5", *words]) == 0
    key = capsys.readouterr().out.strip()
    assert main(["keys", "add", "app", "--scope", "read", *words]) == 0
    assert "requests_a_minute" in file.read_text() and "null" not in file.read_text()
    ring = KeyRing(file)
    assert [(one.requests_a_minute, one.audio_s_a_minute) for one in load_keys(file)] == [(60, 600.5), (None, None)]
    capsys.readouterr()
    assert main(["keys", "list", *words]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  60 requests and 600.5 s of audio a minute") and "minute" not in second
    assert main(["keys", "limit", "desk", "--requests", "5", *words]) == 0
    assert capsys.readouterr().out.endswith("  5 requests a minute\n")
    found = ring.find(key)
    assert found is not None and (found.requests_a_minute, found.audio_s_a_minute) == (5, None)
    assert main(["keys", "limit", "desc", *words]) == 2
    assert "has no key 'desc'; did you mean 'desk'?" in capsys.readouterr().err
    assert main(["keys", "list", "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out)["keys"][0]["requests_a_minute"] == 5


@pytest.mark.parametrize("limits", [(0, None), (True, None), (1.5, None), (None, 0.5), (None, 2e6), (10**9, None)])
def test_a_limit_that_cannot_be_is_refused_where_it_is_given_and_where_it_stands(file: Path, limits: Any) -> None:
    add_key(file, "one", "read")
    with pytest.raises(UsageError, match="whole requests and seconds of audio a minute, from 1 to 1,000,000"):
        limit_key(file, "one", *limits)
    content = json.loads(file.read_text())
    content["keys"][0].update(zip(("requests_a_minute", "audio_s_a_minute"), limits, strict=True))
    file.write_text(json.dumps(content))
    with pytest.raises(ServiceError, match="is damaged"):
        load_keys(file)


def test_a_fingerprint_tells_keys_apart_and_nothing_of_them() -> None:
    assert fingerprint("sg_a") == hash_of("sg_a")[:8] != fingerprint("sg_b")


# --- keys that let nobody in any more


def test_a_removed_key_is_known_by_its_name_and_its_name_may_be_given_again(file: Path) -> None:
    first = add_key(file, "one", "read")
    remove_key(file, "one")
    second = add_key(file, "one", "read")
    ring = KeyRing(file)
    assert [key.hash for key in ring.keys()] == [hash_of(second)] == [key.hash for key in load_keys(file)]  # noqa: SIM118
    gone = ring.find_removed(first)
    assert gone is not None and gone.name == "one" and first not in file.read_text()
    assert ring.find(first) is None and ring.find_removed(second) is None
    with pytest.raises(RequestError, match="was removed at 2") as refused:
        Guard(ring).known(f"Bearer {first}")
    assert (refused.value.status, refused.value.code) == (401, "removed_key")


def test_of_removed_keys_the_last_hundred_are_kept(file: Path) -> None:
    first = add_key(file, "first", "read")
    stays = add_key(file, "stays", "read")
    remove_key(file, "first")
    content = json.loads(file.read_text())
    content["removed"] += [{"name": "n", "hash": f"{number:064x}", "removed": ""} for number in range(99)]
    file.write_text(json.dumps(content))
    assert KeyRing(file).find_removed(first) is not None
    remove_key(file, "stays")
    add_key(file, "last", "read")
    ring = KeyRing(file)
    assert ring.find_removed(first) is None and ring.find_removed(stays) is not None
    assert len(json.loads(file.read_text())["removed"]) == 100


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2027-01-31", "2027-01-31T00:00:00+00:00"),
        ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00+00:00"),
    ],
)
def test_a_key_is_refused_from_its_day_on(file: Path, given: str, kept: str) -> None:
    key = add_key(file, "one", "read", expires=given)
    (entry,) = load_keys(file)
    assert entry.expires == kept and Guard(KeyRing(file)).known(f"Bearer {key}") == entry
    moment = datetime.fromisoformat(kept)
    assert entry.has_expired(moment) and not entry.has_expired(moment - timedelta(seconds=1))


@pytest.mark.parametrize("given", ["", "tomorrow", "2027-13-01", "31.1.2027", "\x1b[2J"])
def test_a_day_that_is_none_is_refused(file: Path, given: str) -> None:
    with pytest.raises(UsageError, match="a key expires on a day such as 2027-01-31"):
        add_key(file, "one", "read", expires=given)
    add_key(file, "one", "read")
    content = json.loads(file.read_text())
    content["keys"][0]["expires"] = given
    file.write_text(json.dumps(content))
    with pytest.raises(ServiceError, match="is damaged"):
        load_keys(file)
