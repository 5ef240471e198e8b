"""Turns in RTTM, the form in which diarization is exchanged and judged (NIST, Rich Transcription 2009).

One line a turn: `SPEAKER`, the recording, its channel, beginning and length in seconds, and the speaker, with `<NA>`
for what is not told. Words are separated by spaces, so that spaces in names become underscores.
"""

import re
from collections.abc import Iterator, Sequence

from sound_groove.errors import printable
from sound_groove.types import SpeakerTurn


def rttm_lines(turns: Sequence[SpeakerTurn], recording: str) -> Iterator[str]:
    """A line for each turn, without its end.

    >>> next(rttm_lines([SpeakerTurn(0.5, 2.0, "Ben Müller")], "call 1"))
    'SPEAKER call_1 1 0.500 1.500 <NA> <NA> Ben_Müller <NA> <NA>'
    """
    for turn in turns:
        length_s = turn.end_s - turn.start_s
        yield (
            f"SPEAKER {_word(recording)} 1 {turn.start_s:.3f} {length_s:.3f} <NA> <NA> {_word(turn.speaker)} <NA> <NA>"
        )


def _word(text: str) -> str:
    return re.sub(r"\s+", "_", printable(text).strip()) or "_"
