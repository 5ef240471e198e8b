"""Where an exported model goes: never over another file unless that is wanted, and never in part."""

from dataclasses import dataclass
from pathlib import Path

from sound_groove.errors import OutputError, printable
from sound_groove.files import replaced_bytes, writing
from sound_groove.networks.checkpoint import Checkpoint
from sound_groove.pretrained import has_a_name
from sound_groove.types import ModelIdentity


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written.

    Attributes:
        file: where it lies.
        name: the model's.
        hash: the model's, as `SpeakerEncoder.identity` has it.
        embedding_size: D.
        bytes: size of the file.
        worst_cosine: lowest between its embeddings and those of the file that it was made from.
        checked_s: durations of the made-up voices that it was lowest of.
    """

    file: Path
    name: str
    hash: str
    embedding_size: int
    bytes: int
    worst_cosine: float
    checked_s: tuple[float, ...]


def destination(checkpoint: Checkpoint, out: str | Path | None, suffix: str, force: bool) -> Path:
    """The file to write: `out`, or beside the model with another suffix.

    Raises:
        OutputError: it is there already and not to be replaced, there is no such folder, or nothing may be written
            beside the model.
    """
    path = checkpoint.path.with_suffix(suffix) if out is None else Path(out)
    check_free(path, force)
    return path


def refuse_packaged(path: Path) -> None:
    """Refuse to write where the package keeps its own model, or public models are kept.

    Raises:
        OutputError: the file lies there.
    """
    if has_a_name(path):
        raise OutputError("a model that is known by its name stays as it is; name a file to write with --out")


def check_free(path: Path, force: bool) -> None:
    """Refuse a file that may not be written there.

    Raises:
        OutputError: it is there already and not to be replaced, there is no such folder, or it is one in which models
            with names are kept.
    """
    refuse_packaged(path)
    if path.exists() and not force:
        raise OutputError(f"{printable(str(path))}: is there already; choose another --out, or replace it with --force")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{printable(str(path))}: there is no folder {printable(str(path.absolute().parent))}")


def place(
    path: Path,
    content: bytes,
    identity: ModelIdentity,
    embedding_size: int,
    worst_cosine: float,
    checked_s: tuple[float, ...],
) -> ExportedFile:
    """Write the whole file, and say what was written.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path), replaced_bytes(path) as file:
        file.write(content)
    return ExportedFile(path, identity.name, identity.hash, embedding_size, len(content), worst_cosine, checked_s)
