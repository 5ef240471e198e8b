"""Where training's randomness comes from: each draw is a function of the seed, of what is drawn, and of its place.

No generator is carried along from draw to draw. So the number of processes and the order in which they work change
nothing, and a run that is resumed draws what it would have drawn.
"""

from enum import IntEnum

import numpy as np


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


def torch_seed(seed: int, draw: Draw, *place: int) -> int:
    """A seed for a torch generator, 0 to 2^63 - 1; arguments as for `generator`."""
    state = np.random.SeedSequence((seed, int(draw), *place)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
