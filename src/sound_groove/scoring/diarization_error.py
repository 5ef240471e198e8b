"""Diarization error: how much of the time in which somebody speaks is given to nobody, or to another.

    DER = (missed + false alarm + confusion) / total

as NIST defines it (Rich Transcription 2009): seconds of speakers, so that a moment at which two speak counts twice. Who
of the answer is who of the reference is chosen so that the confusion is least. Around the borders of the reference's
turns a collar may be left out on either side, since nobody can say to a tenth of a second when a word ends; and so may
all time at which the reference has two speakers or more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import MetricError
from sound_groove.types import SpeakerTurn

MOST_REFERENCES = 16  # speakers: the best mapping is looked for among all subsets of them


@dataclass(frozen=True, slots=True)
class DiarizationError:
    """What went wrong, in seconds of speakers.

    Attributes:
        missed: somebody speaks, and nobody is told, or fewer than do.
        false_alarm: somebody is told who does not speak, or more than do.
        confusion: another is told than speaks.
        total: that somebody speaks, by the reference.
        mapping: the reference's speaker who stands for each of the answer's.
    """

    missed: float
    false_alarm: float
    confusion: float
    total: float
    mapping: dict[str, str]

    @property
    def rate(self) -> float:
        """The error rate, which may be above 1; 0 where nobody speaks and nobody is told."""
        wrong = self.missed + self.false_alarm + self.confusion
        return wrong / self.total if self.total > 0 else float(wrong > 0)


def diarization_error(
    reference: Sequence[SpeakerTurn],
    answer: Sequence[SpeakerTurn],
    *,
    collar_s: float = 0.0,
    with_overlap: bool = True,
    by_name: bool = False,
) -> DiarizationError:
    """Compare an answer with what was.

    Args:
        reference: who speaks when.
        answer: likewise, with labels of its own.
        collar_s: left out on either side of each border of the reference.
        with_overlap: count the time at which the reference has several speakers.
        by_name: the labels are names, and stand for themselves.

    Raises:
        MetricError: the reference has more than MOST_REFERENCES speakers.

    >>> truth = [SpeakerTurn(0, 6, "a"), SpeakerTurn(6, 10, "b")]
    >>> found = diarization_error(truth, [SpeakerTurn(0, 7, "1"), SpeakerTurn(7, 11, "2")])
    >>> found.confusion, found.false_alarm, found.rate
    (1.0, 1.0, 0.2)
    """
    real, told = _speakers(reference), _speakers(answer)
    if len(real) > MOST_REFERENCES:
        raise MetricError(f"the reference has {len(real)} speakers, more than the {MOST_REFERENCES} that are compared")
    borders = [border for turn in reference for border in (turn.start_s, turn.end_s)]
    edges = np.unique(
        [border + side for border in borders for side in (-collar_s, 0.0, collar_s)]
        + [border for turn in answer for border in (turn.start_s, turn.end_s)]
    )
    middles, lengths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    is_real, is_told = _activity(reference, real, middles), _activity(answer, told, middles)  # (speakers, T)
    counted = np.ones(len(middles), np.bool_)
    for border in borders if collar_s > 0 else ():
        counted &= np.abs(middles - border) > collar_s
    if not with_overlap:
        counted &= is_real.sum(axis=0) < 2
    seconds = np.where(counted, lengths, 0.0)
    together = np.asarray((is_real * seconds) @ is_told.T, dtype=np.float64)  # (R, H)
    if by_name:
        pairs = [(real.index(name), place) for place, name in enumerate(told) if name in real]
    else:
        pairs = best_pairs(together)
    speaking, telling = is_real.sum(axis=0), is_told.sum(axis=0)
    right = sum(float(together[row, column]) for row, column in pairs)
    return DiarizationError(
        missed=float(np.maximum(speaking - telling, 0) @ seconds),
        false_alarm=float(np.maximum(telling - speaking, 0) @ seconds),
        confusion=float(np.minimum(speaking, telling) @ seconds) - right,
        total=float(speaking @ seconds),
        mapping={told[column]: real[row] for row, column in pairs},
    )


def best_pairs(together: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The pairs (row, column), no row and no column twice, of the largest sum.

    Held and Karp's way (1962): columns one after the other, and for every subset of rows the best that they give.

    Args:
        together: (R, H) of at least 0, with few rows.

    >>> best_pairs(np.array([[5.0, 4.0], [4.0, 0.0]]))
    [(1, 0), (0, 1)]
    """
    rows = len(together)
    subsets = np.arange(1 << rows)
    best = np.where(subsets == 0, 0.0, -np.inf)
    choices = []
    for column in together.T:
        options = np.full((rows + 1, len(subsets)), -np.inf)  # a row each; the last: nobody
        options[rows] = best
        for row in range(rows):
            has = (subsets >> row & 1) == 1
            options[row, has] = best[subsets[has] ^ (1 << row)] + column[row]
        choices.append(options.argmax(axis=0))
        best = options.max(axis=0)
    subset = int(best.argmax())
    pairs = []
    for place in range(len(choices) - 1, -1, -1):
        row = int(choices[place][subset])
        if row < rows:
            if together[row, place] > 0:
                pairs.append((row, place))
            subset ^= 1 << row
    return pairs[::-1]


def _speakers(turns: Sequence[SpeakerTurn]) -> list[str]:
    return sorted({turn.speaker for turn in turns})


def _activity(turns: Sequence[SpeakerTurn], speakers: list[str], moments: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(speakers, T) whether each speaks at these moments."""
    active = np.zeros((len(speakers), len(moments)), np.bool_)
    for turn in turns:
        first, end = np.searchsorted(moments, (turn.start_s, turn.end_s))
        active[speakers.index(turn.speaker), first:end] = True
    return active
