"""Who spoke when: windows, resegmentation, turns and names by hand, and whole recordings of real and made-up voices."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sound_groove import cli
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio, open_recording
from sound_groove.diarization import hearing
from sound_groove.diarization.answer import Diarization
from sound_groove.diarization.clustering import SpeakerCount
from sound_groove.diarization.hearing import hear_windows
from sound_groove.diarization.likeness import joined_similarity
from sound_groove.diarization.naming import name_speakers, shared_rule
from sound_groove.diarization.resegmentation import FRAME, best_path, frame_scores, speaker_frames
from sound_groove.diarization.rttm import rttm_lines
from sound_groove.diarization.subtitles import with_names
from sound_groove.diarization.text import bar, clock, summary
from sound_groove.diarization.turns import joined_turns
from sound_groove.diarization.who import METHODS, who
from sound_groove.diarization.windows import SHIFT, WINDOW, windows_in
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import AudioError, OutputError, UsageError
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.diarization_error import diarization_error
from sound_groove.synthesis.conversations import Conversation, TalkingHabits, make_conversation
from sound_groove.types import Samples, SpeakerTurn
from sound_groove.voiceprints.enrolment import enroll
from sound_groove.voiceprints.gallery import Gallery, open_gallery
from sound_groove.voiceprints.store.opening import open_store
from test_identification import ask, heard

EXAMPLES = Path(__file__).parents[1] / "examples"
PEOPLE = ("awb", "rms", "slt")
S = SAMPLE_RATE


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder.load("pretrained", threads=1)


@pytest.fixture(scope="module")
def talk() -> Conversation:
    """Three people, who do not interrupt each other."""
    clips = {name: [load_audio(EXAMPLES / f"{name}-1.flac")] for name in PEOPLE}
    draws = np.random.default_rng(4)
    made = make_conversation(clips, 40.0, draws, TalkingHabits(turn_s=4.0, turn_spread=0.3, overlap=0.0))
    return replace(made, samples=made.samples + noise(len(made.samples), 1e-4))


@pytest.fixture(scope="module")
def found(talk: Conversation, encoder: SpeakerEncoder) -> Diarization:
    return who((talk.samples, S), encoder)


@pytest.fixture
def gallery(tmp_path: Path, encoder: SpeakerEncoder) -> Iterator[Gallery]:
    """Two of the three, and one who does not speak."""
    with closing(open_store(tmp_path / "people.db", create=True)) as store:
        for name in ("awb", "rms", "kal16"):
            enroll(store, name, [EXAMPLES / f"{name}-2.flac"], encoder, force=True)
        yield open_gallery(store, encoder.identity, encoder.embedding_size)


def noise(samples: int, level: float, seed: int = 0) -> Samples:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


# Windows.


def test_windows_cover_a_stretch_evenly_and_leave_short_ones_whole() -> None:
    spans = windows_in([(S, 6 * S), (8 * S, 9 * S)])
    assert spans[0][0] == S and spans[-2][1] == 6 * S and spans[-1] == (8 * S, 9 * S)
    starts = np.array([start for start, _ in spans[:-1]])
    assert (np.diff(starts) <= SHIFT).all() and np.ptp(np.diff(starts)) <= 1
    assert all(end - start == WINDOW for start, end in spans[:-1])
    assert windows_in([]) == []
    assert windows_in([(0, WINDOW + 1)]) == [(0, WINDOW), (1, WINDOW + 1)]


# Resegmentation.


def windows_of(labels: Sequence[int]) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Windows of a speaker each, one after the other in a stretch, and embeddings that say nothing but who."""
    spans = [(number * SHIFT, number * SHIFT + WINDOW) for number in range(len(labels))]
    return spans, np.eye(max(labels) + 1, dtype=np.float32)[list(labels)]


def test_a_change_of_speakers_is_put_between_the_windows_that_differ() -> None:
    labels = [0] * 10 + [1] * 10
    spans, embeddings = windows_of(labels)
    cut = speaker_frames(spans, embeddings, np.array(labels), [(0, spans[-1][1])])
    ((_, end), first), ((start, _), second) = cut
    middle = (spans[9][0] + spans[10][1]) / 2
    assert (first, second) == (0, 1) and end == start and abs(end - middle) <= FRAME


