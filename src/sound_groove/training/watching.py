"""How long training waits for what it is given."""

import time
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Watched(Generic[T]):
    """An iterator that knows how long its taker has waited for it.

    Attributes:
        waited_s: seconds, so far.
    """

    def __init__(self, source: Iterator[T]) -> None:
        self._source = source
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        started = time.monotonic()
        try:
            return next(self._source)
        finally:
            self.waited_s += time.monotonic() - started
