"""Several channels as one: which is listened to, and where their average is of different sounds."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve

import sound_groove.audio.channels as channels
from broken_audio import RATE, encode
from evaluation_inputs import SpectrumEncoder
from sound_groove.audio.channels import Frames, Mixdown, named_channel, with_channel
from sound_groove.audio.listening import hear
from sound_groove.audio.reading import load_audio, probe, read_recording, read_segment, read_spans
from sound_groove.cli import main
from sound_groove.errors import AudioError, UsageError
from sound_groove.evaluation.calibrating import calibrate
from sound_groove.evaluation.calibration_material import CalibrationSettings
from sound_groove.evaluation.trials.sources import AudioFinder
from sound_groove.evaluation.trials.trial_sets import trials_from_list
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import ChannelFacts, Samples

LENGTH = 6 * RATE


@cache
def voice(number: int) -> Samples:
    """Six seconds of a made-up voice, at one level."""
    samples = speak(made_up_speaker(3, number), number, 7.0)[:LENGTH]
    level = np.asarray(samples * (0.05 / np.sqrt(np.mean(np.square(samples)))), dtype=np.float32)
    level.flags.writeable = False  # it is the same array for all tests
    return level


def noise(seed: int, level: float = 0.05) -> Samples:
    return (level * np.random.default_rng(seed).standard_normal(LENGTH)).astype(np.float32)


def late(samples: Samples, milliseconds: float) -> Samples:
    delay = round(milliseconds * RATE / 1000)
    return np.concatenate((np.zeros(delay, np.float32), samples))[: len(samples)]


def echo(samples: Samples, seed: int, rt60_s: float = 0.4) -> Samples:
    """In a room: noise that dies away behind the direct sound."""
    draw = np.random.default_rng(seed)
    tail = draw.standard_normal(round(rt60_s * RATE)) * 10 ** (-3 * np.arange(round(rt60_s * RATE)) / (rt60_s * RATE))
    response = 0.3 * tail / np.sqrt(np.sum(np.square(tail)))
    response[draw.integers(0, 80)] += 0.5
    return np.asarray(fftconvolve(samples, response)[: len(samples)], dtype=np.float32)


def music(seed: int) -> Samples:
    """Chords of five partials each, three a second, dying away."""
    draw, sound = np.random.default_rng(seed), np.zeros(LENGTH + RATE)
    time = np.arange(RATE) / RATE
    for start in range(0, LENGTH, RATE // 3):
        for pitch in draw.choice([220, 262, 330, 392, 440, 523], 3, replace=False):
            for partial in range(1, 6):
                tone = np.exp(-3 * time) * np.sin(2 * np.pi * pitch * partial * time) / partial
                sound[start : start + RATE] += tone
    sound = sound[:LENGTH]
    return np.asarray(sound * (0.05 / np.sqrt(np.mean(np.square(sound)))), dtype=np.float32)


def call(first: Samples, second: Samples, hiss: float = 1e-4) -> Frames:
    """Two people in turn, each on a side: the first, the second, the first."""
    silence = np.zeros_like(first)
    sides = [np.concatenate(side) for side in ((first, silence, first), (silence, second, silence))]
    draw = np.random.default_rng(0)
    return np.stack([side + hiss * draw.standard_normal(len(side)) for side in sides], axis=1).astype(np.float32)


def stereo(*sides: Samples) -> Frames:
    return np.stack(sides, axis=1).astype(np.float32)


def facts(frames: Frames, rate: int = RATE, block: int = 4096) -> ChannelFacts:
    """What is known of channels (T, C) after all blocks."""
    mixdown = Mixdown(None, rate, frames.shape[1])
    for start in range(0, len(frames), block):
        mixdown.mono(frames[start : start + block])
    return mixdown.facts()


ALIKE: dict[str, Callable[[], Frames]] = {
    "copies": lambda: stereo(voice(0), voice(0)),
    "quieter": lambda: stereo(voice(0), 0.05 * voice(0)),
    "opposite and quieter": lambda: stereo(voice(0), -0.4 * voice(0)),
    "1 ms late": lambda: stereo(voice(0), late(voice(0), 1)),
    "5 ms late": lambda: stereo(voice(0), late(voice(0), 5)),
    "20 ms late": lambda: stereo(voice(0), late(voice(0), 20)),
    "opposite and 3 ms late": lambda: stereo(voice(0), -late(voice(0), 3)),
    "left silent": lambda: stereo(0 * voice(0), voice(0)),
    "a dead channel that hisses": lambda: stereo(voice(0), noise(1, 0.0005)),
    "some noise in both": lambda: stereo(voice(0) + noise(1, 0.005), voice(0) + noise(2, 0.005)),
    "some noise in one": lambda: stereo(voice(0), voice(0) + noise(2, 0.005)),
    "much noise in both": lambda: stereo(voice(0) + noise(1), voice(0) + noise(2)),
    "two microphones in a room": lambda: stereo(echo(voice(0), 1), late(echo(voice(0), 2), 6)),
    "one near, one far": lambda: stereo(voice(0), echo(voice(0), 2)),
    "six of a room, some silent": lambda: stereo(*(echo(voice(0), k) for k in range(4)), *[0 * voice(0)] * 2),
    "two voices in both": lambda: stereo(voice(0) + voice(1), late(0.5 * (voice(0) + voice(1)), 2)),
}
DIFFERENT: dict[str, Callable[[], Frames]] = {
    "a call": lambda: call(voice(0), voice(1)),
    "a call that hisses": lambda: call(voice(0), voice(1), 0.003),
    "a call with one quiet side": lambda: call(voice(0), 0.1 * voice(1)),
    "two at once": lambda: stereo(voice(0), voice(1)),
    "two at once, one quiet": lambda: stereo(0.3 * voice(0), voice(1)),
    "noise as loud in one": lambda: stereo(voice(0), voice(0) + noise(1)),
    "noise louder than the voice in one": lambda: stereo(voice(0), voice(0) + noise(1, 0.15)),
    "noise alone in one": lambda: stereo(noise(1), voice(0)),
    "music in one": lambda: stereo(voice(0), music(1)),
    "music behind the voice in one": lambda: stereo(voice(0), voice(0) + music(1)),
    "one of four is another's": lambda: stereo(voice(0), late(voice(0), 2), voice(1), voice(0)),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_one_sound_in_all_channels_is_averaged_without_a_word(kind: str) -> None:
    found = facts(ALIKE[kind]())
    assert (found.differing, found.cancel, found.warnings) == (None, False, ())


@pytest.mark.parametrize("kind", DIFFERENT)
def test_different_sound_in_the_channels_is_found(kind: str) -> None:
    found = facts(DIFFERENT[kind]())
    assert found.differing is not None
    assert [warning.code for warning in found.warnings] == ["channels_differ"]


def test_the_channels_that_differ_are_named_from_1() -> None:
    assert facts(stereo(voice(0), late(voice(0), 2), 0.8 * voice(1), voice(0))).differing == (1, 3)
    assert facts(stereo(0.5 * voice(0), voice(1))).differing == (2, 1)
    assert "channels 1 and 2 carry" in facts(stereo(0.5 * voice(0), voice(1))).warnings[0].message


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_the_rate_of_the_file_changes_nothing(rate: int, tmp_path: Path) -> None:
    import soxr

    for kind, differs in ((ALIKE["5 ms late"], False), (DIFFERENT["a call"], True)):
        frames = soxr.resample(kind(), RATE, rate)
        path = tmp_path / "a.wav"
        path.write_bytes(encode(frames, rate))
        assert (read_recording(path).channels.differing is not None) == differs


@pytest.mark.parametrize("kind", ["mp3", "opus", "ogg"])
def test_codecs_leave_copies_alike_and_a_call_different(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    for frames, differs in ((stereo(voice(0), late(0.7 * voice(0), 1)), False), (call(voice(0), voice(1)), True)):
        path.write_bytes(encode(frames, kind=kind))
        assert (read_recording(path).channels.differing is not None) == differs


def test_blocks_change_nothing_and_hours_are_judged_by_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = call(voice(0), voice(1))
    assert facts(frames, block=100) == facts(frames, block=10**9) == facts(frames)
    monkeypatch.setattr(channels, "KEPT_VALUES", 8 * 2 * 4 * 8000)  # eight stretches of four seconds
    long = np.concatenate([frames] * 8)
    mixdown = Mixdown(None, RATE, 2)
    for start in range(0, len(long), 5000):
        mixdown.mono(long[start : start + 5000])
        assert mixdown._kept is None or len(mixdown._kept._kept) <= 8
    assert mixdown.facts().differing is not None


def test_too_short_to_tell_is_left_alone() -> None:
    assert facts(stereo(voice(0), voice(1))[: RATE // 4]).differing is None
    assert facts(np.zeros((LENGTH, 2), np.float32)) == ChannelFacts(2)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A call of two made-up voices."""
    path = tmp_path / "call.wav"
    soundfile.write(path, call(voice(0), voice(1)), RATE, subtype="FLOAT")
    return path


