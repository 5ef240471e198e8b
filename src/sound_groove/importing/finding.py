"""Finding out how a model is to be fed: what it is said to want, against what it could want instead, on speech.

Each front end that could be meant is a candidate, one question away from the one that is claimed: the other scale of
the samples, the mean kept, the other window, the other upper edge, another family's features. A model that is fed as it
was trained tells speakers apart best, so the candidates' equal error rates are compared, on the same pairs of clips.
The difference has an interval over speakers (`sound_groove.evaluation.intervals`, the same draws for both): where it
excludes 0, the question is answered, and else it is not told apart on this speech. Below 20 speakers nothing is.

A window or an upper edge moves the error by less than the choice of speakers does, mostly. On made-up voices these two
are not asked at all, and nothing that is found on them overrules what a file says: they are no speech, and could show
what suits them alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sound_groove.audio.filterbank import SIXTEEN_BIT
from sound_groove.audio.front_end import Family, FrontEnd, of_family
from sound_groove.errors import CheckpointError
from sound_groove.evaluation.figures import FEW_SPEAKERS
from sound_groove.evaluation.intervals import SpeakerBootstrap, bounds
from sound_groove.evaluation.trials.pairs import draw_pairs
from sound_groove.importing.speech import TrialSpeech
from sound_groove.scoring.cosine import score_trials
from sound_groove.scoring.metrics import eer
from sound_groove.types import Embeddings, Labels, Scores

Question = Literal["scale", "mean", "scale and mean", "family", "window", "upper edge"]
Verdict = Literal["confirmed", "wrong", "not told apart"]
NOT_ON_MADE_UP: tuple[Question, ...] = ("window", "upper edge")
POOR_EER = 0.35  # above it a model does hardly better than chance, however it is fed
DRAWS, SEED = 1000, 0
MOST_PAIRS = 50_000
OTHER_EDGE = 7600.0  # Hz: where a widely used runtime ends every speaker model's last filter
_AT_ONCE = 8  # clips in a batch

Feed = Callable[[FrontEnd], Callable[[torch.Tensor], torch.Tensor]]  # a model, fed so: (B, samples) -> (B, D)


@dataclass(frozen=True, slots=True)
class Answer:
    """What speech says of one question.

    Attributes:
        question: what the other candidate has otherwise.
        other: the other candidate.
        eer: its equal error rate, a fraction.
        difference: by how much that is higher than the claimed one's.
        low: of the interval of the difference over speakers; None below 20 speakers.
        high: the other end.
        verdict: `confirmed` where the claimed one is better, `wrong` where the other one is, else `not told apart`.
            That one mistake goes better with another than without it says nothing of either: where the claimed one is
            wrong in anything it is confirmed in nothing, and its scale (or mean) is confirmed only where no candidate
            with the other one has fewer errors.
    """

    question: Question
    other: FrontEnd
    eer: float
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying front ends.

    Attributes:
        claimed: what the file, or the user, says; where nobody does, the one that did best.
        is_claimed: whether somebody said it.
        eer: its equal error rate, a fraction.
        speech: what they were tried on.
        is_made_up: whether that was made up, and overrules nothing.
        speakers: how many there were.
        pairs: how many pairs of clips.
        answers: one for each other candidate.
    """

    claimed: FrontEnd
    is_claimed: bool
    eer: float
    speech: str
    is_made_up: bool
    speakers: int
    pairs: int
    answers: tuple[Answer, ...]

    @property
    def verdict(self) -> Verdict:
        """On the claimed one as a whole: `wrong` in anything, `confirmed` in everything, or `not told apart`."""
        verdicts = {answer.verdict for answer in self.answers}
        return "wrong" if "wrong" in verdicts else "confirmed" if verdicts == {"confirmed"} else "not told apart"

    @property
    def best(self) -> FrontEnd:
        """The claimed one, or of those that are shown to be better the one with the lowest error."""
        better = [answer for answer in self.answers if answer.verdict == "wrong"]
        return min(better, key=lambda answer: answer.eer).other if better else self.claimed

    @property
    def does_well(self) -> bool:
        """Whether any of them is of use."""
        return self.least_eer <= POOR_EER

    @property
    def least_eer(self) -> float:
        """Of all that were tried, a fraction."""
        return min([self.eer, *(answer.eer for answer in self.answers)])

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "speech": self.speech,
            "verdict": self.verdict,
            "speakers": self.speakers,
            "pairs": self.pairs,
            "claimed": self.claimed.as_dict() if self.is_claimed else None,
            "eer": self.eer,
            "answers": [asdict(answer) | {"other": answer.other.as_dict()} for answer in self.answers],
        }


