"""The engine: what the routes call, without a word of HTTP but for the status of a refusal."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from sound_groove.archive.finding import Finding, Stretch, find
from sound_groove.archive.recordings import Archive
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording
from sound_groove.audio.pauses import kept_spans
from sound_groove.audio.pieces import Span
from sound_groove.client.records import Embedded, Inspected, Readiness
from sound_groove.comparison import Comparison, Judge
from sound_groove.diarization.segmentation import Segmentation
from sound_groove.errors import (
    AudioError,
    DamagedVoiceprintError,
    EnrolmentError,
    OtherModelError,
    RequestError,
    SoundGrooveError,
    StaleVoiceprintError,
    UnknownSpeakerError,
    UsageError,
    printable,
)
from sound_groove.monitoring import Monitor
from sound_groove.service.admission import Admission
from sound_groove.service.embedding import Embedder
from sound_groove.service.limits import Limits
from sound_groove.service.rations import METER
from sound_groove.service.uploads import malformed
from sound_groove.service.who_jobs import WhoJobs
from sound_groove.service.workers import DecodeWorkers, unusable
from sound_groove.voiceprints.enrolment import Enrolment, enroll
from sound_groove.voiceprints.gallery import open_gallery
from sound_groove.voiceprints.identification import Identification, identify
from sound_groove.voiceprints.sought import SoughtVoice, enrolled_voice, recorded_voice
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.records import Erasure, Voiceprint
from sound_groove.voiceprints.verification import verify_speaker

STORE_THREADS = 4
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording that came: its bytes, what warnings call it, and the channel to listen to (None: all)."""

    content: bytes | bytearray
    name: str
    channel: int | None = None


