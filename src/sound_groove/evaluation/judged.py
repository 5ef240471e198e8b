"""A judged list: trials, what a model says of them, who speaks in them, and how often speakers are drawn."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sound_groove.evaluation.intervals import Resample, SpeakerBootstrap
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.scoring.metrics import Roc, cllr, roc
from sound_groove.types import Labels, Scores


@dataclass(frozen=True, eq=False)
class JudgedList:
    """The trials of a list with everything that their figures and intervals are computed from.

    Attributes:
        trials: the trials.
        scores: (trials,) higher = more likely the same speaker.
        llrs: (trials,) natural log-likelihood ratios; None where the scoring has none, and then there is no Cllr.
        speakers: (ids,) who speaks in each of the trials' names, numbered from 0.
        resamples: draws of speakers for the intervals; 0 gives none.
        seed: of these draws. Lists of the same trials draw the same speakers.
    """

    trials: TrialList
    scores: Scores
    llrs: Scores | None
    speakers: NDArray[np.int64]
    resamples: int = 1000
    seed: int = 0

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def labels(self) -> Labels:
        """(trials,) True = same speaker."""
        return self.trials.labels

    def part(self, rows: Labels | NDArray[np.int64]) -> "JudgedList":
        """Some of the trials: those that a mask (trials,) keeps, or those at some places (n,)."""
        llrs = None if self.llrs is None else self.llrs[rows]
        return replace(self, trials=self.trials.kept(rows), scores=self.scores[rows], llrs=llrs)

    @cached_property
    def curve(self) -> Roc:
        """The error rates at every threshold; raises a MetricError where the trials are all of one kind."""
        return roc(self.scores, self.labels)

    @cached_property
    def cllr(self) -> float | None:
        """The cost of the log-likelihood ratios in bits; None without them."""
        return None if self.llrs is None else cllr(self.llrs, self.labels)

    @cached_property
    def bootstrap(self) -> SpeakerBootstrap:
        """The trials, sorted, for drawing their speakers; raises a MetricError where they are all of one kind."""
        sides = self.speakers[self.trials.enrolments], self.speakers[self.trials.tests]
        return SpeakerBootstrap(self.scores, self.labels, *sides, self.llrs)

    @property
    def draws(self) -> int:
        """How often speakers are drawn: not at all where there is one only, of whom nothing can be learnt so."""
        return self.resamples if self.bootstrap.speakers > 1 else 0

    def resampled(self) -> Iterator[Resample]:
        """The figures of every draw; fewer than `draws` come only where nearly none has trials of both kinds."""
        return self.bootstrap.draw(self.draws, self.seed)

    def resampled_shares(self, groups: NDArray[np.integer]) -> Iterator[NDArray[np.float64]]:
        """The share of same-speaker trials in each of several groups (trials,), for the same draws of speakers."""
        return self.bootstrap.draw_shares(groups, self.draws, self.seed)

    def resampled_rates(self, events: Labels) -> Iterator[NDArray[np.float64]]:
        """(2,) how often something happens in nontargets, and in targets, for the same draws of speakers."""
        return self.bootstrap.draw_rates(events, self.draws, self.seed)

    @cached_property
    def by_evidence(self) -> "JudgedList":
        """The list ranked by its log-likelihood ratios: itself where these put the trials in the order of the scores.

        Another order comes of a map that looks at more than the score.
        """
        if self.llrs is None:
            return self
        ranked = self.llrs[np.lexsort((self.llrs, self.scores))]
        return replace(self, scores=self.llrs) if (np.diff(ranked) < 0).any() else self
