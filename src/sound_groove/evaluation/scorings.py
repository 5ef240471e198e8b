"""The ways of scoring a trial, side by side: the cosine, and what a cohort of other speakers makes of it.

    cosine    of the two embeddings
    centred   the cosine once the cohort's mean embedding is subtracted from both
    as-norm   the cosine, in standard deviations of what each side scores against the cohort (AS-norm)
    plda      a log-likelihood ratio of a model of both embeddings, fitted on the cohort

A name that stands for several recordings has one embedding, their mean direction; every scoring takes that as the
embedding of one recording, PLDA too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from sound_groove.errors import UsageError
from sound_groove.evaluation.cohort import UTTERANCES, Cohort
from sound_groove.evaluation.figures import measure
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.scoring.as_norm import TOP, as_norm, cohort_statistics
from sound_groove.scoring.cosine import centred, in_steps, score_trials
from sound_groove.scoring.plda import fit_plda
from sound_groove.types import Embeddings, Scores

Scoring = Literal["cosine", "centred", "as-norm", "plda"]
SCORINGS: tuple[Scoring, ...] = get_args(Scoring)
COMPARED = ("eer", "min_dcf", "min_dcf_05", "cllr", "min_cllr")  # what metrics.json holds of every scoring


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """Which scorings are wanted, and what they need.

    Attributes:
        names: the scorings; the first is the main one, of which the headline figures and the pictures are.
        cohort: a folder that `prepare` wrote, or a file of embeddings; see `cohort.choose_cohort`.
        top: cohort scores that AS-norm takes of each side.
        utterances: of each speaker of the cohort, at most.
    """

    names: tuple[Scoring, ...] = ("cosine",)
    cohort: Path | None = None
    top: int = TOP
    utterances: int = UTTERANCES

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        needing = [name for name in self.names if name != "cosine"]
        if needing and self.cohort is None:
            raise UsageError(
                f"--scoring {needing[0]} needs --cohort: a folder that 'sound-groove prepare' wrote, or a .npz file of "
                "embeddings, of speakers who are in no trial"
            )
        if self.cohort is not None and not needing:
            raise UsageError("--cohort is for --scoring centred, as-norm, plda or all; the cosine needs none")
        if self.top < 2 or self.utterances < 1:
            raise UsageError("--cohort-top must be at least 2, and --cohort-utterances at least 1")

    @property
    def main(self) -> Scoring:
        """The scoring of which the headline figures are."""
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a scoring says of the trials.

    Attributes:
        scores: (trials,) higher = more likely the same speaker.
        llrs: (trials,) natural log-likelihood ratios; None where the scoring has none.
    """

    scores: Scores
    llrs: Scores | None


def score_all(
    plan: ScoringPlan,
    embeddings: Embeddings,
    trials: TrialList,
    cohort: Cohort | None = None,
    weigh: Callable[[Scores], Scores] | None = None,
) -> dict[Scoring, Scored]:
    """The scores of every scoring that is wanted, the main one first.

    Args:
        plan: which.
        embeddings: (ids, D) unit length, one for each of the trials' names that a trial has.
        trials: the trials.
        cohort: what scorings other than the cosine need.
        weigh: the log-likelihood ratios of the trials' cosines; None where the model carries no score map.

    Raises:
        MetricError: the cohort is not fit for a scoring; see `normalization` and `plda`.
    """
    # Names without a trial are left out: some of them could not be embedded.
    embeddings = embeddings[trials.used]
    first, second = (np.searchsorted(trials.used, side) for side in (trials.enrolments, trials.tests))
    cosines = score_trials(embeddings, first, second)
    scored: dict[Scoring, Scored] = {}
    for name in plan.names:
        if name == "cosine":
            told = in_steps(cosines)
            scored[name] = Scored(told, None if weigh is None else weigh(told))
            continue
        assert cohort is not None  # the plan has seen to it
        if name == "as-norm":
            statistics = cohort_statistics(embeddings, cohort.speaker_means(), plan.top)
            scored[name] = Scored(in_steps(as_norm(cosines, first, second, statistics)), None)
        elif name == "centred":
            moved = centred(embeddings, cohort.embeddings.mean(axis=0, dtype=np.float64)).astype(np.float32)
            scored[name] = Scored(in_steps(score_trials(moved, first, second)), None)
        else:
            llrs = in_steps(fit_plda(cohort.embeddings, cohort.speakers).score_trials(embeddings, first, second))
            scored[name] = Scored(llrs, llrs)
    return scored


def measure_all(judged: Mapping[Scoring, JudgedList]) -> dict[str, Any]:
    """The figures of the first scoring as `figures.measure` gives them, with `scoring` and, of every one, `scorings`.

    Args:
        judged: the same trials by each scoring; all are measured on the same draws of speakers.

    Raises:
        MetricError: the trials are all of one kind.
    """
    measured = {name: measure(by_scoring) for name, by_scoring in judged.items()}
    main = next(iter(measured))
    compared = {name: {key: figures[key] for key in COMPARED} for name, figures in measured.items()}
    return measured[main] | {"scoring": main, "scorings": compared}


def describe_cohort(plan: ScoringPlan, cohort: Cohort | None) -> dict[str, Any] | None:
    """What metrics.json says of the cohort; None without one."""
    if cohort is None:
        return None
    speakers = int(cohort.speakers.max()) + 1
    return {
        "source": str(cohort.source),
        "speakers": speakers,
        "utterances": len(cohort.speakers),
        "top": min(plan.top, speakers),
    }
