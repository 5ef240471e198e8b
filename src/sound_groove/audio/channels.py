"""Several channels as one: which is listened to, and whether those that are averaged carry the same sound.

A recording of several channels is averaged, unless one is chosen: by its number, counted from 1, or by its name, `#2`
behind the file's. That is right where all carry one sound: copies, two microphones in a room, a channel that is silent.
It is wrong where a call has one person on each side, or where noise or music fills a channel: the average then holds
what nobody asked about. So channels are compared with the loudest, over stretches that are kept at 8 kHz, by two
measures from 0 (unrelated) to 1:

- likeness: the correlation of their levels in bands over time, in dB. It knows nothing of phase, so that codecs, hiss
  in both and moving heads change it little; two people who speak in turn have less than 0.
- coherence: the share of the power of each that a filter of up to a second could make out of the other, which gain,
  polarity, delay and a room's echo leave alone, and noise does not.

They differ where both measures are low. Measured with 34 real recordings of each kind, television, telephones and read
speech, the least or the most of them: one voice through two rooms, with one microphone near and one far, or 20 ms late,
has a coherence of 0.91 or more; with as much hiss as voice in both channels it has 0.4 to 0.7, but a likeness of 0.87
or more. People in turn have a likeness below -0.2, two at once, music and noise alone one below 0.4, all of them a
coherence below 0.1. With noise as loud as the voice in one of the channels the likeness is 0.7 in the median and the
coherence 0.5 to 0.7: 63 of 68 are found; with noise 5 dB below the voice half of them, and with 10 dB, which does the
average no harm, none.
"""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from sound_groove.errors import AudioError, UsageError, printable
from sound_groove.types import ChannelFacts, Samples

LIKENESS = 0.85  # from here on channels are alike
COHERENCE = 0.8  # and from here on
AUDIBLE_DB = -30.0  # of the loudest channel: what is weaker changes the average too little to matter
CANCELLED_SHARE = 0.05  # of the power that unrelated channels would leave: channels that leave less are opposite

RATE = 8000  # Hz, at which channels are compared
BAND_HZ = (150.0, 3800.0)
BANDS = 12
FRAME_S, FRAME_STEP_S = 0.128, 0.064  # for levels
FLOOR_DB = -35.0  # of a band's loud frames: what is weaker counts as this
LOUD = 0.95  # quantile of the frames' power that is a channel's level
WINDOW_S = 1.0  # for coherence: an echo must end within it
LEAST_S = 0.5  # less than this tells nothing
STRETCH_S = 4.0
KEPT_VALUES = 2 << 20  # samples times channels: 8 MiB, two minutes of stereo

# A channel may stand before or behind a part of a file (`given.Part`).
NAMED = re.compile(r"(?P<file>.+?)#(?P<channel>[0-9]{1,3})(?P<part>#t=[0-9.,]+)?", re.DOTALL)

Frames = NDArray[np.float32]  # (T, C)


def mixed_notes(mixed: Sequence[str]) -> list[str]:
    """That recordings are averages of different sounds, of which one should be chosen; none where there are no such.

    Args:
        mixed: what they are called, for people.

    >>> mixed_notes(["call.wav"])[0][:64]
    '1 recording has channels of different sound, which were averaged'
    """
    if not mixed:
        return []
    has = "recording has" if len(mixed) == 1 else "recordings have"
    return [
        f"{len(mixed):,} {has} channels of different sound, which were averaged, such as {mixed[0]}; choose one with "
        "--channel, or in the list by '#1' behind the name"
    ]


def named_channel(path: Path, channel: int | None = None) -> tuple[Path, int | None]:
    """The file that a name means, and the channel of it that is wanted.

    `call.wav#2` is the second channel of `call.wav`, unless there is a file of that very name. What says which part of
    the file is wanted stays: `call.wav#2#t=3,7` is the second channel of `call.wav#t=3,7`.

    Args:
        path: as it was given.
        channel: the one that is wanted of files whose name does not say; None averages.

    Raises:
        UsageError: the channel is no whole number from 1 on.

    >>> named_channel(Path("call.wav#2"), 1), named_channel(Path("take#b.wav"))
    ((PosixPath('call.wav'), 2), (PosixPath('take#b.wav'), None))
    """
    check_channel(channel)
    found = NAMED.fullmatch(path.name)
    if found is None or _is_there(path) or _is_there(path.with_name(path.name.removesuffix(found["part"] or ""))):
        return path, channel
    number = int(found["channel"])
    if number < 1:
        raise UsageError(f"{printable(str(path))}: channels are counted from 1")
    return path.with_name(found["file"] + (found["part"] or "")), number


