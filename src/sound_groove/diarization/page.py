"""Who spoke when, as a page that needs no other file: a timeline, the speakers with their evidence, and the turns."""

import shlex
from typing import Any

from sound_groove.audio.data_uri import encode
from sound_groove.audio.given import AnyRecording
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import open_recording
from sound_groove.diarization.answer import Diarization, Speaker
from sound_groove.diarization.text import clock
from sound_groove.errors import AudioError
from sound_groove.percentages import probability_text
from sound_groove.scoring.strength import NOT_DETECTED, evidence_text
from sound_groove.templates import environment_of

LONGEST_SOUND_S = 3600.0  # that a page may hold: about 30 MB
COLOURS = 8  # of the style sheet, which come again where more people speak


def page(found: Diarization, name: str, sound: str | None = None) -> str:
    """The page.

    Args:
        found: who spoke when.
        name: of the recording.
        sound: as a data: URI; None for a page without.
    """
    environment = environment_of("sound_groove.diarization")
    environment.filters |= {
        "clock": clock,
        "probability": lambda value: "" if value is None else probability_text(value),
        "number": lambda value: "" if value is None else f"{value:.2f}",
        "evidence": lambda value: "" if value is None else evidence_text(value),
    }
    numbers = {one.speaker: place % COLOURS for place, one in enumerate(found.speakers)}
    template = environment.get_template("who.html")
    return template.render(
        found=found,
        name=name,
        sound=sound,
        rows=[_row(found, one, name) for one in found.speakers],
        colours=numbers,
        not_detected=NOT_DETECTED,
    )


def _row(found: Diarization, one: Speaker, name: str) -> dict[str, Any]:
    """A speaker with the turns, and what enrols the voice from the longest of these, for a shell."""
    turns = [turn for turn in found.turns if turn.speaker == one.speaker]
    longest = max(turns, key=lambda turn: turn.end_s - turn.start_s)
    enrolment = f"sound-groove enroll NAME {shlex.quote(f'{name}#t={longest.start_s},{longest.end_s}')}"
    return {"speaker": one, "turns": turns, "enrolment": enrolment}


def sound_of(recording: AnyRecording, channel: int | None = None) -> str:
    """The sound of a recording as a data: URI.

    Raises:
        AudioError: it cannot be used, or is too long for a page.
    """
    with open_recording(recording, channel) as opened:
        if opened.samples > LONGEST_SOUND_S * SAMPLE_RATE:
            hours = opened.samples / SAMPLE_RATE / 3600
            raise AudioError(opened.path, f"lasts {hours:.1f} h, too long for a page with sound; leave --audio out")
        return encode(opened.whole().samples)
