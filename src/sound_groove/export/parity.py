"""Whether an exported model agrees with the file that it was made from."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.filterbank import samples_of
from sound_groove.audio.pauses import with_silence
from sound_groove.audio.pieces import repeated
from sound_groove.audio.reading import SAMPLE_RATE
from sound_groove.encoder.encoder import MINIMUM_FRAMES, SpeakerEncoder
from sound_groove.errors import CheckpointError, printable
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import Embeddings, Samples

CHECKED_S = (0.3, 1.0, 2.0, 3.7, 10.0, 60.0)
# A shorter recording is repeated, a whole number of times, before it is embedded.
SHORTEST_SAMPLES = samples_of(MINIMUM_FRAMES)


def worst_cosine(
    model: str | Path,
    embed: Callable[[Samples], Embeddings],
    durations_s: Sequence[float] = CHECKED_S,
    repeat: bool = True,
    recordings: Sequence[Samples] = (),
) -> float:
    """The lowest cosine between an exported model's embeddings and those of the encoder that serves.

    Args:
        model: the file that it was made from.
        embed: the exported model: (B, samples) -> (B, D).
        durations_s: lengths of made-up voices, each given together with itself backwards, which is no speech.
        repeat: give `embed` short recordings as the encoder repeats them, so that they last `SHORTEST_SAMPLES`.
        recordings: to compare on besides, each (samples,) at 16 kHz and given alone.
    """
    encoder = SpeakerEncoder.load(model)
    batches = [*_voices(durations_s), *(recording[None] for recording in recordings)]
    worst = 1.0
    for batch in batches:  # (B, samples)
        found = embed(np.stack([repeated(row, SHORTEST_SAMPLES) for row in batch]) if repeat else batch)
        worst = min(worst, float((found * encoder.embed(list(batch), keep_pauses=True)).sum(axis=1).min()))
    return worst


def furthest_norm(
    model: str | Path, norms: Callable[[Samples], NDArray[np.float32]], recordings: Sequence[Samples] = ()
) -> float:
    """How far the length of an exported model's embeddings, before they are scaled, is from that of the encoder's.

    Args:
        model: the file that it was made from.
        norms: the exported model: (B, samples) -> (B,).
        recordings: to compare on besides made-up voices, each (samples,) at 16 kHz.

    Returns:
        The greatest absolute difference of their logarithms, which is what score maps take; 0 where the model tells no
        such length.
    """
    encoder, furthest = SpeakerEncoder.load(model), 0.0
    if not encoder.tells_norm:
        return furthest
    for batch in (*_voices(CHECKED_S), *(recording[None] for recording in recordings)):
        told = np.array(encoder.embed_voices(list(batch)).norms)
        found = norms(np.stack([with_silence(repeated(row, SHORTEST_SAMPLES), encoder.silence_share) for row in batch]))
        furthest = max(furthest, float(np.abs(np.log(found) - np.log(told)).max()))
    return furthest


def demand_norm(model: str | Path, furthest: float, most: float) -> None:
    """Refuse a model the lengths of whose embeddings differ too much from those of the file that it was made from.

    Raises:
        CheckpointError: they do, or are not numbers.
    """
    if not furthest <= most:
        raise CheckpointError(
            f"{printable(str(model))}: the exported model's embeddings are longer or shorter than its own (by "
            f"{100 * math.expm1(furthest):.1f} %, and {100 * math.expm1(most):.1f} are allowed), which its calibration "
            "goes by; nothing was written"
        )


def _voices(durations_s: Sequence[float]) -> list[Samples]:
    """Made-up voices of these lengths, each (2, samples) together with itself backwards, which is no speech."""
    batches = []
    for number, duration_s in enumerate(durations_s):
        voice = speak(made_up_speaker(0, number), 0, max(duration_s, 0.5))[: int(duration_s * SAMPLE_RATE)]
        batches.append(np.stack([voice, voice[::-1]]))
    return batches


def demand(model: str | Path, worst: float, least: float) -> None:
    """Refuse a model whose lowest cosine with the file that it was made from is too low.

    Raises:
        CheckpointError: it is, or is not a number.
    """
    if not worst >= least:
        raise CheckpointError(
            f"{printable(str(model))}: the exported model disagrees with it (cosine {worst:.6f}, and "
            f"{least} is asked for); nothing was written"
        )
