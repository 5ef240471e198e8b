"""Excerpts of recordings as text that a page can hold: the first seconds, compressed, in a data: URI."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sound_groove.audio.data_uri import encode
from sound_groove.audio.reading import SAMPLE_RATE, probe, read_segment
from sound_groove.errors import AudioError
from sound_groove.types import Samples

EXCERPT_S = 10.0


def read_excerpt(files: Sequence[Path]) -> Samples:
    """The first EXCERPT_S seconds of one or several files, joined: (samples,) mono, 16 kHz.

    Raises:
        AudioError: one of those that are needed cannot be used.
    """
    parts: list[Samples] = []
    wanted = round(EXCERPT_S * SAMPLE_RATE)
    for path in files:
        parts.append(read_segment(path, 0, min(wanted, probe(path).samples)))
        wanted -= len(parts[-1])
        if wanted <= 0:
            break
    return np.concatenate(parts)


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
