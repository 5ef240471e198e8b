"""The limits of a live verdict: what an llr must pass, so that the error is as promised however often one looks.

Whoever looks again and again and stops when the evidence suffices errs more often than somebody who looks once: of all
looks, the luckiest decides. For a likelihood ratio that is made of ever more of the same speech, at most a share R of
other voices ever reaches 1/R (Ville 1939; Wald 1945). The llr of a score map is no such process: each look is judged by
itself. So the whole was simulated: voices of three collections that no network here was taught (urdu, hyke_digits and
ukr_digits; 51 voices, 1,012 pairs) were heard live, by enrolled speakers of the same collection, at all of the looks,
and counted was how many ever reach an llr, or ever fall below one. Of the first the mean of the collections stands, of
the second, for which there are few, the worst. Looking again and again made false accepts about four times as many as
one look at two seconds. Beyond the counts the share falls as exp(-llr), which is all that a likelihood ratio promises.
"""

import math

import numpy as np

# llr, and minus the natural logarithm of the share of other voices that ever reach it.
REACHED = ((0.0, 1.6), (1.0, 2.2), (2.0, 3.0), (3.0, 3.7), (4.0, 5.0))
# How far the llr falls below 0, and the same of the person's own voices, of whom it ever falls so far.
FALLEN = ((0.0, 1.4), (0.5, 2.3), (1.0, 3.2), (2.0, 4.2))
BEYOND = 1.0  # of the logarithm for a unit of llr, where the counts end: what a likelihood ratio promises


def reached_limit(share: float) -> float:
    """The llr that at most this share of other voices ever reaches, looking at all of them; at least 0.

    >>> reached_limit(0.001) > reached_limit(0.01) >= 0
    True
    """
    return _limit(REACHED, share)


def fallen_limit(share: float) -> float:
    """The llr below which at most this share of the person's own voices ever falls; at most 0.

    >>> fallen_limit(0.001) < fallen_limit(0.05) <= 0
    True
    """
    return -_limit(FALLEN, share)


def _limit(counted: tuple[tuple[float, float], ...], share: float) -> float:
    llrs, rareness = (np.array(column) for column in zip(*counted, strict=True))
    wanted = -math.log(share)
    beyond = max(wanted - float(rareness[-1]), 0.0) / BEYOND
    return float(np.interp(wanted, rareness, llrs)) + beyond
