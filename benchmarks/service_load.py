"""How many requests a second the service answers, how long they take, and whether its memory grows.

    python benchmarks/service_load.py [--clients 1 8 64] [--seconds 20] [--workers 2]
    python benchmarks/service_load.py --soak 600
    python benchmarks/service_load.py --blocked
    python benchmarks/service_load.py --kill [--seconds 20]
    python benchmarks/service_load.py --batches

Everything runs on this machine: the service as `sound-groove serve` starts it, and the clients in one other process,
each sending its next request when the last is answered; one that is told that the service is full (429) waits as long
as it is told, and is counted among the answers alone. The clips last 5 s, 16-bit wav, made from the examples of the
checkout. Beside each rate stands its share of the bare library's: as many processes as the service has workers, each
comparing such clips in memory with one thread, measured before and after, so that a busy machine shows.

A soak sends what people send (comparisons, identifications, enrolments and removals, and files that are no audio) from
8 clients, and prints the memory of the service and of its workers as it goes.

--blocked asks what readers notice of a writer: lists, readiness and identifications by 8 clients, first alone, then
while this process holds the store's write lock and two enrolments wait for it.

--kill ends the service by SIGKILL under enrolments of 8 clients, five times, and looks whether every speaker whose
enrolment was answered is there, whole, when it is started again, and nobody else but who may have been written.

--batches asks whether waiting recordings should be embedded together: the same clips, by as many threads as there are
workers with one clip at a time each, and in batches, in turns, so that a busy machine slows all of them alike.
"""

import argparse
import asyncio
import io
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import httpx
import numpy as np
import psutil
import soundfile

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.comparison import compare
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.provenance import available_cores, machine
from sound_groove.voiceprints.store.opening import open_store

EXAMPLES = Path(__file__).parents[1] / "examples"
KINDS = ("compare", "identify")
CLIP_S = 5
ENROLLED = 20
SOAK_CLIENTS = 8
SAMPLED = 20  # lines of a soak
FULL = 429  # requests that wait are as many as may
BLOCKED_S = 20.0  # at most, of each kind while a writer holds the lock: well below the minute that enrolments wait
WAITING = 2  # enrolments
KILLS = 5


