"""Another system's scores of the same trials: read once, matched to a trial list by the names on both sides.

Two ways of writing them, told apart by the first line:

    with a header   enrolment test score, and if there are any llr and label, in any order: the scores.tsv of `verify`
    without one     enrolment test score                                             separated by tabs or by blanks

A trial is the same one with its sides swapped. Where the other file gives both orders, the listed one counts.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import TrialError, nearest, printable
from sound_groove.evaluation.trials.trial_list import BINARY, WORDS, Indices, TrialList, file_sha256
from sound_groove.types import Labels, Scores

COLUMNS = ("enrolment", "test", "score")
OPTIONAL_COLUMNS = ("llr", "label")
BLOCK = 1 << 20  # bytes of lines that are read at a time
LABELS: Mapping[bytes, float] = {**BINARY, **WORDS}


@dataclass(frozen=True, slots=True)
class OtherScores:
    """What another system says of the trials of a list.

    Attributes:
        path: the file.
        sha256: of the file.
        scores: (trials,) higher = more likely the same speaker; NaN where the file lacks the trial.
        llrs: (trials,) natural log-likelihood ratios, NaN where the file lacks the trial; None where it gives none.
        lacking: (trials,) whether the file lacks the trial.
        notes: what a reader of the comparison should know about the file.
    """

    path: Path
    sha256: str
    scores: Scores
    llrs: Scores | None
    lacking: Labels
    notes: tuple[str, ...]

    def only(self, mask: Labels) -> "OtherScores":
        """The same for those trials (trials,) that are True in `mask`."""
        llrs = None if self.llrs is None else self.llrs[mask]
        return replace(self, scores=self.scores[mask], llrs=llrs, lacking=self.lacking[mask])


@dataclass(frozen=True, slots=True)
class _Table:
    """The lines (L,) of a file whose two names are both in the list; values are NaN where a column is not there."""

    lines: Indices
    keys: NDArray[np.int64]  # see `_keys`
    scores: Scores
    llrs: Scores
    labels: Scores
    foreign: int  # lines with a name that is not in the list

    @property
    def values(self) -> tuple[Scores, Scores, Scores]:
        """All that a line says of its trial."""
        return self.scores, self.llrs, self.labels


def read_other_scores(path: str | Path, trials: TrialList, allow_missing: bool = False) -> OtherScores:
    """Read another system's scores and match them to the trials of a list.

    Args:
        path: a text file, see above.
        trials: the list.
        allow_missing: the file may lack trials; a note says how many.

    Raises:
        TrialError: it cannot be read, a line is not as it should be, a trial lacks, has two scores or another label;
            the message names the line or the trial.
    """
    path = Path(path)
    ids = len(trials.ids)
    try:
        table = _read(path, trials.ids)
        sha256 = file_sha256(path)
    except OSError as error:
        raise TrialError(f"{path}: the other scores cannot be read: {error.strerror or error}") from None
    found = _find(path, table, _keys(trials.enrolments, trials.tests, ids))
    turned = found < 0
    found[turned] = _find(path, table, _keys(trials.tests[turned], trials.enrolments[turned], ids))
    lacking = found < 0
    notes = _check_lacking(path, trials, lacking, allow_missing)
    _check_labels(path, table, trials, found)
    if extra := table.foreign + _count_others(table, trials, found):
        notes.append(f"{extra} lines of {path} are of trials that are not in the list, and were passed over")
    llrs = None if np.isnan(table.llrs).all() else np.where(lacking, np.nan, table.llrs[found])
    return OtherScores(path, sha256, np.where(lacking, np.nan, table.scores[found]), llrs, lacking, tuple(notes))


def _keys(first: NDArray[np.integer], second: NDArray[np.integer], ids: int) -> NDArray[np.int64]:
    """One number for each ordered pair of names."""
    return first.astype(np.int64) * ids + second


# --- reading


def _read(path: Path, ids: Sequence[str]) -> _Table:
    """The lines that may matter, in blocks, so that a long file never lies in memory as text."""
    numbers = {printable(name).encode("utf-8", "surrogateescape"): index for index, name in enumerate(ids)}
    numbers |= {name.encode("utf-8", "surrogateescape"): index for index, name in enumerate(ids)}
    separator, columns, header = _layout(path)
    parts: list[tuple[Indices, NDArray[np.int64], Scores, Scores, Scores]] = []
    foreign, llrs_given = 0, set[bool]()
    for lines, rows in _blocks(path, separator, len(columns), header):
        fields = dict(zip(columns, zip(*rows, strict=True), strict=True))
        sides = [_numbered(fields[side], numbers) for side in COLUMNS[:2]]
        scores = _parsed(path, lines, fields["score"], "score", float, np.isnan)
        llrs = labels = np.full(len(rows), np.nan)
        if "llr" in fields:
            llrs_given.add(any(map(bytes.strip, fields["llr"])))
            if True in llrs_given:
                llrs = _parsed(path, lines, fields["llr"], "llr", float, lambda values: ~np.isfinite(values))
        if "label" in fields:
            labels = _parsed(path, lines, fields["label"], "label", lambda word: LABELS[word.strip()], np.isnan)
        kept = (sides[0] >= 0) & (sides[1] >= 0)
        foreign += int((~kept).sum())
        keys = _keys(sides[0][kept], sides[1][kept], len(ids))
        parts.append((np.array(lines, dtype=np.int32)[kept], keys, scores[kept], llrs[kept], labels[kept]))
    if not parts:
        raise TrialError(f"{path}: holds no scores")
    if len(llrs_given) > 1:
        raise TrialError(f"{path}: some lines have an llr and others have none; give all of them, or none")
    numbers_of_lines, keys, scores, llrs, labels = map(np.concatenate, zip(*parts, strict=True))
    return _Table(numbers_of_lines, keys, scores, llrs, labels, foreign)


def _layout(path: Path) -> tuple[bytes | None, tuple[str, ...], int]:
    """What separates fields, the columns' names, and the line of the header; 0 without one."""
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise TrialError(f"{path}: is in UTF-16; save it as UTF-8")
            raw = raw.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n")
            if not raw.strip():
                continue
            separator = b"\t" if b"\t" in raw else None
            fields = raw.split(separator)
            names = tuple(field.decode("utf-8", "replace").strip().lower() for field in fields)
            if "score" in names:
                _check_header(path, line, names)
                return separator, names, line
            if len(fields) != len(COLUMNS):
                raise TrialError(_malformed(path, line, fields))
            return separator, COLUMNS, 0
    raise TrialError(f"{path}: holds no scores")


