"""The shards of crops that lie on the disk between their maker and the training that visits them.

    crops.json              what the crops are made by: other crops never come between them
    needed.json             the number of the oldest shard that training may still ask for; `last` = the last it will
    00000017.safetensors    a shard: crops, the teacher's embeddings of them (and what it pools over time), and classes

Shards are numbered. The maker makes those that are missing among the `kept` that follow the oldest needed one, so there
are never more; each is a function of its number, so whoever was killed makes the same again. A file gets its name when
it is whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.corpora.shards import Steps
from sound_groove.errors import OutputError, TrainingError, printable
from sound_groove.files import read_json, replaced_bytes, write_json, writing
from sound_groove.json_reading import through_json
from sound_groove.types import Embeddings

CROPS_NAME = "crops.json"
NEEDED_NAME = "needed.json"
SUFFIX = ".safetensors"
FRAME_SAMPLES = SAMPLE_RATE // 50  # from one of a teacher's frames to the next

Frames = NDArray[np.float16]  # (N, C, T) what a teacher pools over time


@dataclass(frozen=True)
class CropShard:
    """Crops of several lengths.

    Attributes:
        steps: by length in samples, (N, samples) in 16-bit steps.
        targets: by length, (N, D) the teacher's embeddings, of unit length.
        labels: by length, (N,) classes, -1 = none.
        frames: by length, (N, C, T) what the teacher pools over time; empty where it is not asked for.
    """

    steps: Mapping[int, Steps]
    targets: Mapping[int, Embeddings]
    labels: Mapping[int, NDArray[np.int64]]
    frames: Mapping[int, Frames] = field(default_factory=dict)

    def __len__(self) -> int:
        """Crops in it."""
        return sum(len(steps) for steps in self.steps.values())


class CropPool:
    """A folder of shards.

    Args:
        folder: where they lie; it is made when something is written.
        kept: how many there may be.
    """

    def __init__(self, folder: Path, kept: int) -> None:
        self.folder, self.kept = folder, kept

    def begin(self, made_by: Mapping[str, Any]) -> None:
        """Say what the crops are made by, or see that those that are there are made by the same.

        Raises:
            TrainingError: they are made by other settings.
            OutputError: the folder cannot be written.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        path, content = self.folder / CROPS_NAME, through_json(made_by)
        if not path.exists():
            # Maker and training may begin at the same moment, so each writes a file of its own first.
            own = path.with_name(f"{CROPS_NAME}.{uuid4().hex}")
            write_json(own, content)
            with writing(path):
                own.replace(path)
        before = read_json(path)
        different = sorted(name for name in before.keys() | content.keys() if before.get(name) != content.get(name))
        if different:
            raise TrainingError(
                f"{printable(str(self.folder))}: holds crops that were made with another {' and '.join(different)}; "
                "remove the folder, or name another with distillation.crops.folder"
            )

    def numbers(self) -> list[int]:
        """The shards that are there, in order."""
        if not self.folder.is_dir():
            return []
        stems = (path.stem for path in self.folder.glob(f"*{SUFFIX}"))
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def next_missing(self) -> int | None:
        """The first shard that should be there and is not; None when there are enough for now, or for good."""
        needed = self._needed()
        there = set(self.numbers())
        end = needed["first"] + self.kept
        if needed["last"] is not None:
            end = min(end, needed["last"] + 1)
        return next((number for number in range(needed["first"], end) if number not in there), None)

    @property
    def is_done(self) -> bool:
        """Whether training will ask for no more shards."""
        needed = self._needed()
        return needed["last"] is not None and needed["first"] > needed["last"]

    def need_from(self, first: int, last: int) -> None:
        """Shards before `first` are not needed any more, and are removed; `last` is the last that will be.

        Raises:
            OutputError: the folder cannot be written.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / NEEDED_NAME, {"first": first, "last": last})
            for number in self.numbers():
                if number < first:
                    self.path(number).unlink(missing_ok=True)

    def write(self, number: int, shard: CropShard) -> None:
        """Put a shard there.

        Raises:
            OutputError: it cannot be written.
        """
        tensors: dict[str, NDArray[Any]] = {}
        for length, steps in shard.steps.items():
            tensors[f"steps.{length}"] = np.ascontiguousarray(steps)
            tensors[f"targets.{length}"] = shard.targets[length].astype(np.float16)
            tensors[f"labels.{length}"] = shard.labels[length]
            if length in shard.frames:
                tensors[f"frames.{length}"] = shard.frames[length]
        path = self.path(number)
        with writing(path), replaced_bytes(path) as file:
            file.write(save(tensors))

    def read(self, number: int) -> CropShard:
        """A shard that is there.

        Raises:
            TrainingError: it cannot be read.
        """
        path = self.path(number)
        try:
            tensors = load(path.read_bytes())
            lengths = sorted(int(name.split(".")[1]) for name in tensors if name.startswith("steps."))
            return CropShard(
                {length: tensors[f"steps.{length}"] for length in lengths},
                {length: _unit(tensors[f"targets.{length}"].astype(np.float32)) for length in lengths},
                {length: tensors[f"labels.{length}"] for length in lengths},
                {length: tensors[f"frames.{length}"] for length in lengths if f"frames.{length}" in tensors},
            )
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{printable(str(path))}: the crops cannot be read ({error}); remove the file, and it is made again"
            ) from None

    def path(self, number: int) -> Path:
        """Where a shard lies."""
        return self.folder / f"{number:08d}{SUFFIX}"

    def _needed(self) -> dict[str, Any]:
        path = self.folder / NEEDED_NAME
        if not path.exists():
            return {"first": 0, "last": None}
        needed = read_json(path)
        if type(needed.get("first")) is not int or not isinstance(needed.get("last"), int | None):
            raise OutputError(f"{printable(str(path))}: does not say which crops are needed; remove it")
        return needed


def _unit(rows: Embeddings) -> Embeddings:
    unit: Embeddings = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit
