"""Enrolment: what is refused and why, what is kept, and the verdict on an enrolled speaker."""

import itertools
import math
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sound_groove.audio.listening as listening
import sound_groove.voiceprints.enrolment as enrolment
from sound_groove.audio.quality import Quality
from sound_groove.audio.reading import load_audio
from sound_groove.audio.voices import Voice
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import (
    EnrolmentError,
    OtherModelError,
    StaleVoiceprintError,
    UnknownSpeakerError,
    UsageError,
)
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import ModelIdentity, QualityWarning, Samples, VoiceEmbeddings
from sound_groove.voiceprints.enrolment import Enrolment, enroll, re_embed
from sound_groove.voiceprints.store.exchange import export_voiceprints, import_voiceprints, read_voiceprints
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.opening import open_store
from sound_groove.voiceprints.verification import verify_speaker

EXAMPLES = Path(__file__).parents[1] / "examples"
MAP = ScoreMap(10.0, -5.0, "an example")  # even chances at a score of 0.5, which is an angle of 60 degrees


class Scripted(SpeakerEncoder):
    """An encoder that gives a recording of n samples the unit vector at (n % 1000) degrees, and perhaps its norm."""

    def __init__(
        self, name: str = "scripted", score_map: ScoreMap | None = MAP, turn: int = 0, norm: float | None = None
    ) -> None:
        self.identity = ModelIdentity(name, f"{ord(name[0]):02x}" * 32)
        self.embedding_size = 2
        self.score_map = score_map
        self.turn = turn
        self.norm = norm

    def embed_voices(self, voices: Sequence[Voice], *others: object) -> VoiceEmbeddings:
        angles = np.deg2rad([len(voice) % 1000 + self.turn for voice in voices if isinstance(voice, np.ndarray)])
        norms = None if self.norm is None else np.full(len(angles), self.norm)
        return VoiceEmbeddings(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), norms)


def at_degrees(angle: int, seed: int = 0) -> Samples:
    """A recording to which `Scripted` gives the embedding at this angle; another seed makes it another recording."""
    return np.random.default_rng((angle, seed)).uniform(-0.5, 0.5, 32000 + angle).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VoiceprintStore]:
    with closing(open_store(tmp_path / "voiceprints.db", create=True)) as opened:
        yield opened


