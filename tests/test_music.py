"""Music is heard in tones that come and go, and not in a voice, a hum, a whistle, a siren or noise; all made up."""

import numpy as np
import pytest

from sound_groove.audio.content import Content, content_of
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.music import activations, music_spans
from sound_groove.synthesis.lines import made_up_music
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import Samples

SECONDS = 8
TIME_S = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE


def share(samples: Samples) -> float:
    """Of a recording, that is called music."""
    return sum(end - start for start, end in music_spans(samples)) / len(samples)


def chords(every_s: float = 1.0) -> Samples:
    """Triads with overtones, another every so many seconds."""
    steps = (0, 5, 7, 2, 9, 4)
    out = np.zeros(len(TIME_S))
    for place, start in enumerate(np.arange(0, SECONDS, every_s)):
        here = (start <= TIME_S) & (start + every_s > TIME_S)
        for semitone in (0, 4, 7):
            pitch_hz = 220 * 2 ** ((steps[place % len(steps)] + semitone) / 12)
            out[here] += sum(np.sin(2 * np.pi * n * pitch_hz * TIME_S[here]) / n for n in range(1, 6))
    return (0.05 * out).astype(np.float32)


def voice(seed: int = 0) -> Samples:
    """A voice that glides, as speech does."""
    return speak(made_up_speaker(1, seed), seed, float(SECONDS))[: len(TIME_S)]


def room(seed: int = 0) -> Samples:
    """Noise 50 dB below full scale: no recording has less."""
    return (0.003 * np.random.default_rng(seed).standard_normal(len(TIME_S))).astype(np.float32)


def hum() -> Samples:
    """Of the mains, with twenty harmonics."""
    return sum(0.1 / n * np.sin(2 * np.pi * 50 * n * TIME_S + n) for n in range(1, 21)).astype(np.float32)  # type: ignore[union-attr]


def sweep() -> Samples:
    """A siren with overtones that goes up and down between 400 and 900 Hz every two seconds."""
    phase = 2 * np.pi * np.cumsum(650 + 250 * np.sin(np.pi * TIME_S)) / SAMPLE_RATE
    return sum(0.1 / n * np.sin(n * phase) for n in range(1, 9)).astype(np.float32)  # type: ignore[union-attr]


def test_chords_are_music_alone_and_under_a_voice() -> None:
    assert share(chords() + room()) > 0.99
    speech = voice()
    music = chords()
    music *= np.sqrt(np.mean(speech**2) / np.mean(music**2)) * 10 ** (-5 / 20)
    assert share(speech + music) > 0.99


def test_made_up_music_of_the_package_is_music() -> None:
    found = [share(made_up_music(len(TIME_S), np.random.default_rng(seed))) for seed in range(8)]
    assert np.mean(np.array(found) >= 0.5) >= 0.75


@pytest.mark.parametrize("make", [voice, room, hum, sweep])
def test_what_is_no_music_is_not_called_so(make: "type") -> None:
    assert share(make() + room(1)) == 0.0


def test_a_whistle_and_a_hum_under_a_voice_are_no_music() -> None:
    whistle = (0.1 * np.sin(2 * np.pi * 3150 * TIME_S)).astype(np.float32)
    assert share(voice() + whistle + hum()) == 0.0


def test_the_stretch_with_music_is_found() -> None:
    sound = voice() + room()
    sound = np.concatenate((sound, chords() + room(), sound))
    ((start, end),) = music_spans(sound)
    assert (start / SAMPLE_RATE, end / SAMPLE_RATE) == pytest.approx((SECONDS, 2 * SECONDS), abs=2.6)


def test_bars_that_come_and_go_are_peaks_of_their_share() -> None:
    """Three tones in the first half of a second and a half, and then nothing: three peaks of a half."""
    short = TIME_S[: 3 * SAMPLE_RATE // 2]
    fading = np.clip((0.75 - short) / 0.05, 0, 1)
    tones = sum(0.1 * np.sin(2 * np.pi * hz * short) for hz in (500, 1250, 2000)) * fading
    ((first,), (activation,)) = activations(tones.astype(np.float32))
    assert first == 0
    assert activation == pytest.approx(1.5, abs=0.1)


def test_a_gain_changes_nothing() -> None:
    sound = voice() + chords()
    assert music_spans(0.01 * sound) == music_spans(sound)


@pytest.mark.parametrize("length", [1, 1024, 15_000, SAMPLE_RATE])
def test_of_less_than_a_second_nothing_is_said(length: int) -> None:
    assert music_spans(chords()[:length]) == ([] if length < SAMPLE_RATE else music_spans(chords()[:SAMPLE_RATE]))


def test_content_is_what_was_measured_of_a_recording() -> None:
    tone = np.sqrt(2) * 0.01 * np.sin(2 * np.pi * 1000 * TIME_S)
    tone[: SAMPLE_RATE // 2] = 0
    found = content_of(tone.astype(np.float32), [(SAMPLE_RATE, 2 * SAMPLE_RATE), (6 * SAMPLE_RATE, 8 * SAMPLE_RATE)])
    assert found.level_db == pytest.approx(-40.0, abs=0.1)
    assert (found.music_s, found.clipped, found.silence_s) == (0.0, 0.0, 4.0)
    noise = np.random.default_rng(4).standard_normal(len(TIME_S))
    spectrum = np.fft.rfft(noise)
    spectrum[round(len(spectrum) / 2) :] /= 100  # above 4 kHz 40 dB weaker
    narrow = np.fft.irfft(spectrum).astype(np.float32)
    assert content_of(narrow, [(0, len(narrow))]).band_db == pytest.approx(-40.0, abs=0.5)
    clipped = np.clip(tone, -0.012, 0.012).astype(np.float32)
    assert content_of(clipped, []).clipped == pytest.approx(0.3, abs=0.1)


def test_content_of_silence_and_of_music() -> None:
    assert content_of(np.zeros(8000, np.float32), []) == Content(-120.0, 0.0, 0.0, 0.5, 0.0)
    assert content_of(chords() + room(), []).music_s == pytest.approx(SECONDS, abs=0.05)
