"""Where training's randomness comes from: each draw is a function of the seed, of what is drawn, and of its place.

No generator is carried along from draw to draw. So the number of processes and the order in which they work change
nothing, and a run that is resumed draws what it would have drawn.
"""

from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024  # numbers that are drawn at once: a generator costs as much as two thousand of them


class Draw(IntEnum):
    """What is drawn; each kind has a stream of its own. The numbers must not change: they are part of every result."""

    SPEAKER_ORDER = 1
    UTTERANCE_ORDER = 2
    SHUFFLED_ORDER = 3
    CROP_PLACE = 4
    AUGMENTATION = 5
    SPEED = 6
    MASKING = 7
    NOISE = 8
    ROOM = 9
    COMPANIONS = 10
    COMPANION_UTTERANCES = 11
    SIMULATED_ROOM = 12
    UNLABELLED_ORDER = 13
    NOISE_PART = 14
    CROP = 15
    CROP_SURROUNDINGS = 16
    CROP_ORDER = 17
    UNHEARD = 18
    CROP_VOICE = 19


def generator(seed: int, draw: Draw, *place: int) -> np.random.Generator:
    """A fresh generator for one draw.

    Args:
        seed: the recipe's.
        draw: what is drawn.
        place: where in training, such as the epoch and the item; non-negative.

    >>> first, again = (generator(7, Draw.CROP_PLACE, 3, 5).random() for _ in range(2))
    >>> first == again, first == generator(7, Draw.CROP_PLACE, 5, 3).random()
    (True, False)
    """
    return np.random.default_rng((seed, int(draw), *place))


def uniform(seed: int, draw: Draw, *place: int) -> float:
    """One number from 0 to below 1; arguments as for `generator`, and there is at least one number in the place.

    The numbers of places that follow one another are drawn together, so it is quick to ask for them in turn. A kind of
    draw is asked for here or from `generator`, never from both: the streams are the same.

    >>> first, again = (uniform(7, Draw.CROP_PLACE, 3, 5) for _ in range(2))
    >>> first == again, first == uniform(7, Draw.CROP_PLACE, 3, 6)
    (True, False)
    """
    *higher, last = place
    return float(_block(seed, draw, *higher, last // BLOCK)[last % BLOCK])


@lru_cache(maxsize=64)
def _block(seed: int, draw: Draw, *place: int) -> NDArray[np.float64]:
    """(BLOCK,) numbers from 0 to below 1."""
    return generator(seed, draw, *place).random(BLOCK)


def log_uniform(draw: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A factor between two bounds, doubling as likely as halving."""
    return float(np.exp(draw.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def torch_seed(seed: int, draw: Draw, *place: int) -> int:
    """A seed for a torch generator, 0 to 2^63 - 1; arguments as for `generator`."""
    state = np.random.SeedSequence((seed, int(draw), *place)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
