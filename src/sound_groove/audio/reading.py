"""Reading recordings: any format, rate and channel count, to mono float32 at 16 kHz, or one clear sentence why not.

A recording is refused (AudioError) when it is missing, a folder, not permitted, not audio, truncated, damaged, empty,
digital silence, not finite, shorter than MINIMUM_DURATION_S or longer than MAXIMUM_DURATION_S, has more than
MAXIMUM_CHANNELS, a rate outside SAMPLE_RATES (all of `limits`), not the channel that was asked for, or channels that
cancel each other when averaged (`sample_checks`). How it is decoded is in `blocks`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sound_groove.audio.blocks import AudioHeader, RecordingDecoder, decoding
from sound_groove.audio.given import AnyRecording, PathLike
from sound_groove.audio.limits import MAXIMUM_DURATION_S, SAMPLE_RATE
from sound_groove.audio.plain_wav import read_plain
from sound_groove.audio.sample_checks import SampleRange
from sound_groove.errors import AudioError
from sound_groove.types import ChannelFacts, Recording, Samples


def load_audio(recording: AnyRecording, channel: int | None = None) -> Samples:
    """The samples of a recording, as every part of this package takes them.

    Args:
        recording: a path (of a wav, flac, ogg, opus, mp3 or any other file that libsndfile reads, and with the `media`
            extra of an m4a, mp4, webm and more), also of a pipe; `-` for the standard input; a part of a file,
            `call.wav#t=12.5,20` (seconds), or a channel of it, `call.wav#2`; the bytes of a file, or an open file,
            which is read from its beginning; or samples with their rate in Hz, (samples, rate) or (rate, samples), as
            `audio.decoders.decoder_of` takes them. An array alone is mono floating point at 16 kHz.
        channel: which one to listen to, counted from 1, where the name does not say; None averages all.

    Returns:
        (samples,) float32, mono, 16 kHz.

    Raises:
        AudioError: the recording cannot be used (see the module's text for the reasons).
        UsageError: the channel is not a whole number from 1 on.
    """
    return read_recording(recording, channel).samples


def read_recording(
    recording: AnyRecording, channel: int | None = None, longest_s: float = MAXIMUM_DURATION_S
) -> Recording:
    """A recording with what is known about its source.

    Args:
        recording: as in `load_audio`.
        channel: as in `load_audio`.
        longest_s: what lasts longer is refused, at the latest when that much has been decoded.

    Raises:
        AudioError, UsageError: as in `load_audio`.
    """
    with decoding(recording, channel, longest_s) as source:
        spread, mixdown = SampleRange(source.path), source.mixdown()
        blocks = list(source.samples(spread, mixdown))
        channels = mixdown.facts()
        spread.check(channels.cancel)
        header = source.header
        return Recording(source.path, np.concatenate(blocks), header.sample_rate, channels, header.warnings)


def read_segment(path: PathLike, start: int, count: int) -> Samples:
    """A part of a recording, for training crops: equal to `load_audio(path)[start : start + count]`, to the bit.

    Reads as little as it can: of a plain wav (`sound_groove.audio.plain_wav`) the header and the segment; at 16 kHz,
    other uncompressed formats and flac are entered at the segment; other rates and formats are decoded from the
    beginning to the segment's end. Unlike a whole recording, a segment may be silent.

    Args:
        path: the file, or a channel of it.
        start: first sample, counted at 16 kHz.
        count: how many, at least 1.

    Returns:
        (count,) float32, mono, 16 kHz.

    Raises:
        AudioError: the recording cannot be used, or is shorter than the segment.
        ValueError: `start` is negative or `count` less than 1.
    """
    if start < 0 or count < 1:
        raise ValueError(f"a segment starts at 0 or later and has at least 1 sample, not start={start}, count={count}")
    if (plain := read_plain(Path(path), start, count)) is not None:
        return plain
    end = start + count
    with decoding(path, needed_s=end / SAMPLE_RATE) as source:
        header, name = source.header, source.path
        if source.knows_length and end > header.samples:
            raise _too_short(name, header.samples, end)
        first = start if header.sample_rate == SAMPLE_RATE and source.enters_exactly else 0
        if first:
            source.seek(first)
        wanted = header.frames if header.sample_rate != SAMPLE_RATE or not source.knows_length else end - first
        blocks, length = [], 0
        for block in source.samples(SampleRange(name), source.mixdown(compared=False), wanted):
            blocks.append(block)
            length += len(block)
            if first + length >= end:
                break
        else:
            if first + length < end:
                raise _too_short(name, first + length, end)
    return np.concatenate(blocks)[start - first : end - first]


def _too_short(path: Path | None, samples: int, end: int) -> AudioError:
    return AudioError(path, f"has {samples:,} samples at 16 kHz, fewer than the {end:,} that the segment needs")


def read_spans(
    recording: AnyRecording, spans: Callable[[int], Sequence[tuple[int, int]]], channel: int | None = None
) -> Iterator[Samples]:
    """Parts of a recording in one pass, holding no more of it in memory than a part and a block.

    Args:
        recording: as in `load_audio`.
        spans: gives the parts, for the number of samples at 16 kHz: first sample and the one after the last, by their
            first samples. They may overlap.
        channel: as in `load_audio`.

    Yields:
        The samples of each part, as `load_audio` gives them.

    Raises:
        AudioError: the recording cannot be used, which may show at its end only (for the reasons in the
            module's text).
    """
    with open_recording(recording, channel) as whole:
        yield from whole.parts(spans(whole.samples))


@contextmanager
def open_recording(
    recording: AnyRecording,
    channel: int | None = None,
    compared: bool = False,
    longest_s: float = MAXIMUM_DURATION_S,
) -> Iterator["OpenRecording"]:
    """A recording that is read more than once, also one that comes through a pipe.

    Args:
        recording: as in `load_audio`.
        channel: as in `load_audio`.
        compared: find out, the first time that it is read, whether channels that are averaged carry the same sound.
        longest_s: what lasts longer is refused; beyond MAXIMUM_DURATION_S for whoever never holds all of it.

    Raises:
        AudioError, UsageError: as in `load_audio`.
    """
    with decoding(recording, channel, longest_s) as source:
        source.count_frames()
        yield OpenRecording(source, compared)


class OpenRecording:
    """A recording from which parts are read, as often as they are wanted.

    Attributes:
        path: where it is read from; None for what came from memory.
        samples: how many there are at 16 kHz.
        source_sample_rate: the file's own rate, in Hz.
        warnings: what is doubtful about the file, such as its length.
        channels: the file's own, and, once it was read, what became of them.
    """

    def __init__(self, source: RecordingDecoder, compared: bool) -> None:
        self.path, self.samples = source.path, source.header.samples
        self.source_sample_rate, self.warnings = source.header.sample_rate, source.header.warnings
        self.channels = ChannelFacts(source.header.channels, source.channel)
        self._source, self._compared = source, compared
        self._is_new = True

    def whole(self) -> Recording:
        """All of it, in memory; errors are those of `load_audio`."""
        (samples,) = self.parts([(0, self.samples)])
        return Recording(self.path, samples, self.source_sample_rate, self.channels, self.warnings)

    def parts(self, spans: Sequence[tuple[int, int]]) -> Iterator[Samples]:
        """Parts in one pass; arguments and errors are those of `read_spans`."""
        compared = self._compared and self._is_new
        if not self._is_new:
            self._source.seek(0)
        self._is_new = False
        spread = SampleRange(self.path)
        mixdown = self._source.mixdown(compared)
        waiting = deque(spans)
        held, first = np.empty(0, np.float32), 0  # the samples from `first` on
        for block in self._source.samples(spread, mixdown):
            held = np.concatenate((held, block))
            while waiting and waiting[0][1] <= first + len(held):
                start, end = waiting.popleft()
                yield held[start - first : end - first].copy()
            needed = waiting[0][0] if waiting else first + len(held)
            passed = min(needed - first, len(held))
            held, first = held[passed:], first + passed
        if compared:
            self.channels = mixdown.facts()
        spread.check(self.channels.cancel)


class HeldRecording(OpenRecording):
    """A recording that was decoded already, here or by another process, as one from which parts are read.

    Args:
        decoded: all of it.
    """

    def __init__(self, decoded: Recording) -> None:
        self.path, self.samples = decoded.path, len(decoded.samples)
        self.source_sample_rate, self.warnings = decoded.source_sample_rate, decoded.warnings
        self.channels = decoded.channels
        self._decoded = decoded

    def whole(self) -> Recording:
        """What was decoded."""
        return self._decoded

    def parts(self, spans: Sequence[tuple[int, int]]) -> Iterator[Samples]:
        """Parts of it, in the order in which they are asked for."""
        return (self._decoded.samples[start:end] for start, end in spans)


def probe(recording: AnyRecording, channel: int | None = None) -> AudioHeader:
    """What a recording's header says, checked as far as that is possible without decoding.

    Finds what `check_container` finds (not audio, truncated, damaged pages or frames) and the limits on length, rate
    and channels; damage inside a flac file, silence and samples that are not finite only show when the recording is
    read. A flac that does not say its length, and all that FFmpeg decodes, is decoded to count it.
    Recording and channel are those of `load_audio`.

    Raises:
        AudioError: the recording cannot be used.
    """
    with decoding(recording, channel) as source:
        source.count_frames()
        return source.header
