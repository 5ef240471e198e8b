"""The diarization error: worked by hand, and as pyannote.metrics has it."""

from itertools import permutations

import numpy as np
import pytest

from sound_groove.errors import MetricError
from sound_groove.scoring.diarization_error import best_pairs, diarization_error
from sound_groove.types import SpeakerTurn

TRUTH = (SpeakerTurn(0.0, 10.0, "anna"), SpeakerTurn(8.0, 14.0, "ben"), SpeakerTurn(20.0, 24.0, "anna"))


def drawn(draws: np.random.Generator, speakers: int) -> list[SpeakerTurn]:
    """Turns that overlap, but for those of one speaker."""
    turns = []
    for number in range(speakers):
        edges = np.sort(draws.choice(600, 12, replace=False)) / 10
        turns += [SpeakerTurn(a, b, f"{number}") for a, b in edges.reshape(-1, 2).tolist()]
    return sorted(turns)


def test_what_is_right_has_no_error_whatever_the_labels() -> None:
    answer = [SpeakerTurn(turn.start_s, turn.end_s, turn.speaker[::-1]) for turn in TRUTH]
    found = diarization_error(TRUTH, answer)
    assert (found.missed, found.false_alarm, found.confusion, found.total, found.rate) == (0, 0, 0, 20, 0)
    assert found.mapping == {"anna": "anna", "neb": "ben"}


def test_one_at_a_time_misses_the_other_of_two_who_speak_at_once() -> None:
    answer = (SpeakerTurn(0, 10, "1"), SpeakerTurn(10, 14, "2"), SpeakerTurn(20, 24, "2"))
    found = diarization_error(TRUTH, answer)
    assert (found.missed, found.false_alarm, found.confusion) == pytest.approx((2, 0, 4))
    found = diarization_error(TRUTH, answer, with_overlap=False)
    assert (found.missed, found.confusion, found.total) == pytest.approx((0, 4, 16))


def test_a_collar_leaves_out_what_nobody_can_tell() -> None:
    late = [SpeakerTurn(turn.start_s + 0.2, turn.end_s + 0.2, turn.speaker) for turn in TRUTH]
    assert diarization_error(TRUTH, late, collar_s=0.25).rate == 0
    found = diarization_error(TRUTH, late)
    assert (found.missed, found.false_alarm) == pytest.approx((0.6, 0.6))
    assert diarization_error(TRUTH, TRUTH, collar_s=0.25).total == pytest.approx(20 - 3 * 0.5 - 2 * 0.5)


def test_nobody_is_found_where_nobody_speaks() -> None:
    assert diarization_error([], []).rate == 0
    assert diarization_error([], [SpeakerTurn(0, 1, "1")]).rate == 1
    assert diarization_error(TRUTH, []).rate == 1


def test_names_stand_for_themselves() -> None:
    swapped = [SpeakerTurn(turn.start_s, turn.end_s, "ben" if turn.speaker == "anna" else "anna") for turn in TRUTH]
    assert diarization_error(TRUTH, swapped).confusion == 0
    assert diarization_error(TRUTH, swapped, by_name=True).confusion == pytest.approx(16.0)


def test_the_best_pairs_are_those_that_trying_all_of_them_finds() -> None:
    draws = np.random.default_rng(0)
    for rows, columns in ((3, 3), (2, 5), (5, 2), (1, 1)):
        together = draws.random((rows, columns))
        found = sum(together[pair] for pair in best_pairs(together))
        wide = together if rows <= columns else together.T
        tried = [wide[range(len(wide)), list(order)].sum() for order in permutations(range(wide.shape[1]), len(wide))]
        assert found == pytest.approx(max(tried))


def test_too_many_speakers_are_refused() -> None:
    with pytest.raises(MetricError, match="17 speakers"):
        diarization_error([SpeakerTurn(number, number + 1, str(number)) for number in range(17)], [])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("collar_s", [0.0, 0.25])
@pytest.mark.parametrize("with_overlap", [True, False])
def test_it_is_what_pyannote_metrics_finds(seed: int, collar_s: float, with_overlap: bool) -> None:
    metrics = pytest.importorskip("pyannote.metrics.diarization")
    core = pytest.importorskip("pyannote.core")
    draws = np.random.default_rng(seed)
    reference, answer = drawn(draws, 3), drawn(draws, 4)

    def annotation(turns: list[SpeakerTurn]) -> object:
        made = core.Annotation()
        for number, turn in enumerate(turns):
            made[core.Segment(turn.start_s, turn.end_s), number] = turn.speaker
        return made

    # Its collar is that of both sides together.
    metric = metrics.DiarizationErrorRate(collar=2 * collar_s, skip_overlap=not with_overlap)
    whole = core.Timeline([core.Segment(0, max(turn.end_s for turn in (*reference, *answer)))])
    expected = metric(annotation(reference), annotation(answer), detailed=True, uem=whole)
    found = diarization_error(reference, answer, collar_s=collar_s, with_overlap=with_overlap)
    assert found.total == pytest.approx(expected["total"])
    assert found.missed == pytest.approx(expected["missed detection"])
    assert found.false_alarm == pytest.approx(expected["false alarm"])
    assert found.confusion == pytest.approx(expected["confusion"])
