"""The pictures of an evaluation, without a display or matplotlib's global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from sound_groove.percentages import rate_text
from sound_groove.scoring.metrics import Roc
from sound_groove.types import Embeddings, Labels, Scores

SAME, DIFFERENT, INK, GREY = "#0072b2", "#d55e00", "#222222", "#8a8a8a"  # told apart by colour-blind eyes too
DET_TICKS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
MOST_SPEAKERS, MOST_UTTERANCES = 20, 1000  # in the t-SNE picture: more is neither readable nor quick
FEWEST_UTTERANCES = 10


def plot_roc(path: Path, roc: Roc, title: str) -> None:
    """Accepted same-speaker trials over accepted different-speaker trials, with the equal error rate marked."""
    figure, axes = _figure(title)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="guessing")
    axes.plot([0, 1], [1, 0], color=GREY, linewidth=0.8)
    axes.plot(roc.false_alarm_rates, 1 - roc.miss_rates, color=SAME, linewidth=1.8)
    axes.plot(roc.eer, 1 - roc.eer, "o", color=INK, markersize=6, label=f"EER {_percent(roc.eer)}", zorder=3)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set(xlabel="different speakers, accepted (false alarms)", ylabel="same speaker, accepted (hits)")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none")
    figure.savefig(path)


def plot_det(path: Path, roc: Roc, title: str, targets: int, nontargets: int) -> None:
    """Misses over false alarms on normal-deviate axes (Martin et al. 1997): normal scores give a straight line.

    The axes reach down to half a trial, where there is nothing more to see.
    """
    figure, axes = _figure(title)
    floors = [float(np.clip(0.5 / count, 1e-4, 0.01)) for count in (nontargets, targets)]
    costs = {p: p * roc.miss_rates + (1 - p) * roc.false_alarm_rates for p in (0.01, 0.05)}
    best = {p: int(np.argmin(cost)) for p, cost in costs.items()}
    ceiling = float(np.clip(2.5 * roc.eer, 0.5, 0.95))
    # The cheapest operating points belong to the picture, unless the cheapest is to reject everything.
    highest = max((rate for index in best.values() if (rate := roc.miss_rates[index]) < 0.97), default=0.0)
    ceilings = [ceiling, max(ceiling, (1 + 4 * highest) / 5)]
    # Rates of 0 and 1 lie at infinity: they are drawn beyond the frame instead, so that the line leaves the picture.
    false_alarms, misses = (
        probit(np.clip(rates, floor / 10, 0.999))
        for rates, floor in zip((roc.false_alarm_rates, roc.miss_rates), floors, strict=True)
    )
    diagonal = probit([1e-5, 0.99])
    axes.plot(diagonal, diagonal, color=GREY, linewidth=0.8)
    axes.plot(false_alarms, misses, color=SAME, linewidth=1.8)

    def mark(false_alarm: float, miss: float, marker: str, colour: str, label: str) -> None:
        inside = floors[0] < false_alarm < ceilings[0] and floors[1] < miss < ceilings[1]
        points = probit([false_alarm, miss]) if inside else np.full(2, np.nan)
        note = "" if inside else " (outside the picture)"
        axes.plot(*points[:, None], marker, color=colour, markersize=6, label=label + note, zorder=3)

    mark(roc.eer, roc.eer, "o", INK, f"EER {_percent(roc.eer)}")
    for marker, (p_target, index) in zip("s^", best.items(), strict=True):
        label = f"minDCF({p_target:g}) {roc.min_dcf(p_target):.3f}"
        mark(float(roc.false_alarm_rates[index]), float(roc.miss_rates[index]), marker, DIFFERENT, label)
    for axis, floor, top, limit in (
        (axes.xaxis, floors[0], ceilings[0], axes.set_xlim),
        (axes.yaxis, floors[1], ceilings[1], axes.set_ylim),
    ):
        low, high = probit([floor, top])
        ticks: list[float] = []
        for tick in reversed(DET_TICKS):  # those that lie so close that their labels would touch are left out
            apart = not ticks or np.diff(probit([tick, ticks[-1]]))[0] > (high - low) / 18
            if floor <= tick <= top and apart:
                ticks.append(tick)
        axis.set_ticks(list(probit(ticks)), [f"{100 * tick:g}" for tick in ticks])
        limit(low, high)
    axes.set(xlabel="false alarm rate, %", ylabel="miss rate, %")
    axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")
    figure.savefig(path)


def plot_histogram(
    path: Path, scores: Scores, labels: Labels, eer_threshold: float, title: str, scoring: str = "cosine"
) -> None:
    """How the scores of each kind of trial are distributed; each kind sums to 100 %."""
    figure, axes = _figure(title)
    low, high = float(scores.min()), float(scores.max())
    edges = np.linspace(low, max(high, low + 1e-3), 61)
    for kind, name, colour in ((False, "different speakers", DIFFERENT), (True, "same speaker", SAME)):
        share = np.histogram(scores[labels == kind], edges)[0] / np.count_nonzero(labels == kind)
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(share, edges, color=colour, linewidth=1.4, label=f"{name} ({np.count_nonzero(labels == kind):,})")
    axes.axvline(eer_threshold, color=INK, linewidth=1.0, linestyle="--", label=f"EER at {eer_threshold:.3f}")
    axes.set(xlabel=f"score ({scoring})", ylabel="share of the trials of its kind", xmargin=0.02)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.legend(frameon=False)
    figure.savefig(path)


def plot_reliability(path: Path, bins: Sequence[Mapping[str, Any]], prior: float, title: str) -> None:
    """What probabilities were stated, and how often they came true (DeGroot & Fienberg 1983).

    Args:
        path: PNG to write.
        bins: `low`, `high`, `trials`, `predicted`, `observed`, `observed_low`, `observed_high` of each.
        prior: share of same-speaker trials in the list, at which the probabilities are stated.
        title: of the picture.
    """
    figure, axes = _figure(title)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="every stated probability comes true")
    x, y = (np.array([one[key] for one in bins]) for key in ("predicted", "observed"))
    low, high = (
        np.array([one["observed"] if one[key] is None else one[key] for one in bins])
        for key in ("observed_low", "observed_high")
    )
    spread = np.maximum([y - low, high - y], 0)
    axes.errorbar(x, y, yerr=spread, fmt="o-", color=SAME, linewidth=1.4, markersize=5, capsize=3, label="observed")
    most = max(one["trials"] for one in bins)
    for one in bins:  # how many trials stand behind each point: bars along the foot, on a logarithmic scale
        height = 0.1 * np.log1p(one["trials"]) / np.log1p(most)
        axes.bar((one["low"] + one["high"]) / 2, height, one["high"] - one["low"], color=GREY, alpha=0.3, linewidth=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel=f"stated probability of the same speaker (at the list's {rate_text(prior, 1)})")
    axes.set(ylabel="share of trials with the same speaker")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.plot([], [], "s", color=GREY, alpha=0.4, label="number of trials (logarithmic)")
    axes.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none")
    figure.savefig(path)


def plot_tsne(
    path: Path, embeddings: Embeddings, speakers: Sequence[int] | NDArray[np.int64], title: str
) -> str | None:
    """Embeddings of the speakers with most utterances, laid out in the plane by t-SNE; one colour a speaker.

    Distances between groups and their sizes mean little in such a picture; that a speaker's points lie together does.

    Args:
        path: PNG to write.
        embeddings: (N, D) unit length.
        speakers: (N,) who speaks.
        title: of the picture.

    Returns:
        Why there is no picture, or None when there is one.
    """
    chosen = choose_for_tsne(np.asarray(speakers))
    codes = np.asarray(speakers)[chosen]
    count = len(np.unique(codes))
    if count < 2 or len(chosen) < FEWEST_UTTERANCES:
        return (
            f"too few utterances for a t-SNE picture: {count} speakers with two or more, {len(chosen)} utterances of "
            f"theirs; 2 and {FEWEST_UTTERANCES} are needed"
        )
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    vectors = np.asarray(embeddings, dtype=np.float64)[chosen]
    if np.ptp(vectors, axis=0).max() < 1e-6:
        return "all embeddings are the same, so there is nothing to lay out"
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    # One thread takes seconds for a thousand points, and sums in the same order on every machine.
    with threadpool_limits(limits=1):
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)  # (n, D) -> (n, 2)
    figure, axes = _figure(f"{title}\n{len(chosen)} utterances of {count} speakers, by t-SNE")
    palette = colormaps["tab20"](np.linspace(0, 1, MOST_SPEAKERS))
    for number, code in enumerate(np.unique(codes)):
        own = points[codes == code]
        marker = "o^sDv"[number % 5]  # shapes, so that neighbouring colours stay apart
        axes.scatter(own[:, 0], own[:, 1], s=14, color=palette[number], marker=marker, linewidths=0, alpha=0.85)
    axes.set_axis_off()
    figure.savefig(path)
    return None


def choose_for_tsne(speakers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the utterances to show: of the speakers with most of them, evenly spaced where there are too many."""
    codes, sizes = np.unique(speakers, return_counts=True)
    most = np.argsort(-sizes, kind="stable")[:MOST_SPEAKERS]
    shown = [np.flatnonzero(speakers == codes[index]) for index in most if sizes[index] > 1]
    each = MOST_UTTERANCES // max(1, len(shown))
    parts = [own[np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(np.int64)] for own in shown]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def plot_pairs(path: Path, groups: Sequence[Mapping[str, Any]], sides: tuple[str, str], title: str) -> None:
    """The equal error rate of every pair of what both sides of a trial are, as a heat map.

    A pair with too few trials to be measured is hatched, and one without trials is blank.

    Args:
        path: PNG to write.
        groups: as `breakdown.measure_groups` gives them: `pair`, `trials`, `eer`.
        sides: what the first and the second of a pair are called.
        title: of the picture.
    """
    rows, columns = (sorted({group["pair"][side] for group in groups}) for side in (0, 1))
    figure, axes = _figure(title, (2.6 + 0.66 * max(len(columns), 4), 2.3 + 0.5 * max(len(rows), 3)))
    rates = np.full((len(rows), len(columns)), np.nan)
    for group in groups:
        place = rows.index(group["pair"][0]), columns.index(group["pair"][1])
        if group["eer"] is not None:
            rates[place] = 100 * group["eer"]["value"]
    top = float(rates[np.isfinite(rates)].max(initial=1.0))
    image = axes.imshow(rates, cmap=colormaps["YlOrRd"], vmin=0, vmax=top, aspect="auto")
    for group in groups:
        row, column = rows.index(group["pair"][0]), columns.index(group["pair"][1])
        _write_cell(axes, row, column, rates[row, column], group["trials"], top)
    for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
        axis.set_ticks(range(len(names)), [_clipped(name) for name in names])
        for label in axis.get_ticklabels():
            label.set_parse_math(False)
    for label in axes.get_xticklabels():
        label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.set(xlabel=sides[1], ylabel=sides[0], xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label("EER, %; below it in small print the trials", fontsize=9)
    figure.savefig(path)


def _write_cell(axes: Axes, row: int, column: int, rate: float, trials: int, top: float) -> None:
    """The rate (%, or NaN) and the number of trials of a cell of a heat map that is darkest at `top`."""
    ink = "white" if rate > 0.6 * top else INK  # NaN is not above anything
    if np.isnan(rate):
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor="#efefef", edgecolor="#c4c4c4", linewidth=0, hatch="////"))
    else:
        axes.text(
            column,
            row - 0.14,
            rate_text(rate / 100, 1).removesuffix(" %"),
            ha="center",
            va="center",
            fontsize=9.5,
            color=ink,
        )
    # The count of a hatched cell stands on a plain ground, or it could not be read.
    ground = {"facecolor": "#efefef", "edgecolor": "none", "pad": 1.0} if np.isnan(rate) else None
    axes.text(column, row + 0.24, _short(trials), ha="center", va="center", fontsize=6.5, color=ink, bbox=ground)


def _short(count: int) -> str:
    """A count in at most four signs or so.

    >>> [_short(count) for count in (950, 1_234, 23_456, 3_484_292)]
    ['950', '1.2k', '23k', '3.5M']
    """
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            return f"{count / unit:.1f}{letter}" if count < 10 * unit else f"{count / unit:.0f}{letter}"
    return str(count)


def _clipped(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"


def _percent(rate: float) -> str:
    return rate_text(rate)


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


def _figure(title: str, size: tuple[float, float] = (6.0, 5.2)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, dpi=140, layout="constrained", facecolor="white")
    if (engine := figure.get_layout_engine()) is not None:
        engine.set(w_pad=0.1, h_pad=0.1)  # type: ignore[call-arg]  # inches; matplotlib's stubs know no engine's own settings
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10.5, color=INK, wrap=True, pad=10, parse_math=False)
    axes.grid(True, color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes
