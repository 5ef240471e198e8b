"""How often do 95 % intervals hold the truth? Evaluations of simulated systems, over and over.

    python benchmarks/interval_coverage.py --speakers 40 --evaluations 400

Each evaluation draws new speakers, who differ in how well they match themselves and one another, and two systems that
err equally often: on part of that together, on part each in its own way. The truth of a figure is its mean over all
evaluations; that of a difference is 0.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.evaluation.against import COMPARED, compare
from sound_groove.evaluation.figures import measure
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.other_scores import OtherScores
from sound_groove.evaluation.trials.trial_list import TrialList

UTTERANCES = 6  # of each speaker; all pairs are trials


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=40)
    parser.add_argument("--evaluations", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=200)
    arguments = parser.parse_args()
    who = np.repeat(np.arange(arguments.speakers), UTTERANCES)
    first, second = np.triu_indices(len(who), 1)
    lines = np.arange(1, len(first) + 1, dtype=np.int32)
    names = tuple(map(str, range(len(who))))
    trials = TrialList(names, first.astype(np.int32), second.astype(np.int32), who[first] == who[second], lines, 0)
    figures: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(arguments.evaluations):
        this, other = simulate(trials, who, np.random.default_rng(seed))
        judged = JudgedList(trials, this, 2 * this - 2, who, arguments.resamples)
        metrics = measure(judged)
        for name in ("eer", "min_dcf", "min_dcf_05", "cllr", "min_cllr", "calibration_loss"):
            figures.setdefault(name, []).append(tuple(metrics[name][key] for key in ("low", "value", "high")))
        others = OtherScores(Path(), "", other, 2 * other - 2, np.zeros(len(trials), dtype=np.bool_), ())
        against = compare(judged, others)["figures"]
        for name in COMPARED:
            difference = against[name]["difference"]
            key = f"difference of {name}"
            figures.setdefault(key, []).append(tuple(difference[bound] for bound in ("low", "value", "high")))
    print(f"{'figure':<26} {'truth':>7} {'held':>7} {'all below':>10} {'all above':>10}")
    for name, bounds in figures.items():
        low, values, high = np.array(bounds).T
        truth = 0.0 if name.startswith("difference") else float(values.mean())
        below, above = float((high < truth).mean()), float((low > truth).mean())
        print(f"{name:<26} {truth:>7.4f} {1 - below - above:>7.1%} {below:>10.1%} {above:>10.1%}")


def simulate(
    trials: TrialList, who: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of two systems: what trials, speakers and pairs of speakers share, and what each system adds."""
    speakers = int(who.max()) + 1
    first, second = who[trials.enrolments], who[trials.tests]
    alike = rng.normal(0, 0.3, (speakers, speakers))[first, second]
    themselves, trial = rng.normal(0, 0.5, speakers)[first], 0.8 * rng.normal(size=len(trials))

    def system() -> NDArray[np.float64]:
        own = 0.6 * rng.normal(size=len(trials)) + trial
        matched = 2 + themselves + rng.normal(0, 0.3, speakers)[first]
        return own + np.where(trials.labels, matched, alike)

    return system(), system()


if __name__ == "__main__":
    main()
