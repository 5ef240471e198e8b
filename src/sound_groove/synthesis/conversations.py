"""Made-up conversations: utterances of several people, put together as people talk, and who speaks when in them.

Lengths of turns and of the pauses between them are log-normal, as those of conversations are; somebody may begin before
the other has ended. Who speaks more, how loud each is and where the utterances come from is drawn once for each
conversation. Nobody in it ever heard another: what is made up is the talking together, not the voices.

    clips of each person -> turns -> one recording, and for every stretch of speech in it, who
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.speech import speech_in
from sound_groove.errors import CorpusError
from sound_groove.types import Samples, SpeakerTurn

LEVEL_SPREAD_DB = 3.0  # of the people in a conversation
LEVEL = 0.05  # root mean square of somebody of middle loudness
WORD_PAUSE_S = (0.1, 0.5)  # between two clips of one turn
BRIDGED_S = 0.25  # a shorter pause within a clip is no pause of the turn


@dataclass(frozen=True, slots=True)
class TalkingHabits:
    """How people talk together.

    Attributes:
        turn_s: median length of a turn.
        turn_spread: standard deviation of its logarithm.
        pause_s: median pause between two turns.
        pause_spread: standard deviation of its logarithm.
        overlap: probability that a turn begins before the last has ended.
        overlap_share: how much of the shorter of the two turns is spoken at a time then, at most.
    """

    turn_s: float = 2.5
    turn_spread: float = 0.9
    pause_s: float = 0.4
    pause_spread: float = 0.8
    overlap: float = 0.2
    overlap_share: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """A made-up conversation.

    Attributes:
        samples: (samples,) mono at 16 kHz.
        turns: for every stretch of speech, by whom.
    """

    samples: Samples
    turns: tuple[SpeakerTurn, ...]

    @property
    def overlap(self) -> float:
        """The share of the time in which anybody speaks that several do."""
        frames = np.zeros(int(100 * len(self.samples) / SAMPLE_RATE) + 1, np.intp)
        for turn in self.turns:
            frames[round(100 * turn.start_s) : round(100 * turn.end_s)] += 1
        return float(np.mean(frames[frames > 0] > 1)) if frames.any() else 0.0


def make_conversation(
    clips: Mapping[str, Sequence[Samples]],
    duration_s: float,
    draws: np.random.Generator,
    habits: TalkingHabits | None = None,
) -> Conversation:
    """Let people talk.

    Args:
        clips: of each person, recordings of that person alone, mono at 16 kHz; each is used once before any is again.
        duration_s: of the conversation, about.
        draws: source of the draws.
        habits: how they talk.

    Raises:
        CorpusError: in the clips of somebody no speech is found.
    """
    habits = TalkingHabits() if habits is None else habits
    names = sorted(clips)
    voices = {name: _Voice(name, clips[name], draws) for name in names}
    shares = dict(zip(names, draws.dirichlet([2.0] * len(names)), strict=True))
    placed: list[tuple[int, Samples, list[tuple[int, int]], str]] = []
    last, end, length = "", 0, 0
    while end < duration_s * SAMPLE_RATE:
        name = _next(names, shares, last, {one for *_, one in placed}, draws)
        wanted = habits.turn_s * float(np.exp(habits.turn_spread * draws.standard_normal()))
        samples, speech = voices[name].say(int(wanted * SAMPLE_RATE), draws)
        pause_s = habits.pause_s * float(np.exp(habits.pause_spread * draws.standard_normal()))
        start = end + int(pause_s * SAMPLE_RATE)
        if placed and name != last and draws.random() < habits.overlap:
            start = end - int(draws.uniform(0.1, habits.overlap_share) * min(length, len(samples)))
        placed.append((max(start, 0), samples, speech, name))
        last, length, end = name, len(samples), max(end, start + len(samples))
    total = np.zeros(end + SAMPLE_RATE // 2, np.float32)
    turns = []
    for start, samples, speech, name in placed:
        total[start : start + len(samples)] += samples
        turns += [SpeakerTurn((start + a) / SAMPLE_RATE, (start + b) / SAMPLE_RATE, name) for a, b in speech]
    return Conversation(total / max(1.0, float(np.abs(total).max())), tuple(sorted(turns)))


class _Voice:
    """Somebody's clips, each without what lies before and behind its speech, in an order that is drawn."""

    def __init__(self, name: str, clips: Sequence[Samples], draws: np.random.Generator) -> None:
        heard = [(clip, speech_in(clip)) for clip in clips]
        self._clips = [(clip, speech) for clip, speech in heard if speech]
        if not self._clips:
            raise CorpusError(f"no speech is found in any of the {len(clips)} recordings of '{name}'")
        self._gain = LEVEL * 10 ** (LEVEL_SPREAD_DB * float(draws.standard_normal()) / 20)
        self._waiting: list[int] = []

    def say(self, least: int, draws: np.random.Generator) -> tuple[Samples, list[tuple[int, int]]]:
        """A turn of at least so many samples, but for its last clip, and the stretches of speech in it."""
        parts: list[Samples] = []
        speech: list[tuple[int, int]] = []
        length = 0
        while length < least:
            if not self._waiting:
                self._waiting = draws.permutation(len(self._clips)).tolist()
            clip, spans = self._clips[self._waiting.pop()]
            first, end = spans[0][0], spans[-1][1]
            said = clip[first:end]
            if length and length + len(said) > 1.5 * least:
                said = said[: max(least - length, SAMPLE_RATE // 2)]
            level = float(np.sqrt(np.mean(said.astype(np.float64) ** 2)))
            pause = int(draws.uniform(*WORD_PAUSE_S) * SAMPLE_RATE) if length else 0
            for start, stop in spans:
                begin, stop = length + pause + start - first, length + pause + min(stop - first, len(said))
                if speech and begin - speech[-1][1] <= BRIDGED_S * SAMPLE_RATE:
                    speech[-1] = (speech[-1][0], max(stop, speech[-1][1]))
                elif begin < stop:
                    speech.append((begin, stop))
            parts += [np.zeros(pause, np.float32), said * np.float32(self._gain / max(level, 1e-6))]
            length += pause + len(said)
        return np.concatenate(parts), speech


def _next(
    names: Sequence[str], shares: Mapping[str, float], last: str, heard: set[str], draws: np.random.Generator
) -> str:
    """Who speaks next: mostly another; whoever has not spoken yet comes sooner."""
    weights = np.array([0.0 if name == last else shares[name] + (0.0 if name in heard else 0.5) for name in names])
    return names[0] if len(names) == 1 else str(draws.choice(names, p=weights / weights.sum()))
