"""`verify`, from the trial list to the result folder: each recording once, nothing lost, nothing half written."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cnceleb_tree import CnCelebTree, build_cnceleb
from evaluation_inputs import RATE, SpectrumEncoder, read_scores, tone, write_small_list
from sound_groove.cli import main
from sound_groove.errors import MetricError, OutputError, TrialError, UsageError
from sound_groove.evaluation import results
from sound_groove.evaluation.embedding import embed_recordings
from sound_groove.evaluation.report import error_curves
from sound_groove.evaluation.trials.trial_sets import trials_from_list, trials_from_validation
from sound_groove.evaluation.verification import VerificationSettings, evaluate
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.metrics import cllr, eer, min_dcf
from sound_groove.types import CropAveraging

PLOT_DET = error_curves.plot_det  # as it is where `undrawn` has put a point in its place
QUICK = VerificationSettings(resamples=50, threads=2)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CnCelebTree:
    return build_cnceleb(tmp_path_factory.mktemp("cnceleb"), dev=1, evaluation=4, second=0, clean=True)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_small_list(tmp_path)


def run_small(folder: Path, **changes: Any) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    trial_set = trials_from_list(folder / "trials.txt", folder / "wav")
    settings = VerificationSettings(**({"resamples": 20} | changes))
    return evaluate(SpectrumEncoder(), trial_set, folder / "out", settings, "a command", say=said.append), said


# --- what comes out


def test_the_result_folder_holds_what_the_contract_says(tree: CnCelebTree, tmp_path: Path) -> None:
    encoder = SpectrumEncoder(ScoreMap(20.0, -15.0, "made up"))
    trial_set = trials_from_list(tree.lists / "trials.lst", tree.cnceleb1 / "eval")
    metrics = evaluate(encoder, trial_set, tmp_path / "out", QUICK, "sound-groove verify ...")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {"roc.png", "det.png", "score_hist.png", "tsne.png", "genre_pairs.png", "reliability.png"}
    assert names == {"metrics.json", "scores.tsv", "report.html", *pictures}
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == metrics
    assert not list(tmp_path.glob(".*"))  # no temporary folder is left

    cells, scores, labels = read_scores(tmp_path / "out/scores.tsv")
    assert len(cells) == tree.trials == metrics["trials"]
    assert labels.sum() == tree.targets == metrics["targets"]
    lines = (tree.lists / "trials.lst").read_text().split()
    assert [row[0] for row in cells] == lines[0::3] and [row[1] for row in cells] == lines[1::3]
    assert metrics["eer"]["value"] == pytest.approx(eer(scores, labels))
    for name, p_target in (("min_dcf", 0.01), ("min_dcf_05", 0.05)):
        assert metrics[name]["value"] == pytest.approx(min_dcf(scores, labels, p_target))
        assert {"p_target": p_target, "c_miss": 1.0, "c_fa": 1.0}.items() <= metrics[name].items()
    llrs = np.array([float(row[3]) for row in cells])
    assert metrics["cllr"]["value"] == pytest.approx(cllr(llrs, labels), abs=1e-5)
    np.testing.assert_allclose(llrs, 20 * scores - 15, atol=1e-5)
    for name in ("eer", "min_dcf", "min_dcf_05", "cllr"):
        assert metrics[name]["low"] <= metrics[name]["high"]
    assert metrics["protocol"] == "concatenated"
    assert metrics["interval"]["speakers"] == 4
    assert metrics["missing"] == {"recordings": 0, "trials": 0, "targets": 0, "nontargets": 0}
    assert metrics["model"] == {"name": "mean spectrum", "hash": "0" * 64}
    assert metrics["trial_list"]["format"] == "CN-Celeb" and len(metrics["trial_list"]["sha256"]) == 64


@pytest.mark.usefixtures("undrawn")
def test_each_recording_is_embedded_once_and_short_ones_are_not_dropped(tree: CnCelebTree, tmp_path: Path) -> None:
    encoder = SpectrumEncoder()
    trial_set = trials_from_list(tree.lists / "trials.lst", tree.cnceleb1 / "eval")
    metrics = evaluate(encoder, trial_set, tmp_path / "out", QUICK)
    assert len(encoder.lengths) == tree.enrolments + tree.tests == metrics["recordings"]
    assert sum(length < RATE for length in encoder.lengths) >= len(tree.short_tests) > 0
    assert metrics["cllr"] is None and metrics["score_map"] is None
    assert all(row[3] == "" for row in read_scores(tmp_path / "out/scores.tsv")[0])


@pytest.mark.usefixtures("undrawn")
def test_the_two_enrolment_protocols_are_what_they_say(tree: CnCelebTree, tmp_path: Path) -> None:
    scores = {}
    for protocol in ("concatenated", "average"):
        trial_set = trials_from_list(tree.lists / "trials.lst", tree.cnceleb1 / "eval", protocol)
        metrics = evaluate(SpectrumEncoder(), trial_set, tmp_path / protocol, QUICK)
        assert metrics["protocol"] == protocol
        scores[protocol] = read_scores(tmp_path / protocol / "scores.tsv")
    # the average by hand, for the first trial
    speaker = tree.eval_speakers[0]
    names = (tree.lists / "enroll.map").read_text().splitlines()[0].split()[1:]
    encoder = SpectrumEncoder()

    def embedding(folder: Path, name: str) -> np.ndarray:
        path = next(path for path in folder.iterdir() if path.stem == Path(name).stem)
        return np.asarray(encoder.embed([soundfile.read(path, dtype="float32")[0]])[0], dtype=np.float64)

    mean = sum(embedding(tree.cnceleb1 / "data" / speaker, name) for name in names)
    test = embedding(tree.cnceleb1 / "eval/test", scores["average"][0][0][1])
    assert scores["average"][1][0] == pytest.approx(float(mean @ test / np.linalg.norm(mean)), abs=1e-5)
    assert not np.allclose(scores["average"][1], scores["concatenated"][1], atol=1e-4)


@pytest.mark.usefixtures("undrawn")
def test_the_same_run_gives_the_same_files(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_curves, "plot_det", PLOT_DET)  # the one that is compared
    run_small(small)
    first = {name: (small / "out" / name).read_bytes() for name in ("scores.tsv", "det.png")}
    figures = json.loads((small / "out/metrics.json").read_text())
    shutil.rmtree(small / "out")
    again, _ = run_small(small)
    assert {name: (small / "out" / name).read_bytes() for name in first} == first
    volatile = {"elapsed_s", "machine"}
    assert {k: v for k, v in figures.items() if k not in volatile} == {
        k: v for k, v in again.items() if k not in volatile
    }


@pytest.mark.usefixtures("undrawn")
def test_crops_reach_the_encoder_and_the_record(small: Path) -> None:
    encoder = SpectrumEncoder()
    trial_set = trials_from_list(small / "trials.txt", small / "wav")
    crops = CropAveraging(10, 400)
    metrics = evaluate(encoder, trial_set, small / "out", VerificationSettings(crops=crops, resamples=0))
    assert set(encoder.crops) == {crops}
    assert metrics["crops"] == {"count": 10, "frames": 400}
    assert metrics["eer"]["low"] is None and metrics["interval"]["resamples"] == 0


@pytest.mark.usefixtures("undrawn")
def test_too_few_recordings_leave_out_the_picture_and_say_so(small: Path) -> None:
    metrics, _ = run_small(small)
    assert not (small / "out/tsne.png").exists()
    assert any("too few utterances for a t-SNE picture" in note for note in metrics["notes"])
    assert any("only 2 speakers" in note for note in metrics["notes"])


@pytest.mark.usefixtures("undrawn")
def test_duplicates_are_scored_and_reported(small: Path) -> None:
    content = (small / "trials.txt").read_text()
    (small / "trials.txt").write_bytes(("\ufeff" + content + content).replace("\n", "\r\n").encode())
    metrics, _ = run_small(small)
    assert metrics["trials"] == 12 and metrics["duplicates"] == 6
    assert "6 trials repeat an earlier one; all were scored, as listed" in metrics["notes"]


@pytest.mark.usefixtures("undrawn")
def test_joined_files_of_a_validation_set_are_one_utterance(small: Path) -> None:
    lines = [
        {"speaker": n[0], "utterance": f"{n[0]}/{n}", "paths": [f"wav/{n}.wav"], "feature_path": None}
        for n in ("a1", "b1", "b2")
    ]
    lines.append({"speaker": "a", "utterance": "a/joined", "paths": ["wav/a1.wav", "wav/a2.wav"], "feature_path": None})
    (small / "val_meta.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    encoder = SpectrumEncoder()
    metrics = evaluate(
        encoder, trials_from_validation(small / "val_meta.jsonl"), small / "out", VerificationSettings(resamples=0)
    )
    assert sorted(encoder.lengths) == [8000, 8000, 8000, 16000]
    assert metrics["protocol"] == "all pairs" and metrics["trials"] == 6 and metrics["targets"] == 2
    sampled = trials_from_validation(small / "val_meta.jsonl", pairs=4)
    assert sampled.protocol == "4 of 6 pairs, drawn with seed 0"
    with pytest.raises(UsageError, match="--pairs must be at least 2"):
        trials_from_validation(small / "val_meta.jsonl", pairs=1)


# --- missing and unreadable recordings


def spoil(folder: Path) -> None:
    (folder / "wav/b1.wav").unlink()
    (folder / "wav/b2.wav").write_bytes((folder / "wav/b2.wav").read_bytes()[:900])
    tone(folder / "wav/a3.wav", 510)
    (folder / "wav/short.wav").unlink(missing_ok=True)
    tone(folder / "wav/short.wav", 510, 0.05)
    tone(folder / "wav/c1.wav", 4000)
    with (folder / "trials.txt").open("a") as file:
        file.write("1 a1.wav a3.wav\n1 a2.wav short.wav\n0 a1.wav c1.wav\n")


@pytest.mark.usefixtures("undrawn")
def test_every_trial_that_a_bad_file_costs_is_named(small: Path) -> None:
    spoil(small)
    encoder, said = SpectrumEncoder(), list[str]()
    trial_set = trials_from_list(small / "trials.txt", small / "wav")
    with pytest.raises(TrialError, match=r"3 recordings cannot be used, which costs 6 of 9 trials.*--allow-missing"):
        evaluate(encoder, trial_set, small / "out", QUICK, say=said.append)
    assert not encoder.lengths  # a recording is known to be missing: nothing is embedded in vain
    assert [path.name for path in (small / "out").iterdir()] == ["failed_trials.tsv"]
    header, *rows = [line.split("\t") for line in (small / "out/failed_trials.tsv").read_text().splitlines()]
    assert header == ["line", "enrolment", "test", "label", "reason"]
    assert [int(row[0]) for row in rows] == [2, 3, 4, 5, 6, 8]
    assert rows[0][1:4] == ["a1.wav", "b1.wav", "0"] and "no such recording" in rows[0][4]
    assert "truncated" in rows[1][4] and "b2.wav" in rows[1][4]
    assert "b1.wav" in rows[4][4] and "b2.wav" in rows[4][4]  # both sides are bad, and both are named
    assert "less than the 0.1 s" in rows[5][4]
    assert any("b1.wav: no such recording" in line and "costs 3 trials (lines 2, 4, 6)" in line for line in said)
    assert any("short.wav" in line and "costs 1 trial (line 8)" in line for line in said)


@pytest.mark.usefixtures("undrawn")
def test_the_rest_is_scored_when_that_is_allowed(small: Path) -> None:
    spoil(small)
    said: list[str] = []
    trial_set = trials_from_list(small / "trials.txt", small / "wav")
    allowed = VerificationSettings(resamples=0, allow_missing=True)
    metrics = evaluate(SpectrumEncoder(), trial_set, small / "out", allowed, say=said.append)
    assert metrics["missing"] == {"recordings": 3, "trials": 6, "targets": 2, "nontargets": 4}
    assert metrics["trials"] == 3 and metrics["targets"] == 2
    assert len(read_scores(small / "out/scores.tsv")[0]) == 3
    assert len((small / "out/failed_trials.tsv").read_text().splitlines()) == 7
    assert any("6 of 9 trials could not be scored" in note for note in metrics["notes"])
    assert len(said) >= 3


@pytest.mark.usefixtures("undrawn")
def test_an_unreadable_file_found_late_ends_the_embedding_but_not_the_search(small: Path) -> None:
    for name in ("b1", "b2"):
        (small / f"wav/{name}.wav").write_text("no audio\n")
    said: list[str] = []
    trial_set = trials_from_list(small / "trials.txt", small / "wav")
    with pytest.raises(TrialError, match="2 recordings cannot be used, which costs 5 of 6 trials"):
        evaluate(SpectrumEncoder(), trial_set, small / "out", QUICK, say=said.append)
    assert len(said) == 2


@pytest.mark.usefixtures("undrawn")
def test_a_wrong_audio_root_is_told_in_one_sentence(small: Path) -> None:
    (small / "empty").mkdir()
    trial_set = trials_from_list(small / "trials.txt", small / "empty")
    with pytest.raises(TrialError, match=r"none of the 4 names is a recording; 'a1.wav': .*is --audio-root right\?"):
        evaluate(SpectrumEncoder(), trial_set, small / "out", QUICK)
    assert not (small / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_nothing_left_to_measure_is_an_error_even_when_missing_is_allowed(small: Path) -> None:
    for path in (small / "wav").iterdir():
        path.write_bytes(b"")
    with pytest.raises(TrialError, match="costs 6 of 6 trials: there is nothing to measure"):
        run_small(small, allow_missing=True)
    assert not (small / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_one_kind_of_trial_is_refused_before_the_work(small: Path) -> None:
    (small / "trials.txt").write_text("1 a1.wav a2.wav\n1 b1.wav b2.wav\n")
    with pytest.raises(MetricError, match="all 2 trials are same-speaker trials"):
        run_small(small)


# --- the folder


@pytest.mark.usefixtures("undrawn")
def test_an_earlier_result_is_replaced_only_by_force(small: Path) -> None:
    run_small(small)
    (small / "out/mine.txt").write_text("not a result")
    before = (small / "out/metrics.json").read_bytes()
    with pytest.raises(OutputError, match=r"holds a result already \(metrics.json\); pass --force"):
        run_small(small)
    assert (small / "out/metrics.json").read_bytes() == before
    (small / "out/tsne.png").write_bytes(b"of an earlier run")
    trial_set = trials_from_list(small / "trials.txt", small / "wav")
    evaluate(SpectrumEncoder(), trial_set, small / "out", VerificationSettings(resamples=0), force=True)
    assert not (small / "out/tsne.png").exists()  # this run has none: an old one must not stand beside its figures
    assert (small / "out/mine.txt").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_fails_while_writing_leaves_the_earlier_result(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_small(small)
    before = {path.name: path.read_bytes() for path in (small / "out").iterdir()}

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "write_metrics", full_disk)
    trial_set = trials_from_list(small / "trials.txt", small / "wav")
    with pytest.raises(OutputError, match="No space left"):
        evaluate(SpectrumEncoder(), trial_set, small / "out", VerificationSettings(resamples=0), force=True)
    assert {path.name: path.read_bytes() for path in (small / "out").iterdir()} == before
    assert not list(small.glob(".out*"))


@pytest.mark.usefixtures("undrawn")
def test_a_file_in_the_way_is_refused(small: Path) -> None:
    (small / "out").write_text("a file")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        run_small(small)


# --- embedding


@pytest.mark.usefixtures("undrawn")
def test_windows_and_threads_change_nothing(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = [(path,) for path in sorted((small / "wav").iterdir())]
    expected = embed_recordings(SpectrumEncoder(), recordings).embeddings
    monkeypatch.setattr("sound_groove.evaluation.embedding.WINDOW_S", 0.6)
    encoder = SpectrumEncoder()
    assert np.array_equal(embed_recordings(encoder, recordings, threads=3).embeddings, expected)
    assert len(encoder.crops) == 2  # two recordings of 0.5 s fill a window


# --- the command line


def verify(*words: object) -> int:
    return main(["verify", *map(str, words)])


@pytest.mark.usefixtures("undrawn")
def test_the_command_line_prints_a_table_or_json(
    small: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--model", model_path, "--trials", small / "trials.txt", "--audio-root", small / "wav", "--resamples", 10)
    assert verify(*common, "--out", small / "one") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("random on ") and "  EER " in printed.out
    assert "protocol: single recordings" in printed.err and "report.html" in printed.err
    assert verify(*common, "--out", small / "two", "--json", "--crops", 3, "--crop-frames", 30) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((small / "two/metrics.json").read_text())
    assert verify(*common, "--out", small / "one") == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and "--force" in printed.err


@pytest.mark.usefixtures("undrawn")
def test_the_command_line_refuses_wrong_use_with_2(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = ("--model", "m", "--trials", small / "trials.txt")
    for words, message in (
        ((*trials, "--crop-frames", 400), "--crop-frames needs --crops"),
        ((*trials, "--crops", 0), "at least 1"),
        ((*trials, "--pairs", 10), "--pairs needs --val-meta"),
        ((*trials, "--threads", 0), "threads at least 1"),
        (("--model", "m", "--val-meta", "v", "--enrollment", "average"), "--enrollment needs --trials"),
        (("--model", "m", "--val-meta", "v", "--utt2spk", "x"), "--utt2spk needs --trials"),
    ):
        assert verify(*words) == 2
        assert message in capsys.readouterr().err
    for wrong in ((), ("--trials", "a", "--val-meta", "b"), (*trials, "--enrollment", "both")):
        with pytest.raises(SystemExit) as caught:
            verify(*wrong)
        assert caught.value.code == 2


@pytest.mark.usefixtures("undrawn")
def test_a_bad_file_ends_the_command_with_1_and_one_sentence_for_each(
    small: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(small)
    words = ("--model", model_path, "--trials", small / "trials.txt", "--audio-root", small / "wav", "--resamples", 0)
    assert verify(*words, "--out", small / "out") == 1
    printed = capsys.readouterr()
    assert printed.out == "" and "Traceback" not in printed.err
    assert "b1.wav" in printed.err and "short.wav" in printed.err and "failed_trials.tsv" in printed.err
    assert verify(*words, "--out", small / "out", "--allow-missing") == 0


@pytest.mark.usefixtures("undrawn")
@pytest.mark.corpus
def test_the_stand_in_does_better_than_chance_on_real_voices(corpus: Path, tmp_path: Path) -> None:
    trial_set = trials_from_list(corpus / "val_trials/dsp.txt", corpus)
    metrics = evaluate(SpectrumEncoder(), trial_set, tmp_path / "out", QUICK)
    assert metrics["trials"] == 990 and metrics["eer"]["value"] < 0.45
