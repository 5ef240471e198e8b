"""What the documentation says is true: links, commands, names, generated pages, examples, and the keys of files."""

import ast
import doctest
import importlib.util
import json
import pkgutil
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from costs import costs
from sound_groove.cli import VERBS, build_parser, main, named_modules
from sound_groove.errors import ConfigurationError, SoundGrooveError

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
READMES = (ROOT / "README.md", ROOT / "README_zh.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
WORD_OF_A_SHELL = re.compile(r"^(?:[A-Z_]+=\S+ +)*sound-groove ")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}: {self.text.splitlines()[0] if self.text else ''}"


def blocks(document: Path) -> list[Block]:
    return [Block(document, language, text) for language, text in FENCE.findall(document.read_text(encoding="utf-8"))]


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def commands(document: Path) -> Iterator[list[str]]:
    """The words of every sound-groove command in a document's blocks, without 'sound-groove' and comments."""
    for block in blocks(document):
        for line in block.text.replace("\\\n", " ").splitlines():
            text = line.strip().removeprefix("$ ")
            if block.language == "text":  # examples as the help shows them: talk stands behind two blanks or more
                text = re.split(r"(?<=\S) {2,}(?!-)", text)[0]
            if WORD_OF_A_SHELL.match(text) and block.language in ("bash", "console", "text"):
                words = shlex.split(text, comments=True)
                yield words[words.index("sound-groove") + 1 :]


def headings(document: Path) -> list[str]:
    return re.findall(r"^(#+ .*)$", prose(document), re.MULTILINE)


