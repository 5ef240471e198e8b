"""A service in a process of its own, as a user starts it."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil

from processes import heed_interrupts

STARTING_S = 120.0
EXAMPLES = Path(__file__).parents[1] / "examples"


class ServiceProcess:
    """A running `sound-groove serve`.

    Attributes:
        address: where it answers.
        store: its store's file.
        log: its log's file.
        process: the process.

    Args:
        folder: for store and log.
        options: of the command line, further ones.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.store, self.log = folder / "voiceprints.db", folder / "service.log"
        words = ["--port", "0", "--store", str(self.store), "--log-file", str(self.log), *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sound_groove", "serve", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
        alarm = threading.Timer(STARTING_S, self.process.kill)
        alarm.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        alarm.cancel()
        found = re.search(r"http://\S+", line)
        if found is None:
            _, complaint = self.process.communicate()
            raise AssertionError(f"the service did not start: {line}{complaint}")
        self.address = found[0]

    def client(self, key: str = "") -> httpx.Client:
        """A client of it."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.address, timeout=60, headers=headers)

    def workers(self) -> list[psutil.Process]:
        """The processes that decode."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return children

    def lines(self) -> list[dict[str, object]]:
        """The log."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        return self.process.returncode


def clip(name: str = "awb-1") -> tuple[str, bytes, str]:
    """A recording of the examples, as a part of a form."""
    return (f"{name}.flac", (EXAMPLES / f"{name}.flac").read_bytes(), "audio/flac")


def until(condition: object, seconds: float = 60.0) -> bool:
    """Whether a condition comes true in time."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
