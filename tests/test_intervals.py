"""The bootstrap over speakers, against drawing trials out by hand; every figure with an interval; who speaks."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sound_groove.evaluation.figures import measure, measure_recall, values_of
from sound_groove.evaluation.intervals import SpeakerBootstrap
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import find_speakers
from sound_groove.scoring.metrics import cllr, eer, min_cllr, min_dcf, query_ranks

patient = settings(deadline=None)  # a busy machine must not fail a test


def some_trials(seed: int, speakers: int = 5, trials: int = 120) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, speakers, (2, trials))
    labels = first == second
    scores = np.round(rng.normal(size=trials) + labels, 1)  # rounded: many ties
    return scores, labels, first, second


@pytest.mark.parametrize("seed", range(8))
def test_a_draw_equals_trials_repeated_by_their_weights(seed: int) -> None:
    scores, labels, first, second = some_trials(seed)
    draws = list(SpeakerBootstrap(scores, labels, first, second, 2 * scores - 1).draw(6, seed))
    rng = np.random.default_rng(seed)
    for draw in draws:
        while True:  # the same stream of draws, those without a kind of trial passed over
            w = rng.multinomial(5, np.full(5, 0.2))
            repeats = np.where(first == second, w[first], w[first] * w[second])
            if (repeats * labels).sum() and (repeats * ~labels).sum():
                break
        s, y = np.repeat(scores, repeats), np.repeat(labels, repeats)
        assert draw.roc.eer == pytest.approx(eer(s, y), abs=1e-12)
        assert draw.roc.min_dcf() == pytest.approx(min_dcf(s, y), abs=1e-12)
        assert draw.roc.min_dcf(0.3, 2, 1) == pytest.approx(min_dcf(s, y, 0.3, 2, 1), abs=1e-12)
        assert draw.cllr == pytest.approx(cllr(2 * s - 1, y), abs=1e-12)
        assert draw.roc.min_cllr() == pytest.approx(min_cllr(s, y), abs=1e-12)
        values = values_of(draw.roc, draw.roc, draw.cllr)  # with another isotonic regression, that of scipy
        assert values["min_cllr"] == pytest.approx(min_cllr(s, y), abs=1e-12)
        assert values["calibration_loss"] == values["cllr"] - values["min_cllr"]


@pytest.mark.parametrize("seed", range(3))
def test_how_often_something_happens_is_counted_in_trials_repeated_by_their_weights(seed: int) -> None:
    scores, labels, first, second = some_trials(seed)
    events = scores > 0.5
    rates = list(SpeakerBootstrap(scores, labels, first, second).draw_rates(events, 6, seed))
    rng = np.random.default_rng(seed)
    for rate in rates:
        while True:
            w = rng.multinomial(5, np.full(5, 0.2))
            repeats = np.where(first == second, w[first], w[first] * w[second])
            if (repeats * labels).sum() and (repeats * ~labels).sum():
                break
        kinds = [np.repeat(events[kind], repeats[kind]).mean() for kind in (~labels, labels)]
        assert rate == pytest.approx(kinds, abs=1e-12)


def test_draws_are_a_function_of_the_seed() -> None:
    bootstrap = SpeakerBootstrap(*some_trials(0))
    one, same, other = ([draw.roc.eer for draw in bootstrap.draw(20, seed)] for seed in (1, 1, 2))
    assert one == same != other
    assert next(bootstrap.draw(1, 0)).cllr is None


def test_few_speakers_give_wider_intervals_than_many_with_the_same_trials() -> None:
    def width(speakers: int) -> float:
        # every speaker has an own difficulty, and all have the same number of trials
        rng = np.random.default_rng(5)
        shift = rng.normal(1.5, 1, speakers)
        first, second = rng.integers(0, speakers, (2, 20_000))
        second[:4000] = first[:4000]
        labels = first == second
        scores = rng.normal(size=20_000) + np.where(labels, shift[first], 0)
        eers = [draw.roc.eer for draw in SpeakerBootstrap(scores, labels, first, second).draw(200, 0)]
        return float(np.ptp(np.quantile(eers, [0.025, 0.975])))

    assert width(6) > 2 * width(150)


def test_draws_without_trials_of_both_kinds_are_drawn_again() -> None:
    # a target of speaker 0 and a nontarget of 0 and 1: half of the draws hold only one of them, and have no nontarget
    bootstrap = SpeakerBootstrap(np.array([1.0, 0.0]), np.array([True, False]), np.array([0, 0]), np.array([0, 1]))
    assert bootstrap.speakers == 2
    assert len(list(bootstrap.draw(20, 0))) == 20


def some_list(seed: int, speakers: int = 30, trials: int = 4000) -> tuple[TrialList, np.ndarray]:
    scores, labels, first, second = some_trials(seed, speakers, trials)
    names = tuple(map(str, range(speakers)))
    lines = np.arange(1, trials + 1, dtype=np.int32)
    return TrialList(names, first.astype(np.int32), second.astype(np.int32), labels, lines, 0), scores


def test_every_figure_has_an_interval_around_it() -> None:
    trials, scores = some_list(0)
    metrics = measure(JudgedList(trials, scores, 0.5 * scores + 1, np.arange(30), resamples=100))
    for name in ("eer", "min_dcf", "min_dcf_05", "cllr", "min_cllr", "calibration_loss"):
        assert metrics[name]["low"] < metrics[name]["value"] < metrics[name]["high"], name
    assert metrics["interval"]["resamples"] == 100
    loss = metrics["cllr"]["value"] - metrics["min_cllr"]["value"]
    assert metrics["calibration_loss"]["value"] == loss > 0.05  # the llrs above are off by about 1


def test_without_llrs_nothing_is_said_about_calibration() -> None:
    trials, scores = some_list(0)
    metrics = measure(JudgedList(trials, scores, None, np.arange(30), resamples=3))
    assert metrics["cllr"] is None and metrics["calibration_loss"] is None
    assert metrics["min_cllr"]["low"] is not None


def test_the_interval_of_recall_draws_the_speakers_that_ask_and_leaves_the_crowd() -> None:
    rng = np.random.default_rng(3)
    speakers = np.repeat(np.arange(8), [1, 2, 3, 4, 5, 6, 7, 1])  # two speakers have one utterance, and do not ask
    embeddings = rng.normal(size=(len(speakers), 6)) + 1.2 * rng.normal(size=(8, 6))[speakers]
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    recall, problem = measure_recall(embeddings, speakers, resamples=40, seed=9)
    assert problem is None
    queries, ranks = query_ranks(embeddings, speakers)
    assert np.array_equal(queries, np.flatnonzero((speakers > 0) & (speakers < 7)))
    for k in (1, 5):
        stream = np.random.default_rng(9)
        shares = []
        for _ in range(40):  # the answers of a speaker drawn w times, written down w times
            drawn = stream.multinomial(6, np.full(6, 1 / 6))
            shares.append(np.repeat(ranks < k, drawn[speakers[queries] - 1]).mean())
        low, high = np.quantile(shares, [0.025, 0.975])
        expected = {"value": (ranks < k).mean(), "low": low, "high": high}
        assert recall[f"recall_at_{k}"] == pytest.approx(expected)


def test_recall_of_one_speaker_has_no_interval() -> None:
    recall, _ = measure_recall(np.eye(3, dtype=np.float32)[[0, 0, 1]], np.array([0, 0, 1]), resamples=10)
    assert recall["recall_at_1"] == {"value": 1.0, "low": None, "high": None}
    nothing, problem = measure_recall(np.eye(2, dtype=np.float32), np.array([0, 1]), resamples=10)
    assert set(nothing.values()) == {None} and "no speaker has two utterances" in str(problem)


def test_speakers_are_joined_in_chains() -> None:
    # 0-1, 2-3 and 1-2 are targets: one speaker; 4 only ever stands in nontargets; 5 stands with itself
    first, second = np.array([0, 2, 1, 4, 5]), np.array([1, 3, 2, 0, 5])
    labels = np.array([True, True, True, False, True])
    assert find_speakers(6, first, second, labels).tolist() == [0, 0, 0, 0, 1, 2]


@patient
@given(st.integers(0, 10_000))
def test_speakers_are_found_from_enough_targets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    who = rng.integers(0, 4, 30)
    # a chain through each speaker's names, in any order and direction
    pairs = []
    for speaker in range(4):
        own = rng.permutation(np.flatnonzero(who == speaker))
        pairs += [(a, b) if rng.random() < 0.5 else (b, a) for a, b in pairwise(own)]
    first, second = np.array(pairs, dtype=np.int64)[rng.permutation(len(pairs))].T
    found = find_speakers(30, first, second, np.ones(len(pairs), dtype=bool))
    assert np.array_equal(found[:, None] == found[None, :], who[:, None] == who[None, :])
