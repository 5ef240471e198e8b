"""Several voices in one recording: found in real people's voices that were put together, and not where one speaks."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sound_groove import cli, compare, enroll, open_store
from sound_groove.audio.apart import farthest_parts
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording, judge_samples
from sound_groove.audio.reading import load_audio
from sound_groove.encoder import several_voices
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.several_voices import (
    MOST_WINDOWS,
    SHIFT,
    WINDOW,
    described,
    groups_limit,
    halves,
    voice_of,
    voices_in,
    windows_of,
    with_voices,
)
from sound_groove.errors import EnrolmentError, UsageError
from sound_groove.types import Samples
from sound_groove.voiceprints.store.interface import VoiceprintStore

EXAMPLES = Path(__file__).parents[1] / "examples"
PEOPLE = ("awb", "rms", "slt")
S = SAMPLE_RATE


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder.load("pretrained", threads=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VoiceprintStore]:
    with closing(open_store(tmp_path / "voiceprints.db", create=True)) as opened:
        yield opened


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows were embedded, look by look."""
    counts: list[int] = []
    embeddings: Callable[..., object] = several_voices._embeddings

    def count(encoder: object, voice: object, windows: list[object]) -> object:
        counts.append(len(windows))
        return embeddings(encoder, voice, windows)

    monkeypatch.setattr(several_voices, "_embeddings", count)
    return counts


def together(*names: str) -> Samples:
    """What these examples say, one after the other, with some noise in all of it."""
    parts = [load_audio(EXAMPLES / f"{name}.flac") for name in names]
    whole = np.concatenate(parts)
    made: Samples = whole + (1e-4 * np.random.default_rng(0).standard_normal(len(whole))).astype(np.float32)
    return made


def seconds(spans: tuple[tuple[int, int], ...]) -> float:
    return sum(end - start for start, end in spans) / S


# --- the cheap look


def test_the_parts_that_sound_farthest_apart_are_found_whatever_the_level() -> None:
    draws = np.random.default_rng(0)
    white = draws.standard_normal(6 * S)
    low = np.convolve(white, np.ones(8) / 8, "same")  # what is above 2 kHz is weaker
    samples = np.concatenate([white[: 2 * S], low[2 * S : 4 * S], white[4 * S :]]).astype(np.float32)
    parts = [(0, 2 * S), (2 * S, 4 * S), (4 * S, 6 * S)]
    first, second, distance = farthest_parts(samples, parts)
    assert 1 in (first, second) and first < second and distance > 5
    quieter = farthest_parts(0.01 * samples, parts)
    assert (quieter.first, quieter.second) == (first, second) and quieter.distance == pytest.approx(distance, rel=1e-3)
    assert farthest_parts(white.astype(np.float32), parts).distance < 1


def test_parts_without_a_difference_are_not_apart() -> None:
    tone = np.sin(2 * np.pi * 300 * np.arange(2 * S) / S).astype(np.float32)
    assert farthest_parts(np.zeros(4 * S, np.float32), [(0, 2 * S), (2 * S, 4 * S)]).distance < 1e-6
    assert farthest_parts(np.tile(tone, 2), [(0, 2 * S), (2 * S, 4 * S)]).distance < 1e-6


# --- the division


def test_halves_are_the_division_with_the_least_variance_as_trying_all_of_them_finds_it() -> None:
    draws = np.random.default_rng(3)
    for _ in range(20):
        middles = draws.standard_normal((2, 6))
        rows = middles[draws.permutation([0, 0, 0, 1, 1, 1, 1])] + 0.1 * draws.standard_normal((7, 6))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)

        def variance(labels: tuple[int, ...], rows: np.ndarray = rows) -> float:
            sides = [rows[np.array(labels) == side] for side in (0, 1)]
            return sum(float(np.square(side - side.mean(axis=0)).sum()) for side in sides)

        every = [(0, *rest) for rest in product((0, 1), repeat=6) if any(rest)]
        assert tuple(halves(rows.astype(np.float32)).tolist()) == min(every, key=variance)


def test_windows_cover_the_speech_from_its_first_to_its_last_sample_and_are_bounded() -> None:
    windows = windows_of(7 * S + 100)
    assert windows[0] == (0, WINDOW) and windows[-1] == (5 * S + 100, 7 * S + 100)
    assert max(b[0] - a[0] for a, b in pairwise(windows)) <= SHIFT
    assert len(windows_of(600 * S)) == MOST_WINDOWS and windows_of(600 * S)[-1][1] == 600 * S


