"""What of a recording is embedded: its speech, with pauses no longer than between two sentences.

An embedding is a mean over time, so that a long pause would count as much as speech. What lies around speech is kept,
since the ends of words are soft and the detector decides on 32 ms at a time. Nothing else between two stretches is, and
their ends are faded into each other, so that no step is heard.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sound_groove.filterbank import SAMPLE_RATE
from sound_groove.pieces import Span
from sound_groove.speech import find_speech, speech_spans
from sound_groove.types import Samples

AROUND_S = 0.5  # kept before and after speech: with less, single words were told apart less well
FADE_S = 0.005
LEAST_S = 0.5  # with less speech than this a recording is taken as it is: the detector may be wrong

_FADE = int(FADE_S * SAMPLE_RATE)


def without_pauses(samples: Samples, speech: Sequence[Span] | None = None) -> Samples:
    """The speech of a recording with short pauses; a recording without long ones is given back as it is.

    Args:
        samples: (samples,) mono at 16 kHz.
        speech: stretches of speech in it, where they are known.
    """
    spoken = speech_spans(find_speech(samples), len(samples)) if speech is None else speech
    return np.concatenate(list(joined(samples[start:end] for start, end in kept_spans(spoken, len(samples)))))


def kept_spans(speech: Sequence[Span], total: int) -> list[Span]:
    """What is kept of a recording.

    Args:
        speech: stretches of speech, in samples, by their beginnings.
        total: samples of the recording.

    Returns:
        Stretches that do not touch each other; the whole recording where there is too little speech to go by.

    >>> kept_spans([(16000, 32000), (36000, 48000), (80000, 96000)], 96000)
    [(8000, 56000), (72000, 96000)]
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


def joined(stretches: Iterable[Samples]) -> Iterator[Samples]:
    """Stretches one after the other, in blocks, the end of each faded into the beginning of the next.

    Args:
        stretches: each (samples,), as `kept_spans` cuts them: speech, and so longer than two fades.
    """
    rising = np.linspace(0.0, 1.0, _FADE, endpoint=False, dtype=np.float32)
    before: Samples | None = None
    for stretch in stretches:
        if before is not None:
            yield before[:-_FADE]
            yield before[-_FADE:] * (1 - rising) + stretch[:_FADE] * rising
            stretch = stretch[_FADE:]
        before = stretch
    if before is not None:
        yield before


def joined_length(spans: Sequence[Span]) -> int:
    """How many samples are left when these stretches are joined, none of them shorter than the fade.

    >>> joined_length([(0, 16000), (32000, 48000)])
    31920
    """
    return sum(end - start for start, end in spans) - _FADE * (len(spans) - 1)
