"""The embeddings of a corpus in a form in which utterances, sessions and speakers are compared by few sums.

Two-covariance PLDA (`scoring.plda`) is fitted on the corpus itself, with its labels as they are: a few wrong ones
change covariances little. In its basis a recording varies around its speaker by the identity and speakers vary by
`ratios`, so that of any number of recordings of one speaker only their mean and their count matter.

Recordings of one person, of one session most of all, are not independent, as the model takes them to be. So no more
than MOST_COUNTED are counted, and nothing is read into the absolute size of a log-likelihood ratio: what it must be is
asked of labels that are known to be wrong, since they were made so (`scoring.discovery`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sound_groove.scoring.plda import fit_plda
from sound_groove.types import Embeddings, Scores

NEARNESS = 2.0
MOST_COUNTED = 10  # recordings of one speaker
MOST_FITTED = 60_000  # utterances by which PLDA is fitted, of whole speakers: 300 MB
CHUNK = 20_000  # utterances at a time in float64: 30 MB

Codes = NDArray[np.intp]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class CorpusVoices:
    """What is compared.

    Attributes:
        coordinates: (N, D) of the utterances in the basis of the model.
        ratios: (D,) variances between speakers in it.
        speakers: (N,) by number, 0 to K - 1.
        sessions: (N,) by number; a session is of one speaker.
    """

    coordinates: Matrix
    ratios: NDArray[np.float64]
    speakers: Codes
    sessions: Codes

    def likeness(self, mean: Matrix, count: Scores, other_mean: Matrix, other_count: Scores) -> Scores:
        """How alike pairs of groups of recordings are, on a scale that means the same whatever their numbers.

        Given the one group, of n recordings, its speaker is N(n r / (1 + n r) mean, r / (1 + n r)) in every coordinate
        of ratio r. The mean of another group of m is then N(that mean, that variance + 1 / m) of the same speaker, and
        N(0, r + 1 / m) of another one. The logarithm of the ratio of both densities is 0 on this scale where it is
        what groups of two speakers have in the mean, and 1 where it is what groups of one have, by the model.

        Args:
            mean: (P, D) of the groups, in coordinates.
            count: (P,) recordings of each.
            other_mean: (P, D) of the other groups.
            other_count: (P,) likewise.

        Returns:
            (P,) the same for the groups exchanged.
        """
        found = np.empty(len(count))
        for start in range(0, len(count), CHUNK):
            part = slice(start, start + CHUNK)
            first, second = mean[part].astype(np.float64), other_mean[part].astype(np.float64)
            n = np.minimum(count[part], MOST_COUNTED)[:, np.newaxis].astype(np.float64)
            m = np.minimum(other_count[part], MOST_COUNTED)[:, np.newaxis].astype(np.float64)
            shrunk = n * self.ratios / (1 + n * self.ratios)
            same, apart = self.ratios / (1 + n * self.ratios) + 1 / m, self.ratios + 1 / m
            entropy = np.log(apart / same)
            terms = second**2 / apart - (second - shrunk * first) ** 2 / same + entropy
            of_two = 1 - (apart + shrunk * self.ratios) / same + entropy
            of_one = entropy.sum(axis=1)
            found[part] = (terms - of_two).sum(axis=1) / np.maximum(of_one - of_two.sum(axis=1), 1e-12)
        return found

    def speaker_means(self, kept: NDArray[np.bool_]) -> tuple[Codes, Matrix, Scores]:
        """(S,) the speakers of whom anything is kept, (S, D) the means of that, (S,) how much it is."""
        totals, sizes = self.sums(self.speakers, int(self.speakers.max()) + 1, kept)
        able = np.flatnonzero(sizes > 0.5)
        return able, (totals[able] / sizes[able, np.newaxis]).astype(np.float32), sizes[able]

    def sums(self, groups: Codes, count: int, kept: NDArray[np.bool_]) -> tuple[NDArray[np.float64], Scores]:
        """(G, D) sums of the coordinates of groups (N,) and (G,) their sizes, of the utterances that are kept."""
        total, sizes = np.zeros((count, self.coordinates.shape[1])), np.zeros(count)
        rows = np.flatnonzero(kept)
        for start in range(0, len(rows), CHUNK):
            here = rows[start : start + CHUNK]
            np.add.at(total, groups[here], self.coordinates[here].astype(np.float64))
        np.add.at(sizes, groups[rows], 1.0)
        return total, sizes


@dataclass(frozen=True, slots=True, eq=False)
class FitScores:
    """How well utterances fit speakers.

    Attributes:
        likeness: (N,) see `CorpusVoices.likeness`; NaN where there is nothing to compare with.
        count: (N,) recordings that an utterance was compared with.
        across: (N,) whether these are of other sessions.
    """

    likeness: Scores
    count: NDArray[np.float64]
    across: NDArray[np.bool_]


def corpus_voices(
    embeddings: Embeddings,
    speakers: Sequence[str],
    sessions: Sequence[str | None],
    judged: NDArray[np.bool_] | None = None,
    fitted: NDArray[np.bool_] | None = None,
) -> CorpusVoices:
    """Fit the model and find the coordinates.

    Args:
        embeddings: (N, D) unit length.
        speakers: (N,) labels.
        sessions: (N,) of each utterance, with a name that may be another speaker's too; None for one unknown, which
            all such utterances of a speaker share.
        judged: (N,) utterances that are compared; None takes all.
        fitted: (N,) utterances on which the model is fitted; None takes all.

    Returns:
        Of the utterances that are judged, in their order.

    Raises:
        MetricError: the speakers are too few, or each has one utterance only.
    """
    everything = np.ones(len(embeddings), bool)
    judged, fitted = everything if judged is None else judged, everything if fitted is None else fitted
    codes = np.unique(np.asarray(speakers), return_inverse=True)[1]
    rows = np.flatnonzero(fitted)
    rows = rows[_whole_speakers(codes[rows])]
    plda = fit_plda(embeddings[rows], codes[rows])
    wanted = np.flatnonzero(judged)
    coordinates = np.empty((len(wanted), plda.model.basis.shape[1]), np.float32)
    for start in range(0, len(wanted), CHUNK):
        here = wanted[start : start + CHUNK]
        coordinates[start : start + CHUNK] = (plda.vectors(embeddings[here]) - plda.model.mean) @ plda.model.basis
    labels = np.unique(codes[wanted], return_inverse=True)[1]
    named = [f"{codes[row]} {'' if sessions[row] is None else f'={sessions[row]}'}" for row in wanted.tolist()]
    of_sessions = np.unique(np.asarray(named), return_inverse=True)[1]
    return CorpusVoices(coordinates, plda.model.ratios, labels.astype(np.intp), of_sessions.astype(np.intp))


def two_folds(speakers: Sequence[str]) -> list[NDArray[np.bool_]]:
    """(N,) two times: every other speaker, and the others.

    A model that was fitted on wrong labels takes them for right ones: a speaker who is two people varies like that in
    its eyes, the more so the fewer speakers there are. So each half is judged by a model of the other.
    """
    even = np.unique(np.asarray(speakers), return_inverse=True)[1] % 2 == 0
    return [even, ~even]


def fit_to_own(voices: CorpusVoices, kept: NDArray[np.bool_]) -> FitScores:
    """How well each utterance fits what else its speaker says.

    That is what is said in other sessions, if it is at least as much as what is said in this one: utterances of one
    session bear each other out even where the whole session is somebody else's. Otherwise it is all but the utterance
    itself: a single stray utterance must not judge the session that is right.

    Args:
        voices: the corpus.
        kept: (N,) utterances that stand for their speakers; the others are judged too.
    """
    totals, sizes = voices.sums(voices.speakers, int(voices.speakers.max()) + 1, kept)
    of_session, in_session = voices.sums(voices.sessions, int(voices.sessions.max()) + 1, kept)
    likeness, count = np.full(len(kept), np.nan), np.zeros(len(kept))
    elsewhere = sizes[voices.speakers] - in_session[voices.sessions]
    across = (elsewhere > 0.5) & (elsewhere >= in_session[voices.sessions])
    for start in range(0, len(kept), CHUNK):
        part = slice(start, start + CHUNK)
        own = kept[part].astype(np.float64)
        rest = totals[voices.speakers[part]] - np.where(
            across[part, np.newaxis],
            of_session[voices.sessions[part]],
            own[:, np.newaxis] * voices.coordinates[part].astype(np.float64),
        )
        count[part] = sizes[voices.speakers[part]] - np.where(across[part], in_session[voices.sessions[part]], own)
        some = count[part] > 0.5
        rows = np.flatnonzero(some) + start
        means = (rest[some] / count[rows, np.newaxis]).astype(np.float32)
        likeness[rows] = voices.likeness(means, count[rows], voices.coordinates[rows], np.ones(len(rows)))
    return FitScores(likeness, count, across)


def fit_to_strangers(
    voices: CorpusVoices, kept: NDArray[np.bool_], draws: np.random.Generator, most: int = 20_000
) -> FitScores:
    """The same of utterances and speakers who did not say them: as if the label were another, drawn one.

    Args:
        voices: the corpus.
        kept: as in `fit_to_own`.
        draws: source of the draws.
        most: utterances that are drawn; fewer are all taken, some of them more than once.
    """
    speakers = int(voices.speakers.max()) + 1
    totals, sizes = voices.sums(voices.speakers, speakers, kept)
    if np.count_nonzero(sizes > 0.5) < 2:
        return FitScores(np.zeros(0), np.zeros(0), np.zeros(0, bool))  # there are no strangers
    rows = draws.permutation(np.resize(np.flatnonzero(kept), max(min(most, 4 * len(kept)), 1)))
    other = drawn_strangers(voices, voices.speakers[rows], kept, draws, NEARNESS)
    # As many recordings stand for the stranger as for the label that is judged: one of a label's own is left out there.
    count = np.maximum(sizes[other] - 1, 1)
    means = (totals[other] / sizes[other, np.newaxis]).astype(np.float32)
    likeness = voices.likeness(means, count, voices.coordinates[rows], np.ones(len(rows)))
    return FitScores(likeness, count, np.ones(len(rows), bool))


def drawn_strangers(
    voices: CorpusVoices,
    speakers: Codes,
    kept: NDArray[np.bool_],
    draws: np.random.Generator,
    nearness: float,
    most: int = 2000,
) -> Codes:
    """For speakers (P,), another one each: near ones more often than far ones.

    Wrong labels in a corpus are rarely of just anybody: they are of people in the same room, show or list. So the rank
    of the other one, by how alike the two are, is drawn as a square: a quarter of all are as near as a sixteenth of the
    speakers. No more than so many speakers, drawn too, are candidates.
    """
    totals, sizes = voices.sums(voices.speakers, int(voices.speakers.max()) + 1, kept)
    able = np.flatnonzero(sizes > 0.5)
    candidates = np.sort(draws.permutation(able)[:most])
    places = totals / np.maximum(sizes, 1)[:, np.newaxis] * np.sqrt(voices.ratios / (1 + voices.ratios))
    places /= np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-12)
    found = np.empty(len(speakers), np.intp)
    wanted, inverse = np.unique(speakers, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    for speaker, rows in zip(wanted.tolist(), np.split(order, np.cumsum(np.bincount(inverse))[:-1]), strict=True):
        others = candidates[candidates != speaker]
        ranked = others[np.argsort(-(places[others] @ places[speaker]), kind="stable")]
        ranks = (len(ranked) * draws.random(len(rows)) ** nearness).astype(np.intp)
        found[rows] = ranked[np.minimum(ranks, len(ranked) - 1)]
    return found


def _whole_speakers(codes: Codes) -> Codes:
    """Rows of speakers taken evenly from all, so that they are about MOST_FITTED utterances."""
    share = min(MOST_FITTED / max(len(codes), 1), 1.0)
    names, numbers = np.unique(codes, return_inverse=True)
    taken = np.floor(np.arange(1, len(names) + 1) * share) > np.floor(np.arange(len(names)) * share)
    return np.flatnonzero(taken[numbers])
