"""Whether a model in ONNX can be used here, found out in a process of its own with bounded time and memory.

A file of unknown origin may hold a loop without an end, or a node that asks for more memory than there is. Opening it
is running it, since a runtime folds constants when it opens a file; reading what it says of itself is not
(`sound_groove.encoder.onnx_content`).
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from sound_groove.encoder.onnx_model import OnnxModel
from sound_groove.errors import CheckpointError, printable
from sound_groove.json_reading import parse_json

LONGEST_S = 60.0  # of computing; a model of 300 MB is open in three
WAITED_S = 300.0  # on a machine that is busy
LEAST_MEMORY = 3 << 30  # bytes of addresses: 0.3 GB are those of the interpreter and onnxruntime
MEMORY_PER_BYTE = 6  # of the file


@dataclass(frozen=True, slots=True)
class OnnxTrial:
    """What came of a trial.

    Attributes:
        embedding_size: D, or None where the model cannot be used.
        problem: why it cannot be used here, a sentence; or None.
    """

    embedding_size: int | None
    problem: str | None


def try_onnx(path: Path) -> OnnxTrial:
    """Open a model and embed noise with it, in another process, which is ended when it takes too much."""
    command = [sys.executable, "-m", __name__, str(path.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=WAITED_S, check=False, stdin=subprocess.DEVNULL)
        found = parse_json(done.stdout.splitlines()[-1])
        return OnnxTrial(found["embedding_size"], found["problem"])
    except (subprocess.TimeoutExpired, IndexError, ValueError, KeyError, TypeError):
        return OnnxTrial(
            None,
            f"{printable(str(path))}: cannot be used: trying it took more than {LONGEST_S:.0f} s or "
            f"{_memory(path) / 2**30:.0f} GB of memory, or ended the process",
        )


def _memory(path: Path) -> int:
    return LEAST_MEMORY + MEMORY_PER_BYTE * path.stat().st_size


def bound_process(memory: int, seconds: float = LONGEST_S) -> None:
    """Limit this process, where the system can do so.

    Args:
        memory: bytes of addresses.
        seconds: of computing.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, int(seconds))):
        _, highest = resource.getrlimit(kind)
        limit = most if highest == resource.RLIM_INFINITY else min(most, highest)
        resource.setrlimit(kind, (limit, highest))


def main() -> None:
    """Try the model that is named on the command line, and print what came of it as JSON."""
    path = Path(sys.argv[1])
    bound_process(_memory(path))
    try:
        model = OnnxModel(path, threads=1)
        size, _, _, _ = model.embedding_size, model.score_map, model.trained_speakers, model.probe
        trial = OnnxTrial(size, None)
    except CheckpointError as error:
        trial = OnnxTrial(None, str(error))
    except MemoryError:
        trial = OnnxTrial(None, f"{printable(str(path))}: cannot be used: it takes too much memory")
    sys.stdout.write(json.dumps(asdict(trial)) + "\n")


if __name__ == "__main__":
    main()