def with_channel(path: Path, channel: int | None) -> Path:
    """The name of a file's channel, as `named_channel` reads it; a name that says one already stays.

    Raises:
        UsageError: a file has that very name; or as `named_channel`.

    >>> with_channel(Path("call.wav"), 2).name
    'call.wav#2'
    """
    file, wanted = named_channel(path, channel)
    if wanted is None or file != path:
        return path
    named = path.with_name(f"{path.name}#{wanted}")
    if _is_there(named):
        raise UsageError(f"{printable(str(named))}: is a file, so that this name cannot mean a channel; rename it")
    return named


def check_channel(channel: int | None) -> None:
    """Refuse what is no channel's number.

    Raises:
        UsageError: it is not a whole number from 1 on.
    """
    if channel is not None and (not isinstance(channel, int | np.integer) or channel < 1):
        raise UsageError(f"a channel is a whole number, counted from 1; {channel!r} was given")


def check_chosen(path: Path | None, channel: int | None, count: int) -> None:
    """Refuse a channel that a recording of so many does not have.

    Raises:
        AudioError: there is no such channel.
        UsageError: it is not a whole number from 1 on.
    """
    check_channel(channel)
    if channel is not None and channel > count:
        raise AudioError(path, f"there is no channel {channel}: it has {count}")


class Mixdown:
    """Blocks of several channels as mono, and what is known of the channels at the end.

    Args:
        path: the file, for messages; None for samples from memory.
        sample_rate: in Hz.
        channels: how many there are.
        chosen: which is wanted, from 1; None averages all.
        compared: find out whether those that are averaged carry the same sound.

    Raises:
        AudioError: there is no such channel.
    """

    def __init__(
        self, path: Path | None, sample_rate: int, channels: int, chosen: int | None = None, compared: bool = True
    ) -> None:
        check_chosen(path, chosen, channels)
        self._count, self._chosen = channels, chosen
        self._kept = _Stretches(sample_rate, channels) if compared and chosen is None and channels > 1 else None

    def select(self, frames: Frames) -> Frames:
        """The channels that are listened to (T, C), of a block (T, C)."""
        return frames if self._chosen is None else frames[:, self._chosen - 1 : self._chosen]

    def mono(self, frames: Frames) -> Samples:
        """A block (T, C) of what `select` gives as mono (T,)."""
        if self._kept is not None:
            self._kept.add(frames)
        return average(frames)

    def facts(self) -> ChannelFacts:
        """What is known after all blocks."""
        if self._kept is None:
            return ChannelFacts(self._count, self._chosen)
        stretches = self._kept.finish()
        return ChannelFacts(self._count, None, _differing(stretches), _cancel(stretches))


def average(frames: Frames) -> Samples:
    """(T, C) -> (T,). Channel by channel, so that a sample's value does not depend on the block that it is in."""
    mono: Samples = frames[:, 0].copy()
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with its own message
        for channel in range(1, frames.shape[1]):
            mono += frames[:, channel]
    mono /= np.float32(frames.shape[1])
    return mono


