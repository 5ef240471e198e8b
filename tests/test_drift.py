"""Whether recordings are still like those of the calibration: by values worked by hand, draws, and a service."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.cli import main
from sound_groove.errors import CheckpointError, MetricError
from sound_groove.evaluation.baselines import baseline_of
from sound_groove.evaluation.calibration_material import CalibrationSettings, Judge, Material
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.version_pairs import Pairs, Versions
from sound_groove.evaluation.versions import AS_IT_IS, Condition, conditions
from sound_groove.monitoring import BINS, Monitor, drift, drift_text
from sound_groove.scoring.baseline import CHANCE, EVIDENCE, FEWEST, Baseline, Distribution, Evidence, Quantity
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import QualityWarning

EDGES = tuple(np.arange(-2.0, 2.01, 0.25))
RNG = np.random.default_rng


def normal(mean: float, count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return RNG(seed).normal(mean, 1.0, count)


def baseline(tolerance: float = 0.1) -> Baseline:
    """Noise is normal; evidence is at -3 of two speakers and at 3 of one."""
    ends = tuple(np.arange(-6.0, 6.01, 0.5))
    evidence = Evidence(
        Distribution.of(normal(3.0, 20_000), ends), Distribution.of(normal(-3.0, 20_000), ends), tolerance
    )
    return Baseline(20_000, {"snr_db": Quantity(Distribution.of(normal(0.0, 20_000), EDGES), tolerance)}, evidence)


def test_a_share_lies_at_or_below_an_edge_and_weights_count() -> None:
    assert Distribution.of([1.0, 2.0, 2.0, 5.0], [1.0, 2.0, 4.0]).reached == (0.25, 0.75, 0.75)
    assert Distribution.of([5.0, 1.0], [2.0], weights=[1.0, 3.0]).reached == (0.75,)
    with pytest.raises(MetricError, match="nothing is distributed"):
        Distribution.of([], [1.0])


@pytest.mark.parametrize("given", [((), ()), ((1.0, 1.0), (0.1, 0.2)), ((1.0,), (1.2,)), ((1.0, 2.0), (0.5, 0.4))])
def test_what_is_no_distribution_is_refused(given: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    with pytest.raises(MetricError, match="distribution"):
        Distribution(*given)


def test_the_distance_is_that_of_kolmogorov_and_smirnov() -> None:
    known, others = normal(0.0, 20_000), normal(0.7, 400, seed=1)
    (shift,) = baseline().drift({"snr_db": others}, 400).shifts
    by_scipy = ks_2samp(known, others).statistic
    # scipy looks at every value, and here at an edge every quarter of a standard deviation, between which the
    # distance cannot grow by more than the density allows.
    assert by_scipy - 0.02 <= shift.distance <= by_scipy + 1e-12
    assert shift.chance == pytest.approx(math.sqrt(math.log(2 / CHANCE) / 2 * (1 / 400 + 1 / 20_000)))
    assert shift.degree == pytest.approx((shift.distance - shift.chance) / 0.1)


def test_the_same_source_seldom_drifts_and_another_nearly_always_does() -> None:
    known = baseline(tolerance=0.01)
    runs = range(200)
    alike = [known.drift({"snr_db": normal(0.0, 100, seed)}, 100).finding for seed in runs]
    moved = [known.drift({"snr_db": normal(1.0, 100, seed)}, 100).finding for seed in runs]
    assert alike.count("drifted") <= 2 * CHANCE * len(runs)
    assert moved.count("drifted") >= 0.99 * len(runs)


def test_few_recordings_are_not_called_alike_but_can_be_far_off() -> None:
    known = baseline()
    assert known.drift({"snr_db": normal(0.0, FEWEST - 1)}, FEWEST - 1).finding == "too few"
    assert known.drift({"snr_db": normal(0.0, FEWEST)}, FEWEST).finding == "alike"
    assert known.drift({"snr_db": normal(9.0, 20)}, 20).finding == "drifted"
    assert known.drift({}, 0).finding == "too few"
    assert known.drift({"snr_db": [math.nan]}, 1).shifts == ()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_evidence_is_alike_whatever_the_share_of_one_speaker_is(share: float) -> None:
    ones = int(500 * share)
    llrs = np.concatenate([normal(3.0, ones, 5), normal(-3.0, 500 - ones, 6)])
    (shift,) = baseline().drift({EVIDENCE: llrs}, 0).shifts
    assert shift.finding == "alike" and shift.same_share == pytest.approx(share, abs=0.05)


def test_evidence_that_fits_no_mixture_has_drifted() -> None:
    found = baseline().drift({EVIDENCE: normal(0.0, 200)}, 0)
    assert found.finding == "drifted" and "fits no mixture" in drift_text(found)


def test_evidence_alone_that_is_alike_says_nothing_of_recordings() -> None:
    assert baseline().drift({EVIDENCE: normal(3.0, 500), "snr_db": normal(0.0, 10)}, 10).finding == "too few"


def test_a_score_map_keeps_its_baseline() -> None:
    score_map = ScoreMap(1.0, 0.0, "an example", baseline=baseline())
    assert ScoreMap.restored(json.loads(json.dumps(score_map.as_dict()))) == score_map
    without = replace(score_map, baseline=replace(baseline(), evidence=None))
    assert ScoreMap.restored(json.loads(json.dumps(without.as_dict()))) == without
    broken = {**score_map.as_dict(), "baseline": {"recordings": 3}}
    with pytest.raises(MetricError):
        ScoreMap.restored(broken)


def material(count: int, collections: tuple[str, ...]) -> Material:
    """Recordings of two speakers a part, as they are and in noise; noise lies 10 dB higher from part to part."""
    settings = CalibrationSettings((1.0,))
    kinds = conditions(settings.durations_s)
    whole, noisy = kinds.index(Condition(None, AS_IT_IS)), kinds.index(Condition(None, "noisy"))
    parts = max(len(collections), 1)
    speakers = np.arange(count) % (2 * parts)
    names = np.repeat(np.arange(count), 2)
    rng = RNG(3)
    embeddings = np.eye(2 * parts, dtype=np.float32)[speakers] + 0.1 * rng.standard_normal((count, 2 * parts))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    loud = np.where(np.arange(2 * count) % 2 == 0, 10.0 * (speakers[names] % parts), -100.0)
    versions = Versions(
        names,
        np.tile([whole, noisy], count),
        embeddings[names].astype(np.float32),
        np.full(2 * count, 5.0),
        loud + rng.standard_normal(2 * count),
        np.full(2 * count, np.nan),
        np.full(2 * count, -5.0),
    )
    first, second = np.triu_indices(count, 1)
    alike = speakers[first] % parts == speakers[second] % parts
    first, second = first[alike].astype(np.int32), second[alike].astype(np.int32)
    labels = speakers[first] == speakers[second]
    trials = TrialList(tuple(map(str, range(count))), first, second, labels, first, duplicates=0)
    none = np.zeros(0, np.int64)
    folds = np.arange(2 * parts) % parts
    return Material(trials, speakers, versions, Pairs(none, none, none.astype(bool)), folds, collections, ())


def test_a_baseline_is_of_whole_recordings_as_they_are_and_collections_lie_apart() -> None:
    settings, score_map = CalibrationSettings((1.0,)), ScoreMap(10.0, -5.0, "an example")
    names = ("a", "b", "c")
    found = material(120, names)
    known = baseline_of(found, score_map, [Judge(score_map, found.versions)] * 3, settings)
    assert known is not None and known.recordings == 120
    assert set(known.quantities) == {"speech_s", "snr_db", "unfamiliarity"}  # no norms, and no reference
    noise = known.quantities["snr_db"]
    assert min(noise.distribution.edges) > -10  # nothing of the noisy ones
    # The outer two lie wholly beside the others, 1 away, and the middle one half: the median is 1, and so is most.
    assert noise.tolerance == pytest.approx(1.0, abs=0.05)
    assert known.quantities["speech_s"].tolerance == 0.1
    assert known.evidence is not None and known.evidence.same.quantile(0.5) > 0 > known.evidence.different.quantile(0.5)


def test_too_few_recordings_make_no_baseline() -> None:
    score_map, found = ScoreMap(10.0, -5.0, "an example"), material(FEWEST - 1, ())
    judges = [Judge(score_map, found.versions)] * 5
    assert baseline_of(found, score_map, judges, CalibrationSettings((1.0,))) is None


def heard(snr_db: float, speech_s: float = 4.0, *codes: str) -> HeardRecording:
    warnings = tuple(QualityWarning(code, "") for code in codes)
    return HeardRecording(
        "a", AudioFacts(5.0, speech_s, snr_db, 16_000), warnings, "", embedding=np.ones(1, np.float32)
    )


def test_a_monitor_counts_and_looks_at_the_last_alone() -> None:
    monitor = Monitor(ScoreMap(1.0, 0.0, "an example", baseline=baseline()), last=100)
    for value in normal(0.0, 100):
        monitor.hear(heard(float(value)))
    found = monitor.drift()
    assert found is not None and found.finding == "alike"
    for value in normal(5.0, 100):
        monitor.hear(heard(float(value), 4.0, "low_snr", "low_snr"))
    monitor.hear(heard(0.0, 0.1, "too_little_speech"))
    monitor.judge(None)
    monitor.judge(2.5)
    found = monitor.drift()
    assert found is not None and found.finding == "drifted" and found.recordings == 100
    assert "the signal-to-noise ratio is higher (median 5" in drift_text(found)
    assert monitor.recordings == 201 and monitor.comparisons == 2
    assert monitor.warnings == {"low_snr": 100, "too_little_speech": 1}
    assert sum(monitor.histograms["snr_db"].counts) == 200  # what has no verdict is not among them
    evidence = monitor.histograms[EVIDENCE]
    assert evidence.counts[BINS[EVIDENCE].index(3)] == 1 and evidence.total == 2.5
    assert Monitor(None).drift() is None


def test_a_model_that_does_not_say_what_it_was_calibrated_on_is_refused(exported: Path) -> None:
    with pytest.raises(CheckpointError, match="does not say what the recordings were like"):
        drift([], exported)


def test_the_verb_says_it_in_a_sentence_and_by_its_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = sorted(map(str, (Path(__file__).parent.parent / "examples").glob("*.flac")))
    assert main(["drift", *examples, "--exit-code"]) == 11
    told = capsys.readouterr().out
    assert "8 recordings: too few to say whether they are like" in told and "snr_db" in told
    assert main(["drift", *examples, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["finding"] == "too few" and record["recordings"] == 8 and record["failures"] == []
    assert main(["drift", examples[0], "--like", *examples]) == 2
    assert "--like needs 50 recordings" in capsys.readouterr().err
    assert main(["drift"]) == 2 and "give recordings, or --service URL" in capsys.readouterr().err
    assert main(["drift", "a.wav", "--service", "http://127.0.0.1:1"]) == 2
