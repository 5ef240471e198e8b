"""Training crops, each a pure function of (seed, epoch, item).

An item is one place in an epoch's plan. Workers read crops; augmentation and features run batched on the training
device, which on a CPU may be done by the workers too. Which process reads an item, and how many there are, changes
nothing.
"""

import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from sound_groove.audio.filterbank import samples_of
from sound_groove.audio.reading import read_segment
from sound_groove.corpora.file_work import SIXTEEN_BIT
from sound_groove.corpora.manifest import Utterance
from sound_groove.corpora.shards import Steps, read_shard, to_float
from sound_groove.errors import SoundGrooveError, TrainingError
from sound_groove.inputs.sampler import Sampler, shard
from sound_groove.inputs.speed import source_samples
from sound_groove.inputs.surroundings import Surroundings, SurroundingsReader
from sound_groove.synthesis.draws import Draw, uniform
from sound_groove.types import Samples

Item = tuple[int, int, int]  # utterance index, epoch, place in the epoch's plan
FEATURE_SIZE = 80  # mel bins of stored features
PREFETCHED = 4  # batches that each worker reads ahead
DEAD_WORKER = (
    "a reading process died, most likely for want of memory (in a container, of shared memory); "
    "go on with --resume and fewer data.workers"
)


@dataclass(frozen=True)
class Batch:
    """Crops and what they are.

    Attributes:
        inputs: (B, samples) waveforms in [-1, 1], or, of a packed corpus, 16-bit integers as they were stored; or
            (B, T, F) stored features, or whatever the network is given when `ready`.
        labels: (B,) class of each: its speaker at its speed; -1 where the speaker is not known.
        speeds: (B,) index of the speed at which each is to be played.
        utterances: (B,) index of each in the training list.
        surroundings: recorded noise and rooms around them, if any.
        ready: whether the inputs are as the network is given them.
    """

    inputs: Tensor
    labels: Tensor
    speeds: Tensor
    utterances: Tensor
    surroundings: Surroundings | None = None
    ready: bool = False

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device, its inputs in floating point."""
        inputs = self.inputs.to(device, non_blocking=True)
        return Batch(
            inputs if inputs.is_floating_point() else inputs.float().div_(SIXTEEN_BIT),
            self.labels.to(device, non_blocking=True),
            self.speeds.to(device, non_blocking=True),
            self.utterances,
            None if self.surroundings is None else self.surroundings.to(device),
            self.ready,
        )

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, from which a GPU copies without making the step wait."""
        return Batch(
            self.inputs.pin_memory(),
            self.labels.pin_memory(),
            self.speeds.pin_memory(),
            self.utterances,
            None if self.surroundings is None else self.surroundings.pin_memory(),
            self.ready,
        )

    def split(self, parts: int) -> list["Batch"]:
        """The batch in equal parts, for gradient accumulation, without the surroundings (they are in the features)."""
        columns = (column.chunk(parts) for column in (self.inputs, self.labels, self.speeds, self.utterances))
        return [
            Batch(inputs, labels, speeds, utterances, ready=self.ready)
            for inputs, labels, speeds, utterances in zip(*columns, strict=True)
        ]


class BatchSource(Protocol):
    """What a reading process makes batches with."""

    def read_batch(self, items: Sequence[Item]) -> Batch:
        """The batch of some items; raises a TrainingError where a file cannot be read any more."""


