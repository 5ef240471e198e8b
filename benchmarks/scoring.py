"""How long it takes to score CN-Celeb's 3,484,292 trials in each way, once the embeddings are there.

    python benchmarks/scoring.py [--threads 2] [--repeats 3] [--sample 20000]

The trials are those of CN-Celeb's evaluation by number: each of 196 enrolments against each of 17,777 tests. Embeddings
are random directions of 192 values, which take as long as real ones; the cohort is 2,793 speakers, of whom AS-norm
takes the 300 nearest, and PLDA has 10 embeddings of each. Ways are taken in turns and the best of each counts.

Below stands what a loop over the trials in Python takes, as toolkits have it: both sides compared with the cohort in
every trial, all scores sorted. It is measured on some of the trials and scaled to all. So is the same loop with the
statistics of each name found once beforehand, whose time is counted in full.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from sound_groove.provenance import machine, processor
from sound_groove.scoring.as_norm import as_norm, cohort_statistics
from sound_groove.scoring.cosine import centred, score_trials
from sound_groove.scoring.plda import fit_plda
from sound_groove.types import Embeddings, Scores

ENROLMENTS, TESTS, COHORT, UTTERANCES, SIZE, TOP = 196, 17_777, 2_793, 10, 192, 300
LIMIT_S = 10.0  # that AS-norm is to take at most


class Task(NamedTuple):
    """What there is to score.

    Attributes:
        embeddings: (N, D) of the names.
        enrolments: (trials,) rows of them.
        tests: (trials,) rows of them.
        cohort: (M, D) one embedding for each speaker of the cohort.
        utterances: (M x UTTERANCES, D) of these speakers.
        speakers: (M x UTTERANCES,) who speaks in them.
    """

    embeddings: Embeddings
    enrolments: NDArray[np.int64]
    tests: NDArray[np.int64]
    cohort: Embeddings
    utterances: Embeddings
    speakers: NDArray[np.int64]


def main() -> None:
    """Measure every way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=int, default=20_000, help="trials that the loops are measured on")
    arguments = parser.parse_args()
    about = machine(arguments.threads)
    task = make_task()
    trials = len(task.enrolments)
    with threadpool_limits(arguments.threads):
        times, scores = measure(task, arguments.repeats)
        loops, error = measure_loops(task, arguments.sample, scores)
    print(f"{processor()}, {arguments.threads} threads of {about['cpus']} cores, numpy {np.__version__}")
    print(f"{trials:,} trials, {SIZE} values, a cohort of {COHORT:,} speakers, the top {TOP}\n")
    print("| way | seconds |\n| --- | --- |")
    for way, seconds in (times | loops).items():
        print(f"| {way} | {seconds:,.2f} |")
    print(f"\nAS-norm differs from the loops by at most {error:.1e}.")
    total = times["AS-norm, all of it"]
    print(f"AS-norm takes {total:.1f} s: {'within' if total < LIMIT_S else 'MORE THAN'} the {LIMIT_S:g} s asked for.")


def make_task() -> Task:
    """Random directions, in the numbers of CN-Celeb."""
    generator = np.random.default_rng(0)

    def directions(count: int) -> Embeddings:
        rows = generator.standard_normal((count, SIZE), dtype=np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    cohort = directions(COHORT)
    speakers = np.repeat(np.arange(COHORT), UTTERANCES)
    return Task(
        embeddings=directions(ENROLMENTS + TESTS),
        enrolments=np.repeat(np.arange(ENROLMENTS), TESTS),
        tests=np.tile(np.arange(ENROLMENTS, ENROLMENTS + TESTS), ENROLMENTS),
        cohort=cohort,
        utterances=np.asarray(centred(cohort[speakers] + directions(len(speakers)), np.zeros(SIZE)), dtype=np.float32),
        speakers=speakers,
    )


def measure(task: Task, repeats: int) -> tuple[dict[str, float], Scores]:
    """Seconds of each of our ways, and what AS-norm gives."""
    sides = task.enrolments, task.tests
    cosines = score_trials(task.embeddings, *sides)
    statistics = cohort_statistics(task.embeddings, task.cohort, TOP)
    plda = fit_plda(task.utterances, task.speakers)

    def matrix_product() -> Scores:
        products = task.embeddings[:ENROLMENTS] @ task.embeddings[ENROLMENTS:].T  # (ENROLMENTS, TESTS)
        return products[task.enrolments, task.tests - ENROLMENTS].astype(np.float64)

    def whole_as_norm() -> Scores:
        told = cohort_statistics(task.embeddings, task.cohort, TOP)
        return as_norm(score_trials(task.embeddings, *sides), *sides, told)

    ways: dict[str, Callable[[], Any]] = {
        "cosine": lambda: score_trials(task.embeddings, *sides),
        "cosine, by a matrix product of all pairs": matrix_product,
        "AS-norm, statistics of the names": lambda: cohort_statistics(task.embeddings, task.cohort, TOP),
        "AS-norm, trials": lambda: as_norm(cosines, *sides, statistics),
        "AS-norm, all of it": whole_as_norm,
        "PLDA, fitting": lambda: fit_plda(task.utterances, task.speakers),
        "PLDA, trials": lambda: plda.score_trials(task.embeddings, *sides),
    }
    best = dict.fromkeys(ways, np.inf)
    for _ in range(repeats):
        for way, work in ways.items():
            best[way] = min(best[way], seconds_of(work))
    return best, whole_as_norm()


def measure_loops(task: Task, sample: int, ours: Scores) -> tuple[dict[str, float], float]:
    """Seconds that loops over the trials would take for all of them, and how far the scores lie from ours at most."""
    chosen = np.random.default_rng(1).permutation(len(task.enrolments))[:sample].tolist()
    scale = len(task.enrolments) / len(chosen)
    start = time.perf_counter()
    plain = [plain_score(task, int(task.enrolments[trial]), int(task.tests[trial])) for trial in chosen]
    plain_s = time.perf_counter() - start

    start = time.perf_counter()
    known = [nearest(task, name) for name in range(len(task.embeddings))]
    known_s = time.perf_counter() - start
    start = time.perf_counter()
    for trial in chosen:
        enrolment, test = int(task.enrolments[trial]), int(task.tests[trial])
        normalised(float(task.embeddings[enrolment] @ task.embeddings[test]), known[enrolment], known[test])
    cached_s = time.perf_counter() - start
    loops = {
        f"a loop, both sides compared in each trial ({sample:,} measured)": plain_s * scale,
        f"a loop, each name compared once ({sample:,} measured)": known_s + cached_s * scale,
    }
    return loops, float(np.abs(np.array(plain) - ours[chosen]).max())


def plain_score(task: Task, enrolment: int, test: int) -> float:
    """One trial from the beginning."""
    score = float(task.embeddings[enrolment] @ task.embeddings[test])
    return normalised(score, nearest(task, enrolment), nearest(task, test))


def nearest(task: Task, name: int) -> tuple[float, float]:
    """Mean and standard deviation of the top scores of a name against the cohort."""
    highest = np.sort(task.cohort @ task.embeddings[name])[-TOP:]
    return float(highest.mean()), float(highest.std())


def normalised(score: float, one: tuple[float, float], other: tuple[float, float]) -> float:
    """AS-norm of one score."""
    return ((score - one[0]) / one[1] + (score - other[0]) / other[1]) / 2


def seconds_of(work: Callable[[], Any]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
