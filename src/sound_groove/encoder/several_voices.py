"""Whether more than one person speaks in a recording that should be of one, and which speech is whose.

An embedding of two people is of neither: it poisons a voiceprint, and makes little of a comparison. The search is made
where it costs least, and goes on only where something was found:

    speech -> windows of 2 s, every second
           -> the two that sound farthest apart                 `audio.apart`; no network
           -> their embeddings, and what their llr says         two windows
           -> all windows' embeddings, divided into two, and what the llr between the two groups says

The last decides. The llr is that of the model's score map for two recordings as short and as noisy as these windows,
given the mean cosine of all pairs from one group and the other; so one limit serves every model that is calibrated. It
is far below what two recordings of one person have, since the division seeks what is least alike, the more so the more
windows there are. Each group is looked at again, in the same way, for a third voice.

The limits were chosen on collections that no model of the package was taught, and on training speakers
(`benchmarks/several_voices.py`, docs/recordings.md); less than 5 s of speech cannot be judged.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.apart import farthest_parts
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording, judge
from sound_groove.audio.pauses import joined, kept_spans, within
from sound_groove.audio.pieces import Span
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.measures import side_of, trial_measures
from sound_groove.types import ChannelFacts, Embeddings, QualityWarning, Recording, Samples

WINDOW, SHIFT = 2 * SAMPLE_RATE, SAMPLE_RATE
LEAST_S = 5.0  # of speech: of less, a voice would have hardly a window
MOST_WINDOWS = 30  # of a longer recording, evenly spaced
AROUND_S = 0.1  # kept before and after speech
APART = 2.95  # in `audio.apart`: nearer are all windows of one voice in 3 recordings of 5
PAIR_LLR = -0.3  # of these two windows: what one voice has in 9 recordings of 10
GROUPS_LLR = 1.3  # of two groups of windows, at 1 s of speech
GROUPS_FALL = 0.8  # of that limit, for each natural logarithm of seconds
LEAST_WINDOWS = 3  # of which a group is looked at again
STEP = SAMPLE_RATE // 10  # of what is told
LEAST_TOLD = 5  # steps: a shorter stretch goes with what is around it

SHOWN = 3  # stretches of a voice that a sentence names
BRIDGED = SAMPLE_RATE  # a shorter pause is none in a sentence
# What is told of a recording's samples, and so anew of one voice's.
OF_SAMPLES = frozenset(
    {
        "several_voices",
        "little_speech",
        "too_little_speech",
        "clipping",
        "narrow_band",
        "long_silence",
        "digital_silence",
    }
)

Voices = tuple[tuple[Span, ...], ...]
Labels = NDArray[np.intp]


def with_voices(heard: HeardRecording, encoder: SpeakerEncoder) -> HeardRecording:
    """A recording with its voices and a warning, where several are found; arguments as of `voices_in`."""
    voices = voices_in(heard, encoder)
    if not voices:
        return heard
    message = (
        f"{heard.name}: {described(voices)}; an embedding of several people is of none of them, so cut it to one "
        "('sound-groove who' tells who speaks when)"
    )
    return replace(heard, voices=voices, warnings=(*heard.warnings, QualityWarning("several_voices", message)))


def voice_of(heard: HeardRecording, number: int) -> HeardRecording:
    """One of the voices of a recording, as a recording of its own that is not embedded yet.

    Args:
        heard: with its samples and its voices, at least one.
        number: of the voice, from 1.
    """
    own = heard.voices[number - 1]
    samples = joined([heard.samples[start:end] for start, end in own])
    alone = judge(Recording(None, samples, heard.facts.sample_rate, ChannelFacts(1)), heard.name)
    kept = [warning for warning in heard.warnings if warning.code not in OF_SAMPLES]
    message = f"{heard.name}: {described(heard.voices)}; only voice {number} of it was taken"
    return replace(alone, warnings=(*kept, *alone.warnings, QualityWarning("several_voices", message)))


def in_seconds(voices: Voices) -> list[list[tuple[float, float]]]:
    """When each voice speaks, in seconds; what short pauses part is one stretch.

    >>> in_seconds((((0, 48000), (64000, 80000)), ((96000, 120000),)))
    [[(0.0, 5.0)], [(6.0, 7.5)]]
    """
    told = []
    for spans in voices:
        stretches: list[Span] = []
        for start, end in spans:
            if stretches and start - stretches[-1][1] <= BRIDGED:
                stretches[-1] = (stretches[-1][0], end)
            else:
                stretches.append((start, end))
        told.append([(round(start / SAMPLE_RATE, 3), round(end / SAMPLE_RATE, 3)) for start, end in stretches])
    return told


def described(voices: Voices) -> str:
    """That there are several voices, and when each speaks.

    >>> described((((0, 48000), (64000, 80000)), ((96000, 120000),)))
    '2 voices are heard in it, voice 1 from 0.0 to 5.0 s, voice 2 from 6.0 to 7.5 s'
    """
    told = []
    for number, stretches in enumerate(in_seconds(voices), start=1):
        shown = [f"from {start:.1f} to {end:.1f} s" for start, end in stretches[:SHOWN]]
        more = f" and {len(stretches) - SHOWN} times more" if len(stretches) > SHOWN else ""
        told.append(f"voice {number} {', '.join(shown)}{more}")
    return f"{len(voices)} voices are heard in it, {', '.join(told)}"


def voices_in(heard: HeardRecording, encoder: SpeakerEncoder) -> Voices:
    """Which speech of a recording is whose.

    Args:
        heard: with its samples.
        encoder: without a score map it cannot tell, and finds nothing.

    Returns:
        For each voice its stretches, in samples; voices by how long they speak, the longest first. Empty where there is
        one voice, or too little speech to tell.
    """
    score_map = encoder.score_map
    kept = kept_spans(heard.speech, len(heard.samples), AROUND_S)
    total = sum(end - start for start, end in kept)
    if score_map is None or heard.facts.speech_s < LEAST_S or total < LEAST_S * SAMPLE_RATE:
        return ()
    voice = joined([heard.samples[start:end] for start, end in kept])
    windows = windows_of(len(voice))
    apart = farthest_parts(voice, windows)
    if apart.distance < APART:
        return ()
    pair = _embeddings(encoder, voice, [windows[apart.first], windows[apart.second]])
    if _llr(float(pair[0] @ pair[1]), pair, heard, score_map) > PAIR_LLR:
        return ()
    embeddings = _embeddings(encoder, voice, windows)
    labels = _divided(embeddings, len(voice) / SAMPLE_RATE / len(windows), heard, score_map)
    if labels.max() == 0:
        return ()
    return _told(labels, embeddings, windows, kept)


def windows_of(total: int) -> list[Span]:
    """The windows of so much speech, evenly spaced from the first to the last possible place.

    >>> windows_of(5 * SAMPLE_RATE) == [(SAMPLE_RATE * s, SAMPLE_RATE * (s + 2)) for s in range(4)]
    True
    """
    count = min(1 + -(-(total - WINDOW) // SHIFT), MOST_WINDOWS)
    return [(start, start + WINDOW) for start in np.linspace(0, total - WINDOW, count).round().astype(int).tolist()]


def groups_limit(speech_s: float) -> float:
    """The llr between two groups of windows of so much speech, below which they are two voices."""
    return GROUPS_LLR - GROUPS_FALL * math.log(speech_s)


def halves(embeddings: Embeddings) -> Labels:
    """(N,) 0 or 1: the division of windows (N, D) with the least variance within the two, nearly.

    They are divided along the direction in which they vary most, where that leaves the least variance (Ward 1963 for
    two groups in one dimension), and then each goes to the mean that it is more like, a few times (Lloyd 1982).

    >>> halves(np.array([[1.0, 0.0], [0.0, 1.0], [0.96, 0.28]], np.float32)).tolist()
    [0, 1, 0]
    """
    rows = embeddings.astype(np.float64)
    centred = rows - rows.mean(axis=0)
    places = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    order = np.argsort(places, kind="stable")
    counts = np.arange(1, len(rows))
    sums = centred[order].cumsum(axis=0)[:-1]  # of the first 1, 2, ... of them; of the others the same, negative
    between = np.square(sums).sum(axis=1) * (1.0 / counts + 1.0 / (len(rows) - counts))
    labels = np.zeros(len(rows), np.intp)
    labels[order[int(between.argmax()) + 1 :]] = 1
    for _ in range(5):
        means = np.stack([rows[labels == side].mean(axis=0) for side in (0, 1)])
        nearer = (rows @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(axis=1)
        if nearer.min() == nearer.max() or (nearer == labels).all():
            break
        labels = nearer
    return labels if labels[0] == 0 else 1 - labels


def _divided(embeddings: Embeddings, window_s: float, heard: HeardRecording, score_map: ScoreMap) -> Labels:
    """(N,) the voice of each window, 0 to K - 1; groups are divided as long as they are of two voices."""
    labels, count = np.zeros(len(embeddings), np.intp), 1
    waiting = [0]
    while waiting:
        number = waiting.pop()
        own = np.flatnonzero(labels == number)
        if len(own) < LEAST_WINDOWS:
            continue
        parts = halves(embeddings[own])
        one, other = (embeddings[own[parts == side]].astype(np.float64).mean(axis=0) for side in (0, 1))
        if _llr(float(one @ other), embeddings[own], heard, score_map) < groups_limit(window_s * len(own)):
            labels[own[parts == 1]] = count
            waiting += [number, count]
            count += 1
    return labels


def _embeddings(encoder: SpeakerEncoder, voice: Samples, windows: Sequence[Span]) -> Embeddings:
    return encoder.embed([voice[start:end] for start, end in windows], keep_pauses=True)


def _llr(score: float, windows: Embeddings, heard: HeardRecording, score_map: ScoreMap) -> float:
    """What a cosine of windows says, however familiar the recording: both sides are of it."""
    facts = replace(heard.facts, speech_s=WINDOW / SAMPLE_RATE, embedding_norm=None, unfamiliarity=None)
    side = side_of(facts, float(np.median(score_map.closeness(windows))))
    return float(score_map.llr(score, trial_measures(side, side)))


def _told(labels: Labels, embeddings: Embeddings, windows: Sequence[Span], kept: Sequence[Span]) -> Voices:
    """The stretches of each voice in the recording: each tenth of a second is of the voice that its windows are like.

    Args:
        labels: (N,) of the windows.
        embeddings: (N, D) of them.
        windows: in what is kept of the recording.
        kept: its stretches.
    """
    means = np.stack([embeddings[labels == voice].mean(axis=0) for voice in range(labels.max() + 1)])
    alike = embeddings @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T  # (N, K)
    total = sum(end - start for start, end in kept)
    steps = np.zeros((-(-total // STEP), len(means)))
    for row, (start, end) in zip(alike, windows, strict=True):
        # A window says more of its middle than of its ends, where another voice may begin.
        here = np.arange(start // STEP, min(-(-end // STEP), len(steps)))
        weights = 1.05 - np.abs((here + 0.5) * STEP - (start + end) / 2) / ((end - start) / 2)
        steps[here] += np.maximum(weights, 0.0)[:, None] * row
    told = _without_short(steps.argmax(axis=1))
    found: list[list[Span]] = [[] for _ in means]
    edges = [0, *(np.flatnonzero(np.diff(told)) + 1).tolist(), len(told)]
    for first, last in pairwise(edges):
        found[told[first]] += within(kept, (first * STEP, min(last * STEP, total)))
    spoken = [tuple(spans) for spans in found if spans]
    return tuple(sorted(spoken, key=lambda spans: -sum(end - start for start, end in spans)))


def _without_short(told: Labels) -> Labels:
    """(T,) voices, of which a stretch that is too short was given to the one before it, or behind it at the start."""
    edges = [0, *(np.flatnonzero(np.diff(told)) + 1).tolist(), len(told)]
    runs = [(int(told[first]), last - first) for first, last in pairwise(edges)]
    done: list[tuple[int, int]] = []
    for voice, length in runs:
        if done and (length < LEAST_TOLD or voice == done[-1][0]):
            done[-1] = (done[-1][0], done[-1][1] + length)
        elif done and done[-1][1] < LEAST_TOLD:
            done[-1] = (voice, done[-1][1] + length)
        else:
            done.append((voice, length))
    return np.repeat([voice for voice, _ in done], [length for _, length in done]).astype(np.intp)
