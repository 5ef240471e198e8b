"""Stopping the service, kindly and not: what was acknowledged is kept, and what was accepted is finished."""

import importlib.util
import signal
import socket
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest

import sound_groove.cli as cli
import sound_groove.service.workers as workers_module
from broken_audio import encode
from service_process import EXAMPLES, ServiceProcess, until
from sound_groove.audio.reading import load_audio
from sound_groove.errors import MissingExtraError
from sound_groove.service.keys import add_key
from sound_groove.voiceprints.store.opening import open_store

pytestmark = pytest.mark.service


class Enrollers:
    """Clients that enrol one speaker after the other until the service is gone.

    Attributes:
        acknowledged: names for which 201 was answered.
        statuses: of all other answers.
    """

    def __init__(self, service: ServiceProcess, count: int) -> None:
        self.acknowledged: list[str] = []
        self.statuses: list[int] = []
        self._service = service
        self._speech = load_audio(EXAMPLES / "rms-1.flac")[:48000]
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self, number: int) -> None:
        with self._service.client() as client:
            for turn in range(1000):
                name = f"{number}-{turn}"
                clip = ("a.flac", encode(self._speech[turn:], kind="flac"))
                try:
                    answer = client.post(f"/v1/speakers/{name}/recordings", files={"audio": clip})
                except httpx.HTTPError:
                    return
                if answer.status_code != 201:
                    self.statuses.append(answer.status_code)
                    return
                self.acknowledged.append(name)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def stopped_under_load(folder: Path, number: int) -> tuple[Enrollers, int, set[str], list[dict[str, object]]]:
    """Clients, exit status, who is in the store, and the log, of a service that gets a signal while it works."""
    service = ServiceProcess(folder, "--workers", "2")
    children = service.workers()
    enrollers = Enrollers(service, 6)
    assert until(lambda: len(enrollers.acknowledged) >= 4)
    status = service.stop(number)
    enrollers.join()
    assert until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    store = open_store(service.store)
    try:
        names = {entry.name for entry in store.speakers()}
        for name in names:
            assert len(store.voiceprint(name).recordings) == 1
    finally:
        store.close()
    return enrollers, status, names, service.lines()


def test_a_kind_stop_finishes_what_was_accepted_and_loses_nothing(tmp_path: Path) -> None:
    enrollers, status, names, lines = stopped_under_load(tmp_path, signal.SIGTERM)
    assert status == 0
    assert names == set(enrollers.acknowledged)
    assert set(enrollers.statuses) <= {503}
    assert [line["event"] for line in lines if line["event"] != "request"] == ["started", "stopping", "stopped"]
    stopping = next(place for place, line in enumerate(lines) if line["event"] == "stopping")
    finished = [line for line in lines[stopping:] if line.get("status") == 201]
    assert len(finished) >= 1  # there were six clients at it


def test_a_cruel_stop_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    enrollers, status, names, _ = stopped_under_load(tmp_path, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert set(enrollers.acknowledged) <= names


def test_grace_ends(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path, "--workers", "1", "--grace", "1", "--read-timeout", "600")
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        head = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
        slow.sendall(head + b"Content-Length: 1000\r\n\r\n--XX")
        with service.client() as client:
            assert until(lambda: "sound_groove_requests_inside 1.0" in client.get("/metrics").text)
        assert service.stop() == 0  # which waits a minute, and then kills it


def is_closed_after(connection: socket.socket, sent: bytes) -> bool:
    """Whether the other side has closed a connection, tried by sending, and by looking for a tenth of a second."""
    connection.settimeout(0.1)
    try:
        connection.sendall(sent)
        return connection.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_the_header_of_a_request_must_come_in_time(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path, "--workers", "1", "--read-timeout", "0.5")
    host, port = service.address.removeprefix("http://").split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=20) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nX-Endless: ")
            assert until(lambda: is_closed_after(slow, b"a"))  # bytes keep coming, and the header never ends
        with socket.create_connection((host, int(port)), timeout=60) as slow:
            head = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
            slow.sendall(head + b"Content-Length: 1000\r\n\r\n--XX")
            assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
    finally:
        service.stop()


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--host", "0.0.0.0"], 2, "without API keys the service listens at 127.0.0.1 only, and '0.0.0.0' was given"),
        (["--keys", "/nowhere/keys.json"], 1, "/nowhere/keys.json: cannot be read: No such file or directory"),
        (["--port", "70000"], 2, "must be a whole number from 0 to 65535"),
        (["--host", "192.0.2.1", "--keys", "KEYS"], 1, "cannot listen at 192.0.2.1, port 0"),
        (["--model", "/nowhere.onnx"], 1, "there is no such model file"),
        (["--store", "/nowhere/v.db"], 1, "/nowhere/v.db"),
        (["--max-upload", "0"], 2, "the limit 'upload_bytes' must be at least 1; 0 was given"),
        (["--max-decode", "nan"], 2, "the limit 'decode_s' must be 0 or more; nan was given"),
        (["--log-file", "/nowhere/log"], 1, "/nowhere/log: cannot be written"),
    ],
)
def test_a_service_that_cannot_be_started_says_why(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], status: int, complaint: str
) -> None:
    file = tmp_path / "keys.json"
    add_key(file, "one", "read")
    given = ["serve", "--port", "0", "--store", str(tmp_path / "v.db")]
    given += [str(file) if word == "KEYS" else word for word in words]
    try:
        found = cli.main(given)
    except SystemExit as leaving:
        found = int(str(leaving.code))
    _, err = capfd.readouterr()
    assert found == status and err.startswith("error: ") and complaint in err and err.count("\n") == 1


def test_a_service_without_decoders_says_so_and_does_not_start(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "PROGRAM", "no_such_module")
    words = ["serve", "--port", "0", "--store", str(tmp_path / "v.db"), "--log-file", str(tmp_path / "log")]
    assert cli.main([*words, "--workers", "1"]) == 1
    assert "error: a process that decodes audio cannot be started" in capfd.readouterr().err


def test_without_the_extra_one_sentence_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else usual(name))
    for name in [name for name in sys.modules if name.startswith("sound_groove.service")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        MissingExtraError, match=r"The service needs the 'serve' extra: pip install --editable '\.\[serve\]'"
    ):
        import sound_groove.service  # noqa: F401
