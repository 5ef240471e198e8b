"""What a store remembers of removals whose remains are not yet wiped from its files.

The mark is written with the removal itself, in one change, and taken away when nothing is left. So a process that was
killed in between leaves it, and who opens the store next, or removes somebody, goes on. It holds no name, but a hash of
it with salt of its own, by which the same command given again is known; while the mark is there, the name still is in
what is to be wiped.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sound_groove.json_reading import parse_json

PENDING = "erasing"  # the fact that holds them


@dataclass(frozen=True, slots=True)
class PendingErasure:
    """A removal that is not finished.

    Attributes:
        salt: random, hexadecimal.
        hash: SHA-256 of salt and name, hexadecimal.
        layout: of the files at that moment, where a store can tell; when it is another, they were written anew since.
    """

    salt: str
    hash: str
    layout: str = ""

    def is_of(self, name: str) -> bool:
        """Whether it was this name that was removed."""
        return _hash(self.salt, name) == self.hash


def pending_erasure(name: str, layout: str) -> PendingErasure:
    """The mark of the removal of a name."""
    salt = os.urandom(16).hex()
    return PendingErasure(salt, _hash(salt, name), layout)


def pending_bytes(pending: Sequence[PendingErasure]) -> bytes:
    """What a store keeps of removals that are not finished."""
    return json.dumps([asdict(one) for one in pending]).encode()


def read_pending(stored: bytes) -> tuple[PendingErasure, ...]:
    """The removals that are not finished; one of an unknown name where what is stored is damaged.

    >>> read_pending(b""), len(read_pending(b"damaged")), read_pending(pending_bytes([pending_erasure("Kim",
    "")]))[0].is_of("Kim") ((), 1, True)
    """
    if not stored:
        return ()
    try:
        return tuple(
            PendingErasure(str(one["salt"]), str(one["hash"]), str(one["layout"])) for one in parse_json(stored)
        )
    except (ValueError, TypeError, KeyError):
        return (PendingErasure("", ""),)


def _hash(salt: str, name: str) -> str:
    return hashlib.sha256(f"{salt} {name}".encode("utf-8", "surrogatepass")).hexdigest()
