"""The page that `who --html` writes, in a real Chromium: names are corrected, saved and put into commands."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browser import find_browser, launch
from costs import costs
from sound_groove.audio.listening import AudioFacts
from sound_groove.diarization.answer import Diarization, Speaker
from sound_groove.diarization.page import page
from sound_groove.diarization.rttm import rttm_lines
from sound_groove.types import ModelIdentity, SpeakerTurn

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if find_browser() is None:
    pytest.skip("no Chromium is installed (Debian: apt-get install chromium)", allow_module_level=True)
pytest.importorskip("playwright", reason="playwright is not installed (pip install playwright)")

TURNS = (
    SpeakerTurn(0.0, 4.0, "unknown 1"),
    SpeakerTurn(4.5, 6.0, "Kim"),
    SpeakerTurn(6.25, 7.125, "unknown 2"),
    SpeakerTurn(8.0, 18.0, "unknown 1"),
)
FOUND = Diarization(
    turns=TURNS,
    speakers=(
        Speaker("unknown 1", None, 14.0, 2, None),
        Speaker("Kim", "Kim", 1.5, 1, None),
        Speaker("unknown 2", None, 0.875, 1, None),
    ),
    overlap_s=None,
    enrolled=None,
    prior=0.5,
    audio=AudioFacts(20.0, 16.0, 30.0, 16000),
    model=ModelIdentity("scripted", "0" * 64),
    warnings=(),
)
NAME = "a </script><b>meeting.wav"


@pytest.fixture(scope="module")
@costs("browser")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright, tmp_path_factory.mktemp("silence") / "none.wav")
        yield browser
        browser.close()


def test_corrected_names_are_everywhere_and_can_be_saved(browser: "Browser", tmp_path: Path) -> None:
    (tmp_path / "who.html").write_text(page(FOUND, NAME), encoding="utf-8")
    sheet = browser.new_page()
    complaints: list[str] = []
    sheet.on("pageerror", lambda error: complaints.append(str(error)))
    sheet.on("console", lambda message: complaints.append(message.text))
    sheet.goto((tmp_path / "who.html").as_uri())
    fields = sheet.locator("input")
    assert [fields.nth(place).input_value() for place in range(fields.count())] == ["unknown 1", "Kim", "unknown 2"]
    commands = sheet.locator("code")
    first, second, _ = (shlex.split(commands.nth(place).inner_text()) for place in range(3))
    # Turns that are long enough, in their order; of one who has none, the longest.
    assert first == ["sound-groove", "enroll", "NAME", f"{NAME}#t=0.0,4.0", f"{NAME}#t=8.0,18.0"]
    assert second == ["sound-groove", "enroll", "Kim", f"{NAME}#t=4.5,6.0"]

    fields.nth(0).fill("Zoë's <i> mother")
    fields.nth(2).fill("Kim")
    assert shlex.split(commands.nth(0).inner_text())[2] == "Zoë's <i> mother"
    lanes = sheet.locator(".lane .who")
    assert [lanes.nth(place).inner_text() for place in range(3)] == ["Zoë's <i> mother", "Kim", "Kim"]
    relabelled = [replace(turn, speaker="Zoë's <i> mother" if turn.speaker == "unknown 1" else "Kim") for turn in TURNS]

    with sheet.expect_download() as got:
        sheet.get_by_role("button", name="Save as RTTM").click()
    saved = Path(got.value.path()).read_text(encoding="utf-8").splitlines()
    assert saved == list(rttm_lines(relabelled, Path(NAME).stem))  # as the program writes it
    with sheet.expect_download() as got:
        sheet.get_by_role("button", name="Save as JSON").click()
    record = json.loads(Path(got.value.path()).read_text(encoding="utf-8"))
    assert set(record) == set(FOUND.as_dict())
    assert [SpeakerTurn(turn["start_s"], turn["end_s"], turn["speaker"]) for turn in record["turns"]] == relabelled
    assert [turn["name"] for turn in record["turns"]] == [turn.speaker for turn in relabelled]
    assert [(one["speaker"], one["speech_s"], one["turns"]) for one in record["speakers"]] == [
        ("Zoë's <i> mother", 14.0, 2),
        ("Kim", 2.375, 2),
    ]

    fields.nth(0).fill("  ")  # no name is none
    assert lanes.nth(0).inner_text() == "unknown 1" and shlex.split(commands.nth(0).inner_text())[2] == "NAME"
    assert complaints == []
    sheet.close()


def test_nothing_that_is_called_ends_the_script_of_the_page() -> None:
    speakers = (Speaker("</script>&<!--", "</script>&<!--", 4.0, 1, None),)
    text = page(replace(FOUND, turns=(SpeakerTurn(0.0, 4.0, "</script>&<!--"),), speakers=speakers), NAME)
    (data,) = re.findall(r'<script type="application/json" id="found">(.*?)</script>', text, flags=re.DOTALL)
    assert json.loads(data)["found"]["speakers"][0]["name"] == "</script>&<!--"
    assert not re.search(r"[<>&]", data)
