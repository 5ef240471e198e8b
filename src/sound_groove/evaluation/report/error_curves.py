"""ROC and DET curves: the two kinds of error at every threshold, of one system or of several on the same trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.other_scores import OtherScores
from sound_groove.evaluation.report.drawing import (
    DIFFERENT,
    GREY,
    INK,
    SAME,
    legend_below,
    new_figure,
    save,
)
from sound_groove.evaluation.report.figure_options import FigureOptions
from sound_groove.evaluation.scorings import Scoring
from sound_groove.percentages import rate_text
from sound_groove.scoring.metrics import Roc, roc

COLOURS = (SAME, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # of systems; told apart by colour-blind eyes too
STYLES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1)))
DET_TICKS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
BAND_DRAWS = 200  # of speakers
BAND_POINTS = 121
LEAST_RATE, MOST_RATE = 1e-5, 0.99  # of the bands
LEVEL = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Between which miss rates a curve lies with 95 % confidence, at false alarm rates in rising order.

    Attributes:
        false_alarm_rates: (P,) where.
        low: (P,) miss rates.
        high: (P,) miss rates.
    """

    false_alarm_rates: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """A system's errors on a list.

    Attributes:
        name: for the legend.
        roc: its curve.
        band: of the curve; None for none.
    """

    name: str
    roc: Roc
    band: Band | None = None


def systems_of(model: str, main: str, scored: Mapping[Scoring, JudgedList], other: OtherScores | None) -> list[System]:
    """What the curves of a list show: the main scoring with its band, the other scorings, and another system.

    Args:
        model: what the model is called.
        main: the main scoring.
        scored: the list, by each scoring.
        other: another system's scores of the list's trials; those that it lacks are left out of its curve.
    """
    several = len(scored) > 1
    names = {scoring: f"{model}, {scoring}" if several else model for scoring in scored}
    first = next(scoring for scoring in scored if scoring == main)
    systems = [System(names[first], corners(scored[first].curve), band_of(scored[first]))]
    systems += [System(names[one], corners(judged.curve)) for one, judged in scored.items() if one != main]
    if other is not None:
        there = ~other.lacking
        curve = roc(other.scores[there], scored[first].labels[there])
        systems.append(System("/".join(other.path.parts[-2:]), corners(curve)))
    return systems


