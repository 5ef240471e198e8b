"""One record of what was heard, one way to make it, whatever a recording comes as and wherever it is decoded."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evaluation_inputs import SpectrumEncoder
from sound_groove import compare, enroll, identify, open_gallery, open_store, verify_speaker
from sound_groove.audio import listening, voices
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording, hear
from sound_groove.audio.quality import Quality, joint_quality
from sound_groove.cli import main
from sound_groove.encoder import bulk
from sound_groove.encoder import listener as listener_module
from sound_groove.encoder.bulk import Files, embed_all, in_threads, packed, unpacked
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.errors import AudioError, OtherModelError, UsageError
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import ModelIdentity, QualityWarning, Samples


@pytest.fixture(scope="module")
def encoder(exported: Path) -> SpeakerEncoder:
    return SpeakerEncoder.load(exported, threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three voices, and a call with two of them on its two sides."""
    folder = tmp_path_factory.mktemp("voices")
    spoken = [speak(made_up_speaker(2, index), 0, 3.0 + index) for index in range(3)]
    for index, samples in enumerate(spoken):
        soundfile.write(folder / f"{index}.wav", samples, SAMPLE_RATE, "FLOAT")
    soundfile.write(folder / "call.wav", np.stack([spoken[0], spoken[1][: len(spoken[0])]], axis=1), SAMPLE_RATE)
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The lengths of what the detector of speech was given."""
    given: list[int] = []
    for module in ("sound_groove.audio.quality", "sound_groove.audio.speech"):  # all others call the latter's
        found: Callable[..., object] = __import__(module, fromlist=["find_speech"]).find_speech

        def count(samples: Samples, *rest: object, found: Callable[..., object] = found) -> object:
            given.append(len(samples))
            return found(samples, *rest)

        monkeypatch.setattr(f"{module}.find_speech", count)
    yield given


def test_a_path_bytes_and_samples_are_heard_alike(encoder: SpeakerEncoder, folder: Path) -> None:
    path, listener = folder / "0.wav", Listener(encoder)
    samples, rate = soundfile.read(path, dtype="float32")
    records = [listener.hear(path), listener.hear(path.read_bytes()), listener.hear((samples, rate)),
               listener.hear_in_parts(path), listener.hear(hear(path))]  # fmt: skip
    (again,) = listener.hear_all([path], hear)
    assert isinstance(again, HeardRecording)
    for one in (*records, again):
        assert one.facts == records[0].facts and one.digest == records[0].digest and one.model == encoder.identity
        assert np.array_equal(one.embedding, encoder.embed(path)) and len(one.samples) == 0
    assert [one.name for one in records] == [str(path), "the recording", "the recording", str(path), str(path)]
    assert np.array_equal(listener.hear(path, keep_samples=True).samples, samples)


def test_what_was_heard_takes_the_place_of_the_recording(
    encoder: SpeakerEncoder, folder: Path, tmp_path: Path, counted: list[int]
) -> None:
    paths = [folder / f"{index}.wav" for index in range(3)]
    first, second, third = (Listener(encoder).hear(path) for path in paths)
    assert len(counted) == 3
    with closing(open_store(tmp_path / "heard.db", create=True)) as store:
        enroll(store, "a", [first], encoder, force=True)
        enroll(store, "b", second, encoder, force=True)
        gallery = open_gallery(store, encoder.identity)
        answers: list[Any] = [compare(first, third, encoder), verify_speaker(store, "a", third, encoder),
                   identify(gallery, third, encoder)]  # fmt: skip
        assert len(counted) == 3  # nothing is listened to again
        assert [one.as_dict() for one in answers] == [
            compare(paths[0], paths[2], encoder).as_dict(), verify_speaker(store, "a", paths[2], encoder).as_dict(),
            identify(gallery, paths[2], encoder).as_dict(),
        ]  # fmt: skip
        with pytest.raises(UsageError, match="its samples were not kept"):
            enroll(store, "c", third, encoder, keep_audio=True)
        enroll(store, "c", Listener(encoder).hear(paths[2], keep_samples=True), encoder, keep_audio=True, force=True)
    with pytest.raises(OtherModelError, match=r"was embedded by model other \(000000000000\)"):
        compare(replace(first, model=ModelIdentity("other", "0" * 64)), second, encoder)


def test_speech_is_looked_for_once_in_each_recording_of_a_list(folder: Path, counted: list[int]) -> None:
    encoder = SpectrumEncoder()
    paths = [folder / f"{index}.wav" for index in range(3)]
    found = list(Listener(encoder).hear_all(paths, hear, threads=2, window_s=600.0))
    assert len(counted) == 3 and len(encoder.crops) == 1  # one window for all
    assert [one.name for one in found if isinstance(one, HeardRecording)] == list(map(str, paths))


def test_the_first_that_cannot_be_used_ends_the_embedding_where_it_should(folder: Path) -> None:
    paths = [folder / "0.wav", folder / "none.wav", folder / "1.wav"]
    for go_on, embedded in ((True, [True, None, True]), (False, [True, None, False])):
        found = Listener(SpectrumEncoder()).hear_all(paths, hear, go_on=go_on)
        assert [None if isinstance(one, AudioError) else one.model is not None for one in found] == embedded
    found = Listener(SpectrumEncoder()).hear_all(paths, hear, embeds=False)
    assert [None if isinstance(one, AudioError) else one.model is not None for one in found] == [False, None, False]


def test_a_long_recording_is_judged_in_parts_and_embedded_like_any(
    encoder: SpeakerEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = speak(made_up_speaker(2, 0), 0, 5.0)
    sides = np.stack([np.tile(voice, 4), np.tile(speak(made_up_speaker(2, 1), 0, 5.0), 4)], axis=1)
    soundfile.write(tmp_path / "call.wav", sides, SAMPLE_RATE, "FLOAT")
    whole = Listener(encoder).hear(tmp_path / "call.wav")
    monkeypatch.setattr(voices, "LISTENED_SAMPLES", 7 * SAMPLE_RATE)
    found = Listener(encoder).hear_in_parts(tmp_path / "call.wav")
    assert found.digest == whole.digest and found.facts.duration_s == whole.facts.duration_s == 20.0
    assert found.facts.speech_s == pytest.approx(whole.facts.speech_s, abs=0.5)
    assert (
        [warning for warning in found.warnings if warning.code == "channels_differ"]
        == [warning for warning in whole.warnings if warning.code == "channels_differ"]
        != []
    )
    assert np.array_equal(found.embedding, encoder.embed(tmp_path / "call.wav"))


def test_the_quality_of_parts_is_that_of_the_whole_by_hand() -> None:
    clipped = QualityWarning("clipping", "is clipped")
    parts = [Quality(1.0, 10.0, (QualityWarning("little_speech", "little"),), ((0, 512),)),
             Quality(3.0, 30.0, (clipped,), ((512, 1024),))]  # fmt: skip
    found = joint_quality(parts, [600 * SAMPLE_RATE, 1024])
    assert (found.speech_s, found.snr_db) == (4.0, 25.0)
    assert found.warnings == (QualityWarning("clipping", "from 10 min on: is clipped"),)
    assert found.speech == ((0, 512), (9_600_512, 9_601_024))


def test_files_of_several_channels_are_decoded_once_and_told_of_after_a_restart(
    encoder: SpeakerEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 1)
    opened: list[str] = []
    open_recording = vars(listener_module)["open_recording"]

    def count(recording: str, *others: object, **options: object) -> object:
        opened.append(recording)
        return open_recording(recording, *others, **options)

    monkeypatch.setattr(listener_module, "open_recording", count)
    monkeypatch.setattr(listening, "read_recording", lambda *_: pytest.fail("it was read a second time"))
    names = (str(folder / "call.wav"), str(folder / "0.wav"), str(tmp_path / "late.wav"))
    with pytest.raises(AudioError, match="no such file"):
        embed_all(Files(names), tmp_path / "e.npz", in_threads(encoder, None, 1), {})
    assert opened == list(names)
    (tmp_path / "late.wav").write_bytes((folder / "2.wav").read_bytes())
    done = embed_all(Files(names), tmp_path / "e.npz", in_threads(encoder, None, 1), {})
    assert opened == [*names, names[2]] and done.earlier == 2
    ((mixed, why),) = done.mixed
    assert mixed == names[0] and why.startswith("channels 1 and 2 carry different sound")


def test_what_a_chunk_keeps_is_what_was_heard(encoder: SpeakerEncoder, folder: Path) -> None:
    heard, broken = Listener(encoder).hear(folder / "call.wav"), AudioError(None, "is broken")
    rows = packed([heard, broken])
    kept, failed = (unpacked(*row) for row in zip(*rows.values(), strict=True))
    assert isinstance(failed, AudioError) and failed.reason == "is broken"
    assert isinstance(kept, HeardRecording) and np.array_equal(kept.embedding, heard.embedding)
    assert all(getattr(kept, name) == getattr(heard, name) for name in ("name", "facts", "warnings", "digest", "model"))


def test_bulk_refuses_what_a_comparison_refuses(
    encoder: SpeakerEncoder, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=False, silent=np.zeros(SAMPLE_RATE, np.float32))
    words = ["embed", str(tmp_path / "a.npz"), "--model", str(exported), "--out", str(tmp_path / "e.npz"), "--json"]
    assert main(words) == 1 and "digital silence" in capsys.readouterr().err
    np.savez(tmp_path / "a.npz", allow_pickle=False, loud=speak(made_up_speaker(2, 0), 0, 3.0))
    assert main([*words, "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["embedded"] == 1
