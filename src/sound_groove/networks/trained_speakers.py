"""Whom a model was trained on, told without naming anybody.

A model file lists digests of its training speakers' names. Whoever has a name can ask whether it is among them; whoever
has the digests only cannot read names off them (though short names can be guessed one by one). A name is what the
manifest calls a speaker, so the same name in two corpora is one digest, whether or not it is one person.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from sound_groove.errors import CheckpointError, printable

DIGESTS_KEY = "speaker_digests"  # among the facts of a model's training
_DIGEST = re.compile("[0-9a-f]{16}")


def speaker_digest(name: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a speaker's name, in UTF-8 and Unicode's form NFC.

    64 bits: among 10,000 training speakers, the chance that some other name has the digest of one is 5e-16.

    >>> speaker_digest("abc")  # the SHA-256 of "abc" in FIPS 180-2 begins like this
    'ba7816bf8f01cfea'
    """
    text = unicodedata.normalize("NFC", name)  # file systems and people write one letter in several ways
    # Undecodable bytes of a file's name stand in it as surrogates, which UTF-8 has no place for.
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def speaker_digests(names: Iterable[str]) -> frozenset[str]:
    """The digest of each name."""
    return frozenset(map(speaker_digest, set(names)))


def check_unheard(trained: frozenset[str], names: Iterable[str]) -> list[str]:
    """Which speakers a model was trained on, so that nothing should be judged or calibrated by them.

    Args:
        trained: digests of the model's training speakers (`SpeakerEncoder.trained_speakers`).
        names: of speakers, as their corpus calls them.

    Returns:
        The names that are among the training speakers, sorted; none if all is well.

    >>> check_unheard(speaker_digests(["anna", "ben"]), ["ben", "carla"])
    ['ben']
    """
    return sorted(name for name in set(names) if speaker_digest(name) in trained) if trained else []


def listed_digests(training: Mapping[str, Any], source: str) -> frozenset[str]:
    """The digests that the facts of a model's training list; none where they say nothing, as those of older files.

    Args:
        training: the facts.
        source: the model's file, for the error.

    Raises:
        CheckpointError: what is there is no list of digests.
    """
    digests = training.get(DIGESTS_KEY, [])
    if not isinstance(digests, list) or not all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in digests):
        raise CheckpointError(f"{printable(source)}: the digests of its training speakers are damaged")
    return frozenset(digests)
