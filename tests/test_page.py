"""The service's page in a real Chromium, whose microphone plays an example, against a real service process."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from browser import Visit, find_browser, launch, play_to_microphone
from costs import costs
from local_server import QuietHandler, serving
from service_process import EXAMPLES, ServiceProcess
from sound_groove.encoder.encoder import SpeakerEncoder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Route

if find_browser() is None:
    pytest.skip("no Chromium is installed (Debian: apt-get install chromium)", allow_module_level=True)
pytest.importorskip("playwright", reason="playwright is not installed (pip install playwright)")

pytestmark = pytest.mark.service

RMS, RMS_2, SLT, AWB = (EXAMPLES / f"{name}.flac" for name in ("rms-1", "rms-2", "slt-1", "awb-1"))
SECTIONS = ("compare", "identify", "who", "enrol", "speakers")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NOTE_MICROPHONE = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = (asked) => open(window.asked = asked);
"""
FOCUSED = "node => node === document.activeElement"


def rejected(name: str) -> str:
    """A script by which no microphone can be had, for this reason."""
    return f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}'));"


def model() -> str:
    """The model in the package, as the page names it."""
    named = SpeakerEncoder.load("pretrained").identity
    return f"{named.name} ({named.hash[:6]}"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    service = ServiceProcess(tmp_path_factory.mktemp("service"), "--max-upload", "2")
    yield service.address
    service.stop()


@pytest.fixture(scope="module")
@costs("browser")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    microphone = play_to_microphone(tmp_path_factory.mktemp("microphone") / "voice.wav", RMS, RMS_2)
    with sync_playwright() as playwright:
        browser = launch(playwright, microphone)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: "Browser") -> Iterator["BrowserContext"]:
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def visit(context: "BrowserContext", address: str) -> Iterator[Visit]:
    visit = Visit(context.new_page(), address)
    yield visit
    visit.check()


def test_two_clips_from_the_microphone_are_of_the_same_speaker(visit: Visit) -> None:
    visit.page.add_init_script(NOTE_MICROPHONE)
    page = visit.open()
    first, second = (page.locator("#compare .clip").nth(place) for place in (0, 1))
    for clip in (first, second):
        clip.get_by_role("button", name="Record").click()
        clip.get_by_text(re.compile(r"^0:04")).wait_for()
        assert float(re.findall(r"scaleX\(([\d.]+)\)", clip.locator(".level").get_attribute("style") or "")[0]) > 0
        if clip is first:
            clip.get_by_role("button", name="Stop").click()
    asked = page.evaluate("window.asked.audio")
    assert not any(asked[name] for name in ("echoCancellation", "noiseSuppression", "autoGainControl"))
    visit.send("compare")  # which ends the second recording
    assert page.locator("#compare-result .verdict").inner_text() == "Probably the same speaker"
    assert re.search(r"same speaker: (?:>\s)?9\d\.\d+\s%", page.locator("#compare-result .probability").inner_text())
    for clip in (first, second):
        assert "Your recording" in clip.inner_text()
        assert 4 <= float(clip.locator("canvas").get_attribute("aria-valuemax") or 0) < 7
        assert drawn_share(clip.locator("canvas").evaluate_handle("node => node")) > 0.02
        facts = clip.get_by_text("of speech").inner_text()
        assert re.search(r"[3-6]\.\d\ss of speech, (little|some) noise, (44\.1|48)\skHz", facts)


def drawn_share(canvas: object) -> float:
    """Share of a canvas that is not empty."""
    program = """canvas => {
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels.filter((value, place) => place % 4 === 3 && value > 0).length / (pixels.length / 4);
    }"""
    return float(canvas.evaluate(program))  # type: ignore[attr-defined]


def test_a_recording_is_a_wav_file_as_others_read_it(visit: Visit, tmp_path: Path) -> None:
    samples = [0.0, 0.5, -0.25, 1.0, -1.0, 1.7, -1.7]
    program = """async samples => {
        const { encodeWav, wavSeconds } = await import("/page/wav.js");
        const file = encodeWav({ samples: Float32Array.from(samples), sampleRate: 44100 });
        return [[...new Uint8Array(file)], wavSeconds(file.byteLength, 44100)];
    }"""
    content, seconds = visit.open().evaluate(program, samples)
    path = tmp_path / "recording.wav"
    path.write_bytes(bytes(content))
    facts = soundfile.info(path)
    assert (facts.samplerate, facts.channels, facts.subtype) == (44100, 1, "PCM_16")
    assert seconds == pytest.approx(7 / 44100)
    read, _ = soundfile.read(path)
    assert read == pytest.approx(np.clip(samples, -1, 1), abs=1e-4)


