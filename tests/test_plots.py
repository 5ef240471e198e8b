"""The pictures: axes that mean what they say, and curves that are all there."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from scipy.stats import norm

from sound_groove.evaluation.report import plots
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
    np.testing.assert_allclose(plots.probit(rates), norm.ppf(rates), atol=1e-12)


def test_normal_scores_are_a_straight_line_on_det_axes(tmp_path: Path, figures: list[Figure]) -> None:
    scores, labels = normal_trials(3.0)
    plots.plot_det(tmp_path / "det.png", plots.corners(roc(scores, labels)), "normal", 2000, 20_000)
    axes = figures[0].axes[0]
    x, y = max((np.asarray(line.get_data()) for line in axes.lines), key=lambda data: data.shape[1])
    inside = (x > plots.probit([0.002])[0]) & (y > plots.probit([0.002])[0])
    # probit(misses) = -distance - probit(false alarms)
    np.testing.assert_allclose((x + y)[inside], -3.0, atol=0.05)
    labels_shown = [tick.get_text() for tick in axes.get_xticklabels()]
    assert "1" in labels_shown and "10" in labels_shown  # percentages
    assert len(labels_shown) == len(set(labels_shown)) >= 5


def test_ticks_of_a_det_are_at_their_rates_and_do_not_touch(tmp_path: Path, figures: list[Figure]) -> None:
    for distance, targets, nontargets in ((0.2, 20, 50), (3.0, 2000, 20_000), (8.0, 30, 30)):
        scores, labels = normal_trials(distance, targets, nontargets)
        plots.plot_det(tmp_path / "det.png", roc(scores, labels), "x", targets, nontargets)
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
    kept = plots.corners(full)
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
        curve = plots.corners(roc(scores, labels))
        plots.plot_roc(tmp_path / "roc.png", curve, "x")
        plots.plot_det(tmp_path / "det.png", curve, "x", 2, 2)
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
