"""Draws the pictures of the explanation pages, into docs/images, and prints the figures that the pages quote.

    python docs/drawings.py

It takes a quarter of a minute on one core. Everything is drawn from a seed; the only model is the one in the package.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import pyplot
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import nn

from sound_groove import SpeakerEncoder, load_audio
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.evaluation.intervals import SpeakerBootstrap, bounds
from sound_groove.networks.losses import AamSoftmax
from sound_groove.scoring.calibration import ScoreMap, logit, sigmoid
from sound_groove.scoring.metrics import eer, roc
from sound_groove.scoring.strength import strength_of

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
IMAGES = Path(__file__).resolve().parent / "images"
SAME, DIFFERENT, NEUTRAL = "#00796b", "#c2410c", "#455a64"
COLOURS = ("#00796b", "#c2410c", "#3949ab", "#8e24aa", "#b8860b", "#546e7a")
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": NEUTRAL,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "svg.fonttype": "path",  # letters are drawn, so that no font is needed
    "svg.hashsalt": "sound-groove",
}


def save(figure: pyplot.Figure, name: str) -> None:
    """Write a picture, the same for the same drawing."""
    figure.savefig(IMAGES / f"{name}.svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


# Why a margin

SPEAKERS, POINTS, SIZE, MARGIN, SCALE = 6, 200, 20, 0.3, 12.0
APART = 60  # degrees between neighbouring speakers, where they divide the circle


def margin() -> dict[str, str]:
    """Six speakers on a circle, trained without and with a margin."""
    generator = torch.Generator().manual_seed(4)
    centres = torch.randn(SPEAKERS, SIZE, generator=generator)

    def points() -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(SPEAKERS).repeat_interleave(POINTS)
        return centres[labels] + 1.0 * torch.randn(len(labels), SIZE, generator=generator), labels

    training, judging = points(), points()
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.9), gridspec_kw={"width_ratios": [1, 1, 1.15]})
    figures = {}
    for axis, size, colour in zip(axes, (0.0, MARGIN), (DIFFERENT, SAME), strict=False):
        directions, weights = _on_a_circle(*training, judging[0], size)
        labels = judging[1].numpy()
        _circle(axis, directions, weights, labels)
        axis.set_title(f"trained with margin {size:g}" if size else "trained without a margin")
        angles = np.degrees(np.arccos(np.clip((directions * weights[labels]).sum(1), -1, 1)))
        figures["MEDIAN_M" if size else "MEDIAN_0"] = f"{np.median(angles):.1f}"
        angle = np.radians(np.linspace(0, APART, 200))
        difference = np.cos(np.radians(APART) - angle) - np.cos(angle + size)
        axes[2].plot(np.degrees(angle), np.logaddexp(0, SCALE * difference), color=colour, label=f"margin {size:g}")
        border = (APART - np.degrees(size)) / 2
        axes[2].axvline(border, color=colour, linewidth=0.8, linestyle=":")
        figures["BORDER_M" if size else "BORDER_0"] = f"{border:.0f}"
    axes[2].set(xlabel=f"degrees from its own direction towards one {APART}° away", ylabel="loss")
    axes[2].set(xlim=(0, APART), xticks=range(0, APART + 1, 10), ylim=(0, 6), title="what the loss asks")
    axes[2].legend(fontsize=9)
    save(figure, "margin")
    return figures


def _on_a_circle(
    features: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, size: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Directions (N, 2) that a small network gives other points, and those of the speakers, trained with a margin."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(SIZE, 64), nn.ReLU(), nn.Linear(64, 2))
        head = AamSoftmax(2, SPEAKERS, scale=SCALE, margin=0.0)
        turned = torch.arange(SPEAKERS) * 2 * torch.pi / SPEAKERS
        head.weight.data = torch.stack((turned.cos(), turned.sin()), dim=1)
        optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=0.01)
        for step in range(400):
            head.margin = size * min(1.0, step / 200)
            loss, _ = head(network(features), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return F.normalize(network(others)).numpy(), F.normalize(head.weight).numpy()


def _circle(
    axis: Axes, directions: NDArray[np.float32], weights: NDArray[np.float32], labels: NDArray[np.int64]
) -> None:
    """Embeddings as dots near a circle (how near is drawn, for the eye alone), speakers as lines."""
    rng = np.random.default_rng(0)
    radii = rng.uniform(0.82, 1.0, len(directions))
    shown = rng.random(len(directions)) < 0.4
    for speaker in range(SPEAKERS):
        dots = directions[shown & (labels == speaker)] * radii[shown & (labels == speaker), None]
        axis.plot(
            [0, 1.12 * weights[speaker, 0]], [0, 1.12 * weights[speaker, 1]], color=COLOURS[speaker], linewidth=1.2
        )
        axis.scatter(dots[:, 0], dots[:, 1], s=5, color=COLOURS[speaker], alpha=0.6, linewidths=0, rasterized=True)
    axis.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")
    axis.axis("off")


# Why an llr and not a cosine


LIKE = 0.7  # a cosine that is much for a second, and not much for ten


def llr() -> dict[str, str]:
    """What a cosine is worth by the map of the model in the package, and an llr by priors."""
    encoder = SpeakerEncoder.load("pretrained", threads=1)
    score_map = encoder.score_map
    if score_map is None:
        raise SystemExit("the model in the package has no score map")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    scores = np.linspace(-0.1, 1, 400)
    figures = {}
    for seconds, colour in ((1, DIFFERENT), (3, COLOURS[4]), (10, SAME)):
        values = score_map.llr(scores, _measures(score_map, seconds))
        even = float(np.interp(0.0, values, scores))
        left.plot(scores, values, color=colour, label=f"{seconds} s of speech on both sides")
        left.plot(even, 0, "o", color=colour, markersize=5)
        at = float(score_map.llr(LIKE, _measures(score_map, seconds)))
        figures |= {f"EVEN_{seconds}": f"{even:.2f}", f"LLR_{seconds}": f"{at:.1f}"}
        figures[f"EVIDENCE_{seconds}"] = strength_of(at)
    left.axhline(0, color=NEUTRAL, linewidth=0.8)
    left.axvline(LIKE, color=NEUTRAL, linewidth=0.8, linestyle=":")
    left.set(xlabel="cosine of two embeddings", ylabel="log-likelihood ratio", title="what a cosine is worth")
    left.legend(loc="upper left", fontsize=9)
    llrs = np.linspace(-6, 12, 400)
    for prior, colour, text in (
        (0.5, SAME, "1 in 2"),
        (0.01, COLOURS[4], "1 in 100"),
        (0.0001, DIFFERENT, "1 in 10,000"),
    ):
        right.plot(llrs, 100 * sigmoid(llrs + logit(prior)), color=colour, label=f"prior {text}")
    right.axvline(3, color=NEUTRAL, linewidth=0.8, linestyle=":")
    right.set(xlabel="log-likelihood ratio", ylabel="probability of one speaker, %", title="what an llr amounts to")
    right.legend(loc="upper left", fontsize=9)
    save(figure, "llr")
    clips = [load_audio(EXAMPLES / f"rms-{number}.flac") for number in (1, 2)]
    for name, length in (("CUT", SAMPLE_RATE), ("WHOLE", None)):
        one, other = encoder.embed([clip[8000:][:length] if length else clip for clip in clips])
        figures[name] = f"{one @ other:.2f}"
    return figures


def _measures(score_map: ScoreMap, seconds: float) -> dict[str, float]:
    """So many seconds of speech, 20 dB above the noise, and all else as in the middle of what the map has seen."""
    middles = {term.measure: (term.low + term.high) / 2 for term in score_map.terms}
    return {**middles, "speech": float(np.log(seconds)), "snr": 20.0}


# What an interval over speakers is

PEOPLE, RECORDINGS, EVALUATIONS, SHOWN, DRAWS = 20, 6, 200, 40, 200


def interval() -> dict[str, str]:
    """Evaluations of a simulated system, each on new speakers, with both kinds of interval of the EER."""
    who = np.repeat(np.arange(PEOPLE), RECORDINGS)
    first, second = np.triu_indices(len(who), 1)
    same = who[first] == who[second]
    rows = []
    for seed in range(EVALUATIONS):
        rng = np.random.default_rng(seed)
        scores = _simulated(who[first], who[second], same, rng)
        bootstrap = SpeakerBootstrap(scores, same, who[first], who[second])
        over_speakers = bounds([drawn.roc.eer for drawn in bootstrap.draw(DRAWS, seed)])
        rows.append((eer(scores, same), *_over_trials(scores, same, rng), *over_speakers))
    values = 100 * np.array(rows, dtype=np.float64)  # (evaluations, 5)
    truth = values[:, 0].mean()
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 5), sharex=True, sharey=True)
    figures = {"SHOWN": str(SHOWN), "EVALUATIONS": str(EVALUATIONS)}
    for axis, column, kind in zip(axes, (1, 3), ("trials", "speakers"), strict=True):
        low, high = values[:, column], values[:, column + 1]
        holds = (low <= truth) & (truth <= high)
        figures[kind.upper()] = f"{100 * holds.mean():.0f}"
        for row in range(SHOWN):
            colour = SAME if holds[row] else DIFFERENT
            axis.plot([low[row], high[row]], [row, row], color=colour, linewidth=1.6)
            axis.plot(values[row, 0], row, "o", color=colour, markersize=3)
        axis.axvline(truth, color=NEUTRAL, linewidth=1)
        axis.set(title=f"drawn over {kind}: {holds[:SHOWN].sum()} of {SHOWN} hold the truth")
        axis.set(xlabel="equal error rate, %", yticks=[])
        axis.spines["left"].set_visible(False)
    axes[0].set_ylabel("evaluations, each on 20 new speakers")
    save(figure, "interval")
    return figures


def _simulated(
    one: NDArray[np.int64], other: NDArray[np.int64], same: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Scores of trials of speakers who differ in how well they match themselves and one another."""
    alike = rng.normal(0, 0.4, (PEOPLE, PEOPLE))
    matched = 2.8 + rng.normal(0, 0.7, PEOPLE)
    return rng.normal(size=len(same)) + np.where(same, matched[one], alike[one, other])


def _over_trials(
    scores: NDArray[np.float64], same: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """The interval of the EER as if each trial were an observation of its own."""
    drawn = []
    for _ in range(DRAWS):
        rows = rng.integers(len(scores), size=len(scores))
        drawn.append(roc(scores[rows], same[rows]).eer)
    return bounds(drawn)


def main() -> None:
    """Draw all."""
    with pyplot.rc_context(STYLE):
        for drawing in (margin, llr, interval):
            print(drawing.__name__, drawing())  # noqa: T201 - it is what the script is for


if __name__ == "__main__":
    main()
