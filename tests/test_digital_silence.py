"""Digital silence between sounds is found; a quiet room, padding and an offset are none."""

import numpy as np
import pytest

from sound_groove.audio import digital_silence
from sound_groove.audio.digital_silence import digital_silence_s, find_digital_silence
from sound_groove.audio.quality import assess
from sound_groove.types import Samples


def sound(duration_s: float, deviation: float = 0.1, seed: int = 0) -> Samples:
    return (deviation * np.random.default_rng(seed).standard_normal(int(16000 * duration_s))).astype(np.float32)


def zeros(duration_s: float) -> Samples:
    return np.zeros(int(16000 * duration_s), np.float32)


def test_zeros_between_sounds_are_counted_and_those_at_the_ends_are_not() -> None:
    parts = (zeros(2.0), sound(1.0), zeros(0.5), sound(1.0, seed=1), zeros(0.05), sound(0.5), zeros(0.2), sound(0.5))
    assert digital_silence_s(np.concatenate((*parts, zeros(3.0)))) == pytest.approx(0.7, abs=0.001)


@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize("gain", [1.0, 10 ** (-60 / 20)])
def test_neither_an_offset_nor_a_gain_hides_it(offset: float, gain: float) -> None:
    recording = np.concatenate((sound(1.0), zeros(0.5), sound(1.0)))
    moved = (gain * recording + np.float32(offset)).astype(np.float32)
    assert digital_silence_s(moved) == pytest.approx(0.5, abs=0.01)


def test_a_quiet_room_is_no_digital_silence() -> None:
    steps = np.rint(sound(2.0, 1.0)) / 32768  # the last bit moves
    for room in (sound(2.0, 10 ** (-90 / 20)), steps.astype(np.float32)):
        assert digital_silence_s(np.concatenate((sound(1.0), room, sound(1.0)))) == 0.0
    assert find_digital_silence(sound(1.0)) is None


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = np.concatenate((sound(1.0), zeros(0.5), sound(1.0), zeros(0.3), sound(0.2)))
    whole = digital_silence_s(recording)
    for block in (997, 16000, 20000):
        monkeypatch.setattr(digital_silence, "BLOCK", block)
        assert digital_silence_s(recording) == whole


def test_a_recording_with_holes_in_it_is_warned_of() -> None:
    recording = np.concatenate((sound(1.0), zeros(0.5), sound(1.0)))
    codes = {warning.code: warning.message for warning in assess(recording, 16000).warnings}
    assert codes["digital_silence"].startswith("0.5 s of digital silence lie inside the recording")
    assert "digital_silence" not in {warning.code for warning in assess(sound(2.0), 16000).warnings}
