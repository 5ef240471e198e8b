"""Models on a hub, from one that is imitated on this machine; and folders that are ready to be pushed to one."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import yaml

from foreign_models import write_foreign
from local_server import QuietHandler, serving
from sound_groove import SpeakerEncoder, cli
from sound_groove.errors import CheckpointError, DownloadError, MissingExtraError, OutputError, UsageError
from sound_groove.export.hub_folder import card, export_hub, licence_note
from sound_groove.hub import hub_file, is_hub_address, parsed_address
from sound_groove.pretrained import CONTENTS, WEIGHTS, model_path
from sound_groove.public_models import HUB_VARIABLE

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "somebody/voices"
PRETRAINED = (WEIGHTS / "pretrained.onnx").read_bytes()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A hub with one repository: its `files` by name, and the `paths` that it was asked for."""
    constants = pytest.importorskip("huggingface_hub.constants")
    shared = SimpleNamespace(files={"README.md": b"a card", "model.onnx": PRETRAINED}, paths=[], url="", card=None)

    class Handler(QuietHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            shared.paths.append(self.path)
            if self.path.split("?")[0] in [f"/api/models/{REPOSITORY}/tree/{one}" for one in ("main", "v1", COMMIT)]:
                entries = [
                    {"type": "file", "path": name, "size": len(data), "oid": COMMIT}
                    for name, data in shared.files.items()
                ]
                self._answer(json.dumps(entries).encode())
                return
            if self.path in (f"/api/models/{REPOSITORY}", f"/api/models/{REPOSITORY}/revision/v1"):
                card = {} if shared.card is None else {"cardData": shared.card}
                self._answer(json.dumps({"id": REPOSITORY, "sha": COMMIT, **card}).encode())
                return
            for revision in ("main", "v1", COMMIT):
                for name, data in shared.files.items():
                    if self.path == f"/{REPOSITORY}/resolve/{revision}/{name}":
                        self._answer(data)
                        return
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if REPOSITORY in self.path else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with serving(Handler) as shared.url:
        monkeypatch.setenv(HUB_VARIABLE, shared.url)
        yield shared


# --- addresses ---


def test_an_address_names_repository_revision_and_file() -> None:
    found = parsed_address("hf://Some-body/na.me@v1.2/int8/model.onnx")
    assert (found.repository, found.revision, found.file) == ("Some-body/na.me", "v1.2", "int8/model.onnx")
    assert parsed_address("hf://a/b").revision is None and parsed_address("hf://a/b@c").file is None
    assert parsed_address(str(Path("hf://a/b@c"))) == parsed_address("hf://a/b@c")  # pathlib takes a slash away
    assert not is_hub_address("pretrained") and not is_hub_address("./hf:/a/b.onnx")


@pytest.mark.parametrize(
    "wrong",
    ["hf://a", "hf://", "hf://a/b/", "hf://a/b/../c.onnx", "hf://../b/c.onnx", "hf://a/b//c.onnx", "hf://a/b@/x"],
)
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"is named as hf://owner/name\[@revision\]\[/file\]"):
        hub_file(wrong)
    with pytest.raises(UsageError, match=r"must name a file that ends in .onnx or .safetensors"):
        hub_file("hf://a/b/model.pkl")


def test_without_the_library_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"A model on a hub needs the 'hub' extra: pip install"):
        model_path("hf://a/b")


# --- fetching ---


def test_a_model_on_a_hub_is_used(hub: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = SpeakerEncoder.load(f"hf://{REPOSITORY}")
    assert encoder.identity.name == "pretrained" and encoder.proof is not None
    assert f"/{REPOSITORY}/resolve/main/model.onnx" in hub.paths
    assert not any(path.endswith(".md") for path in hub.paths)
    assert capsys.readouterr() == ("", "")  # a progress bar appears on a terminal only


def test_a_revision_and_a_file_can_be_named(hub: SimpleNamespace) -> None:
    hub.files = {"a.onnx": b"a", "int8/b.onnx": b"b"}
    assert hub_file(f"hf://{REPOSITORY}@v1/int8/b.onnx").read_bytes() == b"b"
    assert {path for path in hub.paths if "/resolve/" in path} == {f"/{REPOSITORY}/resolve/v1/int8/b.onnx"}
    hub.paths.clear()
    assert hub_file(f"hf://{REPOSITORY}@v1/int8/b.onnx").read_bytes() == b"b"
    assert len(hub.paths) == 1  # whether it has changed
    with pytest.raises(DownloadError, match=r"has several models; name one of them: a.onnx, int8/b.onnx"):
        hub_file(f"hf://{REPOSITORY}")


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        ({"x.onnx": b"1", "x.safetensors": b"2"}, b"1"),
        ({"x.safetensors": b"2", "y.pt": b"3"}, b"2"),
        ({"x.onnx": b"1", "model.onnx": b"4"}, b"4"),
    ],
)
def test_the_only_model_is_taken(hub: SimpleNamespace, files: dict[str, bytes], taken: bytes) -> None:
    hub.files = files
    assert hub_file(f"hf://{REPOSITORY}").read_bytes() == taken