def find_front_end(
    feed: Feed,
    claimed: FrontEnd | None,
    bins: int | None,
    speech: TrialSpeech,
    tell: Callable[[str], None] = lambda line: None,
) -> Finding:
    """Try what a model could be fed.

    Args:
        feed: gives the model, fed in one way.
        claimed: what it is said to want; None where nobody says anything, and all families are tried.
        bins: the number of its features; None where it takes waveforms.
        speech: to try it on.
        tell: is told of each candidate before it is tried.

    Raises:
        CheckpointError: the model fails when it is fed as it is said to want.
    """
    first, second, labels = draw_pairs(speech.speakers.astype(str), MOST_PAIRS, SEED)
    sides = speech.speakers[first], speech.speakers[second]

    def scores_of(front_end: FrontEnd) -> Scores:
        embeddings = _embedded(feed(front_end), speech.clips)
        return score_trials(embeddings, first, second)

    start = claimed or of_family("waveform" if bins is None else "wespeaker", bins)
    found: list[tuple[Question, FrontEnd, Scores]] = []
    tell(start.description)
    of_start = scores_of(start)
    for question, front_end in candidates(start, bins):
        if speech.is_made_up and question in NOT_ON_MADE_UP:
            continue
        tell(front_end.description)
        try:
            found.append((question, front_end, scores_of(front_end)))
        except CheckpointError:  # features of so many frames are none for this network
            continue
    if claimed is None:  # the best takes the place of what nobody claimed
        everything: list[tuple[Question, FrontEnd, Scores]] = [("family", start, of_start), *found]
        best = min(range(len(everything)), key=lambda index: eer(everything[index][2], labels))
        _, start, of_start = everything.pop(best)
        found = [(_question(start, other), other, scores) for _, other, scores in everything]
    count = speech.count
    draws = _drawn(of_start, labels, sides) if count >= FEW_SPEAKERS else []
    error = eer(of_start, labels)
    answers = []
    for question, other, scores in found:
        others = _drawn(scores, labels, sides) if draws else []
        low, high = bounds([after - before for before, after in zip(draws, others, strict=True)])
        difference = eer(scores, labels) - error
        answers.append(Answer(question, other, difference + error, difference, low, high, _verdict(low, high)))
    answers = [answer if _stands(answer, answers) else replace(answer, verdict="not told apart") for answer in answers]
    heard = speech.name, speech.is_made_up, count
    return Finding(start, claimed is not None, error, *heard, len(labels), tuple(answers))


def candidates(claimed: FrontEnd, bins: int | None) -> Iterator[tuple[Question, FrontEnd]]:
    """The front ends that could be meant instead, and what each has otherwise.

    >>> [question for question, _ in candidates(of_family("3d-speaker"), 80)]
    ['scale', 'mean', 'scale and mean', 'window', 'upper edge', 'family', 'family']
    """
    other_scale = 1.0 if claimed.scale == SIXTEEN_BIT else SIXTEEN_BIT
    if claimed.family == "waveform":
        yield "scale", replace(claimed, scale=other_scale)
        return
    if claimed.is_kaldi:
        kept = not claimed.removes_mean
        yield "scale", replace(claimed, scale=other_scale)
        yield "mean", replace(claimed, removes_mean=kept)
        yield "scale and mean", replace(claimed, scale=other_scale, removes_mean=kept)
        yield "window", replace(claimed, window="hamming" if claimed.window == "povey" else "povey")
        yield "upper edge", replace(claimed, high_frequency=8000.0 if claimed.high_frequency < 8000.0 else OTHER_EDGE)
    families: tuple[Family, ...] = ("nemo", "speechbrain")
    if not claimed.is_kaldi:
        families = ("wespeaker", "3d-speaker", *families)
    for family in (*families, "redimnet") if bins == 72 else families:
        if family != claimed.family:
            yield "family", replace(of_family(family, bins), floor=claimed.floor)


