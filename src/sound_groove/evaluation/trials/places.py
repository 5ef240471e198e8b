"""Genre and session of CN-Celeb's recordings, as their names tell them.

A name is `id00800-singing-01-005` in the evaluation's folder and `id00800/singing-01-005` in the corpus's: speaker,
genre, session, utterance. A genre may hold dashes and underscores, so names are read from the right. Enrolments
(`id00800-enroll`) say nothing by their names; `enroll.map` beside the list says which recordings they were made of.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sound_groove.audio.suffixes import RANK
from sound_groove.evaluation.trials.sources import Source, read_table

NAME = re.compile(r"(?:^|/)id\d+[-/]([^/]+)-(\d+)-(\d+)$")
KNOWN_SHARE = 0.5  # of the tests: where fewer have a place, the list is not one of CN-Celeb


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recording comes from; session numbers start again with each speaker and genre."""

    genre: str
    session: str


def read_place(name: str) -> Place | None:
    """The place that a name tells, or None where it is not one of CN-Celeb's.

    >>> read_place("test/id00800-talk-show-01-005.wav")
    Place(genre='talk-show', session='01')
    """
    match = NAME.search(without_suffix(name))
    return None if match is None else Place(match[1], match[2])


def without_suffix(name: str) -> str:
    """A name with slashes, and without the suffix of an audio file if it has one."""
    name = name.replace("\\", "/")
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in RANK else name


def read_enrolments(list_path: Path) -> dict[str, list[str]]:
    """What the enrolments of a CN-Celeb list were made of, by `enroll.map` beside it; empty where there is none.

    Raises:
        TrialError: see `read_table`.
    """
    table = list_path.parent / "enroll.map"
    return {name: files.split() for name, files in read_table(table).items()} if table.is_file() else {}


def find_places(
    ids: Sequence[str], sources: Sequence[Source], enrolments: Mapping[str, Sequence[str]]
) -> tuple[frozenset[Place], ...] | None:
    """The places of every name of a list: several where it stands for several recordings, none where they are unknown.

    Args:
        ids: the names.
        sources: (ids,) what they stand for; asked where a name tells nothing, as those of joined recordings do.
        enrolments: see `read_enrolments`.

    Returns:
        (ids,) places, or None where too few names tell one for the list to be CN-Celeb's.
    """
    places = []
    for name, source in zip(ids, sources, strict=True):
        files: Sequence[str] = enrolments.get(name, (name,))
        if name not in enrolments and read_place(name) is None:
            files = [path.as_posix() for recording in source.recordings for path in recording]
        places.append(frozenset(place for file in files if (place := read_place(file)) is not None))
    known = sum(bool(own) for own in places)
    return tuple(places) if known > KNOWN_SHARE * len(places) else None
