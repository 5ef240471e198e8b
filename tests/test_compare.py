"""Comparison: the numbers by hand, the contract's JSON, and what happens when there is no answer to give."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import sound_groove.audio.listening as listening
from broken_audio import write_broken_files
from sound_groove.audio.quality import Quality
from sound_groove.audio.voices import Voice
from sound_groove.cli import main
from sound_groove.comparison import Comparison, Judge, compare
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.errors import AudioError, UsageError
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.cosine import cosine, in_steps
from sound_groove.scoring.strength import NOT_DETECTED
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import CropAveraging, ModelIdentity, QualityWarning, Samples, VoiceEmbeddings

MAP = ScoreMap(10.0, -3.0, "an example")


class Scripted(SpeakerEncoder):
    """An encoder that gives recordings of n samples the unit vector at (n % 1000) degrees."""

    def __init__(self, score_map: ScoreMap | None = MAP) -> None:
        self.identity = ModelIdentity("scripted", "0" * 64)
        self.embedding_size = 2
        self.score_map = score_map

    def embed_voices(self, voices: Sequence[Voice], *others: object) -> VoiceEmbeddings:
        angles = np.deg2rad([len(voice) % 1000 for voice in voices if isinstance(voice, np.ndarray)])
        return VoiceEmbeddings(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), None)


def at_degrees(angle: int) -> Samples:
    """A recording to which `Scripted` gives the embedding at this angle."""
    return np.random.default_rng(angle).uniform(-0.5, 0.5, 32000 + angle).astype(np.float32)


@pytest.fixture
def enough_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every recording passes for three seconds of good speech."""
    monkeypatch.setattr(listening, "assess", lambda samples, rate: Quality(3.0, 30.0, ()))


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two recordings of made-up voices."""
    folder = tmp_path_factory.mktemp("voices")
    paths = (folder / "first.wav", folder / "second.flac")
    for index, path in enumerate(paths):
        soundfile.write(path, speak(made_up_speaker(1, index), 0, 3.0 + index), 16000)
    return paths


@pytest.mark.usefixtures("enough_speech")
def test_score_llr_probability_and_threshold_are_those_worked_by_hand() -> None:
    result = compare(at_degrees(0), at_degrees(60), Scripted())
    assert result.score == pytest.approx(0.5, abs=1e-6)  # cos 60
    assert result.llr == pytest.approx(2.0, abs=1e-5)  # 10 x 0.5 - 3
    assert result.probability == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-6)  # 0.88
    assert result.threshold == pytest.approx(0.3, abs=1e-9)  # where 10 x score - 3 = 0
    assert (result.prior, result.verdict) == (0.5, "same")
    # At a prior of 1 in 10 the odds are e^2 / 9, and even chances need an llr of ln 9.
    result = compare(at_degrees(0), at_degrees(60), Scripted(), prior=0.1)
    assert result.probability == pytest.approx(math.exp(2) / (math.exp(2) + 9), abs=1e-6)
    assert result.threshold == pytest.approx((math.log(9) + 3) / 10, abs=1e-9)
    assert result.verdict == "inconclusive"


@pytest.mark.usefixtures("enough_speech")
def test_the_verdict_follows_the_probability() -> None:
    # llr = 10 cos - 3: 0.8 and 0.2 lie at llr = +-1.386, cos = 0.4386 and 0.1614, angles 63.98 and 80.71 degrees
    verdicts = {
        angle: compare(at_degrees(0), at_degrees(angle), Scripted()).verdict for angle in (0, 63, 65, 80, 81, 180)
    }
    assert verdicts == {
        0: "same", 63: "same", 65: "inconclusive", 80: "inconclusive", 81: "different", 180: "different"
    }  # fmt: skip


@given(
    prior=st.floats(1e-6, 1 - 1e-6),
    scale=st.floats(0.5, 100),
    offset=st.floats(-50, 50),
)
def test_at_the_threshold_the_probability_is_one_half(prior: float, scale: float, offset: float) -> None:
    judge = Judge(ModelIdentity("scripted", ""), ScoreMap(scale, offset, "an example"), prior)
    _, _, threshold = judge.evidence(0.0, {})
    assert threshold is not None
    assert judge.evidence(threshold, {})[1] == pytest.approx(0.5, abs=1e-9)


@pytest.mark.usefixtures("enough_speech")
def test_the_two_recordings_may_change_places(model_path: Path) -> None:
    encoder = SpeakerEncoder.load(model_path)
    a, b = speak(made_up_speaker(1, 0), 0, 3.0), speak(made_up_speaker(1, 1), 0, 2.2)
    there, back = compare(a, b, encoder), compare(b, a, encoder)
    assert (there.score, there.llr, there.probability) == (back.score, back.llr, back.probability)  # to the bit
    assert (there.verdict, there.threshold) == (back.verdict, back.threshold)
    assert there.audio == back.audio[::-1]


def test_a_recording_against_itself_scores_one(model_path: Path, voices: tuple[Path, Path]) -> None:
    result = compare(voices[0], voices[0], model_path)
    assert result.score == pytest.approx(1.0, abs=1e-6) and result.score <= 1.0
    assert result.verdict == "same"


def test_paths_and_samples_give_the_same_answer(model_path: Path, voices: tuple[Path, Path]) -> None:
    by_path = compare(*voices, model_path)
    samples = [soundfile.read(path, dtype="float32")[0] for path in voices]
    assert compare(samples[0], samples[1], model_path).score == by_path.score
    assert compare(str(voices[0]), samples[1], model_path).score == by_path.score


def test_without_a_score_map_there_is_a_score_and_no_verdict(voices: tuple[Path, Path]) -> None:
    result = compare(*voices, Scripted(None))
    assert (result.llr, result.probability, result.threshold, result.verdict) == (None, None, None, "inconclusive")
    assert math.isfinite(result.score)
    assert [warning.code for warning in result.warnings][-1] == "uncalibrated"
    assert "a score and no verdict" in result.warnings[-1].message


@pytest.mark.usefixtures("enough_speech")
def test_a_flat_score_map_says_that_nothing_is_known() -> None:
    result = compare(at_degrees(0), at_degrees(0), Scripted(ScoreMap(0.0, 0.0, "useless scores")), prior=0.3)
    assert result.probability == pytest.approx(0.3) and result.threshold is None and result.verdict == "inconclusive"


def test_every_probability_is_said_to_be_uncalibrated(voices: tuple[Path, Path], model_path: Path) -> None:
    codes = {warning.code: warning.message for warning in compare(*voices, model_path).warnings}
    assert "speakers that also chose the checkpoint; fit one on speakers of your own" in codes["uncalibrated"]


@pytest.mark.parametrize(
    ("speech_s", "amount"), [(0.0, "no speech was found"), (0.3, "only 0.30 s of speech was found")]
)
def test_too_little_speech_gives_a_score_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch, speech_s: float, amount: str
) -> None:
    poor = Quality(speech_s, 30.0, (QualityWarning("little_speech", "little"), QualityWarning("clipping", "clipped")))
    good = Quality(3.0, 30.0, ())
    monkeypatch.setattr(listening, "assess", lambda samples, rate: poor if len(samples) % 1000 == 5 else good)
    result = compare(at_degrees(0), at_degrees(5), Scripted())
    assert result.score == pytest.approx(math.cos(math.radians(5)), abs=1e-6)
    assert result.probability is not None and result.probability > 0.99
    assert result.verdict == "inconclusive"
    assert [(w.code, w.message.split(":")[0]) for w in result.warnings[:2]] == [
        ("too_little_speech", "the second recording"),
        ("clipping", "the second recording"),
    ]
    assert amount in result.warnings[0].message


def test_noise_without_a_voice_is_inconclusive_rather_than_different(tmp_path: Path, model_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 48000), 16000)
    result = compare(path, path, model_path)
    assert result.verdict == "inconclusive" and result.score > 0.99
    assert f"{path}: no speech was found" in result.warnings[0].message


def test_warnings_name_the_file_that_they_speak_of(tmp_path: Path, voices: tuple[Path, Path], model_path: Path) -> None:
    telephone = tmp_path / "telephone.wav"
    soundfile.write(telephone, speak(made_up_speaker(1, 0), 0, 4.0)[::2], 8000)
    result = compare(voices[0], telephone, model_path)
    narrow = [warning.message for warning in result.warnings if warning.code == "narrow_band"]
    assert len(narrow) == 1 and narrow[0].startswith(f"{telephone}: ")
    assert result.audio[1].sample_rate == 8000 and result.audio[0].sample_rate == 16000


def test_the_record_is_the_contract_of_the_command_line(voices: tuple[Path, Path], model_path: Path) -> None:
    record = compare(*voices, model_path).as_dict()
    assert list(record) == [
        "score", "llr", "strength", "probability", "prior", "threshold", "limits", "verdict", "model", "collections",
        "warnings", "audio",
    ]  # fmt: skip
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["model"] == {"name": "random", "hash": load_checkpoint(model_path).hash}
    facts = ["duration_s", "speech_s", "snr_db", "sample_rate", "embedding_norm", "unfamiliarity"]
    assert [list(audio) for audio in record["audio"]] == [facts] * 2
    assert [audio["duration_s"] for audio in record["audio"]] == [3.0, 4.0]
    assert all(list(warning) == ["code", "message"] for warning in record["warnings"])


def test_wrong_arguments_are_refused(voices: tuple[Path, Path]) -> None:
    for prior in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="the prior must lie between 0 and 1"):
            compare(*voices, Scripted(), prior=prior)
    with pytest.raises(AudioError):
        compare(voices[0], np.zeros((2, 16000), dtype=np.float32), Scripted())


def test_the_model_of_the_environment_is_used_when_none_is_given(
    voices: tuple[Path, Path], model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUND_GROOVE_MODEL", str(model_path.parent))
    assert compare(*voices) == compare(*voices, model_path)


def test_a_broken_recording_is_refused_before_the_model_is_loaded(tmp_path: Path, voices: tuple[Path, Path]) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        compare(voices[0], tmp_path / "broken.wav", tmp_path / "no model here")


def test_crops_change_the_answer_and_stay_deterministic(voices: tuple[Path, Path], model_path: Path) -> None:
    crops = CropAveraging(count=3, frames=200)
    cropped = compare(*voices, model_path, crops=crops)
    assert cropped == compare(*voices, model_path, crops=crops)
    assert cropped.score != compare(*voices, model_path).score


# --- the command line ---


def test_json_goes_to_stdout_and_warnings_to_stderr(
    voices: tuple[Path, Path], model_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *map(str, voices), "--model", str(model_path), "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == compare(*voices, model_path).as_dict()
    assert err.splitlines()[-1].startswith("warning: the probability is uncalibrated")


def test_people_get_the_verdict_first(
    voices: tuple[Path, Path], model_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", *map(str, voices), "--model", str(model_path), "--prior", "0.2", "--crops", "2"]
    assert main(arguments) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["verdict", "score", "evidence", "probability", "model", "note"]
    assert "(uncalibrated, at a prior of 0.2)" in lines[3]
    assert main([*arguments, "--crop-frames", "200"]) == 0


def test_another_process_gives_the_same_answer(
    voices: tuple[Path, Path], model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", *map(str, voices), "--model", str(model_path), "--json"]
    there = subprocess.run([sys.executable, "-m", "sound_groove", *words], capture_output=True, check=True, text=True)
    assert status_of(words) == 0
    assert capsys.readouterr().out == there.stdout
    assert json.loads(there.stdout)["model"]["name"] == "random"


def test_wrong_use_exits_with_2_and_one_sentence(
    voices: tuple[Path, Path], model_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in voices]
    cases = [
        ([*files, "--prior", "1.5"], "the prior must lie between 0 and 1, exclusive; 1.5 was given"),
        ([*files, "--prior", "half"], "argument --prior: needs a number, and 'half' was given"),
        ([*files, "--crops", "0"], "argument --crops: needs a whole number of at least 1, and '0' was given"),
        ([*files, "--model", str(model_path), "--crop-frames", "9"], "--crop-frames needs --crops"),
        ([], "two recordings are compared, or one with several others, and none was given"),
        (files[:1], f"two recordings are compared, or one with several others, and '{files[0]}' alone was given"),
        ([*files, "--pairs", "list.txt"], "give recordings, or a list of pairs (--pairs), and not both"),
        ([*files, "third.wav", "--exit-code"], "--exit-code tells the verdict of two recordings"),
        ([*files, "--jsno"], "there is no option '--jsno'; did you mean '--json'?"),
    ]
    for words, expected in cases:
        assert status_of(["compare", *words]) == 2, words
        out, err = capfd.readouterr()
        assert out == "" and err.startswith(f"error: {expected}") and err.count("\n") == 1


def status_of(words: list[str]) -> int:
    """The exit status, however it is given."""
    try:
        return main(words)
    except SystemExit as leaving:
        assert isinstance(leaving.code, int)
        return leaving.code


def test_a_model_that_cannot_be_used_exits_with_1(
    tmp_path: Path, voices: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04" + bytes(100))
    for model in (tmp_path / "model.pt", tmp_path / "nothing", tmp_path):
        assert main(["compare", *map(str, voices), "--model", str(model)]) == 1
        out, err = capfd.readouterr()
        assert out == "" and err.startswith(f"error: {model}: ") and err.count("\n") == 1


def test_every_broken_file_gets_one_line_that_names_it(
    tmp_path: Path, voices: tuple[Path, Path], model_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = write_broken_files(tmp_path / "broken")
    assert len(broken) >= 100
    capfd.readouterr()
    for index, path in enumerate(broken):
        pair = [str(path), str(voices[0])] if index % 2 else [str(voices[0]), str(path)]
        status = main(["compare", *pair, "--model", str(model_path)])
        out, err = capfd.readouterr()
        assert status == 1 and out == "", path.name
        assert err.startswith("error: ") and path.name in err and err.count("\n") == 1, (path.name, err)


def test_the_record_cannot_be_changed() -> None:
    identity, sides = ModelIdentity("n", "h"), ((), ())
    result = Comparison(0.1, None, None, None, 0.5, None, (-1.0, 1.0), "inconclusive", identity, None, *sides)  # type: ignore[arg-type]
    assert replace(result, score=0.2).score == 0.2
    with pytest.raises(AttributeError):
        result.score = 0.2  # type: ignore[misc]


def test_a_model_without_a_score_map_can_be_compared_with(
    tmp_path: Path, voices: tuple[Path, Path], model_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load_checkpoint(model_path)
    save_checkpoint(tmp_path / "m.safetensors", checkpoint.tensors, replace(checkpoint.header, score_map=None))
    assert main(["compare", *map(str, voices), "--model", str(tmp_path / "m.safetensors")]) == 0
    out, _ = capfd.readouterr()
    assert "verdict      inconclusive" in out and "probability  unknown" in out


def test_an_answer_says_on_how_many_collections_it_rests_and_what_is_not_detected_once(
    tmp_path: Path, voices: tuple[Path, Path], model_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load_checkpoint(model_path)
    score_map = ScoreMap(0.0, 3.0, "twelve", calibrated=True, figures={"collections": 12.0})
    save_checkpoint(
        tmp_path / "m.safetensors", checkpoint.tensors, replace(checkpoint.header, score_map=score_map.as_dict())
    )
    assert main(["compare", *map(str, voices), "--model", str(tmp_path / "m.safetensors")]) == 0
    out = capfd.readouterr().out
    assert "evidence     moderate, for the same speaker: llr 3.00" in out
    assert ", calibrated on 12 collections\n" in out and out.count(NOT_DETECTED) == 1


@pytest.mark.corpus
def test_real_recordings_can_be_compared(corpus: Path, model_path: Path) -> None:
    a, b = sorted((corpus / "val").glob("*/*.opus"))[:2]
    result = compare(a, b, model_path)
    assert min(audio.speech_s for audio in result.audio) > 0.5
    assert result == compare(a, b, model_path)


def test_another_number_of_threads_gives_the_same_score_or_the_next_step() -> None:
    """The packaged model, whose network is large enough for threads to share its sums."""
    voices = [speak(made_up_speaker(5, index), index, 2.0) for index in range(3)]
    one, two = (SpeakerEncoder.load("pretrained", threads=threads) for threads in (1, 2))
    alone, shared = ([Listener(encoder).hear(voice) for voice in voices] for encoder in (one, two))
    for first in range(len(voices)):
        for second in range(first):
            raw = [cosine(side[first].embedding, side[second].embedding) for side in (alone, shared)]
            told = [Judge.of(one).compare(side[first], side[second]) for side in (alone, shared)]
            assert abs(raw[0] - raw[1]) < 2e-7
            assert abs(told[0].score - told[1].score) < 1.5e-6
            if in_steps(raw[0]) == in_steps(raw[1]):
                assert told[0] == told[1]
            for comparison, exact in zip(told, raw, strict=True):
                assert comparison.score == float(f"{comparison.score:.6f}") and abs(comparison.score - exact) <= 5e-7


def test_the_exit_code_tells_the_verdict_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    examples = Path(__file__).parents[1] / "examples"
    one, same, other = (str(examples / f"{name}.flac") for name in ("rms-1", "rms-2", "awb-1"))
    unsure = ["--max-false-accept", "1e-9", "--max-false-reject", "1e-9"]
    for words, status in (([one, same], 0), ([one, other], 10), ([one, other, *unsure], 11)):
        assert main(["compare", *words, "--exit-code"]) == status
        assert main(["compare", *words]) == 0
    assert main(["compare", one, "nothing.wav", "--exit-code"]) == 1
