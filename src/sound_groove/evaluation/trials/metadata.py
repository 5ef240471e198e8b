"""A table of what is known about recordings, and how its rows are found for the names of a trial list.

A table has its columns separated by tabs and named in its first line; the column `path`, or else the first, holds the
names. A `manifest.jsonl` of `prepare` is a table too: its names are the utterances and their files.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sound_groove.errors import TrialError, UsageError, nearest, printable
from sound_groove.evaluation.trials.places import without_suffix
from sound_groove.evaluation.trials.trial_list import file_sha256
from sound_groove.json_reading import bounded_lines, parse_json

Row = Mapping[str, str | None]
AMBIGUOUS = -1


@dataclass(frozen=True, slots=True)
class Metadata:
    """The columns of a table that were asked for.

    Attributes:
        path: the table's file.
        rows: by name, which row is about it.
        columns: by column, the value in each row; None where the table says nothing.
    """

    path: Path
    rows: Mapping[str, int]
    columns: Mapping[str, Sequence[str | None]]

    def match(
        self, ids: Sequence[str], parts: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, list[str | None]], list[str]]:
        """What the table says of each name of a list.

        A name is looked up as it is, then without the suffix of an audio file, then as the end of a longer name in the
        table, then by its own end, as far as these are unique. A name that stands for several recordings has the value
        on which these agree, or "several".

        Args:
            ids: the names.
            parts: by name, the recordings that it was made of, where that is known.

        Returns:
            By column, the value of each name, None where it is unknown; and sentences about names without one.

        Raises:
            TrialError: not one name is in the table.
        """
        wanted = [*ids, *(file for name in ids for file in parts.get(name, ()))]
        found = dict(zip(wanted, self._find(wanted), strict=True))
        rows: list[list[int]] = []
        for name in ids:
            own = [found[name]] if found[name] is not None else [found[file] for file in parts.get(name, ())]
            rows.append([row for row in own if row is not None])
        lacking = [name for name, own in zip(ids, rows, strict=True) if not own]
        where = printable(str(self.path))
        if len(lacking) == len(ids):
            example = printable(next(iter(self.rows), ""))
            raise TrialError(
                f"{where}: none of the {len(ids)} names of the trials is in it, first '{printable(ids[0])}'; "
                f"its own are like '{example}'"
            )
        notes = []
        if lacking:
            notes.append(
                f"{len(lacking):,} of {len(ids):,} names are not in {where}, first '{printable(lacking[0])}'; "
                "their trials are in no group of its columns"
            )
        values = {}
        for column, cells in self.columns.items():
            values[column] = [_joint({cells[row] for row in own}) for own in rows]
            if empty := sum(value is None for value in values[column]) - len(lacking):
                notes.append(
                    f"{where} has no {printable(column)} for {empty:,} names; their trials are in no group of it"
                )
        return values, notes

    def record(self) -> dict[str, Any]:
        """Which table it is, for metrics.json."""
        return {"path": printable(str(self.path)), "sha256": file_sha256(self.path), "columns": list(self.columns)}

    def _find(self, names: Sequence[str]) -> list[int | None]:
        """The row of each name, or None."""
        stems = _unique((without_suffix(name), row) for name, row in self.rows.items())
        asked = [without_suffix(name) for name in names]
        depths = {name.count("/") + 1 for name in asked if name not in stems}
        ends = _unique((end, row) for name, row in stems.items() for end in _ends(name, depths))
        # Where the table's names are the shorter ones, a name of it that ends two different names means neither.
        shorter = {
            stem: next((row for end in _ends(stem) if (row := stems.get(end)) is not None), AMBIGUOUS)
            for stem in dict.fromkeys(asked)
            if stem not in stems and stem not in ends
        }
        claims = Counter(shorter.values())
        rows: list[int | None] = []
        for name, stem in zip(names, asked, strict=True):
            row = self.rows.get(name, stems.get(stem, ends.get(stem)))
            if row is None:
                row = shorter[stem] if claims[shorter[stem]] == 1 else AMBIGUOUS
            rows.append(None if row == AMBIGUOUS else row)
        return rows


def read_metadata(path: str | Path, columns: Sequence[str]) -> Metadata:
    """Read some columns of a table.

    Args:
        path: tab-separated text with a header, or a `manifest.jsonl`.
        columns: which.

    Raises:
        TrialError: it cannot be read, a line is not as it should be, or a name stands there twice with two values.
        UsageError: there is no such column.
    """
    path = Path(path)
    rows: dict[str, int] = {}
    values: list[tuple[str | None, ...]] = []
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=None) as file:
            texts = bounded_lines(file)
            records = _manifest_rows(path, texts) if path.suffix == ".jsonl" else _table_rows(path, texts)
            for line, names, row in records:
                if unknown := [column for column in columns if column not in row]:
                    raise UsageError(
                        f"{printable(str(path))} has no column '{printable(unknown[0])}'; "
                        f"{nearest(unknown[0], list(row))}"
                    )
                own = tuple(row[column] for column in columns)
                for name in names:
                    first = rows.setdefault(name, len(values))
                    if first < len(values) and values[first] != own:
                        raise TrialError(
                            f"{printable(str(path))}, line {line}: '{printable(name)}' stands there for the second "
                            "time, with other values"
                        )
                values.append(own)
    except OSError as error:
        raise TrialError(f"{printable(str(path))}: the table cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise TrialError(f"{printable(str(path))}: the table cannot be read: {error}") from None
    if not values:
        raise TrialError(f"{printable(str(path))}: the table has no rows")
    return Metadata(path, rows, dict(zip(columns, zip(*values, strict=True), strict=True)))


def _table_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str], Row]]:
    """Line number, name and cells of each row."""
    header: list[str] = []
    key = 0
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        cells = [cell.strip() for cell in text.rstrip("\n").split("\t")]
        if not header:
            if len(cells) < 2:
                raise TrialError(
                    f"{printable(str(path))}, line {line}: expected the names of two or more columns, separated by tabs"
                )
            header = cells
            key = header.index("path") if "path" in header else 0
        elif len(cells) != len(header) or not cells[key]:
            expected = f"{len(header)} cells, as the header has" if len(cells) != len(header) else "a name"
            raise TrialError(f"{printable(str(path))}, line {line}: there are {len(cells)} cells; expected {expected}")
        else:
            yield line, [cells[key]], {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _manifest_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str], Row]]:
    """The same of each line of a manifest; lists in it are no columns."""
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            record: Any = parse_json(text)
            paths = record.get("paths") or []
            names = [name for name in (record["utterance"], *(paths if len(paths) == 1 else [])) if name]
            cells = {key: value for key, value in record.items() if not isinstance(value, (list, dict))}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TrialError(
                f"{printable(str(path))}, line {line}: not a line of a manifest.jsonl of 'prepare': {error!r}"
            ) from None
        yield line, names, {key: None if value is None else str(value) for key, value in cells.items()}


def _ends(name: str, depths: Iterable[int] | None = None) -> Iterator[str]:
    """The ends of a name, whole folders and file, longest first: all shorter ones, or those of so many parts."""
    parts = name.split("/")
    for depth in range(len(parts) - 1, 0, -1) if depths is None else depths:
        if depth < len(parts):
            yield "/".join(parts[-depth:])


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Names with the row of each, AMBIGUOUS where there are several."""
    rows: dict[str, int] = {}
    for name, row in pairs:
        if rows.setdefault(name, row) != row:
            rows[name] = AMBIGUOUS
    return rows


def _joint(values: set[str | None]) -> str | None:
    known = sorted(value for value in values if value is not None)
    return None if not known else known[0] if len(known) == 1 else "several"
