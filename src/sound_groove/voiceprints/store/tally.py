"""What an encrypted store's voiceprints add up to: noticed when one was taken away, put in, or put back as it was.

A mark tells whether a row is the store's own, and not whether it is the newest. So a store keeps the sum of a secret
number for each mark, of a speaker or of a model's probe (a hash of the set, Clarke and others 2003, MSet-Add-Hash),
encrypted, with the revision that it is of. A change takes one number away and adds others, which costs the same however
many are enrolled. Whoever puts the whole file back to an earlier day puts the sum back with it: that cannot be told
from the file.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from sound_groove.errors import StoreError
from sound_groove.voiceprints.store.sealing import Sealer

OWNER = "the tally"
BYTES = 32


@dataclass(frozen=True, slots=True)
class Tally:
    """What the voiceprints of a revision add up to.

    Attributes:
        revision: of the store.
        total: the sum, modulo 2^256.
    """

    revision: int
    total: int

    def changed(self, gone: bytes, come: Iterable[bytes], revision: int, sealer: Sealer) -> "Tally":
        """The tally after a speaker's mark was exchanged for others; an empty one stands for nobody."""
        total = self.total + sum(_number(mark, sealer) for mark in come) - _number(gone, sealer)
        return Tally(revision, total % 2 ** (8 * BYTES))


def tally_of(revision: int, marks: Iterable[bytes], sealer: Sealer) -> Tally:
    """The tally of speakers' marks."""
    return Tally(revision, sum(_number(mark, sealer) for mark in marks) % 2 ** (8 * BYTES))


def sealed_tally(tally: Tally, sealer: Sealer) -> bytes:
    """What a store keeps of it."""
    return sealer.seal(struct.pack("<q", tally.revision) + tally.total.to_bytes(BYTES, "little"), OWNER)


def opened_tally(sealed: bytes, sealer: Sealer) -> Tally:
    """The tally that a store keeps.

    Raises:
        StoreError: it cannot be decrypted, or is damaged.
    """
    plain = sealer.unseal(sealed, OWNER)
    if len(plain) != 8 + BYTES:
        raise StoreError("the store's tally is damaged")
    return Tally(struct.unpack("<q", plain[:8])[0], int.from_bytes(plain[8:], "little"))


def _number(mark: bytes, sealer: Sealer) -> int:
    # Not the mark itself, which everybody can read: whoever knows the numbers can look for two sets of one sum.
    return int.from_bytes(sealer.mark(b"tally" + mark), "little") if mark else 0
