"""Trial lists in three formats, pairs of a validation set, and the files that names stand for."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sound_groove.errors import TrialError, UsageError
from sound_groove.evaluation.trials.pairs import draw_pairs, pair_trials, read_validation_set
from sound_groove.evaluation.trials.sources import AudioFinder, Sources, locate
from sound_groove.evaluation.trials.trial_list import CNCELEB, KALDI, VOXCELEB, TrialList, read_trials
from sound_groove.evaluation.trials.trial_sets import trials_from_list

patient = settings(deadline=None)  # a busy machine must not fail a test

EXPECTED = [("a.wav", "b.wav", True), ("a.wav", "c.wav", False), ("b.wav", "c.wav", False)]


def write(tmp_path: Path, content: str | bytes, name: str = "trials.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(trials: TrialList) -> list[tuple[str, str, bool]]:
    return [
        (trials.ids[a], trials.ids[b], bool(label))
        for a, b, label in zip(trials.enrolments, trials.tests, trials.labels, strict=True)
    ]


@pytest.mark.parametrize(
    ("content", "expected_format"),
    [
        ("1 a.wav b.wav\n0 a.wav c.wav\n0 b.wav c.wav\n", VOXCELEB),
        ("a.wav b.wav 1\na.wav c.wav 0\nb.wav c.wav 0\n", CNCELEB),
        ("a.wav b.wav target\na.wav c.wav nontarget\nb.wav c.wav nontarget\n", KALDI),
        ("1 a.wav b.wav\r\n0 a.wav c.wav\r\n0 b.wav c.wav\r\n", VOXCELEB),
        ("\ufeff1 a.wav b.wav\n0 a.wav c.wav\n0 b.wav c.wav", VOXCELEB),
        ("\n\na.wav\tb.wav\t1\n  \t\na.wav\tc.wav\t0   \n   b.wav  c.wav 0\n\n", CNCELEB),
    ],
)
def test_each_format_is_recognised_from_its_content(tmp_path: Path, content: str, expected_format: object) -> None:
    trials, form = read_trials(write(tmp_path, content))
    assert form is expected_format
    assert rows(trials) == EXPECTED
    assert trials.ids == ("a.wav", "b.wav", "c.wav")


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    trials, _ = read_trials(write(tmp_path, "\n1 a b\n\n0 a c\n"))
    assert trials.lines.tolist() == [2, 4]


def test_a_recording_named_0_does_not_confuse_while_another_line_decides(tmp_path: Path) -> None:
    trials, form = read_trials(write(tmp_path, "1 a 0\n0 a b\n"))  # the first fits two formats, the second one
    assert form is VOXCELEB
    assert rows(trials) == [("a", "0", True), ("a", "b", False)]


def test_names_with_spaces_need_tabs(tmp_path: Path) -> None:
    trials, _ = read_trials(write(tmp_path, "1\tmy voice.wav\tother voice.wav\n0\tmy voice.wav\tc.wav\n"))
    assert trials.ids == ("my voice.wav", "other voice.wav", "c.wav")


def test_names_in_any_script_and_encoding_survive(tmp_path: Path) -> None:
    trials, _ = read_trials(write(tmp_path, "1 张三.wav 李\u3000四.wav\n".encode() + b"0 caf\xe9.wav x.wav\n"))
    assert trials.ids[:2] == ("张三.wav", "李\u3000四.wav")
    assert trials.ids[2].encode("utf-8", "surrogateescape") == b"caf\xe9.wav"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no trials"),
        ("\n  \n", "holds no trials"),
        ("1 a b\na b 1\n", r"line 2: 'a b 1' is in the CN-Celeb format, but line 1 is in the VoxCeleb format"),
        ("a b target\na b 1\n", r"line 2: .*CN-Celeb format, but line 1 is in the Kaldi format"),
        ("1 a 0\n0 b 1\n", "line 1: this line, and every other, fits more than one format"),
        ("1 a b\n2 a b\n", r"line 2: '2 a b' is not a trial"),
        ("1 a b\n1 a\n", r"line 2: '1 a' is not a trial"),
        ("1 a b c\n", r"line 1: '1 a b c' is not a trial"),
        ("a b targets\n", r"line 1: .*did you mean 'target'\?"),
        ("a b\n", r"line 1: 'a b' is not a trial; expected one of '1 a.wav b.wav' \(VoxCeleb\)"),
        (b"RIFF\x00\x00WAVE", "line 1: not text"),
        ("1 a b\n".encode("utf-16"), "UTF-16"),
        ("1 a b\n0 x y\n0 b a\n", r"lines 1 and 3: the same two recordings \('b' and 'a'\) .* correct the list"),
        ("0 a a\n1 a b\n", "line 1: 'a' is compared with itself and labelled 'different speakers'"),
        ("1 a\x1b[31m b c\n", r"a\\x1b\[31m"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(TrialError, match=message) as caught:
        read_trials(write(tmp_path, content))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(tmp_path))


def test_a_list_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(TrialError, match="cannot be read"):
            read_trials(path)


def test_duplicates_are_counted_in_either_order_and_kept(tmp_path: Path) -> None:
    trials, _ = read_trials(write(tmp_path, "1 a b\n0 a c\n1 b a\n1 a b\n0 b c\n"))
    assert trials.duplicates == 2
    assert len(trials) == 5


# --- pairs of a validation set


@patient
@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=14), st.integers(2, 100), st.integers(0, 5))
def test_drawn_pairs_are_distinct_rightly_labelled_and_as_many_as_wanted(
    speakers: list[str], most: int, seed: int
) -> None:
    same = sum(a == b for a, b in combinations(speakers, 2))
    different = len(speakers) * (len(speakers) - 1) // 2 - same
    if not same or not different:
        with pytest.raises(TrialError, match="pairs cannot be drawn"):
            draw_pairs(speakers, most, seed)
        return
    first, second, labels = draw_pairs(speakers, most, seed)
    assert len(first) == min(most, same + different)
    assert len({frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}) == len(first)
    assert [speakers[a] == speakers[b] for a, b in zip(first, second, strict=True)] == labels.tolist()
    if most < same + different:
        assert labels.sum() == min(same, max(most // 2, most - different))
    assert labels.any() and not labels.all()


def test_a_sample_is_a_function_of_its_seed() -> None:
    speakers = [f"s{n % 30}" for n in range(600)]
    one, same, other = (draw_pairs(speakers, 1000, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])
    assert one[2].sum() == 500


def test_every_pair_is_drawn_about_as_often() -> None:
    speakers = ["a", "a", "a", "b", "b", "c"]
    counts: dict[tuple[int, int], int] = {}
    for seed in range(3000):
        first, second, labels = draw_pairs(speakers, 4, seed)
        for a, b, same in zip(first.tolist(), second.tolist(), labels, strict=True):
            if not same:
                counts[min(a, b), max(a, b)] = counts.get((min(a, b), max(a, b)), 0) + 1
    # 11 different-speaker pairs, 2 a draw: 545 each, give or take 4 standard deviations of 21
    assert len(counts) == 11
    assert all(460 < count < 630 for count in counts.values())


def test_a_large_set_is_sampled_without_listing_its_pairs() -> None:
    speakers = np.repeat(np.arange(1000), 100).astype(str)  # 5 thousand million pairs
    first, second, labels = draw_pairs(speakers, 20_000, 0)
    assert len(first) == 20_000 and labels.sum() == 10_000
    assert ((first // 100 == second // 100) == labels).all()


def test_the_validation_set_of_prepare_is_read(tmp_path: Path) -> None:
    lines = [
        {"speaker": "s1", "utterance": "s1/a", "feature_path": None, "path": "/x/a.flac", "paths": ["/x/a.flac"]},
        {
            "speaker": "s1",
            "utterance": "s1/b",
            "feature_path": "/x/b.pt",
            "path": None,
            "paths": ["b1.flac", "b2.flac"],
        },
        {"speaker": "s2", "utterance": "s2/a", "path": "c.flac"},
    ]
    path = write(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "val_meta.jsonl")
    utterances = read_validation_set(path)
    assert [u.paths for u in utterances] == [
        (Path("/x/a.flac"),),
        (tmp_path / "b1.flac", tmp_path / "b2.flac"),
        (tmp_path / "c.flac",),
    ]
    trials = pair_trials(utterances, 100, 0)
    assert rows(trials) == [("s1/a", "s1/b", True), ("s1/a", "s2/a", False), ("s1/b", "s2/a", False)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no utterances"),
        ("{", "line 1: not a line of a validation set"),
        ("[]\n", "line 1: .*expected an object"),
        ('{"speaker": "a", "utterance": "u"}\n', "names no audio"),
        ('{"speaker": "a", "path": null, "feature_path": "x.pt"}\n', "names no audio"),
        ('{"utterance": "u", "path": "x.wav"}\n', "names no speaker"),
        ('{"speaker": "a", "path": "x.wav"}\n{"speaker": "a", "path": "x.wav"}\n', "line 2: .*listed twice"),
    ],
)
def test_a_validation_set_that_cannot_be_used_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(TrialError, match=message):
        read_validation_set(write(tmp_path, content))


# --- names and files


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def located(tmp_path: Path, content: str, enrollment: str | None = None) -> dict[str, list[str] | str]:
    """What each name stands for, relative to tmp_path, or why it stands for nothing; the root is tmp_path/eval."""
    path = write(tmp_path / "eval/lists", content, "trials.lst")
    trials, form = read_trials(path)
    sources: Sources = locate(trials, form, path, tmp_path / "eval", enrollment)  # type: ignore[arg-type]
    return {
        name: source.problem or [str(p[0].resolve().relative_to(tmp_path.resolve())) for p in source.recordings]
        for name, source in zip(trials.ids, sources.by_id, strict=True)
    }


def test_a_file_is_found_under_another_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.flac", "a.mp3", "b.wav", "b.flac", "c.v2.OPUS", "d.txt", "sub/e.flac")
    finder = AudioFinder(tmp_path)
    assert finder.find("a.wav") == tmp_path / "a.flac"  # lossless before lossy
    assert finder.find("a.mp3") == tmp_path / "a.mp3"  # the exact name before all
    assert finder.find("b") == tmp_path / "b.wav"
    assert finder.find("c.v2") == tmp_path / "c.v2.OPUS"  # '.v2' is no audio suffix
    assert finder.find("c.v2.wav") == tmp_path / "c.v2.OPUS"
    assert finder.find("d.wav") is None
    assert finder.find("sub\\e.wav") == tmp_path / "sub/e.flac"
    assert finder.find("sub") is None
    assert finder.find(str(tmp_path / "sub/e.wav")) == tmp_path / "sub/e.flac"


def test_cnceleb_enrolments_are_explained_by_the_files_beside_the_list(tmp_path: Path) -> None:
    touch(tmp_path, "eval/enroll/s1-enroll.flac", "eval/test/s1-x.flac", "data/s1/a.flac", "data/s1/b.wav")
    (tmp_path / "eval/lists").mkdir()
    write(tmp_path / "eval/lists", "s1-enroll enroll/s1-enroll.wav\r\n", "enroll.lst")
    write(tmp_path / "eval/lists", "s1-enroll s1/a.wav s1/b.wav\n", "enroll.map")
    content = "s1-enroll test/s1-x.wav 1\n"
    whole = {"s1-enroll": ["eval/enroll/s1-enroll.flac"], "test/s1-x.wav": ["eval/test/s1-x.flac"]}
    assert located(tmp_path, content) == located(tmp_path, content, "concatenated") == whole
    assert located(tmp_path, content, "average")["s1-enroll"] == ["data/s1/a.flac", "data/s1/b.wav"]
    (tmp_path / "eval/lists/enroll.lst").unlink()  # without it, enroll/ is where they lie
    assert located(tmp_path, content) == whole
    (tmp_path / "eval/lists/enroll.map").unlink()
    with pytest.raises(TrialError, match=r"enroll.map: no such file; the 'average' protocol needs it"):
        located(tmp_path, content, "average")


def test_an_averaged_enrolment_stands_only_when_all_its_recordings_do(tmp_path: Path) -> None:
    touch(tmp_path, "eval/test/s1-x.flac", "data/s1/a.flac")
    (tmp_path / "eval/lists").mkdir()
    write(tmp_path / "eval/lists", "s1-enroll s1/a.wav s1/b.wav\n", "enroll.map")
    found = located(tmp_path, "s1-enroll test/s1-x.wav 1\ns2-enroll test/s1-x.wav 0\n", "average")
    assert found["s1-enroll"] == "1 of its 2 enrolment recordings missing, first s1/b.wav"
    assert "not in" in found["s2-enroll"]


def test_kaldi_names_are_explained_by_wav_scp(tmp_path: Path) -> None:
    touch(tmp_path, "eval/x/1.flac", "eval/plain.wav")
    (tmp_path / "eval/lists").mkdir()
    write(tmp_path / "eval/lists", "u1 x/1.wav\nu2 gone.wav\n", "wav.scp")
    found = located(tmp_path, "u1 plain target\nu1 u2 nontarget\n")
    assert found["u1"] == ["eval/x/1.flac"]
    assert found["plain"] == ["eval/plain.wav"]
    assert "no such recording" in found["u2"]


def test_a_command_in_wav_scp_is_refused_and_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    (tmp_path / "eval/lists").mkdir(parents=True)
    write(tmp_path / "eval/lists", f"u1 touch {witness} |\nu2 x.wav\n", "wav.scp")
    with pytest.raises(TrialError, match=r"'u1' is a command \('touch .*never run"):
        located(tmp_path, "u1 u2 target\n")
    assert not witness.exists()


def test_a_table_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eval/lists").mkdir(parents=True)
    write(tmp_path / "eval/lists", "u1 a.wav\nu1 b.wav\n", "wav.scp")
    with pytest.raises(TrialError, match="line 2: 'u1' stands for two different things"):
        located(tmp_path, "u1 u2 target\n")
    write(tmp_path / "eval/lists", "u1\n", "wav.scp")
    with pytest.raises(TrialError, match="line 1: 'u1' is not followed by anything"):
        located(tmp_path, "u1 u2 target\n")


def test_a_protocol_for_another_format_and_a_root_that_is_no_folder_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "1 a b\n0 a c\n")
    with pytest.raises(UsageError, match="--enrollment is for lists in the CN-Celeb format"):
        trials_from_list(path, tmp_path, "average")
    with pytest.raises(TrialError, match="no such folder; --audio-root"):
        trials_from_list(path, tmp_path / "none")


def test_who_speaks_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "1 a b\n0 a c\n0 a d\n")
    told = trials_from_list(path, tmp_path)
    assert told.speakers.tolist() == [0, 0, 1, 2]
    assert "leaves 2 of 3 'speakers' with a single recording" in told.notes[0]
    table = write(tmp_path, "a x\nb x\nc y\nd y\n", "utt2spk")
    assert trials_from_list(path, tmp_path, speaker_table=table).speakers.tolist() == [0, 0, 1, 1]
    for content, message in (
        ("a x\nb x\nc y\n", r"does not say who speaks in 'd' \(1 names lack\)"),
        ("a x\nb x\nc y\nd x\n", "contradicts 1 labels of the trial list, first that of line 3"),
    ):
        with pytest.raises(TrialError, match=message):
            trials_from_list(path, tmp_path, speaker_table=write(tmp_path, content, "utt2spk"))


def test_labels_that_join_speakers_wrongly_are_noted(tmp_path: Path) -> None:
    trial_set = trials_from_list(write(tmp_path, "1 a b\n1 b c\n0 a c\n"), tmp_path)
    assert any("1 different-speaker trials (first: line 3)" in note for note in trial_set.notes)


@pytest.mark.corpus
def test_the_lists_of_the_real_recordings_are_read(corpus: Path) -> None:
    lists = sorted((corpus / "val_trials").glob("*.txt"))
    assert lists
    for path in lists:
        trial_set = trials_from_list(path, corpus)
        assert all(source.problem is None for source in trial_set.sources)
        # one speaker a folder: the speakers that were found never mix two of them
        folders: dict[int, str] = {}
        for name, speaker in zip(trial_set.trials.ids, trial_set.speakers.tolist(), strict=True):
            assert folders.setdefault(speaker, name.split("/")[1]) == name.split("/")[1]
