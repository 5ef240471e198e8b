"""Embeddings in bulk: all of them, in order, whatever happened on the way."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.cli import main
from sound_groove.encoder.bulk import CHUNK, Arrays, Embed, Files, Outcome, Recordings, embed_all, in_threads
from sound_groove.encoder.embedding_file import read_embedding_file
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import AudioError, CorpusError, OutputError, UsageError
from sound_groove.types import ModelIdentity

RATE = 16000
MODEL = ModelIdentity("made up", "m")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine recordings of different lengths, two folders deep."""
    for number in range(9):
        path = tmp_path / "speech" / f"s{number % 3}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(number).normal(scale=0.05, size=RATE // 2 + 1000 * number)
        soundfile.write(path, samples, RATE)
    return tmp_path / "speech"


def stored(path: Path) -> dict[str, "np.ndarray[tuple[int], np.dtype[np.float32]]"]:
    with np.load(path, allow_pickle=False) as content:
        return dict(zip(content["path"].tolist(), content["emb"], strict=True))


def heard(name: str) -> HeardRecording:
    """What was heard of a recording whose embedding tells its name, and whose norm, if it is not 0, does too."""
    embedding = np.array([int(name), 1.0], np.float32)
    facts = AudioFacts(1.0, 1.0, 20.0, RATE, float(name) or None)
    return HeardRecording(name, facts, (), "", embedding=embedding, model=MODEL)


def counted(bad: Sequence[str] = (), stop_at: int | None = None) -> tuple[Embed, list[str]]:
    """Gives each recording a vector that tells its name; some fail; after some the process is stopped."""
    asked: list[str] = []

    def embed(recordings: Recordings, names: Sequence[str]) -> Iterator[Outcome]:
        for name in names:
            if stop_at is not None and len(asked) == stop_at:
                raise KeyboardInterrupt
            asked.append(name)
            yield AudioError(None, "is broken") if name in bad else heard(name)

    return embed, asked


class Named(Files):
    """Recordings that are nothing but names, and never change."""

    def state(self, name: str) -> tuple[int, int]:
        return 1, 1


NAMES = tuple(str(number) for number in range(2 * CHUNK + 100))


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "e.npz"
    embed, asked = counted(stop_at=2 * CHUNK + 7)
    with pytest.raises(KeyboardInterrupt):
        embed_all(Named(NAMES), out, embed, {"model": "m"})
    assert not out.exists()
    embed, asked = counted()
    told: list[int] = []
    result = embed_all(Named(NAMES), out, embed, {"model": "m"}, progress=told.append)
    assert asked == list(NAMES[2 * CHUNK :]) and result.earlier == 2 * CHUNK and sum(told) == len(NAMES)
    assert [int(row[0]) for row in stored(out).values()] == list(range(len(NAMES))) and list(stored(out)) == list(NAMES)
    with np.load(out) as content:
        assert content["norms"].dtype == np.float32
        np.testing.assert_array_equal(content["norms"], [np.nan, *range(1, len(NAMES))])
    np.testing.assert_array_equal(read_embedding_file(out).norms, [np.nan, *range(1, len(NAMES))])
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]


def test_a_file_without_norms_is_read_and_one_with_wrong_ones_is_not(tmp_path: Path) -> None:
    out = tmp_path / "e.npz"
    arrays = {"path": np.array(["a", "b"]), "emb": np.eye(2, dtype=np.float32)}
    np.savez(out, allow_pickle=False, **arrays)
    assert np.isnan(read_embedding_file(out).norms).tolist() == [True, True]
    for norms in (np.ones(3), np.array(["1", "2"]), np.array([1.0, -1.0]), np.array([1.0, np.inf]), np.float64(1.0)):
        np.savez(out, allow_pickle=False, **arrays, norms=norms)
        with pytest.raises(CorpusError, match="'norms' must be lengths"):
            read_embedding_file(out)


