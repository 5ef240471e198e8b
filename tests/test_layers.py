"""Imports go down the layers only, wherever in a file they stand."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sound_groove

PACKAGE = Path(sound_groove.__file__).parent

# From the ground up. A module may import from its own layer and from those below it.
LAYERS: dict[str, tuple[str, ...]] = {
    "words": (
        "arguments",
        "errors",
        "types",
        "files",
        "provenance",
        "settings",
        "telemetry",
        "configuration",
        "recipes",
        "speakers",
        "pretrained",
    ),
    "numbers": (
        "audio",
        "audio_limits",
        "given",
        "opening",
        "decoders",
        "media",
        "media_formats",
        "media_structure",
        "mp4_tables",
        "channels",
        "percentages",
        "container",
        "formats",
        "mpeg",
        "plain_wav",
        "quality",
        "speech",
        "scoring",
        "search",
        "open_set",
        "normalization",
        "plda",
        "calibration",
        "decision",
        "metrics",
        "filterbank",
        "probe",
        "level",
        "pauses",
        "digital_silence",
        "pieces",
        "embedding_file",
    ),
    "networks": ("models", "losses", "features", "checkpoint", "torch_threads"),
    "use": (
        "encoder",
        "proof",
        "listening",
        "verifier",
        "store",
        "enrolment",
        "identification",
        "gallery",
        "torch_network",
        "onnx_model",
        "runtimes",
        "bulk",
        "onnx_content",
        "onnx_facts",
        "ray_bulk",
        "timing",
    ),
    "make": ("data", "training", "evaluation", "export"),
    "demonstration": ("demo",),
    "doors": ("service", "cli", "__main__"),
}
RANKS = {module: rank for rank, modules in enumerate(LAYERS.values()) for module in modules}
ALLOWED_IN_NUMBERS = {"numpy", "soundfile", "soxr", "av"}


def imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every import in a file, also inside functions and under TYPE_CHECKING: line, dotted name."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [] if node.level == 0 else package[: len(package) - node.level + 1]
            source = ".".join([*base, *([node.module] if node.module else [])])
            # `from sound_groove import audio` names a room, `from sound_groove.audio import reading` what is in it
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def files(root: Path) -> Iterator[tuple[str, str, ast.Module, bool]]:
    """Every module below the package's folder: path, dotted name, tree, whether it is a package."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield str(path.relative_to(root)), ".".join(parts[:-1] if is_package else parts), tree, is_package


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
            if parts[0] != root.name or parts[1] == "__version__":
                continue
            if parts[1] not in ranks:
                found.append(f"{name}:{line} imports {imported}, which belongs to no layer")
            elif ranks[parts[1]] > ranks[home]:
                found.append(f"{name}:{line} imports {imported}, which lies above it")
    return found


def test_no_module_imports_from_a_layer_above_it() -> None:
    assert len(list(files(PACKAGE))) > 20
    assert violations(PACKAGE) == []


def test_the_numbers_use_numpy_and_the_audio_libraries_only() -> None:
    import sys

    seen = set()
    for name, module, tree, is_package in files(PACKAGE):
        if module.split(".")[1:2] and module.split(".")[1] in LAYERS["numbers"]:
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
    assert lowest == list(LAYERS).index("networks")


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        (
            "metrics.py",
            "from sound_groove.encoder.encoder import SpeakerEncoder",
            "imports sound_groove.encoder.encoder.SpeakerEncoder",
        ),
        (
            "metrics.py",
            "def f():\n    import sound_groove.training.trainer",
            ":2 imports sound_groove.training.trainer",
        ),
        ("metrics.py", "from sound_groove import verifier", "imports sound_groove.comparison"),
        ("metrics.py", "from . import verifier", "imports sound_groove.comparison"),
        ("metrics.py", "from .verifier import compare", "imports sound_groove.comparison.compare"),
        ("models/ecapa.py", "from ..data.dataset import load_features", "imports sound_groove.inputs.dataset"),
        ("models/__init__.py", "from ..training import trainer", "imports sound_groove.training.trainer"),
        ("metrics.py", "if TYPE_CHECKING:\n    from sound_groove.cli import main", "imports sound_groove.cli.main"),
        ("metrics.py", "from sound_groove import compare", "imports sound_groove.compare, which belongs to no layer"),
        ("novelty.py", "", "novelty.py belongs to no layer"),
    ],
)
def test_an_arrow_up_is_found(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    path = tmp_path / "sound_groove" / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    found = violations(tmp_path / "sound_groove")
    assert len(found) == 1 and complaint in found[0], found


def test_arrows_down_and_sideways_are_allowed(tmp_path: Path) -> None:
    root = tmp_path / "sound_groove"
    root.mkdir()
    (root / "verifier.py").write_text(
        "import numpy\nfrom sound_groove import __version__, audio\nfrom .encoder import SpeakerEncoder\n"
    )
    assert violations(root) == []
