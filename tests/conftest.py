"""Fixtures that several test files share. What is heavy is imported where it is used: torch takes seconds."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from costs import costs
from once import SPOKEN, Once, embed_once, judge_once, load_once, open_once, speak_once, trace_once, train_quickly
from sound_groove.files import CACHE_VARIABLE

if TYPE_CHECKING:
    from postgres_server import PostgresServer
    from service_process import ServiceProcess
    from sound_groove.types import Embeddings
    from store_places import Place

pytest_plugins = ("guards",)

# The same examples in every run, so that a red run is about the change that was tested. To look for new ones:
# pytest --hypothesis-profile=search
settings.register_profile("steady", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile("steady")

# Tests import onnxruntime themselves, and need no network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

SPOKEN.remember()

# A white point, as a PNG file.
POINT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==")

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is found out of models is not kept in the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return Once((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once")


@pytest.fixture(scope="session", autouse=True)
def slow_work_once(request: pytest.FixtureRequest, once: Once) -> Iterator[None]:
    """Networks that are built alike are traced once in a run, but for the tests that ask for `traced_anew`.

    And trainings do what they are tested for, and little else.
    """
    with pytest.MonkeyPatch.context() as patch:
        if _any_slow(request):
            trace_once(once, patch)
            train_quickly(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def loaded_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Processes that are forked begin with what they use loaded."""
    with pytest.MonkeyPatch.context() as patch:
        load_once(patch, trains=_any_slow(request))
        yield


def _any_slow(request: pytest.FixtureRequest) -> bool:
    return any(item.get_closest_marker("slow") for item in request.session.items)


@pytest.fixture(scope="session", autouse=True)
def computed_once(once: Once) -> Iterator[None]:
    """In a process no model file is opened by onnxruntime twice, nor a batch computed or a recording judged twice.

    And in a run no made-up voice says the same twice.
    """
    with pytest.MonkeyPatch.context() as patch:
        speak_once(once, patch)
        open_once(patch)
        embed_once(patch)
        judge_once(patch)
        yield


@pytest.fixture
def computed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models compute every batch: the test is about how long that takes."""
    from sound_groove.encoder import runtimes

    monkeypatch.setattr(runtimes, "_in_onnxruntime", vars(runtimes._in_onnxruntime)["__wrapped__"])


@pytest.fixture
def spoken_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let made-up voices speak: the test is about them."""
    monkeypatch.setattr(SPOKEN, "once", None)


@pytest.fixture
def traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every export trace: the test changes what is traced, or is about the tracing."""
    from once import let_all_trace_by
    from sound_groove.export import tracing

    let_all_trace_by(tracing.trace, monkeypatch)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real recordings beside the checkout; the test is skipped where it is missing."""
    if not (CORPUS / "manifest.tsv").is_file():
        pytest.skip("the real recordings are not beside the checkout (../shared/corpus)")
    return CORPUS


@pytest.fixture(scope="session")
def model_path(once: Once) -> Path:
    """A small network with random weights and a made-up score map, as a model file."""
    from small_model import write_model

    return once.folder("model", lambda folder: write_model(folder / "best.safetensors")) / "best.safetensors"


@pytest.fixture(scope="session")
@costs("slow")
def tiny_run(once: Once) -> Path:
    """The run folder of a small model, trained for one epoch on made-up voices."""
    from small_model import train_model

    return once.folder("tiny", train_model) / "run"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread, as the processes that are killed have; tiny batches are slower on several."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
@costs("slow")
def exported(model_path: Path, once: Once) -> Path:
    """The network of `model_path` as an ONNX file."""
    from sound_groove.export.onnx_file import export_onnx

    return once.folder("exported", lambda folder: export_onnx(model_path, folder / "model.onnx")) / "model.onnx"


@pytest.fixture(scope="session")
@costs("service")
def service(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ServiceProcess]":
    """A running service without keys, with the model in the package."""
    from service_process import ServiceProcess

    running = ServiceProcess(tmp_path_factory.mktemp("service"), "--workers", "2")
    yield running
    running.stop()


@pytest.fixture(scope="session")
@costs("postgres")
def postgres() -> "Iterator[PostgresServer]":
    """A real PostgreSQL with pgvector, for this process alone."""
    from postgres_server import end_server, make_server

    server = make_server()
    yield server
    end_server(server)


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> "Place":
    """Where a test keeps a store: each such test is run on both kinds."""
    from store_places import PostgresPlace, SqlitePlace

    if request.param == "SQLite":
        return SqlitePlace(tmp_path / "voiceprints.db")
    server = request.getfixturevalue("postgres")
    server.clear()
    return PostgresPlace(server, "postgres")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A point in the place of every picture: drawing them takes most of the time of a small evaluation."""
    from sound_groove.evaluation.report import error_curves, plots

    def point(path: Path, *_: object) -> None:
        path.write_bytes(POINT)

    tsne = plots.plot_tsne

    def point_or_reason(path: Path, embeddings: "Embeddings", *others: Any) -> str | None:
        if len(embeddings) < plots.FEWEST_UTTERANCES:
            return tsne(path, embeddings, *others)
        point(path)
        return None

    for module in (plots, error_curves):
        for name in [name for name in vars(module) if name.startswith("plot_")]:
            monkeypatch.setattr(module, name, point_or_reason if name == "plot_tsne" else point)
