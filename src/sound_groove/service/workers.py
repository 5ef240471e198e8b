"""The worker processes that decode: kept warm, one recording at a time each, killed when they take too long.

A recording that kills its worker is tried once more by a fresh one, since a worker may also die of something else (the
system short of memory, an operator); when that dies too, it is the recording that is refused.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sound_groove.audio.listening import HeardRecording, heard_of
from sound_groove.audio.quality import Quality
from sound_groove.errors import Refusal, RequestError, ServiceError
from sound_groove.json_reading import parse_json
from sound_groove.service.decoding import FRAME
from sound_groove.service.limits import Limits
from sound_groove.types import ChannelFacts, QualityWarning, Recording, Samples

PROGRAM = "sound_groove.service.decoding"
STARTING_S = 60.0  # a busy machine may take long to import numpy
ENDING_S = 2.0
RETRY_S = 5
WORN_SHARE = 0.5  # of the memory that a worker may take: a long recording leaves some of it behind


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a worker said: the fields, and the samples' bytes."""

    fields: dict[str, Any]
    payload: bytes


class _Worker:
    """One process, which may be down."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: asyncio.subprocess.Process | None = None
        self._served = 0
        self._resident_bytes = 0

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start the process, unless it runs, and wait until it is warm.

        Raises:
            ServiceError: it cannot be started.
        """
        if self.pid is not None:
            return
        await self.end()
        words = {
            "duration_s": self._limits.duration_s,
            "decode_s": self._limits.decode_s,
            "memory_bytes": self._limits.worker_bytes,
            "file_bytes": self._limits.upload_bytes,
        }
        try:
            self._process = await asyncio.create_subprocess_exec(
                # -P: the folder that the service was started in must not offer modules
                *(sys.executable, "-P", "-m", PROGRAM, json.dumps(words)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the service, which lets accepted work finish
            )
            async with asyncio.timeout(STARTING_S):
                await self._read()
        except (OSError, EOFError, TimeoutError) as error:
            await self.end()
            raise ServiceError(
                f"a process that decodes audio cannot be started ({type(error).__name__}); what it says stands above"
            ) from None
        self._served, self._resident_bytes = 0, 0

    async def ask(self, content: bytes | bytearray, channel: int | None, judged: bool) -> _Answer:
        """Have a recording decoded, all of its channels or one, and perhaps judged.

        Raises:
            EOFError: the process died.
            TimeoutError: it took too long, and was killed.
        """
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            async with asyncio.timeout(self._limits.decode_s):
                with suppress(ConnectionError):  # it is dead, as reading shows
                    asked = json.dumps({"channel": channel, "judged": judged}).encode()
                    process.stdin.write(FRAME.pack(len(asked), len(content)) + asked)
                    process.stdin.write(content)
                    await process.stdin.drain()
                answer = await self._read()
        except BaseException:
            await self.end()
            raise
        self._served += 1
        self._resident_bytes = answer.fields["resident_bytes"]
        return answer

    @property
    def is_worn(self) -> bool:
        """It has served long enough, or its memory has grown too much."""
        return (
            self._served >= self._limits.worker_recordings
            or self._resident_bytes > self._limits.worker_bytes * WORN_SHARE
        )

    async def end(self) -> None:
        """Kill the process, if there is one, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDING_S):
                await process.wait()

    async def _read(self) -> _Answer:
        assert self._process is not None and self._process.stdout is not None
        stream = self._process.stdout
        text, length = FRAME.unpack(await stream.readexactly(FRAME.size))
        fields = parse_json(await stream.readexactly(text))
        return _Answer(fields, await stream.readexactly(length))


class DecodeWorkers:
    """Decodes and judges recordings in processes of its own.

    Attributes:
        outcomes: how many recordings were heard, refused, too slow, or crashed their worker.
        restarts: how many processes were started in the place of another.

    Args:
        limits: how many processes, and what a recording may take.
        kept_warm: start the processes with the service; else each when it is first needed.
    """

    def __init__(self, limits: Limits, kept_warm: bool = True) -> None:
        self.outcomes: Counter[str] = Counter()
        self.restarts = 0
        self._limits = limits
        self._kept_warm = kept_warm
        self._workers = [_Worker(limits) for _ in range(limits.workers)]
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
        self._renewals: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    async def start(self) -> None:
        """Start all processes.

        Raises:
            ServiceError: one cannot be started.
        """
        try:
            await asyncio.gather(*(worker.start() for worker in self._workers if self._kept_warm))
        except BaseException:
            await self.stop()
            raise
        for worker in self._workers:
            self._free.put_nowait(worker)

    async def stop(self) -> None:
        """End all processes."""
        for task in list(self._renewals):
            task.cancel()
        await asyncio.gather(*self._renewals, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in self._workers))

    async def hear(self, content: bytes | bytearray, name: str, channel: int | None = None) -> HeardRecording:
        """Decode and judge a recording.

        Args:
            content: of an audio file.
            name: what warnings call it; no worker is told.
            channel: which one to listen to, counted from 1; None averages all.

        Raises:
            RequestError: 422: it cannot be used; 503: no worker can be started.
        """
        answer = await self._answer(content, name, channel, judged=True)
        found = answer.fields["quality"]
        decoded = _decoded(answer)
        warnings = (*decoded.warnings, *(QualityWarning(**warning) for warning in found["warnings"]))
        speech = tuple((start, end) for start, end in found["speech"])
        quality = Quality(found["speech_s"], found["snr_db"], warnings, speech, found["unfamiliarity"])
        return heard_of(replace(decoded, warnings=()), quality, name)

    async def decode(self, content: bytes | bytearray, name: str, channel: int | None = None) -> Recording:
        """Decode a recording, and do not judge it; arguments and errors are those of `hear`."""
        return _decoded(await self._answer(content, name, channel, judged=False))

    async def _answer(self, content: bytes | bytearray, name: str, channel: int | None, judged: bool) -> _Answer:
        """What a worker says of a recording that can be used."""
        for attempt in (1, 2):
            worker = await self._free.get()
            try:
                if worker.pid is None:
                    self.restarts += 1
                    await worker.start()
                answer = await worker.ask(content, channel, judged)
            except EOFError:
                if attempt == 1:
                    continue
                self.outcomes["crashed"] += 1
                raise unusable(name, "makes the decoder crash; convert it again", "damaged") from None
            except TimeoutError:
                self.outcomes["too_slow"] += 1
                most = self._limits.decode_s
                reason = f"takes more than {most:g} s to decode; cut it"
                raise unusable(name, reason, "slow_to_decode", {"most_s": most}) from None
            except ServiceError:
                raise RequestError(
                    503, "decoder_unavailable", "audio cannot be decoded at the moment; try again", (), RETRY_S
                ) from None
            finally:
                self._give_back(worker)
            if "refused" in answer.fields:
                self.outcomes["refused"] += 1
                raise unusable(name, answer.fields["refused"], answer.fields["code"], answer.fields["values"])
            self.outcomes["heard"] += 1
            return answer
        raise AssertionError("the second attempt returns or raises")

    def _give_back(self, worker: _Worker) -> None:
        """Let the next recording have a worker; one that is down or worn is renewed first, while others work."""
        if worker.pid is not None and not worker.is_worn:
            self._free.put_nowait(worker)
            return
        task = asyncio.get_running_loop().create_task(self._renew(worker))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _renew(self, worker: _Worker) -> None:
        try:
            await worker.end()
            self.restarts += 1
            await worker.start()
        except ServiceError:
            pass  # the next recording tries again, and is told
        finally:
            self._free.put_nowait(worker)


def _decoded(answer: _Answer) -> Recording:
    samples: Samples = np.frombuffer(answer.payload, "<f4").astype(np.float32, copy=False)
    channels = answer.fields["channels"]
    facts = ChannelFacts(**{**channels, "differing": channels["differing"] and tuple(channels["differing"])})
    warnings = tuple(QualityWarning(**warning) for warning in answer.fields["warnings"])
    return Recording(None, samples, answer.fields["sample_rate"], facts, warnings)


def unusable(name: str, reason: str, code: str, values: Mapping[str, float] | None = None) -> RequestError:
    """The refusal (422) of a recording."""
    refused = Refusal(name, code, reason, values or {})
    return RequestError(422, "unusable_recording", str(refused), refusals=[refused])
