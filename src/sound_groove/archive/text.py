"""A finding for people."""

from sound_groove.archive.finding import Finding, Stretch
from sound_groove.diarization.text import clock
from sound_groove.errors import printable


def summary(found: Finding) -> list[str]:
    """The answer, line by line: whom, in what, by which threshold, and the stretches."""
    who = "the person of the recordings" if found.name is None else printable(found.name)
    count = "nowhere" if not found.found else "1 stretch" if found.found == 1 else f"{found.found:,} stretches"
    told = f", the best {len(found.stretches):,} are told" if len(found.stretches) < found.found else ""
    left = f"; {found.unusable:,} more cannot be used" if found.unusable else ""
    return [
        f"found        {who}: {count}{told}",
        f"searched     {found.recordings:,} recordings, {found.duration_s / 3600:.2f} h, "
        f"{found.windows:,} windows{left}",
        f"allowed      {found.per_hour:g} false alarms an hour, so that a window needs an llr of {found.threshold:.2f}",
        f"model        {found.model.label}",
        *map(_line, found.stretches),
    ]


def _line(one: Stretch) -> str:
    return (
        f"{clock(one.start_s)} - {clock(one.end_s)}  llr {one.llr:5.2f}, {one.best_llr:5.2f} at its best  "
        f"others: {one.false_alarms_per_hour:.2g}/h  {printable(one.recording)}"
    )
