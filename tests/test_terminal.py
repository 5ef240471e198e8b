"""Nothing that a stranger wrote moves a terminal's cursor: each printed field of every verb, every error, every bar."""

import ast
import json
import logging
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

import sound_groove
from hostile_words import HOSTILE, HOSTILE_NAME, Terminal, offences, record
from sound_groove import cli, errors
from sound_groove.cli.output import say, show_in_colour
from sound_groove.encoder.runtimes import open_model
from sound_groove.errors import SoundGrooveError
from sound_groove.progress import ProgressBar, say_above_bars
from sound_groove.service.logs import Log
from sound_groove.terminal import (
    GuardedStream,
    columns_of,
    guarded_streams,
    padded,
    printable_json,
    printable_text,
)

PACKAGE = Path(sound_groove.__file__).parent


def output(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run a command line; its status and what it wrote, in which no terminal finds anything to obey."""
    try:
        status = cli.main(words)
    except SystemExit as leaving:
        assert isinstance(leaving.code, int)
        status = leaving.code
    out, err = capfd.readouterr()
    assert offences(out) == set() and offences(err) == set(), (out, err)
    return status, out, err


# --- the gate


def test_text_keeps_its_lines_and_tabs_and_nothing_else_that_a_terminal_obeys() -> None:
    assert printable_text("a\n\tb") == "a\n\tb"
    assert printable_text("Björk 東京 🎤 ½ ²") == "Björk 東京 🎤 ½ ²"
    assert offences(printable_text(HOSTILE)) == {"FORGED  verdict same"}  # a text may have lines: see `show`


def test_json_says_exactly_what_there_was() -> None:
    text = printable_json(json.dumps({HOSTILE: [HOSTILE, "Ä\n"]}, ensure_ascii=False, indent=2))
    assert offences(text) == set() and "Ä" in text
    assert json.loads(text) == {HOSTILE: [HOSTILE, "Ä\n"]}


def test_wide_characters_take_two_columns_and_marks_none() -> None:
    # By Unicode's EastAsianWidth.txt: Han, Hangul, fullwidth and emoji are W or F; a combining acute accent is a mark.
    counts = {"anna": 4, "王小明": 6, "안나": 4, "ＡＢ": 4, "🎤": 2, "e\u0301": 1, "Björk": 5, "ｱ": 1, "": 0}
    assert {text: columns_of(text) for text in counts} == counts
    assert {columns_of(padded(text, 8)) for text in counts} == {8}


def test_a_verdict_has_its_colour_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "WT_SESSION": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown() -> str:
        terminal = Terminal()
        with monkeypatch.context() as patch, guarded_streams():
            patch.setattr(sys, "stdout", GuardedStream(terminal))
            show_in_colour("verdict  ", f"same{HOSTILE}", HOSTILE, "green")
        return terminal.getvalue()

    before, colour, rest = shown().partition("\x1b[1;32m")
    text, plain, after = rest.partition("\x1b[0m")
    assert before == "verdict  " and colour and plain
    assert offences(text) == offences(after.removesuffix("\n")) == set()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown()
    monkeypatch.setenv("NO_COLOR", "")  # empty: as if it were not there
    assert "\x1b[1;32m" in shown()
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown()


def test_whoever_writes_to_a_guarded_stream_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with guarded_streams():
        sys.stdout.writelines(["a\x1b", "b\r\n"])
        sys.stderr.write("c\x9b")
        logging.StreamHandler(sys.stderr).emit(logging.makeLogRecord({"msg": "d\x1b[A"}))
        assert sys.stdout.encoding == before[0].encoding
    assert (sys.stdout, sys.stderr) == before
    out, err = capsys.readouterr()
    assert (out, err) == ("a\\x1bb\\r\n", "c\\x9bd\\x1b[A\n")


def test_guarded_twice_is_guarded_once(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded_streams(), guarded_streams():
        assert isinstance(sys.stdout, GuardedStream) and not isinstance(sys.stdout.unguarded, GuardedStream)
        sys.stdout.write("\\x1b")
    assert capsys.readouterr().out == "\\x1b"


def test_a_bar_returns_to_the_start_of_its_line_and_its_words_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with guarded_streams(), ProgressBar(range(2), HOSTILE, unit=HOSTILE, disable=None, leave=True) as bar:
        bar.set_postfix_str(HOSTILE)
        bar.refresh()
        say_above_bars("said")
    drawn = terminal.getvalue()
    assert "verdict same" in drawn and "\r" in drawn and "said\n" in drawn
    assert offences(drawn) == {repr("\r")}


def test_the_log_is_json_that_can_be_looked_at(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for path in (None, tmp_path / "log"):
        log = Log(path)
        log.write("server", {"message": HOSTILE})
        log.close()
    for text in (capfd.readouterr().err, (tmp_path / "log").read_text()):
        assert offences(text) == set() and text.count("\n") == 1
        assert json.loads(text)["message"] == HOSTILE


def test_what_onnxruntime_complains_of_comes_as_an_error_and_not_on_the_terminal(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in ("x", "y")]
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], name=HOSTILE_NAME)  # fails when it runs, and is named
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [7, 7])
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "m.onnx"))
    opened = open_model(tmp_path / "m.onnx", "cpu", 1)
    with pytest.raises(Exception, match="Reshape"):
        opened.run(np.zeros((1, 3), np.float32), np.zeros(1, np.float32))
    assert capfd.readouterr() == ("", "")


# Who may name the streams of the process, and why.
WRITERS = {
    "terminal.py": "guards them",
    "progress.py": "draws bars",
    "cli/output.py": "prints for all verbs",
    "cli/__init__.py": "flushes stdout, and gives it up when the reader is gone",
    "service/logs.py": "writes JSON, escaped",
    "encoder/onnx_trial.py": "writes JSON in ASCII to the process that started it",
    "importing/foreign_tensors.py": "says to the process that started it why it refuses a file",
    "voiceprints/store/sqlite.py": "writes zeros into the file that it reserves, where no call does that",
}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def writers(tree: ast.Module) -> Iterator[str]:
    """What in a module writes, or could, to a stream of the process."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input"):
            yield node.func.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "sys" and node.attr in STREAMS:
                yield f"sys.{node.attr}"
            elif (node.value.id, node.attr) in (("warnings", "warn"), ("os", "write"), ("logging", "basicConfig")):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            suspect = names if node.module in ("tqdm", "rich") else STREAMS & set(names) if node.module == "sys" else ()
            yield from (f"{node.module}.{name}" for name in suspect)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in ("tqdm", "rich"))


