"""Many comparisons: one recording against others, or the pairs of a list, each recording heard once.

    pairs -> each recording once -> embedding -> comparison of each pair, in the order of the pairs

A recording that cannot be used, or a line that is no pair, is the outcome of its own pairs and of no others.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from sound_groove.audio.listening import HeardRecording, hear
from sound_groove.comparison import Comparison, Judge
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.several_voices import with_voices
from sound_groove.errors import AudioError, CorpusError, printable
from sound_groove.types import CropAveraging

LONGEST_LINE = 16_384  # bytes


@dataclass(frozen=True, slots=True)
class Pair:
    """Two recordings that are to be compared.

    Attributes:
        a: path of one.
        b: path of the other.
        line: of the list that names them, from 1; None where they come from no list.
        problem: why the line is no pair; None where it is one.
    """

    a: str
    b: str
    line: int | None = None
    problem: str | None = None

    @property
    def names(self) -> tuple[str, str]:
        """What the two are called in warnings."""
        return printable(self.a), printable(self.b)


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """What came of a pair.

    Attributes:
        pair: as it was given.
        comparison: the answer; None where there is none.
        error: why there is none, in a sentence; None where there is one.
    """

    pair: Pair
    comparison: Comparison | None
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON can hold it: the recordings, then the comparison's own names, or `error`."""
        line = {} if self.pair.line is None else {"line": self.pair.line}
        found = {"error": self.error} if self.comparison is None else self.comparison.as_dict()
        return {"a": self.pair.a, "b": self.pair.b, **line, **found}


def against(one: str, others: Sequence[str]) -> tuple[Pair, ...]:
    """The pairs of one recording and each of others.

    >>> [(pair.a, pair.b) for pair in against("a.wav", ["b.wav", "c.wav"])]
    [('a.wav', 'b.wav'), ('a.wav', 'c.wav')]
    """
    return tuple(Pair(one, other) for other in others)


def read_pairs(file: IO[bytes], name: str, folder: Path) -> tuple[Pair, ...]:
    """The pairs of a list of two paths a line, which a tab separates, or a space where the paths have none.

    Args:
        file: the list. Byte order marks, line ends of any system and blank lines are no obstacle.
        name: what to call it.
        folder: where relative paths start.

    Returns:
        A pair for each line that is not blank; one that is no pair says so.

    Raises:
        CorpusError: it is no text, or has no line.

    >>> import io
    >>> for pair in read_pairs(io.BytesIO(b"a.wav b.wav\\na.wav\\n"), "the list", Path("calls")):
    ...     print(pair.line, pair.a, pair.b, pair.problem)
    1 calls/a.wav calls/b.wav None
    2   two paths were expected, separated by a tab or a space, and 'a.wav' was given
    """
    pairs = []
    for number, line in enumerate(_lines(file), start=1):
        if b"\0" in line:
            raise CorpusError(f"{printable(name)}, line {number}: is no text; a list of two paths a line was expected")
        content = os.fsdecode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
        if content:
            pairs.append(_pair(content, number, folder))
    if not pairs:
        raise CorpusError(f"{printable(name)}: has no pairs; two paths a line were expected")
    return tuple(pairs)


def compare_pairs(
    pairs: Sequence[Pair],
    encoder: SpeakerEncoder,
    judge: Judge,
    *,
    crops: CropAveraging | None = None,
    channel: int | None = None,
    threads: int = 1,
) -> Iterator[PairOutcome]:
    """Compare pairs; each answer is that of `comparison.compare` for the two alone.

    Args:
        pairs: which.
        encoder: embeds.
        judge: of this encoder.
        crops: average evenly spaced crops; None embeds whole recordings.
        channel: which one to listen to, counted from 1, where a path names none; None averages all.
        threads: that decode recordings ahead.

    Yields:
        The outcome of each pair, in their order, as soon as both recordings were heard. A recording's embedding is kept
        until its last pair.
    """
    uses = Counter(chain.from_iterable((pair.a, pair.b) for pair in pairs if pair.problem is None))
    listener = Listener(encoder, crops, partial(with_voices, encoder=encoder))
    names = iter(uses)  # in the order in which they are first needed
    heard: dict[str, HeardRecording | AudioError] = {}
    with closing(listener.hear_all(uses, lambda path: hear(path, channel=channel), threads)) as outcomes:
        for pair in pairs:
            if pair.problem is not None:
                yield PairOutcome(pair, None, pair.problem)
                continue
            while not (pair.a in heard and pair.b in heard):
                heard[next(names)] = next(outcomes)
            yield _outcome(pair, heard[pair.a], heard[pair.b], judge)
            uses.subtract((pair.a, pair.b))
            for path in {pair.a, pair.b}:
                if not uses[path]:
                    del heard[path]


def _outcome(pair: Pair, a: HeardRecording | AudioError, b: HeardRecording | AudioError, judge: Judge) -> PairOutcome:
    if isinstance(a, HeardRecording) and isinstance(b, HeardRecording):
        return PairOutcome(pair, judge.compare(a, b), None)
    errors = dict.fromkeys(str(side) for side in (a, b) if isinstance(side, AudioError))
    return PairOutcome(pair, None, "; ".join(errors))


def _pair(content: str, line: int, folder: Path) -> Pair:
    if len(os.fsencode(content)) > LONGEST_LINE:
        return Pair("", "", line, f"is longer than {LONGEST_LINE:,} bytes; two paths were expected")
    words = [word.strip() for word in content.split("\t")] if "\t" in content else content.split()
    if len(words) == 2 and all(words):
        return Pair(str(folder / words[0]), str(folder / words[1]), line)
    problem = f"two paths were expected, separated by a tab or a space, and '{printable(content[:100])}' was given"
    return Pair("", "", line, problem)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines, of which one that is too long for two paths is cut to a byte more than that."""
    most = LONGEST_LINE + 1
    while line := file.readline(most):
        rest = line
        while len(rest) == most and not rest.endswith(b"\n"):
            rest = file.readline(most)
        yield line
