"""Networks outside the package: that of docs/own-network.md is trained, exported, judged; no file causes an import."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sound_groove.audio.reading import load_audio
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, ConfigurationError
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import load_checkpoint, restore_network, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.own import VARIABLE, allow_modules, allowed_modules
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.recipe.loading import dump_recipe
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.training.checks import check_own_network
from training_corpus import prepare_corpus, tiny_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "own-network.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The page's network as a file; each test has its own, since a module is loaded once in a process."""
    file = tmp_path / f"my_network_{abs(hash(str(tmp_path)))}.py"
    file.write_text(CODE, encoding="utf-8")
    return file


def configuration_of(file: Path, **more: object) -> NetworkConfiguration:
    fields = {"kind": f"{file.stem}:MyNet", "channels": 16, "embedding_size": 12, **more}
    return NetworkConfiguration.model_validate(fields)


def written(file: Path, path: Path) -> Path:
    """A model file of that network."""
    configuration = configuration_of(file)
    with allow_modules(str(file)):
        state = build_network(configuration).state_dict()
    save_checkpoint(
        path, {NETWORK + n: t for n, t in state.items()}, CheckpointHeader("own", configuration.model_dump())
    )
    return path


def forgotten(file: Path) -> None:
    """As in another process, which has not imported it."""
    sys.modules.pop(f"sound_groove_own_{file.stem}", None)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_it_trains_is_exported_and_verifies(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared = prepare_corpus(tmp_path)
    recipe = tiny_recipe(prepared, training__epochs=1, description="made-up voices")
    options = {"kernel": 7}
    recipe = recipe.model_copy(update={"network": configuration_of(own, options=options)})
    (tmp_path / "mine.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    run, module = tmp_path / "run", ["--module", str(own)]
    train = ["train", str(tmp_path / "mine.yaml"), "--out", str(run)]
    assert main(train) != 0
    assert f"the network is MyNet of the module '{own.stem}'" in capsys.readouterr().err
    assert main([*module, *train]) == 0
    assert load_checkpoint(run).header.network["kind"] == f"{own.stem}:MyNet"
    assert load_checkpoint(run).group(NETWORK)["layers.0.0.weight"].shape == (16, 80, 7)

    onnx = tmp_path / "own.onnx"
    assert main(["export", str(run), "--out", str(onnx), *module]) == 0
    forgotten(own)
    recordings = sorted((tmp_path / "audio").rglob("*.wav")) or sorted((tmp_path / "audio").rglob("*.flac"))
    people = sorted({path.parent.name for path in recordings})
    judged = [path for path in recordings if path.parent.name in people[8:]]
    lines = [f"{int(a.parent == b.parent)} {a} {b}" for a in judged for b in judged if a < b]
    (tmp_path / "trials.txt").write_text("\n".join(lines), encoding="utf-8")
    verify = ["--trials", str(tmp_path / "trials.txt"), "--audio-root", "/", "--resamples", "0", "--json"]
    verify.append("--allow-trained-speakers")
    capsys.readouterr()
    figures = []
    for name, model, more in (("a", onnx, []), ("b", run, module)):  # the file needs no module
        assert main(["verify", "--model", str(model), *verify, "--out", str(tmp_path / name), *more]) == 0
        figures.append(json.loads(capsys.readouterr().out)["eer"]["value"])
    assert figures[0] == figures[1]
    samples = load_audio(judged[0])
    with allow_modules(str(own)):
        embedding = SpeakerEncoder.load(run).embed(samples)
    assert np.dot(embedding, SpeakerEncoder.load(onnx).embed(samples)) > 0.9999


def test_a_file_alone_never_causes_an_import(own: Path, tmp_path: Path) -> None:
    model = written(own, tmp_path / "own.safetensors")
    forgotten(own)
    own.write_text("raise SystemExit('this was run')", encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"the network is MyNet of the module '{own.stem}'.*--module {own.stem}"):
        restore_network(load_checkpoint(model))
    assert not any(own.stem in name for name in sys.modules)
    own.write_text(CODE, encoding="utf-8")
    with allow_modules(str(own)):
        assert type(restore_network(load_checkpoint(model))).__name__ == "MyNet"


@pytest.mark.parametrize("kind", ["os:system", "subprocess:Popen", "builtins:exec", "torch.nn:Identity", "../evil:Net"])
def test_what_happens_to_be_imported_is_not_called(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="whose code is run only if you name it"):
        build_network(NetworkConfiguration(kind=kind))


@pytest.mark.parametrize("kind", ["os:system", "os:PathLike", "os:", "os:nothing", "os:path:join"])
def test_of_a_module_that_was_named_only_a_network_is_called(kind: str) -> None:
    with allow_modules("os"), pytest.raises(ConfigurationError, match=r"has no class '.*' of torch's nn\.Module"):
        build_network(NetworkConfiguration(kind=kind))


@pytest.mark.parametrize(
    ("module", "code", "complaint"),
    [
        ("no_such_module_anywhere", None, "the module 'no_such_module_anywhere' cannot be imported"),
        ("{folder}/missing.py", None, "cannot be imported .ImportError: there is no such file"),
        ("{folder}/broken.py", "import nothing_of_this_name", "cannot be imported .ModuleNotFoundError"),
        ("{folder}/failing.py", "1 / 0", "cannot be imported .ZeroDivisionError"),
        (
            "{folder}/wanting.py",
            "from torch import nn\nclass Net(nn.Module):\n    def __init__(self): ...",
            "could not be made .TypeError",
        ),
    ],
)
def test_a_module_that_cannot_be_used_is_said_to_be(
    tmp_path: Path, module: str, code: str | None, complaint: str
) -> None:
    given = module.format(folder=tmp_path)
    if code is not None:
        Path(given).write_text(code, encoding="utf-8")
    with allow_modules(given), pytest.raises(ConfigurationError, match=complaint):
        build_network(NetworkConfiguration(kind=f"{Path(given).stem}:Net"))


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (lambda code: code, None),
        (
            lambda code: code.replace("masked(x, mask)", "x"),
            "gives a padded clip another embedding than the clip alone",
        ),
        (
            lambda code: code.replace("self.pooling(x, mask)", "self.pooling(x)"),
            "gives a padded clip another embedding",
        ),
        (lambda code: code.replace("configuration.embedding_size)", "7)"), "must give embeddings (2, 12)"),
        (lambda code: code.replace("return self.emb", "return 0 * torch.inf * self.emb"), "not finite numbers"),
        (lambda code: code.replace("features.transpose(1, 2)", "features"), "fails on features (2, 90, 80)"),
    ],
)
def test_the_contract_is_tried_before_training(
    own: Path, tmp_path: Path, changed: Callable[[str], str], complaint: str | None
) -> None:
    own.write_text(changed(CODE), encoding="utf-8")
    recipe = tiny_recipe(tmp_path).model_copy(update={"network": configuration_of(own)})
    with allow_modules(str(own)):
        before = torch.random.get_rng_state()
        problems = check_own_network(recipe)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert problems == [] if complaint is None else complaint in problems[0]


def test_modules_are_named_for_a_while_and_for_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "first")
    with allow_modules("second.part", "a/third.py"):
        assert allowed_modules() == {"first": "first", "second.part": "second.part", "third": "a/third.py"}
        assert os.environ[VARIABLE] == os.pathsep.join(["first", "second.part", "a/third.py"])
    assert os.environ[VARIABLE] == "first"
    monkeypatch.delenv(VARIABLE)
    with allow_modules():
        assert allowed_modules() == {}
    assert not os.environ.get(VARIABLE)
