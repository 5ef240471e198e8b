"""The files of the service's page: complete, of one piece, and asking nobody else for anything."""

import ast
import json
import re
from pathlib import Path

import pytest

import sound_groove
from sound_groove.audio.listening import NO_VERDICT
from sound_groove.audio.quality import LITTLE_SPEECH_S

PACKAGE = Path(sound_groove.__file__).parent
PAGE = PACKAGE / "service" / "page"
LANGUAGES = ("en", "zh")
ROOTS = {"index.html": "main.js", "reference.html": "reference.js"}
# Of texts whose name the scripts put together.
COMPOSED = ("error_", "mark_", "part_", "refused_", "strength_", "verdict_", "warning_", "zone_")


def contents() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(PAGE.iterdir())}


def texts() -> dict[str, dict[str, str]]:
    _, _, found = contents()["texts.js"].partition("TEXTS = ")
    languages: dict[str, dict[str, str]] = json.loads(found.rstrip().removesuffix(";"))
    return languages


def scripts() -> str:
    return "".join(content for name, content in contents().items() if name.endswith(".js") and name != "texts.js")


def test_every_language_has_every_text() -> None:
    assert tuple(texts()) == LANGUAGES and len(texts()["en"]) > 100
    english, chinese = (texts()[name] for name in LANGUAGES)
    assert list(english) == list(chinese)
    for key, text in english.items():
        placeholders = re.findall(r"\{\w+\}", text)
        assert sorted(set(placeholders)) == sorted(set(re.findall(r"\{\w+\}", chinese[key]))), key
        assert text.strip() and chinese[key].strip(), key
    same = [key for key in english if english[key] == chinese[key]]
    assert same == ["as_said"]


def test_every_text_that_is_named_exists_and_every_one_that_exists_is_used() -> None:
    html, code = contents()["index.html"], scripts()
    named = set(re.findall(r'data-(?:text|label)="(\w+)"', html)) | set(re.findall(r'text: "(\w+)"', code))
    named |= set(re.findall(r'new Problem\("(\w+)"', code)) | set(re.findall(r'"(microphone_\w+|refused_\w+)"', code))
    assert len(named) > 80
    assert named - set(texts()["en"]) == set()
    unused = {
        key
        for key in texts()["en"]
        if key not in named and not key.startswith(COMPOSED) and f'"{key}"' not in code + html
    }
    assert unused == set()


def test_every_warning_of_the_library_has_words_of_its_own() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    codes = set(re.findall(r'QualityWarning\(\s*"(\w+)"', sources))
    assert {"clipping", "too_little_speech", "uncalibrated"} <= codes
    assert {f"warning_{code}" for code in codes} - set(texts()["en"]) == set()


def refusal_codes() -> set[str]:
    """The codes with which the package's code refuses recordings."""
    places = {"AudioError": None, "Refusal": 1, "unusable": 2}  # of the argument that is the code, where it has one
    found = set(NO_VERDICT)
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in places:
                continue
            place = places[call.func.id]
            given = [word.value for word in call.keywords if word.arg == "code"]
            given += call.args[place : place + 1] if place is not None else []
            found |= {str(one.value) for one in given if isinstance(one, ast.Constant)}
    return found


def test_every_reason_to_refuse_a_recording_has_words_of_its_own() -> None:
    codes = {*refusal_codes(), "foreign_format", "too_large"}
    assert {"damaged", "silent", "slow_to_decode", "other_voice", "enrolled_already", "too_long_together"} <= codes
    codes -= {"no_audio"}  # of which no request tells
    assert {f"refused_{code}" for code in codes} - set(texts()["en"]) == set()
    told = set(re.findall(r"`(\w+)`", (PACKAGE.parents[1] / "docs" / "service.md").read_text(encoding="utf-8")))
    assert codes - told == set()


def test_every_file_that_is_named_exists_and_every_file_is_named() -> None:
    files, pattern = contents(), r'"(?:page/|\./)?([\w-]+\.(?:js|css|svg))"'
    reached, new = {*ROOTS}, {*ROOTS}
    while new:
        named = {name for file in new for name in re.findall(pattern, files[file])}
        assert named <= set(files), named - set(files)
        new = named - reached
        reached |= new
    assert reached == set(files) and len(files) > 15


def test_every_element_that_a_script_looks_for_is_there() -> None:
    wanted = set(re.findall(r'find\("([\w-]+)"\)', scripts()))
    there = re.findall(r'\bid="([\w-]+)"', contents()["index.html"])
    assert len(wanted) > 15 and wanted <= set(there), wanted - set(there)
    assert len(there) == len(set(there))


def test_nothing_is_asked_of_anybody_else() -> None:
    for name, content in contents().items():
        without_namespace = content.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"^\s*//.*|\s// .*", "", without_namespace, flags=re.M)), (
            name
        )
        assert not re.search(r"@import|url\(", content), name


def test_a_strict_content_security_policy_lets_everything_through() -> None:
    for name, script in ROOTS.items():
        html = contents()[name]
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", html)
        assert re.findall(r"<script([^>]*)>(.*?)</script>", html) == [(f' type="module" src="page/{script}"', "")]
    assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", scripts())


def test_the_page_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in PAGE.iterdir()}
    reference = sum(size for name, size in sizes.items() if name.startswith("reference."))
    # A fifth is the section of who speaks when, another the texts in two languages; compressed it is a quarter of that.
    assert sum(sizes.values()) - reference < 148_000 and reference < 16_000, sizes


def test_what_the_page_advises_is_what_is_checked() -> None:
    for language, unit in (("en", "seconds"), ("zh", "秒")):
        for key in ("clip_advice", "clip_advice_one", "enrol_advice"):
            assert f"{LITTLE_SPEECH_S:g} {unit}" in texts()[language][key]
        assert f"{LITTLE_SPEECH_S:g}\xa0" in texts()[language]["warning_little_speech"]


def palettes() -> dict[str, dict[str, str]]:
    light, _, dark = contents()["style.css"].partition("@media (prefers-color-scheme: dark)")
    read = {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part))
        for name, part in (("light", light), ("dark", dark))
    }
    assert read["light"].keys() == read["dark"].keys() and len(read["light"]) > 12
    return read


def luminance(color: str) -> float:
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    """As WCAG 2.2 defines it.

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_controls_have_enough_contrast(scheme: str) -> None:
    colors = palettes()[scheme]
    text = [(name, ground) for name in ("text", "muted", "accent") for ground in ("ground", "surface")]
    text += [("on-accent", "accent"), ("warning", "warning-ground"), ("error", "error-ground")]
    text += [("same", "surface"), ("different", "surface"), ("error", "surface")]
    for name, ground in text:
        assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
    for name, ground in (
        ("edge", "surface"),
        ("edge", "ground"),
        ("wave", "ground"),
        ("wave", "line"),
        ("accent", "ground"),
    ):
        assert contrast(colors[name], colors[ground]) >= 3, (name, ground)
