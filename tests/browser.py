"""A real Chromium for tests of the page, and somebody who looks at the page in it."""

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """Path of an installed Chromium."""
    return next((path for path in map(shutil.which, BROWSERS) if path is not None), None)


def launch(playwright: "Playwright", microphone: Path) -> "Browser":
    """A Chromium whose microphone plays a wav file, over and over."""
    flags = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
        "--disable-features=AudioServiceSandbox",  # in which the file cannot be read
    ]
    if os.getuid() == 0:
        flags.append("--no-sandbox")
    return playwright.chromium.launch(executable_path=find_browser(), args=flags)


def play_to_microphone(path: Path, *clips: Path) -> Path:
    """The clips one after another as a wav file that Chromium's microphone can play."""
    parts = [soundfile.read(clip, dtype="int16") for clip in clips]
    with soundfile.SoundFile(path, "w", parts[0][1], 1, "PCM_16") as file:
        for samples, _ in parts:
            file.write(samples)
    return path


@dataclass
class Visit:
    """A page that somebody looks at, and what went wrong on it.

    Attributes:
        page: of the browser.
        address: of the service.
        refusals: statuses of answers that are expected, of which Chromium's console complains.
        complaints: what the console said.
        requests: all addresses that were asked for, with the method.
    """

    page: "Page"
    address: str
    refusals: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(f"{request.method} {request.url}"))
        self.page.set_default_timeout(20_000)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(
            f"status of {code}" in message.text for code in self.refusals
        ):
            self.complaints.append(message.text)

    def open(self, section: str = "compare") -> "Page":
        """The page of the service, with one of its sections shown."""
        self.page.goto(f"{self.address}/")
        self.page.locator("#model").get_by_text("pretrained").wait_for()
        self.page.locator(f"#tab-{section}").click()
        return self.page

    def choose(self, section: str, place: int, *files: Path) -> None:
        """Choose files for a clip, as the dialogue of the browser does."""
        self.page.locator(f"#{section} .clip input[type=file]").nth(place).set_input_files(list(files))
        self.page.locator(f"#{section} .clip").nth(place).locator(".clip-ready canvas").wait_for()

    def send(self, section: str, outcome: str = ".verdict") -> "Page":
        """Send the section's form, and wait for what comes."""
        self.page.locator(f"#{section}-form > button.large").click()
        self.page.locator(f"#{section}-result {outcome}").first.wait_for()
        return self.page

    def check(self) -> None:
        """Nothing went wrong, and nobody but the service was asked."""
        assert self.complaints == []
        foreign = [request for request in self.requests if not re.search(rf" (?:blob:)?{self.address}/", request)]
        assert self.requests and foreign == []
