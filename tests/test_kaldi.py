"""Kaldi data folders in prepare, embed and verify: files, parts of files, speakers; and nothing of them is ever run."""

from pathlib import Path

import numpy as np
import pytest

from broken_audio import encode, hum
from sound_groove.audio.reading import load_audio, read_segment
from sound_groove.cli import main
from sound_groove.corpora.layouts import KaldiFolder
from sound_groove.corpora.layouts.kaldi import is_kaldi, read_kaldi, read_speakers
from sound_groove.corpora.manifest import read_manifest
from sound_groove.corpora.preparation import prepare
from sound_groove.corpora.preparation_report import PreparationOptions
from sound_groove.errors import CorpusError, TrialError
from sound_groove.evaluation.trials.trial_sets import trials_from_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings of two speakers each, cut into utterances by `segments`."""
    (tmp_path / "audio").mkdir()
    for number, name in enumerate(("a-1", "a-2", "b-1", "b-2")):
        (tmp_path / f"audio/{name}.wav").write_bytes(encode(hum(5.0, seed=number)))
    data = tmp_path / "data/train"
    data.mkdir(parents=True)
    names = ("a-1", "a-2", "b-1", "b-2")
    (data / "wav.scp").write_text("".join(f"{name} audio/{name}.wav\n" for name in names))
    (data / "segments").write_text("".join(f"{name}-x {name} 0.5 2.25\n{name}-y {name} 2.5 -1\n" for name in names))
    (data / "utt2spk").write_text("".join(f"{name}-{part} {name[0]}\n" for name in names for part in "xy"))
    return data


def spk2utt(folder: Path) -> None:
    (folder / "utt2spk").unlink()
    (folder / "spk2utt").write_text("a a-1-x a-1-y a-2-x a-2-y\nb b-1-x b-1-y b-2-x b-2-y\n")


def options(**changes: bool) -> PreparationOptions:
    return PreparationOptions(validation_speakers=0, **changes)


def test_a_data_folder_and_its_wav_scp_are_recognised(folder: Path, tmp_path: Path) -> None:
    assert is_kaldi(folder) and is_kaldi(folder / "wav.scp")
    assert not is_kaldi(tmp_path) and not is_kaldi(tmp_path / "audio/a-1.wav")


@pytest.mark.parametrize("inverse", [False, True])
def test_prepare_list_reads_segments_and_speakers(folder: Path, tmp_path: Path, inverse: bool) -> None:
    if inverse:
        spk2utt(folder)
    report = prepare(KaldiFolder(folder), tmp_path / "out", options(), workers=1)
    assert (report.train.speakers, report.train.utterances, report.bad) == (2, 8, 0)
    utterances = {utterance.key: utterance for utterance in read_manifest(tmp_path / "out")}
    first, rest = utterances["a/a-1-x"], utterances["a/a-1-y"]
    assert first.samples == (28000,) and rest.samples == (40000,)
    whole = load_audio(tmp_path / "audio/a-1.wav")
    np.testing.assert_array_equal(load_audio(first.paths[0]), whole[8000:36000])
    np.testing.assert_array_equal(read_segment(rest.paths[0], 100, 500), whole[40100:40600])


def test_copies_of_segments_are_files_of_their_own_and_a_second_run_does_nothing(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        prepare(KaldiFolder(folder), tmp_path / "out", options(wav=True), workers=1)
    (utterance,) = [item for item in read_manifest(tmp_path / "out") if item.key == "b/b-2-x"]
    assert utterance.paths == (str(tmp_path / "out/wav/b/b-2-x.wav"),)
    whole = load_audio(tmp_path / "audio/b-2.wav")
    np.testing.assert_array_equal(load_audio(utterance.paths[0]), whole[8000:36000])
    journal = (tmp_path / "out/journal.jsonl").read_text().splitlines()
    assert sum(line.startswith('["file"') for line in journal) == 8


def test_embed_names_utterances_by_their_ids(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "e.npz"
    assert main(["embed", str(folder), "--model", "pretrained", "--out", str(out), "--workers", "1"]) == 0
    with np.load(out) as found:
        assert found["path"].tolist() == [f"{name}-{part}" for name in ("a-1", "a-2", "b-1", "b-2") for part in "xy"]
        assert found["emb"].shape[0] == 8
    capsys.readouterr()


def test_verify_finds_utterances_and_averages_the_speakers_of_spk2utt(folder: Path) -> None:
    trials = folder / "trials"
    trials.write_text("a-1-x a-2-y target\na-1-x b-1-x nontarget\n")
    found = trials_from_list(trials, folder)
    assert found.protocol == "single recordings"
    names = dict(zip(found.trials.ids, found.sources, strict=True))
    ((path,),) = names["a-1-x"].recordings
    assert str(path).endswith("audio/a-1.wav#t=0.5,2.25") and len(load_audio(path)) == 28000
    spk2utt(folder)
    trials.write_text("a b-1-x nontarget\nb b-2-y target\n")
    averaged = trials_from_list(trials, folder)
    names = dict(zip(averaged.trials.ids, averaged.sources, strict=True))
    assert averaged.protocol == "average" and len(names["a"].recordings) == 4 and len(names["b-1-x"].recordings) == 1


@pytest.mark.parametrize(
    "command", ["touch {witness} |", "sph2pipe -f wav a.sph | tee {witness} |", "| cat > {witness}"]
)
def test_a_command_is_never_run_and_the_sentence_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    witness = tmp_path / "witness"
    with (folder / "wav.scp").open("a") as file:
        file.write(f"c-1 {command.format(witness=witness)}\n")
    sentence = r"wav.scp, line 5: 'c-1' is a command \('.*'\), and commands in a list are never run; run it yourself"
    with pytest.raises(CorpusError, match=sentence):
        KaldiFolder(folder).listing()
    with pytest.raises(CorpusError, match=sentence):
        read_kaldi(folder / "wav.scp")
    (folder / "trials").write_text("a-1-x a-2-y target\na-1-x b-1-x nontarget\n")
    with pytest.raises(TrialError, match=sentence):
        trials_from_list(folder / "trials", folder)
    assert main(["embed", str(folder), "--out", str(tmp_path / "e.npz")]) == 1
    assert main(["prepare", "list", str(folder), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert told.count("commands in a list are never run") == 2 and "Traceback" not in told
    assert not witness.exists()


@pytest.mark.parametrize(
    ("file", "line", "sentence"),
    [
        ("wav.scp", "z", "wav.scp, line 5: 'z' is not followed by anything"),
        ("wav.scp", "a-1 other.wav", "wav.scp, line 5: 'a-1' stands for two different things"),
        ("wav.scp", "z data/raw.ark:1234", "'z' is 'data/raw.ark:1234', not a file"),
        ("wav.scp", "z -", "'z' is '-', not a file"),
        ("segments", "z a-1 1.0", "segments, line 9: expected 'utterance recording start end'"),
        ("segments", "z a-1 2.0 1.0", "segments, line 9: expected"),
        ("segments", "z a-1 -2 1.0", "segments, line 9: expected"),
        ("segments", "z a-1 nan 1.0", "segments, line 9: expected"),
        ("segments", "z q-1 0.0 1.0", "segments, line 9: 'q-1' is not in wav.scp"),
        ("segments", "z a-1 0.0 1.0 1", "segments, line 9: names a channel"),
        ("segments", "z a-1 0.0 1.0", "does not say who speaks in z"),
        ("utt2spk", "a-1-x b", "utt2spk, line 9: 'a-1-x' stands for two different things"),
        ("utt2spk", "a-1-x", "utt2spk, line 9: 'a-1-x' is not followed by anything"),
    ],
)
def test_lines_that_make_no_sense_are_named(folder: Path, file: str, line: str, sentence: str) -> None:
    with (folder / file).open("a") as lines:
        lines.write(line + "\n")
    with pytest.raises(CorpusError) as caught:
        KaldiFolder(folder).listing()
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_names_that_reach_out_of_a_folder_are_refused(folder: Path) -> None:
    (folder / "segments").unlink()
    (folder / "wav.scp").write_text("../../evil audio/a-1.wav\n")
    (folder / "utt2spk").write_text("../../evil a\n")
    with pytest.raises(CorpusError, match="cannot name a file"):
        KaldiFolder(folder).listing()


def test_without_speakers_prepare_says_which_file_is_missing(folder: Path) -> None:
    (folder / "utt2spk").unlink()
    assert read_speakers(folder) is None
    with pytest.raises(CorpusError, match="has neither utt2spk nor spk2utt, so that nobody knows who speaks"):
        KaldiFolder(folder).listing()


def test_a_segment_beyond_the_end_of_its_recording_is_left_out_by_name(folder: Path, tmp_path: Path) -> None:
    with (folder / "segments").open("a") as lines:
        lines.write("a-1-z a-1 4.0 9.0\na-1-w a-1 4.0 5.3\n")  # Kaldi allows half a second too many
    with (folder / "utt2spk").open("a") as lines:
        lines.write("a-1-z a\na-1-w a\n")
    report = prepare(KaldiFolder(folder), tmp_path / "out", options(), workers=1)
    assert report.bad == 1 and report.train.utterances == 9
    assert "has no part from 4 s to 9 s: it lasts 5.00 s" in (tmp_path / "out/skipped.tsv").read_text()
    lengths = {utterance.key: utterance.samples for utterance in read_manifest(tmp_path / "out")}
    assert lengths["a/a-1-w"] == (16000,)