def test_what_the_hub_does_not_have_is_told(hub: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    hub.files = {"weights.pt\x1b[2J": b""}
    with pytest.raises(DownloadError, match=r"the repository has no model that ends in .onnx or .safetensors"):
        hub_file(f"hf://{REPOSITORY}")
    hub.files = {"a\x1b[2J.onnx": b"", "b.onnx": b""}
    with pytest.raises(DownloadError, match=r"name one of them: a\\x1b\[2J.onnx, b.onnx"):
        hub_file(f"hf://{REPOSITORY}")
    for address in (f"hf://{REPOSITORY}/none.onnx", "hf://nobody/nothing", f"hf://{REPOSITORY}@v9/a.onnx"):
        assert cli.main(["info", address]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: {address}: the hub does not give it: ") and error.count("\n") == 1


def test_a_hub_that_cannot_be_reached_is_told(hub: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> str:
        raise ConnectionError("Connection refused\n\x1b[2J by the hub.")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(DownloadError, match=r"the hub does not give it: Connection refused \\x1b\[2J by the hub$"):
        hub_file(f"hf://{REPOSITORY}/model.onnx")


# --- importing from a hub ---


@pytest.mark.slow
def test_a_model_of_others_on_a_hub_is_imported(
    hub: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = write_foreign(tmp_path / "f.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1)
    hub.files = {"theirs.onnx": theirs.read_bytes(), "other.ckpt": b""}
    hub.card = {"license": "cc-by-4.0", "datasets": ["vox\x1b[2Jceleb", "cn-celeb"], "tags": ["x"]}
    out = tmp_path / "m.onnx"
    words = ["import", f"hf://{REPOSITORY}@v1", "--out", str(out), "--front-end", "wespeaker", "--force"]
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines()[:3] == [
        "licence: cc-by-4.0",
        "trained on: vox\\x1b[2Jceleb, cn-celeb",
        f"from: {REPOSITORY} on the hub, commit {COMMIT[:12]}",
    ]
    assert captured.out == f"{out}\n" and hub.paths[0].endswith("/revision/v1")
    assert all(COMMIT in path for path in hub.paths[1:])  # the file is of the commit whose terms were told
    said = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert (said["name"], said["licence"], said["data"]) == ("voices", "cc-by-4.0", "vox\x1b[2Jceleb, cn-celeb")
    assert json.loads(said["origin"])["address"] == f"hf://{REPOSITORY}@{COMMIT}/theirs.onnx"
    hub.card = {"license": "other", "license_name": "mine", "datasets": 7}
    assert cli.main([*words, "--data", "three voices"]) == 0
    assert capsys.readouterr().err.startswith("licence: mine\ntrained on: not said by its card\n")
    said = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert (said["licence"], said["data"]) == ("mine", "three voices")


def test_what_a_hub_has_not_is_not_imported(
    hub: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(address: str) -> str:
        assert cli.main(["import", address, "--out", str(tmp_path / "m.onnx")]) != 0
        assert not any(tmp_path.glob("*.onnx"))
        return capsys.readouterr().err

    assert "the hub does not give it: " in fails("hf://nobody/nothing")
    hub.files = {"a.ckpt": b"", "b.ckpt": b""}
    assert "has several models; name one of them: a.ckpt, b.ckpt" in fails(f"hf://{REPOSITORY}")
    assert "must name a file that ends in .onnx or .safetensors or .pt" in fails(f"hf://{REPOSITORY}/a.pkl")
    assert "is damaged, truncated or not a file of torch's" in fails(f"hf://{REPOSITORY}/a.ckpt")
    hub.files = {"model.onnx": PRETRAINED}
    assert "is a model of ours already, and needs no import" in fails(f"hf://{REPOSITORY}")


# --- folders to be pushed ---


def front_matter(text: str) -> Any:
    return yaml.safe_load(text.split("---\n")[1])


def test_a_folder_has_model_card_and_licence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "voice"
    assert cli.main(["export", str(WEIGHTS / "pretrained.onnx"), "--format", "hub", "--out", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{folder}\n" and "as it is" in captured.err
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "README.md", "LICENSE"}
    assert hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest() == CONTENTS["pretrained.onnx"]
    text = (folder / "README.md").read_text()
    said = front_matter(text)
    assert said["license"] == "other" and said["license_name"].startswith("weights: Apache-2.0; data: CC BY 4.0")
    assert said["license_link"] == "LICENSE" and said["library_name"] == "sound-groove"
    assert "speaker-verification" in said["tags"]
    assert "| network | ecapa\\_tdnn |" in text and "| calibrated | on " in text and "| stored in | fp16 |" in text
    assert (folder / "LICENSE").read_text().startswith("Licence of model.onnx: weights: Apache-2.0")
    assert [path.name for path in tmp_path.iterdir()] == ["voice"]


def test_a_folder_can_be_used_from_a_hub(hub: SimpleNamespace, tmp_path: Path) -> None:
    export_hub("pretrained", tmp_path / "voice")
    hub.files = {path.name: path.read_bytes() for path in (tmp_path / "voice").iterdir()}
    assert SpeakerEncoder.load(f"hf://{REPOSITORY}").identity.name == "pretrained"


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "voice"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty; choose another --out"):
        export_hub("pretrained", folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    export_hub("pretrained", folder, force=True)
    assert {path.name for path in folder.iterdir()} == {"mine.txt", "model.onnx", "README.md", "LICENSE"}
    with pytest.raises(OutputError, match="is a file; name a folder"):
        export_hub("pretrained", folder / "mine.txt")
    with pytest.raises(OutputError, match="there is no folder"):
        export_hub("pretrained", tmp_path / "none" / "voice")
    with pytest.raises(UsageError, match="name it with --out"):
        export_hub("pretrained", None)


def test_a_licence_must_be_known(tmp_path: Path) -> None:
    foreign = write_foreign(tmp_path / "f.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1)
    with pytest.raises(CheckpointError, match="is no model of ours; 'sound-groove import' makes one of it"):
        export_hub(foreign, tmp_path / "voice")
    with pytest.raises(UsageError, match="pretrained: does not say what its licence is; name it with --licence"):
        export_hub("pretrained", tmp_path / "voice", licence="")
    assert [path.name for path in tmp_path.iterdir()] == ["f.onnx"]


def test_what_is_given_is_said_in_card_and_file(tmp_path: Path) -> None:
    done = export_hub("pretrained", tmp_path / "voice", licence="CC-BY-4.0", data="voices | of <b>mine</b>")
    text = (tmp_path / "voice" / "README.md").read_text()
    assert front_matter(text)["license"] == "cc-by-4.0"
    assert "| trained on | voices \\| of &lt;b&gt;mine&lt;/b&gt; |" in text
    assert "Text: https://spdx.org/licenses/CC-BY-4.0.html" in (tmp_path / "voice" / "LICENSE").read_text()
    encoder = SpeakerEncoder.load(tmp_path / "voice" / "model.onnx")
    assert encoder.terms.licence == "CC-BY-4.0" and encoder.identity.hash == done.hash


def test_a_strangers_words_do_not_change_the_card() -> None:
    facts: dict[str, Any] = {
        "name": "x\n---\nlicense: mit",
        "hash": "0" * 64,
        "embedding_size": 8,
        "network": {"kind": "of others"},
        "front_end": {"description": "wespeaker"},
        "origin": {"file": "a`b.onnx", "sha256": "1" * 64},
        "score_map": None,
        "metadata": {"licence": 'mine"\nlicense: mit', "use": "research only", "data": ""},
    }
    text = card(facts)
    assert front_matter(text) | {"tags": 0} == {
        "license": "other",
        "license_name": 'mine"\\nlicense: mit',
        "license_link": "LICENSE",
        "library_name": "sound-groove",
        "tags": 0,
    }
    assert "# x --- license: mit\n" in text and "| use | research only |" in text
    assert "| trained on | not said |" in text and "a\\`b.onnx" in text
    note = licence_note(facts)
    assert note.splitlines()[0] == 'Licence of model.onnx: mine"\\nlicense: mit' and "Use: research only" in note
    assert "Changed: made of a`b.onnx (SHA-256 1111" in note


def test_a_run_becomes_a_folder(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(tiny_run), "--format", "hub", "--out", str(tmp_path / "voice")]
    assert cli.main(words) == 2 and "name it with --licence" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
    assert cli.main([*words, "--licence", "MIT", "--data", "made-up voices", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    encoder = SpeakerEncoder.load(tmp_path / "voice" / "model.onnx")
    assert done["file"] == str(tmp_path / "voice") and done["hash"] == encoder.identity.hash
    assert encoder.terms.trained_on == "made-up voices" and done["worst_cosine"] > 0.9999
    assert front_matter((tmp_path / "voice" / "README.md").read_text())["license"] == "mit"
    assert cli.main([*words, "--precision", "fp16"]) == 2
