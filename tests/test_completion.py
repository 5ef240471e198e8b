"""Completion: what shells make of the script that the program prints."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sound_groove.cli import VERBS, build_parser, main
from sound_groove.cli.completion import SHELLS, completion_script

BASH = r"""
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
$(complete -p sound-groove | sed 's/.*-F \([^ ]*\).*/\1/') sound-groove
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The script of each shell, in a file."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / shell).write_text(completion_script(build_parser(), shell), encoding="utf-8")
    return {shell: folder / shell for shell in SHELLS}


def by_bash(script: Path, *words: str, folder: Path | None = None) -> set[str]:
    """What bash offers for the last word of a command line."""
    command = ["bash", "--norc", "-c", BASH, "bash", str(script), "sound-groove", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_verbs_options_choices_and_files(scripts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine.wav").touch()
    (tmp_path / "mine").mkdir()
    bash = scripts["bash"]
    assert set(VERBS) <= by_bash(bash, "")
    assert by_bash(bash, "veri") == {"verify", "verify-speaker"}
    assert by_bash(bash, "speakers", "re") == {"remove", "re-embed"}
    assert by_bash(bash, "compare", "--pri") == {"--prior"}
    assert by_bash(bash, "export", "best.onnx", "--format", "s") == {"safetensors", "sherpa-onnx"}
    assert by_bash(bash, "compare", "a.wav", "b.wav", "m", folder=tmp_path) == {"mine.wav", "mine"}
    assert by_bash(bash, "train", "--out", "m", folder=tmp_path) == {"mine"}  # a folder


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_verbs_and_options(scripts: dict[str, Path]) -> None:
    def offered(line: str) -> set[str]:
        command = ["fish", "--no-config", "-c", f"source {scripts['fish']}; complete -C '{line}'"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return {one.split("\t")[0] for one in done.stdout.splitlines()}

    assert offered("sound-groove veri") == {"verify", "verify-speaker"}
    assert offered("sound-groove compare --pri") == {"--prior"}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_its_script(scripts: dict[str, Path]) -> None:
    subprocess.run(["zsh", "-n", str(scripts["zsh"])], check=True)
    assert scripts["zsh"].read_text(encoding="utf-8").startswith("#compdef sound-groove\n")


def test_the_program_prints_the_script_whatever_stands_behind(
    scripts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--completion", "bash"], ["--completion=bash", "train"]):
        with pytest.raises(SystemExit) as leaving:
            main(words)
        assert leaving.value.code == 0
        assert capsys.readouterr().out == scripts["bash"].read_text(encoding="utf-8").rstrip() + "\n"
    with pytest.raises(SystemExit) as leaving:
        main(["--completion", "bsh"])
    assert leaving.value.code == 2
    assert "there is no 'bsh'; did you mean 'bash'?" in capsys.readouterr().err
