"""The drawings of the explanation pages: what the text says of them is what they are drawn from."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "explanation"


@pytest.fixture
def drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/drawings.py, which draws into an empty folder."""
    spec = importlib.util.spec_from_file_location("drawings", ROOT / "docs" / "drawings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "IMAGES", tmp_path)
    return module


def text(name: str) -> str:
    return " ".join((PAGES / f"{name}.md").read_text(encoding="utf-8").split())


def test_the_page_of_the_llr_quotes_the_map_of_the_model_in_the_package(drawings: ModuleType, tmp_path: Path) -> None:
    found = drawings.llr()
    assert (tmp_path / "llr.svg").read_text(encoding="utf-8").startswith("<?xml")
    page = text("llr")
    assert f"cosine of {found['EVEN_1']}, with 10 s at {found['EVEN_10']}" in page
    assert f"it is {found['LLR_1']} with one second of speech, and {found['LLR_10']} with ten" in page
    assert f"{found['EVIDENCE_1']} and {found['EVIDENCE_10']} evidence" in page
    assert f"score {found['WHOLE']}; of one second of each they score {found['CUT']}" in page


@pytest.mark.slow
def test_the_page_of_the_margin_quotes_what_is_trained(drawings: ModuleType) -> None:
    found = drawings.margin()
    quoted = re.search(
        r"lie within ([\d.]+)° of their direction, with a margin of 0\.3 \(17°\) within ([\d.]+)°", text("margin")
    )
    assert quoted is not None
    without, with_margin = float(found["MEDIAN_0"]), float(found["MEDIAN_M"])
    assert without > 1.1 * with_margin  # on every processor
    assert without == pytest.approx(float(quoted[1]), rel=0.2)
    assert with_margin == pytest.approx(float(quoted[2]), rel=0.2)
    assert (found["BORDER_0"], found["BORDER_M"]) == ("30", "21")


def test_intervals_over_trials_miss_the_truth_where_those_over_speakers_hold_it(
    drawings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawings, "EVALUATIONS", 40)
    monkeypatch.setattr(drawings, "DRAWS", 60)
    found = drawings.interval()
    assert float(found["TRIALS"]) < 90 < float(found["SPEAKERS"])
    assert re.search(
        r"intervals over trials held the truth in \d\d % of cases, and those over speakers in 9\d %", text("interval")
    )


def test_every_drawing_is_on_its_page() -> None:
    for name in ("margin", "llr", "interval"):
        assert f"](../images/{name}.svg)" in (PAGES / f"{name}.md").read_text(encoding="utf-8")
        assert (ROOT / "docs" / "images" / f"{name}.svg").stat().st_size < 100_000