class Engine:
    """All that a running service has.

    Attributes:
        store: where voiceprints are kept.
        embedder: makes embeddings.
        limits: of everything.
        gallery: who of the enrolled can be identified.
        admission: counts what is inside.
        workers: decode.
        who: the jobs of who speaks when.
        failure: why it could not be started.
        left_out: voiceprints that could not be used when it was last looked.
        archives: where voices can be found.
        monitor: counts what is heard and compared, without sound and embeddings.

    Args:
        store: is closed with the engine.
        embedder: the same.
        limits: of everything.
        archives: of the embedder's model.
        segmentation: tells who speaks at the same time; None tells one at a time.
    """

    def __init__(
        self,
        store: VoiceprintStore,
        embedder: Embedder,
        limits: Limits,
        archives: Sequence[Archive] = (),
        segmentation: Segmentation | None = None,
    ) -> None:
        self.store = store
        self.embedder = embedder
        self.limits = limits
        self.archives = tuple(archives)
        self.admission = Admission(limits)
        self.workers = DecodeWorkers(limits)
        self.failure: SoundGrooveError | None = None
        self.left_out = 0
        self.monitor = Monitor(embedder.encoder.score_map)
        self.gallery = open_gallery(store, embedder.encoder.identity, embedder.encoder.embedding_size)
        self.who = WhoJobs(limits, embedder, self.gallery, segmentation)
        self._store_threads = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="store")
        # One, so that searches of a large archive leave the other cores to the others.
        self._searching_thread = ThreadPoolExecutor(1, thread_name_prefix="archive")
        # Apart, since a change may wait a minute for another process that is writing.
        self._changing_threads = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="changes")

    async def start(self) -> None:
        """Start the workers, and take in who is enrolled.

        Raises:
            ServiceError: the workers cannot be started.
            StoreError: the store cannot be read.
        """
        try:
            await self.workers.start()
            await self.who.start()
            self.left_out = len(await self.in_store(self.gallery.left_out))
        except SoundGrooveError as error:
            self.failure = error
            raise

    async def stop(self) -> None:
        """End the workers, let the store finish what it is writing, and close it."""
        self.admission.stopping = True
        await self.who.stop()
        await self.workers.stop()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.embedder.close()
        for threads in (self._changing_threads, self._searching_thread, self._store_threads):
            threads.shutdown(wait=True)
        self.store.close()

    async def check_ready(self) -> Readiness:
        """Make sure that recordings can be decoded and the store be read, and say what is wrong with the store.

        Raises:
            RequestError: 503: no worker runs.
            StoreError: the store cannot be read.
        """
        if not self.workers.pids:
            raise RequestError(503, "decoder_unavailable", "audio cannot be decoded at the moment; try again")
        self.left_out = len(await self.in_store(self.gallery.left_out))
        is_whole = await self.in_store(self.gallery.is_whole)
        return Readiness("degraded" if self.left_out or not is_whole else "ok", self.left_out, is_whole)

    async def in_store(self, work: Callable[[], Result]) -> Result:
        """What some reading of the store gives, done beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._store_threads, work)

    async def _changing(self, work: Callable[[], Result]) -> Result:
        """What some change of the store gives, done beside the event loop and what is read."""
        return await asyncio.get_running_loop().run_in_executor(self._changing_threads, work)

    async def hear(
        self, clips: Sequence[Clip], keep_samples: bool = False, seek_voices: bool = False
    ) -> list[HeardRecording]:
        """Decode, judge and embed recordings; all problems are told together.

        Args:
            clips: that came.
            keep_samples: leave the samples in the records.
            seek_voices: look for more than one voice in each.

        Raises:
            RequestError: 422: one cannot be used, or they are too long; 503: they cannot be decoded at the moment.
        """
        heard = await self._heard(clips, lambda one: self.embedder.embed(one, keep_samples, seek_voices))
        for one in heard:
            self.monitor.hear(one)
        return heard

    async def _heard(
        self, clips: Sequence[Clip], embed: Callable[[HeardRecording], Awaitable[HeardRecording]] | None = None
    ) -> list[HeardRecording]:
        """Recordings decoded and judged, and embedded where it is said how; errors are those of `hear`."""
        most, total_s, meter = self.limits.request_s, 0.0, METER.get()
        places = asyncio.Semaphore(self.limits.workers)  # when it is too much, the rest is not decoded

        def check_total(clip: Clip) -> None:
            if total_s > most:
                reason = f"all recordings together may last {most:g} s, and they last longer"
                raise unusable(clip.name, reason, "too_long_together", {"most_s": most})

        async def hear(clip: Clip) -> HeardRecording:
            nonlocal total_s
            async with places:
                check_total(clip)
                heard = await self.workers.hear(clip.content, clip.name, clip.channel)
                total_s += heard.facts.duration_s
                if meter is not None:
                    meter.audio_s += heard.facts.duration_s
            check_total(clip)
            return heard if embed is None else await embed(heard)

        results = await asyncio.gather(*map(hear, clips), return_exceptions=True)
        problems = [result for result in results if isinstance(result, BaseException)]
        for problem in problems:
            if not (isinstance(problem, RequestError) and problem.status == 422):
                raise problem
        if problems:
            sentences = [str(problem) for problem in problems]
            refusals = [one for problem in problems if isinstance(problem, RequestError) for one in problem.refusals]
            raise RequestError(422, "unusable_recording", "; ".join(sentences), sentences, refusals=refusals)
        return [result for result in results if isinstance(result, HeardRecording)]

    async def inspect(self, clip: Clip) -> tuple[Inspected, list[HeardRecording]]:
        """What a recording is, and where in it somebody speaks; it is not embedded."""
        (heard,) = await self._heard([clip])
        total = len(heard.samples)
        found = Inspected(
            heard.facts, heard.warnings, _in_seconds(heard.speech), _in_seconds(kept_spans(heard.speech, total))
        )
        return found, [heard]

    async def compare(self, first: Clip, second: Clip, judge: Judge) -> tuple[Comparison, list[HeardRecording]]:
        """Compare two recordings, and what was heard."""
        one, other = await self.hear((first, second), seek_voices=True)
        comparison = judge.compare(one, other)
        self.monitor.judge(comparison.llr)
        return comparison, [one, other]

    async def verify(self, name: str, clip: Clip, judge: Judge) -> tuple[Comparison, list[HeardRecording]]:
        """Compare a speaker with a recording, and what was heard.

        Raises:
            RequestError: 404: nobody has this name; 409: another model enrolled the speaker.
        """
        await self.voiceprint(name)  # nothing is decoded for a name that nobody has
        (heard,) = await self.hear([clip])
        encoder = self.embedder.encoder
        with refusals_of(name):
            comparison = await self.in_store(
                lambda: verify_speaker(self.store, name, heard, encoder, prior=judge.prior, rule=judge.rule)
            )
        self.monitor.judge(comparison.llr)
        return comparison, [heard]

    async def identify(self, clip: Clip, top: int, judge: Judge) -> tuple[Identification, list[HeardRecording]]:
        """Who of those enrolled is in a recording, and what was heard.

        Raises:
            RequestError: 409: the service's model is not the one that it says it is.
        """
        (heard,) = await self.hear([clip])
        encoder = self.embedder.encoder
        try:
            found = await self.in_store(
                lambda: identify(self.gallery, heard, encoder, top=top, prior=judge.prior, rule=judge.rule)
            )
        except OtherModelError as error:  # the store has learned since the start what the model should be
            raise RequestError(409, "other_model", str(error)) from None
        return found, [heard]

    async def find_speaker(self, name: str, per_hour: float, top: int) -> Finding:
        """Where in the archives a speaker speaks who is enrolled.

        Raises:
            RequestError: 404: nobody has this name; 409: another model enrolled the speaker.
        """
        return await self._find(await self.sought(name), per_hour, top)

    async def sought(self, name: str) -> SoughtVoice:
        """A speaker who is enrolled, to be looked or listened for.

        Raises:
            RequestError: 404: nobody has this name; 409: another model enrolled the speaker.
        """
        await self.voiceprint(name)  # told as everywhere where there is none
        with refusals_of(name):
            return await self.in_store(lambda: enrolled_voice(self.store, name, self.embedder.encoder))

    async def find_voice(
        self, clips: Sequence[Clip], per_hour: float, top: int
    ) -> tuple[Finding, list[HeardRecording]]:
        """Where in the archives the person of some recordings speaks, and what was heard of these.

        Raises:
            RequestError: 422: one cannot be used.
        """
        heard = await self.hear(clips)
        try:
            sought = recorded_voice(heard, self.embedder.encoder)
        except AudioError as error:
            raise unusable(error.called, error.reason, error.code, error.values) from None
        return await self._find(sought, per_hour, top), heard

    async def _find(self, sought: SoughtVoice, per_hour: float, top: int) -> Finding:
        """The answer, with the recordings' places in the archives only."""

        def search() -> Finding:
            found = find(self.archives, sought, self.embedder.encoder, per_hour=per_hour, top=top)
            return replace(found, stretches=tuple(map(self._placed, found.stretches)))

        return await asyncio.get_running_loop().run_in_executor(self._searching_thread, search)

    def _placed(self, stretch: Stretch) -> Stretch:
        """A stretch whose recording is named as below the archive's folder: where that lies is nobody's business."""
        for archive in self.archives:
            folder = f"{archive.facts.folder}{os.sep}"
            if stretch.recording.startswith(folder):
                return replace(stretch, recording=printable(stretch.recording.removeprefix(folder)))
        return stretch

    async def voiceprint(self, name: str) -> Voiceprint:
        """All that is kept of a speaker.

        Raises:
            RequestError: 404: nobody has this name; 409: what is kept of the speaker cannot be used.
        """
        try:
            return await self.in_store(lambda: self.store.voiceprint(name))
        except UnknownSpeakerError:
            raise unknown_speaker(name) from None
        except DamagedVoiceprintError as error:
            raise damaged_voiceprint(error) from None

    async def enrol(
        self, name: str, clips: Sequence[Clip], force: bool, keep_audio: bool, voice: int | None, actor: str
    ) -> tuple[Enrolment, list[HeardRecording]]:
        """Enrol a speaker or add recordings, and what was heard; arguments as of `voiceprints.enrolment.enroll`.

        Raises:
            RequestError: 409: another model, or others change the speaker all the time; 422: recordings were refused.
        """
        heard = await self.hear(clips, keep_audio or voice is not None, seek_voices=True)
        encoder = self.embedder.encoder

        def add() -> Enrolment:
            return enroll(
                self.store, name, heard, encoder, force=force, keep_audio=keep_audio, actor=actor, voice=voice
            )

        try:
            return await self._changing(add), heard
        except EnrolmentError as error:
            # The library tells how the command line does it.
            refusals = [replace(one, reason=_as_fields(one.reason)) for one in error.refusals]
            problems = [str(one) for one in refusals]
            message = f"nothing was enrolled: {'; '.join(problems)}"
            raise RequestError(422, "refused_enrolment", message, problems, refusals=refusals) from None
        except OtherModelError as error:
            raise RequestError(409, "other_model", str(error)) from None
        except StaleVoiceprintError as error:
            raise RequestError(409, "conflict", str(error)) from None
        except DamagedVoiceprintError as error:
            raise damaged_voiceprint(error) from None

    async def remove(self, name: str, actor: str) -> Erasure:
        """Erase a speaker.

        Raises:
            RequestError: 404: nobody has this name.
        """
        try:
            return await self._changing(lambda: self.store.remove(name, actor))
        except UnknownSpeakerError:
            raise unknown_speaker(name) from None

    async def embed(self, clip: Clip) -> tuple[Embedded, list[HeardRecording]]:
        """The embedding of a recording, and what was heard."""
        (heard,) = await self.hear([clip])
        values = [float(value) for value in heard.embedding]
        return Embedded(values, self.embedder.encoder.identity, heard.facts, heard.warnings), [heard]


