"""The command line's promises: help with an example, one sentence for an error, data and talk kept apart."""

import io
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sound_groove.cli as cli
import sound_groove.cli.info as info
from sound_groove import __version__, errors
from sound_groove.errors import AudioError, ConfigurationError, MissingExtraError, UsageError, installing
from sound_groove.networks.checkpoint import load_checkpoint

COMMAND = [sys.executable, "-m", "sound_groove"]
# Without buffering, argparse itself swallows what goes wrong with the output.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def outcome(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command line in this process."""
    try:
        status = cli.main(words)
    except SystemExit as leaving:
        assert isinstance(leaving.code, int)
        status = leaving.code
    out, err = capfd.readouterr()
    return status, out, err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `info MODEL` raise the error."""

    def run(arguments: object) -> int:
        raise error

    monkeypatch.setattr(info, "run", run)


# --- help ---


def test_the_verbs_are_those_of_the_contract() -> None:
    assert cli.VERBS == (
        "demo",
        "download",
        "prepare",
        "doctor",
        "rooms",
        "crops",
        "recipes",
        "train",
        "verify",
        "calibrate",
        "drift",
        "adapt",
        "compare",
        "enroll",
        "verify-speaker",
        "identify",
        "who",
        "index",
        "find",
        "listen",
        "speakers",
        "embed",
        "export",
        "import",
        "models",
        "info",
        "bench",
        "serve",
        "keys",
    )
    modules = [cli.MODULES.get(verb, verb.replace("-", "_")) for verb in cli.VERBS]
    assert all(find_spec(f"sound_groove.cli.{module}") for module in modules)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself_with_an_example(capfd: pytest.CaptureFixture[str], verb: str) -> None:
    status, out, err = outcome(capfd, verb, "--help")
    assert status == 0 and err == ""
    assert out.startswith(f"usage: sound-groove {verb}")
    assert f"\n  sound-groove {verb}" in out.split("example")[-1]  # on a line of its own, below that word


@pytest.mark.parametrize("corpus", ["cnceleb", "voxceleb", "folder", "list"])
def test_every_kind_of_corpus_explains_itself_with_an_example(capfd: pytest.CaptureFixture[str], corpus: str) -> None:
    status, out, _ = outcome(capfd, "prepare", corpus, "--help")
    assert status == 0 and f"sound-groove prepare {corpus}" in out.split("example")[-1]


@pytest.mark.parametrize("corpus", ["cnceleb", "musan", "rirs"])
def test_every_download_explains_itself_with_an_example(capfd: pytest.CaptureFixture[str], corpus: str) -> None:
    status, out, _ = outcome(capfd, "download", corpus, "--help")
    assert status == 0 and f"sound-groove download {corpus}" in out.split("example")[-1]


def test_the_program_names_its_verbs_and_its_version(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = outcome(capfd, "--help")
    assert status == 0 and all(f"\n    {verb} " in out for verb in cli.VERBS)
    assert outcome(capfd) == (0, out, "")  # the bare command helps
    assert outcome(capfd, "--version")[1] == outcome(capfd, "-V")[1] == f"sound-groove {__version__}\n"


def test_with_json_an_error_is_an_object_on_stdout_besides(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, status in ((("info", "--json"), 2), (("info", "m", "--json", "--nothing"), 2)):
        found, out, err = outcome(capfd, *words)
        assert found == status and err == f"error: {json.loads(out)['error']}\n"
    failing(monkeypatch, AudioError("ä.wav", "is digital silence"))
    found, out, err = outcome(capfd, "info", "m", "--json")
    assert found == 1 and json.loads(out) == {"error": "ä.wav: is digital silence"} and "ä" in out
    assert err == "error: ä.wav: is digital silence\n"
    assert outcome(capfd, "info", "m")[1] == ""


def test_an_extra_is_installed_from_the_source_or_the_wheel_and_never_by_a_name_that_no_index_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installing("train") == "pip install --editable '.[train]'"
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "sound_groove" / "errors.py"))
    assert installing("train") == f"pip install 'sound_groove-{__version__}-py3-none-any.whl[train]'"


def test_speakers_alone_lists_them(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words in ([], ["--json"]):
        store = str(tmp_path / "none.db")
        assert outcome(capfd, "speakers", "--store", store, *words) == outcome(
            capfd, "speakers", "list", "--store", store, *words
        )
    assert "remove" in outcome(capfd, "speakers", "--help")[1]


def test_the_two_ways_to_start_it_say_the_same() -> None:
    script = Path(sys.executable).with_name("sound-groove")
    outputs = [
        subprocess.run([*words, "--help"], capture_output=True, check=True).stdout for words in ([script], COMMAND)
    ]
    assert outputs[0] == outputs[1]


# --- wrong use: 2 ---


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["comapre"], "error: VERB: there is no 'comapre'; did you mean 'compare'? (see 'sound-groove --help')\n"),
        (["it's"], "error: VERB: there is no 'it's'; choose from demo, download"),
        (["a\nb"], r"error: VERB: there is no 'a\nb'; choose from"),
        (["--debug"], "error: the following arguments are required: VERB"),
        (["info"], "error: the following arguments are required: MODEL (see 'sound-groove info --help')\n"),
        (["info", "m", "--jsn"], "error: there is no option '--jsn'; did you mean '--json'? (see 'sound-groove info"),
        (["info", "m", "--jsno=1"], "error: there is no option '--jsno=1'; did you mean '--json'?"),
        (["info", "m", "n"], "error: unexpected 'n'; "),
        (["--verison"], "error: "),
        (["download", "muzan"], "error: CORPUS: there is no 'muzan'; did you mean 'musan'?"),
        (["prepare", "cncelb"], "error: CORPUS: there is no 'cncelb'; did you mean 'cnceleb'?"),
    ],
)
def test_wrong_use_is_one_sentence_with_the_nearest_word(
    capfd: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    status, out, err = outcome(capfd, *words)
    assert status == 2 and out == ""
    assert err.startswith(expected) and err.count("\n") == 1, err


def test_an_argument_that_the_library_refuses_is_wrong_use(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, UsageError("the prior must lie between 0 and 1"))
    assert outcome(capfd, "info", "m") == (2, "", "error: the prior must lie between 0 and 1\n")


# --- could not: 1 ---


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AudioError("a\nb.wav", "is digital silence"), r"a\nb.wav: is digital silence"),
        (MissingExtraError("Training", "train"), "Training needs the 'train' extra: pip install --editable '.[train]'"),
        (FileNotFoundError(2, "No such file or directory", "x.txt"), "x.txt: No such file or directory"),
        (PermissionError(13, "Permission denied", b"\xff.wav"), r"\udcff.wav: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("something odd"), "something odd"),
        (MemoryError(), "out of memory; use a smaller batch"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out of memory; use a smaller batch",
        ),
        (KeyError("x"), "this is a bug in Sound-Groove (KeyError: 'x'); run it again with --debug and report"),
        (ValueError("two\nlines"), "this is a bug in Sound-Groove (ValueError: two lines); run it again with --debug"),
        (RecursionError("deep"), "this is a bug in Sound-Groove (RecursionError: deep)"),
    ],
)
def test_every_failure_is_one_sentence_and_no_traceback(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    failing(monkeypatch, error)
    status, out, err = outcome(capfd, "info", "m")
    assert status == 1 and out == ""
    assert err.startswith(f"error: {sentence}") and err.count("\n") == 1, err


def test_a_recipe_with_mistakes_gets_a_line_for_each(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ConfigurationError("recipe.yaml", ["one", "two"]))
    assert outcome(capfd, "info", "m") == (1, "", "error: recipe.yaml: 2 mistakes\n  - one\n  - two\n")


@pytest.mark.parametrize("words", [["--debug", "info", "m"], ["info", "m", "--debug"], ["info", "--debug", "m"]])
def test_debug_shows_the_traceback(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    failing(monkeypatch, AudioError("a.wav", "is \x1b[Aempty"))
    status, out, err = outcome(capfd, *words)
    assert (status, out) == (1, "") and err.startswith("Traceback (most recent call last):\n")
    assert err.endswith("AudioError: a.wav: is \\x1b[Aempty\n")


def test_debug_in_a_process_of_its_own_prints_the_traceback_and_exits_with_1() -> None:
    plain, debug = (
        subprocess.run(
            [*COMMAND, "compare", "nothing.wav", "b.wav", "--model", "m", *words], capture_output=True, text=True
        )
        for words in ([], ["--debug"])
    )
    assert plain.returncode == debug.returncode == 1
    assert plain.stderr.startswith("error: nothing.wav: ") and plain.stderr.count("\n") == 1
    assert debug.stderr.startswith("Traceback (most recent call last):")
    assert f"AudioError: {plain.stderr.removeprefix('error: ')}" in debug.stderr


def test_an_interruption_says_so_and_exits_with_130(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert outcome(capfd, "info", "m") == (130, "", "interrupted\n")


# --- what can happen to the streams ---


def test_a_reader_that_goes_away_is_no_error() -> None:
    for words in (["--help"], ["compare", "--help"]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([*COMMAND, *words], stdout=write, stderr=subprocess.PIPE, text=True, env=BUFFERED)
        os.close(write)
        assert done.returncode == 141 and done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_output_that_cannot_be_written_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, env=BUFFERED)
    assert done.returncode == 1 and done.stderr == "error: No space left on device\n"


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {}]
)
def test_any_file_name_can_be_named_in_an_error(tmp_path: Path, locale: dict[str, str]) -> None:
    names = [b"\xff\xfe.wav", "语音.wav".encode(), b"a\nb.wav", b"\x1b[31m.wav"]
    for name in names:
        path = os.fsencode(tmp_path) + b"/" + name
        Path(os.fsdecode(path)).write_bytes(b"no audio")
        environment = {**os.environ, **locale}
        done = subprocess.run([*COMMAND, "compare", path, path, "--model", "m"], capture_output=True, env=environment)
        assert done.returncode == 1 and done.stdout == b"", done.stderr
        assert done.stderr.startswith(b"error: ") and done.stderr.count(b"\n") == 1, done.stderr
        assert b"\x1b" not in done.stderr and b".wav" in done.stderr


def test_a_name_that_the_output_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: object) -> int:
        sys.stdout.write("语音\n")
        return 0

    monkeypatch.setattr(info, "run", run)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["info", "m"]) == 0
    assert stream.buffer.getvalue() == b"\\u8bed\\u97f3\n"


# --- info ---


def test_info_prints_what_is_in_a_model(capfd: pytest.CaptureFixture[str], model_path: Path) -> None:
    status, out, err = outcome(capfd, "info", str(model_path.parent), "--json")
    facts = json.loads(out)
    checkpoint = load_checkpoint(model_path)
    assert status == 0 and err == ""
    assert (facts["name"], facts["hash"], facts["embedding_size"]) == ("random", checkpoint.hash, 12)
    assert facts["score_map"] == {"scale": 10.0, "offset": -3.0, "fitted_on": "nothing: made up"}
    status, out, _ = outcome(capfd, "info", str(model_path))
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert status == 0 and rows["hash"] == checkpoint.hash and rows["training.validation_eer"] == "0.125"
    assert rows["parameters"].replace(",", "") == str(facts["parameters"])


def test_info_refuses_what_is_not_a_model(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.ones(1600) * 0.1, 16000)
    status, out, err = outcome(capfd, "info", str(tmp_path / "a.wav"))
    assert status == 1 and out == "" and err.count("\n") == 1
    assert err.startswith(f"error: {tmp_path / 'a.wav'}: is damaged, truncated or not a safetensors file")
