"""Trials with the same audio on both sides, and figures that claim no certainty."""

import math

import numpy as np

from sound_groove.evaluation.same_audio import describe_same_audio, same_audio, same_audio_notes
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.percentages import probability_text, rate_text
from sound_groove.scoring.calibration import probability
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.open_set import answer


def trials_of(pairs: list[tuple[int, int, bool]], names: int) -> TrialList:
    enrolments, tests, labels = (np.array(column) for column in zip(*pairs, strict=True))
    lines = np.arange(1, len(pairs) + 1, dtype=np.int32)
    ids = tuple(f"{chr(ord('a') + index)}.wav" for index in range(names))
    return TrialList(ids, enrolments.astype(np.int32), tests.astype(np.int32), labels.astype(bool), lines, 0)


def test_the_same_audio_is_found_under_one_name_and_two_and_within_an_average() -> None:
    pairs = [(0, 0, True), (0, 1, True), (0, 2, False), (3, 1, True), (3, 2, False), (0, 4, False), (4, 4, True)]
    trials = trials_of(pairs, 5)
    digests = {0: ("x",), 1: ("y",), 2: ("x",), 3: ("y", "z"), 4: ()}  # the last cannot be read
    shared = same_audio(trials, digests)
    assert shared.tolist() == [True, False, True, True, False, False, False]
    found = describe_same_audio(trials, shared)
    assert (found["trials"], found["targets"], found["nontargets"]) == (3, 2, 1)
    assert found["first"][1] == {"line": 3, "enrolment": "a.wav", "test": "c.wav"}
    (note,) = same_audio_notes(found)
    assert note.startswith("3 trials compare a recording with itself, or with the same audio under another name: ")
    assert "line 3 ('a.wav' and 'c.wav')" in note
    assert note.endswith("1 of them labelled 'different speakers', which cannot be")
    assert same_audio_notes(describe_same_audio(trials, np.zeros(7, bool))) == []


def test_no_evidence_makes_a_certainty() -> None:
    for llr in (-1e300, -800.0, -40.0, 40.0, 800.0, 1e300):
        for prior in (1e-12, 0.5, 1 - 1e-12):
            assert 0.0 < probability(llr, prior) < 1.0
        told = answer([llr, 0.0], 2, 0.5, DecisionRule())
        assert all(0.0 < value < 1.0 for value in (*told.probabilities.tolist(), told.nobody))
    assert probability(40.0, 0.5) == 1.0 - probability(-800.0, 0.5)
    assert math.isclose(probability(2.0, 0.5), 1 / (1 + math.exp(-2.0)))


def test_no_text_says_0_or_100_percent_where_it_is_not_so() -> None:
    for value in np.concatenate(
        (np.geomspace(1e-17, 0.5, 400), 1 - np.geomspace(1e-17, 0.5, 400), [0.0, 1.0])
    ).tolist():
        for digits in (0, 1, 2):
            said = probability_text(value, digits)
            assert not said.startswith(("0 ", "0.0 ", "0.00 ", "100"))
            if 0.0 < value < 1.0:
                assert not rate_text(value, digits).startswith(("0 ", "0.0 ", "0.00 ", "100"))
    assert (rate_text(0.0, 1), rate_text(1.0, 0)) == ("0.0 %", "100 %")
    assert (rate_text(0.996, 0), rate_text(0.004, 0)) == ("over 99 %", "under 1 %")
