"""Jobs of who speaks when: a bounded number, beside the event loop, with progress, and results that go of themselves.

A long recording takes minutes, so whoever sends one is told where to ask for the result. The recording is decoded by
processes of its own, under limits of their own, and heard in a thread on one core. All of it lies in memory alone: an
upload until it is decoded, the samples until they are heard, and a result until it was had, or for a while. A job that
is given up ends between two batches of windows. What is under way when the service stops is lost.
"""

import asyncio
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from sound_groove.audio.reading import HeldRecording
from sound_groove.client.records import State
from sound_groove.diarization.answer import Diarization
from sound_groove.diarization.clustering import SpeakerCount
from sound_groove.diarization.hearing import hear_windows
from sound_groove.diarization.segmentation import Segmentation
from sound_groove.diarization.who import answer_of
from sound_groove.errors import CheckpointError, OtherModelError, RequestError, StoreError
from sound_groove.scoring.decision import DecisionRule
from sound_groove.service.embedding import Embedder
from sound_groove.service.limits import Limits
from sound_groove.service.workers import DecodeWorkers, unusable
from sound_groove.types import Recording
from sound_groove.voiceprints.gallery import Gallery

OUTCOMES = ("done", "failed", "cancelled")
RETRY_S = 10
NAME = "audio"  # what warnings call the recording: the field


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a recording.

    Attributes:
        channel: which one to listen to, counted from 1; None averages all.
        speakers: how many people may speak.
        prior: probability that a speaker is enrolled, before listening.
        rule: how sure a name must be.
    """

    channel: int | None
    speakers: SpeakerCount
    prior: float
    rule: DecisionRule


@dataclass(slots=True, eq=False)
class Job:
    """One recording on its way.

    Attributes:
        id: random, by which whoever sent it asks for it.
        owner: hash of the key that sent it.
        state: of it.
        duration_s: of the recording, once it is decoded.
        heard_s: how much of it was heard.
        result: who speaks when, once that is known.
        error: why there is none.
        finished: it is done, or failed.
        given_up: nobody wants it any more.
    """

    owner: str
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "waiting"
    duration_s: float | None = None
    heard_s: float = 0.0
    result: Diarization | None = None
    error: RequestError | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: threading.Event = field(default_factory=threading.Event)
    ended_at: float = 0.0


class GivenUpError(Exception):
    """Nobody wants the result any more."""


class WhoJobs:
    """All jobs. All methods are for the event loop's thread.

    Attributes:
        outcomes: how many were done, failed, or were cancelled.
        audio_s: seconds of audio that were decoded for them.

    Args:
        limits: how many, how long, and how long results are kept.
        embedder: embeds, beside what it does for others.
        gallery: who is enrolled.
        segmentation: tells who speaks at the same time; None tells one at a time.
        clock: tells seconds.
    """

    def __init__(
        self,
        limits: Limits,
        embedder: Embedder,
        gallery: Gallery,
        segmentation: Segmentation | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.audio_s = 0.0
        self._limits, self._embedder, self._gallery = limits, embedder, gallery
        self._segmentation, self._clock = segmentation, clock
        self._workers = DecodeWorkers(limits.of_who, kept_warm=False)
        self._threads = ThreadPoolExecutor(limits.who_jobs, thread_name_prefix="who")
        self._places = asyncio.Semaphore(limits.who_jobs)
        self._jobs: dict[str, Job] = {}  # in the order in which they came
        self._tasks: set[asyncio.Task[None]] = set()
        self._coming = 0

    def count(self, *states: State) -> int:
        """How many are in one of these states."""
        return sum(job.state in states for job in self._jobs.values())

    async def start(self) -> None:
        """Let jobs be worked on; the processes that decode start with the first."""
        await self._workers.start()

    async def stop(self) -> None:
        """Give up what is under way."""
        for job in self._jobs.values():
            job.given_up.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._workers.stop()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        self._jobs.clear()

    @contextmanager
    def entered(self) -> Iterator["_Coming"]:
        """A place for an upload that is on its way in; its bytes are bounded by the number of places.

        Raises:
            RequestError: 429: there is none.
        """
        most = self._limits.who_jobs + self._limits.who_waiting
        if self._coming + self.count("waiting", "working") >= most:
            raise RequestError(
                429, "too_many_jobs", f"{most} recordings are on their way already; try again", (), RETRY_S
            )
        self._coming += 1
        coming = _Coming(self)
        try:
            yield coming
        finally:
            coming.release()

    def left(self) -> None:
        """An upload is a job now, or went away."""
        self._coming -= 1

    def submit(
        self,
        coming: "_Coming",
        owner: str,
        content: bytes | bytearray,
        question: Question,
        charge: Callable[[float], None],
        failed: Callable[[BaseException], None],
    ) -> Job:
        """A new job in the place of an upload.

        Args:
            coming: the place.
            owner: hash of the key that sent it.
            content: of an audio file.
            question: what is asked.
            charge: is told how many seconds of audio were decoded.
            failed: is told of what nobody expected.
        """
        coming.release()
        job = Job(owner)
        self._forget_old()
        self._jobs[job.id] = job
        task = asyncio.get_running_loop().create_task(self._work(job, content, question, charge, failed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def find(self, number: str, owner: str) -> Job:
        """A job of one's own.

        Raises:
            RequestError: 404: there is none, or no longer.
        """
        self._forget_old()
        job = self._jobs.get(number)
        if job is None or job.owner != owner:
            raise RequestError(404, "unknown_job", "there is no such job, or not any more; send the recording again")
        return job

    def drop(self, job: Job) -> None:
        """Forget a job, and end its work where that goes on."""
        if not job.finished.is_set():
            self.outcomes["cancelled"] += 1
        job.given_up.set()
        self._jobs.pop(job.id, None)

    async def _work(
        self,
        job: Job,
        content: bytes | bytearray,
        question: Question,
        charge: Callable[[float], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Decode and hear a recording, and leave what comes of it in its job."""
        try:
            async with self._places:
                if job.given_up.is_set():
                    return
                job.state = "working"
                decoded = await self._workers.decode(content, NAME, question.channel)
                del content  # what was decoded may lie in memory for minutes
                job.duration_s = decoded.duration_s
                self.audio_s += decoded.duration_s
                charge(decoded.duration_s)
                work = asyncio.get_running_loop().run_in_executor(self._threads, self._answer, job, decoded, question)
                del decoded
                job.result = await work
        except GivenUpError:
            return
        except RequestError as error:
            job.error = error
        except CheckpointError:
            job.error = unusable(NAME, "the model gives no embedding of it; record it again", "no_embedding")
        except OtherModelError as error:
            job.error = RequestError(409, "other_model", str(error))
        except StoreError as error:
            failed(error)
            message = "the store of voiceprints cannot be used at the moment; the service's log says more"
            job.error = RequestError(503, "store_unavailable", message)
        except Exception as error:
            failed(error)
            job.error = RequestError(500, "internal", "this is a bug in Sound-Groove; the service's log says more")
        if job.given_up.is_set():
            return
        job.state = "failed" if job.error else "done"
        self.outcomes[job.state] += 1
        job.ended_at = self._clock()
        job.finished.set()
        asyncio.get_running_loop().call_later(self._limits.who_kept_s + 1, self._forget_old)

    def _answer(self, job: Job, decoded: Recording, question: Question) -> Diarization:
        """Who speaks when; in a thread."""
        recording, encoder = HeldRecording(decoded), self._embedder.encoder

        passes = 1 if self._segmentation is None else 2  # over the recording

        def heard(seconds: float) -> None:
            job.heard_s += seconds / passes
            if job.given_up.is_set():
                raise GivenUpError

        heard(0.0)
        windows = hear_windows(recording, encoder, heard)
        local = None if self._segmentation is None else self._segmentation.hear(recording, heard)
        gallery = self._gallery if self._gallery.count() else None
        return answer_of(
            recording,
            NAME,
            windows,
            encoder,
            gallery,
            speakers=question.speakers,
            prior=question.prior,
            rule=question.rule,
            local=local,
        )

    def _forget_old(self) -> None:
        """Let go of results that are too old or too many."""
        ended = [job for job in self._jobs.values() if job.finished.is_set()]
        excess = len(ended) - self._limits.who_kept
        for place, job in enumerate(sorted(ended, key=lambda one: one.ended_at)):
            if place < excess or self._clock() - job.ended_at > self._limits.who_kept_s:
                self._jobs.pop(job.id, None)


class _Coming:
    """The place of an upload that is on its way in."""

    def __init__(self, jobs: WhoJobs) -> None:
        self._jobs: WhoJobs | None = jobs

    def add(self, count: int) -> None:
        """More of it came: what one may have, the limit of an upload says."""

    def release(self) -> None:
        """Give the place back, once."""
        if self._jobs is not None:
            self._jobs.left()
            self._jobs = None
