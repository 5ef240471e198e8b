"""Labels that are probably wrong: utterances of somebody else, speakers who are two people, people with two labels.

Each of these asks how well two groups of recordings fit together, compares that with groups of which the answer is
known, because they were put together for it from the corpus itself, and gives a probability (`scoring.discovery`).
What is found wrong is then left out of the means that the others are compared with, and all is asked again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sound_groove.curation.voices import (
    CHUNK,
    CorpusVoices,
    FitScores,
    Matrix,
    drawn_strangers,
    fit_to_own,
    fit_to_strangers,
)
from sound_groove.scoring.discovery import LEAST_SCORES, two_groups
from sound_groove.types import Scores

NEARNESS = 6.0
ROUNDS = 3
COUNT_EDGES = (1.5, 3.5, 9.5)  # of recordings compared with: one; two or three; up to nine; more
LEAST_STRATUM = 100  # scores, below which strata are not told apart
LEAST_SPLIT = 6  # utterances of a speaker who may be two people
LEAST_PART = 2  # utterances of each of the two, and at least a fifth of all: fewer are single wrong labels
LEAST_PART_SHARE = 0.2
LLOYD_ROUNDS = 20
MOST_DRAWN = 4000  # speakers that are put together, or cut in two, to learn from

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class WrongLabels:
    """How probable it is that an utterance is not of the speaker that its label names.

    Attributes:
        probability: (N,), 0 where there is nothing to compare with.
        fit: how well each fits its label.
        share: of all utterances that have a wrong label, as estimated.
    """

    probability: Scores
    fit: FitScores
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """A speaker's utterances in two groups.

    Attributes:
        first: rows of the larger group.
        second: rows of the smaller one.
        likeness: of the two groups.
        probability: that they are two people.
    """

    first: Rows
    second: Rows
    likeness: float
    probability: float


@dataclass(frozen=True, slots=True)
class Alike:
    """Two labels.

    Attributes:
        first: number of the speaker.
        second: number of the other.
        likeness: of the two.
        probability: that they are one person.
    """

    first: int
    second: int
    likeness: float
    probability: float


def wrong_labels(voices: CorpusVoices, draws: np.random.Generator, usable: NDArray[np.bool_]) -> WrongLabels:
    """Find utterances of somebody else.

    Args:
        voices: the corpus.
        draws: source of the draws.
        usable: (N,) utterances that may stand for their speakers; of the others nothing is said.
    """
    kept = usable
    for _ in range(ROUNDS):
        fit = fit_to_own(voices, kept)
        strangers = fit_to_strangers(voices, kept, draws)
        judged = np.flatnonzero(np.isfinite(fit.likeness) & usable)
        probability = np.zeros(len(kept))
        shares = 0.0
        for rows, made in _strata(fit, judged, strangers):
            found = two_groups(fit.likeness[rows], strangers.likeness[made])
            probability[rows] = found.posterior
            shares += found.share * len(rows)
        share = shares / max(len(judged), 1)
        now = usable & (probability <= 0.5)
        if (now == kept).all():
            break
        kept = now
    return WrongLabels(probability, fit, share)


def best_speakers(voices: CorpusVoices, rows: Rows, kept: NDArray[np.bool_]) -> tuple[Rows, Scores]:
    """For utterances, the speaker that each fits best, other than its own, and how well.

    Args:
        voices: the corpus, of at least two speakers.
        rows: (R,) of the utterances.
        kept: (N,) utterances that stand for their speakers.
    """
    able, means, sizes = voices.speaker_means(kept)
    best, likeness = np.zeros(len(rows), np.intp), np.full(len(rows), -np.inf)
    for place, row in enumerate(rows.tolist()):
        others = able != voices.speakers[row]
        scores = voices.likeness(
            means[others],
            sizes[others],
            np.broadcast_to(voices.coordinates[row], means[others].shape),
            np.ones(int(others.sum())),
        )
        best[place], likeness[place] = able[others][int(scores.argmax())], scores.max()
    return best, likeness


def two_people(voices: CorpusVoices, kept: NDArray[np.bool_], draws: np.random.Generator) -> list[Parted]:
    """Part every speaker in two, and say how probable it is that these are two people, highest first.

    Args:
        voices: the corpus.
        kept: (N,) utterances that are taken for their speakers'.
        draws: source of the draws.
    """
    of_speakers = [rows for rows in _rows_of(voices, kept) if len(rows) >= LEAST_SPLIT]
    parted = [
        (first, second, _likeness(voices, first, second))
        for first, second in (part(voices, rows) for rows in of_speakers)
    ]
    made = list[float]()
    large = np.zeros(len(kept), bool)
    for rows in of_speakers:
        large[rows] = True
    by_speaker = {int(voices.speakers[rows[0]]): rows for rows in of_speakers}
    drawn = _some(of_speakers, draws) if len(of_speakers) > 1 else []  # of one alone there is nobody to mix with
    speakers = np.array([voices.speakers[rows[0]] for rows in drawn], np.intp)
    strangers = drawn_strangers(voices, speakers, large, draws, NEARNESS).tolist() if drawn else []
    for rows, stranger in zip(drawn, strangers, strict=True):
        size = max(LEAST_PART, round(len(rows) * draws.uniform(LEAST_PART_SHARE, 0.5)))
        mixed = np.concatenate(
            [draws.permutation(rows)[size:], np.resize(draws.permutation(by_speaker[stranger]), size)]
        )
        made.append(_likeness(voices, *part(voices, np.unique(mixed))))
    found = two_groups([likeness for *_, likeness in parted], made)
    return sorted(
        (
            Parted(first, second, likeness, probability)
            for (first, second, likeness), probability in zip(parted, found.posterior.tolist(), strict=True)
            if len(second) >= max(LEAST_PART, LEAST_PART_SHARE * (len(first) + len(second)))
        ),
        key=lambda one: -one.probability,
    )


def part(voices: CorpusVoices, rows: Rows) -> tuple[Rows, Rows]:
    """Utterances in two groups, the larger first, so that they vary least within the two.

    Lloyd's way, from the two that lie farthest apart on, and from both sides of the direction in which all vary most:
    where there are many, those that lie farthest apart are single strays.
    """
    weights = np.sqrt(voices.ratios / (1 + voices.ratios))
    points = voices.coordinates[rows].astype(np.float64) * weights
    points -= points.mean(axis=0)
    one = int(np.argmax(np.linalg.norm(points, axis=1)))
    other = int(np.argmax(np.linalg.norm(points - points[one], axis=1)))
    along = points @ np.linalg.eigh(points.T @ points)[1][:, -1] > 0
    starts = [points[[one, other]]]
    if along.any() and not along.all():
        starts.append(np.stack([points[~along].mean(axis=0), points[along].mean(axis=0)]))
    side = min((_sides(points, middles) for middles in starts), key=lambda found: found[1])[0]
    first, second = rows[~side], rows[side]
    return (first, second) if len(first) >= len(second) else (second, first)


def _sides(points: NDArray[np.float64], middles: NDArray[np.float64]) -> tuple[NDArray[np.bool_], float]:
    """(N,) which points (N, D) are of the second of two groups, and how much they vary within, from two middles on."""
    side = np.zeros(len(points), bool)
    for number in range(LLOYD_ROUNDS):
        now = np.linalg.norm(points - middles[1], axis=1) < np.linalg.norm(points - middles[0], axis=1)
        if number and (now == side).all():
            break
        side = now
        if side.all() or not side.any():
            break
        middles = np.stack([points[~side].mean(axis=0), points[side].mean(axis=0)])
    groups = [group for group in (points[side], points[~side]) if len(group)]
    return side, sum(float(np.square(group - group.mean(axis=0)).sum()) for group in groups)


def one_person(voices: CorpusVoices, kept: NDArray[np.bool_], draws: np.random.Generator) -> list[Alike]:
    """For every speaker the label that is most like it, and how probable it is that both are one person, highest first.

    Args:
        voices: the corpus.
        kept: (N,) utterances that are taken for their speakers'.
        draws: source of the draws.
    """
    able, means, sizes = voices.speaker_means(kept)
    if len(able) < 3:
        return []
    first, second, likeness = _nearest(voices, means, sizes)
    made = [
        _likeness(voices, *halves)
        for rows in _some([rows for rows in _rows_of(voices, kept) if len(rows) >= 2], draws)
        if (halves := _halves(voices, rows, draws)) is not None
    ]
    pairs = {
        (min(a, b), max(a, b)): score for a, b, score in zip(first.tolist(), second.tolist(), likeness, strict=True)
    }
    scores = np.array(list(pairs.values()))
    found = two_groups(-scores, -np.asarray(made))  # here the rare kind has the higher scores
    alike = [
        Alike(int(able[a]), int(able[b]), score, probability)
        for (a, b), score, probability in zip(pairs, scores.tolist(), found.posterior.tolist(), strict=True)
    ]
    return sorted(alike, key=lambda one: (-one.probability, -one.likeness))


def _strata(fit: FitScores, judged: Rows, strangers: FitScores) -> Iterator[tuple[Rows, NDArray[np.bool_]]]:
    """Utterances that were compared with about as many recordings, and the made-up ones that were."""
    edges = np.asarray(COUNT_EDGES)
    own = np.searchsorted(edges, fit.count[judged])
    made = np.searchsorted(edges, strangers.count)
    small = list[Rows]()
    for stratum in np.unique(own):
        rows, here = judged[own == stratum], made == stratum
        if len(rows) < LEAST_STRATUM or here.sum() < LEAST_SCORES:
            small.append(rows)
        else:
            yield rows, here
    if small:
        yield np.concatenate(small), np.ones(len(made), bool)


def _nearest(voices: CorpusVoices, means: Matrix, sizes: Scores, candidates: int = 5) -> tuple[Rows, Rows, Scores]:
    """(K,) of each speaker, (K,) the most like, (K,) how alike: among those whose posterior means are most alike."""
    counts = np.minimum(sizes, 10.0)[:, np.newaxis]
    places = (means * np.sqrt(voices.ratios) * counts / (1 + counts * voices.ratios)).astype(np.float32)
    places /= np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-12)
    some = min(candidates, len(means) - 1)
    nearest = np.empty((len(means), some), np.intp)
    for start in range(0, len(means), CHUNK // 10):
        alike = places[start : start + CHUNK // 10] @ places.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -np.inf
        nearest[start : start + len(alike)] = np.argpartition(alike, -some, axis=1)[:, -some:]
    first = np.repeat(np.arange(len(means)), some)
    scores = voices.likeness(means[first], sizes[first], means[nearest.ravel()], sizes[nearest.ravel()]).reshape(
        -1, some
    )
    best = scores.argmax(axis=1)
    rows = np.arange(len(means))
    return rows, nearest[rows, best], scores[rows, best]


def _rows_of(voices: CorpusVoices, kept: NDArray[np.bool_]) -> list[Rows]:
    """The rows of each speaker that has any."""
    rows = np.flatnonzero(kept)
    order = rows[np.argsort(voices.speakers[rows], kind="stable")]
    return [one for one in np.split(order, np.flatnonzero(np.diff(voices.speakers[order])) + 1) if len(one)]


def _some(groups: list[Rows], draws: np.random.Generator) -> list[Rows]:
    """At most so many of the groups; where there are few, each several times."""
    if not groups:
        return []
    wanted = min(MOST_DRAWN, max(len(groups), 10 * LEAST_SCORES))
    return [groups[place] for place in np.resize(draws.permutation(len(groups)), wanted)]


def _halves(voices: CorpusVoices, rows: Rows, draws: np.random.Generator) -> tuple[Rows, Rows] | None:
    """A speaker's utterances in two, by sessions where there are several."""
    sessions = np.unique(voices.sessions[rows])
    if len(sessions) > 1:
        chosen = np.isin(voices.sessions[rows], draws.permutation(sessions)[: len(sessions) // 2])
    else:
        chosen = np.isin(np.arange(len(rows)), draws.permutation(len(rows))[: len(rows) // 2])
    return rows[chosen], rows[~chosen]


def _likeness(voices: CorpusVoices, first: Rows, second: Rows) -> float:
    """Of two groups of utterances; of an empty one nothing is known."""
    if not len(first) or not len(second):
        return 0.0
    means = [
        voices.coordinates[rows].mean(axis=0, dtype=np.float64)[np.newaxis].astype(np.float32)
        for rows in (first, second)
    ]
    return float(voices.likeness(means[0], np.array([float(len(first))]), means[1], np.array([float(len(second))]))[0])
