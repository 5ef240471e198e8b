"""The service as a program meets it: every address, every refusal, and what the log and the metrics say of it."""

import json
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import soundfile

from broken_audio import encode, hum
from processes import modules_after
from service_process import EXAMPLES, ServiceProcess, clip, until
from sound_groove.audio.reading import load_audio
from sound_groove.comparison import compare
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.scoring.decision import DecisionRule
from sound_groove.service.keys import add_key, remove_key

pytestmark = pytest.mark.service

NAMES = ["a/recordings", "a/../c", "%", "%2F", "?x=1", "日本", 'O\'Neil "x"', "a b+#;", "Zoë", "a" * 200]


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def kim(client: httpx.Client) -> Iterator[str]:
    """A speaker who is enrolled for the length of a test."""
    answer = client.post("/v1/speakers/Kim/recordings", files=[("audio", clip("awb-1")), ("audio", clip("awb-2"))])
    assert answer.status_code == 201, answer.text
    yield "Kim"
    client.delete("/v1/speakers/Kim")


def brief(name: str) -> tuple[str, bytes]:
    """The first three seconds of an example, which cost less to embed."""
    return (f"{name}.flac", encode(load_audio(EXAMPLES / f"{name}.flac")[:48000], kind="flac"))


def error(answer: httpx.Response, status: int) -> dict[str, object]:
    """What a refusal says."""
    assert answer.status_code == status, answer.text
    found = answer.json()["error"]
    assert set(found) == {"code", "message", "problems", "refusals", "request_id"}
    assert (
        "\n" not in found["message"]
        and "Traceback" not in answer.text
        and found["message"][0] == found["message"][0].lower()
    )
    assert found["request_id"] == answer.headers["x-request-id"]
    return dict(found)


