"""The pictures of an evaluation, but for its error curves: scores, reliability, embeddings, pairs of conditions."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, PercentFormatter
from numpy.typing import NDArray

from sound_groove.evaluation.report.drawing import (
    DIFFERENT,
    GREY,
    INK,
    SAME,
    fonts,
    legend_below,
    new_figure,
    save,
)
from sound_groove.evaluation.report.figure_options import FigureOptions
from sound_groove.percentages import rate_text
from sound_groove.types import Embeddings, Labels, Scores

MOST_SPEAKERS, MOST_UTTERANCES = 20, 1000  # in the t-SNE picture: more is neither readable nor quick
FEWEST_UTTERANCES = 10


def plot_histogram(
    path: Path,
    scores: Scores,
    labels: Labels,
    eer_threshold: float,
    title: str,
    scoring: str = "cosine",
    options: FigureOptions | None = None,
) -> None:
    """How the scores of each kind of trial are distributed; each kind sums to 100 %."""
    figure, axes = new_figure(title)
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
    legend_below(figure, axes.get_legend_handles_labels()[0], columns=3)
    save(figure, path, options)


def plot_reliability(
    path: Path, bins: Sequence[Mapping[str, Any]], prior: float, title: str, options: FigureOptions | None = None
) -> None:
    """What probabilities were stated, and how often they came true (DeGroot & Fienberg 1983).

    Args:
        path: PNG to write.
        bins: `low`, `high`, `trials`, `predicted`, `observed`, `observed_low`, `observed_high` of each.
        prior: share of same-speaker trials in the list, at which the probabilities are stated.
        title: of the picture.
        options: how to save it.
    """
    figure, axes = new_figure(title, (6.0, 6.4))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="every stated probability comes true")
    x, y = (np.array([one[key] for one in bins]) for key in ("predicted", "observed"))
    low, high = (
        np.array([one["observed"] if one[key] is None else one[key] for one in bins])
        for key in ("observed_low", "observed_high")
    )
    spread = np.maximum([y - low, high - y], 0)
    axes.errorbar(
        x,
        y,
        yerr=spread,
        fmt="o-",
        color=SAME,
        linewidth=1.4,
        markersize=5,
        capsize=3,
        label="observed, with 95 % intervals",
    )
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
    legend_below(figure, axes.get_legend_handles_labels()[0])
    save(figure, path, options)


def plot_tsne(
    path: Path,
    embeddings: Embeddings,
    speakers: Sequence[int] | NDArray[np.int64],
    title: str,
    names: Mapping[int, str] | None = None,
    options: FigureOptions | None = None,
) -> str | None:
    """Embeddings of the speakers with most utterances, laid out in the plane by t-SNE.

    Each speaker has a colour, a shape and a number, which stands in the middle of the points and beside the name.

    Distances between groups and their sizes mean little in such a picture; that a speaker's points lie together does.

    Args:
        path: PNG to write.
        embeddings: (N, D) unit length.
        speakers: (N,) who speaks.
        title: of the picture.
        names: what speakers are called, by their numbers; those without a name are called by their number.
        options: how to save it.

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
    labels = {
        int(code): f"{number}  {_clipped((names or {}).get(int(code), f'speaker {code}'))}"
        for number, code in enumerate(np.unique(codes), start=1)
    }
    lines = sum(1 + label.count("\n") for label in labels.values())
    size = (7.6, max(5.6, 0.17 * lines + 0.7))  # inches; the legend is beside the points, from top to bottom
    figure, axes = new_figure(f"{title}\n{len(chosen)} utterances of {count} speakers, by t-SNE", size)
    palette = colormaps["tab20"](np.linspace(0, 1, MOST_SPEAKERS))
    for number, code in enumerate(np.unique(codes)):
        own = points[codes == code]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=60 if len(chosen) < 200 else 26,
            color=palette[number],
            marker="o^sDvPX"[number % 7],  # shapes, so that neighbouring colours stay apart
            linewidths=0.3,
            edgecolors="white",
            alpha=0.9,
            label=labels[int(code)],
        )
        middle = own[np.argmin(np.square(own - np.median(own, axis=0)).sum(axis=1))]  # one of the points
        halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
        axes.annotate(
            str(number + 1),
            middle,
            xytext=(0, 5),  # above the point, so that both are seen
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
            weight="bold",
            color=INK,
            path_effects=halo,
        )
    axes.set_axis_off()
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_fontfamily(fonts(text.get_text()))
    save(figure, path, options)
    return None


def choose_for_tsne(speakers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the utterances to show: of the speakers with most of them, evenly spaced where there are too many."""
    codes, sizes = np.unique(speakers, return_counts=True)
    most = np.argsort(-sizes, kind="stable")[:MOST_SPEAKERS]
    shown = [np.flatnonzero(speakers == codes[index]) for index in most if sizes[index] > 1]
    each = MOST_UTTERANCES // max(1, len(shown))
    parts = [own[np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(np.int64)] for own in shown]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def plot_pairs(
    path: Path,
    groups: Sequence[Mapping[str, Any]],
    sides: tuple[str, str],
    title: str,
    options: FigureOptions | None = None,
) -> None:
    """The equal error rate of every pair of what both sides of a trial are, as a heat map.

    A pair with too few trials to be measured is hatched, and one without trials is blank.

    Args:
        path: PNG to write.
        groups: as `breakdown.measure_groups` gives them: `pair`, `trials`, `eer`.
        sides: what the first and the second of a pair are called.
        title: of the picture.
        options: how to save it.
    """
    rows, columns = (sorted({group["pair"][side] for group in groups}) for side in (0, 1))
    figure, axes = new_figure(title, (2.6 + 0.66 * max(len(columns), 4), 2.3 + 0.5 * max(len(rows), 3)))
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
            label.set_fontfamily(fonts(label.get_text()))
    for label in axes.get_xticklabels():
        label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.set(xlabel=sides[1], ylabel=sides[0], xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label("EER, %; below it in small print the trials", fontsize=9)
    save(figure, path, options)


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
    """A name in lines of 24 characters at most.

    >>> _clipped("a long name of a condition, such as a room")
    'a long name of a\\ncondition, such as a\\nroom'
    """
    return "\n".join(textwrap.wrap(name, 24)) or name
