"""State dictionaries of others: tensors by name out of a .pt or .safetensors file, and nothing else of it.

A .pt file is a pickle. It is read by torch's reader for weights alone, which calls nothing that the file names, and in
a process of its own with bounded time and memory; what comes out of that process is a safetensors file.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sound_groove.encoder.onnx_trial import bound_process
from sound_groove.errors import CheckpointError, printable
from sound_groove.files import read_as_one

WAITED_S = 300.0
LEAST_MEMORY = 12 << 30  # bytes of addresses, of which torch takes most before it has read anything
MEMORY_PER_BYTE = 8  # of the file
# Under which names training programs keep the network's state beside other things.
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "embedding_model")
_DEEPEST = 3
SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Args:
        path: a .safetensors file, or one that torch wrote.

    Raises:
        CheckpointError: it cannot be read without running what is in it, is too large, or holds no state dictionary.
    """
    name = printable(str(path))
    try:
        if path.suffix == ".safetensors":
            return read_as_one(path, lambda: _own_refused(name, path))
        with TemporaryDirectory() as folder:
            out = Path(folder) / "state.safetensors"
            command = [sys.executable, "-m", __name__, str(path.absolute()), str(out)]
            done = subprocess.run(command, capture_output=True, timeout=WAITED_S, check=False, stdin=subprocess.DEVNULL)
            if done.returncode == 0:
                return load_file(out)
            reason = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
            why = printable(reason[0]) if reason else "reading it took too much time or memory, or ended the process"
    except subprocess.TimeoutExpired:
        why = f"reading it took more than {WAITED_S:.0f} s"
    except (SafetensorError, OSError) as error:
        why = f"is damaged or not a safetensors file ({printable(str(error))})"
    raise CheckpointError(f"{name}: {why}")


def _own_refused(name: str, path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt", device="cpu") as file:
        if "sound_groove" in (file.metadata() or {}):
            raise CheckpointError(f"{name}: is a model of ours already; 'sound-groove export' makes an ONNX file of it")
    return load_file(path)


def found_state(content: Any, depth: int = 0) -> dict[str, Tensor]:
    """The state dictionary in what a file holds.

    Args:
        content: what torch's reader gave.
        depth: how many dictionaries it lies in.

    Raises:
        ValueError: there is none.

    >>> list(found_state({"epoch": 3, "state_dict": {"a.weight": torch.zeros(1)}}))
    ['a.weight']
    """
    if isinstance(content, Mapping) and depth < _DEEPEST:
        for key in _INSIDE:
            if isinstance(content.get(key), Mapping):
                return found_state(content[key], depth + 1)
        if content and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
            return {key: value.detach().contiguous().clone() for key, value in content.items()}
    raise ValueError("holds no state dictionary, tensors by name")


def main() -> None:
    """Read the file that is named first on the command line, and write its tensors to the second."""
    path, out = map(Path, sys.argv[1:3])
    bound_process(LEAST_MEMORY + MEMORY_PER_BYTE * path.stat().st_size)
    try:
        save_file(found_state(torch.load(path, map_location="cpu", weights_only=True)), out)
    except Exception as error:  # whatever is in the file; the reason goes to whoever asked
        said = " ".join(str(error).split())
        if "Weights only load failed" in said or "Unsupported" in said:
            said = "holds more than tensors; nothing is unpickled here, since that runs code from the file"
        elif not isinstance(error, ValueError):
            said = f"is damaged, truncated or not a file of torch's ({said[:120] or type(error).__name__})"
        sys.stdout.write(said + "\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
