"""What is made once in a run of the tests, whichever process needs it first: a trained model, an export, a graph."""

import fcntl
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import onnx

    from sound_groove.networks.checkpoint import Checkpoint


MOST_OPEN = 8  # models that a process keeps, of some 40 MB each


class Once:
    """A folder that the processes of one run share.

    Args:
        root: the folder; every run of the tests has another.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def folder(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder of this name, in which `make` has left what it makes. Tests only read there."""
        folder, made = self.root / name, self.root / f"{name}.made"
        with (self.root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed, and whatever becomes of the process
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that did not come to its end
                folder.mkdir()
                make(folder)
                made.touch()
        return folder


def trace_once(once: Once, patch: pytest.MonkeyPatch) -> None:
    """Let `export_onnx` trace each network once in a run of the tests: it takes ten seconds, and always gives the same.

    The key is the hash of the network's tensors and of the options of its front end, which is all that is traced. A
    test that changes the code that is traced must ask for the fixture `traced_anew`.
    """
    import onnx

    from sound_groove.export import onnx_file

    trace = onnx_file._trace

    @functools.wraps(trace)
    def remembered(checkpoint: "Checkpoint") -> "onnx.ModelProto":
        def make(folder: Path) -> None:
            onnx.save(trace(checkpoint), folder / "graph.onnx")

        return onnx.load(once.folder(f"graph-{checkpoint.hash}", make) / "graph.onnx")

    patch.setattr(onnx_file, "_trace", remembered)


def open_once(patch: pytest.MonkeyPatch) -> None:
    """Let onnxruntime open each file once in a process: it takes longer than a short recording's embedding."""
    from sound_groove.encoder import runtimes

    opened: dict[tuple[object, ...], runtimes.OpenedModel] = {}
    opening = runtimes._in_onnxruntime

    @functools.wraps(opening)
    def remembered(path: Path, *how: Any) -> runtimes.OpenedModel:
        facts = path.stat()
        key = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, *how)
        if key not in opened:
            while len(opened) >= MOST_OPEN:
                del opened[next(iter(opened))]
            opened[key] = opening(path, *how)
        return opened[key]

    patch.setattr(runtimes, "_in_onnxruntime", remembered)
