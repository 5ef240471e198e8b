"""The time that training waits for crops."""

import time
from collections.abc import Iterator

from sound_groove.training.watching import Watched


def slow() -> Iterator[int]:
    for number in range(3):
        time.sleep(0.05)
        yield number


def test_what_the_source_takes_is_waiting_and_what_the_taker_takes_is_not() -> None:
    watched = Watched(slow())
    for _ in watched:
        time.sleep(0.1)
    assert 0.15 <= watched.waited_s < 0.3
