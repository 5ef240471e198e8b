"""How fast a training goes and how long it will take, told every half minute where no bar is drawn."""

import time
from collections.abc import Callable

EVERY_S = 30.0


class Pace:
    """Tells loss, speed and time left in a line, every so often.

    The time left is that of the crops which are left, at the pace since the run (or its resumption) began, validations
    included.

    Args:
        crops: that the run has left.
        say: takes the line.
        unit: what the crops are called.
    """

    def __init__(self, crops: int, say: Callable[[str], None], unit: str = "crops") -> None:
        self._left, self._say, self._unit = crops, say, unit
        self._done = 0
        self._began = self._told = self._last = time.monotonic()
        self._since, self._losses = 0, [0.0, 0.0]  # crops since the last line; sum of the losses since, and how many

    def begin_epoch(self) -> None:
        """Let what was done since the last step, such as a validation, count for the time left, not for the speed."""
        now = time.monotonic()
        self._told += now - self._last
        self._last = now

    def step(self, where: str, crops: int, loss: float) -> None:
        """Take note of an optimiser step, and tell if it is time.

        Args:
            where: how far the run is, such as 'epoch 2/20, batch 10/300'.
            crops: of the step.
            loss: of the step.
        """
        self._done += crops
        self._since += crops
        self._losses = [self._losses[0] + loss, self._losses[1] + 1]
        now = self._last = time.monotonic()
        if now - self._told < EVERY_S:
            return
        left_s = (self._left - self._done) * (now - self._began) / self._done
        mean = self._losses[0] / self._losses[1]
        speed = self._since / (now - self._told)
        self._say(f"{where}: loss {mean:.3f}, {speed:.3g} {self._unit}/s, about {time_text(left_s)} left")
        self._told, self._since, self._losses = now, 0, [0.0, 0.0]


def time_text(seconds: float) -> str:
    """A time in the two units that matter.

    >>> time_text(42.4), time_text(200), time_text(3700), time_text(90_000)
    ('42 s', '3 min 20 s', '1 h 1 min', '1 d 1 h')
    """
    whole = max(0, round(seconds))
    for size, unit, smaller_size, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller}"
    return f"{whole} s"
