"""`calibrate`: what a map is fitted on, what is said of it, and that it reaches the model file and nothing else."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

from evaluation_inputs import SpectrumEncoder
from sound_groove import SpeakerEncoder, compare
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.cli import main
from sound_groove.cli.calibrate import summary
from sound_groove.encoder.onnx_content import CHECKSUM
from sound_groove.errors import CheckpointError, OutputError, TrialError
from sound_groove.evaluation import calibration_material
from sound_groove.evaluation.calibrating import Judged, calibrate, check_calibration
from sound_groove.evaluation.calibration_material import CalibrationSettings
from sound_groove.evaluation.trials.trial_sets import (
    TrialSet,
    joined_collections,
    trials_from_list,
    trials_from_validation,
)
from sound_groove.evaluation.versions import Condition, conditions, drawn_conditions, make_versions
from sound_groove.export.calibrated_file import check_destination, write_calibrated
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.tensor_groups import GROUPS
from sound_groove.networks.trained_speakers import speaker_digests
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import Samples

SPEAKERS, UTTERANCES = 12, 3
QUICK = CalibrationSettings((1.0,), resamples=0)


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of made-up voices, listed as `prepare` lists a validation set."""
    folder = tmp_path_factory.mktemp("voices")
    lines = []
    for speaker in range(SPEAKERS):
        voice = made_up_speaker(3, speaker)
        for utterance in range(UTTERANCES):
            path = folder / f"speaker{speaker}" / f"{utterance}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, speak(voice, utterance, 2.0), SAMPLE_RATE)
            name = f"speaker{speaker}/{utterance}"
            lines.append({"speaker": f"speaker{speaker}", "utterance": name, "paths": [f"{name}.wav"]})
    (folder / "val_meta.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module", autouse=True)
def versions_made_once() -> Iterator[None]:
    """The versions of a recording are made once: rooms and codecs take most of the time of a fit."""
    known: dict[bytes, list[tuple[Condition, Samples]]] = {}

    def remembered(
        samples: Samples, wanted: Sequence[Condition], others: Sequence[Samples], seed: int
    ) -> list[tuple[Condition, Samples]]:
        digest = hashlib.sha256(repr((wanted, seed)).encode())
        for array in (samples, *others):
            digest.update(hashlib.sha256(array.tobytes()).digest())
        if digest.digest() not in known:
            known[digest.digest()] = list(make_versions(samples, wanted, others, seed))
        return known[digest.digest()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration_material, "make_versions", remembered)
        yield


@pytest.fixture(scope="module")
def trial_set(voices: Path) -> TrialSet:
    return trials_from_validation(voices / "val_meta.jsonl")


@pytest.fixture(scope="module")
def calibrated(trial_set: TrialSet) -> Judged:
    return calibrate(
        SpectrumEncoder(), trial_set, "made-up voices", CalibrationSettings((1.0,), resamples=50, threads=2)
    )


# --- versions of a recording


def test_cuts_are_parts_of_the_recording_and_noise_is_as_loud_as_it_should_be() -> None:
    samples = 0.2 * speak(made_up_speaker(1, 0), 0, 3.0)
    others = [0.2 * speak(made_up_speaker(1, 1), 0, 2.0)]
    wanted = conditions((1.0, 2.0, 10.0))
    ratios = []
    for seed in range(20):
        versions = dict(make_versions(samples, wanted, others, seed))
        lengths = {
            condition: len(version) / SAMPLE_RATE
            for condition, version in versions.items()
            if condition.kind in ("as it is", "noisy")
        }
        assert {str(condition) for condition in versions.keys() - lengths.keys()} == {
            f"{length}, {kind}"
            for length in ("1 s", "2 s", "whole")
            for kind in ("other pauses", "in a room", "over a line")
        }
        assert {str(condition): length for condition, length in lengths.items()} == {
            "1 s, as it is": 1.0, "2 s, as it is": 2.0, "whole, as it is": 3.0,
            "1 s, noisy": 1.0, "2 s, noisy": 2.0, "whole, noisy": 3.0,
        }  # fmt: skip
        cut = versions[Condition(1.0, "as it is")]
        places = np.flatnonzero(samples == cut[0])
        assert any(np.array_equal(samples[place : place + len(cut)], cut) for place in places)
        noise = versions[Condition(None, "noisy")] - samples
        ratios.append(10 * np.log10(np.square(samples).mean() / np.square(noise).mean()))
    assert min(ratios) > -0.1 and max(ratios) < 20.1 and np.ptp(ratios) > 10


