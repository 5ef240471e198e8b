"""The windows of a recording that are embedded one by one, to find out who speaks in each.

A window lies within one stretch of speech, so that it has no pause in it and, mostly, one voice. A stretch that is
shorter than a window is one window as it is.
"""

from collections.abc import Sequence

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span

# A shorter window is repeated to 2 s for the network, which costs more and tells less.
WINDOW = 2 * SAMPLE_RATE
SHIFT = SAMPLE_RATE * 3 // 4
BRIDGED = SAMPLE_RATE // 4  # a pause within a word or between two: windows may lie across it


def windows_in(speech: Sequence[Span], window: int = WINDOW, shift: int = SHIFT, bridged: int = BRIDGED) -> list[Span]:
    """The windows of a recording, by their beginnings.

    Args:
        speech: stretches of speech in samples, by their beginnings.
        window: samples of a window.
        shift: samples between the beginnings of two windows, at most; they share a stretch evenly.
        bridged: samples of a pause that is taken for speech.

    >>> windows_in([(0, 20), (21, 50), (90, 95)], window=20, shift=10, bridged=5)
    [(0, 20), (10, 30), (20, 40), (30, 50), (90, 95)]
    """
    found = list[Span]()
    for start, end in bridged_spans(speech, bridged):
        room = max(end - start - window, 0)
        steps = -(-room // shift)
        starts = [start, *(start + round(room * step / steps) for step in range(1, steps + 1))]
        found += [(first, min(first + window, end)) for first in starts]
    return found


def bridged_spans(speech: Sequence[Span], most: int) -> list[Span]:
    """Stretches of speech, by their beginnings, joined where no more than `most` samples lie between two.

    >>> bridged_spans([(0, 10), (12, 20), (30, 40)], 2)
    [(0, 20), (30, 40)]
    """
    joined = list[Span]()
    for start, end in speech:
        if joined and start - joined[-1][1] <= most:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
