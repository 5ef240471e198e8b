"""The Gradio app in examples/space: what it answers, without Gradio, which the tests do not install."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def app() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gradio", SimpleNamespace(Interface=object))
        specification = importlib.util.spec_from_file_location("space", EXAMPLES / "space" / "app.py")
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    return module


def test_it_answers_as_compare_does(app: ModuleType, tmp_path: Path) -> None:
    clips = [str(EXAMPLES / f"{name}.flac") for name in ("awb-1", "awb-2", "slt-1")]
    same = app.answer(clips[0], clips[1])
    assert same.startswith("## Probably the same speaker")
    assert "Evidence: moderately strong, for the same speaker" in same
    assert "cloned voices and synthetic ones are not detected" in same and "99.83 %" in same
    assert app.answer(clips[0], clips[2]).startswith("## Probably different speakers")
    assert app.answer(None, clips[0]) == "Give two clips: record them, or choose files."
    (tmp_path / "text.wav").write_text("no audio")
    assert "is not audio" in app.answer(str(tmp_path / "text.wav"), clips[0])


def test_the_folder_says_what_a_space_needs_to_know() -> None:
    _, front, _ = (EXAMPLES / "space" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["sdk"] == "gradio" and (EXAMPLES / "space" / facts["app_file"]).is_file()
    assert facts["license"] == "apache-2.0" and len(facts["short_description"]) <= 60
    assert (EXAMPLES / "space" / "requirements.txt").read_text().split(">=")[0] == "sound-groove"
