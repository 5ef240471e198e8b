"""What no ear should notice: gates, padding, lost packets, comfort noise, pauses that are cut out, and gain.

It is done to the network's copy of a crop alone: the teacher is fooled by it too, and what it said of the crop as it
was is what the network should say of it so.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pauses import without_pauses
from sound_groove.inputs.crops.pool import FRAME_SAMPLES
from sound_groove.recipe.distillation import UnheardConfiguration
from sound_groove.types import Samples

FRAME = SAMPLE_RATE // 50  # 20 ms
PACKET_S = (0.02, 0.06)
LOST_SHARE = (0.02, 0.25)  # of a crop's packets
GATE_SHARE = (0.03, 0.15)  # of the 95th percentile of the frames' levels, below which a gate closes
FLOORS_DB = (None, -90.0, -70.0)  # what a closed gate lets through: nothing, or noise
COMFORT_DB = (-70.0, -50.0)
CUT_S = (0.0, 0.1)  # left around speech where pauses are cut out


class NetworksCopy(NamedTuple):
    """A crop as the network hears it.

    Attributes:
        samples: (samples,).
        start: the sample at which the crop begins, a multiple of `FRAME_SAMPLES`; None where pauses are cut out, so
            that hardly anything lies where it lay.
    """

    samples: Samples
    start: int | None


def unheard(
    samples: Samples, settings: UnheardConfiguration, draw: np.random.Generator, padded_to: int | None = None
) -> NetworksCopy:
    """A crop as a gate, an editor, a network or another gain would leave it.

    Args:
        samples: (samples,).
        settings: how often each of these happens.
        draw: source of every draw.
        padded_to: length of the result, where the batch is padded; the crop's own when None.
    """
    out = samples.astype(np.float32)  # a copy
    is_cut = draw.random() < settings.cut_probability
    if is_cut:
        out = np.resize(without_pauses(out, around_s=draw.uniform(*CUT_S)), len(out))  # np.resize repeats
    if draw.random() < settings.gate_probability:
        out = gated(out, draw.uniform(*GATE_SHARE), FLOORS_DB[int(draw.integers(len(FLOORS_DB)))], draw)
    elif draw.random() < settings.comfort_probability:
        out = gated(out, draw.uniform(*GATE_SHARE), draw.uniform(*COMFORT_DB), draw)
    if draw.random() < settings.loss_probability:
        out = with_losses(out, draw)
    out *= np.float32(10.0 ** (draw.uniform(*settings.gain_db) / 20.0))
    start = 0
    if padded_to is not None:
        out, start = padded(out, padded_to, draw)
    return NetworksCopy(out, None if is_cut else start)


def gated(samples: Samples, share: float, floor_db: float | None, draw: np.random.Generator) -> Samples:
    """Frames of 20 ms whose level is below a share of the loud ones' become zeros, or noise at a level.

    >>> loud, quiet = np.full(320, 0.5, np.float32), np.full(320, 0.01, np.float32)
    >>> gated(np.concatenate([loud, quiet]), 0.1, None, np.random.default_rng(0))[[0, 319, 320, 639]].tolist()
    [0.5, 0.5, 0.0, 0.0]
    """
    count = len(samples) // FRAME * FRAME
    if not count:
        return samples
    frames = samples[:count].reshape(-1, FRAME)
    levels = np.sqrt(np.mean(np.square(frames), axis=1))
    closed = levels < share * np.quantile(levels, 0.95)
    out = samples.copy()
    out[:count].reshape(-1, FRAME)[closed] = _floor(int(closed.sum()) * FRAME, floor_db, draw).reshape(-1, FRAME)
    return out


def with_losses(samples: Samples, draw: np.random.Generator) -> Samples:
    """Some packets of 20 to 60 ms are zeros; all of one length, as one line sends them."""
    packet = int(SAMPLE_RATE * draw.uniform(*PACKET_S))
    lost = draw.random(-(-len(samples) // packet)) < draw.uniform(*LOST_SHARE)
    if lost.all():
        return samples
    return np.where(np.repeat(lost, packet)[: len(samples)], np.float32(0.0), samples)


def padded(samples: Samples, length: int, draw: np.random.Generator) -> tuple[Samples, int]:
    """A crop in a longer recording (length,), and where it begins there, a multiple of `FRAME_SAMPLES`.

    There are zeros before and behind it for half of the crops; the others are repeated.
    """
    if draw.random() < 0.5:
        return np.resize(samples, length), 0  # np.resize repeats
    out = np.zeros(length, dtype=np.float32)
    start = FRAME_SAMPLES * int(draw.integers((length - len(samples)) // FRAME_SAMPLES + 1))
    out[start : start + len(samples)] = samples
    return out, start


def _floor(count: int, level_db: float | None, draw: np.random.Generator) -> NDArray[np.float32]:
    """What is left where a gate is closed (count,)."""
    if level_db is None:
        return np.zeros(count, dtype=np.float32)
    noise: NDArray[np.float32] = (10.0 ** (level_db / 20.0) * draw.standard_normal(count)).astype(np.float32)
    return noise
