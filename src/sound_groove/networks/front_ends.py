"""The front ends of public speaker models in torch: waveforms in, what their networks hear out.

The definitions are those of the makers' own code, named family by family in `sound_groove.audio.front_end`. Window and
Fourier transform are one matrix, as in `KaldiFbank`: every export format has a product. A spectrum that is centred on
its frame and zero-padded to 512 points does not depend on where the frame's time begins, so that 400 samples around the
centre are all that is looked at.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sound_groove.audio.filterbank import FRAME_LENGTH, FRAME_SHIFT, PREEMPHASIS, white_noise_energies
from sound_groove.audio.front_end import STEP, FrontEnd
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.networks.features import KaldiFbank, remove_mean

_HALF = FRAME_LENGTH // 2
_NEMO_GUARD = 2.0**-24  # is added to the energies before the logarithm
_NEMO_DEVIATION = 1e-5  # is added to each deviation
_NEMO_MULTIPLE = 16  # of frames, to which zeros are put behind
_SPEECHBRAIN_LEAST = 1e-10  # the lowest energy
_SPEECHBRAIN_RANGE_DB = 80.0  # below the loudest of the recording
_REDIMNET_GUARD, _REDIMNET_DEVIATION = 1e-6, 1e-6
_REDIMNET_BAND = (20.0, 7600.0)

Filters = NDArray[np.float64]  # (K, F) over the bins 0..n/2 of a spectrum
Preemphasis = Literal["none", "first kept", "first mirrored"]


def build_front_end(front_end: FrontEnd) -> nn.Module:
    """A front end as a module in evaluation mode: (B, samples) at 16 kHz in [-1, 1], at least 400 -> (B, T, F).

    Args:
        front_end: of which family, and how it is set; not one of a file that takes waveforms.

    >>> from sound_groove.audio.front_end import of_family
    >>> [build_front_end(of_family(name))(torch.zeros(1, 16000)).shape[1] for name in ("wespeaker", "nemo", "redimnet")]
    [98, 112, 101]
    """
    makers: dict[str, Callable[[FrontEnd], nn.Module]] = {
        "nemo": NemoFeatures,
        "speechbrain": SpeechbrainFeatures,
        "redimnet": RedimnetFeatures,
    }
    return makers.get(front_end.family, KaldiFeatures)(front_end).eval()


class KaldiFeatures(nn.Module):
    """Kaldi's log-mel energies as WeSpeaker and 3D-Speaker take them, floor and mean as they are asked for.

    Args:
        front_end: scale, window, upper edge, mean and floor.
    """

    floor: Tensor | None  # (F,) energies that are added

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        bins, window, high = front_end.num_mel_bins, front_end.window, front_end.high_frequency
        self.fbank = KaldiFbank(bins, high_frequency=high, window=window, scale=front_end.scale)
        self.removes_mean = front_end.removes_mean
        floor = None
        if front_end.floor == "step":
            energies = white_noise_energies(bins, window, high) * (STEP * front_end.scale) ** 2
            floor = torch.from_numpy(energies).float()
        self.register_buffer("floor", floor, persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, samples) in [-1, 1] -> (B, T, F)."""
        features: Tensor = self.fbank(waveforms)
        if self.floor is not None:
            features = (features.exp() + self.floor).log()
        return remove_mean(features) if self.removes_mean else features