def test_what_was_done_under_other_conditions_is_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "e.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_all(Named(NAMES), out, counted(stop_at=CHUNK + 1)[0], {"model": "m"})
    for names, about in ((NAMES, {"model": "other"}), (NAMES[1:], {"model": "m"})):
        with pytest.raises(OutputError, match="of other recordings, or with another model or other crops"):
            embed_all(Named(names), out, counted()[0], about)
    embed, asked = counted()
    embed_all(Named(NAMES), out, embed, {"model": "other"}, force=True)
    assert asked == list(NAMES)


def test_a_recording_that_fails_costs_no_other_one(tmp_path: Path) -> None:
    out = tmp_path / "e.npz"
    with pytest.raises(AudioError, match=r"3: is broken \(2 recordings of 1,124 cannot be used, listed in"):
        embed_all(Named(NAMES), out, counted(bad=("3", "600"))[0], {"model": "m"})
    assert not out.exists()
    assert (tmp_path / "e.npz.failed.tsv").read_text() == "3\tis broken\n600\tis broken\n"
    embed, asked = counted(bad=("600",))  # the first was mended
    result = embed_all(Named(NAMES), out, embed, {"model": "m"}, allow_failures=True)
    assert asked == ["3", "600"] and result.failures == (("600", "is broken"),) and result.embedded == len(NAMES) - 1
    assert list(stored(out)) == [name for name in NAMES if name != "600"] and stored(out)["3"][0] == 3.0
    assert [row[0] for row in stored(out).values()][1:] == read_embedding_file(out).norms[1:].tolist()


def test_nothing_is_overwritten_and_names_are_single(tmp_path: Path) -> None:
    (tmp_path / "e.npz").write_text("precious")
    with pytest.raises(OutputError, match="is there already"):
        embed_all(Files(("1",)), tmp_path / "e.npz", counted()[0], {})
    assert (tmp_path / "e.npz").read_text() == "precious"
    with pytest.raises(UsageError, match="'1' is given twice"):
        embed_all(Files(("1", "2", "1")), tmp_path / "f.npz", counted()[0], {})
    with pytest.raises(UsageError, match="no recordings"):
        embed_all(Files(()), tmp_path / "f.npz", counted()[0], {})


def test_threads_give_what_one_after_the_other_gives(exported: Path, folder: Path) -> None:
    encoder = SpeakerEncoder.load(exported, threads=1)
    paths = tuple(sorted(str(path) for path in folder.rglob("*.wav")))
    found = list(in_threads(encoder, None, 3)(Files(paths), paths))
    embeddings = [one.embedding for one in found if isinstance(one, HeardRecording)]
    assert np.allclose(np.array(embeddings), encoder.embed(paths), atol=1e-5)


def test_the_command_embeds_folders_lists_and_arrays_alike(
    exported: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(folder.rglob("*.wav"))
    (tmp_path / "list.txt").write_text("".join(f"{path.relative_to(tmp_path)}\tspeaker\n" for path in paths))
    samples = {path.stem: soundfile.read(path, dtype="float32")[0] for path in paths}
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **samples)
    found = []
    for number, given in enumerate(([folder], [tmp_path / "list.txt"], [tmp_path / "arrays.npz"], paths)):
        out = tmp_path / f"{number}.npz"
        words = ["embed", *map(str, given), "--model", str(exported), "--out", str(out), "--json"]
        assert main(words) == 0
        assert json.loads(capsys.readouterr().out)["embedded"] == 9
        found.append({Path(name).stem: embedding for name, embedding in stored(out).items()})
    expected = SpeakerEncoder.load(exported).embed(paths)
    for one in found:
        assert set(one) == set(samples)
        for path, embedding in zip(paths, expected, strict=True):
            assert np.allclose(one[path.stem], embedding, atol=1e-5)


def test_a_bad_file_is_named_by_the_command(
    exported: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "s0" / "bad.wav").write_bytes(b"no audio")
    out = tmp_path / "e.npz"
    words = ["embed", str(folder), "--model", str(exported), "--out", str(out)]
    assert main(words) == 1 and not out.exists()
    assert "bad.wav" in capsys.readouterr().err
    assert main([*words, "--allow-failures"]) == 0
    assert len(stored(out)) == 9


