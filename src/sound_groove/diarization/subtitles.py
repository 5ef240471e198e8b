"""Subtitles (SubRip, .srt) with the name of who speaks in front of every one.

A subtitle gets the speaker who speaks longest while it is shown; one during which nobody is heard stays as it is.
Nothing else of the file is changed but the line ends, and a mark at its beginning that says how it is encoded.
"""

import re
from collections.abc import Sequence

from sound_groove.errors import UsageError
from sound_groove.types import SpeakerTurn

_TIME = r"(\d+):(\d{2}):(\d{2})[,.](\d{1,3})"
_CUE = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}.*")


def with_names(subtitles: str, turns: Sequence[SpeakerTurn]) -> str:
    r"""Subtitles with names.

    Args:
        subtitles: the text of a .srt file.
        turns: who speaks when.

    Raises:
        UsageError: no line of the text gives the time of a subtitle.

    >>> with_names("1\n00:00:01,000 --> 00:00:02,500\nGood morning.\n", [SpeakerTurn(0.0, 3.0, "anna")])
    '1\n00:00:01,000 --> 00:00:02,500\nanna: Good morning.\n'
    """
    lines = subtitles.removeprefix("\ufeff").splitlines()
    told, waiting, cues = [], "", 0
    for line in lines:
        if found := _CUE.fullmatch(line):
            waiting = speaker_between(turns, _seconds(*found.groups()[:4]), _seconds(*found.groups()[4:]))
            cues += 1
        elif waiting and line.strip():
            line, waiting = f"{waiting}: {line}", ""
        told.append(line)
    if not cues:
        raise UsageError("there is no subtitle in it: no line reads '00:00:01,000 --> 00:00:02,500'")
    return "\n".join(told) + "\n"


def speaker_between(turns: Sequence[SpeakerTurn], start_s: float, end_s: float) -> str:
    """Who speaks longest between two moments; empty where nobody does."""
    lengths = dict[str, float]()
    for turn in turns:
        shared_s = min(turn.end_s, end_s) - max(turn.start_s, start_s)
        if shared_s > 0:
            lengths[turn.speaker] = lengths.get(turn.speaker, 0.0) + shared_s
    return max(lengths, key=lambda speaker: lengths[speaker], default="")


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + int(fraction.ljust(3, "0")) / 1000
