"""Judging recordings: each warning fires where it should, and nowhere else."""

import csv
import random
from pathlib import Path

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from sound_groove.audio import quality
from sound_groove.audio.quality import (
    NARROW_DROP_DB,
    Quality,
    assess,
    clipped_share,
    narrow_band_drop_db,
)
from sound_groove.audio.reading import load_audio
from sound_groove.audio.speech import CHUNK
from sound_groove.synthesis.voices import made_up_speaker, speak

RATE = 16000
CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason=f"the corpus is not at {CORPUS}")


def codes(judged: Quality) -> set[str]:
    assert len({warning.code for warning in judged.warnings}) == len(judged.warnings)
    return {warning.code for warning in judged.warnings}


def message(judged: Quality, code: str) -> str:
    (found,) = [warning.message for warning in judged.warnings if warning.code == code]
    assert "\n" not in found and len(found) < 120
    return found


def voice(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """A made-up voice, which the detector takes for speech."""
    return speak(made_up_speaker(0, seed), seed, seconds)


# Little speech and long silence.


def test_silence_and_noise_hold_no_speech() -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(3 * RATE)).astype(np.float32)
    for samples in (noise, np.zeros(3 * RATE, np.float32)):
        found = assess(samples, RATE)
        assert found.speech_s < 0.2
        assert message(found, "little_speech").endswith("was found; a comparison wants 2 s or more")
        assert message(found, "long_silence").endswith("of its 3.0 s have no speech; cut the recording to the speech")


def test_a_voice_is_found_and_its_length_is_about_right() -> None:
    found = assess(voice(6.0), RATE)
    assert 4.5 < found.speech_s <= 6.0
    assert found.warnings == ()


