"""A long recording, heard in windows: what of it is speech, and an embedding of every window of speech.

A recording is read once for that, in parts of ten minutes, so that ten hours take no more memory than their windows'
embeddings do (about 40 MB). Speech is found, and windows are embedded, as everywhere in this package.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import AudioFacts, facts_of
from sound_groove.audio.pieces import Span
from sound_groove.audio.quality import Quality, assess, joint_quality
from sound_groove.audio.reading import OpenRecording
from sound_groove.audio.voices import LISTENED_SAMPLES
from sound_groove.diarization.windows import windows_in
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.types import Embeddings, QualityWarning, Scores

TOLD_WINDOWS = 64  # that are embedded between two reports of progress
UNFITTING = frozenset({"long_silence", "little_speech"})  # warnings that ask for a recording of one voice


@dataclass(frozen=True, slots=True, eq=False)
class HeardWindows:
    """What was heard of a recording.

    Attributes:
        facts: its length, speech, noise and rate.
        warnings: what makes it less trustworthy.
        digest: SHA-256 of its samples (hexadecimal).
        speech: stretches of speech, in samples.
        windows: of which an embedding was made each, in samples, by their beginnings.
        embeddings: (N, D) of unit length, of the windows.
        norms: (N,) how long they were before; None where the model does not tell.
    """

    facts: AudioFacts
    warnings: tuple[QualityWarning, ...]
    digest: str
    speech: tuple[Span, ...]
    windows: tuple[Span, ...]
    embeddings: Embeddings
    norms: Scores | None


def hear_windows(
    recording: OpenRecording, encoder: SpeakerEncoder, progress: Callable[[float], object] | None = None
) -> HeardWindows:
    """Hear a recording.

    Args:
        recording: of any length.
        encoder: embeds the windows.
        progress: is told how many seconds more were heard, of one recording a hundred times an hour or more; what it
            raises ends the hearing.

    Raises:
        AudioError: it cannot be used.
        CheckpointError: the model gives no embedding of it.
    """
    edges = [*range(0, recording.samples, LISTENED_SAMPLES), recording.samples]
    spans = list(pairwise(edges))
    qualities, lengths = list[Quality](), list[int]()
    windows = list[Span]()
    embeddings, norms = [np.empty((0, encoder.embedding_size), np.float32)], list[Scores]()
    digest = hashlib.sha256()
    for (start, _), part in zip(spans, recording.parts(spans), strict=True):
        digest.update(part.astype("<f4", copy=False).tobytes())
        quality = assess(part, recording.source_sample_rate)
        here = windows_in(quality.speech)
        for place in range(0, len(here), TOLD_WINDOWS):
            together = here[place : place + TOLD_WINDOWS]
            heard = encoder.embed_voices([part[first:end] for first, end in together])
            embeddings.append(heard.unit)
            norms += [] if heard.norms is None else [heard.norms]
            if progress is not None:
                progress(len(together) / len(here) * len(part) / SAMPLE_RATE)
        windows += [(start + first, start + end) for first, end in here]
        qualities.append(quality)
        lengths.append(len(part))
        if progress is not None and not here:
            progress(len(part) / SAMPLE_RATE)
    quality = qualities[0] if len(qualities) == 1 else joint_quality(qualities, lengths)
    duration_s = recording.samples / SAMPLE_RATE
    found = (*recording.channels.warnings, *recording.warnings, *quality.warnings)
    return HeardWindows(
        facts=facts_of(duration_s, quality, recording.source_sample_rate),
        warnings=tuple(warning for warning in found if warning.code not in UNFITTING),
        digest=digest.hexdigest(),
        speech=quality.speech,
        windows=tuple(windows),
        embeddings=np.concatenate(embeddings),
        norms=np.concatenate(norms) if norms else None,
    )
