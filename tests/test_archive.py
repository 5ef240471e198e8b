"""Archives: the index that goes on after anything, and where somebody speaks, by promises worked by hand and by ear."""

import json
import math
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sound_groove import cli
from sound_groove.archive.finding import Finding, find
from sound_groove.archive.index_file import IndexedRecording, IndexFacts, IndexFile
from sound_groove.archive.indexing import SILENT, IndexResult, Progress, Unheard, default_index, index_archive
from sound_groove.archive.playlist import write_playlist
from sound_groove.archive.promise import TAIL, alarm_llr, alarm_share
from sound_groove.archive.recordings import Archive, ArchivedRecording, open_archive
from sound_groove.archive.text import summary
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import AudioFacts
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import ArchiveError, AudioError, OtherModelError, OutputError, SoundGrooveError, UsageError
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.voiceprints.enrolment import enroll
from sound_groove.voiceprints.sought import SoughtVoice, enrolled_voice, recorded_voice
from sound_groove.voiceprints.store.opening import open_store
from store_places import MODEL, OTHER_MODEL
from test_identification import Scored

EXAMPLES = Path(__file__).parents[1] / "examples"
S = SAMPLE_RATE
FACTS = AudioFacts(3600.0, 1800.0, 20.0, S)
MAP = ScoreMap(10.0, -5.0, "an example", calibrated=True)  # llr -5 at a cosine of 0, 5 at 1


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder.load("pretrained", threads=1)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings: two people after each other, one of them alone, and somebody else, in a folder below."""
    folder = tmp_path_factory.mktemp("archive") / "talks"
    (folder / "below").mkdir(parents=True)
    hum = (1e-4 * np.random.default_rng(0).standard_normal(2 * S)).astype(np.float32)
    awb, rms, slt = (load_audio(EXAMPLES / f"{name}-1.flac") for name in ("awb", "rms", "slt"))
    soundfile.write(folder / "both.wav", np.concatenate([rms, hum, awb]), S)
    soundfile.write(folder / "rms.wav", rms, S)
    soundfile.write(folder / "below" / "slt.wav", slt, S)
    (folder / "notes.txt").write_text("no sound")
    return folder


@pytest.fixture(scope="module")
def index(recordings: Path, encoder: SpeakerEncoder) -> Path:
    return index_archive(recordings, model=encoder, workers=1).path


@pytest.fixture
def copy(recordings: Path, index: Path, tmp_path: Path) -> Path:
    """The recordings in a place of their own, with their index beside them."""
    shutil.copytree(recordings, tmp_path / "talks")
    shutil.copy(index, tmp_path / "talks.index")
    with IndexFile(tmp_path / "talks.index") as opened:
        opened.note(replace(opened.facts, folder=str(tmp_path / "talks")))
    return tmp_path / "talks"


# The promise.


def test_the_promise_is_the_measured_tail_and_goes_on_beyond_it() -> None:
    for llr, rareness in TAIL:
        assert alarm_share(llr) == pytest.approx(math.exp(-rareness))
        assert alarm_llr(math.exp(-rareness)) == pytest.approx(llr)
    llrs = np.linspace(0, 12, 200)
    shares = [alarm_share(llr) for llr in llrs]
    assert all(np.diff(shares) < 0)
    assert [alarm_llr(share) for share in shares] == pytest.approx(list(llrs))
    # A likelihood ratio promises exp(-llr); the measured tail is below that, or nothing would be gained.
    assert all(share < math.exp(-llr) for share, llr in zip(shares, llrs, strict=True))


def test_evidence_against_somebody_is_no_alarm_however_many_are_allowed() -> None:
    assert alarm_llr(1.0) == alarm_llr(0.2) == 0.0


# Searching, on embeddings that are told.


def made_up(angles: list[float], windows: list[tuple[float, float]], owners: list[int] | None = None) -> Archive:
    """An archive of one or several recordings of an hour, whose windows have these angles with the first axis."""
    embeddings = np.array([[math.cos(angle), math.sin(angle)] for angle in angles], np.float32)
    places = np.zeros(len(angles), np.int32) if owners is None else np.array(owners, np.int32)
    return Archive(
        path=Path("a.index"),
        facts=IndexFacts(f"{os.sep}talks", MODEL, 2, None, True),
        recordings=tuple(ArchivedRecording(f"{number}.wav", FACTS) for number in range(int(places.max()) + 1)),
        unusable=0,
        owners=places,
        windows=(np.array(windows) * S).astype(np.int32),
        norms=np.full(len(angles), np.nan, np.float32),
        embeddings=embeddings,
    )


EAST = SoughtVoice("anna", np.array([1.0, 0.0], np.float32), FACTS, MODEL)


def look(archive: Archive, voice: SoughtVoice = EAST, **options: float) -> Finding:
    return find(archive, voice, Scored(MAP), **options)  # type: ignore[arg-type]


def test_windows_that_reach_the_threshold_are_told_with_their_evidence() -> None:
    near, far = math.acos(0.9), math.acos(0.4)  # llr 4 and -1
    archive = made_up([far, near, 0.0, far], [(0, 2), (10, 12), (20, 22), (30, 32)])
    found = look(archive, per_hour=1.0)
    assert [(one.start_s, one.end_s) for one in found.stretches] == [(20, 22), (10, 12)]
    assert [one.llr for one in found.stretches] == pytest.approx([5.0, 4.0], abs=1e-4)
    assert [one.best_llr for one in found.stretches] == pytest.approx([5.0, 4.0], abs=1e-4)
    # Four windows an hour: a window in four may alarm, which any evidence for her is.
    assert found.threshold == 0.0 and found.windows == 4 and found.found == 2
    for one in found.stretches:
        assert one.false_alarms_per_hour == pytest.approx(4 * alarm_share(one.best_llr))
        assert one.recording == f"{os.sep}talks{os.sep}0.wav"


def test_fewer_alarms_need_more_evidence() -> None:
    angles = [math.acos(0.5 + 0.005 * step) for step in range(100)]
    archive = made_up(angles, [(3 * step, 3 * step + 2) for step in range(100)])
    found = [look(archive, per_hour=rate) for rate in (10.0, 1.0, 0.1, 0.001)]
    assert [one.threshold for one in found] == sorted(one.threshold for one in found)
    assert [one.found for one in found] == sorted((one.found for one in found), reverse=True)
    for one in found:
        assert all(stretch.best_llr >= one.threshold for stretch in one.stretches)
        assert 100 * alarm_share(one.threshold) <= one.per_hour * (1 + 1e-9)
    # Twice the windows in an hour, half of the share for each.
    dense = made_up(angles * 2, [(step, step + 2) for step in range(200)])
    assert look(dense, per_hour=0.1).threshold > found[2].threshold


def test_neighbouring_windows_are_one_stretch_and_other_recordings_are_not() -> None:
    archive = made_up(
        [0.0, 0.1, 1.5, 0.2, 0.0, 0.0],
        [(0, 2), (0.75, 2.75), (1.5, 3.5), (3.6, 5.6), (6.7, 8.7), (6.7, 8.7)],
        [0] * 5 + [1],
    )
    found = look(archive)
    spans = [(one.recording[-5], one.start_s, one.end_s) for one in found.stretches]
    assert sorted(spans) == [("0", 0.0, 5.6), ("0", 6.7, 8.7), ("1", 6.7, 8.7)]
    joined = next(one for one in found.stretches if one.start_s == 0)
    unit = np.mean([[math.cos(a), math.sin(a)] for a in (0.0, 0.1, 0.2)], axis=0)
    assert joined.llr == pytest.approx(10 * unit[0] / np.linalg.norm(unit) - 5, abs=1e-4)


def test_short_speech_is_left_out_and_the_best_alone_are_told() -> None:
    archive = made_up([0.0, 0.0, 0.1], [(0, 0.9), (10, 12), (20, 22)])
    found = look(archive)
    assert found.windows == 2 and [one.start_s for one in found.stretches] == [10, 20]
    best = look(archive, top=1)
    assert best.stretches == found.stretches[:1] and best.found == 2


def test_an_archive_in_which_nobody_speaks_has_no_stretch() -> None:
    empty = replace(
        made_up([0.0], [(0, 2)]),
        owners=np.empty(0, np.int32),
        windows=np.empty((0, 2), np.int32),
        norms=np.empty(0, np.float32),
        embeddings=np.empty((0, 2), np.float32),
    )
    found = look(empty)
    assert found.stretches == () and found.windows == 0 and found.recordings == 1
    assert "nowhere" in summary(found)[0]
    assert look(replace(empty, recordings=())).duration_s == 0


def test_several_archives_are_searched_as_one() -> None:
    one, other = made_up([0.0], [(0, 2)]), made_up([0.05], [(4, 6)])
    found = find([one, other], EAST, Scored(MAP))
    assert [stretch.start_s for stretch in found.stretches] == [0, 4]
    assert found.duration_s == 7200 and found.recordings == 2


def test_wrong_use_is_refused() -> None:
    archive = made_up([0.0], [(0, 2)])
    for rate in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="above 0"):
            look(archive, per_hour=rate)
    with pytest.raises(UsageError, match="at least 1"):
        look(archive, top=0)
    with pytest.raises(UsageError, match="no index"):
        find([], EAST, Scored(MAP))
    with pytest.raises(UsageError, match="carries no map"):
        find(archive, EAST, Scored(None))
    with pytest.raises(OtherModelError, match=r"a\.index: is of model"):
        find(replace(archive, facts=replace(archive.facts, model=OTHER_MODEL)), EAST, Scored(MAP))
    with pytest.raises(OtherModelError, match="hear it again"):
        find(archive, replace(EAST, model=OTHER_MODEL), Scored(MAP))


def test_a_map_of_the_training_and_an_index_that_is_not_complete_are_told_of() -> None:
    archive = made_up([0.0], [(0, 2)])
    assert look(archive).warnings == () and look(archive).is_complete
    found = find(
        replace(archive, facts=replace(archive.facts, is_complete=False)), EAST, Scored(replace(MAP, calibrated=False))
    )
    assert [warning.code for warning in found.warnings] == ["uncalibrated"] and not found.is_complete


# The index, of recordings whose embeddings are told.


class Ear:
    """Hears recordings without a model, and counts them."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def hear(self, unheard: Unheard, name: str) -> IndexedRecording:
        self.names.append(name)
        content = (unheard.folder / name).read_bytes()
        if content == b"broken":
            raise AudioError(unheard.folder / name, "is broken")
        values = np.random.default_rng(list(content)).standard_normal((3, 2)).astype(np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        windows = np.array([(0, 2 * S), (S, 3 * S), (2 * S, 4 * S)], np.int32)
        return IndexedRecording(name, unheard.states[name], "", FACTS, windows, np.full(3, 7.0, np.float32), values)


class Deaf(Scored):
    """An encoder that the stand-in for hearing does not ask."""

    embedding_size = 2


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Ear:
    made = Ear()
    monkeypatch.setattr(Unheard, "hear", lambda unheard, name, *others: made.hear(unheard, name))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "talks"
    made.mkdir()
    for number in range(5):
        (made / f"{number}.wav").write_bytes(bytes([number]))
    return made


def make(folder: Path, out: Path | None = None, channel: int | None = None, progress: Progress = SILENT) -> IndexResult:
    return index_archive(folder, out, Deaf(MAP), workers=1, channel=channel, progress=progress)


def rows(path: Path) -> list[tuple[object, ...]]:
    """All that an index holds, but for the times of files."""
    with IndexFile(path) as index:
        return [
            (
                one.path,
                one.state[0],
                one.reason,
                one.facts,
                one.windows.tolist(),
                one.norms.tolist(),
                one.embeddings.tolist(),
            )
            for one in index.recordings()
        ] + [(replace(index.facts, folder=""),)]


def test_only_new_and_changed_recordings_are_heard_again_and_those_that_are_gone_are_forgotten(
    folder: Path, ear: Ear
) -> None:
    done = make(folder)
    assert done.path == folder.with_name("talks.index") and (done.recordings, done.windows, done.heard) == (5, 15, 5)
    assert done.duration_s == 5 * 3600 and done.model == MODEL
    ear.names.clear()
    again = make(folder)
    assert ear.names == [] and (again.heard, again.kept, again.removed) == (0, 5, 0)
    (folder / "0.wav").unlink()
    (folder / "1.wav").write_bytes(b"xy")
    os.utime(folder / "2.wav", ns=(0, 0))
    (folder / "new.flac").write_bytes(b"z")
    changed = make(folder)
    assert ear.names == ["1.wav", "2.wav", "new.flac"]
    assert (changed.heard, changed.kept, changed.removed, changed.recordings) == (3, 2, 1, 5)
    assert [recording.path for recording in open_archive(done.path).recordings] == [
        "1.wav",
        "2.wav",
        "3.wav",
        "4.wav",
        "new.flac",
    ]


def test_what_cannot_be_used_is_told_and_tried_again(folder: Path, ear: Ear) -> None:
    (folder / "1.wav").write_bytes(b"broken")
    done = make(folder)
    assert done.failures == (("1.wav", "is broken"),) and done.recordings == 4
    archive = open_archive(done.path)
    assert archive.unusable == 1 and len(archive.recordings) == 4 and archive.facts.is_complete
    ear.names.clear()
    make(folder)
    assert ear.names == ["1.wav"]
    for path in folder.iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(AudioError, match="no other recording can be used"):
        make(folder)


def test_progress_is_told(folder: Path, ear: Ear) -> None:
    begun, done = list[int](), list[int]()
    make(folder, progress=Progress(begun.append, lambda: done.append(1)))
    assert begun == [5] and len(done) == 5


def test_an_index_of_something_else_is_refused(folder: Path, ear: Ear, tmp_path: Path) -> None:
    path = make(folder).path
    other = Deaf(MAP)
    other.identity = OTHER_MODEL
    with pytest.raises(OtherModelError, match="give that --model, or another --out"):
        index_archive(folder, model=other)
    with pytest.raises(ArchiveError, match="average of all channels"):
        make(folder, channel=2)
    shutil.copytree(folder, tmp_path / "others")
    with pytest.raises(ArchiveError, match=r"is the index of .*talks; give another --out"):
        make(tmp_path / "others", path)
    # A folder that was moved is the same folder.
    ear.names.clear()
    folder.rename(tmp_path / "moved")
    assert make(tmp_path / "moved", path).kept == 5 and ear.names == []


def test_wrong_use_of_an_index_is_refused(folder: Path, ear: Ear, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        make(tmp_path / "none")
    with pytest.raises(UsageError, match="no folder for this index"):
        make(folder, tmp_path / "none" / "a.index")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no audio"):
        make(tmp_path / "empty")
    with pytest.raises(UsageError, match="workers"):
        index_archive(folder, model=Deaf(MAP), workers=0)
    (tmp_path / "text.index").write_text("a diary")
    with pytest.raises(ArchiveError, match="is not an index"):
        make(folder, tmp_path / "text.index")
    assert (tmp_path / "text.index").read_text() == "a diary" and default_index(Path("/a/b")) == Path("/a/b.index")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs to fork")
@pytest.mark.parametrize(
    "moment", ["the tables are made", "a recording is written", "recordings are kept", "all are kept"]
)
def test_a_killed_index_goes_on(moment: str, folder: Path, ear: Ear, tmp_path: Path) -> None:
    expected = rows(make(folder, tmp_path / "expected.index").path)
    out = tmp_path / "out.index"
    ear.names.clear()

    def kill(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def after(count: int, work: Callable[..., object]) -> Callable[..., object]:
        calls = iter(range(count))

        def counted(*given: object) -> object:
            if next(calls, None) is None:
                kill()
            return work(*given)

        return counted

    child = os.fork()
    if not child:
        if moment == "the tables are made":
            IndexFile._write_facts = kill  # type: ignore[method-assign, assignment]
        elif moment == "a recording is written":
            whole = IndexFile.put

            def half(index: IndexFile, recording: IndexedRecording) -> None:
                index._database.execute("BEGIN")
                whole(index, recording)
                kill()

            IndexFile.put = half  # type: ignore[method-assign, assignment]
        elif moment == "recordings are kept":
            IndexFile.put = after(2, IndexFile.put)  # type: ignore[method-assign, assignment]
        else:
            IndexFile.note = after(1, IndexFile.note)  # type: ignore[method-assign, assignment]
        try:
            make(folder, out)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    kept = {"the tables are made": 0, "a recording is written": 0, "recordings are kept": 2, "all are kept": 5}[moment]
    if moment != "the tables are made":
        archive = open_archive(out)
        assert len(archive.recordings) == kept and not archive.facts.is_complete
    assert make(folder, out).kept == kept
    assert rows(out) == expected and len(ear.names) == 5 - kept


def test_a_second_run_at_the_same_time_is_refused(folder: Path, ear: Ear) -> None:
    complaints = list[str]()

    def meanwhile(count: int) -> None:
        with pytest.raises(SoundGrooveError) as caught:
            make(folder)
        complaints.append(str(caught.value))

    make(folder, progress=Progress(meanwhile))
    assert len(complaints) == 1 and "another process is making an index of it" in complaints[0]


def test_a_damaged_index_is_one_sentence_and_mended_where_it_can_be(folder: Path, ear: Ear) -> None:
    path = make(folder).path
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as database:
        (blob,) = database.execute("SELECT embeddings FROM recordings WHERE path = ?", (b"3.wav",)).fetchone()
        database.execute("UPDATE recordings SET embeddings = ? WHERE path = ?", (bytes(len(blob)), b"3.wav"))
        database.commit()
    with pytest.raises(
        ArchiveError, match=r"is damaged: what it holds of 3\.wav is not what was written; run"
    ) as caught:
        open_archive(path)
    assert "\n" not in str(caught.value)
    ear.names.clear()
    assert make(folder).heard == 1 and ear.names == ["3.wav"]
    assert len(open_archive(path).recordings) == 5
    for place in (200, len(whole) // 2, len(whole) - 3000):
        path.write_bytes(whole[:place])
        with pytest.raises(ArchiveError, match=re.escape(str(path))):
            open_archive(path)
        path.write_bytes(whole[:place] + bytes(4096) + whole[place + 4096 :])
        try:
            open_archive(path)
        except ArchiveError as error:
            assert str(path) in str(error) and "\n" not in str(error)
    path.write_bytes(b"")
    with pytest.raises(ArchiveError, match="is empty"):
        open_archive(path)
    with pytest.raises(ArchiveError, match="no such index"):
        open_archive(path.with_name("none.index"))
    with pytest.raises(ArchiveError, match="is no file"):
        open_archive(folder)


def test_an_index_of_another_version_is_told_apart(folder: Path, ear: Ear) -> None:
    path = make(folder).path
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(ArchiveError, match="version 9, and this is for version 1"):
        open_archive(path)


def test_float16_moves_a_cosine_by_next_to_nothing(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    values = draws.standard_normal((200, 192)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    path = tmp_path / "a.index"
    with IndexFile(path, IndexFacts("", MODEL, 192, None)) as index:
        spans = np.zeros((200, 2), np.int32)
        index.put(IndexedRecording("a", (1, 1), "", FACTS, spans, np.empty(0, np.float32), values))
    archive = open_archive(path)
    assert np.abs(archive.embeddings @ values.T - values @ values.T).max() < 2e-4
    assert np.isnan(archive.norms).all()


# Real voices.


def test_everybody_is_found_where_they_speak_and_nowhere_else(
    index: Path, recordings: Path, encoder: SpeakerEncoder
) -> None:
    archive = open_archive(index)
    assert len(archive.recordings) == 3 and archive.facts.is_complete and len(archive.windows) > 10
    lengths = {name: len(load_audio(EXAMPLES / f"{name}-1.flac")) / S for name in ("rms", "awb", "slt")}
    places: dict[str, set[tuple[str, float, float]]] = {
        "awb": {("both.wav", lengths["rms"] + 2, lengths["rms"] + 2 + lengths["awb"])},
        "rms": {("both.wav", 0, lengths["rms"]), ("rms.wav", 0, lengths["rms"])},
        "slt": {("below/slt.wav", 0, lengths["slt"])},
        "kal16": set(),
    }
    for name, expected in places.items():
        found = find(archive, EXAMPLES / f"{name}-2.flac", encoder, per_hour=10)
        told = {Path(one.recording).relative_to(recordings.resolve()).as_posix() for one in found.stretches}
        assert told == {place for place, _, _ in expected}
        for one in found.stretches:
            assert any(
                one.recording.endswith(place) and start - 0.5 < one.start_s < one.end_s < end + 0.5
                for place, start, end in expected
            )
            assert one.llr > 0 and one.best_llr >= found.threshold


def test_the_person_of_recordings_and_somebody_enrolled_are_the_same_voice(
    index: Path, encoder: SpeakerEncoder, tmp_path: Path
) -> None:
    clips = [EXAMPLES / "awb-1.flac", EXAMPLES / "awb-2.flac"]
    with closing(open_store(tmp_path / "people.db", create=True)) as store:
        enroll(store, "awb", clips, encoder)
        enrolled = enrolled_voice(store, "awb", encoder)
    recorded = recorded_voice(clips, encoder)
    assert enrolled.mean == pytest.approx(recorded.mean, abs=1e-6) and enrolled.name == "awb"
    assert enrolled.facts.speech_s == pytest.approx(recorded.facts.speech_s)
    assert [one.start_s for one in find(index, enrolled, encoder).stretches] == [
        one.start_s for one in find(index, clips, encoder).stretches
    ]


def test_a_recording_without_enough_speech_is_nobody_to_look_for(encoder: SpeakerEncoder) -> None:
    short = load_audio(EXAMPLES / "awb-1.flac")[: int(0.4 * S)]
    with pytest.raises(AudioError, match=r"recording 1: .* of speech was found"):
        recorded_voice([(short, S)], encoder)
    with pytest.raises(UsageError, match="no recording"):
        recorded_voice([], encoder)


# The verbs.


def test_the_verbs_index_and_find(
    copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / "rms.wav").unlink()
    assert cli.main(["index", "talks", "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert (record["recordings"], record["heard"], record["removed"], record["failures"]) == (2, 0, 1, {})
    clip = str(EXAMPLES / "awb-2.flac")
    assert cli.main(["find", clip, "talks.index", "--json", "--m3u", "awb.m3u"]) == 0
    printed = capfd.readouterr()
    found = json.loads(printed.out)
    assert set(found) == {
        "name", "stretches", "per_hour", "threshold", "found", "recordings", "unusable", "is_complete", "duration_s",
        "windows", "model", "warnings",
    }  # fmt: skip
    assert set(found["stretches"][0]) == {
        "recording", "start_s", "end_s", "llr", "best_llr", "false_alarms_per_hour"
    }  # fmt: skip
    assert "written: awb.m3u" in printed.err and found["stretches"][0]["recording"] == str(copy / "both.wav")
    lines = Path("awb.m3u").read_text().splitlines()
    assert lines[0] == "#EXTM3U" and lines[4] == str(copy / "both.wav")
    assert lines[2] == f"#EXTVLCOPT:start-time={found['stretches'][0]['start_s']:.2f}"
    assert cli.main(["find", clip, "talks.index", "--m3u", "awb.m3u"]) == 1
    assert "pass --force to replace it" in capfd.readouterr().err
    assert cli.main(["enroll", "awb", clip, "--store", "people.db", "--force"]) == 0
    capfd.readouterr()
    assert cli.main(["find", "awb", "talks.index", "--store", "people.db"]) == 0
    text = capfd.readouterr().out
    assert "awb: 1 stretch" in text and "both.wav" in text and "false alarms an hour" in text


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["anna"], 2, "name the index to look in"),
        (["talks.index"], 2, "say whom to look for"),
        (["anna", "berta", "talks.index"], 2, "there is no recording 'anna'"),
        (["anna", "none.index"], 1, "there is no such index"),
        (["anna", "talks.index", "--per-hour", "0"], 2, "above 0"),
        (["anna", "talks.index", "--store", "none.db"], 1, "there is no store"),
    ],
)
def test_wrong_use_of_find_is_one_sentence(
    words: list[str], status: int, complaint: str, copy: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(copy.parent)
    assert cli.main(["find", *words]) == status
    error = capfd.readouterr().err
    assert complaint in error and len(error.splitlines()) == 1


def test_a_playlist_cannot_hold_a_name_with_a_line_end(tmp_path: Path) -> None:
    found = look(made_up([0.0], [(0, 2)]))
    bad = replace(found, stretches=(replace(found.stretches[0], recording="a\nb.wav"),))
    with pytest.raises(OutputError, match="line end"):
        write_playlist(bad, tmp_path / "a.m3u")
    assert not (tmp_path / "a.m3u").exists()
