"""The same audio twice: as another encoding, cut, louder, or through a telephone.

    landmarks of every recording (`audio.fingerprint`) -> pairs that share several, all at one offset
                                                       -> their fingerprints over each other: are they copies?

The first step sorts the landmarks of the whole corpus, so its time grows nearly as their number; the second reads
the recordings of few pairs again. Recordings of more than ten minutes have no landmarks. A copy that was slowed, mixed
with something else, or is a small part of a long recording is not found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.fingerprint import FRAME_BITS, Fingerprint, Landmarks, Likeness, fingerprint, likeness
from sound_groove.audio.given import AnyRecording
from sound_groove.audio.reading import load_audio
from sound_groove.curation.heard import HeardCorpus
from sound_groove.errors import AudioError

LEAST_SHARED = 3  # landmarks at one offset
SPREAD = 2  # frames within which offsets are one
NEIGHBOURS = 16  # with whom a landmark is compared of those that have it too: what many have says little
PASSES_OF = 1_000_000  # landmarks: of so many, pairs are gathered at a time
AT_ONCE = 1_000_000  # landmarks that are copied at a time
ROW_BITS, OFFSET_BITS = 22, 20  # of a number that holds a pair and an offset: 4 million recordings, 4.6 hours
AS_LONG_S = 0.5  # in steps of this lengths are compared, and beginnings told


@dataclass(frozen=True, slots=True)
class Copy:
    """A recording that holds the audio of another.

    Attributes:
        row: of it: the shorter of the two, or of two that are as long the one with more doubts, or the later.
        of: row of the other.
        likeness: how that is known.
    """

    row: int
    of: int
    likeness: Likeness

    @property
    def evidence(self) -> str:
        """How that is known, for people."""
        offset_s = abs(self.likeness.offset_s)
        where = "" if offset_s < AS_LONG_S else f"{offset_s:.1f} s apart, "
        return f"{where}{100 * self.likeness.errors:.0f} % of the fingerprint changed"


def find_copies(heard: HeardCorpus, open_row: Callable[[int], AnyRecording]) -> list[Copy]:
    """Find recordings that hold the audio of others, each once, with the longest that it is a copy of.

    Recordings with the very same samples are left to whoever compares digests.

    Args:
        heard: of the corpus.
        open_row: gives the recording of a row.
    """
    known: dict[int, Fingerprint | None] = {}

    def printed(row: int) -> Fingerprint | None:
        if row not in known:
            if len(known) > 1:
                del known[next(iter(known))]
            try:
                known[row] = fingerprint(load_audio(open_row(row)))
            except AudioError:  # gone since it was heard
                known[row] = None
        return known[row]

    found: dict[int, Copy] = {}
    for one, other, offset in shared_landmarks(heard.landmarks, heard.starts):
        if heard.digests[one] == heard.digests[other]:
            continue
        first, second = printed(one), printed(other)
        if first is None or second is None or not (alike := likeness(first, second, offset)).is_copy:
            continue
        kept, dropped = sorted((one, other), key=lambda row: _worth(heard, row))
        earlier = found.get(dropped)
        if earlier is None or _worth(heard, kept) < _worth(heard, earlier.of):
            found[dropped] = Copy(dropped, kept, alike)
    return sorted(found.values(), key=lambda copy: copy.likeness.errors)


def _worth(heard: HeardCorpus, row: int) -> tuple[int, int, int]:
    """By which recordings of the same audio are ordered, the one to keep first. It is an order of all: none is lost."""
    return -int(heard.duration_s[row] / AS_LONG_S), len(heard.codes(row)), row


def shared_landmarks(landmarks: Landmarks, starts: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Pairs of recordings that share LEAST_SHARED landmarks and more at one offset, and this, in frames.

    Args:
        landmarks: (M,) of all recordings, one after the other.
        starts: (N + 1,) where each one's begin.

    Yields:
        Row, a later row, and the frame of the first on which the other's first frame lies.
    """
    count = len(landmarks)
    places = np.empty(count, np.uint64)  # key and place as one number: sorted where it is, of one key in order of rows
    for here in _slices(count):
        some = np.arange(here.start, min(here.stop, count), dtype=np.uint64)
        places[here] = (landmarks[here] >> np.uint64(FRAME_BITS) << np.uint64(32)) | some
    places.sort()
    keys, order = np.empty(count, np.uint32), np.empty(count, np.uint32)
    for here in _slices(count):
        keys[here] = places[here] >> np.uint64(32)
        order[here] = places[here] & np.uint64(2**32 - 1)
    del places
    more = np.zeros(count, np.uint8)  # how many with the same key come next, up to NEIGHBOURS
    for by in range(1, NEIGHBOURS + 1):
        more[:-by] += keys[by:] == keys[:-by]
    del keys
    frames, rows = np.empty(count, np.uint32), np.empty(count, np.uint32)
    for here in _slices(count):
        frames[here] = landmarks[order[here]] & np.uint64(2**FRAME_BITS - 1)
        rows[here] = np.searchsorted(starts, order[here], side="right") - 1
    del order
    passes = 1 + count // PASSES_OF
    for number in range(passes):
        yield from _often(_meetings(rows, frames, more, np.flatnonzero(rows % np.uint32(passes) == number)))


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE))


def _meetings(
    rows: NDArray[np.uint32], frames: NDArray[np.uint32], more: NDArray[np.uint8], places: NDArray[np.intp]
) -> Landmarks:
    """For the landmarks at these places, and each neighbour with the same key: both rows and the offset as a number."""
    parts = [np.zeros(0, np.uint64)]
    for by in range(1, NEIGHBOURS + 1):
        places = places[more[places] >= by]
        offsets = frames[places].astype(np.int64) - frames[places + by] + (1 << (OFFSET_BITS - 1))
        pairs = (rows[places].astype(np.uint64) << np.uint64(ROW_BITS)) | rows[places + by].astype(np.uint64)
        parts.append((pairs << np.uint64(OFFSET_BITS)) | offsets.astype(np.uint64))
    return np.concatenate(parts)


def _often(meetings: Landmarks) -> Iterator[tuple[int, int, int]]:
    """The pairs that meet LEAST_SHARED times at one offset, each once."""
    meetings.sort()
    last = LEAST_SHARED - 1
    several = np.flatnonzero(meetings[last:] - meetings[: len(meetings) - last] <= SPREAD)
    pairs = meetings[several] >> np.uint64(OFFSET_BITS)
    for place in np.unique(pairs, return_index=True)[1].tolist():
        pair = int(pairs[place])
        # The middle one of those that lie together.
        offset = int(meetings[several[place] + last // 2]) & (2**OFFSET_BITS - 1)
        yield pair >> ROW_BITS, pair & (2**ROW_BITS - 1), offset - (1 << (OFFSET_BITS - 1))