def test_more_windows_must_be_less_alike() -> None:
    assert groups_limit(5.0) > groups_limit(20.0)


# --- in recordings


@pytest.mark.parametrize(("one", "other"), [("awb", "rms"), ("awb", "slt"), ("rms", "slt")])
def test_two_people_are_found_and_when_each_speaks(one: str, other: str, encoder: SpeakerEncoder) -> None:
    samples = together(f"{one}-1", f"{other}-1", f"{one}-2")
    edges = np.cumsum([len(load_audio(EXAMPLES / f"{name}.flac")) for name in (f"{one}-1", f"{other}-1")])
    found = voices_in(judge_samples(samples), encoder)
    assert len(found) == 2 and seconds(found[0]) > seconds(found[1])  # the longest first
    assert found[1][0][0] == pytest.approx(edges[0], abs=S) and found[1][-1][1] == pytest.approx(edges[1], abs=S)
    told = sorted(span for voice in found for span in voice)
    assert all(a[1] <= b[0] for a, b in pairwise(told))


def test_three_people_are_three_voices(encoder: SpeakerEncoder) -> None:
    names = [f"{name}-{number}" for name in PEOPLE for number in (1, 2)]
    assert len(voices_in(judge_samples(together(*names)), encoder)) == 3


@pytest.mark.parametrize("name", [*PEOPLE, "kal16"])
def test_one_person_is_one_voice_and_costs_next_to_nothing(
    name: str, encoder: SpeakerEncoder, looks: list[int]
) -> None:
    assert voices_in(judge_samples(together(f"{name}-1", f"{name}-2")), encoder) == ()
    assert sum(looks) <= 2


def test_what_cannot_be_judged_is_one_voice(encoder: SpeakerEncoder, looks: list[int]) -> None:
    both = together("awb-1", "rms-1")
    middle = len(load_audio(EXAMPLES / "awb-1.flac"))
    assert voices_in(judge_samples(both[middle - 2 * S : middle + 2 * S]), encoder) == ()  # 4 s
    assert voices_in(judge_samples(np.zeros(10 * S, np.float32)), encoder) == ()
    uncalibrated = SpeakerEncoder(encoder._backend, encoder.identity)
    assert voices_in(judge_samples(both), uncalibrated) == () and looks == []


def test_all_speech_is_of_one_voice_or_the_other(encoder: SpeakerEncoder) -> None:
    heard = judge_samples(together("awb-1", "slt-1", "awb-2", "slt-2"))
    found = voices_in(heard, encoder)
    told = np.zeros(len(heard.samples), np.intp)
    for start, end in (span for voice in found for span in voice):
        told[start:end] += 1
    assert len(found) == 2 and told.max() == 1
    assert all((told[start:end] == 1).all() for start, end in heard.speech)


def test_one_of_the_voices_is_a_recording_of_its_own(encoder: SpeakerEncoder) -> None:
    heard = with_voices(judge_samples(together("awb-1", "rms-1"), "both.wav"), encoder)
    (warning,) = [warning for warning in heard.warnings if warning.code == "several_voices"]
    assert warning.message.startswith("both.wav: 2 voices are heard in it, voice 1 from ")
    listener = Listener(encoder)
    known = {name: listener.hear(EXAMPLES / f"{name}-2.flac").embedding for name in ("awb", "rms")}
    taken = []
    for number in (1, 2):
        alone = voice_of(heard, number)
        assert alone.voices == () and alone.name == "both.wav" and alone.facts.duration_s == pytest.approx(5.5, abs=1)
        assert f"only voice {number} of it was taken" in alone.warnings[-1].message
        embedding = listener.hear(alone).embedding
        scores = {name: float(embedding @ other) for name, other in known.items()}
        taken.append(max(scores, key=lambda name: scores[name]))
        assert abs(scores["awb"] - scores["rms"]) > 0.4
    assert sorted(taken) == ["awb", "rms"]
    assert voice_of(heard, 1).digest != voice_of(heard, 2).digest


def test_many_stretches_are_counted_where_a_sentence_names_a_few() -> None:
    spans = tuple((3 * place * S, (3 * place + 1) * S) for place in range(5))
    assert described((spans,)).endswith("from 6.0 to 7.0 s and 2 times more")


