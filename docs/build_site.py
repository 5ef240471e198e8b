"""Builds the documentation as a site of plain files, which works from a folder and asks nobody for anything.

    python docs/build_site.py [--out outputs/site]

English pages lie in the folder itself, the Chinese ones in `zh/`: each language is a site of its own, with its own
search. Both have all pages; what is not translated is shown in English with a note that says so. Before mkdocs builds
a language, its pages are laid out in a folder of their own:

- a page `x.zh.md` takes the place of `x.md` in Chinese;
- a notebook becomes a page with its outputs, and can be downloaded beside it;
- a file outside docs/ that a page links to, such as a recipe, becomes a page below `project/`.

Both show the page in which two clips are compared (`comparison_page.py`), which lies once in the site.
"""

import argparse
import logging
import os
import re
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import comparison_page
import jieba
import notebooks
import yaml
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LANGUAGES = ("en", "zh")
# Fenced blocks and code in a line, in which nothing is a link; and links and pictures.
CODE_OR_LINK = re.compile(r"(?ms)^ *(`{3,}).*?^ *\1 *$|`[^`\n]+`|(?P<text>!?\[[^\]]*\])\((?P<target>[^)\s]+)\)")
# The end of a line in the middle of Chinese text, which would be shown as a blank.
BETWEEN_CHINESE = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef\u201d])\n(?=[\u3000-\u9fff\uff00-\uffef\u201c])")
README, README_CHINESE = PurePosixPath("README.md"), PurePosixPath("README_zh.md")
NOT_TRANSLATED = '\n!!! note ""\n    本页只有英文。\n'
# In a search, options come first where they are defined, and pages that explain a word before those that mention it.
BOOSTS = {"commands.md": 2, "recipes.md": 2, "project/": 0.4, "reference/api/": 0.4}
DOWNLOAD = {"en": "This page as a notebook", "zh": "下载本页的 notebook"}
SECTIONS = {
    "Tutorials": "教程",
    "How-to": "操作指南",
    "Reference": "参考",
    "Explanation": "原理",
    "Project": "项目",
    "Recordings and voices": "录音与声音",
    "Service": "服务",
    "Models": "模型",
    "Python": "Python 接口",
}


class Layout:
    """The pages of one language, laid out for mkdocs.

    Args:
        language: one of `LANGUAGES`.
        folder: where to.
    """

    def __init__(self, language: str, folder: Path) -> None:
        self.language = language
        self.folder = folder
        self._waiting: list[PurePosixPath] = []
        self._seen: set[PurePosixPath] = set()

    def lay_out(self) -> None:
        """Write every page that mkdocs is to find."""
        for path in sorted(DOCS.rglob("*")):
            inside = path.relative_to(DOCS)
            if path.is_dir() or inside.parts[0] == "theme" or "__pycache__" in inside.parts or path.suffix == ".py":
                continue
            if not path.name.endswith(".zh.md"):
                self.page_of(PurePosixPath("docs", *inside.parts))
        for name in _named(_configuration()["nav"]):
            self.page_of(PurePosixPath(os.path.normpath(PurePosixPath("docs", name))))
        while self._waiting:
            self._write(self._waiting.pop())

    def page_of(self, path: PurePosixPath) -> PurePosixPath:
        """Where a file of the project is laid out, which is seen to.

        Args:
            path: from the root of the project.
        """
        if (ROOT / path / "README.md").is_file():
            path = path / "README.md"
        if path in (README, README_CHINESE):
            path, page = README, PurePosixPath("project/readme.md")
        elif (ROOT / path).is_dir():
            page = PurePosixPath("project", path, "index.md")
        elif path.parts[0] == "docs":
            inside = PurePosixPath(*path.parts[1:])
            suffix = ".md" if path.name.endswith((".zh.md", ".ipynb")) else path.suffix
            page = inside.with_name(inside.name.removesuffix(inside.suffix).removesuffix(".zh") + suffix)
            path = path.with_name(path.name.replace(".zh.md", ".md"))
        else:
            page = PurePosixPath("project", path if path.suffix == ".md" else f"{path}.md")
        if path not in self._seen:
            self._seen.add(path)
            self._waiting.append(path)
        return page

    def _write(self, path: PurePosixPath) -> None:
        place = self.folder / self.page_of(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        chinese = self._translation(path)
        source = ROOT / (chinese or path)
        if source.is_dir():
            text = self._listing(source)
        elif source.suffix == ".ipynb":
            shutil.copy(source, place.with_suffix(".ipynb"))
            text = notebooks.as_page(source, place.parent / "pictures")
        elif source.suffix == ".md":
            text = source.read_text(encoding="utf-8")
        elif path.parts[0] == "docs":
            shutil.copy(source, place)
            return
        else:
            language = {".yaml": "yaml", ".py": "python", ".sh": "bash"}.get(source.suffix, "text")
            text = f"# {path}\n\n````{language}\n{source.read_text(encoding='utf-8').rstrip()}\n````\n"
        text = re.sub(r"(?m)^(English \| \[中文\].*|\[English\].*中文)$\n", "", text)  # the site has its own way over
        text = re.sub(r"\A<!--.*?-->\n+", "", text)  # the heading is the first line, which gives a page its title
        text = BETWEEN_CHINESE.sub("", text)
        if self.language == "zh" and chinese is None:
            text = re.sub(r"(?m)^# .*$", lambda found: found[0] + "\n" + NOT_TRANSLATED, text, count=1)
        text = self._linked(text, PurePosixPath(source.relative_to(ROOT)))
        up = "../" * (len(place.relative_to(self.folder).parts) - 1 + (self.language != LANGUAGES[0]))
        text = text.replace(comparison_page.MARK, comparison_page.markup(self.language, up))
        if source.suffix == ".ipynb":
            text += f"\n[{DOWNLOAD[self.language]}]({source.name}){{ download }}\n"
        page = place.relative_to(self.folder).as_posix()
        if boost := next((value for start, value in BOOSTS.items() if page.startswith(start)), None):
            text = f"---\nsearch: {{boost: {boost}}}\n---\n\n{text}"
        place.write_text(text, encoding="utf-8")

    def _translation(self, path: PurePosixPath) -> PurePosixPath | None:
        """The file that stands for another in this language, if one does."""
        chinese = README_CHINESE if path == README else path.with_suffix(".zh.md")
        return chinese if self.language == "zh" and (ROOT / chinese).is_file() else None

    def _listing(self, folder: Path) -> str:
        """A page that links to what lies in a folder."""
        files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix in (".yaml", ".md"))
        listed = "\n".join(f"- [{file.as_posix()}]({folder.name}/{file.as_posix()})" for file in files)
        return f"# {folder.relative_to(ROOT).as_posix()}\n\n{listed}\n"

    def _linked(self, text: str, path: PurePosixPath) -> str:
        """The text of a file with its links to other files as links to their pages."""
        here = self.page_of(path).parent

        def link(found: re.Match[str]) -> str:
            target = found["target"]
            if target is None or re.match(r"[a-z]+:|#", target):
                return found[0]
            file, _, fragment = target.partition("#")
            aim = PurePosixPath(os.path.normpath(path.parent / file))
            if not (ROOT / aim).exists():
                return found[0]  # mkdocs tells of it
            page = os.path.relpath(self.page_of(aim), here)
            return f"{found['text']}({page}{'#' + self._fragment(aim, fragment) if fragment else ''})"

        return CODE_OR_LINK.sub(link, text)

    def _fragment(self, path: PurePosixPath, fragment: str) -> str:
        """The same place in the translation of a page, if it has one: headings come in the same order there."""
        chinese = self._translation(path)
        if chinese is None:
            return fragment
        english, translated = (_anchors((ROOT / file).read_text(encoding="utf-8")) for file in (path, chinese))
        return dict(zip(english, translated, strict=True)).get(fragment, fragment)