def band_of(judged: JudgedList) -> Band | None:
    """The band of a judged list's curve, by draws of its speakers; None where none are drawn.

    At each false alarm rate the miss rates of the drawn curves are taken, and of these the middle 95 %.
    """
    ends = probit([LEAST_RATE, MOST_RATE])
    rates = normal_rates(np.linspace(ends[0], ends[1], BAND_POINTS))
    count = min(BAND_DRAWS, judged.draws)
    drawn = [
        np.interp(rates, each.roc.false_alarm_rates, each.roc.miss_rates)
        for each in judged.bootstrap.draw(count, judged.seed)
    ]
    if not drawn:
        return None
    low, high = np.quantile(np.array(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Band(rates, low, high)


def plot_roc(
    path: Path, systems: Sequence[System], title: str, nontargets: int, options: FigureOptions | None = None
) -> None:
    """Accepted same-speaker trials over accepted different-speaker trials, on a logarithmic axis; EERs are marked.

    Args:
        path: PNG to write.
        systems: the one that is judged first, with its band, then others.
        title: of the picture.
        nontargets: different-speaker trials; the axis begins at half of one, where there is nothing more to see.
        options: how to save it.
    """
    figure, axes = new_figure(title)
    floor = float(np.clip(0.5 / nontargets, 1e-6, 1e-2))
    chance = np.geomspace(floor, 1.0, 200)
    handles: list[Any] = axes.plot(chance, chance, color=GREY, linewidth=0.8, linestyle=":", label="guessing")
    for number, system in enumerate(systems):
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        rates = np.maximum(system.roc.false_alarm_rates, floor)
        if system.band is not None:
            hits = 1 - system.band.high, 1 - system.band.low
            axes.fill_between(system.band.false_alarm_rates, *hits, color=colour, alpha=0.16, linewidth=0)
        axes.plot(rates, 1 - system.roc.miss_rates, color=colour, linewidth=1.8, linestyle=style)
        eer = system.roc.eer
        axes.plot(max(eer, floor), 1 - eer, "o", color=colour, markersize=6, zorder=3, clip_on=False)
        handles.append(_line(f"{system.name}: EER {rate_text(eer)}", colour, style, "o"))
    handles += _band_handle(systems)
    axes.set_xscale("log")
    axes.set(xlim=(floor, 1.0), ylim=(0.0, 1.01))
    axes.set(xlabel="different speakers, accepted (false alarms)", ylabel="same speaker, accepted (hits)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g} %"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    legend_below(figure, handles, columns=1 if _has_long_names(systems) else 2)
    save(figure, path, options)


def plot_det(
    path: Path,
    systems: Sequence[System],
    title: str,
    targets: int,
    nontargets: int,
    options: FigureOptions | None = None,
) -> None:
    """Misses over false alarms on normal-deviate axes (Martin et al. 1997): normal scores give a straight line.

    Both axes are the same, and reach down to half a trial, where there is nothing more to see. Points at a rate of 0
    lie at infinity: they are marked on the frame.

    Args:
        path: PNG to write.
        systems: the one that is judged first, with its band, then others.
        title: of the picture.
        targets: same-speaker trials.
        nontargets: different-speaker trials.
        options: how to save it.
    """
    figure, axes = new_figure(title, (6.0, 6.4))
    best = [(p, *_cheapest(systems[0].roc, p)) for p in (0.01, 0.05)]
    floor = min(float(np.clip(0.5 / count, 1e-4, 0.01)) for count in (targets, nontargets))
    highest = max((rate for _, *rates in best for rate in rates if rate < 0.97), default=0.0)
    eers = [system.roc.eer for system in systems]
    ceiling = min(0.99, max(float(np.clip(2.5 * max(eers), 0.5, 0.95)), (1 + 4 * highest) / 5))
    ends = probit([floor, ceiling])
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    handles: list[Any] = []
    for number, system in enumerate(systems):
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        # Rates of 0 and 1 are drawn beyond the frame, so that the line leaves the picture.
        false_alarms, misses = (
            probit(np.clip(rates, floor / 10, 0.999)) for rates in (system.roc.false_alarm_rates, system.roc.miss_rates)
        )
        if (band := system.band) is not None:
            low, high = (probit(np.clip(rates, floor / 10, 0.999)) for rates in (band.low, band.high))
            axes.fill_between(probit(band.false_alarm_rates), low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(false_alarms, misses, color=colour, linewidth=1.8, linestyle=style)
        eer = system.roc.eer
        _mark(axes, eer, eer, "o", INK if number == 0 else colour, (floor, ceiling))
        handles.append(_line(f"{system.name}: EER {rate_text(eer)}", colour, style, "o"))
    for marker, (p_target, false_alarm, miss) in zip("s^", best, strict=True):
        _mark(axes, false_alarm, miss, marker, DIFFERENT, (floor, ceiling))
        where = "" if floor <= false_alarm <= ceiling and floor <= miss <= ceiling else ", on the frame"
        cost = systems[0].roc.min_dcf(p_target)
        handles.append(_line(f"minDCF({p_target:g}) {cost:.3f}{where}", DIFFERENT, "none", marker))
    handles += _band_handle(systems)
    ticks: list[float] = []
    for tick in reversed(DET_TICKS):  # those that lie so close that their labels would touch are left out
        apart = not ticks or np.diff(probit([tick, ticks[-1]]))[0] > (ends[1] - ends[0]) / 18
        if floor <= tick <= ceiling and apart:
            ticks.append(tick)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(list(probit(ticks)), [f"{100 * tick:g}" for tick in ticks])
    axes.set(xlim=tuple(ends), ylim=tuple(ends), aspect="equal")
    axes.set(xlabel="false alarm rate, %", ylabel="miss rate, %")
    legend_below(figure, handles, columns=1 if _has_long_names(systems) else 2)
    save(figure, path, options)


def _cheapest(roc: Roc, p_target: float) -> tuple[float, float]:
    """False alarm and miss rate at the lowest detection cost."""
    place = int(np.argmin(p_target * roc.miss_rates + (1 - p_target) * roc.false_alarm_rates))
    return float(roc.false_alarm_rates[place]), float(roc.miss_rates[place])


def _mark(axes: Axes, false_alarm: float, miss: float, marker: str, colour: str, ends: tuple[float, float]) -> None:
    """A point of a DET, on the frame where it lies beyond it."""
    x, y = probit(np.clip([false_alarm, miss], *ends))
    axes.plot(x, y, marker, color=colour, markersize=6, zorder=3, clip_on=False)


def _line(label: str, colour: str, style: Any, marker: str) -> Line2D:
    return Line2D([], [], color=colour, linestyle=style, marker=marker, markersize=6, linewidth=1.8, label=label)


def _band_handle(systems: Sequence[System]) -> list[Patch]:
    if systems[0].band is None:
        return []
    return [Patch(color=COLOURS[0], alpha=0.16, linewidth=0, label="95 % over speakers, at each false alarm rate")]


def _has_long_names(systems: Sequence[System]) -> bool:
    return max(len(system.name) for system in systems) > 24


def normal_rates(deviates: ArrayLike) -> NDArray[np.float64]:
    """Rates of normal deviates: the normal distribution function, the inverse of `probit`.

    >>> normal_rates([0.0]).tolist()
    [0.5]
    """
    cdf = NormalDist().cdf
    return np.array([cdf(deviate) for deviate in np.asarray(deviates, dtype=np.float64).tolist()])


def probit(rates: ArrayLike) -> NDArray[np.float64]:
    """Normal deviates of rates in (0, 1): the inverse of the normal distribution function.

    >>> probit([0.5]).tolist()
    [0.0]
    """
    # Rates repeat along the steps of a curve, so that few distinct ones are left to compute.
    distinct, positions = np.unique(np.asarray(rates, dtype=np.float64), return_inverse=True)
    inverse = NormalDist().inv_cdf
    return np.array([inverse(rate) for rate in distinct.tolist()])[positions]


def corners(roc: Roc) -> Roc:
    """The same curve without the points that lie on a straight line between their neighbours: quick to draw."""
    steps_x, steps_y = np.diff(roc.false_alarm_rates), np.diff(roc.miss_rates)
    bends = ~(((steps_x[1:] == 0) & (steps_x[:-1] == 0)) | ((steps_y[1:] == 0) & (steps_y[:-1] == 0)))
    keep = np.concatenate(([True], bends, [True]))
    return Roc(roc.thresholds[keep], roc.false_alarm_rates[keep], roc.miss_rates[keep])
