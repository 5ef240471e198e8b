"""Model files: one safetensors file that knows how to build its own network.

The tensors are grouped by the first word of their names (`tensor_groups`).
The file's header carries, as JSON under one key, the network's configuration, the model's name, the map from score to
log-likelihood ratio, the facts of its training, and checksums of itself and of each group of tensors, which are
compared when they are read: bits that a disk or a copy turned are not taken for weights.

Nothing is ever unpickled, and loading a file runs no code from it.
"""

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sound_groove.errors import CheckpointError, ConfigurationError, MetricError, OutputError, printable
from sound_groove.files import read_as_one
from sound_groove.networks.checkpoint_header import HEADER_KEY, CheckpointHeader, header_text, read_header
from sound_groove.networks.matrices import StoredMatrix, read_stored, stored_text
from sound_groove.networks.probe import Probe
from sound_groove.networks.tensor_groups import (
    CENTRE,
    GROUPS,
    NETWORK,
    checksums_of,
    embedder_tensors,
)
from sound_groove.networks.trained_speakers import listed_digests
from sound_groove.pretrained import known_name, model_path
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import Embeddings, ModelIdentity

BEST_NAME = "best.safetensors"
LAST_NAME = "last.safetensors"

_ELSEWHERE_KEY = "matrices"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model file that was read.

    Attributes:
        path: where it was read from.
        header: what it says about itself.
        tensors: by full name, prefix included, on the CPU, in memory of their own.
        hash: SHA-256 of what makes the embeddings, the network's tensors, the centre and the options of the front end
            (`network_hash`), hexadecimal.
        is_checked: the file has checksums, and they are right; those of earlier versions have none.
    """

    path: Path
    header: CheckpointHeader
    tensors: dict[str, Tensor]
    hash: str
    is_checked: bool = True

    @property
    def identity(self) -> ModelIdentity:
        """The model's name and hash, as results carry them."""
        return ModelIdentity(self.header.name, self.hash)

    @property
    def configuration(self) -> NetworkConfiguration:
        """What builds its network.

        Raises:
            CheckpointError: it is not valid.
        """
        try:
            return NetworkConfiguration.model_validate(self.header.network)
        except ValidationError as error:
            name = printable(str(self.path))
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise CheckpointError(f"{name}: its network configuration is not valid ({printable(problems)})") from error

    @property
    def score_map(self) -> ScoreMap | None:
        """From cosine score to log-likelihood ratio, or None when the file carries none.

        Raises:
            CheckpointError: it is damaged.
        """
        fields = self.header.score_map
        if fields is None:
            return None
        try:
            return ScoreMap.restored(fields)
        except MetricError as error:
            raise CheckpointError(f"{printable(str(self.path))}: its score map is damaged: {error}") from error

    @property
    def probe(self) -> Probe | None:
        """The embedding that it must give of the probe, or None when the file carries none that is known here.

        Raises:
            CheckpointError: it is damaged.
        """
        fields = self.header.probe
        try:
            return None if fields is None else Probe.restored(fields)
        except MetricError as error:
            raise CheckpointError(f"{printable(str(self.path))}: its probe is damaged: {error}") from error

    @property
    def trained_speakers(self) -> frozenset[str]:
        """Digests of the speakers whose speech it was trained on (`speakers`); empty where the file says nothing.

        Raises:
            CheckpointError: they are damaged.
        """
        return listed_digests(self.header.training, str(self.path))

    @property
    def floor_db(self) -> float | None:
        """How far below a recording's level the floor of its features lies, or None (`NetworkConfiguration`)."""
        value = self.header.network.get("floor_db")
        return None if value is None else float(value)

    @property
    def silence_share(self) -> float | None:
        """How much digital silence is put behind speech, as a share of it, or None (`NetworkConfiguration`)."""
        value = self.header.network.get("silence_share")
        return None if value is None else float(value)

    @property
    def centre(self) -> Embeddings | None:
        """What is subtracted from unit embeddings (D,), or None.

        Raises:
            CheckpointError: it is damaged.
        """
        centre = self.tensors.get(f"{CENTRE}mean")
        if centre is None:
            return None
        if centre.shape != (self.header.network.get("embedding_size"),):
            raise CheckpointError(f"{printable(str(self.path))}: its centre is not one of its embeddings")
        return np.asarray(centre.float().numpy())

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix`, by the rest of their names: a state dict."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def save_checkpoint(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    header: CheckpointHeader,
    elsewhere: Mapping[str, StoredMatrix] | None = None,
) -> None:
    """Write a model file so that it is either all there or not there at all.

    The bytes go to a hidden file in the same folder, reach the disk, and only then take the final name; a kill or a
    power cut at any moment leaves the earlier file or the new one. Tensors may share memory, be views, or lie on any
    device.

    Args:
        path: the file; its folder must exist. An earlier file is replaced.
        tensors: by full name; each starts with the name of its group.
        header: what the file says about itself.
        elsewhere: those of the tensors that lie in the ONNX file beside it, and not in this one.

    Raises:
        CheckpointError: a name without a known prefix, no network tensors, or a header that JSON cannot hold.
        OutputError: the file cannot be written: no such folder, no permission, a full disk.
    """
    path = Path(path)
    for name in tensors:
        if not name.startswith(GROUPS):
            raise CheckpointError(f"{path}: tensor '{name}' belongs to none of {', '.join(GROUPS)}")
    if not any(name.startswith(NETWORK) for name in tensors):
        raise CheckpointError(f"{path}: there is no network tensor to write")
    owned = _own_memory(tensors)
    metadata = {HEADER_KEY: header_text(path, header, checksums_of(owned, header.network))}
    if elsewhere:
        metadata[_ELSEWHERE_KEY] = stored_text(elsewhere)
        owned = {name: tensor for name, tensor in owned.items() if name not in elsewhere}
    content = save(owned, metadata=metadata)
    partial = path.with_name(f".{path.name}.partial")  # one name, so that a killed writer's leftover is overwritten
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(f"{printable(str(path))}: cannot write the model file: {error.strerror or error}") from error


def load_checkpoint(path: str | Path, prefixes: Iterable[str] = (NETWORK,)) -> Checkpoint:
    """Read a model file.

    Args:
        path: a file, or a run folder (see `find_checkpoint`).
        prefixes: which groups of tensors to keep; those of network and centre are always read, for the hash.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, of a newer format, or holds weights that are not
            finite numbers; or its matrices are in an ONNX file beside it that is missing or another.
        MissingExtraError: they are there, and the onnx package is not installed.
    """
    path = find_checkpoint(path)
    name = printable(str(path))
    wanted = (NETWORK, CENTRE, *prefixes)
    try:
        # The library opens a file twice, for its header and for its tensors.
        metadata, tensors = read_as_one(path, lambda: _read_file(path, wanted))
        header, checksums = read_header(name, metadata)
    except SafetensorError as error:
        raise CheckpointError(f"{name}: {_why_not_safetensors(path, str(error))}") from error
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read: {error.strerror or error}") from error
    if (elsewhere := metadata.get(_ELSEWHERE_KEY)) is not None:
        tensors = dict(sorted((tensors | read_stored(path, elsewhere)).items()))
    embedder = embedder_tensors(tensors)
    if not any(key.startswith(NETWORK) for key in embedder):
        raise CheckpointError(f"{name}: holds no network weights; it is not a whole model file")
    for key, tensor in embedder.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name}: weight '{printable(key)}' holds values that are not finite numbers")
    found = checksums_of(tensors, header.network)
    # Of the groups that were read; one that is gone altogether is for whoever needs it to miss.
    damaged = [group for group, checksum in found.items() if checksums and checksums.get(group) != checksum]
    if damaged:
        raise CheckpointError(
            f"{name}: is damaged: what it holds of '{damaged[0].rstrip('.')}' is not what was written; restore it from "
            "a copy"
        )
    header = replace(header, name=known_name(header.name, path))
    return Checkpoint(path, header, tensors, found[NETWORK], bool(checksums))


def _read_file(path: Path, prefixes: tuple[str, ...]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata of a safetensors file, and its tensors whose names begin so, in the order of their names."""
    with safe_open(path, framework="pt", device="cpu") as file:
        # clone: the library maps the file, and weights must not change when somebody writes over it
        tensors = {key: file.get_tensor(key).clone() for key in sorted(file.keys()) if key.startswith(prefixes)}
        return file.metadata() or {}, tensors


def restore_network(checkpoint: Checkpoint) -> nn.Module:
    """Build the network that a model file describes and load its weights strictly; in evaluation mode, on the CPU.

    Raises:
        CheckpointError: the configuration is not valid, or the weights are not those of that network.
    """
    from sound_groove.networks.architectures import build_network

    name = printable(str(checkpoint.path))
    configuration = checkpoint.configuration
    try:
        with torch.random.fork_rng(devices=[]):  # the initial weights must not draw from the caller's generator
            network = build_network(configuration)
    except ConfigurationError as error:
        raise CheckpointError(f"{name}: {printable('; '.join(error.problems))}") from error
    except (RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{name}: its network does not fit in memory") from error
    state = checkpoint.group(NETWORK)
    if difference := mismatch(network.state_dict(), state):
        raise CheckpointError(f"{name}: its weights are not those of its network: {difference}")
    network.load_state_dict(state, strict=True)
    return network.eval()


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """The facts of a model file, as JSON can hold them: file, name, hash, network, parameters, training, score
    map, and whether a mean is subtracted from embeddings.

    Raises:
        CheckpointError: the network cannot be built, or score map or centre are damaged.
    """
    network = restore_network(checkpoint)
    score_map = checkpoint.score_map
    return {
        "file": str(checkpoint.path),
        "name": checkpoint.header.name,
        "hash": checkpoint.hash,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "embedding_size": checkpoint.configuration.embedding_size,
        "network": checkpoint.header.network,
        "centred": checkpoint.centre is not None,
        "score_map": None if score_map is None else score_map.as_dict(),
        "training": checkpoint.header.training,
    }


def find_checkpoint(path: str | Path) -> Path:
    """The model file that a path means: the file itself, or a run folder's best model, else its last.

    The name `pretrained` means the one that the package carries.

    Raises:
        CheckpointError: there is none.
    """
    path = model_path(path, ".safetensors")
    if path.is_dir():
        for name in (BEST_NAME, LAST_NAME):
            if (path / name).is_file():
                return path / name
        raise CheckpointError(f"{printable(str(path))}: the folder holds neither {BEST_NAME} nor {LAST_NAME}")
    if not path.exists():
        raise CheckpointError(f"{printable(str(path))}: there is no such model file or run folder")
    if not path.is_file():
        raise CheckpointError(f"{printable(str(path))}: is not a regular file")
    return path


def _own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, contiguous, no two of them sharing memory (safetensors refuses those that do)."""
    owned: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        if storage in seen:
            tensor = tensor.clone()
        seen.add(storage)
        owned[name] = tensor
    return owned


def mismatch(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """The first difference between the tensors that a network has and those that a file holds, as a clause; or ''."""
    for key in sorted(expected.keys() | given.keys()):
        if key not in given:
            return f"'{printable(key)}' is missing"
        if key not in expected:
            return f"'{printable(key)}' is unknown to it"
        if given[key].shape != expected[key].shape:
            wanted, found = tuple(expected[key].shape), tuple(given[key].shape)
            return f"'{printable(key)}' has shape {found} where {wanted} is expected"
    return ""


def _why_not_safetensors(path: Path, complaint: str) -> str:
    """What a file that safetensors refuses, with this complaint, seems to be, judged by its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        start = b""
    if not start:
        return "is empty"
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "is a pickled PyTorch file; nothing is unpickled here, since that runs code from the file"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the model itself; run 'git lfs pull'"
    return f"is damaged, truncated or not a safetensors file ({printable(complaint)})"


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # Windows cannot open folders
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)
