"""A decoder that crashes on what says so, in the place of the service's own."""

import os
import signal
from typing import Any

import sound_groove.service.decoding as decoding

usual = decoding.answer


def answer(
    content: bytes, duration_s: float, channel: int | None = None, judged: bool = True
) -> tuple[dict[str, Any], decoding.Buffer]:
    """The usual answer, or none."""
    if content.startswith(b"deadly"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return usual(content, duration_s, channel, judged)


if __name__ == "__main__":
    decoding.answer = answer
    decoding.main()
