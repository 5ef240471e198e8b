"""What one key may ask for in a minute: requests, and seconds of audio.

Each key has what a minute allows, and gets it back at an even rate. A request takes its part when it comes; its audio
is known only when it was decoded, so that it is charged then, and a key that is in debt waits until it is paid. What
was decoded and then refused is charged as well.

One process answers all requests of a service, whichever of its workers decodes, so the account is here alone; two
services with one file of keys have an account each.
"""

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from sound_groove.errors import RequestError
from sound_groove.service.keys import Key

MINUTE_S = 60.0


@dataclass(slots=True)
class _Account:
    """What is left to a key, at a time."""

    requests: float
    audio_s: float
    at: float


@dataclass(slots=True)
class Meter:
    """Counts the seconds of audio that a request had decoded."""

    audio_s: float = 0.0


METER: ContextVar[Meter | None] = ContextVar("METER", default=None)  # of the request under way


class Rations:
    """The accounts of all keys. All methods are for the event loop's thread.

    Args:
        clock: tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, _Account] = {}  # by hash: a key that is made anew under a name begins anew

    def take(self, key: Key) -> None:
        """Take a request from a key's account.

        Raises:
            RequestError: 429: it has none left, or owes audio; with the seconds after which it may try again.
        """
        account = self._account(key)
        if account is None:
            return
        if key.audio_s_a_minute is not None and account.audio_s <= 0:
            wait_s = (1.0 - account.audio_s) * MINUTE_S / key.audio_s_a_minute
            raise _over("over_audio", f"{key.audio_s_a_minute:g} s of audio", wait_s)
        if key.requests_a_minute is not None:
            if account.requests < 1:
                wait_s = (1 - account.requests) * MINUTE_S / key.requests_a_minute
                raise _over("over_requests", f"{key.requests_a_minute} requests", wait_s)
            account.requests -= 1

    def charge(self, key: Key, audio_s: float) -> None:
        """Take seconds of audio from a key's account, which may leave it in debt."""
        account = self._account(key)
        if account is not None:
            account.audio_s -= audio_s

    def _account(self, key: Key) -> _Account | None:
        """As it stands now; None for a key without limits."""
        if key.requests_a_minute is None and key.audio_s_a_minute is None:
            self._accounts.pop(key.hash, None)
            return None
        now = self._clock()
        most = (float(key.requests_a_minute or math.inf), key.audio_s_a_minute or math.inf)
        account = self._accounts.setdefault(key.hash, _Account(*most, now))
        minutes = (now - account.at) / MINUTE_S
        # The limits may have changed since: what is above them is gone.
        account.requests = _refilled(account.requests, most[0], minutes)
        account.audio_s = _refilled(account.audio_s, most[1], minutes)
        account.at = now
        return account


def _refilled(left: float, most: float, minutes: float) -> float:
    return most if math.isinf(most) else min(most, min(left, most) + most * minutes)


def _over(code: str, what: str, wait_s: float) -> RequestError:
    message = f"this key may ask for {what} a minute, and has; try again later"
    return RequestError(429, code, message, (), max(1, math.ceil(wait_s)))
