"""Trial lists: which two recordings each trial compares, and whether one person speaks in both.

Three formats, told apart by what the lines say:

    VoxCeleb    1 id10270/x/00001.wav id10270/y/00002.wav          label first: 1 = same speaker, 0 = different
    CN-Celeb    id00800-enroll test/id00800-singing-01-005.wav 1   label last
    Kaldi       utterance-1 utterance-2 target                     label last: target or nontarget

Every line is a trial and is scored, duplicates included: a published list is used as it was published, and the number
of its duplicates is reported. Byte order marks, Windows line ends, tabs and blank lines are no obstacle.
"""

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import TrialError, nearest, printable
from sound_groove.types import Labels

Indices = NDArray[np.int32]

BINARY: Mapping[bytes, bool] = MappingProxyType({b"1": True, b"0": False})
WORDS: Mapping[bytes, bool] = MappingProxyType({b"target": True, b"nontarget": False})


@dataclass(frozen=True, slots=True)
class ListFormat:
    """One way of writing a trial.

    Attributes:
        name: for people.
        example: a line of it.
        label: which of the three fields is the label.
        labels: the words a label may be.
    """

    name: str
    example: str
    label: int
    labels: Mapping[bytes, bool]


VOXCELEB = ListFormat("VoxCeleb", "1 a.wav b.wav", 0, BINARY)
CNCELEB = ListFormat("CN-Celeb", "enrolment test.wav 1", 2, BINARY)
KALDI = ListFormat("Kaldi", "enrolment test target", 2, WORDS)
FORMATS = (VOXCELEB, CNCELEB, KALDI)


@dataclass(frozen=True, eq=False)
class TrialList:
    """The trials of one list.

    Attributes:
        ids: what the list calls its recordings, each once, in the order in which they appear.
        enrolments: (trials,) index into `ids`.
        tests: (trials,) index into `ids`.
        labels: (trials,) True = same speaker.
        lines: (trials,) line number of each, from 1; the trial's own number where there is no file.
        duplicates: trials that repeat an earlier one, in the same or in swapped order.
    """

    ids: tuple[str, ...]
    enrolments: Indices
    tests: Indices
    labels: Labels
    lines: Indices
    duplicates: int

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def used(self) -> NDArray[np.int64]:
        """(names,) indices of the names that have a trial, in rising order."""
        return np.unique(np.concatenate((self.enrolments, self.tests))).astype(np.int64)

    def kept(self, mask: Labels | NDArray[np.int64]) -> "TrialList":
        """The trials that a mask (trials,) keeps, or those at some places (n,); the names stay."""
        return replace(
            self,
            enrolments=self.enrolments[mask],
            tests=self.tests[mask],
            labels=self.labels[mask],
            lines=self.lines[mask],
        )