# --- what follows from it


def test_a_comparison_warns_of_the_recording_with_two_voices(encoder: SpeakerEncoder) -> None:
    both, one = together("awb-1", "rms-1"), load_audio(EXAMPLES / "awb-2.flac")
    warned = compare(both, one, encoder)
    (message,) = [warning.message for warning in warned.warnings if warning.code == "several_voices"]
    assert message.startswith("the first recording: 2 voices") and "sound-groove who" in message
    assert warned.llr is not None and warned.verdict in ("same", "different", "inconclusive")
    alone = compare(together("awb-1"), one, encoder)
    assert "several_voices" not in {warning.code for warning in alone.warnings}
    assert compare(one, both, encoder).score == warned.score  # and the embedding is what it was
    assert float(Listener(encoder).hear(both).embedding @ Listener(encoder).hear(one).embedding) == pytest.approx(
        warned.score, abs=1e-6
    )


def test_an_enrolment_of_two_voices_is_refused_and_says_when_each_speaks(
    store: VoiceprintStore, encoder: SpeakerEncoder
) -> None:
    both = together("awb-1", "rms-1")
    with pytest.raises(EnrolmentError, match=r"2 voices are heard in it, voice 1 from .* with --voice N, or all with"):
        enroll(store, "anna", [both], encoder)
    with pytest.raises(EnrolmentError, match="has no voice 3: 2 voices are heard"):
        enroll(store, "anna", [both], encoder, voice=3)
    with pytest.raises(UsageError, match="counted from 1; 0"):
        enroll(store, "anna", [both], encoder, voice=0)
    assert store.count() == 0
    forced = enroll(store, "both", [both], encoder, force=True)
    assert [warning.code for warning in forced.warnings] == ["several_voices"]


def test_one_voice_of_two_is_enrolled_alone_with_its_own_audio(store: VoiceprintStore, encoder: SpeakerEncoder) -> None:
    both = judge_samples(together("awb-1", "rms-1"), "both.wav")
    done = enroll(store, "second", [both], encoder, voice=2, keep_audio=True)
    (warning,) = done.warnings
    assert warning.code == "several_voices" and "only voice 2 of it was taken" in warning.message
    (kept,) = store.voiceprint("second").recordings
    assert kept.source == "both.wav" and 4 < kept.duration_s < 6.5
    found = with_voices(both, encoder)
    (quiet,) = found.voices[1:]
    audio = load_audio(kept.audio)
    assert len(audio) / S == pytest.approx(seconds(quiet), abs=0.1)
    scores = [compare(audio, EXAMPLES / f"{name}-2.flac", encoder).score for name in ("awb", "rms")]
    assert abs(scores[0] - scores[1]) > 0.4


def test_a_recording_of_one_voice_has_a_first_and_no_second(store: VoiceprintStore, encoder: SpeakerEncoder) -> None:
    one = together("slt-1", "slt-2")
    with pytest.raises(EnrolmentError, match="one voice is heard in it, and no voice 2"):
        enroll(store, "slt", [one], encoder, voice=2)
    assert enroll(store, "slt", [one], encoder, voice=1).warnings == ()


def test_of_what_was_heard_without_its_samples_no_voice_can_be_taken(
    store: VoiceprintStore, encoder: SpeakerEncoder
) -> None:
    heard = with_voices(Listener(encoder).hear(together("awb-1", "rms-1"), keep_samples=True), encoder)
    bare: HeardRecording = replace(heard, samples=np.empty(0, np.float32))
    with pytest.raises(UsageError, match="its samples were not kept"):
        enroll(store, "anna", [bare], encoder, voice=1)
    with pytest.raises(EnrolmentError, match="2 voices"):
        enroll(store, "anna", [bare], encoder)


def test_the_command_line_enrols_the_voice_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "both.wav", together("awb-1", "rms-1"), S)
    words = ["enroll", "anna", str(tmp_path / "both.wav"), "--store", str(tmp_path / "s.db")]
    assert cli.main(words) == 1
    assert "voice 2 from" in capsys.readouterr().err
    assert cli.main([*words, "--voice", "2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["added"] == 1 and 4 < printed["speaker"]["speech_s"] < 6.5
    with pytest.raises(SystemExit):
        cli.main([*words, "--voice", "0"])
