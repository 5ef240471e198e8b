"""What is imported: a file of others, told apart by what is in it, with its network ready to be fed in any way."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.audio.front_end import Family, FrontEnd, of_family
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.encoder.foreign_files import recognise
from sound_groove.encoder.onnx_content import read_onnx
from sound_groove.encoder.onnx_model import is_own_file
from sound_groove.encoder.runtimes import NORM
from sound_groove.errors import CheckpointError, printable
from sound_groove.export.tracing import OUTPUT, trace
from sound_groove.importing.foreign_graph import INPUT, ForeignGraph
from sound_groove.importing.foreign_tensors import SUFFIXES, read_state
from sound_groove.networks.architectures import build_network
from sound_groove.networks.front_ends import build_front_end
from sound_groove.networks.published import PublishedNetwork, read_published

if TYPE_CHECKING:
    import onnx

_SPEC = "spec."  # how the names of ReDimNet's own front end begin


class ForeignNetwork(Protocol):
    """A network of others, without a front end."""

    def feeding(self, front_end: FrontEnd) -> nn.Module:
        """From waveforms (B, samples) to the tuple that `run` takes."""
        ...

    def run(self, given: Sequence[Tensor]) -> Tensor:
        """(B, D), not normalised."""
        ...

    def joined(self, front_end: FrontEnd, tells_norm: bool) -> "onnx.ModelProto":
        """One graph from the waveform to the unit embedding (B, D) and, where it says something, its norm (B,)."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A file to import.

    Attributes:
        path: where it lies.
        sha256: of its bytes, hexadecimal.
        form: `onnx` or `state dictionary`.
        network: what is in it.
        kind: the network's name, where it is one that is known here.
        front_end: what its family is fed; None where nothing tells its family.
        told_by: how its family is known, a clause.
        bins: the number of features that it takes; None where it takes waveforms.
        takes_waveforms: whether its front end is inside.
        metadata: what the file says of itself.
        rows: the batch that it is made for; None where any will do.
        longest_samples: the length that it is made for, where it takes one length only.
    """

    path: Path
    sha256: str
    form: str
    network: ForeignNetwork
    kind: str | None
    front_end: FrontEnd | None
    told_by: str
    bins: int | None
    metadata: dict[str, str]
    rows: int | None = None
    longest_samples: int | None = None

    @property
    def takes_waveforms(self) -> bool:
        """Whether its front end is inside."""
        return self.bins is None

    def fed(self, front_end: FrontEnd) -> Callable[[Tensor], Tensor]:
        """The model, fed so: (B, samples) at 16 kHz in [-1, 1] -> (B, D), not normalised.

        What it gives raises a CheckpointError where the network fails.
        """
        feeding = self.network.feeding(front_end)

        @torch.inference_mode()
        def embed(waveforms: Tensor) -> Tensor:
            return self.network.run(feeding(waveforms))

        return embed


def open_source(path: str | Path) -> Source:
    """Read a file of others.

    Args:
        path: a speaker model in ONNX, or a state dictionary as others publish it (.pt, .safetensors).

    Raises:
        CheckpointError: it is missing, damaged, one of ours, or no speaker model that is known here.
    """
    path = Path(path)
    name = printable(str(path))
    if not path.is_file():
        raise CheckpointError(f"{name}: there is no such file")
    if path.suffix != ".onnx" and path.suffix not in SUFFIXES:
        raise CheckpointError(f"{name}: is imported from ONNX (.onnx) or a state dictionary ({', '.join(SUFFIXES)})")
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read: {error.strerror or error}") from None
    return _onnx_source(path, name, sha256) if path.suffix == ".onnx" else _published_source(path, name, sha256)


def _onnx_source(path: Path, name: str, sha256: str) -> Source:
    content = read_onnx(path)
    if is_own_file(content.metadata):
        raise CheckpointError(f"{name}: is a model of ours already, and needs no import")
    file = recognise(name, content.inputs, list(content.outputs), content.metadata)
    shape = content.inputs[file.input]
    bins = None
    if not file.takes_waveforms:
        axis = {"(B, T, F)": 2, "(B, F, T)": 1, "(B, 1, F, T)": 2}[file.layout]
        size = shape[axis]
        bins = size if isinstance(size, int) and size > 0 else None
        bins = bins or (file.front_end.num_mel_bins if file.front_end is not None else 80)
    return Source(
        path,
        sha256,
        "onnx",
        ForeignGraph(path, file),
        None,
        file.front_end,
        file.told_by,
        bins,
        dict(content.metadata),
        file.largest_batch,
        file.samples,
    )


def _published_source(path: Path, name: str, sha256: str) -> Source:
    state = read_state(path)
    try:
        published = read_published(state)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: holds {error}") from None
    kind, bins = published.configuration.kind, published.configuration.feature_size
    family, told_by = _published_family(published, state)
    front_end = of_family(family, bins)
    return Source(path, sha256, "state dictionary", _PublishedModel(published), kind, front_end, told_by, bins, {})


def _published_family(published: PublishedNetwork, state: dict[str, Tensor]) -> tuple[Family, str]:
    """Whose front end a published network was trained with, and by what that is told."""
    configuration = published.configuration
    kind = configuration.kind
    if kind == "redimnet2" and any(name.removeprefix("module.").startswith(_SPEC) for name in state):
        return "redimnet", "its state dictionary holds parts of ReDimNet's own front end"
    if kind == "eres2netv2":
        return "3d-speaker", "it is an ERes2NetV2, which 3D-Speaker publishes"
    if kind == "campplus" and not configuration.options:
        return "3d-speaker", "it is a CAM++ without the classes of its training, as 3D-Speaker publishes it"
    if configuration.options.get("speechbrain"):
        return "speechbrain", "it is an ECAPA-TDNN by the names that SpeechBrain has for it"
    return "wespeaker", f"it is a {kind} by the names that WeSpeaker has for it"


class _PublishedModel:
    """A network that is known here, with the weights of a published state dictionary."""

    def __init__(self, published: PublishedNetwork) -> None:
        with torch.random.fork_rng(devices=[]):  # the initial weights must not draw from the caller's generator
            self._network = build_network(published.configuration).eval()
        self._network.load_state_dict(published.state, strict=True)

    def feeding(self, front_end: FrontEnd) -> nn.Module:
        """From waveforms (B, samples) to a tuple of features (B, T, F)."""
        return _Alone(build_front_end(front_end)).eval()

    def run(self, given: Sequence[Tensor]) -> Tensor:
        """(B, D), not normalised."""
        embeddings: Tensor = self._network(given[0])
        return embeddings

    def joined(self, front_end: FrontEnd, tells_norm: bool) -> "onnx.ModelProto":
        """One graph from the waveform to the unit embedding (B, D) and its norm (B,)."""
        module = _Whole(build_front_end(front_end), self._network, tells_norm).eval()
        outputs = (OUTPUT, NORM) if tells_norm else (OUTPUT,)
        return trace(module, torch.zeros(2, 2 * SAMPLE_RATE), INPUT, ("batch", "samples"), outputs=outputs)


class _Alone(nn.Module):
    def __init__(self, front_end: nn.Module) -> None:
        super().__init__()
        self.front_end = front_end

    def forward(self, waveform: Tensor) -> tuple[Tensor]:
        return (self.front_end(waveform),)


class _Whole(nn.Module):
    def __init__(self, front_end: nn.Module, network: nn.Module, tells_norm: bool) -> None:
        super().__init__()
        self.front_end = front_end
        self.network = network
        self.tells_norm = tells_norm

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        embedding = self.network(self.front_end(waveform))
        unit = F.normalize(embedding)
        return (unit, torch.linalg.vector_norm(embedding, dim=1)) if self.tells_norm else (unit,)


def described(source: Source) -> dict[str, Any]:
    """Where a model came from, as its file says it."""
    said: dict[str, Any] = {
        key: source.metadata[key] for key in ("framework", "language", "url", "comment") if key in source.metadata
    }
    return {"file": source.path.name, "sha256": source.sha256, "form": source.form, "told_by": source.told_by, **said}
