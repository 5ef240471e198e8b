"""Two models as one: their shares, the file that is both, and what is said of the gain."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression

from evaluation_inputs import SpectrumEncoder
from foreign_models import write_foreign
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, MetricError, OutputError, TrialError, UsageError
from sound_groove.evaluation import version_pairs
from sound_groove.evaluation.calibration_material import CalibrationSettings, Material
from sound_groove.evaluation.fusing import Fused, calibrate_fused, found_shares, fused_material
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import TrialSet
from sound_groove.evaluation.version_pairs import Pairs, Versions
from sound_groove.export.fused_file import check_fusible, write_fused
from sound_groove.importing.importer import import_model
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.map_regression import fit_shares
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import ModelIdentity

SPEAKERS, UTTERANCES = 12, 3
QUICK = CalibrationSettings((1.0,), resamples=0)
MAP = ScoreMap(10.0, -3.0, "nothing: made up")


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of made-up voices, listed as `prepare` lists a validation set."""
    folder = tmp_path_factory.mktemp("voices")
    lines = []
    for speaker in range(SPEAKERS):
        for utterance in range(UTTERANCES):
            name = f"{speaker}-{utterance}"
            soundfile.write(folder / f"{name}.wav", speak(made_up_speaker(5, speaker), utterance, 2.0), SAMPLE_RATE)
            lines.append({"speaker": f"speaker{speaker}", "utterance": name, "paths": [f"{name}.wav"]})
    (folder / "val_meta.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A foreign model that tells its norm: how much each filterbank varies."""
    folder = tmp_path_factory.mktemp("imported")
    source = write_foreign(folder / "s.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1)
    return import_model(
        source, folder / "other.onnx", pinned=True, name="other", licence="MIT", use="research only"
    ).file


def material_of(seed: int, spread: float, norm: float = np.nan, collections: int = 0) -> Material:
    """Embeddings of 60 made-up speakers, four recordings each, as if they had been computed.

    Args:
        seed: of the speakers, and of how each recording differs from its speaker.
        spread: of a speaker's recordings; those of speakers lie 1 apart.
        norm: of the embeddings.
        collections: that the speakers are of.
    """
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(60), 4)
    values = rng.standard_normal((60, 8))[speakers] + spread * rng.standard_normal((240, 8))
    unit = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    first, second = np.triu_indices(240, 1)
    kept = (first % 7 == second % 7) | (speakers[first] == speakers[second])
    first, second = first[kept], second[kept]
    labels = speakers[first] == speakers[second]
    parts = np.arange(60) % (collections or 5)
    if collections:
        within = parts[speakers[first]] == parts[speakers[second]]
        first, second, labels = first[within], second[within], labels[within]
    names = tuple(map(str, range(240)))
    sides = first.astype(np.int32), second.astype(np.int32)
    trials = TrialList(names, *sides, labels, sides[0], duplicates=0)
    ones, none = np.ones(240), np.zeros(240, np.int64)
    versions = Versions(np.arange(240), none, unit, ones, ones, np.full(240, norm), np.full(240, np.nan))
    called = tuple(f"collection {number}" for number in range(collections))
    return Material(trials, speakers, versions, Pairs(first, second, labels), parts, called, ())


# --- shares


def scores_of_two(trials: int, strengths: tuple[float, float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(trials) < 0.3
    return labels[:, None] * np.array(strengths) + rng.standard_normal((trials, 2)) * [1.0, 3.0], labels


def test_shares_are_those_of_weighted_logistic_regression() -> None:
    scores, labels = scores_of_two(4000, (1.0, 5.0), 1)
    weights = np.where(labels, 0.2 / labels.sum(), 0.8 / (~labels).sum())
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(scores, labels, weights * len(labels))
    found = fit_shares(scores, labels, prior=0.2)
    assert found == pytest.approx(oracle.coef_[0] / oracle.coef_[0].sum(), abs=1e-4)
    assert found.sum() == pytest.approx(1.0)
    # Independent normal scores: the coefficients are distance / variance, 1 and 5 / 9.
    assert fit_shares(*scores_of_two(400_000, (1.0, 5.0), 2)) == pytest.approx([9 / 14, 5 / 14], abs=0.01)


def test_collections_weigh_the_same() -> None:
    few, of_few = scores_of_two(1000, (3.0, 0.5), 1)
    many, of_many = scores_of_two(20_000, (0.5, 9.0), 2)
    scores, labels = np.concatenate((few, many)), np.concatenate((of_few, of_many))
    groups = np.repeat([0, 1], [len(few), len(many)])
    again = (
        np.concatenate((scores, many)),
        np.concatenate((labels, of_many)),
        0.5,
        np.concatenate((groups, [1] * 20_000)),
    )
    assert fit_shares(scores, labels, 0.5, groups) == pytest.approx(fit_shares(*again), abs=1e-6)
    assert fit_shares(scores, labels, 0.5, groups)[0] > fit_shares(scores, labels)[0] + 0.05


def test_what_points_the_wrong_way_has_no_share() -> None:
    scores, labels = scores_of_two(2000, (1.0, -5.0), 1)
    assert fit_shares(scores, labels).tolist() == [1.0, 0.0]
    with pytest.raises(MetricError, match="none of the scores is higher for one speaker"):
        fit_shares(-scores * [1.0, -1.0], labels)


# --- calibrating two models


def fused_of(materials: Sequence[Material], patch: pytest.MonkeyPatch) -> Fused:
    """What becomes of two models that have embedded these."""
    encoders = [SpectrumEncoder(), SpectrumEncoder()]
    for encoder, name in zip(encoders, ("one", "other"), strict=True):
        encoder.identity = ModelIdentity(name, name)
    known = dict(zip(map(id, encoders), materials, strict=True))
    patch.setattr(Material, "to_fit_on", lambda encoder, trial_set, settings: known[id(encoder)])
    nothing = TrialSet.__new__(TrialSet)
    return calibrate_fused(encoders, nothing, "made up", QUICK)


@pytest.mark.parametrize("collections", [0, 4])
def test_two_models_that_err_apart_are_worth_more_together(collections: int, monkeypatch: pytest.MonkeyPatch) -> None:
    materials = [material_of(1, 0.7, 4.0, collections), material_of(2, 1.1, 9.0, collections)]
    fused = fused_of(materials, monkeypatch)
    assert sum(fused.shares) == pytest.approx(1.0) and 0.5 < fused.shares[0] < 0.8
    assert all(round(20 * share, 9) == round(20 * share) for share in fused.shares)
    together = fused.judged.overall["cllr"]["value"]
    alone = [one.overall["cllr"]["value"] for one in fused.alone]
    assert together < 0.85 * alone[0] and alone[0] < alone[1]
    assert fused.judged.score_map.calibrated and fused.judged.score_map.figures["cllr"] == together
    assert len(fused.judged.by_collection) == collections
    scores = fused_material(materials, fused.shares).versions.scores(np.array([0, 1]), np.array([5, 1]))
    each = [one.versions.scores(np.array([0, 1]), np.array([5, 1])) for one in materials]
    assert scores == pytest.approx(fused.shares[0] * each[0] + fused.shares[1] * each[1], abs=1e-6)
    assert fused_material(materials, fused.shares).versions.norms == pytest.approx(np.full(240, 6.0))


def test_shares_are_found_without_the_part_that_is_judged() -> None:
    one, other = material_of(1, 0.7, collections=4), material_of(2, 0.8, collections=4)
    whole = found_shares([one, other], QUICK)
    spoilt = other.versions.embeddings.copy()
    spoilt[other.parts == 2] = 1 / np.sqrt(8)  # in this part it hears nobody
    broken = replace(other, versions=replace(other.versions, embeddings=spoilt))
    assert found_shares([one, broken], QUICK, 2) == found_shares([one, other], QUICK, 2)
    assert found_shares([one, broken], QUICK)[1] < whole[1]


def test_a_model_that_adds_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrialError, match="'other' adds nothing to 'one' on these trials; calibrate that one alone"):
        fused_of([material_of(1, 0.3), material_of(2, 60.0)], monkeypatch)


# --- the file


def test_the_file_has_both_embeddings_in_their_shares(exported: Path, imported: Path, tmp_path: Path) -> None:
    paths, out = check_fusible(["pretrained", imported], tmp_path / "both.onnx", force=False)
    written = write_fused(paths, (0.35, 0.65), MAP, out)
    both, own, other = (SpeakerEncoder.load(path) for path in (out, "pretrained", imported))
    voices = [speak(made_up_speaker(6, number), 0, 1.0 + 2 * number) for number in range(3)]  # the first is repeated
    voices.append(np.concatenate((voices[2], np.zeros(20_000, np.float32), voices[1])))  # with a pause to cut out
    found, first, second = (encoder.embed(voices) for encoder in (both, own, other))
    assert found.shape == (4, 192 + 80) and written.embedding_size == 272
    assert found @ found.T == pytest.approx(0.35 * first @ first.T + 0.65 * second @ second.T, abs=2e-6)
    lengths = [np.array(encoder.embed_voices(voices[:2]).norms) for encoder in (both, own, other)]
    assert lengths[0] == pytest.approx(np.sqrt(lengths[1] * lengths[2]), rel=1e-4)
    assert both.score_map == MAP and both.proof is not None
    assert both.trained_speakers == own.trained_speakers and len(own.trained_speakers) > 1000
    facts = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert facts["name"] == "pretrained + other" and facts["licence"].endswith("; other: MIT")
    assert facts["use"] == "other: research only"
    assert [one["share"] for one in json.loads(facts["network"])["models"]] == [0.35, 0.65]
    long = np.tile(voices[2], 15)  # 75 s: two pieces, at the level of the whole
    pieces = [encoder.embed(long, keep_pauses=False) for encoder in (both, own, other)]
    assert pieces[0][:192] / np.linalg.norm(pieces[0][:192]) @ pieces[1] > 0.9999


def test_other_shares_make_another_model(exported: Path, imported: Path, tmp_path: Path) -> None:
    hashes = set()
    for number, shares in enumerate(((0.35, 0.65), (0.5, 0.5), (0.35, 0.65))):
        paths, out = check_fusible([exported, imported], tmp_path / f"{number}.onnx", force=False)
        hashes.add(write_fused(paths, shares, MAP, out).hash)
    assert len(hashes) == 2


def test_what_cannot_be_fused_is_refused(exported: Path, imported: Path, model_path: Path, tmp_path: Path) -> None:
    foreign = write_foreign(tmp_path / "s.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1)
    (tmp_path / "there.onnx").touch()
    for models, out, kind, message in (
        ([exported, imported], None, UsageError, "two models become one file, which --out must name"),
        ([exported, imported], "m.safetensors", UsageError, "ending in .onnx"),
        ([exported, imported], "there.onnx", OutputError, "is there already"),
        ([exported, exported], "m.onnx", UsageError, "are one model; nothing is gained"),
        ([exported, model_path], "m.onnx", UsageError, "models are fused as ONNX files; 'sound-groove export"),
        ([exported, foreign], "m.onnx", CheckpointError, "is no model of ours; 'sound-groove import"),
        ([exported, tmp_path / "no.onnx"], "m.onnx", CheckpointError, "no.onnx"),
    ):
        with pytest.raises(kind, match=message):
            check_fusible(models, None if out is None else tmp_path / out, force=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.onnx", "there.onnx"]


def test_one_command_makes_one_model_of_two(
    voices: Path,
    exported: Path,
    imported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(version_pairs, "PAIRS", 4_000)
    out, listed = tmp_path / "both.onnx", ["--val-meta", str(voices / "val_meta.jsonl"), "--durations", "1"]
    assert main(["calibrate", str(exported), str(imported), *listed, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "random + other" in shown and "mean over the pairs of all folds; EER in %" in shown
    model = SpeakerEncoder.load(out)
    assert model.score_map is not None and model.score_map.calibrated
    one, two = (str(voices / f"0-{number}.wav") for number in (0, 1))
    assert main(["compare", one, two, "--model", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"]["name"] == "random + other" and "uncalibrated" not in str(answer["warnings"])
    assert main(["calibrate", str(exported), str(imported), *listed, "--check"]) == 2
    assert "--check judges one model" in capsys.readouterr().err
    assert main(["calibrate", str(exported), str(imported), str(out), *listed, "--out", str(tmp_path / "3.onnx")]) == 2
    assert "or two are made one; 3 were given" in capsys.readouterr().err
