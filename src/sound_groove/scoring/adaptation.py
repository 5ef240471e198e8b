"""How a general map's llrs are to be changed for the recordings of one domain: scale x llr + shift. numpy only.

What a general map gets wrong in a collection that it was not fitted on is mostly these two numbers. How much they vary
from one collection to the next was measured on collections left out (docs/adaptation.md): the prior for labelled pairs,
which move them as far as they outweigh it (maximum a posteriori logistic regression). Without labels what can be
seen is the cohort: the llrs of pairs of two people, which are nearly all pairs where there are many people. Where these
lie higher or lower than elsewhere, or scatter more, part of that is taken back.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sound_groove.errors import MetricError
from sound_groove.scoring.calibration import sigmoid
from sound_groove.scoring.map_regression import balanced_weights, least_logistic_loss
from sound_groove.scoring.metrics import check_trials

DEVIATIONS = (0.4, 0.9)  # of scale and shift between collections; they are not correlated
COUNTED = 1.0  # independent pairs that a labelled speaker is worth, however many pairs there are
WITHIN = (-8.0, 12.0)  # llrs that lie farther out count as these: a few of them would decide
# Of collections in the mean: the middle and the deviation of the llrs of pairs of two people.
USUAL_MIDDLE, USUAL_DEVIATION = -1.5, 1.6
NOTHING = 0.5  # of how far a cohort's middle may lie from the usual one, and is left there
MIDDLE_SHARE, SCALE_POWER = 0.8, 0.45  # of what is taken back, with many people
HALF = 4.0  # people with whom half of that is
PIVOT = 1.0  # the llr that another scale leaves as it is
# Within which scale and shift stay without labels. Llrs are never made larger: where recordings of one person come over
# different lines, a cohort scatters little and yet its targets are no surer.
SCALES, FARTHEST = (0.8, 1.0), 1.2
PRIOR_STEPS = 60


@dataclass(frozen=True, slots=True)
class Moved:
    """A change of llrs.

    Attributes:
        scale: what they are multiplied by, at least 0.
        shift: what is then added.
        weight: the data's part in both, in [0, 1]: 0 leaves the general map, 1 is a fit without a prior.
    """

    scale: float = 1.0
    shift: float = 0.0
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Cohort:
    """What is seen of pairs of a domain's recordings without labels.

    Attributes:
        middle: the median llr.
        deviation: how far the median lies above what a sixth of the llrs stay below: one standard deviation of a normal
            distribution, and not touched by the pairs of one person, which lie above.
        people: about how many spoke.
    """

    middle: float
    deviation: float
    people: float


def cohort_of(llrs: ArrayLike, whole: ArrayLike) -> Cohort:
    """The cohort.

    Args:
        llrs: (P,) of random pairs of different recordings and their cuts, by the general map, before its bounds.
        whole: (Q,) of pairs of whole recordings, within its bounds, by which people are counted.

    >>> cohort_of([-3.0, -2.0, -1.0, 0.0, 5.0], [-50.0, -50.0, -50.0, 50.0]) == Cohort(-1.0, 1.36, 4.0)
    True
    """
    low, middle = np.quantile(np.asarray(llrs, dtype=np.float64), [0.16, 0.5]).tolist()
    return Cohort(middle, round(middle - low, 12), people_in(whole))


def people_in(llrs: ArrayLike) -> float:
    """About how many people spoke in recordings, if each spoke in as many: one by the share of pairs of one person.

    The share is the one that the posterior probabilities of all pairs have in the mean when it is their prior (Saerens,
    Latinne & Decaestecker 2002). So it is right as far as the llrs are.

    Args:
        llrs: (P,) of pairs of different recordings.

    >>> round(people_in([-50.0] * 9 + [50.0]), 6), round(people_in([50.0] * 10), 3)
    (10.0, 1.0)
    """
    values, share = np.asarray(llrs, dtype=np.float64), 0.1
    for _ in range(PRIOR_STEPS):
        odds = np.log(share) - np.log1p(-share)
        share = float(np.clip(sigmoid(values + odds).mean(), 1e-4, 1 - 1e-4))
    return 1.0 / share


def moved_by_cohort(cohort: Cohort) -> Moved:
    """The change for recordings without labels: towards what cohorts are elsewhere, the more the more people there are.

    The middle is brought nearer to the usual one by MIDDLE_SHARE of what it is off beyond NOTHING, and llrs are
    divided by their deviation over the usual one, to the power of SCALE_POWER, both times people / (people + HALF).

    >>> moved_by_cohort(Cohort(-1.5, 1.6, 50.0)).shift, moved_by_cohort(Cohort(5.0, 9.0, 0.0))
    (0.0, Moved(scale=1.0, shift=0.0, weight=0.0))
    """
    part = cohort.people / (cohort.people + HALF)
    deviation = max(cohort.deviation, 0.1)
    scale = float(np.clip((USUAL_DEVIATION / deviation) ** (SCALE_POWER * part), *SCALES))
    off = cohort.middle - USUAL_MIDDLE
    beyond = float(np.sign(off) * max(abs(off) - NOTHING, 0.0))
    shift = float(np.clip((1 - scale) * PIVOT - MIDDLE_SHARE * part * beyond, -FARTHEST, FARTHEST))
    return Moved(scale, shift + 0.0, MIDDLE_SHARE * part)


def moved_by_labels(
    llrs: ArrayLike, labels: ArrayLike, speakers: int, evidence_left: ArrayLike = 1.0, counted: float = COUNTED
) -> Moved:
    """The most probable change, given labelled pairs and how much it varies between collections.

    With z = evidence left x (scale x llr + shift), it minimises n x (mean over targets of log(1 + exp(-z)) + mean over
    nontargets of log(1 + exp(z))) / 2 + ((scale - 1) / d1)^2 / 2 + (shift / d2)^2 / 2, where d1 and d2 are DEVIATIONS
    and n = `counted` x speakers. Pairs of the same few people are no independent ones, so that their number does not
    matter. llrs beyond WITHIN count as its ends.

    Args:
        llrs: (P,) of the general map, before its bounds and its fading.
        labels: (P,) True = same speaker.
        speakers: how many they are of.
        evidence_left: (P,) what part of the evidence for one speaker unfamiliar recordings keep, in (0, 1]. That
            evidence for two fades faster is left out.
        counted: independent pairs to a speaker; 0 leaves the general map as it is.

    Raises:
        MetricError: see `scoring.metrics.check_trials`; or llrs are no higher for one speaker than for two.
    """
    checked, same = check_trials(llrs, labels)
    if counted * speakers == 0:
        return Moved()
    checked = np.clip(checked, *WITHIN)
    left = np.broadcast_to(np.asarray(evidence_left, dtype=np.float64), checked.shape)
    root = np.diag(DEVIATIONS)
    columns = np.column_stack((left * checked, left)) @ root  # so that the prior of coefficients is the unit normal
    weights = balanced_weights(same, 0.5)
    ridge = np.full(2, 1.0 / (counted * speakers))
    found = least_logistic_loss(columns, same.astype(np.float64), weights, left * checked, ridge)
    scale, shift = (np.array([1.0, 0.0]) + root @ found).tolist()
    if scale <= 0:
        raise MetricError("the scores are no higher for one speaker than for two; are the labels right?")
    posterior = sigmoid(left * (scale * checked + shift))
    hessian = (columns * (weights * posterior * (1 - posterior))[:, None]).T @ columns
    part = np.trace(np.linalg.solve(hessian + np.diag(ridge), hessian)) / 2
    return Moved(scale, shift, float(part))
