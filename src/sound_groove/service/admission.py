"""Who may come in: so many requests in work and waiting, so many bytes of theirs in memory, none while stopping."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sound_groove.errors import RequestError
from sound_groove.service.limits import Limits

RETRY_S = 1


class Admission:
    """Counts what is inside. All its methods are for the event loop's thread.

    Attributes:
        inside: requests in work and waiting.
        in_work: those in work among them.
        held: bytes of uploads in memory.
        stopping: nobody may come in any more.
    """

    def __init__(self, limits: Limits) -> None:
        self.inside = 0
        self.in_work = 0
        self.held = 0
        self.stopping = False
        self._most = limits.in_work + limits.waiting
        self._work = asyncio.Semaphore(limits.in_work)
        self._most_held = limits.held_uploads * limits.upload_bytes

    def check_open(self) -> None:
        """Refuse everything while the service stops.

        Raises:
            RequestError: 503.
        """
        if self.stopping:
            raise RequestError(503, "stopping", "the service is stopping; ask again when it is back", (), RETRY_S)

    @contextmanager
    def entered(self) -> Iterator["Holding"]:
        """A place inside for the length of the block.

        Raises:
            RequestError: 429: there is none; 503: the service is stopping.
        """
        self.check_open()
        if self.inside >= self._most:
            raise RequestError(
                429, "too_many_requests", f"{self.inside} requests are in work or waiting; try again", (), RETRY_S
            )
        self.inside += 1
        holding = Holding(self)
        try:
            yield holding
        finally:
            self.inside -= 1
            holding.release()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Wait until there is a place at work, and have it for the length of the block.

        What waits holds an upload in memory; what is in work holds decoded audio, which may be a hundred times as much.
        """
        async with self._work:
            self.in_work += 1
            try:
                yield
            finally:
                self.in_work -= 1

    def hold(self, count: int) -> None:
        """Account for bytes that are about to lie in memory.

        Raises:
            RequestError: 429: there is no room for them.
        """
        if self.held + count > self._most_held:
            raise RequestError(
                429, "too_many_requests", "too much audio is being worked on at the moment; try again", (), RETRY_S
            )
        self.held += count


class Holding:
    """The bytes that one request holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._count = 0

    def add(self, count: int) -> None:
        """Hold more.

        Raises:
            RequestError: 429: there is no room for them.
        """
        self._admission.hold(count)
        self._count += count

    def release(self) -> None:
        """Let go of all."""
        self._admission.held -= self._count
        self._count = 0
