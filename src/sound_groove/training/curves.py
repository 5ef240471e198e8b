"""The picture of a run: loss, accuracy, validation EER, learning rate and margin over the epochs."""

from pathlib import Path
from typing import Any

from sound_groove.files import replaced_bytes
from sound_groove.percentages import rate_text


def draw_curves(path: Path, steps: list[dict[str, Any]], epochs: list[dict[str, Any]], title: str) -> None:
    """Draw the curves of a run into a PNG, in one piece.

    Args:
        path: the picture.
        steps: rows of steps.jsonl.
        epochs: rows of epochs.jsonl.
        title: the run's name.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    ((loss, rate), (accuracy, error)) = figure.subplots(2, 2, sharex=True)
    place = [row["place"] for row in steps]
    middle = [row["epoch"] - 0.5 for row in epochs]  # where a mean over the epoch belongs
    loss.plot(place, [row["loss"] for row in steps], color="0.75", linewidth=0.8, label="a step")
    loss.plot(middle, [row["loss"] for row in epochs], "o-", markersize=3, label="mean of the epoch")
    loss.set(title="Training loss", ylabel="AAM-Softmax loss")
    loss.legend(frameon=False)
    accuracy.plot(place, [100 * row["accuracy"] for row in steps], color="0.75", linewidth=0.8)
    accuracy.plot(middle, [100 * row["accuracy"] for row in epochs], "o-", markersize=3)
    accuracy.set(title="Training accuracy, without margin", xlabel="epoch", ylabel="%", ylim=(0, 101))
    rate.plot(place, [row["learning_rate"] for row in steps], color="tab:green")
    rate.set(title="Learning rate and margin")
    rate.set_ylabel("learning rate", color="tab:green")
    beside = rate.twinx()
    beside.plot(place, [row["margin"] for row in steps], color="tab:orange")
    beside.set_ylabel("margin (radians)", color="tab:orange")
    beside.set_ylim(bottom=0)
    judged, means = (
        [(row["epoch"], 100 * row[key]) for row in epochs if row.get(key) is not None]
        for key in ("validation_eer", "mean_validation_eer")
    )
    error.plot([epoch for epoch, _ in judged], [eer for _, eer in judged], "o-", markersize=3)
    if means:
        error.plot(
            [epoch for epoch, _ in means],
            [eer for _, eer in means],
            "D",
            markersize=5,
            color="tab:purple",
            label="mean of the last weights",
        )
        error.legend(frameon=False)
    error.set(title="EER on held-out speakers", xlabel="epoch", ylabel="%")
    if judged:
        epoch, best = min((*judged, *means), key=lambda point: point[1])
        error.plot(epoch, best, "*", markersize=12, color="tab:red")
        error.annotate(
            rate_text(best / 100),
            (epoch, best),
            textcoords="offset points",
            xytext=(0, 12),
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
        )
        error.set_ylim(0, max(1.0, 1.15 * max(eer for _, eer in (*judged, *means))))
    for axes in (loss, accuracy, rate, error):
        axes.grid(alpha=0.3)
        axes.spines["top"].set_visible(False)
        axes.spines["right"].set_visible(axes is rate)
    beside.spines["top"].set_visible(False)
    figure.suptitle(title)
    with replaced_bytes(path, durable=False) as file:
        figure.savefig(file, dpi=110, format="png")
