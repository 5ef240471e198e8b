"""The speakers of a recording by name: for each one open-set decision, over all that was heard of that speaker.

What a speaker says in the whole recording is one recording of that voice, and is embedded and judged as any recording
is that `identify` is asked about; so its evidence is worth what it is worth there. Of hours the longest turns stand, up
to five minutes. Where several speakers get one name, they are taken for one, if what both say together is still that
person's by the same decision; otherwise the name stays with the one for whom there is more evidence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import NO_VERDICT, HeardRecording, digest_of
from sound_groove.audio.pauses import joined
from sound_groove.audio.pieces import Span
from sound_groove.audio.reading import OpenRecording
from sound_groove.diarization.hearing import HeardWindows
from sound_groove.diarization.turns import Spoken
from sound_groove.scoring.decision import DecisionRule
from sound_groove.types import Samples
from sound_groove.voiceprints.identification import Identification

MOST_VOICE_S = 300.0  # of a speaker that are judged: 19 MB

Ask = Callable[[HeardRecording], Identification]


@dataclass(frozen=True, slots=True)
class NamedSpeaker:
    """Somebody who speaks in the recording.

    Attributes:
        numbers: of the clusters that are this speaker.
        name: as enrolled; None for somebody who is not, or of whom that cannot be said.
        answer: the decision.
    """

    numbers: tuple[int, ...]
    name: str | None
    answer: Identification


def speaker_voices(recording: OpenRecording, spoken: Sequence[Spoken], heard: HeardWindows) -> list[HeardRecording]:
    """What each speaker says, as a recording that is not embedded yet.

    Args:
        recording: is read once more.
        spoken: stretches of speech and their speakers, 0 to K - 1.
        heard: of the recording.
    """
    count = max((speaker for _, speaker in spoken), default=-1) + 1
    chosen = sorted(
        (span, speaker) for speaker in range(count) for span in longest([s for s, who in spoken if who == speaker])
    )
    parts: list[list[Samples]] = [[] for _ in range(count)]
    for (_, speaker), part in zip(chosen, recording.parts([span for span, _ in chosen]), strict=True):
        parts[speaker].append(part)
    warnings = tuple(warning for warning in heard.warnings if warning.code in NO_VERDICT)
    voices = []
    for number, stretches in enumerate(parts):
        samples = joined(stretches)
        seconds = len(samples) / SAMPLE_RATE
        facts = replace(heard.facts, duration_s=seconds, speech_s=seconds)
        whole = ((0, len(samples)),)
        voices.append(HeardRecording(f"speaker {number + 1}", facts, warnings, digest_of(samples), whole, samples))
    return voices


def longest(spans: Sequence[Span], most: int = int(MOST_VOICE_S * SAMPLE_RATE)) -> list[Span]:
    """The longest stretches, up to so many samples, at least one; the last of them may be cut.

    >>> longest([(0, 10), (20, 50), (60, 80)], 45)
    [(20, 50), (60, 75)]
    """
    kept, left = list[Span](), most
    for start, end in sorted(spans, key=lambda span: span[0] - span[1]):
        if left > 0:
            kept.append((start, min(end, start + left)))
            left -= end - start
    return sorted(kept)


def name_speakers(voices: Sequence[HeardRecording], ask: Ask, fewest: int = 1) -> list[NamedSpeaker]:
    """Ask for every speaker's name.

    Args:
        voices: what each says.
        ask: decides on one.
        fewest: speakers that must be left.

    Returns:
        The speakers, by their first number.
    """
    answers = [ask(voice) for voice in voices]
    named = [NamedSpeaker((number,), answer.speaker, answer) for number, answer in enumerate(answers)]
    done = [one for one in named if one.name is None]
    known = sorted((one for one in named if one.name is not None), key=lambda one: (one.name, -_llr(one.answer)))
    left = len(named)
    for name, group in groupby(known, key=lambda one: one.name):
        best, *others = group
        numbers = tuple(sorted(number for one in (best, *others) for number in one.numbers))
        if others and left - len(others) >= fewest:
            together = ask(_together([voices[number] for number in numbers]))
            if together.speaker == name:
                done.append(NamedSpeaker(numbers, name, together))
                left -= len(others)
                continue
        done += [best, *(replace(one, name=None) for one in others)]
    return sorted(done, key=lambda one: one.numbers)


def shared_rule(rule: DecisionRule, speakers: int) -> DecisionRule:
    """The rule for one of several speakers, so that the share of recordings with a wrong name is the one allowed.

    >>> shared_rule(DecisionRule(max_false_accept=0.01), 5).max_false_accept
    0.002
    """
    rate = rule.max_false_accept
    return rule if rate is None else replace(rule, max_false_accept=rate / max(speakers, 1))


def _llr(answer: Identification) -> float:
    """Of the best candidate."""
    llr = answer.candidates[0].llr if answer.candidates else None
    return -np.inf if llr is None else llr


def _together(voices: Sequence[HeardRecording]) -> HeardRecording:
    """Several voices as one recording."""
    samples = joined([voice.samples for voice in voices])
    seconds = len(samples) / SAMPLE_RATE
    first = voices[0]
    facts = replace(first.facts, duration_s=seconds, speech_s=seconds)
    return replace(first, facts=facts, digest=digest_of(samples), speech=((0, len(samples)),), samples=samples)