def _in_seconds(spans: Sequence[Span]) -> tuple[tuple[float, float], ...]:
    """Stretches in seconds.

    >>> _in_seconds([(8000, 16000)])
    ((0.5, 1.0),)
    """
    return tuple((round(start / SAMPLE_RATE, 3), round(end / SAMPLE_RATE, 3)) for start, end in spans)


def _as_fields(problem: str) -> str:
    """A problem whose options are named as the fields of a form."""
    for option, field in (("--force", "force=true"), ("--voice N", "voice=N"), ("--voice", "'voice'")):
        problem = problem.replace(option, field)
    return problem


def unknown_speaker(name: str) -> RequestError:
    """The refusal (404) of a name that nobody has."""
    return RequestError(
        404, "unknown_speaker", f"nobody is enrolled as '{printable(name)}'; GET /v1/speakers lists who is"
    )


@contextmanager
def refusals_of(name: str) -> Iterator[None]:
    """Turn what forbids the use of a speaker's voiceprint into the answer (RequestError) that says so."""
    try:
        yield
    except OtherModelError as error:
        raise RequestError(409, "other_model", str(error)) from None
    except DamagedVoiceprintError as error:
        raise damaged_voiceprint(error) from None
    except UnknownSpeakerError:  # removed since
        raise unknown_speaker(name) from None


def damaged_voiceprint(error: DamagedVoiceprintError) -> RequestError:
    """The refusal (409) of a speaker whose rows in the store are damaged or forged; without where the store is."""
    _, _, reason = str(error).partition(": ")
    reason = reason.partition("; remove it")[0]
    return RequestError(
        409, "damaged_voiceprint", f"{reason}; remove the speaker (DELETE /v1/speakers/NAME), and enrol again"
    )


def checked(work: Callable[[], Result]) -> Result:
    """What some check of the library gives, its complaint as a refusal (400)."""
    try:
        return work()
    except UsageError as error:
        raise malformed(str(error)) from None
