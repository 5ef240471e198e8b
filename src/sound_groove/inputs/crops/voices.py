"""Other voices of a voice: speed, tempo, formants apart from the pitch, and spectral tilt, each on its own.

Every function takes and gives samples (samples,) at 16 kHz.
"""

from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.types import Samples

_WINDOW = 512  # of the short-time spectrum: 32 ms
_HOP = 128
_LIFTER = 32  # values of the cepstrum that make the envelope: 2 ms, the period of a voice of 500 Hz
_LARGEST_GAIN = 4.0  # of the envelope's change, in nepers: 35 dB
_TILT_FROM_HZ = 100.0

_PIECE = 640  # of the tempo's change: 40 ms
_STEP = _PIECE // 2
_REACH = 160  # how far a piece may be moved to fit: 10 ms, a period of a low voice


class Change(NamedTuple):
    """What is done to a voice; as it stands here, nothing.

    Attributes:
        speed: at which it is played, moving pitch and formants together.
        formants: by which formants are moved besides, the pitch staying where it is.
        tempo: at which it is spoken.
        tilt_db: decibels an octave by which its spectrum rises.
    """

    speed: float = 1.0
    formants: float = 1.0
    tempo: float = 1.0
    tilt_db: float = 0.0

    def samples_for(self, count: int) -> int:
        """How many samples make at least so many."""
        return int(count * self.speed * self.tempo) + 2

    def of(self, samples: Samples) -> Samples:
        """The changed voice (samples,), which is shorter by speed and tempo."""
        if self.speed != 1.0:
            samples = change_speed(samples, self.speed)
        if self.tempo != 1.0:
            samples = change_tempo(samples, self.tempo)
        if self.formants != 1.0 or self.tilt_db:
            samples = shape_spectrum(samples, self.formants, self.tilt_db)
        return samples

    def spoken(self, pitch: float, tempo: float, tilt_db: float) -> "Change":
        """The same speaker in another mood: pitch and tempo by factors, the spectrum tilted, the formants as they were.

        >>> Change(speed=1.2, formants=1.1).spoken(pitch=1.25, tempo=1.0, tilt_db=0.0)
        Change(speed=1.5, formants=0.88, tempo=1.0, tilt_db=0.0)
        """
        return Change(self.speed * pitch, self.formants / pitch, self.tempo * tempo, self.tilt_db + tilt_db)


def change_speed(samples: Samples, speed: float) -> Samples:
    """Played at a speed: 1.1 makes it shorter by 1.1, and pitch and formants higher by 1.1.

    >>> len(change_speed(np.zeros(16_000, dtype=np.float32), 1.25))
    12800
    """
    changed: Samples = soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE)
    return changed.astype(np.float32, copy=False)


