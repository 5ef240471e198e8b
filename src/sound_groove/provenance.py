"""Where a result came from: software, commit, machine and time, as they are recorded beside it."""

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sound_groove._version import __version__

PACKAGES = ("torch", "onnxruntime", "numpy", "accelerate", "safetensors", "soundfile", "soxr")

NOT_KNOWN = "not known"
# What processors compute many numbers at once with, the best first: the flag by which a system names it, in small
# letters and without "_" and ".", and its name.
_VECTORS = (
    ("avx512f", "AVX-512"),
    ("avx2", "AVX2"),
    ("avx", "AVX"),
    ("sse42", "SSE4.2"),
    ("sse2", "SSE2"),
    ("sve2", "SVE2"),
    ("sve", "SVE"),
    ("asimd", "NEON"),
    ("neon", "NEON"),
)
# And what they have beside it: for products of 8-bit integers, for bfloat16, for matrices.
_MORE = (
    (("avx512vnni", "avxvnni"), "VNNI"),
    (("asimddp", "dotprod"), "DOTPROD"),
    (("i8mm",), "I8MM"),
    (("avx512bf16", "amxbf16", "bf16"), "BF16"),
    (("amxtile",), "AMX"),
    (("sme",), "SME"),
)


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def software() -> dict[str, Any]:
    """Versions, and the git commit where the package runs from a checkout."""
    versions = {"sound-groove": __version__, "python": platform.python_version()}
    versions |= {package: version_of(package) for package in PACKAGES}
    return {"versions": versions, "git_commit": git_commit()}


@cache
def version_of(package: str, otherwise: str = "not installed") -> str:
    """The version of a package, which is read from a file of it once in a process; or what to say where there is none.

    >>> version_of("no-such-package")
    'not installed'
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return otherwise


@cache
def code_hash() -> str:
    """SHA-256 of the package's own modules (hexadecimal), by which two states of one version are told apart."""
    package, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def machine(threads: int) -> dict[str, Any]:
    """What a reader needs to judge a time or to repeat a figure: processor, threads, versions, commit."""
    return {**host(), "threads": threads}


def host() -> dict[str, Any]:
    """Processor and its instruction set, system, versions, commit."""
    return {
        "cpu": _processor_name(),
        "instruction_set": instruction_set(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        **software(),
    }


def processor() -> str:
    """The processor and its instruction set, as a measurement's first line names them: "AMD EPYC (AVX2)"."""
    return f"{_processor_name()} ({instruction_set()})"


def instruction_set() -> str:
    """What this processor computes with, as the system tells it.

    A time without it says little, since the newest instructions are several times as fast as those before; and rounding
    differs from one to the next.

    Returns:
        The widest vectors and what there is beside them, such as "AVX2", "AVX-512 VNNI", "AVX-512 VNNI BF16 AMX",
        "NEON DOTPROD" or "SVE2 DOTPROD I8MM BF16"; "not known" where the system does not tell.
    """
    return named_instructions(_processor_flags())


def named_instructions(flags: Iterable[str]) -> str:
    """The name of an instruction set.

    Args:
        flags: what a processor has, as Linux names it in /proc/cpuinfo or macOS in `sysctl hw.optional`.

    >>> named_instructions(["sse4_2", "avx", "avx2", "avx512f", "avx512_vnni"])
    'AVX-512 VNNI'
    >>> named_instructions(["asimd", "asimddp"])
    'NEON DOTPROD'
    """
    there = {flag.lower().replace("_", "").replace(".", "") for flag in flags}
    vectors = next((name for flag, name in _VECTORS if flag in there), None)
    if vectors is None:
        return NOT_KNOWN
    return " ".join([vectors, *(name for names, name in _MORE if not there.isdisjoint(names))])


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


def _processor_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _processor_flags() -> list[str]:
    """What the first processor has, by the system's names; nothing where the system does not tell."""
    if platform.system() == "Darwin":
        return _flags_of_sysctl()
    return (_cpuinfo("flags") or _cpuinfo("Features")).split() or _flags_of_numpy()  # x86, ARM


def _flags_of_numpy() -> list[str]:
    """What numpy found when it was imported; nothing of a numpy that keeps it elsewhere."""
    try:
        features = import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):
        return []
    return [name for name, is_there in features.items() if is_there]


def _flags_of_sysctl() -> list[str]:
    """What macOS says that there is, such as avx2_0, neon or FEAT_BF16, without such beginnings and endings."""
    try:
        done = subprocess.run(
            ["sysctl", "hw.optional"], capture_output=True, text=True, timeout=20, check=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return []
    named = (line.partition(": ") for line in done.stdout.splitlines())
    there = [name.rpartition(".")[2] for name, _, value in named if value.strip() == "1"]
    # Intel's are called avx1_0, avx2_0 and sse4_2; ARM's have FEAT_ before their names.
    return [re.sub(r"^feat_|(?<=avx2)_0$|(?<=avx)1_0$", "", name.lower()) for name in there]


def _cpuinfo(key: str) -> str:
    """What Linux says of the first processor; nothing on other systems, or where it does not say."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:  # not Linux
        pass
    return ""
