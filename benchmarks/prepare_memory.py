"""Time and memory of `prepare` on as many files as CN-Celeb1 and 2 have together, made up as links to a few tiny ones.

    python benchmarks/prepare_memory.py [--files 640000] [--workers N] [--full] [--join S]

The real command runs in a process of its own: first from nothing, then again over what it left. The memory is the sum
over all its processes of their proportional set size (pages that processes share are counted once), sampled four times
a second. Headers only, unless --full, since the files are nothing like speech.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from sound_groove.provenance import processor

FILES_EACH = 229  # of a speaker, 2,793 of whom have 640,000
LINKS = 60000  # of one file: file systems allow 65,000 at most


def build(root: Path, files: int) -> None:
    """Write speakers' folders with `files` flac files in all: names as long as the real ones, 1 to 4 s of noise."""
    rng = np.random.default_rng(0)
    seeds = []
    for number in range(files // LINKS + 1):
        seeds.append(root / f"seed{number}.flac")
        soundfile.write(seeds[-1], rng.normal(0, 1e-4, 16000 * (1 + number % 4)), 16000, subtype="PCM_16")
    speakers = max(files // FILES_EACH, 4)
    for speaker in range(speakers):
        folder = root / "speech" / f"id{speaker:05d}"
        folder.mkdir(parents=True)
        for n in range(files * speaker // speakers, files * (speaker + 1) // speakers):
            genre = ("interview", "entertainment", "live_broadcast")[n % 3]
            os.link(seeds[n % len(seeds)], folder / f"{genre}-{n // 100 % 100:02d}-{n:06d}.flac")


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; returns seconds and the highest sum of memory in GiB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, start_new_session=True)
    highest = 0.0
    while process.poll() is None:
        highest = max(highest, session_memory(process.pid))
        time.sleep(0.25)
    if process.returncode:
        sys.exit(f"the command failed with {process.returncode}")
    return time.perf_counter() - start, highest / 2**30


def session_memory(session: int) -> float:
    """Proportional set size of all processes of a session, in bytes."""
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                rollup = (folder / "smaps_rollup").read_text()
                total += 1024 * next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):  # it ended between two looks
            continue
    return total


def main() -> None:
    """Build, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=640_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--full", action="store_true", help="decode every file instead of reading its header")
    parser.add_argument("--join", type=float, default=0, help="join to this length (default: 0, no joining)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        build(root, arguments.files)
        out = root / "out"
        prepare = [sys.executable, "-m", "sound_groove", "prepare", "folder", str(root / "speech"), "--out", str(out)]
        prepare += ["--workers", str(arguments.workers), "--join", str(arguments.join)]
        prepare += [] if arguments.full else ["--quick"]
        read = [sys.executable, "-c", f"from sound_groove.corpora.manifest import *; read_manifest({str(out)!r})"]
        rows = [("prepare", prepare), ("prepare again, all done", prepare), ("read_manifest", read)]
        results = [(what, *measure(command)) for what, command in rows]
        print(f"\n{arguments.files:,} files, {arguments.workers} workers, {processor()}")
        print(f"{'':<26}{'seconds':>9}{'peak GiB':>10}")
        for what, seconds, memory in results:
            print(f"{what:<26}{seconds:>9.1f}{memory:>10.2f}")
        for entry in sorted(out.iterdir()):
            print(f"{entry.name:<26}{entry.stat().st_size / 2**20:>9.1f} MiB")


if __name__ == "__main__":
    main()
