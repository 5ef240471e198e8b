"""How probabilities and rates are written for people: 0 % and 100 % only where they are true.

A probability that evidence gives is never certain, and a rate that was measured is 0 or 1 only where every single case
was so. Rounding must claim neither.
"""

LEAST = 2.0**-53  # of a probability as a number: 1 less this is the largest below 1 that a float holds


def uncertain(probability: float) -> float:
    """A probability as a number that is neither 0 nor 1, as rounding would have it where evidence is overwhelming.

    >>> uncertain(1.0) < 1.0, uncertain(0.0) > 0.0, uncertain(0.25)
    (True, True, 0.25)
    """
    return min(max(probability, LEAST), 1.0 - LEAST)


def probability_text(probability: float, digits: int = 2) -> str:
    """A probability, with as many digits behind the point as tell it from certainty, `digits` at most.

    >>> [probability_text(value) for value in (0.5, 0.98765, 0.99968, 0.999999, 1.0, 0.000001)]
    ['50.0 %', '98.8 %', '99.97 %', 'over 99.99 %', 'over 99.99 %', 'under 0.01 %']
    """
    return rate_text(uncertain(probability), digits if not 0.01 <= probability <= 0.99 else min(digits, 1))


def rate_text(rate: float, digits: int = 2) -> str:
    """A share of cases, from 0 to 1, that was counted.

    >>> [rate_text(value) for value in (0.0712, 0.0, 1.0, 0.000001, 0.999999)]
    ['7.12 %', '0.00 %', '100.00 %', 'under 0.01 %', 'over 99.99 %']
    """
    step = 10.0**-digits  # the least that is told apart, in %
    if 0.0 < rate < step / 100:
        return f"under {step:.{digits}f} %"
    if 1.0 - step / 100 < rate < 1.0:
        return f"over {100 - step:.{digits}f} %"
    return f"{100 * rate:.{digits}f} %"
