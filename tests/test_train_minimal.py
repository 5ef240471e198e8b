"""examples/train_minimal.py runs as it stands, and what it trains tells held-out voices apart better than before."""

import runpy
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "examples" / "train_minimal.py"


@pytest.mark.slow
def test_the_smallest_training_learns(capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    untrained, trained = runpy.run_path(str(SCRIPT))["train"](steps=60)
    assert trained < untrained - 0.05
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == ["step 20", "step 40", "step 60"]
    assert torch.equal(torch.get_rng_state(), state)


def test_it_is_short_enough_to_be_read_at_once() -> None:
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) <= 90
