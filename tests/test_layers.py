"""Folders are the layers: imports go down only, wherever in a file they stand, and the documents say the same.

This is the one statement of what lies above what; docs/architecture.md and CONTRIBUTING.md are compared with it.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import sound_groove

PACKAGE = Path(sound_groove.__file__).parent
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Layer:
    """Packages with one rule.

    Attributes:
        name: one word.
        packages: folders and single files of `sound_groove`, from the ground up.
        rule: in a sentence, as the documents say it.
    """

    name: str
    packages: tuple[str, ...]
    rule: str


# From the ground up. A package imports only from those before it, whether of its own layer or of one below.
LAYERS = (
    Layer(
        "ground",
        (
            "_version",
            "errors",
            "templates",
            "terminal",
            "progress",
            "json_reading",
            "types",
            "files",
            "arguments",
            "percentages",
            "public_models",
            "hub",
            "pretrained",
            "telemetry",
            "provenance",
            "recipe",
        ),
        "words and records; no work",
    ),
    Layer("numbers", ("audio", "scoring"), "numpy and the audio libraries"),
    Layer("networks", ("networks",), "torch; what is trained"),
    Layer(
        "use",
        ("encoder", "monitoring", "comparison", "pairs", "voiceprints", "diarization", "archive", "live"),
        "recordings to answers; no torch needed",
    ),
    Layer(
        "make",
        ("fetching", "corpora", "curation", "synthesis", "evaluation", "export", "importing", "inputs", "training"),
        "models from corpora; judged and exported without what only training needs",
    ),
    Layer("doors", ("demo", "client", "service", "cli", "__main__"), "parse, call, print; no logic"),
)
RANKS = {package: rank for rank, package in enumerate(package for layer in LAYERS for package in layer.packages)}
HOMES = {package: layer.name for layer in LAYERS for package in layer.packages}
ALLOWED_IN_NUMBERS = {"numpy", "soundfile", "soxr", "av"}


@cache
def parsed(text: str) -> ast.Module:
    """The tree of a file, made once for all tests."""
    return ast.parse(text)


@cache
def imports(tree: ast.Module, module: str, is_package: bool) -> tuple[tuple[int, str], ...]:
    """Every import in a file, also inside functions and under TYPE_CHECKING: line, dotted name."""
    return tuple(_imports(tree, module, is_package))


def _imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [] if node.level == 0 else package[: len(package) - node.level + 1]
            source = ".".join([*base, *([node.module] if node.module else [])])
            # `from sound_groove import audio` names a package, `from sound_groove.audio import reading` what is in it
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def files(root: Path) -> Iterator[tuple[str, str, ast.Module, bool]]:
    """Every module below the package's folder: path, dotted name, tree, whether it is a package."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        tree = parsed(path.read_text(encoding="utf-8"))
        yield path.relative_to(root).as_posix(), ".".join(parts[:-1] if is_package else parts), tree, is_package


def violations(root: Path, ranks: dict[str, int] = RANKS) -> list[str]:
    """The arrows up, one sentence each; and the modules that belong to no layer."""
    found = []
    for name, module, tree, is_package in files(root):
        if module == root.name:
            continue  # the package's own file names the public names of every layer
        home = module.split(".")[1]
        if home not in ranks:
            found.append(f"{name} belongs to no layer: add it to LAYERS in {Path(__file__).name}")
            continue
        for line, imported in imports(tree, module, is_package):
            parts = imported.split(".")
            if parts[0] != root.name:
                continue
            if len(parts) == 1 or parts[1] not in ranks:
                found.append(f"{name}:{line} imports {imported}, which belongs to no layer")
            elif ranks[parts[1]] > ranks[home]:
                found.append(f"{name}:{line} imports {imported}, which lies above it")
    return found


def circles(root: Path) -> list[str]:
    """The folders of which modules or sub-folders import each other in a circle, one sentence each.

    A sub-folder counts as one; a folder's own file (`__init__`) as a module beside the others.
    """
    listed = list(files(root))
    modules = {module for _, module, _, _ in listed}
    packages = {module for _, module, _, is_package in listed if is_package}
    arrows: set[tuple[str, str]] = set()
    for _, module, tree, is_package in listed:
        for _, imported in imports(tree, module, is_package):
            target = imported
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if target:
                arrows.add((module, target))
    found = []
    for folder in sorted(packages - {root.name}):

        def part(module: str, folder: str = folder) -> str | None:
            if module == folder:
                return "__init__"
            return module[len(folder) + 1 :].split(".")[0] if module.startswith(f"{folder}.") else None

        pairs = {(first, second) for a, b in arrows if (first := part(a)) and (second := part(b)) and first != second}
        left = {name for pair in pairs for name in pair}
        while free := {name for name in left if not any(pair[0] == name and pair[1] in left for pair in pairs)}:
            left -= free
        if left:
            found.append(f"{folder}: {', '.join(sorted(left))} import each other in a circle")
    return found


def test_no_module_imports_from_above() -> None:
    assert len(list(files(PACKAGE))) > 200
    assert violations(PACKAGE) == []


