"""The order of the batches: who is drawn, how often, and that it is a function of (seed, epoch) alone."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sound_groove.errors import TrainingError
from sound_groove.inputs.sampler import PkSampler, ShuffledSampler, shard, speaker_labels

# Utterances of each speaker; P, K and batches an epoch are drawn beside them.
few = settings(max_examples=40, deadline=None)  # a busy machine must not fail a test
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def labels_of(counts: list[int], seed: int = 0) -> NDArray[np.int64]:
    """Labels for so many utterances of each speaker, in no order."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels)


@st.composite
def pk_samplers(draw: st.DrawFn) -> PkSampler:
    counts = draw(sizes)
    return PkSampler(
        labels=labels_of(counts, draw(st.integers(0, 5))),
        speakers=draw(st.integers(1, len(counts))),
        utterances=draw(st.integers(1, 5)),
        seed=draw(st.integers(0, 2**32 - 1)),
        batches_per_epoch=draw(st.integers(1, 7)),
    )


def speakers_of(sampler: PkSampler, batches: NDArray[np.int64]) -> NDArray[np.int64]:
    """The speaker of each visit (batches, P)."""
    return sampler.labels[batches].reshape(len(batches), sampler.speakers, sampler.utterances)[:, :, 0]


@few
@given(pk_samplers(), st.integers(0, 50))
def test_a_batch_has_p_distinct_speakers_with_k_utterances_each(sampler: PkSampler, epoch: int) -> None:
    plan = sampler.plan(epoch)
    assert plan.shape == (sampler.batches_per_epoch, sampler.speakers * sampler.utterances)
    for row in plan:
        counts = Counter(sampler.labels[row].tolist())
        assert len(counts) == sampler.speakers
        assert set(counts.values()) == {sampler.utterances}


@few
@given(pk_samplers(), st.integers(0, 50))
def test_a_visit_repeats_an_utterance_only_where_the_speaker_has_fewer_than_k(sampler: PkSampler, epoch: int) -> None:
    sizes = np.bincount(sampler.labels)
    for visit in sampler.plan(epoch).reshape(-1, sampler.utterances):
        size = sizes[sampler.labels[visit[0]]]
        assert len(set(visit.tolist())) == min(size, sampler.utterances)
        repeats = Counter(visit.tolist()).values()
        assert max(repeats) - min(repeats) <= 1  # evenly


