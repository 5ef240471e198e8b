"""Embedding the recordings of a list: each once, in bounded memory, with what failed set apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording, decode, judge
from sound_groove.encoder import listener
from sound_groove.encoder.listener import Listener
from sound_groove.errors import AudioError, printable
from sound_groove.evaluation.trials.sources import Recording
from sound_groove.progress import ProgressBar
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.measures import number_or_nan
from sound_groove.types import ChannelFacts, CropAveraging, Embeddings
from sound_groove.types import Recording as Decoded

WINDOW_S = 600.0  # audio given to the encoder at a time, from which it makes batches of similar length: 38 MB


class Encoder(listener.Encoder, Protocol):
    """What evaluation needs of a model; `sound_groove.encoder.encoder.SpeakerEncoder` is one."""

    embedding_size: int
    score_map: ScoreMap | None
    trained_speakers: frozenset[str]


@dataclass(frozen=True, slots=True)
class EmbeddedRecordings:
    """The outcome for a sequence of recordings.

    Attributes:
        embeddings: (N, D); rows of recordings that failed are zero, and so are all after a failure that ended the work.
        problems: why recordings failed, by index.
        samples: (N,) length of each recording at 16 kHz; 0 for those that failed.
        speech_s: (N,) seconds of speech; 0 for those that failed.
        snr_db: (N,) how far the speech lies above the noise; 0 likewise.
        norms: (N,) of the embeddings before they were scaled; NaN for those that failed or where the model tells none.
        digests: (N,) of the samples; empty for those that failed.
        unfamiliarity: (N,) how unlike known speech it sounds; NaN where that is not known.
        mixed: (N,) channels of different sound were averaged.
    """

    embeddings: Embeddings
    problems: dict[int, AudioError]
    samples: NDArray[np.int64]
    speech_s: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    norms: NDArray[np.float64]
    digests: tuple[str, ...]
    mixed: NDArray[np.bool_]
    unfamiliarity: NDArray[np.float64]


def embed_recordings(
    encoder: Encoder,
    recordings: Sequence[Recording],
    crops: CropAveraging | None = None,
    threads: int = 1,
    allow_failures: bool = False,
    reading_only: bool = False,
) -> EmbeddedRecordings:
    """Read and embed recordings.

    Without `allow_failures`, the first recording that fails ends the embedding but not the reading: all that is wrong
    with the files is found in one go, and no time is spent on embeddings that nobody will use.

    Args:
        encoder: the model.
        recordings: each one or several files, the latter joined without a gap.
        crops: how to cut them; None takes them whole.
        threads: that read, decode and judge.
        allow_failures: go on embedding after a failure.
        reading_only: embed nothing from the start, because a recording is known to be missing.
    """
    count = len(recordings)
    embeddings = np.zeros((count, encoder.embedding_size), dtype=np.float32)
    problems: dict[int, AudioError] = {}
    lengths = np.zeros(count, dtype=np.int64)
    speech_s, snr_db = np.zeros((2, count))
    norms, unlike = np.full((2, count), np.nan)
    digests, mixed = [""] * count, np.zeros(count, dtype=np.bool_)
    doing = "checking" if reading_only else "embedding"
    outcomes = Listener(encoder, crops).hear_all(
        recordings, _hear, threads, WINDOW_S, go_on=allow_failures, embeds=not reading_only
    )
    for index, outcome in enumerate(ProgressBar(outcomes, doing, count, unit="recording", disable=None)):
        if isinstance(outcome, AudioError):
            problems[index] = outcome
            continue
        lengths[index] = round(outcome.facts.duration_s * SAMPLE_RATE)
        speech_s[index], snr_db[index] = outcome.facts.speech_s, outcome.facts.snr_db
        unlike[index] = number_or_nan(outcome.facts.unfamiliarity)
        digests[index] = outcome.digest
        mixed[index] = any(warning.code == "channels_differ" for warning in outcome.warnings)
        if outcome.model is not None:
            embeddings[index] = outcome.embedding
            norms[index] = number_or_nan(outcome.facts.embedding_norm)
    return EmbeddedRecordings(embeddings, problems, lengths, speech_s, snr_db, norms, tuple(digests), mixed, unlike)


def _hear(recording: Recording) -> HeardRecording:
    """What is heard of a recording that may lie in several files."""
    decoded, names = zip(*(decode(path, str(path)) for path in recording), strict=True)
    if len(decoded) == 1:
        return judge(decoded[0], names[0])
    differing = next((part.channels.differing for part in decoded if part.channels.differing), None)
    samples = np.concatenate([part.samples for part in decoded])
    warnings = tuple(warning for part in decoded for warning in part.warnings)
    channels = ChannelFacts(max(part.channels.count for part in decoded), None, differing)
    rate = min(part.source_sample_rate for part in decoded)
    return judge(Decoded(None, samples, rate, channels, warnings), describe(recording))


def describe(recording: Recording) -> str:
    """The file or files of a recording, for people."""
    return " + ".join(printable(str(path)) for path in recording)
