"""A service under siege: how it is started, what is asked of every answer, and what must be true of it at the end."""

import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil

TOKEN = "zq7xhostile"  # in every name of a speaker and a file: no line of the log may have it
HEALTHY_S = 1.0
LOG_FIELDS = {"time", "level", "event", "id", "method", "route", "status", "duration_ms", "bytes", "audio_s", "key"}


@dataclass(slots=True)
class Tally:
    """What came of some requests.

    Attributes:
        answers: how often each status and code came.
        worst_s: the longest wait, and for what.
        total_s: of all of them.
    """

    answers: Counter[str] = field(default_factory=Counter)
    worst_s: tuple[float, str] = (0.0, "")
    total_s: float = 0.0

    def add(self, shown: str, took_s: float, what: str) -> None:
        """Count one."""
        self.answers[shown] += 1
        self.worst_s = max(self.worst_s, (took_s, what))
        self.total_s += took_s


class Siege:
    """A running service, and what it did wrong.

    Attributes:
        address: where it answers.
        client: of it.
        wrong: a sentence for everything that may not be.
        tallies: by what was sent.
        enrolled: recordings of each speaker that the service acknowledged.
        memory: megabytes of the service and of the largest worker: the first, and the most that was seen.
        slowest_health_s: the longest that /healthz took.

    Args:
        folder: for its store, its log and its temporary files.
        workers: that decode.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self._log, self._complaints, self._temporary = folder / "log", folder / "stderr", folder / "tmp"
        self._temporary.mkdir()
        options = ["--port", "0", "--workers", str(workers), "--store", str(folder / "v.db"), "--read-timeout", "5"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sound_groove", "serve", *options, "--log-file", str(self._log)],
            stdout=subprocess.PIPE,
            stderr=self._complaints.open("w"),
            text=True,
            env={**os.environ, "TMPDIR": str(self._temporary)},
        )
        assert self._process.stdout is not None
        found = re.search(r"http://\S+", self._process.stdout.readline())
        if found is None:
            raise SystemExit(f"the service did not start: {self._complaints.read_text()}")
        self.address = found[0]
        self.client = httpx.Client(base_url=self.address, timeout=120)
        self.wrong: list[str] = []
        self.tallies: dict[str, Tally] = {}
        self.enrolled: Counter[str] = Counter()
        self.slowest_health_s = 0.0
        self.watched = psutil.Process(self._process.pid)
        self.memory = [self._memory()] * 2

    def _memory(self) -> tuple[float, float]:
        workers = [child.memory_info().rss for child in self.watched.children()]
        return self.watched.memory_info().rss / 1e6, max(workers, default=0) / 1e6

    def socket(self) -> socket.socket:
        """A bare connection."""
        host, port = self.address.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def ask(self, group: str, what: str, send: Callable[[httpx.Client], httpx.Response]) -> httpx.Response | None:
        """Send a request, and judge its answer; None where no answer came."""
        began = time.perf_counter()
        try:
            answer = send(self.client)
        except httpx.HTTPError as error:
            self.wrong.append(f"{group}, {what}: no answer ({type(error).__name__})")
            return None
        took_s = time.perf_counter() - began
        code = self._judge(answer, f"{group}, {what}")
        self.tallies.setdefault(group, Tally()).add(f"{answer.status_code}{code}", took_s, what)
        return answer

    def _judge(self, answer: httpx.Response, where: str) -> str:
        """Note what is wrong with an answer; its code."""
        if answer.status_code >= 500:
            self.wrong.append(f"{where}: {answer.status_code} {answer.text[:200]}")
        try:
            content = answer.json()
        except ValueError:
            self.wrong.append(f"{where}: no JSON: {answer.text[:100]!r}")
            return ""
        if answer.status_code < 400:
            if not _finite(content):
                self.wrong.append(f"{where}: numbers that are not finite")
            return ""
        error = content.get("error", {})
        message = error.get("message", "")
        if not message or not message.isprintable() or error.get("request_id") != answer.headers.get("x-request-id"):
            self.wrong.append(f"{where}: no sentence: {answer.text[:200]!r}")
        return f" {error.get('code')}"

    def check_health(self) -> None:
        """It lives, and says so soon, on a connection of its own; what it takes of memory is noted."""
        began = time.perf_counter()
        try:
            answer = httpx.get(f"{self.address}/healthz", timeout=20)
            if answer.status_code != 200:
                self.wrong.append(f"/healthz: {answer.status_code}")
        except httpx.HTTPError as error:
            self.wrong.append(f"/healthz: {type(error).__name__}")
        took_s = time.perf_counter() - began
        self.slowest_health_s = max(self.slowest_health_s, took_s)
        if took_s > HEALTHY_S:
            self.wrong.append(f"/healthz took {took_s:.2f} s")
        now, most = self._memory(), self.memory[1]
        self.memory[1] = (max(now[0], most[0]), max(now[1], most[1]))

    def metric(self, name: str) -> float:
        """The sum of a metric."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and not line.startswith("#"))

    def close(self) -> None:
        """Stop it, and look at what it left."""
        self._check_enrolled()
        for name in ("sound_groove_requests_inside ", "sound_groove_held_bytes "):
            if self.metric(name):
                self.wrong.append(f"{name}is {self.metric(name):g} at the end")
        metrics = self.client.get("/metrics").text
        self.client.close()
        self._process.terminate()
        if self._process.wait(60) != 0:
            self.wrong.append(f"it ended with {self._process.returncode}")
        if left := list(self._temporary.iterdir()):
            self.wrong.append(f"left in the folder for temporary files: {left}")
        for where, text in (
            ("log", self._log.read_text()),
            ("stderr", self._complaints.read_text()),
            ("metrics", metrics),
        ):
            if TOKEN in text or "Traceback" in text:
                self.wrong.append(f"the {where} has a name, or a traceback")
        if self._complaints.read_text().strip() != "stopped":
            self.wrong.append(f"stderr: {self._complaints.read_text()[:500]!r}")
        for line in map(json.loads, self._log.read_text().splitlines()):
            if line["event"] in ("failure", "server") or not LOG_FIELDS | {"code", "inside"} >= set(line):
                self.wrong.append(f"a line of the log: {line}")

    def _check_enrolled(self) -> None:
        """What is in the store is what was acknowledged."""
        found: dict[str, int] = {}
        after: str | None = ""
        while after is not None:
            page = self.client.get("/v1/speakers", params={"after": after, "limit": 1000}).json()
            found.update({one["name"]: one["recordings"] for one in page["speakers"]})
            after = page["next"]
        if found != {name: count for name, count in self.enrolled.items() if count}:
            self.wrong.append(f"{len(found)} are enrolled, and {len(self.enrolled)} were acknowledged")


def speaker(name: str) -> str:
    """The address of a speaker."""
    return f"/v1/speakers/{quote(name, safe='')}"


def _finite(content: Any) -> bool:
    if isinstance(content, float):
        return math.isfinite(content)
    if isinstance(content, dict):
        return all(map(_finite, content.values()))
    return not isinstance(content, list) or all(map(_finite, content))
