"""Enrolments of several recordings, in lists of every kind; and models that know the speakers they are judged on."""

import doctest
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cnceleb_tree import CnCelebTree, build_cnceleb
from evaluation_inputs import SpectrumEncoder, read_scores, tone
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import TrialError, UsageError
from sound_groove.evaluation.trials import known_speakers
from sound_groove.evaluation.trials.known_speakers import find_known_speakers, guess_speakers
from sound_groove.evaluation.trials.trial_sets import TrialSet, trials_from_list, trials_from_validation
from sound_groove.evaluation.verification import VerificationSettings, evaluate
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.trained_speakers import speaker_digests

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = VerificationSettings(resamples=0)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CnCelebTree:
    return build_cnceleb(tmp_path_factory.mktemp("cnceleb"), dev=2, evaluation=4, second=2, clean=True)


def cnceleb(tree: CnCelebTree, *words: Any, **named: Any) -> TrialSet:
    return trials_from_list(tree.lists / "trials.lst", tree.cnceleb1 / "eval", *words, **named)


def scored(trial_set: TrialSet, out: Path, *trained: str, **settings: Any) -> tuple[dict[str, Any], np.ndarray]:
    encoder = SpectrumEncoder()
    encoder.trained_speakers = speaker_digests(trained)
    metrics = evaluate(encoder, trial_set, out, VerificationSettings(resamples=0, **settings))
    return metrics, read_scores(out / "scores.tsv")[1]


def embedding(path: Path) -> np.ndarray:
    """The unit embedding of a file whose suffix may differ."""
    found = next(file for file in path.parent.iterdir() if file.stem == path.stem)
    return np.asarray(SpectrumEncoder().embed([soundfile.read(found, dtype="float32")[0]])[0], dtype=np.float64)


