"""Which speakers are held out for validation."""

import hashlib
from collections.abc import Mapping

from sound_groove.errors import CorpusError

SHARE = 0.05
FEWEST, MOST = 2, 100  # fewer give no pair of different speakers, more only cost training data and time
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
        wanted: how many; None = 5 % of the candidates, at least 2, at most 100 and as many as can be; 0 = none.
        seed: of the draw.

    Raises:
        CorpusError: there are too few speakers for both sides.
    """
    allowed = [speaker for speaker in utterances if candidates is None or speaker in candidates]
    able = [speaker for speaker in allowed if utterances[speaker] >= 2]
    count = max(min(round(SHARE * len(allowed)), len(able), MOST), FEWEST) if wanted is None else wanted
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


def _place(seed: int, speaker: str) -> bytes:
    return hashlib.sha256(f"{seed}:{speaker}".encode()).digest()