def test_a_channel_is_chosen_by_number_or_by_name(recording: Path) -> None:
    first, second = call(voice(0), voice(1)).T
    np.testing.assert_array_equal(load_audio(recording, channel=1), first)
    np.testing.assert_array_equal(load_audio(f"{recording}#2"), second)
    np.testing.assert_array_equal(load_audio(f"{recording}#2", channel=1), second)  # the name says it of this one
    np.testing.assert_array_equal(read_segment(Path(f"{recording}#2"), 1000, 500), second[1000:1500])
    (span,) = read_spans(recording, lambda total: [(10, total)], 2)
    np.testing.assert_array_equal(span, second[10:])
    chosen = read_recording(recording, 2).channels
    assert chosen == ChannelFacts(2, chosen=2)
    assert probe(f"{recording}#2").channels == 2


def test_a_channel_that_is_not_there_is_refused_in_one_sentence(recording: Path) -> None:
    for read in (load_audio, probe):
        with pytest.raises(AudioError, match=r"call\.wav: there is no channel 3: it has 2$"):
            read(recording, 3)
    with pytest.raises(AudioError, match="there is no channel 7: it has 2"):
        load_audio(f"{recording}#7")
    with pytest.raises(AudioError, match="there is no channel 2: it has 1"):
        hear(voice(0), "samples", 2)
    for wrong in (0, -1, 1.5, "2"):
        with pytest.raises(UsageError, match="a channel is a whole number, counted from 1"):
            load_audio(recording, wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="channels are counted from 1"):
        load_audio(f"{recording}#0")