def _anchors(text: str) -> list[str]:
    """The names by which the headings of a page are linked to."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```$", "", text))
    return [slugify(case="lower")(heading.replace("`", ""), "-") for heading in headings]


def _configuration() -> dict[str, Any]:
    """What mkdocs.yml says, as far as it is plain YAML."""
    text = re.sub(r"!!python/\S+ (\{.*\})", "null", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    configuration: dict[str, Any] = yaml.safe_load(text)
    return configuration


def _named(nav: Any) -> list[str]:
    """The files that a navigation names."""
    if isinstance(nav, str):
        return [nav]
    return [name for item in (nav.values() if isinstance(nav, dict) else nav) for name in _named(item)]


def _navigation(nav: Any, layout: Layout) -> Any:
    """The navigation in a language, with the pages that were laid out."""
    if isinstance(nav, str):
        return str(layout.page_of(PurePosixPath(os.path.normpath(PurePosixPath("docs", nav)))))
    if isinstance(nav, list):
        return [_navigation(item, layout) for item in nav]
    chinese = layout.language == "zh"
    return {SECTIONS[name] if chinese else name: _navigation(item, layout) for name, item in nav.items()}


def build(language: str, out: Path) -> None:
    """Lay out and build one language into a folder; any warning of mkdocs is an error."""
    from mkdocs.commands.build import build as build_pages
    from mkdocs.config import load_config

    os.chdir(ROOT)  # the paths of mkdocs.yml begin there
    logging.basicConfig(level=logging.WARNING, format=f"{language}: %(levelname)s %(message)s")
    jieba.setLogLevel(logging.WARNING)
    configuration = _configuration()
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(language, Path(name).resolve())
        layout.lay_out()
        search = {**configuration["plugins"]["search"], "lang": ["en"] if language == "en" else ["en", "zh"]}
        loaded = load_config(
            str(ROOT / "mkdocs.yml"),
            docs_dir=str(layout.folder),
            site_dir=str(out),
            theme={**configuration["theme"], "language": language, "custom_dir": str(DOCS / "theme")},
            nav=_navigation(configuration["nav"], layout),
            plugins={**configuration["plugins"], "search": search},
        )
        loaded.plugins.on_startup(command="build", dirty=False)
        try:
            build_pages(loaded)
        except SystemExit:  # mkdocs' own; it would end a process of the pool without a word
            raise RuntimeError(f"mkdocs warns of the pages above ({language})") from None


def main() -> None:
    """Build both languages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs/site")
    out = parser.parse_args().out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / "search").is_dir():
        parser.error(f"{out} is not empty, and no site that was built here")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as name, ProcessPoolExecutor(len(LANGUAGES)) as pool:
        built = [Path(name) / language for language in LANGUAGES]
        for done in [pool.submit(build, *job) for job in zip(LANGUAGES, built, strict=True)]:
            done.result()
        shutil.rmtree(out, ignore_errors=True)
        built[0].rename(out)
        built[1].rename(out / LANGUAGES[1])
    comparison_page.write(out)
    if not comparison_page.is_possible():
        sys.stderr.write("The site cannot compare clips: 'npm ci' in javascript/ brings what it needs.\n")


if __name__ == "__main__":
    main()