def read_trials(path: str | Path) -> tuple[TrialList, ListFormat]:
    """Read a trial list and find out its format.

    Args:
        path: a text file with one trial a line.

    Raises:
        TrialError: it cannot be read, is empty or in no format or in several, could be in more than one, or contradicts
            itself; the message names the line.
    """
    path = Path(path)
    try:
        form, first = _recognise(path)
        numbers: dict[bytes, int] = {}
        enrolments, tests, lines, labels = array("i"), array("i"), array("i"), bytearray()
        left, right = (1, 2) if form.label == 0 else (0, 1)
        for line, fields in _lines(path):
            label = form.labels.get(fields[form.label])
            if label is None:
                raise TrialError(_misfit(path, line, fields, form, first))
            enrolments.append(numbers.setdefault(fields[left], len(numbers)))
            tests.append(numbers.setdefault(fields[right], len(numbers)))
            labels.append(label)
            lines.append(line)
    except OSError as error:
        raise TrialError(f"{path}: the trial list cannot be read: {error.strerror or error}") from None
    trials = TrialList(
        ids=tuple(name.decode("utf-8", "surrogateescape") for name in numbers),
        enrolments=np.array(enrolments, dtype=np.int32),
        tests=np.array(tests, dtype=np.int32),
        labels=np.frombuffer(bytes(labels), dtype=np.bool_),
        lines=np.array(lines, dtype=np.int32),
        duplicates=0,
    )
    return _checked(path, trials), form


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(path: Path) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Line numbers and the three fields of each line that is not blank."""
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            if line == 1:
                if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise TrialError(f"{path}: the trial list is in UTF-16; save it as UTF-8")
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if b"\0" in raw:
                raise TrialError(f"{path}, line {line}: not text, so not a trial list")
            fields: Sequence[bytes] = raw.split()
            if len(fields) == 3:
                yield line, fields
            elif fields:
                # A list of names with spaces in them can only be separated by tabs.
                fields = [field.strip() for field in raw.split(b"\t")]
                if len(fields) != 3 or not all(fields):
                    raise TrialError(_malformed(path, line, raw))
                yield line, fields


def _candidates(fields: Sequence[bytes]) -> list[ListFormat]:
    return [form for form in FORMATS if fields[form.label] in form.labels]


def _recognise(path: Path) -> tuple[ListFormat, int]:
    """The format, and the first line that only fits that one."""
    first_line = 0
    for line, fields in _lines(path):
        first_line = first_line or line
        candidates = _candidates(fields)
        if not candidates:
            raise TrialError(_malformed(path, line, b" ".join(fields)))
        if len(candidates) == 1:
            return candidates[0], line
    if not first_line:
        raise TrialError(f"{path}: the trial list holds no trials")
    raise TrialError(
        f"{path}, line {first_line}: this line, and every other, fits more than one format (a 0 or 1 at both ends); "
        "name the recordings so that they are not just 0 or 1"
    )


def _quoted(raw: bytes) -> str:
    text = printable(raw.decode("utf-8", "surrogateescape").strip())
    return f"'{text[:77]}...'" if len(text) > 80 else f"'{text}'"


def _malformed(path: Path, line: int, raw: bytes) -> str:
    known = ", ".join(f"'{form.example}' ({form.name})" for form in FORMATS)
    hint = ""
    if len(fields := raw.split()) == 3:
        last = fields[2].decode("utf-8", "replace")
        words = [word.decode() for word in chain(WORDS)]
        if (close := nearest(last.lower(), words)).startswith("did you mean"):
            hint = f"; {close}"
    return f"{path}, line {line}: {_quoted(raw)} is not a trial; expected one of {known}{hint}"


def _misfit(path: Path, line: int, fields: Sequence[bytes], form: ListFormat, first: int) -> str:
    others = [other.name for other in _candidates(fields)]
    if not others:
        return _malformed(path, line, b" ".join(fields))
    return (
        f"{path}, line {line}: {_quoted(b' '.join(fields))} is in the {others[0]} format, but line {first} is in the "
        f"{form.name} format; a list must keep to one"
    )


def _checked(path: Path, trials: TrialList) -> TrialList:
    """The list with its duplicates counted; contradictions are refused."""
    low, high = np.minimum(trials.enrolments, trials.tests), np.maximum(trials.enrolments, trials.tests)
    itself = np.flatnonzero((low == high) & ~trials.labels)
    if len(itself):
        raise TrialError(
            f"{path}, line {trials.lines[itself[0]]}: {_name(trials, itself[0])} is compared with itself and labelled "
            "'different speakers'; correct the label"
        )
    pairs = low.astype(np.int64) * len(trials.ids) + high
    order = np.argsort(pairs, kind="stable")  # stable: repeats stay in the list's order
    repeats = np.flatnonzero(pairs[order[1:]] == pairs[order[:-1]]) + 1
    conflicts = repeats[trials.labels[order[repeats]] != trials.labels[order[repeats - 1]]]
    if len(conflicts):
        here, before = order[conflicts[0]], order[conflicts[0] - 1]
        raise TrialError(
            f"{path}, lines {trials.lines[before]} and {trials.lines[here]}: the same two recordings "
            f"({_name(trials, here)}) are labelled 'same speaker' and 'different speakers'"
            + (f" (and {len(conflicts) - 1} more contradictions)" if len(conflicts) > 1 else "")
            + "; correct the list"
        )
    return TrialList(trials.ids, trials.enrolments, trials.tests, trials.labels, trials.lines, len(repeats))


def _name(trials: TrialList, index: np.integer) -> str:
    pair = dict.fromkeys((trials.ids[trials.enrolments[index]], trials.ids[trials.tests[index]]))
    return " and ".join(f"'{printable(name)}'" for name in pair)
