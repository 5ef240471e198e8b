"""Who spoke when, as lines for people: a bar for each speaker, and the turns."""

from collections.abc import Sequence

from sound_groove.diarization.answer import Diarization, Speaker
from sound_groove.errors import printable
from sound_groove.percentages import probability_text
from sound_groove.terminal import columns_of, padded
from sound_groove.types import SpeakerTurn

BAR = 60  # characters
NOBODY, SOME, MOST = ".", "-", "#"  # of the time that a character stands for


def clock(moment_s: float, digits: int = 1) -> str:
    """A moment as people read it.

    >>> clock(3.25), clock(3725.0, 0)
    ('0:00:03.2', '1:02:05')
    """
    whole = int(moment_s * 10**digits) / 10**digits
    minutes, seconds = divmod(whole, 60)
    width = 3 + digits if digits else 2
    return f"{int(minutes) // 60}:{int(minutes) % 60:02}:{seconds:0{width}.{digits}f}"


def bar(turns: Sequence[SpeakerTurn], duration_s: float, width: int = BAR) -> str:
    """When somebody speaks, in characters that each stand for the same time.

    >>> bar([SpeakerTurn(0.0, 2.0, "anna"), SpeakerTurn(5.0, 5.4, "anna")], 10.0, 10)
    '##...-....'
    """
    step = duration_s / width
    spoken = [0.0] * width
    for turn in turns:
        for place in range(int(turn.start_s / step), min(int(turn.end_s / step) + 1, width)):
            spoken[place] += max(0.0, min(turn.end_s, (place + 1) * step) - max(turn.start_s, place * step))
    return "".join(NOBODY if time <= 0 else SOME if time < step / 2 else MOST for time in spoken)


def summary(found: Diarization) -> list[str]:
    """The answer, line by line: the recording, its speakers, what their names rest on, and the turns."""
    count = len(found.speakers)
    speakers = "nobody speaks" if not count else "1 speaker" if count == 1 else f"{count} speakers"
    overlap = "unknown" if found.overlap_s is None else f"{found.overlap_s:.1f} s"
    lines = [
        f"recording    {clock(found.audio.duration_s)}, {found.audio.speech_s:.1f} s of speech: {speakers}; "
        f"several at a time: {overlap}"
    ]
    width = max((columns_of(printable(one.speaker)) for one in found.speakers), default=0)
    for one in found.speakers:
        own = [turn for turn in found.turns if turn.speaker == one.speaker]
        lines.append(
            f"{padded(printable(one.speaker), width)}  {bar(own, found.audio.duration_s)}  {one.speech_s:7.1f} s"
        )
    lines += [line for one in found.speakers if (line := _evidence(one, width))]
    if found.enrolled is not None:
        lines.append(f"enrolled     {found.enrolled:,} compared, at a prior of {found.prior:g} that it is one of them")
    lines.append(f"model        {found.model.label}")
    lines += [f"{clock(turn.start_s)} - {clock(turn.end_s)}  {printable(turn.speaker)}" for turn in found.turns]
    return lines


def _evidence(one: Speaker, width: int) -> str:
    """What the name of a speaker rests on, or why there is none."""
    evidence = one.evidence
    if evidence is None:
        return ""
    if not evidence.candidates:
        return f"{padded(printable(one.speaker), width)}  nobody is enrolled"
    nearest = evidence.candidates[0]
    what = {"identified": "is", "nobody": "nobody enrolled; nearest is", "inconclusive": "inconclusive; nearest is"}
    verdict = what[evidence.verdict] if one.name is not None or evidence.verdict != "identified" else "less likely also"
    chance = "" if evidence.probability is None else f", probability {probability_text(evidence.probability)}"
    llr = "" if evidence.llr is None else f", llr {evidence.llr:.2f}"
    needed = "" if evidence.limit is None else f" (a name needs {evidence.limit:.2f})"
    return f"{padded(printable(one.speaker), width)}  {verdict} {printable(nearest.name)}{chance}{llr}{needed}"
