"""Whether a recording sounds like speech as calibrations know it, whoever speaks and whichever model listens.

A score map is fitted on recordings of people; what music, animals, a whisper, a voice shifted in pitch, a codec behind
a codec or a crowd louder than the speaker do to a score, no such recording shows. A detector over the statistics of
`sound_groove.audio.sound_statistics` and their products tells these from speech. It was taught on speech of many
collections and on what was made of it (`benchmarks/unfamiliar.py`, which also says how well it does on collections that
it was not taught on).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span
from sound_groove.audio.sound_statistics import COUNT, Statistics, sound_statistics
from sound_groove.json_reading import parse_json
from sound_groove.pretrained import WEIGHTS
from sound_groove.types import Samples

DETECTOR = WEIGHTS / "familiar_speech.json"
FARTHEST = 3.0  # standard deviations
LENIENCY, USUAL_S = 4.3, 4.5  # log odds for a root of seconds of speech, and the seconds for which there are none
LONGEST_S = 20.0  # of speech that is looked at; of more, evenly spaced seconds


def unfamiliarity(samples: Samples, speech: Sequence[Span]) -> float | None:
    """How unlike known speech a recording sounds: log odds, above 0 beyond what nearly all speech has.

    Statistics of little speech scatter, so that it is judged more leniently.

    Args:
        samples: (samples,) mono at 16 kHz, at any level.
        speech: the stretches of speech in it, first sample and the one after the last.

    Returns:
        Rounded to 3 digits; None where there is too little speech to tell.
    """
    statistics = sound_statistics(speech_of(samples, speech))
    speech_s = sum(end - start for start, end in speech) / SAMPLE_RATE
    return None if statistics is None else round(float(log_odds(statistics) - leniency(speech_s)), 3)


def leniency(speech_s: ArrayLike) -> Statistics:
    """Log odds that are let pass for so many seconds of speech; fewer than 0 for more than `USUAL_S`.

    On cuts of clear recordings the quantile of the detector's log odds that 98 % lie below falls with the root of the
    duration, from 3.5 at 0.6 s of speech to -0.8 at 12 s (`benchmarks/unfamiliar.py`).

    >>> leniency([1.125, 4.5]).round(3).tolist()
    [2.027, 0.0]
    """
    return np.asarray(LENIENCY * (1.0 / np.sqrt(np.asarray(speech_s, dtype=np.float64)) - 1.0 / np.sqrt(USUAL_S)))


def log_odds(statistics: Statistics) -> Statistics:
    """Of what `sound_statistics` gives (..., COUNT); what lies far beyond all that was taught counts as its edge."""
    return _detector().log_odds(statistics)


@dataclass(frozen=True, slots=True)
class Detector:
    """Log odds that are quadratic in standardised statistics: x w + x P x + offset, x within `FARTHEST` deviations.

    Attributes:
        mean: (COUNT,) of the statistics that it was taught by.
        deviation: (COUNT,) of them.
        weights: (COUNT,) w.
        products: (COUNT, COUNT) P, zero below the diagonal.
        offset: so that 0 is the limit of what speech has.
    """

    mean: Statistics
    deviation: Statistics
    weights: Statistics
    products: Statistics
    offset: float

    def log_odds(self, statistics: Statistics) -> Statistics:
        """Of statistics (..., COUNT)."""
        x = np.clip((statistics - self.mean) / self.deviation, -FARTHEST, FARTHEST)
        # einsum, and not products of matrices: see sound_statistics
        squares = np.einsum("...i,ij,...j->...", x, self.products, x)
        return np.asarray(np.einsum("...i,i->...", x, self.weights) + squares + self.offset)

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it, rounded; of the products those on and above the diagonal, row by row."""
        above = self.products[np.triu_indices(COUNT)]
        parts = {"mean": self.mean, "deviation": self.deviation, "weights": self.weights, "products": above}
        rounded = {name: [float(f"{value:.5g}") for value in values] for name, values in parts.items()}
        return {**rounded, "offset": float(f"{self.offset:.5g}")}

    @classmethod
    def restored(cls, content: Mapping[str, Any]) -> "Detector":
        """The detector that `as_dict` gave."""
        mean, deviation, weights = (np.array(content[name]) for name in ("mean", "deviation", "weights"))
        products = np.zeros((COUNT, COUNT))
        products[np.triu_indices(COUNT)] = content["products"]
        return cls(mean, deviation, weights, products, float(content["offset"]))


@cache
def _detector() -> Detector:
    return Detector.restored(parse_json(DETECTOR.read_bytes()))


def speech_of(samples: Samples, spans: Sequence[Span]) -> Samples:
    """The speech alone (samples,); of more than `LONGEST_S`, evenly spaced seconds of it.

    >>> speech_of(np.arange(5, dtype=np.float32), [(1, 2), (3, 5)]).tolist()
    [1.0, 3.0, 4.0]
    """
    lengths = [end - start for start, end in spans]
    most = round(LONGEST_S * SAMPLE_RATE)
    if sum(lengths) <= most:
        return np.concatenate([samples[start:end] for start, end in spans]) if spans else samples[:0]
    ends = list(accumulate(lengths, initial=0))
    wanted = np.linspace(0, ends[-1] - SAMPLE_RATE, most // SAMPLE_RATE).astype(int).tolist()
    parts = []
    for place in wanted:
        for (start, _), (low, high) in zip(spans, pairwise(ends), strict=True):
            first, last = max(place, low), min(place + SAMPLE_RATE, high)
            if first < last:
                parts.append(samples[start + first - low : start + last - low])
    return np.concatenate(parts)
