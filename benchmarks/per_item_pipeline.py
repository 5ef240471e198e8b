"""The input pipeline that other toolkits have (WeSpeaker, 3D-Speaker, voxceleb_trainer), to be compared with ours.

One item at a time, in worker processes, on the CPU: decode, change the speed by resampling, cut, reverberate, add
noise, Kaldi filterbanks, mean removal. It is written to be as fast as it can be, and faster than theirs: one thread a
worker; only the part of a file that is needed is decoded, and only that is resampled; a plain wav is read without a
decoder, as ours is; rooms are kept in memory (noise is read from its file, as of MUSAN's 11 GB it must be); and the
filterbanks are the faster of kaldi-native-fbank and a Fourier transform over all frames of the item, as timed on this
machine.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import scipy.fft
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor
from torch.utils.data import Dataset

from sound_groove.audio.filterbank import FRAME_LENGTH, FRAME_SHIFT
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.plain_wav import read_plain
from sound_groove.corpora.manifest import Utterance
from sound_groove.inputs.speed import source_samples
from sound_groove.networks.features import KaldiFbank

Array = NDArray[np.float32]
FrontEnd = Callable[[Array], Array]
Item = tuple[int, int, int]  # utterance, epoch, place


@dataclass(frozen=True, eq=False)
class PerItemPipeline(Dataset[tuple[Array, int]]):
    """Features of one item.

    Attributes:
        utterances: the training list.
        labels: speaker of each.
        samples: length of a crop.
        speeds: each as likely as the others.
        noise: paths of recordings, and how many samples each has.
        rooms: impulse responses, the direct path first.
        noise_probability: share of items that get noise.
        room_probability: share of items that get a room.
        snr_db: range of the ratio.
        front_end: (samples,) -> (T, 80).
        whole_files: decode and resample the whole file and cut then, as those toolkits do.
    """

    utterances: Sequence[Utterance]
    labels: NDArray[np.int64]
    samples: int
    speeds: tuple[float, ...]
    noise: tuple[tuple[str, int], ...]
    rooms: tuple[Array, ...]
    noise_probability: float
    room_probability: float
    snr_db: tuple[float, float]
    front_end: FrontEnd
    whole_files: bool = False

    def __getitem__(self, item: Item) -> tuple[Array, int]:
        index, epoch, place = item
        draw = np.random.default_rng((epoch, place))
        speed = self.speeds[draw.integers(len(self.speeds))]
        crop = (self._cut_whole if self.whole_files else self._cut)(self.utterances[index], speed, draw)
        if draw.random() < self.room_probability:
            room = self.rooms[draw.integers(len(self.rooms))]
            wet = fftconvolve(crop, room)[: self.samples]
            crop = wet * np.float32(np.sqrt(_power(crop) / max(_power(wet), 1e-10)))
        if draw.random() < self.noise_probability:
            noise = _read_part(*self.noise[draw.integers(len(self.noise))], self.samples, draw)
            ratio = 10.0 ** (draw.uniform(*self.snr_db) / 10.0)
            crop = crop + noise * np.float32(np.sqrt(_power(crop) / max(_power(noise), 1e-10) / ratio))
        features = self.front_end(crop)
        return features - features.mean(axis=0), int(self.labels[index])

    def _cut(self, utterance: Utterance, speed: float, draw: np.random.Generator) -> Array:
        crop = _read_part(utterance.paths[0], utterance.samples[0], source_samples(self.samples, speed), draw)
        return crop if speed == 1.0 else _fitted(_played(crop, speed), self.samples)

    def _cut_whole(self, utterance: Utterance, speed: float, draw: np.random.Generator) -> Array:
        whole: Array = soundfile.read(utterance.paths[0], dtype="float32")[0]
        played = whole if speed == 1.0 else _played(whole, speed)
        start = int(draw.random() * max(len(played) - self.samples + 1, 1))
        return _fitted(played[start:], self.samples)


def collate(items: Sequence[tuple[Array, int]]) -> tuple[Tensor, Tensor]:
    """A batch: features (B, T, 80) and labels (B,)."""
    features, labels = zip(*items, strict=True)
    return torch.from_numpy(np.stack(features)), torch.tensor(labels)


def one_thread(worker: int) -> None:
    """Begin a worker: threads of several workers would wait for each other."""
    threadpool_limits(1)


def fastest_front_end() -> tuple[str, FrontEnd]:
    """The faster of the two on this machine, and what it is called."""
    crop = np.random.default_rng(0).standard_normal(FRAME_LENGTH + 199 * FRAME_SHIFT).astype(np.float32) * 0.1
    choices: dict[str, FrontEnd] = {"kaldi-native-fbank": kaldi_features, "scipy.fft over all frames": FourierFbank()}
    assert np.abs(choices["kaldi-native-fbank"](crop) - choices["scipy.fft over all frames"](crop)).max() < 2e-3

    def best_s(front_end: FrontEnd) -> float:
        times = []
        for _ in range(20):
            start = time.thread_time()
            front_end(crop)
            times.append(time.thread_time() - start)
        return min(times)

    name = min(choices, key=lambda name: best_s(choices[name]))
    return name, choices[name]


def kaldi_features(crop: Array) -> Array:
    """(samples,) -> (T, 80) by kaldi-native-fbank."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80
    options.use_energy = False
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(SAMPLE_RATE, (crop * np.float32(32768.0)).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])


class FourierFbank:
    """(samples,) -> (T, 80) by one Fourier transform over all frames, in float32."""

    def __init__(self) -> None:
        ours = KaldiFbank()
        self._window = ours.window.numpy()
        self._mel = np.zeros((257, 80), np.float32)
        self._mel[1:256] = ours.mel.numpy()[:255]

    def __call__(self, crop: Array) -> Array:
        frames = np.lib.stride_tricks.sliding_window_view(crop * np.float32(32768.0), FRAME_LENGTH)[::FRAME_SHIFT]
        frames = frames - frames.mean(axis=1, keepdims=True)
        frames[:, 1:] -= np.float32(0.97) * frames[:, :-1]
        frames[:, 0] *= np.float32(0.03)
        frames *= self._window
        spectrum = scipy.fft.rfft(frames, 512)  # (T, 257)
        energies = (spectrum.real**2 + spectrum.imag**2) @ self._mel
        features: Array = np.log(np.maximum(energies, np.float32(2.0**-23)))
        return features


def _read_part(path: str, length: int, count: int, draw: np.random.Generator) -> Array:
    """A random part of a file of so many samples; one that is shorter is repeated."""
    wanted = min(count, length)
    start = int(draw.random() * (length - wanted + 1))
    part = read_plain(Path(path), start, wanted) if path.endswith(".wav") else None
    if part is None:
        with soundfile.SoundFile(path) as file:
            file.seek(start)
            part = file.read(wanted, dtype="float32")
    return _fitted(part, count)


def _played(samples: Array, speed: float) -> Array:
    played: Array = soxr.resample(samples, round(100 * speed), 100, quality="MQ")
    return played


def _fitted(samples: Array, count: int) -> Array:
    return samples[:count] if len(samples) >= count else np.resize(samples, count)


def _power(samples: Array) -> float:
    return float(np.dot(samples, samples)) / len(samples)
