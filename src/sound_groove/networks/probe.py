"""The probe that a model file carries: the embedding that it must give of one short signal, made by rule.

The signal is not speech, but moves a network as speech does: gliding harmonics under moving formants, in syllables,
with noise between them. It is computed in float64 and rounded to 16-bit steps, so that all machines make the same one.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import MetricError
from sound_groove.types import Embeddings, Samples

RULE = 1  # which signal: another rule has another number
PROBE_S = 2.0
LEAST_TRAINED_COSINE = 0.999  # of what training writes, which may have computed it on a GPU with fewer bits
DIGITS = 6  # of the embedding's values after the point

_HARMONICS = 40
_SYLLABLES_HZ = 3.5
_FORMANTS = ((650.0, 250.0, 90.0, 1.0), (1500.0, 600.0, 130.0, 0.5), (2900.0, 400.0, 220.0, 0.25))
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9)  # of splitmix64 (Steele, Lea and Flood 2014)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a file says of the probe.

    Attributes:
        embedding: (D,) of unit length, as the file's writer computed it from `probe_signal`.
        least_cosine: how near to it the embedding must come wherever the file is used.
    """

    embedding: tuple[float, ...]
    least_cosine: float

    @classmethod
    def of(cls, embedding: ArrayLike, least_cosine: float) -> "Probe":
        """The probe of a model that gives this embedding (D,)."""
        values = np.asarray(embedding, dtype=np.float64).round(DIGITS)
        return cls(tuple(float(value) for value in values), least_cosine)

    @classmethod
    def restored(cls, fields: Any) -> "Probe | None":
        """The probe that `as_dict` wrote down; None for one of a rule that is unknown here.

        Raises:
            MetricError: these are not the fields of a probe.
        """
        try:
            if fields["rule"] != RULE:
                return None
            embedding, least = np.asarray(fields["embedding"], dtype=np.float64), float(fields["least_cosine"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise MetricError("it has not the fields of a probe") from None
        length = float(np.linalg.norm(embedding)) if embedding.ndim == 1 else 0.0
        if not (0.99 < length < 1.01 and 0.0 < least <= 1.0):
            raise MetricError("its embedding has not unit length, or its limit does not lie between 0 and 1")
        return cls(tuple(embedding.tolist()), least)

    def as_dict(self) -> dict[str, Any]:
        """The probe as JSON can hold it."""
        return {"rule": RULE, "embedding": list(self.embedding), "least_cosine": self.least_cosine}

    def cosine(self, embedding: Embeddings) -> float:
        """Between the probe's embedding and another one (D,); -1 where the other is of another size or not finite.

        >>> Probe((1.0, 0.0), 0.999).cosine(np.array([0.6, 0.8], np.float32))
        0.6
        """
        expected, found = np.array(self.embedding), np.asarray(embedding, dtype=np.float64)
        if expected.shape != found.shape or not np.isfinite(found).all():
            return -1.0
        lengths = float(np.linalg.norm(expected) * np.linalg.norm(found))
        return round(float(expected @ found) / lengths, 2 * DIGITS) if lengths > 0 else -1.0


def probe_signal() -> Samples:
    """(32000,) at 16 kHz: 2 s, the same on every machine.

    >>> signal = probe_signal()
    >>> len(signal), round(float(abs(signal).max()), 1)
    (32000, 0.5)
    """
    return _signal().copy()  # the caller's own


@cache
def _signal() -> Samples:
    """The signal, computed once in a process."""
    n = np.arange(int(PROBE_S * SAMPLE_RATE))
    t = n / SAMPLE_RATE
    pitch = 140.0 + 30.0 * np.sin(2.0 * np.pi * 0.7 * t)  # Hz
    phase = 2.0 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    formants = [
        (centre, swing * np.sin(2.0 * np.pi * rate * t), width, height)
        for rate, (centre, swing, width, height) in enumerate(_FORMANTS, start=1)
    ]
    voice = np.zeros(len(n))
    for number in range(1, _HARMONICS + 1):
        frequency = number * pitch
        level = sum(
            height / (1.0 + ((frequency - centre - swing) / width) ** 2) for centre, swing, width, height in formants
        )
        voice += level * np.sin(number * phase)
    syllables = np.sin(np.pi * _SYLLABLES_HZ * t) ** 2
    signal = voice * syllables / 6.0 + 0.02 * _noise(n) * (1.0 - 0.8 * syllables)
    return np.asarray((0.5 * signal / np.abs(signal).max() * 32768.0).round() / 32768.0, dtype=np.float32)


def _noise(n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Evenly spread in [-1, 1): a hash of the sample's number, all in integers."""
    with np.errstate(over="ignore"):
        hashed = n.astype(np.uint64) * np.uint64(_MULTIPLIERS[0])
        hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(_MULTIPLIERS[1])
    return (hashed >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0
