"""JSON that strangers wrote gets the right refusal wherever it is read: never a lack of stack, memory or manners."""

import ast
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sound_groove
from sound_groove import cli
from sound_groove.corpora.journal import Journal
from sound_groove.corpora.manifest import read_manifest
from sound_groove.encoder.onnx_model import OnnxModel
from sound_groove.encoder.runtimes import OpenedModel, open_model
from sound_groove.errors import CheckpointError, SoundGrooveError
from sound_groove.evaluation.trials.metadata import read_metadata
from sound_groove.evaluation.trials.pairs import read_validation_set
from sound_groove.files import read_json
from sound_groove.json_reading import MOST_DEPTH, bounded_lines, parse_json, read_bounded, through_json
from sound_groove.pretrained import PRETRAINED
from sound_groove.pretrained import model_path as model_path_of
from sound_groove.service.keys import KeyRing, load_keys
from sound_groove.training.run_folder import read_rows

PACKAGE = Path(sound_groove.__file__).parent
DEEP = "[" * 100_000 + "]" * 100_000
WRONG = {
    "deep": DEEP,
    "just too deep": "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1),
    "unclosed": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "nan": '{"keys": [NaN]}',
    "infinity": '{"scale": -Infinity}',
    "overflow": '{"scale": 1e999}',
    "digits": '{"scale": ' + "9" * 400 + "}",
    "twice": '{"keys": [], "keys": []}',
    "torn": '{"keys": [',
    "nothing": "",
}
OBJECT_OF_DEEP = '{"keys": ' + DEEP + ', "score_map": 1}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (WRONG["deep"], "it has lists or objects within each other, more than 50 deep"),
        (WRONG["just too deep"], "it has lists or objects within each other, more than 50 deep"),
        (WRONG["nan"], "it says NaN, which is no number in JSON"),
        (WRONG["overflow"], "it says 1e999, which is more than any number here can be"),
        (WRONG["digits"], "which is more than any number here can be"),
        (WRONG["twice"], "it gives 'keys' twice"),
        ('{"\x1b[2J": 1, "\x1b[2J": 2}', "it is no JSON: Invalid control character at (line 1, column 3)"),
        ('{"\\u001b": 1, "\\u001b": 2}', "it gives '\\x1b' twice"),
        (b"\xff", "can't decode byte"),
    ],
)
def test_what_is_wrong_is_said(text: str | bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_json(text)


def test_what_is_right_is_read_as_it_is() -> None:
    value = {"a": [1, -2.5, 1e-300, True, None, "東\n"], "b": {"a": {}}, "": "[" * 1000}
    assert parse_json(json.dumps(value)) == parse_json(json.dumps(value).encode()) == value
    deepest = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert json.dumps(parse_json(deepest)) == deepest
    assert parse_json(json.dumps([[]] * 1000)) == [[]] * 1000  # wide, not deep
    assert through_json({"a": (1, 2)}) == {"a": [1, 2]}


def test_length_is_bounded_before_anything_is_parsed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 10 characters"):
        parse_json("[" * 11, 10)
    (tmp_path / "a").write_text("0123456789\n12345678901234")
    assert read_bounded(tmp_path / "a", 25) == b"0123456789\n12345678901234"
    with pytest.raises(ValueError, match="more than 24 bytes"):
        read_bounded(tmp_path / "a", 24)
    lines = bounded_lines(io.StringIO("ab\nabcd\nabcdef"), 5)
    assert [next(lines), next(lines)] == ["ab\n", "abcd\n"]
    with pytest.raises(ValueError, match="a line has more than 5 characters"):
        next(lines)


def test_json_is_read_in_one_place() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = f"{node.value.id}.{node.attr}"
            elif isinstance(node, ast.ImportFrom):
                name = f"{node.module}.{','.join(alias.name for alias in node.names)}"
            else:
                continue
            if re.match(r"(json\.(load|JSONDecoder)|yaml\.(safe_|full_|unsafe_)?load|tomllib|orjson)", name):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found == {"json_reading.py", "public_models.py"}  # the second reads the package's own list, in TOML


# --- wherever a file is read


def journal(path: Path) -> None:
    Journal(path).close()


READERS: dict[str, Callable[[Path], Any]] = {
    "keys": load_keys,
    "key ring": KeyRing,
    "facts": read_json,
    "manifest": read_manifest,
    "validation set": read_validation_set,
    "metadata": lambda path: read_metadata(path, ["speaker"]),
    "log": lambda path: list(read_rows(path)),
    "journal": journal,
}


@pytest.mark.parametrize("text", [*WRONG.values(), OBJECT_OF_DEEP], ids=[*WRONG, "object of deep"])
@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_ours_is_refused_in_a_sentence(tmp_path: Path, reader: str, text: str) -> None:
    path = tmp_path / ("a.jsonl" if reader == "metadata" else "a")
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    if reader == "log" and not text:
        pytest.skip("an empty line cannot be in a log: see below")
    with pytest.raises(SoundGrooveError) as refused:
        READERS[reader](path)
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["score_map", "training", "network", "probe", "header"])
@pytest.mark.parametrize("text", [*WRONG.values(), "5", '"a"', "[[]]", '{"a": {"b": []}}'], ids=[*WRONG, *"5a[{"])
def test_a_model_file_with_any_metadata_is_refused_or_described(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path, key: str, text: str
) -> None:
    """Whatever stands where a model says something of itself; the tensors are sound."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(model_path, "pt") as stored:
        metadata, tensors = dict(stored.metadata()), {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    ((name, header),) = metadata.items()
    if key == "header":
        metadata[name] = text
    else:
        document = {entry: value for entry, value in json.loads(header).items() if entry != "checksums"}
        marked = json.dumps({**document, key: "PLACE"})
        metadata[name] = marked.replace('"PLACE"', text)
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, metadata)
    for words in (
        ["info", str(path)],
        ["info", str(path), "--json"],
        ["compare", "a.wav", "b.wav", "--model", str(path)],
    ):
        status = cli.main(words)
        out, err = capfd.readouterr()
        assert status == 1 or (status == 0 and words[0] == "info"), (words, out)
        assert "this is a bug" not in err and "RecursionError" not in err and len(err) < 600, err


@pytest.fixture(scope="module")
def packaged() -> OpenedModel:
    """The model in the package, opened once."""
    return open_model(model_path_of(PRETRAINED), "cpu", 1)


@pytest.mark.parametrize("key", ["score_map", "training", "network", "probe", "embedding_size", "other"])
@pytest.mark.parametrize("text", [*WRONG.values(), "5", '"a"', "[[]]", '{"a": {"b": []}}'], ids=[*WRONG, *"5a[{"])
def test_an_onnx_file_with_any_metadata_is_refused_or_used(
    packaged: OpenedModel, monkeypatch: pytest.MonkeyPatch, key: str, text: str
) -> None:
    changed = replace(packaged, metadata={**packaged.metadata, key: text})
    monkeypatch.setattr("sound_groove.encoder.onnx_model.open_model", lambda *_: changed)
    try:
        model = OnnxModel(model_path_of(PRETRAINED), threads=1)
        _ = model.identity, model.embedding_size, model.score_map, model.probe, model.trained_speakers
    except CheckpointError as error:
        assert len(str(error)) < 400
    else:
        assert key == "other" or text == "5" or model.embedding_size == 192, (key, text)
