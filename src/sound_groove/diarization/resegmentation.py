"""Who speaks in every tenth of a second, by the windows around it.

A window tells of two seconds, and a change of speakers falls between. For every frame the windows that it lies in, most
of all those in whose middle it lies, say how near each speaker is; the path of the speakers through the frames that is
best in total, when every change costs something, is Viterbi's (1967). After a pause a change costs less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span
from sound_groove.diarization.agglomeration import Labels, centroids
from sound_groove.diarization.windows import BRIDGED, bridged_spans
from sound_groove.types import Embeddings

FRAME = SAMPLE_RATE // 10
Scores = NDArray[np.float64]  # (frames, K)


@dataclass(frozen=True, slots=True)
class Smoothing:
    """What a change of speakers costs, in cosines times frames.

    Attributes:
        change: within a stretch of speech.
        after_pause: between two stretches.
        rounds: how often the speakers' mean embeddings are taken anew from the windows that are nearest to them.
    """

    change: float = 0.5
    after_pause: float = 0.25
    rounds: int = 1


def speaker_frames(
    windows: Sequence[Span],
    embeddings: Embeddings,
    labels: Labels,
    speech: Sequence[Span],
    smoothing: Smoothing | None = None,
) -> list[tuple[Span, int]]:
    """Who speaks where.

    Args:
        windows: in samples, by their beginnings.
        embeddings: (N, D) of the windows.
        labels: (N,) of the windows.
        speech: stretches of speech, in samples.
        smoothing: what a change costs.

    Returns:
        Stretches of speech, cut where the speaker changes, and the speaker of each.
    """
    smoothing = Smoothing() if smoothing is None else smoothing
    stretches = bridged_spans(speech, BRIDGED)
    means = speaker_means(embeddings, labels, smoothing.rounds)
    near = np.asarray(embeddings) @ means.T  # (N, K)
    edges = [np.append(np.arange(start, end, FRAME), end) for start, end in stretches]
    edges = [steps if len(steps) < 3 or steps[-1] - steps[-2] > FRAME // 2 else np.delete(steps, -2) for steps in edges]
    scores = frame_scores(windows, near, stretches, [len(steps) - 1 for steps in edges])
    begins = np.cumsum([0, *(len(steps) - 1 for steps in edges)])
    costs = np.full(int(begins[-1]), smoothing.change)
    costs[begins[:-1]] = smoothing.after_pause
    path = best_path(scores, costs)
    found = list[tuple[Span, int]]()
    for steps, first in zip(edges, begins.tolist(), strict=False):
        here = path[first : first + len(steps) - 1]
        cuts = [0, *(np.flatnonzero(np.diff(here)) + 1).tolist(), len(here)]
        found += [((int(steps[a]), int(steps[b])), int(here[a])) for a, b in pairwise(cuts)]
    return _within(found, speech)


def speaker_means(embeddings: Embeddings, labels: Labels, rounds: int) -> NDArray[np.float64]:
    """(K, D) of unit length: the speakers' mean embeddings, after windows went to the nearest so many times.

    A speaker who would lose all windows keeps the last mean.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    means = centroids(rows, labels)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    for _ in range(rounds):
        nearest = (rows @ means.T).argmax(axis=1)
        taken = np.unique(nearest)
        means[taken] = centroids(rows, nearest, len(means))[taken]
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    return means


def frame_scores(windows: Sequence[Span], near: Scores, stretches: Sequence[Span], counts: Sequence[int]) -> Scores:
    """What the windows say of every frame of the stretches.

    Args:
        windows: each within one of the stretches; both by their beginnings.
        near: (N, K) how near each window is to each speaker.
        stretches: of speech.
        counts: frames of each.

    Returns:
        (frames, K) means over the windows that a frame lies in, weighted by how near it is to their middles.
    """
    total = np.zeros((sum(counts), near.shape[1]))
    weights = np.zeros((len(total), 1))
    place, passed = 0, 0
    for (start, end), row in zip(windows, near, strict=True):
        while stretches[place][1] < end:
            passed += counts[place]
            place += 1
        first = (start - stretches[place][0]) // FRAME
        last = min(-(-(end - stretches[place][0]) // FRAME), counts[place])
        middles = stretches[place][0] + (np.arange(first, last) + 0.5) * FRAME
        weight = np.maximum(1 - np.abs(2 * middles - start - end) / (end - start), 0.02)[:, np.newaxis]
        total[passed + first : passed + last] += weight * row
        weights[passed + first : passed + last] += weight
    return np.asarray(total / np.maximum(weights, 1e-9))


def best_path(scores: Scores, costs: NDArray[np.float64]) -> NDArray[np.intp]:
    """The states of the highest sum, less what changes cost.

    Args:
        scores: (T, K) of the states.
        costs: (T,) of a change to each frame from the one before it.

    >>> best_path(np.array([[1.0, 0.0], [0.4, 0.6], [1.0, 0.0]]), np.full(3, 0.5)).tolist()
    [0, 0, 0]
    """
    count, states = scores.shape
    came = np.zeros((count, states), np.intp)
    stay = np.arange(states)
    sums = np.zeros(states)
    for frame in range(count):
        best = int(sums.argmax())
        changed = sums[best] - costs[frame]
        is_new = changed > sums
        came[frame] = np.where(is_new, best, stay)
        sums = np.where(is_new, changed, sums) + scores[frame]
    path = np.zeros(count, np.intp)
    state = int(sums.argmax()) if count else 0
    for frame in range(count - 1, -1, -1):
        path[frame] = state
        state = int(came[frame, state])
    return path


def _within(found: Sequence[tuple[Span, int]], speech: Sequence[Span]) -> list[tuple[Span, int]]:
    """What lies in speech: bridged pauses taken out again."""
    kept = list[tuple[Span, int]]()
    place = 0
    for (start, end), speaker in found:
        while place < len(speech) and speech[place][1] <= start:
            place += 1
        here = place
        while here < len(speech) and speech[here][0] < end:
            kept.append(((max(start, speech[here][0]), min(end, speech[here][1])), speaker))
            here += 1
    return kept
