"""Several at a time: the second voice that a segmentation model hears, given to a speaker of the recording.

Windows of embeddings tell who speaks in the recording, one at a time; the segmentation model tells to a few hundredths
of a second when each of three speaks, several at a time too, and not who that is. In every window of it, its speakers
are matched with those of the recording with whom they share most time; all windows that a moment lies in are asked for
the mean. Where two are heard, both are told; elsewhere who speaks stays with the embeddings. (To let the model decide
that too made more mistakes, by half and more, on made-up conversations of training speakers and of unseen collections.)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span
from sound_groove.audio.speech import runs
from sound_groove.diarization.segmentation import LocalActivity
from sound_groove.diarization.turns import Spoken
from sound_groove.scoring.diarization_error import best_pairs

GRID = SAMPLE_RATE // 50  # samples: 20 ms
SPEAKS = 0.6  # the mean probability of the second voice from which on both are told; chosen on the same
SHORTEST = 5  # steps of the grid: nobody says anything in less than 0.1 s


def with_overlap(spoken: Sequence[Spoken], local: Sequence[LocalActivity], total: int) -> list[Spoken]:
    """Who speaks where, two at a time too.

    Args:
        spoken: one at a time: stretches of speech and the numbers of their speakers.
        local: what the segmentation model says.
        total: samples of the recording.

    Returns:
        Stretches and their speakers, by their beginnings; those of several speakers may overlap.
    """
    count = max((speaker for _, speaker in spoken), default=-1) + 1
    steps = -(-total // GRID)
    labels = np.full(steps, -1)
    for (start, end), speaker in spoken:
        labels[round(start / GRID) : max(round(end / GRID), round(start / GRID) + 1)] = speaker
    votes, heard = np.zeros((steps, count), np.float32), np.zeros(steps, np.float32)
    for window in local:
        first, end = window.start // GRID, min(-(-(window.start + window.length) // GRID), steps)
        moments = (np.arange(first, end) + 0.5) * GRID
        frames = np.clip(np.searchsorted(window.middles, moments), 0, len(window.activity) - 1)
        activity = window.activity[frames].astype(np.float64)  # (steps of the window, 3)
        heard[first:end] += 1
        for mine, theirs in matched(activity, labels[first:end], count):
            votes[first:end, theirs] += activity[:, mine]
    if count < 2:
        return sorted(spoken)
    first, second = np.argsort(-votes, axis=1)[:, :2].T
    both = (labels >= 0) & (votes[np.arange(steps), second] >= SPEAKS * np.maximum(heard, 1))
    added = list[Spoken]()
    for begin, end in zip(*runs(both), strict=True):
        for speaker in range(count):
            speaks = (first[begin:end] == speaker) | (second[begin:end] == speaker)
            for start, stop in zip(*runs(speaks), strict=True):
                if stop - start >= SHORTEST:
                    span = (int(begin + start) * GRID, min(int(begin + stop) * GRID, total))
                    added.append((span, speaker))
    return _united(spoken, added)


def _united(spoken: Sequence[Spoken], added: Sequence[Spoken]) -> list[Spoken]:
    """Both, each speaker's stretches joined where they overlap or touch."""
    found = list[Spoken]()
    for speaker in {number for _, number in (*spoken, *added)}:
        own = sorted(span for span, number in (*spoken, *added) if number == speaker)
        joined = [own[0]]
        for start, end in own[1:]:
            if start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        found += [(span, speaker) for span in joined]
    return sorted(found)


def matched(activity: NDArray[np.float64], labels: NDArray[np.intp], count: int) -> list[tuple[int, int]]:
    """Which of a window's three speakers are which of the recording's.

    Args:
        activity: (T, 3) of the window's.
        labels: (T,) the recording's, one at a time; -1 for nobody.
        count: of the recording's.

    >>> matched(np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0]]), np.array([2, 2, 0]), 3)
    [(0, 0), (1, 2)]
    """
    told = np.flatnonzero(np.bincount(labels[labels >= 0], minlength=count))
    alone = activity * (activity.sum(axis=1, keepdims=True) < 1.5)  # what two say at a time tells of neither
    together = np.stack([alone[labels == speaker].sum(axis=0) for speaker in told], axis=1) if len(told) else None
    return [] if together is None else sorted((mine, int(told[place])) for mine, place in best_pairs(together))


def overlap_s(spoken: Sequence[Spoken]) -> float:
    """Seconds in which several speak.

    >>> overlap_s([((0, 32000), 0), ((16000, 48000), 1), ((24000, 40000), 2)])
    1.5
    """
    edges = sorted([(start, 1) for (start, _), _ in spoken] + [(end, -1) for (_, end), _ in spoken])
    speaking, since, samples = 0, 0, 0
    for moment, change in edges:
        samples += moment - since if speaking > 1 else 0
        speaking, since = speaking + change, moment
    return samples / SAMPLE_RATE


def alone(spoken: Sequence[Spoken]) -> list[Spoken]:
    """What each says while nobody else does; all that somebody says who is never alone.

    >>> alone([((0, 30), 0), ((10, 20), 1), ((25, 40), 2)])
    [((0, 10), 0), ((20, 25), 0), ((10, 20), 1), ((30, 40), 2)]
    """
    edges = sorted({edge for span, _ in spoken for edge in span})
    counts = np.zeros(max(len(edges) - 1, 0), np.intp)
    places = {edge: place for place, edge in enumerate(edges)}
    for (start, end), _ in spoken:
        counts[places[start] : places[end]] += 1
    kept = list[Spoken]()
    for speaker in dict.fromkeys(number for _, number in spoken):
        own = [span for span, number in spoken if number == speaker]
        clear = list[Span]()
        for start, end in own:
            begins, ends = runs(np.ascontiguousarray(counts[places[start] : places[end]] == 1))
            clear += [(edges[places[start] + a], edges[places[start] + b]) for a, b in zip(begins, ends, strict=True)]
        kept += [(span, speaker) for span in clear or own]
    return kept