def test_wrong_use_is_said_before_anything_is_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, complaint in (
        (["a.wav", "--out", "e.txt"], "must end in .npz"),
        (["a.wav", "--crop-frames", "3"], "--crop-frames needs --crops"),
        (["a.wav", "b.npz"], "is embedded alone"),
        (["a.wav", "--ray-address", "here"], "--ray-address needs --ray"),
    ):
        assert main(["embed", "--model", "m.onnx", *words]) == 2
        assert complaint in capsys.readouterr().err


def test_embedding_with_an_onnx_model_needs_no_torch(exported: Path, folder: Path, tmp_path: Path) -> None:
    words = ["embed", str(folder), "--model", str(exported), "--out", str(tmp_path / "e.npz")]
    code = (
        f"import sys; from sound_groove.cli import main; assert main({words!r}) == 0\n"
        "assert not {'torch', 'onnx', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_arrays_that_are_no_samples_fail_by_name(exported: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=False, whole=np.ones(RATE, np.int16), flat=np.zeros((3, 3), np.float32))
    recordings = Arrays(str(tmp_path / "a.npz"), ("whole", "flat"))
    whole, flat = in_threads(SpeakerEncoder.load(exported), None, 1)(recordings, recordings.names)
    assert isinstance(whole, AudioError) and "int16" in whole.reason
    assert isinstance(flat, AudioError) and "(3, 3)" in flat.reason


def test_a_recording_that_has_changed_since_is_embedded_again(folder: Path, tmp_path: Path) -> None:
    """By size or by time; what has not changed is not heard again."""
    names = tuple(sorted(map(str, folder.rglob("*.wav"))))
    out, changed = tmp_path / "e.npz", {names[2], names[5]}
    heard_names: list[str] = []

    def embed(recordings: Recordings, asked: Sequence[str]) -> Iterator[Outcome]:
        for name in asked:
            heard_names.append(name)
            size = np.array([Path(name).stat().st_size, Path(name).stat().st_mtime_ns % 1000], np.float32)
            facts = HeardRecording(name, AudioFacts(1.0, 1.0, 20.0, RATE), (), "", embedding=size, model=MODEL)
            yield AudioError(None, "is broken") if name == names[8] and len(heard_names) < 10 else facts

    with pytest.raises(AudioError):
        embed_all(Files(names), out, embed, {})
    soundfile.write(names[2], np.zeros(100), RATE)
    status = Path(names[5]).stat()
    os.utime(names[5], ns=(status.st_atime_ns, status.st_mtime_ns + 5))
    heard_names.clear()
    heard_names.extend(["earlier"] * 10)
    done = embed_all(Files(names), out, embed, {})
    assert set(heard_names[10:]) == {*changed, names[8]} and done.earlier == 6
    assert stored(out)[names[2]][0] == Path(names[2]).stat().st_size


def test_what_has_no_file_is_never_taken_for_what_it_was(tmp_path: Path) -> None:
    """The standard input is called '-' whatever comes from it."""
    names = ("-", "gone.wav", "7")
    failing, _ = counted(bad=["7"])
    embed, asked = counted()
    with pytest.raises(AudioError):
        embed_all(Files(names), tmp_path / "e.npz", lambda recordings, todo: failing(recordings, ["1", "2", "7"]), {})
    embed_all(Files(names), tmp_path / "e.npz", lambda recordings, todo: embed(recordings, ["3", "4", "5"]), {})
    assert asked == ["3", "4", "5"]


def test_arrays_are_of_the_state_of_their_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.ones(RATE, np.float32))
    arrays, named = Arrays(str(path), ("a",)), Files(("x#2",), {"x#2": f"{path}#2"})
    assert arrays.state("a") == named.state("x#2") == (path.stat().st_size, path.stat().st_mtime_ns)
    assert Files(("gone.wav",)).state("gone.wav") == (-1, -1)
