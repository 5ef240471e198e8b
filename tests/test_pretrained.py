"""The model that the package carries: it answers, and everything that says something of it agrees."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sound_groove import SpeakerEncoder, compare
from sound_groove.cli import main
from sound_groove.encoder.listener import Listener
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.pretrained import (
    CONTENTS,
    EARLIER,
    MODEL_CARD,
    PRETRAINED,
    UNLISTED,
    WEIGHTS,
    known_name,
    model_path,
)
from sound_groove.synthesis.voices import made_up_speaker, speak

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder.load(PRETRAINED, threads=1)


def clips() -> list[Path]:
    return sorted(EXAMPLES.glob("*.flac"))


def voice_of(clip: Path) -> str:
    return clip.stem.rsplit("-", 1)[0]


def test_both_files_are_one_model(encoder: SpeakerEncoder) -> None:
    other = SpeakerEncoder.load(model_path(PRETRAINED, ".safetensors"), threads=1)
    assert other.identity == encoder.identity and other.identity.name == PRETRAINED
    assert other.score_map == encoder.score_map
    assert other.trained_speakers == encoder.trained_speakers and len(encoder.trained_speakers) == 1303
    voices = [speak(made_up_speaker(3, number), 0, 1.0 + 3 * number) for number in range(3)]
    assert (encoder.embed(voices) * other.embed(voices)).sum(axis=1).min() > 0.99999


def test_a_file_of_an_earlier_version_keeps_its_name() -> None:
    for content in EARLIER:
        assert known_name(PRETRAINED, Path("kept.onnx"), content) == PRETRAINED
    assert known_name(PRETRAINED, Path("kept.onnx"), "0" * 64) == UNLISTED
    assert not set(EARLIER) & set(CONTENTS.values())


def test_it_is_calibrated_on_speakers_that_it_was_not_trained_on(encoder: SpeakerEncoder) -> None:
    score_map = encoder.score_map
    assert score_map is not None and score_map.calibrated and score_map.scale > 0
    assert {term.measure for term in score_map.terms} == {"speech", "snr", "norm"}
    assert score_map.collections == 12 and len(score_map.reference) == 0  # no term asks for the closeness
    assert len(score_map.speakers) >= 250 and not set(score_map.speakers) & encoder.trained_speakers


def test_the_example_clips_get_the_right_verdicts(encoder: SpeakerEncoder) -> None:
    assert len({voice_of(clip) for clip in clips()}) >= 3
    pairs = [(a, b) for index, a in enumerate(clips()) for b in clips()[index + 1 :]]
    heard = {clip: Listener(encoder).hear(clip) for clip in clips()}
    answers = {(a.name, b.name): compare(heard[a], heard[b], encoder) for a, b in pairs}
    undecided = [pair for pair, answer in answers.items() if answer.verdict == "inconclusive"]
    for a, b in pairs:
        answer = answers[a.name, b.name]
        wanted = {"same"} if voice_of(a) == voice_of(b) else {"different", "inconclusive"}
        assert answer.verdict in wanted, (a.name, b.name, answer)
        assert answer.model.hash == encoder.identity.hash and not answer.warnings
    assert len(undecided) <= len(pairs) // 5, undecided


def test_it_is_what_is_used_when_no_model_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SOUND_GROOVE_MODEL", raising=False)
    files = [str(clip) for clip in clips()[:2]]
    assert main(["compare", *files, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == compare(files[0], files[1], "pretrained").as_dict()
    assert answer["model"]["name"] == "pretrained"
    assert main(["info", "pretrained"]) == 0
    assert answer["model"]["hash"] in capsys.readouterr().out


def test_comparing_with_it_needs_no_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from sound_groove import compare\n"
        f"print(compare({str(clips()[0])!r}, {str(clips()[1])!r}).verdict)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("same", "different")


def test_nothing_is_written_into_the_package(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in WEIGHTS.iterdir()}
    (tmp_path / "meta.jsonl").write_text("", encoding="utf-8")
    for command in (
        ["export", "pretrained"],
        ["export", "pretrained", "--out", str(WEIGHTS / "pretrained.onnx"), "--force"],
        ["calibrate", "pretrained", "--val-meta", str(tmp_path / "meta.jsonl"), "--force"],
    ):
        assert main(command) == 1
        assert "a model that is known by its name stays as it is; name a file" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in WEIGHTS.iterdir()} == before


def test_the_files_say_nothing_of_the_machine_that_made_them() -> None:
    for path in (model_path(PRETRAINED), model_path(PRETRAINED, ".safetensors")):
        content = path.read_bytes()
        assert not any(folder in content for folder in (b"/root/", b"/tmp/", b"/work/", b"/home/"))
        assert len(content) < 14e6


def test_the_card_is_about_this_model(encoder: SpeakerEncoder) -> None:
    card = MODEL_CARD.read_text(encoding="utf-8")
    assert encoder.identity.hash[:12] in card
    checkpoint = load_checkpoint(PRETRAINED)
    assert sum(tensor.numel() for tensor in checkpoint.group(NETWORK).values()) > 6e6
    assert np.isfinite(encoder.embed(np.zeros(16000, np.float32) + np.float32(1e-3))).all()
    for word in ("CN-Celeb", "forensic", "spoof", "licence"):
        assert word in card


def test_a_wheel_carries_it_the_page_of_the_service_and_the_templates_of_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    # What an index shows: README, in which every link and picture is found from anywhere.
    source = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = re.findall(r"\]\((?!https://|#)([^)\s]+)\)", readme)
    assert len(relative) > 20 and all((ROOT / target.split("#")[0]).exists() for target in relative)
    shown = re.findall(r"\]\(([^)\s]+)\)", metadata)
    assert [
        link.removeprefix(f"{source}/blob/main/").removeprefix(f"{source}/raw/main/") for link in shown
    ] == re.findall(r"\]\(([^)\s]+)\)", readme)
    assert all(link.startswith(("https://", "#")) for link in shown)
    assert f"({source}/raw/main/docs/images/" in metadata
    for name in ("pretrained.onnx", "pretrained.safetensors", "MODEL_CARD.md"):
        assert f"sound_groove/weights/{name}" in names
    page = ROOT / "src" / "sound_groove" / "service" / "page"
    assert (page / "index.html").is_file()
    assert {f"sound_groove/service/page/{path.name}" for path in page.iterdir()} <= names
    templates = ROOT / "src" / "sound_groove" / "evaluation" / "report" / "templates"
    assert (templates / "page.html").is_file()
    assert {f"sound_groove/evaluation/report/templates/{path.name}" for path in templates.iterdir()} <= names
