"""Identification: which of those enrolled speaks, or nobody of them?

    embedding -> nearest of the gallery -> llr of each, by the model's score map -> probabilities, 'nobody' among them

The llr that a name needs grows by the logarithm of the number enrolled, and the others who are enrolled are the cohort
by which it is normalised: see `open_set`. As in a comparison, evidence that is not worth the risk of a wrong answer
gives none, nor does a recording with too little speech.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sound_groove.arguments import check_has, check_integer
from sound_groove.audio.given import AnyRecording
from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.comparison import DEFAULT_PRIOR, DEFAULT_RULE, Judge
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.errors import OtherModelError, UsageError
from sound_groove.scoring.calibration import Line, ScoreMap
from sound_groove.scoring.cosine import in_steps
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.measures import side_of, trial_measures
from sound_groove.scoring.open_set import OpenSetAnswer, OpenSetVerdict, answer
from sound_groove.types import Embeddings, ModelIdentity, QualityWarning, Scores
from sound_groove.voiceprints.gallery import Gallery, Neighbour
from sound_groove.voiceprints.known_model import check_encoder
from sound_groove.voiceprints.store.records import DamagedVoiceprint

TOP = 5
WEIGHED = 300  # of the nearest, each by itself; the rest together, by a bound


@dataclass(frozen=True, slots=True)
class Match:
    """An enrolled speaker who may be the one.

    Attributes:
        name: as enrolled.
        score: mean cosine with the speaker's recordings, in [-1, 1].
        llr: log-likelihood ratio (natural logarithm) against a stranger; None without a score map.
        normalised: the llr less what the cohort takes from it (`Identification.cohort_llr`); None likewise.
        probability: that this speaker speaks; None likewise.
    """

    name: str
    score: float
    llr: float | None
    normalised: float | None
    probability: float | None


@dataclass(frozen=True, slots=True)
class Identification:
    """The answer to "who of those enrolled is this?".

    Attributes:
        verdict: "identified", "nobody" (nobody enrolled), or "inconclusive".
        speaker: who was identified, else None.
        candidates: the nearest, best first, as many as were asked for.
        nobody: probability that nobody enrolled speaks; None without a score map.
        prior: probability that somebody enrolled speaks, before listening; each is as likely as the others.
        cohort_llr: what the cohort, the others who are enrolled, takes from every llr; None without a map.
        limit: llr from which on the best is named when no other comes near; it grows with `enrolled`. None without a
            map.
        threshold: the score with that llr, for this recording and the best candidate; None without a map, or when the
            map is flat.
        enrolled: how many speakers were compared.
        others: how many more are enrolled with another model, and were not compared.
        left_out: how many more were not compared, since what the store keeps of them is damaged or forged.
        model: name and hash of the model.
        collections: how many collections of recordings the score map was fitted on; None as in a comparison.
        warnings: what makes the answer less trustworthy, and why there is no verdict when there is none.
        audio: what the recording was.
    """

    verdict: OpenSetVerdict
    speaker: str | None
    candidates: tuple[Match, ...]
    nobody: float | None
    prior: float
    cohort_llr: float | None
    limit: float | None
    threshold: float | None
    enrolled: int
    others: int
    left_out: int
    model: ModelIdentity
    collections: int | None
    warnings: tuple[QualityWarning, ...]
    audio: AudioFacts

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON can hold it, with these very names."""
        record = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def identify(
    gallery: Gallery,
    recording: AnyRecording | HeardRecording,
    encoder: SpeakerEncoder,
    *,
    top: int = TOP,
    prior: float = DEFAULT_PRIOR,
    rule: DecisionRule = DEFAULT_RULE,
    channel: int | None = None,
) -> Identification:
    """Who of those enrolled is this?

    Args:
        gallery: who is enrolled (`voiceprints.gallery.open_gallery`).
        recording: as `compare` takes it; or what a `Listener` with this model heard of it.
        encoder: the gallery's model; without a score map there are scores and no verdict.
        top: how many candidates to show, 1 to WEIGHED.
        prior: probability that somebody enrolled speaks, before listening, in (0, 1).
        rule: how sure a verdict must be. `false_accept` is a wrong name, `false_reject` a 'nobody' for somebody
            enrolled; `max_false_accept` bounds the share of recordings that get a wrong name, whoever speaks in them.
        channel: which one to listen to, counted from 1; None averages all.

    Raises:
        AudioError: the recording cannot be used.
        OtherModelError: the encoder is not the gallery's model, or not the one that it says it is.
        StoreError: the gallery cannot be read.
        UsageError: `top` or the prior is out of range.
    """
    check_has(gallery, "nearest", "the gallery", "what open_gallery gives")
    judge = Judge.of(encoder, prior, rule)
    if not 1 <= check_integer(top, "the number of candidates") <= WEIGHED:
        raise UsageError(f"the number of candidates to show must lie between 1 and {WEIGHED}; {top} was given")
    if gallery.model.hash != judge.model.hash:
        raise OtherModelError(
            f"the gallery is of model {gallery.model.label}, and the recording would be "
            f"embedded by {judge.model.label}; open a gallery of that one"
        )
    check_encoder(gallery.probe(), encoder)
    heard = Listener(encoder).hear(recording, channel=channel)
    near = gallery.nearest(heard.embedding, WEIGHED)
    # Another process may change the store between the questions.
    enrolled, others = max(gallery.count(), len(near)), gallery.others()
    damaged = gallery.left_out()
    doubted = judge.doubts(_measures(near[:1], heard, judge.score_map)) if near else ()
    unweighed = Identification(
        verdict="inconclusive" if near else "nobody",
        speaker=None,
        candidates=_shown(near, _scores(near), top),
        nobody=None if near else 1.0,
        prior=prior,
        cohort_llr=None,
        limit=None,
        threshold=None,
        enrolled=enrolled,
        others=others,
        left_out=len(damaged),
        model=gallery.model,
        collections=None if judge.score_map is None else judge.score_map.collections,
        warnings=(
            *heard.warnings,
            *_not_compared(enrolled, others),
            *store_warnings(damaged, gallery.is_whole()),
            *doubted,
        ),
        audio=heard.facts,
    )
    if judge.score_map is None or not near:
        return unweighed
    drawn = partial(gallery.cohort, heard.embedding)
    return _weighed(unweighed, near, drawn, judge.score_map, rule, heard, top)


