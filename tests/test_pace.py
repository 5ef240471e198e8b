"""What is told of a training's pace: each figure as it is worked by hand, and no line too early."""

import pytest

from sound_groove.training import pace
from sound_groove.training.pace import Pace
from test_watching import Clock


def test_the_line_gives_mean_loss_speed_and_the_time_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(), list[str]()
    monkeypatch.setattr(pace, "time", clock)
    told = Pace(10_000, said.append)
    for step in range(1, 7):
        clock.sleep(10.0)
        told.step(f"batch {step}", 100, float(step))
    # After 30 s: losses 1, 2, 3; 300 crops in 30 s; the other 9,700 take 970 s. After 60 s: 4, 5, 6; 9,400 in 940 s.
    assert said == [
        "batch 3: loss 2.000, 10 crops/s, about 16 min 10 s left",
        "batch 6: loss 5.000, 10 crops/s, about 15 min 40 s left",
    ]
    # A validation of 570 s slows what is left down, and not the speed: 900 crops of 10,000 in 660 s.
    clock.sleep(570.0)
    told.begin_epoch()
    for step in range(7, 10):
        clock.sleep(10.0)
        told.step(f"batch {step}", 100, 1.0)
    assert said[2:] == ["batch 9: loss 1.000, 10 crops/s, about 1 h 51 min left"]