def test_a_waveform_is_the_lowest_and_highest_sample_of_each_column(visit: Visit) -> None:
    program = """async () => (await import("/page/waveform.js")).columns([0.1, -0.2, 0.3, 0.4, -0.5, -0.6], 3)"""
    assert visit.open().evaluate(program) == [[-0.2, 0.1], [0, 0.4], [-0.6, 0]]


def test_no_probability_is_shown_as_certain(visit: Visit) -> None:
    program = """async values => values.map((await import("/page/scale.js")).percent)"""
    shown = visit.open().evaluate(program, [1, 0.9996, 0.998, 0.92, 0.5, 0.066, 0.0004, 0])
    assert [percentage.replace("\xa0", " ") for percentage in shown] == [
        "> 99.99 %",
        "99.96 %",
        "99.80 %",
        "92.0 %",
        "50 %",
        "6.6 %",
        "0.04 %",
        "< 0.01 %",
    ]


def test_too_little_speech_gives_no_verdict_and_says_why(visit: Visit, tmp_path: Path) -> None:
    samples, rate = soundfile.read(RMS, dtype="float32")
    short = tmp_path / "short.wav"
    soundfile.write(short, samples[int(0.4 * rate) : int(0.8 * rate)], rate)
    page = visit.open()
    visit.choose("compare", 0, RMS_2)
    visit.choose("compare", 1, short)
    visit.send("compare")
    answer = page.locator("#compare-result").inner_text()
    assert "Inconclusive" in answer and "too little speech for a verdict" in answer
    assert "too little speech" in page.locator("#compare .clip").nth(1).locator(".notes").inner_text()


def test_files_of_two_speakers_chosen_and_dropped_are_told_apart(visit: Visit) -> None:
    page = visit.open()
    with page.expect_file_chooser() as chooser:
        page.locator("#compare .clip").first.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(RMS)
    drop(visit, page.locator("#compare .clip").nth(1), SLT)
    visit.send("compare")
    assert page.locator("#compare-result .verdict").inner_text() == "Probably different speakers"
    label = page.locator("#compare-result .scale").get_attribute("aria-label") or ""
    assert "Below 20\xa0% the verdict is 'different', from 80\xa0% on 'same'" in label
    page.get_by_text("The figures behind it").click()
    assert page.locator("#compare-result dd").all_inner_texts()[-1].startswith(model())
    page.locator("#compare .clip").first.get_by_role("button", name="Remove").click()
    assert page.locator("#compare-result").inner_text() == ""  # an answer about other clips would mislead


def drop(visit: Visit, target: object, file: Path) -> None:
    """Drop a file on an element."""
    program = """async ([name, content]) => {
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(content)], name));
        return files;
    }"""
    files = visit.page.evaluate_handle(program, [file.name, list(file.read_bytes())])
    target.dispatch_event("drop", {"dataTransfer": files})  # type: ignore[attr-defined]


def test_warnings_stand_under_the_clip_that_they_are_about(visit: Visit, tmp_path: Path) -> None:
    samples, rate = soundfile.read(RMS, dtype="float32")
    clipped = tmp_path / "clipped.wav"
    soundfile.write(clipped, np.clip(20 * samples[: int(1.2 * rate)], -1, 1), rate)
    page = visit.open()
    visit.choose("compare", 0, RMS_2)
    visit.choose("compare", 1, clipped)
    visit.send("compare")
    first, second = (page.locator("#compare .clip").nth(place) for place in (0, 1))
    assert first.locator(".notes li").count() == 0
    notes = " ".join(second.locator(".notes li").all_inner_texts()).lower()
    assert "clipped" in notes and "little speech" in notes
    page.get_by_role("button", name="中文").click()
    assert all(CHINESE.search(note) for note in second.locator(".notes li").all_inner_texts())


def test_a_clip_that_is_no_audio_is_refused_in_words_of_the_page(visit: Visit, tmp_path: Path) -> None:
    visit.refusals.add(422)
    text = tmp_path / "letter.wav"
    text.write_text("Dear Kim, this is a letter and no recording.", encoding="utf-8")
    page = visit.open()
    visit.choose("compare", 0, RMS)
    clip = page.locator("#compare .clip").nth(1)
    clip.locator("input[type=file]").set_input_files(text)
    clip.get_by_text("cannot show or play").wait_for()
    visit.send("compare", ".problem")
    assert "not audio" in clip.locator(".notes").inner_text()
    assert "A clip cannot be used" in page.locator("#compare-result").inner_text()


