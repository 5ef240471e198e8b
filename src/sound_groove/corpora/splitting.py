"""Which speakers are held out for validation."""

import hashlib
from collections.abc import Mapping

from sound_groove.errors import CorpusError

SHARE = 0.05
FEWEST, MOST = 2, 100  # fewer give no pair of different speakers, more only cost training data and time
ENOUGH = 10  # an error rate of fewer speakers says little: theirs differ several times over
LARGEST_SHARE = 1 / 3  # of the candidates that is held out to have enough
FEWEST_TRAINED = 2  # a classifier of one class learns nothing


def choose_validation_speakers(
    utterances: Mapping[str, int], candidates: frozenset[str] | None, wanted: int | None, seed: int
) -> frozenset[str]:
    """Speakers to be held out, drawn among those with at least two utterances (one cannot be compared with itself).

    A speaker's place in the draw is a hash of the seed and the name: one more speaker in the corpus moves at most one
    other across the split.

    Args:
        utterances: number of utterances of each speaker.
        candidates: the speakers that may be held out; None = all.
        wanted: how many; 0 = none; None = 5 % of the candidates, but from 10 to 100, and no more than a third of them
            nor than can be, though at least 2.
        seed: of the draw.

    Raises:
        CorpusError: there are too few speakers for both sides.
    """
    allowed = [speaker for speaker in utterances if candidates is None or speaker in candidates]
    able = [speaker for speaker in allowed if utterances[speaker] >= 2]
    count = _usual_count(len(allowed), len(able)) if wanted is None else wanted
    if count > len(able):
        raise CorpusError(
            f"{count} speakers with at least 2 utterances are needed for validation, there are {len(able)}; "
            f"add speakers, or pass --validation-speakers {'0 to train without' if len(able) < FEWEST else len(able)}",
        )
    if len(utterances) - count < FEWEST_TRAINED:
        without = f", {count} of them for validation" if count else ""
        raise CorpusError(
            f"at least {FEWEST_TRAINED} speakers are needed to train on, there are {len(utterances)} in all{without}; "
            "add speakers" + (", or pass --validation-speakers 0 to train without validation" if count else ""),
        )
    return frozenset(sorted(able, key=lambda speaker: _place(seed, speaker))[:count])


def _usual_count(allowed: int, able: int) -> int:
    """How many of the candidates are held out where nobody says it.

    >>> [_usual_count(speakers, speakers) for speakers in (4, 12, 30, 100, 400, 5000)]
    [2, 4, 10, 10, 20, 100]
    """
    few = min(ENOUGH, round(LARGEST_SHARE * allowed))
    return max(min(max(round(SHARE * allowed), few), able, MOST), FEWEST)


def few_held_out(held_out: int, wanted: int | None, able: int) -> str:
    """Why so few speakers are held out, and what follows from it, in a sentence; empty where there are enough, or none.

    Args:
        held_out: speakers held out.
        wanted: how many were asked for; None where nobody said it.
        able: candidates with at least two utterances.
    """
    if not 0 < held_out < ENOUGH:
        return ""
    if wanted is not None:
        why = "as --validation-speakers says"
    elif held_out == able:
        why = "since no others have two utterances"
    else:
        why = f"a third of the {able:,} that have two utterances or more"
    return (
        f"{held_out} speakers are held out for validation, {why}; with fewer than {ENOUGH} the error rate that "
        "chooses the checkpoint is uncertain (training prints its interval)"
    )


def _place(seed: int, speaker: str) -> bytes:
    return hashlib.sha256(f"{seed}:{speaker}".encode()).digest()