class _Stretches:
    """Stretches of a recording at RATE, evenly spaced, in bounded memory: half of them go when there are too many."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate, self._channels = sample_rate, channels
        self._length = max(1, int(STRETCH_S * sample_rate))  # frames of the file in a stretch
        self._most = max(2, int(KEPT_VALUES / (channels * STRETCH_S * RATE)))  # stretches
        self._every = 1  # how many stretches there are for each that is kept
        self._number, self._within = 0, 0  # the current stretch, and how many frames of it have come
        self._stream: soxr.ResampleStream | None = None
        self._parts: list[Frames] = []
        self._kept: list[tuple[int, Frames]] = []

    def add(self, frames: Frames) -> None:
        """Take a block (T, C)."""
        while len(frames):
            part, frames = np.split(frames, [self._length - self._within])
            self._within += len(part)
            if self._number % self._every == 0:
                self._take(part, last=self._within == self._length)
            if self._within == self._length:
                self._number, self._within = self._number + 1, 0

    def finish(self) -> list[Frames]:
        """The stretches that were kept, each (T, C)."""
        if self._stream is not None:
            self._take(np.empty((0, self._channels), np.float32), last=True)
        return [stretch for _, stretch in self._kept]

    def _take(self, part: Frames, last: bool) -> None:
        if self._stream is None:
            self._stream = soxr.ResampleStream(self._rate, RATE, self._channels, dtype="float32", quality="LQ")
        self._parts.append(self._stream.resample_chunk(np.ascontiguousarray(part), last=last))
        if not last:
            return
        self._kept.append((self._number, np.concatenate(self._parts)))
        self._stream, self._parts = None, []
        if len(self._kept) > self._most:
            self._every *= 2
            self._kept = [(number, stretch) for number, stretch in self._kept if number % self._every == 0]


def _cancel(stretches: list[Frames]) -> bool:
    """Whether channels leave next to nothing of themselves when they are averaged."""
    with np.errstate(over="ignore", invalid="ignore"):
        alone = sum(float(np.square(part, dtype=np.float64).sum()) for part in stretches)
        summed = sum(float(np.square(part.sum(axis=1, dtype=np.float64)).sum()) for part in stretches)
    return 0 < alone < np.inf and summed < CANCELLED_SHARE * alone


def _differing(stretches: list[Frames]) -> tuple[int, int] | None:
    """The loudest channel and the first that carries another sound, from 1; None where all are alike."""
    stretches = [part for part in stretches if len(part) >= LEAST_S * RATE]
    if not stretches:
        return None
    bands = np.concatenate([_band_powers(part) for part in stretches])  # (T, BANDS, C)
    levels = np.quantile(bands.sum(axis=1), LOUD, axis=0)  # (C,)
    loudest = int(levels.argmax())
    if not np.isfinite(levels).all() or levels[loudest] <= 0:
        return None
    for channel in np.flatnonzero(levels > levels[loudest] * 10 ** (AUDIBLE_DB / 10)).tolist():
        if channel == loudest or _likeness(bands[:, :, loudest], bands[:, :, channel]) >= LIKENESS:
            continue
        if _coherence([part[:, [loudest, channel]] for part in stretches]) < COHERENCE:
            return loudest + 1, channel + 1
    return None


def _band_powers(frames: Frames) -> NDArray[np.float64]:
    """(samples, C) at RATE -> (T, BANDS, C): the mean power of bands over time."""
    spectra = _spectra(frames, FRAME_S, FRAME_STEP_S)  # (T, F, C)
    power = np.square(np.abs(spectra), dtype=np.float64)
    edges = np.geomspace(*BAND_HZ, BANDS + 1)
    bins = np.round(edges * FRAME_S).astype(int) - round(BAND_HZ[0] * FRAME_S)  # spectra begin at the lowest band
    return np.stack([power[:, low:high].mean(axis=1) for low, high in pairwise(bins)], axis=1)


def _spectra(frames: Frames, length_s: float, step_s: float) -> NDArray[np.complex64]:
    """(samples, C) at RATE -> (T, F, C): spectra of overlapping windows, within BAND_HZ; at least one window."""
    length, step = int(length_s * RATE), int(step_s * RATE)
    if len(frames) < length:
        frames = np.pad(frames, ((0, length - len(frames)), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(frames, length, axis=0)[::step]  # (T, C, length)
    low, high = (round(edge * length / RATE) for edge in BAND_HZ)
    shape = np.hanning(length).astype(np.float32)
    # A window at a time: all of them at once would take many times the memory of the samples.
    spectra: NDArray[np.complex64] = np.stack([np.fft.rfft(one * shape)[:, low:high].T for one in windows])
    return spectra


def _likeness(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The correlation of two channels' levels in bands (T, BANDS), in dB, without each band's mean."""
    first, second = _levels_db(one), _levels_db(other)
    norm = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / norm if norm > 0 else 0.0


def _levels_db(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels (T, BANDS) against a band's loud frames, not below FLOOR_DB, without each band's mean."""
    loud = np.quantile(bands, LOUD, axis=0)
    loud = np.maximum(loud, 1e-3 * loud.max())  # a band in which there is nothing
    levels = 10 * np.log10(bands / loud + 10 ** (FLOOR_DB / 10))
    return np.asarray(levels - levels.mean(axis=0))


def _coherence(stretches: list[Frames]) -> float:
    """The share of the power of each of two channels that is a filtered copy of the other's, the lesser of both.

    The magnitude-squared coherence by Welch's method, weighted by power. Its mean over unrelated channels, one by the
    number of independent windows, is taken off.

    Args:
        stretches: each (samples, 2) at RATE.
    """
    window_s = min(WINDOW_S, max(map(len, stretches)) / RATE / 3)
    spectra = np.concatenate([_spectra(part, window_s, window_s / 2) for part in stretches]).astype(np.complex128)
    one, other = spectra[:, :, 0], spectra[:, :, 1]  # (T, F)
    powers = np.square(np.abs(spectra)).sum(axis=0)  # (F, 2)
    cross = np.square(np.abs((one * other.conj()).sum(axis=0)))  # (F,)
    coherence = cross / np.maximum(powers.prod(axis=1), np.finfo(np.float64).tiny)
    by_chance = 1 / (0.55 * len(spectra) + 0.45)  # windows that overlap by half are worth about half as many
    coherence = np.clip((coherence - by_chance) / max(1 - by_chance, 1e-9), 0, 1)
    shares = (coherence[:, None] * powers).sum(axis=0) / np.maximum(powers.sum(axis=0), np.finfo(np.float64).tiny)
    return float(shares.min())


def _is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a name that the system does not allow
        return False
