"""The voice of a recording: what is embedded of it, in memory, or read from a long file part by part.

A recording in memory has a voice in memory, (samples,), its speech with short pauses (`pauses.without_pauses`). That of
a recording of more than ten minutes is not held: the recording is listened to part by part, and what is kept of it is
read again when it is embedded, so that hours of audio take no more memory than minutes.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.level import frame_energies, level_of, level_spans
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pauses import assembled, kept_spans, within
from sound_groove.audio.pieces import Array, Span, repeated
from sound_groove.audio.reading import OpenRecording
from sound_groove.audio.speech import speech_in
from sound_groove.types import Samples

LISTENED_SAMPLES = 600 * SAMPLE_RATE  # of a recording that are listened to at a time: 38 MB

Piece: TypeAlias = tuple[Array, float]  # and the level of the recording that it is a part of; 0 where it is the whole


class LongVoice:
    """What is embedded of a recording that is read part by part; it must stay open.

    Args:
        recording: is read from its beginning once more for the pieces.
        kept: the stretches of it that are embedded.
        energies: of the frames of its speech, which give its level; none where all of it is embedded.
    """

    def __init__(
        self, recording: OpenRecording, kept: Sequence[Span], energies: Sequence[NDArray[np.float64]] = ()
    ) -> None:
        self._recording, self._kept, self._energies = recording, kept, energies

    def pieces(self, least: int, cut: Callable[[int], list[Span]], has_level: bool) -> Iterator[Piece]:
        """The pieces that a network is given, one after the other.

        Args:
            least: samples, to which a shorter voice is repeated.
            cut: where a voice of so many samples is cut.
            has_level: measure the level of the recording.
        """
        total = sum(end - start for start, end in self._kept)
        pieces = cut(total) if total >= least else [(0, total)]
        level = self._level() if has_level and len(pieces) > 1 else 0.0
        for piece in assembled(self._recording.parts, [within(self._kept, piece) for piece in pieces]):
            yield repeated(piece, least), level

    def _level(self) -> float:
        """The level of the speech; of the recording where all of it is embedded, which is read for it."""
        if self._kept != [(0, self._recording.samples)]:
            return level_of(np.concatenate(self._energies))
        parts = self._recording.parts(level_spans(self._recording.samples))
        return level_of(np.concatenate([frame_energies(part) for part in parts]))


Voice: TypeAlias = Samples | LongVoice


def is_long(recording: OpenRecording) -> bool:
    """Whether a recording is to be listened to part by part."""
    return recording.samples > LISTENED_SAMPLES


def long_voice(recording: OpenRecording, listen: Callable[[Samples], Sequence[Span]] = speech_in) -> LongVoice:
    """The voice of a recording, which is read and listened to part by part.

    Args:
        recording: of any length.
        listen: gives the stretches of speech in each part (samples,), in the order of the parts.
    """
    edges = [*range(0, recording.samples, LISTENED_SAMPLES), recording.samples]
    parts, speech, energies = list(pairwise(edges)), list[Span](), list[NDArray[np.float64]]()
    for (start, _), part in zip(parts, recording.parts(parts), strict=True):
        spoken = listen(part)
        speech += [(start + first, start + end) for first, end in spoken]
        energies += [frame_energies(part[first:end]) for first, end in spoken]
    return LongVoice(recording, kept_spans(speech, recording.samples), energies)
