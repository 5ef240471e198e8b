"""Vox1-O, E and H in one go: lists found and counted, each recording embedded once, results as of each list alone."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from evaluation_inputs import SpectrumEncoder, tone
from sound_groove.cli import main
from sound_groove.corpora.manifest import Utterance, write_manifest
from sound_groove.errors import OutputError, TrialError, UsageError
from sound_groove.evaluation.report.lists import table_of_lists
from sound_groove.evaluation.scorings import ScoringPlan
from sound_groove.evaluation.trials.trial_sets import trials_from_list
from sound_groove.evaluation.trials.voxceleb1 import PUBLISHED, missing_conditions, voxceleb1_trials
from sound_groove.evaluation.verification import ListToJudge, VerificationSettings, evaluate, evaluate_lists
from sound_groove.networks.trained_speakers import speaker_digests

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = VerificationSettings(resamples=20, worst=2, audio=False)
SPEAKERS = {"id10270": 400, "id10271": 900, "id10001": 1700, "id10002": 2900}  # the first two are of the test part
LISTS = {
    "veri_test.txt": ("id10270", "id10271"),
    "veri_test2.txt": ("id10270", "id10271"),
    "list_test_all2.txt": tuple(SPEAKERS),
    "list_test_hard2.txt": ("id10270", "id10001", "id10002"),
}


def build_voxceleb1(folder: Path, dev: str = "wav", test: str = "wav") -> Path:
    """Four made-up speakers with two videos of one recording each, in the layout of VoxCeleb1."""
    for speaker, frequency in SPEAKERS.items():
        part = test if speaker.startswith("id1027") else dev
        for number, video in enumerate(("5r0dWxy17C8", "kDIpLcekk9Q")):
            tone(folder / part / speaker / video / "00001.wav", frequency * (1 + 0.04 * number))
    return folder


def write_lists(folder: Path, files: tuple[str, ...] = tuple(LISTS)) -> None:
    folder.mkdir(exist_ok=True)
    for file in files:
        names = [f"{who}/{video}/00001.wav" for who in LISTS[file] for video in ("5r0dWxy17C8", "kDIpLcekk9Q")]
        lines = [f"{int(a[:7] == b[:7])} {a} {b}\n" for a, b in combinations(names, 2)]
        (folder / file).write_text("".join(lines))


@pytest.fixture
def vox(tmp_path: Path) -> Path:
    folder = build_voxceleb1(tmp_path / "voxceleb1")
    write_lists(folder)
    return folder


def judged(folder: Path, out: Path, encoder: SpectrumEncoder, **changes: Any) -> dict[str, dict[str, Any]]:
    found = voxceleb1_trials(folder)
    lists = [ListToJudge(trial_set, out / each.name) for each, trial_set in found.items()]
    of_each = evaluate_lists(encoder, lists, QUICK, **changes)
    return {each.name: metrics for each, metrics in zip(found, of_each, strict=True)}


# --- what comes out


def test_each_recording_is_embedded_once_and_each_list_judged_as_if_alone(vox: Path, tmp_path: Path) -> None:
    encoder = SpectrumEncoder()
    of_each = judged(vox, tmp_path / "out", encoder)
    assert list(of_each) == ["vox1-o-cleaned", "vox1-e-cleaned", "vox1-h-cleaned", "vox1-o"]
    assert len(encoder.lengths) == 2 * len(SPEAKERS)
    table = tmp_path / "utt2spk"
    names = [f"{who}/{video}/00001.wav" for who in SPEAKERS for video in ("5r0dWxy17C8", "kDIpLcekk9Q")]
    table.write_text("".join(f"{name} {name[:7]}\n" for name in names))
    for name, file, recordings in (
        ("vox1-o-cleaned", "veri_test2.txt", 4),
        ("vox1-e-cleaned", "list_test_all2.txt", 8),
        ("vox1-h-cleaned", "list_test_hard2.txt", 6),
    ):
        alone = evaluate(
            SpectrumEncoder(),
            trials_from_list(vox / file, vox / "wav", speaker_table=table),
            tmp_path / "alone" / name,
            QUICK,
        )
        together = of_each[name]
        for key in ("trials", "targets", "eer", "min_dcf", "interval", "recall_at_1", "audio_s", "trial_list", "worst"):
            assert together[key] == alone[key], key
        assert together["recordings"] == recordings
        assert json.loads((tmp_path / "out" / name / "metrics.json").read_text()) == together
        scores = (tmp_path / "out" / name / "scores.tsv").read_bytes()
        assert scores == (tmp_path / "alone" / name / "scores.tsv").read_bytes()


def test_the_table_has_a_line_for_each_list_with_intervals(vox: Path, tmp_path: Path) -> None:
    lines = table_of_lists(judged(vox, tmp_path / "out", SpectrumEncoder()))
    rows = {line.split()[0]: line for line in lines if line.startswith("  vox1-") and " note:" not in line}
    header = next(line for line in lines if line.startswith("  list "))
    assert header.split() == ["list", "trials", "speakers", "scoring", "EER", *("minDCF", "0.01", "minDCF", "0.05")]
    assert rows["vox1-e-cleaned"].split()[1:4] == ["28", "4", "cosine"]
    assert rows["vox1-e-cleaned"].count("[") == 3 and "0.00 % [0.00, " in rows["vox1-e-cleaned"]
    assert any(line.startswith("  vox1-o: note: veri_test.txt has 6 trials") for line in lines)


def test_a_cohort_is_embedded_once_for_all_lists(vox: Path, tmp_path: Path) -> None:
    names = [f"c{number}/{part}.wav" for number in range(3) for part in range(2)]
    for number, name in enumerate(names):
        tone(tmp_path / "others" / name, 600 + 300 * number)
    utterances = [
        Utterance(name, name[:2], (str(tmp_path / "others" / name),), (8000,), "train", None, None, None)
        for name in names
    ]
    write_manifest(tmp_path / "manifest.jsonl", utterances)
    encoder, out = SpectrumEncoder(), tmp_path / "out"
    lists = [ListToJudge(each, out / published.name) for published, each in voxceleb1_trials(vox).items()]
    plan = ScoringPlan(("cosine", "as-norm"), tmp_path / "manifest.jsonl", top=2)
    of_each = evaluate_lists(encoder, lists, replace(QUICK, scoring=plan))
    assert len(encoder.lengths) == 2 * len(SPEAKERS) + len(names)
    assert all((out / published.name / "scores-as-norm.tsv").is_file() for published in voxceleb1_trials(vox))
    table = table_of_lists(dict(zip("abcd", of_each, strict=True)))
    assert [line.split()[3] for line in table if line.startswith("  a ")] == ["cosine", "as-norm"]


# --- where lists and recordings lie


@pytest.mark.parametrize(("dev", "test"), [("wav", "wav"), ("dev/wav", "test/wav"), ("", ""), ("a/wav", "b/wav")])
@pytest.mark.parametrize("beside", [".", ".."])
def test_recordings_and_lists_are_found_in_every_layout(tmp_path: Path, dev: str, test: str, beside: str) -> None:
    folder = build_voxceleb1(tmp_path / "voxceleb1", dev, test)
    write_lists(folder / beside)
    found = voxceleb1_trials(folder)
    assert [each.file for each in found] == [each.file for each in PUBLISHED if each.file in LISTS]
    assert not any(source.problem for trial_set in found.values() for source in trial_set.sources)
    assert set(next(iter(found.values())).speaker_names or ()) == {"id10270", "id10271"}


def test_lists_are_judged_that_are_named_and_the_missing_are_told(tmp_path: Path) -> None:
    folder = build_voxceleb1(tmp_path / "voxceleb1")
    write_lists(tmp_path / "lists")
    write_lists(folder, ("veri_test.txt",))
    assert [each.name for each in voxceleb1_trials(folder)] == ["vox1-o"]
    some = voxceleb1_trials(folder, [tmp_path / "lists/list_test_hard2.txt", folder])
    assert [each.name for each in some] == ["vox1-h-cleaned", "vox1-o"]
    assert missing_conditions(list(some)) == ["Vox1-E"]
    assert len(voxceleb1_trials(folder, [tmp_path / "lists"])) == len(LISTS)


# --- whether the lists are those that were published


def test_the_counts_are_those_that_were_published() -> None:
    counts = {each.file: (each.trials, each.targets, each.trials - each.targets) for each in PUBLISHED}
    assert counts == {
        "veri_test.txt": (37720, 18860, 18860),
        "veri_test2.txt": (37611, 18802, 18809),
        "list_test_all.txt": (581480, 290743, 290737),
        "list_test_all2.txt": (579818, 289921, 289897),
        "list_test_hard.txt": (552536, 276270, 276266),
        "list_test_hard2.txt": (550894, 275488, 275406),
    }


def test_a_count_that_is_not_the_published_one_is_told_and_the_right_one_is_not(vox: Path) -> None:
    same = "1 id10270/5r0dWxy17C8/00001.wav id10270/kDIpLcekk9Q/00001.wav\n"
    other = "0 id10270/5r0dWxy17C8/00001.wav id10271/kDIpLcekk9Q/00001.wav\n"
    (vox / "veri_test2.txt").write_text(same * 18_802 + other * 18_809)
    assert not any("published" in note for note in voxceleb1_trials(vox)[PUBLISHED[0]].notes)
    (vox / "veri_test2.txt").write_text(same * 18_803 + other * 18_808)
    assert voxceleb1_trials(vox)[PUBLISHED[0]].notes[0] == (
        "veri_test2.txt has 37,611 trials, 18,803 of them of one speaker, where the published list has 37,611 and "
        "18,802: the figures are not those of Vox1-O"
    )


def test_a_label_that_the_names_contradict_is_refused(vox: Path) -> None:
    with (vox / "veri_test.txt").open("a") as file:
        file.write("1 id10270/5r0dWxy17C8/00001.wav id10001/kDIpLcekk9Q/00001.wav\n")
    with pytest.raises(
        TrialError, match=r"veri_test.txt, by the speakers in its names: contradicts 1 labels .* line 7"
    ):
        voxceleb1_trials(vox)
    (vox / "veri_test.txt").write_text("1 a.wav b.wav\n0 a.wav c.wav\n")
    with pytest.raises(TrialError, match=r"veri_test.txt: 'a.wav' does not name a speaker of VoxCeleb1"):
        voxceleb1_trials(vox)


# --- what cannot be judged


def test_recordings_that_lack_are_told_of_every_list_and_nothing_is_judged(vox: Path, tmp_path: Path) -> None:
    (vox / "wav/id10001/kDIpLcekk9Q/00001.wav").unlink()
    encoder = SpectrumEncoder()
    with pytest.raises(
        TrialError, match=r"1 recording cannot be used, which costs 7 of 28 trials, named in .*vox1-e"
    ) as it:
        judged(vox, tmp_path / "out", encoder)
    assert "costs 5 of 15 trials" in str(it.value) and "\n" not in str(it.value)
    assert not encoder.lengths
    left = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left == {"vox1-e-cleaned/failed_trials.tsv", "vox1-h-cleaned/failed_trials.tsv"}


def test_a_model_that_heard_the_development_part_is_refused_before_the_work(vox: Path, tmp_path: Path) -> None:
    encoder = SpectrumEncoder()
    encoder.trained_speakers = speaker_digests(["id10001", "id10002"])
    with pytest.raises(TrialError, match=r"was trained on 2 speakers of these trials, such as 'id10001'"):
        judged(vox, tmp_path / "out", encoder)
    assert not encoder.lengths and not (tmp_path / "out").exists()


def test_an_earlier_result_of_one_list_is_not_lost(vox: Path, tmp_path: Path) -> None:
    (tmp_path / "out/vox1-h-cleaned").mkdir(parents=True)
    (tmp_path / "out/vox1-h-cleaned/metrics.json").write_text("earlier")
    encoder = SpectrumEncoder()
    with pytest.raises(OutputError, match="vox1-h-cleaned: holds a result already"):
        judged(vox, tmp_path / "out", encoder)
    assert not encoder.lengths
    assert len(judged(vox, tmp_path / "out", encoder, force=True)) == len(LISTS)


def test_what_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="no such folder; --voxceleb1 must name"):
        voxceleb1_trials(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrialError, match="no speakers of VoxCeleb1 in it; expected wav/idXXXXX"):
        voxceleb1_trials(tmp_path / "empty")
    folder = build_voxceleb1(tmp_path / "voxceleb1")
    with pytest.raises(TrialError, match=r"no trial list of VoxCeleb1 \(veri_test2.txt, .*or name them with --lists"):
        voxceleb1_trials(folder)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(UsageError, match=r"mine.txt is neither a folder nor a file with the name of one .*--trials"):
        voxceleb1_trials(folder, [tmp_path / "mine.txt"])


# --- on the command line


def verify(*words: object) -> int:
    return main(["verify", *map(str, words)])


def test_one_command_judges_all_lists(
    vox: Path, tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (vox / "list_test_all2.txt").unlink()
    common = ("--model", model_path, "--voxceleb1", vox, "--resamples", 10, "--out", tmp_path / "out")
    assert verify(*common) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("random\n") and printed.out.count("  vox1-o-cleaned  ") == 1
    assert "no list of Vox1-E was found" in printed.err
    assert "veri_test2.txt has 6 trials, 2 of them of one speaker, where the published list" in printed.err
    assert (tmp_path / "out/vox1-h-cleaned/report.html").is_file()
    assert verify(*common) == 1
    assert "holds a result already" in capsys.readouterr().err
    assert verify(*common, "--force", "--json", "--lists", vox / "veri_test.txt") == 0
    by_name = json.loads(capsys.readouterr().out)
    assert by_name == {"vox1-o": json.loads((tmp_path / "out/vox1-o/metrics.json").read_text())}


def test_options_of_other_lists_are_refused_with_2(vox: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (("--voxceleb1", vox, "--audio-root", vox), "--audio-root needs --trials"),
        (("--voxceleb1", vox, "--utt2spk", "x"), "--utt2spk needs --trials"),
        (("--voxceleb1", vox, "--against", "x"), "--against needs --trials"),
        (("--voxceleb1", vox, "--pairs", 5), "--pairs needs --val-meta"),
        (("--trials", "x", "--lists", "y"), "--lists needs --voxceleb1"),
    ):
        assert verify("--model", "m", *words) == 2
        assert message in capsys.readouterr().err