def test_a_file_whose_name_looks_like_a_channel_is_that_file(recording: Path, tmp_path: Path) -> None:
    odd = tmp_path / "call.wav#2"
    soundfile.write(odd, voice(2), RATE, subtype="FLOAT", format="WAV")
    np.testing.assert_array_equal(load_audio(odd), voice(2))
    np.testing.assert_array_equal(load_audio(tmp_path / "call.wav#2", channel=1), voice(2))
    assert named_channel(tmp_path / "take#b.wav") == (tmp_path / "take#b.wav", None)
    with pytest.raises(UsageError, match="is a file, so that this name cannot mean a channel"):
        with_channel(recording, 2)
    assert with_channel(recording, 1).name == "call.wav#1"
    assert with_channel(recording, None) == recording


def test_lists_name_channels(recording: Path) -> None:
    finder = AudioFinder(recording.parent)
    assert finder.find("call.wav#2") == Path(f"{recording}#2")
    assert finder.find("call.flac#1") == Path(f"{recording}#1")  # the disk has another suffix
    assert finder.find("other.wav#1") is None


def test_opposite_channels_are_refused_though_their_noise_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for other in (-voice(0), -0.9 * voice(0), -voice(0) + noise(1, 0.003)):
        soundfile.write(path, stereo(voice(0), other), RATE)
        with pytest.raises(AudioError, match="cancel each other"):
            load_audio(path)
        assert len(load_audio(path, 2)) == LENGTH
    assert not facts(stereo(voice(0), *[0 * voice(0)] * 63)).cancel  # one of 64 speaks


