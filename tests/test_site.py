"""The site that is built of the documentation: strict, whole, in two languages, and without a word to the network."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import sound_groove
from browser import find_browser
from costs import costs
from once import Once

ROOT = Path(__file__).parents[1]
SEARCHES = {
    "index.html": {
        "calibration": "calibration.html",
        "--max-false-accept": "commands.html",
        "load_audio": "recordings.html",
    },
    "zh/tutorials/first-steps.html": {"校准": "zh/how-to/index.html", "似然比": "zh/explanation/index.html"},
}


@pytest.fixture(scope="module")
@costs("slow")
def site(once: Once) -> Path:
    """The site, built strictly."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("the extra 'docs' is not installed")

    def build(folder: Path) -> None:
        command = [sys.executable, str(ROOT / "docs" / "build_site.py"), "--out", str(folder / "site")]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        assert done.returncode == 0, done.stderr

    return once.folder("site", build) / "site"


class Addresses(HTMLParser):
    """What a page loads, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if "src" in named:
            self.loaded.append(named["src"])
        if tag == "link" and "href" in named:
            self.loaded.append(named["href"])
        if tag == "a" and "href" in named:
            self.links.append(named["href"])


def addresses(page: Path) -> Addresses:
    found = Addresses()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_nothing_is_loaded_from_elsewhere_and_every_link_leads_to_a_page(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 150
    for page in pages:
        found = addresses(page)
        for address in found.loaded:
            assert not re.match(r"(https?:)?//", address), f"{page.name} loads {address}"
        for link in {link.split("#")[0] for link in (*found.links, *found.loaded)} - {""}:
            if not re.match(r"[a-z]+:", link) and page.name != "404.html":
                assert (page.parent / link.split("?")[0]).exists(), f"{page.relative_to(site)} links to {link}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_both_languages_have_the_same_pages_and_say_what_is_not_translated(site: Path) -> None:
    def pages(folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}

    english = {name for name in pages(site) if not name.startswith("zh/")}
    assert english == pages(site / "zh")
    untranslated = {name for name in english if "本页只有英文" in (site / "zh" / name).read_text(encoding="utf-8")}
    translated = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.zh.md")}
    expected = {name.replace(".zh.md", ".html") for name in translated} | {"project/readme.html", "404.html"}
    assert english - untranslated == expected
    assert not any("本页只有英文" in (site / name).read_text(encoding="utf-8") for name in english)


def test_the_reference_has_every_public_name_and_no_private_one(site: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "reference/api").glob("*.html"))
    anchors = set(re.findall(r'id="(sound_groove[\w.]*)"', text))
    homes = {
        name: {f"sound_groove.{name}", f"sound_groove.{home}.{name}"} for name, home in sound_groove._HOMES.items()
    }
    missing = {name for name in sound_groove.__all__ if name != "__version__" and not homes[name] & anchors}
    assert not missing, f"docs/reference/api says nothing of {sorted(missing)}"
    assert {"sound_groove.networks.features.KaldiFbank", "sound_groove.scoring.metrics.eer"} <= anchors
    assert not [anchor for anchor in anchors if re.search(r"\._(?!_init)", anchor)]
    assert "&gt;&gt;&gt;" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)  # examples are code
    assert not re.search(r"<blockquote>", text)


def test_notebooks_are_shown_with_their_outputs_and_can_be_downloaded(site: Path) -> None:
    page = (site / "tutorials/hear-two-clips.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2 and 'href="hear-two-clips.ipynb"' in page
    assert (site / "tutorials/hear-two-clips.ipynb").is_file()


@pytest.mark.browser
@pytest.mark.skipif(find_browser() is None, reason="there is no Chromium")
def test_from_a_plain_folder_it_can_be_searched_and_asks_nobody_for_anything(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        page = browser.new_page()
        requests: list[str] = []
        complaints: list[Any] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(error))
        for start, searches in SEARCHES.items():
            page.goto((site / start).as_uri())
            for words, leads_to in searches.items():
                field = page.locator("input[name=query]")
                field.fill(words)
                field.press("End")  # the theme listens to keys
                page.locator(f".md-search-result__link[href*='site/{leads_to}']").first.wait_for(
                    state="attached", timeout=30_000
                )
        page.goto((site / "commands.html").as_uri())
        page.locator("a.site-language").click()
        page.wait_for_url((site / "zh/commands.html").as_uri())
        assert "本页只有英文" in page.locator("article").inner_text()
        page.locator("a.site-language").click()
        page.wait_for_url((site / "commands.html").as_uri())
        browser.close()
    assert complaints == []
    assert len(requests) > 20
    assert not [address for address in requests if not address.startswith((site.as_uri(), "data:", "blob:"))]
