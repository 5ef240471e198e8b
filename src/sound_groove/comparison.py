"""Comparison: are two recordings of the same speaker?

    recording -> embedding -> score (cosine) -> log-likelihood ratio -> verdict, and probability, given a prior

A cosine is not a probability, and the same cosine means different things to different models, and of short or noisy
recordings less than of long and clean ones: the map from one to the other comes with the model. Where the model has
none, or the audio is too poor, there is a score but no verdict.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sound_groove.arguments import check_kind, check_number
from sound_groove.audio.given import AnyRecording
from sound_groove.audio.listening import AudioFacts, HeardRecording, allow_verdict, decode, judge
from sound_groove.encoder.encoder import SpeakerEncoder, default_model
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.several_voices import with_voices
from sound_groove.errors import UsageError
from sound_groove.scoring.calibration import ScoreMap, logit, probability
from sound_groove.scoring.cosine import cosine, in_steps
from sound_groove.scoring.decision import DecisionRule, Verdict
from sound_groove.scoring.measures import UNFAMILIARITY, number_or_nan, side_of, trial_measures
from sound_groove.scoring.strength import Strength, strength_of
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, QualityWarning, Scores

DEFAULT_PRIOR = 0.5
DEFAULT_RULE = DecisionRule()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer to "are these the same speaker?".

    Attributes:
        score: cosine of the two embeddings, in [-1, 1] and steps of 1e-6; higher = more likely the same speaker.
        llr: log-likelihood ratio (natural logarithm), or None when the model has no score map.
        strength: the llr in words, whichever way it points (`scoring.strength`); None without a score map.
        probability: of the same speaker, at `prior`; None without a score map.
        prior: probability of the same speaker before listening.
        threshold: the score at which the probability is one half for two such recordings; None without a score map, or
            when the map is flat.
        limits: the llr below which the verdict is 'different', and that from which on it is 'same'.
        verdict: "same", "different", or "inconclusive".
        model: name and hash of the model that scored.
        collections: how many different collections of recordings the score map was fitted on; None where that is not
            known, or where it was fewer than three, of which none could be left out to see what the others are worth.
        warnings: what makes the answer less trustworthy, and why there is no verdict when there is none.
        audio: of the first and the second recording.
    """

    score: float
    llr: float | None
    strength: Strength | None
    probability: float | None
    prior: float
    threshold: float | None
    limits: tuple[float, float]
    verdict: Verdict
    model: ModelIdentity
    collections: int | None
    warnings: tuple[QualityWarning, ...]
    audio: tuple[AudioFacts, AudioFacts]

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON can hold it, with these very names."""
        record = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def compare(
    a: AnyRecording | HeardRecording,
    b: AnyRecording | HeardRecording,
    model: str | Path | SpeakerEncoder | None = None,
    *,
    prior: float = DEFAULT_PRIOR,
    rule: DecisionRule = DEFAULT_RULE,
    crops: CropAveraging | None = None,
    channel: int | None = None,
) -> Comparison:
    """Compare two recordings.

    The answer is deterministic, and the same when the two change places. Evidence that is not worth the risk of a wrong
    verdict gives none (by default a probability between 0.2 and 0.8), nor does a recording with less than half a second
    of speech, nor one whose channels carry different sound when none of them was chosen.

    Args:
        a: a path, the bytes of a file, an open file, or samples with their rate, as `audio.reading.load_audio` takes
            them; an array alone is mono float32 at 16 kHz in [-1, 1]. A path may name a channel: `call.wav#2`. Or what
            a `Listener` with this model heard of one.
        b: the same.
        model: a model file, a run folder, or an encoder (which saves loading it again); None takes the model that the
            environment variable SOUND_GROOVE_MODEL names, else the one in the package, `pretrained`.
        prior: probability of the same speaker before listening, in (0, 1).
        rule: how sure a verdict must be.
        crops: average evenly spaced crops; None embeds whole recordings.
        channel: which one to listen to in both, counted from 1, where a path names none; None averages all.

    Raises:
        AudioError: a recording cannot be used.
        CheckpointError: the model cannot be used.
        MissingExtraError: what the model needs is not installed.
        UsageError: the prior is out of range, or an argument is of another kind.

    Example:
        result = compare("a.wav", "b.wav")
        print(result.verdict, result.probability)
    """
    if crops is not None:
        check_kind(crops, CropAveraging, "crops", "CropAveraging(count, frames)")
    if model is not None:
        check_kind(model, (str, os.PathLike, SpeakerEncoder), "the model", "a path, a name or a SpeakerEncoder")
    check_prior(prior)
    check_rule(rule)

    # What is cheap to refuse comes first: recordings that cannot be read, then a model that cannot.
    sides = [
        side if isinstance(side, HeardRecording) else decode(side, name, channel)
        for side, name in ((a, "the first recording"), (b, "the second recording"))
    ]
    encoder = (
        model if isinstance(model, SpeakerEncoder) else SpeakerEncoder.load(default_model() if model is None else model)
    )
    with ThreadPoolExecutor(len(sides), thread_name_prefix="listening") as executor:
        judged = executor.map(lambda side: side if isinstance(side, HeardRecording) else judge(*side), sides)
    # One at a time: an embedding that does not depend on what it is compared with makes the score symmetric to the bit.
    listener = Listener(encoder, crops, partial(with_voices, encoder=encoder))
    first, second = (listener.hear(side) for side in judged)
    return Judge.of(encoder, prior, rule).compare(first, second)


@dataclass(frozen=True, slots=True)
class Judge:
    """What turns scores into answers: the model that scored, its score map, the prior, and the rule of the verdict.

    Attributes:
        model: which made the embeddings.
        score_map: of this model; None leaves scores without a verdict.
        prior: probability of the same speaker, or of somebody enrolled, before listening, in (0, 1).
        rule: how sure a verdict must be.
    """

    model: ModelIdentity
    score_map: ScoreMap | None
    prior: float = DEFAULT_PRIOR
    rule: DecisionRule = DEFAULT_RULE

    @classmethod
    def of(cls, encoder: SpeakerEncoder, prior: float = DEFAULT_PRIOR, rule: DecisionRule = DEFAULT_RULE) -> "Judge":
        """The judge of what a model embeds.

        Raises:
            UsageError: the prior is out of range, or an argument is of another kind.
        """
        check_kind(encoder, SpeakerEncoder, "the encoder", "a SpeakerEncoder")
        return cls(encoder.identity, encoder.score_map, check_prior(prior), check_rule(rule))

    def compare(self, first: HeardRecording, second: HeardRecording) -> Comparison:
        """The answer for two recordings that the model embedded."""
        warnings = [*first.warnings, *second.warnings]
        if first.digest == second.digest:
            message = "the two recordings are the same audio, so that the score says nothing about who is speaking"
            warnings.append(QualityWarning("same_audio", message))
        score = cosine(first.embedding, second.embedding)
        return self.weigh(score, (first.facts, second.facts), warnings, (first.embedding, second.embedding))

    def weigh(
        self,
        score: float,
        facts: tuple[AudioFacts, AudioFacts],
        warnings: Sequence[QualityWarning],
        embeddings: tuple[Embeddings, Embeddings],
    ) -> Comparison:
        """The answer that a score gives.

        Args:
            score: cosine of two embeddings.
            facts: of the recordings on the two sides.
            warnings: of both; some leave no verdict (`audio.listening.NO_VERDICT`).
            embeddings: (D,) of the two sides; of several recordings, their mean.
        """
        score = float(in_steps(score))
        allowed = all(side.allows_verdict for side in facts) and allow_verdict(warnings)
        measures = self.measures(facts, embeddings)
        llr, chance, threshold = self.evidence(score, measures)
        return Comparison(
            score=score,
            llr=llr,
            strength=None if llr is None else strength_of(llr),
            probability=chance,
            prior=self.prior,
            threshold=threshold,
            limits=self.rule.limits(self.prior),
            verdict="inconclusive" if llr is None or not allowed else self.rule.decide(llr, self.prior),
            model=self.model,
            collections=None if self.score_map is None else self.score_map.collections,
            warnings=(*warnings, *self.doubts(measures)),
            audio=facts,
        )

    def measures(
        self, facts: tuple[AudioFacts, AudioFacts], embeddings: tuple[Embeddings, Embeddings]
    ) -> dict[str, Scores]:
        """Of the two sides, as the score map takes them."""
        return {} if self.score_map is None else measures_of(facts, embeddings, self.score_map)

    def evidence(self, score: float, measures: Mapping[str, Scores]) -> tuple[float | None, float | None, float | None]:
        """Log-likelihood ratio, probability and threshold of a score; all None without a score map."""
        if self.score_map is None:
            return None, None, None
        line = self.score_map.line(measures)
        llr = float(self.score_map.on_line(score, line))
        return llr, probability(llr, self.prior), self.score_map.score_of(-logit(self.prior), line)

    def doubts(self, measures: Mapping[str, Scores]) -> tuple[QualityWarning, ...]:
        """Why the probability of a trial with these measures, one each, is not to be relied on."""
        score_map = self.score_map
        if score_map is None:
            message = "the model carries no map from score to probability, so there is a score and no verdict"
            return (QualityWarning("uncalibrated", message),)
        if not score_map.calibrated:
            message = (
                "the probability is uncalibrated: its map was fitted on the validation speakers that also chose the "
                "checkpoint; fit one on speakers of your own with 'sound-groove calibrate'"
            )
            return (QualityWarning("uncalibrated", message),)
        found = []
        if score_map.is_unfamiliar(measures).item():
            found.append(_unfamiliar("one of the two"))
        lacking = [_LACKING[term.measure] for term in score_map.terms if measures[term.measure].item() < term.low]
        if lacking:
            less = " and ".join(lacking)
            message = f"the two have {less} than the model was calibrated on; it may be too sure of them"
            found.append(QualityWarning("outside_calibration", message))
        return tuple(found)

    def doubts_of(self, heard: HeardRecording) -> tuple[QualityWarning, ...]:
        """Why little can be made of the scores of a recording, whatever it is compared with."""
        known = {UNFAMILIARITY: number_or_nan(heard.facts.unfamiliarity)}
        if self.score_map is None or not self.score_map.is_unfamiliar(known):
            return ()
        return (_unfamiliar(heard.name),)


def _unfamiliar(what: str) -> QualityWarning:
    message = (
        f"{what} is unlike all recordings that the model was calibrated on (a whisper, a changed voice, music, an "
        "animal, a crowd, several codecs?), so that little is made of its score; give other speech, or run "
        "'sound-groove calibrate' on 20 speakers who are recorded so"
    )
    return QualityWarning("unfamiliar", message)


def check_prior(prior: float) -> float:
    """The prior itself, when it is a probability that evidence can move.

    Raises:
        UsageError: it does not lie between 0 and 1, exclusive.
    """
    if not 0 < check_number(prior, "the prior") < 1:
        raise UsageError(f"the prior must lie between 0 and 1, exclusive; {prior} was given")
    return prior


def check_rule(rule: DecisionRule) -> DecisionRule:
    """The rule itself, when it is one.

    Raises:
        UsageError: it is something else.
    """
    check_kind(rule, DecisionRule, "rule", "a DecisionRule")
    return rule


def measures_of(
    facts: tuple[AudioFacts, AudioFacts], embeddings: tuple[Embeddings, Embeddings], score_map: ScoreMap
) -> dict[str, Scores]:
    """Of the two sides, as a score map takes them; of several recordings the mean of their embeddings (D,) stands."""
    sides = zip(facts, embeddings, strict=True)
    return trial_measures(*(side_of(one, float(score_map.closeness(embedding))) for one, embedding in sides))


_LACKING = {
    "speech": "less speech",
    "snr": "more noise",
    "norm": "less to know a voice by",
    "closeness": "less likeness to other recordings",
}