def write(folder: Path, name: str, content: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


# --- enrolments of several recordings


def test_each_published_protocol_of_cnceleb_is_what_its_name_says(tree: CnCelebTree, tmp_path: Path) -> None:
    lines = [line.split() for line in (tree.lists / "trials.lst").read_text().splitlines()]
    maps = {line.split()[0]: line.split()[1:] for line in (tree.lists / "enroll.map").read_text().splitlines()}
    expected: dict[str, list[float]] = {"average": [], "concatenated": []}
    for model, test, _ in lines:
        heard = embedding(tree.cnceleb1 / "eval" / test)
        mean = sum(embedding(tree.cnceleb1 / "data" / name) for name in maps[model])
        expected["average"].append(float(mean @ heard / np.linalg.norm(mean)))
        expected["concatenated"].append(float(embedding(tree.cnceleb1 / f"eval/enroll/{model}.wav") @ heard))
    for protocol, scores in expected.items():
        metrics, found = scored(cnceleb(tree, protocol), tmp_path / protocol)
        assert metrics["protocol"] == protocol and metrics["trials"] == tree.trials
        np.testing.assert_allclose(found, scores, atol=1e-5)
    assert not np.allclose(expected["average"], expected["concatenated"], atol=1e-4)


def test_a_map_that_is_named_gives_what_the_one_beside_the_list_gives(tree: CnCelebTree, tmp_path: Path) -> None:
    elsewhere = write(tmp_path, "models.txt", (tree.lists / "enroll.map").read_text())
    named = cnceleb(tree, enroll_map=elsewhere)
    assert named.sources == cnceleb(tree, "average").sources
    assert named.protocol == "average" and named.origin["names"] == str(elsewhere)


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Two 'speakers' with two recordings to enrol and one to test."""
    for name, frequency in {"a/1": 500, "a/2": 560, "a/3": 530, "b/1": 2000, "b/2": 2200, "b/3": 2100}.items():
        tone(tmp_path / f"wav/{name}.wav", frequency)
    return tmp_path


LISTS = {
    "VoxCeleb": "1 anna a/3.wav\n0 anna b/3.wav\n0 ben a/3.wav\n1 ben b/3.wav\n",
    "CN-Celeb": "anna a/3.wav 1\nanna b/3.wav 0\nben a/3.wav 0\nben b/3.wav 1\n",
    "Kaldi": "anna a/3.wav target\nanna b/3.wav nontarget\nben a/3.wav nontarget\nben b/3.wav target\n",
}


@pytest.mark.parametrize("form", LISTS)
def test_enrolments_of_several_files_work_with_lists_of_every_kind(tones: Path, form: str) -> None:
    path = write(tones, "trials.txt", LISTS[form])
    models = write(tones, "models.txt", "anna a/1.flac a/2.wav\nben b/1.wav b/2.wav\nunused gone.wav\n")
    metrics, scores = scored(trials_from_list(path, tones / "wav", enroll_map=models), tones / "out")
    assert metrics["trial_list"]["format"] == form and metrics["protocol"] == "average"
    assert metrics["recordings"] == 6
    expected = []
    for model in "ab":
        mean = embedding(tones / f"wav/{model}/1.wav") + embedding(tones / f"wav/{model}/2.wav")
        expected += [float(mean @ embedding(tones / f"wav/{t}/3.wav") / np.linalg.norm(mean)) for t in "ab"]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_the_utterances_of_a_spk2utt_are_found_through_wav_scp(tones: Path) -> None:
    path = write(tones, "trials.txt", "anna a3 target\nanna b3 nontarget\n")
    write(tones, "wav.scp", "a1 a/1.wav\na2 a/2.wav\na3 a/3.wav\nb3 b/3.wav\n")
    trial_set = trials_from_list(path, tones / "wav", enroll_map=write(tones, "spk2utt", "anna a1 a2\n"))
    files = [[str(r[0].relative_to(tones / "wav")) for r in source.recordings] for source in trial_set.sources]
    assert files == [["a/1.wav", "a/2.wav"], ["a/3.wav"], ["b/3.wav"]]
    write(tones, "wav.scp", f"a1 touch {tones / 'witness'} |\n")
    with pytest.raises(TrialError, match="'a1' is a command"):
        trials_from_list(path, tones / "wav", enroll_map=tones / "spk2utt")
    assert not (tones / "witness").exists()


def test_a_name_that_the_map_lacks_is_a_recording_of_its_own_or_a_problem_that_names_the_map(tones: Path) -> None:
    path = write(tones, "trials.txt", "1 anna a/3.wav\n0 b/1.wav a/3.wav\n0 carla b/3.wav\n0 anna gone.wav\n")
    models = write(tones, "models.txt", "anna a/1.wav a/2.wav\n")
    trial_set = trials_from_list(path, tones / "wav", enroll_map=models)
    found = dict(zip(trial_set.trials.ids, trial_set.sources, strict=True))
    assert found["b/1.wav"].recordings == ((tones / "wav/b/1.wav",),)
    assert found["carla"].problem == f"not in {models}, and no such recording under {tones / 'wav'}"
    assert found["gone.wav"].problem == f"no such recording under {tones / 'wav'}"  # a test: no map is to blame


def test_a_model_stands_only_when_all_its_files_do(tones: Path) -> None:
    path = write(tones, "trials.txt", LISTS["VoxCeleb"])
    models = write(tones, "models.txt", "anna a/1.wav a/9.wav\nben b/1.wav b/2.wav\n")
    trial_set = trials_from_list(path, tones / "wav", enroll_map=models)
    assert trial_set.sources[0].problem == "1 of its 2 enrolment recordings missing, first a/9.wav"
    with pytest.raises(TrialError, match="1 recording cannot be used, which costs 2 of 4 trials"):
        scored(trial_set, tones / "out")
    assert scored(trial_set, tones / "out", allow_missing=True)[0]["trials"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dora a/1.wav\n", "models.txt: has none of the list's names, such as 'anna'"),
        ("", "has none of the list's names"),
        ("anna\n", "line 1: 'anna' is not followed by a file"),
        ("anna a/1.wav\nanna a/2.wav\n", "line 2: 'anna' stands for two different things"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused(tones: Path, content: str, message: str) -> None:
    path, models = write(tones, "trials.txt", LISTS["VoxCeleb"]), write(tones, "models.txt", content)
    with pytest.raises(TrialError, match=message):
        trials_from_list(path, tones / "wav", enroll_map=models)
    models.unlink()
    with pytest.raises(TrialError, match=r"models.txt: cannot be read: No such file"):
        trials_from_list(path, tones / "wav", enroll_map=models)


def test_a_map_and_a_protocol_are_two_answers_to_one_question(tree: CnCelebTree) -> None:
    with pytest.raises(UsageError, match="--enrollment and --enroll-map both say what an enrolment is"):
        cnceleb(tree, "average", enroll_map=tree.lists / "enroll.map")


# --- speakers that the model was trained on


@pytest.mark.parametrize(
    ("name", "speakers"),
    [
        ("id00800-enroll", {"id00800", "id00800-enroll"}),
        ("test/id00800-singing-01.wav", {"test", "id00800", "id00800-singing", "id00800-singing-01"}),
        ("id10270/x_1/00001.wav", {"id10270", "x_1"}),
        ("wav\\anna_b\\003.flac", {"wav", "anna_b"}),
        ("1272-128104-0000.flac", {"1272", "1272-128104", "1272-128104-0000"}),
        ("0007.wav", {"0007"}),
        ("voices/anna.v2.wav", {"voices", "anna.v2"}),
        ("-.wav", {"-"}),
    ],
)
def test_who_may_speak_is_guessed_from_a_name(name: str, speakers: set[str]) -> None:
    assert guess_speakers(name) == speakers


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(known_speakers)
    assert result.attempted >= 2 and not result.failed


@pytest.mark.parametrize("protocol", ["average", "concatenated"])
def test_a_model_that_was_trained_on_an_evaluation_speaker_is_refused_before_the_work(
    tree: CnCelebTree, tmp_path: Path, protocol: Any
) -> None:
    encoder = SpectrumEncoder()
    encoder.trained_speakers = speaker_digests([*tree.dev_speakers, tree.eval_speakers[1]])
    # By hand: 4 enrolments x 12 tests; the enrolment of one speaker has 12, the 3 tests of that speaker have 9 more.
    leak = (
        r"^model 'mean spectrum' was trained on 1 speaker of these trials, such as 'id00801' \(in "
        r"'test/id00801-.*'\), which concerns 21 of 48 trials, so .*--allow-trained-speakers"
    )
    with pytest.raises(TrialError, match=leak) as caught:
        evaluate(encoder, cnceleb(tree, protocol), tmp_path / "out", QUICK)
    assert "\n" not in str(caught.value)
    assert not encoder.lengths and not (tmp_path / "out").exists()


def test_the_option_lets_it_pass_with_a_note(tree: CnCelebTree, tmp_path: Path) -> None:
    metrics, _ = scored(cnceleb(tree), tmp_path / "out", tree.eval_speakers[1], allow_trained_speakers=True)
    assert metrics["trained_speakers"] == {"checked": True, "guessed": True, "found": 1, "trials": 21}
    assert metrics["notes"][0].startswith("the model was trained on 1 speaker of these trials, such as 'id00801'")
    assert "1 among the trials" in (tmp_path / "out/report.html").read_text()


def test_a_model_of_other_speakers_passes_without_a_word(tree: CnCelebTree, tmp_path: Path) -> None:
    known = (*tree.dev_speakers, *tree.second_speakers)
    metrics, _ = scored(cnceleb(tree), tmp_path / "out", *known)
    assert metrics["trained_speakers"] == {"checked": True, "guessed": True, "found": 0, "trials": 0}
    assert not any("trained on" in note for note in metrics["notes"])
    silent, _ = scored(cnceleb(tree), tmp_path / "silent")
    assert silent["trained_speakers"] == {"checked": False, "guessed": True, "found": 0, "trials": 0}
    assert "does not say whom it was trained on" in (tmp_path / "silent/report.html").read_text()


def known(trial_set: TrialSet, *trained: str) -> tuple[str, ...]:
    return find_known_speakers(
        speaker_digests(trained), trial_set.trials, trial_set.sources, trial_set.speaker_names
    ).speakers


def test_files_behind_a_name_tell_who_speaks(tones: Path) -> None:
    """The model 'x' is explained by a map, 'y' and 'z' by a wav.scp: their own names say nothing."""
    path = write(tones, "trials.txt", "x y target\nx z nontarget\n")
    write(tones, "wav.scp", f"x1 {tones}/wav/a/1.wav\ny {tones}/wav/a/3.wav\nz {tones}/wav/b/3.wav\n")
    trial_set = trials_from_list(path, tones, enroll_map=write(tones, "spk2utt", "x x1\n"))
    assert known(trial_set, "a") == ("a",) and known(trial_set, "a", "b", "c") == ("a", "b")


def test_folders_in_which_all_files_lie_are_nobody(tones: Path) -> None:
    names = [str(tones / f"wav/{name}.wav") for name in ("a/1", "a/2", "b/1")]
    path = write(tones, "trials.txt", f"1 {names[0]} {names[1]}\n0 {names[0]} {names[2]}\n")
    trial_set = trials_from_list(path, tones)
    assert known(trial_set, "wav", *tones.parts) == ()
    assert known(trial_set, "wav", "b", *tones.parts) == ("b",)


def test_a_table_of_speakers_is_believed_and_nothing_is_guessed(tones: Path) -> None:
    path = write(tones, "trials.txt", "1 a/1.wav a/2.wav\n0 a/1.wav b/1.wav\n")
    table = write(tones, "utt2spk", "a/1.wav anna\na/2.wav anna\nb/1.wav ben\n")
    trial_set = trials_from_list(path, tones / "wav", speaker_table=table)
    assert known(trial_set, "a", "b") == ()  # other people of these names
    assert known(trial_set, "anna", "carla") == ("anna",)
    found = find_known_speakers(speaker_digests(["ben"]), trial_set.trials, trial_set.sources, trial_set.speaker_names)
    assert (found.is_guessed, found.trials, found.total, found.example) == (False, 1, 2, "b/1.wav")


def test_a_validation_set_names_its_speakers(tones: Path) -> None:
    lines = [{"speaker": f"{s}na", "utterance": f"{s}/{n}", "path": f"wav/{s}/{n}.wav"} for s in "ab" for n in "123"]
    path = write(tones, "val_meta.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    trial_set = trials_from_validation(path)
    assert known(trial_set, "a", "b") == () and known(trial_set, "ana", "cna") == ("ana",)


def test_a_model_passes_on_the_speakers_that_its_training_held_out(tiny_run: Path, tmp_path: Path) -> None:
    prepared = tiny_run.parent / "prepared"
    held_out = [json.loads(line) for line in (prepared / "manifest.jsonl").read_text().splitlines()]
    both = {split: [line for line in held_out if line["split"] == split] for split in ("train", "validation")}
    encoder = SpeakerEncoder.load(tiny_run)
    for split, lines in both.items():
        path = write(tmp_path, f"{split}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        trial_set = trials_from_validation(path, pairs=20)
        if split == "validation":
            metrics = evaluate(encoder, trial_set, tmp_path / "out", QUICK)
            assert metrics["trained_speakers"] == {"checked": True, "guessed": False, "found": 0, "trials": 0}
        else:
            with pytest.raises(TrialError, match=r"was trained on \d speakers of these trials.* concerns 20 of 20"):
                evaluate(encoder, trial_set, tmp_path / "other", QUICK)


# --- the command line


def test_the_command_line_knows_maps_and_trained_speakers(
    tones: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_checkpoint(model_path)
    model.header.training["speaker_digests"] = [hashlib.sha256(b"a").hexdigest()[:16]]
    save_checkpoint(tones / "m.safetensors", model.tensors, model.header)
    trials, models = write(tones, "trials.txt", LISTS["VoxCeleb"]), write(tones, "m.txt", "anna a/1.wav\nben b/1.wav\n")
    given = ["verify", "--model", tones / "m.safetensors", "--trials", trials, "--audio-root", tones / "wav"]
    words = [*map(str, given), "--enroll-map", str(models), "--resamples", "0", "--out", str(tones / "out")]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and "was trained on 1 speaker of these trials, such as 'a'" in printed.err
    assert not (tones / "out").exists()
    assert main([*words, "--allow-trained-speakers", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["protocol"] == "average" and metrics["trained_speakers"]["trials"] == 3
    assert main(["verify", "--model", "m", "--val-meta", "v", "--enroll-map", "x"]) == 2
    assert "--enroll-map needs --trials" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--enrollment", "average"])
