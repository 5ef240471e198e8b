"""The pictures: axes that mean what they say, and curves that are all there."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from scipy.stats import norm

from sound_groove.errors import UsageError
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.report import drawing, error_curves, plots
from sound_groove.evaluation.report.error_curves import System
from sound_groove.evaluation.report.figure_options import FORMATS, FigureOptions
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.scoring.metrics import roc

patient = settings(deadline=None)  # a busy machine must not fail a test


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, to be asked what is in them."""
    saved: list[Figure] = []
    original = Figure.savefig

    def savefig(self: Figure, *arguments: object, **options: object) -> None:
        saved.append(self)
        original(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def normal_trials(distance: float, targets: int = 2000, nontargets: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    # evenly spaced quantiles instead of draws: the curve has no noise
    upper = norm.ppf((np.arange(targets) + 0.5) / targets) + distance
    lower = norm.ppf((np.arange(nontargets) + 0.5) / nontargets)
    return np.concatenate((upper, lower)), np.arange(targets + nontargets) < targets


def test_normal_deviates_are_those_of_scipy() -> None:
    rates = np.array([1e-5, 0.01, 0.5, 0.5, 0.2, 0.999])
    np.testing.assert_allclose(error_curves.probit(rates), norm.ppf(rates), atol=1e-12)


def test_normal_scores_are_a_straight_line_on_det_axes(tmp_path: Path, figures: list[Figure]) -> None:
    scores, labels = normal_trials(3.0)
    systems = [System("normal", error_curves.corners(roc(scores, labels)))]
    error_curves.plot_det(tmp_path / "det.png", systems, "normal", 2000, 20_000)
    axes = figures[0].axes[0]
    x, y = max((np.asarray(line.get_data()) for line in axes.lines), key=lambda data: data.shape[1])
    inside = (x > error_curves.probit([0.002])[0]) & (y > error_curves.probit([0.002])[0])
    # probit(misses) = -distance - probit(false alarms)
    np.testing.assert_allclose((x + y)[inside], -3.0, atol=0.05)
    labels_shown = [tick.get_text() for tick in axes.get_xticklabels()]
    assert "1" in labels_shown and "10" in labels_shown  # percentages
    assert len(labels_shown) == len(set(labels_shown)) >= 5


def test_ticks_of_a_det_are_at_their_rates_and_do_not_touch(tmp_path: Path, figures: list[Figure]) -> None:
    for distance, targets, nontargets in ((0.2, 20, 50), (3.0, 2000, 20_000), (8.0, 30, 30)):
        scores, labels = normal_trials(distance, targets, nontargets)
        error_curves.plot_det(tmp_path / "det.png", [System("x", roc(scores, labels))], "x", targets, nontargets)
    for figure in figures:
        for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
            places = np.array(axis.get_ticklocs())
            shown = [float(tick.get_text()) / 100 for tick in axis.get_ticklabels()]
            np.testing.assert_allclose(norm.cdf(places), shown, rtol=1e-6)
            low, high = axis.get_view_interval()
            assert np.abs(np.diff(places)).min() > (high - low) / 18


@patient
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=3, max_size=40))
def test_corners_keep_the_curve(trials: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([t[0] for t in trials], dtype=float), np.array([t[1] for t in trials])
    if labels.all() or not labels.any():
        return
    full = roc(scores, labels)
    kept = error_curves.corners(full)
    assert kept.eer == pytest.approx(full.eer)
    assert kept.min_dcf(0.3) == pytest.approx(full.min_dcf(0.3))
    # x + (1 - y) rises along the curve and names each of its points
    place, full_place = kept.false_alarm_rates - kept.miss_rates, full.false_alarm_rates - full.miss_rates
    np.testing.assert_allclose(np.interp(full_place, place, kept.miss_rates), full.miss_rates, atol=1e-12)


def test_the_histogram_of_each_kind_sums_to_one(tmp_path: Path, figures: list[Figure]) -> None:
    scores, labels = normal_trials(2.0, 100, 5000)
    plots.plot_histogram(tmp_path / "hist.png", scores, labels, roc(scores, labels).eer_threshold, "x")
    shares = [patch.get_data()[0].sum() for patch in figures[0].axes[0].patches if isinstance(patch, StepPatch)]
    np.testing.assert_allclose(shares, 1.0)


def test_equal_scores_and_perfect_separation_can_be_drawn(tmp_path: Path) -> None:
    for scores in (np.zeros(4), np.array([1.0, 1.0, 0.0, 0.0])):
        labels = np.array([True, True, False, False])
        curve = error_curves.corners(roc(scores, labels))
        error_curves.plot_roc(tmp_path / "roc.png", [System("x", curve)], "x", 2)
        error_curves.plot_det(tmp_path / "det.png", [System("x", curve)], "x", 2, 2)
        plots.plot_histogram(tmp_path / "hist.png", scores, labels, curve.eer_threshold, "x")
        assert all((tmp_path / name).stat().st_size > 5000 for name in ("roc.png", "det.png", "hist.png"))


def test_speakers_that_differ_lie_apart_in_the_tsne_picture(tmp_path: Path, figures: list[Figure]) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 16))
    speakers = np.repeat(np.arange(3), 12)
    vectors = centres[speakers] + 0.1 * rng.normal(size=(36, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert plots.plot_tsne(tmp_path / "tsne.png", vectors.astype(np.float32), speakers, "x") is None
    groups = [np.asarray(collection.get_offsets()) for collection in figures[0].axes[0].collections]
    assert [len(group) for group in groups] == [12, 12, 12]
    middles = [group.mean(axis=0) for group in groups]
    radius = max(np.linalg.norm(group - middle, axis=1).max() for group, middle in zip(groups, middles, strict=True))
    assert min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > radius


def test_the_tsne_picture_takes_the_largest_speakers_evenly() -> None:
    speakers = np.concatenate((np.repeat(np.arange(30), 100), np.arange(100, 200), np.full(500, 99)))
    chosen = plots.choose_for_tsne(speakers)
    shown, counts = np.unique(speakers[chosen], return_counts=True)
    assert len(shown) == 20 and 99 in shown and counts.max() == 50 and len(chosen) == 1000
    assert plots.choose_for_tsne(np.arange(50)).size == 0


def test_embeddings_that_cannot_be_laid_out_give_a_reason(tmp_path: Path) -> None:
    same = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (12, 1))
    assert "all embeddings are the same" in str(plots.plot_tsne(tmp_path / "t.png", same, np.repeat([0, 1], 6), "x"))
    assert "too few" in str(plots.plot_tsne(tmp_path / "t.png", same, np.zeros(12, dtype=np.int64), "x"))
    assert not (tmp_path / "t.png").exists()


def test_a_heat_map_writes_each_rate_and_hatches_what_is_not_measured(tmp_path: Path, figures: list[Figure]) -> None:
    groups = [
        {"pair": ["vlog", "drama"], "trials": 23_456, "eer": {"value": 0.0725}},
        {"pair": ["drama", "$drama$"], "trials": 950, "eer": None},
        {"pair": ["drama", "drama"], "trials": 1_234, "eer": {"value": 0.3}},
    ]
    plots.plot_pairs(tmp_path / "pairs.png", groups, ("enrolment", "test"), "x")
    axes, bar = figures[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["$drama$", "drama"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["drama", "vlog"]
    written = {text.get_text(): (round(text.get_position()[0]), round(text.get_position()[1])) for text in axes.texts}
    assert written == {"7.2": (1, 1), "23k": (1, 1), "30.0": (1, 0), "1.2k": (1, 0), "950": (0, 0)}
    assert [patch.get_xy() for patch in axes.patches if isinstance(patch, Rectangle)] == [(-0.5, -0.5)]
    (image,) = axes.images
    shown = image.get_array()
    assert isinstance(shown, np.ma.MaskedArray)
    np.testing.assert_allclose(shown.filled(np.nan), np.array([[np.nan, 30.0], [np.nan, 7.25]]))
    assert bar.get_ylim() == (0.0, 30.0)


def test_a_heat_map_without_a_single_rate_can_be_drawn(tmp_path: Path) -> None:
    plots.plot_pairs(tmp_path / "p.png", [{"pair": ["a", "b"], "trials": 3, "eer": None}], ("enrolment", "test"), "x")
    assert (tmp_path / "p.png").stat().st_size > 5000


def covered(figure: Figure) -> bool:
    """Whether the legend lies over the axes, or anything is cut off by the edge of the figure."""
    figure.canvas.draw()
    edge = figure.bbox
    (legend,) = figure.legends
    box, axes = legend.get_window_extent(), figure.axes[0].get_window_extent()
    whole = figure.get_tightbbox()
    assert whole.x0 * figure.dpi >= edge.x0 - 1 and whole.x1 * figure.dpi <= edge.x1 + 1
    assert whole.y0 * figure.dpi >= edge.y0 - 1 and whole.y1 * figure.dpi <= edge.y1 + 1
    return bool(box.overlaps(axes))


def test_no_legend_covers_data_and_nothing_is_cut_off(tmp_path: Path, figures: list[Figure]) -> None:
    scores, labels = normal_trials(2.0, 200, 2000)
    curve, title = error_curves.corners(roc(scores, labels)), "a rather long name of a model " * 5
    systems = [System(f"a system with a long name, number {number}", curve) for number in range(4)]
    error_curves.plot_roc(tmp_path / "roc.png", systems, title, 2000)
    error_curves.plot_det(tmp_path / "det.png", systems, title, 200, 2000)
    plots.plot_histogram(tmp_path / "hist.png", scores, labels, 1.0, title)
    whole = {"low": 0.9, "high": 1.0, "predicted": 0.93, "observed": 1.0, "observed_low": 0.81, "observed_high": 1.0}
    plots.plot_reliability(tmp_path / "rel.png", [whole | {"trials": 7}], 0.5, title)
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    names = {number: f"$a speaker$ with a long name {number}" for number in range(20)}
    assert plots.plot_tsne(tmp_path / "tsne.png", vectors, np.repeat(np.arange(20), 3), title, names) is None
    assert len(figures) == 5 and not any(covered(figure) for figure in figures)


def test_every_system_is_drawn_and_named_and_every_marker_lies_inside(tmp_path: Path, figures: list[Figure]) -> None:
    perfect = roc(np.array([1.0, 1.0, 0.0, 0.0]), np.array([True, True, False, False]))
    good = roc(*normal_trials(3.0, 200, 2000))
    for first in (perfect, good):
        systems = [System("this", first), System("other", good)]
        error_curves.plot_roc(tmp_path / "roc.png", systems, "x", 2000)
        error_curves.plot_det(tmp_path / "det.png", systems, "x", 200, 2000)
    for figure in figures:
        axes = figure.axes[0]
        markers = [line for line in axes.lines if line.get_marker() in ("o", "s", "^")]
        assert len(markers) >= 2
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        for line in markers:
            x, y = np.asarray(line.get_xydata())[0]
            assert left <= x <= right and bottom <= y <= top
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        assert any(text.startswith("this: EER ") for text in legend) and f"other: EER {100 * good.eer:.2f} %" in legend
    assert [figure.axes[0].get_xscale() for figure in figures[::2]] == ["log", "log"]
    for figure in figures[1::2]:
        assert figure.axes[0].get_xlim() == figure.axes[0].get_ylim() and figure.axes[0].get_aspect() == 1.0


def test_the_band_holds_the_middle_of_the_curves_of_drawn_speakers() -> None:
    # One speaker in four is told apart by chance alone: draws differ, and the band is as wide as they differ.
    rng, speakers = np.random.default_rng(0), np.repeat(np.arange(12), 4)
    first, second = np.triu_indices(len(speakers), 1)
    labels = speakers[first] == speakers[second]
    scores = rng.normal(size=len(labels)) + 3.0 * labels * (speakers[first] % 4 > 0)
    names = tuple(map(str, range(len(speakers))))
    lines = np.arange(1, len(labels) + 1, dtype=np.int32)
    trials = TrialList(names, first.astype(np.int32), second.astype(np.int32), labels, lines, 0)
    judged = JudgedList(trials, scores, None, speakers, resamples=50)
    band = error_curves.band_of(judged)
    assert band is not None and len(band.low) == len(band.false_alarm_rates) == error_curves.BAND_POINTS
    at = int(np.searchsorted(band.false_alarm_rates, 0.05))
    drawn = [
        np.interp(band.false_alarm_rates[at], each.roc.false_alarm_rates, each.roc.miss_rates)
        for each in judged.bootstrap.draw(50, 0)
    ]
    assert (band.low[at], band.high[at]) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))))
    assert error_curves.band_of(replace(judged, resamples=0)) is None


