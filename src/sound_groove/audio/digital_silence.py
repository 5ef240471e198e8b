"""Digital silence inside a recording: what noise gates, muted microphones and dropped packets leave between words.

A microphone is never silent: even in a quiet room its last bit moves. Where samples stand still for a tenth of a second
between sounds, something has cut the recording, and what it cut may have been speech. What stands before the first
sound and behind the last is padding and says nothing.
"""

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.types import QualityWarning, Samples

LEAST_RUN_S = 0.1
STILL = 2.0**-16  # half a step of 16 bits: what is below it a 16-bit file holds as zero
STILL_BESIDE_PEAK = 1e-5  # -100 dB: a recording in floating point may be quieter than its own steps
BLOCK = 1 << 20  # samples looked at at a time


def find_digital_silence(samples: Samples) -> QualityWarning | None:
    """A warning `digital_silence` where a recording has some between its first sound and its last.

    >>> sound = np.sin(np.arange(16000, dtype=np.float32))
    >>> find_digital_silence(np.concatenate((sound, np.zeros(8000, np.float32), sound))).message
    '0.5 s of digital silence lie inside the recording, as noise gates and muted microphones leave it; switch them off'
    >>> find_digital_silence(np.concatenate((sound, np.zeros(8000, np.float32)))) is None
    True
    """
    silence_s = digital_silence_s(samples)
    if silence_s == 0.0:
        return None
    return QualityWarning(
        "digital_silence",
        f"{silence_s:.1f} s of digital silence lie inside the recording, as noise gates and muted microphones leave "
        "it; switch them off",
    )


def digital_silence_s(samples: Samples) -> float:
    """Seconds in which the samples stand still for at least LEAST_RUN_S, between the first sound and the last.

    Args:
        samples: (samples,) mono at 16 kHz; an offset of all samples does not matter.
    """
    if len(samples) < 2:
        return 0.0
    least = round(LEAST_RUN_S * SAMPLE_RATE)
    limit = min(STILL, STILL_BESIDE_PEAK * float(np.ptp(samples)))
    runs = _still_runs(samples, limit)
    # A run at either end is no pause, and neither is one of a few samples.
    inner = runs[(runs[:, 0] > 0) & (runs[:, 1] < len(samples) - 1)]
    lengths = inner[:, 1] - inner[:, 0] + 1
    return float(lengths[lengths >= least].sum()) / SAMPLE_RATE


def _still_runs(samples: Samples, limit: float) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """(runs, 2) first and last sample of each stretch in which no step is larger than the limit."""
    edges = []
    before = False
    for start in range(0, len(samples) - 1, BLOCK):
        part = samples[start : start + BLOCK + 1]
        is_still = np.abs(np.diff(part)) <= limit
        changes = np.flatnonzero(np.diff(np.concatenate(([before], is_still)).astype(np.int8)))
        edges.append(changes + start)
        before = bool(is_still[-1])
    edges.append(np.array([len(samples) - 1] if before else [], dtype=np.intp))
    return np.concatenate(edges).astype(np.int64).reshape(-1, 2)
