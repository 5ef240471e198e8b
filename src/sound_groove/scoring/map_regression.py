"""Fitting score maps: prior-weighted logistic regression on labelled trials (Bruemmer & du Preez 2006). numpy only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.errors import MetricError
from sound_groove.scoring.calibration import ScoreMap, Term, logit, sigmoid
from sound_groove.scoring.measures import Measures
from sound_groove.scoring.metrics import check_trials
from sound_groove.types import Labels, Scores

RIDGE = (
    1e-6  # on the slopes in units of standardised columns: invisible on real trials, finite where the classes separate
)
MAXIMUM_STEPS = 200
ROUNDING = 1e-14  # of a loss: by less, steps of Newton's method seem to raise it as often as to lower it
RANGE = (0.005, 0.995)  # quantiles of a measure between which a map was fitted, and beyond which it is not followed


def fit_score_map(
    scores: ArrayLike,
    labels: ArrayLike,
    fitted_on: str,
    prior: float = 0.5,
    measures: Measures | None = None,
    groups: ArrayLike | None = None,
    rises: bool = False,
) -> ScoreMap:
    """The map from score to llr with the least prior-weighted logistic loss.

    Each class is weighted to its prior share, whatever the number of its trials. With z = llr + logit(prior), the fit
    minimises `prior mean_targets(log(1 + exp(-z))) + (1 - prior) mean_nontargets(log(1 + exp(z)))`, plus
    `RIDGE / 2 x slope^2` (slopes in units of standardised columns), by damped Newton steps. With prior 0.5 that loss is
    Cllr times log 2.

    With measures m, llr = (a + b m) s + (c + d m), which is still linear in what is fitted. A measure that would turn
    scores around somewhere in its range moves the offset only.

    Where the scores point the wrong way (targets below nontargets) the best map with scale >= 0 is 'llr = 0 always',
    and that is what comes back: no information, rather than a map that turns decisions around.

    Args:
        scores: (trials,) finite; higher = more likely the same speaker.
        labels: (trials,) True or 1 = same speaker.
        fitted_on: which trials these are, for people to read.
        prior: where on the score axis the fit should be best, in (0, 1).
        measures: by name, (trials,) each; see `trial_measures`. Those that are all alike say nothing and are left out.
        groups: (trials,) a number for each trial: the collection that it is of. Collections weigh the same, however
            many trials they have, each class within them to its prior share; each needs trials of both kinds.
        rises: let the map rise with the square of the score, from where the straight line has even chances at the mean
            of the measures, and let these bend the rise. Where it would fall by it, it stays straight.

    Raises:
        MetricError: see `scoring.metrics.check_trials`; or infinite scores or measures, or a prior out of range.
    """
    checked, same = check_trials(scores, labels)
    if not np.isfinite(checked).all():
        raise MetricError("a score map cannot be fitted on infinite scores")
    shift = logit(prior)
    if _spread(checked) == 0:
        return ScoreMap(0.0, 0.0, fitted_on)  # all scores equal: they say nothing
    weights = balanced_weights(same, prior, groups)
    columns = {name: _checked_measure(name, values, checked) for name, values in (measures or {}).items()}
    columns = {name: values for name, values in columns.items() if _spread(values) > 0}
    problem = same.astype(np.float64), weights, shift
    straight = _fitted_map(checked, columns, problem, fitted_on)
    if not rises or straight.scale == straight.offset == 0:
        return straight
    middle = straight.line({name: np.asarray(values.mean()) for name, values in columns.items()})
    start = float(-middle.offset / middle.scale) if middle.scale > 0 else math.inf
    squares = np.maximum(checked - start, 0.0) ** 2
    if not math.isfinite(start) or _spread(squares) == 0:
        return straight
    risen = _fitted_map(checked, columns, problem, fitted_on, (start, squares))
    return risen if risen.rise != 0 else straight


def fit_shares(
    scores: ArrayLike, labels: ArrayLike, prior: float = 0.5, groups: ArrayLike | None = None
) -> NDArray[np.float64]:
    """What share each of several scores of the same trials should have in one: linear logistic fusion.

    The scores' coefficients are those with the least prior-weighted logistic loss (Bruemmer et al. 2007, "Fusion of
    heterogeneous speaker recognition systems"). Where one is negative its score has no share, and the others are fitted
    again: a model that is only believed the other way round is not believed.

    Args:
        scores: (trials, systems) finite; higher = more likely the same speaker.
        labels: (trials,) True or 1 = same speaker.
        prior: where the fit should be best, in (0, 1).
        groups: as for `fit_score_map`.

    Returns:
        (systems,) at least 0, with a sum of 1.

    Raises:
        MetricError: the trials cannot be used, or none of the scores is higher for one speaker than for two.
    """
    values = np.asarray(scores, dtype=np.float64)
    columns = [check_trials(values[:, system], labels)[0] for system in range(values.shape[1])]
    _, same = check_trials(values[:, 0], labels)
    weights, shift, answers = balanced_weights(same, prior, groups), logit(prior), same.astype(np.float64)
    kept = [system for system, column in enumerate(columns) if _spread(column) > 0]
    while kept:
        units = np.array([_spread(columns[system]) for system in kept])
        design = np.stack([(columns[system] - columns[system].mean()) for system in kept], axis=1) / units
        found = (
            least_logistic_loss(np.column_stack((design, np.ones(len(design)))), answers, weights, shift)[:-1] / units
        )
        if (found > 0).all():
            shares = np.zeros(values.shape[1])
            shares[kept] = found / found.sum()
            return shares
        kept.pop(int(np.argmin(found * units)))
    raise MetricError("none of the scores is higher for one speaker than for two")


def _fitted_map(
    scores: Scores,
    columns: Mapping[str, Scores],
    problem: tuple[Scores, Scores, float],
    fitted_on: str,
    squares: tuple[float, Scores] | None = None,
) -> ScoreMap:
    """The map with these measures, those that would turn scores around moving its offset only.

    Args:
        scores: (trials,).
        columns: by name, (trials,) each.
        problem: labels, weights, and the prior's log odds.
        fitted_on: which trials these are.
        squares: from which score on their squares are taken, and the squares; None = the map is straight.
    """
    bending = list(columns)  # the measures that move the slope
    rising = [] if squares is None else list(columns)  # and those that move the rise
    while True:
        fitted = _fitted_line(scores, columns, bending, problem, None if squares is None else squares[1], rising)
        terms = tuple(
            Term(name, *fitted.terms[name], *_range(values), fitted.rises[name]) for name, values in columns.items()
        )
        if fitted.scale + sum(min(term.slope * term.low, term.slope * term.high) for term in terms) <= 0:
            if not bending:
                return ScoreMap(0.0, 0.0, fitted_on)
            bending.remove(max(bending, key=lambda name: abs(fitted.terms[name][0]) * np.ptp(_range(columns[name]))))
        elif squares is None:
            return ScoreMap(fitted.scale, fitted.offset, fitted_on, terms)
        elif fitted.rise + sum(min(term.rise * term.low, term.rise * term.high) for term in terms) >= 0:
            return ScoreMap(fitted.scale, fitted.offset, fitted_on, terms, rise=fitted.rise, rises_from=squares[0])
        elif rising:
            rising.remove(max(rising, key=lambda name: abs(fitted.rises[name]) * np.ptp(_range(columns[name]))))
        else:
            squares = None


def balanced_weights(same: Labels, prior: float, groups: ArrayLike | None = None) -> Scores:
    """Of trials (trials,), adding up to 1: the same for each group, and in it by the prior."""
    numbers = np.zeros(len(same), np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    targets, trials = np.bincount(numbers, same), np.bincount(numbers)
    if not ((targets > 0) & (targets < trials)).all():
        raise MetricError("each collection needs trials of one speaker and trials of two")
    shares = np.where(same, prior / targets[numbers], (1 - prior) / (trials - targets)[numbers])
    return np.asarray(shares / len(trials), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A fitted line in the scores' own units, its rise, and what a unit of each measure adds to the three."""

    scale: float
    offset: float
    terms: dict[str, tuple[float, float]]
    rise: float
    rises: dict[str, float]


