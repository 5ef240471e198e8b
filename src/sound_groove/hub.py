"""Models that lie on a hub, named as `hf://owner/name[@revision][/file]`: Hugging Face, or what HF_ENDPOINT names.

The files are kept in that library's own cache, and no code that lies beside them is run.
"""

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from sound_groove._version import __version__
from sound_groove.errors import DownloadError, UsageError, printable, require_extra
from sound_groove.public_models import HUB_VARIABLE

SCHEME = "hf://"
SUFFIXES = (".onnx", ".safetensors")  # the first is taken where a repository has one file of each
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


def is_hub_address(model: str) -> bool:
    """Whether a model's name means one on a hub.

    >>> is_hub_address("hf://owner/name"), is_hub_address("./hf")
    (True, False)
    """
    return model.startswith((SCHEME, "hf:/"))


def parsed_address(model: str) -> HubAddress:
    """What `hf://owner/name[@revision][/file]` says.

    Raises:
        UsageError: it is not of this form, or names a file that is no model.

    >>> parsed_address("hf://owner/name@v1.0/int8/model.onnx")
    HubAddress(repository='owner/name', revision='v1.0', file='int8/model.onnx')
    """
    match = _ADDRESS.fullmatch(model)
    file = match["file"] if match else None
    if match is None or (file is not None and {"", ".", ".."} & set(file.split("/"))):
        raise UsageError(f"{printable(model)}: a model on a hub is named as hf://owner/name[@revision][/file]")
    if file is not None and not file.endswith(SUFFIXES):
        raise UsageError(f"{printable(model)}: must name a file that ends in {' or '.join(SUFFIXES)}")
    return HubAddress(match["repository"], match["revision"], file)


def hub_file(model: str) -> Path:
    """The file of a model on a hub, fetched unless it is in the hub library's cache.

    Args:
        model: `hf://owner/name[@revision][/file]`.

    Raises:
        UsageError: it is not of this form.
        MissingExtraError: huggingface_hub is not installed.
        DownloadError: the hub does not give it, or the repository has no model, or several and none is named.
    """
    address = parsed_address(model)
    require_extra("A model on a hub", "hub", "huggingface_hub")
    from huggingface_hub import HfApi, hf_hub_download

    from sound_groove.progress import ProgressBar

    endpoint = os.environ.get(HUB_VARIABLE) or None
    try:
        file = address.file
        if file is None:
            api = HfApi(endpoint, library_name="sound-groove", library_version=__version__)
            file = _only_model(model, api.list_repo_files(address.repository, revision=address.revision))
        found = hf_hub_download(
            address.repository,
            file,
            revision=address.revision,
            endpoint=endpoint,
            library_name="sound-groove",
            library_version=__version__,
            # on a terminal only, and no word in it moves the cursor
            tqdm_class=cast(Any, partial(ProgressBar, disable=None)),
        )
    except DownloadError:
        raise
    except Exception as error:  # the library's own, those of its HTTP client, and the system's
        raise DownloadError(f"{printable(model)}: the hub does not give it: {_reason(error)}") from None
    return Path(str(found))


def _only_model(model: str, files: list[str]) -> str:
    """The model among the files of a repository.

    Raises:
        DownloadError: there is none, or there are several.
    """
    if USUAL in files:
        return USUAL
    for suffix in SUFFIXES:
        found = sorted(file for file in files if file.endswith(suffix))
        if len(found) == 1:
            return found[0]
        if found:
            raise DownloadError(
                f"{printable(model)}: the repository has several models; name one of them: "
                f"{printable(', '.join(found[:10]))}"
            )
    raise DownloadError(f"{printable(model)}: the repository has no model that ends in {' or '.join(SUFFIXES)}")


def _reason(error: Exception) -> str:
    """What went wrong, on one line."""
    return printable((" ".join(str(error).split()) or type(error).__name__)[:300]).rstrip(".")
