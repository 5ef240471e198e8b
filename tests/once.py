"""What is made once in a run of the tests, whichever process needs it first: a trained model, an export, a graph."""

import fcntl
import functools
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

    from sound_groove.audio.speech import ChunkLevels, Flags
    from sound_groove.types import Samples

    Tensors = dict[str, Tensor]
    Spans = tuple[tuple[int, int], ...]

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
    """Let networks that are built alike be traced once in a run of the tests: it takes ten seconds.

    What is traced is told by the parts of a module, their settings and the shapes of their tensors; a module with other
    weights gets the same graph with its own. That it is the graph that tracing would have given is checked by every
    export, which compares the two before a file gets its name, and by a test. A test that changes the code that is
    traced must ask for the fixture `traced_anew`.
    """
    from sound_groove.export import tracing

    trace = tracing.trace

    @functools.wraps(trace)
    def remembered(module: "nn.Module", example: "Tensor", *others: Any, **named: Any) -> "onnx.ModelProto":
        import onnx
        import torch

        def make(folder: Path) -> None:
            onnx.save(trace(module, example, *others, **named), folder / "graph.onnx")
            torch.save(module.state_dict(), folder / "state.pt")

        asked = (_structure(module), example.shape, example.dtype, others, sorted(named.items()))
        key = hashlib.sha256(repr(asked).encode()).hexdigest()
        folder = once.folder(f"graph-{key}", make)
        graph = onnx.load(folder / "graph.onnx")
        same = _with_weights(graph, torch.load(folder / "state.pt", weights_only=True), module.state_dict())
        return graph if same else trace(module, example, *others, **named)

    let_all_trace_by(remembered, patch)
    _read_operators_once(patch)


def _read_operators_once(patch: pytest.MonkeyPatch) -> None:
    """Let a process read the sources of all of onnxscript's operators once, and not for each trace."""
    from torch.onnx._internal import _lazy_import

    apis: Any = vars(_lazy_import)["onnxscript_apis"]
    patch.setattr(apis, "get_torchlib_ops", functools.cache(apis.get_torchlib_ops))


def let_all_trace_by(trace: "Callable[..., onnx.ModelProto]", patch: pytest.MonkeyPatch) -> None:
    """Give every module that traces networks another function for it."""
    from sound_groove.export import onnx_file, sherpa_file, tensorrt_file
    from sound_groove.importing import foreign_graph, sources

    for module in (onnx_file, sherpa_file, tensorrt_file, foreign_graph, sources):
        patch.setattr(module, "trace", trace)


def _structure(module: "nn.Module") -> list[object]:
    """All of a module that a graph of it depends on, but for the values of its tensors."""
    parts: list[object] = [(name, value.shape, value.dtype) for name, value in module.state_dict().items()]
    for name, part in module.named_modules():
        settings = {key: _setting(value) for key, value in vars(part).items() if not key.startswith("_")}
        parts.append((name, type(part).__qualname__, sorted(settings.items()), sorted(part._buffers)))
        parts += [
            (key, None if value is None else value.tolist())
            for key, value in part._buffers.items()
            if key in part._non_persistent_buffers_set
        ]
    return parts


def _setting(value: object) -> str:
    """What a part of a network was built with, alike in every process where that can be had."""
    return f"{value.__module__}.{value.__qualname__}" if isinstance(value, FunctionType | type) else repr(value)


def _with_weights(graph: "onnx.ModelProto", old: "Tensors", new: "Tensors") -> bool:
    """Put other weights into a graph that was traced with the old ones; False where that cannot be done.

    Of tensors that were equal, the exporter keeps one; they must be equal still. Where it has folded tensors into each
    other, none may have changed.
    """
    import onnx
    import torch

    if all(torch.equal(old[name], new[name]) for name in old):
        return True
    kept = {tensor.name: tensor for tensor in graph.graph.initializer if tensor.name in old}
    if not all(np.array_equal(onnx.numpy_helper.to_array(kept[name]), old[name].numpy()) for name in kept):
        return False
    for name in old.keys() - kept.keys():
        twins = [other for other in kept if torch.equal(old[other], old[name])]
        if not torch.equal(new[name], new[twins[0]] if twins else old[name]):
            return False
    for name, tensor in kept.items():
        tensor.CopyFrom(onnx.numpy_helper.from_array(new[name].numpy(), name))
    return True


def speak_once(once: Once, patch: pytest.MonkeyPatch) -> None:
    """Let no made-up voice say the same thing twice in a run: many tests hear the same few voices.

    Test files take `speak` from its module before this is called, so it stands in its place from the start (see
    `SPOKEN`). A test that is about the voices themselves must ask for the fixture `spoken_anew`.
    """
    patch.setattr(SPOKEN, "once", once)


