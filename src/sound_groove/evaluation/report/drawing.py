"""How figures look and how they are saved: without a display, and without matplotlib's global state."""

import os
import textwrap
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findSystemFonts, fontManager

from sound_groove.evaluation.report.figure_options import FigureOptions

SAME, DIFFERENT, INK, GREY = "#0072b2", "#d55e00", "#222222", "#8a8a8a"  # told apart by colour-blind eyes too
MOST_TITLE = 66  # characters of a line of a title
# The first of these that is installed has the letters that matplotlib's own font lacks.
WIDE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "SimHei"),
    *("Noto Sans CJK JP", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "STHeiti"),
)  # of a collection of fonts in one file matplotlib knows the first alone, which in Noto's is the Japanese


def save(figure: Figure, path: Path, options: FigureOptions | None = None) -> None:
    """Write a figure as PNG, and in another format beside it if one is wanted.

    Args:
        figure: to write.
        path: of the PNG.
        options: which format and how finely; None takes the usual.
    """
    options = options or FigureOptions()
    # Letters stay letters, so that a figure can be searched and edited.
    settings: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "sound-groove"}
    with warnings.catch_warnings(), mpl.rc_context(settings):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # boxes stand in the figure instead
        figure.savefig(path, dpi=options.dpi)
        if options.form != "png":
            date = "CreationDate" if options.form == "pdf" else "Date"
            figure.savefig(path.with_suffix(f".{options.form}"), metadata={date: None})


def new_figure(title: str, size: tuple[float, float] = (6.0, 5.4)) -> tuple[Figure, Axes]:
    """An empty figure with its title, in as many lines as it needs."""
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    if (engine := figure.get_layout_engine()) is not None:
        engine.set(w_pad=0.1, h_pad=0.1)  # type: ignore[call-arg]  # inches; matplotlib's stubs know no engine's own settings
    axes = figure.add_subplot()
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, MOST_TITLE) or [""]]
    axes.set_title("\n".join(lines), fontsize=10.5, color=INK, pad=10, parse_math=False, family=fonts(title))
    axes.grid(True, color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def legend_below(figure: Figure, handles: list[Any], columns: int = 2) -> None:
    """A legend below the axes, where it covers nothing; its words are no mathematics."""
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_fontfamily(fonts(text.get_text()))


def fonts(text: str) -> list[str]:
    """The fonts for a text: the usual, and where letters are foreign to it one that has them, if any is there."""
    usual = list(mpl.rcParams["font.family"])
    if text.isascii():
        return usual
    wide = wide_font()
    return [*usual, wide] if wide else usual


@cache
def wide_font() -> str | None:
    """The font for letters that the usual one lacks; None where there is none.

    matplotlib remembers which fonts there were when it was first used; what came later is added.
    """
    known = {os.path.realpath(font.fname) for font in fontManager.ttflist}
    for path in findSystemFonts():
        if os.path.realpath(path) not in known:
            with suppress(Exception):  # a file that is no font that it can read
                fontManager.addfont(path)
    installed = {font.name for font in fontManager.ttflist}
    return next((name for name in WIDE_FONTS if name in installed), None)
