"""Kaldi's log-mel filterbank as one torch module: the front end of every network here.

The definition is that of Kaldi's `compute-fbank-feats` (Povey et al. 2011) with the settings usual for speakers: frames
of 25 ms every 10 ms, whole frames only (snip_edges), DC removal, pre-emphasis 0.97, Povey window, 512-point power
spectrum, triangular mel filters from 20 Hz to the Nyquist frequency, natural log with the float32 epsilon as its floor,
no energy row.

In evaluation, window and Fourier transform are one matrix, built in float64: every export format has a product. In
training, where a CPU spent more on this product than on all else that is done to a crop, they are a window and a fast
Fourier transform: as near to the exact value, and the features are ready five times as fast. DC removal and
pre-emphasis are linear too and were in the matrix at first, but a quiet band beside hum or an offset then came out of
the cancellation of large float32 products: 25 Hz hum over one-bit noise was 4e-3 from Kaldi, and is 6e-4 with the two
subtractions done first.

The module has no weights and no state: its buffers are constants that are not saved with a network.
"""

import math
from collections.abc import Callable
from typing import overload

import torch
from torch import Tensor, nn

from sound_groove.audio.filterbank import (
    FFT_SIZE,
    FRAME_LENGTH,
    FRAME_SHIFT,
    LOG_FLOOR,
    PREEMPHASIS,
    SIXTEEN_BIT,
    Window,
    frame_window,
    mel_filters,
)
from sound_groove.audio.level import floor_energies
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import AudioError, UsageError

_LEVEL_STEPS, _LEVEL_ROUNDS = 64, 3  # of the search for a level
_AT_ONCE = 4  # crops in training: their frames stay in a processor's cache from step to step, a third less time