def _weighed(
    unweighed: Identification,
    near: Sequence[Neighbour],
    drawn: Callable[[], list[Neighbour]],
    score_map: ScoreMap,
    rule: DecisionRule,
    heard: HeardRecording,
    top: int,
) -> Identification:
    """The answer with its probabilities and its verdict; `drawn` gives speakers who stand for all."""
    scores, measures = _scores(near), _measures(near, heard, score_map)
    line = Line(*(np.broadcast_to(values, scores.shape) for values in score_map.line(measures)))
    llrs = score_map.on_line(scores, line)
    best = int(llrs.argmax())
    cohort, rest_llr = None, math.inf
    if unweighed.enrolled > len(near):
        others = [item for item in drawn() if item.speaker.id != near[best].speaker.id]
        cohort = score_map.llr(_scores(others), _measures(others, heard, score_map))
        # Nobody beyond the last has a higher cosine, whatever the coherence, nor, we take it, a line that makes more of
        # it than any of these lines.
        rest_llr = float(score_map.on_line(max(near[-1].score, 0.0), line).max())
    told = answer(llrs, unweighed.enrolled, unweighed.prior, rule, cohort, rest_llr)
    candidates = _shown(near, scores, top, llrs, told)
    verdict = told.verdict if heard.allows_verdict else "inconclusive"
    return replace(
        unweighed,
        verdict=verdict,
        speaker=candidates[0].name if verdict == "identified" else None,
        candidates=candidates,
        nobody=told.nobody,
        cohort_llr=told.cohort_llr,
        limit=told.limit,
        threshold=score_map.score_of(told.limit, Line(*(values[best] for values in line))),
    )


def _shown(
    near: Sequence[Neighbour], scores: Scores, top: int, llrs: Scores | None = None, told: OpenSetAnswer | None = None
) -> tuple[Match, ...]:
    """The best of the nearest, by llr where there is one: a long enrolment's score says more than a short one's."""
    rows = np.argsort(-(scores if llrs is None else llrs), kind="stable")[:top].tolist()
    if llrs is None or told is None:
        return tuple(Match(near[row].speaker.name, float(scores[row]), None, None, None) for row in rows)
    return tuple(
        Match(
            name=near[row].speaker.name,
            score=float(scores[row]),
            llr=float(llrs[row]),
            normalised=float(llrs[row]) - told.cohort_llr,
            probability=float(told.probabilities[row]),
        )
        for row in rows
    )


def _scores(near: Sequence[Neighbour]) -> Scores:
    """Mean cosine with the recordings of each of the enrolled (K,)."""
    return in_steps([item.score * item.speaker.coherence for item in near])


def _measures(near: Sequence[Neighbour], heard: HeardRecording, score_map: ScoreMap | None) -> dict[str, Scores]:
    """Of the recording with each of the enrolled (K,), as a score map takes them."""

    def closeness(embedding: Embeddings | None) -> float:
        return math.nan if score_map is None or embedding is None else float(score_map.closeness(embedding))

    test = side_of(heard.facts, closeness(heard.embedding))
    sides = [side_of(item.speaker, closeness(item.mean)) for item in near]
    enrolment = {name: np.array([side[name] for side in sides]) for name in test}
    return trial_measures(enrolment, {name: np.full(len(near), value) for name, value in test.items()})


def store_warnings(damaged: Sequence[DamagedVoiceprint], is_whole: bool) -> tuple[QualityWarning, ...]:
    """That some of those enrolled are left out, or that others may be missing."""
    found = []
    if damaged:
        first, count = damaged[0], len(damaged)
        message = (
            f"{count:,} voiceprint{' is' if count == 1 else 's are'} left out, since the store does not hold what was "
            f"enrolled: '{first.name}' (speaker {first.id}): {first.reason}; 'sound-groove speakers list' names all"
        )
        found.append(QualityWarning("damaged_voiceprint", message))
    if not is_whole:
        message = (
            "the store's voiceprints are not those that its last change left: without its key some were taken away, "
            "put in, or put back to what they were; compare 'sound-groove speakers list' with who should be enrolled"
        )
        found.append(QualityWarning("altered_store", message))
    return tuple(found)


def _not_compared(enrolled: int, others: int) -> tuple[QualityWarning, ...]:
    """That nobody is enrolled, or that some are with another model."""
    found = []
    if not enrolled:
        message = "nobody is enrolled with this model, so that nobody can be recognised; 'sound-groove enroll' does it"
        found.append(QualityWarning("nobody_enrolled", message))
    if others:
        message = (
            f"{others:,} more {'speaker is' if others == 1 else 'speakers are'} enrolled with another model and not "
            "compared; 'sound-groove speakers re-embed' takes them over where the audio was kept"
        )
        found.append(QualityWarning("other_model", message))
    return tuple(found)
