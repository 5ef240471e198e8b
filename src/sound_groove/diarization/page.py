"""Who spoke when, as a page that needs no other file: a timeline, the speakers with their evidence, and the turns.

Names can be corrected in it. A script in the page then says everything anew: labels, the commands that enrol, and the
turns as RTTM and JSON, which can be saved. Without scripts the page shows what was found.
"""

import json
import shlex
from pathlib import Path
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
ENROLLED_TURN_S = 3.0  # that a turn lasts at least which is to be enrolled, where there is one
MOST_ENROLLED = 5  # turns of a speaker
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
        places={one.speaker: place for place, one in enumerate(found.speakers)},
        data=_json({"found": found.as_dict(), "recording": Path(name).stem}),
        not_detected=NOT_DETECTED,
    )


def _row(found: Diarization, one: Speaker, name: str) -> dict[str, Any]:
    """A speaker with the turns, and what enrols the voice from the longest of these, for a shell.

    Turns that are too short to tell a voice by are left out, unless there are no others.
    """
    turns = [turn for turn in found.turns if turn.speaker == one.speaker]
    longest = sorted(turns, key=lambda turn: turn.start_s - turn.end_s)[:MOST_ENROLLED]
    enough = [turn for turn in longest if turn.end_s - turn.start_s >= ENROLLED_TURN_S] or longest[:1]
    files = " ".join(shlex.quote(f"{name}#t={turn.start_s},{turn.end_s}") for turn in sorted(enough))
    return {"speaker": one, "turns": turns, "files": files}


def _json(content: Any) -> str:
    """JSON as it may stand in a script of a page: nothing in it ends the script."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


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
