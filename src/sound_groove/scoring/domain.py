"""What a score map was adapted to: statistics of the recordings of a domain, kept in the model file with the map."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sound_groove.errors import MetricError


@dataclass(frozen=True, slots=True)
class Domain:
    """Recordings of one kind, and what they made of a general map: llr = scale x (the general map's) + shift.

    The cohort is kept as two statistics of all pairs, not as embeddings: nobody's voice is in the file.

    Attributes:
        recordings: how many were used.
        speakers: how many people were labelled, or, without labels, about how many were found.
        labelled: how many of the recordings had a label.
        cohort_middle: the median llr, by the general map and before its bounds, of pairs of recordings of the domain.
        cohort_deviation: how far that lies above what a sixth of them stay below: a standard deviation.
        scale: what the general map's llr is multiplied by.
        shift: what is then added to it.
        weight: the recordings' part in scale and shift, in [0, 1]; the rest is the general map's.
        clusters: how many people with two recordings and more were told apart without labels, and learnt from.
    """

    recordings: int
    speakers: int
    labelled: int
    cohort_middle: float
    cohort_deviation: float
    scale: float
    shift: float
    weight: float
    clusters: int = 0

    def __post_init__(self) -> None:
        """Refuse what would turn llrs around, or is no number."""
        numbers = (self.cohort_middle, self.cohort_deviation, self.scale, self.shift, self.weight)
        if not all(map(math.isfinite, numbers)) or self.scale < 0 or not 0 <= self.weight <= 1:
            raise MetricError(f"a domain needs finite numbers, a scale of at least 0 and a weight in [0, 1]: {numbers}")

    @classmethod
    def restored(cls, fields: Mapping[str, Any]) -> "Domain":
        """The domain whose fields these are, as JSON holds them.

        Raises:
            KeyError, TypeError, ValueError: they are not those of a domain.
            MetricError: their numbers are none of a domain.
        """
        return cls(
            int(fields["recordings"]),
            int(fields["speakers"]),
            int(fields["labelled"]),
            float(fields["cohort_middle"]),
            float(fields["cohort_deviation"]),
            float(fields["scale"]),
            float(fields["shift"]),
            float(fields["weight"]),
            int(fields.get("clusters", 0)),  # what was adapted earlier has none
        )
