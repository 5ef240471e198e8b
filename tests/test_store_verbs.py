"""The verbs around a store of voiceprints, as a user types them."""

import json
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from postgres_server import PostgresServer
from sound_groove.audio.reading import load_audio
from sound_groove.cli import main
from sound_groove.encoder.embedding_file import read_embedding_file
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.pretrained import WEIGHTS
from sound_groove.voiceprints.store.exchange import PROBE
from sound_groove.voiceprints.store.opening import open_store
from store_places import MODEL, recording

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, whose store has the default name."""
    monkeypatch.chdir(tmp_path)
    for variable in ("SOUND_GROOVE_STORE", "SOUND_GROOVE_STORE_KEY", "SOUND_GROOVE_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def clip(name: str) -> str:
    return str(EXAMPLES / f"{name}.flac")


@cache
def shipped() -> str:
    """The hash of the model in the package, as people see it."""
    return load_checkpoint(WEIGHTS / "pretrained.safetensors").hash[:12]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.usefixtures("here")
def test_from_enrolment_to_removal(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "enroll", "Anna / 'A'", clip("slt-1"), clip("slt-2"))
    assert (status, err) == (0, "") and "enrolled     Anna / 'A' in voiceprints.db" in out
    assert run(capsys, "enroll", "ben", clip("rms-1"), "--keep-audio")[0] == 0
    status, out, _ = run(capsys, "verify-speaker", "ben", clip("rms-2"), "--json")
    answer = json.loads(out)
    assert status == 0 and answer["speaker"] == "ben" and answer["verdict"] == "same"
    assert "different speakers" in run(capsys, "verify-speaker", "Anna / 'A'", clip("awb-1"))[1]
    _, out, err = run(capsys, "speakers", "list")
    assert [line.split("  ")[0].strip() for line in out.splitlines()] == ["Anna / 'A'", "ben"]
    assert err == "2 speakers\n"
    listed = json.loads(run(capsys, "speakers", "list", "--json")[1])
    assert [(entry["name"], entry["recordings"], entry["with_audio"]) for entry in listed] == [
        ("Anna / 'A'", 2, 0),
        ("ben", 1, 1),
    ]
    assert "rms-1.flac" in run(capsys, "speakers", "show", "ben")[1]
    shown = json.loads(run(capsys, "speakers", "show", "ben", "--json")[1])
    assert shown["enrolled"][0]["with_audio"] and "embedding" not in shown["enrolled"][0]
    status, out, _ = run(capsys, "speakers", "remove", "ben")
    assert status == 0 and out == "ben is erased for good, with 1 recording\n"
    assert run(capsys, "verify-speaker", "ben", clip("rms-2"))[0] == 1
    history = json.loads(run(capsys, "speakers", "history", "--json")[1])
    assert [event["action"] for event in history] == ["enrolled", "enrolled", "removed"]
    assert {event["actor"] for event in history} == {"command line"}
    assert "ben" not in run(capsys, "speakers", "history")[1]


@pytest.mark.usefixtures("here")
def test_identify_names_the_enrolled_and_says_nobody_of_a_stranger(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"))
    run(capsys, "enroll", "ben", clip("rms-1"))
    status, out, err = run(capsys, "identify", clip("rms-2"))
    assert (status, err) == (0, "") and out.startswith("verdict      ben\ncandidate    ben ")
    status, out, _ = run(capsys, "identify", clip("awb-1"), "--json", "--top", "1")
    answer = json.loads(out)
    assert (answer["verdict"], answer["speaker"], answer["enrolled"]) == ("nobody", None, 2)
    assert len(answer["candidates"]) == 1 and answer["nobody"] > 0.8
    assert run(capsys, "identify", clip("awb-1"))[1].startswith("verdict      nobody enrolled\n")


@pytest.mark.usefixtures("here")
def test_in_an_emptied_store_nobody_is_enrolled(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"))
    run(capsys, "speakers", "remove", "anna")
    status, out, err = run(capsys, "identify", clip("slt-2"))
    assert status == 0 and out.startswith("verdict      nobody enrolled\n") and "nobody is enrolled" in err


@pytest.mark.usefixtures("here")
def test_a_refused_enrolment_says_why_in_one_line_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "enroll", "anna", clip("slt-1"), clip("rms-1"))
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert "does not sound like the others" in err
    status, out, err = run(capsys, "enroll", "anna", clip("slt-1"), clip("rms-1"), "--force")
    assert status == 0 and "scores with the others" in out


def test_a_name_that_is_none_makes_no_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "enroll", "a\tb", clip("slt-1"))[0] == 2
    assert list(here.iterdir()) == []


@pytest.mark.usefixtures("here")
def test_nobody_is_removed_where_one_name_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"))
    status, _, err = run(capsys, "speakers", "remove", "anna", "bem")
    assert status == 1 and "nobody is enrolled as 'bem'" in err
    assert run(capsys, "speakers", "list")[2] == "1 speaker\n"


def test_a_missing_store_is_named_and_not_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("list",), ("show", "anna"), ("remove", "anna"), ("export", "v.npz"), ("history",)):
        status, _, err = run(capsys, "speakers", *words, "--store", "nowhere.db")
        assert status == 1 and "there is no store of voiceprints at nowhere.db" in err
    assert list(here.iterdir()) == []


def test_export_and_import_move_voiceprints_and_can_be_repeated(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"), clip("slt-2"))
    run(capsys, "enroll", "ben", clip("rms-1"), "--keep-audio")
    status, out, err = run(capsys, "speakers", "export", "v.npz")
    assert (status, out, err) == (0, "v.npz\n", "2 speakers exported\n")
    assert sys.platform == "win32" or stat.S_IMODE((here / "v.npz").stat().st_mode) == 0o600
    file = read_embedding_file(here / "v.npz")
    assert file.speakers == ("anna", "anna", "ben")
    assert run(capsys, "speakers", "export", "v.npz")[0] == 1  # is there already
    _, out, _ = run(capsys, "speakers", "import", "v.npz", "--store", "other.db", "--json")
    assert json.loads(out) == {
        "speakers": 2,
        "recordings": 3,
        "known": 0,
        "repeated": 0,
        "elsewhere": [],
        "look_alikes": [],
    }
    _, out, _ = run(capsys, "speakers", "import", "v.npz", "--store", "other.db", "--json")
    assert json.loads(out) == {
        "speakers": 0,
        "recordings": 0,
        "known": 3,
        "repeated": 0,
        "elsewhere": [],
        "look_alikes": [],
    }
    here_store, other = open_store("voiceprints.db"), open_store("other.db")
    for name in ("anna", "ben"):
        first, second = here_store.voiceprint(name), other.voiceprint(name)
        np.testing.assert_allclose(first.centroid, second.centroid, atol=1e-7)
        for one, two in zip(first.recordings, second.recordings, strict=True):
            np.testing.assert_allclose(one.embedding, two.embedding, atol=1e-7)
            assert (one.digest, one.speech_s, one.enrolled_at) == (two.digest, two.speech_s, two.enrolled_at)
            assert two.audio == b""


def test_norms_move_with_voiceprints_and_are_unknown_where_a_file_has_none(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_store("voiceprints.db", create=True)) as store:
        store.add("Kim", [recording(1, norm=12.3457), recording(2)], MODEL, None, "me")
        store.add("Lee", [recording(3, norm=9.0), recording(4, norm=10.0)], MODEL, None, "me")
    shown = run(capsys, "speakers", "show", "Lee")[1].splitlines()
    assert "norm 9.50 ± 0.50" in shown[0] and "norm 9.00" in shown[1] and "norm 10.00" in shown[2]
    shown = run(capsys, "speakers", "show", "Kim")[1].splitlines()
    assert "norm" not in shown[0] and "norm 12.35" in shown[1] and "norm" not in shown[2]
    run(capsys, "speakers", "export", "v.npz")
    with np.load("v.npz") as stored:
        np.savez("old.npz", allow_pickle=False, **{name: stored[name] for name in stored if name != "norms"})
    for file, norms in (("v.npz", [12.3457, None, 9.0, 10.0]), ("old.npz", [None] * 4)):
        assert run(capsys, "speakers", "import", file, "--store", f"{file}.db")[0] == 0
        with closing(open_store(here / f"{file}.db")) as store:
            voiceprints = [store.voiceprint(name) for name in ("Kim", "Lee")]
        assert [one.embedding_norm for voiceprint in voiceprints for one in voiceprint.recordings] == norms


def test_an_import_of_another_model_is_refused_before_anything_is_enrolled(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "enroll", "ben", clip("rms-1"), clip("rms-2"))
    run(capsys, "enroll", "anna", clip("slt-1"))
    run(capsys, "speakers", "export", "v.npz")
    with np.load("v.npz") as stored:
        arrays = dict(stored)
    arrays["model"] = np.array("1" * 64)
    np.savez("w.npz", **arrays)
    run(capsys, "enroll", "ben", clip("rms-1"), "--store", "other.db")
    status, _, err = run(capsys, "speakers", "import", "w.npz", "--store", "other.db")
    assert status == 1 and f"'ben' is enrolled with model {shipped()}" in err
    assert run(capsys, "speakers", "list", "--store", "other.db")[2] == "1 speaker\n"
    # What `embed` writes is a file of embeddings, but says nothing of speakers.
    arrays = {key: value for key, value in arrays.items() if key in ("path", "emb", "model")}
    np.savez("e.npz", **arrays)
    status, _, err = run(capsys, "speakers", "import", "e.npz", "--store", "third.db")
    assert status == 1 and "is it of 'speakers export'?" in err
    assert not (here / "third.db").exists()


@pytest.mark.parametrize(
    ("field", "change", "said"),
    [
        ("emb", lambda emb: 0.0 * emb, "not of unit length, such as those of nothing but zeros"),
        ("emb", lambda emb: 1.1 * emb, "not of unit length"),
        ("emb", lambda emb: np.where(np.arange(emb.shape[1]) == 0, np.nan, emb), "not finite"),
        ("emb", lambda emb: np.eye(len(emb), 8, dtype=np.float32), "have 192 values there, and those of the file 8"),
        ("speech_s", lambda speech_s: speech_s + 1e308, "'speech_s' has values that no recording has"),
        ("speech_s", lambda speech_s: speech_s + 100, "more speech than they last"),
        ("duration_s", lambda duration_s: -duration_s, "'duration_s' has values that no recording has"),
        ("snr_db", lambda snr_db: np.full_like(snr_db, np.nan), "'snr_db' has values that no recording has"),
        ("sample_rate", lambda rate: 0 * rate, "'sample_rate' has values that no recording has"),
        ("norms", lambda norms: np.full_like(norms, 1e7), "'norms' has values that no recording has"),
        ("norms", lambda norms: np.full_like(norms, -1.0), "'norms' must be lengths"),
        ("enrolled_at", lambda times: np.full_like(times, "yesterday"), "are no times as ISO 8601 writes them"),
        ("speaker", lambda names: np.full_like(names, "a\u3164"), "U+3164 in it is not seen"),
        ("digest", lambda digests: np.full_like(digests, "1"), "'digest' has values that are no SHA-256"),
        ("model", lambda _: np.array("1f"), "'model' is not the hash of a model"),
        ("model_name", lambda _: np.array("a\x1b[2Jb"), "'model_name' is not the name of a model"),
    ],
)
def test_an_import_of_what_no_recording_is_changes_nothing(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    field: str,
    change: Callable[[NDArray[Any]], NDArray[Any]],
    said: str,
) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"))
    run(capsys, "speakers", "export", "v.npz")
    with np.load("v.npz") as stored:
        arrays = {name: array for name, array in stored.items() if name != PROBE}  # as of an earlier version
    arrays["digest"] = np.array(["1" * 64])  # another recording than the one that is enrolled
    arrays[field] = change(arrays[field])
    np.savez("w.npz", **arrays)
    revision = open_store("voiceprints.db").revision()
    status, out, err = run(capsys, "speakers", "import", "w.npz")
    assert status in (1, 2) and out == "" and said in err and "bug" not in err
    assert open_store("voiceprints.db").revision() == revision
    assert run(capsys, "identify", clip("slt-2"))[0] == 0


@pytest.mark.usefixtures("here")
def test_a_name_that_looks_like_another_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"))
    status, _, err = run(capsys, "enroll", "аnnа", clip("rms-1"))  # with Cyrillic letters
    assert status == 0 and err.startswith("warning: 'аnnа' looks like 'anna', who is enrolled too")


def test_a_bad_voiceprint_is_named_and_disables_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"))
    run(capsys, "enroll", "ben", clip("rms-1"))
    with closing(sqlite3.connect(here / "voiceprints.db")) as database, database:
        database.execute("UPDATE speakers SET speech_s = 1e308, name = 'anna\x1b[2J' WHERE name = 'anna'")
    status, out, err = run(capsys, "identify", clip("rms-2"), "--json")
    answer = json.loads(out)
    assert (status, answer["speaker"], answer["enrolled"], answer["left_out"]) == (0, "ben", 1, 1)
    assert [warning["code"] for warning in answer["warnings"]] == ["damaged_voiceprint"]
    assert "1 voiceprint is left out" in err and "'anna\\x1b[2J' (speaker " in err
    status, out, err = run(capsys, "speakers", "list")
    assert status == 0 and out.startswith("ben") and "anna" not in out and "is left out: " in err
    status, _, err = run(capsys, "speakers", "export", "v.npz")
    assert status == 0 and "1 speaker exported" in err and "is left out: " in err
    with closing(sqlite3.connect(here / "voiceprints.db")) as database, database:
        database.execute("UPDATE speakers SET name = 'anna' WHERE name <> 'ben'")
        (number,) = database.execute("SELECT id FROM speakers WHERE name = 'anna'").fetchone()
    for words in (
        ("verify-speaker", "anna", clip("slt-2")),
        ("enroll", "anna", clip("slt-2")),
        ("speakers", "show", "anna"),
    ):
        status, out, err = run(capsys, *words)
        assert (status, out) == (1, "") and err.count("\n") == 1 and "bug" not in err
        assert "the voiceprint of 'anna' cannot be used" in err and "'sound-groove speakers remove'" in err
    status, out, _ = run(capsys, "speakers", "remove", "--id", number)
    assert status == 0 and out == f"speaker {number} is erased for good\n"
    assert run(capsys, "speakers", "list")[2] == "1 speaker\n"
    assert run(capsys, "speakers", "remove", "--id", number)[0] == 1
    assert run(capsys, "speakers", "remove")[0] == 2


@pytest.mark.usefixtures("here")
def test_a_store_of_several_models_exports_the_one_that_is_named(
    capsys: pytest.CaptureFixture[str], model_path: Path
) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"))
    run(capsys, "enroll", "ben", clip("rms-1"), "--model", str(model_path))
    status, _, err = run(capsys, "speakers", "export", "v.npz")
    assert status == 1 and "name one with --of-model" in err and shipped() in err
    assert run(capsys, "speakers", "export", "v.npz", "--of-model", shipped()[:4])[0] == 0
    assert read_embedding_file(Path("v.npz")).speakers == ("anna",)


@pytest.mark.usefixtures("here")
def test_re_embed_makes_voiceprints_anew_where_the_audio_was_kept(
    capsys: pytest.CaptureFixture[str], model_path: Path
) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"), clip("slt-2"), "--keep-audio", "--model", str(model_path))
    run(capsys, "enroll", "ben", clip("rms-1"), "--model", str(model_path))
    status, out, err = run(capsys, "speakers", "re-embed")
    assert status == 1 and out.startswith("1 of 2 embedded by pretrained")
    assert "left alone: nothing was enrolled for 'ben'" in err or "its audio was not kept" in err
    status, out, _ = run(capsys, "verify-speaker", "anna", clip("slt-2"), "--json")
    assert json.loads(out)["score"] > 0.8
    status, _, err = run(capsys, "verify-speaker", "ben", clip("rms-2"))
    assert status == 1 and "was enrolled with model random" in err


@pytest.mark.usefixtures("here")
def test_an_encrypted_store_needs_its_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUND_GROOVE_STORE_KEY", "0f" * 32)
    assert "(encrypted)" in run(capsys, "enroll", "anna", clip("slt-1"), "--keep-audio")[1]
    assert run(capsys, "verify-speaker", "anna", clip("slt-2"))[0] == 0
    assert "warning: the file is not encrypted" in run(capsys, "speakers", "export", "v.npz")[2]
    monkeypatch.setenv("SOUND_GROOVE_STORE_KEY", "0e" * 32)
    assert "another key" in run(capsys, "verify-speaker", "anna", clip("slt-2"))[2]
    assert "another key" in run(capsys, "speakers", "upgrade")[2]
    monkeypatch.delenv("SOUND_GROOVE_STORE_KEY")
    assert "is encrypted; give its key" in run(capsys, "speakers", "list")[2]
    monkeypatch.setenv("SOUND_GROOVE_STORE_KEY", "secret")
    status, _, err = run(capsys, "speakers", "list")
    assert status == 2 and "64 hexadecimal digits" in err and "secret" not in err


def test_kept_audio_can_be_embedded_by_hand(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"), "--keep-audio")
    kept = open_store("voiceprints.db").voiceprint("anna").recordings[0].audio
    (here / "kept.flac").write_bytes(kept)
    assert soundfile.info(here / "kept.flac").samplerate == 16000
    np.testing.assert_allclose(load_audio(here / "kept.flac"), load_audio(clip("slt-1")), atol=2**-22)


@pytest.mark.usefixtures("here")
def test_a_server_takes_the_same_verbs_and_can_be_indexed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    postgres.clear()
    monkeypatch.setenv("SOUND_GROOVE_STORE", postgres.url())
    assert run(capsys, "enroll", "anna", clip("slt-1"))[0] == 0
    assert run(capsys, "enroll", "ben", clip("rms-1"))[0] == 0
    before = run(capsys, "identify", clip("rms-2"), "--json")[1]
    assert json.loads(before)["speaker"] == "ben"
    status, out, _ = run(capsys, "speakers", "index")
    assert status == 0 and out.startswith(f"2 speakers of pretrained ({shipped()}) are indexed in postgresql://")
    assert run(capsys, "identify", clip("rms-2"), "--json")[1] == before
    assert run(capsys, "speakers", "remove", "ben")[0] == 0
    assert json.loads(run(capsys, "identify", clip("rms-2"), "--json")[1])["verdict"] == "nobody"


@pytest.mark.usefixtures("here")
def test_a_file_needs_no_index(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "enroll", "anna", clip("slt-1"))
    status, _, err = run(capsys, "speakers", "index")
    assert status == 1 and "is searched in memory, exactly, and needs no index" in err