@dataclass(frozen=True, eq=False)
class CropReader:
    """Reads random crops of utterances.

    Attributes:
        utterances: the training list.
        labels: (utterances,) speaker of each; -1 where it is not known.
        crop_frames: length of a crop in feature frames.
        seed: of the crops' places and speeds.
        stored_features: read `.pt` features instead of audio.
        speeds: at which crops may be played; each makes classes of its own.
        drawn: indices of the speeds that are drawn, each as likely as the others; None = all of them.
        surroundings: reads recorded noise and rooms around the crops.
    """

    utterances: Sequence[Utterance]
    labels: NDArray[np.int64]
    crop_frames: int
    seed: int
    stored_features: bool = False
    speeds: tuple[float, ...] = (1.0,)
    drawn: tuple[int, ...] | None = None
    surroundings: SurroundingsReader | None = None

    @cached_property
    def speakers(self) -> int:
        """How many there are."""
        return int(self.labels.max()) + 1

    @cached_property
    def is_packed(self) -> bool:
        """Whether all utterances are, so that crops can go to the device as the 16-bit integers that they are."""
        return all(utterance.shard_path is not None for utterance in self.utterances)

    @property
    def samples(self) -> int:
        """Length of a crop that has been played at its speed."""
        return samples_of(self.crop_frames)

    def speed(self, item: Item) -> int:
        """Index of the speed at which the item is to be played; 1 where the speaker is not known."""
        if self.labels[item[0]] < 0:
            return self.speeds.index(1.0)
        drawn = range(len(self.speeds)) if self.drawn is None else self.drawn
        if len(drawn) == 1:
            return drawn[0]
        _, epoch, place = item
        return drawn[int(uniform(self.seed, Draw.SPEED, epoch, place) * len(drawn))]

    def read(self, item: Item) -> Tensor:
        """The crop at an item's place: (T, F), or as many samples as its speed takes.

        Raises:
            TrainingError: the file cannot be read any more.
        """
        return self._read(item, self.speed(item))

    def _read(self, item: Item, speed: int) -> Tensor:
        """The crop of an item whose speed has been drawn."""
        index, epoch, place = item
        utterance = self.utterances[index]
        fraction = uniform(self.seed, Draw.CROP_PLACE, epoch, place)
        try:
            if self.stored_features:
                return read_feature_crop(utterance, self.crop_frames, fraction)
            count = source_samples(self.samples, self.speeds[speed])
            return torch.from_numpy((read_packed_crop if self.is_packed else read_crop)(utterance, count, fraction))
        except SoundGrooveError as error:
            # A file that was sound when it was prepared and is not any more: stop, and name it. Inventing a
            # replacement would silently change what is trained on.
            raise TrainingError(f"{error} (utterance {utterance.key}); run 'sound-groove prepare' again") from None

    def read_batch(self, items: Sequence[Item]) -> Batch:
        """The crops of a batch.

        Raises:
            TrainingError: a file cannot be read any more.
        """
        indices = [index for index, _, _ in items]
        speeds = np.array([self.speed(item) for item in items])
        drawn = zip(items, speeds.tolist(), strict=True)
        crops = pad_sequence([self._read(*pair) for pair in drawn], batch_first=True)  # (B, samples) or (B, T, F)
        speakers = self.labels[indices]
        classes = np.where(speakers < 0, -1, speakers + self.speakers * speeds)
        places = [(epoch, place) for _, epoch, place in items]
        around = None if self.surroundings is None else self.surroundings.read(places, self.samples)
        return Batch(crops, torch.from_numpy(classes), torch.from_numpy(speeds), torch.tensor(indices), around)


def read_crop(utterance: Utterance, count: int, fraction: float) -> Samples:
    """A crop of an utterance; one that is shorter than the crop is repeated.

    Args:
        utterance: may be packed, or joined from several files.
        count: samples at 16 kHz.
        fraction: place of the crop in [0, 1): 0 = at the start, towards 1 = at the end.

    Returns:
        (count,) float32.
    """
    start, wanted = _place(utterance, count, fraction)
    if utterance.shard_path is None:
        crop = _read_files(utterance, start, wanted)
    else:
        crop = to_float(read_shard(utterance.shard_path, utterance.shard_offset + start, wanted))
    return crop if len(crop) == count else np.resize(crop, count)  # np.resize repeats


def read_packed_crop(utterance: Utterance, count: int, fraction: float) -> Steps:
    """A crop (count,) of a packed utterance in 16-bit steps; arguments as for `read_crop`."""
    start, wanted = _place(utterance, count, fraction)
    if utterance.shard_path is None:
        raise TrainingError("is not packed")
    crop = read_shard(utterance.shard_path, utterance.shard_offset + start, wanted)
    return crop if len(crop) == count else np.resize(crop, count)


def _place(utterance: Utterance, count: int, fraction: float) -> tuple[int, int]:
    """Where in its utterance a crop starts, and how many samples there are for it."""
    total = sum(utterance.samples)
    wanted = min(count, total)
    return int(fraction * (total - wanted + 1)), wanted


