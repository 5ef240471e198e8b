"""The page that compares two clips in the reader's browser, as a folder of the site: `assets/compare/`.

It is the page of the service (`src/sound_groove/service/page`), with a few files of `javascript/page` in the place of
those that ask the service; beside it lie the npm package as it is, the model, and onnxruntime-web, which npm brings
(`npm ci` in `javascript/`). Without that the site is built without the page, and says so.
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = "assets/compare"
MARK = "<!-- here two clips are compared -->"
PAGE, LOCAL = ROOT / "src/sound_groove/service/page", ROOT / "javascript/page"
RUNTIME = ROOT / "javascript/node_modules/onnxruntime-web/dist"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
WEIGHTS = ("pretrained.onnx", "speech_detector.onnx", "familiar_speech.json")
SAMPLES = ("rms-1.flac", "rms-2.flac", "slt-1.flac")
# What asks for a server, or belongs to sections that need one.
LEFT_OUT = {"client.js", "key.js", "main.js", "identify.js", "who.js", "timeline.js", "index.html"}
WORDS = {
    "en": {
        "title": "Compare two clips, in this browser",
        "folder": "Browsers run WebAssembly from a web server only, so that no clips can be compared on a page that "
        "was opened from a folder: <code>python -m http.server</code> in the folder of the site is one.",
        "without": "This copy of the site was built without npm, so that no clips can be compared here.",
    },
    "zh": {
        "title": "在浏览器里比对两段录音",
        "folder": "浏览器只运行来自网页服务器的 WebAssembly，因此从文件夹打开的页面不能比对录音：在网站的文件夹里运行 "
        "<code>python -m http.server</code> 即可。",
        "without": "网站的这一份在构建时没有 npm，因此这里不能比对录音。",
    },
}


def is_possible() -> bool:
    """Whether npm has brought what runs the model in a browser."""
    return all((RUNTIME / name).is_file() for name in RUNTIME_FILES)


def markup(language: str, up: str) -> str:
    """What stands on a page of the site in the place of `MARK`.

    Args:
        language: of the page, "en" or "zh".
        up: from the page to the root of the site, such as "../".
    """
    words = WORDS[language]
    if not is_possible():
        return f'<div class="compare-here" markdown="0"><p>{words["without"]}</p></div>'
    address = f"{up}{PLACE}/index.html?language={language}"
    return (
        f'<div class="compare-here" markdown="0"><p hidden>{words["folder"]}</p><iframe aria-label="{words["title"]}" '
        f'data-address="{address}" allow="microphone; clipboard-write"></iframe></div>'
    )


def write(site: Path) -> None:
    """Write the folder into a site that is built; nothing where it is not possible."""
    if not is_possible():
        return
    folder = site / PLACE
    for name in ("page/samples", "sound-groove", "weights", "onnxruntime"):
        (folder / name).mkdir(parents=True)
    for path in PAGE.iterdir():
        if path.name not in LEFT_OUT and not path.name.startswith("reference."):
            name = "service_texts.js" if path.name == "texts.js" else path.name
            shutil.copy(path, folder / "page" / name)
    for path in LOCAL.iterdir():
        shutil.copy(path, folder / path.name if path.name == "index.html" else folder / "page" / path.name)
    shutil.copytree(ROOT / "javascript/src", folder / "sound-groove/src")
    for name in WEIGHTS:
        shutil.copy(ROOT / "src/sound_groove/weights" / name, folder / "weights" / name)
    for name in RUNTIME_FILES:
        shutil.copy(RUNTIME / name, folder / "onnxruntime" / name.replace(".mjs", ".js"))  # servers know .js
    for name in SAMPLES:
        shutil.copy(ROOT / "examples" / name, folder / "page/samples" / name)
