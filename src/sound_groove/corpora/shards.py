"""Shards: the samples of many utterances in one file, so that a crop costs one small read and no decoding.

A shard is bare samples: 16-bit integers, little-endian, mono, at 16 kHz, whole utterances one after the other. Where
each of them begins stands in the manifest. Samples are those of a 16-bit wav copy, to the bit.

A shard is called after its number and its content, `00000-<16 digits of its SHA-256>.pcm`. So no other samples ever
take the place of those that a manifest speaks of, or that a process has opened.
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sound_groove.corpora.file_work import CHANGED, SIXTEEN_BIT, explain, load_joined, to_sixteen_bit
from sound_groove.corpora.manifest import Utterance
from sound_groove.errors import TrainingError
from sound_groove.files import replaced_bytes
from sound_groove.types import Samples

SAMPLE_BYTES = 2
SAMPLE_TYPE = np.dtype("<i2")
Steps = NDArray[np.int16]
# Files that a process keeps open: half of what Linux grants it. At 256 MiB each they hold 128 GiB of speech, so that
# CN-Celeb's 157 GB are hardly ever opened again.
OPEN_SHARDS = 512


class Part(NamedTuple):
    """An utterance of a shard: its files, joined without a gap, and its length at 16 kHz."""

    paths: tuple[str, ...]
    samples: int


class ShardJob(NamedTuple):
    """A shard to be written; the utterances at the places in `excluded` stay out, for the reason that stands there."""

    number: int
    folder: str
    parts: tuple[Part, ...]
    excluded: tuple[tuple[int, str], ...] = ()


class ShardOutcome(NamedTuple):
    """What became of a shard: its file's name; and which utterances are not in it, by place, and why.

    `passing`: a reason may be that of the machine or the moment, so the shard is worth another try.
    `crashed`: the process that wrote it died, and there is no shard.
    """

    name: str
    left_out: tuple[tuple[int, str], ...]
    passing: bool = False
    crashed: bool = False


class Damage(NamedTuple):
    """A shard that is missing (`there` = 0) or shorter than the manifest implies; sizes in bytes."""

    path: str
    there: int
    expected: int


def read_shard(path: str, start: int, count: int) -> Steps:
    """Samples of a shard.

    The file is read and not mapped: that is as fast, a file that was cut off is an error and not a signal that kills
    the process, and Python would hold an open file for each map anyway.

    Args:
        path: the shard.
        start: first sample, counted from the beginning of the shard.
        count: how many.

    Returns:
        (count,) 16-bit steps.

    Raises:
        TrainingError: the shard cannot be read, or ends before.
    """
    try:
        content = _read_at(_opened(path), start * SAMPLE_BYTES, count * SAMPLE_BYTES)
    except OSError as error:
        raise TrainingError(f"{path}: the packed samples cannot be read: {error.strerror}") from None
    if len(content) < count * SAMPLE_BYTES:
        raise TrainingError(f"{path}: is truncated, it ends before sample {start + count:,}")
    return np.frombuffer(content, SAMPLE_TYPE).astype(np.int16)


def to_float(steps: Steps) -> Samples:
    """Samples in [-1, 1) of 16-bit steps."""
    return steps.astype(np.float32) * np.float32(1 / SIXTEEN_BIT)  # a power of two: as good as a division, to the bit


def damaged_shards(utterances: Iterable[Utterance]) -> tuple[list[Damage], int]:
    """The shards that are not as the manifest says, by their size alone; and how many shards there should be.

    Args:
        utterances: all of a manifest; those that are not packed are passed over.
    """
    expected: dict[str, int] = {}
    for utterance in utterances:
        if utterance.shard_path is not None:
            end = (utterance.shard_offset + sum(utterance.samples)) * SAMPLE_BYTES
            expected[utterance.shard_path] = max(end, expected.get(utterance.shard_path, 0))
    found = [Damage(path, size_of(path), size) for path, size in expected.items()]
    return [damage for damage in found if damage.there < damage.expected], len(expected)


def size_of(path: str) -> int:
    """Bytes of a file; 0 when there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - as everywhere where there may be many
    except OSError:
        return 0


def write_shard(job: ShardJob) -> ShardOutcome:
    """Write a shard, one utterance in memory at a time; those that cannot be decoded are left out whole.

    Raises:
        OSError: it cannot be written (the disk is full, say): that is no fault of the files.
    """
    unnamed = Path(job.folder) / f"{job.number:05d}.pcm"
    unnamed.parent.mkdir(parents=True, exist_ok=True)
    left_out, passing, digest = dict(job.excluded), False, hashlib.sha256()
    with replaced_bytes(unnamed) as file:
        for place, part in enumerate(job.parts):
            if place in left_out:
                continue
            try:
                samples = to_sixteen_bit(load_joined(part.paths))
            except Exception as error:  # decoders are foreign code
                outcome = explain(error)
                left_out[place], passing = outcome.reason, passing or outcome.passing
            else:
                if len(samples) == part.samples:
                    content = samples.astype(SAMPLE_TYPE, copy=False).data
                    digest.update(content)
                    file.write(content)
                else:
                    left_out[place], passing = CHANGED, True
    path = unnamed.with_stem(f"{unnamed.stem}-{digest.hexdigest()[:16]}")
    unnamed.replace(path)
    return ShardOutcome(path.name, tuple(sorted(left_out.items())), passing)


def shard_crashed(job: ShardJob) -> ShardOutcome:
    """The outcome of a shard that killed the process which wrote it."""
    return ShardOutcome("", (), passing=True, crashed=True)


@lru_cache(OPEN_SHARDS)  # a file is closed when it leaves the cache
def _opened(path: str) -> FileIO:
    return FileIO(path)


def _read_at(file: FileIO, position: int, count: int) -> bytes:
    if sys.platform == "win32":  # has no pread, nor forked workers that would move the place of a file they share
        file.seek(position)
        return file.read(count) or b""
    return os.pread(file.fileno(), count, position)