def test_there_is_no_way_around_the_gate() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in sorted(PACKAGE.rglob("*.py"))
        if (names := set(writers(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert set(found) == set(WRITERS)
    assert not any("print" in names for names in found.values())
    assert found["cli/__init__.py"] == {"sys.stdout"}


@pytest.mark.parametrize(
    "code", ["print(1)", "import sys\nsys.stderr.write('')", "from tqdm import tqdm", "from sys import stdout"]
)
def test_a_way_around_would_be_found(code: str) -> None:
    assert list(writers(ast.parse(code)))


# --- errors


def error_classes() -> list[type[SoundGrooveError]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SoundGrooveError)]
    assert len(kinds) > 15
    return kinds


def made(kind: type[SoundGrooveError]) -> SoundGrooveError:
    """An error of a kind, all of whose words are hostile."""
    special: dict[type[SoundGrooveError], tuple[Any, ...]] = {
        errors.AudioError: (HOSTILE, HOSTILE, HOSTILE),
        errors.ForeignFormatError: (HOSTILE, HOSTILE),
        errors.ConfigurationError: (HOSTILE, [HOSTILE, HOSTILE]),
        errors.EnrolmentError: (HOSTILE, [HOSTILE, HOSTILE]),
        errors.RequestError: (400, HOSTILE, HOSTILE),
        errors.MissingExtraError: (HOSTILE, HOSTILE),
    }
    return kind(*special.get(kind, (HOSTILE,)))


OTHERS = [
    OSError(5, HOSTILE, HOSTILE),
    FileNotFoundError(2, "No such file", HOSTILE.encode("utf-8", "surrogatepass")),
    RuntimeError(HOSTILE),
    KeyError(HOSTILE),
    UnicodeDecodeError("utf-8", b"\x9b", 0, 1, HOSTILE),
]


@pytest.mark.parametrize("words", [(), ("--debug",)], ids=["plain", "debug"])
@pytest.mark.parametrize("error", [*map(made, error_classes()), *OTHERS], ids=lambda error: type(error).__name__)
def test_no_error_writes_what_a_terminal_obeys(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, words: Sequence[str]
) -> None:
    def run(arguments: Namespace) -> int:
        raise error

    monkeypatch.setattr("sound_groove.cli.info.run", run)
    try:
        status = cli.main(["info", "m", *words])
    finally:
        out, err = capfd.readouterr()
    assert status in (1, 2) and out == "" and "verdict same" in err.replace("No such file", "verdict same")
    # a traceback shows a message with its lines, which is what it is asked for
    assert {one for one in offences(err) if not (words and one.startswith("FORGED"))} == set()


@pytest.mark.parametrize("verb", cli.VERBS)
def test_no_complaint_about_words_writes_what_a_terminal_obeys(capfd: pytest.CaptureFixture[str], verb: str) -> None:
    for words in ([verb, f"--{HOSTILE}"], [verb, "--threads", HOSTILE], [verb, *[HOSTILE] * 9], [HOSTILE, verb]):
        status, out, err = output(capfd, *words)
        assert status in (1, 2) and out == "" and err


# --- every printed field of every verb: real files where they cost little, else records of which every word is hostile

Steps = Callable[[Path, pytest.MonkeyPatch], list[list[str]]]
WALKS: dict[str, Steps] = {}


def walk(verb: str) -> Callable[[Steps], Steps]:
    """Register what prepares the command lines of a verb."""

    def registered(steps: Steps) -> Steps:
        WALKS[verb] = steps
        return steps

    return registered


def answering(result: Any, *said: str) -> Callable[..., Any]:
    """A function that tells hostile lines to whoever it is given, and gives a result."""

    def answer(*arguments: Any, **named: Any) -> Any:
        for one in (*arguments, *named.values()):
            if one is say:
                one(HOSTILE)
        return result

    return answer


@walk("demo")
def demo_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.demo import DemoFolder, DemoResult, Pair

    there = DemoFolder(HOSTILE)
    pair = Pair("same", Path(HOSTILE), Path(HOSTILE), None)  # type: ignore[arg-type]
    metrics = {"interval": {"speakers": 3}}
    patch.setattr("sound_groove.demo.demo", answering(DemoResult(there, 0.1, metrics, (pair, pair), {"a": 1.0})))
    return [["demo", "--out", HOSTILE_NAME]]


@walk("download")
def download_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.corpora.downloads.acquisition import Delivery

    patch.setattr("sound_groove.corpora.downloads.download", answering((record(Delivery),)))
    return [["download", "cnceleb", str(folder)], ["download", "cnceleb", str(folder), "--json"]]


@walk("prepare")
def prepare_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.corpora.preparation_report import Report

    names = ("enrolments", "tests", "trials", "targets", "missing_enrolments_and_tests")
    facts = {"evaluation": dict.fromkeys(names, 1)}
    options = record(Report, facts=facts)
    patch.setattr("sound_groove.corpora.preparation.prepare", answering(options))
    command = ["prepare", "folder", HOSTILE_NAME, "--out", HOSTILE_NAME]
    return [command, [*command, "--json"]]


@walk("rooms")
def rooms_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.synthesis.rooms import SimulatedRooms

    patch.setattr("sound_groove.synthesis.rooms.simulate_rooms", answering(record(SimulatedRooms)))
    return [["rooms", "--out", HOSTILE_NAME], ["rooms", "--out", HOSTILE_NAME, "--json"]]


def hostile_recipe(folder: Path, text: str) -> str:
    path = folder / f"{HOSTILE_NAME}.yaml"
    path.write_text(text)
    return str(path)


@walk("crops")
def crops_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    pytest.importorskip("torch")
    patch.setattr("sound_groove.training.by_ear.maker.make_crops_of", answering(3))
    wrong = hostile_recipe(folder, json.dumps({HOSTILE_NAME: 1, "training": {HOSTILE_NAME: HOSTILE_NAME}}))
    return [["crops", "recipes/corpus/by-ear.yaml"], ["crops", wrong], ["crops", HOSTILE_NAME]]


@walk("train")
def train_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.training.result import TrainingResult

    recipe = "recipes/corpus/ecapa-small.yaml"
    manifest = {"key": HOSTILE_NAME, "speaker": HOSTILE_NAME, "audio": HOSTILE_NAME}
    prepared = folder / HOSTILE_NAME
    prepared.mkdir()
    (prepared / "manifest.jsonl").write_text(json.dumps(manifest) + "\n" + json.dumps({HOSTILE_NAME: 1}) + "\n")
    patch.setattr("sound_groove.training.trainer.train", answering(record(TrainingResult, is_main=True)))
    wrong = hostile_recipe(folder, json.dumps({"name": HOSTILE_NAME, HOSTILE_NAME: {HOSTILE_NAME: HOSTILE_NAME}}))
    return [
        ["train", recipe],
        ["train", recipe, "--check", f"data.prepared={json.dumps(str(prepared))}", "--out", HOSTILE_NAME],
        ["train", recipe, "--check", f"augmentation.noise_folder={json.dumps(HOSTILE_NAME)}"],
        ["train", recipe, "--check", f"{HOSTILE_NAME}={HOSTILE_NAME}", f"network.architecture={HOSTILE_NAME}"],
        ["train", recipe, "--check", "--from", HOSTILE_NAME],
        ["train", wrong, "--check"],
    ]


@contextmanager
def nothing(*arguments: Any, **named: Any) -> Iterator[None]:
    yield None


@walk("verify")
def verify_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.evaluation.trials.trial_list import read_trials  # noqa: F401  (the module is there)

    trials = folder / HOSTILE_NAME.replace("\n", " ")
    word = re.sub(r"\s", "", HOSTILE_NAME)
    trials.write_text(f"1 {word}.wav {word}2.wav\n0 {word}.wav {word}3.wav\n", encoding="utf-8")
    broken = folder / "broken.txt"
    broken.write_text(f"{word}\n", encoding="utf-8")
    table = folder / "table.tsv"
    table.write_text(f"recording\t{word}\n", encoding="utf-8")
    model = str(folder / "model.safetensors")
    command = ["verify", "--model", model, "--audio-root", str(folder), "--out", str(folder / "out"), "--trials"]
    return [
        [*command, str(trials)],
        [*command, str(trials), "--allow-missing"],
        [*command, str(broken)],
        [*command, HOSTILE_NAME],
        [*command, str(trials), "--metadata", str(table), "--by", HOSTILE_NAME],
        [*command, str(trials), "--against", str(broken)],
    ]


@walk("calibrate")
def calibrate_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.evaluation.calibrating import Judged
    from sound_groove.evaluation.fusing import Fused
    from sound_groove.scoring.calibration import ScoreMap
    from sound_groove.types import ModelIdentity

    shares = dict.fromkeys(("same", "inconclusive", "different"), 0.3)
    verdicts = {"targets": shares, "nontargets": shares}
    figures = {**{name: {"value": 0.2} for name in ("cllr", "min_cllr", "eer")}, "verdicts": verdicts}
    figures["wrong_verdicts"] = {kind: {"value": 0.3, "low": 0.2, "high": 0.4} for kind in ("same", "different")}
    judged = Judged(
        ScoreMap(1.0, 0.0, fitted_on=HOSTILE), figures, {HOSTILE: figures}, {HOSTILE: {**figures, "ece": 0.1}}, 3, 9
    )
    patch.setattr("sound_groove.evaluation.calibrating.calibrate", answering(judged))
    patch.setattr("sound_groove.export.calibrated_file.write_calibrated", answering(None))
    patch.setattr("sound_groove.cli.calibrate.trial_set_of", answering(SimpleNamespace(notes=(HOSTILE,))))
    model, out = str(folder / "model.safetensors"), str(folder / f"{HOSTILE_NAME}.safetensors")
    patch.setattr(
        "sound_groove.evaluation.fusing.calibrate_fused", answering(Fused(judged, (0.5, 0.5), (judged, judged)))
    )
    patch.setattr("sound_groove.export.fused_file.write_fused", answering(ModelIdentity(HOSTILE, "0" * 64)))
    both = str(folder / "both.onnx")
    patch.setattr("sound_groove.export.fused_file.check_fusible", answering(([Path(model)] * 2, Path(both))))
    command = ["calibrate", model, "--trials", HOSTILE_NAME, "--out", out]
    two = ["calibrate", model, model, "--trials", HOSTILE_NAME, "--out", both]
    return [two, [*two, "--json"], command, [*command, "--json"], ["calibrate", HOSTILE_NAME, "--trials", HOSTILE_NAME]]


@walk("drift")
def drift_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.client.records import DriftAnswer
    from sound_groove.scoring.baseline import Drift, Shift

    found = Drift("drifted", 3, 9, (replace(record(Shift), quantity="snr_db", finding="drifted"),))
    heard = {"speech_s": SimpleNamespace(counts=[1])}
    monitor = SimpleNamespace(drift=answering(found), warnings={HOSTILE: 1}, histograms=heard)
    patch.setattr("sound_groove.monitoring.monitor_of", answering(monitor))
    answer = DriftAnswer(1, 1, {HOSTILE: 1}, None, HOSTILE)
    patch.setattr("sound_groove.client.Client.drift", answering(answer))
    command = ["drift", HOSTILE_NAME, "--model", str(folder / "model.safetensors")]
    return [
        command,
        [*command, "--json"],
        ["drift", "--service", "http://127.0.0.1:1"],
        ["drift", "--service", HOSTILE],
    ]


@walk("adapt")
def adapt_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.evaluation.adapting import Adapted, PlantedCheck
    from sound_groove.evaluation.domain_clusters import Clusters
    from sound_groove.scoring.adaptation import Cohort
    from sound_groove.scoring.calibration import ScoreMap
    from sound_groove.scoring.domain import Domain

    shares = dict.fromkeys(("planted_same", "planted_different", "others_same", "others_different"), 0.2)
    general = ScoreMap(1.0, 0.0, fitted_on=HOSTILE)
    unusable = {f"{HOSTILE}{number}": HOSTILE for number in range(7)}
    adapted = Adapted(
        general.moved(Domain(40, 9, 0, -1.0, 1.5, 1.0, -0.2, 0.5)),
        Cohort(-1.0, 1.5, 9.0),
        PlantedCheck(20, 90, shares, shares),
        unusable,
        Clusters(np.repeat(np.arange(9), 2), 9, 0.7),
    )
    patch.setattr("sound_groove.export.adapted_file.adapt", answering(adapted))
    command = ["adapt", HOSTILE_NAME, "--to", HOSTILE_NAME, "--out", HOSTILE_NAME]
    return [command, [*command, "--json"], [*command, "--threads", HOSTILE_NAME]]


@walk("compare")
def compare_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    model, name = str(folder / "model.safetensors"), folder / f"{HOSTILE_NAME}.wav"
    soundfile.write(str(name), np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    other = shutil.copyfile(name, folder / "b.wav")
    silent = folder / f"silent{HOSTILE_NAME}.wav"
    soundfile.write(str(silent), np.zeros(16_000), 16_000)
    listed = folder / HOSTILE_NAME
    listed.write_text(f"{name}\t{other}\n{HOSTILE_NAME}\n", encoding="utf-8")
    return [
        ["compare", str(name), str(other), "--model", model],
        ["compare", str(name), str(other), "--model", model, "--json"],
        ["compare", str(silent), str(other), "--model", model],
        ["compare", str(name), str(other), "--model", HOSTILE_NAME],
        ["compare", str(other), str(name), str(silent), HOSTILE_NAME, "--model", model],
        ["compare", "--pairs", str(listed), "--model", model],
    ]


class HostileStore:
    """A store, all of whose words are hostile."""

    location = HOSTILE
    encrypted = False

    def speakers(self) -> list[Any]:
        from sound_groove.voiceprints.store.records import SpeakerEntry

        return [record(SpeakerEntry)]

    def voiceprint(self, name: str) -> Any:
        from sound_groove.voiceprints.store.records import Voiceprint

        return record(Voiceprint)

    def remove(self, name: str, actor: str) -> Any:
        from sound_groove.voiceprints.store.records import Erasure

        return record(Erasure)

    def events(self) -> list[Any]:
        from sound_groove.voiceprints.store.records import Event

        return [record(Event)]

    def build_index(self, model: str) -> None:
        pass

    def count(self, model: str | None = None) -> int:
        return 2

    def probe(self, model: str) -> None:
        return None

    def is_whole(self) -> bool:
        return False

    def is_enrolled(self, name: str) -> bool:
        return True

    def discard(self, speaker_id: str, actor: str) -> Any:
        from sound_groove.voiceprints.store.records import Erasure

        return record(Erasure)

    def damaged(self) -> list[Any]:
        from sound_groove.voiceprints.store.records import DamagedVoiceprint

        return [record(DamagedVoiceprint)]


def with_hostile_store(patch: pytest.MonkeyPatch, verb: str) -> None:
    @contextmanager
    def opened(*arguments: Any, **named: Any) -> Iterator[HostileStore]:
        yield HostileStore()

    patch.setattr(f"sound_groove.cli.{verb}.opened_store", opened)


@walk("enroll")
def enroll_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.voiceprints.enrolment import Enrolment

    with_hostile_store(patch, "enroll")
    patch.setattr("sound_groove.voiceprints.enrolment.enroll", answering(record(Enrolment)))
    command = ["enroll", "anna", HOSTILE_NAME, "--model", str(folder / "model.safetensors")]
    return [command, [*command, "--json"], ["enroll", HOSTILE_NAME, "a.wav"]]


@walk("verify-speaker")
def verify_speaker_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.comparison import Comparison

    with_hostile_store(patch, "verify_speaker")
    patch.setattr("sound_groove.voiceprints.verification.verify_speaker", answering(record(Comparison)))
    command = ["verify-speaker", HOSTILE_NAME, "a.wav", "--model", str(folder / "model.safetensors")]
    return [command, [*command, "--json"], ["verify-speaker", "anna", "a.wav", "--model", HOSTILE_NAME]]


@walk("identify")
def identify_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.voiceprints.identification import Identification

    with_hostile_store(patch, "identify")
    patch.setattr("sound_groove.voiceprints.gallery.open_gallery", answering(None))
    patch.setattr("sound_groove.voiceprints.identification.identify", answering(record(Identification)))
    command = ["identify", "a.wav", "--model", str(folder / "model.safetensors")]
    return [command, [*command, "--json"]]


@walk("who")
def who_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.diarization.answer import Diarization, NameEvidence, Speaker
    from sound_groove.types import SpeakerTurn

    evidence = record(NameEvidence)
    found = record(
        Diarization,
        turns=(SpeakerTurn(0.0, 1.0, HOSTILE),),
        speakers=(Speaker(HOSTILE, HOSTILE, 1.0, 1, evidence),),
        overlap_s=0.5,
        enrolled=1,
    )
    with_hostile_store(patch, "who")
    patch.setattr("sound_groove.voiceprints.gallery.open_gallery", answering(None))
    patch.setattr("sound_groove.diarization.who.who", answering(found))
    model, out = str(folder / "model.safetensors"), str(folder / HOSTILE_NAME)
    command = ["who", HOSTILE_NAME, "--model", model, "--store", HOSTILE_NAME]
    return [command, [*command, "--json"], [*command, "--rttm", f"{out}.rttm"]]


@walk("doctor")
def doctor_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.curation.findings import Examination, Finding, Labelled

    findings = tuple(replace(record(Finding), kind=kind) for kind in ("unusable", "wrong_label", "one_person"))
    found = record(Examination, findings=findings * 11, labels={HOSTILE_NAME: HOSTILE})
    patch.setattr("sound_groove.curation.corpus.labelled_recordings", answering([record(Labelled)]))
    patch.setattr("sound_groove.curation.corpus.hear_corpus", answering({}))
    patch.setattr("sound_groove.curation.copies.find_copies", answering([]))
    patch.setattr("sound_groove.curation.examination.examine", answering(found))
    command = ["doctor", HOSTILE_NAME, "--model", str(folder / "model.safetensors"), "--out", HOSTILE_NAME]
    return [command, [*command, "--force", "--json"], command]


@walk("index")
def index_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.archive.indexing import IndexResult

    done = record(IndexResult, path=Path(HOSTILE_NAME), failures=((HOSTILE_NAME, HOSTILE),) * 21)
    patch.setattr("sound_groove.archive.indexing.index_archive", answering(done))
    command = ["index", HOSTILE_NAME, "--out", HOSTILE_NAME, "--model", str(folder / "model.safetensors")]
    return [command, [*command, "--json"]]


@walk("find")
def find_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.archive.finding import Finding, Stretch

    stretch = record(Stretch)
    found = record(Finding, stretches=(stretch, record(Stretch, recording=f"{HOSTILE_NAME}.wav".replace("\n", ""))))
    with_hostile_store(patch, "find")
    patch.setattr("sound_groove.archive.recordings.open_archive", answering(None))
    patch.setattr("sound_groove.voiceprints.sought.enrolled_voice", answering(None))
    patch.setattr("sound_groove.archive.finding.find", answering(found))
    command = ["find", HOSTILE_NAME, f"{HOSTILE_NAME}.index", "--model", str(folder / "model.safetensors")]
    return [command, [*command, "--json"], [*command, "--m3u", str(folder / f"{HOSTILE_NAME}.m3u")]]


@walk("listen")
def listen_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.live.listening import LiveCandidate, LiveEvent
    from sound_groove.voiceprints.sought import SoughtVoice

    event = replace(record(LiveEvent), kind="verdict", verdict="identified", candidates=(record(LiveCandidate),))
    made = SimpleNamespace(add=lambda samples: [event], end=lambda: event)
    with_hostile_store(patch, "listen")
    patch.setattr("sound_groove.voiceprints.sought.enrolled_voice", answering(record(SoughtVoice)))
    patch.setattr("sound_groove.live.listening.LiveListener", answering(made))
    patch.setattr("sound_groove.cli.listen.pieces", answering([None]))
    command = ["listen", HOSTILE_NAME, "--model", str(folder / "model.safetensors")]
    return [command, [*command, "--json"]]


@walk("recipes")
def recipes_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    copied = str(folder / f"{HOSTILE_NAME}.yaml")
    return [["recipes"], ["recipes", "show", HOSTILE_NAME], ["recipes", "copy", "6gb", copied]]


@walk("speakers")
def speakers_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.voiceprints.store.exchange import Exported, Imported, VoiceprintFile

    with_hostile_store(patch, "speakers")
    exchange = "sound_groove.voiceprints.store.exchange"
    patch.setattr(f"{exchange}.export_voiceprints", answering(record(Exported)))
    patch.setattr(f"{exchange}.read_voiceprints", answering(record(VoiceprintFile)))
    patch.setattr(f"{exchange}.import_voiceprints", answering(record(Imported, elsewhere=((HOSTILE, HOSTILE),))))
    patch.setattr("sound_groove.voiceprints.gallery.searches_itself", answering(True))

    def refused(*arguments: Any) -> None:
        raise errors.StoreError(HOSTILE)

    patch.setattr("sound_groove.voiceprints.enrolment.re_embed", refused)
    model = ["--model", str(folder / "model.safetensors")]
    listed = [["list"], ["show", HOSTILE_NAME], ["remove", "anna"], ["import", "a.npz"], ["history"]]
    listed += [["re-embed", *model]]
    plain = [*listed, ["export", f"{HOSTILE_NAME}.npz"], ["export", HOSTILE_NAME], ["index", *model]]
    return [["speakers", *words] for words in (*plain, *([*words, "--json"] for words in listed))]


@walk("embed")
def embed_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.encoder.bulk import BulkResult

    patch.setattr("sound_groove.encoder.bulk.embed_all", answering(record(BulkResult)))
    command = ["embed", HOSTILE_NAME, "--model", str(folder / "model.safetensors")]
    return [[*command, "--out", "a.npz"], [*command, "--out", "a.npz", "--json"], [*command, "--out", HOSTILE_NAME]]


@walk("export")
def export_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.export.placing import ExportedFile

    real = ["export", HOSTILE_NAME, "--out", "out.onnx"]
    patch.setattr("sound_groove.cli.export._export", answering(record(ExportedFile)))
    return [["export", "m", "--check-on", HOSTILE_NAME], ["export", "m", "--json"], real]


@walk("import")
def import_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.audio.front_end import of_family
    from sound_groove.importing import importer
    from sound_groove.importing.importer import Examined, ImportedModel
    from sound_groove.importing.sources import Source

    source = Source(Path(HOSTILE_NAME), HOSTILE, "onnx", None, HOSTILE, None, HOSTILE, 80, {"comment": HOSTILE})  # type: ignore[arg-type]
    found = Examined(source, of_family("wespeaker"), None, (HOSTILE,))
    done = ImportedModel(Path(HOSTILE_NAME), HOSTILE, HOSTILE, 1, 1, 1.0, (2.0,), of_family("nemo"), HOSTILE, None)

    def examine(*arguments: Any, tell: Callable[[str], None]) -> Examined:
        tell(HOSTILE)
        return found

    patch.setattr(importer, "examine", examine)
    patch.setattr(importer, "write_imported", answering(done))
    real = ["import", HOSTILE_NAME, "--check"]
    out = ["import", "m.onnx", "--out", "o.onnx"]
    return [real, [*real, "--json"], out, [*out, "--json"], ["import", "m", "--out", HOSTILE_NAME]]


@walk("models")
def models_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove import public_models
    from sound_groove.importing.getting import Gotten

    model = record(public_models.PublicModel)
    patch.setattr("sound_groove.public_models.public_models", lambda: {HOSTILE: model})
    patch.setattr("sound_groove.importing.getting.get_model", answering(Gotten(model, Path(HOSTILE), False)))
    patch.setattr("sound_groove.importing.getting.remove_model", answering(True))
    listed = [["models", "list"], ["models", "get", "m"], ["models", "remove", HOSTILE_NAME]]
    return [*listed, ["models", "list", "--json"], ["models", "get", "m", "--json"]]


@walk("info")
def info_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info(HOSTILE_NAME, TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node(HOSTILE_NAME, [HOSTILE_NAME], ["y"])], HOSTILE_NAME, [value], [])
    model = helper.make_model(graph, producer_name=HOSTILE_NAME)
    for name in ("name", "hash", "training", "score_map", HOSTILE_NAME):
        entry = model.metadata_props.add()
        entry.key, entry.value = name, HOSTILE_NAME
    path = folder / f"{HOSTILE_NAME}.onnx"
    onnx.save(model, str(path))
    checkpoint = str(folder / "model.safetensors")
    return [
        ["info", checkpoint],
        ["info", checkpoint, "--json"],
        ["info", str(path)],
        ["info", str(path), "--json"],
        ["info", str(path), "--check"],
        ["info", HOSTILE_NAME],
    ]


@walk("bench")
def bench_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    from sound_groove.encoder.timing import Audience, Benchmark

    words = ("git_commit", "cpu", "instruction_set", "system")
    names = ("sound-groove", "python", "torch", "onnxruntime", "numpy")
    machine = {**dict.fromkeys(words, HOSTILE), "versions": dict.fromkeys(names, HOSTILE), "cores": 2}
    measured: Benchmark = record(Benchmark, machine={**machine, "load_average": 0.5})

    def benchmark(load: object, chosen: object, budget_s: float, audience: Audience) -> Benchmark:
        audience.begins(measured.model, measured.machine)
        for timing in measured.timings:
            audience.measures(timing.setting)
            audience.measured(timing)
        return measured

    patch.setattr("sound_groove.encoder.timing.benchmark", benchmark)
    patch.setattr("sound_groove.encoder.timing.default_threads", answering((2,)))
    return [["bench", HOSTILE_NAME], ["bench", HOSTILE_NAME, "--json"]]


@walk("serve")
def serve_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    def serve(*arguments: Any, on_start: Callable[[str], None], **named: Any) -> None:
        on_start(HOSTILE)

    patch.setattr("sound_groove.service.serving.serve", serve)
    return [["serve"], ["serve", "--port", HOSTILE_NAME], ["serve", "--store", HOSTILE_NAME]]


@walk("keys")
def keys_steps(folder: Path, patch: pytest.MonkeyPatch) -> list[list[str]]:
    file = ["--keys", str(folder / HOSTILE_NAME)]
    return [
        ["keys", "list", *file],
        ["keys", "add", "desk", "--scope", "read", *file],
        ["keys", "list", *file],
        ["keys", "list", "--json", *file],
        ["keys", "add", HOSTILE_NAME, "--scope", "read", *file],
        ["keys", "add", "other", "--scope", HOSTILE_NAME, *file],
        ["keys", "remove", HOSTILE_NAME, *file],
    ]


def write_hostile_model(path: Path, template: Path) -> None:
    """A model file whose every name is hostile."""
    from dataclasses import replace

    from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint

    there = load_checkpoint(template)
    score_map = {"scale": 10.0, "offset": -3.0, "fitted_on": HOSTILE_NAME}
    facts = {**there.header.training, "description": HOSTILE_NAME, HOSTILE_NAME: HOSTILE_NAME}
    header = replace(there.header, name=HOSTILE_NAME, score_map=score_map, training=facts)
    save_checkpoint(path, there.tensors, header)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_no_field_that_a_verb_prints_is_obeyed_by_a_terminal(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model_path: Path,
    verb: str,
) -> None:
    root = Path(__file__).parents[1]
    write_hostile_model(tmp_path / "model.safetensors", model_path)
    commands = WALKS[verb](tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(root / "recipes")
    told = ""
    for words in commands:
        status, out, err = output(capfd, *words)
        assert status in (0, 1, 2, 3) and "this is a bug" not in err, (words, err)
        if "--json" in words and status == 0:
            for one in out.splitlines() if verb == "listen" else [out]:
                json.loads(one)
        told += out + err
    assert "FORGED  verdict same" in told  # it was printed, within a line
