"""`adapt`: what a general map becomes with labels and without, what is refused, and that only the map changes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.optimize import minimize
from scipy.stats import norm

from evaluation_inputs import SpectrumEncoder
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, MetricError, TrialError
from sound_groove.evaluation.adapting import adapt_map, general_map, labelled_pairs, with_clusters
from sound_groove.evaluation.domain_clusters import (
    SURER,
    Clusters,
    clustered_pairs,
    drawn_members,
    find_clusters,
    pairs_of,
)
from sound_groove.evaluation.domain_material import (
    BEGINNING,
    CHANGED,
    ENDING,
    LONG_ENDING,
    WHOLE,
    DomainMaterial,
    hear_changed,
    hear_domain,
)
from sound_groove.evaluation.version_pairs import Pairs, Versions
from sound_groove.networks.trained_speakers import speaker_digests
from sound_groove.scoring.adaptation import (
    DEVIATIONS,
    FARTHEST,
    USUAL_DEVIATION,
    USUAL_MIDDLE,
    Cohort,
    Moved,
    cohort_of,
    moved_by_cohort,
    moved_by_labels,
    people_in,
)
from sound_groove.scoring.calibration import ScoreMap, Term
from sound_groove.scoring.domain import Domain
from sound_groove.scoring.map_regression import fit_score_map
from sound_groove.synthesis.voices import made_up_speaker, speak

GENERAL = ScoreMap(12.0, -4.0, "an example", bounds=(-3.0, 8.0))


def drawn_llrs(scale: float, shift: float, count: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """llrs that are right (normal, variance twice the mean) once multiplied by the scale and shifted; and labels."""
    rng = np.random.default_rng(3)
    labels = np.arange(count) % 2 == 0
    right = np.where(labels, 2.0, -2.0) + 2.0 * rng.standard_normal(count)
    return (right - shift) / scale, labels


# --- with labels


@pytest.mark.parametrize("speakers", [1, 7, 300])
def test_the_map_with_labels_is_the_most_probable_one(speakers: int) -> None:
    llrs, labels = drawn_llrs(1.4, -0.8, 400)
    left = np.linspace(0.3, 1.0, len(llrs))

    def loss(found: np.ndarray) -> float:
        z = left * (found[0] * llrs + found[1])
        cost = (np.log1p(np.exp(-z[labels])).mean() + np.log1p(np.exp(z[~labels])).mean()) / 2
        prior = norm.logpdf(found, [1.0, 0.0], DEVIATIONS).sum()
        return float(2.0 * speakers * cost - prior)

    best = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-6}).x
    found = moved_by_labels(llrs, labels, speakers, left, counted=2.0)
    np.testing.assert_allclose([found.scale, found.shift], best, atol=1e-4)


def test_without_data_the_general_map_stays_and_much_data_is_fitted_freely() -> None:
    llrs, labels = drawn_llrs(1.4, -0.8)
    assert moved_by_labels(llrs, labels, 0) == Moved(1.0, 0.0, 0.0)
    little, some, much = (moved_by_labels(llrs, labels, 10, counted=counted) for counted in (1e-6, 1.0, 1e9))
    assert little.scale == pytest.approx(1.0, abs=1e-5) and little.shift == pytest.approx(0.0, abs=1e-5)
    free = fit_score_map(llrs, labels, "")
    np.testing.assert_allclose([much.scale, much.shift], [free.scale, free.offset], atol=1e-4)
    assert little.weight < 1e-5 < some.weight < much.weight and much.weight == pytest.approx(1.0, abs=1e-6)


def test_more_pairs_of_the_same_people_count_no_more() -> None:
    llrs, labels = drawn_llrs(1.4, -0.8, 400)
    once, often = moved_by_labels(llrs, labels, 8), moved_by_labels(np.tile(llrs, 5), np.tile(labels, 5), 8)
    assert often.scale == pytest.approx(once.scale) and often.shift == pytest.approx(once.shift)


def test_labels_that_turn_scores_around_are_refused() -> None:
    llrs, labels = drawn_llrs(1.0, 0.0)
    with pytest.raises(MetricError, match="no higher for one speaker than for two; are the labels right"):
        moved_by_labels(llrs, ~labels, 1_000)


# --- without labels


def test_the_cohort_is_found_beside_pairs_of_one_person() -> None:
    rng = np.random.default_rng(1)
    strangers, own = rng.normal(-0.5, 1.2, 19_000), rng.normal(5.0, 1.5, 1_000)
    found = cohort_of(np.concatenate((strangers, own)), np.clip(strangers, -8, 8))
    assert found.middle == pytest.approx(-0.5, abs=0.15) and found.deviation == pytest.approx(1.2, abs=0.15)


def test_people_are_counted_by_pairs_of_one_person() -> None:
    llrs, labels = drawn_llrs(1.0, 0.0, 40_000)
    strangers, own = llrs[~labels], llrs[labels]
    for people in (2, 10, 50):
        assert people_in(np.concatenate((strangers, own[: len(strangers) // (people - 1)]))) == pytest.approx(
            people, rel=0.2
        )
    assert people_in(own) < 1.2


def test_a_cohort_like_others_changes_nothing_and_one_that_scores_high_is_brought_down_within_limits() -> None:
    usual = moved_by_cohort(Cohort(USUAL_MIDDLE, USUAL_DEVIATION, 30.0))
    assert (usual.scale, usual.shift) == (1.0, 0.0) and usual.weight == pytest.approx(0.8 * 30 / 34)
    # 0.8 x 12/16 of what 0.5 is above the usual -1.5 beyond 0.5: 0.6 x 1.5
    assert moved_by_cohort(Cohort(0.5, USUAL_DEVIATION, 12.0)).shift == pytest.approx(-0.9)
    assert moved_by_cohort(Cohort(-3.0, USUAL_DEVIATION, 12.0)).shift == pytest.approx(0.6)
    few, many = (moved_by_cohort(Cohort(0.5, 2.2, people)) for people in (2.0, 1e9))
    assert abs(few.shift) < abs(many.shift) and 1 > few.scale > many.scale
    wild, still = moved_by_cohort(Cohort(90.0, 1e9, 1e9)), moved_by_cohort(Cohort(USUAL_MIDDLE, 1e-6, 1e9))
    assert (wild.scale, wild.shift) == (0.8, -FARTHEST)
    assert (still.scale, still.shift) == (1.0, 0.0)  # never surer for scattering little


# --- people told apart


def test_recordings_are_joined_as_average_linkage_has_it_and_by_the_prior() -> None:
    # three recordings of one person, a fourth that is as near to one of them only, and one that is alone
    llrs = np.full((5, 5), -6.0)
    llrs[0, 1], llrs[0, 2], llrs[1, 2], llrs[2, 3] = 9.0, 8.0, 7.0, 6.0
    llrs[0, 3], llrs[1, 3] = -3.0, -3.0  # the mean of the fourth to the three is 0
    given = llrs[pairs_of(5)]
    found = find_clusters(given, 5, people=1 + np.exp(0.5))  # log odds of -0.5: a mean of 1.5 is needed
    assert SURER == 1.0 and len({*found.labels[:3].tolist()}) == 1 and len(set(found.labels.tolist())) == 3
    assert (found.count, found.members.tolist()) == (1, [0, 1, 2])
    sure = 1 / (1 + np.exp(-(given - 0.5)))
    assert found.found == pytest.approx((sure[[0, 1, 4]]).sum() / sure.sum())
    joined = find_clusters(given, 5, people=1 + np.exp(-1.1))  # a mean of -0.1 will do
    assert joined.members.tolist() == [0, 1, 2, 3]
    assert find_clusters(given[:0], 1, 3.0).count == 0


def test_clusters_count_by_how_many_pairs_they_find_and_learn_nothing_of_pairs_that_are_turned_around() -> None:
    labels = np.repeat(np.arange(6), 2)
    half = Clusters(labels, 6, 0.5)
    assert half.weight == pytest.approx(0.5) and Clusters(labels, 6, 0.39).weight == 0
    rows = np.arange(12)
    vectors = np.repeat(np.eye(6, 16, dtype=np.float32), 2, axis=0) * np.tile([1.0, -1.0], 6)[:, None].astype(
        np.float32
    )
    opposed = _versions(rows.tolist(), [WHOLE] * 12, vectors, np.full(12, 5.0))
    first, second = np.triu_indices(12, 1)
    pairs = clustered_pairs(Pairs(first, second, np.zeros(len(first), np.bool_)), labels)
    assert pairs.labels.sum() == 6
    start = Moved(0.9, -0.2, 0.4)
    assert with_clusters(GENERAL, opposed, pairs, Clusters(labels, 600, 0.9), start) == start
    alike = np.repeat(np.eye(6, 16, dtype=np.float32), 2, axis=0)
    known = _versions(rows.tolist(), [WHOLE] * 12, alike, np.full(12, 5.0))
    assert with_clusters(GENERAL, known, pairs, Clusters(labels, 6, 0.39), start) == start
    some, more = (with_clusters(GENERAL, known, pairs, Clusters(labels, 6, found), start) for found in (0.5, 0.9))
    assert start.weight < some.weight < more.weight and abs(some.scale - 0.9) < abs(more.scale - 0.9)


def test_whole_clusters_are_drawn_before_recordings_that_are_alone() -> None:
    clusters = Clusters(np.array([0, 1, 2, 1, 3, 2, 2, 4]), 2, 0.9)
    for seed in range(8):
        drawn = drawn_members(clusters, 5, np.random.default_rng(seed)).tolist()
        assert drawn == [1, 2, 3, 5, 6]
        assert drawn_members(clusters, 2, np.random.default_rng(seed)).tolist() in ([1, 3], [2, 5])
    assert drawn_members(clusters, 99, np.random.default_rng(0)).tolist() == list(range(8))


# --- the map


def test_an_adapted_map_is_the_general_one_times_scale_plus_shift_and_survives_the_file() -> None:
    domain = Domain(40, 12, 0, -1.0, 1.5, 0.9, -0.7, 0.5)
    general = ScoreMap(
        10.0, -3.0, "", (Term("speech", 2.0, -1.0, 0.0, 2.0, 3.0),), rise=5.0, rises_from=0.3, familiar_up_to=1.0
    )
    moved, scores = general.moved(domain), np.array([-0.2, 0.3, 0.9])
    measures = {"speech": np.array([0.1, 1.0, 5.0])}
    np.testing.assert_allclose(moved.llr(scores, measures), 0.9 * general.llr(scores, measures) - 0.7)
    # what is unfamiliar loses of the shift, too: it fades towards 0
    faded = {**measures, "unfamiliarity": np.array([5.0, 5.0, 5.0])}
    left, unfaded = general.evidence_left(faded), moved.llr(scores, measures)
    np.testing.assert_allclose(moved.llr(scores, faded), unfaded * np.where(unfaded < 0, left**3, left))
    assert ScoreMap.restored(json.loads(json.dumps(moved.as_dict()))) == moved
    assert "adapted_to" not in general.as_dict()


@pytest.mark.parametrize(("scale", "shift", "weight"), [(-0.1, 0.0, 0.5), (1.0, float("nan"), 0.5), (1.0, 0.0, 1.1)])
def test_a_domain_that_would_turn_scores_around_is_refused(scale: float, shift: float, weight: float) -> None:
    with pytest.raises(MetricError, match="a domain needs finite numbers"):
        Domain(40, 12, 0, -1.0, 1.5, scale, shift, weight)


def test_only_a_general_map_is_adapted() -> None:
    with pytest.raises(CheckpointError, match="carries no score map to adapt"):
        general_map(SpectrumEncoder())
    adapted = GENERAL.moved(Domain(40, 12, 0, -1.0, 1.5, 1.0, 0.0, 0.5))
    with pytest.raises(CheckpointError, match="was adapted before"):
        general_map(SpectrumEncoder(adapted))


# --- recordings


def made_up_domain(people: int, each: int) -> DomainMaterial:
    """Made-up embeddings of people, four versions a recording, for a map by which strangers have llrs of -4."""
    rng = np.random.default_rng(0)
    embeddings, names, kinds, paths = [], [], [], []
    for person in range(people):
        voice = rng.standard_normal(64)
        for number in range(each):
            paths.append(f"/{person}/{number}.wav")
            for kind in (WHOLE, ENDING, BEGINNING, LONG_ENDING):
                row = voice + 0.5 * rng.standard_normal(64)
                embeddings.append(row / np.linalg.norm(row))
                names.append(len(paths) - 1)
                kinds.append(kind)
    count = len(names)
    versions = _versions(names, kinds, np.array(embeddings, np.float32), np.full(count, 5.0))
    return DomainMaterial(tuple(paths), versions, {})


def _versions(names: list[int], kinds: list[int], embeddings: np.ndarray, speech_s: np.ndarray) -> Versions:
    unknown = np.full(len(names), np.nan)
    return Versions(np.array(names), np.array(kinds), embeddings, speech_s, 4 * speech_s, unknown, unknown)


def test_domains_of_few_people_or_recordings_are_refused() -> None:
    with pytest.raises(TrialError, match=r"about 1\.0 people were found in 24 recordings, and at least 4"):
        adapt_map(GENERAL, made_up_domain(1, 24))
    with pytest.raises(TrialError, match=r"about [23]\.\d people"):
        adapt_map(GENERAL, made_up_domain(3, 8))
    with pytest.raises(TrialError, match="18 recordings can be used, and 20 at least are needed"):
        adapt_map(GENERAL, made_up_domain(6, 3))


def test_a_domain_is_adapted_to_and_planted_pairs_are_judged_by_both_maps() -> None:
    material = made_up_domain(12, 3)
    found = adapt_map(GENERAL, material)
    domain, check = found.score_map.adapted_to, found.check
    assert domain is not None and check is not None
    assert (domain.recordings, domain.labelled) == (36, 0) and 8 <= domain.speakers <= 30
    # strangers score about -4 here, lower than elsewhere: the map may be surer of 'same'
    assert found.cohort.middle == pytest.approx(-4.0, abs=0.3) and domain.shift > 0.5
    assert check.planted == 36 and check.others == 72 * 71 // 2 - 36
    assert check.after["planted_same"] >= check.before["planted_same"] > 0.9 > 0.1 > check.after["others_same"]
    assert adapt_map(GENERAL, material) == found  # no draw without a seed
    assert found.clusters is not None and found.clusters.count == domain.clusters == 12
    assert found.clusters.labels.tolist() == np.repeat(found.clusters.labels[::3], 3).tolist()  # three each


def test_an_adapted_map_says_what_the_recordings_were_like() -> None:
    assert adapt_map(GENERAL, made_up_domain(12, 3)).score_map.baseline is None  # too few to say so
    material = made_up_domain(20, 3)
    baseline = adapt_map(GENERAL, material).score_map.baseline
    assert baseline is not None and baseline.recordings == 60 and baseline.evidence is None
    assert set(baseline.quantities) == {"speech_s", "snr_db"}  # what is known here
    in_part = adapt_map(GENERAL, replace(material, shortened=4)).score_map.baseline
    assert in_part is not None and set(in_part.quantities) == {"snr_db"}


def test_labels_are_used_and_their_speakers_kept_as_digests() -> None:
    material = made_up_domain(8, 3)
    known = {path: path.split("/")[1] for path in material.paths if int(path.split("/")[1]) < 4}
    found = adapt_map(GENERAL, material, known)
    domain = found.score_map.adapted_to
    assert domain is not None and (domain.speakers, domain.labelled) == (4, 12)
    assert found.score_map.speakers == tuple(sorted(speaker_digests(["0", "1", "2", "3"])))
    rows = np.array([int(path.split("/")[1]) for path in material.paths])[material.versions.names]
    with pytest.raises(TrialError, match="at least 3 speakers are needed, one of them with two recordings; 2"):
        labelled_pairs(material.versions, np.where(rows < 2, rows, -1), 0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten made-up people, two recordings each of 3.2 s, and what cannot be used."""
    folder = tmp_path_factory.mktemp("domain")
    for speaker in range(10):
        for utterance in range(2):
            path = folder / f"{speaker}" / f"{utterance}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, speak(made_up_speaker(5, speaker), utterance, 3.2), SAMPLE_RATE)
    soundfile.write(folder / "silent.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    (folder / "z-copy.wav").write_bytes((folder / "0" / "0.wav").read_bytes())
    return folder


def test_recordings_are_heard_whole_at_both_ends_and_changed_where_they_have_labels(recordings: Path) -> None:
    paths = [str(path) for path in recordings.rglob("*.wav")]
    labelled = [str(recordings / "3" / "0.wav")]
    found = hear_domain(SpectrumEncoder(), paths, labelled)
    assert len(found.paths) == 20 and [Path(path).name for path in found.unusable] == ["silent.wav", "z-copy.wav"]
    assert "has the samples of" in found.unusable[str(recordings / "z-copy.wav")]
    kinds = {row: set(found.versions.kinds[found.versions.names == row].tolist()) for row in range(20)}
    of_labelled = found.paths.index(labelled[0])
    changed = set(range(LONG_ENDING + 1, LONG_ENDING + 1 + len(CHANGED)))
    assert kinds.pop(of_labelled) == {WHOLE, ENDING, BEGINNING} | changed
    assert all(one == {WHOLE, ENDING, BEGINNING} for one in kinds.values())  # 3.2 s are too short for 5 s
    assert len(found.planted[0]) == 20
    assert found.changed.tolist() == [of_labelled]


def test_a_folder_of_nothing_usable_is_refused_in_a_sentence(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path in paths:
        soundfile.write(path, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    found = hear_domain(SpectrumEncoder(), [str(path) for path in paths])
    assert found.paths == () and len(found.unusable) == 3
    with pytest.raises(TrialError, match="0 recordings can be used, and 20 at least"):
        adapt_map(GENERAL, found)


def test_recordings_can_be_heard_changed_later(recordings: Path) -> None:
    paths = [str(path) for path in recordings.rglob("?.wav") if path.parent.name < "2"]
    at_once, later = hear_domain(SpectrumEncoder(), paths, paths), hear_domain(SpectrumEncoder(), paths)
    assert len(later.changed) == 0
    some = hear_changed(SpectrumEncoder(), later, np.array([1, 3]))
    assert some.changed.tolist() == [1, 3] and np.all(np.diff(some.versions.names) >= 0)
    assert some.paths == later.paths and some.planted[0].size == later.planted[0].size
    both = hear_changed(SpectrumEncoder(), later, np.arange(4))
    order = np.lexsort((both.versions.kinds, both.versions.names))
    expected = np.lexsort((at_once.versions.kinds, at_once.versions.names))
    for name in ("names", "kinds", "embeddings", "speech_s", "snr_db"):
        np.testing.assert_array_equal(getattr(both.versions, name)[order], getattr(at_once.versions, name)[expected])


def test_the_verb_writes_a_model_with_another_map_and_the_same_embeddings(
    recordings: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sound_groove.export.calibrated_file import write_calibrated

    model, out = tmp_path / "general.safetensors", tmp_path / "adapted.safetensors"
    write_calibrated(model_path, GENERAL, model)
    labels = tmp_path / "known.tsv"
    labels.write_text("".join(f"{recordings}/{i}/{j}.wav\t{i}\n" for i in range(10) for j in range(2)))
    command = ["adapt", str(model), "--to", str(recordings), "--labels", str(labels), "--out", str(out), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    before, after = (SpeakerEncoder.load(path) for path in (model, out))
    assert after.score_map is not None and after.score_map.adapted_to is not None
    assert told["adapted_to"]["labelled"] == 20 and told["cohort"]["kept_as"] == "statistics"
    assert after.identity.hash == before.identity.hash  # voiceprints made with the one go with the other
    assert after.score_map.scale == pytest.approx(told["adapted_to"]["scale"] * GENERAL.scale)
    assert main(["info", str(out)]) == 0
    assert "score_map.adapted_to.recordings" in capsys.readouterr().out
    assert main(command) == 1 and "is there already" in capsys.readouterr().err
    assert main([*command[:1], str(out), *command[2:-2], str(tmp_path / "twice.safetensors")]) == 1
    assert "was adapted before" in capsys.readouterr().err