def _read_files(utterance: Utterance, start: int, wanted: int) -> Samples:
    """A part of an utterance that is not packed."""
    parts, offset = [], 0
    for path, length in zip(utterance.paths, utterance.samples, strict=True):
        first, last = max(start, offset), min(start + wanted, offset + length)
        if first < last:
            parts.append(read_segment(path, first - offset, last - first))
        offset += length
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def read_feature_crop(utterance: Utterance, frames: int, fraction: float) -> Tensor:
    """A crop of stored features (frames, F); shorter ones are repeated. Arguments as for `read_crop`."""
    if utterance.feature_path is None:
        raise TrainingError("has no stored features, which 'sound-groove prepare ... --features' writes")
    features = load_features(utterance.feature_path)
    wanted = min(frames, len(features))
    start = int(fraction * (len(features) - wanted + 1))
    crop = features[start : start + wanted]
    repeats = -(-frames // wanted)
    return crop.repeat(repeats, 1)[:frames].float()


def load_features(path: str) -> Tensor:
    """The stored features of an utterance (T, F); tensors only are read, nothing else is unpickled.

    Raises:
        TrainingError: the file cannot be read, or holds something else.
    """
    try:
        features = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise TrainingError(f"{path}: the stored features cannot be read: {error.strerror}") from None
    except Exception:  # the restricted unpickler and the archive's reader have errors of many kinds
        raise TrainingError(f"{path}: is damaged, or holds something other than a tensor of features") from None
    if not isinstance(features, Tensor) or features.ndim != 2 or not len(features):
        raise TrainingError(f"{path}: holds something other than a tensor of features (frames, {FEATURE_SIZE})")
    if features.shape[1] != FEATURE_SIZE:
        raise TrainingError(f"{path}: holds {features.shape[1]} values a frame, and {FEATURE_SIZE} are expected")
    return features


def training_batches(
    source: BatchSource,
    sampler: Sampler,
    epochs: range,
    first_batch: int = 0,
    workers: int = 0,
    rank: int = 0,
    processes: int = 1,
    pin_memory: bool = False,
) -> Generator[Batch, None, None]:
    """One process's share of the batches of some epochs, one epoch after the other.

    The workers live until the last batch, or until the generator is closed, and read ahead while the network is
    validated. Each of them costs about 0.2 GB of memory on a list of 640,000 utterances, which it shares otherwise.

    Args:
        source: where batches come from.
        sampler: which crops.
        epochs: counted from 0.
        first_batch: batches of the first epoch to leave out, when resuming in mid-epoch.
        workers: reading processes; 0 reads here.
        rank: which of the training processes this is.
        processes: how many there are; must divide the batch.
        pin_memory: put batches where a GPU copies them from fastest.

    Raises:
        TrainingError: a file cannot be read any more, or a worker died (which torch may also raise as a RuntimeError,
            at any moment, from a signal handler).
    """
    with warnings.catch_warnings():
        # A recipe may ask for more processes than there are cores: they wait for files, too.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        loader: DataLoader[Any] = DataLoader(
            _BatchReader(source),
            batch_size=None,  # the sampler below gives whole batches
            sampler=_batch_items(sampler, epochs, first_batch, rank, processes),
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pin_memory,
            prefetch_factor=PREFETCHED if workers else None,
            generator=torch.Generator(),  # or a number would be drawn from torch's global generator
            # A forked worker shares the list of utterances; any other would be sent a copy of half a million of them.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        )
        batches = iter(loader)
    try:
        while True:
            try:
                batch = next(batches, None)
            except (OSError, EOFError) as error:  # nothing else is read here than what the workers send
                raise TrainingError(DEAD_WORKER) from error
            if batch is None:
                return
            if isinstance(batch, _Failure):
                raise TrainingError(batch.message)
            yield batch
    finally:
        # An error keeps this frame alive. Without this the workers would end when it is forgotten, and torch would wait
        # for each of them for five seconds.
        del batches


def _batch_items(sampler: Sampler, epochs: range, first_batch: int, rank: int, processes: int) -> Iterator[list[Item]]:
    """The items of each batch, made when they are asked for: a whole epoch of them is large."""
    for epoch in epochs:
        plan = sampler.plan(epoch)  # (batches, batch)
        share = shard(plan, rank, processes)
        # An item's place is that in the total batch, so that the number of processes changes no crop.
        places = shard(np.arange(plan.size, dtype=np.int64).reshape(plan.shape), rank, processes)
        for row in range(first_batch if epoch == epochs.start else 0, len(plan)):
            yield [
                (index, epoch, place) for index, place in zip(share[row].tolist(), places[row].tolist(), strict=True)
            ]


@dataclass(frozen=True)
class _Failure:
    """What went wrong in a worker. Raised there, it would arrive as a traceback instead of a sentence."""

    message: str


class _BatchReader(Dataset["Batch | _Failure"]):
    """A source as the loader wants it: the index of a batch is the list of its items."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __getitem__(self, items: list[Item]) -> Batch | _Failure:
        try:
            return self.source.read_batch(items)
        except TrainingError as error:
            return _Failure(str(error))


def _as_it_is(batch: Any) -> Any:
    return batch