def _check_header(path: Path, line: int, names: tuple[str, ...]) -> None:
    known = (*COLUMNS, *OPTIONAL_COLUMNS)
    if unknown := [name for name in names if name not in known]:
        hint = nearest(unknown[0], known)
        raise TrialError(f"{path}, line {line}: there is no column '{printable(unknown[0])}' of scores; {hint}")
    if absent := [name for name in COLUMNS if name not in names]:
        raise TrialError(f"{path}, line {line}: the header names no column '{absent[0]}'")
    if len(set(names)) < len(names):
        raise TrialError(f"{path}, line {line}: the header names a column twice")


def _blocks(
    path: Path, separator: bytes | None, width: int, header: int
) -> Iterator[tuple[Sequence[int], list[list[bytes]]]]:
    """Line numbers and fields, without the header and blank lines."""
    with path.open("rb") as file:
        start = 1
        while block := file.readlines(BLOCK):
            if start == 1:
                block[0] = block[0].removeprefix(b"\xef\xbb\xbf")
            if start <= header < start + len(block):
                block[header - start] = b""
            lines: Sequence[int] = range(start, start + len(block))
            start += len(block)
            rows = [raw.rstrip(b"\r\n").split(separator) for raw in block]
            if set(map(len, rows)) != {width}:
                filled = [(line, row) for line, row in zip(lines, rows, strict=True) if any(map(bytes.strip, row))]
                for line, row in filled:
                    if len(row) != width:
                        raise TrialError(_malformed(path, line, row))
                lines, rows = [line for line, _ in filled], [row for _, row in filled]
            if rows:
                yield lines, rows


def _malformed(path: Path, line: int, fields: Sequence[bytes]) -> str:
    text = printable(b" ".join(fields).decode("utf-8", "surrogateescape"))
    text = f"{text[:77]}..." if len(text) > 80 else text
    return (
        f"{path}, line {line}: '{text}' is not a score; expected 'enrolment test score', or the columns that a first "
        "line names (enrolment, test, score, llr, label)"
    )


def _numbered(names: Sequence[bytes], numbers: Mapping[bytes, int]) -> Indices:
    """The index of each name; -1 where it is not in the list."""
    return np.fromiter(map(numbers.get, names, repeat(-1)), np.int32, len(names))


