"""What a look through a corpus found, and what is left of the corpus by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sound_groove.corpora.choices import Choice

Kind = Literal[
    "unusable", "same_audio", "several_voices", "quality", "two_people", "wrong_label", "one_person", "one_session"
]
KINDS: dict[Kind, str] = {
    "unusable": "recordings that cannot be read, or hold too little speech",
    "same_audio": "recordings that are the same audio as another",
    "several_voices": "recordings with two voices or more",
    "quality": "recordings that were heard badly",
    "two_people": "speakers who are two people",
    "wrong_label": "recordings of somebody else than their label says",
    "one_person": "pairs of labels that are one person",
    "one_session": "speakers with recordings of one session only, where others have more",
}
DROPPED = frozenset({"unusable", "same_audio", "wrong_label"})  # recordings with which this is wrong
SECOND = ".2"  # behind a label: the second of two people who had it


@dataclass(frozen=True, slots=True)
class Labelled:
    """A recording of a corpus.

    Attributes:
        path: of the file, as it is opened.
        speaker: its label.
        session: None where nobody tells.
    """

    path: str
    speaker: str
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that is wrong with a recording by itself.

    Attributes:
        code: for machines, one of `curation.recordings.CODES`.
        amount: what was measured, with its unit, as both languages of the page write it; "" where that was not kept.

    >>> str(Told("low_snr", "3 dB")), str(Told("clipping"))
    ('low_snr (3 dB)', 'clipping')
    """

    code: str
    amount: str = ""

    def __str__(self) -> str:
        return f"{self.code} ({self.amount})" if self.amount else self.code


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or may be.

    Attributes:
        kind: what.
        speaker: whose label is in question.
        path: of the recording; None where the whole speaker is meant.
        other: the recording or the label that it is about besides; None where there is none.
        probability: that it is so; None where that is no question of probability.
        detail: one clause for people.
        told: the same by codes, of `quality`, and of `unusable` where it could be read.
    """

    kind: Kind
    speaker: str
    path: str | None = None
    other: str | None = None
    probability: float | None = None
    detail: str = ""
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in a corpus.

    Attributes:
        findings: by kind, the surest first.
        labels: the label of each recording that is left, by its path: the corpus as it should be.
        wrong_share: of all recordings that have a wrong label, as estimated; it may be more than were picked.
        compared: recordings of which it can be told at all whether their label is right.
        notes: what could not be asked, and why.
        doubts: the probability that the label of a recording is wrong, by its path, where it is not next to nothing.
    """

    findings: tuple[Finding, ...]
    labels: Mapping[str, str]
    wrong_share: float
    compared: int
    notes: tuple[str, ...] = field(default=())
    doubts: Mapping[str, float] = field(default_factory=dict)

    def of_kind(self, kind: Kind) -> list[Finding]:
        """What was found of one kind."""
        return [one for one in self.findings if one.kind == kind]


def cleaned(recordings: Sequence[Labelled], findings: Sequence[Finding], second: Mapping[str, str]) -> dict[str, str]:
    """The label of each recording that is left.

    Recordings that cannot be used, copies of others and those of somebody else are dropped: whose the last are is a
    guess at best. Of a label that is two people the smaller part gets a label of its own; of two labels that are one
    person the later, in the order of the alphabet, becomes the earlier.

    Args:
        recordings: of the corpus.
        findings: in it.
        second: the new label of recordings, by path, that are of the second of two people.
    """
    dropped = {one.path for one in findings if one.kind in DROPPED}
    names: dict[str, str] = {}
    for one in findings:
        if one.kind == "one_person" and one.other is not None:
            first, later = sorted((_last(names, one.speaker), _last(names, one.other)))
            if first != later:
                names[later] = first
    kept = {one.path: second.get(one.path, one.speaker) for one in recordings if one.path not in dropped}
    return {path: _last(names, speaker) for path, speaker in kept.items()}


def proposals(recordings: Sequence[Labelled], found: Examination) -> list[tuple[Choice, Finding | None]]:
    """What an examination proposes: the recordings that it drops or moves, in their order, each with the finding.

    Args:
        recordings: of the corpus.
        found: in it.
    """
    of_recording, parted, joined = dict[str, Finding](), dict[str, Finding](), dict[str, Finding]()
    for one in found.findings:
        if one.path is not None and one.kind in DROPPED:
            of_recording.setdefault(one.path, one)
        elif one.kind == "two_people":
            parted[one.speaker] = one
        elif one.kind == "one_person" and one.other is not None:
            joined.setdefault(one.other, one)
            joined.setdefault(one.speaker, one)
    proposed = list[tuple[Choice, Finding | None]]()
    for recording in recordings:
        speaker, label = recording.speaker, found.labels.get(recording.path)
        if label is None:
            why = of_recording.get(recording.path)
            proposed.append((Choice(recording.path, "drop", reason=_reason(why)), why))
        elif label != speaker:
            # Of a label that was parted, the second part has that name, or what the other label is that it belongs to.
            why = parted.get(speaker) if label == speaker + SECOND else joined.get(speaker) or joined.get(label)
            proposed.append((Choice(recording.path, "move", label, _reason(why)), why))
    return proposed


def _reason(one: Finding | None) -> str:
    """A finding as a clause.

    >>> _reason(Finding("wrong_label", "anna", "1.wav", "ben", 0.9981, "fits 'ben' best"))
    "wrong_label 0.998: fits 'ben' best"
    """
    if one is None:
        return ""
    sure = "" if one.probability is None or one.kind == "same_audio" else f" {one.probability:.3f}"
    return f"{one.kind}{sure}{f': {one.detail}' if one.detail else ''}"


def _last(names: Mapping[str, str], label: str) -> str:
    """What a label became."""
    while label in names:
        label = names[label]
    return label