@dataclass(frozen=True, slots=True)
class Load:
    """What some clients saw.

    Attributes:
        rate: requests a second.
        median_s: of the time to an answer.
        p99_s: of the same.
        longest_s: of the same.
        statuses: how often each came.
    """

    rate: float
    median_s: float
    p99_s: float
    longest_s: float
    statuses: dict[str, int]


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each figure")
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    parser.add_argument("--blocked", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--client", nargs=4, metavar=("ADDRESS", "KIND", "COUNT", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        address, kind, count, seconds = arguments.client
        print(json.dumps(asyncio.run(_send(address, kind, int(count), float(seconds)))))
        return
    print(f"{machine(threads=arguments.workers)}, {arguments.workers} workers, clips of {CLIP_S} s\n", flush=True)
    if arguments.batches:
        _batches(arguments.workers, arguments.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.kill:
            _kill(Path(folder), arguments.workers, arguments.seconds)
            return
        service, address = _start(Path(folder), arguments.workers)
        try:
            _enrol(address)
            if arguments.blocked:
                _blocked(Path(folder), address, arguments.seconds)
            elif arguments.soak:
                _soak(service, address, arguments.soak)
            else:
                _measure(address, arguments)
        finally:
            service.terminate()
            service.wait()


def _start(folder: Path, workers: int) -> tuple["subprocess.Popen[str]", str]:
    """The service, and its address."""
    options = ["--port", "0", "--workers", str(workers), "--store", str(folder / "voiceprints.db")]
    service = subprocess.Popen(
        [sys.executable, "-m", "sound_groove", "serve", *options, "--log-file", str(folder / "log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    found = re.search(r"http://\S+", service.stdout.readline())
    if found is None:
        raise SystemExit("the service did not start")
    return service, found[0]


def clips() -> list[bytes]:
    """Recordings of 5 s, as wav files."""
    found = []
    for path in sorted(EXAMPLES.glob("*.flac")):
        samples = np.resize(load_audio(path), CLIP_S * SAMPLE_RATE)
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        found.append(file.getvalue())
    return found


def _enrol(address: str) -> None:
    """Some speakers, so that identification has somebody to find."""
    recordings = clips()
    with httpx.Client(base_url=address, timeout=60) as client:
        for number in range(ENROLLED):
            clip = {"audio": ("a.wav", recordings[number % len(recordings)])}
            client.post(f"/v1/speakers/speaker{number}/recordings", files=clip).raise_for_status()


def _measure(address: str, arguments: argparse.Namespace) -> None:
    print("| request | clients | requests/s | of the bare library | median | p99 | answers |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for kind in arguments.kinds:
        for count in arguments.clients:
            before = _bare(kind, arguments.workers, arguments.seconds / 4)
            load = _load(address, kind, count, arguments.seconds)
            bare = (before + _bare(kind, arguments.workers, arguments.seconds / 4)) / 2
            answers = ", ".join(f"{number} × {status}" for status, number in sorted(load.statuses.items()))
            print(
                f"| {kind} | {count} | {load.rate:.1f} | {load.rate / bare:.0%} of {bare:.1f} | "
                f"{1000 * load.median_s:.0f} ms | {1000 * load.p99_s:.0f} ms | {answers} |",
                flush=True,
            )


def _bare(kind: str, processes: int, seconds: float) -> float:
    """What the library does a second: comparisons, or half of one, which is one clip, for an identification."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        rates = list(executor.map(_compare_for, [seconds] * processes))
    return sum(rates) * (2 if kind == "identify" else 1)


def _compare_for(seconds: float) -> float:
    """Comparisons a second of this process."""
    encoder = SpeakerEncoder.load("pretrained", threads=1)
    recordings = [np.resize(load_audio(path), CLIP_S * SAMPLE_RATE) for path in sorted(EXAMPLES.glob("*.flac"))]
    compare(recordings[0], recordings[1], encoder)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        compare(recordings[count % len(recordings)], recordings[(count + 1) % len(recordings)], encoder)
        count += 1
    return count / (time.perf_counter() - began)


def _load(address: str, kind: str, count: int, seconds: float) -> Load:
    """What clients in another process see."""
    words = [sys.executable, __file__, "--client", address, kind, str(count), str(seconds)]
    found = json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
    times = np.array(found["times"])
    median_s, p99_s, longest_s = np.quantile(times, [0.5, 0.99, 1.0]).tolist()
    return Load(len(times) / found["seconds"], median_s, p99_s, longest_s, found["statuses"])


async def _send(address: str, kind: str, count: int, seconds: float) -> dict[str, object]:
    """Send requests from clients, and say how long each took."""
    recordings, times, statuses = clips(), [], Counter[str]()
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=address, timeout=900, limits=limits) as client:
        began = time.perf_counter()

        async def work(number: int) -> None:
            draw = random.Random(number)
            while (start := time.perf_counter()) < began + seconds:
                answer = await _one(client, kind, draw, recordings, number)
                statuses[str(answer.status_code)] += 1
                if answer.status_code == FULL:
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                else:
                    times.append(time.perf_counter() - start)

        await asyncio.gather(*(work(number) for number in range(count)))
        return {"times": times, "statuses": statuses, "seconds": time.perf_counter() - began}


async def _one(
    client: httpx.AsyncClient, kind: str, draw: random.Random, recordings: list[bytes], number: int
) -> httpx.Response:
    """One request."""
    first, second = draw.sample(recordings, 2)
    if kind == "mixed":
        kind = draw.choice(["compare", "compare", "identify", "identify", "enrol", "remove", "broken"])
    match kind:
        case "compare":
            return await client.post("/v1/compare", files={"a": ("a.wav", first), "b": ("b.wav", second)})
        case "list":
            return await client.get("/v1/speakers")
        case "ready":
            return await client.get("/readyz")
        case "identify":
            return await client.post("/v1/identify", files={"audio": ("a.wav", first)})
        case "enrol":
            address = f"/v1/speakers/soak{number}/recordings"
            return await client.post(address, files={"audio": ("a.wav", first)}, data={"force": "true"})
        case "remove":
            return await client.delete(f"/v1/speakers/soak{number}")
        case _:
            broken = bytearray(first[: draw.randrange(20, len(first))])
            broken[draw.randrange(len(broken))] ^= 0xFF
            return await client.post("/v1/embed", files={"audio": ("a.wav", bytes(broken))})


def _blocked(folder: Path, address: str, seconds: float) -> None:
    print("| asked | writer | requests/s | median | p99 | longest | answers |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for is_blocked in (False, True):
        for kind in ("list", "ready", "identify"):
            with _writer(folder, address) if is_blocked else nullcontext():
                load = _load(address, kind, SOAK_CLIENTS, min(seconds, BLOCKED_S))
            answers = ", ".join(f"{number} × {status}" for status, number in sorted(load.statuses.items()))
            print(
                f"| {kind} | {'holds the lock' if is_blocked else 'none'} | {load.rate:.0f} | "
                f"{1000 * load.median_s:.0f} ms | {1000 * load.p99_s:.0f} ms | {1000 * load.longest_s:.0f} ms | "
                f"{answers} |",
                flush=True,
            )


@contextmanager
def _writer(folder: Path, address: str) -> Iterator[None]:
    """Another process that holds the store's write lock, while enrolments of the service wait for it."""
    recordings = clips()

    def enrol(number: int) -> int:
        clip = {"audio": ("a.wav", recordings[number])}
        return httpx.post(f"{address}/v1/speakers/late{number}/recordings", files=clip, timeout=90).status_code

    def forget(number: int) -> None:
        httpx.delete(f"{address}/v1/speakers/late{number}", timeout=90).raise_for_status()

    with closing(sqlite3.connect(folder / "voiceprints.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(WAITING) as executor:
            waiting = [executor.submit(enrol, number) for number in range(WAITING)]
            time.sleep(1.0)
            yield
            if any(one.done() for one in waiting):
                raise SystemExit("an enrolment did not wait for the writer")
            database.execute("ROLLBACK")
            if [one.result() for one in waiting] != [201] * WAITING:
                raise SystemExit("an enrolment that had waited was not done")
        for number in range(WAITING):
            forget(number)


def _kill(folder: Path, workers: int, seconds: float) -> None:
    print("| round | answered 201 | of them there, whole | written and not answered | started again after |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    answered: set[str] = set()
    service, address = _start(folder, workers)
    for turn in range(1, KILLS + 1):
        mine = asyncio.run(_enrol_until_gone(address, turn, seconds, service))
        answered |= mine
        service.wait()
        began = time.perf_counter()
        service, address = _start(folder, workers)
        started_s = time.perf_counter() - began
        with closing(open_store(folder / "voiceprints.db")) as store:
            there = {entry.name for entry in store.speakers()}
            whole = sum(1 for name in answered if name in there and store.voiceprint(name).recordings)
            assert not store.damaged()
        print(
            f"| {turn} | {len(answered)} | {whole} | {len(there - answered)} | {started_s:.1f} s |",
            flush=True,
        )
        if whole != len(answered):
            raise SystemExit("an enrolment that was answered is lost")
    service.terminate()
    service.wait()


async def _enrol_until_gone(address: str, turn: int, seconds: float, service: "subprocess.Popen[str]") -> set[str]:
    """Enrol speakers until the service is killed; the names of those whose enrolment was answered."""
    recordings, answered = clips(), set[str]()

    async def work(client: httpx.AsyncClient, number: int) -> None:
        for count in range(1_000_000):
            name = f"speaker-{turn}-{number}-{count}"
            clip = {"audio": ("a.wav", recordings[(number + count) % len(recordings)])}
            try:
                answer = await client.post(f"/v1/speakers/{name}/recordings", files=clip)
            except httpx.HTTPError:
                return
            if answer.status_code == 201:
                answered.add(name)

    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        tasks = [asyncio.create_task(work(client, number)) for number in range(SOAK_CLIENTS)]
        await asyncio.sleep(seconds)
        service.kill()
        await asyncio.gather(*tasks)
    return answered


def _soak(service: "subprocess.Popen[str]", address: str, seconds: float) -> None:
    words = [sys.executable, __file__, "--client", address, "mixed", str(SOAK_CLIENTS), str(seconds)]
    clients = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    process = psutil.Process(service.pid)
    print("| after | service | workers | threads | open files |\n| --- | --- | --- | --- | --- |", flush=True)
    began = time.perf_counter()
    for step in range(1, SAMPLED + 1):
        time.sleep(max(0.0, began + step * seconds / SAMPLED - time.perf_counter()))
        workers = ", ".join(f"{child.memory_info().rss / 1e6:.0f}" for child in process.children())
        print(
            f"| {time.perf_counter() - began:.0f} s | {process.memory_info().rss / 1e6:.1f} MB | {workers} MB | "
            f"{process.num_threads()} | {process.num_fds()} |",
            flush=True,
        )
    found = json.loads(clients.communicate()[0])
    answers = ", ".join(f"{number} × {status}" for status, number in sorted(found["statuses"].items()))
    print(f"\n{len(found['times'])} requests, {len(found['times']) / found['seconds']:.1f}/s: {answers}")


def _batches(threads: int, seconds: float) -> None:
    """Clips a second of each way to embed waiting ones."""
    recordings = [np.resize(load_audio(path), CLIP_S * SAMPLE_RATE) for path in sorted(EXAMPLES.glob("*.flac"))]
    single, joint = (SpeakerEncoder.load("pretrained", threads=count) for count in (1, threads))
    executor = ThreadPoolExecutor(threads)
    ways: dict[str, Callable[[], object]] = {
        f"{threads} threads, one clip each": lambda: list(executor.map(single.embed, recordings)),
        f"one at a time on {threads} threads": lambda: [joint.embed(recording) for recording in recordings],
        f"all {len(recordings)} on {threads} threads": lambda: joint.embed(recordings),
        f"{threads} threads, {len(recordings) // threads} clips each": lambda: list(
            executor.map(single.embed, [recordings[start::threads] for start in range(threads)])
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - began)
    print("| way | clips/s (median) | of the first |\n| --- | --- | --- |")
    first = next(iter(times.values()))
    for name, found in times.items():
        ratio = float(np.median([one / other for one, other in zip(first[1:], found[1:], strict=True)]))
        print(f"| {name} | {len(recordings) / float(np.median(found[1:])):.1f} | {ratio:.0%} |")


if __name__ == "__main__":
    main()
