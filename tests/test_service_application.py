"""What the application says when something in it fails, is full, stops, or belongs to another model."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from service_process import EXAMPLES, clip
from sound_groove import cli
from sound_groove.archive.indexing import index_archive
from sound_groove.archive.recordings import open_archive
from sound_groove.audio.listening import hear
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import StaleVoiceprintError, StoreError, UsageError
from sound_groove.service import serving
from sound_groove.service.application import build_application
from sound_groove.service.embedding import Embedder
from sound_groove.service.engine import Engine
from sound_groove.service.guard import Guard
from sound_groove.service.keys import KeyRing, add_key, fingerprint, remove_key
from sound_groove.service.limits import Limits
from sound_groove.service.logs import Log
from sound_groove.service.origins import Origins, checked_origin
from sound_groove.types import ModelIdentity
from sound_groove.voiceprints.store.opening import open_store
from sound_groove.voiceprints.store.records import EnrolledRecording, new_id, timestamp
from store_places import SqlitePlace


@dataclass(frozen=True)
class Service:
    """An application in this process."""

    client: TestClient
    engine: Engine
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("application")
    limits = Limits(workers=1, waiting=1)
    store = open_store(folder / "v.db", create=True)
    engine = Engine(store, Embedder.load("pretrained", 1), limits)
    log = folder / "log"
    app = build_application(engine, Guard(None), Log(log))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield Service(client, engine, log)


def error(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return dict(answer.json()["error"])


def test_a_mistake_of_ours_is_told_by_its_number_and_nothing_else(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise RuntimeError("a secret: Zaphod")

    monkeypatch.setattr(service.engine.store, "count", fail)
    answer = service.client.get("/v1/info")
    found = error(answer, 500)
    number = answer.headers["x-request-id"]
    assert found["code"] == "internal" and number in found["message"]
    assert "Zaphod" not in answer.text and "Traceback" not in answer.text
    failure, request = service.lines()[-2:]
    assert failure["event"] == "failure" and failure["id"] == request["id"] == number
    assert failure["error"] == "RuntimeError" and any(
        "test_service_application.py" in place for place in failure["where"]
    )
    assert request["status"] == 500 and request["level"] == "error"
    assert "Zaphod" not in service.log.read_text()


def test_a_store_that_fails_is_told_without_its_place(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[object]:
        raise StoreError("/secret/place/v.db: disk is full")

    monkeypatch.setattr(service.engine.store, "speakers", fail)
    answer = service.client.get("/v1/speakers")
    assert error(answer, 503)["code"] == "store_unavailable" and "secret" not in answer.text
    monkeypatch.setattr(service.engine.store, "revision", fail)
    assert error(service.client.get("/readyz"), 503)["code"] == "store_unavailable"
    assert service.client.get("/healthz").status_code == 200


def test_what_is_heard_and_compared_is_counted_in_the_metrics(service: Service) -> None:
    def counted() -> dict[str, float]:
        lines = service.client.get("/metrics").text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    before = counted()
    assert service.client.post("/v1/compare", files={"a": clip(), "b": clip("rms-1")}).status_code == 200
    after = counted()
    for name, count in (("speech_s", 2), ("snr_db", 2), ("embedding_norm", 2), ("llr", 1)):
        begins, every = f"sound_groove_heard_{name}_bucket", f'sound_groove_heard_{name}_bucket{{le="+Inf"}}'
        ends = [value for key, value in after.items() if key.startswith(begins)]
        assert ends == sorted(ends) and ends[-1] == after[every] == before[every] + count
    assert after["sound_groove_comparisons_total"] == before["sound_groove_comparisons_total"] + 1
    assert after['sound_groove_drift{quantity="snr_db"}'] < 1  # of two recordings nothing can be said
    told = service.client.get("/v1/drift").json()
    assert told["comparisons"] == after["sound_groove_comparisons_total"] and told["drift"]["finding"] == "too few"


def test_a_full_service_says_when_to_come_back(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.engine.admission, "inside", 3)
    answer = service.client.post("/v1/embed", files={"audio": clip()})
    assert error(answer, 429)["message"] == "3 requests are in work or waiting; try again"
    assert answer.headers["retry-after"] == "1"
    assert service.client.get("/v1/speakers").status_code == 200  # what costs little is answered


def test_a_service_that_stops_lets_nobody_in(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.engine.admission, "stopping", True)
    for path in ("/v1/info", "/healthz", "/readyz", "/"):
        answer = service.client.get(path)
        assert error(answer, 503)["code"] == "stopping" and answer.headers["retry-after"] == "1"


def test_a_speaker_of_another_model_is_not_compared(service: Service) -> None:
    embedding = np.zeros(192, np.float32)
    embedding[0] = 1
    recording = EnrolledRecording(new_id(), embedding, "a.wav", "0" * 64, 5.0, 4.0, 20.0, 16000, timestamp())
    service.engine.store.add("Old", [recording], ModelIdentity("old", "f" * 64), None, "test")
    for answer in (
        service.client.post("/v1/verify", data={"name": "Old"}, files={"audio": clip()}),
        service.client.post("/v1/speakers/Old/recordings", files={"audio": clip()}),
    ):
        found = error(answer, 409)
        assert found["code"] == "other_model" and "'Old' was enrolled with model old" in found["message"]
    found = service.client.post("/v1/identify", files={"audio": clip()}).json()
    assert found["others"] == 1 and found["enrolled"] == 0 and found["verdict"] == "nobody"
    assert service.client.delete("/v1/speakers/Old").status_code == 200


def test_a_speaker_whom_others_change_all_the_time_is_a_conflict(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object) -> None:
        raise StaleVoiceprintError("'Kim' was changed")

    monkeypatch.setattr(service.engine.store, "add", stale)
    answer = service.client.post("/v1/speakers/Kim/recordings", files={"audio": clip()})
    assert error(answer, 409)["code"] == "conflict"


def test_a_model_in_torch_embeds_as_it_does_alone(model_path: Path) -> None:
    heard = hear(EXAMPLES / "awb-1.flac")
    embedder = Embedder.load(model_path, 2)

    async def embed() -> list[Any]:
        return list(await asyncio.gather(*(embedder.embed(heard) for _ in range(3))))

    alone = SpeakerEncoder.load(model_path).embed(heard.samples)
    assert all(np.allclose(one.embedding, alone, atol=1e-6) for one in asyncio.run(embed()))
    embedder.close()


def tampered(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def unit(place: int) -> EnrolledRecording:
    """A recording whose embedding is one axis."""
    embedding = np.eye(192, dtype=np.float32)[place]
    return EnrolledRecording(new_id(), embedding, "a.wav", f"{place:064x}", 5.0, 4.0, 20.0, 16000, timestamp())


def test_a_bad_voiceprint_makes_the_service_degraded_and_refuses_one_speaker(service: Service) -> None:
    assert service.client.get("/readyz").json() == {"status": "ok", "left_out": 0, "whole": True}
    store, model = service.engine.store, service.engine.embedder.encoder.identity
    speaker = store.add("Bad", [unit(3)], model, None, "test").id
    tampered(service.log.parent / "v.db", "UPDATE speakers SET coherence = 9 WHERE name = 'Bad'")
    answer = service.client.get("/readyz")
    assert answer.status_code == 200 and answer.json() == {"status": "degraded", "left_out": 1, "whole": True}
    assert "sound_groove_voiceprints_left_out 1.0" in service.client.get("/metrics").text
    answers = [
        service.client.get("/v1/speakers/Bad"),
        service.client.post("/v1/verify", data={"name": "Bad"}, files={"audio": clip()}),
        service.client.post("/v1/speakers/Bad/recordings", files={"audio": clip()}),
    ]
    for answer in answers:
        found = error(answer, 409)
        assert found["code"] == "damaged_voiceprint" and "'Bad' cannot be used" in found["message"]
        assert str(service.log.parent) not in answer.text
    found = service.client.post("/v1/identify", files={"audio": clip()}).json()
    assert found["left_out"] == 1 and "damaged_voiceprint" in [one["code"] for one in found["warnings"]]
    assert speaker in str(found["warnings"])
    assert "Bad" not in [one["name"] for one in service.client.get("/v1/speakers").json()["speakers"]]
    assert service.client.delete("/v1/speakers/Bad").json()["complete"]
    assert service.client.get("/readyz").json()["status"] == "ok"


def test_a_store_that_is_not_there_any_more_is_noticed_before_201_is_answered(service: Service) -> None:
    path = service.log.parent / "v.db"
    away = path.with_name("away.db")
    path.rename(away)
    try:
        answer = service.client.post("/v1/speakers/Gone/recordings", files={"audio": clip()})
        assert error(answer, 503)["code"] == "store_unavailable"
        assert error(service.client.get("/readyz"), 503)["code"] == "store_unavailable"
    finally:
        away.rename(path)
    assert service.client.get("/readyz").json()["status"] == "ok"
    assert service.client.post("/v1/speakers/Gone/recordings", files={"audio": clip()}).status_code == 201
    assert service.client.delete("/v1/speakers/Gone").status_code == 200


@pytest.mark.service
def test_who_asks_does_not_wait_while_changes_wait_for_another_program(tmp_path: Path) -> None:
    store = open_store(tmp_path / "v.db", create=True)
    engine = Engine(store, Embedder.load("pretrained", 1), Limits(workers=1))
    app = build_application(engine, Guard(None), Log(tmp_path / "log"))
    with TestClient(app, base_url="http://127.0.0.1") as client, ThreadPoolExecutor(6) as executor:
        address = "/v1/speakers/kim/recordings"
        enrolment = {"audio": clip()}
        with closing(SqlitePlace(tmp_path / "v.db").hold_up()):
            changes = [executor.submit(client.post, address, files=enrolment)]
            changes += [executor.submit(client.delete, f"/v1/speakers/nobody{number}") for number in range(5)]
            time.sleep(0.5)
            began = time.monotonic()
            for path in ("/readyz", "/v1/info", "/v1/speakers", "/v1/audit", "/v1/speakers?after=a"):
                assert client.get(path).status_code == 200
            found = client.post("/v1/identify", files={"audio": clip("rms-1")})
            assert found.status_code == 200 and found.json()["verdict"] == "nobody"
            assert time.monotonic() - began < 10.0 and not any(change.done() for change in changes)
        assert [change.result(timeout=30).status_code for change in changes] == [201, *[404] * 5]


@pytest.mark.service
def test_a_service_starts_with_a_bad_voiceprint_and_its_log_says_so(tmp_path: Path) -> None:
    store, embedder = open_store(tmp_path / "v.db", create=True), Embedder.load("pretrained", 1)
    speaker = store.add("Zaphod", [unit(1)], embedder.encoder.identity, None, "test").id
    tampered(tmp_path / "v.db", "UPDATE speakers SET centroid = zeroblob(32)")
    store.notices.append("a removal, which had been left incomplete, is finished")
    app = build_application(Engine(store, embedder, Limits(workers=1)), Guard(None), Log(tmp_path / "log"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/readyz").json()["status"] == "degraded"
    log = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"event": "left_out", "count": 1, "speakers": [speaker]}.items() <= lines[1].items()
    assert lines[0]["event"] == "store" and "is finished" in lines[0]["message"] and "Zaphod" not in log


def test_a_key_beyond_its_limits_is_told_when_to_try_again_and_the_log_tells_of_refused_keys(
    service: Service, tmp_path: Path
) -> None:
    """The engine, its worker and its model are those of the other tests; guard, accounts and log are new."""
    keys, log = tmp_path / "keys.json", tmp_path / "log"
    busy = add_key(keys, "busy", "read", requests_a_minute=2)
    long = add_key(keys, "long", "read", audio_s_a_minute=1.0)
    app = build_application(service.engine, Guard(KeyRing(keys)), Log(log))
    client = TestClient(app, base_url="http://127.0.0.1")  # without its life: the engine runs

    def asked(key: str, path: str = "/v1/info") -> Any:
        return client.get(path, headers={"authorization": f"Bearer {key}"})

    assert [asked(busy).status_code for _ in range(3)] == [200, 200, 429]
    refused = asked(busy, "/v1/speakers")  # all addresses share the account
    assert error(refused, 429)["code"] == "over_requests" and 1 <= int(refused.headers["retry-after"]) <= 30
    assert asked(long).json()["caller"]["audio_s_a_minute"] == 1.0
    assert error(asked(busy, "/v1/audit"), 403)["code"] == "scope"
    assert error(asked("sg_wrong"), 401)["code"] == "unknown_key"
    remove_key(keys, "busy")
    assert error(asked(busy), 401)["code"] == "removed_key"
    ended = add_key(keys, "ended", "read", expires="2026-01-31")
    assert error(asked(ended), 401)["message"] == "this API key expired at 2026-01-31T00:00:00+00:00"
    text = log.read_text()
    assert busy not in text and long not in text and "sg_wrong" not in text
    told = [
        (line["key"], line.get("unknown_key", ""), line.get("code", "")) for line in map(json.loads, text.splitlines())
    ]
    assert told[2:] == [
        ("busy", "", "over_requests"),
        ("busy", "", "over_requests"),
        ("long", "", ""),
        ("busy", "", "scope"),
        ("", fingerprint("sg_wrong"), "unknown_key"),
        ("busy", "", "removed_key"),
        ("ended", "", "expired_key"),
    ]
    counted = asked(long, "/metrics").text
    assert 'sound_groove_refused_keys_total{code="over_requests"} 2.0' in counted
    assert 'sound_groove_refused_keys_total{code="unknown_key"} 1.0' in counted


APP, OTHER = "https://app.example.org", "https://other.example.org"


@pytest.fixture
def with_origins(service: Service, tmp_path: Path) -> Iterator[TestClient]:
    """The application for pages of one other place, with keys."""
    keys = tmp_path / "keys.json"
    key = add_key(keys, "app", "read")
    guard = Guard(KeyRing(keys), origins=Origins.of([f"{APP}:443"]))
    app = build_application(service.engine, guard, Log(tmp_path / "log"))
    # Without entering it: the engine is another test's, and is to run on.
    yield TestClient(app, base_url="http://127.0.0.1", headers={"authorization": f"Bearer {key}"})


def test_a_page_of_a_named_origin_may_ask_and_no_other(with_origins: TestClient) -> None:
    foreign = {"origin": APP, "sec-fetch-site": "cross-site"}
    answer = with_origins.get("/v1/speakers", headers=foreign)
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["vary"] == "origin" and "access-control-allow-credentials" not in answer.headers
    assert "retry-after" in answer.headers["access-control-expose-headers"]
    keyless = with_origins.get("/v1/speakers", headers={**foreign, "authorization": ""})
    assert error(keyless, 401)["code"] == "no_key"  # which the page can read, too
    assert keyless.headers["access-control-allow-origin"] == APP
    for origin in (OTHER, "null", APP.upper(), f"{APP}:8443", f"{APP}.evil.test"):
        refused = with_origins.get("/v1/speakers", headers={**foreign, "origin": origin})
        assert error(refused, 403)["code"] == "cross_origin" and refused.headers["vary"] == "origin"
        assert "access-control-allow-origin" not in refused.headers
    plain = with_origins.get("/v1/speakers")  # a program
    assert plain.status_code == 200 and "access-control-allow-origin" not in plain.headers


def test_a_browser_that_asks_first_is_told_what_a_page_may_ask(with_origins: TestClient, service: Service) -> None:
    asked = {"origin": APP, "access-control-request-method": "DELETE"}
    answer = with_origins.options("/v1/speakers/Kim", headers={**asked, "authorization": ""})
    assert answer.status_code == 204 and answer.content == b""
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-headers"] == "authorization"
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert with_origins.options("/v1/speakers/Kim", headers={**asked, "origin": OTHER}).status_code == 403
    assert with_origins.options("/v1/speakers/Kim", headers={"origin": APP}).status_code == 405  # no such question
    off = service.client.options("/v1/speakers/Kim", headers=asked)
    assert error(off, 403)["code"] == "cross_origin" and "vary" not in off.headers


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "",
        "app.example.org",
        "https://app.example.org/",
        "https://app.example.org/x",
        "ftp://a",
        "https://a b",
    ],
)
def test_what_is_no_origin_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="every web page" if text in ("*", "null") else "is no origin") as refused:
        checked_origin(text)
    assert "https://app.example.org" in str(refused.value)


def test_every_address_that_takes_a_key_describes_that_it_may_be_over_its_limits(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    limited = {path for path, kinds in paths.items() for kind in kinds.values() if "429" in kind["responses"]}
    assert limited == set(paths) - {"/healthz", "/readyz"}
    assert "Retry-After" in paths["/v1/info"]["get"]["responses"]["429"]["headers"]


def test_a_voice_is_found_in_the_archive_by_name_and_by_recordings(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = {"audio": clip("awb-2")}
    found = error(service.client.post("/v1/find", files=audio), 404)
    assert found["code"] == "no_archive" and "--archive INDEX" in found["message"]
    (tmp_path / "talks" / "monday").mkdir(parents=True)
    for name in ("awb-1.flac", "rms-1.flac"):
        (tmp_path / "talks" / "monday" / name).write_bytes((EXAMPLES / name).read_bytes())
    encoder = service.engine.embedder.encoder
    monkeypatch.setattr(
        service.engine, "archives", (open_archive(index_archive(tmp_path / "talks", model=encoder).path),)
    )
    answer = service.client.post("/v1/find", files=audio, data={"per_hour": "10"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [one["recording"] for one in told["stretches"]] == ["monday/awb-1.flac"] and told["name"] is None
    assert str(tmp_path) not in answer.text and told["per_hour"] == 10 and told["recordings"] == 2

    enrolled = service.client.post("/v1/speakers/finn/recordings", files=audio, data={"force": "true"})
    assert enrolled.status_code == 201
    by_name = service.client.post("/v1/find", files={"name": (None, "finn"), "stretches": (None, "1")}).json()
    assert by_name["name"] == "finn" and by_name["stretches"][0]["recording"] == "monday/awb-1.flac"
    for fields, status, code in (
        ({"name": "nobody"}, 404, "unknown_speaker"),
        ({}, 400, "malformed"),
        ({"name": "finn", "per_hour": "0"}, 400, "malformed"),
        ({"name": "finn", "stretches": "0"}, 400, "malformed"),
        ({"name": "finn", "top": "3"}, 400, "malformed"),
    ):
        parts = {name: (None, value) for name, value in fields.items()} or {"channel": (None, "1")}
        assert error(service.client.post("/v1/find", files=parts), status)["code"] == code
    both = service.client.post("/v1/find", files=audio, data={"name": "finn"})
    assert "either 'name'" in error(both, 400)["message"]
    broken = {"audio": ("a.wav", b"nothing", "audio/wav")}
    assert error(service.client.post("/v1/find", files=broken), 422)["code"] == "unusable_recording"
    assert service.client.delete("/v1/speakers/finn").status_code == 200


# Live voices.

LISTEN = "ws://127.0.0.1/v1/listen"  # the client knows no other host by itself


def live(service: Service, *messages: dict[str, Any] | bytes | str) -> list[Any]:
    """What is answered until the connection is closed, and the code with which it is."""
    found = list[Any]()
    with service.client.websocket_connect(LISTEN) as socket:
        for message in messages:
            if isinstance(message, bytes):
                socket.send_bytes(message)
            else:
                socket.send_text(message if isinstance(message, str) else json.dumps(message))
        try:
            while True:
                found.append(json.loads(socket.receive_text()))
        except WebSocketDisconnect as left:
            return [*found, left.code]


@pytest.fixture
def anna(service: Service) -> Iterator[str]:
    """Somebody who is enrolled."""
    recording = {"audio": clip("awb-2")}
    assert service.client.post("/v1/speakers/anna/recordings", files=recording, data={"force": "1"}).status_code == 201
    yield "anna"
    service.client.delete("/v1/speakers/anna")


def test_a_voice_is_heard_live(service: Service, anna: str) -> None:
    samples = (load_audio(EXAMPLES / "awb-1.flac") * 32767).astype("<i2").tobytes()
    pieces = [samples[start : start + 3201] for start in range(0, len(samples), 3201)]  # half samples among them
    *events, code = live(service, {"names": [anna], "max_false_accept": 0.05}, *pieces, "")
    assert code == 1000 and [event["kind"] for event in events][-1] == "end"
    verdict = next(event for event in events if event["kind"] == "verdict")
    assert verdict["name"] == anna and verdict["speech_s"] < 4 and verdict["candidates"][0]["llr"] > 0
    assert events[-1]["time_s"] == pytest.approx(len(samples) / 32000, abs=0.01)
    line = next(line for line in reversed(service.lines()) if line.get("route") == "/v1/listen")
    assert line["status"] == 101 and line["bytes"] == len(samples) and line["audio_s"] > 5


@pytest.mark.parametrize(
    ("first", "code", "words"),
    [
        ("no json", "malformed", "is JSON"),
        ("[]", "malformed", "is an object"),
        (b"abc", "malformed", "is text"),
        ({"names": []}, "malformed", "1 to 20 names"),
        ({"names": [1]}, "malformed", "are texts"),
        ({"names": ["x"], "rate": "16000"}, "malformed", "whole number"),
        ({"names": ["x"], "rate": 5}, "malformed", "a rate lies between"),
        ({"names": ["x"], "prior": "high"}, "malformed", "are numbers"),
        ({"names": ["x"], "top": 3}, "malformed", "names, rate"),
        ({"names": ["nobody"]}, "unknown_speaker", "nobody is enrolled"),
        ({"names": ["anna"], "max_false_accept": 2}, "malformed", "between 0 and 1"),
        ({"names": ["anna", "anna"]}, "malformed", "a name of its own"),
        ("x" * 20_000, "malformed", "too long"),
    ],
)
def test_what_is_not_understood_is_told_and_the_connection_closed(
    service: Service, anna: str, first: Any, code: str, words: str
) -> None:
    told, closed = live(service, first)
    assert told["error"]["code"] == code and words in told["error"]["message"] and closed == 1008


def refused(client: TestClient, **headers: str) -> str:
    """Why a connection is not accepted."""
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect(LISTEN, headers=headers):
        pass
    assert caught.value.code == 1008
    return caught.value.reason


def test_a_live_connection_has_limits_of_its_own(service: Service, anna: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = {"names": [anna]}, bytes(32_000)
    limits = service.engine.limits
    monkeypatch.setattr(service.engine, "limits", replace(limits, listening_s=1.5))
    *_, told, closed = live(service, first, second, second)
    assert told["error"]["code"] == "too_long" and "1.5 s of sound" in told["error"]["message"] and closed == 1008
    monkeypatch.setattr(service.engine, "limits", replace(limits, listening_bytes=100))
    *_, told, closed = live(service, first, second)
    assert told["error"]["code"] == "too_long" and "100 bytes" in told["error"]["message"]
    monkeypatch.setattr(service.engine, "limits", replace(limits, reading_s=0.05))
    *_, told, closed = live(service, first)
    assert told["error"]["code"] == "too_slow"
    monkeypatch.setattr(service.engine, "limits", replace(limits, listeners=1))
    with service.client.websocket_connect(LISTEN) as socket:
        assert refused(service.client) == "too_many_listeners"
        socket.close()
    monkeypatch.setattr(service.engine.admission, "stopping", True)
    assert refused(service.client) == "stopping"


def test_another_site_and_a_host_that_is_not_ours_may_not_listen(service: Service) -> None:
    for headers, code in (({"origin": "https://a.example"}, "cross_origin"), ({"host": "a.example"}, "unknown_host")):
        assert refused(service.client, **headers) == code
        line = next(line for line in reversed(service.lines()) if line.get("route") == "/v1/listen")
        assert line["code"] == code


@pytest.mark.slow
def test_a_live_connection_needs_a_key_where_there_are_keys(tmp_path: Path) -> None:
    ring = tmp_path / "keys.json"
    engine = Engine(open_store(tmp_path / "v.db", create=True), Embedder.load("pretrained", 1), Limits(workers=1))
    token = add_key(ring, "page", "read")
    app = build_application(engine, Guard(KeyRing(ring)), Log(tmp_path / "log"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert refused(client) == "no_key" and refused(client, authorization="Bearer wrong") == "unknown_key"
        with client.websocket_connect(LISTEN, headers={"authorization": f"Bearer {token}"}) as socket:
            socket.send_text(json.dumps({"names": ["nobody"]}))
            assert json.loads(socket.receive_text())["error"]["code"] == "unknown_speaker"


def test_each_option_of_serve_is_the_limit_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Limits] = []
    monkeypatch.setattr(serving, "serve", lambda *words, limits, **named: given.append(limits))
    options = {
        "--workers": 3, "--waiting": 5, "--max-upload": 7, "--max-duration": 11, "--max-decode": 13,
        "--max-recordings": 17, "--who-upload": 19, "--who-duration": 23, "--who-jobs": 29, "--who-waiting": 31,
        "--who-kept": 37, "--listeners": 41, "--listen-duration": 43, "--read-timeout": 47, "--grace": 53,
    }  # fmt: skip
    assert cli.main(["serve", *(str(word) for pair in options.items() for word in pair)]) == 0
    assert cli.main(["serve"]) == 0
    expected = Limits(
        workers=3, waiting=5, upload_bytes=7_000_000, duration_s=11, decode_s=13, recordings=17,
        who_upload_bytes=19_000_000, who_duration_s=23, who_jobs=29, who_waiting=31, who_kept_s=37, listeners=41,
        listening_s=43, reading_s=47, grace_s=53,
    )  # fmt: skip
    assert given == [expected, Limits()]
