"""Utterances of a prepared corpus that are left out, or go under another label, as a file of choices says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sound_groove.corpora.choices import Choice, Choices
from sound_groove.corpora.manifest import Split, Utterance
from sound_groove.errors import CorpusError, printable


@dataclass(frozen=True, eq=False)
class Excluded:
    """What a file of choices made of a corpus.

    Attributes:
        utterances: what is left, with the labels that were chosen; the names stay what they were.
        choices: the file.
        dropped: utterances that are left out.
        moved: names of utterances that have another label.
        former: the labels that these had.
        unknown: recordings that the file names and the corpus does not have.
    """

    utterances: list[Utterance]
    choices: Choices
    dropped: int
    moved: frozenset[str]
    former: frozenset[str]
    unknown: int

    def summary(self) -> str:
        """The counts as one line for people."""
        unknown = f"; {self.unknown:,} of its recordings are not in this corpus" if self.unknown else ""
        return f"{self.dropped:,} utterances left out, {len(self.moved):,} moved, by {self.choices.path}{unknown}"

    def as_dict(self) -> dict[str, Any]:
        """The counts for run.json."""
        return {
            "file": str(self.choices.path.absolute()),
            "sha256": self.choices.sha256,
            "dropped": self.dropped,
            "moved": len(self.moved),
            "unknown": self.unknown,
        }


def exclude(utterances: Sequence[Utterance], choices: Choices) -> Excluded:
    """Apply a file of choices.

    An utterance that was joined from several recordings is left out where one of them is dropped, or where they would
    get different labels. One that is moved goes to the side of the split on which its new speaker is; a new speaker is
    on the side of the first utterance that moves there, with all others.

    Args:
        utterances: of the prepared corpus.
        choices: by the paths of recordings, or by the names of utterances.

    Raises:
        CorpusError: the file names no recording of the corpus.
    """
    sides: dict[str, Split] = {}
    for one in utterances:
        sides.setdefault(one.speaker, one.split)
    found = set[str]()
    left = list[Utterance]()
    moved, former = set[str](), set[str]()
    for one in utterances:
        made = [choices.of(path, one.key) for path in one.paths]
        found |= {choice.recording for choice in made if choice is not None}
        labels = {_label(choice, one, choices.names_all) for choice in made}
        speaker = labels.pop() if len(labels) == 1 else None
        if speaker is None:
            continue
        if speaker != one.speaker:
            moved.add(one.key)
            former.add(one.speaker)
            one = replace(one, speaker=speaker, split=sides.setdefault(speaker, one.split))
        left.append(one)
    if not found:
        raise CorpusError(
            f"{printable(str(choices.path))}: names no recording of this corpus; its paths must be those that the "
            "manifest has, or names speaker/utterance"
        )
    return Excluded(
        left, choices, len(utterances) - len(left), frozenset(moved), frozenset(former), len(choices) - len(found)
    )


def with_new_speakers(ids: Mapping[str, int], utterances: Sequence[Utterance]) -> dict[str, int]:
    """The table of speakers with numbers behind the others for those that choices made."""
    new = sorted({one.speaker for one in utterances} - ids.keys())
    return {**ids, **{speaker: len(ids) + place for place, speaker in enumerate(new)}}


def _label(choice: Choice | None, utterance: Utterance, names_all: bool) -> str | None:
    """The label of an utterance by the choice about one of its recordings; None drops it."""
    if choice is None:
        return None if names_all else utterance.speaker
    if choice.action == "drop":
        return None
    return choice.speaker if choice.action == "move" else utterance.speaker
