"""What is to be imported: a file, a model of the list of public ones, or one on a hub, and what is known of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sound_groove.audio.front_end import Floor
from sound_groove.errors import CheckpointError, UsageError, printable
from sound_groove.fetching.transfer import Patience
from sound_groove.hub import SCHEME, hub_file, hub_terms, is_hub_address, parsed_address
from sound_groove.importing.foreign_tensors import SUFFIXES
from sound_groove.importing.getting import published_file
from sound_groove.public_models import hint_for, public_models

ON_A_HUB = (".onnx", ".safetensors", *(suffix for suffix in SUFFIXES if suffix != ".safetensors"))
_REVISION_DIGITS = 12  # of a commit, where it is told to people


@dataclass(frozen=True, slots=True)
class GivenSource:
    """A file to import, and what is known of it beforehand.

    Attributes:
        path: where it lies.
        name: the model's; None for that of the file.
        front_end: what it is fed, as `import --front-end` takes it; None where the file is to be asked.
        floor: what is laid under its features; None for the makers' own.
        data: what it was trained on, in words; None where that is not known.
        licence: None for what the file says.
        use: what alone it may be used for.
        address: where it came from on a hub, with the commit; empty where it came from elsewhere.
    """

    path: Path
    name: str | None = None
    front_end: str | None = None
    floor: Floor | None = None
    data: str | None = None
    licence: str | None = None
    use: str = ""
    address: str = ""


@contextmanager
def given_source(
    model: str,
    mirrors: Sequence[str] = (),
    patience: Patience | None = None,
    tell: Callable[[str], None] = lambda line: None,
    keeps: bool = False,
) -> Iterator[GivenSource]:
    """The file that a path, a name or an address means, for as long as the block runs.

    A model of the list is downloaded as `get_model` does it, and removed again where the block ends well; one on a hub
    lies in the hub library's own cache. A file that is called like a model of the list is `./NAME`.

    Args:
        model: a path, a name of the list, or `hf://owner/name[@revision][/file]`.
        mirrors: addresses to be tried first, of a model of the list.
        patience: how long a server is waited for.
        tell: is given sentences, the licence and what it was trained on before anything is downloaded.
        keeps: what was downloaded is kept for the next call in any case.

    Raises:
        CheckpointError: there is no such file.
        DownloadError: nothing gives it as it should be.
        MissingExtraError: something that is needed is not installed.
        OutputError: the cache cannot be written, or another process fetches into it.
        UsageError: a mirror or the address is none, or there are mirrors for what has none.
    """
    if model in public_models():
        listed = public_models()[model]
        if listed.kind != "speaker":
            raise UsageError(f"{model}: embeds no voices; 'sound-groove models get {model}' fetches it, for 'who'")
        with published_file(listed, mirrors, patience, tell, keeps) as path:
            yield GivenSource(
                path, model, listed.front_end, listed.floor, listed.trained_on, listed.licence, listed.use
            )
        return
    if mirrors:
        raise UsageError(f"{printable(model)}: --mirror is for a model of the list ('sound-groove models list')")
    if is_hub_address(model):
        yield _on_a_hub(model, tell)
        return
    path = Path(model)
    if not path.is_file() and not path.suffix and path.name == model:  # no ./ before it
        raise CheckpointError(
            f"{printable(model)}: there is no such file, and no public model of that name in the list; "
            f"{hint_for(model)}"
        )
    yield GivenSource(path)


def _on_a_hub(model: str, tell: Callable[[str], None]) -> GivenSource:
    address = parsed_address(model, ON_A_HUB)
    terms = hub_terms(model, ON_A_HUB)
    tell(f"licence: {terms.licence or 'not said by its card'}")
    tell(f"trained on: {terms.trained_on or 'not said by its card'}")
    tell(f"from: {address.repository} on the hub, commit {terms.commit[:_REVISION_DIGITS] or 'not told'}")
    path = hub_file(model, ON_A_HUB, terms.commit or None)
    name = address.repository.split("/")[1]
    whence = f"{SCHEME}{address.repository}@{terms.commit or address.revision or 'main'}/{address.file or path.name}"
    return GivenSource(path, name, data=terms.trained_on or None, licence=terms.licence or None, address=whence)
