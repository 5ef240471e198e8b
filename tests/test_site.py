"""The site that is built of the documentation: strict, whole, in two languages, and without a word to the network."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import sound_groove
from browser import find_browser
from costs import costs
from local_server import QuietHandler, serving
from once import Once
from test_page_files import contrast

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

    english = {name for name in pages(site) if not name.startswith(("zh/", "assets/"))}
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
        page.goto((site / "index.html").as_uri())
        assert page.locator(".compare-here p").is_visible() and page.locator(".compare-here iframe").count() == 0
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


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    """The site at an address of this machine."""
    if not (site / "assets/compare/index.html").is_file():
        pytest.skip("the site was built without the npm package: npm ci in javascript/")

    class Files(QuietHandler, SimpleHTTPRequestHandler):
        """The site's files."""

    with serving(partial(Files, directory=str(site))) as address:
        yield address


@pytest.mark.browser
@pytest.mark.skipif(find_browser() is None, reason="there is no Chromium")
def test_the_front_page_compares_clips_and_enrols_and_asks_nobody(served: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    expected = sound_groove.compare(str(ROOT / "examples/rms-1.flac"), str(ROOT / "examples/rms-2.flac"))
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(90_000)
        requests: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
        )
        page.goto(f"{served}/zh/index.html")
        here = page.frame_locator(".compare-here iframe")
        here.get_by_role("tab", name="注册", exact=True).wait_for()
        page.goto(f"{served}/index.html")
        here.locator("#compare-ask").wait_for()
        assert not [address for address in requests if re.search(r"\.(onnx|wasm)$", address)]  # nobody has begun

        def choose(section: str, place: int, name: str) -> None:
            clip = here.locator(f"#{section} .clip:not(#compare-person)").nth(place)
            clip.locator("input[type=file]").set_input_files(ROOT / "examples" / f"{name}.flac")
            clip.locator(".legend .swatch").first.wait_for()  # it was heard

        choose("compare", 0, "rms-1")
        choose("compare", 1, "rms-2")
        loaded = len(requests)
        assert sum(address.endswith((".onnx", ".wasm")) for address in requests) == 3
        here.locator("#compare-ask").click()
        here.locator("#compare .verdict").wait_for()
        with page.expect_download() as download:
            here.get_by_role("button", name="Download (JSON)").click()
        download.value.save_as(tmp_path / "answer.json")
        answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
        assert expected.llr is not None
        assert (answer["verdict"], answer["llr"]) == (expected.verdict, pytest.approx(expected.llr, abs=0.01))
        assert "Probably the same speaker" in here.locator("#compare .answer").inner_text()

        here.locator("#tab-enrol").click()
        here.locator("#enrol-name").fill("Anna")
        choose("enrol", 0, "slt-1")
        here.locator("#enrol-ask").click()
        here.locator("#enrol .verdict").get_by_text("Anna is enrolled").wait_for()
        assert [address for address in requests[loaded:] if not address.startswith("blob:")] == []

        page.reload()
        here.locator("#tab-speakers").click()
        here.locator(".speaker", has_text="Anna").wait_for()
        here.get_by_role("button", name="Compare a clip with Anna").click()
        choose("compare", 0, "rms-1")
        here.locator("#compare-ask").click()
        here.locator("#compare .verdict", has_text="Probably not Anna").wait_for()
        ground = "getComputedStyle(document.documentElement).getPropertyValue('--ground')"
        inside = page.frames[-1]
        assert inside.evaluate(ground) == "#ffffff"
        page.locator("label[title=Dark]:visible").click()
        inside.wait_for_function(f"{ground} === '#1e2129'")
        here.locator("#tab-speakers").click()
        here.get_by_role("button", name="Remove Anna").click()
        here.locator("#confirm-yes").click()
        here.get_by_text("Nobody is enrolled.").wait_for()
        browser.close()
    assert complaints == []
    assert not [address for address in requests if not address.startswith((served, f"blob:{served}"))]


def test_the_page_has_all_texts_in_both_languages_and_enough_contrast() -> None:
    folder = ROOT / "javascript" / "page"
    local = json.loads(
        re.findall(r"LOCAL = ({.*?\n});", (folder / "texts.js").read_text(encoding="utf-8"), re.DOTALL)[0]
    )
    assert local["en"].keys() == local["zh"].keys() and len(local["en"]) > 8
    for key, text in local["en"].items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", local["zh"][key])), key
    light, _, dark = (folder / "local.css").read_text(encoding="utf-8").partition("@media")
    for scheme in (light, dark):
        colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", scheme))
        for name in ("text", "muted", "accent"):
            assert min(contrast(colors[name], colors[ground]) for ground in ("ground", "surface")) >= 4.5, name
        assert contrast(colors["on-accent"], colors["accent"]) >= 4.5
        assert min(contrast(colors[name], colors["surface"]) for name in ("edge", "wave")) >= 3
