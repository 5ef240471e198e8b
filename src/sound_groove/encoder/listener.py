"""The listener: recordings in, what was heard of them out, singly or in bulk.

    recording -> decoded and judged (`audio.listening.hear`, or another decoder) -> voice -> embedding

All that a recording goes through on its way to a verdict is in one record, `audio.listening.HeardRecording`, and all of
them are made here: for `compare`, enrolment, verification and identification, for `embed` in bulk, for trials and
calibrations, and for the service, whose recordings other processes decode.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np

from sound_groove.audio.given import AnyRecording
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording, called, facts_of, hear, judge, warnings_of
from sound_groove.audio.pauses import without_pauses
from sound_groove.audio.pieces import Span
from sound_groove.audio.quality import Quality, assess, joint_quality
from sound_groove.audio.reading import OpenRecording, open_recording
from sound_groove.audio.voices import Voice, is_long, long_voice
from sound_groove.errors import AudioError, OtherModelError
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, Samples, VoiceEmbeddings

NORM_DIGITS = 4  # after the point: what another number of threads changes is rounded away
READ_AHEAD = 4  # recordings that each reading thread may be ahead

Given = TypeVar("Given")
Found = TypeVar("Found")
Seek = Callable[[HeardRecording], HeardRecording]


class Encoder(Protocol):
    """What a listener needs of a model; `sound_groove.encoder.encoder.SpeakerEncoder` is one."""

    identity: ModelIdentity

    def embed_voices(self, voices: Sequence[Voice], crops: CropAveraging | None = None) -> VoiceEmbeddings:
        """The embeddings of speech without long pauses, (samples,) each, or of long recordings."""
        ...


class Listener:
    """Hears recordings: decodes them, judges how far they can be trusted, and embeds their speech.

    Args:
        encoder: embeds.
        crops: average evenly spaced crops; None embeds whole recordings.
        seek: is given each recording that `hear` embeds, with its samples, and gives it back with what it found, such
            as a second voice (`encoder.several_voices.with_voices`); None looks for nothing.

    Example:
        listener = Listener(SpeakerEncoder.load("pretrained"))
        mine = listener.hear("mine.wav")
        verdicts = [compare(mine, other, listener.encoder).verdict for other in others]
    """

    def __init__(self, encoder: Encoder, crops: CropAveraging | None = None, seek: Seek | None = None) -> None:
        self.encoder = encoder
        self.crops = crops
        self._seek = seek

    def hear(
        self,
        recording: AnyRecording | HeardRecording,
        name: str = "the recording",
        channel: int | None = None,
        *,
        keep_samples: bool = False,
    ) -> HeardRecording:
        """Hear one recording; its embedding does not depend on any other.

        Args:
            recording: as `audio.reading.load_audio` takes it; or what was heard of one, which is embedded if it is not
                yet.
            name: what warnings call what has no path.
            channel: which one to listen to, counted from 1; None averages all.
            keep_samples: leave the samples in the record.

        Raises:
            AudioError: it cannot be used.
            CheckpointError: the model gives no embedding of it.
            OtherModelError: it was embedded by another model.
        """
        heard = recording if isinstance(recording, HeardRecording) else hear(recording, name, channel)
        return self._embedded([heard], keep_samples)[0]

    def hear_in_parts(
        self, recording: AnyRecording, name: str = "the recording", channel: int | None = None
    ) -> HeardRecording:
        """Hear a recording of any length in bounded memory: one of more than ten minutes is read and judged in parts.

        Arguments and errors are those of `hear`; the samples are not kept.
        """
        try:
            with open_recording(recording, channel, compared=True) as opened:
                name = called(recording, opened.path, name)
                if is_long(opened):
                    return self._long(opened, name)
                decoded = opened.whole()
        except AudioError as error:
            raise error.named(name) from error.__cause__
        return self.hear(judge(decoded, name))

    def hear_all(
        self,
        recordings: Iterable[Given],
        listen: Callable[[Given], HeardRecording],
        threads: int = 1,
        window_s: float = 0.0,
        go_on: bool = True,
        embeds: bool = True,
    ) -> Generator[HeardRecording | AudioError, None, None]:
        """Hear many recordings, in bounded memory.

        Args:
            recordings: whatever `listen` takes; they are asked for one at a time.
            listen: hears one, in one of the threads: decodes and judges it (`audio.listening.hear`), or embeds it too
                (`hear_in_parts`).
            threads: that listen.
            window_s: audio that is given to the encoder at a time where `listen` does not embed, from which it makes
                batches of similar length.
            go_on: embed recordings also after one that cannot be used.
            embeds: embed them at all; else they are decoded and judged, which finds those that cannot be used.

        Yields:
            What was heard of each, without its samples, or why it cannot be used, in the order of the recordings. What
            comes after a failure that ended the embedding has no embedding.
        """
        waiting: list[HeardRecording | AudioError] = []
        held = 0
        with closing(in_order(recordings, listen, threads)) as outcomes:
            for outcome in outcomes:
                embeds = embeds and (go_on or not isinstance(outcome, AudioError))
                waiting.append(outcome)
                held += 0 if isinstance(outcome, AudioError) else len(outcome.samples)
                if held == 0 or held >= window_s * SAMPLE_RATE:
                    yield from self._window(waiting, embeds)
                    waiting, held = [], 0
        yield from self._window(waiting, embeds)

    def _window(
        self, waiting: list[HeardRecording | AudioError], embeds: bool
    ) -> Iterator[HeardRecording | AudioError]:
        """Recordings that waited, embedded together."""
        heard = [one for one in waiting if isinstance(one, HeardRecording)]
        done = iter(self._embedded(heard) if embeds else [_without_samples(one) for one in heard])
        for one in waiting:
            yield one if isinstance(one, AudioError) else next(done)

    def _embedded(self, heard: list[HeardRecording], keep_samples: bool = False) -> list[HeardRecording]:
        """Recordings with their embeddings, made in one go of those that have none yet."""
        identity = self.encoder.identity
        for one in heard:
            if one.model is not None and one.model.hash != identity.hash:
                raise OtherModelError(
                    f"{one.name}: was embedded by model {one.model.label}, and this is {identity.label}; hear it again"
                )
        new = [one for one in heard if one.model is None]
        voices: list[Voice] = [without_pauses(one.samples, one.speech) for one in new]
        found = _told(self.encoder.embed_voices(voices, self.crops)) if new else iter(())
        done = [one if one.model else self._sought(_with_embedding(one, *next(found), identity)) for one in heard]
        return done if keep_samples else list(map(_without_samples, done))

    def _sought(self, heard: HeardRecording) -> HeardRecording:
        return heard if self._seek is None else self._seek(heard)

    def _long(self, recording: OpenRecording, name: str) -> HeardRecording:
        """A recording that is read part by part, twice: to be judged, and to be embedded."""
        parts: list[Quality] = []
        lengths: list[int] = []
        digest = hashlib.sha256()

        def listen(part: Samples) -> tuple[Span, ...]:
            digest.update(part.astype("<f4", copy=False).tobytes())
            lengths.append(len(part))
            parts.append(assess(part, recording.source_sample_rate))
            return parts[-1].speech

        voice = long_voice(recording, listen)
        quality = joint_quality(parts, lengths)
        duration_s = recording.samples / SAMPLE_RATE
        facts = facts_of(duration_s, quality, recording.source_sample_rate)
        found = (*recording.channels.warnings, *recording.warnings, *quality.warnings)
        warnings = warnings_of(name, facts, found)
        heard = HeardRecording(name, facts, warnings, digest.hexdigest(), quality.speech)
        ((embedding, norm),) = _told(self.encoder.embed_voices([voice], self.crops))
        return _with_embedding(heard, embedding, norm, self.encoder.identity)


def _told(embedded: VoiceEmbeddings) -> Iterator[tuple[Embeddings, float | None]]:
    """Each embedding (D,), and its norm where there is one."""
    norms = [None] * len(embedded.unit) if embedded.norms is None else embedded.norms.round(NORM_DIGITS).tolist()
    return zip(embedded.unit, norms, strict=True)


def _with_embedding(
    heard: HeardRecording, embedding: Embeddings, norm: float | None, model: ModelIdentity
) -> HeardRecording:
    return replace(heard, embedding=embedding, model=model, facts=replace(heard.facts, embedding_norm=norm))


def _without_samples(heard: HeardRecording) -> HeardRecording:
    return replace(heard, samples=np.empty(0, np.float32))


def in_order(
    recordings: Iterable[Given], listen: Callable[[Given], Found], threads: int
) -> Generator[Found | AudioError, None, None]:
    """What each recording gives, in order, a bounded number of them heard in advance.

    Args:
        recordings: whatever `listen` takes; they are asked for one at a time.
        listen: hears one, in one of the threads.
        threads: that listen.

    Yields:
        What `listen` gave, or the AudioError that it raised; any other error is raised here.
    """

    def attempt(recording: Given) -> Found | AudioError:
        try:
            return listen(recording)
        except AudioError as error:
            return error

    waiting: deque[Future[Found | AudioError]] = deque()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="listening")
    remaining = iter(recordings)
    try:
        waiting.extend(executor.submit(attempt, item) for item in islice(remaining, threads * READ_AHEAD))
        while waiting:
            outcome = waiting.popleft().result()
            waiting.extend(executor.submit(attempt, item) for item in islice(remaining, 1))
            yield outcome
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