@overload
def frame_count(samples: int) -> int: ...
@overload
def frame_count(samples: Tensor) -> Tensor: ...
def frame_count(samples: int | Tensor) -> int | Tensor:
    """The number of frames of a waveform: every frame lies wholly inside it.

    Args:
        samples: number of samples, or an integer tensor of them.

    Returns:
        The number of frames, of the same kind; 0 for less than one frame.

    >>> frame_count(400), frame_count(559), frame_count(560), frame_count(399)
    (1, 1, 2, 0)
    """
    if isinstance(samples, Tensor):
        frames = 1 + torch.div(samples - FRAME_LENGTH, FRAME_SHIFT, rounding_mode="floor")
        return frames.clamp(min=0)
    return max(0, 1 + (samples - FRAME_LENGTH) // FRAME_SHIFT)


def remove_mean(features: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Subtract each utterance's mean over time.

    Args:
        features: (B, T, F).
        lengths: (B,) frames of each utterance that are real; the others are padding, which does not count towards the
            mean and comes back as zeros. All frames when None.

    Returns:
        (B, T, F), with mean 0 over the real frames of every utterance and bin.
    """
    if lengths is None:
        return features - features.mean(dim=1, keepdim=True)
    mask = frame_mask(lengths, features.shape[1]).unsqueeze(-1)  # (B, T, 1)
    # A selection, not a product: padding may hold anything, and 0 times infinity is not 0.
    real = features.masked_fill(~mask, 0.0)
    mean = real.sum(dim=1, keepdim=True) / lengths.view(-1, 1, 1)  # (B, 1, F)
    return (real - mean).masked_fill(~mask, 0.0)


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Which frames of a padded batch are real.

    Args:
        lengths: (B,) frames of each utterance.
        frames: T, the frames of the batch.

    Returns:
        (B, T) bool, true in the first `lengths` frames of each row.

    >>> frame_mask(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)


class Normalization(nn.Module):
    """What is done to Kaldi's features before a network hears them: the floor below the recording's level, if the
    network asks for one, and the removal of the mean.

    With a floor, log-mel energies become log(energy / level + floor), where the floor is the energies of white noise
    `floor_db` below the level (`sound_groove.audio.level`). A gain changes nothing then, and neither do digital
    silence, which is far below the floor, nor how much of it there is. Energies and not samples carry the level, so
    that stored features and those of another program's front end are treated like those of a waveform.

    Args:
        floor_db: how far below the recording's level the floor lies, in dB; None = no floor, only the mean is removed.
        num_mel_bins: F.

    >>> quiet, loud = torch.zeros(1, 3, 80), torch.full((1, 3, 80), 9.0)
    >>> both = Normalization(40.0)(torch.cat((quiet, loud), dim=1))
    >>> torch.allclose(both, Normalization(40.0)(torch.cat((quiet, loud), dim=1) + 2.0), atol=1e-5)
    True
    """

    floor: Tensor  # (F,)

    def __init__(self, floor_db: float | None = None, num_mel_bins: int = 80) -> None:
        super().__init__()
        self.floor_db = floor_db
        share = torch.from_numpy(floor_energies(num_mel_bins))
        floor = share * 10.0 ** (-(floor_db or 0.0) / 10.0)
        self.register_buffer("floor", floor.float(), persistent=False)

    def forward(self, features: Tensor, lengths: Tensor | None = None, levels: Tensor | None = None) -> Tensor:
        """What the network hears.

        Args:
            features: (B, T, F) log-mel energies of whole recordings or of pieces, their mean not removed.
            lengths: (B,) frames of each that are real, as for `remove_mean`.
            levels: (B,) or (1,), the level of the recording that each is a piece of, as `sound_groove.audio.level`
                finds it; where it is 0, and where there are none, the level is that of the features themselves.

        Returns:
            (B, T, F), with mean 0 over the real frames of every utterance and bin.
        """
        if self.floor_db is None:
            return remove_mean(features, lengths)
        energies = features.float().exp()
        found = find_levels(energies, lengths)  # (B,)
        if levels is not None:
            found = torch.where(levels > 0.0, levels, found)
        return remove_mean((energies / found.view(-1, 1, 1) + self.floor).log(), lengths)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"floor_db={self.floor_db}"


def find_levels(energies: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The level of each recording of a batch, as `sound_groove.audio.level.level_of` defines it, to 0.0002 dB.

    The frames are not sorted, which some runtimes can only do for a few thousand of them: the level is looked for in
    steps. It is at least the loudest amplitude / 2T, since all the frames below that have less than half of the sum.

    Args:
        energies: (B, T, F) of the mel filters.
        lengths: (B,) frames of each that are real; all when None.

    Returns:
        (B,) float32.

    >>> find_levels(torch.tensor([[[1.0], [4.0], [9.0], [16.0]]])).round(decimals=2)
    tensor([9.])
    """
    amplitudes = energies.sum(dim=2).sqrt()  # (B, T)
    if lengths is not None:
        amplitudes = amplitudes.masked_fill(~frame_mask(lengths, amplitudes.shape[1]), 0.0)
    half = 0.5 * amplitudes.sum(dim=1, keepdim=True)  # (B, 1)
    loudest = amplitudes.amax(dim=1, keepdim=True)
    ratio = torch.log(2.0 * torch.ones_like(amplitudes[:1]).sum(dim=1, keepdim=True))  # (1, 1) log(2T)
    low, step = loudest.log() - ratio, ratio / _LEVEL_STEPS
    numbers = torch.arange(1, _LEVEL_STEPS, device=amplitudes.device, dtype=amplitudes.dtype)
    for _ in range(_LEVEL_ROUNDS):
        edges = (low + step * numbers).exp()  # (B, steps - 1)
        is_louder = amplitudes.unsqueeze(1) >= edges.unsqueeze(2)  # (B, steps - 1, T)
        louder = torch.where(is_louder, amplitudes.unsqueeze(1), 0.0).sum(dim=2)
        low = low + step * (louder >= half).to(low.dtype).sum(dim=1, keepdim=True)
        step = step / _LEVEL_STEPS
    return (2.0 * low + step).exp().squeeze(1)  # the middle of the last step


class KaldiFbank(nn.Module):
    """Log-mel filterbank energies of 16 kHz waveforms, as Kaldi defines them.

    Args:
        num_mel_bins: F, number of mel filters.
        dither: standard deviation of the Gaussian noise that is added in training mode, in 16-bit steps (Kaldi's unit).
            The noise is drawn once per sample; Kaldi draws it anew for every frame that the sample is in.
        high_frequency: upper edge of the last mel filter in Hz; the Nyquist frequency for every network of ours.
        window: what each frame is multiplied by; Povey's for every network of ours.
        scale: of the samples; that of 16 bits for every network of ours.

    >>> KaldiFbank()(torch.zeros(2, 16000)).shape
    torch.Size([2, 98, 80])
    """

    # Constants; float32 even in a module that was converted to another type.
    window: Tensor  # (400,)
    spectrum: Tensor  # (400, 510) frame -> real parts, then imaginary parts, of the bins 1..255
    mel: Tensor  # (510, F) their squares -> mel energies

    def __init__(
        self,
        num_mel_bins: int = 80,
        dither: float = 0.0,
        high_frequency: float = SAMPLE_RATE / 2,
        window: Window = "povey",
        scale: float = SIXTEEN_BIT,
    ) -> None:
        super().__init__()
        self.num_mel_bins = num_mel_bins
        self.dither = dither
        self.scale = scale
        self.ends_at_zero = window == "povey"
        self.register_buffer("window", torch.from_numpy(frame_window(window)).float(), persistent=False)
        self.register_buffer("spectrum", _spectrum_matrix(window).float(), persistent=False)
        self.register_buffer("mel", _mel_matrix(num_mel_bins, high_frequency).float(), persistent=False)

    def forward(self, waveforms: Tensor, noise: Tensor | None = None) -> Tensor:
        """Features of a batch of waveforms, in float32 whatever the autocast state.

        Args:
            waveforms: (B, samples) in [-1, 1], 16 kHz, at least 400 samples.
            noise: (B, samples) standard normal draws, of which the dither is made; needed only in training mode with
                `dither` > 0.

        Returns:
            (B, T, F) natural log of the mel energies, T = frame_count(samples).

        Raises:
            AudioError: the waveforms are shorter than one frame, or not a batch.
            UsageError: dither is on and there is no noise to make it of.
        """
        if waveforms.dim() != 2:
            raise AudioError(None, f"waveforms of shape {tuple(waveforms.shape)} are not a batch (B, samples)")
        if waveforms.shape[1] < FRAME_LENGTH:
            raise AudioError(
                None,
                f"has {waveforms.shape[1]} samples, fewer than one frame of {FRAME_LENGTH} (25 ms at 16 kHz); "
                "repeat it until it is long enough",
            )
        with torch.autocast(device_type=waveforms.device.type, enabled=False):
            scaled = waveforms.float() * self.scale
            if self.training and self.dither > 0.0:
                if noise is None:
                    raise UsageError("dither in training mode is made of noise: pass KaldiFbank.forward normal draws")
                scaled = scaled + self.dither * noise
            if not (self.training and self.ends_at_zero):
                return self._by_matrix(scaled)
            parts = torch.split(scaled, _AT_ONCE if scaled.device.type == "cpu" else len(scaled))
            return torch.cat([self._by_fft(part) for part in parts])

    @overload
    def frame_count(self, samples: int) -> int: ...
    @overload
    def frame_count(self, samples: Tensor) -> Tensor: ...
    def frame_count(self, samples: int | Tensor) -> int | Tensor:
        """The number of frames of so many samples, as `frame_count` has it."""
        return frame_count(samples)

    def _by_matrix(self, waveforms: Tensor) -> Tensor:
        """(B, samples) -> (B, T, F)."""
        frames = _without_offset(_frames(waveforms))  # (B, T, 400)
        spectrum = _exact_matmul(frames, self.spectrum)  # (B, T, 510)
        return _logarithm(_exact_matmul(spectrum.square(), self.mel))

    def _by_fft(self, waveforms: Tensor) -> Tensor:
        """The same to rounding. The first sample of a frame is left out: the window is 0 there."""
        frames = waveforms.unfold(1, FRAME_LENGTH, FRAME_SHIFT)  # (B, T, 400)
        frames = frames - frames.mean(dim=2, keepdim=True)
        frames = (frames[..., 1:] - PREEMPHASIS * frames[..., :-1]).mul_(self.window[1:])  # (B, T, 399)
        spectrum = torch.fft.rfft(frames, n=FFT_SIZE)  # (B, T, 257)
        squares = torch.view_as_real(spectrum).square_()
        power = (squares[..., 0] + squares[..., 1])[..., 1:-1]  # (B, T, 255)
        return _logarithm(_exact_matmul(power, self.mel[: power.shape[-1]]))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "KaldiFbank":
        """Follow to another device, but not to another type: `half()` of a whole model must not blur the spectrum."""

        def keep_type(tensor: Tensor) -> Tensor:
            return tensor.to(device=fn(tensor).device)

        super()._apply(keep_type, recurse)  # type: ignore[no-untyped-call]
        return self

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"num_mel_bins={self.num_mel_bins}, dither={self.dither}"


def _logarithm(energies: Tensor) -> Tensor:
    return energies.clamp(min=LOG_FLOOR).log()


def _frames(waveforms: Tensor) -> Tensor:
    """Cut (B, samples) into overlapping frames (B, T, 400).

    An index, not `unfold`, which is a little faster: a gather has a length of its own in every export format.
    """
    starts = FRAME_SHIFT * torch.arange(1 + (waveforms.shape[1] - FRAME_LENGTH) // FRAME_SHIFT, device=waveforms.device)
    return waveforms[:, starts.unsqueeze(1) + torch.arange(FRAME_LENGTH, device=waveforms.device)]


def _without_offset(frames: Tensor) -> Tensor:
    """Frames (B, T, 400) with the mean of each removed, then pre-emphasised."""
    frames = frames - frames.mean(dim=-1, keepdim=True)
    previous = torch.cat((frames[..., :1], frames[..., :-1]), dim=-1)  # the first sample is its own
    return frames - PREEMPHASIS * previous  # not fused: rounded twice, as Kaldi does


def _exact_matmul(a: Tensor, b: Tensor) -> Tensor:
    """A product in float32 even where the process lets float32 products be computed with fewer bits (TF32, bfloat16).

    A quiet band beside a loud tone is 100 dB down: ten bits of mantissa would replace it with rounding noise.
    """
    if torch.get_float32_matmul_precision() == "highest":
        return a @ b
    return (a.double() @ b.double()).float()


def _spectrum_matrix(window: Window) -> Tensor:
    """(400, 510) float64: the window and the DFT bins 1..255.

    Bin 0 (below 20 Hz) and the Nyquist bin have no weight in any mel filter.
    """
    n = torch.arange(FRAME_LENGTH, dtype=torch.float64)
    k = torch.arange(1, FFT_SIZE // 2, dtype=torch.float64)
    phase = (2.0 * math.pi / FFT_SIZE) * torch.outer(n, k)
    transform = torch.cat((phase.cos(), -phase.sin()), dim=1)  # (400, 510)
    return torch.from_numpy(frame_window(window)).unsqueeze(1) * transform


def _mel_matrix(num_mel_bins: int, high_frequency: float) -> Tensor:
    """(510, F) float64: the mel filters, twice: for the squares of the real and of the imaginary parts."""
    filters = torch.from_numpy(mel_filters(num_mel_bins, high_frequency))  # (255, F)
    return torch.cat((filters, filters))