def change_tempo(samples: Samples, tempo: float) -> Samples:
    """Spoken at another tempo, pitch and formants as they were: 1.25 makes it shorter by 1.25.

    Overlapping pieces are taken at another pace than they are laid down, each where it fits best to what was to follow
    the piece before (WSOLA, Verhelst and Roelands 1993).
    """
    count = int(len(samples) / tempo)
    padded = np.pad(samples, (_REACH, _PIECE + 2 * _REACH + _STEP)).astype(np.float32)
    window = np.hanning(_PIECE + 1)[:-1].astype(np.float32)
    pieces = count // _STEP + 2
    out = np.zeros((pieces + 1) * _STEP, dtype=np.float32)
    place = _REACH
    for number in range(pieces):
        wanted = min(_REACH + round(number * _STEP * tempo), len(padded) - _PIECE - _REACH - 1)
        if number:
            following = padded[place + _STEP : place + _STEP + _STEP]  # what would follow the piece before
            around = padded[wanted - _REACH : wanted + _REACH + _STEP]
            place = wanted - _REACH + _best_fit(following, around)
        else:
            place = wanted
        piece = padded[place : place + _PIECE] * window
        out[number * _STEP : number * _STEP + len(piece)] += piece
    return out[_STEP // 2 : _STEP // 2 + count]


def _best_fit(wanted: NDArray[np.float32], around: NDArray[np.float32]) -> int:
    """Where in `around` the cosine with `wanted` is largest."""
    if len(wanted) < _STEP or len(around) < _STEP:
        return 0
    products = np.correlate(around, wanted, mode="valid")
    energies = np.cumsum(np.concatenate(([0.0], np.square(around, dtype=np.float64))))
    levels = np.sqrt(np.maximum(energies[_STEP:] - energies[:-_STEP], 1e-9))
    return int(np.argmax(products / levels))


def shape_spectrum(samples: Samples, formants: float = 1.0, tilt_db: float = 0.0) -> Samples:
    """The spectral envelope stretched by a factor, and tilted; the pitch stays where it is.

    The envelope is the smooth part of the log spectrum of each frame (its first cepstral values). It is replaced by
    itself, stretched along the frequency, and the phases are kept.

    Args:
        samples: (samples,).
        formants: 1.1 moves a formant of 1 kHz to 1.1 kHz.
        tilt_db: decibels an octave by which the spectrum rises, from 100 Hz on.
    """
    if len(samples) < _WINDOW:
        return samples
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    padded = np.pad(samples, (_WINDOW, 2 * _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * window
    spectra = np.fft.rfft(frames).astype(np.complex64)  # (frames, bins)
    bins = spectra.shape[1]
    gain = np.zeros((1, bins), dtype=np.float32)
    if tilt_db:
        frequency = np.maximum(np.arange(bins) * SAMPLE_RATE / _WINDOW, _TILT_FROM_HZ)
        gain = gain + (tilt_db * np.log(10.0) / 20.0 * np.log2(frequency / _TILT_FROM_HZ)).astype(np.float32)
    if formants != 1.0:
        envelope = _envelope(spectra)
        source = np.minimum(np.arange(bins) / formants, bins - 1)
        low = source.astype(np.intp)
        high, share = np.minimum(low + 1, bins - 1), (source - low).astype(np.float32)
        stretched = envelope[:, low] * (1.0 - share) + envelope[:, high] * share
        gain = gain + np.clip(stretched - envelope, -_LARGEST_GAIN, _LARGEST_GAIN)
    changed = np.fft.irfft(spectra * np.exp(gain), _WINDOW).astype(np.float32) * window
    return _overlapped(changed, window, len(padded))[_WINDOW : _WINDOW + len(samples)]


def _envelope(spectra: NDArray[np.complex64]) -> NDArray[np.float32]:
    """(frames, bins) -> the smooth part of the natural logarithm of the magnitudes."""
    magnitudes = np.abs(spectra)
    floor = max(float(magnitudes.max()) * 1e-4, 1e-9)  # 80 dB down
    cepstrum = np.fft.irfft(np.log(np.maximum(magnitudes, floor)), _WINDOW)  # (frames, 512)
    cepstrum[:, _LIFTER : _WINDOW - _LIFTER + 1] = 0.0
    envelope: NDArray[np.float32] = np.fft.rfft(cepstrum).real.astype(np.float32)
    return envelope


def _overlapped(frames: NDArray[np.float32], window: NDArray[np.float32], count: int) -> Samples:
    """Windowed frames (frames, window) laid over one another, the weight of the squared window divided out."""
    parts = _WINDOW // _HOP
    out = np.zeros((len(frames) + parts, _HOP), dtype=np.float32)
    weight = np.zeros_like(out)
    squares = np.square(window).reshape(parts, _HOP)
    for part in range(parts):
        out[part : part + len(frames)] += frames[:, part * _HOP : (part + 1) * _HOP]
        weight[part : part + len(frames)] += squares[part]
    whole = (out / np.maximum(weight, 1e-3)).reshape(-1)
    return whole[:count].astype(np.float32)
