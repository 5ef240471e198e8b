"""Scorings side by side: what `verify` makes of a cohort, and which cohorts it refuses."""

import doctest
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evaluation_inputs import SpectrumEncoder, read_scores
from sound_groove.cli import main
from sound_groove.cli.scoring_options import CHOICES
from sound_groove.corpora.manifest import Utterance, write_manifest
from sound_groove.errors import CorpusError, MetricError, SoundGrooveError, UsageError
from sound_groove.evaluation.cohort import choose_cohort, choose_evenly, speakers_of_paths
from sound_groove.evaluation.report.page import summary
from sound_groove.evaluation.scorings import SCORINGS, Scoring, ScoringPlan, score_all
from sound_groove.evaluation.trials.trial_sets import TrialSet, trials_from_list, trials_from_validation
from sound_groove.evaluation.verification import VerificationSettings, evaluate
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.metrics import cllr, eer, min_cllr, min_dcf
from sound_groove.synthesis.voices import write_corpus
from sound_groove.types import ModelIdentity

pytestmark = pytest.mark.usefixtures("undrawn")

SPEAKERS, EACH = 8, 3


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up voices: voice0000 to voice0007 for a cohort, voice0008 to voice0011 for trials; a list of all pairs."""
    folder = tmp_path_factory.mktemp("voices")
    write_corpus(folder / "wav", SPEAKERS + 4, EACH, seed=0, duration_s=(0.8, 1.2))
    names = [
        f"voice{speaker:04d}/{number:03d}.wav" for speaker in range(SPEAKERS, SPEAKERS + 4) for number in range(EACH)
    ]
    lines = [f"{int(a[:9] == b[:9])} {a} {b}\n" for i, a in enumerate(names) for b in names[i + 1 :]]
    (folder / "trials.txt").write_text("".join(lines))
    (folder / "utt2spk").write_text("".join(f"{name} {name[:9]}\n" for name in names))
    write_manifest(folder / "manifest.jsonl", manifest(folder))
    return folder


def manifest(folder: Path, speakers: int = SPEAKERS) -> list[Utterance]:
    """Of the first speakers, the last of whom is a validation speaker."""
    return [
        Utterance(
            f"voice{speaker:04d}/{number:03d}",
            f"voice{speaker:04d}",
            (str(folder / f"wav/voice{speaker:04d}/{number:03d}.wav"),),
            (16000,),
            "validation" if speaker == speakers - 1 else "train",
            None,
            None,
            None,
        )
        for speaker in range(speakers)
        for number in range(EACH)
    ]


def the_trials(folder: Path, named: bool = False) -> TrialSet:
    return trials_from_list(folder / "trials.txt", folder / "wav", speaker_table=folder / "utt2spk" if named else None)


def judge(
    folder: Path, out: Path, names: Sequence[Scoring] = SCORINGS, cohort: Path | None = None, **changes: Any
) -> dict[str, Any]:
    plan = ScoringPlan(tuple(names), cohort or folder)
    encoder = SpectrumEncoder(ScoreMap(20.0, -15.0, "made up"))
    return evaluate(encoder, the_trials(folder), out, VerificationSettings(resamples=20, scoring=plan), **changes)


# --- what comes out


def test_all_scorings_stand_side_by_side(voices: Path, tmp_path: Path) -> None:
    said: list[str] = []
    metrics = judge(voices, tmp_path / "out", say=said.append)
    assert metrics["scoring"] == "cosine" and list(metrics["scorings"]) == list(SCORINGS)
    assert metrics["cohort"] == {"source": str(voices), "speakers": 7, "utterances": 21, "top": 7}
    assert any("cohort: 21 recordings of 7 speakers" in line for line in said)
    written: dict[str, Any] = {}
    for name in SCORINGS:
        file = "scores.tsv" if name == "cosine" else f"scores-{name}.tsv"
        cells, scores, labels = read_scores(tmp_path / "out" / file)
        written[name] = scores
        figures = metrics["scorings"][name]
        assert set(figures) == {"eer", "min_dcf", "min_dcf_05", "cllr", "min_cllr"}
        assert figures["eer"]["value"] == pytest.approx(eer(scores, labels), abs=1e-6)
        assert figures["eer"]["low"] <= figures["eer"]["value"] <= figures["eer"]["high"]
        assert figures["min_dcf"]["value"] == pytest.approx(min_dcf(scores, labels, 0.01), abs=1e-6)
        assert figures["min_cllr"]["value"] == pytest.approx(min_cllr(scores, labels), abs=1e-6)
        if name in ("cosine", "plda"):
            llrs = np.array([float(row[3]) for row in cells])
            assert figures["cllr"]["value"] == pytest.approx(cllr(llrs, labels), abs=1e-4)
        else:
            assert figures["cllr"] is None and {row[3] for row in cells} == {""}
    for key in ("eer", "min_dcf", "min_dcf_05", "cllr", "min_cllr"):
        assert metrics[key] == metrics["scorings"]["cosine"][key]
    for one, other in (("cosine", "centred"), ("cosine", "as-norm"), ("as-norm", "plda")):
        assert not np.allclose(written[one], written[other], atol=1e-3)
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == metrics


def test_the_main_scoring_is_the_one_that_was_asked_for(voices: Path, tmp_path: Path) -> None:
    everything = judge(voices, tmp_path / "all")
    for name in SCORINGS[1:]:
        metrics = judge(voices, tmp_path / name, names=[name])
        assert metrics["scoring"] == name and metrics["eer"] == everything["scorings"][name]["eer"]
        assert metrics["scorings"] == {name: everything["scorings"][name]}
        assert metrics["score_map"] is None  # it is of the cosine
        assert (tmp_path / name / "scores.tsv").read_bytes() == (tmp_path / f"all/scores-{name}.tsv").read_bytes()
        assert not list((tmp_path / name).glob("scores-*"))


def test_without_a_cohort_the_cosine_is_all_there_is(voices: Path, tmp_path: Path) -> None:
    metrics = evaluate(SpectrumEncoder(), the_trials(voices), tmp_path / "out", VerificationSettings(resamples=0))
    assert metrics["scoring"] == "cosine" and list(metrics["scorings"]) == ["cosine"] and metrics["cohort"] is None
    assert "scoring " not in "\n".join(summary(metrics))


def test_the_table_for_the_terminal_has_a_line_for_each(voices: Path, tmp_path: Path) -> None:
    metrics = judge(voices, tmp_path / "out")
    lines = summary(metrics)
    head = next(number for number, line in enumerate(lines) if line.startswith("  scoring "))
    table = {line.split()[0]: line for line in lines[head + 1 : head + 5]}
    assert list(table) == list(SCORINGS)
    for name, line in table.items():
        assert f"{100 * metrics['scorings'][name]['eer']['value']:.2f} %" in line
    assert table["as-norm"].split()[-2] == "-" and table["plda"].split()[-2] != "-"
    assert f"cohort: 21 utterances of 7 speakers, from {voices}" in "\n".join(lines)


def test_scores_of_an_earlier_result_do_not_stay(voices: Path, tmp_path: Path) -> None:
    judge(voices, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("scores*.tsv"))) == 4
    judge(voices, tmp_path / "out", names=["as-norm"], force=True)
    assert [path.name for path in (tmp_path / "out").glob("scores*.tsv")] == ["scores.tsv"]


def test_names_that_could_not_be_embedded_are_no_obstacle(voices: Path, tmp_path: Path) -> None:
    trial_set = the_trials(voices)
    broken = replace(trial_set.sources[0], recordings=(), problem="no such recording")
    trial_set = replace(trial_set, sources=(broken, *trial_set.sources[1:]))
    settings = VerificationSettings(resamples=0, allow_missing=True, scoring=ScoringPlan(SCORINGS, voices))
    metrics = evaluate(SpectrumEncoder(), trial_set, tmp_path / "out", settings)
    assert metrics["missing"]["trials"] == 11 and metrics["trials"] == 55
    assert all(np.isfinite(read_scores(path)[1]).all() for path in (tmp_path / "out").glob("scores*.tsv"))


# --- which recordings a cohort has


def test_a_prepared_folder_gives_its_training_speakers_and_no_more_of_each_than_asked_for(voices: Path) -> None:
    chosen = choose_cohort(voices, SpectrumEncoder(), utterances=2)
    assert sorted(set(chosen.speakers)) == [f"voice{speaker:04d}" for speaker in range(7)]  # the eighth is held out
    assert len(chosen.speakers) == 14 and chosen.embeddings is None
    assert choose_cohort(voices / "manifest.jsonl", SpectrumEncoder()).recordings[:1] == (
        (voices / "wav/voice0000/000.wav",),
    )


def test_utterances_are_chosen_evenly() -> None:
    speakers = ["a"] * 100 + ["b"] * 3
    assert choose_evenly(speakers, 10) == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 100, 101, 102]
    assert choose_evenly(speakers, 1) == [50, 101]
    for count in range(1, 40):
        for most in range(1, 45):
            chosen = choose_evenly(["a"] * count, most)
            assert len(set(chosen)) == min(count, most) and max(chosen) < count


def test_folders_tell_who_speaks() -> None:
    file = Path("e.npz")
    assert speakers_of_paths(file, ["a/1.wav", "b/s/1.wav"]) == ["a", "b"]
    assert speakers_of_paths(file, ["C:\\rec\\a\\1.wav", "C:\\rec\\b\\1.wav"]) == ["a", "b"]
    for names in (["1.wav", "b/1.wav"], ["rec/a/1.wav", "rec/a/2.wav"], ["x.wav"]):
        with pytest.raises(
            CorpusError, match=r"e.npz: the folders do not tell who speaks in '.*'; .*an array 'speaker'"
        ):
            speakers_of_paths(file, names)


def stored(file: Path, folder: Path, /, **changes: Any) -> Path:
    """A file of the cohort's embeddings, as `embed` leaves it."""
    files = sorted((folder / "wav").glob("voice000[0-7]/*.wav"))
    embeddings = SpectrumEncoder().embed([soundfile.read(path, dtype="float32")[0] for path in files])
    arrays: dict[str, Any] = {"path": np.array(list(map(str, files))), "emb": embeddings}
    np.savez(
        file, allow_pickle=False, **{name: value for name, value in (arrays | changes).items() if value is not None}
    )
    return file


