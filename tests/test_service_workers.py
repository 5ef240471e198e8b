"""Decoding in processes of its own: the same as in this one; whatever a file does to its worker, the next is heard."""

import asyncio
import io
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

import sound_groove.service.workers as workers_module
from broken_audio import encode, hum, write_broken_files
from service_process import EXAMPLES, until
from sound_groove.audio.listening import HeardRecording, hear
from sound_groove.errors import RequestError, ServiceError
from sound_groove.service.decoding import answer, held
from sound_groove.service.limits import Limits
from sound_groove.service.workers import DecodeWorkers

pytestmark = pytest.mark.service

GOOD = (EXAMPLES / "awb-1.flac").read_bytes()


def with_workers(limits: Limits, work: Callable[[DecodeWorkers], Awaitable[None]]) -> DecodeWorkers:
    """Do some work with running workers; those workers, stopped."""

    async def go() -> DecodeWorkers:
        workers = DecodeWorkers(limits)
        await workers.start()
        try:
            await work(workers)
        finally:
            await workers.stop()
        return workers

    workers = asyncio.run(go())
    assert workers.pids == []
    return workers


async def refusal(workers: DecodeWorkers, content: bytes) -> str:
    """The sentence with which a recording is refused."""
    with pytest.raises(RequestError) as refused:
        await workers.hear(content, "it")
    assert refused.value.status == 422
    return str(refused.value)


def flac_of_silence(hours: float, rate: int = 16000) -> bytes:
    """A small file that decodes to hours of all but silence."""
    samples = np.zeros(int(hours * 3600 * rate), np.int16)
    samples[:: 10 * rate] = 1
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC")
    return file.getvalue()


def test_a_worker_hears_what_this_process_hears() -> None:
    async def work(workers: DecodeWorkers) -> None:
        for path in sorted(EXAMPLES.glob("*.flac"))[:3]:
            ours, theirs = hear(path, "it"), await workers.hear(path.read_bytes(), "it")
            assert np.array_equal(ours.samples, theirs.samples) and theirs.samples.dtype == np.float32
            assert ours.facts == theirs.facts and theirs.name == "it"
            assert [warning.code for warning in ours.warnings] == [warning.code for warning in theirs.warnings]
        narrow = encode(hum(1.0), rate=8000)
        heard = await workers.hear(narrow, "it")
        assert heard.facts.sample_rate == 8000 and all(one.message.startswith("it: ") for one in heard.warnings)

    assert with_workers(Limits(workers=1), work).outcomes == {"heard": 4}


def test_hostile_files_are_refused_quickly_and_one_worker_survives_them_all(tmp_path: Path) -> None:
    files = write_broken_files(tmp_path)
    assert len(files) > 200
    wide = io.BytesIO()
    soundfile.write(wide, np.zeros((100, 1000), np.int16), 16000, format="WAV")

    async def work(workers: DecodeWorkers) -> None:
        (pid,) = workers.pids
        for path in files:
            sentence = await refusal(workers, path.read_bytes())
            assert sentence.startswith("it: ") and "\n" not in sentence
            assert "/proc" not in sentence and path.name not in sentence
        assert "1000 channels, more than 64" in await refusal(workers, wide.getvalue())
        assert workers.pids == [pid]
        await workers.hear(GOOD, "it")

    assert with_workers(Limits(workers=1), work).restarts == 0


def test_a_bomb_is_refused_by_its_header_without_decoding_it() -> None:
    bomb = flac_of_silence(0.2)
    assert len(bomb) < 500_000  # of what would be 46 MB of samples

    async def work(workers: DecodeWorkers) -> None:
        process = psutil.Process(workers.pids[0])
        before = process.cpu_times()
        assert "lasts 720.0 s, more than the 600 s allowed here" in await refusal(workers, bomb)
        after = process.cpu_times()
        assert after.user + after.system - before.user - before.system < 0.2

    with_workers(Limits(workers=1), work)


def test_a_header_that_says_no_length_cannot_hide_a_bomb() -> None:
    bomb = bytearray(flac_of_silence(0.2))
    bomb[21] &= 0xF0  # STREAMINFO: 36 bits of sample count
    bomb[22:26] = bytes(4)

    async def work(workers: DecodeWorkers) -> None:
        sentence = await refusal(workers, bytes(bomb))
        assert "more than the 600 s allowed" in sentence or "decod" in sentence

    with_workers(Limits(workers=1), work)


def test_a_recording_that_takes_too_long_loses_its_worker_and_the_next_gets_another() -> None:
    async def work(workers: DecodeWorkers) -> None:
        (first,) = workers.pids
        sentence = await refusal(workers, encode(hum(60.0), kind="flac"))
        assert "takes more than 0.05 s to decode; cut it" in sentence
        assert not psutil.pid_exists(first)
        await asyncio.sleep(0)
        assert "takes more than" in await refusal(workers, encode(hum(60.0), kind="flac"))

    workers = with_workers(Limits(workers=1, decode_s=0.05), work)
    assert workers.outcomes["too_slow"] == 2 and workers.restarts >= 1


