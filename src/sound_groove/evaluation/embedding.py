"""Embedding many recordings: each once, read by threads, in bounded memory, with what failed set apart."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sound_groove.audio.listening import digest_of
from sound_groove.audio.quality import Quality, assess
from sound_groove.audio.reading import SAMPLE_RATE, read_recording
from sound_groove.errors import AudioError, printable
from sound_groove.evaluation.trials.sources import Recording
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, Samples

WINDOW_S = 600.0  # audio given to the encoder at a time, from which it makes batches of similar length: 38 MB
READ_AHEAD = 4  # recordings that each reading thread may be ahead


class Encoder(Protocol):
    """What evaluation needs of a model; `sound_groove.encoder.encoder.SpeakerEncoder` is one."""

    identity: ModelIdentity
    embedding_size: int
    score_map: ScoreMap | None
    trained_speakers: frozenset[str]

    def embed(self, recordings: Sequence[Samples], crops: CropAveraging | None = None) -> Embeddings:
        """(N, D) unit-length embeddings of recordings at 16 kHz."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddedRecordings:
    """The outcome for a sequence of recordings.

    Attributes:
        embeddings: (N, D); rows of recordings that failed are zero, and so are all after a failure that ended the work.
        problems: why recordings failed, by index.
        samples: (N,) length of each recording at 16 kHz; 0 for those that failed.
        speech_s: (N,) seconds of speech; 0 for those that failed, and where nothing was judged.
        snr_db: (N,) how far the speech lies above the noise; 0 likewise.
        digests: (N,) of the samples; empty for those that failed.
        mixed: (N,) channels of different sound were averaged.
    """

    embeddings: Embeddings
    problems: dict[int, AudioError]
    samples: NDArray[np.int64]
    speech_s: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    digests: tuple[str, ...]
    mixed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What was read of a recording, and how good it is if that was asked."""

    samples: Samples
    quality: Quality | None
    digest: str
    mixed: bool


def embed_recordings(
    encoder: Encoder,
    recordings: Sequence[Recording],
    crops: CropAveraging | None = None,
    threads: int = 1,
    allow_failures: bool = False,
    reading_only: bool = False,
    judged: bool = False,
) -> EmbeddedRecordings:
    """Read and embed recordings.

    Without `allow_failures`, the first recording that fails ends the embedding but not the reading: all that is wrong
    with the files is found in one go, and no time is spent on embeddings that nobody will use.

    Args:
        encoder: the model.
        recordings: each one or several files, the latter joined without a gap.
        crops: how to cut them; None takes them whole.
        threads: that read and decode.
        allow_failures: go on embedding after a failure.
        reading_only: embed nothing from the start, because a recording is known to be missing.
        judged: also find out how much speech and noise there is, as some score maps want to know.
    """
    embeddings = np.zeros((len(recordings), encoder.embedding_size), dtype=np.float32)
    problems: dict[int, AudioError] = {}
    window: dict[int, Samples] = {}
    lengths = np.zeros(len(recordings), dtype=np.int64)
    speech_s, snr_db = np.zeros((2, len(recordings)))
    digests, mixed = [""] * len(recordings), np.zeros(len(recordings), dtype=np.bool_)
    held = 0  # samples in the window

    def embed_window() -> None:
        if window and not reading_only and (allow_failures or not problems):
            embeddings[list(window)] = encoder.embed(list(window.values()), crops)
        window.clear()

    with (
        tqdm(
            total=len(recordings), desc="checking" if reading_only else "embedding", unit="recording", disable=None
        ) as progress,
        closing(_read_ahead(recordings, threads, judged and not reading_only)) as outcomes,
    ):
        for index, outcome in enumerate(outcomes):
            progress.update()
            if isinstance(outcome, AudioError):
                problems[index] = outcome
                continue
            window[index] = outcome.samples
            lengths[index] = len(outcome.samples)
            digests[index], mixed[index] = outcome.digest, outcome.mixed
            if outcome.quality is not None:
                speech_s[index], snr_db[index] = outcome.quality.speech_s, outcome.quality.snr_db
            held += len(outcome.samples)
            if held >= WINDOW_S * SAMPLE_RATE:
                embed_window()
                held = 0
        embed_window()
    return EmbeddedRecordings(embeddings, problems, lengths, speech_s, snr_db, tuple(digests), mixed)


def _read(recording: Recording, judged: bool) -> _Decoded | AudioError:
    try:
        read = [read_recording(path) for path in recording]
    except AudioError as error:
        return error
    parts = [part.samples for part in read]
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
    mixed = any(part.channels.differing for part in read)
    return _Decoded(samples, assess(samples, SAMPLE_RATE) if judged else None, digest_of(samples), mixed)


def _read_ahead(
    recordings: Sequence[Recording], threads: int, judged: bool
) -> Generator[_Decoded | AudioError, None, None]:
    """What each recording holds, in order, a bounded number of them read in advance."""
    waiting: deque[Future[_Decoded | AudioError]] = deque()
    executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="reader")
    remaining = iter(recordings)
    read: Callable[[Recording], _Decoded | AudioError] = partial(_read, judged=judged)
    try:
        waiting.extend(executor.submit(read, item) for item in islice(remaining, threads * READ_AHEAD))
        while waiting:
            outcome = waiting.popleft().result()
            waiting.extend(executor.submit(read, item) for item in islice(remaining, 1))
            yield outcome
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def describe(recording: Recording) -> str:
    """The file or files of a recording, for people."""
    return " + ".join(printable(str(path)) for path in recording)
