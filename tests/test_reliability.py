"""Stated probabilities against what came true: bins by hand, and llrs that are right by construction."""

from pathlib import Path

import numpy as np
import pytest

from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.reliability import measure_reliability
from sound_groove.evaluation.report.plots import plot_reliability
from sound_groove.evaluation.trials.trial_list import TrialList


def listed(labels: np.ndarray, speakers: int = 40) -> tuple[TrialList, np.ndarray]:
    """Trials of many speakers, two names each."""
    rng = np.random.default_rng(0)
    first = rng.integers(speakers, size=len(labels))
    second = np.where(labels, first, (first + rng.integers(1, speakers, len(labels))) % speakers)
    names = tuple(map(str, range(2 * speakers)))
    indices = [side.astype(np.int32) for side in (first, second + speakers, np.arange(len(labels)))]
    return TrialList(names, indices[0], indices[1], labels, indices[2], 0), np.tile(np.arange(speakers), 2)


def normal_llrs(share: float, count: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Targets N(2, 1) and nontargets N(0, 1), whose llr is 2 x - 2."""
    rng = np.random.default_rng(1)
    labels = rng.random(count) < share
    return 2 * rng.normal(2.0 * labels) - 2, labels


def test_bins_by_hand() -> None:
    labels = np.array([True, False, True, False])
    trials, speakers = listed(labels)
    llrs = np.log(np.array([0.95 / 0.05, 0.05 / 0.95, 0.15 / 0.85, 0.92 / 0.08]))  # at a prior of one half
    found = measure_reliability(JudgedList(trials, llrs, llrs, speakers, resamples=0))
    assert found["prior"] == 0.5
    assert [(b["low"], b["high"], b["trials"], b["observed"]) for b in found["reliability"]] == [
        (0.0, 0.1, 1, 0.0), (0.1, 0.2, 1, 1.0), (0.9, 1.0, 2, 0.5)
    ]  # fmt: skip
    assert [b["predicted"] for b in found["reliability"]] == pytest.approx([0.05, 0.15, 0.935])
    assert all(b["observed_low"] is None for b in found["reliability"])


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_true_llrs_come_true_at_the_prior_of_the_list(share: float) -> None:
    llrs, labels = normal_llrs(share)
    trials, speakers = listed(labels)
    right = measure_reliability(JudgedList(trials, llrs, llrs, speakers, resamples=200))["reliability"]
    inside = [b["observed_low"] <= b["predicted"] <= b["observed_high"] for b in right]
    assert len(right) == 10 and sum(inside) >= 8  # 95 % intervals: one or two may miss
    assert all(abs(b["observed"] - b["predicted"]) < 0.05 for b in right)
    # Twice as sure as the evidence allows: the highest bins promise more than comes true.
    boastful = measure_reliability(JudgedList(trials, llrs, 2 * llrs, speakers, resamples=200))["reliability"]
    assert boastful[8]["predicted"] - boastful[8]["observed"] > 0.05 and boastful[8]["observed_high"] < 0.85


def test_the_picture_shows_every_bin(tmp_path: Path) -> None:
    llrs, labels = normal_llrs(0.1)
    trials, speakers = listed(labels)
    found = measure_reliability(JudgedList(trials, llrs, llrs, speakers, resamples=50))
    plot_reliability(tmp_path / "r.png", found["reliability"], found["prior"], "a title")
    assert (tmp_path / "r.png").stat().st_size > 10_000