def described_finding(finding: Finding) -> list[str]:
    """The same in words, a line for each question."""
    said = "claimed" if finding.is_claimed else "best of all that were tried"
    lines = [
        f"tried on {finding.speech}, {finding.pairs:,} pairs:",
        f"  {finding.claimed.description} ({said}): EER {100 * finding.eer:.2f} %",
    ]
    for answer in finding.answers:
        line = f"  {answer.question}: {_change(finding.claimed, answer)} EER {100 * answer.eer:.2f} %"
        if answer.low is not None and answer.high is not None:
            line += f" ({100 * answer.difference:+.2f} [{100 * answer.low:+.2f}, {100 * answer.high:+.2f}])"
        words = {
            "confirmed": "the claimed one is confirmed",
            "wrong": "the claimed one is WRONG: this one is better",
            "not told apart": "not told apart on this speech",
        }
        lines.append(f"{line}: {words[answer.verdict]}")
    if finding.is_made_up:
        lines.append("  these voices are made up: --speech DIR tries it on real ones, window and upper edge too")
    if finding.speakers < FEW_SPEAKERS:
        lines.append(f"  below {FEW_SPEAKERS} speakers no difference is shown to be more than chance")
    return lines


def _change(claimed: FrontEnd, answer: Answer) -> str:
    """What the other candidate has otherwise, in a few words."""
    other = answer.other
    if answer.question == "family":
        return f"{other.description}:"
    words = []
    if other.scale != claimed.scale:
        words.append("samples in 16 bits" if other.scale == SIXTEEN_BIT else "samples in [-1, 1]")
    if other.removes_mean != claimed.removes_mean:
        words.append("mean removed" if other.removes_mean else "mean kept")
    if other.window != claimed.window:
        words.append(f"{other.window} window")
    if other.high_frequency != claimed.high_frequency:
        words.append(f"up to {other.high_frequency:,.0f} Hz")
    return f"{', '.join(words)}:"


def _question(start: FrontEnd, other: FrontEnd) -> Question:
    """What two candidates differ in."""
    if start.is_kaldi and other.is_kaldi:
        changes = [start.scale != other.scale, start.removes_mean != other.removes_mean]
        if changes == [True, True]:
            return "scale and mean"
        if any(changes):
            return "scale" if changes[0] else "mean"
        return "window" if start.window != other.window else "upper edge"
    return "scale" if start.family == other.family else "family"


def _stands(answer: Answer, answers: Sequence[Answer]) -> bool:
    """Whether an answer may be given beside the others; see `Answer.verdict`."""
    if answer.verdict != "confirmed":
        return True
    related = [other for other in answers if answer.question in ("scale", "mean") and answer.question in other.question]
    return all(other.verdict != "wrong" for other in answers) and all(other.difference > 0.0 for other in related)


def _verdict(low: float | None, high: float | None) -> Verdict:
    if low is None or high is None or low <= 0.0 <= high:
        return "not told apart"
    return "confirmed" if low > 0.0 else "wrong"


def _embedded(embed: Callable[[torch.Tensor], torch.Tensor], clips: NDArray[np.float32]) -> Embeddings:
    """(N, D) of unit length."""
    parts = [embed(torch.from_numpy(clips[at : at + _AT_ONCE])) for at in range(0, len(clips), _AT_ONCE)]
    found = torch.cat(parts).double()
    unit = found / found.norm(dim=1, keepdim=True)
    if not unit.isfinite().all():
        raise CheckpointError("the model, fed so, gives embeddings that are not finite or are zero")
    return np.asarray(unit.numpy(), dtype=np.float32)


def _drawn(scores: Scores, labels: Labels, sides: tuple[NDArray[np.int64], NDArray[np.int64]]) -> list[float]:
    """The equal error rate in each of the draws of speakers."""
    return [one.roc.eer for one in SpeakerBootstrap(scores, labels, *sides).draw(DRAWS, SEED)]