def _fitted_line(
    scores: Scores,
    columns: Mapping[str, Scores],
    bending: list[str],
    problem: tuple[Scores, Scores, float],
    squares: Scores | None,
    rising: list[str],
) -> _Fitted:
    """Fit on standardised columns, which keeps Newton's steps well conditioned, and translate back.

    With x = (s - s0)/u, z = (m - m0)/v and h = squares/w, the fitted p x + sum(q x z + r z) + (g + sum(k z)) h + t is
    linear in s, m and s m, and in the squares and their products with m.
    """
    labels, weights, shift = problem
    s0, u = float(scores.mean()), _spread(scores)
    x = (scores - s0) / u
    z = {name: (values - values.mean()) / _spread(values) for name, values in columns.items()}
    w = 1.0 if squares is None else _spread(squares)
    h = [] if squares is None else [squares / w]
    design = np.column_stack(
        [x, *(x * z[name] for name in bending), *z.values(), *h, *(h[0] * z[name] for name in rising), np.ones_like(x)]
    )
    found = iter(least_logistic_loss(design, labels, weights, shift).tolist())
    p = next(found)
    q = dict.fromkeys(columns, 0.0) | {name: next(found) for name in bending}
    r = {name: next(found) for name in columns}
    g = next(found) if h else 0.0
    k = {name: next(found) for name in rising}
    t = next(found)
    scale, offset, rise, terms, rises = p / u, t - p * s0 / u, g / w, {}, {}
    for name, values in columns.items():
        m0, v = float(values.mean()), _spread(values)
        terms[name] = (q[name] / (u * v), r[name] / v - q[name] * s0 / (u * v))
        rises[name] = k.get(name, 0.0) / (w * v)
        scale -= terms[name][0] * m0
        offset -= terms[name][1] * m0
        rise -= rises[name] * m0
    return _Fitted(scale, offset, terms, rise, rises)