def test_versions_are_a_function_of_the_seed() -> None:
    samples, wanted = speak(made_up_speaker(1, 0), 0, 2.0), conditions((1.0,))
    once, again, other = (list(make_versions(samples, wanted, [], seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(once, again, strict=True))
    assert not np.array_equal(once[0][1], other[0][1])


def test_a_recording_is_taken_in_every_length_as_it_is_and_in_one_for_each_other_kind() -> None:
    wanted, drawn = conditions((1.0, 2.0, 10.0)), []
    for seed in range(30):
        found = drawn_conditions(wanted, 3 * SAMPLE_RATE, np.random.default_rng(seed))
        assert [str(one) for one in found[:3]] == ["1 s, as it is", "2 s, as it is", "whole, as it is"]
        assert [one.kind for one in found[3:]] == ["noisy", "other pauses", "in a room", "over a line"]
        drawn += [one.duration_s for one in found[3:]]
    assert {1.0, 2.0, None} == set(drawn) and min(map(drawn.count, (1.0, 2.0, None))) > 20


def test_rooms_ring_on_and_telephones_carry_no_high_sounds() -> None:
    rng = np.random.default_rng(0)
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[100] = 0.5
    noise = rng.uniform(-0.3, 0.3, SAMPLE_RATE).astype(np.float32)
    rooms, lines = (Condition(None, "in a room"),), (Condition(None, "over a line"),)
    for seed in range(6):
        ((_, ringing),) = make_versions(click, rooms, [], seed)
        assert len(ringing) == len(click) and np.abs(ringing[:100]).max() < 1e-4 < np.abs(ringing[500:2000]).max()
    shares = []
    for seed in range(24):
        ((_, sent),) = make_versions(noise, lines, [], seed)
        power = np.square(np.abs(np.fft.rfft(sent)))
        shares.append(power[4500:].sum() / power.sum())
    narrow = np.array(shares) < 0.05
    assert 6 <= narrow.sum() <= 18  # half of the lines are telephones; white noise has 0.44 of its power above 4.5 kHz


# --- the fit


def test_what_is_said_of_a_map_holds_for_speakers_that_it_has_not_seen(calibrated: Judged) -> None:
    assert calibrated.speakers == SPEAKERS and calibrated.recordings == SPEAKERS * UTTERANCES
    assert list(calibrated.by_condition) == [
        "1 s, as it is", "whole, as it is", "noisy", "other pauses", "in a room", "over a line"
    ]  # fmt: skip
    assert calibrated.by_collection == {} and calibrated.score_map.bounds is None
    assert calibrated.score_map.calibrated and calibrated.score_map.fitted_on == "made-up voices"
    cost = calibrated.overall["cllr"]
    assert cost["low"] <= cost["value"] <= cost["high"] and cost["value"] < 1
    assert calibrated.score_map.figures["cllr"] == cost["value"]
    for figures in (calibrated.overall, *calibrated.by_condition.values()):
        for shares in figures["verdicts"].values():
            assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) >= 0


def test_poor_recordings_are_inconclusive_more_often_and_not_wrong_more_often_than_said(
    calibrated: Judged,
) -> None:
    poor, good = calibrated.by_condition["noisy"], calibrated.by_condition["whole, as it is"]
    inconclusive = [[of["verdicts"][kind]["inconclusive"] for kind in ("targets", "nontargets")] for of in (poor, good)]
    assert all(more >= less for more, less in zip(*inconclusive, strict=True))
    # Of a few speakers both may be the same, all of them inconclusive.
    assert poor["cllr"]["value"] > good["cllr"]["value"]
    for figures in (poor, good, calibrated.overall):
        for verdict, kind in (("same", "nontargets"), ("different", "targets")):
            wrong = figures["wrong_verdicts"][verdict]
            assert wrong["value"] == figures["verdicts"][kind][verdict]
            assert 0 <= wrong["low"] <= wrong["value"] <= wrong["high"] <= 1
    score_map = calibrated.score_map
    highs = {term.measure: term.high for term in score_map.terms}
    lows = {term.measure: term.low for term in score_map.terms}
    assert set(lows) == {"speech", "snr"}
    scale_of_poor, scale_of_good = (float(score_map.line(measures)[0]) for measures in (lows, highs))
    assert scale_of_poor < scale_of_good  # the same score says less


def test_collections_are_left_out_in_turn(trial_set: TrialSet) -> None:
    # Made-up collections of four speakers each: their trials are those within them.
    within = trial_set.in_collections([f"c{int(speaker) % 3}" for speaker in trial_set.speakers])
    found = calibrate(SpectrumEncoder(), within, "made-up voices", QUICK)
    assert list(found.by_collection) == ["c0", "c1", "c2"]
    assert found.score_map.bounds is not None and found.score_map.figures["collections"] == 3
    for figures in found.by_collection.values():
        assert 0 <= figures["ece"] <= 1 and figures["cllr"]["value"] >= figures["min_cllr"]["value"] > 0
    assert found.overall["trials"] == sum(figures["trials"] for figures in found.by_collection.values())
    text = "\n".join(summary(found, Path("x.onnx")))
    assert "3 collections of 12 speakers" in text and "without c2" in text
    assert "of pairs of one speaker are called 'different' (without c" in text


def test_collections_that_cannot_be_left_out_are_refused(trial_set: TrialSet) -> None:
    ids = trial_set.trials.ids
    with pytest.raises(TrialError, match=r"the speaker of 'speaker0/[012]' is in two collections"):
        numbers = np.where(np.array(ids) == "speaker0/2", 1, trial_set.speakers % 3)
        mixed = trial_set.in_collections([f"c{number}" for number in numbers])
        calibrate(SpectrumEncoder(), mixed, "made-up voices", QUICK)
    alone = trial_set.in_collections(
        ["lonely" if speaker == 0 else f"c{speaker % 2}" for speaker in trial_set.speakers]
    )
    with pytest.raises(TrialError, match="collection 'lonely' has no trials of two speakers"):
        calibrate(SpectrumEncoder(), alone, "made-up voices", QUICK)


def test_the_same_seed_gives_the_same_map(
    trial_set: TrialSet, calibrated: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_material, "make_versions", make_versions)  # which draws anew
    again = calibrate(SpectrumEncoder(), trial_set, "made-up voices", QUICK)
    assert again.score_map == replace(calibrated.score_map, figures=again.score_map.figures)


def test_a_map_is_checked_on_speakers_of_its_own(trial_set: TrialSet, calibrated: Judged) -> None:
    model = SpectrumEncoder()
    plain = replace(calibrated.score_map, familiar_up_to=None)  # evidence that fades changes the order of llrs
    model.score_map = plain
    with pytest.raises(TrialError, match="was calibrated on 12 speakers of these trials, such as 'speaker0'"):
        check_calibration(model, trial_set, QUICK)
    anyhow = replace(QUICK, allow_trained_speakers=True)
    checked = check_calibration(model, trial_set, anyhow)
    assert checked.score_map == plain
    # On the very speakers that it was fitted on, all their pairs, and so it looks a little better than cross-validated.
    assert checked.overall["trials"] > calibrated.overall["trials"]
    assert checked.overall["cllr"]["value"] < calibrated.overall["cllr"]["value"] + 0.05
    model.score_map = replace(plain, offset=plain.offset + 5)  # far too ready to say 'same'
    worse = check_calibration(model, trial_set, anyhow)
    assert worse.overall["cllr"]["value"] > 2 * checked.overall["cllr"]["value"]
    assert worse.overall["min_cllr"]["value"] == pytest.approx(checked.overall["min_cllr"]["value"], abs=1e-9)
    model.score_map = None
    with pytest.raises(CheckpointError, match="carries no score map"):
        check_calibration(model, trial_set, QUICK)


def test_a_large_set_is_thinned_out(trial_set: TrialSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_material, "MOST_NAMES", 20)
    result = calibrate(SpectrumEncoder(), trial_set, "", QUICK)
    assert result.recordings == 20


def test_speakers_that_the_model_was_trained_on_are_refused(trial_set: TrialSet, calibrated: Judged) -> None:
    model = SpectrumEncoder()
    model.trained_speakers = speaker_digests(["speaker3", "somebody else"])
    with pytest.raises(TrialError, match="was trained on 1 speaker of these trials, such as 'speaker3'"):
        calibrate(model, trial_set, "", QUICK)
    everybody = speaker_digests(f"speaker{number}" for number in range(SPEAKERS))
    assert calibrated.score_map.speakers == tuple(sorted(everybody))  # so that nobody judges the map by them


def test_too_few_speakers_say_nothing_about_others(voices: Path, tmp_path: Path) -> None:
    names = [f"speaker{speaker}/{utterance}.wav" for speaker in range(3) for utterance in range(2)]
    lines = [f"{int(a[:8] == b[:8])} {a} {b}\n" for i, a in enumerate(names) for b in names[i + 1 :]]
    (tmp_path / "few.txt").write_text("".join(lines))
    with pytest.raises(TrialError, match="at least 10 speakers, and these are of 3"):
        calibrate(SpectrumEncoder(), trials_from_list(tmp_path / "few.txt", voices), "", QUICK)


# --- the file


@pytest.mark.parametrize("kind", ["model_path", pytest.param("exported", marks=pytest.mark.slow)])
def test_the_map_goes_into_the_file_and_nothing_else_changes(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, calibrated: Judged
) -> None:
    model: Path = request.getfixturevalue(kind)
    path = tmp_path / f"calibrated{model.suffix}"
    write_calibrated(model, calibrated.score_map, path)
    before, after = SpeakerEncoder.load(model), SpeakerEncoder.load(path)
    assert after.score_map == calibrated.score_map and before.score_map != calibrated.score_map
    assert after.identity == before.identity
    voice = speak(made_up_speaker(1, 0), 0, 2.0)
    assert np.array_equal(after.embed(voice), before.embed(voice))
    if model.suffix == ".safetensors":
        first, second = load_checkpoint(model, GROUPS), load_checkpoint(path, GROUPS)
        assert first.tensors.keys() == second.tensors.keys()
        assert replace(second.header, score_map=first.header.score_map) == first.header
    else:
        first, second = onnx.load(model), onnx.load(path)
        for proto in (first, second):
            kept = [entry for entry in proto.metadata_props if entry.key not in ("score_map", CHECKSUM)]
            del proto.metadata_props[:]
            proto.metadata_props.extend(kept)
        assert first == second


def test_nothing_is_lost_unasked(model_path: Path, tmp_path: Path) -> None:
    plain, done = ScoreMap(1.0, 0.0, "validation"), ScoreMap(1.0, 0.0, "my voices", calibrated=True)
    assert check_destination(model_path.parent, plain, None, False) == model_path
    with pytest.raises(OutputError, match="is calibrated already, on my voices; replace that with --force"):
        check_destination(model_path, done, None, False)
    assert check_destination(model_path, done, None, True) == model_path
    there = tmp_path / "there.safetensors"
    there.touch()
    with pytest.raises(OutputError, match="is there already"):
        check_destination(model_path, done, there, False)
    with pytest.raises(OutputError, match=r"must end in \.safetensors"):
        check_destination(model_path, done, tmp_path / "m.onnx", False)
    with pytest.raises(OutputError, match="there is no folder"):
        check_destination(model_path, done, tmp_path / "nowhere" / "m.safetensors", False)


# --- the command line


def test_the_command_line_calibrates_a_model_that_compare_then_trusts(
    voices: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibrated.onnx"
    words = ["calibrate", str(exported), "--val-meta", str(voices / "val_meta.jsonl"), "--durations", "1"]
    assert main([*words, "--out", str(out)]) == 0
    printed, talk = capsys.readouterr()
    assert "cross-validated over 12 speakers, 36 recordings" in printed and "whole, as it is" in printed
    assert f"the calibration is in {out}" in talk
    first, second = voices / "speaker0" / "0.wav", voices / "speaker0" / "1.wav"
    codes = [warning.code for warning in compare(first, second, out).warnings]
    assert "uncalibrated" not in codes
    assert "uncalibrated" in [warning.code for warning in compare(first, second, exported).warnings]
    assert main([*words, "--out", str(out)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "--out", str(out), "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score_map"]["calibrated"] is True
    assert main(["info", str(out)]) == 0  # on one screen: how many speakers, not which
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("score_map"))
    assert rows["score_map.speakers"] == "12, listed by --json"
    before, picture = out.read_bytes(), tmp_path / "reliability.png"
    check = ["calibrate", str(out), "--check", *words[2:], "--plot", str(picture)]
    assert main(check) == 1
    assert "was calibrated on 12 speakers of these trials" in capsys.readouterr().err
    assert main([*check, "--allow-trained-speakers"]) == 0
    assert "checked on 12 speakers" in capsys.readouterr().out
    assert out.read_bytes() == before and picture.stat().st_size > 10_000
    listed = tmp_path / "trials.txt"
    listed.write_text(
        "1 speaker0/0.wav speaker0/1.wav\n0 speaker0/0.wav speaker1/0.wav\n0 speaker1/0.wav speaker1/1.wav\n"
    )
    trials = ["--trials", str(listed), "--audio-root", str(voices), *words[4:], "--allow-trained-speakers"]
    assert main(["calibrate", str(out), "--check", *trials]) == 0
    told = capsys.readouterr()
    assert "checked on 3 speakers" in told.out  # of whom two are one
    assert "note: who speaks was found out from the same-speaker trials, which leaves 2 of 3 'speakers'" in told.err


def test_several_lists_are_a_collection_each(voices: Path, trial_set: TrialSet) -> None:
    ids, speakers = trial_set.trials.ids, trial_set.speakers
    sets = {}
    for number in range(3):
        within = [name for name, speaker in zip(ids, speakers, strict=True) if speaker % 3 == number]
        lines = [
            f"{int(one.split('/')[0] == other.split('/')[0])} {one}.wav {other}.wav\n"
            for place, one in enumerate(within)
            for other in within[place + 1 :]
        ]
        path = voices / f"c{number}.txt"
        path.write_text("".join(lines))
        sets[f"c{number}"] = trials_from_list(path, voices)
    joined = joined_collections(sets)
    assert joined.collection_names == ("c0", "c1", "c2") and len(joined.trials) == sum(
        len(part.trials) for part in sets.values()
    )
    assert len(np.unique(joined.speakers)) == SPEAKERS
    first = joined.trials.enrolments[-1]
    assert joined.trials.ids[first].startswith("c2: speaker") and joined.collections[first] == 2
    assert joined.sources[first] == sets["c2"].sources[sets["c2"].trials.enrolments[-1]]
    assert joined.trials.labels.sum() == SPEAKERS * 3  # three pairs of each speaker
    assert (joined.speakers[joined.trials.enrolments] == joined.speakers[joined.trials.tests]).tolist() == (
        joined.trials.labels.tolist()
    )
    named = {"a": trial_set, "b": trial_set}  # speakers of one name are one speaker
    assert len(np.unique(joined_collections(named).speakers)) == SPEAKERS
    with pytest.raises(TrialError, match=r"the speaker of 'a: speaker\d+/\d' is in two collections"):
        calibrate(SpectrumEncoder(), joined_collections({**named, "c": trial_set}), "", QUICK)


def test_the_command_line_refuses_wrong_use_with_2(
    voices: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = ["--val-meta", str(voices / "val_meta.jsonl")]
    for words, reason in (
        ([*meta, "--prior", "1"], "the prior must lie between 0 and 1"),
        ([*meta, "--durations", "0.1"], "--durations must lie between 0.3 and 600 s"),
        (["--trials", "a/x.txt", "b/x.txt"], "two of the collections are called 'x'; give their files"),
        (
            ["--trials", "x", "y", "--collections", "z"],
            "several lists are a collection each, so that",
        ),
        ([*meta, "--utt2spk", "x"], "--utt2spk needs --trials"),
        (["--trials", "x", "--pairs", "9"], "--pairs needs --val-meta"),
        ([*meta, "--check", "--force"], "--check writes no model"),
        ([*meta, "--plot", "x.svg"], "--plot draws a .png file"),
    ):
        assert main(["calibrate", str(exported), *words]) == 2
        assert reason in capsys.readouterr().err