class CentredEnergies(nn.Module):
    """Mel energies of frames that are centred at 0, 10, 20 ms ..., as `torch.stft` has them.

    Args:
        window: (400,).
        fft_size: n, of which a frame is the middle.
        filters: (n / 2 + 1, F).
        preemphasis: of the whole signal; the first sample is kept, or its neighbour taken for the one before it.
        is_mirrored: whether the signal goes on beyond its ends as its mirror image, and not with zeros.
    """

    spectrum: Tensor  # (400, 2 K) frame -> real parts, then imaginary parts
    mel: Tensor  # (2 K, F)
    noise: Tensor  # (F,) the energies of white noise of variance 1

    def __init__(
        self,
        window: NDArray[np.float64],
        fft_size: int,
        filters: Filters,
        preemphasis: Preemphasis = "none",
        is_mirrored: bool = False,
    ) -> None:
        super().__init__()
        self.preemphasis = preemphasis
        self.is_mirrored = is_mirrored
        phase = (2.0 * math.pi / fft_size) * np.outer(np.arange(FRAME_LENGTH), np.arange(len(filters)))
        spectrum = window[:, None] * np.concatenate((np.cos(phase), -np.sin(phase)), axis=1)
        both = np.concatenate((filters, filters))
        before = spectrum if preemphasis == "none" else _preemphasised(spectrum)
        self.register_buffer("spectrum", torch.from_numpy(spectrum).float(), persistent=False)
        self.register_buffer("mel", torch.from_numpy(both).float(), persistent=False)
        noise = np.square(before).sum(axis=0) @ both
        self.register_buffer("noise", torch.from_numpy(noise).float(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, N), at least 201 samples -> (B, 1 + N / 160, F)."""
        if self.preemphasis != "none":
            first = 0.0 if self.preemphasis == "first kept" else waveforms[:, 1:2]
            rest = waveforms[:, 1:] - PREEMPHASIS * waveforms[:, :-1]
            waveforms = torch.cat((waveforms[:, :1] - PREEMPHASIS * first, rest), dim=1)
        padded = F.pad(waveforms, (_HALF, _HALF), mode="reflect" if self.is_mirrored else "constant")
        starts = FRAME_SHIFT * torch.arange(1 + (padded.shape[1] - FRAME_LENGTH) // FRAME_SHIFT)
        frames = padded[:, starts.unsqueeze(1) + torch.arange(FRAME_LENGTH)]  # (B, T, 400)
        energies: Tensor = (frames @ self.spectrum).square() @ self.mel
        return energies


class NemoFeatures(nn.Module):
    """What NeMo's `AudioToMelSpectrogramPreprocessor` gives TitaNet and SpeakerNet.

    Of the 1 + N / 160 frames of a recording the last one does not count: it is a zero, as is what fills up to a
    multiple of 16.

    Args:
        front_end: number of bins and floor.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        filters = slaney_filters(front_end.num_mel_bins)
        self.energies = CentredEnergies(_cosine_window(0.5, FRAME_LENGTH - 1), 512, filters, "first kept")
        self.floor = STEP**2 if front_end.floor == "step" else 0.0

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, N) in [-1, 1] -> (B, T, F), T the multiple of 16 that comes after N / 160."""
        frames = waveforms.shape[1] // FRAME_SHIFT
        energies = self.energies(waveforms)[:, :frames] + self.floor * self.energies.noise
        features = (energies + _NEMO_GUARD).log()
        centred = features - features.mean(dim=1, keepdim=True)
        deviation = (centred.square().sum(dim=1, keepdim=True) / (frames - 1)).sqrt()
        normalised: Tensor = centred / (deviation + _NEMO_DEVIATION)
        return F.pad(normalised, (0, 0, 0, _NEMO_MULTIPLE - frames % _NEMO_MULTIPLE))

    def lengths(self, waveforms: Tensor) -> Tensor:
        """(B,) how many frames count."""
        counts = torch.ones_like(waveforms[:, 0], dtype=torch.int64)
        return counts * (waveforms.shape[1] // FRAME_SHIFT)


class SpeechbrainFeatures(nn.Module):
    """What SpeechBrain's `Fbank` and its sentence-wise normalisation give its ECAPA-TDNN.

    Args:
        front_end: number of bins and floor.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        filters = speechbrain_filters(front_end.num_mel_bins)
        self.energies = CentredEnergies(_cosine_window(0.54, FRAME_LENGTH), 400, filters)
        self.floor = STEP**2 if front_end.floor == "step" else 0.0

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, N) in [-1, 1] -> (B, 1 + N / 160, F) in decibels, the mean over time removed."""
        energies = self.energies(waveforms) + self.floor * self.energies.noise
        level_db = 10.0 * energies.clamp(min=_SPEECHBRAIN_LEAST).log10()
        least = level_db.amax(dim=(1, 2), keepdim=True) - _SPEECHBRAIN_RANGE_DB
        return remove_mean(torch.maximum(level_db, least))


class RedimnetFeatures(nn.Module):
    """What `MelBanks` of ReDimNet's and ReDimNet2's authors gives their networks.

    Args:
        front_end: number of bins and floor.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        filters = hertz_triangles(front_end.num_mel_bins, *_REDIMNET_BAND)
        window = _cosine_window(0.54, FRAME_LENGTH)
        self.energies = CentredEnergies(window, 512, filters, "first mirrored", is_mirrored=True)
        self.floor = STEP if front_end.floor == "step" else 0.0

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, N) -> (B, 1 + N / 160, F), the mean over time removed; a gain changes nothing."""
        centred = waveforms - waveforms.mean(dim=1, keepdim=True)
        deviation = centred.square().mean(dim=1, keepdim=True).sqrt() + _REDIMNET_DEVIATION  # (B, 1)
        energies = self.energies(centred / deviation)
        energies = energies + (self.floor / deviation).square().unsqueeze(2) * self.energies.noise
        return remove_mean((energies + _REDIMNET_GUARD).log())


def hertz_triangles(num_mel_bins: int, low: float, high: float, fft_size: int = 512) -> Filters:
    """(n / 2 + 1, F): triangles over Hz between points that are evenly spaced in mel, 2595 log10(1 + f / 700)."""
    lowest, highest = (2595.0 * math.log10(1.0 + hertz / 700.0) for hertz in (low, high))
    mels = np.linspace(lowest, highest, num_mel_bins + 2)
    return _triangles(700.0 * (10.0 ** (mels / 2595.0) - 1.0), fft_size)


def slaney_filters(num_mel_bins: int, fft_size: int = 512) -> Filters:
    """(n / 2 + 1, F): the filters of Slaney's Auditory Toolbox from 0 Hz to the Nyquist frequency, each of one area.

    The scale is linear below 1,000 Hz, 200 / 3 Hz a mel, and logarithmic above, 27 mel for a factor of 6.4.
    """
    step, break_hz, log_step = 200.0 / 3.0, 1000.0, math.log(6.4) / 27.0
    break_mel = break_hz / step
    highest = break_mel + math.log(SAMPLE_RATE / 2 / break_hz) / log_step
    mels = np.linspace(0.0, highest, num_mel_bins + 2)
    logarithmic = break_hz * np.exp(log_step * (mels - break_mel))
    edges = np.where(mels < break_mel, step * mels, logarithmic)
    return _triangles(edges, fft_size) * (2.0 / (edges[2:] - edges[:-2]))


def speechbrain_filters(num_mel_bins: int) -> Filters:
    """(201, F): triangles over Hz, each as wide above its peak as below, from 0 Hz to the Nyquist frequency."""
    mels = np.linspace(0.0, 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0), num_mel_bins + 2)
    points = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    frequencies = np.linspace(0.0, SAMPLE_RATE / 2, FRAME_LENGTH // 2 + 1)[:, None]
    slopes = np.abs(frequencies - points[1:-1]) / np.diff(points)[:-1]
    return np.asarray((1.0 - slopes).clip(min=0.0))


def _triangles(edges: NDArray[np.float64], fft_size: int) -> Filters:
    """(n / 2 + 1, F): filter i rises from edge i to its peak at edge i + 1 and falls to edge i + 2, in Hz."""
    frequencies = np.linspace(0.0, SAMPLE_RATE / 2, fft_size // 2 + 1)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    return np.asarray(np.minimum(rising, falling).clip(min=0.0))


def _cosine_window(constant: float, period: int) -> NDArray[np.float64]:
    """(400,): Hann (0.5) or Hamming (0.54), over this many samples."""
    return np.asarray(constant - (1.0 - constant) * np.cos(2.0 * math.pi * np.arange(FRAME_LENGTH) / period))


def _preemphasised(spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """(401, 2 K): the rows by which samples before the pre-emphasis enter a spectrum (400, 2 K)."""
    nothing = np.zeros((1, spectrum.shape[1]))
    return np.concatenate((nothing, spectrum)) - PREEMPHASIS * np.concatenate((spectrum, nothing))
