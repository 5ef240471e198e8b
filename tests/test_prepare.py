"""Preparation from end to end: what it leaves, that it goes on after a kill, and that bad files do not stop it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from broken_audio import write_broken_files
from cnceleb_tree import CnCelebTree, build_cnceleb
from costs import costs
from processes import heed_interrupts
from sound_groove import cli
from sound_groove.audio.reading import load_audio
from sound_groove.audio.suffixes import is_audio
from sound_groove.corpora import file_work, preparation
from sound_groove.corpora.file_work import CopyJob, FileJob, FileOutcome, check_file
from sound_groove.corpora.layouts import CnCeleb, Folder, ListFile
from sound_groove.corpora.layouts.listing import is_hidden
from sound_groove.corpora.manifest import read_manifest
from sound_groove.corpora.preparation import prepare
from sound_groove.corpora.preparation_report import PreparationOptions, Report
from sound_groove.corpora.splitting import choose_validation_speakers, few_held_out
from sound_groove.corpora.worker_pool import spread
from sound_groove.errors import CorpusError, MissingExtraError, OutputError, UsageError, printable

LISTS = ("manifest.jsonl", "spk2id.json", "val_meta.jsonl", "report.json", "skipped.tsv")

Run = Callable[..., tuple[int, str, str]]
Prepared = tuple[Path, Report]


def noise(seconds: float, seed: int = 0, rate: int = 16000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * rate)).astype(np.float32)


def write(path: Path, seconds: float = 0.3, seed: int = 0, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, seed, rate), rate)
    return path


def write_speakers(root: Path, speakers: int = 5, utterances: int = 2) -> Path:
    for speaker in range(speakers):
        for utterance in range(utterances):
            write(root / f"speaker{speaker}" / f"{utterance}.wav", seed=10 * speaker + utterance)
    return root


def lists_of(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in LISTS}


def skipped_of(out: Path) -> dict[str, str]:
    lines = (out / "skipped.tsv").read_text().splitlines()
    assert lines[0] == "path\treason"
    return {Path(path).name: reason for path, reason in (line.split("\t") for line in lines[1:])}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `sound-groove prepare ...`; gives exit status, stdout and stderr."""
    monkeypatch.setattr(cli, "VERBS", ("prepare",))  # the other verbs are not under test, and slow to import

    def run(*words: object) -> tuple[int, str, str]:
        try:
            status = cli.main(["prepare", *map(str, words), "--workers", "1"])
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


# CN-Celeb


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CnCelebTree:
    return build_cnceleb(tmp_path_factory.mktemp("cnceleb"))


