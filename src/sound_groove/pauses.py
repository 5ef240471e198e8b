"""What of a recording is embedded: its speech, with pauses no longer than between two sentences.

An embedding is a mean over time, so that a long pause would count as much as speech. What lies around speech is kept,
since the ends of words are soft and the detector decides on 32 ms at a time. Nothing else between two stretches is;
their ends are faded into each other, so that no step is heard.
"""

import numpy as np

from sound_groove.audio import SAMPLE_RATE
from sound_groove.pieces import Span
from sound_groove.types import Samples

AROUND_S = 0.2  # kept before and after speech: a pause of up to 0.4 s stays as it is
FADE_S = 0.005
LEAST_S = 0.5  # with less speech than this a recording is taken as it is: the detector may be wrong


def kept_spans(speech: list[Span], total: int) -> list[Span]:
    """What is kept of a recording.

    Args:
        speech: stretches of speech, in samples, by their beginnings.
        total: samples of the recording.

    Returns:
        Stretches that do not touch each other; the whole recording where there is too little speech to go by.

    >>> kept_spans([(16000, 32000), (36000, 48000), (80000, 96000)], 96000)
    [(12800, 51200), (76800, 96000)]
    >>> kept_spans([(0, 512)], 96000)
    [(0, 96000)]
    """
    if sum(end - start for start, end in speech) < LEAST_S * SAMPLE_RATE:
        return [(0, total)]
    around, kept = int(AROUND_S * SAMPLE_RATE), list[Span]()
    for start, end in speech:
        first, last = max(0, start - around), min(total, end + around)
        if kept and first <= kept[-1][1]:
            kept[-1] = (kept[-1][0], last)
        else:
            kept.append((first, last))
    return kept


def joined(parts: list[Samples]) -> Samples:
    """Stretches one after the other, each faded into the next; of a single one itself.

    Args:
        parts: each (samples,), longer than the fade.
    """
    fade = int(FADE_S * SAMPLE_RATE)
    rising = np.linspace(0.0, 1.0, fade, endpoint=False, dtype=np.float32)
    result = [parts[0]]
    for part in parts[1:]:
        before = result[-1]
        faded = before[-fade:] * (1 - rising) + part[:fade] * rising
        result[-1] = before[:-fade]
        result.append(np.concatenate((faded, part[fade:])))
    return np.concatenate(result) if len(result) > 1 else result[0]
