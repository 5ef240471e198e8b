"""What can be told of the Dockerfile without docker: its sources exist, its commands parse, and it runs as nobody."""

import json
import re
import tomllib
from pathlib import Path

from sound_groove.cli import build_parser

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


def instructions(word: str) -> list[str]:
    found = [line.removeprefix(word).strip() for line in LINES if line.startswith(word + " ")]
    assert found, word
    return found


def test_what_is_copied_is_there_and_sent_to_docker() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]]
    assert len(sources) >= 5
    for source in sources:
        assert (ROOT / source).exists() and source in sent, source


def test_all_that_a_wheel_is_made_of_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = set(project["project"]["license-files"])
    needed |= {Path(source).parts[0] for source in (*wheel["force-include"], *wheel["packages"])} | {"README.md"}
    copied = {source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]}
    assert needed <= copied


def test_the_command_is_one_of_ours_and_needs_keys() -> None:
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert json.loads(entry) == ["sound-groove"]
    arguments = build_parser().parse_args(json.loads(command))
    (volume,) = instructions("VOLUME")
    assert arguments.verb == "serve" and arguments.host == "0.0.0.0" and arguments.keys == Path(volume) / "keys.json"


def test_it_runs_as_nobody_with_the_smallest_extra() -> None:
    assert instructions("USER") == ["10001:10001"]
    base, extras = instructions("ARG")
    assert re.fullmatch(r"BASE=python:3\.\d+-slim", base) and extras == "EXTRAS=serve"
    assert [line.split()[0] for line in instructions("FROM")] == ["${BASE}"] * 2
    assert not any("ADD " in line or "curl" in line or "torch" in line for line in LINES)
