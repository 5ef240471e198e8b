"""The notebooks of the documentation run, with the small settings that they name, and print what they show."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs" / "notebooks.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def words(cell: dict[str, Any]) -> list[str]:
    """What a cell prints, without numbers, which depend on settings and processor, and the kinds of what it shows."""
    said = []
    for output in cell["outputs"]:
        text = "".join(output.get("text", [])) or "".join(output["data"]["text/plain"])
        said.append(re.sub(r"\s+", " ", NUMBER.sub("#", text)).strip())
    return said


def test_there_are_five_and_each_was_run_from_top_to_bottom() -> None:
    assert len(NOTEBOOKS) == 5
    for path in NOTEBOOKS:
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
        assert sum(bool(cell["outputs"]) for cell in cells) >= 3
        assert path.stat().st_size < 700_000


def test_every_option_and_verb_in_their_text_exists() -> None:
    known = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    found = 0
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
            for code in re.findall(r"sound-groove [^`]+", text):
                found += 1
                assert f"\n## {code.split()[1]}\n" in known, f"{path.name}: there is no verb {code.split()[1]}"
                for option in re.findall(r"(?<!\S)--[a-z-]+", code):
                    assert option in known or option == "--module", f"{path.name}: there is no option {option}"
    assert found >= 8


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_it_shows(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "IPython" in path.read_text(encoding="utf-8"):
        pytest.importorskip("IPython", reason="the extra 'docs' is not installed")
    monkeypatch.delenv("SOUND_GROOVE_MODEL", raising=False)
    notebooks = module()
    notebook = notebooks.read(path)
    shown = [dict(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    notebooks.run(notebook, tmp_path, small=True)
    ran = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for before, after in zip(shown, ran, strict=True):
        if "varies" not in before["metadata"].get("tags", []):
            assert words(after) == words(before), "".join(before["source"])


def test_a_page_of_a_notebook_shows_its_outputs(tmp_path: Path) -> None:
    notebooks = module()
    path = ROOT / "docs" / "tutorials" / "hear-two-clips.ipynb"
    page = notebooks.as_page(path, tmp_path / "pictures")
    assert page.startswith("# Hear two clips\n")
    assert page.count("<audio") == 2 and page.count("](pictures/") == 3 == len(list((tmp_path / "pictures").iterdir()))
    assert "```text\nfeatures of the second clip: (532, 80)\n```" in page
