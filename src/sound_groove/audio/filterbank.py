"""Kaldi's log-mel filterbank in numpy: its constants, and the features that speaker models of other toolkits take.

The definition is that of `sound_groove.networks.features`, whose torch module has its constants from here.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import AudioError
from sound_groove.types import Samples

FRAME_LENGTH = 400  # samples: 25 ms
FRAME_SHIFT = 160  # samples: 10 ms
FFT_SIZE = 512
PREEMPHASIS = 0.97
LOW_FREQUENCY = 20.0  # Hz, the lower edge of the first mel filter
SIXTEEN_BIT = 32768.0  # Kaldi's scale: a waveform in [-1, 1] is multiplied by this
LOG_FLOOR = float(np.finfo(np.float32).eps)  # far below the quietest 16-bit signal at Kaldi's scale

Window = Literal["povey", "hamming"]
WINDOWS: tuple[Window, ...] = get_args(Window)

_FRAMES_AT_ONCE = 1000  # 10 s: bounds the memory of a long recording


def samples_of(frames: int) -> int:
    """How many samples the given number of frames takes.

    >>> samples_of(1), samples_of(200)
    (400, 32240)
    """
    return FRAME_LENGTH + (frames - 1) * FRAME_SHIFT


def povey_window() -> NDArray[np.float64]:
    """(400,): a Hann window over N - 1, raised to 0.85."""
    n = np.arange(FRAME_LENGTH)
    return np.asarray((0.5 - 0.5 * np.cos(2.0 * np.pi * n / (FRAME_LENGTH - 1))) ** 0.85)


def hamming_window() -> NDArray[np.float64]:
    """(400,): a Hamming window over N - 1, which ends at 0.08."""
    n = np.arange(FRAME_LENGTH)
    return np.asarray(0.54 - 0.46 * np.cos(2.0 * np.pi * n / (FRAME_LENGTH - 1)))


def frame_window(name: Window = "povey") -> NDArray[np.float64]:
    """(400,): the window of this name."""
    return hamming_window() if name == "hamming" else povey_window()


def mel(frequency: ArrayLike) -> NDArray[np.float64]:
    """The mel scale of the filters, mel(f) = 1127 ln(1 + f / 700), of frequencies in Hz."""
    return np.asarray(1127.0 * np.log1p(np.asarray(frequency, dtype=np.float64) / 700.0))


def mel_edges(num_mel_bins: int, high_frequency: float = SAMPLE_RATE / 2) -> NDArray[np.float64]:
    """Where the triangular filters begin, peak and end: evenly spaced in mel.

    Args:
        num_mel_bins: F.
        high_frequency: upper edge of the last filter, in Hz; the lower edge of the first one is 20 Hz.

    Returns:
        (F + 2,) in mel: filter i rises from edge i to its peak at edge i + 1 and falls to edge i + 2.

    >>> mel_edges(2, 8000.0).round(1).tolist()
    [31.7, 967.8, 1903.9, 2840.0]
    """
    low, high = mel([LOW_FREQUENCY, high_frequency]).tolist()
    return np.linspace(low, high, num_mel_bins + 2)


def mel_filters(num_mel_bins: int = 80, high_frequency: float = SAMPLE_RATE / 2) -> NDArray[np.float64]:
    """(255, F): triangles over the DFT bins 1..255, linear in mel; arguments as for `mel_edges`.

    Bin 0 (below 20 Hz) and the Nyquist bin have no weight in any filter.
    """
    edges = mel_edges(num_mel_bins, high_frequency)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]  # (F,) each
    bins = mel(np.arange(1.0, FFT_SIZE // 2) * (SAMPLE_RATE / FFT_SIZE))[:, None]
    return np.asarray(np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0.0))


def kaldi_fbank(
    samples: Samples,
    num_mel_bins: int = 80,
    scale: float = SIXTEEN_BIT,
    window: Window = "povey",
    high_frequency: float = SAMPLE_RATE / 2,
) -> NDArray[np.float32]:
    """Log-mel filterbank energies of a recording.

    Args:
        samples: (samples,) in [-1, 1] at 16 kHz, at least 400.
        num_mel_bins: F, number of mel filters.
        scale: of the samples, before anything else.
        window: what each frame is multiplied by.
        high_frequency: upper edge of the last filter, in Hz.

    Returns:
        (T, F) float32, natural log, T = 1 + (samples - 400) // 160.

    Raises:
        AudioError: the recording is shorter than one frame.

    >>> kaldi_fbank(np.zeros(16000, np.float32)).shape
    (98, 80)
    """
    if len(samples) < FRAME_LENGTH:
        raise AudioError(None, f"has {len(samples)} samples, fewer than one frame of {FRAME_LENGTH} (25 ms at 16 kHz)")
    mel = mel_filters(num_mel_bins, high_frequency).astype(np.float32)
    spectra = power_spectra(samples, scale, window)
    return np.concatenate([np.log(np.maximum(power @ mel, np.float32(LOG_FLOOR))) for power in spectra])


def power_spectra(
    samples: Samples, scale: float = SIXTEEN_BIT, window: Window = "povey"
) -> Iterator[NDArray[np.float32]]:
    """The power spectrum of every frame, 10 s of them at a time: (T, 255) float32, the DFT bins 1..255.

    Args:
        samples: (samples,) in [-1, 1] at 16 kHz, at least 400.
        scale: of the samples, before anything else.
        window: what each frame is multiplied by.
    """
    weights = frame_window(window).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_LENGTH)[::FRAME_SHIFT]  # (T, 400)
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        part = frames[start : start + _FRAMES_AT_ONCE] * np.float32(scale)
        part -= part.mean(axis=1, keepdims=True)
        part[:, 1:] -= np.float32(PREEMPHASIS) * part[:, :-1]
        part[:, 0] *= np.float32(1.0 - PREEMPHASIS)  # before it lies itself
        spectrum = np.fft.rfft(part * weights, FFT_SIZE)[:, 1:-1]  # (T, 255)
        yield (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


def white_noise_energies(
    num_mel_bins: int = 80, window: Window = "povey", high_frequency: float = SAMPLE_RATE / 2
) -> NDArray[np.float64]:
    """(F,): the energies that white noise of variance 1 gives the mel filters, on average.

    They are exact: those of the rows of the matrix that takes a frame to its spectrum. Arguments as for `kaldi_fbank`.
    """
    frame = np.eye(FRAME_LENGTH) - 1.0 / FRAME_LENGTH  # DC removal
    before = np.concatenate((frame[:1], frame[:-1]))
    n, k = np.arange(FRAME_LENGTH), np.arange(1, FFT_SIZE // 2)
    transform = np.exp((-2j * np.pi / FFT_SIZE) * np.outer(k, n))  # (255, 400)
    transform = transform @ (frame_window(window)[:, None] * (frame - PREEMPHASIS * before))
    return np.asarray((np.abs(transform) ** 2).sum(axis=1) @ mel_filters(num_mel_bins, high_frequency))
