"""What of a recording is embedded: its speech with short pauses, and some digital silence behind it.

An embedding is a mean over time, so that a long pause would count as much as speech. What lies around speech is kept,
since the ends of words are soft and the detector decides on 32 ms at a time. Nothing else between two stretches is, and
their ends are faded into each other, so that no step is heard.

A model with a floor, to which digital silence is a quiet room, may ask for some of it behind the speech, in proportion
to its length (`NetworkConfiguration.silence_share`). What is in the pauses, and whether a gate, an editor or a denoiser
has emptied them or taken them away, makes less difference then: each recording has silence in it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span
from sound_groove.audio.speech import speech_in
from sound_groove.types import Samples

AROUND_S = 0.5  # kept before and after speech: with less, single words were told apart less well
FADE_S = 0.005
LEAST_S = 0.5  # with less speech than this a recording is taken as it is: the detector may be wrong


def without_pauses(samples: Samples, speech: Sequence[Span] | None = None, around_s: float = AROUND_S) -> Samples:
    """The speech of a recording with short pauses; a recording without long ones is given back as it is.

    Args:
        samples: (samples,) mono at 16 kHz.
        speech: stretches of speech in it, where they are known.
        around_s: what is kept before and after each.
    """
    spoken = speech_in(samples) if speech is None else speech
    return joined([samples[start:end] for start, end in kept_spans(spoken, len(samples), around_s)])


def with_silence(voice: Samples, silence_share: float | None) -> Samples:
    """Speech (samples,) and behind it so many times as much digital silence; none where the share is None.

    >>> with_silence(np.ones(4, np.float32), 0.5).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    return voice if silence_share is None else np.pad(voice, (0, round(silence_share * len(voice))))


def kept_spans(speech: Sequence[Span], total: int, around_s: float = AROUND_S) -> list[Span]:
    """What is kept of a recording.

    Args:
        speech: stretches of speech, in samples, by their beginnings.
        total: samples of the recording.
        around_s: what is kept before and after each stretch.

    Returns:
        Stretches that do not touch each other; the whole recording where there is too little speech to go by.

    >>> kept_spans([(16000, 32000), (36000, 48000), (80000, 96000)], 96000)
    [(8000, 56000), (72000, 96000)]
    >>> kept_spans([(0, 512)], 96000)
    [(0, 96000)]
    """
    if sum(end - start for start, end in speech) < LEAST_S * SAMPLE_RATE:
        return [(0, total)]
    around, kept = int(around_s * SAMPLE_RATE), list[Span]()
    for start, end in speech:
        first, last = max(0, start - around), min(total, end + around)
        if kept and first <= kept[-1][1]:
            kept[-1] = (kept[-1][0], last)
        else:
            kept.append((first, last))
    return kept


def joined(stretches: Sequence[Samples]) -> Samples:
    """Stretches (samples,) one after the other, the end of each faded into the beginning of the next."""
    if len(stretches) == 1:
        return stretches[0]
    parts = [stretches[0]]
    for stretch in stretches[1:]:
        before = parts.pop()
        fade = min(int(FADE_S * SAMPLE_RATE), len(before), len(stretch))
        rising = np.linspace(0.0, 1.0, fade, endpoint=False, dtype=np.float32)
        parts += [before[: len(before) - fade], before[len(before) - fade :] * (1 - rising) + stretch[:fade] * rising]
        parts.append(stretch[fade:])
    return np.concatenate(parts)


def within(kept: Sequence[Span], window: Span) -> list[Span]:
    """The parts of a recording that a window of what is kept of it consists of.

    Args:
        kept: stretches of the recording, in samples.
        window: first sample and the one after the last, counted in the kept stretches alone.

    >>> within([(100, 200), (500, 600)], (50, 150))
    [(150, 200), (500, 550)]
    """
    found, passed = list[Span](), 0
    for start, end in kept:
        first, last = max(window[0] - passed, 0), min(window[1] - passed, end - start)
        if first < last:
            found.append((start + first, start + last))
        passed += end - start
    return found


def assembled(
    read: Callable[[Sequence[Span]], Iterable[Samples]], windows: Sequence[Sequence[Span]]
) -> Iterator[Samples]:
    """Windows of a recording that is read once, from its beginning to its end.

    Args:
        read: gives parts of the recording, asked for by their first samples.
        windows: the parts of each, which are joined.
    """
    order = sorted((span, number) for number, parts in enumerate(windows) for span in parts)
    waiting: dict[int, list[Samples]] = {number: [] for number in range(len(windows))}
    for (_, number), part in zip(order, read([span for span, _ in order]), strict=True):
        waiting[number].append(part)
        if len(waiting[number]) == len(windows[number]):
            yield joined(waiting.pop(number))