def _checked_measure(name: str, values: ArrayLike, scores: Scores) -> Scores:
    checked = np.asarray(values, dtype=np.float64)
    if checked.shape != scores.shape or not np.isfinite(checked).all():
        raise MetricError(f"the measure '{name}' must be a finite number for each of the {len(scores)} trials")
    return np.clip(checked, *_range(checked))  # as the map will clip


def _range(values: Scores) -> tuple[float, float]:
    """Between which values a map is followed."""
    low, high = np.quantile(values, RANGE).tolist()
    return low, high


def _spread(values: Scores) -> float:
    """The standard deviation; 0 where it is mere rounding."""
    spread = float(values.std())
    return spread if spread > 1e-9 * max(1.0, abs(float(values.mean()))) else 0.0


def least_logistic_loss(
    columns: NDArray[np.float64], labels: Scores, weights: Scores, shift: float | Scores, ridge: Scores | None = None
) -> NDArray[np.float64]:
    """Coefficients (K,) of columns (trials, K) with the least weighted logistic loss, by Newton's method, steps halved.

    Without a ridge (K,) the last of the columns are ones, whose coefficient costs nothing; the others cost RIDGE.
    """
    if ridge is None:
        ridge = np.append(np.full(columns.shape[1] - 1, RIDGE), 0.0)

    def loss(coefficients: NDArray[np.float64]) -> float:
        logits = columns @ coefficients + shift
        penalty = float(ridge @ np.square(coefficients)) / 2
        return float(weights @ (np.logaddexp(0.0, logits) - labels * logits)) + penalty

    found = np.zeros(columns.shape[1])
    current = loss(found)
    for _ in range(MAXIMUM_STEPS):
        posterior = sigmoid(columns @ found + shift)
        gradient = columns.T @ (weights * (posterior - labels)) + ridge * found
        curvature = weights * posterior * (1 - posterior)
        hessian = (columns * curvature[:, None]).T @ columns + np.diag(ridge)
        hessian[-1, -1] += 1e-12  # keeps the matrix invertible when every posterior has saturated
        step = np.linalg.solve(hessian, gradient)
        if gradient @ step <= ROUNDING * max(1.0, abs(current)):  # what is left to gain cannot be seen in the loss
            return found - step
        size = 1.0
        while (proposed := loss(found - size * step)) > current and size > 1e-10:
            size /= 2
        if proposed > current:
            break
        found, current = found - size * step, proposed
    return found
