"""The events of a live voice for people: a line each."""

from sound_groove.diarization.text import clock
from sound_groove.errors import printable
from sound_groove.live.listening import LiveEvent
from sound_groove.percentages import probability_text


def line(event: LiveEvent) -> str:
    """One event."""
    what = {"evidence": "listening", "verdict": "verdict", "change": "another voice", "end": "end"}[event.kind]
    head = f"{clock(event.time_s)}  {what:13}  voice {event.voice}, {event.speech_s:4.1f} s of speech"
    if event.kind == "change" or not event.candidates:
        return head
    best = event.candidates[0]
    evidence = f"{printable(best.name)}: llr {best.llr:.2f}, probability {probability_text(best.probability)}"
    told = {"identified": f"it is {printable(event.name or '')}; ", "nobody": "it is nobody of those named; ", None: ""}
    return f"{head}: {told[event.verdict]}{evidence}"


def summary(verdicts: list[LiveEvent], last: LiveEvent) -> list[str]:
    """What was found, once it has ended."""
    count = "1 voice" if last.voice == 1 else f"{last.voice} voices"
    lines = [f"heard        {clock(last.time_s)}, {count}"]
    for event in verdicts:
        who = "nobody of those named" if event.name is None else printable(event.name)
        lines.append(
            f"verdict      voice {event.voice}: {who}, at {clock(event.time_s)} after {event.speech_s:.1f} s of speech"
        )
    if last.verdict is None:
        lines.append(f"undecided    voice {last.voice}, after {last.speech_s:.1f} s of speech")
    return lines