def anchor(heading: str) -> str:
    """The name by which a heading can be linked to, as code hosts make it."""
    text = re.sub(r"[`*]", "", heading.lstrip("#").strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def test_there_is_documentation_to_check() -> None:
    names = {document.name for document in DOCUMENTS}
    assert {"README.md", "README_zh.md", "CHANGELOG.md", "CONTRIBUTING.md", "glossary.md", "files.md"} <= names
    assert sum(len(list(commands(document))) for document in DOCUMENTS) > 40
    assert sum(block.language == "python" for document in DOCUMENTS for block in blocks(document)) >= 9


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in LINK.findall(prose(document)):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name} links to {target}"
        assert file.is_relative_to(ROOT), f"{document.name} links out of the project: {target}"
        if fragment:
            assert fragment in [anchor(heading) for heading in headings(file)], f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_is_understood_by_the_parser(document: Path) -> None:
    for words in commands(document):
        if "--help" in words:
            continue
        with redirect_stderr(StringIO()) as complaint, redirect_stdout(StringIO()):
            try:
                asked = named_modules(words)[1]
                build_parser(asked).parse_args(asked)
            except SystemExit as leaving:
                if leaving.code == 0:  # it printed what was asked for, such as a script for completion
                    continue
                pytest.fail(f"{document.name}: sound-groove {shlex.join(words)}: {complaint.getvalue()}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_verb_option_and_setting_in_the_text_exists(document: Path) -> None:
    known = set(re.findall(r"`[^`]*?(--[a-z][a-z0-9-]*)", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")))
    foreign = {
        "--help",
        "--debug",
        "--module",
        "--check",
        "--fix",
        "--version",
        "--constraint",
        "--editable",
        "--index-url",
    }
    foreign |= {"--nproc-per-node", "--multi_gpu", "--num_processes"}  # of torchrun and accelerate
    for code in re.findall(r"`([^`\n]+)`", prose(document)):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", code):
            assert option in known | foreign, f"{document.name}: there is no option {option}"
        if match := re.match(r"sound-groove ([a-z]+)", code):
            assert match[1] in VERBS, f"{document.name}: there is no verb {match[1]}"
        for recipe in re.findall(r"recipes/[\w/-]+\.yaml", code):
            assert (ROOT / recipe).is_file(), f"{document.name}: there is no {recipe}"
    for words in commands(document):
        for word in words:
            assert not word.startswith("recipes/") or (ROOT / word).is_file(), f"{document.name}: there is no {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_dotted_name_can_be_imported(document: Path) -> None:
    for name in set(re.findall(r"`(sound_groove(?:\.\w+)+)`", prose(document))):
        pkgutil.resolve_name(name)


def test_both_readmes_say_the_same() -> None:
    english, chinese = READMES
    assert list(commands(english)) == list(commands(chinese))
    assert [h.split()[0] for h in headings(english)] == [h.split()[0] for h in headings(chinese)]
    for language in ("python", "console"):
        texts = [[block.text for block in blocks(readme) if block.language == language] for readme in READMES]
        assert texts[0] == texts[1] != []

    def links(readme: Path) -> list[str]:
        found = [link for link in LINK.findall(prose(readme)) if not link.startswith("#")]
        pages = [re.sub(r"\.zh\.md(#.*)?$", ".md", link) for link in found]  # in Chinese where there is one
        return sorted(re.sub(r"^(docs/install\.md)#.*", r"\1", link) for link in pages if not link.startswith("README"))

    def rows(readme: Path) -> list[int]:
        return [line.count("|") for line in prose(readme).splitlines() if line.startswith("|")]

    def figures(readme: Path) -> list[str]:
        return re.findall(r"\d+\.\d+(?: \[\d+\.\d+, \d+\.\d+\])?", prose(readme))

    for listed in (links, rows, figures):
        assert listed(english) == listed(chinese) != []


def test_the_readme_is_a_page_and_a_half_and_what_it_leaves_out_is_linked() -> None:
    for readme in READMES:
        assert len(readme.read_text(encoding="utf-8").splitlines()) < 190
    linked = {target.split("#")[0] for target in LINK.findall(prose(READMES[0]))}
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if not path.name.endswith(".zh.md")}
    assert pages <= linked
    assert {f"docs/{part}/index.md" for part in ("tutorials", "how-to", "reference", "explanation")} <= linked


TRANSLATED = [path for path in DOCUMENTS if path.name.endswith(".zh.md")]


@pytest.mark.parametrize("chinese", TRANSLATED, ids=lambda path: path.parent.name + "/" + path.name)
def test_a_chinese_page_has_what_the_english_one_has(chinese: Path) -> None:
    english = chinese.with_name(chinese.name.replace(".zh.md", ".md"))
    assert list(commands(chinese)) == list(commands(english))
    levels = [[len(heading.split()[0]) for heading in headings(page)] for page in (chinese, english)]
    assert levels[0] == levels[1]
    for language in ("python", "console"):
        shown = [
            [block.text.split("$ ")[1:] for block in blocks(page) if block.language == language]
            for page in (chinese, english)
        ]
        assert [[text.splitlines()[0] for text in texts] for texts in shown[0]] == [
            [text.splitlines()[0] for text in texts] for texts in shown[1]
        ]


def test_the_chinese_pages_are_those_that_were_promised() -> None:
    parts = {f"{part}/index.zh.md" for part in ("tutorials", "how-to", "reference", "explanation")}
    names = {path.relative_to(ROOT / "docs").as_posix() for path in TRANSLATED}
    assert names >= {"index.zh.md", "install.zh.md", "tutorials/first-steps.zh.md", *parts}


def test_the_first_steps_show_what_the_readme_shows() -> None:
    shown = {
        command for block in blocks(READMES[0]) if block.language == "console" for command in block.text.split("$ ")
    }
    steps = [
        block for name in ("first-steps.md", "first-steps.zh.md") for block in blocks(ROOT / "docs/tutorials" / name)
    ]
    dialogues = [command for block in steps if block.language == "console" for command in block.text.split("$ ")[1:]]
    assert len(dialogues) == 8 and set(dialogues) <= shown


def test_generated_pages_are_up_to_date() -> None:
    generator = _load(ROOT / "docs" / "generate.py")
    for name, page in generator.PAGES.items():
        written = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert written == page(), f"docs/{name} is out of date: run 'python docs/generate.py'"


def test_every_setting_and_option_has_a_meaning() -> None:
    for name in ("recipes.md", "commands.md"):
        rows = [line for line in (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
        assert len(rows) > 40
        for row in rows:
            assert len(row.rstrip("| ").rsplit("| ", 1)[1]) > 3, row


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_document_names_a_place_of_one_machine() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        text = re.sub(r"\b(?:127\.0\.0\.1|0\.0\.0\.0)\b", "", text)  # every machine has these
        found = re.findall(r"(?<![\w./>])/(?:home|root|work|mnt|Users|data)/\S*|\blocalhost\b|\d+\.\d+\.\d+\.\d+", text)
        assert not found, f"{document.name}: {found}"


PYTHON = [block for document in DOCUMENTS for block in blocks(document) if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_every_python_block_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.fixture(scope="module")
@costs("slow")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the blocks of docs/python.md ran from top to bottom."""
    folder = tmp_path_factory.mktemp("story")
    names: dict[str, Any] = {"__name__": "story"}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
        patch.chdir(folder)
        for block in blocks(ROOT / "docs" / "python.md"):
            if block.language == "python":
                exec(compile(block.text, str(block), "exec"), names)  # noqa: S102 - it is our own documentation
    return folder


def test_the_blocks_of_the_python_page_run_in_order(story: Path) -> None:
    assert (story / "outputs/tiny/best.safetensors").is_file()
    assert (story / "outputs_eval/report.html").is_file()


def test_the_dialogues_of_the_python_page_are_as_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    dialogues = [block for block in blocks(ROOT / "docs" / "python.md") if block.language == "pycon"]
    assert len(dialogues) >= 3
    for block in dialogues:
        case = doctest.DocTestParser().get_doctest(block.text, {}, str(block), None, 0)
        result = doctest.DocTestRunner(verbose=False).run(case)
        assert result.attempted > 0 and result.failed == 0, block


def test_the_python_of_the_readme_prints_what_stands_beside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SOUND_GROOVE_MODEL", raising=False)
    for readme in READMES:
        block = next(block for block in blocks(readme) if block.language == "python")
        assert len([line for line in block.text.splitlines() if line]) <= 5
        exec(compile(block.text, str(block), "exec"), {})  # noqa: S102 - it is our own documentation
        printed, shown = capsys.readouterr().out.split(), block.text.rsplit("# ", 1)[1].split()
        assert printed[0] == shown[0]
        assert [float(number) for number in printed[1:]] == pytest.approx(
            [float(number) for number in shown[1:]], abs=0.01
        )


def test_the_first_command_of_the_readme_answers_as_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SOUND_GROOVE_MODEL", raising=False)
    block = next(block for block in blocks(READMES[0]) if block.language == "console")
    commands = [part.split("\n", 1) for part in block.text.removeprefix("$ ").split("\n$ ")]
    assert len(commands) == 2
    for command, shown in commands:
        assert main(command.split()[1:]) == 0
        printed = capsys.readouterr().out.splitlines()
        lines = shown.strip().splitlines()
        assert (printed[0], printed[-1]) == (lines[0], lines[-1])  # the verdict, and the model's name and hash
        assert float(printed[1].split()[1]) == pytest.approx(float(lines[1].split()[1]), abs=0.005)


# docs/files.md: every file that is left, and every key in it, is described


def described() -> set[str]:
    """The words that stand as code in docs/files.md."""
    return set(re.findall(r"`([^`\n]+)`", prose(ROOT / "docs" / "files.md")))


def keys(value: object, deep: bool = True) -> Iterator[str]:
    """The keys of an object, and of the objects in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys(inner) if deep else ()


def test_every_file_that_the_verbs_leave_is_described(story: Path) -> None:
    words = described()
    left = [*(story / "data/mine").iterdir(), *(story / "outputs/tiny").iterdir(), *(story / "outputs_eval").iterdir()]
    assert len(left) > 18
    missing = {path.name for path in left} - {word.rstrip("/") for word in words}
    assert not missing, f"docs/files.md does not describe {sorted(missing)}"


@pytest.mark.parametrize(
    "name",
    (
        "data/mine/manifest.jsonl",
        "data/mine/val_meta.jsonl",
        "data/mine/report.json",
        "outputs/tiny/run.json",
        "outputs/tiny/steps.jsonl",
        "outputs/tiny/epochs.jsonl",
        "outputs_eval/metrics.json",
    ),
)
def test_every_key_of_a_file_is_described(story: Path, name: str) -> None:
    text = (story / name).read_text(encoding="utf-8")
    record = json.loads(text.splitlines()[0] if name.endswith(".jsonl") else text)
    for holder in (record, record.get("machine", {})):
        holder.pop("versions", None)  # its keys are names of packages
    missing = set(keys(record)) - described()
    assert record and not missing, f"docs/files.md does not describe {sorted(missing)} of {name}"


def test_every_key_of_a_model_file_is_described(story: Path) -> None:
    from safetensors import safe_open

    with safe_open(story / "outputs/tiny/best.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["sound_groove"])
        assert {name.split(".")[0] for name in file.keys()} == {"network", "centre", "head"}  # noqa: SIM118 - no mapping
    training = header.pop("training")
    missing = {"training", *keys(header), *keys(training, deep=False)} - described()
    assert not missing, f"docs/files.md does not describe {sorted(missing)} of a model file"


def test_every_column_of_a_table_is_described(story: Path) -> None:
    for name in ("data/mine/skipped.tsv", "outputs_eval/scores.tsv"):
        columns = (story / name).read_text(encoding="utf-8").splitlines()[0].split("\t")
        assert set(columns) <= described(), name


def test_every_key_of_a_comparison_is_described(
    story: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(story)
    recordings = ["speech/voice0000/000.wav", "speech/voice0001/000.wav"]
    assert main(["compare", *recordings, "--model", "outputs/tiny", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    found = {*keys(answer), *keys(answer["warnings"][0]), *keys(answer["audio"][0])}
    assert found <= described(), found - described()


def test_every_key_of_the_facts_of_an_onnx_file_is_described(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(exported), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts) > 15 and facts.keys() <= described(), facts.keys() - described()


def test_every_key_of_a_benchmark_is_described(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(model_path), "--budget", "0.001", "--seconds", "3", "--threads", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    del facts["machine"]["versions"]  # its keys are names of packages
    found = {*keys(facts), *keys(facts["timings"][0]), "versions"}
    assert len(found) > 20 and found <= described(), found - described()


def test_what_is_left_only_on_request_is_described() -> None:
    assert {"train_fbank_list.txt", "fbank_pt/", "wav/", "failed_trials.tsv", "failure.json"} <= described()


@pytest.mark.parametrize("recipe", sorted(ROOT.glob("recipes/**/*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_in_a_page_that_the_readme_links(recipe: Path) -> None:
    from sound_groove.recipe.loading import load_recipe

    assert load_recipe(recipe).name == recipe.stem
    name = recipe.relative_to(ROOT).as_posix()
    pages = [ROOT / "docs" / f"{page}.md" for page in ("results", "networks", "fine-tuning")]
    assert any(name in page.read_text(encoding="utf-8") for page in pages)


def test_the_smallest_recipe_of_the_page_is_a_recipe() -> None:
    import yaml

    from sound_groove.recipe.loading import parse_recipe

    examples = [block for block in blocks(ROOT / "docs" / "recipes.md") if block.language == "yaml"]
    assert [parse_recipe(yaml.safe_load(block.text)).name for block in examples] == ["mine"]
    with pytest.raises(ConfigurationError):
        parse_recipe({"name": "mine"})


def test_the_objects_of_the_store_verbs_are_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    clips = [str(ROOT / "examples" / f"slt-{number}.flac") for number in (1, 2)]
    found: set[str] = set()
    for words in (
        ["enroll", "anna", *clips],
        ["verify-speaker", "anna", clips[0]],
        ["speakers", "list"],
        ["speakers", "show", "anna"],
        ["speakers", "remove", "anna"],
        ["speakers", "history"],
        ["speakers", "re-embed"],
    ):
        assert main([*words, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        found |= {key for item in (answer if isinstance(answer, list) else [answer]) for key in keys(item)}
    assert len(found) > 30 and found <= described(), found - described()


def test_the_table_of_errors_is_whole() -> None:
    text = prose(ROOT / "docs" / "python.md")
    assert {error.__name__ for error in SoundGrooveError.__subclasses__()} <= set(re.findall(r"\| `(\w+)` \|", text))
