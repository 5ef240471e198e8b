"""Turns: what one speaker says until a pause, or until another speaks."""

from collections.abc import Sequence

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span

JOINED_S = 0.25  # a pause within a turn
DIGITS = 3  # after the point: milliseconds

Spoken = tuple[Span, int]  # samples, and the number of who speaks


def joined_turns(spoken: Sequence[Spoken], joined_s: float = JOINED_S) -> list[Spoken]:
    """Stretches of one speaker that follow each other closely, made one.

    Args:
        spoken: by their beginnings; of several speakers they may overlap.
        joined_s: the longest pause within a turn.

    >>> joined_turns([((0, 8000), 0), ((9600, 16000), 0), ((16000, 20000), 1), ((30000, 32000), 1)], 0.2)
    [((0, 16000), 0), ((16000, 20000), 1), ((30000, 32000), 1)]
    """
    turns = list[Spoken]()
    last = dict[int, int]()  # where the last turn of each speaker stands
    for (start, end), speaker in sorted(spoken):
        place = last.get(speaker, -1)
        gap = start - turns[place][0][1] if place >= 0 else 0
        # Whoever speaks in a pause ends the turn before it.
        if place >= 0 and (gap <= 0 or (gap <= joined_s * SAMPLE_RATE and place == len(turns) - 1)):
            turns[place] = ((turns[place][0][0], max(end, turns[place][0][1])), speaker)
        else:
            last[speaker] = len(turns)
            turns.append(((start, end), speaker))
    return turns


def seconds(samples: int) -> float:
    """A moment in seconds, to the millisecond.

    >>> seconds(16016)
    1.001
    """
    return round(samples / SAMPLE_RATE, DIGITS)