def test_no_verdict_on_an_average_of_different_sounds(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(recording), str(recording), "--json"]) == 0
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert answer["llr"] > 2 and answer["verdict"] == "inconclusive"
    assert {"channels_differ", "same_audio"} <= {warning["code"] for warning in answer["warnings"]}
    assert "choose one (--channel 1, or channel=1)" in told.err
    assert main(["compare", str(recording), str(recording), "--channel", "1", "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)
    assert chosen["verdict"] == "same"
    assert "channels_differ" not in {warning["code"] for warning in chosen["warnings"]}
    assert chosen["probability"] < 1.0


def test_embed_takes_channels_by_name_and_names_mixtures(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.npz"
    assert main(["embed", f"{recording}#1", f"{recording}#2", str(recording), "--out", str(out), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["channels_differ"] == [str(recording)]
    assert "carry different sound" in told.err
    with np.load(out) as stored:
        assert stored["path"].tolist() == [f"{recording}#1", f"{recording}#2", str(recording)]
        first, second, _ = stored["emb"]
    assert float(first @ second) < 0.9
    chosen = tmp_path / "chosen.npz"
    assert main(["embed", str(recording), "--channel", "2", "--out", str(chosen)]) == 0
    with np.load(chosen) as stored:
        np.testing.assert_array_equal(stored["emb"][0], second)


def test_prepare_tells_of_averages_of_different_sounds_and_still_knows_when_it_goes_on(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed, out = tmp_path / "list.tsv", tmp_path / "made"
    listed.write_text("call.wav\tkim\ncall.wav#1\tlee\n", encoding="utf-8")
    words = ["prepare", "list", str(listed), "--out", str(out), "--validation-speakers", "0", "--workers", "1"]
    for _ in range(2):  # the second time by what the journal says
        assert main([*words, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["channels_differ"] == 1
        (note,) = report["notes"]
        assert note.startswith("1 recording has channels of different sound, which were averaged")
        assert "call.wav;" in note


def test_calibrate_tells_of_averages_of_different_sounds(recording: Path, tmp_path: Path) -> None:
    lines, speakers = [], []
    for number in range(11):
        for take in ("a", "b"):
            path = tmp_path / f"{number}{take}.wav"
            soundfile.write(path, speak(made_up_speaker(5, number), ord(take), 2.0), RATE)
            speakers.append(f"{path.name} {number}\n")
        lines += [f"1 {number}a.wav {number}b.wav\n", f"0 {number}a.wav {(number + 1) % 11}b.wav\n"]
    soundfile.write(tmp_path / "0a.wav", stereo(voice(0), voice(1)), RATE)
    (tmp_path / "trials.txt").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "utt2spk").write_text("".join(speakers), encoding="utf-8")
    trial_set = trials_from_list(tmp_path / "trials.txt", tmp_path, speaker_table=tmp_path / "utt2spk")
    judged = calibrate(SpectrumEncoder(), trial_set, "made-up voices", CalibrationSettings((1.0,), resamples=0))
    assert judged.mixed == (str(tmp_path / "0a.wav"),)


def test_prepare_takes_channels_from_a_list_and_by_option(recording: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.tsv"
    listed.write_text("call.wav#1\tkim\ncall.wav#2\tlee\n", encoding="utf-8")
    words = ["--validation-speakers", "0", "--workers", "1"]
    assert main(["prepare", "list", str(listed), "--out", str(tmp_path / "made"), *words]) == 0
    lines = (tmp_path / "made" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert {path for line in lines for path in json.loads(line).get("paths", [])} == {
        f"{recording}#1",
        f"{recording}#2",
    }
    listed.write_text("call.wav\tkim\ncall.wav#1\tlee\n", encoding="utf-8")  # the name says it of this one
    assert main(["prepare", "list", str(listed), "--out", str(tmp_path / "second"), "--channel", "2", *words]) == 0
    written = (tmp_path / "second" / "manifest.jsonl").read_text(encoding="utf-8")
    assert f"{recording}#2" in written and f"{recording}#1" in written
    assert (
        main(["prepare", "list", str(listed), "--out", str(tmp_path / "third"), "--channel", "3", *words]) == 1
    )  # lee alone
