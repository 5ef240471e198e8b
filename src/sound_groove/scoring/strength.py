"""How strong evidence is, in words that courts' experts use.

The steps are those of the verbal scale in the ENFSI guideline for evaluative reporting in forensic science (2015,
section 4): likelihood ratios of 2, 10, 100, 1,000 and 10,000. The words say how strong the evidence is, whichever way
it points, and nothing of how likely the same speaker was before.
"""

import math
from typing import Literal

Strength = Literal["none", "weak", "moderate", "moderately strong", "strong", "very strong"]
STEPS: tuple[tuple[float, Strength], ...] = (
    (2.0, "none"),
    (10.0, "weak"),
    (100.0, "moderate"),
    (1_000.0, "moderately strong"),
    (10_000.0, "strong"),
)
NOT_DETECTED = "recordings played back, cloned voices and synthetic ones are not detected"


def strength_of(llr: float) -> Strength:
    """How strong a log-likelihood ratio (natural logarithm) is, for or against.

    >>> strength_of(0.5), strength_of(-3.0), strength_of(7.0)
    ('none', 'moderate', 'strong')
    """
    size = abs(llr)
    return next((word for ratio, word in STEPS if size < math.log(ratio)), "very strong")


def evidence_text(llr: float) -> str:
    """The strength of evidence and what it speaks for, for people.

    >>> evidence_text(0.5), evidence_text(-3.0)
    ('for neither', 'moderate, for different speakers')
    """
    strength = strength_of(llr)
    if strength == "none":
        return "for neither"
    return f"{strength}, for {'the same speaker' if llr > 0 else 'different speakers'}"
