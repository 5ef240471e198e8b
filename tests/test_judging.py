"""benchmarks/judging.py on a made-up corpus: what it judges, what it keeps, what it says where something is missing."""

import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CorpusError
from sound_groove.scoring.metrics import eer
from sound_groove.synthesis.voices import write_corpus
from sound_groove.types import Samples

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import corpus_trials
import judged_systems
from judged_systems import Answer, Condition, System, embed_all, middle, resemblyzer_system
from judging import kept_to_oneself, main

pytestmark = pytest.mark.usefixtures("undrawn")

WHOLE = Condition("clean", None)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus laid out as the development corpus: 4 voices of 2 utterances, and a teacher who makes no mistake."""
    corpus = tmp_path_factory.mktemp("corpus")
    paths = write_corpus(corpus / "val", 4, 2, seed=3, duration_s=(1.2, 1.8), workers=1)
    names = [str(path.relative_to(corpus)) for path in paths]
    voices = [path.parent.name for path in paths]
    lines = [f"{int(voices[a] == voices[b])} {names[a]} {names[b]}\n" for a, b in combinations(range(len(names)), 2)]
    (corpus / "val_trials").mkdir()
    for name in corpus_trials.LISTS:
        (corpus / "val_trials" / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    told = np.eye(4, dtype=np.float16)[np.unique(voices, return_inverse=True)[1]]
    np.savez(corpus / "teacher.npz", path=np.array(names), emb=told)
    (corpus / "noise").mkdir()
    rows = ["path\tsource\n"]
    for source in ("esc10", "elsewhere"):
        noise = np.random.default_rng(1).normal(0.0, 0.1, SAMPLE_RATE)
        soundfile.write(corpus / "noise" / f"{source}.wav", noise, SAMPLE_RATE)
        rows.append(f"noise/{source}.wav\t{source}\n")
    (corpus / "noise.tsv").write_text("".join(rows), encoding="utf-8")
    return corpus


@pytest.fixture(autouse=True)
def few_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_trials, "ROOMS", 2)


@pytest.fixture
def no_resemblyzer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resemblyzer", None)


def run(corpus: Path, model: Path, out: Path, *words: str) -> int:
    return main([str(corpus), "--model", str(model), "--out", str(out), "--resamples", "20", *words])


def counting(calls: list[int], fails_at: int = 1000) -> System:
    """A system whose embedding of a recording is its length, and that stops working at a call."""

    def embed(recordings: Sequence[Samples]) -> Answer:
        if len(calls) == fails_at:
            raise KeyboardInterrupt
        calls.append(len(recordings))
        lengths = [[len(samples) / SAMPLE_RATE, 1.0] for samples in recordings]
        return Answer(np.array(lengths, dtype=np.float32), np.zeros(len(recordings), dtype=np.bool_))

    return System("counting", "counting", "c" * 64, embed)


def files_of(corpus: Path) -> dict[str, Path]:
    names = corpus_trials.recordings_of(corpus_trials.read_lists(corpus).values())
    return {name: corpus / name for name in names}


@pytest.mark.parametrize(("samples", "length_s", "kept"), [(10, 2 / SAMPLE_RATE, (4, 6)), (9, 4 / SAMPLE_RATE, (2, 6))])
def test_recordings_are_cut_from_the_middle(samples: int, length_s: float, kept: tuple[int, int]) -> None:
    assert middle(np.arange(samples, dtype=np.float32), length_s).tolist() == list(range(*kept))


@pytest.mark.parametrize("length_s", [None, 1.0, 5.0])
def test_what_is_not_longer_stays_whole(length_s: float | None) -> None:
    recording = np.arange(SAMPLE_RATE, dtype=np.float32)
    assert np.array_equal(middle(recording, length_s), recording)


def test_one_table_holds_every_system_under_every_condition(
    made_up: Path, model_path: Path, tmp_path: Path, no_resemblyzer: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(made_up, model_path, tmp_path, "--lengths", "whole", "1", "--lists", "words", "dsp") == 0

    printed = capsys.readouterr()
    table = [line for line in printed.out.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells[0] == ["recordings", "length", "system", "words", "dsp"]
    assert [row[:3] for row in cells[2:]] == [
        ["clean", "1 s", "random"],
        ["clean", "whole", "random"],
        ["clean", "whole", "teacher"],
        ["degraded", "1 s", "random"],
        ["degraded", "whole", "random"],
    ]
    assert cells[4][3:] == ["0.0 [0.0, 0.0]"] * 2
    assert SpeakerEncoder.load(model_path).identity.hash in printed.out
    assert "words 28 trials of 4 speakers" in printed.out and "words 8 of 8, dsp 8 of 8" in printed.out
    assert "pip install librosa webrtcvad-wheels" in printed.err


def test_the_figures_are_those_of_the_model(
    made_up: Path, model_path: Path, tmp_path: Path, no_resemblyzer: None
) -> None:
    where = tmp_path / "figures.json"
    assert run(made_up, model_path, tmp_path / "out", "--lists", "ocean", "--lengths", "1", "--json", str(where)) == 0

    rows = json.loads(where.read_text(encoding="utf-8"))["rows"]
    assert [row["recordings"] for row in rows] == ["clean", "degraded"]
    trials = corpus_trials.read_lists(made_up)["ocean"]
    encoder = SpeakerEncoder.load(model_path)
    for row, folder in zip(rows, (made_up, tmp_path / "out" / "degraded"), strict=True):
        audio = [load_audio(folder / name) for name in trials.ids]
        starts = [(len(one) - SAMPLE_RATE) // 2 for one in audio]
        embeddings = encoder.embed([one[start : start + SAMPLE_RATE] for one, start in zip(audio, starts, strict=True)])
        scores = (embeddings[trials.enrolments] * embeddings[trials.tests]).sum(axis=1)
        assert row["lists"]["ocean"]["eer"]["value"] == pytest.approx(eer(scores, trials.labels))
        assert row["lists"]["ocean"]["interval"]["speakers"] == 4


def test_a_second_run_embeds_nothing(
    made_up: Path, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--systems", "model", "--lengths", "whole", "--lists", "dsp")
    assert run(made_up, model_path, tmp_path, *words) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(SpeakerEncoder, "embed", None)  # whoever calls it fails
    assert run(made_up, model_path, tmp_path, *words) == 0
    assert capsys.readouterr().out == first


def test_a_run_that_was_stopped_goes_on(made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged_systems, "AT_ONCE", 3)
    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        embed_all(counting(calls, fails_at=2), WHOLE, files_of(made_up), tmp_path)
    embedded = embed_all(counting(calls), WHOLE, files_of(made_up), tmp_path)
    assert calls == [3, 3, 2]
    for name, file in files_of(made_up).items():
        first, second = embedded.embeddings[embedded.rows([name])[0]]
        assert first / second == pytest.approx(soundfile.info(file).duration, rel=1e-5)


def test_embeddings_of_another_model_are_not_taken(made_up: Path, tmp_path: Path) -> None:
    files = files_of(made_up)
    embed_all(counting([]), WHOLE, files, tmp_path)
    calls: list[int] = []
    other = System("other", "counting", "d" * 64, counting(calls).embed)
    embed_all(other, WHOLE, files, tmp_path)
    assert sum(calls) == len(files)

    folders = sorted(tmp_path.iterdir())
    (folders[0] / "clean-whole.npz").replace(folders[1] / "clean-whole.npz")
    with pytest.raises(CorpusError, match="was not written by this command for this model"):
        embed_all(other, WHOLE, files, tmp_path)


def test_a_cohort_adds_a_row(
    made_up: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_resemblyzer: None
) -> None:
    rng = np.random.default_rng(0)
    names = np.array([f"train/{speaker}/0.wav" for speaker in ("anna", "ben", "carla")])
    model = np.array(SpeakerEncoder.load(model_path).identity.hash)
    np.savez(tmp_path / "cohort.npz", path=names, emb=rng.normal(size=(3, 12)), model=model)
    words = ("--cohort", str(tmp_path / "cohort.npz"), "--recordings", "clean", "--lists", "dsp", "--lengths", "whole")
    assert run(made_up, model_path, tmp_path / "out", *words) == 0
    assert "| clean | whole | random, AS-norm |" in capsys.readouterr().out

    known = np.array([next(iter(files_of(made_up))).replace("val", "train", 1), *names[1:]])
    np.savez(tmp_path / "cohort.npz", path=known, emb=rng.normal(size=(3, 12)), model=model)
    assert run(made_up, model_path, tmp_path / "out", *words) == 1
    assert "is in the trials too" in capsys.readouterr().err


def test_a_folder_of_other_recordings_is_not_used(
    made_up: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus.sha256").write_text("0" * 64 + "\n", encoding="utf-8")
    assert run(made_up, model_path, tmp_path, "--recordings", "clean") == 1
    assert "holds results of other recordings" in capsys.readouterr().err


def test_two_runs_do_not_share_a_folder(
    made_up: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kept_to_oneself(tmp_path):
        assert run(made_up, model_path, tmp_path, "--recordings", "clean") == 1
    assert "another run is using it" in capsys.readouterr().err
    assert not (tmp_path / "embeddings").exists()


def test_what_is_missing_is_named(
    made_up: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(status: int, *arguments: object) -> str:
        corpus, model, *words = map(str, arguments)
        assert run(Path(corpus), Path(model), tmp_path / "out", *words) == status
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    assert "is not the development corpus" in complaint(1, tmp_path / "nowhere", model_path)
    assert "none.safetensors" in complaint(1, made_up, tmp_path / "none.safetensors")
    assert "needs --cohort" in complaint(2, made_up, model_path, "--systems", "as-norm")
    assert "no such folder" in complaint(2, made_up, model_path, "--json", tmp_path / "nowhere" / "figures.json")
    (tmp_path / "val_trials").mkdir()
    for name in corpus_trials.LISTS[1:]:
        (tmp_path / "val_trials" / f"{name}.txt").write_text("1 a b\n", encoding="utf-8")
    error = complaint(1, tmp_path, model_path)
    assert "ocean.txt" in error and "words.txt" not in error
    assert not (tmp_path / "out").exists()


def test_where_resemblyzer_hears_no_speech_the_whole_is_embedded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a stand-in that trims as the real package does: to nothing, where its voice detection hears nothing."""
    heard: list[Samples] = []

    class VoiceEncoder:
        def __init__(self, device: str, verbose: bool) -> None:
            pass

        def embed_utterance(self, samples: Samples) -> Samples:
            heard.append(samples)
            return np.array([3.0, 4.0], dtype=np.float32)

    def preprocess_wav(samples: Samples, source_sr: int) -> Samples:
        assert samples.any() and source_sr == SAMPLE_RATE
        return samples[:5] if samples.max() > 0.5 else samples[:0]

    stand_in, settings = ModuleType("resemblyzer"), ModuleType("resemblyzer.hparams")
    (tmp_path / "pretrained.pt").write_bytes(b"weights")
    contents = {
        "__file__": str(tmp_path / "__init__.py"),
        "VoiceEncoder": VoiceEncoder,
        "preprocess_wav": preprocess_wav,
        "normalize_volume": lambda samples, level_db, increase_only: 2 * samples,
    }
    vars(stand_in).update(contents)
    vars(settings).update(audio_norm_target_dBFS=-30)
    monkeypatch.setitem(sys.modules, "resemblyzer", stand_in)
    monkeypatch.setitem(sys.modules, "resemblyzer.hparams", settings)
    monkeypatch.setattr(judged_systems, "version", lambda name: "0.1.4")
    speech, hiss, silence = (np.full(10, level, dtype=np.float32) for level in (0.9, 0.1, 0.0))

    system = resemblyzer_system(threads=1)
    answer = system.embed([speech, hiss, silence])

    assert system.name == "Resemblyzer 0.1.4"
    assert answer.no_speech.tolist() == [False, True, True]
    assert [len(samples) for samples in heard] == [5, 10, 10]
    assert heard[1][0] == pytest.approx(0.2)
    assert answer.embeddings.tolist() == pytest.approx(np.array([[0.6, 0.8]] * 3))
