"""How far the labels of utterances are trusted, which weighs what is learnt from them.

A table says with what probability the label of a recording is right, with tabs between its columns:

    recording          right
    /speech/a/1.wav    0.0132

A recording is an absolute path, a path relative to the file's folder, or the name of an utterance. What the table does
not name is right. `doctor` writes it (`label_noise.tsv`).
"""

import hashlib
import os
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.corpora.choices import absolute
from sound_groove.corpora.layouts.listing import abbreviate, read_lines
from sound_groove.corpora.manifest import Utterance
from sound_groove.errors import CorpusError, printable

HEADER = ("recording", "right")


@dataclass(frozen=True, slots=True, eq=False)
class LabelTrust:
    """How far the labels of the utterances that are trained on are trusted.

    Attributes:
        values: (U,) probabilities that they are right.
        path: of the table.
        sha256: of it.
    """

    values: NDArray[np.float32]
    path: Path
    sha256: str

    def summary(self) -> str:
        """The counts as one line for people."""
        doubted = int((self.values < 1).sum())
        return f"{doubted:,} utterances are learnt from less, as if {self.lost:,.1f} fewer in all, by {self.path}"

    @property
    def lost(self) -> float:
        """How many utterances' weight is taken away in all."""
        return float((1 - self.values).sum())

    def as_dict(self) -> dict[str, Any]:
        """The counts for run.json."""
        doubted = int((self.values < 1).sum())
        file = str(self.path.absolute())
        return {"file": file, "sha256": self.sha256, "doubted": doubted, "lost": round(self.lost, 3)}


def read_trust(file: Path, utterances: Sequence[Utterance], relabelled: Container[str] = ()) -> LabelTrust:
    """How far the labels of utterances are trusted: of one that was joined, as far as the worst of its recordings.

    Args:
        file: the table.
        utterances: that are trained on, U of them.
        relabelled: names of those that have another label than the table speaks of; they are trusted.

    Raises:
        CorpusError: there is no such table, lines of it are not as they should be, or it names none of the utterances.
    """
    base = file.absolute().parent
    known: dict[str, float] = {}
    problems = list[str]()
    lines = read_lines(file)
    if tuple(next(lines, (0, ""))[1].split("\t")) != HEADER:
        raise CorpusError(f"{printable(str(file))}: must begin with the line '{' <tab> '.join(HEADER)}'")
    for number, line in lines:
        recording, _, text = line.partition("\t")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not recording or not 0 <= value <= 1:
            problems.append(f"line {number}")
            continue
        known[recording] = known[os.path.normpath(base / recording)] = value
    if problems:
        raise CorpusError(
            f"{printable(str(file))}: each line must be a recording, a tab and a probability from 0 to 1; "
            f"{abbreviate(problems)}"
        )
    values = np.ones(len(utterances), np.float32)
    found = not known
    for place, one in enumerate(utterances):
        told = [known[name] for path in one.paths for name in (path, absolute(path)) if name in known]
        told += [known[one.key]] if one.key in known else []
        found = found or bool(told)
        if told and one.key not in relabelled:
            values[place] = min(told)
    if not found:
        raise CorpusError(
            f"{printable(str(file))}: names no utterance that is trained on; its paths must be those that the manifest "
            "has, or names speaker/utterance"
        )
    with file.open("rb") as opened:
        return LabelTrust(values, file, hashlib.file_digest(opened, "sha256").hexdigest())
