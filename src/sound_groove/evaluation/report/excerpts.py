"""The voices of the worst trials as text that a page can hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sound_groove.audio.data_uri import encode
from sound_groove.audio.excerpts import read_excerpt
from sound_groove.errors import AudioError


def excerpts_of(worst: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> dict[tuple[str, ...], str]:
    """An excerpt for each side of the worst trials, by its files; those that cannot be read have none.

    Args:
        worst: as `find_worst` gives it.
    """
    excerpts: dict[tuple[str, ...], str] = {}
    for record in (record for records in (worst or {}).values() for record in records):
        for files in (tuple(record["enrolment_files"]), tuple(record["test_files"])):
            if files in excerpts or not files:
                continue
            try:
                excerpts[files] = encode(read_excerpt([Path(file) for file in files]))
            except AudioError:  # moved since it was scored, or a name that cannot be printed
                continue
    return excerpts
