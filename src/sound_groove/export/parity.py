"""Whether an exported model agrees with the file that it was made from."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sound_groove.audio.filterbank import samples_of
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
    batches = [recording[None] for recording in recordings]
    for number, duration_s in enumerate(durations_s):
        voice = speak(made_up_speaker(0, number), 0, max(duration_s, 0.5))[: int(duration_s * SAMPLE_RATE)]
        batches.append(np.stack([voice, voice[::-1]]))  # (2, samples)
    worst = 1.0
    for batch in batches:  # (B, samples)
        found = embed(np.stack([repeated(row, SHORTEST_SAMPLES) for row in batch]) if repeat else batch)
        worst = min(worst, float((found * encoder.embed(list(batch), keep_pauses=True)).sum(axis=1).min()))
    return worst


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