def enrol(visit: Visit, name: str, *clips: Path, outcome: str = ".verdict") -> str:
    """Enrol somebody; what the page says then."""
    page = visit.open("enrol")
    page.locator("#enrol-name").fill(name)
    visit.choose("enrol", 0, *clips)
    for place in range(len(clips)):
        page.locator("#enrol .clip").nth(place).locator("canvas").wait_for()
    return visit.send("enrol", outcome).locator("#enrol-result").inner_text()


def remove(visit: Visit, name: str) -> None:
    """Remove somebody for good."""
    page = visit.open("speakers")
    page.get_by_role("button", name=f"Remove {name}", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Remove for good").click()
    page.get_by_text(f"{name} was removed for good").wait_for()


def test_a_speaker_is_enrolled_listed_and_removed_for_good(visit: Visit) -> None:
    name = 'Zoë "R/M" 王'
    assert f"{name} is enrolled: 2 new, 2 in all" in enrol(visit, name, RMS, RMS_2)
    page = visit.open("speakers")
    page.get_by_text("Recordings: 2").click()
    page.locator(".recordings li").first.wait_for()
    listed = page.locator(".recordings li").all_inner_texts()
    assert [re.sub(r"\s+", " ", one).partition(", enrolled")[0] for one in listed] == [
        f"{file} 5.8 s, {speech} s of it speech" for file, speech in (("rms-1.flac", "5.5"), ("rms-2.flac", "5.4"))
    ]
    page.get_by_role("button", name=f"Remove {name}").click()
    dialog = page.get_by_role("dialog")
    assert "for good and cannot be undone" in dialog.inner_text()
    assert page.evaluate("document.activeElement.textContent") == "Cancel"  # what is safe comes first
    page.keyboard.press("Escape")
    assert page.locator(".speakers > li").filter(has_text=name).is_visible()
    assert [request for request in visit.requests if request.startswith("DELETE")] == []
    remove(visit, name)
    page.get_by_text("Nobody is enrolled.").wait_for()


def test_refused_recordings_say_why_and_may_be_enrolled_all_the_same(visit: Visit) -> None:
    visit.refusals.add(422)
    assert "Nothing was enrolled" in enrol(visit, "Kim", RMS, RMS_2, SLT, outcome=".problem")
    page = visit.page
    notes = [clip.locator(".notes").all_inner_texts() for clip in page.locator("#enrol .clip").all()]
    assert notes[:2] == [[], []] and "does not sound like the others" in notes[2][0]
    reasons = page.locator("#enrol-result li").all_inner_texts()
    assert reasons == ["Clip 3 (slt-1.flac): It does not sound like the others; somebody else may speak in it."]
    page.get_by_role("button", name="中文").click()
    shown = page.locator("#enrol .notes").inner_text()
    assert CHINESE.search(shown) and "sound" not in shown
    page.get_by_role("button", name="English").click()
    # Two people under one name make a voiceprint of nobody: it is asked first, and the safe answer comes first.
    page.get_by_role("button", name="Enrol all of them as one person").click()
    question = page.get_by_role("dialog").inner_text()
    assert "all 3 clips as Kim" in question and "Clip 3 (slt-1.flac)" in question
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    page.keyboard.press("Escape")
    assert [request for request in visit.requests if request.endswith("/recordings")] == [
        f"POST {visit.address}/v1/speakers/Kim/recordings"
    ]
    page.get_by_role("button", name="Enrol all of them as one person").click()
    page.get_by_role("dialog").get_by_role("button", name="Enrol all of them as one person").click()
    page.locator("#enrol-result .verdict").get_by_text("3 new").wait_for()
    assert "enrolled already" in " ".join(enrol_notes(visit, "Kim", RMS))
    remove(visit, "Kim")


def test_after_an_enrolment_the_form_is_empty_and_an_odd_clip_can_be_left_out(visit: Visit) -> None:
    visit.refusals.add(422)
    enrol(visit, "Kim", RMS, RMS_2, SLT, outcome=".problem")
    page = visit.page
    held: list[Route] = []
    page.route("**/v1/speakers?limit=1000", lambda route: held.append(route))
    page.get_by_role("button", name="Leave these out, enrol the others").click()
    page.locator("#enrol-result .verdict").get_by_text("Kim is enrolled: 2 new, 2 in all").wait_for()
    assert page.locator("#enrol .clip").count() == 1 and page.locator("#enrol .clip-empty").is_visible()
    assert page.locator("#enrol-name").input_value() == "" and page.locator("#enrol .notes").count() == 0
    page.locator("#enrol-name").fill("Kim")  # so that nobody is added to without being told, although who there is
    held[0].continue_()  # comes after what was typed
    page.unroute("**/v1/speakers?limit=1000")
    page.get_by_text("Kim is enrolled already: what you send is added.").wait_for()
    page.locator("#enrol-name").fill("Kimi")
    page.get_by_text("Kim is enrolled already").wait_for(state="hidden")
    remove(visit, "Kim")


def test_a_clip_is_compared_with_somebody_who_is_enrolled(visit: Visit) -> None:
    visit.refusals.add(404)
    enrol(visit, "Rob", RMS)
    page = visit.open("speakers")
    page.get_by_role("button", name="Compare a clip with Rob").click()
    assert page.locator("#compare-name").input_value() == "Rob" and page.url.endswith("#compare")
    visit.choose("compare", 0, RMS_2)
    assert visit.send("compare").locator("#compare-result .verdict").inner_text() == "Probably Rob"
    page.locator("#compare-name").fill("Bob")
    assert page.locator("#compare-result").inner_text() == ""
    visit.send("compare", ".problem")
    assert "Nobody is enrolled under this name" in page.locator("#compare-result").inner_text()
    assert page.locator("#people option").evaluate_all("nodes => nodes.map(node => node.value)") == ["Rob"]
    remove(visit, "Rob")


def test_samples_are_tried_without_a_file_and_the_answer_is_copied_and_downloaded(visit: Visit) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visit.open()
    for place, voice in enumerate(("Voice A, first", "Voice B")):
        clip = page.locator("#compare .clip").nth(place)
        clip.get_by_role("button", name="Try a sample").click()
        clip.get_by_role("button", name=voice).click()
        clip.locator(".legend .swatch").first.wait_for()
    visit.send("compare")
    page.get_by_role("button", name="Copy as text").click()
    page.get_by_text("Copied.").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[:2] == ["Clip A (rms-1.flac) and Clip B (slt-1.flac)", "Probably different speakers"]
    assert "evidence for different speakers" in lines[2] and lines[-1].startswith(f"Model {model()}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download (JSON)").click()
    answer = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert answer["verdict"] == "different" and download.value.suggested_filename.startswith("sound-groove-compare-20")


def test_the_scale_tells_what_is_nearly_certain_from_its_ends(visit: Visit) -> None:
    program = """async values => values.map((await import("/page/scale.js")).placeOf)"""
    places = visit.open().evaluate(program, [0, 0.0001, 0.003, 0.5, 0.989, 0.9999, 1])
    assert places[:2] == [0, pytest.approx(0, abs=1e-9)] and places[-2:] == [pytest.approx(1, abs=1e-9), 1]
    assert 0.15 < places[2] < 0.25 and places[3] == pytest.approx(0.5) and 0.7 < places[4] < 0.8
    program = """async values => values.map((await import("/page/verdict.js")).timesOf)"""
    assert visit.page.evaluate(program, [0, 0.3, 1.1, 6.2, 20]) == ["1", "1", "3", "490", "> 1,000,000"]


def test_a_waveform_is_gone_through_and_one_clip_plays_at_a_time(visit: Visit, tmp_path: Path) -> None:
    speech, rate = soundfile.read(RMS, dtype="float32")
    noise = np.random.default_rng(0).normal(0, 3e-4, 4 * rate)
    soundfile.write(tmp_path / "pause.wav", np.concatenate([speech, noise, speech]), rate)
    page = visit.open()
    visit.choose("compare", 0, tmp_path / "pause.wav")
    visit.choose("compare", 1, SLT)
    first, second = (page.locator("#compare .clip").nth(place) for place in (0, 1))
    first.get_by_text("left out").wait_for()
    assert second.get_by_text("left out").count() == 0  # it has no long pause
    wave = first.get_by_role("slider")
    box = wave.bounding_box()
    assert box is not None
    wave.click(position={"x": box["width"] / 2, "y": 40})
    middle, length = (float(wave.get_attribute(f"aria-value{name}") or 0) for name in ("now", "max"))
    assert middle == pytest.approx(length / 2, abs=0.1)
    for press, expected in (("ArrowRight", middle + 1), ("Home", 0), ("ArrowLeft", 0), ("End", length)):
        wave.press(press)
        assert float(wave.get_attribute("aria-valuenow") or 0) == pytest.approx(expected, abs=0.11), press
    wave.press("Home")
    first.get_by_role("button", name="Play: Clip A").click()
    first.get_by_role("button", name="Pause: Clip A").wait_for()
    page.wait_for_function("node => Number(node.ariaValueNow) > 0.2", arg=wave.element_handle())
    second.get_by_role("button", name="Play: Clip B").click()
    second.get_by_role("button", name="Pause: Clip B").wait_for()
    assert first.get_by_role("button", name="Play: Clip A").is_visible()


def test_files_are_dropped_anywhere_and_fill_what_is_empty(visit: Visit) -> None:
    page = visit.open()
    for file, taken in ((RMS, 1), (SLT, 2)):
        drop(visit, page.locator("h1"), file)
        page.wait_for_function(
            "n => document.querySelectorAll('#compare .clip-ready:not([hidden])').length === n", arg=taken
        )
    drop(visit, page.locator("footer"), AWB)
    page.locator("#troubles").get_by_text("Every clip is taken").wait_for()
    drop(visit, page.locator("#compare .clip").first, AWB)
    assert "awb-1.flac" in page.locator("#compare .clip").first.inner_text()
    page.locator("#tab-who").click()
    drop(visit, page.locator("h1"), AWB)
    assert page.locator("#who-name").inner_text() == "awb-1.flac"


def test_that_it_is_busy_is_seen_and_a_question_is_put_once(visit: Visit) -> None:
    page = visit.open()
    for place in (0, 1):
        visit.choose("compare", place, RMS)
    held: list[Route] = []
    page.route("**/v1/compare", lambda route: held.append(route))
    button = page.locator("#compare-ask")
    button.click()
    page.locator("#compare-result .working").wait_for()
    assert button.get_attribute("aria-disabled") == "true"
    assert page.locator("#compare-result").get_attribute("aria-busy") == "true"
    button.click(force=True)
    page.locator("#compare-result .time").get_by_text("2\xa0s").wait_for()
    assert len(held) == 1
    held[0].continue_()
    page.locator("#compare-result .verdict").wait_for()
    assert button.get_attribute("aria-disabled") == "false"


def test_the_reference_of_the_api_is_served_and_asks_nobody_else(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("link", name="How programs use it (API)").click()
    page.locator("#post-v1-compare").wait_for()
    assert page.url == f"{visit.address}/docs"
    paths = page.evaluate("fetch('openapi.json').then(answer => answer.json()).then(found => Object.keys(found.paths))")
    assert set(page.locator(".address h3 code").all_inner_texts()) == set(paths) and len(paths) > 12
    section = page.locator("#post-v1-speakers-name-recordings").inner_text()
    assert "/v1/speakers/Kim/recordings" in section and "one or several files" in section and "required" in section
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people in one recording, in turns."""
    path = tmp_path_factory.mktemp("talk") / "talk.flac"
    soundfile.write(path, np.concatenate([soundfile.read(clip)[0] for clip in (AWB, RMS, SLT)]), 16000)
    return path


def test_of_a_clip_with_several_voices_one_is_enrolled_alone(visit: Visit, talk: Path) -> None:
    visit.refusals.add(422)
    (note,) = enrol_notes(visit, "Ann", talk)
    assert re.search(r"Several voices are heard in it: voice 1 from \d+\.\d to \d+\.\d\ss, voice 2 from \d", note)
    visit.page.get_by_role("button", name="Enrol voice 2 alone").click()
    visit.page.locator("#enrol-result .verdict").get_by_text("1 new").wait_for()
    assert "More than one voice is heard" in visit.page.locator("#enrol .notes li").inner_text()
    remove(visit, "Ann")


def test_who_speaks_when_is_shown_played_corrected_and_enrolled(visit: Visit, talk: Path) -> None:
    visit.refusals.add(422)
    page = visit.open("who")
    page.get_by_role("button", name="Find out").click()
    page.get_by_text("Recording is empty").wait_for()
    page.locator("#who-chooser").set_input_files(talk)
    page.locator("#who-player").wait_for()
    page.locator("#who-count").fill("3")
    page.get_by_role("button", name="Find out").click()
    page.locator("#who-result .lanes").wait_for()
    assert any(" http" in request and "/v1/who/" in request for request in visit.requests)  # it was a job
    lanes = page.locator("#who .lane")
    assert page.locator("#who-result .verdict").inner_text() == "Speakers: 3, turns: 3" and lanes.count() == 3
    assert [lanes.nth(place).locator(".speaker").inner_text() for place in range(3)] == [
        f"Unknown {number}" for number in (1, 2, 3)
    ]
    # A turn is played from its beginning to its end.
    lanes.nth(1).get_by_role("button", name="Listen").click()
    page.wait_for_function(
        "() => { const p = document.getElementById('who-player'); return p.currentTime > 10.5 && p.paused; }"
    )
    assert 10.5 < page.locator("#who-player").evaluate("node => node.currentTime") < 12.5
    page.locator("#who summary").click()
    assert page.locator("#who .turns li").count() == 3
    # A name is corrected everywhere, and the voice enrolled under it by what it says.
    lanes.nth(0).get_by_role("button", name="Enrol").click()
    lanes.nth(0).get_by_text("name").last.wait_for()
    lanes.nth(0).get_by_label("Name").fill("Zoë <i>")
    assert page.locator("#who .turns li").first.inner_text().endswith("Zoë <i>")
    lanes.nth(0).get_by_role("button", name="Enrol").click()
    lanes.nth(0).get_by_text("Zoë <i> is enrolled: 1 new, 1 in all").wait_for()
    lanes.nth(0).get_by_role("button", name="Enrol").click()  # once more says nothing new
    lanes.nth(0).get_by_text("This audio is enrolled already.").wait_for()
    page.get_by_role("button", name="中文").click()
    assert CHINESE.search(lanes.nth(1).locator(".speaker").inner_text())
    assert lanes.nth(0).locator(".speaker").inner_text() == "Zoë <i>"
    page.get_by_role("button", name="English").click()
    # Now that this voice is enrolled, it is named.
    page.get_by_role("button", name="Find out").click()
    page.locator("#who .lane .speaker").get_by_text("Zoë <i>").wait_for()
    assert "probability 99.97" in lanes.nth(0).inner_text()
    remove(visit, "Zoë <i>")


def test_what_is_listened_to_can_be_given_up_and_what_cannot_be_used_is_said(
    visit: Visit, talk: Path, tmp_path: Path
) -> None:
    page = visit.open("who")
    working = '{"id": "j", "state": "working", "duration_s": 100, "heard_s": 40, "result": null, "error": null}'
    page.route("**/v1/who", lambda route: route.fulfill(status=202, body=working))
    page.route("**/v1/who/j", lambda route: route.fulfill(status=200, body=working))
    page.locator("#who-chooser").set_input_files(talk)
    page.get_by_role("button", name="Find out").click()
    page.locator("#who-result").get_by_text("Listening: 40\xa0%").wait_for()
    assert page.locator("#who progress").evaluate("node => node.value") == pytest.approx(0.4)
    with page.expect_request(lambda request: request.method == "DELETE"):
        page.locator("#who").get_by_role("button", name="Cancel").click()
    assert page.locator("#who-result").inner_text() == ""
    page.unroute_all()
    (tmp_path / "no.wav").write_text("no audio")
    page.locator("#who-chooser").set_input_files(tmp_path / "no.wav")
    page.get_by_role("button", name="Find out").click()
    page.locator("#who-result .problem").get_by_text("The recording cannot be used.").wait_for()
    assert page.locator("#who-player").is_hidden()


def enrol_notes(visit: Visit, name: str, clip: Path) -> list[str]:
    """What stands under a clip that is refused."""
    enrol(visit, name, clip, outcome=".problem")
    return visit.page.locator("#enrol .notes li").all_inner_texts()


def test_clips_can_be_added_and_taken_away_before_enrolling(visit: Visit) -> None:
    page = visit.open("enrol")
    visit.choose("enrol", 0, RMS, SLT, AWB)
    titles = page.locator("#enrol .clip h3")
    assert titles.all_inner_texts() == ["Clip 1", "Clip 2", "Clip 3"]
    page.locator("#enrol .clip").nth(1).get_by_role("button", name="Remove").click()
    assert titles.all_inner_texts() == ["Clip 1", "Clip 2"]
    assert "awb-1.flac" in page.locator("#enrol .clip").nth(1).inner_text()
    page.get_by_role("button", name="Add another clip").click()
    assert page.locator("#enrol .clip").nth(2).get_by_role("button", name="Record").evaluate(FOCUSED)


def test_identification_names_the_speaker_or_nobody(visit: Visit) -> None:
    page = visit.open("identify")
    visit.choose("identify", 0, RMS_2)
    visit.send("identify")
    assert "Nobody is enrolled with this model" in page.locator("#identify-result").inner_text()
    for name, clip in (("Rob", RMS), ("Sue", SLT)):
        enrol(visit, name, clip)
    visit.open("identify")
    visit.choose("identify", 0, RMS_2)
    visit.send("identify")
    assert page.locator("#identify-result .verdict").inner_text() == "Probably Rob"
    rows = page.locator("#identify-result tbody tr").all_inner_texts()
    assert rows[0].startswith("Rob") and "9" in rows[0] and rows[-1].startswith("Nobody enrolled")
    page.locator("#identify .clip").get_by_role("button", name="Remove").click()
    visit.choose("identify", 0, AWB)
    visit.send("identify")
    assert page.locator("#identify-result .verdict").inner_text() == "Probably nobody who is enrolled"
    for name in ("Rob", "Sue"):
        remove(visit, name)


def test_everything_can_be_done_with_the_keyboard(visit: Visit) -> None:
    page = visit.page
    page.goto(visit.address)
    page.locator("#model").get_by_text("pretrained").wait_for()
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
        shown = "document.activeElement.type === 'radio' ? document.activeElement.labels[0] : document.activeElement"
        outline = page.evaluate(f"getComputedStyle({shown}).outlineWidth")
        assert outline == "3px", seen[-1]
        if seen[-1] == "Compare" and len(seen) > 4:
            break
    record = ["Record", "Choose a file…", "Try a sample"]
    assert seen == ["English", "中文", "Compare", "", *record, *record, "Compare"]  # one of two radio buttons
    page.keyboard.press("Enter")
    page.get_by_text("Clip A is empty").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Record"
    page.keyboard.press("Enter")
    page.locator("#compare .time").first.get_by_text(re.compile("^0:01")).wait_for()
    page.keyboard.press("Space")  # the focus went to 'Stop'
    page.get_by_text("Your recording").wait_for()
    page.locator("#tab-compare").focus()
    for section in (*SECTIONS[1:], SECTIONS[0]):
        page.keyboard.press("ArrowRight")
        assert page.locator(f"#{section}").is_visible() and page.url.endswith(f"#{section}")
        assert page.locator("[role=tabpanel]:visible").count() == 1
    page.keyboard.press("ArrowLeft")
    assert page.locator("#speakers").is_visible()
    page.locator("#speakers-result").get_by_text("Nobody is enrolled.").wait_for()


@pytest.mark.parametrize("section", ["compare", "identify", "enrol"])
def test_what_the_service_says_of_a_clip_does_not_move_the_button_below_it(visit: Visit, section: str) -> None:
    page = visit.open(section)
    held: list[Route] = []
    page.route("**/v1/inspect", lambda route: held.append(route))
    visit.choose(section, 0, RMS)
    facts = page.locator(f"#{section} .clip-ready > p:not([hidden])").first
    button = page.locator(f"#{section}-form > button.large")
    before = button.bounding_box()
    assert held and facts.inner_text() == ""
    held[0].continue_()
    facts.get_by_text("of speech").wait_for()
    assert button.bounding_box() == before


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_narrow_page_never_scrolls_sideways(browser: "Browser", address: str, locale: str) -> None:
    context = browser.new_context(locale=locale, viewport={"width": 390, "height": 700})
    visit = Visit(context.new_page(), address)
    page = visit.open()
    visit.choose("compare", 0, RMS)
    visit.choose("compare", 1, SLT)
    visit.send("compare").locator("#compare-result summary").click()
    first, second = (page.locator("#compare .clip").nth(place).bounding_box() for place in (0, 1))
    assert first is not None and second is not None and second["y"] >= first["y"] + first["height"]
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 700})
        for section in SECTIONS:
            page.locator(f"#tab-{section}").click()
            page.locator(f"#{section}").wait_for()
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, (width, section)
    visit.check()
    context.close()


def test_the_language_is_the_browsers_until_another_is_chosen(browser: "Browser", address: str) -> None:
    context = browser.new_context(locale="zh-CN")
    visit = Visit(context.new_page(), address)
    page = visit.open()
    words = page.locator("[data-text]:visible").all_inner_texts()
    assert len(words) > 12 and all(CHINESE.search(word) for word in words), words
    assert page.locator("html").get_attribute("lang") == "zh-CN" and CHINESE.search(page.title())
    page.get_by_role("button", name="English").click()
    page.reload()
    words = page.locator("[data-text]:visible").all_inner_texts()
    assert len(words) > 12 and not any(CHINESE.search(word) for word in words), words
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("button", name="English").get_attribute("aria-pressed") == "true"
    visit.check()
    context.close()


@pytest.mark.parametrize(
    ("obstacle", "sentence"),
    [
        (rejected("NotAllowedError"), "The browser may not use the microphone"),
        (rejected("NotFoundError"), "No microphone was found"),
        (rejected("NotReadableError"), "The microphone cannot be read"),
        ("Object.defineProperty(window, 'isSecureContext', {value: false});", "https and localhost only"),
    ],
)
def test_a_microphone_that_cannot_be_had_is_explained(visit: Visit, obstacle: str, sentence: str) -> None:
    visit.page.add_init_script(obstacle)
    clip = visit.open().locator("#compare .clip").first
    clip.get_by_role("button", name="Record").click()
    assert sentence in clip.locator(".notes li").inner_text()
    assert clip.get_by_role("button", name="Record").is_enabled()


def test_a_file_beyond_the_limit_is_refused_before_it_is_sent(visit: Visit, tmp_path: Path) -> None:
    large, half = tmp_path / "large.wav", tmp_path / "half.wav"
    soundfile.write(large, np.zeros(1_100_000), 16000)
    soundfile.write(half, np.random.default_rng(0).normal(0, 0.1, 600_000), 16000)
    page = visit.open()
    clip = page.locator("#compare .clip").first
    clip.locator("input[type=file]").set_input_files(large)
    assert "The audio has 2.2\xa0MB, and the service takes 2.0\xa0MB" in clip.locator(".notes li").inner_text()
    for place in (0, 1):
        visit.choose("compare", place, half)
    visit.send("compare", ".problem")
    assert "The audio has 2.4\xa0MB" in page.locator("#compare-result").inner_text()
    assert [request for request in visit.requests if request.endswith("/v1/compare")] == []


def test_a_busy_service_and_one_that_is_gone_are_told_apart(visit: Visit) -> None:
    visit.refusals.add(429)
    page = visit.open()
    for place in (0, 1):
        visit.choose("compare", place, RMS)
    body = '{"error": {"code": "too_many_requests", "message": "", "problems": []}}'
    page.route("**/v1/compare", lambda route: route.fulfill(status=429, headers={"Retry-After": "2"}, body=body))
    visit.send("compare", ".problem")
    assert "busy: try again in 2\xa0s" in page.locator("#compare-result").inner_text()
    page.locator("#compare-result .problem").wait_for(state="detached")  # it is over
    page.unroute_all()
    page.context.set_offline(True)
    page.locator("#compare-ask").click()
    page.get_by_text("The service does not answer; it may have been stopped.").wait_for()
    page.context.set_offline(False)
    page.locator("#compare-result .problem").wait_for(state="detached")  # it is back
    visit.complaints[:] = [one for one in visit.complaints if "ERR_INTERNET_DISCONNECTED" not in one]


def test_a_service_with_keys_is_given_one_that_this_tab_alone_keeps(context: "BrowserContext", tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    command = [sys.executable, "-m", "sound_groove", "keys", "add", "page", "--scope", "read", "--keys", str(keys)]
    key = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    service = ServiceProcess(tmp_path, "--keys", str(keys))
    try:
        visit = Visit(context.new_page(), service.address, {401, 403})
        page = visit.page
        page.goto(service.address)
        page.get_by_label("Key").fill("wrong")
        page.get_by_role("button", name="Use this key").click()
        page.get_by_text("The service does not know this key.").wait_for()
        page.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        page.locator("#model").get_by_text("pretrained").wait_for()
        assert page.locator("#key-form").is_hidden()
        assert key in page.evaluate("JSON.stringify(sessionStorage)")
        assert key not in page.evaluate("JSON.stringify(localStorage) + document.cookie")
        assert "This key does not allow that" in enrol(visit, "Kim", RMS, outcome=".problem")
        visit.check()
    finally:
        service.stop()


def test_files_are_asked_for_anew_and_come_compressed(visit: Visit) -> None:
    answers: dict[str, dict[str, str]] = {}
    visit.page.on("response", lambda answer: answers.update({answer.url: answer.headers}))
    visit.open()
    files = {url: headers for url, headers in answers.items() if "/page/" in url}
    assert len(files) > 15
    assert {headers["cache-control"] for headers in files.values()} == {"no-cache"}
    assert files[f"{visit.address}/page/texts.js"]["content-encoding"] == "gzip"


def test_nothing_is_shorter_than_a_finger_needs(visit: Visit) -> None:
    page = visit.open()
    visit.choose("compare", 0, RMS)
    sizes = page.locator(
        "button:visible, summary:visible, input:visible:not([type=radio]), .segmented label:visible"
    ).evaluate_all("nodes => nodes.map(node => [node.textContent, node.offsetWidth, node.offsetHeight])")
    assert len(sizes) > 8 and all(min(width, height) >= 24 for _, width, height in sizes), sizes


class ElsewherePage(QuietHandler):
    """An empty page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def test_a_page_of_another_place_reads_answers_once_its_origin_is_named(
    context: "BrowserContext", address: str, tmp_path: Path
) -> None:
    program = """async ([address, name]) => {
        const method = { method: "DELETE", headers: { Authorization: "Bearer x" } };  // which is asked for first
        const removed = await fetch(`${address}/v1/speakers/${name}`, method).then(r => r.json(), () => "kept out");
        const info = await fetch(`${address}/v1/info`).then(r => r.json(), () => "kept out");
        return [removed.error?.code ?? removed, info.version ? "read" : info];
    }"""
    with serving(ElsewherePage) as origin:
        service = ServiceProcess(tmp_path, "--allow-origin", origin)
        try:
            page = context.new_page()
            page.goto(origin)
            assert page.evaluate(program, [service.address, "Kim"]) == ["unknown_speaker", "read"]
            assert page.evaluate(program, [address, "Kim"]) == ["kept out", "kept out"]
        finally:
            service.stop()
