"""A voice that is heard as it speaks: whose it is is told as soon as the evidence allows it.

    samples -> speech, second by second            `speech`
            -> does the voice change?              the latest 2 s against all before them
            -> at some amounts of speech: the embedding of all of it, and the llr of everybody named
            -> a verdict, once an llr passes a limit that holds however often one looks     `promise`

One verdict is given for each voice, and it stands until the voice changes; then everything begins afresh. The amounts
of speech at which one looks grow by a half or a third each time, so that looking costs no more than a few times the
speech, and a limit that holds for all looks together lies little above that of one.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from sound_groove.arguments import check_number
from sound_groove.audio.familiarity import unfamiliarity
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import AudioFacts
from sound_groove.audio.pauses import without_pauses
from sound_groove.audio.quality import signal_to_noise_db
from sound_groove.audio.speech import ChunkLevels
from sound_groove.comparison import DEFAULT_PRIOR, Judge
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import OtherModelError, UsageError
from sound_groove.live.promise import fallen_limit, reached_limit
from sound_groove.live.speech import ArrivingSpeech
from sound_groove.percentages import uncertain
from sound_groove.scoring.calibration import logit
from sound_groove.scoring.cosine import in_steps
from sound_groove.types import Embeddings, Samples
from sound_groove.voiceprints.sought import SoughtVoice

LOOKS_S = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0)  # of speech
RECENT_S = 2.0  # of speech that is compared with all before it, for a change of the voice
FRESH_S = 1.0  # of speech between two such comparisons
KNOWN = 2  # comparisons before it, without which nothing can change
CHANGED_LLR = 0.5  # of the two: below it twice in a row, or once below the next, another voice speaks
SURELY_CHANGED_LLR = -1.0
TWICE = 2

EventKind = Literal["evidence", "verdict", "change", "end"]
LiveVerdict = Literal["identified", "nobody"]


@dataclass(frozen=True, slots=True)
class LiveCandidate:
    """Somebody who may be speaking.

    Attributes:
        name: as it was given.
        llr: log-likelihood ratio (natural logarithm) against a stranger.
        probability: that it is this person, at the prior, and no other of those named.
    """

    name: str
    llr: float
    probability: float


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """Something that is known at a moment of a recording that is still going on.

    Attributes:
        kind: "evidence" (somebody was looked for), "verdict", "change" (another voice speaks), or "end".
        time_s: from the beginning of what was heard.
        voice: number of the voice, from 1; one more after each change.
        speech_s: how much speech of this voice there was.
        verdict: "identified" or "nobody" (none of those named), the first time that it is sure, and in all that comes
            after it of this voice; None before.
        name: who was identified; None otherwise.
        candidates: those named, the most likely first; empty where there was no look at this voice yet.
    """

    kind: EventKind
    time_s: float
    voice: int
    speech_s: float
    verdict: LiveVerdict | None
    name: str | None
    candidates: tuple[LiveCandidate, ...]

    def as_dict(self) -> dict[str, Any]:
        """The event as JSON can hold it, with these very names."""
        record = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


class LiveListener:
    """Hears a voice as it speaks.

    Args:
        voices: whom to look for, each with a name.
        encoder: their model; it must carry a score map.
        max_false_accept: largest share of voices that may be called somebody whom they are not, whoever of those named.
        max_false_reject: largest share of voices of those named that may be called nobody.
        prior: probability that one of those named speaks, before listening, in (0, 1); it moves probabilities alone.

    Raises:
        OtherModelError: a voice is of another model.
        UsageError: nobody is named, two have one name, a number is out of range, or the model carries no score map.

    Example:
        listener = LiveListener([enrolled_voice(store, "anna", encoder)], encoder)
        for samples in microphone:
            for event in listener.add(samples):
                print(event.time_s, event.kind, event.name)
        listener.end()
    """

    def __init__(
        self,
        voices: Sequence[SoughtVoice],
        encoder: SpeakerEncoder,
        *,
        max_false_accept: float = 0.01,
        max_false_reject: float = 0.05,
        prior: float = DEFAULT_PRIOR,
    ) -> None:
        for rate in (max_false_accept, max_false_reject):
            if not 0 < check_number(rate, "an error rate") < 1:
                raise UsageError(f"an error rate must lie between 0 and 1, exclusive; {rate:g} was given")
        self._judge = Judge.of(encoder, prior)
        if encoder.score_map is None:
            raise UsageError(
                f"model {encoder.identity.label} carries no map from score to evidence, so that no error can be "
                "promised; 'sound-groove calibrate' fits one"
            )
        self._names = [voice.name or "" for voice in voices]
        if not voices or "" in self._names or len(set(self._names)) < len(self._names):
            raise UsageError("say whom to listen for: one voice or several, each with a name of its own")
        for voice in voices:
            if voice.model.hash != encoder.identity.hash:
                raise OtherModelError(
                    f"'{voice.name}': was embedded by model {voice.model.label}, and this is {encoder.identity.label}"
                )
        self._voices, self._encoder, self._score_map = list(voices), encoder, encoder.score_map
        self._prior = prior
        self.limits = fallen_limit(max_false_reject), reached_limit(max_false_accept / len(voices))
        self._arriving = ArrivingSpeech()
        self._number = 1
        self._begin()

    @property
    def time_s(self) -> float:
        """How much was heard."""
        return self._arriving.received / SAMPLE_RATE

    def add(self, samples: Samples) -> list[LiveEvent]:
        """Hear more.

        Args:
            samples: (samples,) mono at 16 kHz in [-1, 1], as many as there are.

        Returns:
            What is known now and was not before; mostly nothing.

        Raises:
            CheckpointError: the model gives no embedding of it.
            UsageError: these are no samples, or values that are not finite.
        """
        given = np.asarray(samples, np.float32)
        if given.ndim != 1 or not np.isfinite(given).all():
            raise UsageError(f"samples are one row of finite numbers; an array of shape {given.shape} was given")
        self._arriving.add(given)
        found = list[LiveEvent]()
        while self._arriving.step():
            found += self._heard()
        return found

    def end(self) -> LiveEvent:
        """What was known last; nothing more is heard."""
        return self._event("end")

    def _begin(self) -> None:
        """A voice of whom nothing is known yet."""
        self._looks = list(LOOKS_S)
        self._compared = 0  # samples of speech at the last comparison
        self._recent = list[Embeddings]()  # of the latest 2 s each, a second apart
        self._unlike = 0  # comparisons in a row that found another voice
        self._verdict: LiveVerdict | None = None
        self._name: str | None = None
        self._candidates: tuple[LiveCandidate, ...] = ()

    def _heard(self) -> list[LiveEvent]:
        """What another second tells."""
        found = list[LiveEvent]()
        speech = self._arriving.speech
        if speech >= RECENT_S * SAMPLE_RATE and speech - self._compared >= FRESH_S * SAMPLE_RATE:
            self._compared = speech
            if self._changes():
                self._arriving.forget(int(RECENT_S * SAMPLE_RATE))
                self._number += 1
                latest = self._recent[-1]
                self._begin()
                self._recent, self._compared = [latest], self._arriving.speech
                found.append(self._event("change"))
        seconds = self._arriving.speech / SAMPLE_RATE
        if self._looks and seconds >= self._looks[0]:
            self._looks = [look for look in self._looks if look > seconds]
            found.append(self._look())
        return found

    def _changes(self) -> bool:
        """Whether the latest two seconds are of another voice than all before."""
        embedding, facts = self._embedded(int(RECENT_S * SAMPLE_RATE))
        overlapping = round(RECENT_S / FRESH_S) - 1 + self._unlike
        before = self._recent[: max(len(self._recent) - overlapping, 0)]
        self._recent.append(embedding)
        if len(before) < KNOWN:
            return False
        known = np.mean(before, axis=0)
        past = replace(facts, speech_s=len(before) * FRESH_S + RECENT_S - FRESH_S)
        llr = self._llr((known, past), (embedding, facts))
        self._unlike = self._unlike + 1 if llr < CHANGED_LLR else 0
        return self._unlike >= TWICE or llr < SURELY_CHANGED_LLR

    def _look(self) -> LiveEvent:
        """Judge all that was heard of the voice."""
        embedding, facts = self._embedded(None)
        llrs = np.array([self._llr((voice.mean, voice.facts), (embedding, facts)) for voice in self._voices])
        odds = np.append(llrs + logit(self._prior) - math.log(len(llrs)), 0.0)  # the last: nobody of them
        chances = np.exp(odds - np.logaddexp.reduce(odds))
        order = np.argsort(-llrs, kind="stable").tolist()
        self._candidates = tuple(
            LiveCandidate(self._names[row], float(llrs[row]), uncertain(float(chances[row]))) for row in order
        )
        low, high = self.limits
        best = self._candidates[0]
        if self._verdict is not None:
            return self._event("evidence")
        if best.llr >= high:
            self._verdict, self._name = "identified", best.name
        elif best.llr < low:
            self._verdict = "nobody"
        return self._event("evidence" if self._verdict is None else "verdict")

    def _embedded(self, speech: int | None) -> tuple[Embeddings, AudioFacts]:
        """The embedding (D,) of the voice's latest samples of speech, or of all that is kept, and what these are."""
        arriving = self._arriving
        samples, spans = arriving.samples, arriving.spans(arriving.speech if speech is None else speech)
        voice = without_pauses(samples, spans)
        heard = self._encoder.embed_voices([voice])
        seconds = sum(end - start for start, end in spans) / SAMPLE_RATE
        facts = AudioFacts(
            duration_s=len(voice) / SAMPLE_RATE,
            speech_s=seconds,
            snr_db=signal_to_noise_db(ChunkLevels.of(samples).powers, arriving.flags),
            sample_rate=SAMPLE_RATE,
            embedding_norm=None if heard.norms is None else float(heard.norms[0]),
            unfamiliarity=None if speech is not None else unfamiliarity(samples, spans),
        )
        return heard.unit[0], facts

    def _llr(self, first: tuple[Embeddings, AudioFacts], second: tuple[Embeddings, AudioFacts]) -> float:
        """The llr that two voices are of one person."""
        measures = self._judge.measures((first[1], second[1]), (first[0], second[0]))
        score = float(in_steps(np.dot(first[0].astype(np.float64), second[0].astype(np.float64))))
        return float(self._score_map.on_line(score, self._score_map.line(measures)))

    def _event(self, kind: EventKind) -> LiveEvent:
        return LiveEvent(
            kind=kind,
            time_s=round(self.time_s, 3),
            voice=self._number,
            speech_s=round(self._arriving.speech / SAMPLE_RATE, 3),
            verdict=self._verdict,
            name=self._name,
            candidates=self._candidates,
        )