def test_little_speech_is_given_in_seconds() -> None:
    silence = np.zeros(RATE // 2, np.float32)
    found = assess(np.concatenate([silence, voice(1.5), silence]), RATE)
    assert 0.8 < found.speech_s < 1.7
    told = np.floor(100 * found.speech_s) / 100
    assert message(found, "little_speech") == f"only {told:.2f} s of speech was found; a comparison wants 2 s or more"


def test_a_pause_of_seven_seconds_is_a_long_silence_and_one_of_three_is_not() -> None:
    def with_pause(seconds: float) -> Quality:
        return assess(np.concatenate([voice(5.0), np.zeros(int(seconds * RATE), np.float32), voice(5.0, 1)]), RATE)

    assert codes(with_pause(3.0)) == {"digital_silence"}  # the pauses are zeros
    found = with_pause(7.0)
    assert codes(found) == {"long_silence", "digital_silence"}
    assert 6.5 < float(message(found, "long_silence").split()[0]) < 8.0


def test_a_gain_changes_no_answer() -> None:
    samples = voice(4.0)
    assert assess(samples * np.float32(0.001), RATE).speech_s == pytest.approx(assess(samples, RATE).speech_s, abs=0.1)


def test_the_same_samples_give_the_same_answer_whatever_came_before() -> None:
    first, other = voice(3.0), voice(2.0, 5)
    before = assess(first, RATE)
    assess(other, RATE)
    assert assess(first, RATE) == before


@pytest.mark.parametrize("length", [1, 100, 511, 512, 513, 1600])
def test_the_shortest_recordings_can_be_judged(length: int) -> None:
    assert "little_speech" in codes(assess(voice(0.5)[:length], RATE))


# Clipping.


def test_clipping_worked_by_hand() -> None:
    ramp = np.linspace(-0.3, 0.3, 91, dtype=np.float32)
    assert clipped_share(np.concatenate([ramp, np.full(9, 0.5, np.float32)])) == pytest.approx(0.09)  # a flat top
    assert clipped_share(np.concatenate([ramp, np.full(9, -0.5, np.float32)])) == pytest.approx(0.09)  # a flat bottom
    assert clipped_share(np.concatenate([ramp, np.full(9, 0.2, np.float32)])) == 0  # flat, but not at the extreme
    assert clipped_share(np.array([0.5, -0.5] * 50, np.float32)) == 0  # at the extreme, but not flat
    assert clipped_share(np.array([0.1, 0.5, 0.5, 0.1], np.float32)) == 0  # two samples make no flat top
    assert clipped_share(np.array([0.1, -1.0, 1.2, 0.1], np.float32)) == 0.5  # full scale and beyond
    assert clipped_share(np.zeros(10, np.float32)) == clipped_share(np.zeros(0, np.float32)) == 0


def test_a_clean_tone_is_not_clipped_and_a_cut_one_is_by_the_share_that_was_cut() -> None:
    tone = np.sin(2 * np.pi * 443 * np.arange(RATE) / RATE).astype(np.float32)
    assert clipped_share(0.999 * tone) == 0
    cut = np.clip(tone, -0.5, 0.5)
    assert clipped_share(cut) == pytest.approx(2 / 3, abs=0.02)  # |sin| > 1/2 over two thirds of a period
    assert clipped_share(0.1 * cut) == clipped_share(cut)  # a later gain hides nothing


def test_clipped_speech_is_warned_about_with_its_share() -> None:
    samples = voice(5.0)
    loud = np.clip(samples * 4 / np.abs(samples).max(), -1, 1)
    assert "clipping" not in codes(assess(samples, RATE))
    for clipped in (loud, 0.3 * loud):
        text = message(assess(clipped, RATE), "clipping")
        share = f"{100 * clipped_share(clipped):.1f} %"
        assert text == f"{share} of the samples are clipped or beyond full scale; record at a lower level"


def test_clipping_is_counted_over_the_seams_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.clip(4 * voice(3.0) / np.abs(voice(3.0)).max(), -1, 1)
    whole = clipped_share(0.5 * samples)
    monkeypatch.setattr(quality, "BLOCK", 1000)
    assert clipped_share(0.5 * samples) == pytest.approx(whole, rel=0.05)


# Narrow band.


def test_a_source_below_16_khz_is_narrow_band_whatever_it_holds() -> None:
    assert message(assess(voice(3.0), 8000), "narrow_band") == "the recording has 8,000 Hz, so nothing above 4 kHz"
    assert message(assess(voice(3.0), 11025), "narrow_band").endswith("nothing above 5.5125 kHz")


def test_speech_through_8_khz_is_narrow_band_and_the_same_speech_is_not() -> None:
    wide = voice(5.0)
    narrow = soxr.resample(soxr.resample(wide, RATE, 8000, "HQ"), 8000, RATE, "HQ")
    assert "narrow_band" not in codes(assess(wide, 48000))
    text = message(assess(narrow, RATE), "narrow_band")
    assert text.startswith("above 4 kHz the speech is ") and text.endswith(
        "weaker than below, as in upsampled telephone speech"
    )


def test_the_drop_is_that_of_the_two_bands() -> None:
    steps = np.arange(100 * CHUNK) / RATE

    def drop(level: float) -> float:
        tones = np.sin(2 * np.pi * 3000 * steps) + level * np.sin(2 * np.pi * 6000 * steps)
        return narrow_band_drop_db(tones.astype(np.float32), np.ones(100, np.bool_))

    assert drop(0.1) - drop(0.01) == pytest.approx(20, abs=0.1)
    # Each tone lies in its band; the bands are 28 and 80 bins wide, and means are taken over bins.
    assert drop(1.0) == pytest.approx(10 * np.log10(28 / 80), abs=0.1)
    assert narrow_band_drop_db(np.zeros(100 * CHUNK, np.float32), np.ones(100, np.bool_)) == 0  # nothing to compare
    assert narrow_band_drop_db(np.zeros(0, np.float32), np.ones(0, np.bool_)) == 0


@pytest.mark.corpus
@needs_corpus
def test_telephone_recordings_are_told_from_wide_band_ones() -> None:
    with (CORPUS / "manifest.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if float(row["duration_s"]) > 2]
    draw = random.Random(11)
    counts = {"8000": 0, "16000": 0}
    for rate in counts:
        for row in draw.sample([row for row in rows if row["source_rate"] == rate], 12):
            samples = load_audio(CORPUS / row["path"])[: 3 * RATE]
            counts[rate] += "narrow_band" in codes(assess(samples, RATE))
    assert counts["8000"] >= 11 and counts["16000"] <= 1, counts
    assert NARROW_DROP_DB < 0
