"""The page of doctor: every finding with players and a choice, and a file of choices that training takes."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from browser import find_browser, launch
from costs import costs
from sound_groove.corpora.choices import Choice, read_choices
from sound_groove.curation.corpus import write_page
from sound_groove.curation.findings import KINDS, Examination, Finding, Labelled, Told, cleaned
from sound_groove.curation.page import IN_CHINESE, WORDS, FindingsPage, Shown
from sound_groove.curation.recordings import CODES
from sound_groove.errors import MissingExtraError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUALITY = (Told("clipping"), Told("music", "3.1 / 4.0 s"))
HOSTILE = '"><script>alert(1)</script>'
FINDINGS = (
    Finding("unusable", "cleo", "cleo/0.wav", detail="is no audio"),
    Finding("same_audio", "ben", "ben/3.wav", "ben/2.wav", 1.0, "holds the samples of ben/2.wav"),
    Finding("quality", "ben", "ben/0.wav", detail="clipping, music (3.1 / 4.0 s)", told=QUALITY),
    Finding("two_people", "anna", None, "anna.2", 0.97, "2 and 2 recordings; these get the label anna.2"),
    Finding("wrong_label", "cleo", "cleo/1.wav", "dora", 0.99999, "fits 'dora' best"),
    Finding("one_person", "dora", None, "emil", 0.96, "keep one of the two labels"),
    Finding("one_session", "ben", detail="4 recordings of 'x'"),
)


def corpus_in(folder: Path) -> tuple[list[Labelled], Examination]:
    """Five speakers of four tones each, and what is said to be wrong with them."""
    recordings = []
    for number, speaker in enumerate(("anna", "ben", "cleo", "dora", "emil")):
        for place in range(4):
            path = folder / speaker / f"{place}.wav"
            path.parent.mkdir(exist_ok=True)
            tone = 0.3 * np.sin(2 * np.pi * (200 + 50 * number) * np.arange(8000) / 16_000)
            soundfile.write(path, tone, 16_000)
            recordings.append(Labelled(str(path), speaker))
    (folder / "cleo" / "0.wav").write_bytes(b"RIFF of nothing")

    def there(one: Finding) -> Finding:
        path = None if one.path is None else str(folder / one.path)
        other = str(folder / str(one.other)) if one.kind == "same_audio" else one.other
        return replace(one, path=path, other=other)

    findings = [there(one) for one in FINDINGS]
    second = {str(folder / "anna" / f"{place}.wav"): "anna.2" for place in (2, 3)}
    return recordings, Examination(tuple(findings), cleaned(recordings, findings, second), 0.05, 19)


def shown_on(page: FindingsPage, found: Examination) -> dict[str, Shown]:
    return {one.kind: page._shown(number, one) for number, one in enumerate(found.findings)}


def test_every_finding_is_beside_what_to_compare_it_with(tmp_path: Path) -> None:
    recordings, found = corpus_in(tmp_path)
    shown = shown_on(FindingsPage(tmp_path / "out", recordings, found), found)
    sides = {
        kind: [(side.label, side.asked, [player.name for player in side.players], side.count) for side in one.sides]
        for kind, one in shown.items()
    }
    assert sides["wrong_label"] == [
        ("cleo", True, ["cleo/1.wav"], 1),
        ("cleo", False, ["cleo/2.wav", "cleo/3.wav"], 2),
        ("dora", False, ["dora/0.wav", "dora/1.wav"], 4),
    ]
    assert sides["two_people"] == [
        ("anna", False, ["anna/0.wav", "anna/1.wav"], 2),
        ("anna.2", True, ["anna/2.wav", "anna/3.wav"], 2),
    ]
    assert sides["one_person"] == [
        ("dora", False, ["dora/0.wav", "dora/1.wav"], 4),
        ("emil", True, ["emil/0.wav", "emil/1.wav"], 4),
    ]
    assert [side[2] for side in sides["same_audio"]] == [["ben/3.wav"], ["ben/2.wav"]]
    assert {kind: (one.action, one.speaker) for kind, one in shown.items() if one.asked} == {
        "unusable": ("drop", ""),
        "same_audio": ("drop", ""),
        "quality": ("keep", ""),
        "two_people": ("move", "anna.2"),
        "wrong_label": ("drop", "dora"),
        "one_person": ("move", "dora"),
    }
    assert not shown["one_session"].asked
    assert shown["unusable"].sides[0].players[0].source is None
    assert shown["quality"].sides[0].players[0].source == "../ben/0.wav"


def test_the_page_needs_no_other_file_with_audio(tmp_path: Path) -> None:
    recordings, found = corpus_in(tmp_path)
    page = write_page(tmp_path, recordings, found, "corpus", 0.05, with_audio=True).read_text("utf-8")
    assert "data:audio/" in page
    assert 'src="cleo' not in page
    assert "http" not in page


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    recordings = [Labelled(f"/{HOSTILE}.wav", HOSTILE), Labelled("/b.wav", "b")]
    findings = (Finding("wrong_label", HOSTILE, recordings[0].path, HOSTILE, 0.9, HOSTILE),)
    found = Examination(findings, {"/b.wav": "b"}, 0.1, 2)
    page = write_page(tmp_path, recordings, found, HOSTILE, 0.05).read_text("utf-8")
    assert "<script>alert" not in page
    assert page.count("</script>") == 3


def test_where_nothing_is_wrong_the_page_says_so(tmp_path: Path) -> None:
    found = Examination((), {"/a.wav": "a"}, 0.0, 1, ("labels were not judged",))
    page = write_page(tmp_path, [Labelled("/a.wav", "a")], found, "corpus", 0.05).read_text("utf-8")
    assert "Nothing is wrong with it." in page
    assert "没有发现问题" in page
    assert "labels were not judged" in page
    assert "choices.tsv" not in page


def test_of_many_findings_the_surest_are_shown_and_all_are_saved(tmp_path: Path) -> None:
    recordings = [Labelled(f"/{row}.wav", "a") for row in range(300)]
    findings = tuple(Finding("wrong_label", "a", one.path, None, 0.9, "") for one in recordings)
    page = write_page(tmp_path, recordings, Examination(findings, {}, 0.9, 300), "corpus", 0.05).read_text("utf-8")
    assert page.count("data-finding=") == 100
    script = page.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert len(json.loads(script)["proposed"]) == 300


def test_without_jinja_the_rest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jinja2" else real(name))
    with pytest.raises(MissingExtraError, match="'who' extra"):
        write_page(tmp_path, *corpus_in(tmp_path), "corpus", 0.05)


# --- in a browser ---


@pytest.fixture(scope="module")
@costs("browser")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    pytest.importorskip("playwright", reason="playwright is not installed (pip install playwright)")
    if find_browser() is None:
        pytest.skip("there is no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright, tmp_path_factory.mktemp("silence") / "none.wav")
        yield browser
        browser.close()


def choose(page: "Page", kind: str, action: str) -> None:
    page.locator(f"section[aria-labelledby={kind}] label:has(input[value={action}])").click()


@pytest.mark.browser
def test_what_is_chosen_is_kept_and_saved_for_training(chromium: "Browser", tmp_path: Path) -> None:
    recordings, found = corpus_in(tmp_path)
    address = write_page(tmp_path, recordings, found, "corpus", 0.05).as_uri()
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    assert page.locator("[role=status]").inner_text() == "0 chosen by you; 3 recordings to drop, 6 to move."
    choose(page, "wrong_label", "move")
    choose(page, "two_people", "keep")
    choose(page, "quality", "drop")
    assert page.locator("[role=status]").inner_text() == "3 chosen by you; 3 recordings to drop, 5 to move."
    page.goto(address)  # the browser remembers
    assert page.locator("#chosen").inner_text() == "3"
    assert page.locator("section[aria-labelledby=two_people] :checked").input_value() == "keep"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save choices.tsv").click()
    waiting.value.save_as(tmp_path / "choices.tsv")
    choices = read_choices(tmp_path / "choices.tsv")
    assert len(choices) == 10
    assert choices.of(tmp_path / "cleo" / "1.wav") == Choice(
        str(tmp_path / "cleo" / "1.wav"), "move", "dora", "chosen by hand; wrong_label 1.000: fits 'dora' best"
    )
    kept = choices.of(tmp_path / "anna" / "3.wav")
    assert kept is not None
    assert kept.action == "keep"
    dropped, moved = choices.of(tmp_path / "ben" / "0.wav"), choices.of(tmp_path / "emil" / "0.wav")
    assert dropped is not None and moved is not None
    assert (dropped.action, dropped.reason) == ("drop", "chosen by hand")
    assert (moved.action, moved.speaker) == ("move", "dora")
    page.get_by_role("button", name="As proposed").click()
    assert page.locator("[role=status]").inner_text().startswith("0 chosen by you; 3 ")
    assert complaints == []
    context.close()


def test_a_label_is_named_beside_what_is_played_unless_it_is_one_recording_alone(tmp_path: Path) -> None:
    recordings, found = corpus_in(tmp_path)
    page = write_page(tmp_path, recordings, found, "corpus", 0.05).read_text(encoding="utf-8")
    named = [re.sub(r'<span lang="zh">.*?</span>|<.*?>', "", one) for one in re.findall("<h3>.*?</h3>", page)]
    assert named.count("in question: cleo") == 1  # whose label is wrong; that of the unusable one stands above it
    assert named.count("in question: ben") == 1 and named.count("ben, 3 recordings") == 1  # of one session
    assert len(named) == 10


@pytest.mark.browser
@pytest.mark.parametrize(("width", "language"), [(1280, "en-US"), (360, "zh-CN")])
def test_it_fits_the_window_in_both_languages(chromium: "Browser", tmp_path: Path, width: int, language: str) -> None:
    recordings, found = corpus_in(tmp_path)
    page = chromium.new_page(viewport={"width": width, "height": 800}, locale=language, color_scheme="dark")
    page.goto(write_page(tmp_path, recordings, found, "corpus", 0.05).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.locator("h1").inner_text()
    assert shown == ("What is wrong with “corpus”" if language == "en-US" else "“corpus”里的问题")
    page.locator("#language").click()
    assert page.locator("h1").inner_text() != shown
    page.close()


def test_every_kind_and_every_code_has_its_words_in_both_languages() -> None:
    assert set(IN_CHINESE) == set(KINDS)
    assert set(WORDS) == set(CODES)


def test_codes_stand_on_the_page_in_both_languages_with_what_was_measured(tmp_path: Path) -> None:
    recordings, found = corpus_in(tmp_path)
    text = FindingsPage(tmp_path, recordings, found).text("corpus", 0.05)
    assert '<span lang="en">music</span><span lang="zh">音乐</span> <span class="soft">3.1 / 4.0 s</span>' in text
    assert "clipping, music" not in text.split("<script")[0]
