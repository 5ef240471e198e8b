"""Take the pictures of the service's page that the documentation shows.

    sound-groove serve --port 8000 --store pictures.db
    python docs/page_pictures.py http://127.0.0.1:8000

It needs Chromium (Debian: chromium, and fonts-wqy-microhei for the Chinese picture) and playwright, and writes
images/page-wide.png and images/page-narrow.png beside itself.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

DOCS = Path(__file__).resolve().parent
CLIPS = [DOCS.parent / "examples" / f"{name}.flac" for name in ("rms-1", "rms-2")]


def main() -> None:
    """Take both pictures."""
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        take(browser, address, "page-wide.png", 1000, "en-GB", "light")
        take(browser, address, "page-narrow.png", 390, "zh-CN", "dark")


def take(browser: Browser, address: str, name: str, width: int, locale: str, scheme: str) -> None:
    """A comparison of two clips as a browser of this width (CSS pixels), language and colour scheme shows it."""
    context = browser.new_context(
        viewport={"width": width, "height": 600},
        locale=locale,
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(address)
    for place, clip in enumerate(CLIPS):
        page.locator("#compare input[type=file]").nth(place).set_input_files(clip)
        page.locator("#compare .clip").nth(place).locator(".swatch").first.wait_for()
    page.locator("#compare-ask").click()
    page.locator("#compare-result .verdict").wait_for()
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=DOCS / "images" / name, full_page=True)
    context.close()


if __name__ == "__main__":
    main()
