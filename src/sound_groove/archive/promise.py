"""How many false alarms an hour a threshold promises: how often others' windows reach an llr.

By the definition of a likelihood ratio, at most a share exp(-x) of others' windows reaches an llr of x (Good 1950), as
far as the score map says what is. Maps are cautious, since they hold for recordings of kinds that they have not seen,
so that far fewer do, and how few was measured: TAIL, on archives of made-up conversations of three collections that no
network here was taught, with the model in the package, and of one of them with CAM++; every voice with all windows in
which that person is silent, and of these archives the one with most alarms. Neighbouring windows above the threshold
are one alarm, as they are one stretch when they are told.

What is measured is a mean over voices and collections. It cannot know whether a particular archive holds somebody who
sounds like the person looked for (a sister, the same voice imitated), who then alarms whenever she speaks; nor what
recordings of another kind than those of the calibration do, beyond what the map takes from their llr.
"""

import math

import numpy as np

# llr, and minus the natural logarithm of the share of others' windows that begin an alarm at it.
TAIL = ((0.0, 3.2), (0.5, 3.8), (1.0, 4.4), (1.5, 5.0), (2.0, 5.8), (2.5, 6.6), (3.0, 7.6), (3.5, 9.0))
BEYOND = 1.9  # of the logarithm for a unit of llr, where the measurement ends
_LLRS, _RARENESS = (np.array(column) for column in zip(*TAIL, strict=True))


def alarm_share(llr: float) -> float:
    """The share of others' windows that begin a false alarm, where windows from this llr on alarm; from 0 on.

    >>> round(alarm_share(1.0), 4), alarm_share(5.0) < alarm_share(4.0) < alarm_share(3.0)
    (0.0123, True)
    """
    beyond = max(llr - float(_LLRS[-1]), 0.0)
    return math.exp(-float(np.interp(llr, _LLRS, _RARENESS)) - BEYOND * beyond)


def alarm_llr(share: float) -> float:
    """The llr from which on windows may alarm, so that this share of others' windows begins an alarm at most.

    It is 0 at least: evidence that somebody does not speak is no alarm, however many are allowed.

    >>> round(alarm_llr(alarm_share(2.25)), 6), round(alarm_llr(alarm_share(6.0)), 6), alarm_llr(0.5)
    (2.25, 6.0, 0.0)
    """
    rareness = -math.log(share)
    beyond = max(rareness - float(_RARENESS[-1]), 0.0)
    return float(np.interp(rareness, _RARENESS, _LLRS)) + beyond / BEYOND
