"""The step of preparation that packs utterances into shards: what goes where, and what is done already.

A shard is one job of a worker and one line of the journal. Which utterances it takes depends on the order and the
lengths of them all, so neither the number of workers nor an interruption changes a byte.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sound_groove.corpora.file_work import FileJob, check_file, crashed
from sound_groove.corpora.journal import Journal
from sound_groove.corpora.output_folder import OutputFolder
from sound_groove.corpora.shards import (
    SAMPLE_BYTES,
    Part,
    ShardJob,
    ShardOutcome,
    shard_crashed,
    size_of,
    write_shard,
)
from sound_groove.corpora.worker_pool import spread
from sound_groove.progress import ProgressBar

# 256 MiB, 2.3 h of speech: seconds of work, so that little is done twice after an interruption, and no more files than
# a process may keep open.
SHARD_SAMPLES = 1 << 27
RECORD = "packed"  # the journal's word for a shard that is done


class Packable(NamedTuple):
    """An utterance to be packed, and what tells it from one whose files have changed."""

    paths: tuple[str, ...]
    signature: str


class Packer:
    """Packs some utterances.

    Attributes:
        shards: which utterances go into each shard.
    """

    def __init__(
        self, lengths: Sequence[int], describe: Callable[[int], Packable], folder: OutputFolder, workers: int
    ) -> None:
        """Plan the shards.

        Args:
            lengths: samples of each utterance at 16 kHz, in the order of the manifest.
            describe: gives the utterance of an index; there may be 640,000 of them.
            folder: where the shards go.
            workers: number of processes.
        """
        self.shards = cut_into_shards(lengths, SHARD_SAMPLES)
        self._lengths = lengths
        self._describe = describe
        self._folder = folder
        self._workers = workers
        self._paths: dict[int, str] = {}  # of the shards

    def run(self, journal: Journal, done: dict[int, list[Any]]) -> dict[int, str]:
        """Write the shards that are not there yet.

        Args:
            journal: where each shard that is done gets a line.
            done: what the journal said already: shard to its signature, its name and what was left out.

        Returns:
            Why some utterances are in no shard, by index.
        """
        left_out: dict[int, str] = {}
        waiting = []
        for number, members in enumerate(self.shards):
            signature, name, places = done.get(number, ("", "", []))
            is_same = signature == self._signature(members)
            known = {members[place]: reason for place, reason in places} if is_same else {}
            if is_same and size_of(self._path(name)) == self._bytes(members, known):
                left_out |= known
                self._paths[number] = self._path(name)
            else:
                waiting.append(number)
        for job, outcome in self._write(waiting):
            members = self.shards[job.number]
            left_out |= {members[place]: reason for place, reason in outcome.left_out}
            self._paths[job.number] = self._path(outcome.name)
            if not outcome.passing:
                journal.append([RECORD, job.number, self._signature(members), outcome.name, outcome.left_out])
                journal.flush()
        return left_out

    def places(self, left_out: dict[int, str]) -> Iterator[tuple[int, str, int]]:
        """Index, shard and offset (in samples) of each utterance that is packed, in order."""
        for number, members in enumerate(self.shards):
            offset = 0
            for index in members:
                if index not in left_out:
                    yield index, self._paths[number], offset
                    offset += self._lengths[index]

    def _write(self, waiting: list[int]) -> Iterator[tuple[ShardJob, ShardOutcome]]:
        if not waiting:
            return
        total = len(self._lengths)
        rest = sum(len(self.shards[number]) for number in waiting)
        jobs = (self._job(number) for number in waiting)
        workers = min(self._workers, len(waiting))
        with ProgressBar(total=total, initial=total - rest, desc="packing", unit="utterance", disable=None) as bar:
            for job, outcome in spread(write_shard, jobs, workers, shard_crashed, batch=1):
                yield job, _without_killers(job) if outcome.crashed else outcome
                bar.update(len(job.parts))

    def _job(self, number: int) -> ShardJob:
        parts = tuple(Part(self._describe(index).paths, self._lengths[index]) for index in self.shards[number])
        return ShardJob(number, self._folder.pack_path, parts)

    def _path(self, name: str) -> str:
        return f"{self._folder.pack_path}/{name}"

    def _bytes(self, members: range, left_out: dict[int, str]) -> int:
        return SAMPLE_BYTES * sum(self._lengths[index] for index in members if index not in left_out)

    def _signature(self, members: range) -> str:
        text = "\n".join(self._describe(index).signature for index in members)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def cut_into_shards(lengths: Sequence[int], most: int) -> list[range]:
    """Neighbours that share a shard, of at most so many samples; what is longer has a shard of its own.

    >>> cut_into_shards([3, 4, 5, 20, 1], most=10)
    [range(0, 2), range(2, 3), range(3, 4), range(4, 5)]
    """
    shards, first, samples = [], 0, 0
    for index, length in enumerate(lengths):
        if index > first and samples + length > most:
            shards.append(range(first, index))
            first, samples = index, 0
        samples += length
    return [*shards, range(first, len(lengths))] if lengths else []


def _without_killers(job: ShardJob) -> ShardOutcome:
    """Write a shard without the files that kill the process which decodes them; the next run tries them again."""
    files = [FileJob(place, path, quick=False) for place, part in enumerate(job.parts) for path in part.paths]
    killers = {file.number: outcome for file, outcome in spread(check_file, files, 1, crashed) if outcome.passing}
    job = job._replace(excluded=tuple((place, outcome.reason) for place, outcome in sorted(killers.items())))
    ((_, outcome),) = spread(write_shard, [job], 1, shard_crashed, batch=1)
    if outcome.crashed:  # there is nothing to be blamed but all of them
        reason = "lies in a shard that kills the process which writes it"
        outcome = ShardOutcome("", tuple((place, reason) for place in range(len(job.parts))))
    return outcome._replace(passing=True)
