"""Evidence in words, against the table of the guideline that they come from."""

import math

import pytest

from sound_groove.scoring.strength import evidence_text, strength_of

# ENFSI 2015: the likelihood ratio from which on a word holds.
FROM = {1: "none", 2: "weak", 10: "moderate", 100: "moderately strong", 1_000: "strong", 10_000: "very strong"}


@pytest.mark.parametrize(("ratio", "word"), FROM.items())
def test_words_begin_at_the_ratios_of_the_guideline_for_and_against(ratio: float, word: str) -> None:
    weaker = [other for least, other in FROM.items() if least < ratio]
    for sign in (1, -1):
        assert strength_of(sign * math.log(1.001 * ratio)) == word
        assert strength_of(sign * math.log(0.999 * ratio)) == (weaker or ["none"])[-1]
    assert strength_of(1e300) == "very strong"


def test_words_say_what_the_evidence_is_for() -> None:
    assert evidence_text(3.0) == "moderate, for the same speaker"
    assert evidence_text(-8.0) == "strong, for different speakers"
    assert evidence_text(0.0) == "for neither"
