"""What a recording sounds like, in numbers that do not say who speaks: envelope, periodicity, flatness, levels.

They are taken of the speech in a recording, and do not change with its level. `sound_groove.audio.familiarity` tells by
them whether a recording is of a kind that calibrations know.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.filterbank import mel_filters
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.types import Samples

LEAST_S = 0.5  # of sound, of which less says nothing
FRAME, LONG_FRAME, SHIFT = 512, 1024, 256  # samples: 32, 64 and 16 ms; a period of a low voice fits twice into the long
BANDS, CEPSTRA = 32, 20
HEARD_DB = 25.0  # below the louder frames: what is quieter is a pause
FLOOR_DB = 90.0  # below them: what no microphone hears
LOUD = 0.95  # quantile of the frames' levels
PERIODS = (32, 266)  # samples: 500 to 60 Hz
PERIODIC = 0.5  # normalised autocorrelation from which on a frame is voiced
FIRST_PEAK = 0.85  # of the highest: the shortest period that is so periodic is the pitch's
FLATNESS_BINS = ((3, 64), (64, 128), (128, 256))  # of the spectrum: up to 2, 4 and 8 kHz
AT_ONCE = 128  # frames, of those that are long
GROUPS = {"envelope": CEPSTRA, "variation": BANDS // 2, "periodicity": 11, "flatness": 6, "levels": 5, "depth": 8}
COUNT = sum(GROUPS.values())

Statistics = NDArray[np.float64]
Frames = NDArray[np.float64]


def sound_statistics(samples: Samples) -> Statistics | None:
    """The numbers (COUNT,) in the order of `GROUPS`, or None where there is too little sound.

    - envelope: the first cepstral values of the mean log spectrum in bands.
    - variation: the standard deviation of each two neighbouring bands over time.
    - periodicity: share of voiced frames; mean, deviation and quantiles (10, 50, 90 %) of the normalised
      autocorrelation at the pitch; median, quantiles (10, 90 %), deviation and mean step of the pitch in octaves over
      100 Hz.
    - flatness: mean and deviation, over frames, of the log ratio of the geometric to the arithmetic mean power, below 2
      kHz, up to 4 and up to 8.
    - levels: deviation of the frames' levels, share of frames that are heard, mean step, and how far the 10 % and 50 %
      quantiles lie below the loud frames, in dB.
    - depth: between the 10 % and 95 % quantiles of the log energy, in eight groups of bands.

    Args:
        samples: (samples,) of speech at 16 kHz, pauses cut out.
    """
    if len(samples) < LEAST_S * SAMPLE_RATE:
        return None
    waveform = samples.astype(np.float64) - samples.mean()
    powers = np.square(np.abs(np.fft.rfft(_frames(waveform, FRAME) * np.hanning(FRAME))))  # (T, bins)
    levels = 10.0 * np.log10(powers.sum(axis=1) + 1e-12)
    loud_db = float(np.quantile(levels, LOUD))
    heard = levels > loud_db - HEARD_DB
    powers /= 10.0 ** (loud_db / 10.0)
    floor = 10.0 ** (-FLOOR_DB / 10.0)
    bands = np.log(_times(powers[:, 1 : FRAME // 2], _filters()) + floor)  # (T, BANDS)
    return np.concatenate(
        (
            _times(bands[heard].mean(axis=0), _cosines())[:CEPSTRA],
            bands[heard].std(axis=0).reshape(-1, 2).mean(axis=1),
            _periodicity(_frames(waveform, LONG_FRAME), heard),
            _flatness(powers[heard] + floor),
            _levels(levels - loud_db, heard),
            (np.quantile(bands, LOUD, axis=0) - np.quantile(bands, 0.1, axis=0)).reshape(8, -1).mean(axis=1),
        )
    )


def _times(values: Frames, matrix: Frames) -> Frames:
    """Their product, without the library for matrices, which claims more memory than a bounded process may have."""
    return np.asarray(np.einsum("...i,ij->...j", values, matrix))


def _frames(waveform: Frames, length: int) -> Frames:
    """(T, length), a frame every SHIFT samples."""
    return np.lib.stride_tricks.sliding_window_view(waveform, length)[::SHIFT]


@cache
def _filters() -> Frames:
    """(FRAME / 2 - 1, BANDS): those of the filterbank, over all bins but the first and last, which weigh nothing."""
    return mel_filters(BANDS)


@cache
def _cosines() -> Frames:
    """(BANDS, BANDS): from log energies to cepstral values."""
    places = (np.arange(BANDS) + 0.5) / BANDS
    return np.asarray(np.cos(np.pi * np.arange(BANDS) * places[:, None]) * 2.0 / BANDS)


@cache
def _window_correlation() -> Frames:
    """(PERIODS[1],): what the window of long frames leaves of an autocorrelation, by lag."""
    spectrum = np.square(np.abs(np.fft.rfft(np.hanning(LONG_FRAME), 2 * LONG_FRAME)))
    correlation = np.fft.irfft(spectrum)[: PERIODS[1]]
    return np.asarray(correlation / correlation[0])


def _periodicity(frames: Frames, heard: NDArray[np.bool_]) -> Statistics:
    """How periodic the heard frames are (Boersma 1993), and at which pitch."""
    frames = frames[heard[: len(frames)]] if heard[: len(frames)].any() else frames
    parts = [_pitch(frames[start : start + AT_ONCE]) for start in range(0, len(frames), AT_ONCE)]
    peaks, periods = (np.concatenate(column) for column in zip(*parts, strict=True))
    voiced = peaks > PERIODIC
    pitch = np.log2(SAMPLE_RATE / periods[voiced] / 100.0) if voiced.sum() > 2 else np.zeros(3)
    strength = [voiced.mean(), peaks.mean(), peaks.std(), *np.quantile(peaks, (0.1, 0.5, 0.9))]
    heights = [np.median(pitch), *np.quantile(pitch, (0.1, 0.9)), pitch.std(), np.abs(np.diff(pitch)).mean()]
    return np.array(strength + heights)


def _pitch(frames: Frames) -> tuple[Statistics, Statistics]:
    """The highest normalised autocorrelation of each frame, and the shortest period that nearly has it, in samples."""
    spectra = np.square(np.abs(np.fft.rfft(frames * np.hanning(LONG_FRAME), 2 * LONG_FRAME)))
    correlation = np.fft.irfft(spectra)[:, : PERIODS[1]]
    correlation = correlation / (correlation[:, :1] + 1e-12) / _window_correlation()
    by_period = correlation[:, PERIODS[0] :]
    peaks = by_period.max(axis=1)
    return peaks, (by_period > FIRST_PEAK * peaks[:, None]).argmax(axis=1) + PERIODS[0]


def _flatness(powers: Frames) -> Statistics:
    """Of three parts of the spectrum, mean and deviation over frames."""
    found = []
    for low, high in FLATNESS_BINS:
        part = powers[:, low:high]
        flatness = np.log(part).mean(axis=1) - np.log(part.mean(axis=1))
        found += [flatness.mean(), flatness.std()]
    return np.array(found)


def _levels(levels_db: Statistics, heard: NDArray[np.bool_]) -> Statistics:
    """Of levels below the loud frames."""
    quiet, middle = np.quantile(levels_db, (0.1, 0.5))
    return np.array([levels_db.std(), heard.mean(), np.abs(np.diff(levels_db)).mean(), quiet, middle])
