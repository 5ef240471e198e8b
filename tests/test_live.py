"""Live voices: speech as it comes, verdicts by told evidence, streams byte by byte, and real voices in turn."""

import io
import json
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from sound_groove import cli
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.audio.speech import CHUNK, find_speech
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import AudioError, MissingExtraError, OtherModelError, UsageError
from sound_groove.live import listening
from sound_groove.live.listening import LOOKS_S, LiveEvent, LiveListener
from sound_groove.live.promise import FALLEN, REACHED, fallen_limit, reached_limit
from sound_groove.live.sources import audio_stream, microphone, raw_stream, wav_header
from sound_groove.live.speech import MOST, STEP, ArrivingSpeech
from sound_groove.live.text import line, summary
from sound_groove.types import Samples
from sound_groove.voiceprints.enrolment import enroll
from sound_groove.voiceprints.sought import SoughtVoice, recorded_voice
from sound_groove.voiceprints.store.opening import open_store
from store_places import OTHER_MODEL
from test_identification import Scored

EXAMPLES = Path(__file__).parents[1] / "examples"
S = SAMPLE_RATE


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder.load("pretrained", threads=1)


@pytest.fixture(scope="module")
def voices(encoder: SpeakerEncoder) -> list[SoughtVoice]:
    return [replace(recorded_voice(EXAMPLES / f"{name}-2.flac", encoder), name=name) for name in ("awb", "rms")]


def spoken(*names: str) -> Samples:
    """People after each other, before a quiet noise."""
    samples = np.concatenate([load_audio(EXAMPLES / f"{name}-1.flac") for name in names])
    return (samples + 1e-4 * np.random.default_rng(0).standard_normal(len(samples))).astype(np.float32)


def hear(listener: LiveListener, samples: Samples, piece: int = 1600) -> list[LiveEvent]:
    return [event for start in range(0, len(samples), piece) for event in listener.add(samples[start : start + piece])]


# Speech as it comes.


def test_speech_is_found_as_in_a_recording_but_for_what_lies_ahead() -> None:
    samples = spoken("awb", "slt")
    arriving = ArrivingSpeech()
    arriving.add(samples)
    while arriving.step():
        pass
    whole = find_speech(samples)[: len(arriving.flags)]
    assert len(arriving.samples) == len(arriving.flags) * CHUNK and arriving.received == len(samples)
    assert np.mean(whole != arriving.flags) < 0.05
    assert arriving.speech == arriving.flags.sum() * CHUNK


def test_the_pieces_in_which_samples_come_change_nothing() -> None:
    samples = spoken("awb")
    found = []
    for piece in (1, 777, len(samples)):
        arriving = ArrivingSpeech()
        for start in range(0, 3 * S if piece == 1 else len(samples), piece):
            arriving.add(samples[start : start + piece])
            while arriving.step():
                pass
        found.append(arriving)
    assert np.array_equal(found[1].samples, found[2].samples) and np.array_equal(found[1].flags, found[2].flags)
    assert np.array_equal(found[0].flags, found[2].flags[: len(found[0].flags)])


