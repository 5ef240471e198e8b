"""What costs time in tests, and the markers without which a test may not do it.

`make quick` runs the tests without these markers. A test gets them from its fixtures (`costs.py`), or has them written
above it. One that has none fails when it trains, traces, serves or kills, in every run.
"""

import functools
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

import pytest

MARKERS = ("slow", "service", "postgres", "browser")
# The loops and the tracers, where a test has them in its own process: module, class or none, function.
OF_FUNCTIONS = (
    ("sound_groove.training.trainer", "Trainer", "run"),
    ("sound_groove.training.by_ear.trainer", "ByEarTrainer", "run"),
    ("torch.onnx", None, "export"),
    ("torch.export", None, "export"),
)
OF_PROGRAMS = {"initdb": "postgres", "pg_ctl": "postgres"}
OF_VERBS = {"train": "slow", "demo": "slow", "export": "slow", "serve": "service"}  # of a sound-groove of its own

# The files that take longest come first, or one process would have such a file left when the others have nothing to do.
LONGEST = (
    "test_networks",
    "test_page",
    "test_wavlm",
    "test_training",
    "test_by_ear",
    "test_w2v_bert",
    "test_export_precision",
    "test_calibrating",
    "test_importing",
    "test_ray",
    "test_service_who",
    "test_service_hostile",
    "test_docs",
    "test_level",
    "test_processes",
    "test_site",
    "test_campplus",
    "test_fusing",
    "test_javascript",
    "test_hub",
    "test_service",
    "test_distillation",
    "test_export",
    "test_speechbrain_ecapa",
    "test_export_tensorrt",
    "test_diarization",
    "test_notebooks",
    "test_prepare",
    "test_export_sherpa",
    "test_rooms",
    "test_packing",
    "test_store",
    "test_stages",
    "test_scorings",
    "test_models",
    "test_train_minimal",
    "test_service_stop",
    "test_channels",
    "test_fine_tuning",
    "test_postgres",
    "test_training_precision",
    "test_client",
    "test_service_application",
    "test_media",
    "test_segmentation",
    "test_audio",
)

_running: list[pytest.Item] = []
_breaches: list[str] = []


def breach(doing: str, *markers: str) -> str:
    """What to say of the running test if it has none of some markers; nothing if it has one.

    Args:
        doing: what the test is about to do.
        markers: the first is the one to recommend.
    """
    if not _running or any(_running[-1].get_closest_marker(marker) for marker in markers):
        return ""
    return f"{_running[-1].nodeid} {doing}: mark it with @pytest.mark.{markers[0]}"


def pytest_configure() -> None:
    sys.addaudithook(_heed)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage while test files are imported, and seldom afterwards: that took a tenth of all time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(100_000, 10, 10)
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test the markers of its fixtures, before tests are chosen by them, and put the longest files first."""
    for item in items:
        for definitions in item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ():
            for marker in getattr(definitions[-1].func, "costs", ()):
                item.add_marker(marker)
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """Guard the functions of the modules that the chosen tests have loaded."""
    for name, class_name, function_name in OF_FUNCTIONS:
        owner: Any = sys.modules.get(name)
        owner = getattr(owner, class_name, None) if class_name else owner
        if owner is not None:
            setattr(owner, function_name, _guarded(getattr(owner, function_name), f"{name}.{function_name}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    yield from _without_breach()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    yield from _without_breach()


def _without_breach() -> Iterator[None]:
    """Fail after what was done without its marker: an exception in the middle of it might leave processes behind."""
    _breaches.clear()
    yield
    if _breaches:
        pytest.fail("\n".join(_breaches))


def _guarded(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        if said := breach(f"calls {name}", "slow"):
            pytest.fail(said)
        return function(*arguments, **named)

    return guarded


def _heed(event: str, given: tuple[Any, ...]) -> None:
    """Look at the programs that are started, and at what is killed."""
    if event == "os.kill" and given[1] == signal.SIGKILL:
        _note("kills a process", *MARKERS)
    elif event == "subprocess.Popen":
        words = [os.fsdecode(word) for word in ([given[1]] if isinstance(given[1], str | bytes) else given[1])]
        program = PurePath(os.fsdecode(given[0] or words[0])).name
        if program in OF_PROGRAMS:
            _note(f"starts {program}", OF_PROGRAMS[program])
        if "sound_groove" in words:
            verb = words[words.index("sound_groove") + 1 :][:1]
            if verb and verb[0] in OF_VERBS and "--help" not in words:
                _note(f"starts sound-groove {verb[0]}", OF_VERBS[verb[0]])


def _note(doing: str, *markers: str) -> None:
    if said := breach(doing, *markers):
        _breaches.append(said)
