"""Who speaks when over HTTP: at once or as a job, under limits of its own, and nothing that stays."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from broken_audio import encode
from service_process import EXAMPLES, ServiceProcess, clip, until
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import HeldRecording, load_audio, open_recording
from sound_groove.diarization.segmentation import Segmentation
from sound_groove.diarization.who import who
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import RequestError
from sound_groove.service.application import build_application
from sound_groove.service.embedding import Embedder
from sound_groove.service.engine import Engine
from sound_groove.service.guard import Guard
from sound_groove.service.keys import add_key
from sound_groove.service.limits import Limits
from sound_groove.service.logs import Log
from sound_groove.service.who_jobs import Job, WhoJobs
from sound_groove.types import Samples
from sound_groove.voiceprints.gallery import open_gallery
from sound_groove.voiceprints.store.opening import open_store
from test_segmentation import fixed_model

pytestmark = pytest.mark.service

SMALL = ("--who-upload", "2", "--who-duration", "400", "--who-waiting", "1", "--who-kept", "2", "--workers", "1")


@pytest.fixture(scope="module")
def talk() -> Samples:
    """Two people, in turns."""
    return np.concatenate([load_audio(EXAMPLES / f"{name}.flac") for name in ("awb-1", "rms-1", "awb-2", "rms-2")])


@pytest.fixture(scope="module")
def sent(talk: Samples) -> tuple[str, bytes]:
    return ("talk.flac", encode(talk, kind="flac"))


@pytest.fixture(scope="module")
def long(talk: Samples) -> tuple[str, bytes]:
    """Five minutes, which take a while."""
    samples = np.tile(talk, -(-300 * SAMPLE_RATE // len(talk)))[: 300 * SAMPLE_RATE]
    return ("long.opus", encode(samples, kind="ogg", subtype="OPUS"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("who")


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    file = folder / "keys.json"
    made = {name: add_key(file, name, "read") for name in ("anna", "ben")}
    return made | {"busy": add_key(file, "busy", "read", audio_s_a_minute=1.0)}


@pytest.fixture(scope="module")
def small(folder: Path, keys: dict[str, str]) -> Iterator[ServiceProcess]:
    """A service that has room for one recording and one that waits, for those who have keys."""
    assert keys
    service = ServiceProcess(folder, *SMALL, "--keys", str(folder / "keys.json"), "--segmentation", "none")
    yield service
    assert service.stop() == 0


@pytest.fixture
def anna(small: ServiceProcess, keys: dict[str, str]) -> Iterator[httpx.Client]:
    with small.client(keys["anna"]) as client:
        yield client


def error(answer: Any, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    return dict(answer.json()["error"])


def metric(text: str, name: str) -> float:
    return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name)))


def finished(client: httpx.Client, recording: tuple[str, bytes], **fields: str) -> dict[str, Any]:
    """What is answered about a recording, at once or, on a busy machine, by its job."""
    answer = client.post("/v1/who", files={"audio": recording}, data=fields)
    assert answer.headers["cache-control"] == "no-store"
    if answer.status_code == 202:
        path = answer.headers["location"]
        assert until(lambda: (job := client.get(path).json())["state"] == "done" or job["error"], 120.0)
        answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_answer_is_that_of_the_library(
    service: ServiceProcess, sent: tuple[str, bytes], talk: Samples, tmp_path: Path
) -> None:
    (tmp_path / "talk.flac").write_bytes(sent[1])
    ours = who(tmp_path / "talk.flac", SpeakerEncoder.load("pretrained", threads=1), speakers=2)
    with service.client() as client:
        found = finished(client, sent, speakers="2")
    assert (found["state"], found["error"]) == ("done", None)
    assert found["duration_s"] == found["heard_s"] == pytest.approx(len(talk) / SAMPLE_RATE, abs=1e-3)
    expected = json.loads(json.dumps(ours.as_dict()))
    assert found["result"]["turns"] == expected["turns"] and found["result"]["audio"] == expected["audio"]
    assert found["result"]["warnings"] == expected["warnings"] == []


def test_those_who_are_enrolled_are_named(service: ServiceProcess, sent: tuple[str, bytes]) -> None:
    with service.client() as client:
        made = client.post("/v1/speakers/Awb/recordings", files=[("audio", clip("awb-1")), ("audio", clip("awb-2"))])
        assert made.status_code == 201
        try:
            result = finished(client, sent, speakers="2", prior="0.9")["result"]
        finally:
            client.delete("/v1/speakers/Awb")
    assert result["enrolled"] >= 1 and {one["name"] for one in result["speakers"]} == {"Awb", None}
    assert all(turn["llr"] > 0 for turn in result["turns"] if turn["name"])


def test_a_job_tells_its_progress_and_its_result_to_its_owner_alone_and_forgets_it(
    small: ServiceProcess, keys: dict[str, str], anna: httpx.Client, sent: tuple[str, bytes]
) -> None:
    answer = anna.post("/v1/who", files={"audio": sent}, data={"wait": "0"})
    assert answer.status_code == 202, answer.text
    path, job = answer.headers["location"], answer.json()
    assert path == f"/v1/who/{job['id']}" and job["state"] in ("waiting", "working") and job["result"] is None
    with small.client(keys["ben"]) as ben:
        assert error(ben.get(path), 404)["code"] == error(ben.delete(path), 404)["code"] == "unknown_job"
    assert until(lambda: anna.get(path).json()["state"] == "done")
    found = anna.get(path).json()
    assert found["heard_s"] == found["duration_s"] and len(found["result"]["turns"]) >= 2
    assert until(lambda: anna.get(path).status_code == 404)  # by itself, after two seconds
    text = anna.get("/metrics").text
    assert metric(text, 'sound_groove_who_jobs_inside{state="done"}') == 0
    assert metric(text, 'sound_groove_who_jobs_total{outcome="done"}') >= 1
    assert metric(text, "sound_groove_who_audio_seconds_total") > 15


def test_a_long_recording_can_be_given_up_and_one_too_many_is_told_to_wait(
    small: ServiceProcess, keys: dict[str, str], anna: httpx.Client, long: tuple[str, bytes], sent: tuple[str, bytes]
) -> None:
    first, second = (anna.post("/v1/who", files={"audio": long}, data={"wait": "0"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    full = anna.post("/v1/who", files={"audio": sent})
    assert error(full, 429)["code"] == "too_many_jobs" and int(full.headers["retry-after"]) > 0
    waiting = anna.get(second.headers["location"]).json()
    assert (waiting["state"], waiting["duration_s"], waiting["heard_s"]) == ("waiting", None, 0.0)
    assert anna.post("/v1/compare", files={"a": clip("awb-1"), "b": clip("awb-2")}).status_code == 200  # others go on
    assert until(lambda: anna.get(first.headers["location"]).json()["duration_s"] == pytest.approx(300, abs=0.1))
    for job in (first, second):
        given_up = anna.delete(job.headers["location"])
        assert given_up.status_code == 200 and given_up.json()["result"] is None
        assert error(anna.get(job.headers["location"]), 404)["code"] == "unknown_job"
    assert metric(anna.get("/metrics").text, 'sound_groove_who_jobs_total{outcome="cancelled"}') >= 2
    began = time.monotonic()
    after = anna.post("/v1/who", files={"audio": sent}, data={"speakers": "2"})
    assert after.status_code in (200, 202) and time.monotonic() - began < 60  # its place is free before the end


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"speakers": "0"}, "at least 1"),
        ({"speakers": "two"}, "whole number"),
        ({"speakers": "2", "max": "3"}, "'speakers' says"),
        ({"min": "3", "max": "2"}, "at least 3"),
        ({"max": "0"}, "at least 1"),
        ({"wait": "-1"}, "between 0 and 10"),
        ({"wait": "nan"}, "between 0 and 10"),
        ({"prior": "1"}, "prior"),
        ({"channel": "0"}, "counted from 1"),
        ({"surprise": "1"}, "surprise"),
    ],
)
def test_fields_that_cannot_be_are_refused(
    anna: httpx.Client, sent: tuple[str, bytes], fields: dict[str, str], said: str
) -> None:
    found = error(anna.post("/v1/who", files={"audio": sent}, data=fields), 400)
    assert found["code"] == "malformed" and said in str(found["message"])


def test_damaged_and_endless_recordings_are_refused_and_leave_no_job(
    anna: httpx.Client, long: tuple[str, bytes], sent: tuple[str, bytes]
) -> None:
    endless = encode(np.random.default_rng(0).uniform(-0.1, 0.1, 401 * 4000).astype(np.float32), 4000, "flac")[
        :1_900_000
    ]
    silent = encode(np.zeros(SAMPLE_RATE, np.float32), kind="flac")
    cut = sent[1][: len(sent[1]) // 2]
    for content, said in (
        (b"no audio at all", "is not audio"),
        (b"", "is empty"),
        (cut, "audio: is "),
        (silent, "digital silence"),
        (endless, "audio: "),
    ):
        found = error(anna.post("/v1/who", files={"audio": ("x.flac", content)}), 422)
        assert found["code"] == "unusable_recording" and said in str(found["message"]), found
    assert error(anna.post("/v1/who", files={"audio": ("x.wav", bytes(2_100_000))}), 413)["code"] == "upload_too_large"
    assert error(anna.post("/v1/who", files={"a": sent}), 400)["code"] == "malformed"
    assert error(anna.post("/v1/who", content=b"x"), 415)["code"] == "unsupported_media_type"
    for state in ("waiting", "working", "done", "failed"):
        assert metric(anna.get("/metrics").text, f'sound_groove_who_jobs_inside{{state="{state}"}}') in (0, 1)


def test_a_job_that_fails_says_why(anna: httpx.Client) -> None:
    answer = anna.post("/v1/who", files={"audio": ("x.flac", b"no audio")}, data={"wait": "0"})
    if answer.status_code == 202:
        path = answer.headers["location"]
        assert until(lambda: anna.get(path).json()["state"] == "failed")
        failed = anna.get(path).json()
        assert failed["error"]["status"] == 422 and "is not audio" in failed["error"]["message"]
    else:
        assert error(answer, 422)["code"] == "unusable_recording"


def test_keys_are_asked_for_and_their_audio_is_charged(
    small: ServiceProcess, keys: dict[str, str], sent: tuple[str, bytes]
) -> None:
    with small.client() as nobody:
        assert error(nobody.post("/v1/who", files={"audio": sent}), 401)["code"] == "no_key"
        assert error(nobody.get("/v1/who/x"), 401)["code"] == error(nobody.delete("/v1/who/x"), 401)["code"] == "no_key"
    with small.client(keys["busy"]) as busy:
        assert busy.post("/v1/who", files={"audio": sent}).status_code in (200, 202)
        assert error(busy.post("/v1/who", files={"audio": sent}), 429)["code"] == "over_audio"


def test_what_is_under_way_is_lost_when_the_service_stops_and_nothing_stays(
    tmp_path: Path, long: tuple[str, bytes]
) -> None:
    service = ServiceProcess(tmp_path, "--segmentation", "none", "--grace", "2")
    try:
        with service.client() as client:
            assert client.post("/v1/who", files={"audio": long}, data={"wait": "0"}).status_code == 202
    finally:
        assert service.stop() == 0
    stayed = {path.name for path in tmp_path.iterdir()}
    assert all(name == "service.log" or name.startswith("voiceprints.db") for name in stayed), stayed
    assert not any(line["level"] == "error" for line in service.lines())
    assert "long.opus" not in service.log.read_text()


def test_what_is_found_in_time_is_answered_at_once_with_overlap_where_there_is_a_model(
    tmp_path: Path, sent: tuple[str, bytes]
) -> None:
    model = fixed_model(tmp_path / "both.onnx")
    store = open_store(tmp_path / "v.db", create=True)
    overlap = Segmentation(model, threads=1)
    engine = Engine(store, Embedder.load("pretrained", 1), Limits(workers=1, who_wait_s=120.0), segmentation=overlap)
    app = build_application(engine, Guard(None), Log(tmp_path / "log"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        found = client.post("/v1/who", files={"audio": sent})
        assert found.status_code == 200, found.text  # what was waited for is not kept
        assert error(client.get(f"/v1/who/{found.json()['id']}"), 404)["code"] == "unknown_job"
        assert found.json()["result"]["overlap_s"] is not None
        assert found.json()["heard_s"] == pytest.approx(found.json()["duration_s"], abs=0.01)


def test_results_go_when_they_are_too_many_or_too_old(tmp_path: Path) -> None:
    now = 0.0
    with closing(open_store(tmp_path / "v.db", create=True)) as store:
        embedder = Embedder.load("pretrained", 1)
        gallery = open_gallery(store, embedder.encoder.identity, embedder.encoder.embedding_size)
        jobs = WhoJobs(Limits(who_kept=2, who_kept_s=5.0), embedder, gallery, clock=lambda: now)
        kept = [Job("anna") for _ in range(4)]
        for job in kept:
            now += 1.0
            jobs._jobs[job.id] = job
            if job is not kept[3]:
                job.ended_at, job.state = now, "done"
                job.finished.set()
        for job, is_there in zip(kept, (False, True, True, True), strict=True):
            if is_there:
                assert jobs.find(job.id, "anna") is job
            else:
                with pytest.raises(RequestError, match="no such job"):
                    jobs.find(job.id, "anna")
        now = 7.5  # the second ended at 2, the third at 3; what goes on stays
        assert [jobs.count(state) for state in ("done", "waiting")] == [2, 1]
        with pytest.raises(RequestError, match="no such job"):
            jobs.find(kept[1].id, "anna")
        assert jobs.find(kept[2].id, "anna") is kept[2] and jobs.find(kept[3].id, "anna") is kept[3]
        embedder.close()


def test_a_recording_that_was_decoded_is_read_in_parts(talk: Samples) -> None:
    with open_recording((talk, SAMPLE_RATE)) as opened:
        held = HeldRecording(opened.whole())
        spans = [(0, 100), (50, 3 * SAMPLE_RATE), (len(talk) - 5, len(talk))]
        for ours, theirs in zip(held.parts(spans), opened.parts(spans), strict=True):
            assert np.array_equal(ours, theirs)
        assert held.samples == opened.samples and held.whole().samples is not None
