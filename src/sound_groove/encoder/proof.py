"""Whether a model computes here what it computed where its file was written: its probe, once for each file and place.

A place is a runtime of one version, a device and a kind of processor. What was found there is kept in the user's cache
under the hash of the file's content: a model is proved when it is first used, in the time of one short recording, and
again when the file, the runtime or the machine has changed.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sound_groove.errors import CheckpointError
from sound_groove.files import cache_folder, read_json, replaced
from sound_groove.networks.probe import RULE, Probe, probe_signal
from sound_groove.provenance import instruction_set, version_of
from sound_groove.types import Embeddings, Samples

FOLDER = "proofs"  # in the user's cache
# Of devices that compute in fewer bits than the file's writer: TF32, bfloat16, or whatever the maker chose.
LEAST_ELSEWHERE = 0.999
LEAST_IN_BFLOAT16 = 0.99


@dataclass(frozen=True, slots=True)
class Place:
    """What computes a model.

    Attributes:
        content: SHA-256 (hexadecimal) of what was loaded: the file, or its weights.
        runtime: the package that computes.
        device: as `SpeakerEncoder.load` takes it.
    """

    content: str
    runtime: str
    device: str

    @property
    def description(self) -> str:
        """The runtime with its version, the device, and the processor's instructions."""
        version = version_of(self.runtime, "of unknown version")
        return f"{self.runtime} {version} on {self.device}, processor with {instruction_set()}"

    @property
    def key(self) -> str:
        """Under which a proof is kept."""
        return hashlib.sha256(f"{RULE}\0{self.content}\0{self.description}".encode()).hexdigest()

    def least_cosine(self, probe: Probe) -> float:
        """How near to the probe's embedding this place must come."""
        if self.device.endswith("bf16"):
            return min(probe.least_cosine, LEAST_IN_BFLOAT16)
        return probe.least_cosine if self.device in ("cpu", "openvino") else min(probe.least_cosine, LEAST_ELSEWHERE)


@dataclass(frozen=True, slots=True)
class Proof:
    """That a model gave the right embedding of its probe.

    Attributes:
        cosine: between the embedding that it gives and the one that it must give.
        least_cosine: that was asked for.
        place: where it was computed, in words.
        is_remembered: whether it was found before, and taken from the cache.
    """

    cosine: float
    least_cosine: float
    place: str
    is_remembered: bool


def prove(
    name: str, probe: Probe, place: Place, embed: Callable[[Samples], Embeddings], *, anew: bool = False
) -> Proof:
    """Make sure that a model gives the embedding that its file says.

    Args:
        name: of the file, for messages.
        probe: what the file says.
        place: what computes it.
        embed: gives the embedding (D,) of samples.
        anew: compute it even if it is known.

    Raises:
        CheckpointError: it does not.
    """
    least = place.least_cosine(probe)
    known = None if anew else _remembered(place)
    if known is not None and known >= least:
        return Proof(known, least, place.description, True)
    try:
        cosine = probe.cosine(embed(probe_signal()))
    except CheckpointError as error:
        raise CheckpointError(f"{name}: fails on the probe that it carries: {error}; {_advice(place)}") from None
    if not cosine >= least:
        raise CheckpointError(
            f"{name}: does not compute here what it computed where it was written: the cosine with its probe's "
            f"embedding is {cosine:.4f}, and {least} is asked for; {_advice(place)}"
        )
    _remember(place, cosine)
    return Proof(cosine, least, place.description, False)


def _advice(place: Place) -> str:
    return (
        "either its weights were changed, and it must be fetched or exported again, or "
        f"{place.description} computes it wrongly, and another device, runtime or version is needed"
    )


def _remembered(place: Place) -> float | None:
    """The cosine that was found in this place before."""
    folder = cache_folder()
    if folder is None:
        return None
    with suppress(Exception):  # whatever lies there: it is a cache
        return float(read_json(folder / FOLDER / f"{place.key}.json")["cosine"])
    return None


def _remember(place: Place, cosine: float) -> None:
    """Keep what was found; a cache that cannot be written is done without."""
    folder = cache_folder()
    if folder is None:
        return
    with suppress(OSError):
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        with replaced(folder / FOLDER / f"{place.key}.json") as file:
            json.dump({"cosine": cosine, "place": place.description, "content": place.content}, file)
