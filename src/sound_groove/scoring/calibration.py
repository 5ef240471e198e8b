"""From score to log-likelihood ratio, and from there to a probability. numpy only.

A cosine is not a probability: 0.4 may be a sure match for one model and noise for another. A score map is the straight
line that turns one model's score into a log-likelihood ratio; `sound_groove.scoring.map_regression` fits it. Above even
chances it may rise with the square of the score besides: scores of one speaker spread more than those of two, and the
ratio of such densities grows faster than a straight line.

The same score says less about a second of noisy speech than about ten clean ones, so that slope and offset of the line
may depend on measures of the two recordings (quality measure functions, Mandasari et al. 2013, which move the offset
alone; here the slope moves too, since it is what shrinks).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sound_groove.errors import MetricError, nearest
from sound_groove.percentages import uncertain
from sound_groove.scoring.baseline import Baseline
from sound_groove.scoring.domain import Domain
from sound_groove.scoring.measures import MAY_BE_UNKNOWN, MEASURES, UNFAMILIARITY, Measures
from sound_groove.types import Labels, Scores

FADES_BEFORE = 2.0  # log odds before the limit of what is familiar, where evidence begins to fade
FADE_RATE = 0.3  # a log odds: at the limit nearly half of the evidence for one speaker is gone, six beyond nine tenths
# Of evidence for two: a voice that something was done to is unlike itself, so that a low score says little. At this
# rate trials of a voice that was made higher, on one side, cost no more than no verdict at all (docs/calibration.md).
DIFFERENT_FADE_RATE = 0.9


@dataclass(frozen=True, slots=True)
class Term:
    """How a measure of the two recordings bends the line from score to log-likelihood ratio.

    Attributes:
        measure: its name, one of `MEASURES`.
        slope: what one unit of it adds to the scale.
        offset: what one unit of it adds to the offset.
        low: the least value that the map was fitted on; lower ones count as this.
        high: the highest.
        rise: what one unit of it adds to the rise.
    """

    measure: str
    slope: float
    offset: float
    low: float
    high: float
    rise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a measure that is not known, and a range that is none."""
        if self.measure not in MEASURES:
            raise MetricError(f"there is no measure '{self.measure}'; {nearest(self.measure, list(MEASURES))}")
        numbers = (self.slope, self.offset, self.low, self.high, self.rise)
        if not all(map(math.isfinite, numbers)) or self.low > self.high:
            raise MetricError(f"a term needs finite numbers and a range from low to high; {numbers} were given")