@pytest.fixture(scope="module")
def prepared(tree: CnCelebTree, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Both parts, joined, with features and wav copies."""
    out = tmp_path_factory.mktemp("prepared")
    options = PreparationOptions(join_s=3.0, features=True, wav=True)
    return out, prepare(CnCeleb(tree.cnceleb1, tree.cnceleb2), out, options, workers=2)


def test_train_and_validation_share_no_speaker_and_never_hold_eval_speakers(
    tree: CnCelebTree, prepared: Prepared
) -> None:
    utterances = read_manifest(prepared[0])
    train = {utterance.speaker for utterance in utterances if utterance.split == "train"}
    validation = {utterance.speaker for utterance in utterances if utterance.split == "validation"}
    assert train | validation == {*tree.dev_speakers, *tree.second_speakers}
    assert not train & validation
    assert len(validation) == 2
    assert validation <= set(tree.dev_speakers)  # model selection: held out of dev only
    assert not (train | validation) & set(tree.eval_speakers)


def test_every_usable_file_is_in_one_utterance(tree: CnCelebTree, prepared: Prepared) -> None:
    _, report = prepared
    assert report.used == tree.dev_files + tree.second_files
    assert report.files == report.used + len(tree.corrupt_files)
    assert report.train.speakers == len(tree.dev_speakers) + len(tree.second_speakers) - 2


def test_corrupt_files_and_missing_speakers_are_named_with_a_reason(tree: CnCelebTree, prepared: Prepared) -> None:
    out, report = prepared
    named = skipped_of(out)
    assert set(named) == {path.name for path in tree.corrupt_files} | set(tree.missing_speakers)
    lines = (out / "skipped.tsv").read_text()
    assert all(str(path) in lines for path in tree.corrupt_files)
    assert all(named.values())
    assert report.bad == len(tree.corrupt_files) + len(tree.missing_speakers)


def test_joined_pieces_stay_within_speaker_and_genre_and_lose_no_sample(tree: CnCelebTree, tmp_path: Path) -> None:
    plain = prepare(CnCeleb(tree.cnceleb1), tmp_path / "plain", workers=1)
    joined = prepare(CnCeleb(tree.cnceleb1), tmp_path / "joined", PreparationOptions(join_s=3.0), workers=1)
    single = {u.paths[0]: u for u in read_manifest(plain.out)}
    utterances = read_manifest(joined.out)
    assert joined.joined > 0
    assert sum(len(u.paths) for u in utterances) == len(single)
    for utterance in utterances:
        members = [single[path] for path in utterance.paths]
        assert {m.speaker for m in members} == {utterance.speaker}
        assert {m.genre for m in members} == {utterance.genre}
        assert utterance.samples == tuple(m.samples[0] for m in members)
        assert list(utterance.paths) == sorted(utterance.paths)
        more = f"+{len(members) - 1}" if len(members) > 1 else ""
        assert utterance.key == members[0].key + more


def test_the_lists_agree_with_the_manifest(prepared: Prepared) -> None:
    out, _ = prepared
    utterances = read_manifest(out)
    train = [u for u in utterances if u.split == "train"]
    label = json.loads((out / "spk2id.json").read_text())
    assert label == {speaker: n for n, speaker in enumerate(sorted({u.speaker for u in train}))}
    lines = (out / "train_fbank_list.txt").read_text().splitlines()
    assert lines == [f"{label[u.speaker]} {u.feature_path}" for u in train]
    validation = [json.loads(line) for line in (out / "val_meta.jsonl").read_text().splitlines()]
    assert [(v["speaker"], v["utterance"], v["feature_path"], v["paths"]) for v in validation] == [
        (u.speaker, u.key, u.feature_path, list(u.paths)) for u in utterances if u.split == "validation"
    ]
    keys = [(u.speaker, u.name) for u in utterances]
    assert keys == sorted(set(keys))


def test_features_are_those_of_the_joined_recording(tree: CnCelebTree, prepared: Prepared) -> None:
    import torch

    from sound_groove.networks.features import KaldiFbank

    out, _ = prepared
    utterance = max(read_manifest(out), key=lambda u: u.duration_s)
    features = torch.load(str(utterance.feature_path), weights_only=True)
    samples = load_audio(utterance.paths[0])
    assert features.dtype == torch.float32
    assert features.shape == (1 + (len(samples) - 400) // 160, 80)
    # Written by another process with other threads: in filters that hold next to nothing, logarithms differ by 1e-4.
    assert torch.allclose(features, KaldiFbank()(torch.from_numpy(samples)[None])[0], atol=5e-4)
    assert utterance.feature_path == str(out / "fbank_pt" / f"{utterance.key}.pt")


def test_wav_copies_are_exact_and_joined_without_a_gap(tree: CnCelebTree, prepared: Prepared) -> None:
    for utterance in read_manifest(prepared[0]):
        speaker, _, name = utterance.key.partition("/")
        first, _, more = name.partition("+")
        home = tree.cnceleb1 if (tree.cnceleb1 / "data" / speaker).is_dir() else tree.cnceleb2
        copied, rate = soundfile.read(utterance.paths[0], dtype="int16")
        assert (rate, len(copied)) == (16000, utterance.samples[0])
        original = next(path for path in (home / "data" / speaker).iterdir() if path.stem == first)
        expected = soundfile.read(original, dtype="int16")[0]
        assert np.array_equal(copied[: len(expected)], expected)
        assert (len(copied) > len(expected)) == bool(more)


def test_the_licence_is_printed_and_reported(tree: CnCelebTree, tmp_path: Path, run: Run) -> None:
    status, out, err = run("cnceleb", "--cnceleb1", tree.cnceleb1, "--out", tmp_path / "out")
    assert status == 0
    assert "research only" in err
    assert "27 trials (9 targets), 0 of the files missing" in err
    assert "train: 4 speakers" in out
    assert "research only" in json.loads((tmp_path / "out/report.json").read_text())["licence"]


# The command line


def test_strict_exits_with_1_when_a_file_is_bad(tmp_path: Path, run: Run) -> None:
    root = write_speakers(tmp_path / "speech")
    assert run("folder", root, "--out", tmp_path / "good", "--strict")[0] == 0
    (root / "speaker0/bad.wav").write_bytes(b"RIFF")
    assert run("folder", root, "--out", tmp_path / "lenient")[0] == 0
    status, out, err = run("folder", root, "--out", tmp_path / "strict", "--strict")
    assert status == 1
    assert "files: 10 of 11 used, 1 missing or unreadable" in out
    assert "1 cannot be read" in err


def test_json_prints_the_report_and_nothing_else(tmp_path: Path, run: Run) -> None:
    status, out, _ = run("folder", write_speakers(tmp_path / "speech"), "--out", tmp_path / "out", "--json")
    assert status == 0
    assert json.loads(out) == json.loads((tmp_path / "out/report.json").read_text())


@pytest.mark.parametrize(
    "words",
    [
        ("folder",),
        ("folder", "x", "--out", "y", "--validation-speakers", "1"),
        ("folder", "x", "--out", "y", "--validation-speakers", "some"),
        ("folder", "x", "--out", "y", "--join", "-1"),
        ("folder", "x", "--out", "y", "--min-duration", "nan"),
        ("cnceleb", "--out", "y"),
        ("musan", "x"),
    ],
)
def test_wrong_use_exits_with_2_and_one_sentence(words: tuple[object, ...], run: Run) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1


def test_a_wrong_folder_exits_with_1_and_leaves_nothing(tmp_path: Path, run: Run) -> None:
    status, out, err = run("folder", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert (status, out) == (1, "")
    assert err.startswith("error: ") and "no such folder" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("corpus", ["cnceleb", "voxceleb", "folder", "list"])
def test_help_shows_an_example_that_can_be_parsed(corpus: str, run: Run) -> None:
    status, out, _ = run(corpus, "--help")
    assert status == 0
    example = out.split("example:\n  ")[1].split("\n")[0].split("  ")[0]
    parsed = cli.build_parser().parse_args(example.split()[1:])
    assert parsed.corpus == corpus
    assert example in run("--help")[1]


# Options


def test_quick_finds_the_lengths_that_decoding_finds(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    write(root / "speaker0/high.flac", 0.51, rate=44100)
    write(root / "speaker1/low.ogg", 0.5, rate=8000)
    full = prepare(Folder(root), tmp_path / "full", workers=1)
    quick = prepare(Folder(root), tmp_path / "quick", PreparationOptions(quick=True), workers=1)
    assert (full.out / "manifest.jsonl").read_bytes() == (quick.out / "manifest.jsonl").read_bytes()


def test_short_files_are_dropped_after_joining_and_named(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")  # 0.3 s each
    write(root / "speaker0/long.wav", 1.0)
    write(root / "lonely/1.wav", 0.4)
    alone = PreparationOptions(minimum_duration_s=0.5, validation_speakers=0)
    with pytest.raises(CorpusError, match="at least 2 speakers"):
        prepare(Folder(root), tmp_path / "alone", alone, workers=1)
    joined = PreparationOptions(minimum_duration_s=0.5, join_s=0.5, validation_speakers=0)
    report = prepare(Folder(root), tmp_path / "joined", joined, workers=1)
    assert [(Path(skip.path).parent.name, skip.kind) for skip in report.skipped] == [("lonely", "short")]
    assert "lasts 0.40 s, less than 0.5 s" in report.skipped[0].reason
    assert "1 speakers have no usable utterance: lonely" in report.notes


def test_wav_copies_of_nested_names_and_other_rates_are_readable(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    write(root / "speaker0/home/late/high.flac", 0.5, rate=44100)
    out = prepare(Folder(root), tmp_path / "out", PreparationOptions(wav=True), workers=1).out
    utterance = next(u for u in read_manifest(out) if u.key == "speaker0/home/late/high")
    assert utterance.paths == (str(out / "wav/speaker0/home/late/high.wav"),)
    assert len(load_audio(utterance.paths[0])) == utterance.samples[0] == 8000
    assert utterance.session == "home/late"


def test_features_without_torch_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"^Writing features needs the 'train' extra: pip install"):
        prepare(Folder(write_speakers(tmp_path / "speech")), tmp_path / "out", PreparationOptions(features=True))
    assert not (tmp_path / "out").exists()


def test_preparing_without_features_never_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys, sound_groove.cli.prepare, sound_groove.corpora.file_work, sound_groove.corpora.layouts\n"
        "import sound_groove.corpora.preparation\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("options", [{"validation_speakers": 1}, {"join_s": 0.0}, {"minimum_duration_s": float("nan")}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be"):
        PreparationOptions(**options)


def test_blocks_of_a_long_recording_give_the_features_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from sound_groove.networks.features import KaldiFbank

    samples = noise(2.0)
    whole = KaldiFbank()(torch.from_numpy(samples)[None])[0]
    for block in (7, 99, 198, 199):
        monkeypatch.setattr(file_work, "BLOCK_FRAMES", block)
        assert torch.allclose(file_work.extract_features(samples), whole, atol=1e-5)


# The split


def test_validation_speakers_have_two_utterances_and_are_drawn_by_seed() -> None:
    utterances = {f"s{n}": 1 if n < 50 else 5 for n in range(100)}
    chosen = choose_validation_speakers(utterances, None, None, seed=0)
    assert len(chosen) == 10  # 5 % of 100 would be 5, of whom an error rate says little
    assert all(utterances[speaker] >= 2 for speaker in chosen)
    assert chosen == choose_validation_speakers(dict(reversed(utterances.items())), None, None, seed=0)
    assert chosen != choose_validation_speakers(utterances, None, None, seed=1)


@pytest.mark.parametrize(
    ("speakers", "held_out"), [(4, 2), (9, 3), (30, 10), (100, 10), (200, 10), (797, 40), (2793, 100)]
)
def test_about_five_percent_are_held_out_and_ten_at_least_where_that_is_no_more_than_a_third(
    speakers: int, held_out: int
) -> None:
    utterances = {f"s{n}": 2 for n in range(speakers)}
    assert len(choose_validation_speakers(utterances, None, None, 0)) == held_out


def test_the_default_makes_do_with_the_speakers_that_can_be_held_out() -> None:
    utterances = {f"s{n}": 2 if n < 3 else 1 for n in range(100)}
    assert choose_validation_speakers(utterances, None, None, 0) == {"s0", "s1", "s2"}


def test_why_fewer_than_ten_are_held_out_is_said(tmp_path: Path) -> None:
    assert few_held_out(10, None, 50) == few_held_out(0, 0, 50) == ""
    assert few_held_out(3, None, 9).startswith("3 speakers are held out for validation, a third of the 9 that have two")
    assert few_held_out(3, None, 3).startswith("3 speakers are held out for validation, since no others have two")
    assert few_held_out(5, 5, 50).startswith("5 speakers are held out for validation, as --validation-speakers says;")
    root = write_speakers(tmp_path / "speech", speakers=6, utterances=2)
    report = prepare(Folder(root), tmp_path / "out", PreparationOptions(), workers=1)
    assert report.validation.speakers == 2 and report.notes == (few_held_out(2, None, 6),)


def test_one_more_speaker_moves_at_most_one_across_the_split() -> None:
    utterances = {f"s{n}": 2 for n in range(60)}
    before = choose_validation_speakers(utterances, None, 10, 0)
    after = choose_validation_speakers({**utterances, "new": 2}, None, 10, 0)
    assert len(before - after) <= 1


@pytest.mark.parametrize(
    ("speakers", "wanted", "complaint"),
    [
        (3, None, "at least 2 speakers are needed to train on, there are 3 in all, 2 of them.*--validation-speakers 0"),
        (1, 0, "there are 1 in all; add speakers$"),
        (1, None, "2 speakers with at least 2 utterances are needed for validation, there are 1;.*0 to train without"),
        (5, 7, "7 speakers .* there are 5; add speakers, or pass --validation-speakers 5"),
    ],
)
def test_too_few_speakers_are_told_so(speakers: int, wanted: int | None, complaint: str) -> None:
    with pytest.raises(CorpusError, match=complaint):
        choose_validation_speakers({f"s{n}": 2 for n in range(speakers)}, None, wanted, 0)


def test_without_validation_every_speaker_is_trained_on(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech", speakers=2, utterances=1)
    report = prepare(Folder(root), tmp_path / "out", PreparationOptions(validation_speakers=0), workers=1)
    assert (report.train.speakers, report.validation.speakers) == (2, 0)
    assert (report.out / "val_meta.jsonl").read_text() == ""


# Bad files


def test_no_broken_file_stops_a_preparation(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    broken = write_broken_files(root / "speaker0" / "broken")
    report = prepare(Folder(root), tmp_path / "out", workers=2)
    assert report.used == 10
    assert len(broken) > 100
    named = skipped_of(tmp_path / "out")
    assert set(named) == {printable(path.name) for path in broken if is_audio(path.name) and not is_hidden(path.name)}
    assert all(reason and reason.isprintable() for reason in named.values())


def test_a_corpus_of_bad_files_only_says_why(tmp_path: Path) -> None:
    root = tmp_path / "speech"
    for speaker in range(5):
        for name in ("1.wav", "2.wav"):
            path = write(root / f"s{speaker}" / name)
            path.write_bytes(b"")
    with pytest.raises(CorpusError, match=r"none of the 10 audio files can be used; 10 times: .*empty.*skipped.tsv"):
        prepare(Folder(root), tmp_path / "out", workers=1)
    assert len(skipped_of(tmp_path / "out")) == 2
    assert not (tmp_path / "out/manifest.jsonl").exists()


def test_files_that_a_list_names_and_the_disk_has_not_are_bad(tmp_path: Path) -> None:
    root = write_speakers(tmp_path)
    lines = [f"{path}\t{path.parent.name}" for path in sorted(root.rglob("*.wav"))]
    (tmp_path / "list.tsv").write_text("\n".join([*lines, "gone.wav\tspeaker0"]))
    report = prepare(ListFile(tmp_path / "list.tsv"), tmp_path / "out", workers=1)
    assert report.used == 10
    assert [(Path(s.path).name, s.kind) for s in report.skipped] == [("gone.wav", "bad")]


def dying_check(job: FileJob) -> FileOutcome:
    """A decoder that crashes on some files (found by name in the worker process)."""
    if "deadly" in job.path:
        os.kill(os.getpid(), signal.SIGSEGV)
    return check_file(job)


@pytest.mark.slow
def test_a_file_that_kills_its_worker_is_named_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_speakers(tmp_path / "speech", speakers=6, utterances=6)
    write(root / "speaker0/deadly.wav")
    write(root / "speaker5/deadly.wav")
    monkeypatch.setattr(preparation, "check_file", dying_check)
    report = prepare(Folder(root), tmp_path / "out", workers=2)
    assert report.used == 36
    assert [Path(skip.path).parent.name for skip in report.skipped] == ["speaker0", "speaker5"]
    assert {skip.reason for skip in report.skipped} == {"kills the process that decodes it"}
    # It may have been the machine's fault: the next run tries again.
    monkeypatch.setattr(preparation, "check_file", check_file)
    assert prepare(Folder(root), tmp_path / "out", workers=2).used == 38


def double_or_die(number: int) -> int:
    if number in (3, 40, 41):
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


@pytest.mark.slow
def test_every_item_gets_one_result_however_many_workers_die() -> None:
    results = list(spread(double_or_die, range(100), 2, lambda number: -1))
    assert sorted(results) == [(n, -1 if n in (3, 40, 41) else 2 * n) for n in range(100)]


def fail_on_three(number: int) -> int:
    if number == 3:
        raise ZeroDivisionError("a mistake in the program")
    return number


def test_a_mistake_of_the_program_is_not_taken_for_a_bad_file() -> None:
    with pytest.raises(ZeroDivisionError):
        list(spread(fail_on_three, range(5), 1, lambda number: -1))


def full_disk(job: CopyJob) -> None:
    raise OSError(28, "No space left on device", str(job.wav_path))


def test_a_full_disk_ends_the_run_and_blames_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "copy_utterance", full_disk)
    with pytest.raises(OSError, match="No space left"):
        prepare(Folder(write_speakers(tmp_path / "speech")), tmp_path / "out", PreparationOptions(wav=True), workers=1)
    monkeypatch.undo()
    report = prepare(Folder(tmp_path / "speech"), tmp_path / "out", PreparationOptions(wav=True), workers=1)
    assert report.bad == 0


# Stopping and going on


def records_of(out: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()][1:]


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech", speakers=6, utterances=8)
    (root / "speaker0/bad.wav").write_bytes(b"no audio")
    options = PreparationOptions(join_s=0.7)
    lists = [
        lists_of(prepare(Folder(root), tmp_path / "same", options, workers=workers, force=True).out)
        for workers in (1, 3)
    ]
    assert lists[0] == lists[1]


def test_a_second_run_decodes_nothing_and_leaves_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_speakers(tmp_path / "speech")
    (root / "speaker0/bad.wav").write_bytes(b"no audio")
    options = PreparationOptions(wav=True)
    out = prepare(Folder(root), tmp_path / "out", options, workers=1).out
    before, journal = lists_of(out), (out / "journal.jsonl").read_bytes()
    monkeypatch.setattr(preparation, "spread", None)  # no work may be given to anyone
    prepare(Folder(root), out, options, workers=1)
    assert lists_of(out) == before
    assert (out / "journal.jsonl").read_bytes() == journal


def test_only_what_changed_is_done_again(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    options = PreparationOptions(wav=True)
    out = prepare(Folder(root), tmp_path / "out", options, workers=1).out
    done = len(records_of(out))
    changed = write(root / "speaker0/0.wav", 0.5)
    write(root / "speaker0/new.wav", 0.4)
    (out / "wav/speaker1/0.wav").unlink()
    prepare(Folder(root), out, options, workers=1)
    fresh = records_of(out)[done:]
    assert sorted((kind, Path(name).stem) for kind, name, *_ in fresh) == [
        ("copied", "0"),
        ("copied", "0"),
        ("copied", "new"),
        ("file", "0"),
        ("file", "new"),
    ]
    samples = {u.key: u.samples for u in read_manifest(out)}
    assert samples["speaker0/0"] == (8000,) == (len(load_audio(changed)),)
    assert samples["speaker0/new"] == (6400,)


def test_a_journal_torn_by_a_kill_or_a_power_cut_is_read_up_to_the_tear(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    out = prepare(Folder(root), tmp_path / "out", workers=1).out
    before = lists_of(out)
    whole = (out / "journal.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    for torn in (
        whole[:-7],
        b"".join(lines[:4]) + b"\0" * 50 + b"\n" + b"".join(lines[4:]),
        lines[0],
        lines[0][:9],
        b"",
    ):
        (out / "journal.jsonl").write_bytes(torn)
        for name in LISTS:
            (out / name).unlink()
        prepare(Folder(root), out, workers=1)
        assert lists_of(out) == before
        assert sorted((out / "journal.jsonl").read_bytes().splitlines()) == sorted(whole.splitlines())


SCRIPT = """
import sys
from sound_groove import cli
if __name__ == "__main__":
    cli.VERBS = ("prepare",)
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
@costs("slow")
def busy(tmp_path: Path) -> list[str]:
    """A corpus that keeps two workers busy for a second or two, and its command line."""
    sound = write(tmp_path / "sound.flac", 6.0)
    for speaker in range(5):
        folder = tmp_path / "speech" / f"speaker{speaker}"
        folder.mkdir(parents=True)
        for utterance in range(80):
            (folder / f"{utterance:03d}.flac").hardlink_to(sound)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return [sys.executable, str(script), "prepare", "folder", str(tmp_path / "speech"), "--workers", "2", "--out"]


def start(command: list[str], out: Path) -> "subprocess.Popen[str]":
    """Run a command in a session of its own."""
    return subprocess.Popen(
        [*command, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )


def start_and_wait(command: list[str], out: Path) -> "subprocess.Popen[str]":
    """Start a preparation and come back when it has done some of its files."""
    process = start(command, out)
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 200
    while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return process


def session_of(process: "subprocess.Popen[str]") -> list[int]:
    """Processes of a session that are still running."""
    alive = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = status.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == process.pid and state not in "ZX":
            alive.append(int(status.parent.name))
    return alive


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_run_killed_in_the_middle_goes_on_where_it_stopped(busy: list[str], tmp_path: Path) -> None:
    process = start_and_wait(busy, tmp_path / "out")
    assert len(session_of(process)) > 1
    process.kill()
    process.communicate()
    done = len((tmp_path / "out/journal.jsonl").read_bytes().splitlines()) - 1
    assert 0 < done < 400
    assert not (tmp_path / "out/manifest.jsonl").exists()
    deadline = time.monotonic() + 60
    while session_of(process):
        assert time.monotonic() < deadline, "workers outlive their killed parent"
        time.sleep(0.02)
    report = prepare(Folder(tmp_path / "speech"), tmp_path / "out", workers=2)
    assert report.used == 400
    assert len(records_of(tmp_path / "out")) == 400  # none was decoded twice
    whole = prepare(Folder(tmp_path / "speech"), tmp_path / "whole", PreparationOptions(quick=True), workers=2)
    assert (whole.out / "manifest.jsonl").read_bytes() == (tmp_path / "out/manifest.jsonl").read_bytes()


def test_ctrl_c_ends_without_a_traceback_and_keeps_what_was_done(busy: list[str], tmp_path: Path) -> None:
    process = start_and_wait(busy, tmp_path / "out")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    out, err = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGINT
    assert out == ""
    assert err.splitlines() == ["what was done is kept: the same command goes on from here", "interrupted"]
    assert len(records_of(tmp_path / "out")) >= 20


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("running", [2, 3, 4, 5])
def test_ctrl_c_while_workers_are_started_ends_without_a_traceback(
    running: int, busy: list[str], tmp_path: Path
) -> None:
    """With the first of them the shared things are tracked, with the next modules are loaded, with the rest workers."""
    process = start(busy, tmp_path / "out")
    deadline = time.monotonic() + 100
    while len(session_of(process)) < running:
        assert process.poll() is None and time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGINT and out == ""
    assert set(err.splitlines()) <= {"what was done is kept: the same command goes on from here", "interrupted"}
    while session_of(process):
        assert time.monotonic() < deadline, "processes outlive their interrupted parent"
        time.sleep(0.02)


def test_two_preparations_do_not_write_one_folder_at_once(busy: list[str], tmp_path: Path) -> None:
    process = start_and_wait(busy, tmp_path / "out")
    try:
        with pytest.raises(OutputError, match="another preparation is writing there"):
            prepare(Folder(tmp_path / "speech"), tmp_path / "out")
    finally:
        process.kill()
        process.communicate()


# The output folder


def test_other_arguments_into_the_same_folder_are_refused_without_force(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    out = prepare(Folder(root), tmp_path / "out", PreparationOptions(wav=True), workers=1).out
    before = lists_of(out)
    with pytest.raises(OutputError, match=r"other arguments \(seed: 0 there, 1 now; wav: True there, False now\)"):
        prepare(Folder(root), out, PreparationOptions(seed=1), workers=1)
    assert lists_of(out) == before
    prepare(Folder(root), out, PreparationOptions(seed=1), workers=1, force=True)
    assert not (out / "wav").exists()
    assert [kind for kind, *_ in records_of(out)] == ["file"] * 10


def test_a_folder_with_files_of_unknown_origin_is_refused_even_with_force(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    (tmp_path / "out/wav").mkdir(parents=True)
    (tmp_path / "out/wav/precious.wav").touch()
    with pytest.raises(OutputError, match="holds wav, which no preparation wrote"):
        prepare(Folder(root), tmp_path / "out", force=True)
    assert (tmp_path / "out/wav/precious.wav").exists()
    (tmp_path / "journal.jsonl").write_text("dear diary\n")
    with pytest.raises(OutputError, match="is not the journal of a preparation"):
        prepare(Folder(root), tmp_path, force=True)
    assert (tmp_path / "journal.jsonl").read_text() == "dear diary\n"


def test_writing_into_the_corpus_is_refused(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    for out in (root, root / "prepared", root / "speaker0/deep"):
        with pytest.raises(OutputError, match="lies inside"):
            prepare(Folder(root), out)
    write_speakers(tmp_path / "wav")
    with pytest.raises(OutputError, match="overwritten by its own copy"):
        prepare(Folder(tmp_path / "wav"), tmp_path, PreparationOptions(wav=True))
    with pytest.raises(OutputError, match="is a file"):
        prepare(Folder(root), write(tmp_path / "file.wav"))


def test_a_file_with_the_name_of_a_joined_piece_is_refused(tmp_path: Path) -> None:
    root = write_speakers(tmp_path / "speech")
    (root / "speaker0/0.wav").unlink()
    write(root / "speaker0/1!.wav")  # sorts behind 1 and before 1+1
    write(root / "speaker0/1+1.wav", 1.0)
    with pytest.raises(CorpusError, match=r"1\+1.wav: has the name that joining gives to another utterance"):
        prepare(Folder(root), tmp_path / "out", PreparationOptions(join_s=0.5, validation_speakers=0), workers=1)


@pytest.mark.corpus
def test_real_recordings_have_the_durations_that_their_list_says(corpus: Path, tmp_path: Path) -> None:
    rows = [line.split("\t") for line in (corpus / "manifest.tsv").read_text().splitlines()[1:]]
    rows = [row for row in rows if row[3] == "dsp"][::15][:60]
    (tmp_path / "list.tsv").write_text("".join(f"{corpus / path}\t{speaker}\n" for _, path, speaker, *_ in rows))
    report = prepare(ListFile(tmp_path / "list.tsv"), tmp_path / "out")
    assert report.used == len(rows) == 60
    durations = {utterance.paths[0]: utterance.duration_s for utterance in read_manifest(tmp_path / "out")}
    for _, path, _, _, _, duration_s, *_ in rows:
        assert durations[str(corpus / path)] == pytest.approx(float(duration_s), abs=0.02)
