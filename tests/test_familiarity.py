"""Whether a recording sounds like known speech: the statistics by values worked by hand, and what follows from them."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sound_groove.audio.familiarity import DETECTOR, LENIENCY, LONGEST_S, USUAL_S, log_odds, speech_of, unfamiliarity
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import AudioFacts, joint_facts
from sound_groove.audio.quality import Quality, joint_quality
from sound_groove.audio.sound_statistics import COUNT, GROUPS, Statistics, sound_statistics
from sound_groove.comparison import Judge
from sound_groove.errors import MetricError
from sound_groove.evaluation.calibration_material import CalibrationSettings, Material
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.version_pairs import Pairs, Versions
from sound_groove.scoring.calibration import FADE_RATE, FADES_BEFORE, ScoreMap
from sound_groove.scoring.measures import trial_measures
from sound_groove.types import ModelIdentity, Samples

SECOND = SAMPLE_RATE


def noise(seconds: float, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SECOND))).astype(np.float32)


def pulses(hertz: float, seconds: float) -> Samples:
    """A click in every period: as periodic as can be."""
    samples = np.zeros(round(seconds * SECOND), np.float32)
    samples[:: round(SECOND / hertz)] = 0.5
    return samples


def told(samples: Samples) -> Statistics:
    found = sound_statistics(samples)
    assert found is not None and found.shape == (COUNT,) and np.isfinite(found).all()
    return found


def group(statistics: Statistics, name: str) -> Statistics:
    start = sum(size for other, size in GROUPS.items() if list(GROUPS).index(other) < list(GROUPS).index(name))
    return statistics[start : start + GROUPS[name]]


@pytest.mark.parametrize("hertz", [100.0, 200.0, 400.0])
def test_clicks_are_voiced_throughout_at_their_pitch(hertz: float) -> None:
    periodicity = group(told(pulses(hertz, 2.0)), "periodicity")
    assert periodicity[0] == 1.0  # all frames are voiced
    assert periodicity[1] == pytest.approx(1.0, abs=0.05)
    assert periodicity[6] == pytest.approx(math.log2(hertz / 100.0), abs=0.01)
    assert periodicity[9] == pytest.approx(0.0, abs=0.01)  # a monotone


def test_noise_is_not_voiced_and_as_flat_as_exponential_powers() -> None:
    statistics = told(noise(4.0))
    assert group(statistics, "periodicity")[0] < 0.05
    # The mean logarithm of an exponential variable over its mean is minus Euler's constant.
    assert group(statistics, "flatness")[[2, 4]] == pytest.approx(-0.5772, abs=0.03)


def test_a_gain_and_an_offset_change_nothing() -> None:
    samples = noise(2.0) * np.repeat(np.linspace(0.2, 1.0, 20), SECOND // 10).astype(np.float32)
    np.testing.assert_allclose(told(0.01 * samples), told(samples), atol=1e-4)
    np.testing.assert_allclose(told(samples + np.float32(0.2)), told(samples), atol=1e-3)


def test_too_little_says_nothing() -> None:
    assert sound_statistics(noise(0.4)) is None
    assert unfamiliarity(noise(3.0), ()) is None
    assert unfamiliarity(noise(3.0), ((0, SECOND // 4), (SECOND, SECOND + SECOND // 8))) is None


def test_little_speech_is_judged_more_leniently() -> None:
    samples = noise(12.0)
    found = [unfamiliarity(samples[: seconds * SECOND], ((0, seconds * SECOND),)) for seconds in (1, 12)]
    assert found[0] is not None and found[1] is not None
    for value, seconds in zip(found, (1, 12), strict=True):
        plain = float(log_odds(told(samples[: seconds * SECOND])))
        assert value == pytest.approx(plain - LENIENCY * (seconds**-0.5 - USUAL_S**-0.5), abs=1e-3)


def test_of_long_speech_evenly_spaced_seconds_are_looked_at() -> None:
    samples = np.arange(100 * SECOND, dtype=np.float32)
    spans = ((0, 30 * SECOND), (40 * SECOND, 100 * SECOND))
    chosen = speech_of(samples, spans)
    assert len(chosen) == LONGEST_S * SECOND
    assert chosen[0] == 0 and chosen[-1] == 100 * SECOND - 1
    assert not ((chosen >= 30 * SECOND) & (chosen < 40 * SECOND)).any()
    assert (np.diff(chosen) > 0).all()


def test_the_detector_in_the_package_hears_speech_as_familiar_and_other_sounds_not(examples: list[Samples]) -> None:
    for samples in examples:
        assert log_odds(told(samples)) < 0
    assert log_odds(told(noise(3.0))) > 0
    assert DETECTOR.stat().st_size < 100_000


def test_evidence_fades_beyond_what_is_familiar() -> None:
    fading = ScoreMap(10.0, -3.0, "", rise=40.0, rises_from=0.5, familiar_up_to=0.0)
    plain = replace(fading, familiar_up_to=None)
    scores = np.array([0.1, 0.4, 0.9])
    for value, left in ((-5.0, 1.0), (-FADES_BEFORE, 1.0), (0.0, 0.548812), (4.0, 0.165299), (math.nan, 1.0)):
        measures = {"unfamiliarity": np.full(3, value)}
        # What speaks for two people, here the first score alone, fades three times as fast.
        np.testing.assert_allclose(fading.llr(scores, measures), [left**3, left, left] * plain.llr(scores), rtol=1e-5)
        line = fading.line({"unfamiliarity": np.asarray(value)})
        for llr in (0.5, -0.01):
            score = fading.score_of(llr, line)
            assert score is not None and float(fading.on_line(score, line)) == pytest.approx(llr)
    nothing_left = fading.line({"unfamiliarity": np.asarray(2000.0)})
    assert fading.score_of(-0.01, nothing_left) is None and float(fading.on_line(0.1, nothing_left)) == 0.0
    assert math.exp(-FADE_RATE * FADES_BEFORE) == pytest.approx(0.548812, abs=1e-6)
    np.testing.assert_array_equal(fading.llr(scores), plain.llr(scores))  # nothing is known of the recordings
    assert fading.is_unfamiliar({"unfamiliarity": [-1.0, 0.0, 0.1, math.nan]}).tolist() == [False, False, True, False]
    assert not plain.is_unfamiliar({"unfamiliarity": [9.0]}).any()


def test_the_limit_is_kept_with_the_map_also_where_it_is_zero() -> None:
    for limit in (0.0, 2.5, None):
        score_map = ScoreMap(10.0, -3.0, "", familiar_up_to=limit)
        assert ScoreMap.restored(score_map.as_dict()) == score_map
    with pytest.raises(MetricError, match="up to a number"):
        ScoreMap(10.0, -3.0, "", familiar_up_to=math.inf)


def test_the_less_familiar_recording_counts_and_one_that_is_not_known_does_not() -> None:
    sides = [{"speech_s": 1.0, "snr_db": 9.0, "unfamiliarity": value} for value in (-2.0, 3.0, math.nan)]
    measured = [float(trial_measures(a, b)["unfamiliarity"]) for a in sides for b in sides]
    assert measured[:8] == [-2.0, 3.0, -2.0, 3.0, 3.0, 3.0, -2.0, 3.0] and math.isnan(measured[8])
    facts = [AudioFacts(1.0, 1.0, 9.0, 16000, None, value) for value in (-2.0, None, 3.0)]
    assert joint_facts(facts).unfamiliarity == 3.0 and joint_facts(facts[1:2]).unfamiliarity is None


def test_parts_of_a_long_recording_count_by_their_speech() -> None:
    parts = [Quality(1.0, 10.0, (), (), -4.0), Quality(3.0, 10.0, (), (), 2.0), Quality(0.1, 10.0, ())]
    assert joint_quality(parts, [SECOND] * 3).unfamiliarity == pytest.approx(0.5)
    assert joint_quality(parts[2:], [SECOND]).unfamiliarity is None


def test_a_comparison_says_that_a_recording_is_unfamiliar_and_what_to_do() -> None:
    score_map = ScoreMap(10.0, -3.0, "", calibrated=True, familiar_up_to=0.0)
    judge = Judge(ModelIdentity("a model", "0" * 64), score_map)
    facts = [AudioFacts(3.0, 3.0, 30.0, 16000, None, value) for value in (-3.0, 6.0)]
    unit = np.array([1.0, 0.0], np.float32)
    known = judge.weigh(0.6, (facts[0], facts[0]), (), (unit, unit))
    assert known.verdict == "same" and known.warnings == () and known.llr == pytest.approx(3.0)
    strange = judge.weigh(0.6, (facts[0], facts[1]), (), (unit, unit))
    assert strange.verdict == "inconclusive" and strange.llr == pytest.approx(3.0 * math.exp(-0.3 * 8.0))
    (warning,) = strange.warnings
    assert warning.code == "unfamiliar" and "sound-groove calibrate" in warning.message


def test_recordings_of_ones_own_widen_what_is_familiar_and_do_not_narrow_it() -> None:
    rng = np.random.default_rng(0)
    counts, values = 100, np.concatenate((rng.uniform(-9.0, -5.0, 100), rng.uniform(2.0, 4.0, 100)))
    ones, embeddings = np.ones(200), np.ones((200, 2), np.float32)
    versions = Versions(np.arange(200), np.ones(200, np.int64), embeddings, ones, ones, ones, values)
    row = np.zeros(1, np.int32)
    listed = TrialList(("a", "b"), row, row, np.ones(1, np.bool_), row, 0)
    nothing = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))
    parts = np.repeat([0, 1], counts)
    material = Material(listed, np.arange(200), versions, nothing, parts, ("near", "far"), ())
    settings = CalibrationSettings((1.0,))
    assert material.familiar_up_to(settings) == pytest.approx(np.quantile(values[100:], 0.96), abs=0.05)
    assert material.familiar_up_to(settings, without=0) == pytest.approx(np.quantile(values[100:], 0.98), abs=0.05)
    assert material.familiar_up_to(settings, without=1) == 0.0


@pytest.fixture
def examples() -> list[Samples]:
    """Speech of the examples in the tree."""
    from sound_groove.audio.reading import load_audio

    folder = Path(__file__).parents[1] / "examples"
    return [load_audio(path) for path in sorted(folder.glob("*.flac"))[::2]]
