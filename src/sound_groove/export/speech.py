"""Real speech that the user names, on which an export is calibrated and checked."""

from pathlib import Path

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import repeated
from sound_groove.audio.reading import load_audio
from sound_groove.audio.suffixes import is_audio
from sound_groove.corpora.layouts.listing import listed_paths
from sound_groove.errors import AudioError, UsageError, printable
from sound_groove.export.parity import SHORTEST_SAMPLES
from sound_groove.types import Samples

LONGEST_PIECE_S = 10.0  # of a recording: more would take longer and tell little more
LEAST_RECORDINGS = 10


def draw_pieces(named: str | Path, count: int, seed: int = 0) -> list[Samples]:
    """Pieces of recordings, drawn evenly over what was named.

    The recordings are sorted by name and divided into `count` stretches of equal length; one is drawn from each, and
    the 10 s in its middle are taken. A recording shorter than 2 s is repeated, as the encoder does. What cannot be used
    is left out.

    Args:
        named: a folder of recordings, at any depth, or a text file with one path a line; relative ones start at the
            file's folder, and what follows a tab does not count.
        count: most recordings to draw.
        seed: of the draw.

    Returns:
        At least 10 of them, each (samples,) at 16 kHz.

    Raises:
        UsageError: there is no such folder or list, or it has fewer than 10 recordings that can be used.
        CorpusError: the list cannot be read.
    """
    named = Path(named)
    paths = _recordings(named)
    edges = np.linspace(0, len(paths), min(count, len(paths)) + 1).astype(int)
    drawn = [paths[index] for index in np.random.default_rng(seed).integers(edges[:-1], edges[1:])]
    pieces = []
    for path in drawn:
        try:
            pieces.append(_piece(load_audio(path)))
        except AudioError:
            continue
    if len(pieces) < LEAST_RECORDINGS:
        raise UsageError(
            f"{printable(str(named))}: {len(pieces)} of {len(drawn)} recordings can be used, and at least "
            f"{LEAST_RECORDINGS} are needed; name a folder of speech, or a list with one path a line"
        )
    return pieces


def _recordings(named: Path) -> list[Path]:
    """The files that were named, sorted."""
    if named.is_dir():
        return sorted(path for path in named.rglob("*") if is_audio(path.name) and path.is_file())
    if not named.is_file():
        raise UsageError(f"{printable(str(named))}: there is no such folder or list of recordings")
    return sorted(set(listed_paths(named)))


def _piece(recording: Samples) -> Samples:
    """At most 10 s from the middle, at least 2 s by repetition."""
    longest = int(LONGEST_PIECE_S * SAMPLE_RATE)
    start = max(0, len(recording) - longest) // 2
    return repeated(recording[start : start + longest], SHORTEST_SAMPLES)