def refusals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Which recordings were refused, and why."""
    return list(found["refusals"])


def address(name: str) -> str:
    return f"/v1/speakers/{quote(name, safe='')}"


# --- answers ---


def test_a_comparison_is_that_of_the_library(client: httpx.Client) -> None:
    ours = compare(
        EXAMPLES / "awb-1.flac", EXAMPLES / "rms-1.flac", SpeakerEncoder.load("pretrained", threads=1), prior=0.1
    )
    answer = client.post("/v1/compare", files={"a": clip("awb-1"), "b": clip("rms-1")}, data={"prior": "0.1"})
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json() == json.loads(json.dumps(ours.as_dict()))


def test_an_embedding_is_that_of_the_library(client: httpx.Client) -> None:
    ours = SpeakerEncoder.load("pretrained", threads=1).embed(EXAMPLES / "slt-1.flac")
    found = client.post("/v1/embed", files={"audio": clip("slt-1")}).json()
    assert np.array_equal(np.array(found["embedding"], np.float32), ours)
    assert set(found) == {"embedding", "model", "audio", "warnings"}


def test_warnings_name_the_recording_by_its_field(client: httpx.Client) -> None:
    narrow = encode(hum(3.0), rate=8000)
    found = client.post("/v1/compare", files={"a": clip(), "b": ("secret.wav", narrow)}).json()
    assert found["verdict"] == "inconclusive"
    assert {"narrow_band", "too_little_speech"} <= {warning["code"] for warning in found["warnings"]}
    assert all(one["message"].startswith("b: ") for one in found["warnings"] if one["code"] != "outside_calibration")


def test_a_channel_is_chosen_by_a_field_and_without_one_a_call_gets_no_verdict(client: httpx.Client) -> None:
    one, other = (soundfile.read(EXAMPLES / f"{name}.flac", dtype="float32")[0] for name in ("rms-1", "awb-1"))
    length = min(len(one), len(other))
    call = ("call.wav", encode(np.stack([one[:length], other[:length]], axis=1)))
    found = client.post("/v1/compare", files={"a": call, "b": call}).json()
    assert found["verdict"] == "inconclusive" and found["probability"] < 1.0
    assert {"channels_differ", "same_audio"} <= {warning["code"] for warning in found["warnings"]}
    chosen = client.post("/v1/compare", files={"a": call, "b": clip("rms-2")}, data={"channel": "1"})
    assert chosen.json()["verdict"] == "same"
    first = client.post("/v1/embed", files={"audio": call}, data={"channel": "1"}).json()
    expected = SpeakerEncoder.load("pretrained", threads=1).embed(one[:length])
    assert float(np.dot(first["embedding"], expected)) > 0.9999 and first["warnings"] == []
    lacking = client.post("/v1/embed", files={"audio": call}, data={"channel": "3"})
    assert (lacking.status_code, lacking.json()["error"]["message"]) == (422, "audio: there is no channel 3: it has 2")
    for wrong in ("0", "65", "two", "-1"):
        assert client.post("/v1/embed", files={"audio": call}, data={"channel": wrong}).status_code == 400


def test_a_recording_is_looked_at_without_being_embedded(client: httpx.Client) -> None:
    voice = load_audio(EXAMPLES / "awb-1.flac")
    pause = np.random.default_rng(0).normal(0, 1e-4, 4 * 16000).astype(np.float32)
    sent = ("pause.wav", encode(np.concatenate([voice, pause, voice])))
    answer = client.post("/v1/inspect", files={"audio": sent})
    assert answer.status_code == 200, answer.text
    found, first_s, pause_s = answer.json(), len(voice) / 16000, 4.0
    embedded = client.post("/v1/embed", files={"audio": sent}).json()
    assert found["audio"] == {**embedded["audio"], "embedding_norm": None} and found["warnings"] == embedded["warnings"]
    spoken_s = sum(end - start for start, end in found["speech_spans"])
    assert spoken_s == pytest.approx(found["audio"]["speech_s"], abs=0.1)
    assert all(end <= first_s or start >= first_s + pause_s for start, end in found["speech_spans"])
    (_, left_out_from), (left_out_to, end) = found["kept_spans"]  # half a second is kept on each side of the speech
    assert first_s < left_out_from < first_s + 1 < first_s + pause_s - 1 < left_out_to < first_s + pause_s
    assert end == pytest.approx(found["audio"]["duration_s"], abs=0.01)
    assert error(client.post("/v1/inspect", files={"audio": ("x.wav", b"x")}), 422)["code"] == "unusable_recording"


def test_of_a_recording_with_two_voices_the_one_that_is_asked_for_is_enrolled(client: httpx.Client) -> None:
    parts = [load_audio(EXAMPLES / f"{name}.flac") for name in ("awb-1", "rms-1")]
    both = ("both.flac", encode(np.concatenate(parts), kind="flac"))
    compared = client.post("/v1/compare", files={"a": both, "b": clip("awb-2")}).json()
    (warning,) = [one for one in compared["warnings"] if one["code"] == "several_voices"]
    assert warning["message"].startswith("a: 2 voices are heard in it, voice 1 from ")
    path = f"{address('Two')}/recordings"
    found = error(client.post(path, files={"audio": both}), 422)
    assert found["code"] == "refused_enrolment" and "voice=N, or all with force=true" in str(found["message"])
    (several,) = refusals(found)
    assert several["code"] == "several_voices" and len(several["values"]["voices"]) == 2
    start_s, end_s = several["values"]["voices"][0][0]
    assert f"voice 1 from {start_s:.1f} to {end_s:.1f} s" in several["reason"]
    for wrong in ("0", "-1", "one"):
        assert error(client.post(path, files={"audio": both}, data={"voice": wrong}), 400)["code"] == "malformed"
    lacking = error(client.post(path, files={"audio": both}, data={"voice": "3"}), 422)
    assert "has no voice 3: 2 voices" in str(lacking["message"]) and "--" not in str(lacking["message"])
    try:
        done = client.post(path, files={"audio": both}, data={"voice": "2"})
        assert done.status_code == 201 and 4 < done.json()["speaker"]["speech_s"] < 6.5, done.text
        assert [one["code"] for one in done.json()["warnings"]] == ["several_voices"]
    finally:
        client.delete(address("Two"))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_characters_is_enrolled_shown_verified_and_forgotten(client: httpx.Client, name: str) -> None:
    answer = client.post(f"{address(name)}/recordings", files={"audio": brief("kal16-1")})
    assert answer.status_code == 201, answer.text
    assert answer.json()["speaker"]["name"] == name and answer.json()["added"] == 1
    try:
        shown = client.get(address(name))
        assert shown.json()["speaker"] == answer.json()["speaker"]
        assert [one["source"] for one in shown.json()["recordings"]] == ["kal16-1.flac"]
        assert set(shown.json()["recordings"][0]) == {
            "id", "source", "duration_s", "speech_s", "snr_db", "sample_rate", "enrolled_at", "with_audio",
            "embedding_norm",
        }  # fmt: skip
        verified = client.post("/v1/verify", data={"name": name}, files={"audio": brief("kal16-2")})
        assert verified.json()["verdict"] == "same"
        assert name in [one["name"] for one in client.get("/v1/speakers").json()["speakers"]]
    finally:
        removed = client.delete(address(name))
    assert removed.json()["speaker"]["name"] == name and removed.json()["complete"] is True
    assert error(client.get(address(name)), 404)["code"] == "unknown_speaker"


def test_identification_names_who_is_enrolled_or_nobody_and_follows_the_store(client: httpx.Client) -> None:
    def ask(name: str, **fields: str) -> dict[str, object]:
        answer = client.post("/v1/identify", files={"audio": brief(name)}, data=fields)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    assert ask("rms-2")["verdict"] == "nobody"
    for speaker, name in (("Rob", "rms-1"), ("Sue", "slt-1")):
        assert client.post(f"{address(speaker)}/recordings", files={"audio": clip(name)}).status_code == 201
    found = ask("rms-2", top="1", prior="0.9")
    assert found["verdict"] == "identified" and found["speaker"] == "Rob" and found["prior"] == 0.9
    assert len(found["candidates"]) == 1 and found["enrolled"] == 2  # type: ignore[arg-type]
    assert ask("kal16-1")["speaker"] is None
    client.delete(address("Rob"))
    assert ask("rms-2")["speaker"] is None
    client.delete(address("Sue"))
    for top in ("0", "301", "-1", "x", "1.5", "9999999999999"):
        answer = client.post("/v1/identify", files={"audio": brief("rms-2")}, data={"top": top})
        assert "'top'" in str(error(answer, 400)["message"])


def test_recordings_are_added_to_a_speaker_and_audio_is_kept_on_demand(client: httpx.Client, kim: str) -> None:
    answer = client.post(
        f"/v1/speakers/{kim}/recordings",
        files={"audio": ("a.flac", (EXAMPLES / "slt-1.flac").read_bytes())},
        data={"force": "true", "keep_audio": "true"},
    )
    assert answer.status_code == 201 and answer.json()["speaker"]["recordings"] == 3
    assert answer.json()["speaker"]["with_audio"] == 1


def test_speakers_are_listed_page_by_page_in_order(client: httpx.Client) -> None:
    names = ["p1", "p2", "p3"]
    for name in names:
        assert client.post(f"{address(name)}/recordings", files={"audio": clip("rms-2")}).status_code == 201
    found, after = [], "p"
    while after is not None:
        page = client.get("/v1/speakers", params={"after": after, "limit": 2}).json()
        assert len(page["speakers"]) <= 2
        found += [one["name"] for one in page["speakers"]]
        after = page["next"]
    assert found[:3] == names
    for name in names:
        client.delete(address(name))


def test_the_audit_trail_tells_what_was_done_and_names_nobody(client: httpx.Client, kim: str) -> None:
    last = client.get(f"/v1/speakers/{kim}").json()["speaker"]
    client.delete(f"/v1/speakers/{kim}")
    page = client.get("/v1/audit", params={"after": last["version"] - 1, "limit": 1}).json()
    assert page["next"] == last["version"]
    events = client.get("/v1/audit", params={"after": last["version"] - 1}).json()["events"]
    assert [event["action"] for event in events] == ["enrolled", "removed"]
    assert {event["speaker_id"] for event in events} == {last["id"]} and {event["actor"] for event in events} == {
        "local"
    }
    assert kim not in json.dumps(events)


def test_the_service_says_what_it_is(client: httpx.Client, kim: str) -> None:
    found = client.get("/v1/info").json()
    assert found["model"]["name"] == "pretrained" and found["embedding_size"] == 192 and found["speakers"] >= 1
    assert found["terms"]["licence"].startswith("weights: Apache-2.0") and found["terms"]["use"] == ""
    assert found["terms"]["trained_on"].startswith("15 h of speech of small public collections")
    assert found["caller"] == {
        "name": "local", "scope": "admin", "requests_a_minute": None, "audio_s_a_minute": None
    }  # fmt: skip
    of_who = {"upload_bytes": 60_000_000, "duration_s": 3600.0, "wait_s": 10.0, "kept_s": 600.0}
    of_one = {"upload_bytes": 25_000_000, "duration_s": 600.0, "decode_s": 10.0, "recordings": 20}
    assert found["limits"] == {**of_one, "who": of_who}
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "left_out": 0, "whole": True}
    assert client.head("/healthz").status_code == client.head("/readyz").status_code == 200


def test_the_page_is_served_with_headers_that_bind_a_browser(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "http" not in policy
    assert "microphone=(self)" in answer.headers["permissions-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
    assert "server" not in answer.headers
    assert client.get("/page/index.html").status_code == 200
    for way_out in ("/page/../keys.py", "/page/%2e%2e/keys.py", "/page/..%2fkeys.py", "/page//etc/passwd"):
        assert client.get(way_out).status_code == 404, way_out


def test_the_description_has_every_address_examples_and_nothing_from_elsewhere(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()
    assert {
        "/v1/compare", "/v1/embed", "/v1/verify", "/v1/identify", "/v1/speakers", "/v1/speakers/{name}",
        "/v1/speakers/{name}/recordings", "/v1/who", "/v1/who/{job}", "/v1/info", "/v1/audit",
        "/healthz", "/readyz", "/metrics",
    } <= set(description["paths"])  # fmt: skip
    for path, operations in description["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            refusals = {status for status in operation["responses"] if status >= "400"}
            assert {"403", "421", "503"} <= refusals and ("422" in refusals) == ("requestBody" in operation), path
    assert "HTTPValidationError" not in str(description)
    assert description["paths"]["/v1/compare"]["post"]["responses"]["413"]["content"]["application/json"]["example"]
    assert "reference.js" in client.get("/docs").text and client.get("/redoc").status_code == 404


# --- refusals ---


@pytest.mark.parametrize(
    ("content", "complaint", "code", "values"),
    [
        (b"", "is empty", "empty", {}),
        (b"speaker one said this\n" * 100, "is not audio", "not_audio", {}),
        (encode(hum(1.0))[:9000], "is truncated", "damaged", {}),
        (encode(hum(0.05)), "lasts 0.050 s", "too_short", {"length_s": 0.05, "least_s": 0.1}),
        (encode(np.zeros(16000, np.float32)), "is digital silence", "silent", {}),
        (encode(np.full(16000, np.nan, np.float32), subtype="FLOAT"), "NaN", "unusable", {}),
    ],
)
def test_audio_that_cannot_be_used_is_refused_by_its_field(
    client: httpx.Client, content: bytes, complaint: str, code: str, values: dict[str, float]
) -> None:
    answer = client.post("/v1/compare", files={"a": clip(), "b": ("speech.wav", content)})
    found = error(answer, 422)
    assert (
        found["code"] == "unusable_recording"
        and str(found["message"]).startswith("b: ")
        and complaint in str(found["message"])
    )
    assert "speech.wav" not in answer.text
    (refused,) = answer.json()["error"]["refusals"]
    assert (refused["recording"], refused["code"], refused["values"]) == ("b", code, values)
    assert f"b: {refused['reason']}" == found["message"]


def test_all_unusable_recordings_are_told_at_once(client: httpx.Client) -> None:
    found = error(client.post("/v1/compare", files={"a": ("a.wav", b"x"), "b": ("b.wav", b"")}), 422)
    assert len(found["problems"]) == 2  # type: ignore[arg-type]
    assert [(one["recording"], one["code"]) for one in refusals(found)] == [("a", "not_audio"), ("b", "empty")]


def test_a_voice_that_does_not_fit_is_not_enrolled(client: httpx.Client, kim: str) -> None:
    found = error(client.post(f"/v1/speakers/{kim}/recordings", files={"audio": clip("slt-1")}), 422)
    assert found["code"] == "refused_enrolment"
    assert "slt-1.flac: does not sound like the others" in str(found["message"]) and "force=true" in str(
        found["message"]
    )
    again = error(client.post(f"/v1/speakers/{kim}/recordings", files={"audio": clip("awb-1")}), 422)
    assert "enrolled already" in str(again["message"])
    (odd,) = refusals(found)
    (known,) = refusals(again)
    assert (odd["recording"], odd["code"], known["code"]) == ("slt-1.flac", "other_voice", "enrolled_already")
    assert f"(score {odd['values']['score']:.3f}, llr {odd['values']['llr']:.2f})" in odd["reason"]
    assert client.get(f"/v1/speakers/{kim}").json()["speaker"]["recordings"] == 2


def test_the_rule_of_a_verdict_is_that_of_the_library(client: httpx.Client) -> None:
    encoder, files = SpeakerEncoder.load("pretrained", threads=1), {"a": clip("awb-1"), "b": clip("awb-2")}
    verdicts = set()
    for rule in ({"max_false_accept": 1e-9}, {"false_accept": 50.0, "inconclusive": 0.1}, {"max_false_reject": 0.2}):
        found = client.post("/v1/compare", files=files, data=rule).json()
        expected = compare(EXAMPLES / "awb-1.flac", EXAMPLES / "awb-2.flac", encoder, rule=DecisionRule(**rule))
        assert found["limits"] == list(expected.limits) and found["verdict"] == expected.verdict
        verdicts.add(found["verdict"])
    assert verdicts == {"same", "inconclusive"}
    for field, value in (("max_false_accept", "1"), ("false_reject", "-1"), ("inconclusive", "nan"), ("prior", "x")):
        assert error(client.post("/v1/compare", files=files, data={field: value}), 400)["code"] == "malformed"


@pytest.mark.parametrize("prior", ["0", "1", "-1", "nan", "inf", "x", ""])
def test_a_prior_that_is_none_is_refused(client: httpx.Client, prior: str) -> None:
    answer = client.post("/v1/compare", files={"a": clip(), "b": clip()}, data={"prior": prior})
    assert "prior" in str(error(answer, 400)["message"])


@pytest.mark.parametrize("name", [" Kim", "a\nb", "a\x00b", "\u202eKim", "a" * 201, "a" * 10_000, "\ufeff"])
def test_a_name_that_may_not_be_is_refused_wherever_it_stands(client: httpx.Client, name: str) -> None:
    for answer in (
        client.get(address(name)),
        client.delete(address(name)),
        client.post(f"{address(name)}/recordings", files={"audio": clip()}),
        client.post("/v1/verify", files={"audio": clip()}, data={"name": name}),
    ):
        assert "a speaker" in str(error(answer, 400)["message"])


def test_what_is_not_utf8_is_no_name(client: httpx.Client) -> None:
    assert "not UTF-8" in str(error(client.get("/v1/speakers/%FF"), 400)["message"])


def test_an_unknown_speaker_is_told_so(client: httpx.Client) -> None:
    for answer in (
        client.get(address("Nobody")),
        client.delete(address("Nobody")),
        client.post("/v1/verify", files={"audio": clip()}, data={"name": "Nobody"}),
    ):
        assert error(answer, 404)["message"] == "nobody is enrolled as 'Nobody'; GET /v1/speakers lists who is"


def test_malformed_requests_are_told_what_is_missing(client: httpx.Client) -> None:
    assert "no recording 'b'" in str(error(client.post("/v1/compare", files={"a": clip()}), 400)["message"])
    assert "no field 'name'" in str(error(client.post("/v1/verify", files={"audio": clip()}), 400)["message"])
    assert error(client.post("/v1/embed", json={"audio": 1}), 415)["code"] == "unsupported_media_type"
    assert "'limit'" in str(error(client.get("/v1/speakers", params={"limit": "0"}), 400)["message"])
    assert error(client.get("/v1/nothing"), 404)["code"] == "not_found"
    wrong = client.put("/v1/compare")
    assert error(wrong, 405)["code"] == "method_not_allowed" and wrong.headers["allow"] == "POST"
    assert client.put("/v1/speakers/a%2Fb").headers["allow"] == "DELETE, GET"
    assert client.post("/").headers["allow"] == "GET"
    assert client.post("/healthz").headers["allow"] == client.post("/readyz").headers["allow"] == "GET, HEAD"
    many = [("audio", clip())] * 21
    assert "20 times" in str(error(client.post("/v1/speakers/Kim/recordings", files=many), 400)["message"])


def test_an_upload_too_large_is_refused_and_the_answer_arrives(client: httpx.Client) -> None:
    declared = client.post("/v1/embed", files={"audio": ("a.wav", bytes(26_000_000))})
    assert error(declared, 413)["message"] == "a request may have 25 MB in all; send less audio, or as flac"

    def chunks() -> Iterator[bytes]:
        yield b'--XX\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
        for _ in range(300):
            yield bytes(100_000)

    chunked = client.post("/v1/embed", content=chunks(), headers={"content-type": "multipart/form-data; boundary=XX"})
    assert error(chunked, 413)["code"] == "upload_too_large"
    assert client.get("/healthz").status_code == 200


def test_a_name_rebound_to_this_machine_and_pages_of_other_sites_are_refused(client: httpx.Client) -> None:
    assert error(client.get("/v1/speakers", headers={"host": "evil.test"}), 421)["code"] == "unknown_host"
    for headers in ({"origin": "https://evil.test"}, {"sec-fetch-site": "cross-site"}):
        answer = client.post("/v1/compare", files={"a": clip(), "b": clip()}, headers=headers)
        assert error(answer, 403)["code"] == "cross_origin"
        assert "access-control-allow-origin" not in answer.headers
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


def talk(service: ServiceProcess, sent: bytes) -> bytes:
    """What a connection answers to these bytes, until it is closed."""
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(sent)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /v1/speakers/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"A" * 100_000,
    ],
)
def test_what_is_no_http_is_refused_by_the_server(service: ServiceProcess, sent: bytes) -> None:
    assert talk(service, sent).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_leaves_in_the_middle_harms_nobody(service: ServiceProcess, client: httpx.Client) -> None:
    host, port = service.address.removeprefix("http://").split(":")
    for begun in (b"", b"--XX\r\nContent-Disposition: form-data; name=audio\r\n\r\n123"):
        with socket.create_connection((host, int(port))) as connection:
            head = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
            connection.sendall(head + b"Content-Length: 1000\r\n\r\n" + begun)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert client.post("/v1/embed", files={"audio": clip()}).status_code == 200
    assert until(lambda: sum(line.get("code") == "client_left" for line in service.lines()) == 2)
    assert not any(line["event"] == "failure" for line in service.lines())


# --- together ---


def test_enrolling_and_removing_one_name_at_once_leaves_it_whole(service: ServiceProcess) -> None:
    speech = load_audio(EXAMPLES / "awb-1.flac")[:40000]
    statuses: list[tuple[str, int]] = []
    guard = threading.Lock()

    def work(number: int) -> None:
        with service.client() as own:
            for turn in range(3):
                if (number + turn) % 3:
                    own_clip = encode(speech[: 40000 - 100 * (3 * number + turn)])  # the same twice would be refused
                    answer = own.post(
                        "/v1/speakers/Lee/recordings", files={"audio": ("a.wav", own_clip)}, data={"force": "1"}
                    )
                    kind = "enrol"
                else:
                    answer, kind = own.delete("/v1/speakers/Lee"), "remove"
                with guard:
                    statuses.append((kind, answer.status_code))

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(work, range(4)))
    assert len(statuses) == 12
    assert {status for kind, status in statuses if kind == "enrol"} <= {201, 409}
    assert {status for kind, status in statuses if kind == "remove"} <= {200, 404}
    with service.client() as client:
        found = client.get("/v1/speakers/Lee")
        assert found.status_code in (200, 404)
        if found.status_code == 200:
            assert found.json()["speaker"]["recordings"] == len(found.json()["recordings"])
            client.delete("/v1/speakers/Lee")


# --- log and metrics ---


def test_the_log_says_what_happened_and_never_to_whom(service: ServiceProcess, client: httpx.Client) -> None:
    secret = "Zaphod Beeblebrox"
    answer = client.post(f"{address(secret)}/recordings", files={"audio": ("zaphods-voice.flac", clip("rms-1")[1])})
    client.get("/v1/speakers", params={"after": secret})
    client.get(f"/nothing/{quote(secret)}?token=zaphods-token")
    client.post("/v1/verify", data={"name": secret}, files={"audio": ("zaphods-voice.flac", b"zaphod")})
    client.delete(address(secret))
    number = answer.headers["x-request-id"]
    (line,) = [line for line in service.lines() if line.get("id") == number]
    assert {
        "time",
        "level",
        "event",
        "id",
        "method",
        "route",
        "status",
        "duration_ms",
        "bytes",
        "audio_s",
        "key",
    } == set(line)
    assert line["route"] == "/v1/speakers/{name}/recordings" and line["status"] == 201 and line["key"] == "local"
    assert line["audio_s"] == 5.81 and int(str(line["bytes"])) > 100_000
    text = service.log.read_text().lower() + client.get("/metrics").text.lower()
    assert not any(word in text for word in ("zaphod", "beeblebrox", 'embedding":', "token"))


def test_the_metrics_count_what_happened(client: httpx.Client) -> None:
    def value(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and not line.startswith("#"))

    asked = 'sound_groove_requests_total{method="POST",route="/v1/embed",status="200"}'
    before, heard, seconds = (
        value(asked),
        value('sound_groove_recordings_total{outcome="heard"}'),
        value("sound_groove_audio_seconds_total"),
    )
    client.post("/v1/embed", files={"audio": clip("rms-1")})
    assert value(asked) == before + 1
    assert value('sound_groove_recordings_total{outcome="heard"}') == heard + 1
    assert value("sound_groove_audio_seconds_total") == pytest.approx(seconds + 5.81)
    assert value("sound_groove_workers ") == 2 and value("process_resident_memory_bytes") > 1e7
    assert value("sound_groove_requests_inside ") == 0 and value("sound_groove_held_bytes ") == 0


# --- keys ---


def test_keys_and_their_scopes_are_heeded(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = {scope: add_key(file, f"the-{scope}", scope) for scope in ("read", "enrol", "admin")}
    running = ServiceProcess(tmp_path, "--keys", str(file), "--workers", "1")
    try:
        with running.client() as nobody, running.client(keys["read"]) as reader:
            for path in ("/v1/info", "/v1/speakers", "/v1/speakers/Kim", "/v1/audit", "/metrics"):
                refused = nobody.get(path)
                assert error(refused, 401)["code"] == "no_key" and refused.headers["www-authenticate"].startswith(
                    "Bearer"
                )
            assert nobody.get("/healthz").status_code == nobody.get("/").status_code == 200
            big = nobody.post("/v1/compare", files={"a": ("a.wav", bytes(5_000_000))})
            assert error(big, 401)["code"] == "no_key"
            assert (
                error(nobody.get("/v1/info", headers={"authorization": "Bearer wrong"}), 401)["code"] == "unknown_key"
            )
            assert reader.get("/v1/info").json()["caller"]["name"] == "the-read"
            assert reader.post("/v1/embed", files={"audio": clip()}).status_code == 200
            refused = reader.post("/v1/speakers/Kim/recordings", files={"audio": clip()})
            assert error(refused, 403)["message"] == "this needs a key of scope 'enrol', and this one has 'read'"
        # 1 s of audio a minute: the first recording overdraws it, and what comes after waits, whatever it asks.
        with running.client(add_key(file, "brief", "read", audio_s_a_minute=1.0)) as brief:
            heard_s = brief.post("/v1/embed", files={"audio": clip()}).json()["audio"]["duration_s"]
            refused = brief.post("/v1/compare", files={"a": clip(), "b": clip()})
            assert error(refused, 429)["code"] == "over_audio" and running.lines()[-1]["audio_s"] == 0
            assert 60 * (heard_s - 2) < int(refused.headers["retry-after"]) <= 60 * heard_s + 1
            assert running.lines()[-2]["audio_s"] == pytest.approx(heard_s, abs=0.01)
        with running.client(keys["enrol"]) as enroller, running.client(keys["admin"]) as admin:
            assert enroller.post("/v1/speakers/Kim/recordings", files={"audio": clip()}).status_code == 201
            assert error(enroller.delete("/v1/speakers/Kim"), 403)["code"] == "scope"
            assert error(enroller.get("/v1/audit"), 403)["code"] == "scope"
            assert admin.delete("/v1/speakers/Kim").status_code == 200
            assert [event["actor"] for event in admin.get("/v1/audit").json()["events"]] == ["the-enrol", "the-admin"]
            remove_key(file, "the-enrol")
            assert error(enroller.get("/v1/info"), 401)["code"] == "removed_key"
        assert not any(key[3:] in running.log.read_text() for key in keys.values())
        assert running.stop(signal.SIGINT) == 0  # as kindly as SIGTERM
        assert running.lines()[-1]["event"] == "stopped"
    finally:
        running.stop()


def test_the_service_needs_no_torch() -> None:
    modules = modules_after("import sound_groove.service.serving, sound_groove.service.application")
    assert "fastapi" in modules and "torch" not in modules and "sound_groove.training" not in modules