def test_no_folder_holds_a_circle_of_imports() -> None:
    assert circles(PACKAGE) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    root = tmp_path / "sound_groove"
    (root / "audio" / "formats").mkdir(parents=True)
    for name in ("__init__", "audio/__init__", "audio/formats/__init__"):
        (root / f"{name}.py").write_text("")
    (root / "audio" / "reading.py").write_text("from sound_groove.audio.formats.riff import check\n")
    (root / "audio" / "quality.py").write_text("def f():\n    from .reading import load_audio\n")
    (root / "audio" / "formats" / "riff.py").write_text("from sound_groove.audio.limits import LONGEST\n")
    (root / "audio" / "limits.py").write_text("")
    assert circles(root) == []
    (root / "audio" / "limits.py").write_text("import sound_groove.audio.reading\n")
    assert circles(root) == ["sound_groove.audio: formats, limits, quality, reading import each other in a circle"]


def test_every_package_is_in_a_layer_and_says_what_it_is() -> None:
    there = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert there - {"__init__"} == set(RANKS)
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_the_numbers_use_numpy_and_the_audio_libraries_only() -> None:
    seen = set()
    for name, module, tree, is_package in files(PACKAGE):
        if module.split(".")[1:2] and HOMES[module.split(".")[1]] == "numbers":
            roots = {imported.split(".")[0] for _, imported in imports(tree, module, is_package)}
            foreign = roots - set(sys.stdlib_module_names) - {"sound_groove"}
            assert foreign <= ALLOWED_IN_NUMBERS, name
            seen |= foreign
    assert "numpy" in seen


def test_torch_is_imported_by_name_only_from_the_networks_up() -> None:
    lowest = min(
        RANKS[module.split(".")[1]]
        for _, module, tree, is_package in files(PACKAGE)
        if module != "sound_groove"
        and any(imported.split(".")[0] == "torch" for _, imported in imports(tree, module, is_package))
    )
    assert lowest == RANKS["networks"]


def test_the_service_needs_nothing_of_what_makes_models() -> None:
    imported = {
        name.split(".")[1]
        for _, module, tree, is_package in files(PACKAGE)
        if module.startswith("sound_groove.service")
        for _, name in imports(tree, module, is_package)
        if name.startswith("sound_groove.")
    }
    assert "encoder" in imported and "make" not in {HOMES[package] for package in imported}


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("scoring/metrics.py", "from sound_groove.encoder.encoder import SpeakerEncoder", "which lies above it"),
        (
            "scoring/metrics.py",
            "def f():\n    import sound_groove.training.trainer",
            ":2 imports sound_groove.training",
        ),
        ("scoring/metrics.py", "from sound_groove import comparison", "imports sound_groove.comparison"),
        ("scoring/metrics.py", "from .. import comparison", "imports sound_groove.comparison"),
        ("scoring/metrics.py", "from ..comparison import compare", "imports sound_groove.comparison.compare"),
        ("networks/ecapa.py", "from ..inputs.dataset import load_features", "imports sound_groove.inputs.dataset"),
        ("networks/__init__.py", "from ..training import trainer", "imports sound_groove.training.trainer"),
        (
            "evaluation/versions.py",
            "from sound_groove.inputs.augment import mix",
            "imports sound_groove.inputs.augment",
        ),
        ("types.py", "if TYPE_CHECKING:\n    from sound_groove.cli import main", "imports sound_groove.cli.main"),
        ("types.py", "from sound_groove import compare", "imports sound_groove.compare, which belongs to no layer"),
        ("types.py", "from sound_groove import __version__", "imports sound_groove.__version__, which belongs to no"),
        ("types.py", "import sound_groove", "imports sound_groove, which belongs to no layer"),
        ("novelty.py", "", "novelty.py belongs to no layer"),
    ],
)
def test_an_arrow_up_is_found(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    path = tmp_path / "sound_groove" / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    found = violations(tmp_path / "sound_groove")
    assert len(found) == 1 and complaint in found[0], found


def test_arrows_down_and_within_a_package_are_allowed(tmp_path: Path) -> None:
    root = tmp_path / "sound_groove"
    (root / "encoder").mkdir(parents=True)
    (root / "encoder" / "encoder.py").write_text(
        "import numpy\nfrom sound_groove import _version, audio\nfrom .pieces import split\n"
    )
    assert violations(root) == []


# --- what the documents say


def table(document: Path, heading: str) -> list[list[str]]:
    """The cells of the rows of the first table behind a heading."""
    behind = document.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    rows = re.findall(r"^\|(.*)\|$", behind.split("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_layers_are_told_as_they_are(name: str) -> None:
    told = [
        (layer, tuple(re.findall(r"`(\w+)/?`", packages)), rule)
        for layer, packages, rule in table(ROOT / name, "Layers")
    ]
    assert told == [(layer.name, layer.packages[::-1], layer.rule) for layer in LAYERS[::-1]]


def test_the_packages_are_told_in_their_own_words() -> None:
    told = {name.strip("`/"): text for name, text in table(ROOT / "docs" / "architecture.md", "Packages")}
    packages = [package for layer in LAYERS for package in layer.packages if (PACKAGE / package).is_dir()]
    assert list(told) == packages[::-1]
    for package in packages:
        words = ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text(encoding="utf-8"))) or ""
        assert told[package] == " ".join(words.split("\n\n")[0].split()), package


def test_every_file_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:\w+/)+(?:\w+\.py)?", re.sub(r"\]\([^)]*\)", "", page)))
    named = {name for name in named if name.split("/")[0] in RANKS}
    assert len(named) > 30
    assert [name for name in sorted(named) if not (PACKAGE / name).exists()] == []
