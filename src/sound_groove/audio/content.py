"""What a recording holds, be there speech in it or not: how loud it is, how much of it is music, and how it sounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.music import music_spans
from sound_groove.audio.pieces import Span
from sound_groove.audio.quality import clipped_share, narrow_band_drop_db
from sound_groove.audio.speech import CHUNK, ChunkLevels
from sound_groove.types import Samples

LOUD_QUANTILE = 0.95  # of the powers of chunks: a click is no content
QUIETEST_DB = -120.0


@dataclass(frozen=True, slots=True)
class Content:
    """What a recording holds.

    Attributes:
        level_db: power of its louder parts, below full scale; QUIETEST_DB at the least.
        music_s: seconds with music, alone or under speech.
        clipped: share of its samples that are, as `audio.quality.clipped_share` finds them.
        silence_s: its longest stretch without speech, in seconds.
        band_db: its speech above the band of a telephone against that in it, as `audio.quality.narrow_band_drop_db`
            finds it.
    """

    level_db: float
    music_s: float
    clipped: float
    silence_s: float
    band_db: float


def content_of(samples: Samples, speech: Sequence[Span]) -> Content:
    """The content of a recording.

    Args:
        samples: (samples,) mono at 16 kHz, at least one.
        speech: the stretches of speech in it, first sample and the one after the last.

    >>> content_of(np.tile(np.array([0.1, -0.1], np.float32), 8000), [(4096, 8192)])
    Content(level_db=-20.0, music_s=0.0, clipped=0.0, silence_s=0.488, band_db=0.0)
    """
    chunks = ChunkLevels.of(samples)
    power = float(np.quantile(chunks.powers, LOUD_QUANTILE))
    is_speech = np.zeros(len(chunks.powers), np.bool_)
    for start, end in speech:
        is_speech[start // CHUNK : -(-end // CHUNK)] = True
    edges = [0, *(place for span in speech for place in span), len(samples)]
    return Content(
        level_db=round(max(10 * float(np.log10(max(power, 1e-30))), QUIETEST_DB), 2),
        music_s=round(sum(end - start for start, end in music_spans(samples)) / SAMPLE_RATE, 3),
        clipped=round(clipped_share(samples, chunks), 6),
        silence_s=round(max(end - start for start, end in list(pairwise(edges))[::2]) / SAMPLE_RATE, 3),
        band_db=round(narrow_band_drop_db(samples, is_speech), 1),
    )