class Spoken:
    """What made-up voices have said.

    Attributes:
        once: where it is kept; with None everything is said anew.
    """

    def __init__(self) -> None:
        self.once: Once | None = None

    def remember(self) -> None:
        """Take the place of `speak`, before anybody imports it."""
        from sound_groove.synthesis import voices

        speaking = voices.speak

        @functools.wraps(speaking)
        def remembered(voice: "voices.Voice", seed: int, duration_s: float) -> "Samples":
            if self.once is None:
                return speaking(voice, seed, duration_s)
            key = hashlib.sha256(repr((voice, seed, duration_s)).encode()).hexdigest()
            folder = self.once.folder(
                f"spoken-{key}", lambda made: np.save(made / "samples.npy", speaking(voice, seed, duration_s))
            )
            samples: Samples = np.load(folder / "samples.npy")
            return samples

        voices.speak = remembered


SPOKEN = Spoken()


def train_quickly(patch: pytest.MonkeyPatch) -> None:
    """Let a training draw no curves, and not look through all objects for garbage when it has ended.

    Either takes longer than everything else in a tiny training. A test that is about the picture patches `draw_curves`.
    """
    from accelerate.utils import memory

    from sound_groove.training import log
    from training_corpus import draw_nothing

    patch.setattr(log, "draw_curves", draw_nothing)
    patch.setattr(memory, "clear_device_cache", lambda garbage_collection=False: None)


def load_once(patch: pytest.MonkeyPatch, trains: bool) -> None:
    """Let the process from which workers are forked load all that any of them use: they begin with it loaded.

    Args:
        patch: holds until the tests have ended.
        trains: some of them train, or trace a network.
    """
    from multiprocessing import forkserver

    used = ["sound_groove.corpora.shards", "sound_groove.networks.features", "pyroomacoustics", "scipy.io.wavfile"]
    if trains:  # an optimiser loads torch._dynamo at its first step
        used += ["sound_groove.training.trainer", "torch._dynamo"]
    forkserver.set_forkserver_preload(used)
    patch.setattr(forkserver, "set_forkserver_preload", lambda names: None)


def open_once(patch: pytest.MonkeyPatch) -> None:
    """Let onnxruntime open each file once in a process: it takes longer than a short recording's embedding.

    And let a session that may have any number of threads have one, as torch has one in the tests: several processes
    share the cores, and threads that wait for each other use more processor time than they spare.
    """
    from sound_groove.encoder import runtimes

    opened: dict[tuple[object, ...], runtimes.OpenedModel] = {}
    opening = runtimes._in_onnxruntime

    @functools.wraps(opening)
    def remembered(path: Path, *how: Any) -> runtimes.OpenedModel:
        key = _key_of(path, *how)
        if key not in opened:
            while len(opened) >= MOST_OPEN:
                del opened[next(iter(opened))]
            opened[key] = opening(path, *how)
        return opened[key]

    patch.setattr(runtimes, "_in_onnxruntime", remembered)
    patch.setattr(runtimes, "available_cores", lambda: 1)


def embed_once(patch: pytest.MonkeyPatch) -> None:
    """Let models in onnxruntime compute no batch twice: most tests are about what is done with embeddings.

    A batch is told by every byte of it, and a model by its file and how it was opened, the number of threads included.
    """
    from sound_groove.encoder import runtimes

    known: dict[tuple[object, ...], list[NDArray[Any]]] = {}
    opening = runtimes._in_onnxruntime

    @functools.wraps(opening)
    def remembering(path: Path, *how: Any) -> runtimes.OpenedModel:
        opened, key = opening(path, *how), _key_of(path, *how)

        def run(batch: NDArray[np.float32], levels: NDArray[np.float32]) -> list[NDArray[Any]]:
            asked = (*key, batch.shape, hashlib.sha256(batch.tobytes()).digest(), levels.tobytes())
            if asked not in known:
                known[asked] = opened.run(batch, levels)
            return [output.copy() for output in known[asked]]

        return replace(opened, run=run)

    patch.setattr(runtimes, "_in_onnxruntime", remembering)


def judge_once(patch: pytest.MonkeyPatch) -> None:
    """Let no recording be looked through twice for speech, nor for how it sounds: many tests hear the same few clips.

    A recording is told by every byte of its samples.
    """
    from sound_groove.audio import quality
    from sound_groove.audio.familiarity import unfamiliarity
    from sound_groove.audio.speech import find_speech

    found: dict[bytes, Flags] = {}
    log_odds: dict[tuple[bytes, Spans], float | None] = {}

    def speech(samples: "Samples", chunks: "ChunkLevels") -> "Flags":
        digest = hashlib.sha256(samples.tobytes()).digest()
        if digest not in found:
            found[digest] = find_speech(samples, chunks)
        return found[digest].copy()

    def sound(samples: "Samples", spans: "Spans") -> float | None:
        asked = hashlib.sha256(samples.tobytes()).digest(), spans
        if asked not in log_odds:
            log_odds[asked] = unfamiliarity(samples, spans)
        return log_odds[asked]

    patch.setattr(quality, "find_speech", speech)
    patch.setattr(quality, "unfamiliarity", sound)


def _key_of(path: Path, *how: Any) -> tuple[object, ...]:
    """What tells a file, and how it is opened, from all others."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, *how
