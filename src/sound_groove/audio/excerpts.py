"""Excerpts of recordings: the first seconds, enough to know a voice by."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import probe, read_segment
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
