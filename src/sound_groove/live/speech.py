"""Speech in audio that is still arriving, and what is kept of it: the latest, bounded."""

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span
from sound_groove.audio.speech import CHUNK, Flags, find_speech, speech_spans
from sound_groove.types import Samples

BEFORE = 63  # chunks that the detector hears before those that it decides on: 2 s
STEP = 32  # chunks that are decided on at a time: 1.02 s
MOST = 90 * SAMPLE_RATE // CHUNK  # chunks that are kept


class ArrivingSpeech:
    """Takes samples as they come, and finds speech in them second by second.

    The detector hears two seconds before what it decides on, and nothing behind it: whoever waits for what comes
    later is late. Of a long pause about a second is kept.

    Attributes:
        received: samples so far.
        speech: samples of speech since the beginning, or since what was before was forgotten.
    """

    def __init__(self) -> None:
        self.received = 0
        self.speech = 0
        self._waiting = np.empty(0, np.float32)
        self._samples = np.empty(0, np.float32)  # decided on; whole chunks
        self._flags = np.empty(0, np.bool_)  # of these chunks
        self._before = np.empty(0, np.float32)  # the chunks before the next

    def add(self, samples: Samples) -> None:
        """Take more samples (samples,), mono at 16 kHz."""
        self.received += len(samples)
        self._waiting = np.concatenate([self._waiting, samples])

    def step(self) -> bool:
        """Decide on the next second; whether there was one."""
        size = STEP * CHUNK
        if len(self._waiting) < size:
            return False
        block, self._waiting = self._waiting[:size], self._waiting[size:]
        heard = np.concatenate([self._before, block])
        flags = find_speech(heard)[-STEP:]
        self._before = heard[-BEFORE * CHUNK :]
        self.speech += int(flags.sum()) * CHUNK
        if flags.any() or self._flags[-STEP:].any():
            self._samples = np.concatenate([self._samples, block])[-MOST * CHUNK :]
            self._flags = np.concatenate([self._flags, flags])[-MOST:]
        return True

    @property
    def samples(self) -> Samples:
        """(samples,) what is kept of the audio that was decided on."""
        return self._samples

    @property
    def flags(self) -> Flags:
        """(chunks,) which of it is speech."""
        return self._flags

    def spans(self, speech: int) -> list[Span]:
        """The stretches of speech in the latest of what is kept, with so many samples of speech, or in all of it."""
        start = self._start_of(speech)
        latest = np.concatenate([np.zeros(start, np.bool_), self._flags[start:]])
        return speech_spans(latest, len(self._samples))

    def forget(self, speech: int) -> None:
        """Keep the latest audio with so many samples of speech, and nothing before it."""
        start = self._start_of(speech)
        self._samples, self._flags = self._samples[start * CHUNK :], self._flags[start:]
        self.speech = int(self._flags.sum()) * CHUNK

    def _start_of(self, speech: int) -> int:
        """The chunk from which on there are so many samples of speech; 0 where there are not so many."""
        places = np.flatnonzero(self._flags)
        wanted = -(-speech // CHUNK)
        return int(places[-wanted]) if wanted <= len(places) else 0
