"""The demo in a small size: every step is there, nothing is overwritten by accident, and what it suggests works."""

import importlib.util
import json
import os
import shlex
import sys
from importlib.machinery import ModuleSpec
from itertools import combinations
from pathlib import Path

import pytest

from costs import costs
from sound_groove import demo as demo_module
from sound_groove.cli import build_parser, main
from sound_groove.cli import demo as verb
from sound_groove.cli.threads import spin_briefly
from sound_groove.corpora.manifest import read_manifest
from sound_groove.demo import NAME, DemoFolder, DemoResult, DemoSize, demo, recipe
from sound_groove.errors import OutputError
from sound_groove.training import log
from sound_groove.training.curves import draw_curves

TINY = DemoSize(
    training_speakers=4,
    validation_speakers=2,
    unseen_speakers=3,
    utterances=2,
    unseen_utterances=4,
    channels=8,
    epochs=1,
    batches_per_epoch=2,
    batch_speakers=4,
    batch_utterances=1,
)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the tiny demo said."""
    return []


@pytest.fixture(scope="module")
@costs("slow")
def result(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> DemoResult:
    """A demo of the smallest size, in a folder whose name a shell would split."""
    folder = tmp_path_factory.mktemp("demo") / "made up"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "draw_curves", draw_curves)
        return demo(folder, seed=3, size=TINY, command="the test", say=told.append)


def test_every_step_leaves_what_it_should(result: DemoResult) -> None:
    folder = result.folder
    for path in (
        folder.speech / "voice0000" / "000.wav",
        folder.unseen / "voice0008" / "001.wav",
        folder.prepared / "manifest.jsonl",
        folder.prepared / "spk2id.json",
        folder.model / "best.safetensors",
        folder.model / "curves.png",
        *(folder.evaluation / name for name in ("metrics.json", "scores.tsv", "report.html")),
        *(folder.evaluation / f"{name}.png" for name in ("roc", "det", "score_hist", "tsne")),
    ):
        assert path.is_file(), path
    assert list(result.elapsed_s) == ["corpus", "prepare", "train", "evaluate", "compare"]


def test_the_voices_it_is_judged_on_are_in_no_list_of_training_or_validation(result: DemoResult) -> None:
    known = {utterance.speaker for utterance in read_manifest(result.folder.prepared)}
    unseen = {path.name for path in result.folder.unseen.iterdir()}
    assert len(known) == 6
    assert len(unseen) == 3
    assert not known & unseen


def test_the_trials_are_every_pair_once(result: DemoResult) -> None:
    lines = [line.split() for line in result.folder.trials.read_text().splitlines()]
    names = [f"voice{speaker:04d}/{utterance:03d}.wav" for speaker in (6, 7, 8) for utterance in range(4)]
    assert [(one, other) for _, one, other in lines] == list(combinations(names, 2))
    assert [one[:9] == other[:9] for _, one, other in lines] == [label == "1" for label, _, _ in lines]
    assert (result.metrics["targets"], result.metrics["nontargets"]) == (18, 48)


def test_one_comparison_of_each_kind_is_the_median_of_its_kind(result: DemoResult) -> None:
    same, different = result.pairs
    assert (same.truth, different.truth) == ("same", "different")
    assert same.first.parent == same.second.parent
    assert different.first.parent != different.second.parent
    rows = [line.split("\t") for line in (result.folder.evaluation / "scores.tsv").read_text().splitlines()[1:]]
    for pair, label, middle in ((same, "1", 9), (different, "0", 24)):
        scores = sorted(float(row[2]) for row in rows if row[4] == label)
        assert pair.comparison.score == pytest.approx(scores[middle], abs=1e-4)


def test_whatever_tells_a_figure_says_that_the_voices_are_made_up(result: DemoResult, told: list[str]) -> None:
    # The trainer's line for each epoch stands under a heading that says so.
    figures = [line for line in told if "%" in line or "probability" in line]
    assert len(figures) >= 4
    assert all("made-up voices" in line for line in figures if not line.lstrip().startswith("epoch"))
    assert result.metrics["model"]["name"] == NAME == "made-up-voices"  # it stands in the pictures' titles
    assert "made-up voices" in json.loads(result.folder.summary.read_text())["data"]


def test_the_summary_says_that_it_is_finished_and_repeats_the_figures(result: DemoResult) -> None:
    summary = json.loads(result.folder.summary.read_text())
    assert summary["finished"] is True
    assert (summary["seed"], summary["command"]) == (3, "the test")
    assert summary["eer"]["value"] == result.eer
    assert [pair["truth"] for pair in summary["comparisons"]] == ["same", "different"]


def test_an_earlier_demo_is_not_overwritten_by_accident(result: DemoResult) -> None:
    before = result.folder.summary.read_text()
    with pytest.raises(OutputError, match="holds an earlier demo; pass --force to replace it"):
        demo(result.folder.path, size=TINY)
    assert result.folder.summary.read_text() == before


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_no_demo_wrote_is_never_touched(tmp_path: Path, force: bool) -> None:
    mine = tmp_path / "speech" / "mine.wav"
    mine.parent.mkdir()
    mine.write_bytes(b"precious")
    with pytest.raises(OutputError, match="holds files that no demo wrote; choose another --out"):
        demo(tmp_path, force=force, size=TINY)
    assert mine.read_bytes() == b"precious"
    with pytest.raises(OutputError, match="is a file, not a folder"):
        demo(mine, force=force, size=TINY)


def test_an_interrupted_demo_does_not_claim_to_be_finished_and_force_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_module, "_prepare", stop)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path / "demo", size=TINY)
    folder = DemoFolder(tmp_path / "demo")
    assert not folder.is_finished
    with pytest.raises(OutputError, match="holds a demo that did not come to its end; pass --force"):
        demo(tmp_path / "demo", size=TINY)
    stale = folder.speech / "voice0000" / "999.wav"
    stale.touch()
    beside = folder.path / "notes.txt"
    beside.touch()
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path / "demo", size=TINY, force=True)
    assert not stale.exists()
    assert beside.exists()  # what the demo did not write stays


@pytest.mark.usefixtures("spoken_anew")
def test_the_corpus_is_a_function_of_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    monkeypatch.setattr(demo_module, "_prepare", stop)
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        with pytest.raises(Stop):
            demo(tmp_path / name, seed=seed, size=TINY)
        files = sorted((tmp_path / name).rglob("*.wav"))
        contents.append([path.read_bytes() for path in files])
    assert len(contents[0]) == 24
    assert contents[0] == contents[1] != contents[2]


def test_the_default_size_is_what_the_documents_promise() -> None:
    size = DemoSize()
    assert size.training_speakers >= 40
    assert size.unseen_speakers >= 20  # with fewer the evaluation calls its intervals rough
    assert recipe(DemoFolder("outputs/demo"), size, seed=5).seed == 5


def test_every_command_to_try_next_is_one_that_the_command_line_takes(
    result: DemoResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/some where/sound-groove", "demo"])
    closing = verb._closing(result)
    start = shlex.quote("/opt/some where/sound-groove")
    commands = [line.strip() for line in closing if line.strip().startswith(start)]
    verbs = []
    for command in commands:
        words = shlex.split(command.partition("   ")[0])[1:]
        if "--help" not in words:
            arguments = build_parser().parse_args(words)
            verbs.append(arguments.verb)
            paths = [word for word in words if "/" in word and not word.endswith(("-crops", "-longer"))]
            assert paths
            assert all(Path(path).exists() for path in paths)
    assert verbs == ["compare", "compare", "info", "verify", "train"]
    listed = closing[closing.index("what was made") + 1 : closing.index("what to try next") - 1]
    made = [line.split("  ")[1] for line in listed]
    assert made
    assert all(Path(path).exists() for path in made)


def test_the_program_is_named_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sound-groove"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert verb._program() == "sound-groove"
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert verb._program() == str(script)
    monkeypatch.setattr(sys, "argv", ["/x/sound_groove/__main__.py"])
    assert verb._program() == f"{sys.executable} -m sound_groove"


def test_without_the_train_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec

    def without_torch(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "torch" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "error: The demo needs the 'train' extra: pip install --editable '.[train]'\n"


@pytest.mark.parametrize("seed", ["-1", "x", "4294967296", "1.5"])
def test_a_seed_that_is_none_is_wrong_use(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demo", f"--seed={seed}"])
    assert caught.value.code == 2
    assert f"must be a whole number from 0 to 4294967295, not '{seed}'" in capsys.readouterr().err


def test_the_verb_prints_the_folder_and_talks_on_the_other_stream(
    result: DemoResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_module, "demo", lambda *_, **__: result)
    monkeypatch.setattr(sys, "argv", ["sound-groove", "demo"])
    assert main(["demo"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{result.folder.path}\n"
    assert "what to try next" in captured.err


def test_waiting_threads_sleep_soon_unless_the_user_chose_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    spin_briefly()
    assert os.environ == {"GOMP_SPINCOUNT": "30000"}
    for chosen in ({"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}):
        monkeypatch.setattr(os, "environ", dict(chosen))
        spin_briefly()
        assert os.environ == chosen