@pytest.fixture
def speech(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Seconds of speech that recordings pass for, by their number of samples; 3 where nothing is said."""
    told: dict[int, float] = {}
    monkeypatch.setattr(listening, "assess", lambda samples, rate: Quality(told.get(len(samples), 3.0), 30.0, ()))
    return told


def refused(store: VoiceprintStore, recordings: Sequence[str | Path | Samples], name: str = "anna") -> tuple[str, ...]:
    """The reasons for which an enrolment is refused, which leaves the store as it was."""
    before = store.revision()
    with pytest.raises(EnrolmentError) as caught:
        enroll(store, name, recordings, Scripted())
    assert store.revision() == before
    return caught.value.problems


@pytest.mark.usefixtures("speech")
def test_recordings_are_kept_apart_and_as_their_mean(store: VoiceprintStore) -> None:
    done = enroll(store, "anna", [at_degrees(0), at_degrees(40)], Scripted())
    assert done.added == done.speaker.recordings == 2
    assert done.agreement == pytest.approx((math.cos(math.radians(40)),) * 2, abs=1e-6)
    assert (done.speaker.speech_s, done.speaker.snr_db) == (6.0, 30.0)
    kept = store.voiceprint("anna")
    angles = [math.degrees(math.atan2(r.embedding[1], r.embedding[0])) for r in kept.recordings]
    assert angles == pytest.approx([0, 40], abs=1e-4)
    assert math.degrees(math.atan2(kept.centroid[1], kept.centroid[0])) == pytest.approx(20, abs=1e-4)
    assert np.linalg.norm(kept.centroid) == pytest.approx(1, abs=1e-6)


@pytest.mark.usefixtures("speech")
def test_a_first_recording_alone_agrees_with_nothing(store: VoiceprintStore) -> None:
    assert enroll(store, "anna", [at_degrees(0)], Scripted()).agreement == (None,)


@pytest.mark.usefixtures("speech")
def test_a_recording_that_does_not_sound_like_the_others_is_refused_with_its_score(store: VoiceprintStore) -> None:
    # (cos 90 + cos 70) / 2 = 0.171, llr = 10 x 0.171 - 5.
    (problem,) = refused(store, [at_degrees(0), at_degrees(20), at_degrees(90)])
    assert problem.startswith("recording 3: does not sound like the others (score 0.171, llr -3.29)")
    assert "--force" in problem
    assert store.count() == 0
    enroll(store, "anna", [at_degrees(0), at_degrees(20)], Scripted())
    (problem,) = refused(store, [at_degrees(90), at_degrees(30)])
    assert problem.startswith("recording 1: ")


@pytest.mark.usefixtures("speech")
def test_of_two_that_do_not_fit_neither_is_believed_but_what_is_enrolled_is(store: VoiceprintStore) -> None:
    problems = refused(store, [at_degrees(0), at_degrees(90)])
    assert [problem[:12] for problem in problems] == ["recording 1:", "recording 2:"]
    enroll(store, "anna", [at_degrees(0)], Scripted())
    (problem,) = refused(store, [at_degrees(90)])
    assert "score 0.000" in problem


@pytest.mark.usefixtures("speech")
def test_the_order_of_recordings_changes_nothing(store: VoiceprintStore) -> None:
    recordings = {"first": at_degrees(0), "second": at_degrees(15), "third": at_degrees(30), "odd": at_degrees(170)}
    for order in itertools.permutations(recordings):
        (problem,) = refused(store, [recordings[name] for name in order])
        assert problem.startswith(f"recording {order.index('odd') + 1}: ")


@pytest.mark.usefixtures("speech")
def test_force_enrols_what_does_not_fit(store: VoiceprintStore) -> None:
    done = enroll(store, "anna", [at_degrees(0), at_degrees(90)], Scripted(), force=True)
    assert done.speaker.recordings == 2 and done.agreement == pytest.approx((0.0, 0.0), abs=1e-6)


@pytest.mark.usefixtures("speech")
def test_without_a_score_map_nobody_can_say_whether_they_fit_and_a_warning_says_so(store: VoiceprintStore) -> None:
    done = enroll(store, "anna", [at_degrees(0), at_degrees(90)], Scripted(score_map=None))
    assert [warning.code for warning in done.warnings] == ["cohesion_unchecked"]
    assert enroll(store, "ben", [at_degrees(5)], Scripted(score_map=None)).warnings == ()


def test_little_speech_is_refused_unless_forced_and_hardly_any_always(
    store: VoiceprintStore, speech: dict[int, float]
) -> None:
    little, none = at_degrees(1), at_degrees(2)
    speech.update({len(little): 1.9, len(none): 0.4})
    assert "has 1.90 s of speech, and an enrolment wants 2 s" in refused(store, [little])[0]
    assert "0.40 s of speech" in refused(store, [none])[0]
    assert enroll(store, "anna", [little], Scripted(), force=True).added == 1
    with pytest.raises(EnrolmentError, match=r"0\.40 s of speech"):
        enroll(store, "anna", [none], Scripted(), force=True)


@pytest.mark.usefixtures("speech")
def test_the_same_audio_twice_is_refused_whatever_the_file(store: VoiceprintStore, tmp_path: Path) -> None:
    (problem,) = refused(store, [at_degrees(0), at_degrees(0)])
    assert problem == "recording 2: this audio is enrolled already; leave it out"
    enroll(store, "anna", [EXAMPLES / "slt-1.flac"], Scripted())
    samples, rate = soundfile.read(EXAMPLES / "slt-1.flac", dtype="int16")
    soundfile.write(tmp_path / "again.wav", samples, rate)
    assert "again.wav: this audio is enrolled already" in refused(store, [tmp_path / "again.wav"])[0]


@pytest.mark.usefixtures("speech")
def test_all_recordings_that_cannot_be_used_are_named_at_once(store: VoiceprintStore, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    problems = refused(store, [tmp_path / "missing.wav", at_degrees(0), tmp_path / "text.wav"])
    assert len(problems) == 2 and "missing.wav" in problems[0] and "text.wav" in problems[1]


@pytest.mark.usefixtures("speech")
def test_another_models_embeddings_are_never_mixed_or_compared(store: VoiceprintStore) -> None:
    enroll(store, "anna", [at_degrees(0)], Scripted("one"))
    with pytest.raises(OtherModelError, match=r"was enrolled with model one .*, and this is two .*re-embed"):
        enroll(store, "anna", [at_degrees(1)], Scripted("two"))
    with pytest.raises(OtherModelError, match="re-embed"):
        verify_speaker(store, "anna", at_degrees(0), Scripted("two"))


@pytest.mark.usefixtures("speech")
def test_re_embedding_needs_the_audio_and_puts_the_new_models_embeddings_in_place(store: VoiceprintStore) -> None:
    enroll(store, "anna", [at_degrees(0), at_degrees(10)], Scripted("one", norm=7.0), keep_audio=True)
    enroll(store, "ben", [at_degrees(50)], Scripted("one"))
    before = store.voiceprint("anna")
    done = re_embed(store, "anna", Scripted("two", turn=90, norm=5.0))
    after = store.voiceprint("anna")
    assert [r.embedding_norm for r in before.recordings] == [7.0, 7.0]  # of the model that made the embedding
    assert [r.embedding_norm for r in after.recordings] == [5.0, 5.0] and done.embedding_norm == 5.0
    assert done.model.name == "two" and done.id == before.speaker.id and done.version == before.speaker.version + 2
    angles = [math.degrees(math.atan2(r.embedding[1], r.embedding[0])) for r in after.recordings]
    assert angles == pytest.approx([90, 100], abs=1e-3)
    assert [r.digest for r in after.recordings] == [r.digest for r in before.recordings]
    with pytest.raises(EnrolmentError, match="its audio was not kept"):
        re_embed(store, "ben", Scripted("two", turn=90))
    assert store.voiceprint("ben").speaker.model.name == "one"
    assert re_embed(store, "anna", Scripted("two", turn=90)) == after.speaker  # nothing left to do
    assert re_embed(store, "anna", Scripted("none")).embedding_norm is None  # which tells none


@pytest.mark.usefixtures("speech")
def test_kept_audio_is_the_samples_that_were_embedded(store: VoiceprintStore) -> None:
    loud = np.clip(at_degrees(0) * 6, -2.5, 2.5)
    enroll(store, "anna", [at_degrees(7), loud], Scripted(), keep_audio=True, force=True)
    first, second = (load_audio(recording.audio) for recording in store.voiceprint("anna").recordings)
    np.testing.assert_allclose(first, at_degrees(7), atol=2**-23)
    np.testing.assert_allclose(second, loud / np.abs(loud).max(), atol=2**-22)


@pytest.mark.usefixtures("speech")
def test_a_speaker_who_changes_meanwhile_is_looked_at_again(
    store: VoiceprintStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, others = store.add, [at_degrees(0), at_degrees(5)]

    def add_after_somebody_else(*arguments: object) -> object:
        if others:
            monkeypatch.setattr(store, "add", add)
            enroll(store, "anna", [others.pop()], Scripted())
            monkeypatch.setattr(store, "add", add_after_somebody_else)
        return add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "add", add_after_somebody_else)
    with pytest.raises(EnrolmentError, match="does not sound like the others"):  # than those who came first
        enroll(store, "anna", [at_degrees(120)], Scripted())
    assert enroll(store, "anna", [at_degrees(10)], Scripted()).speaker.recordings == 3


@pytest.mark.usefixtures("speech")
def test_a_speaker_who_changes_all_the_time_is_given_up(
    store: VoiceprintStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*arguments: object) -> object:
        raise StaleVoiceprintError("changed")

    monkeypatch.setattr(store, "add", stale)
    with pytest.raises(StaleVoiceprintError, match="being changed by others all the time"):
        enroll(store, "anna", [at_degrees(0)], Scripted())


@pytest.mark.parametrize("name", ["", " anna", "anna\n", "a\u202eb", "x" * 201, "..", "\ud800"])
@pytest.mark.usefixtures("speech")
def test_a_name_that_is_none_is_wrong_use(store: VoiceprintStore, name: str) -> None:
    with pytest.raises(UsageError, match="speaker"):
        enroll(store, name, [at_degrees(0)], Scripted())
    assert store.revision() == 0


def test_no_recording_is_wrong_use(store: VoiceprintStore) -> None:
    with pytest.raises(UsageError, match="at least one recording"):
        enroll(store, "anna", [], Scripted())


@pytest.mark.usefixtures("speech")
def test_a_score_is_the_mean_of_those_with_the_enrolled_recordings(store: VoiceprintStore) -> None:
    enroll(store, "anna", [at_degrees(0), at_degrees(40)], Scripted())
    found = verify_speaker(store, "anna", at_degrees(50), Scripted())
    expected = (math.cos(math.radians(50)) + math.cos(math.radians(10))) / 2
    assert found.score == pytest.approx(expected, abs=1e-6)
    assert found.llr == pytest.approx(10 * expected - 5, abs=1e-5)
    assert found.verdict == "same"
    assert (found.audio[0].speech_s, found.audio[1].speech_s) == (6.0, 3.0)
    assert verify_speaker(store, "anna", at_degrees(140), Scripted()).verdict == "different"
    with pytest.raises(UnknownSpeakerError, match="nobody is enrolled as 'ben'"):
        verify_speaker(store, "ben", at_degrees(0), Scripted())


@pytest.mark.usefixtures("speech")
def test_an_enrolled_recording_is_no_evidence_and_a_warning_says_so(store: VoiceprintStore) -> None:
    enroll(store, "anna", [at_degrees(0), at_degrees(40)], Scripted())
    assert "enrolled_recording" in {w.code for w in verify_speaker(store, "anna", at_degrees(40), Scripted()).warnings}
    assert "enrolled_recording" not in {
        w.code for w in verify_speaker(store, "anna", at_degrees(40, seed=1), Scripted()).warnings
    }


def test_real_clips_of_the_packaged_model(store: VoiceprintStore) -> None:
    encoder = SpeakerEncoder.load("pretrained", threads=1)
    clips = {voice: [EXAMPLES / f"{voice}-{number}.flac" for number in (1, 2)] for voice in ("slt", "rms", "awb")}
    done = enroll(store, "slt", clips["slt"], encoder)
    assert isinstance(done, Enrolment) and all(score is not None and score > 0.8 for score in done.agreement)
    with pytest.raises(EnrolmentError, match=r"rms-1\.flac: does not sound like the others"):
        enroll(store, "slt", [clips["rms"][0]], encoder)
    enroll(store, "rms", clips["rms"][:1], encoder)
    assert verify_speaker(store, "rms", clips["rms"][1], encoder).verdict == "same"
    assert verify_speaker(store, "rms", clips["slt"][1], encoder).verdict == "different"
    # A batch must equal its members, so a voiceprint does not depend on what was enrolled with it.
    alone = encoder.embed(load_audio(clips["slt"][1]))
    np.testing.assert_array_equal(store.voiceprint("slt").recordings[1].embedding, alone)


def test_the_tolerance_is_that_of_the_module() -> None:
    assert enrolment.LEAST_LLR == 0.0  # the tests above are worked out for it


@pytest.mark.usefixtures("speech")
def test_a_warning_of_a_recording_comes_back(store: VoiceprintStore, monkeypatch: pytest.MonkeyPatch) -> None:
    loud = Quality(3.0, 30.0, (QualityWarning("clipping", "is clipped"),))
    monkeypatch.setattr(listening, "assess", lambda samples, rate: loud)
    done = enroll(store, "anna", [at_degrees(0)], Scripted())
    assert done.warnings == (QualityWarning("clipping", "recording 1: is clipped"),)


def test_a_source_is_a_file_name_without_its_folder(store: VoiceprintStore, tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    shutil.copy(EXAMPLES / "slt-1.flac", folder)
    enroll(store, "anna", [folder / "slt-1.flac"], Scripted())
    assert store.voiceprint("anna").recordings[0].source == "slt-1.flac"


@pytest.mark.usefixtures("speech")
def test_the_same_audio_under_two_names_is_warned_of_and_enrolled(store: VoiceprintStore) -> None:
    first, second = at_degrees(0), at_degrees(40)
    assert enroll(store, "anna", [first], Scripted()).warnings == ()
    warned = [w for w in enroll(store, "ben", [second, first], Scripted()).warnings if w.code == "enrolled_elsewhere"]
    assert [warning.message for warning in warned] == [
        "recording 2: this audio is enrolled as 'anna' too; remove it where it does not belong"
    ]
    (third,) = enroll(store, "carl", [first], Scripted("another")).warnings  # whatever the model
    assert "is enrolled as 'anna' and 1 more too" in third.message
    digests = [recording.digest for recording in store.voiceprint("ben").recordings]
    assert store.enrolled_as([*digests, "0" * 64]) == {digests[0]: ("ben",), digests[1]: ("anna", "ben", "carl")}
    assert store.enrolled_as([]) == {}


@pytest.mark.usefixtures("speech")
def test_a_store_that_has_no_index_of_digests_gets_one(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "old.db", create=True)) as opened:
        enroll(opened, "anna", [at_degrees(0)], Scripted())
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        database.execute("DROP INDEX recordings_by_digest")
    with closing(open_store(tmp_path / "old.db")) as opened:
        assert "enrolled_elsewhere" in {w.code for w in enroll(opened, "ben", [at_degrees(0)], Scripted()).warnings}
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        plan = database.execute("EXPLAIN QUERY PLAN SELECT id FROM recordings WHERE digest IN ('a', 'b')").fetchall()
    assert "recordings_by_digest" in str(plan)


@pytest.mark.usefixtures("speech")
def test_an_average_of_different_sounds_is_never_enrolled(store: VoiceprintStore, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([at_degrees(0), at_degrees(0, seed=1)], axis=1), 16000)
    for force in (False, True):
        with pytest.raises(EnrolmentError, match=r"channels 1 and 2 carry different sound"):
            enroll(store, "anna", [path], Scripted(), force=force)
    assert enroll(store, "anna", [path], Scripted(), channel=2).added == 1
    assert enroll(store, "ben", [f"{path}#1"], Scripted()).added == 1


def test_an_import_tells_of_audio_under_two_names(
    store: VoiceprintStore, tmp_path: Path, speech: dict[int, float]
) -> None:
    speech.update({32_000: 2.0, 32_010: 2.0})  # no more than they last, or the import is refused
    enroll(store, "anna", [at_degrees(0), at_degrees(10)], Scripted())
    export_voiceprints(store, tmp_path / "all.npz")
    with closing(open_store(tmp_path / "other.db", create=True)) as other:
        enroll(other, "ben", [at_degrees(0)], Scripted())
        done = import_voiceprints(other, read_voiceprints(tmp_path / "all.npz"), "test")
        assert (done.recordings, done.repeated, done.elsewhere) == (2, 1, (("anna", "ben"),))


def test_a_new_name_that_looks_like_an_enrolled_one_is_warned_of(
    store: VoiceprintStore, tmp_path: Path, speech: dict[int, float]
) -> None:
    speech.update({32_000 + angle: 2.0 for angle in (0, 20, 21, 90)})  # no more than they last
    assert enroll(store, "Anna", [at_degrees(0)], Scripted(), force=True).warnings == ()
    ((warning),) = enroll(store, "Аnnа", [at_degrees(20)], Scripted(), force=True).warnings
    assert warning.code == "look_alike" and "'Аnnа' looks like 'Anna', who is enrolled too" in warning.message
    more = enroll(store, "Аnnа", [at_degrees(21)], Scripted(), force=True)  # who has the name already was told
    assert more.warnings == () and more.speaker.recordings == 2
    export_voiceprints(store, tmp_path / "all.npz")
    with closing(open_store(tmp_path / "other.db", create=True)) as other:
        enroll(other, "Anna", [at_degrees(90)], Scripted(), force=True)
        assert import_voiceprints(other, read_voiceprints(tmp_path / "all.npz"), "test").look_alikes == (
            ("Аnnа", "Anna"),
        )