def test_a_worker_that_was_killed_from_outside_fails_no_request() -> None:
    async def work(workers: DecodeWorkers) -> None:
        for _ in range(2):
            for pid in workers.pids:
                os.kill(pid, signal.SIGKILL)
            heard = await asyncio.gather(*(workers.hear(GOOD, "it") for _ in range(4)))
            assert all(isinstance(one, HeardRecording) for one in heard)

    assert with_workers(Limits(workers=2), work).restarts >= 2


def test_a_recording_that_crashes_its_workers_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "PROGRAM", "service_stand_in")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))

    async def work(workers: DecodeWorkers) -> None:
        results = await asyncio.gather(
            workers.hear(b"deadly", "it"),
            workers.hear(GOOD, "good"),
            workers.hear(GOOD, "good"),
            return_exceptions=True,
        )
        assert isinstance(results[0], RequestError) and "makes the decoder crash" in str(results[0])
        assert all(isinstance(result, HeardRecording) for result in results[1:])
        await workers.hear(GOOD, "it")

    workers = with_workers(Limits(workers=2), work)
    assert workers.outcomes == {"crashed": 1, "heard": 3} and workers.restarts >= 2


def test_a_recording_that_needs_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(workers: DecodeWorkers) -> None:
        large = encode(hum(500.0), kind="wav")
        with pytest.raises(RequestError) as refused:
            await workers.hear(large, "it")
        assert refused.value.status == 422
        await workers.hear(GOOD, "it")

    with_workers(Limits(workers=1, worker_bytes=110 << 20), work)


def test_a_worker_is_renewed_after_its_share_of_recordings() -> None:
    async def work(workers: DecodeWorkers) -> None:
        seen = set()
        for _ in range(5):
            await workers.hear(GOOD, "it")
            seen.update(workers.pids)
        assert len(seen) >= 2

    assert with_workers(Limits(workers=1, worker_recordings=2), work).restarts == 2


def test_a_decoder_that_cannot_be_started_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "PROGRAM", "no_such_module")

    async def work(workers: DecodeWorkers) -> None: ...

    with pytest.raises(ServiceError, match="a process that decodes audio cannot be started"):
        with_workers(Limits(workers=1), work)


def test_a_decoder_that_cannot_be_started_again_is_no_fault_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(workers: DecodeWorkers) -> None:
        monkeypatch.setattr(workers_module, "PROGRAM", "no_such_module")
        os.kill(workers.pids[0], signal.SIGKILL)
        with pytest.raises(RequestError, match="audio cannot be decoded at the moment") as refused:
            await workers.hear(GOOD, "it")
        assert refused.value.status == 503 and refused.value.retry_after_s == 5
        monkeypatch.setattr(workers_module, "PROGRAM", "sound_groove.service.decoding")
        await workers.hear(GOOD, "it")

    with_workers(Limits(workers=1), work)


def test_a_worker_may_write_no_core_open_few_files_and_loads_no_web_server() -> None:
    async def work(workers: DecodeWorkers) -> None:
        process = psutil.Process(workers.pids[0])
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_NOFILE) == (64, 64)
        assert process.rlimit(psutil.RLIMIT_DATA) == (1 << 29, 1 << 29)
        await workers.hear(GOOD, "it")
        soft, _ = process.rlimit(psutil.RLIMIT_CPU)
        assert 0 < soft < 60
        maps = {Path(one.path).name for one in process.memory_maps()}
        assert any("sndfile" in name for name in maps)
        assert not any("pydantic" in name for name in maps)

    with_workers(Limits(workers=1), work)


def test_workers_end_with_a_service_that_was_killed() -> None:
    program = (
        "import asyncio, os, time\n"
        "from sound_groove.service.workers import DecodeWorkers\n"
        "from sound_groove.service.limits import Limits\n"
        "async def go():\n"
        "    workers = DecodeWorkers(Limits(workers=1))\n"
        "    await workers.start()\n"
        "    print(workers.pids[0], flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(go())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


# --- the worker's own part ---


def test_a_recording_has_no_name_on_any_disk() -> None:
    with held(b"12345") as path:
        assert path.read_bytes() == b"12345"
        target = str(path.readlink())
        assert "memfd" in target and "deleted" in target


def test_the_answer_tells_the_quality_or_why_not() -> None:
    fields, samples = answer(GOOD, 600.0)
    assert set(fields) == {"sample_rate", "channels", "warnings", "quality"}
    assert len(samples) == 4 * len(hear(EXAMPLES / "awb-1.flac").samples)
    too_long = {"refused": "lasts 5.3 s, more than the 2 s allowed here", "code": "too_long", "values": {"most_s": 2.0}}
    assert answer(GOOD, 2.0) == (too_long, b"")
    riff = b"RIFF" + struct.pack("<I", 36) + b"WAVEjunk"
    fields, samples = answer(riff, 600.0)
    assert set(fields) == {"refused", "code", "values"} and samples == b""
