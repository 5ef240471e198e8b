"""Choices about recordings: read, written, and heeded by training and by judging, with everything counted."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation_inputs import SpectrumEncoder, write_small_list
from sound_groove.cli import main
from sound_groove.corpora.choices import Choice, Choices, read_choices, write_choices
from sound_groove.corpora.manifest import Split, Utterance, read_manifest
from sound_groove.curation.findings import Examination, Finding, Labelled, proposals
from sound_groove.errors import ConfigurationError, CorpusError, TrialError
from sound_groove.evaluation.trials.exclusion import without_excluded
from sound_groove.evaluation.trials.trial_sets import TrialSet, trials_from_list
from sound_groove.evaluation.verification import VerificationSettings, evaluate
from sound_groove.inputs.exclusion import exclude
from sound_groove.networks.trained_speakers import speaker_digests
from sound_groove.training.facts import run_facts
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from training_corpus import prepare_corpus, tiny_recipe

HEADER = "recording\tchoice\tspeaker\treason\n"


def written(folder: Path, *lines: str) -> Path:
    path = folder / "choices.tsv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def choices_in(folder: Path, *lines: str) -> Choices:
    return read_choices(written(folder, *lines))


# --- the file ---


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    chosen = [
        Choice("/speech/a/1.wav", "drop", reason="wrong_label 0.998: fits 'b' best"),
        Choice("/speech/b/2.wav", "move", "a", "one_person"),
        Choice("/speech/b/3.wav", "keep"),
    ]
    write_choices(tmp_path / "choices.tsv", chosen)
    choices = read_choices(tmp_path / "choices.tsv")
    assert [choices.of(one.recording) for one in chosen] == chosen
    assert choices.of("/speech/b/4.wav") is None
    assert len(choices) == 3


def test_recordings_are_told_by_paths_from_the_files_folder_and_by_names(tmp_path: Path) -> None:
    choices = choices_in(tmp_path, "audio/../audio/1.wav\tdrop", "anna/2\tdrop")
    assert choices.of(tmp_path / "audio" / "1.wav") is not None
    assert choices.of("/elsewhere/2.wav", "anna/2") is not None
    assert len(choices) == 2


def test_a_spreadsheets_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "choices.tsv"
    path.write_bytes(
        b"\xef\xbb\xbf" + (HEADER + "/a.wav\tdrop\t\t\n\n/b.wav\tmove\tben\t\n").replace("\n", "\r\n").encode()
    )
    choices = read_choices(path)
    assert choices.of("/a.wav") == Choice("/a.wav", "drop")
    assert choices.of("/b.wav") == Choice("/b.wav", "move", "ben")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/a.wav\tdorp", r"line 2 \('dorp' is no choice, did you mean 'drop'\?\)"),
        ("/a.wav\tmove", "'move' needs a speaker"),
        ("/a.wav\tmove\tx/y", "cannot name a folder"),
        ("/a.wav\tdrop\tben", "'drop' takes no speaker"),
        ("/a.wav\tdrop\n/a.wav\tkeep", "line 3 .*has another choice above"),
    ],
)
def test_a_line_that_is_not_as_it_should_be_is_named(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(CorpusError, match=told):
        choices_in(tmp_path, line)


def test_a_file_that_is_neither_choices_nor_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("drop the first one\n")
    with pytest.raises(CorpusError, match="a file of choices begins with the line"):
        read_choices(tmp_path / "notes.txt")


def test_a_list_of_what_is_left_drops_the_rest(tmp_path: Path) -> None:
    (tmp_path / "clean.tsv").write_text("a/1.wav\tanna\nb/2.wav\tben\n")
    choices = read_choices(tmp_path / "clean.tsv")
    assert choices.names_all
    assert choices.of(tmp_path / "a" / "1.wav") == Choice(str(tmp_path / "a" / "1.wav"), "move", "anna")
    assert choices.of(tmp_path / "b" / "1.wav") is None


def test_an_examination_proposes_what_it_drops_and_moves_with_reasons() -> None:
    recordings = [Labelled(f"{name}.wav", name[0]) for name in ("a1", "a2", "b1", "c1")]
    findings = (
        Finding("quality", "a", "a1.wav", detail="clipping"),
        Finding("wrong_label", "a", "a2.wav", None, 0.9981, "fits 'b' best"),
        Finding("one_person", "a", None, "b", 0.97, "keep one of the two labels"),
    )
    labels = {"a1.wav": "a", "b1.wav": "a", "c1.wav": "c"}
    assert [choice for choice, _ in proposals(recordings, Examination(findings, labels, 0.1, 4))] == [
        Choice("a2.wav", "drop", reason="wrong_label 0.998: fits 'b' best"),
        Choice("b1.wav", "move", "a", "one_person 0.970: keep one of the two labels"),
    ]


# --- training ---


def an_utterance(name: str, *paths: str, split: Split = "train") -> Utterance:
    return Utterance(name, name[0], paths or (f"/{name}",), (16_000,) * max(len(paths), 1), split, None, None, None)


def test_utterances_are_dropped_and_moved_and_their_names_stay(tmp_path: Path) -> None:
    corpus = [an_utterance(name) for name in ("a/1", "a/2", "b/1")]
    found = exclude(corpus, choices_in(tmp_path, "/a/1\tdrop", "/a/2\tmove\tb", "b/1\tkeep", "/c/1\tdrop"))
    assert [(one.key, one.speaker) for one in found.utterances] == [("a/2", "b"), ("b/1", "b")]
    assert (found.dropped, found.moved, found.former, found.unknown) == (1, frozenset(["a/2"]), frozenset("a"), 1)
    assert "1 utterances left out, 1 moved" in found.summary()
    assert "1 of its recordings are not in this corpus" in found.summary()


def test_a_joined_utterance_goes_with_any_of_its_recordings(tmp_path: Path) -> None:
    corpus = [an_utterance("a/1", "/1.wav", "/2.wav"), an_utterance("a/2", "/3.wav", "/4.wav"), an_utterance("a/3")]
    found = exclude(corpus, choices_in(tmp_path, "/2.wav\tdrop", "/3.wav\tmove\tb"))
    assert [one.key for one in found.utterances] == ["a/3"]
    whole = exclude(corpus, choices_in(tmp_path, "/3.wav\tmove\tb", "/4.wav\tmove\tb"))
    assert [one.speaker for one in whole.utterances] == ["a", "b", "a"]


def test_no_speaker_is_on_both_sides_when_labels_are_joined(tmp_path: Path) -> None:
    corpus = [an_utterance("a/1"), an_utterance("b/1", split="validation"), an_utterance("c/1", split="validation")]
    found = exclude(corpus, choices_in(tmp_path, "b/1\tmove\ta", "c/1\tmove\tc.2"))
    assert [(one.speaker, one.split) for one in found.utterances] == [
        ("a", "train"),
        ("a", "train"),
        ("c.2", "validation"),
    ]


def test_choices_about_another_corpus_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="names no recording of this corpus"):
        exclude([an_utterance("a/1")], choices_in(tmp_path, "/elsewhere.wav\tdrop"))


def planned(folder: Path, choices: Path) -> TrainingPlan:
    recipe = tiny_recipe(folder / "prepared", data__exclude=str(choices))
    return preflight(recipe, RunFolder(folder / "run"), resume=False, force=False)


def test_training_leaves_out_and_relabels_and_says_how_many(tmp_path: Path) -> None:
    utterances = read_manifest(prepare_corpus(tmp_path))
    first, second, *rest = [one for one in utterances if one.split == "train"]
    held_out = [one for one in utterances if one.split == "validation"]
    choices = written(
        tmp_path,
        f"{first.paths[0]}\tdrop",
        f"{second.paths[0]}\tmove\tsomebody new",
        f"{held_out[0].paths[0]}\tdrop",
        "/nowhere.wav\tdrop",
    )
    plan = planned(tmp_path, choices)
    assert [one.key for one in plan.utterances] == [one.key for one in (second, *rest)]
    assert plan.speakers == len({one.speaker for one in rest}) + 1
    assert plan.labels[0] not in plan.labels[1:]  # a class of its own
    assert held_out[0].key not in {one.key for one in plan.validation}
    facts = run_facts(plan, {}, "", 1)
    assert facts["excluded"] == {
        "file": str(choices),
        "sha256": facts["other_sha256"]["exclude"],
        "dropped": 2,
        "moved": 1,
        "unknown": 1,
    }
    assert "excluded   2 utterances left out, 1 moved" in plan.summary()
    # Whoever had the recording before counts as heard, too.
    assert speaker_digests([second.speaker, "somebody new"]) <= plan.speaker_digests


def test_what_doctor_writes_of_a_prepared_corpus_is_taken(tmp_path: Path) -> None:
    utterances = read_manifest(prepare_corpus(tmp_path))
    clean = tmp_path / "clean.tsv"
    clean.write_text("".join(f"{one.paths[0]}\t{one.speaker}\n" for one in utterances[1:]))
    plan = planned(tmp_path, clean)
    assert [one.key for one in plan.utterances] == [one.key for one in utterances[1:] if one.split == "train"]
    assert plan.excluded is not None
    assert (plan.excluded.dropped, len(plan.excluded.moved)) == (1, 0)


def test_choices_that_cannot_be_used_are_a_mistake_of_the_recipe(tmp_path: Path) -> None:
    prepare_corpus(tmp_path)
    with pytest.raises(ConfigurationError, match=r"data\.exclude: .*no such list"):
        planned(tmp_path, tmp_path / "nothing.tsv")


# --- judging ---


def trials_in(folder: Path, speakers: str = "") -> TrialSet:
    write_small_list(folder)
    table = None
    if speakers:
        table = folder / "utt2spk"
        table.write_text(speakers)
    return trials_from_list(folder / "trials.txt", folder / "wav", speaker_table=table)


NAMED = "a1.wav a\na2.wav a\nb1.wav b\nb2.wav b\n"


def kept_pairs(trial_set: TrialSet) -> set[tuple[str, str, bool]]:
    trials = trial_set.trials
    sides = zip(trials.enrolments.tolist(), trials.tests.tolist(), trials.labels.tolist(), strict=True)
    return {(trials.ids[one], trials.ids[other], label) for one, other, label in sides}


def test_trials_of_dropped_recordings_are_left_out_and_counted(tmp_path: Path) -> None:
    trial_set = trials_in(tmp_path)
    left = without_excluded(trial_set, choices_in(tmp_path, "wav/a1.wav\tdrop", "b2.wav\tkeep"))
    assert kept_pairs(left) == {("a2.wav", "b1.wav", False), ("a2.wav", "b2.wav", False), ("b1.wav", "b2.wav", True)}
    assert left.origin["excluded"]["trials"] == 3
    assert "3 of 6 trials were left out" in left.notes[-1]


def test_trials_of_moved_recordings_go_where_nobody_names_the_speakers(tmp_path: Path) -> None:
    left = without_excluded(trials_in(tmp_path), choices_in(tmp_path, "wav/a1.wav\tmove\tb"))
    assert not any("a1.wav" in pair[:2] for pair in kept_pairs(left))


def test_where_speakers_are_named_labels_follow_a_move(tmp_path: Path) -> None:
    left = without_excluded(trials_in(tmp_path, NAMED), choices_in(tmp_path, "wav/a2.wav\tmove\tb", "wav/b2.wav\tdrop"))
    assert kept_pairs(left) == {("a1.wav", "a2.wav", False), ("a1.wav", "b1.wav", False), ("a2.wav", "b1.wav", True)}
    assert left.origin["excluded"] | {"path": "", "sha256": ""} == {
        "path": "",
        "sha256": "",
        "trials": 3,
        "names": 1,
        "relabelled": 2,
    }
    assert left.speaker_names == ("a", "b", "b", "b")


def test_a_list_of_what_is_left_leaves_out_what_contradicts_it(tmp_path: Path) -> None:
    trial_set = trials_in(tmp_path)
    clean = tmp_path / "clean.tsv"
    clean.write_text("wav/a1.wav\ta\nwav/a2.wav\tb\nwav/b1.wav\tb\n")
    assert kept_pairs(without_excluded(trial_set, read_choices(clean))) == {("a1.wav", "b1.wav", False)}


def test_choices_that_leave_nothing_or_know_nothing_are_refused(tmp_path: Path) -> None:
    trial_set = trials_in(tmp_path)
    with pytest.raises(TrialError, match="leaves none of the 6 trials"):
        without_excluded(trial_set, choices_in(tmp_path, *(f"wav/{name}.wav\tdrop" for name in ("a1", "a2", "b1"))))
    with pytest.raises(TrialError, match="names no recording of the trials"):
        without_excluded(trial_set, choices_in(tmp_path, "/elsewhere.wav\tdrop"))


def test_the_result_says_what_was_left_out(tmp_path: Path, undrawn: None) -> None:
    left = without_excluded(trials_in(tmp_path), choices_in(tmp_path, "wav/a1.wav\tdrop"))
    evaluate(SpectrumEncoder(), left, tmp_path / "out", VerificationSettings(resamples=0))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["trials"] == 3
    assert metrics["trial_list"]["excluded"]["trials"] == 3
    assert any("3 of 6 trials were left out" in note for note in metrics["notes"])
    assert "trials were left out" in (tmp_path / "out" / "report.html").read_text()


def test_verify_takes_the_file(
    tmp_path: Path, model_path: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    trials_in(tmp_path)
    choices = written(tmp_path, "wav/b1.wav\tdrop")
    command = ["verify", "--model", str(model_path), "--trials", str(tmp_path / "trials.txt"), "--resamples", "0"]
    command += ["--audio-root", str(tmp_path / "wav"), "--out", str(tmp_path / "out"), "--exclude", str(choices)]
    assert main([*command, "--json"]) == 0
    heard = capsys.readouterr()
    assert json.loads(heard.out)["trials"] == 3
    assert "3 of 6 trials were left out" in heard.err
    scores = (tmp_path / "out" / "scores.tsv").read_text()
    assert "b1.wav" not in scores
    assert np.count_nonzero([line.endswith("1") for line in scores.splitlines()]) == 1