def test_figures_come_in_the_format_that_is_asked_for_too(tmp_path: Path) -> None:
    scores, labels = normal_trials(2.0, 20, 200)
    begins = {"svg": b"<?xml", "pdf": b"%PDF"}
    for form in FORMATS:
        path = tmp_path / f"{form}.png"
        plots.plot_histogram(path, scores, labels, 1.0, "a title", options=FigureOptions(form, 50))
        assert path.read_bytes()[16:24] == (300).to_bytes(4, "big") + (270).to_bytes(4, "big")  # 6.0 x 5.4 inches
        assert {file.suffix for file in tmp_path.glob(f"{form}.*")} == {".png", f".{form}"}
        if form != "png":
            assert path.with_suffix(f".{form}").read_bytes().startswith(begins[form])
    assert "a title" in (tmp_path / "svg.svg").read_text()  # text, which can be searched
    with pytest.raises(UsageError, match="--dpi must lie between 50 and 1200; 5 was given"):
        FigureOptions("png", 5)


def test_letters_that_the_usual_font_lacks_get_one_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that matplotlib does not know of, since it was installed after matplotlib had looked."""
    known = [SimpleNamespace(name="DejaVu Sans", fname="/fonts/a.ttf")]
    manager = SimpleNamespace(ttflist=known)
    added = SimpleNamespace(name="Noto Sans CJK JP", fname="/fonts/b.ttc")
    manager.addfont = lambda path: known.append(added) if path == added.fname else pytest.fail(path)
    monkeypatch.setattr(drawing, "fontManager", manager)
    monkeypatch.setattr(drawing, "findSystemFonts", lambda: ["/fonts/a.ttf", "/fonts/b.ttc"])
    drawing.wide_font.cache_clear()
    assert drawing.fonts("王芳")[-1] == "Noto Sans CJK JP" and drawing.fonts("Anna") == drawing.fonts("Ben")
    drawing.wide_font.cache_clear()
    monkeypatch.setattr(drawing, "findSystemFonts", list)
    known.remove(added)
    assert drawing.fonts("王芳") == drawing.fonts("Anna")
    drawing.wide_font.cache_clear()
