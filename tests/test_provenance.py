"""Where a figure came from: the processor's instructions are named beside it."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from sound_groove import provenance
from sound_groove.provenance import NOT_KNOWN, host, instruction_set, machine, named_instructions, processor

SKYLAKE = "sse2 ssse3 fma sse4_1 sse4_2 avx f16c avx2 avx512f avx512dq avx512cd avx512bw avx512vl"


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("fpu sse sse2", "SSE2"),
        ("sse2 ssse3 sse4_1 sse4_2 popcnt", "SSE4.2"),
        ("sse2 sse4_2 avx", "AVX"),
        ("sse2 sse4_2 avx f16c fma avx2", "AVX2"),
        ("sse2 sse4_2 avx f16c fma avx2 avx_vnni", "AVX2 VNNI"),
        (SKYLAKE, "AVX-512"),
        (f"{SKYLAKE} avx512_vnni", "AVX-512 VNNI"),
        (f"{SKYLAKE} avx512_vnni avx512_bf16", "AVX-512 VNNI BF16"),
        (f"{SKYLAKE} avx_vnni avx512_bf16 avx512_vnni amx_bf16 avx512_fp16 amx_tile amx_int8", "AVX-512 VNNI BF16 AMX"),
        ("fp asimd evtstrm crc32 cpuid", "NEON"),
        ("fp asimd crc32 atomics fphp asimdhp asimddp", "NEON DOTPROD"),
        ("fp asimd asimddp sve i8mm bf16", "SVE DOTPROD I8MM BF16"),
        ("fp asimd asimddp sve sve2 i8mm bf16 sme", "SVE2 DOTPROD I8MM BF16 SME"),
        ("half thumb fastmult vfp edsp neon vfpv3", "NEON"),
        ("", NOT_KNOWN),
        ("swp half thumb", NOT_KNOWN),
    ],
)
def test_an_instruction_set_has_the_name_of_its_widest_vectors_and_of_what_is_beside_them(
    flags: str, name: str
) -> None:
    assert named_instructions(flags.split()) == name


@pytest.mark.skipif(platform.system() != "Linux", reason="the flags are Linux's")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="torch tells the same of an x86 processor only")
def test_this_processor_has_what_torch_finds_by_asking_it() -> None:
    there = torch.cpu.get_capabilities()
    vectors = "AVX-512" if there["avx512_f"] else "AVX2" if there["avx2"] else "AVX" if there["avx"] else "SSE4.2"
    vnni, bf16 = there["avx512_vnni"] or there["avx_vnni"], there["avx512_bf16"] or there["amx_bf16"]
    more = [name for name, has in (("VNNI", vnni), ("BF16", bf16), ("AMX", there["amx_tile"])) if has]
    assert instruction_set() == " ".join([vectors, *more])


def of_macos(monkeypatch: pytest.MonkeyPatch, said: str) -> str:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command == ["sysctl", "hw.optional"]
        return subprocess.CompletedProcess(command, 0, stdout=said, stderr="")

    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(subprocess, "run", run)
    return instruction_set()


def test_macos_tells_by_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    m2 = (
        "hw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 1\n"
        "hw.optional.arm.FEAT_SME: 0\nhw.optional.AdvSIMD: 1\nhw.optional.floatingpoint: 1\nhw.optional.neon: 1\n"
    )
    assert of_macos(monkeypatch, m2) == "NEON DOTPROD I8MM BF16"
    assert of_macos(monkeypatch, m2.replace("FEAT_BF16: 1", "FEAT_BF16: 0")) == "NEON DOTPROD I8MM"
    intel = "hw.optional.sse4_2: 1\nhw.optional.avx1_0: 1\nhw.optional.avx2_0: 1\nhw.optional.avx512f: 0\n"
    assert of_macos(monkeypatch, intel) == "AVX2"
    assert of_macos(monkeypatch, intel.replace("avx2_0: 1", "avx2_0: 0")) == "AVX"
    assert of_macos(monkeypatch, intel.replace("avx512f: 0", "avx512f: 1")) == "AVX-512"


def test_a_system_that_does_not_tell_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError

    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(subprocess, "run", missing)
    assert instruction_set() == NOT_KNOWN
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(provenance, "_cpuinfo", lambda key: "")
    assert instruction_set() != NOT_KNOWN  # numpy asked the processor itself when it was imported
    monkeypatch.setattr(provenance, "_flags_of_numpy", lambda: [])
    assert instruction_set() == NOT_KNOWN
    assert processor().endswith(f" ({NOT_KNOWN})")


def test_what_is_kept_with_a_figure_names_the_instruction_set() -> None:
    assert host()["instruction_set"] == machine(threads=2)["instruction_set"] == instruction_set()
    assert processor() == f"{host()['cpu']} ({instruction_set()})"


def test_every_benchmark_that_takes_times_names_the_processor() -> None:
    timed = []
    for path in sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "perf_counter" in text and "__main__" in text:
            timed.append(path.stem)
            assert "processor()" in text or "machine(" in text, path.name
    assert len(timed) > 8
