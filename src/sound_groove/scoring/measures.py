"""Measures of a trial: what is known of its two recordings beside their embeddings, and says how much a score is worth.

Each is made of what is known of the two sides, and is the same when they change places.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from sound_groove.types import Scores

SHORTEST_S = 0.1  # of speech, below which the logarithm of its duration is not taken

Measures = Mapping[str, ArrayLike]


class Facts(Protocol):
    """What is known of a recording; `sound_groove.audio.listening.AudioFacts` is one."""

    @property
    def speech_s(self) -> float: ...

    @property
    def snr_db(self) -> float: ...

    @property
    def embedding_norm(self) -> float | None: ...

    @property
    def unfamiliarity(self) -> float | None: ...


def side_of(facts: Facts, closeness: float = math.nan) -> dict[str, float]:
    """What a measure takes of one side of a trial; norm and unfamiliarity are NaN where they are not known.

    Args:
        facts: of the recording, or of what is enrolled of a speaker.
        closeness: of its embedding, as the score map tells it (`ScoreMap.closeness`).
    """
    return {
        "speech_s": facts.speech_s,
        "snr_db": facts.snr_db,
        "embedding_norm": number_or_nan(facts.embedding_norm),
        "closeness": closeness,
        "unfamiliarity": number_or_nan(facts.unfamiliarity),
    }


def number_or_nan(value: float | None) -> float:
    """The number, or NaN where there is none."""
    return math.nan if value is None else value


def trial_measures(first: Measures, second: Measures) -> dict[str, Scores]:
    """The measures of trials, by name, from what is known of the recordings on their two sides.

    Args:
        first: `speech_s` in seconds, `snr_db` in dB, `embedding_norm`, `closeness` and `unfamiliarity` (NaN, or left
            out, where they are not known), of the first recording of each trial.
        second: of the second.

    >>> {name: value.round(3).tolist() for name, value in trial_measures(
    ...     {"speech_s": 1.0, "snr_db": 30.0, "embedding_norm": 9.0, "closeness": 0.3},
    ...     {"speech_s": 1.0, "snr_db": 5.0, "embedding_norm": 1.0, "closeness": 0.1, "unfamiliarity": -2.0}).items()}
    {'speech': 0.0, 'snr': 5.0, 'norm': 0.0, 'closeness': 0.1, 'unfamiliarity': -2.0}
    """
    return {name: measure(first, second) for name, measure in (*MEASURES.items(), (UNFAMILIARITY, _unfamiliarity))}


def _speech(first: Measures, second: Measures) -> Scores:
    """Logarithm of the harmonic mean of the seconds of speech: the noise of a score goes with the sum of 1/duration."""
    a, b = _seconds(first), _seconds(second)
    return np.asarray(np.log(2.0 / (1.0 / a + 1.0 / b)))


def _snr(first: Measures, second: Measures) -> Scores:
    """The lower of the two signal-to-noise ratios, in dB: the poorer recording decides."""
    return np.minimum(*(np.asarray(side["snr_db"], dtype=np.float64) for side in (first, second)))


def _norm(first: Measures, second: Measures) -> Scores:
    """Logarithm of the smaller norm of the two embeddings before they were scaled: of what was heard less well."""
    a, b = (np.asarray(side.get("embedding_norm", math.nan), dtype=np.float64) for side in (first, second))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.minimum(a, b))


def _closeness(first: Measures, second: Measures) -> Scores:
    """The lower of the cosines with what the map was fitted on: recordings unlike these are told apart less well."""
    a, b = (np.asarray(side.get("closeness", math.nan), dtype=np.float64) for side in (first, second))
    return np.minimum(a, b)


def _unfamiliarity(first: Measures, second: Measures) -> Scores:
    """That of the less familiar recording; NaN where it is known of neither."""
    a, b = (np.asarray(side.get("unfamiliarity", math.nan), dtype=np.float64) for side in (first, second))
    return np.fmax(a, b)


def _seconds(side: Measures) -> Scores:
    return np.maximum(np.asarray(side["speech_s"], dtype=np.float64), SHORTEST_S)


MAY_BE_UNKNOWN = frozenset({"norm", "closeness"})
UNFAMILIARITY = "unfamiliarity"  # no term of a map bends by it: it is what the map fades by
MEASURES = {"speech": _speech, "snr": _snr, "norm": _norm, "closeness": _closeness}