def test_a_file_of_embeddings_does_as_well_as_the_recordings(voices: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", [replace(u, split="train") for u in manifest(voices)])
    recordings = judge(voices, tmp_path / "one", cohort=tmp_path)
    embeddings = judge(voices, tmp_path / "two", cohort=stored(tmp_path / "c.npz", voices))
    assert embeddings["cohort"] == recordings["cohort"] | {"source": str(tmp_path / "c.npz")}
    for name in SCORINGS:
        assert embeddings["scorings"][name]["eer"]["value"] == recordings["scorings"][name]["eer"]["value"]
    # an array that names the speakers is believed before the folders are
    names = np.array([f"s{number // 6}" for number in range(24)])
    chosen = choose_cohort(stored(tmp_path / "d.npz", voices, speaker=names), SpectrumEncoder())
    assert sorted(set(chosen.speakers)) == ["s0", "s1", "s2", "s3"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"emb": np.ones((24, 5), np.float32)}, "embeddings of 5 values, and this model's have 32"),
        ({"model": np.array("f" * 64)}, "embeddings of the model ffffffffffff, and this is 000000000000"),
        ({"emb": np.zeros((24, 32), np.float32)}, "24 of its 24 embeddings are all zeros"),
        ({"speaker": np.array(["a"])}, r"'speaker' must be texts, one for each of the 24 names; it is <U1 \(1,\)"),
        ({"speaker": np.array(["a"] * 24)}, "a cohort needs at least 2 speakers; there is 1"),
        ({"emb": None}, "is not a file of embeddings"),
        ({"path": np.arange(24)}, r"'path' must be texts \(N,\)"),
    ],
)
def test_a_file_that_will_not_do_is_refused(
    voices: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = stored(tmp_path / "c.npz", voices, **changes)
    with pytest.raises(CorpusError, match=complaint) as caught:
        judge(voices, tmp_path / "out", cohort=path)
    assert str(caught.value).startswith(str(path)) and not (tmp_path / "out").exists()


def test_the_model_that_embedded_the_cohort_is_recorded_and_held_against_the_one_that_is_judged(
    voices: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["embed", str(voices / "wav/voice0000"), str(voices / "wav/voice0001"), "--model", str(model_path)]
    assert main([*words, "--out", str(tmp_path / "c.npz"), "--workers", "1"]) == 0
    capsys.readouterr()

    class Other(SpectrumEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.embedding_size = 12
            with np.load(tmp_path / "c.npz") as file:
                self.identity = ModelIdentity("the same", str(file["model"]))

    encoder = Other()
    assert len(choose_cohort(tmp_path / "c.npz", encoder).speakers) == 6
    encoder.identity = ModelIdentity("another", "0" * 64)
    with pytest.raises(CorpusError, match="embed the cohort with this model"):
        choose_cohort(tmp_path / "c.npz", encoder)


# --- a cohort is of other people


def test_speakers_of_the_trials_are_refused_by_name(voices: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", manifest(voices, SPEAKERS + 3))
    settings = VerificationSettings(scoring=ScoringPlan(("as-norm",), tmp_path))
    with pytest.raises(
        CorpusError, match=r"speaker 'voice0008' \(and 1 more\) is in the trials too; a cohort is of other"
    ):
        evaluate(SpectrumEncoder(), the_trials(voices, named=True), tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_speakers_of_a_validation_set_are_refused_by_name(voices: Path, tmp_path: Path) -> None:
    utterances = manifest(voices, 3)
    lines = [json.dumps({"speaker": u.speaker, "utterance": u.key, "paths": u.paths}) + "\n" for u in utterances]
    (tmp_path / "val_meta.jsonl").write_text("".join(lines))
    settings = VerificationSettings(scoring=ScoringPlan(("centred",), voices))
    with pytest.raises(CorpusError, match=r"speaker 'voice0000' \(and 2 more\) is in the trials too"):
        evaluate(SpectrumEncoder(), trials_from_validation(tmp_path / "val_meta.jsonl"), tmp_path / "out", settings)


def test_recordings_of_the_trials_are_refused_where_nobody_names_the_speakers(voices: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", manifest(voices, SPEAKERS + 3))
    with pytest.raises(CorpusError, match=r"voice0008/000.wav is in the trials too"):
        judge(voices, tmp_path / "out", cohort=tmp_path)


# --- what does not go together


def test_plans_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for name in SCORINGS[1:]:
        with pytest.raises(UsageError, match=f"--scoring {name} needs --cohort"):
            ScoringPlan((name,))
    with pytest.raises(UsageError, match="--cohort is for --scoring centred, as-norm, plda or all"):
        ScoringPlan(("cosine",), tmp_path)
    for changes in ({"top": 1}, {"utterances": 0}):
        with pytest.raises(UsageError, match="--cohort-top must be at least 2, and --cohort-utterances at least 1"):
            ScoringPlan(("as-norm",), tmp_path, **changes)


def test_cohorts_that_cannot_be_used_are_refused_before_anything_is_embedded(voices: Path, tmp_path: Path) -> None:
    utterances = [u for u in manifest(voices) if u.split == "train"]
    names: tuple[Scoring, ...]
    for kept, names, error, complaint in (
        (utterances[:EACH], SCORINGS, CorpusError, "a cohort needs at least 2 speakers; there is 1"),
        (manifest(voices)[-EACH:], SCORINGS, CorpusError, "a cohort needs at least 2 speakers; there are 0"),
        (utterances[::EACH], ("plda",), MetricError, "each of these 7 speakers has only one"),
        (None, SCORINGS, CorpusError, "no such manifest"),
    ):
        (tmp_path / "manifest.jsonl").unlink(missing_ok=True)
        if kept is not None:
            write_manifest(tmp_path / "manifest.jsonl", kept)
        encoder = SpectrumEncoder()
        settings = VerificationSettings(resamples=0, scoring=ScoringPlan(names, tmp_path))
        with pytest.raises(SoundGrooveError, match=complaint) as caught:
            evaluate(encoder, the_trials(voices), tmp_path / "out", settings)
        assert type(caught.value) is error and not encoder.lengths and not (tmp_path / "out").exists()


def test_recordings_of_the_cohort_that_cannot_be_read_are_named_or_left_out(voices: Path, tmp_path: Path) -> None:
    utterances = manifest(voices)
    utterances[4] = replace(utterances[4], paths=(str(tmp_path / "gone.wav"),))
    write_manifest(tmp_path / "manifest.jsonl", utterances)
    with pytest.raises(
        CorpusError, match=r"1 of 21 recordings of the cohort cannot be used, first .*gone.wav: .*--allow-missing"
    ):
        judge(voices, tmp_path / "out", cohort=tmp_path)
    assert not (tmp_path / "out").exists()
    settings = VerificationSettings(resamples=0, allow_missing=True, scoring=ScoringPlan(SCORINGS, tmp_path))
    metrics = evaluate(SpectrumEncoder(), the_trials(voices), tmp_path / "out", settings)
    assert metrics["cohort"] == {"source": str(tmp_path), "speakers": 7, "utterances": 20, "top": 7}


def test_scores_do_not_depend_on_names_that_no_trial_has(voices: Path) -> None:
    trials = the_trials(voices).trials
    embeddings = np.random.default_rng(0).standard_normal((len(trials.ids), 32)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    cohort = choose_cohort(voices, SpectrumEncoder()).embed(SpectrumEncoder(), None, 1, False)
    plan = ScoringPlan(SCORINGS, voices)
    rest = replace(trials, **{side: getattr(trials, side)[:11] for side in ("enrolments", "tests", "labels", "lines")})
    whole, part = (score_all(plan, embeddings, each, cohort) for each in (trials, rest))
    for name in SCORINGS:
        np.testing.assert_allclose(part[name].scores, whole[name].scores[:11], atol=1e-5)


# --- the command line


def test_the_choices_of_the_command_line_are_the_scorings() -> None:
    assert (*SCORINGS, "all") == CHOICES


def test_the_command_line_scores_in_all_ways(
    voices: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", "--model", str(model_path), "--trials", str(voices / "trials.txt")]
    words += ["--audio-root", str(voices / "wav"), "--resamples", "5", "--out", str(tmp_path / "out")]
    asked = ["--scoring", "all", "--cohort", str(voices), "--cohort-top", "5", "--cohort-utterances", "2"]
    assert main([*words, *asked, "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert list(metrics["scorings"]) == list(SCORINGS)
    assert metrics["cohort"] == {"source": str(voices), "speakers": 7, "utterances": 14, "top": 5}
    assert main([*words, *asked, "--force"]) == 0
    assert "  as-norm " in capsys.readouterr().out


def test_the_command_line_refuses_wrong_use_with_2(voices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", "--model", "m", "--trials", str(voices / "trials.txt")]
    for asked, complaint in (
        (["--scoring", "as-norm"], "--scoring as-norm needs --cohort"),
        (["--scoring", "all"], "--scoring centred needs --cohort"),
        (["--cohort", "x"], "--cohort is for --scoring"),
        (["--scoring", "plda", "--cohort", "x", "--cohort-top", "9"], "--cohort-top is for --scoring as-norm or all"),
        (["--cohort-utterances", "9"], "--cohort-utterances needs --cohort"),
        (["--scoring", "all", "--cohort", "x", "--cohort-top", "1"], "--cohort-top must be at least 2"),
    ):
        assert main([*words, *asked]) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and complaint in printed.err


# --- real voices


@pytest.mark.corpus
def test_scorings_of_real_voices_do_better_than_chance(corpus: Path, tmp_path: Path) -> None:
    lines = [line.split("\t") for line in (corpus / "manifest.tsv").read_text().splitlines()[1:]]
    utterances = [
        Utterance(f"{speaker}/{Path(path).stem}", speaker, (str(corpus / path),), (16000,), "train", None, None, None)
        for split, path, speaker, collection, *_ in lines
        if split == "train" and collection in ("dsp", "arabic")
    ]
    write_manifest(tmp_path / "manifest.jsonl", utterances)
    trial_set = trials_from_list(corpus / "val_trials/dsp.txt", corpus)
    plan = ScoringPlan(SCORINGS, tmp_path, utterances=3)
    metrics = evaluate(
        SpectrumEncoder(),
        trial_set,
        tmp_path / "out",
        VerificationSettings(resamples=20, threads=2, scoring=plan, audio=False),
    )
    assert metrics["cohort"]["speakers"] > 30
    for name in SCORINGS:
        assert metrics["scorings"][name]["eer"]["value"] < 0.45, name


# --- what the documentation says


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    from sound_groove.evaluation import cohort
    from sound_groove.scoring import as_norm, cosine

    for module in (as_norm, cosine, cohort):
        result = doctest.testmod(module)
        assert result.attempted > 0 and result.failed == 0, module
    page = (Path(__file__).parents[1] / "docs/scoring.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(compile(block, "docs/scoring.md", "exec"), {})  # noqa: S102 - it is our own documentation
    assert len(blocks) == 1 and capsys.readouterr().out.count("[") == 2
