"""The worst trials: the right ones, in the right order, and no recording too often; and what is heard of them."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation_inputs import RATE, SpectrumEncoder, tone, write_small_list
from sound_groove.audio import data_uri
from sound_groove.audio.excerpts import read_excerpt
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.report import excerpts
from sound_groove.evaluation.trials.sources import Source
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import trials_from_list
from sound_groove.evaluation.verification import VerificationSettings, evaluate
from sound_groove.evaluation.worst import MOST_PER_NAME, choose, find_worst

patient = settings(deadline=None)  # a busy machine must not fail a test


def trial_list(trials: list[tuple[int, int, bool]], ids: int) -> TrialList:
    columns = list(zip(*trials, strict=True)) if trials else [(), (), ()]
    enrolments, tests = (np.array(column, dtype=np.int32) for column in columns[:2])
    lines = 10 * np.arange(1, len(trials) + 1, dtype=np.int32)
    return TrialList(tuple(f"n{i}" for i in range(ids)), enrolments, tests, np.array(columns[2], dtype=bool), lines, 0)


def test_the_most_wrong_come_first_on_both_sides() -> None:
    trials = trial_list([(0, 1, True), (2, 3, True), (0, 2, False), (1, 3, False), (4, 5, True)], 6)
    scores = np.array([0.1, 0.9, 0.8, 0.95, -0.2])
    sources = tuple(Source(((Path(f"{i}.wav"), Path(f"{i}b.wav")),)) for i in range(6))
    worst = find_worst(JudgedList(trials, scores, 2 * scores, np.arange(len(trials.ids))), sources, 2)
    assert worst is not None
    assert [record["line"] for record in worst["false_accepts"]] == [40, 30]
    assert [record["line"] for record in worst["false_rejects"]] == [50, 10]
    assert worst["false_accepts"][0] == {
        "line": 40,
        "enrolment": "n1",
        "test": "n3",
        "score": 0.95,
        "llr": 1.9,
        "enrolment_files": ["1.wav", "1b.wav"],
        "test_files": ["3.wav", "3b.wav"],
    }
    without = find_worst(JudgedList(trials, scores, None, np.arange(len(trials.ids))), sources, 100)
    assert without is not None and without["false_rejects"][0]["llr"] is None
    assert len(without["false_accepts"]) == 2 and len(without["false_rejects"]) == 3
    assert find_worst(JudgedList(trials, scores, None, np.arange(len(trials.ids))), sources, 0) is None


def test_one_recording_does_not_fill_the_list_and_a_pair_comes_once() -> None:
    trials = trial_list([(0, 1, False), (1, 0, False), (0, 2, False), (0, 3, False), (4, 0, False), (4, 5, False)], 6)
    assert choose(trials, np.arange(6), 10) == [0, 2, 5]
    assert choose(trials, np.arange(6), 2) == [0, 2]


@patient
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=60),
    st.integers(1, 12),
    st.sampled_from((1, 3, 10_000)),
)
def test_the_choice_is_that_of_a_plain_loop(pairs: list[tuple[int, int]], count: int, chunk: int) -> None:
    trials = trial_list([(a, b, False) for a, b in pairs], 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sound_groove.evaluation.worst.CHUNK", chunk)
        chosen = choose(trials, np.arange(len(pairs)), count)
    expected: list[int] = []
    for index, pair in enumerate(pairs):
        earlier = [set(pairs[other]) for other in expected]
        full = any(sum(name in other for other in earlier) >= MOST_PER_NAME for name in pair)
        if not full and set(pair) not in earlier and len(expected) < count:
            expected.append(index)
    assert chosen == expected


# --- excerpts


def heard(uri: str) -> tuple[str, np.ndarray, int]:
    kind, _, data = uri.removeprefix("data:").partition(";base64,")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    return kind, samples, rate


@pytest.mark.parametrize("kind", ("audio/mpeg", "audio/ogg", "audio/wav"))
def test_an_excerpt_sounds_like_its_recording(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = data_uri.FORMATS[[entry[2] for entry in data_uri.FORMATS].index(kind) :]
    if not soundfile.check_format(*formats[0][:2]):
        pytest.skip("this libsndfile cannot write it")
    monkeypatch.setattr(data_uri, "FORMATS", formats)
    time = np.arange(2 * RATE) / RATE
    uri = data_uri.encode((0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))
    found, samples, rate = heard(uri)
    assert found == kind and samples.ndim == 1
    assert len(samples) / rate == pytest.approx(2.0, abs=0.15)  # MP3 pads to whole frames
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(samples[rate // 2 : rate] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_a_libsndfile_without_mp3_writes_another_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "check_format", lambda form, subtype: form == "WAV")
    assert heard(data_uri.encode(np.zeros(1600, dtype=np.float32)))[0] == "audio/wav"


def test_an_excerpt_is_the_beginning_of_all_files_of_a_side(tmp_path: Path) -> None:
    one, two = tone(tmp_path / "one.wav", 300, 4.0), tone(tmp_path / "two.wav", 600, 9.0)
    samples = read_excerpt([one, two])
    assert len(samples) == 10 * RATE
    np.testing.assert_allclose(samples[4 * RATE :], soundfile.read(two)[0][: 6 * RATE], atol=1e-4)
    assert len(read_excerpt([one])) == 4 * RATE


def test_a_side_that_cannot_be_read_has_no_excerpt(tmp_path: Path) -> None:
    there = str(tone(tmp_path / "there.wav", 300))
    record = {"enrolment_files": [there], "test_files": [str(tmp_path / "gone.wav")]}
    assert list(excerpts.excerpts_of({"false_accepts": [record, record], "false_rejects": []})) == [(there,)]
    assert excerpts.excerpts_of(None) == {}


@pytest.mark.usefixtures("undrawn")
def test_voices_are_in_the_page_only_where_they_are_asked_for(tmp_path: Path) -> None:
    folder = write_small_list(tmp_path)
    trial_set = trials_from_list(folder / "trials.txt", folder / "wav")
    metrics = evaluate(SpectrumEncoder(), trial_set, folder / "with", VerificationSettings(resamples=0, audio=True))
    # 4 recordings: each may be in 2 of the 4 different-speaker trials, and is
    assert len(metrics["worst"]["false_accepts"]) == 4 and len(metrics["worst"]["false_rejects"]) == 2
    page = (folder / "with/report.html").read_text()
    assert page.count("<audio ") == 12 and "holds the voices of 4 recordings" in page
    evaluate(SpectrumEncoder(), trial_set, folder / "without", VerificationSettings(resamples=0))
    page = (folder / "without/report.html").read_text()
    assert (
        "<audio" not in page
        and "data:audio" not in page
        and "voices of" not in page
        and "a1.wav" in page
        and "--with-audio" in page
    )
    metrics = evaluate(SpectrumEncoder(), trial_set, folder / "none", VerificationSettings(resamples=0, worst=0))
    assert metrics["worst"] is None and "worst trials" not in (folder / "none/report.html").read_text()
