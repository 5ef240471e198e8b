"""Pauses that are emptied, filled, cut out or added: the voice stays as it is."""

from pathlib import Path

import numpy as np
import pytest

from sound_groove.audio.reading import load_audio
from sound_groove.synthesis.treated_pauses import FRAME, TREATMENTS, pauses, quiet_frames, treated
from sound_groove.types import Samples

EXAMPLES = Path(__file__).parents[1] / "examples"


def spoken() -> Samples:
    """A loud second, a quiet second, a loud half."""
    draw = np.random.default_rng(0)
    sound = draw.standard_normal(40000) * np.repeat([0.1, 0.001, 0.1], [16000, 16000, 8000])
    return np.asarray(sound, dtype=np.float32)


def test_what_is_quiet_beside_the_voice_is_a_pause_whatever_the_gain() -> None:
    for gain in (1.0, 0.001):
        is_quiet = quiet_frames(np.float32(gain) * spoken())
        assert is_quiet.tolist() == [False] * 50 + [True] * 50 + [False] * 25


@pytest.mark.parametrize(("treatment", "level_db"), [("zeros", None), ("-90 dB", -90.0), ("-70 dB", -70.0)])
def test_pauses_are_filled_and_the_voice_stays(
    monkeypatch: pytest.MonkeyPatch, treatment: str, level_db: float | None
) -> None:
    hear_only(monkeypatch, [(0, 16000), (32000, 40000)])
    (wanted,) = (one for one in TREATMENTS if one == treatment)
    recording = treated(spoken(), wanted, np.random.default_rng(1))
    assert np.array_equal(recording[:16000], spoken()[:16000]) and np.array_equal(recording[32000:], spoken()[32000:])
    pause = recording[16000:32000]
    if level_db is None:
        assert not pause.any()
    else:
        assert 20 * np.log10(pause.std()) == pytest.approx(level_db, abs=0.2)


def test_pauses_are_cut_out_and_silence_is_put_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    hear_only(monkeypatch, [(0, 16000), (32000, 40000)])
    voice = np.concatenate((spoken()[:16000], spoken()[32000:]))
    assert np.array_equal(treated(spoken(), "cut out", np.random.default_rng(0)), voice)
    padded = treated(spoken(), "padded", np.random.default_rng(0))
    assert np.array_equal(padded[:40000], spoken()) and not padded[40000:].any() and len(padded) == 88000


def test_a_gate_closes_where_it_is_quiet_beside_the_voice() -> None:
    recording = treated(spoken(), "gated", np.random.default_rng(0))
    assert np.array_equal(recording[:16000], spoken()[:16000]) and np.array_equal(recording[32000:], spoken()[32000:])
    assert not recording[16000:32000].any()


@pytest.mark.parametrize("treatment", ["zeros", "cut out", "-70 dB"])
def test_where_nobody_is_heard_there_is_no_pause(treatment: str) -> None:
    (wanted,) = (one for one in TREATMENTS if one == treatment)
    hum = np.sin(np.arange(32000) / 40).astype(np.float32)
    assert np.array_equal(treated(hum, wanted, np.random.default_rng(0)), hum)


def test_the_detector_says_where_pauses_are() -> None:
    speech = load_audio(EXAMPLES / "slt-1.flac")
    is_pause = pauses(np.concatenate((speech, np.zeros(16000, np.float32))))
    assert is_pause[len(speech) + 800 :].all() and not is_pause[: len(speech)].all()


def test_a_recording_shorter_than_a_frame_has_no_pause() -> None:
    for treatment in ("zeros", "gated", "cut out"):
        assert len(treated(np.ones(FRAME - 1, np.float32), treatment, np.random.default_rng(0))) == FRAME - 1


def hear_only(monkeypatch: pytest.MonkeyPatch, speech: list[tuple[int, int]]) -> None:
    """Let the detector find these stretches."""
    monkeypatch.setattr("sound_groove.synthesis.treated_pauses.speech_in", lambda samples: speech)