class Line(NamedTuple):
    """What a map makes of the scores of trials with certain measures.

    Attributes:
        scale: of the score, at least 0.
        offset: the llr of a score of 0.
        rise: of the square of the score above `ScoreMap.rises_from`, at least 0.
        different: what an llr below 0 is multiplied by, in [0, 1].
    """

    scale: Scores
    offset: Scores
    rise: Scores
    different: Scores = np.asarray(1.0)


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """llr = scale x score + offset + rise x max(0, score - rises_from)^2, all three bent by terms, within bounds.

    Attributes:
        scale: of the score, where all measures are 0.
        offset: the llr of a score of 0, where all measures are 0.
        fitted_on: which trials it was fitted on, for people to read.
        terms: how measures of the recordings bend the line.
        bounds: the least and the highest llr that is told, however far a score lies from all that was seen; none where
            None.
        calibrated: fitted by `sound-groove calibrate` on speakers that had no part in training; a map that comes from
            training was fitted on the speakers that chose the checkpoint.
        speakers: digests of the speakers that it was fitted on.
        figures: what it reaches on speakers that it was not fitted on, such as `cllr`.
        rise: what the square of the score above `rises_from` is multiplied by, where all measures are 0.
        rises_from: the score from which on it is added.
        reference: mean of the embeddings (D,) that the map was fitted on, collections weighing the same; the measure
            `closeness` is taken by it. Empty where the map has no such term.
        familiar_up_to: the unfamiliarity (`audio.familiarity`, log odds) up to which recordings are like those that the
            map was fitted on; of recordings beyond it the evidence fades towards 0. None where that is not known.
        baseline: what recordings and evidence were like where it was fitted, by which it is seen whether others still
            are; None where that is not known.
        adapted_to: the recordings that a general map was adapted to (`sound-groove adapt`); None where it was not.
    """

    scale: float
    offset: float
    fitted_on: str
    terms: tuple[Term, ...] = ()
    calibrated: bool = False
    speakers: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None
    rise: float = 0.0
    rises_from: float = 0.0
    reference: tuple[float, ...] = ()
    familiar_up_to: float | None = None
    baseline: Baseline | None = None
    adapted_to: Domain | None = None

    def __post_init__(self) -> None:
        """Refuse a map that would turn scores around or give no number."""
        if not (math.isfinite(self.scale) and math.isfinite(self.offset)):
            raise MetricError(
                f"a score map needs a finite scale and a finite offset; {self.scale} and {self.offset} were given"
            )
        if self.bounds is not None and not -math.inf < self.bounds[0] < 0 < self.bounds[1] < math.inf:
            raise MetricError(f"the bounds of a score map lie below and above 0; {self.bounds} were given")
        if not (0 <= self._least("rise") < math.inf and math.isfinite(self.rises_from)):
            given = f"{self.rise} from {self.rises_from} on was given"
            raise MetricError(f"a score map rises by a finite number of at least 0 from some score on; {given}")
        if self.familiar_up_to is not None and not math.isfinite(self.familiar_up_to):
            raise MetricError(f"a score map is familiar with recordings up to a number, not {self.familiar_up_to}")
        if (least := self.least_scale) < 0:
            raise MetricError(f"a score map needs a scale of at least 0, so that scores are not turned; it is {least}")

    @property
    def collections(self) -> int | None:
        """How many collections it was fitted on, each of which was left out in turn; None where none was."""
        count = self.figures.get("collections")
        return None if count is None else int(count)

    @property
    def least_scale(self) -> float:
        """The scale where the measures make it smallest."""
        return self._least("scale")

    def _least(self, part: Literal["scale", "rise"]) -> float:
        """Of the scale or of the rise, where the measures make it smallest."""
        start, name = (self.scale, "slope") if part == "scale" else (self.rise, "rise")
        bends = [(getattr(term, name), term) for term in self.terms]
        least = start + sum(min(bend * term.low, bend * term.high) for bend, term in bends)
        return 0.0 if -1e-9 * abs(start) < least < 0 else least  # rounding

    def closeness(self, embeddings: ArrayLike) -> Scores:
        """How near embeddings (..., D) of unit length are to what the map was fitted on; NaN without `reference`.

        Of several recordings of a speaker the mean of their embeddings stands, which is not of unit length.

        Returns:
            (...) the inner products with `reference`.

        Raises:
            MetricError: the embeddings are of another size.
        """
        values = np.asarray(embeddings, dtype=np.float64)
        if not self.reference:
            return np.full(values.shape[:-1], math.nan)
        if values.shape[-1] != len(self.reference):
            raise MetricError(
                f"this score map is for embeddings of {len(self.reference)} values, not {values.shape[-1]}"
            )
        return np.asarray(values @ np.array(self.reference))

    def line(self, measures: Measures | None = None) -> Line:
        """What holds for trials with these measures, each in their shape.

        Args:
            measures: by name, of each trial; see `trial_measures`. Values beyond a term's range count as its end, and
                for what is not known, as the norm of a voiceprint made before norms were kept, the middle of it stands.

        Raises:
            MetricError: a measure that a term needs is not given, or not a number.
        """
        scale, offset, rise = (np.asarray(value, dtype=np.float64) for value in (self.scale, self.offset, self.rise))
        for term in self.terms:
            if measures is None or term.measure not in measures:
                raise MetricError(f"this score map needs the measure '{term.measure}' of the recordings")
            values = np.clip(np.asarray(measures[term.measure], dtype=np.float64), term.low, term.high)
            if term.measure in MAY_BE_UNKNOWN:
                values = np.where(np.isnan(values), (term.low + term.high) / 2, values)
            elif np.isnan(values).any():
                raise MetricError(f"the measure '{term.measure}' is not a number")
            scale, offset = scale + term.slope * values, offset + term.offset * values
            rise = rise + term.rise * values
        left = self.evidence_left(measures)
        different = left ** (DIFFERENT_FADE_RATE / FADE_RATE - 1.0)
        # The maxima are for rounding: -1e-17.
        return Line(np.maximum(scale, 0.0) * left, offset * left, np.maximum(rise, 0.0) * left, different)

    def is_unfamiliar(self, measures: Measures) -> Labels:
        """Whether one of the two recordings of trials with these measures is unlike all that the map was fitted on."""
        limit = math.inf if self.familiar_up_to is None else self.familiar_up_to
        return np.asarray(np.asarray(measures.get(UNFAMILIARITY, math.nan), dtype=np.float64) > limit)

    def evidence_left(self, measures: Measures | None) -> Scores:
        """What part of evidence for one speaker is left of trials with these measures, from 1 towards 0, unfamiliar."""
        if self.familiar_up_to is None or measures is None or UNFAMILIARITY not in measures:
            return np.asarray(1.0)
        beyond = np.asarray(measures[UNFAMILIARITY], dtype=np.float64) - self.familiar_up_to + FADES_BEFORE
        return np.asarray(np.exp(-FADE_RATE * np.nan_to_num(np.maximum(beyond, 0.0), nan=0.0)))

    def llr(self, scores: ArrayLike, measures: Measures | None = None) -> Scores:
        """Log-likelihood ratios (natural logarithm) of scores, in their shape.

        Args:
            scores: of trials.
            measures: as in `line`.

        >>> ScoreMap(10.0, -3.0, "an example").llr([0.3, 0.5]).tolist()
        [0.0, 2.0]
        >>> ScoreMap(10.0, -3.0, "", (Term("speech", 2.0, -1.0, 0.0, 2.0),)).llr(0.5, {"speech": 1.0}).tolist()
        2.0
        """
        return self.on_line(scores, self.line(measures))

    def on_line(self, scores: ArrayLike, line: Line) -> Scores:
        """Log-likelihood ratios of scores on lines that `line` gave, within the bounds.

        >>> bounded = ScoreMap(10.0, -3.0, "", bounds=(-2.0, 4.0))
        >>> bounded.on_line([0.0, 0.35, 0.8], bounded.line()).tolist()
        [-2.0, 0.5, 4.0]
        >>> rising = ScoreMap(10.0, -3.0, "", rise=100.0, rises_from=0.3)
        >>> rising.on_line([0.2, 0.5], rising.line()).tolist()
        [-1.0, 6.0]
        """
        values = np.asarray(scores, dtype=np.float64)
        llrs = line.scale * values + line.offset + line.rise * np.maximum(values - self.rises_from, 0.0) ** 2
        llrs = np.where(llrs < 0.0, llrs * line.different, llrs)
        return np.asarray(llrs if self.bounds is None else np.clip(llrs, *self.bounds), dtype=np.float64)

    def score_of(self, llr: float, line: Line) -> float | None:
        """The score that has an llr on a line of one trial; None where no score has, or all have.

        A flat line says that the scores tell nothing.
        """
        if self.bounds is not None and not self.bounds[0] < llr <= self.bounds[1]:
            return None
        scale, offset, rise, different = (float(value) for value in line)
        if llr < 0.0:
            if different == 0.0:
                return None
            llr /= different
        above = llr - (scale * self.rises_from + offset)
        if rise > 0 and above > 0:
            return self.rises_from + (math.sqrt(scale**2 + 4 * rise * above) - scale) / (2 * rise)
        return (llr - offset) / scale if scale > 0 else None

    def moved(self, domain: Domain) -> "ScoreMap":
        """The map whose llrs are those of this one, times the domain's scale, with its shift added, in the same bounds.

        It has no baseline: that was of other recordings, and of other evidence.

        >>> domain = Domain(40, 12, 0, -1.0, 1.5, scale=2.0, shift=-1.0, weight=0.5)
        >>> ScoreMap(10.0, -3.0, "an example").moved(domain).llr([0.3, 0.5]).tolist()
        [-1.0, 3.0]
        """
        scale = domain.scale
        terms = tuple(
            replace(term, slope=scale * term.slope, offset=scale * term.offset, rise=scale * term.rise)
            for term in self.terms
        )
        return replace(
            self,
            scale=scale * self.scale,
            offset=scale * self.offset + domain.shift,
            rise=scale * self.rise,
            terms=terms,
            baseline=None,
            adapted_to=domain,
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them; those that say nothing are left out."""
        fields = asdict(self)
        always = ("scale", "offset", "fitted_on")
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in fields.items()
            if value or key in always or (key == "familiar_up_to" and value is not None)
        }

    @classmethod
    def restored(cls, fields: Mapping[str, Any]) -> "ScoreMap":
        """The map that `as_dict` gave.

        Raises:
            MetricError: the fields are not those of a map.
        """
        try:
            return cls(
                float(fields["scale"]),
                float(fields["offset"]),
                str(fields["fitted_on"]),
                tuple(Term(**term) for term in fields.get("terms", ())),
                bool(fields.get("calibrated", False)),
                tuple(map(str, fields.get("speakers", ()))),
                {str(name): float(value) for name, value in dict(fields.get("figures", {})).items()},
                None if fields.get("bounds") is None else _two_numbers(fields["bounds"]),
                float(fields.get("rise", 0.0)),
                float(fields.get("rises_from", 0.0)),
                tuple(map(float, fields.get("reference", ()))),
                None if fields.get("familiar_up_to") is None else float(fields["familiar_up_to"]),
                None if fields.get("baseline") is None else Baseline.restored(fields["baseline"]),
                None if fields.get("adapted_to") is None else Domain.restored(fields["adapted_to"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MetricError(f"{type(error).__name__}: {error}") from None


def probability(llr: float, prior: float) -> float:
    """Probability of 'same speaker', given the evidence and what was believed before it (Bayes' rule).

    It is never 0 or 1, however much evidence there is: where a float would be rounded to that, it is the last before.

    Args:
        llr: log-likelihood ratio, natural logarithm.
        prior: probability of 'same speaker' before hearing, in (0, 1).

    Raises:
        MetricError: the prior is not between 0 and 1, exclusive, or the llr is NaN.

    >>> probability(0.0, 0.25)
    0.25
    """
    log_odds = llr + logit(prior)
    if math.isnan(log_odds):
        raise MetricError("the log-likelihood ratio is NaN")
    return uncertain(float(sigmoid(log_odds)))


def logit(prior: float) -> float:
    """Logarithm of the odds of a probability.

    Raises:
        MetricError: it is not between 0 and 1, exclusive.
    """
    if not 0 < prior < 1:
        raise MetricError(f"the prior must lie between 0 and 1, exclusive; {prior} was given")
    return math.log(prior) - math.log1p(-prior)


def sigmoid(log_odds: ArrayLike) -> Scores:
    """Probabilities of log odds, without overflow.

    >>> sigmoid([0.0, -1000.0]).tolist()
    [0.5, 0.0]
    """
    values = np.asarray(log_odds, dtype=np.float64)
    odds = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1.0, odds) / (1.0 + odds))


def _two_numbers(values: Any) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
