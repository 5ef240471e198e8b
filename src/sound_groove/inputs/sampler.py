"""The order in which utterances are drawn into batches: a pure function of (seed, epoch).

A plan is an integer matrix (batches, batch): each row is one total batch of utterance indices, for all devices
together. Nothing is kept from epoch to epoch, so a resumed run draws what an uninterrupted one would have drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import TrainingError
from sound_groove.synthesis.draws import Draw, generator

Plan = NDArray[np.int64]  # (batches, batch) utterance indices


class Sampler(Protocol):
    """What draws an epoch's batches."""

    @property
    def batches_per_epoch(self) -> int:
        """Rows of each plan."""
        ...

    def plan(self, epoch: int) -> Plan:
        """The utterance indices of every batch of an epoch (batches, batch)."""
        ...


@dataclass(frozen=True, eq=False)
class PkSampler:
    """P speakers x K utterances a batch (Hermans et al. 2017, section 2).

    Batches come in passes. A pass visits every speaker, in an order shuffled anew, in ceil(S / P) batches; where P does
    not divide S its last batch is filled from the pass's beginning. So every speaker is seen at least once within any
    2 * ceil(S / P) - 1 batches in a row, however long an epoch is. Visits come in rounds in the same way: a round walks
    through all n utterances of a speaker, shuffled anew, in ceil(n / K) visits, and where K does not divide n its last
    visit is filled from the round's beginning. So every utterance is drawn at least once within any
    2 * ceil(n / K) - 1 passes in a row, and a visit repeats an utterance only where the speaker has fewer than K.

    Attributes:
        labels: speaker of each utterance, 0 to S - 1 (utterances,).
        speakers: P.
        utterances: K.
        seed: of every draw.
        batches_per_epoch: rows of each plan.
    """

    labels: NDArray[np.int64]
    speakers: int
    utterances: int
    seed: int
    batches_per_epoch: int

    def __post_init__(self) -> None:
        """Check that every speaker can be drawn."""
        count = len(self.speaker_groups)
        if count < self.speakers:
            raise TrainingError(f"a batch asks for {self.speakers} speakers and the corpus has {count}")
        empty = [speaker for speaker, group in enumerate(self.speaker_groups) if not len(group)]
        if empty:
            raise TrainingError(f"speaker {empty[0]} has no utterance; labels must be 0 to S - 1 without a gap")

    @cached_property
    def speaker_groups(self) -> list[NDArray[np.int64]]:
        """The utterances of each speaker."""
        count = int(self.labels.max()) + 1 if len(self.labels) else 0
        order = np.argsort(self.labels, kind="stable")
        return np.split(order, np.searchsorted(self.labels[order], np.arange(1, count))) if count else []

    @property
    def batches_per_pass(self) -> int:
        """Batches in which every speaker is visited once."""
        return -(-len(self.speaker_groups) // self.speakers)

    def plan(self, epoch: int) -> Plan:
        """The utterance indices of every batch of an epoch (batches, P * K), K neighbours of one speaker."""
        first = epoch * self.batches_per_epoch
        rows = []
        pass_index, order = -1, np.empty((0, 0), dtype=np.int64)
        rounds: dict[int, tuple[int, NDArray[np.int64]]] = {}  # the one under way of each speaker: drawing it costs
        for batch in range(first, first + self.batches_per_epoch):
            if batch // self.batches_per_pass != pass_index:
                pass_index = batch // self.batches_per_pass
                order = self._pass_order(pass_index)
            chosen = order[batch % self.batches_per_pass].tolist()  # P speakers
            rows.append(np.concatenate([self._visit(speaker, pass_index, rounds) for speaker in chosen]))
        return np.stack(rows)  # (batches, P * K)

    def _pass_order(self, pass_index: int) -> NDArray[np.int64]:
        """The speakers of each batch of a pass (batches of the pass, P), distinct within a batch."""
        order = generator(self.seed, Draw.SPEAKER_ORDER, pass_index).permutation(len(self.speaker_groups))
        return np.resize(order, (self.batches_per_pass, self.speakers))  # repeats from the beginning

    def _visit(
        self, speaker: int, pass_index: int, rounds: dict[int, tuple[int, NDArray[np.int64]]]
    ) -> NDArray[np.int64]:
        """The K utterances of a speaker's visit in a pass, distinct where it has K; `rounds` is kept between calls."""
        group = self.speaker_groups[speaker]
        round_index, visit = divmod(pass_index, -(-len(group) // self.utterances))
        if speaker not in rounds or rounds[speaker][0] != round_index:
            random = generator(self.seed, Draw.UTTERANCE_ORDER, speaker, round_index)
            rounds[speaker] = (round_index, random.permutation(group))
        first = visit * self.utterances
        return rounds[speaker][1].take(range(first, first + self.utterances), mode="wrap")


@dataclass(frozen=True)
class ShuffledSampler:
    """Every utterance once an epoch, in shuffled order; the last batch is filled from the start of the same order.

    With fewer batches an epoch than the utterances fill, an epoch is a part of a pass and the next one goes on there.

    Attributes:
        count: number of utterances.
        batch_size: utterances a batch.
        seed: of every draw.
        batches_per_epoch: rows of each plan.
        draw: which stream of draws is taken.
    """

    count: int
    batch_size: int
    seed: int
    batches_per_epoch: int
    draw: Draw = Draw.SHUFFLED_ORDER

    def plan(self, epoch: int) -> Plan:
        """The utterance indices of every batch of an epoch (batches, batch)."""
        if self.count == 0:
            raise TrainingError("there is no utterance to draw")
        per_pass = -(-self.count // self.batch_size)
        first = epoch * self.batches_per_epoch
        rows = []
        pass_index, order = -1, np.empty((0, 0), dtype=np.int64)
        for batch in range(first, first + self.batches_per_epoch):
            if batch // per_pass != pass_index:
                pass_index = batch // per_pass
                shuffled = generator(self.seed, self.draw, pass_index).permutation(self.count)
                order = np.resize(shuffled, per_pass * self.batch_size).reshape(per_pass, self.batch_size)
            rows.append(order[batch % per_pass])
        return np.stack(rows)


@dataclass(frozen=True, eq=False)
class MixedSampler:
    """Batches of one sampler, with utterances without labels spread evenly among them.

    Spread, so that every process and every part of a batch gets its share of both.

    Attributes:
        labelled: draws the others.
        unlabelled: draws these, as many batches of them.
        first: index of the first utterance without a label; they lie behind those with one.
    """

    labelled: Sampler
    unlabelled: ShuffledSampler
    first: int

    @property
    def batches_per_epoch(self) -> int:
        """Rows of each plan."""
        return self.labelled.batches_per_epoch

    def plan(self, epoch: int) -> Plan:
        """The utterance indices of every batch of an epoch (batches, labelled + unlabelled)."""
        parts = [self.labelled.plan(epoch), self.first + self.unlabelled.plan(epoch)]
        place = np.concatenate([(np.arange(part.shape[1]) + 0.5) / part.shape[1] for part in parts])
        return np.concatenate(parts, axis=1)[:, np.argsort(place, kind="stable")]


def shard(plan: Plan, rank: int, world_size: int) -> Plan:
    """The part of each total batch that one of several processes takes: every item is taken by exactly one.

    Args:
        plan: (batches, batch) of the total batch.
        rank: which process, 0 to world_size - 1.
        world_size: number of processes; must divide the batch.

    Returns:
        (batches, batch / world_size).

    >>> shard(np.arange(8).reshape(2, 4), rank=1, world_size=2)
    array([[1, 3],
           [5, 7]])
    """
    if plan.shape[1] % world_size:
        raise TrainingError(f"a total batch of {plan.shape[1]} cannot be shared evenly by {world_size} processes")
    return plan[:, rank::world_size]


def speaker_labels(speakers: Sequence[str], ids: dict[str, int]) -> NDArray[np.int64]:
    """The label of each utterance's speaker (utterances,).

    Raises:
        TrainingError: a speaker is not in the table.
    """
    missing = sorted({speaker for speaker in speakers if speaker not in ids})
    if missing:
        raise TrainingError(
            f"{len(missing)} speakers of the manifest are not in spk2id.json, the first is '{missing[0]}'"
        )
    return np.array([ids[speaker] for speaker in speakers], dtype=np.int64)
