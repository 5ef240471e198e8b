"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from postgres_server import PostgresServer, end_server, make_server
from service_process import ServiceProcess
from sound_groove.files import CACHE_VARIABLE
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import NETWORK, CheckpointHeader, save_checkpoint
from sound_groove.recipe.schema import NetworkConfiguration
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, tiny_recipe

# The same examples in every run, so that a red run is about the change that was tested. To look for new ones:
# pytest --hypothesis-profile=search
settings.register_profile("steady", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile("steady")

# Tests import onnxruntime themselves, and need no network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is found out of models is not kept in the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real recordings beside the checkout; the test is skipped where it is missing."""
    if not (CORPUS / "manifest.tsv").is_file():
        pytest.skip("the real recordings are not beside the checkout (../shared/corpus)")
    return CORPUS


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights and a made-up score map, as a model file."""
    configuration = NetworkConfiguration(channels=16, embedding_size=12)
    with torch.random.fork_rng(devices=[]):
        network = build_network(configuration)
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, tensor in network.state_dict().items():
        values = torch.randn(tensor.shape, generator=generator) * 0.1
        # batch statistics as after training: not the fresh 0 and 1, and variances above 0
        tensors[NETWORK + name] = (
            tensor if not tensor.is_floating_point() else values.abs() if "var" in name else values
        )
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    score_map = {"scale": 10.0, "offset": -3.0, "fitted_on": "nothing: made up"}
    facts = {"epoch": 3, "validation_eer": 0.125, "description": "random weights"}
    save_checkpoint(path, tensors, CheckpointHeader("random", configuration.model_dump(), score_map, facts))
    return path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small model, trained for one epoch on made-up voices."""
    folder = tmp_path_factory.mktemp("run")
    recipe = tiny_recipe(prepare_corpus(folder), training__epochs=1, description="made-up voices, for tests")
    return train(recipe, folder / "run").folder


@pytest.fixture(scope="session")
def exported(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network as an ONNX file."""
    from sound_groove.export.onnx_file import export_onnx

    return export_onnx(model_path, tmp_path_factory.mktemp("exported") / "model.onnx").file


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service without keys, with the model in the package."""
    running = ServiceProcess(tmp_path_factory.mktemp("service"), "--workers", "2")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL with pgvector, for this run alone."""
    server = make_server()
    yield server
    end_server(server)
