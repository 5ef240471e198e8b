"""benchmarks/ablation.py: what it makes of finished runs, and of runs that fail."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from sound_groove.files import write_json

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import ablation
from corpus_trials import LISTS


def write_run(out: Path, name: str, model: str, clean: float, degraded: float) -> None:
    """A finished run with the same EER on every list."""
    (out / name).mkdir()
    found = {"clean": clean, "clean_uncentred": 0.5, "degraded": degraded, "degraded_uncentred": 0.5}
    write_json(
        out / name / "eer.json", {"model": model, **{key: dict.fromkeys(LISTS, value) for key, value in found.items()}}
    )


def test_a_row_is_the_mean_of_the_seeds_and_how_far_they_are_apart(tmp_path: Path) -> None:
    write_run(tmp_path, "speeds-0", "a" * 64, 0.10, 0.30)
    write_run(tmp_path, "speeds-1", "b" * 64, 0.12, 0.30)
    write_run(tmp_path, "mean-0", "c" * 64, 0.02, 0.50)
    *_, several, single, empty, first, second = ablation.table(tmp_path).splitlines()
    cells = " | ".join(["11.0"] * len(LISTS))
    # The standard deviation of 10 and 12 is the square root of (1 + 1) / 1.
    assert several.startswith(f"| speeds 0.9, 1.0, 1.1 as classes | 2 | {cells} | **11.00** ± 1.41 | 30.0 |")
    assert several.endswith("| **30.00** ± 0.00 |")
    assert single.endswith("| **50.00** |")  # one seed has no spread
    assert (empty, first.split(), second.split()) == ("", ["speeds", "a" * 12, "b" * 12], ["mean", "c" * 12])


def test_a_run_that_fails_is_named_and_the_others_are_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(run: Path, words: Sequence[str]) -> None:
        raise CalledProcessError(1, ["sound-groove", "train", *words])

    write_run(tmp_path, "mean-0", "c" * 64, 0.02, 0.50)
    for name in ("read_lists", "decode", "degrade", "gather_noise"):
        monkeypatch.setattr(ablation, name, lambda *_: {})
    monkeypatch.setattr(ablation, "train", train)
    monkeypatch.setattr(ablation, "ProcessPoolExecutor", lambda jobs, context: ThreadPoolExecutor(jobs))
    asked = {"corpus": tmp_path, "prepared": tmp_path, "out": tmp_path, "rooms": None, "device": "cpu", "jobs": 2}
    assert ablation.run_all(Namespace(**asked, only=["base", "mean"], seeds=[0])) == [tmp_path / "base-0"]
    said = capsys.readouterr().err
    assert f"{tmp_path / 'base-0'}: CalledProcessError" in said and "c" * 64 in said
