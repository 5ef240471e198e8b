"""Pauses that are emptied, filled, cut out or added: the voice stays as it is."""

import numpy as np
import pytest

from sound_groove.evaluation.pauses import FRAME, TREATMENTS, quiet_frames, treated
from sound_groove.types import Samples


def spoken() -> Samples:
    """A loud second, a quiet second, a loud half."""
    draw = np.random.default_rng(0)
    return (draw.standard_normal(40000) * np.repeat([0.1, 0.001, 0.1], [16000, 16000, 8000])).astype(np.float32)


def test_what_is_quiet_beside_the_voice_is_a_pause_whatever_the_gain() -> None:
    for gain in (1.0, 0.001):
        is_quiet = quiet_frames(np.float32(gain) * spoken())
        assert is_quiet.tolist() == [False] * 50 + [True] * 50 + [False] * 25


@pytest.mark.parametrize(("treatment", "level_db"), [("zeros", None), ("-90 dB", -90.0), ("-70 dB", -70.0)])
def test_pauses_are_filled_and_the_voice_stays(treatment: str, level_db: float | None) -> None:
    (wanted,) = (one for one in TREATMENTS if one == treatment)
    recording = treated(spoken(), wanted, np.random.default_rng(1))
    assert np.array_equal(recording[:16000], spoken()[:16000]) and np.array_equal(recording[32000:], spoken()[32000:])
    pause = recording[16000:32000]
    if level_db is None:
        assert not pause.any()
    else:
        assert 20 * np.log10(pause.std()) == pytest.approx(level_db, abs=0.2)


def test_pauses_are_cut_out_and_silence_is_put_behind() -> None:
    voice = np.concatenate((spoken()[:16000], spoken()[32000:]))
    assert np.array_equal(treated(spoken(), "cut out", np.random.default_rng(0)), voice)
    padded = treated(spoken(), "padded", np.random.default_rng(0))
    assert np.array_equal(padded[:40000], spoken()) and not padded[40000:].any() and len(padded) == 88000


def test_a_recording_shorter_than_a_frame_has_no_pause() -> None:
    for treatment in ("zeros", "cut out"):
        assert len(treated(np.ones(FRAME - 1, np.float32), treatment, np.random.default_rng(0))) == FRAME - 1
