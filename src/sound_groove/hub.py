"""Models that lie on a hub, named as `hf://owner/name[@revision][/file]`: Hugging Face, or what HF_ENDPOINT names.

The files are kept in that library's own cache, and no code that lies beside them is run.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sound_groove._version import __version__
from sound_groove.errors import DownloadError, UsageError, printable, require_extra
from sound_groove.public_models import HUB_VARIABLE

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SCHEME = "hf://"
SUFFIXES = (".onnx", ".safetensors")  # the first is taken where a repository has one file of each
_LONGEST = 300  # characters of what a card says
USUAL = "model.onnx"
_PART = r"[A-Za-z0-9][\w.-]*"
# pathlib makes one slash of two. A revision is a branch, a tag or a commit; one with a slash is not taken.
_ADDRESS = re.compile(rf"hf://?(?P<repository>{_PART}/{_PART})(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>[^\\]+))?")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where a model lies on a hub.

    Attributes:
        repository: `owner/name`.
        revision: branch, tag or commit; None for the newest.
        file: its path in the repository; None where that has only one model.
    """

    repository: str
    revision: str | None
    file: str | None


@dataclass(frozen=True, slots=True)
class HubTerms:
    """What a hub says of a repository.

    Attributes:
        licence: as its card has it; empty where that says nothing.
        trained_on: the data sets that its card names; empty where it names none.
        commit: what its revision is at present.
    """

    licence: str
    trained_on: str
    commit: str


def is_hub_address(model: str) -> bool:
    """Whether a model's name means one on a hub.

    >>> is_hub_address("hf://owner/name"), is_hub_address("./hf")
    (True, False)
    """
    return model.startswith((SCHEME, "hf:/"))


def parsed_address(model: str, suffixes: tuple[str, ...] = SUFFIXES) -> HubAddress:
    """What `hf://owner/name[@revision][/file]` says.

    Args:
        model: the address.
        suffixes: one of which a file must have.

    Raises:
        UsageError: it is not of this form, or names a file that is no model.

    >>> parsed_address("hf://owner/name@v1.0/int8/model.onnx")
    HubAddress(repository='owner/name', revision='v1.0', file='int8/model.onnx')
    """
    match = _ADDRESS.fullmatch(model)
    file = match["file"] if match else None
    if match is None or (file is not None and {"", ".", ".."} & set(file.split("/"))):
        raise UsageError(f"{printable(model)}: a model on a hub is named as hf://owner/name[@revision][/file]")
    if file is not None and not file.endswith(suffixes):
        raise UsageError(f"{printable(model)}: must name a file that ends in {' or '.join(suffixes)}")
    return HubAddress(match["repository"], match["revision"], file)


def hub_terms(model: str, suffixes: tuple[str, ...] = SUFFIXES) -> HubTerms:
    """Under which terms a model on a hub comes, before anything of it is downloaded.

    Args:
        model: `hf://owner/name[@revision][/file]`.
        suffixes: one of which a file must have.

    Raises:
        DownloadError, MissingExtraError, UsageError: as for `hub_file`.
    """
    address = parsed_address(model, suffixes)
    with _asking(model):
        info = _api().model_info(address.repository, revision=address.revision)
        card = {} if info.card_data is None else cast(Any, info.card_data).to_dict()
    licence = _words(card.get("license"))
    if licence == "other":
        licence = _words(card.get("license_name")) or licence
    return HubTerms(licence, _words(card.get("datasets")), _words(info.sha))


def hub_file(model: str, suffixes: tuple[str, ...] = SUFFIXES, commit: str | None = None) -> Path:
    """The file of a model on a hub, fetched unless it is in the hub library's cache.

    Args:
        model: `hf://owner/name[@revision][/file]`.
        suffixes: one of which the file must have; where none is named, the first of which there is a file is taken.
        commit: takes the place of the revision.

    Raises:
        UsageError: it is not of this form.
        MissingExtraError: huggingface_hub is not installed.
        DownloadError: the hub does not give it, or the repository has no model, or several and none is named.
    """
    address = parsed_address(model, suffixes)
    revision = commit or address.revision
    with _asking(model):
        from huggingface_hub import hf_hub_download

        from sound_groove.progress import ProgressBar

        api, file = _api(), address.file
        if file is None:
            file = _only_model(model, api.list_repo_files(address.repository, revision=revision), suffixes)
        found = hf_hub_download(
            address.repository,
            file,
            revision=revision,
            endpoint=os.environ.get(HUB_VARIABLE) or None,
            library_name="sound-groove",
            library_version=__version__,
            # on a terminal only, and no word in it moves the cursor
            tqdm_class=cast(Any, partial(ProgressBar, disable=None)),
        )
    return Path(str(found))


@contextmanager
def _asking(model: str) -> Iterator[None]:
    """A block that asks the hub; whatever fails there is told in a sentence."""
    require_extra("A model on a hub", "hub", "huggingface_hub")
    try:
        yield
    except DownloadError:
        raise
    except Exception as error:  # the library's own, those of its HTTP client, and the system's
        raise DownloadError(f"{printable(model)}: the hub does not give it: {_reason(error)}") from None


def _api() -> "HfApi":
    from huggingface_hub import HfApi

    endpoint = os.environ.get(HUB_VARIABLE) or None
    return HfApi(endpoint, library_name="sound-groove", library_version=__version__)


def _words(said: object) -> str:
    """What a card has under a key, on one line: a word, or several."""
    words = said if isinstance(said, list) else [said]
    return " ".join(", ".join(word for word in words if isinstance(word, str)).split())[:_LONGEST]


def _only_model(model: str, files: list[str], suffixes: tuple[str, ...]) -> str:
    """The model among the files of a repository.

    Raises:
        DownloadError: there is none, or there are several.
    """
    if USUAL in files:
        return USUAL
    for suffix in suffixes:
        found = sorted(file for file in files if file.endswith(suffix))
        if len(found) == 1:
            return found[0]
        if found:
            raise DownloadError(
                f"{printable(model)}: the repository has several models; name one of them: "
                f"{printable(', '.join(found[:10]))}"
            )
    raise DownloadError(f"{printable(model)}: the repository has no model that ends in {' or '.join(suffixes)}")


def _reason(error: Exception) -> str:
    """What went wrong, on one line."""
    return printable((" ".join(str(error).split()) or type(error).__name__)[:300]).rstrip(".")