def test_what_is_kept_is_bounded_and_a_long_pause_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    arriving = ArrivingSpeech()
    silence = (1e-4 * np.random.default_rng(0).standard_normal(30 * S)).astype(np.float32)
    arriving.add(np.concatenate([spoken("awb"), silence, spoken("awb")]))
    while arriving.step():
        pass
    seconds = len(load_audio(EXAMPLES / "awb-1.flac")) / S
    assert len(arriving.samples) / S < 2 * seconds + 5
    monkeypatch.setattr("sound_groove.live.speech.find_speech", lambda heard: np.ones(len(heard) // CHUNK, np.bool_))
    arriving = ArrivingSpeech()
    for _ in range(4):
        arriving.add(np.ones(30 * S, np.float32))
        while arriving.step():
            pass
    assert len(arriving.flags) == MOST and arriving.speech > MOST * CHUNK  # all of it is counted


def test_what_was_before_a_change_is_forgotten() -> None:
    arriving = ArrivingSpeech()
    arriving.add(spoken("awb"))
    while arriving.step():
        pass
    latest = arriving.samples[-S:]
    arriving.forget(S)
    assert S <= arriving.speech < S + CHUNK and np.array_equal(arriving.samples[-S:], latest)
    (first, *_), (_, end) = arriving.spans(S)[0], arriving.spans(S)[-1]
    assert first == 0 and end <= len(arriving.samples)
    arriving.forget(100 * S)
    assert arriving.speech >= S


# Verdicts, by evidence that is told.


class Told(LiveListener):
    """Hears speech all the time, and is told the evidence of each look and of each comparison."""

    def __init__(self, looks: Sequence[Sequence[float]], comparisons: Sequence[float] = (), **rates: float) -> None:
        names = ["anna", "ben"][: len(looks[0])]
        facts = SimpleNamespace(speech_s=5.0)
        voices = [SoughtVoice(name, np.zeros(2, np.float32), facts, Scored().identity) for name in names]  # type: ignore[arg-type]
        super().__init__(voices, Scored(), **rates)
        self.looks = [value for look in looks for value in look]
        self.comparisons = list(comparisons)
        self.at: list[float] = []

    def _embedded(self, speech: int | None) -> Any:
        if speech is None:
            self.at.append(self._arriving.speech / S)
        return np.zeros(2, np.float32), SimpleFacts(speech is None)

    def _llr(self, first: Any, second: Any) -> float:
        if second[1].of_look:
            return self.looks.pop(0) if self.looks else 0.0
        return self.comparisons.pop(0) if self.comparisons else 5.0


class SimpleFacts(SimpleNamespace):
    def __init__(self, of_look: bool, **_: object) -> None:
        super().__init__(of_look=of_look)


@pytest.fixture
def talking(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is heard is speech."""
    monkeypatch.setattr("sound_groove.live.speech.find_speech", lambda heard: np.ones(len(heard) // CHUNK, np.bool_))
    monkeypatch.setattr(listening, "replace", lambda facts, **_: facts)


def test_one_looks_at_amounts_of_speech_that_grow(talking: None) -> None:
    listener = Told([[0.0]])
    events = hear(listener, np.ones(60 * S, np.float32))
    assert [event.kind for event in events] == ["evidence"] * len(listener.at)
    step = STEP * CHUNK / S
    expected = sorted({int(np.ceil(look / step - 1e-9)) for look in LOOKS_S})
    assert [round(at / step) for at in listener.at] == expected
    assert listener.end().verdict is None and listener.end().kind == "end"


def test_a_verdict_is_given_once_and_stands(talking: None) -> None:
    listener = Told([[1.0, 0.0], [9.0, 0.0], [0.0, 0.0], [-9.0, -9.0]])
    events = hear(listener, np.ones(8 * S, np.float32))
    assert [event.kind for event in events][:4] == ["evidence", "verdict", "evidence", "evidence"]
    assert events[1].name == "anna" and events[1].verdict == "identified" and events[1].candidates[0].llr == 9.0
    assert all(event.name == "anna" for event in events[1:]) and listener.end().name == "anna"
    assert events[0].verdict is None and events[0].name is None


def test_nobody_is_said_when_all_fall_below_the_limit(talking: None) -> None:
    low = fallen_limit(0.05)
    events = hear(Told([[low - 0.1, low + 0.1], [low - 0.1, low - 0.2]]), np.ones(4 * S, np.float32))
    assert [event.verdict for event in events][:2] == [None, "nobody"]
    assert events[1].name is None and events[1].candidates[0].name == "anna"


def test_the_error_is_divided_among_those_named(talking: None) -> None:
    one, two = Told([[0.0]], max_false_accept=0.02), Told([[0.0, 0.0]], max_false_accept=0.02)
    assert one.limits[1] == reached_limit(0.02) and two.limits[1] == reached_limit(0.01) > one.limits[1]
    assert one.limits[0] == two.limits[0] == fallen_limit(0.05)


def test_probabilities_are_of_those_named_and_of_nobody(talking: None) -> None:
    (event, *_) = hear(Told([[np.log(6), 0.0]], prior=0.5), np.ones(2 * S, np.float32))
    # Odds against nobody: 0.5 x 6, 0.5 x 1.
    assert [one.probability for one in event.candidates] == pytest.approx([3 / 4.5, 0.5 / 4.5])


def test_a_change_is_two_comparisons_in_a_row_or_one_that_is_sure(talking: None) -> None:
    alone = hear(Told([[9.0]], [5.0, 0.0, 5.0, 0.0, 5.0]), np.ones(12 * S, np.float32))
    assert "change" not in [event.kind for event in alone]
    for unlike in ([5.0, 0.0, 0.0], [5.0, -2.0]):
        check_change(Told([[9.0]] * 20, unlike))


def check_change(listener: LiveListener) -> None:
    """That a change is found, once, and everything begins afresh with what follows it."""
    events = hear(listener, np.ones(12 * S, np.float32))
    place = [event.kind for event in events].index("change")
    change, after = events[place], events[place + 1]
    assert change.voice == 2 and change.verdict is None and change.candidates == () and change.speech_s < 2.1
    assert after.kind == "verdict" and after.voice == 2 and after.time_s == change.time_s
    assert line(change).endswith("s of speech") and "another voice" in line(change)


def test_the_limits_hold_the_counts_and_go_on_beyond_them() -> None:
    for counted, limit in ((REACHED, reached_limit), (FALLEN, lambda share: -fallen_limit(share))):
        for llr, rareness in counted[1:]:
            assert limit(np.exp(-rareness)) == pytest.approx(llr)
        limits = [limit(share) for share in (0.5, 0.1, 0.01, 0.001, 1e-6)]
        assert limits == sorted(limits)
        last, rareness = counted[-1]
        assert limit(np.exp(-rareness - 2)) - last == pytest.approx(2.0)


def test_wrong_use_is_refused(voices: list[SoughtVoice], encoder: SpeakerEncoder) -> None:
    with pytest.raises(UsageError, match="error rate"):
        LiveListener(voices, encoder, max_false_accept=0.0)
    with pytest.raises(UsageError, match="prior"):
        LiveListener(voices, encoder, prior=1.0)
    for wrong in ([], [voices[0], voices[0]], [replace(voices[0], name=None)]):
        with pytest.raises(UsageError, match="say whom to listen for"):
            LiveListener(wrong, encoder)
    with pytest.raises(OtherModelError, match="'awb': was embedded by"):
        LiveListener([replace(voices[0], model=OTHER_MODEL)], encoder)
    with pytest.raises(UsageError, match="carries no map"):
        LiveListener([replace(voices[0], model=Scored().identity)], Scored(None))
    listener = LiveListener(voices, encoder)
    for samples in (np.zeros((2, 2), np.float32), np.array([np.nan], np.float32)):
        with pytest.raises(UsageError, match="one row of finite numbers"):
            listener.add(samples)


# Streams.


class Drip(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def read(self, count: int | None = -1, /) -> bytes:
        return super().read(min(count or 1, 7))

    read1 = read


def joined(pieces: Iterator[Samples]) -> Samples:
    return np.concatenate(list(pieces))


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype("<i2")


@pytest.mark.parametrize("stream", [io.BytesIO, Drip])
def test_raw_samples_come_out_whole(stream: type[io.BytesIO], sound: np.ndarray) -> None:
    assert joined(raw_stream(stream(sound.tobytes()), S)) == pytest.approx(sound / 32768)
    assert joined(audio_stream(stream(sound.tobytes() + b"x"), S)) == pytest.approx(sound / 32768)  # half a sample more
    both = np.stack([sound, -sound], axis=1)
    assert joined(raw_stream(stream(both.tobytes()), S, 2)) == pytest.approx(np.zeros(len(sound)))


def test_another_rate_is_resampled_as_in_a_recording(sound: np.ndarray) -> None:
    live = joined(raw_stream(io.BytesIO(sound.tobytes()), 8000))
    whole = soxr.resample(sound.astype(np.float32) / 32768, 8000, S)
    assert len(live) == len(whole) and np.abs(live - whole)[500:-500].max() < 1e-3
    for rate in (0, 3999, 10**6):
        with pytest.raises(UsageError, match="a rate lies between"):
            next(audio_stream(io.BytesIO(b""), rate))


def wav(sound: np.ndarray, **changes: object) -> bytes:
    """A wav file, as its writers make it when they do not know how long it will be."""
    values = {"kind": 1, "channels": 1, "rate": 8000, "bits": 16, "before": b"LIST\x03\0\0\0abc\0", **changes}
    described = struct.pack(
        "<HHIIHH", values["kind"], values["channels"], values["rate"], 16000, 2, values["bits"]
    )  # fmt: skip
    head = b"RIFF\xff\xff\xff\xffWAVE" + values["before"] + b"fmt \x10\0\0\0" + described  # type: ignore[operator]
    return head + b"data\xff\xff\xff\xff" + sound.tobytes()


@pytest.mark.parametrize("stream", [io.BytesIO, Drip])
def test_a_wav_through_a_pipe_is_heard_until_it_ends(stream: type[io.BytesIO], sound: np.ndarray) -> None:
    assert wav_header(stream(wav(sound))) == (8000, 1)
    assert joined(audio_stream(stream(wav(sound)), None)) == pytest.approx(
        joined(raw_stream(io.BytesIO(sound.tobytes()), 8000)), abs=1e-6
    )


def test_a_wav_of_this_computer_is_heard(tmp_path: Path, sound: np.ndarray) -> None:
    for subtype, kind in (("PCM_16", "WAV"), ("PCM_16", "WAVEX")):
        soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], axis=1), S, subtype, format=kind)
        with (tmp_path / "a.wav").open("rb") as file:
            assert joined(audio_stream(file, None)) == pytest.approx(sound / 32768, abs=1e-6)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "ends before its samples begin"),
        (b"RIFF\0\0\0\0WAVE", "ends before its samples begin"),
        (b"fLaC" + bytes(20), "is no wav file; say --rate HZ"),
        (wav(np.zeros(4, "<i2"), bits=24), "has 24-bit samples of kind 1"),
        (wav(np.zeros(4, "<i2"), kind=3), "16-bit samples of kind 3"),
        (wav(np.zeros(4, "<i2"), channels=0), "has 0 channels"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "does not say its format"),
        (b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff", "within a megabyte"),
        (b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0\0\0", "is cut off"),
    ],
)
def test_what_is_no_wav_of_16_bits_is_one_sentence(content: bytes, complaint: str) -> None:
    with pytest.raises(AudioError, match=complaint) as caught:
        next(audio_stream(io.BytesIO(content), None))
    assert str(caught.value).startswith("the standard input: ")


def test_the_microphone_gives_what_the_sound_card_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match="'microphone' extra"):
        next(microphone())

    class Card:
        def __init__(self, rate: int, size: int, device: object, channels: int, kind: str, callback: Any) -> None:
            assert (rate, size, channels, kind) == (S, 1600, 1, "float32")
            callback(np.full((size, 1), 0.25, np.float32), size, None, None)

        def __enter__(self) -> "Card":
            return self

        def __exit__(self, *_: object) -> None:
            closed.append(True)

    closed = list[bool]()
    made = ModuleType("sounddevice")
    made.__spec__ = ModuleSpec("sounddevice", None)
    made.InputStream, made.PortAudioError = Card, RuntimeError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    heard = microphone()
    assert next(heard).tolist() == [0.25] * 1600
    heard.close()  # type: ignore[attr-defined]
    assert closed == [True]

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no device")

    made.InputStream = broken  # type: ignore[attr-defined]
    with pytest.raises(AudioError, match="the microphone: cannot be used: no device"):
        next(microphone())


# Real voices.


def test_people_after_each_other_are_told_one_after_the_other(
    voices: list[SoughtVoice], encoder: SpeakerEncoder
) -> None:
    listener = LiveListener(voices, encoder, max_false_accept=0.05)
    events = hear(listener, spoken("awb", "awb", "rms", "slt", "slt"))
    verdicts = [(event.voice, event.verdict, event.name) for event in events if event.kind == "verdict"]
    assert verdicts == [(1, "identified", "awb"), (2, "identified", "rms"), (3, "nobody", None)]
    seconds = [len(load_audio(EXAMPLES / f"{name}-1.flac")) / S for name in ("awb", "awb", "rms")]
    changes = [event.time_s for event in events if event.kind == "change"]
    assert len(changes) == 2
    for change, truth in zip(changes, (sum(seconds[:2]), sum(seconds)), strict=True):
        assert truth < change < truth + 4.0
    assert events[0].kind == "verdict" and events[0].speech_s < 3
    assert json.loads(json.dumps(events[0].as_dict()))["candidates"][0]["name"] == "awb"
    lines = summary([event for event in events if event.kind == "verdict"], listener.end())
    assert "3 voices" in lines[0] and "awb" in lines[1] and "nobody" in lines[3]


def test_silence_and_noise_say_nothing(voices: list[SoughtVoice], encoder: SpeakerEncoder) -> None:
    listener = LiveListener(voices, encoder)
    assert hear(listener, np.zeros(5 * S, np.float32)) == []
    assert hear(listener, (0.05 * np.random.default_rng(0).standard_normal(8 * S)).astype(np.float32)) == []
    assert listener.end().time_s == 13 and "undecided" in summary([], listener.end())[-1]


# The verb.


def test_the_verb_listens_to_its_standard_input(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, encoder: SpeakerEncoder
) -> None:
    samples = (spoken("awb", "rms") * 32767).astype("<i2")
    with closing(open_store(tmp_path / "people.db", create=True)) as store:
        enroll(store, "Ann", [EXAMPLES / "awb-2.flac"], encoder, force=True)
    clip = str(EXAMPLES / "rms-2.flac")
    words = ["listen", "Ann", clip, "--store", str(tmp_path / "people.db"), "--max-false-accept", "0.1"]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(samples.tobytes())))
    assert cli.main([*words, "--rate", "16000", "--json"]) == 0
    events = [json.loads(row) for row in capfd.readouterr().out.splitlines()]
    assert [event["name"] for event in events if event["kind"] == "verdict"] == ["Ann", clip]
    assert events[-1]["kind"] == "end" and set(events[0]) == {
        "kind", "time_s", "voice", "speech_s", "verdict", "name", "candidates"
    }  # fmt: skip
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(wav(samples, rate=16000))))
    assert cli.main([*words, "--until-verdict"]) == 0
    text = capfd.readouterr().out
    assert "it is Ann" in text and text.splitlines()[-1].startswith("verdict      voice 1: Ann, at 0:00:0")


def test_ctrl_c_ends_it_with_what_was_found(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> Iterator[Samples]:
        yield spoken("awb")
        raise KeyboardInterrupt

    monkeypatch.setattr("sound_groove.cli.listen.pieces", interrupted)
    assert cli.main(["listen", str(EXAMPLES / "awb-2.flac")]) == 0
    out, err = capfd.readouterr()
    assert "heard        0:00:0" in out and "verdict      voice 1" in out and err.splitlines()[-1] == "ended"


def test_wrong_use_of_the_verb_is_one_sentence(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"no wav at all")))
    clip = str(EXAMPLES / "awb-2.flac")
    for words, status, complaint in (
        ([clip], 1, "is no wav file"),
        ([clip, "--max-false-accept", "2"], 2, "between 0 and 1"),
        ([clip, "--rate", "100"], 2, "a rate lies between"),
        (["Ann", "--store", "none.db"], 1, "there is no store"),
    ):
        assert cli.main(["listen", *words]) == status
        error = capfd.readouterr().err
        assert complaint in error and len(error.splitlines()) == 1
