"""What recordings and evidence were like where a score map was fitted, and whether others are still like them.

Two distributions are compared by the largest distance between their cumulative shares (the Kolmogorov-Smirnov
statistic). By chance alone n recordings lie no further than sqrt(log(2 / a) / 2n) from where they come from, but for a
share a of cases (Dvoretzky, Kiefer and Wolfowitz 1956, with Massart's constant of 1990), and two samples of n and m no
further than about the root of both squares together. Collections differ from each other, too, and a map that was fitted
on several is right for that much: a quantity has drifted where it lies further off than both together.

Nobody says which of the pairs that a service compares are of one person. Whatever their share is, the evidence should
be a mixture of what it was of one speaker and of two; the share that fits best is looked for, and what is left is the
distance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from sound_groove.errors import MetricError
from sound_groove.types import Scores

FEWEST = 50  # values of a quantity; of fewer, "alike" is not said
CHANCE = 0.05  # share of cases in which some quantity seems to have drifted and it was chance, at most
SHARES = tuple((np.arange(1, 20) / 20).tolist())  # of recordings, below the edges of their distribution
LEAST_TOLERANCE = 0.1  # that recordings may lie off in any case
MIXTURES = 101  # shares of pairs of one speaker that are tried
QUANTITIES = ("speech_s", "snr_db", "embedding_norm", "closeness", "unfamiliarity")
EVIDENCE = "llr"

Finding = Literal["alike", "drifted", "too few"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a quantity is distributed, in bins.

    Attributes:
        edges: the values (E,) between the bins, rising; a value equal to an edge counts below it.
        reached: (E,) the share of values at or below each edge.
    """

    edges: tuple[float, ...]
    reached: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is no distribution."""
        numbers = np.array([*self.edges, *self.reached])
        rising = bool((np.diff(self.edges) > 0).all() and (np.diff(self.reached) >= 0).all())
        if not (self.edges and len(self.edges) == len(self.reached) and np.isfinite(numbers).all() and rising):
            raise MetricError("a distribution has edges that rise, and the share that lies at or below each")
        if not 0 <= self.reached[0] <= self.reached[-1] <= 1:
            raise MetricError("the shares of a distribution lie between 0 and 1")

    @classmethod
    def of(cls, values: ArrayLike, edges: Sequence[float], weights: ArrayLike | None = None) -> "Distribution":
        """That of values (n,), which weigh the same or as is said (n,).

        Raises:
            MetricError: there are none.

        >>> Distribution.of([1.0, 2.0, 3.0, 4.0], [2.0, 3.5]).reached
        (0.5, 0.75)
        """
        found = np.asarray(values, dtype=np.float64)
        if not found.size:
            raise MetricError("nothing is distributed")
        weigh = np.ones(len(found)) if weights is None else np.asarray(weights, dtype=np.float64)
        order = np.argsort(found)
        sums = np.concatenate(([0.0], np.cumsum(weigh[order])))
        reached = sums[np.searchsorted(found[order], edges, side="right")] / sums[-1]
        return cls(tuple(map(float, edges)), tuple(np.minimum(reached, 1.0).tolist()))

    def quantile(self, share: float) -> float:
        """About the value that a share of all lies below: between edges on a straight line, beyond them the last.

        >>> Distribution((0.0, 10.0), (0.0, 1.0)).quantile(0.25)
        2.5
        """
        return float(np.interp(share, self.reached, self.edges))


@dataclass(frozen=True, slots=True)
class Quantity:
    """How something was that is known of each recording, and how far collections lie apart in it.

    Attributes:
        distribution: of the whole recordings that the map was fitted on, collections weighing the same.
        tolerance: the distance from the others up to which a collection counts as alike.
    """

    distribution: Distribution
    tolerance: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """How log-likelihood ratios of pairs were that the map was not fitted on; edges are those of both.

    Attributes:
        same: of pairs of one speaker.
        different: of pairs of two.
        tolerance: as of a quantity.
    """

    same: Distribution
    different: Distribution
    tolerance: float

    def distance(self, llrs: ArrayLike) -> tuple[float, float]:
        """How far llrs (n,) lie from the nearest mixture of both, and the share of one speaker in that.

        >>> edges = (-1.0, 1.0)
        >>> evidence = Evidence(Distribution(edges, (0.0, 0.5)), Distribution(edges, (0.5, 1.0)), 0.1)
        >>> evidence.distance([-2.0, 0.0, 0.0, 2.0])
        (0.0, 0.5)
        """
        found = np.array(Distribution.of(llrs, self.same.edges).reached)
        shares = np.linspace(0.0, 1.0, MIXTURES)
        mixed = shares[:, None] * np.array(self.same.reached) + (1 - shares[:, None]) * np.array(self.different.reached)
        distances = np.abs(mixed - found).max(axis=1)
        best = int(np.argmin(distances))
        return float(distances[best]), float(shares[best])


@dataclass(frozen=True, slots=True)
class Baseline:
    """What recordings and evidence were like where a score map was fitted.

    Attributes:
        recordings: how many.
        quantities: by name, one of `QUANTITIES`; those that were known of all.
        evidence: of their pairs; None where there were too few.
    """

    recordings: int
    quantities: Mapping[str, Quantity]
    evidence: Evidence | None = None

    def drift(self, values: Mapping[str, ArrayLike], recordings: int) -> "Drift":
        """Whether other recordings, and the evidence of their pairs, are still like these.

        Args:
            values: by name of a quantity or `EVIDENCE`, what is known of the recordings or pairs, (n,) each; NaN is
                left out, and so is what is not known here.
            recordings: how many they are.
        """
        shifts = []
        known = [name for name in (*self.quantities, EVIDENCE) if name in values]
        for name in known:
            found = np.asarray(values[name], dtype=np.float64)
            found = found[np.isfinite(found)]
            if found.size:
                chance = (
                    _chance(found.size, len(known))
                    if name == EVIDENCE
                    else _chance(found.size, len(known), self.recordings)
                )
                if name != EVIDENCE:
                    shifts.append(_shift(name, found, self.quantities[name], chance))
                elif self.evidence is not None:
                    shifts.append(_evidence_shift(found, self.evidence, chance))
        findings = {shift.finding for shift in shifts if shift.quantity != EVIDENCE or shift.finding == "drifted"}
        finding: Finding = next((one for one in ("drifted", "alike") if one in findings), "too few")
        return Drift(finding, recordings, self.recordings, tuple(shifts))

    @classmethod
    def of(cls, values: Mapping[str, ArrayLike], recordings: int) -> "Baseline":
        """What recordings of one collection are like, by name of a quantity (n,) each; NaN is left out."""
        quantities = {}
        for name in QUANTITIES:
            found = np.asarray(values.get(name, ()), dtype=np.float64)
            found = found[np.isfinite(found)]
            if found.size >= FEWEST:
                edges = np.unique(np.quantile(found, SHARES, method="inverted_cdf"))
                quantities[name] = Quantity(Distribution.of(found, edges.tolist()), LEAST_TOLERANCE)
        return cls(recordings, quantities)

    @classmethod
    def restored(cls, fields: Mapping[str, Any]) -> "Baseline":
        """What `dataclasses.asdict` made JSON of; raises a KeyError, TypeError or ValueError where it is none."""
        quantities = {
            str(name): Quantity(_distribution(one["distribution"]), float(one["tolerance"]))
            for name, one in dict(fields["quantities"]).items()
        }
        told = fields.get("evidence")
        evidence = told and Evidence(
            _distribution(told["same"]), _distribution(told["different"]), float(told["tolerance"])
        )
        return cls(int(fields["recordings"]), quantities, evidence or None)


@dataclass(frozen=True, slots=True)
class Shift:
    """How a quantity differs from what it was.

    Attributes:
        quantity: its name, or `llr`.
        finding: whether it drifted.
        degree: the distance without what may be chance, in tolerances: beyond 1 it drifted.
        count: values that it is known of.
        distance: between the cumulative shares, at most, 0 to 1.
        chance: how much of the distance may be chance.
        tolerance: how much of it collections lie apart that are alike.
        median: of the values.
        usual: between which values eight of ten lay; of `llr`, the medians of pairs of two speakers and of one.
        same_share: of `llr`, the share of pairs of one speaker that fits best; None of the others.
    """

    quantity: str
    finding: Finding
    degree: float
    count: int
    distance: float
    chance: float
    tolerance: float
    median: float
    usual: tuple[float, float]
    same_share: float | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether recordings are still like those that a score map was fitted on.

    Attributes:
        finding: drifted where one quantity did; else alike, where there are enough recordings to say so.
        recordings: how many were looked at.
        baseline: how many the map was fitted on.
        shifts: of each quantity that is known of both.
    """

    finding: Finding
    recordings: int
    baseline: int
    shifts: tuple[Shift, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def distance(first: Distribution, second: Distribution) -> float:
    """Between the cumulative shares at the same edges, at most."""
    return float(np.abs(np.subtract(first.reached, second.reached)).max())


def _chance(count: int, looks: int, others: int | None = None) -> float:
    """The distance that may be chance, of a look among several at a sample, whose source is known or another sample."""
    inverse = 1 / count + (0.0 if others is None else 1 / others)
    return math.sqrt(math.log(2 * looks / CHANCE) / 2 * inverse)


def _shift(name: str, values: Scores, quantity: Quantity, chance: float) -> Shift:
    known = quantity.distribution
    apart = distance(Distribution.of(values, known.edges), known)
    usual = (known.quantile(0.1), known.quantile(0.9))
    return _told(name, values, apart, chance, quantity.tolerance, usual)


def _evidence_shift(llrs: Scores, evidence: Evidence, chance: float) -> Shift:
    apart, share = evidence.distance(llrs)
    usual = (evidence.different.quantile(0.5), evidence.same.quantile(0.5))
    return _told(EVIDENCE, llrs, apart, chance, evidence.tolerance, usual, share)


def _told(
    name: str,
    values: Scores,
    apart: float,
    chance: float,
    tolerance: float,
    usual: tuple[float, float],
    share: float | None = None,
) -> Shift:
    degree = max(0.0, apart - chance) / tolerance
    finding: Finding = "drifted" if degree > 1 else "alike" if len(values) >= FEWEST else "too few"
    return Shift(name, finding, degree, len(values), apart, chance, tolerance, float(np.median(values)), usual, share)


def _distribution(fields: Mapping[str, Any]) -> Distribution:
    return Distribution(tuple(map(float, fields["edges"])), tuple(map(float, fields["reached"])))
