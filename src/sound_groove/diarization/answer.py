"""The answer to "who spoke when?": turns, speakers, and what their names rest on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sound_groove.audio.listening import AudioFacts
from sound_groove.diarization.naming import NamedSpeaker
from sound_groove.diarization.turns import Spoken, joined_turns, seconds
from sound_groove.scoring.open_set import OpenSetVerdict
from sound_groove.types import ModelIdentity, QualityWarning, SpeakerTurn
from sound_groove.voiceprints.identification import Match

STRANGER = "unknown"


@dataclass(frozen=True, slots=True)
class NameEvidence:
    """What a speaker's name rests on, or that there is none: one decision over all that the speaker says.

    Attributes:
        verdict: "identified", "nobody" (nobody enrolled), or "inconclusive".
        llr: log-likelihood ratio (natural logarithm) of the best candidate against a stranger; None without a score map
            or where nobody is enrolled.
        probability: that the best candidate speaks; None likewise.
        nobody: probability that nobody enrolled does; None without a score map.
        limit: llr from which on a name is given where no other comes near; None likewise.
        candidates: the nearest of those enrolled, best first.
    """

    verdict: OpenSetVerdict
    llr: float | None
    probability: float | None
    nobody: float | None
    limit: float | None
    candidates: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody who speaks in a recording.

    Attributes:
        speaker: a label that is this person's in the recording: the name, or "unknown 1", "unknown 2", ...
        name: as enrolled; None for whoever is not, or of whom that cannot be said.
        speech_s: how long this person speaks.
        turns: how often.
        evidence: for the name; None where nobody was asked for.
    """

    speaker: str
    name: str | None
    speech_s: float
    turns: int
    evidence: NameEvidence | None


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who spoke when.

    Attributes:
        turns: by their beginnings; where several speak at a time, they overlap.
        speakers: in the order in which they first speak.
        overlap_s: how long several speak at a time; None where that is unknown, and then turns never overlap.
        enrolled: how many voiceprints the speakers were compared with; None where nobody was asked for.
        prior: probability that a speaker is enrolled, before listening.
        audio: what the recording was.
        model: which embedded it.
        warnings: what makes the answer less trustworthy.
    """

    turns: tuple[SpeakerTurn, ...]
    speakers: tuple[Speaker, ...]
    overlap_s: float | None
    enrolled: int | None
    prior: float
    audio: AudioFacts
    model: ModelIdentity
    warnings: tuple[QualityWarning, ...]

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON can hold it; every turn has its speaker's name, llr and probability beside its label."""
        record = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        by_label = {one.speaker: one for one in self.speakers}
        record["turns"] = [{**asdict(turn), **_name_of(by_label[turn.speaker])} for turn in self.turns]
        return record


def _name_of(one: Speaker) -> dict[str, Any]:
    evidence = one.evidence if one.name is not None else None
    return {
        "name": one.name,
        "llr": None if evidence is None else evidence.llr,
        "probability": None if evidence is None else evidence.probability,
    }


def labelled(
    spoken: Sequence[Spoken], named: Sequence[NamedSpeaker] | None, count: int
) -> tuple[tuple[SpeakerTurn, ...], tuple[Speaker, ...]]:
    """Turns under labels, and the speakers under them.

    Args:
        spoken: stretches of speech and the numbers of their speakers.
        named: who these are; None where nobody was asked.
        count: of the numbers.
    """
    owner = list(range(count))
    for one in named or ():
        for number in one.numbers:
            owner[number] = one.numbers[0]
    turns = joined_turns([(span, owner[number]) for span, number in spoken])
    answers = {one.numbers[0]: one for one in named or ()}
    taken = {one.name for one in named or () if one.name is not None}
    labels = dict[int, str]()
    strangers = 0
    for number in dict.fromkeys(number for _, number in turns):
        name = answers[number].name if number in answers else None
        while name is None:
            strangers += 1
            name = label if (label := f"{STRANGER} {strangers}") not in taken else None
        labels[number] = name
    told = tuple(SpeakerTurn(seconds(start), seconds(end), labels[number]) for (start, end), number in turns)
    speakers = []
    for number, label in labels.items():
        own = [turn for turn in told if turn.speaker == label]
        speakers.append(
            Speaker(
                speaker=label,
                name=answers[number].name if number in answers else None,
                speech_s=round(sum(turn.end_s - turn.start_s for turn in own), 3),
                turns=len(own),
                evidence=_evidence(answers[number]) if number in answers else None,
            )
        )
    return told, tuple(speakers)


def _evidence(one: NamedSpeaker) -> NameEvidence:
    best = one.answer.candidates[0] if one.answer.candidates else None
    return NameEvidence(
        verdict=one.answer.verdict,
        llr=None if best is None else best.llr,
        probability=None if best is None else best.probability,
        nobody=one.answer.nobody,
        limit=one.answer.limit,
        candidates=one.answer.candidates,
    )
