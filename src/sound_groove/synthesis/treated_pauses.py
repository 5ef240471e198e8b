"""What gates, denoisers, editors and muted microphones do to the pauses of a recording.

A pause is a stretch in which the speech detector hears nobody. A gate knows no speech, and closes where it is quiet
beside the voice: in frames of 20 ms whose level is under a tenth of that of the loud ones, within words too.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.speech import speech_in
from sound_groove.types import Samples

FRAME = SAMPLE_RATE // 50
QUIET_SHARE = 0.1  # of the level that one frame in twenty exceeds
PADDING_S = 3.0

Treatment = Literal["zeros", "-90 dB", "-70 dB", "gated", "padded", "cut out"]
TREATMENTS: tuple[Treatment, ...] = ("zeros", "-90 dB", "-70 dB", "gated", "padded", "cut out")
_NOISE_DB = {"-90 dB": -90.0, "-70 dB": -70.0}


def treated(samples: Samples, treatment: Treatment, rng: np.random.Generator) -> Samples:
    """A recording with its pauses changed.

    Args:
        samples: (samples,) at 16 kHz in [-1, 1].
        treatment: "zeros", "-90 dB" or "-70 dB" puts digital silence or white noise of that level, against full scale,
            into the pauses; "gated" puts digital silence where a gate closes; "padded" puts 3 s of digital silence
            behind the recording; "cut out" takes the pauses away.
        rng: of the noise.

    Returns:
        The changed recording; one in which nobody is heard has no pauses.

    >>> treated(np.ones(320, np.float32), "padded", np.random.default_rng(0)).shape
    (48320,)
    """
    if treatment == "padded":
        return np.concatenate((samples, np.zeros(int(PADDING_S * SAMPLE_RATE), np.float32)))
    if treatment == "gated":
        is_quiet = np.repeat(quiet_frames(samples), FRAME)
        is_quiet = np.pad(is_quiet, (0, len(samples) - len(is_quiet)))  # the rest, shorter than a frame, is not
        return np.where(is_quiet, np.float32(0.0), samples)
    is_pause = pauses(samples)
    if treatment == "cut out":
        return samples[~is_pause]
    scale = 10.0 ** (_NOISE_DB[treatment] / 20.0) if treatment in _NOISE_DB else 0.0
    noise = (scale * rng.standard_normal(len(samples))).astype(np.float32)
    return np.where(is_pause, noise, samples)


def pauses(samples: Samples) -> NDArray[np.bool_]:
    """Which samples (samples,) the speech detector finds no speech in; none where it finds no speech at all."""
    is_pause = np.ones(len(samples), np.bool_)
    for start, end in speech_in(samples):
        is_pause[start:end] = False
    return is_pause & ~is_pause.all()


def quiet_frames(samples: Samples) -> NDArray[np.bool_]:
    """Which whole frames of 20 ms (T,) a gate closes in.

    >>> quiet_frames(np.repeat(np.float32([1, 0.05, 0.2, 0]), FRAME)).tolist()
    [False, True, False, True]
    """
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    levels = np.sqrt(np.mean(np.square(frames), axis=1))
    return np.asarray(levels < QUIET_SHARE * np.percentile(levels, 95), dtype=np.bool_) if len(levels) else levels > 0