@few
@given(pk_samplers())
def test_every_speaker_comes_within_a_bounded_number_of_batches_across_the_borders_of_epochs(
    sampler: PkSampler,
) -> None:
    per_pass = sampler.batches_per_pass
    epochs = -(-6 * per_pass // sampler.batches_per_epoch)
    speakers = speakers_of(sampler, np.concatenate([sampler.plan(epoch) for epoch in range(epochs)]))
    window = 2 * per_pass - 1
    everyone = set(range(len(sampler.speaker_groups)))
    for first in range(len(speakers) - window + 1):
        assert set(speakers[first : first + window].ravel().tolist()) == everyone


@few
@given(pk_samplers())
def test_every_utterance_comes_within_a_bounded_number_of_passes(sampler: PkSampler) -> None:
    visits_a_round = [-(-len(group) // sampler.utterances) for group in sampler.speaker_groups]
    passes = 4 * max(visits_a_round)
    epochs = -(-passes * sampler.batches_per_pass // sampler.batches_per_epoch)
    batches = np.concatenate([sampler.plan(epoch) for epoch in range(epochs)])[: passes * sampler.batches_per_pass]
    drawn = batches.reshape(passes, -1)  # what each pass draws
    for group, visits in zip(sampler.speaker_groups, visits_a_round, strict=True):
        window = 2 * visits - 1
        for first in range(passes - window + 1):
            assert set(group.tolist()) <= set(drawn[first : first + window].ravel().tolist())


def test_a_round_draws_each_utterance_equally_often_where_k_divides_their_number() -> None:
    sampler = PkSampler(labels_of([8, 8, 8]), 3, 2, seed=1, batches_per_epoch=4)  # a round = 4 passes = an epoch
    for epoch in range(5):
        assert sorted(sampler.plan(epoch).ravel().tolist()) == list(range(24))


def test_the_last_batch_of_a_pass_is_filled_with_other_speakers() -> None:
    sampler = PkSampler(labels_of([3] * 5), 3, 1, seed=0, batches_per_epoch=2)  # a pass: 2 batches for 5 speakers
    fillers: Counter[int] = Counter()
    for epoch in range(200):
        first, second = (set(row.tolist()) for row in speakers_of(sampler, sampler.plan(epoch)))
        assert first | second == set(range(5)) and len(first) == len(second) == 3
        fillers.update(first & second)
    assert set(fillers) == set(range(5)) and max(fillers.values()) < 3 * min(fillers.values())  # nobody is preferred


@few
@given(pk_samplers(), st.permutations(range(6)))
def test_a_plan_is_a_function_of_seed_and_epoch_and_of_nothing_else(sampler: PkSampler, order: list[int]) -> None:
    again = PkSampler(sampler.labels, sampler.speakers, sampler.utterances, sampler.seed, sampler.batches_per_epoch)
    plans = {epoch: sampler.plan(epoch) for epoch in order}
    for epoch in range(6):
        assert np.array_equal(plans[epoch], again.plan(epoch))


def test_another_seed_and_another_epoch_give_another_order() -> None:
    labels = labels_of([5] * 20)
    plans = [PkSampler(labels, 8, 4, seed, 10).plan(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({plan.tobytes() for plan in plans}) == 4


def test_drawing_does_not_touch_numpys_global_generator() -> None:
    before = np.random.get_state(legacy=False)["state"]["key"].tobytes()
    PkSampler(labels_of([5] * 20), 8, 4, 0, 10).plan(0)
    ShuffledSampler(100, 8, 0, 13).plan(0)
    assert np.random.get_state(legacy=False)["state"]["key"].tobytes() == before


def test_the_smallest_batches_work() -> None:
    one = PkSampler(labels_of([1, 4]), speakers=1, utterances=1, seed=0, batches_per_epoch=8).plan(0)
    assert one.shape == (8, 1) and set(one.ravel().tolist()) == set(range(5))


def test_more_speakers_than_there_are_and_labels_with_a_gap_are_refused() -> None:
    with pytest.raises(TrainingError, match="asks for 3 speakers and the corpus has 2"):
        PkSampler(labels_of([2, 2]), 3, 2, 0, 1)
    with pytest.raises(TrainingError, match="speaker 1 has no utterance"):
        PkSampler(np.array([0, 2, 2]), 2, 2, 0, 1)
    with pytest.raises(TrainingError, match="the corpus has 0"):
        PkSampler(np.empty(0, np.int64), 2, 2, 0, 1)


@few
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1), st.integers(0, 20))
def test_a_shuffled_epoch_visits_each_utterance_once_but_for_the_filling(
    count: int, batch: int, seed: int, epoch: int
) -> None:
    batches = -(-count // batch)
    drawn = ShuffledSampler(count, batch, seed, batches).plan(epoch).ravel()
    assert sorted(drawn[:count].tolist()) == list(range(count))
    assert np.array_equal(drawn[count:], np.resize(drawn[:count], len(drawn))[count:])  # the filling


@few
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 9))
def test_short_shuffled_epochs_go_on_where_the_last_one_stopped(count: int, batch: int, batches: int) -> None:
    per_pass = -(-count // batch)
    whole = ShuffledSampler(count, batch, 5, per_pass)
    parts = ShuffledSampler(count, batch, 5, batches)
    long = np.concatenate([whole.plan(index) for index in range(-(-3 * batches // per_pass))])[: 3 * batches]
    assert np.array_equal(long, np.concatenate([parts.plan(epoch) for epoch in range(3)]))


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(TrainingError, match="no utterance"):
        ShuffledSampler(0, 8, 0, 1).plan(0)


@few
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_the_ranks_share_each_batch_without_overlap(processes: int, items: int, batches: int) -> None:
    plan = np.arange(batches * items * processes).reshape(batches, -1)
    shares = [shard(plan, rank, processes) for rank in range(processes)]
    for row in range(batches):
        taken = np.concatenate([share[row] for share in shares])
        assert sorted(taken.tolist()) == plan[row].tolist()


def test_a_batch_that_the_processes_cannot_share_evenly_is_refused() -> None:
    with pytest.raises(TrainingError, match="10 cannot be shared evenly by 4 processes"):
        shard(np.zeros((2, 10), np.int64), 0, 4)


def test_a_speaker_that_is_not_in_the_table_is_named() -> None:
    assert speaker_labels(["b", "a", "b"], {"a": 0, "b": 1}).tolist() == [1, 0, 1]
    with pytest.raises(TrainingError, match=r"2 speakers .* the first is 'c'"):
        speaker_labels(["d", "a", "c"], {"a": 0})


def test_an_epoch_of_half_a_million_utterances_is_planned_in_seconds() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(2793))
    labels = np.concatenate([np.arange(2793), rng.choice(2793, 520_000 - 2793, p=shares)])
    sampler = PkSampler(labels, 32, 4, 0, 4063)
    before_s = time.process_time()
    assert sampler.plan(3).shape == (4063, 128)
    assert time.process_time() - before_s < 20.0  # 1 s on an idle core
