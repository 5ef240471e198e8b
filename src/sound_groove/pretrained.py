"""What a model's name or path means; and the model that the package carries, under the name `pretrained`.

That is there as `pretrained.onnx`, which numpy and onnxruntime suffice for, and as `pretrained.safetensors`, from which
training can start; its matrices are read from the other. Both have the same weights, the same hash and the same
calibration; MODEL_CARD.md beside them says what they were trained on and what they are worth.
"""

import hashlib
import os
from pathlib import Path

from sound_groove.hub import hub_file, is_hub_address
from sound_groove.public_models import is_kept, kept_path, public_models

PRETRAINED = "pretrained"
# Of the files in the package, by which they are known, whatever a file says of itself: SHA-256 (`sha256sum`).
CONTENTS = {
    "pretrained.onnx": "2c6b22ca6526e26d0d535d928a1b7d23d5bfad0c938e3dc754dda2a550b0893b",
    "pretrained.safetensors": "1013fb4f1336336a201ff05c31b2e96d3edf8d697673b1dc90fb1ae16af748dc",
}
# Of those that earlier versions of the package carried: whoever has kept one goes on using it under this name, and its
# hash tells which model it is. First two pairs of 52258cda6fe9, when each file had matrices of its own and when both
# had the same; then one of 3801f75f8785, and one of 71259c7a2c50.
EARLIER = (
    "4126806242d71280c1ece1250866fd77f20ed8391cf641852011800a473eaead",
    "5497e6b579fb3713a048e63c351a3406d17739d373aba70205c7b8cbc8d4fc75",
    "350cd3aa478c66ab82fcb18bb97d42b0e74b93ce1e8357f6a727c05c4b2b5bd7",
    "8fc7c107540938fdb6f0622606c2d3a897552918195619d547b62f581b6bbb06",
    "bf74aca8f8ca0c08b6bddd7b5d2f48e70fb0aa57d1a802409096797374f04d1d",
    "356e905ee2ff7ba7b0f2fb8d48789eb860bee0240ec8ad75d246fb7a394304f9",
    "24bee2b641a6a0b77ed1a276c542f6c6a49503604413a73bc1b85ebca3ea8858",
    "b4a3c9b4cc88057be9ac713a44f61d5cd7d30ee5e4e08fe9d3fb5f73a54140a5",
)
UNLISTED = f"unlisted {PRETRAINED}"  # the name of a file that says that it is this model, and is none of these
WEIGHTS = Path(__file__).parent / "weights"
MODEL_CARD = WEIGHTS / "MODEL_CARD.md"


def model_path(model: str | os.PathLike[str], suffix: str = ".onnx") -> Path:
    """The file or folder that a model's name or path means.

    Args:
        model: the name `pretrained`, that of a public model (`sound_groove.public_models`), `hf://owner/name` of a
            model on a hub, or a path. A file or folder of such a name is reached as `./pretrained`.
        suffix: of the file that `pretrained` stands for.

    Raises:
        CheckpointError: it is a public model that was not fetched yet.
        DownloadError: it is on a hub, which does not give it.
        MissingExtraError: it is on a hub, and what fetches from there is not installed.
        UsageError: it begins as an address on a hub, and is none.

    >>> model_path("best.onnx").name, model_path("pretrained").name, model_path("pretrained", ".safetensors").name
    ('best.onnx', 'pretrained.onnx', 'pretrained.safetensors')
    """
    name = os.fspath(model)
    if name == PRETRAINED:
        return WEIGHTS / f"{PRETRAINED}{suffix}"
    if name in public_models():
        return kept_path(name)
    if is_hub_address(name):
        return hub_file(name)
    path = Path(model)
    is_a_name = str(path) == PRETRAINED or str(path) in public_models()  # "./pretrained", which pathlib shortens
    return path.absolute() if is_a_name else path


def known_name(name: str, path: Path, content: str | None = None) -> str:
    """What a model is called that calls itself so.

    Args:
        name: that stands in the file.
        path: of the file.
        content: SHA-256 of the file (hexadecimal), where it is known.

    Returns:
        The name; but UNLISTED where it is that of the model in the package, and the file is none that this package, or
        an earlier one, carries: exported or calibrated by somebody, or altered.

    >>> known_name("mine", Path("mine.onnx")), known_name("pretrained", Path("mine.onnx"), "00")
    ('mine', 'unlisted pretrained')
    """
    if name != PRETRAINED:
        return name
    if content is None:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return name if content in (*CONTENTS.values(), *EARLIER) else UNLISTED


def has_a_name(path: Path) -> bool:
    """Whether a file is one that a name stands for, the package's or a public model in the user's cache.

    Nothing may be written to it, or beside it.
    """
    return path.absolute().parent == WEIGHTS.absolute() or is_kept(path)
