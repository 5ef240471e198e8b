"""The time that training waits for crops."""

from collections.abc import Iterator

import pytest

from sound_groove.training import watching
from sound_groove.training.watching import Watched


class Clock:
    """A clock that goes on only when it is told to, so that a busy machine changes nothing."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_what_the_source_takes_is_waiting_and_what_the_taker_takes_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(watching, "time", clock)

    def slow() -> Iterator[int]:
        for number in range(3):
            clock.sleep(0.25)
            yield number
        clock.sleep(1.0)  # to find out that there is nothing more

    watched = Watched(slow())
    seen = []
    for number in watched:
        seen.append(number)
        clock.sleep(10.0)
    assert seen == [0, 1, 2]
    assert watched.waited_s == 1.75
