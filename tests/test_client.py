"""The client for Python: against a running service, and against servers that fail in the middle."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import sound_groove.client.records as records
from costs import costs
from local_server import QuietHandler, serving
from processes import modules_after
from service_process import EXAMPLES, ServiceProcess
from sound_groove.client import Client
from sound_groove.client.reading import record_from
from sound_groove.client.sending import Part, encoded_form
from sound_groove.comparison import compare
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import AudioError, RequestError, UnreachableError, UsageError
from sound_groove.scoring.decision import DecisionRule
from sound_groove.service.descriptions import (
    COMPARISON,
    FINDING,
    IDENTIFICATION,
    INSPECTED,
    SPEAKER,
    WHO_JOB,
    WHO_RESULT,
    error_example,
)
from sound_groove.voiceprints.store.records import SpeakerEntry

AWB, AWB_2, RMS, SLT = (EXAMPLES / f"{name}.flac" for name in ("awb-1", "awb-2", "rms-1", "slt-1"))


@pytest.fixture(scope="module")
@costs("service")
def remote(service: ServiceProcess) -> Client:
    return Client(service.address)


# --- against a running service


def test_a_comparison_is_that_of_the_library(remote: Client) -> None:
    encoder, rule = SpeakerEncoder.load("pretrained", threads=1), DecisionRule(max_false_accept=0.01)
    expected = compare(AWB, AWB_2, encoder, prior=0.2, rule=rule)
    found = remote.compare(AWB, AWB_2.read_bytes(), prior=0.2, rule=rule)
    for name in ("verdict", "strength", "prior", "limits", "model", "collections", "warnings"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.score == pytest.approx(expected.score, abs=2e-6) and found.llr == pytest.approx(expected.llr, abs=1e-3)
    assert found.audio[0].speech_s == expected.audio[0].speech_s and type(found) is type(expected)


def test_what_the_service_heard_is_told_in_numbers(remote: Client) -> None:
    before = remote.drift()
    remote.compare(AWB, RMS)
    after = remote.drift()
    assert after.recordings == before.recordings + 2 and after.comparisons == before.comparisons + 1
    assert after.drift is not None and after.drift.baseline > 1_000
    assert {shift.quantity for shift in after.drift.shifts} > {"speech_s", "snr_db", "embedding_norm", "llr"}
    assert after.sentence.endswith("that the model was calibrated on.")


def test_speakers_are_enrolled_listed_recognised_and_forgotten(remote: Client) -> None:
    names = ['Zoë "O\'Neil"/?%\n王'.replace("\n", " "), "a/recordings"]
    try:
        done = remote.enroll(names[0], [AWB, AWB_2], keep_audio=True)
        assert (done.added, done.speaker.name, done.speaker.with_audio) == (2, names[0], 2)
        remote.enroll(names[1], RMS.read_bytes())
        assert {names[0], names[1]} <= {speaker.name for speaker in remote.speakers()}
        assert [one.source for one in remote.speaker(names[0]).recordings] == ["awb-1.flac", "awb-2.flac"]
        assert remote.verify(names[1], EXAMPLES / "rms-2.flac").verdict == "same"
        assert remote.identify(EXAMPLES / "rms-2.flac", top=1).speaker == names[1]
        with pytest.raises(RequestError) as refused:
            remote.enroll(names[1], SLT)
        assert (refused.value.status, refused.value.code) == (422, "refused_enrolment")
        assert [(one.recording, one.code) for one in refused.value.refusals] == [("slt-1.flac", "other_voice")]
        assert refused.value.refusals[0].values["llr"] < 0
        assert [event.action for event in remote.audit()][-2:] == ["enrolled", "enrolled"]
    finally:
        for name in names:
            assert remote.remove(name).complete
    with pytest.raises(RequestError, match="nobody is enrolled as") as refused:
        remote.remove(names[0])
    assert refused.value.code == "unknown_speaker"


def test_recordings_are_embedded_and_inspected(remote: Client, tmp_path: Path) -> None:
    found = remote.embed(AWB)
    assert np.linalg.norm(found.embedding) == pytest.approx(1, abs=1e-5)
    seen = remote.inspect(AWB)
    assert seen.audio.speech_s == found.audio.speech_s and seen.audio.embedding_norm is None
    assert 0 <= seen.kept_spans[0][0] <= seen.speech_spans[0][0] < seen.speech_spans[0][1]
    left, _ = soundfile.read(AWB, dtype="float32")
    right, _ = soundfile.read(RMS, dtype="float32")
    size = min(len(left), len(right))
    soundfile.write(tmp_path / "call.wav", np.stack([left[:size], right[:size]], 1), 16000)
    assert remote.embed(tmp_path / "call.wav", channel=1).warnings == ()
    assert [one.code for one in remote.embed(tmp_path / "call.wav").warnings] == ["channels_differ"]


def test_who_speaks_when_is_waited_for(remote: Client, tmp_path: Path) -> None:
    talk = tmp_path / "talk.flac"
    soundfile.write(talk, np.concatenate([soundfile.read(clip)[0][:56_000] for clip in (AWB, RMS)]), 16000)
    told: list[str] = []
    found = remote.who(talk, speakers=2, on_progress=lambda job: told.append(job.state))
    assert len(found.speakers) == 2 and found.turns[0].start_s < 1 and set(told) <= {"waiting", "working"} and told
    with pytest.raises(RequestError) as failed:
        remote.who(b"no audio at all, but some letters", least=2, most=3)
    assert failed.value.code == "unusable_recording" and failed.value.refusals[0].code == "not_audio"


def test_it_says_what_the_service_is(remote: Client) -> None:
    info = remote.info()
    assert info.model.name == "pretrained" and info.caller.scope == "admin" and info.limits.who.duration_s == 3600
    assert remote.readiness().status == "ok"
    with pytest.raises(RequestError) as refused:
        remote.find("Nobody")
    assert refused.value.code == "no_archive"


def test_a_key_is_sent_and_never_shown(remote: Client, service: ServiceProcess) -> None:
    assert "secret" not in repr(Client(service.address, "sg_secret")) and service.address in repr(remote)


def test_it_needs_neither_torch_nor_what_serves() -> None:
    loaded = modules_after("import sound_groove.client")
    assert not {"torch", "fastapi", "starlette", "uvicorn", "httpx", "onnxruntime"} & loaded


def test_an_upload_that_is_too_large_is_told_so_and_not_that_the_connection_broke(remote: Client) -> None:
    for size in (26_000_000, 80_000_000):
        with pytest.raises(RequestError) as refused:
            remote.inspect(bytes(size))
        assert (refused.value.status, refused.value.code) == (413, "upload_too_large")


def test_the_example_of_the_documentation_runs(
    service: ServiceProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (EXAMPLES.parent / "docs" / "service.md").read_text(encoding="utf-8")
    section = page.partition("## From Python")[2]
    example = section.partition("```python\n")[2].partition("```")[0]
    address = "http://127.0.0.1:8000"
    assert example.count(address) == 1 and "RequestError" in example
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setenv("KEY", "sg_no_matter_which")  # the service has none
    exec(compile(example.replace(address, service.address), "docs/service.md", "exec"), {})  # noqa: S102 - our own
    assert capsys.readouterr().out.splitlines()[:2] == ["same", "refused_enrolment ['other_voice']"]


# --- against servers that fail


@dataclass
class Script:
    """A server that gives one answer after the other: a status with what the body says, or None, which breaks off."""

    answers: list[tuple[int, Any] | None]
    asked: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    address: str = ""


@pytest.fixture
def script() -> Iterator[Script]:
    told = Script([])

    class Handler(QuietHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            told.asked.append(f"{self.command} {self.path}")
            told.headers = {name.lower(): value for name, value in self.headers.items()}
            answer = told.answers.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, content = answer
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "7")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer

    with serving(Handler) as told.address:
        yield told


def scripted(script: Script, *answers: tuple[int, Any] | None, address: str = "", **options: Any) -> Client:
    script.answers[:] = answers
    return Client(address or script.address, sleep=script.slept.append, **options)


BUSY = (429, error_example("too_many_requests", "the service is busy"))
STOPPING = (503, error_example("stopping", "the service is stopping"))
SPEAKERS = (200, {"speakers": [SPEAKER], "next": None})


def test_what_is_only_asked_is_asked_again_when_it_fails(script: Script) -> None:
    remote = scripted(script, BUSY, None, STOPPING, SPEAKERS, attempts=4)
    (kim,) = remote.speakers()
    assert kim.name == "Kim" and len(script.asked) == 4
    assert script.slept == [7.0, 1.0, 2.0]  # what the service says, else longer each time
    remote = scripted(script, None, (200, COMPARISON))
    assert remote.compare(b"a", b"b").verdict == "same"


def test_what_changes_somebody_is_never_asked_twice_unless_nothing_was_done(script: Script) -> None:
    enrolled = (201, {"speaker": SPEAKER, "added": 1, "agreement": [None], "warnings": []})
    assert scripted(script, BUSY, enrolled).enroll("Kim", b"clip").agreement == (None,)
    for answer, kind in ((None, UnreachableError), (STOPPING, RequestError)):
        for change in ("enroll", "remove"):
            script.asked.clear()
            remote = scripted(script, answer, enrolled)
            with pytest.raises(kind):
                remote.enroll("Kim", b"clip") if change == "enroll" else remote.remove("Kim")
            assert len(script.asked) == 1, change


def test_a_service_that_asks_for_much_patience_is_not_waited_for(script: Script) -> None:
    remote = scripted(script, BUSY, BUSY, BUSY, attempts=2)
    with pytest.raises(RequestError) as refused:
        remote.info()
    assert (refused.value.status, refused.value.code, refused.value.retry_after_s) == (429, "too_many_requests", 7)
    assert len(script.asked) == 2 and script.slept == [7.0]


def test_a_proxys_path_goes_before_and_the_key_goes_along(script: Script) -> None:
    remote = scripted(script, SPEAKERS, address=f"{script.address}/voice/", key="sg_abc")
    assert [one.name for one in remote.speakers()] == ["Kim"]
    assert script.asked == ["GET /voice/v1/speakers?after="] and script.headers["authorization"] == "Bearer sg_abc"


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((200, b"<html>hello</html>"), "no JSON"),
        ((502, b"<html>bad gateway</html>"), "status 502 and no JSON"),
        ((200, {"speakers": [{"name": "Kim"}], "next": None}), r"SpeakerPage.speakers\[0\].id is missing"),
        ((200, {"speakers": "all", "next": None}), "SpeakerPage.speakers is of another kind"),
        ((404, {"detail": "Not Found"}), "not as a Sound-Groove service does: ErrorAnswer.error is missing"),
    ],
)
def test_what_is_no_service_of_ours_is_told_in_a_sentence(
    script: Script, answer: tuple[int, Any], complaint: str
) -> None:
    with pytest.raises(UnreachableError, match=complaint) as failed:
        list(scripted(script, answer).speakers())
    assert script.address in str(failed.value) and len(script.asked) == 1


def test_a_service_that_is_not_there_is_told_after_some_attempts(script: Script) -> None:
    remote = scripted(script, address="http://127.0.0.1:1", attempts=3)
    with pytest.raises(UnreachableError, match=r"^http://127\.0\.0\.1:1 cannot be reached: Connection refused$"):
        remote.remove("Kim")  # no connection was made, so that it may be asked again
    assert script.slept == [0.5, 1.0]


@pytest.mark.parametrize(
    "address", ["", "localhost:8000", "ftp://a", "http://", "http://a/?q", "http://u@a", "http://a:x"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a service"):
        Client(address)


def test_what_is_no_key_or_no_recording_is_refused(tmp_path: Path) -> None:
    for key in ("", "a\r\nX: y", "schlüssel"):
        with pytest.raises(UsageError, match="the key is none") as refused:
            Client(key=key)
        assert "schlüssel" not in str(refused.value)
    with pytest.raises(UsageError, match="at least once"):
        Client(attempts=0)
    with pytest.raises(AudioError, match=r"nothing\.wav: cannot be read: No such file"):
        Client().embed(tmp_path / "nothing.wav")
    with pytest.raises(UsageError, match="int was given"):
        Client().embed(3)  # type: ignore[arg-type]


# --- forms and records


def test_a_form_is_read_by_pythons_own_parser() -> None:
    from email.parser import BytesParser
    from email.policy import HTTP

    parts = [Part("name", "Zoë\r\n--x".encode()), Part("audio", bytes(range(256)), 'a "b"\r\n.wav')]
    head = b"Content-Type: multipart/form-data; boundary=0123abcd\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + encoded_form(parts, "0123abcd"))
    first, second = message.iter_parts()
    assert first["content-disposition"].params == {"name": "name"}
    assert first.get_payload(decode=True) == parts[0].content
    assert second["content-disposition"].params == {"name": "audio", "filename": "a %22b%22%0D%0A.wav"}


def test_every_example_of_the_description_becomes_the_record_that_it_is_of() -> None:
    from sound_groove.archive.finding import Finding
    from sound_groove.comparison import Comparison
    from sound_groove.voiceprints.identification import Identification

    examples: list[tuple[type[Any], Any]] = [
        (Comparison, COMPARISON),
        (Identification, IDENTIFICATION),
        (Finding, FINDING),
        (SpeakerEntry, SPEAKER),
    ]
    examples += [(records.Inspected, INSPECTED), (records.JobFacts, WHO_JOB), (records.JobFacts, WHO_RESULT)]
    for kind, example in examples:
        record = record_from(kind, json.loads(json.dumps(example)))
        assert json.loads(json.dumps(asdict(record))) == json.loads(json.dumps(example)), kind


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"score": "0.7"}, "Comparison.score"),
        ({"score": True}, "Comparison.score"),
        ({"verdict": "perhaps"}, "Comparison.verdict"),
        ({"limits": [1.0]}, "Comparison.limits"),
        ({"model": None}, "Comparison.model"),
        ({"audio": [None, None]}, r"Comparison.audio\[0\]"),
    ],
)
def test_an_answer_of_another_kind_is_told_by_its_place(change: dict[str, Any], complaint: str) -> None:
    from sound_groove.comparison import Comparison

    with pytest.raises(ValueError, match=complaint):
        record_from(Comparison, {**json.loads(json.dumps(COMPARISON)), **change})
    assert {one.name for one in fields(Comparison)} == set(COMPARISON)
