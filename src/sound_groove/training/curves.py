"""The picture of a run: loss, accuracy, validation EER, learning rate and margin over the epochs."""

from pathlib import Path
from typing import Any


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
    judged = [row for row in epochs if row.get("validation_eer") is not None]
    error.plot([row["epoch"] for row in judged], [100 * row["validation_eer"] for row in judged], "o-", markersize=3)
    if judged:
        best = min(judged, key=lambda row: row["validation_eer"])
        error.plot(best["epoch"], 100 * best["validation_eer"], "*", markersize=12, color="tab:red")
        error.annotate(
            f"{100 * best['validation_eer']:.2f} %",
            (best["epoch"], 100 * best["validation_eer"]),
            textcoords="offset points",
            xytext=(0, 12),
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
        )
    error.set(title="EER on held-out speakers", xlabel="epoch", ylabel="%")
    error.set_ylim(bottom=0)
    for axes in (loss, accuracy, rate, error):
        axes.grid(alpha=0.3)
        axes.spines["top"].set_visible(False)
        axes.spines["right"].set_visible(axes is rate)
    beside.spines["top"].set_visible(False)
    figure.suptitle(title)
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, dpi=110, format="png")
    partial.replace(path)
