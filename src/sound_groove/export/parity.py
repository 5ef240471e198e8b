"""Whether an exported model agrees with the file that it was made from."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.filterbank import samples_of
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pauses import with_silence
from sound_groove.audio.pieces import repeated
from sound_groove.encoder.encoder import MINIMUM_FRAMES, SpeakerEncoder
from sound_groove.errors import CheckpointError, printable
from sound_groove.progress import ProgressBar
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import Embeddings, Samples

CHECKED_S = (0.3, 1.0, 2.0, 3.7, 10.0, 60.0)
# A shorter recording is repeated, a whole number of times, before it is embedded.
SHORTEST_SAMPLES = samples_of(MINIMUM_FRAMES)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far an exported model agrees with the file that it was made from.

    Attributes:
        worst_cosine: the lowest between embeddings of the two.
        furthest_norm: the greatest absolute difference of the logarithms of how long embeddings were before they were
            scaled, which is what score maps take; 0 where one of the two tells no such length.
    """

    worst_cosine: float
    furthest_norm: float = 0.0


def worst_cosine(
    model: str | Path,
    embed: Callable[[Samples], Embeddings],
    durations_s: Sequence[float] = CHECKED_S,
    repeat: bool = True,
) -> float:
    """The lowest cosine between an exported model's embeddings and those of the encoder that serves.

    Args:
        model: the file that it was made from.
        embed: the exported model: (B, samples) -> (B, D).
        durations_s: lengths of made-up voices, each given together with itself backwards, which is no speech.
        repeat: give `embed` short recordings as the encoder repeats them, so that they last `SHORTEST_SAMPLES`.
    """
    encoder = SpeakerEncoder.load(model)
    cosines = []
    for batch in _shown(_voices(durations_s)):  # (B, samples)
        found = embed(np.stack([repeated(row, SHORTEST_SAMPLES) for row in batch]) if repeat else batch)
        cosines.append(_lowest(found, encoder.embed(list(batch), keep_pauses=True)))
    return float(np.min(cosines))  # which is not a number where one of them is none


def agreement(
    model: str | Path,
    compute: Callable[[Samples], tuple[Embeddings, NDArray[np.float32] | None]],
    recordings: Sequence[Samples] = (),
) -> Agreement:
    """How far an exported model and the encoder that serves agree, embeddings and lengths in one go.

    Args:
        model: the file that it was made from.
        compute: the exported model: (B, samples) -> embeddings (B, D) of unit length, and how long they were before
            (B,), or None where it does not tell.
        recordings: to compare on besides made-up voices of `CHECKED_S`, each (samples,) at 16 kHz and given alone.
    """
    encoder, cosines, distances = SpeakerEncoder.load(model), [], [0.0]
    for batch in _shown([*_voices(CHECKED_S), *(recording[None] for recording in recordings)]):  # (B, samples)
        given = [with_silence(repeated(row, SHORTEST_SAMPLES), encoder.silence_share) for row in batch]
        unit, norms = compute(np.stack(given))
        expected = encoder.embed_voices(list(batch))
        cosines.append(_lowest(unit, expected.unit))
        if norms is not None and expected.norms is not None:
            distances.append(float(np.abs(np.log(norms) - np.log(expected.norms)).max()))
    return Agreement(float(np.min(cosines)), float(np.max(distances)))


def _lowest(found: Embeddings, expected: Embeddings) -> float:
    """The lowest cosine of embeddings (B, D) of unit length."""
    return float((found * expected).sum(axis=1).min())


def _shown(batches: Sequence[Samples]) -> Iterable[Samples]:
    """The batches, with a bar on a terminal."""
    return ProgressBar(batches, "comparing with the model", unit="batch", leave=False, disable=None)


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
