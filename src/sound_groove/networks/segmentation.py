"""PyanNet: who of three speakers speaks in every 17 ms of ten seconds, several at a time too.

The network of pyannote's segmentation-3.0 (Plaquet & Bredin 2023; Bredin & Laurent 2021): filters whose band edges are
learnt (SincNet, Ravanelli & Bengio 2018, in the analytic form of Pariente et al. 2020), a bidirectional LSTM, and
linear layers, to the logarithms of the probabilities of seven sets of speakers: nobody, one of three, or two of them.
Which of the three somebody is means nothing beyond the ten seconds.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sound_groove.errors import CheckpointError

FILTERS, KERNEL, STRIDE = 80, 251, 10
RATE = 16000
LOWEST_HZ, NARROWEST_HZ = 50.0, 50.0
CLASSES = 7


class SincFilters(nn.Module):
    """Band-pass filters, even and odd, whose edges are learnt."""

    def __init__(self) -> None:
        super().__init__()
        half = KERNEL // 2
        self.low_hz_ = nn.Parameter(torch.zeros(FILTERS // 2, 1))
        self.band_hz_ = nn.Parameter(torch.ones(FILTERS // 2, 1))
        self.register_buffer("window_", torch.hamming_window(KERNEL, periodic=False)[:half])
        self.register_buffer("n_", 2 * math.pi * torch.arange(-half, 0.0).view(1, -1) / RATE)

    def filters(self) -> Tensor:
        """(FILTERS, 1, KERNEL): cosines first, then sines."""
        low = LOWEST_HZ + self.low_hz_.abs()  # (FILTERS / 2, 1)
        high = (low + NARROWEST_HZ + self.band_hz_.abs()).clamp(LOWEST_HZ, RATE / 2)
        width = high - low
        times, window = self.get_buffer("n_"), self.get_buffer("window_")
        slow, fast = low @ times, high @ times  # (FILTERS / 2, half)
        even = (fast.sin() - slow.sin()) / (times / 2) * window
        odd = (slow.cos() - fast.cos()) / (times / 2) * window
        cosines = torch.cat([even, 2 * width, even.flip(1)], dim=1)
        sines = torch.cat([odd, torch.zeros_like(width), -odd.flip(1)], dim=1)
        return (torch.cat([cosines, sines]) / (2 * width).repeat(2, 1)).unsqueeze(1)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, FILTERS, T) of (B, 1, samples)."""
        return nn.functional.conv1d(waveforms, self.filters(), stride=STRIDE)


class FilterBank(nn.Module):
    """The place of the filters among the published names."""

    def __init__(self) -> None:
        super().__init__()
        self.filterbank = SincFilters()

    def forward(self, waveforms: Tensor) -> Tensor:
        """As the filters."""
        filtered: Tensor = self.filterbank(waveforms)
        return filtered


class SincNet(nn.Module):
    """(B, 60, T) of (B, 1, samples), one column every 270 samples."""

    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([FilterBank(), nn.Conv1d(FILTERS, 60, 5), nn.Conv1d(60, 60, 5)])
        self.norm1d = nn.ModuleList(nn.InstanceNorm1d(size, affine=True) for size in (FILTERS, 60, 60))

    def forward(self, waveforms: Tensor) -> Tensor:
        """Filter, pool and normalise, three times."""
        outputs: Tensor = self.wav_norm1d(waveforms)
        for place, (convolve, norm) in enumerate(zip(self.conv1d, self.norm1d, strict=True)):
            outputs = convolve(outputs)
            outputs = outputs.abs() if place == 0 else outputs
            outputs = nn.functional.leaky_relu(norm(nn.functional.max_pool1d(outputs, 3)))
        return outputs


class PyanNet(nn.Module):
    """The network, under the names that its weights are published with."""

    def __init__(self) -> None:
        super().__init__()
        self.sincnet = SincNet()
        self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, CLASSES)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, T, CLASSES) logarithms of probabilities, of (B, 1, samples) at 16 kHz."""
        outputs, _ = self.lstm(self.sincnet(waveforms).transpose(1, 2))
        for layer in self.linear:
            outputs = nn.functional.leaky_relu(layer(outputs))
        logarithms: Tensor = self.classifier(outputs).log_softmax(dim=-1)
        return logarithms


def restore_segmentation(state: Mapping[str, Tensor], name: str) -> PyanNet:
    """The network with published weights, ready to be used.

    Args:
        state: tensors by name.
        name: of the file, for the message.

    Raises:
        CheckpointError: they are not the weights of this network.
    """
    network = PyanNet().eval()
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{name}: holds other weights than those of segmentation-3.0 ({reason})") from None
    return network
