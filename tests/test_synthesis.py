"""Made-up voices judged by physics: pitch, formants, loudness, and what tells one voice from another."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.quality import assess
from sound_groove.audio.reading import load_audio
from sound_groove.errors import CorpusError
from sound_groove.scoring.metrics import eer
from sound_groove.synthesis.voices import Voice, made_up_speaker, speak, write_corpus
from sound_groove.types import Samples

pytestmark = pytest.mark.usefixtures("spoken_anew")


def steady(pitch_hz: float, tract_cm: float = 17.5) -> Voice:
    """A voice without melody, jitter or breath, whose pitch and formants can be read off."""
    return replace(
        made_up_speaker(0, 0),
        pitch_hz=pitch_hz,
        pitch_range_semitones=0.0,
        tract_cm=tract_cm,
        formant_factors=(1.0,) * 8,
        jitter=0.0,
        shimmer=0.0,
        breath=0.0,
    )


def frames_of(samples: Samples) -> NDArray[np.float64]:
    """The louder half of the 40 ms frames of an utterance: (frames, 640)."""
    frames = samples[: len(samples) // 640 * 640].reshape(-1, 640).astype(np.float64)
    energy = np.square(frames).sum(axis=1)
    return np.asarray(frames[energy > np.median(energy)])


def measured_pitch_hz(samples: Samples) -> float:
    """Median over frames of the highest peak of the autocorrelation between 60 and 400 Hz."""
    lags = np.arange(SAMPLE_RATE // 400, SAMPLE_RATE // 60)
    window = np.hanning(640)
    power, window_power = (np.square(np.abs(np.fft.rfft(x, 2048))) for x in (frames_of(samples) * window, window))
    # Dividing by the window's own autocorrelation takes away its bias to short lags.
    peaks = np.fft.irfft(power)[:, lags] / np.fft.irfft(window_power)[lags]
    # The shortest lag that comes close to the best: an octave below fits as well as the pitch itself.
    first = np.argmax(peaks > 0.9 * peaks.max(axis=1, keepdims=True), axis=1)
    climb = [row[start : start + 20].argmax() + start for row, start in zip(peaks, first, strict=True)]
    return float(np.median(SAMPLE_RATE / lags[np.asarray(climb)]))


def long_term_spectrum(samples: Samples) -> NDArray[np.float64]:
    """Mean log power of the louder frames in 64 bands of 125 Hz, without its mean: (64,)."""
    power = np.square(np.abs(np.fft.rfft(frames_of(samples) * np.hanning(640))))
    bands = power[:, :320].reshape(len(power), 64, 5).mean(axis=2)
    spectrum = np.log(bands + 1e-9).mean(axis=0)
    return np.asarray(spectrum - spectrum.mean())


@pytest.mark.parametrize("pitch_hz", [90.0, 130.0, 220.0])
def test_the_fundamental_frequency_is_the_pitch_of_the_voice(pitch_hz: float) -> None:
    # Each utterance is a little higher or lower (0.7 semitones): the median over six of them is near the voice's own.
    measured = [measured_pitch_hz(speak(steady(pitch_hz), seed, 2.0)) for seed in range(6)]
    assert abs(12 * np.log2(np.median(measured) / pitch_hz)) < 1.0


def test_a_wider_pitch_range_moves_the_pitch_more() -> None:
    def spread(semitones: float) -> float:
        voice = replace(steady(120.0), pitch_range_semitones=semitones)
        pieces = [speak(voice, seed, 4.0) for seed in range(3)]
        pitches = [[measured_pitch_hz(piece[i : i + 4800]) for i in range(0, 57600, 4800)] for piece in pieces]
        return float(np.mean([np.std(np.log2(row)) for row in pitches]))

    assert spread(3.0) > 2.0 * spread(0.3)


def test_formants_scale_with_one_over_the_length_of_the_tract() -> None:
    # A shift of the long-term spectrum along a logarithmic axis: 17.5 / 14 = 1.25. The same syllables through the same
    # channel, at a pitch low enough for the harmonics to draw the envelope.
    long, short = (
        np.mean([long_term_spectrum(speak(steady(80.0, tract), seed, 3.0)) for seed in range(4)], axis=0)
        for tract in (17.5, 14.0)
    )
    axis = np.geomspace(2000.0, 4500.0, 200)  # above F2, where vowels differ least
    centres = np.arange(64) * 125.0 + 62.5
    factors = np.linspace(0.9, 1.5, 61)

    def likeness(factor: float) -> float:
        return float(np.corrcoef(np.interp(axis, centres, long), np.interp(axis * factor, centres, short))[0, 1])

    best = factors[int(np.argmax([likeness(factor) for factor in factors]))]
    assert 1.18 < best < 1.32


def test_a_dull_source_has_less_treble_than_a_bright_one() -> None:
    def treble(tilt_hz: float) -> float:
        spectrum = long_term_spectrum(speak(replace(steady(120.0), tilt_hz=tilt_hz), 3, 3.0))
        return float(spectrum[24:40].mean() - spectrum[2:8].mean())  # 3 to 5 kHz against 250 to 1000 Hz

    assert treble(700.0) < treble(4000.0) - 1.0


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    voice = made_up_speaker(3, 1)
    first = speak(voice, 11, 1.0)
    np.testing.assert_array_equal(first, speak(voice, 11, 1.0))
    assert np.corrcoef(first, speak(voice, 12, 1.0))[0, 1] < 0.5
    assert made_up_speaker(3, 1) != made_up_speaker(4, 1)


def test_speakers_differ_more_than_utterances_of_one_speaker_but_not_trivially() -> None:
    spectra = np.stack(
        [long_term_spectrum(speak(made_up_speaker(1, i // 4), i, 3.0)) for i in range(4 * 16)]
    )  # (utterances, 64)
    one, other = np.triu_indices(len(spectra), 1)
    distances, same = np.linalg.norm(spectra[one] - spectra[other], axis=1), one // 4 == other // 4
    assert distances[~same].mean() > 1.3 * distances[same].mean()
    # A mean spectrum confuses about a quarter of the pairs: enough is there to be learnt, and left to be learnt.
    assert 0.1 < eer(-distances, same) < 0.35


def test_utterances_are_as_long_as_asked_finite_and_never_clip() -> None:
    for index in range(40):
        samples = speak(made_up_speaker(2, index), index, 0.5 + 0.13 * index)
        assert samples.dtype == np.float32
        assert len(samples) == round((0.5 + 0.13 * index) * SAMPLE_RATE)
        assert np.isfinite(samples).all()
        assert 0.005 < np.abs(samples).max() <= 0.9 + 1e-6


def test_an_utterance_has_pauses_and_speech() -> None:
    samples = speak(made_up_speaker(0, 2), 4, 6.0)
    level_db = 10 * np.log10(np.square(samples.reshape(-1, 160)).mean(axis=1) + 1e-12)  # (frames of 10 ms,)
    quiet = level_db < level_db.max() - 25.0
    assert 0.05 < quiet.mean() < 0.5
    assert level_db.min() > -90.0  # background noise, never digital silence


def test_a_speech_detector_hears_speech_and_nothing_to_warn_about() -> None:
    shares = []
    for index in range(8):
        quality = assess(speak(made_up_speaker(0, index), index, 5.0), SAMPLE_RATE)
        assert quality.warnings == ()
        shares.append(quality.speech_s / 5.0)
    assert np.mean(shares) > 0.6


def test_a_duration_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0\.5, not 0\.4"):
        speak(made_up_speaker(0, 0), 0, 0.4)


def test_a_written_corpus_has_a_folder_for_each_speaker(tmp_path: Path) -> None:
    paths = write_corpus(tmp_path, speakers=2, utterances=3, seed=5, first=40, duration_s=(0.5, 0.8))
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        f"{speaker}/{utterance:03d}.wav" for speaker in ("voice0040", "voice0041") for utterance in range(3)
    ]
    for path in paths:
        samples = load_audio(path)
        assert 0.5 <= len(samples) / SAMPLE_RATE <= 0.8


def test_a_written_corpus_depends_on_its_seed_only(tmp_path: Path) -> None:
    one = write_corpus(tmp_path / "one", 2, 2, seed=7, duration_s=(0.5, 0.6), workers=1)
    two = write_corpus(tmp_path / "two", 1, 2, seed=7, first=1, duration_s=(0.5, 0.6), workers=3)
    assert [path.read_bytes() for path in one[2:]] == [path.read_bytes() for path in two]
    other = write_corpus(tmp_path / "other", 1, 1, seed=8, first=1, duration_s=(0.5, 0.6))
    assert other[0].read_bytes() != two[0].read_bytes()


def test_a_corpus_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="at least one speaker and one utterance, not 0 and 3"):
        write_corpus(tmp_path, 0, 3, seed=0)


def test_the_synthesiser_needs_no_torch() -> None:
    code = "import sys, sound_groove.synthesis.voices; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