def test_a_single_window_of_another_does_not_make_a_change_where_changes_cost() -> None:
    scores = np.array([[0.9, 0.1]] * 10 + [[0.45, 0.55]] * 3 + [[0.9, 0.1]] * 10)
    assert best_path(scores, np.full(23, 0.5)).max() == 0
    assert best_path(scores, np.full(23, 0.1))[10:13].tolist() == [1, 1, 1]
    assert best_path(np.zeros((0, 2)), np.zeros(0)).tolist() == []


def test_every_frame_of_speech_hears_a_window() -> None:
    speech = [(0, 3 * S + 100), (5 * S, 5 * S + 700)]
    spans = windows_in(speech)
    counts = [31, 1]
    scores = frame_scores(spans, np.ones((len(spans), 1)), speech, counts)
    assert scores[:, 0] == pytest.approx(np.ones(32))


def test_what_is_told_is_speech_and_all_of_it() -> None:
    speech = [(0, 4 * S), (4 * S + S // 8, 9 * S), (12 * S, 12 * S + 4096)]
    spans = windows_in(speech)
    embeddings = np.eye(2, dtype=np.float32)[[int(start > 5 * S) for start, _ in spans]]
    labels = np.array([int(start > 5 * S) for start, _ in spans])
    cut = speaker_frames(spans, embeddings, labels, speech)
    assert sum(end - start for (start, end), _ in cut) == sum(end - start for start, end in speech)
    assert all(any(a <= start and end <= b for a, b in speech) for (start, end), _ in cut)


# Turns.


def test_a_short_pause_is_within_a_turn_unless_another_speaks_in_it() -> None:
    assert joined_turns([((0, S), 0), ((S + S // 8, 2 * S), 0)]) == [((0, 2 * S), 0)]
    between = [((0, S), 0), ((S + 1, S + 2), 1), ((S + S // 8, 2 * S), 0)]
    assert joined_turns(between) == between
    overlapping = [((0, 2 * S), 0), ((S, 3 * S), 1), ((2 * S, 4 * S), 0)]
    assert joined_turns(overlapping) == [((0, 4 * S), 0), ((S, 3 * S), 1)]


# Names, by decisions that are told.


def test_speakers_of_one_name_become_one_if_both_together_still_are() -> None:
    voice = replace(heard(), samples=np.ones(100, np.float32))
    answers = iter([ask(0.9, 0.1), ask(0.1, 0.9), ask(0.8, 0.1), ask(0.95, 0.1)])
    named = name_speakers([voice] * 3, lambda _: next(answers))
    assert [(one.numbers, one.name) for one in named] == [((0, 2), "speaker 0"), ((1,), "speaker 1")]
    assert named[0].answer.candidates[0].score == pytest.approx(0.95)


def test_a_name_stays_with_the_one_for_whom_more_speaks() -> None:
    voice = replace(heard(), samples=np.ones(100, np.float32))
    answers = iter([ask(0.8, 0.1), ask(0.9, 0.1), ask(0.1, 0.1)])  # together they are nobody
    named = name_speakers([voice] * 2, lambda _: next(answers))
    assert [(one.numbers, one.name) for one in named] == [((0,), None), ((1,), "speaker 0")]
    answers = iter([ask(0.8, 0.1), ask(0.9, 0.1)])  # nobody asks for both together where two must be left
    assert [one.name for one in name_speakers([voice] * 2, lambda _: next(answers), fewest=2)] == [None, "speaker 0"]


def test_the_error_that_is_promised_is_of_the_recording() -> None:
    assert shared_rule(DecisionRule(), 4) == DecisionRule()
    rule = shared_rule(DecisionRule(max_false_accept=0.02), 4)
    assert rule.max_false_accept == pytest.approx(0.005)
    # What each of the four may do wrong adds up to what the recording may.
    limits = [ask(-1.0, rule=one).limit or 0.0 for one in (DecisionRule(max_false_accept=0.02), rule)]
    assert limits[1] - limits[0] == pytest.approx(math.log(4))


# Whole recordings of real people.


def test_three_people_are_told_apart(talk: Conversation, found: Diarization) -> None:
    assert len(found.speakers) == 3 and found.enrolled is None and found.overlap_s is None
    assert [one.speaker for one in found.speakers] == ["unknown 1", "unknown 2", "unknown 3"]
    assert diarization_error(talk.turns, found.turns, collar_s=0.25).rate < 0.05
    assert found.audio.speech_s == pytest.approx(sum(one.speech_s for one in found.speakers), abs=2.0)
    assert all(one.evidence is None and one.name is None for one in found.speakers)
    assert list(found.turns) == sorted(found.turns)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_as_many_as_are_told(
    talk: Conversation, encoder: SpeakerEncoder, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_recording((talk.samples, S)) as opened:
        once = hear_windows(opened, encoder)
    monkeypatch.setattr("sound_groove.diarization.who.hear_windows", lambda *_: once)
    for number in (1, 2, 3, 4):
        told = who((talk.samples, S), encoder, speakers=number, method=method)  # type: ignore[arg-type]
        assert len(told.speakers) == number
        if number == 3:
            assert diarization_error(talk.turns, told.turns, collar_s=0.25).rate < 0.05
    assert len(who((talk.samples, S), encoder, speakers=SpeakerCount(4)).speakers) >= 4
    assert len(who((talk.samples, S), encoder, speakers=SpeakerCount(1, 2)).speakers) <= 2


def test_those_enrolled_are_named_and_the_stranger_is_not(
    talk: Conversation, encoder: SpeakerEncoder, gallery: Gallery
) -> None:
    told = who((talk.samples, S), encoder, gallery, rule=DecisionRule(max_false_accept=0.2))
    assert {one.speaker for one in told.speakers} == {"awb", "rms", "unknown 1"} and told.enrolled == 3
    stranger = next(one for one in told.speakers if one.name is None)
    assert stranger.evidence is not None and stranger.evidence.verdict != "identified"
    named = {one.name: one.evidence for one in told.speakers}
    for name in ("awb", "rms"):
        evidence = named[name]
        assert evidence is not None and evidence.candidates[0].name == name
        assert evidence.llr is not None and evidence.limit is not None and evidence.llr >= evidence.limit
    answer = [replace(turn, speaker="slt" if turn.speaker == "unknown 1" else turn.speaker) for turn in told.turns]
    assert diarization_error(talk.turns, answer, collar_s=0.25, by_name=True).rate < 0.05


def test_the_same_in_parts_of_a_long_recording(
    talk: Conversation, found: Diarization, encoder: SpeakerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "LISTENED_SAMPLES", 15 * S - 15 * S % 512)
    seconds = list[float]()
    told = who((talk.samples, S), encoder, progress=seconds.append)
    assert len(seconds) == -(-len(talk.samples) // (15 * S - 15 * S % 512))
    assert sum(seconds) == pytest.approx(len(talk.samples) / S)
    assert diarization_error(found.turns, told.turns, collar_s=0.25).rate < 0.05


def test_one_person_alone_is_one(encoder: SpeakerEncoder) -> None:
    told = who(EXAMPLES / "awb-1.flac", encoder)
    assert [one.speaker for one in told.speakers] == ["unknown 1"]


def test_a_recording_shorter_than_a_window_has_one_speaker(encoder: SpeakerEncoder) -> None:
    samples = load_audio(EXAMPLES / "awb-1.flac")[: int(1.2 * S)]
    told = who((samples, S), encoder, speakers=SpeakerCount(3, 3))
    assert len(told.speakers) == 1 and told.turns[-1].end_s <= 1.2


def test_in_noise_and_a_hum_nobody_speaks(encoder: SpeakerEncoder, gallery: Gallery) -> None:
    hum = (0.1 * np.sin(2 * np.pi * 220 * np.arange(8 * S) / S)).astype(np.float32)
    for sound in (noise(8 * S, 0.05), hum + noise(8 * S, 1e-4)):
        told = who((sound, S), encoder, gallery)
        assert (told.turns, told.speakers, told.enrolled) == ((), (), 3)
        assert [warning.code for warning in told.warnings][-1] == "no_speech"
        assert "nobody speaks" in summary(told)[0]


def test_digital_silence_is_refused(encoder: SpeakerEncoder) -> None:
    with pytest.raises(AudioError, match="the recording: is digital silence"):
        who((np.zeros(5 * S, np.float32), S), encoder)


def test_long_silence_between_two_words_is_nobody_s(encoder: SpeakerEncoder) -> None:
    voice = load_audio(EXAMPLES / "awb-1.flac")[: 3 * S]
    samples = np.concatenate([voice, noise(60 * S, 1e-4), voice]).astype(np.float32)
    told = who((samples, S), encoder)
    assert len(told.speakers) == 1
    assert not [turn for turn in told.turns if turn.end_s > 3.5 and turn.start_s < 62.5]
    assert "long_silence" not in [warning.code for warning in told.warnings]


def test_channels_that_differ_give_no_names(talk: Conversation, encoder: SpeakerEncoder, gallery: Gallery) -> None:
    half = len(talk.samples) // 2
    both = np.stack([talk.samples[:half], talk.samples[-half:]], axis=1)
    told = who((both, S), encoder, gallery)
    assert all(one.name is None for one in told.speakers)
    assert [warning.code for warning in told.warnings].count("channels_differ") == 1


def test_a_model_without_calibration_tells_speakers_by_the_spectrum(
    talk: Conversation, encoder: SpeakerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "score_map", None)
    told = who((talk.samples, S), encoder, speakers=SpeakerCount(3, 3))
    assert diarization_error(talk.turns, told.turns, collar_s=0.25).rate < 0.1


def test_more_evidence_asks_for_more_likeness(talk: Conversation, encoder: SpeakerEncoder) -> None:
    assert encoder.score_map is not None
    with open_recording((talk.samples[: 8 * S], S)) as opened:
        some = hear_windows(opened, encoder)
    cosines = [joined_similarity(some, encoder.score_map, llr) for llr in (-1.0, 0.0, 1.0)]
    assert cosines == sorted(cosines) and -1 < cosines[0] < cosines[-1] < 1
    assert joined_similarity(some, encoder.score_map, 1e6) == 1.0


def test_wrong_use_is_refused(encoder: SpeakerEncoder) -> None:
    with pytest.raises(UsageError, match="did you mean 'vbx'"):
        who(EXAMPLES / "awb-1.flac", encoder, method="vbxx")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the number of speakers"):
        who(EXAMPLES / "awb-1.flac", encoder, speakers="3")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="gallery"):
        who(EXAMPLES / "awb-1.flac", encoder, "people.db")  # type: ignore[arg-type]
    with pytest.raises(AudioError, match=r"nothing\.wav"):
        who("nothing.wav", encoder)


# What is printed and written.


def test_the_record_has_every_key_that_is_promised(found: Diarization) -> None:
    record = json.loads(json.dumps(found.as_dict()))
    assert set(record["turns"][0]) == {"start_s", "end_s", "speaker", "name", "llr", "probability"}
    assert set(record) == {"turns", "speakers", "overlap_s", "enrolled", "prior", "audio", "model", "warnings"}


def test_a_bar_shows_when_each_speaks(found: Diarization) -> None:
    lines = summary(found)
    assert "3 speakers; several at a time: unknown" in lines[0]
    for one, line in zip(found.speakers, lines[1:4], strict=True):
        own = [turn for turn in found.turns if turn.speaker == one.speaker]
        assert line.startswith(one.speaker) and bar(own, found.audio.duration_s) in line
    assert len(lines) == 1 + 3 + 1 + len(found.turns)
    assert clock(3599.96) == "0:59:59.9"


def test_rttm_has_a_line_for_each_turn() -> None:
    lines = list(rttm_lines([SpeakerTurn(0.0, 1.25, "anna"), SpeakerTurn(2.0, 3.0, "x\ny")], ""))
    assert lines[0].split() == ["SPEAKER", "_", "1", "0.000", "1.250", "<NA>", "<NA>", "anna", "<NA>", "<NA>"]
    assert len(lines[1].splitlines()) == 1 and len(lines[1].split()) == 10


def test_subtitles_get_the_name_of_who_speaks_longest_while_they_are_shown() -> None:
    text = (
        "\ufeff1\r\n00:00:00,000 --> 00:00:02,000\r\nHello.\r\nIt is me.\r\n\r\n"
        "2\r\n00:00:05,000 --> 00:00:06,000 X1:1\r\nNobody.\r\n\r\n3\r\n01:00:00.5 --> 01:00:02,000\r\n<i>Late.</i>\r\n"
    )
    turns = [SpeakerTurn(0, 0.5, "ben"), SpeakerTurn(0.5, 3, "anna"), SpeakerTurn(3600, 3601, "unknown 1")]
    lines = with_names(text, turns).splitlines()
    assert lines[:4] == ["1", "00:00:00,000 --> 00:00:02,000", "anna: Hello.", "It is me."]
    assert lines[7] == "Nobody." and lines[11] == "unknown 1: <i>Late.</i>"
    with pytest.raises(UsageError, match="no subtitle"):
        with_names("1\nHello.\n", turns)


def test_the_verb_prints_and_writes(
    talk: Conversation, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    monkeypatch.chdir(tmp_path)
    soundfile.write("talk <1>.wav", talk.samples, S)
    Path("talk.srt").write_text("1\n00:00:01,000 --> 00:00:04,000\nHello.\n")
    words = ["who", "talk <1>.wav", "--speakers", "3", "--json", "--rttm", "talk.rttm", "--srt", "talk.srt"]
    assert cli.main([*words, "--html", "talk.html", "--audio"]) == 0
    printed = capfd.readouterr()
    record = json.loads(printed.out)
    assert len(record["speakers"]) == 3 and "written: talk.who.srt" in printed.err
    assert len(Path("talk.rttm").read_text().splitlines()) == len(record["turns"])
    # Who is 'unknown 1' is heard first in the noise before anybody speaks.
    assert Path("talk.who.srt").read_text().splitlines()[2] == "unknown 2: Hello."
    page = Path("talk.html").read_text()
    assert page.count('class="lane"') == 3 and "talk &lt;1&gt;.wav" in page and "talk <1>" not in page
    assert len(re.findall(r"sound-groove enroll <span[^>]*>NAME</span> &#39;talk &lt;1&gt;.wav#t=", page)) == 3
    assert "data:audio/" in page and "http" not in page and page.count("<tr data-at") == len(record["turns"])
    # What is there is not replaced, and nothing is listened to before that is said.
    monkeypatch.setattr("sound_groove.diarization.who.who", None)
    assert cli.main(words) == 1
    assert "talk.rttm: is there already; pass --force" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--speakers", "2", "--min", "1"], "--min and --max are for when that is not known"),
        (["--min", "3", "--max", "2"], "at least 3 speakers and at most 2"),
        (["--audio"], "it needs --html"),
        (["--srt", "none.srt"], "none.srt: No such file or directory; name a .srt file"),
        (["--clustering", "vbxx"], "did you mean 'vbx'"),
    ],
)
def test_wrong_use_of_the_verb_is_one_sentence(
    words: list[str], complaint: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = cli.main(["who", str(EXAMPLES / "awb-1.flac"), *words])
    except SystemExit as left:
        status = int(left.code or 0)
    assert status == 2
    error = capfd.readouterr().err
    assert complaint in error and len(error.splitlines()) == 1


def test_a_folder_that_is_not_there_is_told_before_anything_is_heard(tmp_path: Path) -> None:
    from sound_groove.diarization.written import Outputs

    with pytest.raises(OutputError, match="there is no folder"):
        Outputs(rttm=tmp_path / "none" / "a.rttm").check()
    with pytest.raises(OutputError, match="is a folder"):
        Outputs(html=tmp_path).check()
    (tmp_path / "a.srt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not text in UTF-8"):
        Outputs(srt=tmp_path / "a.srt").check()
    (tmp_path / "a.srt").write_text("1\n")
    with pytest.raises(UsageError, match="no subtitle in it"):
        Outputs(srt=tmp_path / "a.srt").check()


# Made-up conversations.


def test_a_made_up_conversation_is_as_it_says() -> None:
    clips = {name: [load_audio(EXAMPLES / f"{name}-1.flac")] for name in PEOPLE}
    one, again = (make_conversation(clips, 30.0, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(one.samples, again.samples) and one.turns == again.turns
    assert {turn.speaker for turn in one.turns} == set(PEOPLE)
    assert len(one.samples) / S > 30 and np.abs(one.samples).max() <= 1
    assert max(turn.end_s for turn in one.turns) <= len(one.samples) / S
    alone = make_conversation(clips, 30.0, np.random.default_rng(1), TalkingHabits(overlap=0.0))
    assert (
        alone.overlap == 0
        and make_conversation(clips, 60.0, np.random.default_rng(1), TalkingHabits(overlap=1.0)).overlap > 0.05
    )
