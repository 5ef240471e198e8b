"""What a recording holds, be there speech in it or not: how loud it is, and how much of it is music."""

from dataclasses import dataclass

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.music import music_spans
from sound_groove.audio.speech import ChunkLevels
from sound_groove.types import Samples

LOUD_QUANTILE = 0.95  # of the powers of chunks: a click is no content
QUIETEST_DB = -120.0


@dataclass(frozen=True, slots=True)
class Content:
    """What a recording holds.

    Attributes:
        level_db: power of its louder parts, below full scale; QUIETEST_DB at the least.
        music_s: seconds with music, alone or under speech.
    """

    level_db: float
    music_s: float


def content_of(samples: Samples) -> Content:
    """The content of a recording (samples,), mono at 16 kHz, at least one.

    >>> content_of(np.tile(np.array([0.1, -0.1], np.float32), 8000))
    Content(level_db=-20.0, music_s=0.0)
    """
    power = float(np.quantile(ChunkLevels.of(samples).powers, LOUD_QUANTILE))
    level_db = max(10 * np.log10(max(power, 1e-30)), QUIETEST_DB)
    music_s = sum(end - start for start, end in music_spans(samples)) / SAMPLE_RATE
    return Content(round(float(level_db), 2), round(music_s, 3))
