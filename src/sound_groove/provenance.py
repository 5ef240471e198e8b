"""Where a result came from: software, commit, machine and time, as they are recorded beside it."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sound_groove import __version__

FEATURES = ("AVX2", "AVX512F", "AVX512VNNI", "AVX512BF16", "AVX512FP16", "ASIMD", "ASIMDDP", "SVE", "RVV", "VSX4")
PACKAGES = ("torch", "onnxruntime", "numpy", "accelerate", "safetensors", "soundfile", "soxr")


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def software() -> dict[str, Any]:
    """Versions, and the git commit where the package runs from a checkout."""
    versions = {"sound-groove": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"versions": versions, "git_commit": git_commit()}


def machine(threads: int) -> dict[str, Any]:
    """What a reader needs to judge a time or to repeat a figure: processor, threads, versions, commit."""
    return {**host(), "threads": threads}


def host() -> dict[str, Any]:
    """Processor, system, versions, commit."""
    return {"cpu": _processor(), "cpus": os.cpu_count(), "system": platform.platform(), **software()}


def processor_features() -> str:
    """The instructions for vectors that this process may use, by which kernels choose how they compute.

    The processor itself is asked, through numpy: what an emulator or a virtual machine hides does not count.
    """
    try:
        features = import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):  # a numpy that keeps them elsewhere
        return "unknown instructions"
    found = [name for name in FEATURES if features.get(name)]
    return ", ".join(found) or "no instructions for vectors"


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_commit() -> str | None:
    """The checkout's commit, with '+changes' when files differ from it; None outside a checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None

    def git(*words: str) -> str:
        # No optional locks: a training that is killed at this moment must not leave the checkout locked.
        command = ["git", "--no-optional-locks", "-C", str(folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
