"""Many comparisons: each as of the two alone, each recording heard once, and what is bad costs only itself."""

import io
import json
from collections import Counter
from pathlib import Path

import pytest
import soundfile

import sound_groove.pairs as pairs_module
from sound_groove.audio.listening import HeardRecording, hear
from sound_groove.cli import main
from sound_groove.comparison import Judge, compare
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CorpusError
from sound_groove.pairs import Pair, against, compare_pairs, read_pairs
from sound_groove.synthesis.voices import made_up_speaker, speak


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings of made-up voices, of which two are of one speaker, and a file that is none."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, speaker, sentence in (("a", 0, 0), ("b", 0, 1), ("c", 1, 0), ("音 d", 2, 0)):
        soundfile.write(folder / f"{name}.wav", speak(made_up_speaker(4, speaker), sentence, 3.0), 16_000)
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


def test_every_answer_is_that_of_the_two_alone_and_each_recording_is_heard_once(
    folder: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = SpeakerEncoder.load(model_path)
    heard = Counter[str]()

    def counted(path: str, channel: int | None = None) -> HeardRecording:
        heard[path] += 1
        return hear(path, channel=channel)

    monkeypatch.setattr(pairs_module, "hear", counted)
    a, b, c, broken = (str(folder / f"{name}.wav") for name in ("a", "b", "c", "broken"))
    pairs = (*against(a, [b, c]), Pair(c, broken), Pair(b, c), Pair(a, a), Pair("", "", 6, "is no pair"))
    found = list(compare_pairs(pairs, encoder, Judge.of(encoder), threads=2))
    assert [one.pair for one in found] == list(pairs)
    assert heard == {a: 1, b: 1, c: 1, broken: 1}
    for place in (0, 1, 3, 4):
        assert found[place].comparison == compare(pairs[place].a, pairs[place].b, encoder)
    assert found[2].comparison is None and str(found[2].error).startswith(f"{broken}: ")
    assert found[5].as_dict() == {"a": "", "b": "", "line": 6, "error": "is no pair"}


def test_a_list_is_read_however_it_is_written(tmp_path: Path) -> None:
    text = "\ufeffa.wav b.wav\r\n\r\n/x/long name.wav\tother name.wav\r\na.wav\nname with space.wav b.wav\n"
    found = read_pairs(io.BytesIO(text.encode() + b"\xff.wav b.wav\n"), "list", Path("calls"))
    assert [(pair.line, pair.a, pair.b) for pair in found if pair.problem is None] == [
        (1, "calls/a.wav", "calls/b.wav"),
        (3, "/x/long name.wav", "calls/other name.wav"),
        (6, "calls/\udcff.wav", "calls/b.wav"),
    ]
    problems = {pair.line: pair.problem for pair in found if pair.problem is not None}
    what = "two paths were expected, separated by a tab or a space, and '{}' was given"
    assert problems == {4: what.format("a.wav"), 5: what.format("name with space.wav b.wav")}
    (long,) = read_pairs(io.BytesIO(b"a.wav " + b"b" * 40_000 + b"\n"), "list", Path())
    assert long.problem == "is longer than 16,384 bytes; two paths were expected"


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "has no pairs"), (b"\n \n", "has no pairs"), (b"RIFF\0\0", "line 1: is no text")]
)
def test_what_is_no_list_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(CorpusError, match=why):
        read_pairs(io.BytesIO(content), "list", Path())


def test_one_is_compared_with_many_a_line_each(
    folder: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = ["compare", "a.wav", "b.wav", "--model", str(model_path), "c.wav", "nothing.wav", "音 d.wav"]
    assert main(words) == 1  # one of them could not be compared
    out, err = capsys.readouterr()
    assert [line.split("  ")[-2:] for line in out.splitlines()] == [
        ["a.wav", "b.wav"], ["a.wav", "c.wav"], ["a.wav", "音 d.wav"]
    ]  # fmt: skip
    assert "error: nothing.wav: no such file" in err and "4 pairs: " in err and "; 1 could not be compared" in err
    assert main([*words, "--json"]) == 1
    found = json.loads(out := capsys.readouterr().out)
    assert "音 d.wav" in out  # as it is, not as \\u97f3
    assert found["failed"] == 1 and [one["b"] for one in found["comparisons"]] == words[2:3] + words[5:]
    assert "error" in found["comparisons"][2] and "verdict" in found["comparisons"][3]


def test_the_pairs_of_a_list_start_at_its_folder_and_those_of_the_standard_input_here(
    folder: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "list.txt").write_text("a.wav b.wav\na.wav\nb.wav\tc.wav\n", encoding="utf-8")
    listed = ["compare", "--pairs", str(folder / "list.txt"), "--model", str(model_path), "--json"]
    assert main(listed) == 1
    out, err = capsys.readouterr()
    assert f"error: {folder / 'list.txt'}, line 2: two paths were expected" in err
    assert [one["line"] for one in json.loads(out)["comparisons"]] == [1, 2, 3]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a.wav b.wav\n")))
    assert main(["compare", "--pairs", "-", "--model", str(model_path)]) == 0
    assert capsys.readouterr().out.endswith("  a.wav  b.wav\n")
    assert main(["compare", "--pairs", "nothing.txt", "--model", str(model_path)]) == 1
    assert capsys.readouterr().err == "error: nothing.txt: cannot be read: No such file or directory\n"
