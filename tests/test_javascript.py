"""The npm package: the same answers as Python gives, of the same files."""

import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import sound_groove
from costs import costs
from once import Once
from sound_groove.audio.level import level_of_samples

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "javascript"
EXAMPLES = ROOT / "examples"
sys.path.append(str(ROOT / "benchmarks"))

import javascript  # noqa: E402

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (PACKAGE / "node_modules").is_dir(),
    reason="the npm package is not installed: npm ci in javascript/, with Node 20 or newer",
)


def written(folder: Path, name: str, samples: Any, rate: int = 16000) -> Path:
    path = folder / f"{name}.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def made(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Pairs of files: examples as they are and treated, and what is to be refused."""
    one, other = (sound_groove.load_audio(EXAMPLES / f"{name}.flac") for name in ("rms-1", "slt-1"))
    good = written(folder, "good", one[:48000])
    found = {"another voice": (good, written(folder, "other", other[:48000]))}
    for treatment in javascript.TREATMENTS:
        if treatment != "eight times":  # more than a minute, which takes long: its level is compared below
            treated = javascript.written(one[-48000:], folder / f"{len(found)}.wav", treatment)
            found[treatment] = (good, treated)
    found |= {
        "the same": (good, good),
        "two people in turn": (good, written(folder, "two", np.concatenate((one, other)))),
        "a channel each": (good, written(folder, "call", np.stack([one[:64000], other[:64000]], axis=1))),
        "opposite channels": (good, written(folder, "opposite", np.stack([one[:48000], -one[:48000]], axis=1))),
        "an offset": (good, written(folder, "offset", other[:48000] * 0.3 + 0.4)),
        "half a second": (good, written(folder, "short", one[8000:14000])),
        "a tone": (good, written(folder, "tone", 0.1 * np.sin(np.arange(48000) / 5))),
        "silence": (good, written(folder, "silence", np.zeros(16000))),
        "too short": (good, written(folder, "tiny", one[:800])),
        "not finite": (good, written(folder, "nan", np.where(np.arange(16000) == 99, np.nan, 0.1 * one[:16000]))),
    }
    return found


@pytest.fixture(scope="module")
@costs("slow")
def answers(once: Once) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What Python and Node say of the same pairs."""

    def ask(folder: Path) -> None:
        pairs = made(folder)
        theirs = javascript.asked_in_node(list(pairs.values()), "--keep")
        ours = javascript.asked_in_python(list(pairs.values()))
        (folder / "answers.json").write_text(json.dumps(dict(zip(pairs, zip(ours, theirs, strict=True), strict=True))))

    return json.loads((once.folder("javascript", ask) / "answers.json").read_text())  # type: ignore[no-any-return]


@needs_node
def test_the_answers_are_those_of_python(answers: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    apart = {name: javascript.differences(*both) for name, both in answers.items()}
    assert len(apart) > 20
    assert {name: found for name, (_, found) in apart.items() if found} == {}
    assert {name: llr for name, (llr, _) in apart.items() if llr > 0.01} == {}
    assert max(llr for name, (llr, _) in apart.items() if "kHz" not in name and name != "telephone") < 0.001
    told = {name: theirs for name, (_, theirs) in answers.items() if "verdict" in theirs}
    assert {one["verdict"] for one in told.values()} == {"same", "different", "inconclusive"}
    codes = {warning["code"] for one in told.values() for warning in one["warnings"]}
    assert {"clipping", "narrow_band", "several_voices", "channels_differ", "same_audio", "little_speech"} <= codes
    assert {"unfamiliar", "too_little_speech", "long_silence", "digital_silence"} <= codes
    refused = {theirs["code"] for _, theirs in answers.values() if "error" in theirs}
    assert refused == {"silent", "too_short", "unusable"}


@needs_node
def test_a_long_recording_has_the_level_of_python(tmp_path: Path) -> None:
    samples = sound_groove.load_audio(EXAMPLES / "rms-1.flac")
    samples.tofile(tmp_path / "samples.f32")
    program = f"""
        import {{ readFileSync }} from "node:fs";
        import {{ levelOfSamples }} from "{(PACKAGE / "src" / "audio" / "level.js").as_uri()}";
        console.log(levelOfSamples(new Float32Array(readFileSync("samples.f32").buffer.slice(0))));
    """
    command = ["node", "--input-type=module", "--eval", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(level_of_samples(samples), rel=1e-4)


def test_the_constants_are_those_of_python() -> None:
    specification = importlib.util.spec_from_file_location("generate_constants", PACKAGE / "generate.py")
    assert specification is not None and specification.loader is not None
    generate = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(generate)
    assert (PACKAGE / "src" / "constants.js").read_text() == generate.generated(), "run javascript/generate.py"


def test_the_package_has_the_version_of_python_and_names_no_registry() -> None:
    facts, lock = (json.loads((PACKAGE / name).read_text()) for name in ("package.json", "package-lock.json"))
    assert facts["version"] == lock["version"] == sound_groove.__version__
    assert {
        part.get("resolved", "https://registry.npmjs.org/").split("/")[2] for part in lock["packages"].values()
    } == {"registry.npmjs.org"}
    assert list(facts["dependencies"]) == ["onnxruntime-web"]


@needs_node
@pytest.mark.slow
def test_its_types_hold_and_a_new_project_compares_two_files_in_five_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(tmp_path)], cwd=PACKAGE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr  # tsc has made the types
    modules = tmp_path / "project" / "node_modules"
    modules.mkdir(parents=True)
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as packed:
        names = set(packed.getnames())
        packed.extractall(modules, filter="data")
    assert {
        "package/weights/pretrained.onnx",
        "package/types/index.d.ts",
        "package/LICENSE",
        "package/README.md",
    } <= names
    assert not [name for name in names if "node_modules" in name or "scripts/" in name]
    (modules / "package").rename(modules / "sound-groove")
    for module in (PACKAGE / "node_modules").iterdir():  # what npm would fetch
        if not module.name.startswith("."):
            (modules / module.name).symlink_to(module)
    for name in ("rms-1", "rms-2"):
        samples, rate = soundfile.read(EXAMPLES / f"{name}.flac", dtype="int16")
        soundfile.write(modules.parent / f"{name}.wav", samples, rate)
    text = (PACKAGE / "README.md").read_text()
    program = text.split("```js\n")[1].split("```")[0]
    assert len(program.strip().splitlines()) <= 5
    (modules.parent / "first.mjs").write_text(program)
    done = subprocess.run(["node", "first.mjs"], cwd=modules.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "same 6.26 0.9981\n"), done.stderr
