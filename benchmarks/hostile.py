"""What clients that mean ill can do to a running service: files, names, crowds, and what is no HTTP.

    python benchmarks/hostile.py [--count 10000] [--seed 1]
    python benchmarks/hostile.py --only names crowds sockets

The service runs as `sound-groove serve` starts it, with a store, a log and a folder for temporary files of its own.
Every answer must be JSON that says one sentence, or holds finite numbers; none may be a 5xx. /healthz must answer
within a second, all the while. At the end nobody may be enrolled who was not acknowledged, nothing may lie in the
folder for temporary files, and neither log, stderr nor metrics may hold a name or a traceback. Whatever is otherwise is
printed, and the exit status is 1.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import httpx
import numpy as np
from hostile_audio import EXAMPLES, HostileFile, hostile_files
from hostile_bombs import bombs
from hostile_names import crowd, send_names
from hostile_siege import TOKEN, Siege, Tally, speaker
from hostile_sockets import send_sockets

from sound_groove.provenance import machine

KNOWN = f"{TOKEN}-known"
PARTS = ("files", "bombs", "names", "crowds", "sockets")
EACH = 25  # files between two looks at the service's health


def main() -> None:
    """Lay siege, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    print(f"{machine(threads=arguments.workers)}, {arguments.workers} workers, seed {arguments.seed}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        siege = Siege(Path(folder), arguments.workers)
        enrol_known(siege)
        if "files" in arguments.only:
            send_files(siege, arguments.count, arguments.seed)
        if "bombs" in arguments.only:
            send_bombs(siege)
        if "names" in arguments.only:
            send_names(siege)
        if "crowds" in arguments.only:
            crowd(siege, arguments.seed)
        if "sockets" in arguments.only:
            send_sockets(siege)
        outcomes = {
            name: siege.metric(f'sound_groove_recordings_total{{outcome="{name}"}}')
            for name in ("heard", "refused", "too_slow", "crashed")
        }
        restarts = siege.metric("sound_groove_worker_restarts_total")
        files = siege.watched.num_fds()
        siege.close()
    report(siege)
    print("\nRecordings:", ", ".join(f"{count:g} {name}" for name, count in outcomes.items()))
    print(f"Workers started in another's place: {restarts:g}; open files at the end: {files}")
    for sentence in siege.wrong[:50]:
        print("WRONG:", sentence)
    print(f"{len(siege.wrong)} things are wrong")
    sys.exit(1 if siege.wrong else 0)


def enrol_known(siege: Siege) -> None:
    """Somebody to verify and identify."""
    clip = ("a.flac", (EXAMPLES / "awb-2.flac").read_bytes())
    siege.client.post(f"{speaker(KNOWN)}/recordings", files={"audio": clip}).raise_for_status()
    siege.enrolled[KNOWN] = 1


def send_files(siege: Siege, count: int, seed: int) -> None:
    """Hostile files, each to one of the addresses."""
    rng = np.random.default_rng(seed + 1)
    good = ("good.flac", (EXAMPLES / "slt-1.flac").read_bytes())
    for number, file in enumerate(hostile_files(count, seed, TOKEN)):
        send_file(siege, file, number, int(rng.integers(6)), good, f"file {number}, {file.family}")
        if number % EACH == 0:
            siege.check_health()
        if number % 1000 == 999:
            print(f"{number + 1} files, {len(siege.wrong)} things wrong", file=sys.stderr, flush=True)


def send_file(
    siege: Siege, file: HostileFile, number: int, address: int, good: tuple[str, bytes], what: str
) -> httpx.Response | None:
    """One file to one of six addresses."""
    part = (file.name, file.content, file.kind)
    match address:
        case 0:
            files: list[tuple[str, tuple[str, bytes] | tuple[str, bytes, str]]]
            files = [("a", good if number % 2 else part), ("b", part)]
            return siege.ask(file.family, what, lambda client: client.post("/v1/compare", files=files))
        case 1:
            return siege.ask(file.family, what, lambda client: client.post("/v1/embed", files={"audio": part}))
        case 2:
            data = {"name": KNOWN}
            return siege.ask(
                file.family, what, lambda client: client.post("/v1/verify", files={"audio": part}, data=data)
            )
        case 3:
            return siege.ask(file.family, what, lambda client: client.post("/v1/identify", files={"audio": part}))
        case _:
            name = f"{TOKEN}-{number}" if address == 4 else KNOWN
            data = {"force": "true" if number % 3 else "false", "keep_audio": "true" if number % 5 == 0 else "false"}
            answer = siege.ask(
                file.family,
                what,
                lambda client: client.post(f"{speaker(name)}/recordings", files={"audio": part}, data=data),
            )
            if answer is not None and answer.status_code == 201:
                siege.enrolled[name] += 1
            return answer


def send_bombs(siege: Siege) -> None:
    """Each bomb, to be embedded; a line for each is printed."""
    print("| bomb | bytes | answer | after |\n| --- | --- | --- | --- |", flush=True)
    for what, content in bombs():
        before = siege.tallies.get("bomb", Tally()).total_s
        part = ("a.wav", content)
        request = siege.client.build_request("POST", "/v1/embed", files={"audio": part})
        answer = siege.ask("bomb", what, lambda client: client.send(request))  # noqa: B023  it is sent at once
        took_s = siege.tallies["bomb"].total_s - before
        said = "" if answer is None else answer.json().get("error", {}).get("message", "embedded")
        status = "none" if answer is None else answer.status_code
        print(f"| {what} | {len(content):,} | {status}: {said} | {took_s:.2f} s |", flush=True)
        siege.check_health()


def report(siege: Siege) -> None:
    """Print what came of it."""
    print("\n| sent | requests | answers | mean | longest |\n| --- | --- | --- | --- | --- |")
    for group, tally in siege.tallies.items():
        count = sum(tally.answers.values())
        answers = ", ".join(f"{number} × {shown}" for shown, number in tally.answers.most_common())
        print(
            f"| {group} | {count:,} | {answers} | {1000 * tally.total_s / count:.0f} ms | {tally.worst_s[0]:.2f} s "
            f"({tally.worst_s[1]}) |"
        )
    (service, worker), (most_service, most_worker) = siege.memory
    print(f"\n/healthz answered within {siege.slowest_health_s:.3f} s, always")
    print(f"Memory of the service: {service:.0f} MB at the start, {most_service:.0f} MB at most")
    print(f"Memory of a worker: {worker:.0f} MB at the start, {most_worker:.0f} MB at most")


if __name__ == "__main__":
    main()