def _parsed(
    path: Path,
    lines: Sequence[int],
    words: Sequence[bytes],
    what: str,
    parse: Callable[[bytes], float],
    wrong: Callable[[Scores], Labels],
) -> Scores:
    """A column as numbers; the first word that is none, or a wrong one, is told with its line."""
    values = array("d")
    try:
        values.extend(map(parse, words))
    except (ValueError, KeyError):
        values.append(np.nan)  # those before it were read
    numbers = np.array(values)
    bad = np.flatnonzero(wrong(numbers))
    if not len(bad):
        return numbers
    place = int(bad[0])
    word = printable(words[place].decode("utf-8", "surrogateescape"))
    expected = "0 or 1" if what == "label" else "a finite number" if what == "llr" else "a number"
    raise TrialError(f"{path}, line {lines[place]}: the {what} is '{word}'; expected {expected}")


# --- matching


def _find(path: Path, table: _Table, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index into the table of each wanted ordered pair; -1 where it is not there.

    A pair that stands there repeatedly says the same each time, or as often as it is wanted: then in turn.
    """
    if not len(wanted) or not len(table.keys):
        return np.full(len(wanted), -1)
    order = np.argsort(table.keys, kind="stable")
    keys = table.keys[order]
    repeats = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    before, again = ([column[order[at]] for column in table.values] for at in (repeats - 1, repeats))
    changes = np.zeros(len(keys), dtype=np.int64)  # how often, so far, a repeated pair said something else than before
    changes[repeats] = np.any([(x != y) & ~np.isnan(y) for x, y in zip(before, again, strict=True)], axis=0)
    changes = np.cumsum(changes)
    first, end = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, side="right")
    there = end > first
    mixed = there.copy()
    mixed[there] = changes[end[there] - 1] > changes[first[there]]
    turn = np.zeros(len(wanted), dtype=np.int64)
    if mixed.any():
        rows = np.flatnonzero(mixed)
        ranked = rows[np.argsort(wanted[rows], kind="stable")]
        _, starts, counts = np.unique(wanted[ranked], return_index=True, return_counts=True)
        turn[ranked] = np.arange(len(ranked)) - np.repeat(starts, counts)
        uneven = ranked[np.repeat(counts, counts) != (end - first)[ranked]]
        if len(uneven):
            one = int(uneven.min())
            lines = ", ".join(map(str, np.sort(table.lines[order[first[one] : end[one]]])[:3].tolist()))
            raise TrialError(f"{path}, lines {lines}: the same trial is given different scores; keep one of them")
    return np.where(there, order[np.where(there, first + turn, 0)], -1)


def _count_others(table: _Table, trials: TrialList, found: NDArray[np.int64]) -> int:
    """Lines of the table that are of no trial of the list, neither way round."""
    used = np.zeros(len(table.keys), dtype=np.bool_)
    used[found[found >= 0]] = True
    ids, left = len(trials.ids), table.keys[~used]  # few, but for repeated lines
    first, second = np.divmod(left, ids)
    wanted = _keys(trials.enrolments, trials.tests, ids)
    return (
        int(np.count_nonzero(~np.isin(left, wanted) & ~np.isin(_keys(second, first, ids), wanted))) if len(left) else 0
    )


def _check_lacking(path: Path, trials: TrialList, lacking: Labels, allowed: bool) -> list[str]:
    """What there is to say about trials that the file does not have."""
    if not lacking.any():
        return []
    number, first = int(lacking.sum()), int(np.argmax(lacking))
    if number < len(lacking) and allowed:
        if len(set(trials.labels[~lacking].tolist())) == 2:
            return [
                f"{number} of the {len(trials)} trials are not in {path}, and are left out of the comparison with it"
            ]
        raise TrialError(f"{path}: has trials of one kind only, out of those in the list; both kinds are needed")
    enrolment, test = (printable(trials.ids[side[first]]) for side in (trials.enrolments, trials.tests))
    raise TrialError(
        f"{path}: lacks {number} of the {len(trials)} trials, first '{enrolment}' and '{test}' (line "
        f"{trials.lines[first]} of the list); give the other system's scores of all trials, by the same names"
    )


def _check_labels(path: Path, table: _Table, trials: TrialList, found: NDArray[np.int64]) -> None:
    """Refuse labels that contradict those of the list."""
    said = np.where(found < 0, np.nan, table.labels[found])
    wrong = np.flatnonzero(~np.isnan(said) & (said != trials.labels))
    if len(wrong):
        raise TrialError(
            f"{path}: contradicts {len(wrong)} labels of the trial list, first in line {table.lines[found[wrong[0]]]} "
            f"that of line {trials.lines[wrong[0]]}"
        )
